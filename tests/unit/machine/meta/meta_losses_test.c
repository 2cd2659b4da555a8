/* Entries of the metadata that rotted on the only replica: what is left keeps
 * its ids, and none that was given out is given out again. */
#include <quorate/error.h>

#include "lib/harness.h"
#include "world.h"

/* Append the declaration of NAME to the entry to come, as a leader whose next
 * group is *NEXT. */
static void
stamp(struct world *w, const char *name, qr_group_id *next)
{
    struct meta_queue_declare d = {.vhost = text("/"),
                                   .name = text(name),
                                   .is_durable = true,
                                   .nodes = {1},
                                   .nodes_count = 1};
    struct buf plain;

    buf_init(&plain);
    meta_put_queue_declare(&plain, 0, 0, &d);
    meta_machine_stamp(w->m, &w->commands, plain.data, plain.size, next);
    buf_deinit(&plain);
}

static void
lose(struct world *w, qr_index until)
{
    buf_clear(&w->commands);
    w->index++;
    meta_machine_pass(w->m, w->index, until, 1234);
}

Test(meta_losses, there_are_none_as_a_rule)
{
    struct meta_losses l;
    struct world w;

    world_init(&w);
    meta_losses(w.m, &l);
    cr_assert_eq(l.count, 0);
    world_deinit(&w);
}

Test(meta_losses, a_queue_has_the_group_that_its_leader_chose)
{
    struct world w;
    qr_group_id next = 40;

    world_init_cluster(&w);
    stamp(&w, "q", &next);
    stamp(&w, "r", &next);
    cr_assert_eq(next, 42);
    world_apply(&w);
    cr_assert_eq(world_find_queue(&w, "q")->group, 40);
    cr_assert_eq(world_find_queue(&w, "r")->group, 41);
    cr_assert_eq(meta_group_next(w.m), 42);
    stamp(&w, "q", &next);
    cr_assert_eq(next, 42, "it is there already");
    world_deinit(&w);
}

Test(meta_losses, a_group_that_is_taken_is_not_given_again)
{
    struct world w;
    qr_group_id next = 40;

    world_init_cluster(&w);
    stamp(&w, "q", &next);
    world_apply(&w);
    next = 40;
    stamp(&w, "r", &next);
    world_apply(&w);
    cr_assert_eq(world_find_queue(&w, "r")->group, 41);
    next = UINT64_MAX - 1;
    stamp(&w, "s", &next);
    world_apply(&w);
    cr_assert_eq(world_find_queue(&w, "s")->group, 42, "out of all reason");
    world_deinit(&w);
}

Test(meta_losses, what_was_declared_behind_a_loss_keeps_its_group)
{
    struct meta_losses l;
    struct world w;
    qr_group_id next = 16;
    qr_index lost;

    world_init_cluster(&w);
    stamp(&w, "gone", &next);
    lost = w.index + 1;
    lose(&w, w.index + 2);
    stamp(&w, "q", &next);
    world_apply(&w);
    cr_assert_eq(world_find_queue(&w, "q")->group, 17);
    cr_assert_null(world_find_queue(&w, "gone"));
    meta_losses(w.m, &l);
    cr_assert_eq(l.count, 1);
    cr_assert_eq(l.first, lost);
    cr_assert_eq(l.last, lost);
    cr_assert_eq(l.time_ms, 1234);
    world_deinit(&w);
}

Test(meta_losses, new_groups_lie_above_all_that_may_have_been_lost)
{
    struct world w;
    struct world copy;
    struct buf state;
    qr_group_id next = 16;

    world_init_cluster(&w);
    world_init(&copy);
    buf_init(&state);
    lose(&w, w.index + 2);
    lose(&w, w.index + 1);
    world_check_snapshot(&w);
    meta_machine_snapshot(w.m, &state);
    cr_assert_eq(meta_machine_restore(copy.m, w.index, state.data, state.size),
                 0);
    copy.index = w.index;
    stamp(&w, "q", &next);
    world_apply(&w);
    cr_assert_geq(world_find_queue(&w, "q")->group, 16 + (2 << 20));
    next = 16;
    stamp(&copy, "q", &next);
    world_apply(&copy);
    cr_assert_eq(world_find_queue(&copy, "q")->group,
                 world_find_queue(&w, "q")->group);
    world_check_snapshot(&w);
    for (size_t size = state.size - 5; size < state.size; size++) {
        cr_assert_neq(
            meta_machine_restore(copy.m, copy.index + 1, state.data, size), 0);
    }
    buf_deinit(&state);
    world_deinit(&copy);
    world_deinit(&w);
}

Test(meta_losses, malformed_commands_are_proposed_as_they_are)
{
    static const uint8_t bytes[] = {3, 0xff, 0xff, 0xff, 9, 1};
    struct world w;
    struct buf out;
    qr_group_id next = 16;

    world_init_cluster(&w);
    buf_init(&out);
    meta_machine_stamp(w.m, &out, bytes, sizeof(bytes), &next);
    cr_assert_eq(out.size, sizeof(bytes));
    cr_assert_arr_eq(out.data, bytes, sizeof(bytes));
    cr_assert_eq(next, 16);
    buf_deinit(&out);
    world_deinit(&w);
}
