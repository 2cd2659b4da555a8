/* The end of the log is sealed at rest, and a full disk is waited out. */
#include <string.h>

#include "lib/harness.h"
#include "rig.h"
#include "store/chores.h"
#include "store/record.h"

enum {
    SIZE = 1000
};

static const char *first = "segment-00000001.log";

static qr_index
last_index(struct rig *r)
{
    struct store_group_info info;

    cr_assert_eq(store_group_info(r->store, 16, &info), 0);
    return info.last_index;
}

static void
start(struct rig *r, uint64_t seed)
{
    rig_init(r, seed);
    rig_use_timers(r);
    rig_reopen(r);
    rig_create(r, 16);
    rig_settle(r);
}

Test(chores, seal_the_end_of_the_log_at_rest_once)
{
    struct rig r;

    start(&r, 1);
    rig_append(&r, 16, 1, 1, 1, SIZE);
    rig_settle(&r);
    cr_assert_eq(r.durable, 2);
    rig_pass(&r, 3 * STORE_SEAL_DELAY_MS);
    cr_assert_eq(r.durable, 3);
    rig_pass(&r, 100 * STORE_SEAL_DELAY_MS);
    cr_assert_eq(r.durable, 3);
    rig_close(&r);
    /* What was the last batch is one that must be there, by now. */
    cr_assert_eq(disk_sim_flip(r.sim, first, SEGMENT_DATA_AT + 600, 1), 0);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 1);
    cr_assert(store_is_damaged(r.store, 16, 1));
    rig_deinit(&r);
}

Test(chores, do_not_seal_while_the_log_is_busy)
{
    struct rig r;

    start(&r, 2);
    for (qr_index i = 1; i <= 20; i++) {
        rig_append(&r, 16, i, 1, 1, 10);
        rig_settle(&r);
        rig_pass(&r, STORE_SEAL_DELAY_MS / 2);
    }
    cr_assert_eq(r.durable, 21);
    rig_deinit(&r);
}

/* Append single entries until the store says SPACE. */
static qr_index
fill_until(struct rig *r, qr_index at, enum store_space space)
{
    while (store_space(r->store) != space) {
        rig_append(r, 16, at++, 1, 1, SIZE);
        rig_settle(r);
        rig_pass(r, 10);
        cr_assert_lt(at, 10000);
    }
    return at;
}

Test(chores, ask_again_for_space_until_there_is_some)
{
    struct rig r;
    qr_index at;

    start(&r, 3);
    cr_assert_eq(store_space(r.store), STORE_SPACE_OK);
    disk_sim_set_capacity(r.sim, 2 * STORE_SEGMENT_SIZE_MIN);
    at = fill_until(&r, 1, STORE_SPACE_LOW);
    at = fill_until(&r, at, STORE_SPACE_FULL);
    /* More is taken, and waits. */
    rig_append(&r, 16, at, 100, 1, SIZE);
    rig_settle(&r);
    rig_pass(&r, 10 * STORE_SPACE_CHECK_MS);
    cr_assert_eq(r.failures, 0);
    cr_assert_lt(store_durable(r.store), store_current(r.store) - 1);
    cr_assert_eq(store_space(r.store), STORE_SPACE_FULL);
    disk_sim_set_capacity(r.sim, 64 << 20);
    rig_pass(&r, 3 * STORE_SPACE_CHECK_MS);
    cr_assert_eq(store_durable(r.store), store_current(r.store) - 1);
    cr_assert_eq(store_space(r.store), STORE_SPACE_OK);
    rig_reopen(&r);
    cr_assert_eq(last_index(&r), at + 99);
    rig_deinit(&r);
}

Test(chores, give_what_becomes_free_to_what_waits)
{
    struct rig r;
    qr_index at;

    start(&r, 4);
    disk_sim_set_capacity(r.sim, 2 * STORE_SEGMENT_SIZE_MIN);
    at = fill_until(&r, 1, STORE_SPACE_FULL);
    rig_append(&r, 16, at, 40, 1, SIZE);
    rig_settle(&r);
    cr_assert_lt(store_durable(r.store), store_current(r.store) - 1);
    rig_snapshot(&r, 16, at - 1, 0, 0);
    rig_settle(&r);
    rig_pass(&r, 10 * STORE_SPACE_CHECK_MS);
    cr_assert_eq(r.failures, 0);
    rig_deinit(&r);
}

Test(chores, settle_out_of_the_reserve)
{
    struct rig r;
    qr_index at;

    start(&r, 5);
    disk_sim_set_capacity(r.sim, 2 * STORE_SEGMENT_SIZE_MIN);
    at = fill_until(&r, 1, STORE_SPACE_FULL);
    for (int i = 0; i < 10; i++) {
        rig_append(&r, 16, at++, 1, 1, 20);
        store_hard_state(r.store, 16, 2 + (qr_term)i, 1);
        rig_settle(&r);
    }
    rig_snapshot(&r, 16, at - 1, 0, 0);
    rig_settle(&r);
    cr_assert_eq(store_durable(r.store), store_current(r.store) - 1);
    rig_pass(&r, 3 * STORE_SPACE_CHECK_MS);
    cr_assert_eq(store_space(r.store), STORE_SPACE_OK);
    cr_assert_eq(r.failures, 0);
    rig_deinit(&r);
}

Test(chores, need_no_timers_to_go_on_when_there_is_space)
{
    struct rig r;

    rig_init(&r, 6);
    rig_create(&r, 16);
    rig_settle(&r);
    disk_sim_set_capacity(r.sim, STORE_SEGMENT_SIZE_MIN);
    rig_append(&r, 16, 1, 80, 1, SIZE);
    rig_settle(&r);
    cr_assert_eq(r.failures, 0);
    cr_assert_lt(store_durable(r.store), store_current(r.store) - 1);
    disk_sim_set_capacity(r.sim, 64 << 20);
    rig_settle(&r);
    rig_settle(&r);
    cr_assert_eq(store_durable(r.store), store_current(r.store) - 1);
    rig_deinit(&r);
}
