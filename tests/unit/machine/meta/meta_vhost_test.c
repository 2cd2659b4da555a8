/* Vhosts: what they start with, and that all goes with them. */
#include "lib/harness.h"
#include "world.h"

static bool
add_exchange(void *arg, const struct meta_exchange *exchange)
{
    struct buf *b = arg;

    buf_putf(b, "[%s:%d%s]", exchange->name.data, (int)exchange->type,
             exchange->is_internal ? "i" : "");
    cr_assert(exchange->is_durable);
    return true;
}

Test(meta_vhost, starts_with_the_predeclared_exchanges)
{
    struct world w;
    struct buf b;

    world_init_cluster(&w);
    buf_init(&b);
    meta_each_exchange(w.m, world_root(&w), add_exchange, &b);
    buf_put_u8(&b, 0);
    cr_assert_str_eq((char *)b.data,
                     "[:1][amq.direct:1][amq.fanout:2][amq.headers:4]"
                     "[amq.match:4][amq.rabbitmq.trace:3i][amq.topic:3]");
    buf_deinit(&b);
    world_deinit(&w);
}

Test(meta_vhost, keeps_what_it_was_added_with)
{
    struct world w;
    struct meta_vhost spec = {
        .name = text("v"), .description = text("a place"), .tags = text("x,y")};
    const struct meta_vhost *vhost = NULL;

    world_init(&w);
    meta_put_vhost_add(&w.commands, 1, 1, &spec);
    cr_assert_eq(world_apply(&w), META_OK);
    vhost = meta_vhost(w.m, "v", 1);
    cr_assert_not_null(vhost);
    cr_assert_str_eq(vhost->description.data, "a place");
    cr_assert_str_eq(vhost->tags.data, "x,y");
    cr_assert_eq(vhost->created_ms, w.time_ms);
    cr_assert_eq(world_vhost(&w, "v"), META_EXISTS);
    cr_assert_null(meta_vhost(w.m, "w", 1));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_vhost, takes_all_that_is_in_it)
{
    struct world w;
    struct meta_permission p = {.vhost = text("/"), .user = text("guest")};
    struct meta_policy policy = {.vhost = text("/"), .name = text("p")};
    struct meta_parameter parameter = {
        .vhost = text("/"), .component = text("c"), .name = text("n")};

    world_init_cluster(&w);
    cr_assert_eq(world_vhost(&w, "other"), META_OK);
    cr_assert_eq(world_queue(&w, "b"), META_OK);
    cr_assert_eq(world_queue(&w, "a"), META_OK);
    cr_assert_eq(world_exclusive(&w, "mine", 1, 1), META_OK);
    cr_assert_eq(world_transient(&w, "t", 2), META_OK);
    cr_assert_eq(world_exchange(&w, "x", META_TOPIC, true), META_OK);
    cr_assert_eq(world_bind(&w, "x", "a", "#"), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "x", "#"), META_OK);
    meta_put_permission_set(&w.commands, 1, 1, &p);
    meta_put_policy_set(&w.commands, 1, 1, &policy);
    meta_put_parameter_set(&w.commands, 1, 1, &parameter);
    cr_assert_eq(world_apply(&w), META_OK);
    (void)world_events(&w);
    meta_put_vhost_delete(&w.commands, 1, 1, text("/"));
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_str_eq(world_events(&w), "-a -b -mine -t user:guest vhost:/");
    cr_assert_eq(meta_queues_count(w.m), 0U);
    cr_assert_eq(meta_bindings_count(w.m), 0U);
    cr_assert_eq(meta_exchanges_count(w.m), 7U);
    cr_assert_null(meta_parameter(w.m, &parameter));
    cr_assert_null(meta_vhost(w.m, "/", 1));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_vhost, the_last_one_stays)
{
    struct world w;

    world_init_cluster(&w);
    meta_put_vhost_delete(&w.commands, 1, 1, text("/"));
    cr_assert_eq(world_apply(&w), META_REFUSED);
    meta_put_vhost_delete(&w.commands, 1, 1, text("none"));
    cr_assert_eq(world_apply(&w), META_NO_VHOST);
    world_deinit(&w);
}

Test(meta_vhost, a_name_has_1_to_255_bytes)
{
    struct world w;
    char name[QR_NAME_SIZE_MAX + 2];

    memset(name, 'v', sizeof(name));
    name[QR_NAME_SIZE_MAX + 1] = '\0';
    world_init(&w);
    cr_assert_eq(world_vhost(&w, ""), META_MALFORMED);
    cr_assert_eq(world_vhost(&w, name), META_MALFORMED);
    name[QR_NAME_SIZE_MAX] = '\0';
    cr_assert_eq(world_vhost(&w, name), META_OK);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_vhost, there_are_at_most_ten_thousand)
{
    struct world w;
    char name[16];

    world_init(&w);
    for (unsigned i = 0; i < META_VHOSTS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "v%u", i);
        cr_assert_eq(world_vhost(&w, name), META_OK);
    }
    cr_assert_eq(world_vhost(&w, "one more"), META_LIMIT);
    world_deinit(&w);
}
