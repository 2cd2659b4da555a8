/* Requests take effect once; sessions end with their start. */
#include "lib/harness.h"
#include "world.h"

static uint64_t
session(qr_node_id node, uint32_t boot, uint16_t shard)
{
    return ((uint64_t)node << 48) | ((uint64_t)boot << 16) | shard;
}

/* Declare queue NAME as REQUEST of SESSION. */
static enum meta_status
declare(struct world *w, uint64_t of, uint64_t request, const char *name)
{
    struct meta_queue_declare d = {.vhost = text("/"),
                                   .name = text(name),
                                   .is_durable = true,
                                   .arguments = text(""),
                                   .nodes = {1, 2, 3},
                                   .nodes_count = 3};

    meta_put_queue_declare(&w->commands, of, request, &d);
    return world_apply(w);
}

static enum meta_status
barrier(struct world *w, uint64_t of, uint64_t request)
{
    meta_put_barrier(&w->commands, of, request);
    return world_apply(w);
}

Test(meta_session, a_repeated_declare_does_not_bring_back_what_was_deleted)
{
    uint64_t s = session(2, 1, 0);
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, s, 5, "q"), META_OK);
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    (void)world_events(&w);
    cr_assert_eq(declare(&w, s, 5, "q"), META_EXISTS);
    cr_assert_null(world_find_queue(&w, "q"));
    cr_assert_str_eq(world_events(&w), "");
    cr_assert_eq(w.outcome.group, 0);
    cr_assert_eq(declare(&w, s, 6, "q"), META_OK, "a new request may");
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_session, a_repeated_request_hears_what_is_there)
{
    uint64_t s = session(1, 1, 3);
    struct world w;
    qr_group_id group;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, s, 1, "q"), META_OK);
    group = w.outcome.group;
    cr_assert_eq(declare(&w, s, 1, "q"), META_EXISTS);
    cr_assert_eq(w.outcome.group, group);
    cr_assert_eq(w.outcome.request, 1);
    cr_assert_eq(barrier(&w, s, 2), META_OK);
    cr_assert_eq(barrier(&w, s, 2), META_OK);
    world_deinit(&w);
}

Test(meta_session, requests_may_come_in_any_order)
{
    uint64_t s = session(1, 1, 0);
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, s, 9, "a"), META_OK);
    cr_assert_eq(declare(&w, s, 7, "b"), META_OK);
    cr_assert_eq(declare(&w, s, 8, "c"), META_OK);
    cr_assert_eq(declare(&w, s, 7, "d"), META_EXISTS);
    cr_assert_null(world_find_queue(&w, "d"));
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_session, is_remembered_across_a_snapshot)
{
    uint64_t s = session(1, 1, 0);
    struct world w;
    struct buf state;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, s, 1, "q"), META_OK);
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    buf_init(&state);
    meta_machine_snapshot(w.m, &state);
    cr_assert_eq(meta_machine_restore(w.m, w.index, state.data, state.size), 0);
    buf_deinit(&state);
    cr_assert_eq(declare(&w, s, 1, "q"), META_EXISTS);
    cr_assert_null(world_find_queue(&w, "q"));
    world_deinit(&w);
}

Test(meta_session, ends_when_its_node_starts_again)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, session(2, 1, 0), 1, "q"), META_OK);
    cr_assert_eq(world_node_up(&w, 2, 2), META_OK);
    cr_assert_eq(declare(&w, session(2, 1, 0), 2, "late"), META_REFUSED);
    cr_assert_null(world_find_queue(&w, "late"));
    cr_assert_eq(declare(&w, session(2, 2, 0), 1, "new"), META_OK);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_session, of_a_removed_node_changes_nothing)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, session(2, 1, 0), 1, "q"), META_OK);
    meta_put_node_remove(&w.commands, 0, 0, 2);
    cr_assert_eq(world_apply(&w), META_OK);
    cr_assert_eq(barrier(&w, session(2, 1, 0), 2), META_REFUSED);
    cr_assert_eq(barrier(&w, session(2, 9, 0), 2), META_REFUSED);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_session, remembers_so_many_requests_back_and_no_more)
{
    uint64_t s = session(1, 1, 0);
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(declare(&w, s, 1, "a"), META_OK);
    cr_assert_eq(declare(&w, s, META_REQUESTS_BACK + 2, "b"), META_OK);
    cr_assert_eq(declare(&w, s, 2, "c"), META_EXISTS, "too far behind");
    cr_assert_null(world_find_queue(&w, "c"));
    cr_assert_eq(declare(&w, s, 3, "c"), META_OK);
    world_check_snapshot(&w);
    world_deinit(&w);
}

Test(meta_session, those_beyond_the_limit_are_not_remembered)
{
    struct world w;

    world_init_cluster(&w);
    for (uint32_t i = 0; i < META_SESSIONS_MAX; i++) {
        meta_put_barrier(&w.commands, session(1, 1 + i / 64, i % 64), 1);
        (void)world_apply(&w);
    }
    cr_assert_eq(declare(&w, session(1, 9999, 0), 1, "q"), META_OK);
    cr_assert_eq(world_delete_queue(&w, "q"), META_OK);
    cr_assert_eq(declare(&w, session(1, 9999, 0), 1, "q"), META_OK);
    cr_assert_eq(declare(&w, session(1, 1, 1), 1, "r"), META_EXISTS);
    world_deinit(&w);
}
