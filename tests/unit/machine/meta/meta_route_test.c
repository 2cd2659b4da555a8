/* Routing from end to end: every type, chains, cycles, no duplicates. */
#include <quorate/error.h>

#include "lib/harness.h"
#include "world.h"

Test(meta_route, the_default_exchange_knows_queues_by_name)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_str_eq(world_route(&w, "", "q"), "q");
    cr_assert_str_eq(world_route(&w, "", "r"), "");
    cr_assert_str_eq(world_route(&w, "", ""), "");
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    cr_assert_str_eq(world_route(&w, "", "q"), "");
    world_deinit(&w);
}

Test(meta_route, direct_fanout_and_topic_each_in_their_way)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "a"), META_OK);
    cr_assert_eq(world_queue(&w, "b"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.direct", "a", "k"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.direct", "b", "l"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.fanout", "a", "k"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.fanout", "b", "l"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "a", "k.*"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "b", "#.l"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.match", "a", "k"), META_OK);
    cr_assert_str_eq(world_route(&w, "amq.direct", "k"), "a");
    cr_assert_str_eq(world_route(&w, "amq.direct", "m"), "");
    cr_assert_str_eq(world_route(&w, "amq.fanout", "m"), "a b");
    cr_assert_str_eq(world_route(&w, "amq.topic", "k.l"), "a b");
    cr_assert_str_eq(world_route(&w, "amq.topic", "l"), "b");
    cr_assert_str_eq(world_route(&w, "amq.match", "k"), "",
                     "headers are not routed yet");
    world_deinit(&w);
}

Test(meta_route, a_queue_is_reached_once_however_many_bindings)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(world_exchange(&w, "x", META_FANOUT, false), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "q", "#"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "q", "*"), META_OK);
    cr_assert_eq(world_bind(&w, "amq.topic", "q", "k"), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "x", "k"), META_OK);
    cr_assert_eq(world_bind(&w, "x", "q", ""), META_OK);
    cr_assert_str_eq(world_route(&w, "amq.topic", "k"), "q");
    world_deinit(&w);
}

Test(meta_route, cycles_of_exchanges_end)
{
    struct world w;

    world_init_cluster(&w);
    for (unsigned i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        char queue[3] = {'q', name[0], '\0'};

        cr_assert_eq(world_exchange(&w, name, META_FANOUT, false), META_OK);
        cr_assert_eq(world_queue(&w, queue), META_OK);
        cr_assert_eq(world_bind(&w, name, queue, ""), META_OK);
    }
    cr_assert_eq(world_bind_exchange(&w, "a", "b", ""), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "b", "c", ""), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "c", "a", ""), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "c", "c", ""), META_OK);
    cr_assert_str_eq(world_route(&w, "a", ""), "qa qb qc");
    cr_assert_str_eq(world_route(&w, "c", ""), "qa qb qc");
    cr_assert_eq(world_delete_queue(&w, "qb"), META_OK);
    cr_assert_str_eq(world_route(&w, "a", ""), "qa qc");
    world_deinit(&w);
}

Test(meta_route, exchanges_route_on_by_the_same_key)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "errors"), META_OK);
    cr_assert_eq(world_queue(&w, "all"), META_OK);
    cr_assert_eq(world_exchange(&w, "logs", META_TOPIC, false), META_OK);
    cr_assert_eq(world_bind_exchange(&w, "amq.topic", "logs", "log.#"),
                 META_OK);
    cr_assert_eq(world_bind(&w, "logs", "errors", "*.error"), META_OK);
    cr_assert_eq(world_bind(&w, "logs", "all", "#"), META_OK);
    cr_assert_str_eq(world_route(&w, "amq.topic", "log.error"), "all errors");
    cr_assert_str_eq(world_route(&w, "amq.topic", "log.info"), "all");
    cr_assert_str_eq(world_route(&w, "amq.topic", "other"), "");
    world_deinit(&w);
}

Test(meta_route, long_chains_are_followed_to_their_end)
{
    struct world w;
    char from[16];
    char to[16];

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(to, sizeof(to), "x%u", i);
        cr_assert_eq(world_exchange(&w, to, META_DIRECT, false), META_OK);
        if (i > 0) {
            (void)snprintf(from, sizeof(from), "x%u", i - 1);
            cr_assert_eq(world_bind_exchange(&w, from, to, "k"), META_OK);
        }
    }
    cr_assert_eq(world_bind(&w, "x499", "q", "k"), META_OK);
    cr_assert_str_eq(world_route(&w, "x0", "k"), "q");
    world_deinit(&w);
}

/* Pattern NUMBER of some that are dear to match with the key together. */
static void
put_dear(unsigned number, char pattern[QR_NAME_SIZE_MAX + 1])
{
    size_t size = 0;

    for (unsigned word = 0; size + 4 <= QR_NAME_SIZE_MAX; word++) {
        memcpy(pattern + size, word == number ? "#.*." : "#.a.", 4);
        size += 4;
    }
    pattern[size - 1] = '\0';
}

static void
put_dear_key(char key[QR_NAME_SIZE_MAX + 1])
{
    for (size_t i = 0; i < QR_NAME_SIZE_MAX; i++) {
        key[i] = i % 2 == 0 ? 'a' : '.';
    }
    key[QR_NAME_SIZE_MAX] = '\0';
}

Test(meta_route, what_takes_too_long_is_refused)
{
    struct world w;
    struct meta_route r;
    char key[QR_NAME_SIZE_MAX + 1];

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    for (unsigned i = 0; i < 40; i++) {
        put_dear(i, key);
        cr_assert_eq(world_bind(&w, "amq.topic", "q", key), META_OK);
    }
    put_dear_key(key);
    meta_route_init(&r);
    cr_assert_eq(meta_route(w.m, world_find_exchange(&w, "amq.topic"), key,
                            strlen(key), &r),
                 -QR_EBUSY);
    cr_assert_eq(r.count, 0U);
    cr_assert_eq(r.steps, (size_t)META_ROUTE_STEPS_MAX);
    /* Of the budget, a shorter key takes a part. */
    cr_assert_eq(
        meta_route(w.m, world_find_exchange(&w, "amq.topic"), "a.a", 3, &r), 0);
    cr_assert_gt(r.steps, 0U);
    cr_assert_lt(r.steps, (size_t)META_ROUTE_STEPS_MAX);
    meta_route_deinit(&r);
    world_deinit(&w);
}

Test(meta_route, a_result_is_replaced_and_its_room_kept)
{
    struct world w;
    struct meta_route r;
    struct meta_queue **room = NULL;
    char name[16];

    world_init_cluster(&w);
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "q%u", i);
        cr_assert_eq(world_queue(&w, name), META_OK);
        cr_assert_eq(world_bind(&w, "amq.fanout", name, ""), META_OK);
    }
    meta_route_init(&r);
    cr_assert_eq(
        meta_route(w.m, world_find_exchange(&w, "amq.fanout"), "", 0, &r), 0);
    cr_assert_eq(r.count, 100U);
    room = r.queues;
    cr_assert_eq(
        meta_route(w.m, world_find_exchange(&w, "amq.fanout"), "", 0, &r), 0);
    cr_assert_eq(r.count, 100U);
    cr_assert_eq(r.queues, room);
    cr_assert_eq(meta_route(w.m, world_find_exchange(&w, ""), "q7", 2, &r), 0);
    cr_assert_eq(r.count, 1U);
    cr_assert_eq(r.queues[0], world_find_queue(&w, "q7"));
    meta_route_deinit(&r);
    world_deinit(&w);
}
