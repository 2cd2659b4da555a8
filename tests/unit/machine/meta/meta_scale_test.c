/* A hundred thousand queues, exclusive ones of as many connections, and
 * bindings: nothing may walk them all for one of them. */
#include "lib/harness.h"
#include "world.h"

enum {
    MANY = 100000,
    PER_ENTRY = 1000
};

/* Apply what was gathered every PER_ENTRY commands. */
static void
flush(struct world *w, unsigned i)
{
    if (i % PER_ENTRY == PER_ENTRY - 1) {
        cr_assert_eq(world_apply(w), META_OK);
        buf_clear(&w->events);
    }
}

Test(meta_scale, a_hundred_thousand_queues_and_bindings_come_and_go)
{
    struct world w;
    char name[32];
    struct meta_queue_declare d = {.vhost = text("/"),
                                   .is_durable = true,
                                   .nodes = {1, 2, 3},
                                   .nodes_count = 3};
    struct meta_binding b = {.vhost = text("/"),
                             .source = text("amq.direct"),
                             .key = text("one key")};
    struct meta_queue_delete del = {.vhost = text("/")};

    world_init_cluster(&w);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        d.name = text(name);
        b.destination = d.name;
        meta_put_queue_declare(&w.commands, 1, i, &d);
        meta_put_bind(&w.commands, 1, i, &b);
        flush(&w, i);
    }
    cr_assert_eq(meta_queues_count(w.m), (size_t)MANY);
    cr_assert_eq(meta_bindings_count(w.m), (size_t)MANY);
    world_check_snapshot(&w);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "queue-%u", i);
        del.name = text(name);
        meta_put_queue_delete(&w.commands, 1, i, &del);
        flush(&w, i);
    }
    cr_assert_eq(meta_queues_count(w.m), 0U);
    cr_assert_eq(meta_bindings_count(w.m), 0U);
    world_deinit(&w);
}

Test(meta_scale, a_hundred_thousand_exclusive_queues_end_with_their_boot)
{
    struct world w;
    char name[32];
    struct meta_queue_declare d = {
        .vhost = text("/"), .nodes = {1}, .nodes_count = 1};

    world_init_cluster(&w);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "amq.gen-%u", i);
        d.name = text(name);
        d.owner = (struct meta_owner){1, 1, i + 1};
        meta_put_queue_declare(&w.commands, 1, i, &d);
        flush(&w, i);
    }
    for (unsigned i = 0; i < MANY / 2; i++) {
        struct meta_owner owner = {1, 1, i + 1};

        meta_put_connection_gone(&w.commands, 1, i, &owner);
        flush(&w, i);
    }
    cr_assert_eq(meta_queues_count(w.m), (size_t)MANY / 2);
    cr_assert_eq(world_node_up(&w, 1, 2), META_OK);
    cr_assert_eq(meta_queues_count(w.m), 0U);
    world_deinit(&w);
}
