/* The store's face: what callers are promised, one promise a test. */
#include <string.h>

#include "base/ranges.h"
#include "lib/harness.h"
#include "rig.h"
#include "store/store.h"

Test(store, is_empty_at_first)
{
    struct rig r;

    rig_init(&r, 1);
    cr_assert_eq(store_durable(r.store), 0);
    cr_assert_eq(store_current(r.store), 1);
    cr_assert_not(store_is_idle(r.store)); /* the first file is made */
    disk_sim_complete_all(r.sim);
    cr_assert(store_is_idle(r.store));
    cr_assert_eq(store_term(r.store, 1, 1), 0);
    rig_deinit(&r);
}

Test(store, keeps_what_was_durable)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 2);
    rig_create(&r, 17);
    store_hard_state(r.store, 17, 5, qr_replica(2, 1));
    rig_append(&r, 17, 1, 10, 5, 100);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 17, &info), 0);
    cr_assert_eq(info.term, 5);
    cr_assert_eq(info.vote, qr_replica(2, 1));
    cr_assert_eq(info.first_index, 1);
    cr_assert_eq(info.last_index, 10);
    cr_assert_eq(info.header.size, 6);
    cr_assert_eq(memcmp(info.header.data, "header", 6), 0);
    for (qr_index i = 1; i <= 10; i++) {
        cr_assert(rig_has(&r, 17, i, 5, 100));
    }
    rig_deinit(&r);
}

Test(store, writes_one_batch_for_all_groups)
{
    struct rig r;

    rig_init(&r, 3);
    for (qr_group_id id = 16; id < 48; id++) {
        rig_create(&r, id);
        cr_assert_eq(rig_append(&r, id, 1, 1, 1, 64), 1);
    }
    rig_settle(&r);
    cr_assert_eq(r.durable, 1);
    cr_assert_eq(rig_stats(&r).batches, 1);
    cr_assert_eq(rig_stats(&r).syncs, 1);
    rig_deinit(&r);
}

Test(store, forgets_what_was_not_flushed)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 4);
    rig_create(&r, 16);
    rig_settle(&r);
    rig_append(&r, 16, 1, 3, 1, 100);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), 0);
    cr_assert_eq(info.last_index, 0);
    rig_deinit(&r);
}

Test(store, cuts_off_what_an_append_overwrites)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 5);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 10, 1, 100);
    rig_append(&r, 16, 6, 2, 2, 50);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert_eq(info.last_index, 7);
        cr_assert(rig_has(&r, 16, 5, 1, 100));
        cr_assert(rig_has(&r, 16, 6, 2, 50));
        cr_assert(rig_has(&r, 16, 7, 2, 50));
        cr_assert_eq(store_term(r.store, 16, 8), 0);
        rig_settle(&r);
        rig_reopen(&r);
    }
    rig_deinit(&r);
}

Test(store, cuts_without_appending)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 6);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 10, 1, 100);
    store_append(r.store, 16, 4, NULL, 0);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), 0);
    cr_assert_eq(info.last_index, 3);
    cr_assert_eq(store_term(r.store, 16, 4), 0);
    rig_deinit(&r);
}

Test(store, snapshot_keeps_only_what_is_live)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 7);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 50, 1, 100);
    rig_append(&r, 16, 51, 50, 2, 100);
    rig_snapshot(&r, 16, 90, 40, 60);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert(info.has_snapshot);
        cr_assert_eq(info.snapshot.index, 90);
        cr_assert_eq(info.snapshot.term, 2);
        cr_assert_eq(info.snapshot.configuration_index, 1);
        cr_assert_eq(info.snapshot.manifest.size, 8);
        cr_assert_eq(info.snapshot.configuration.size, 4);
        cr_assert_eq(info.snapshot.live->count, 1);
        cr_assert_eq(info.snapshot.live->items[0].first, 40);
        cr_assert_eq(info.snapshot.live->items[0].last, 60);
        cr_assert_eq(info.first_index, 91);
        cr_assert_eq(info.last_index, 100);
        cr_assert_not(rig_has(&r, 16, 39, 1, 100));
        cr_assert(rig_has(&r, 16, 40, 1, 100));
        cr_assert(rig_has(&r, 16, 60, 2, 100));
        cr_assert_not(rig_has(&r, 16, 61, 2, 100));
        cr_assert(rig_has(&r, 16, 91, 2, 100));
        cr_assert_eq(store_term(r.store, 16, 90), 2);
        rig_settle(&r);
        rig_reopen(&r);
    }
    rig_deinit(&r);
}

Test(store, deletes_a_group_for_good)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 8);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 10, 1, 100);
    rig_settle(&r);
    store_group_delete(r.store, 16);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), -QR_ENOENT);
    rig_create(&r, 16);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), 0);
    cr_assert_eq(info.last_index, 0);
    rig_deinit(&r);
}

Test(store, volatile_groups_cost_no_disk)
{
    struct rig r;
    struct store_group_info info;
    struct slice header = slice_copy("v", 1);

    rig_init(&r, 9);
    cr_assert_eq(store_group_create(r.store, 16, &header, true), 0);
    cr_assert_eq(store_hard_state(r.store, 16, 1, 1), 0);
    cr_assert_eq(rig_append(&r, 16, 1, 10, 1, 100), 0);
    cr_assert_eq(rig_append(&r, 16, 9, 3, 2, 0), 0);
    cr_assert(rig_has(&r, 16, 8, 1, 100));
    cr_assert(rig_has(&r, 16, 11, 2, 0));
    cr_assert_eq(rig_snapshot(&r, 16, 10, 2, 3), 0);
    cr_assert(rig_has(&r, 16, 3, 1, 100));
    cr_assert_not(rig_has(&r, 16, 4, 1, 100));
    cr_assert(store_is_cached(r.store, 16, 3));
    rig_settle(&r);
    cr_assert_eq(rig_stats(&r).batches, 0);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), -QR_ENOENT);
    slice_unref(&header);
    rig_deinit(&r);
}

static uint64_t
stage(struct rig *r, qr_group_id group, qr_index index, qr_term term,
      size_t size)
{
    struct store_entry e = {term, 1, rig_body(group, index, term, size)};
    uint64_t batch = store_stage(r->store, group, index, &e);

    slice_unref(&e.data);
    return batch;
}

static void
install(bool is_volatile)
{
    struct rig r;
    struct ranges live;
    struct store_snapshot snap = {.index = 30, .term = 3, .live = &live};
    struct store_group_info info;
    struct slice header = slice_empty();
    uint64_t batch;
    qr_index missing = 0;

    rig_init(&r, 10);
    store_group_create(r.store, 16, &header, is_volatile);
    rig_append(&r, 16, 1, 10, 1, 100);
    rig_append(&r, 16, 11, 25, 2, 100);
    ranges_init(&live);
    ranges_add(&live, 5, 6);
    ranges_add(&live, 20, 22);
    stage(&r, 16, 21, 2, 70);
    stage(&r, 16, 21, 3, 70); /* sent again */
    stage(&r, 16, 20, 3, 70);
    stage(&r, 16, 25, 3, 70); /* not asked for */
    store_append(r.store, 16, 22, NULL, 0);
    cr_assert_eq(store_install(r.store, 16, &snap, &batch, &missing),
                 -QR_ENOENT);
    cr_assert_eq(missing, 22);
    stage(&r, 16, 22, 3, 0);
    cr_assert_eq(store_install(r.store, 16, &snap, &batch, &missing), 0);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert_eq(info.last_index, 30);
        cr_assert_eq(info.first_index, 31);
        cr_assert_eq(store_term(r.store, 16, 30), 3);
        cr_assert(rig_has(&r, 16, 5, 1, 100));
        cr_assert(rig_has(&r, 16, 6, 1, 100));
        cr_assert_not(rig_has(&r, 16, 7, 1, 100));
        cr_assert(rig_has(&r, 16, 20, 3, 70));
        cr_assert(rig_has(&r, 16, 21, 3, 70));
        cr_assert(rig_has(&r, 16, 22, 3, 0));
        cr_assert_eq(store_term(r.store, 16, 25), 0);
        rig_settle(&r);
        if (!is_volatile) {
            rig_reopen(&r);
        }
    }
    rig_append(&r, 16, 31, 3, 4, 10);
    cr_assert(rig_has(&r, 16, 33, 4, 10));
    rig_snapshot(&r, 16, 32, 21, 21);
    rig_settle(&r);
    if (!is_volatile) {
        rig_reopen(&r);
    }
    cr_assert(rig_has(&r, 16, 21, 3, 70));
    cr_assert_not(rig_has(&r, 16, 20, 3, 70));
    ranges_deinit(&live);
    rig_deinit(&r);
}

Test(store, installs_a_snapshot_from_what_is_staged_and_present)
{
    install(false);
}

Test(store, installs_into_a_volatile_group)
{
    install(true);
}

Test(store, drops_unfinished_staging_at_a_restart)
{
    struct rig r;
    struct ranges live;
    struct store_snapshot snap = {.index = 9, .term = 3, .live = &live};
    uint64_t batch;
    qr_index missing = 0;

    rig_init(&r, 11);
    rig_create(&r, 16);
    stage(&r, 16, 5, 3, 70);
    rig_settle(&r);
    rig_reopen(&r);
    ranges_init(&live);
    ranges_add(&live, 5, 5);
    cr_assert_eq(store_install(r.store, 16, &snap, &batch, &missing),
                 -QR_ENOENT);
    cr_assert_eq(missing, 5);
    cr_assert_lt(rig_stats(&r).live_bytes, 70);
    ranges_deinit(&live);
    rig_deinit(&r);
}

Test(store, drops_staging_on_demand)
{
    struct rig r;
    uint64_t live;

    rig_init(&r, 12);
    rig_create(&r, 16);
    live = rig_stats(&r).live_bytes;
    stage(&r, 16, 5, 3, 70);
    cr_assert_gt(rig_stats(&r).live_bytes, live);
    store_stage_drop(r.store, 16);
    cr_assert_eq(rig_stats(&r).live_bytes, live);
    rig_deinit(&r);
}

Test(store, takes_entries_larger_than_a_segment)
{
    struct rig r;

    rig_init(&r, 13);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 1, 1, 300000);
    rig_append(&r, 16, 2, 1, 1, 100);
    rig_append(&r, 16, 3, 1, 1, 65536);
    rig_settle(&r);
    cr_assert(rig_has(&r, 16, 1, 1, 300000));
    rig_reopen(&r);
    cr_assert(rig_has(&r, 16, 1, 1, 300000));
    cr_assert(rig_has(&r, 16, 2, 1, 100));
    cr_assert(rig_has(&r, 16, 3, 1, 65536));
    rig_deinit(&r);
}

struct fetch {
    struct store_fetch base;
    unsigned calls;
};

static void
fetch_done(struct store_fetch *base)
{
    struct fetch *f = base->arg;

    f->calls++;
}

static void
fetch(struct rig *r, struct fetch *f, qr_group_id group, qr_index index)
{
    memset(f, 0, sizeof(*f));
    f->base.done = fetch_done;
    f->base.arg = f;
    f->base.group = group;
    f->base.index = index;
    store_fetch(r->store, &f->base);
    cr_assert_eq(f->calls, 0);
}

Test(store, fetches_later_from_memory_and_from_disk)
{
    struct rig r;
    struct fetch f;

    rig_init(&r, 14);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 3, 1, 100);
    rig_settle(&r);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(store_is_cached(r.store, 16, 2), round == 0);
        fetch(&r, &f, 16, 2);
        disk_sim_complete_all(r.sim);
        cr_assert_eq(f.calls, 1);
        cr_assert_eq(f.base.result, 0);
        cr_assert_eq(f.base.entry.data.size, 100);
        cr_assert_eq(f.base.entry.term, 1);
        slice_unref(&f.base.entry.data);
        cr_assert(store_is_cached(r.store, 16, 2));
        rig_reopen(&r);
    }
    fetch(&r, &f, 16, 4);
    disk_sim_complete_all(r.sim);
    cr_assert_eq(f.calls, 1);
    cr_assert_eq(f.base.result, -QR_ENOENT);
    rig_deinit(&r);
}

Test(store, reads_are_verified)
{
    struct rig r;
    struct store_entry e;
    struct fetch f;

    rig_init(&r, 15);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 2, 1, 5000);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(disk_sim_flip(r.sim, "segment-00000001.log", 3000, 1), 0);
    cr_assert_eq(store_read(r.store, 16, 1, &e), -QR_ECORRUPT);
    fetch(&r, &f, 16, 1);
    disk_sim_complete_all(r.sim);
    cr_assert_eq(f.base.result, -QR_ECORRUPT);
    disk_sim_fail_reads(r.sim, 0, -QR_EIO);
    fetch(&r, &f, 16, 2);
    disk_sim_complete_all(r.sim);
    cr_assert_eq(f.base.result, -QR_EIO);
    disk_sim_fail_reads(r.sim, 0, 0);
    cr_assert_eq(store_read(r.store, 16, 2, &e), -QR_ECORRUPT);
    cr_assert_eq(store_read(r.store, 16, 3, &e), -QR_ENOENT);
    cr_assert_eq(store_read(r.store, 17, 1, &e), -QR_ENOENT);
    rig_deinit(&r);
}

Test(store, reports_a_failing_disk_once)
{
    struct rig r;

    rig_init(&r, 16);
    rig_create(&r, 16);
    rig_settle(&r);
    disk_sim_fail(r.sim, 0, -QR_EIO);
    rig_append(&r, 16, 1, 1, 1, 100);
    rig_settle(&r);
    cr_assert_eq(r.failures, 1);
    cr_assert_not_null(strstr(r.failure, "check the disk"));
    rig_append(&r, 16, 2, 1, 1, 100);
    rig_settle(&r);
    cr_assert_eq(r.failures, 1);
    cr_assert_eq(r.durable, 1);
    rig_deinit(&r);
}

/* Load with AFTER changes allowed; returns whether the store gave up. */
static bool
survives(uint64_t after)
{
    struct rig r;
    bool failed;

    rig_init(&r, 30);
    rig_create(&r, 16);
    rig_settle(&r);
    disk_sim_fail(r.sim, after, -QR_EIO);
    for (qr_index i = 1; i <= 200; i++) {
        rig_append(&r, 16, i, 1, 1, 900);
        if (i % 20 == 0) {
            rig_snapshot(&r, 16, i, 0, 0);
        }
        rig_settle(&r);
    }
    failed = r.failures > 0;
    cr_assert_leq(r.failures, 1);
    disk_sim_fail(r.sim, 0, 0);
    rig_crash(&r, 0);
    rig_must_open(&r);
    cr_assert_geq(store_durable(r.store), r.durable);
    rig_deinit(&r);
    return !failed;
}

Test(store, stops_at_any_change_that_fails)
{
    uint64_t after = 0;

    while (!survives(after)) {
        after++;
    }
    cr_assert_gt(after, 200);
}

Test(store, opens_only_when_it_can_sync)
{
    struct rig r;

    rig_init(&r, 31);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 80, 1, 900);
    rig_snapshot(&r, 16, 80, 0, 0);
    rig_append(&r, 16, 81, 1, 1, 900);
    rig_settle(&r);
    rig_settle(&r);
    cr_assert_gt(rig_stats(&r).segments_free, 0);
    rig_close(&r);
    disk_sim_fail(r.sim, 0, -QR_EIO); /* a free file */
    cr_assert_eq(rig_open(&r), -QR_EIO);
    cr_assert_not_null(strstr(r.err.text, "synced"));
    disk_sim_fail(r.sim, 1, -QR_EIO); /* the newest one */
    cr_assert_eq(rig_open(&r), -QR_EIO);
    cr_assert_not_null(strstr(r.err.text, "synced"));
    disk_sim_fail(r.sim, 0, 0);
    rig_must_open(&r);
    rig_deinit(&r);
}

Test(store, goes_on_without_a_spare)
{
    struct rig r;

    rig_init(&r, 32);
    rig_create(&r, 16);
    rig_settle(&r);
    disk_sim_set_capacity(r.sim, STORE_SEGMENT_SIZE_MIN);
    rig_append(&r, 16, 1, 50, 1, 1000); /* more than half */
    rig_settle(&r);
    cr_assert_eq(r.failures, 0);
    cr_assert_eq(rig_stats(&r).segments, 1);
    disk_sim_set_capacity(r.sim, 4 * STORE_SEGMENT_SIZE_MIN);
    rig_append(&r, 16, 51, 50, 1, 1000);
    rig_settle(&r);
    cr_assert_eq(r.failures, 0);
    cr_assert(rig_has(&r, 16, 100, 1, 1000));
    rig_deinit(&r);
}

Test(store, a_long_append_survives_as_a_prefix)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig r;
        struct store_group_info info;
        struct store_entry entries[150];
        uint64_t batch;

        rig_init(&r, seed);
        rig_create(&r, 16);
        rig_settle(&r);
        for (size_t i = 0; i < 150; i++) {
            entries[i].term = 1;
            entries[i].type = 1;
            entries[i].data = rig_body(16, i + 1, 1, 1000);
        }
        batch = store_append(r.store, 16, 1, entries, 150);
        cr_assert_gt(batch, 3); /* several segments, so several batches */
        store_flush(r.store);
        for (uint64_t i = 0; i < seed / 2; i++) {
            (void)disk_sim_complete_one(r.sim);
        }
        rig_crash(&r, 500000);
        rig_must_open(&r);
        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert_geq(store_durable(r.store), r.durable);
        cr_assert_eq(store_durable(r.store) >= batch, info.last_index == 150);
        for (qr_index i = 1; i <= info.last_index; i++) {
            cr_assert(rig_has(&r, 16, i, 1, 1000));
        }
        for (size_t i = 0; i < 150; i++) {
            slice_unref(&entries[i].data);
        }
        rig_deinit(&r);
    }
}

Test(store, names_the_groups_that_pin_the_oldest_segment)
{
    struct rig r;
    qr_group_id ids[4];

    rig_init(&r, 18);
    rig_create(&r, 20);
    rig_create(&r, 18);
    rig_create(&r, 19);
    rig_append(&r, 20, 1, 1, 1, 100);
    rig_append(&r, 18, 1, 1, 1, 100);
    cr_assert_eq(store_pinning_groups(r.store, ids, 4), 0);
    for (qr_index i = 1; i <= 400; i++) {
        rig_append(&r, 19, i, 1, 1, 1000);
        if (i == 300) {
            rig_append(&r, 20, 2, 1, 1, 100);
        }
        rig_settle(&r);
    }
    cr_assert(store_is_pressed(r.store));
    cr_assert_eq(store_pinning_groups(r.store, ids, 4), 3);
    cr_assert_eq(ids[0], 18);
    cr_assert_eq(ids[1], 19);
    cr_assert_eq(ids[2], 20);
    cr_assert_eq(store_pinning_groups(r.store, ids, 1), 1);
    rig_snapshot(&r, 18, 1, 0, 0);
    rig_snapshot(&r, 19, 400, 0, 0);
    rig_snapshot(&r, 20, 1, 1, 1); /* released only in part */
    cr_assert_eq(store_pinning_groups(r.store, ids, 4), 1);
    cr_assert_eq(ids[0], 20);
    rig_snapshot(&r, 20, 2, 0, 0);
    cr_assert_eq(store_pinning_groups(r.store, ids, 4), 0);
    rig_settle(&r);
    rig_append(&r, 19, 401, 1, 1, 1000);
    rig_settle(&r);
    rig_settle(&r);
    cr_assert_not(store_is_pressed(r.store));
    rig_deinit(&r);
}

static void
collect(void *arg, const struct store_group_info *info)
{
    char *text = arg;
    size_t length = strlen(text);

    text[length] = (char)('a' + (info->id - 16));
    text[length + 1] = '\0';
}

Test(store, lists_groups_in_order)
{
    struct rig r;
    char text[16] = "";

    rig_init(&r, 19);
    rig_create(&r, 18);
    rig_create(&r, 16);
    rig_create(&r, 17);
    store_foreach_group(r.store, collect, text);
    cr_assert_str_eq(text, "abc");
    rig_deinit(&r);
}
