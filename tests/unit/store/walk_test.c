/* Scrubbing finds what has rotted, and emptying keeps the disk bounded. */
#include <string.h>

#include "base/ranges.h"
#include "lib/harness.h"
#include "rig.h"
#include "store/record.h"
#include "store/walk.h"

enum {
    SIZE = 1000,
    PASS_MS = 2 * STORE_SCRUB_PAUSE_MS
};

static const char *first = "segment-00000001.log";

static void
start(struct rig *r, uint64_t seed)
{
    rig_init(r, seed);
    rig_use_timers(r);
    rig_reopen(r);
    rig_create(r, 16);
    rig_settle(r);
}

static void
fill(struct rig *r, qr_index count)
{
    for (qr_index i = 1; i <= count; i++) {
        rig_append(r, 16, i, 1, 1, SIZE);
        rig_settle(r);
    }
}

/* The byte of file NAME at which entry INDEX's body begins. */
static uint64_t
find_body(struct rig *r, const char *name, qr_index index)
{
    struct disk *disk = r->config.disk;
    struct slice want = rig_body(16, index, 1, SIZE);
    struct disk_file *file;
    uint8_t got[SIZE];
    uint64_t at;

    cr_assert_eq(disk->ops->open(disk, name, &file), 0);
    for (at = 0; at + SIZE <= STORE_SEGMENT_SIZE_MIN; at += RECORD_ALIGN) {
        cr_assert_eq(disk->ops->read(file, at, got, SIZE), 0);
        if (memcmp(got, want.data, SIZE) == 0) {
            break;
        }
    }
    disk->ops->close(file);
    slice_unref(&want);
    cr_assert_leq(at + SIZE, STORE_SEGMENT_SIZE_MIN);
    return at;
}

Test(walk, scrubs_everything_that_is_live)
{
    struct rig r;
    struct store_stats stats;

    start(&r, 1);
    fill(&r, 200);
    rig_pass(&r, PASS_MS);
    stats = rig_stats(&r);
    cr_assert_geq(stats.scrub_passes, 1);
    cr_assert_geq(stats.scrubbed_bytes, stats.live_bytes);
    cr_assert_eq(stats.damages, 0);
    rig_deinit(&r);
}

Test(walk, keeps_to_its_rate)
{
    struct rig r;
    uint64_t before;

    start(&r, 2);
    r.config.scrub_rate = 10000;
    rig_reopen(&r);
    fill(&r, 200);
    rig_pass(&r, STORE_SCRUB_DELAY_MS);
    before = rig_stats(&r).scrubbed_bytes;
    rig_pass(&r, 10000);
    cr_assert_leq(rig_stats(&r).scrubbed_bytes - before,
                  10 * 10000 + STORE_SEGMENT_SIZE_MIN);
    cr_assert_gt(rig_stats(&r).scrubbed_bytes, 50000);
    rig_deinit(&r);
}

Test(walk, finds_rot_in_sealed_and_active_segments)
{
    struct rig r;

    start(&r, 3);
    fill(&r, 45); /* the cache has room for 15 */
    cr_assert_eq(disk_sim_flip(r.sim, first, find_body(&r, first, 3) + 9, 1),
                 0);
    cr_assert_eq(disk_sim_flip(r.sim, "segment-00000002.log",
                               find_body(&r, "segment-00000002.log", 43) + 9,
                               1),
                 0);
    rig_reopen(&r);
    rig_pass(&r, PASS_MS);
    cr_assert_eq(rig_stats(&r).damaged, 2);
    cr_assert(store_is_damaged(r.store, 16, 3));
    cr_assert(store_is_damaged(r.store, 16, 43));
    rig_deinit(&r);
}

Test(walk, tells_only_which_record_of_a_read_is_bad)
{
    struct rig r;

    start(&r, 4);
    fill(&r, 100);
    cr_assert_eq(disk_sim_spoil_at(r.sim, first, find_body(&r, first, 7) + 300),
                 0);
    rig_pass(&r, PASS_MS);
    cr_assert_eq(r.damages, 1);
    cr_assert_eq(r.damage.index, 7);
    cr_assert_eq(r.damage.kind, STORE_DAMAGE_ENTRY);
    rig_deinit(&r);
}

Test(walk, writes_again_what_is_still_in_memory)
{
    struct rig r;

    start(&r, 5);
    fill(&r, 5);
    cr_assert_eq(disk_sim_flip(r.sim, first, find_body(&r, first, 4) + 9, 1),
                 0);
    rig_pass(&r, PASS_MS);
    cr_assert_eq(r.damages, 0);
    cr_assert_eq(rig_stats(&r).damages, 1);
    cr_assert_eq(rig_stats(&r).repaired, 1);
    rig_reopen(&r);
    cr_assert(rig_has(&r, 16, 4, 1, SIZE));
    rig_deinit(&r);
}

Test(walk, puts_headers_and_control_records_right)
{
    struct rig r;
    struct store_group_info info;

    start(&r, 6);
    fill(&r, 100);
    cr_assert_eq(disk_sim_flip(r.sim, first, 20, 1), 0);
    /* The group's header, in its creation. */
    cr_assert_eq(disk_sim_flip(r.sim, first, SEGMENT_DATA_AT + 66, 1), 0);
    rig_pass(&r, PASS_MS);
    cr_assert_eq(rig_stats(&r).repaired, 2);
    cr_assert_eq(disk_sim_flip(r.sim, first, SECTOR_SIZE + 20, 1), 0);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), 0);
    cr_assert_not(info.is_lost);
    cr_assert_eq(info.last_index, 100);
    cr_assert_eq(info.header.size, 6);
    rig_deinit(&r);
}

Test(walk, empties_a_segment_whose_index_has_rotted)
{
    struct rig r;

    start(&r, 7);
    fill(&r, 100);
    cr_assert_eq(disk_sim_flip(r.sim, first, STORE_SEGMENT_SIZE_MIN - 600, 1),
                 0);
    rig_pass(&r, PASS_MS);
    cr_assert_gt(rig_stats(&r).moved_bytes, 30 * SIZE);
    rig_reopen(&r);
    for (qr_index i = 1; i <= 100; i++) {
        cr_assert(rig_has(&r, 16, i, 1, SIZE));
    }
    rig_deinit(&r);
}

/* What is promised, with the slack of the real thing scaled to these
 * segments. */
static void
check_bound(struct rig *r)
{
    struct store_stats stats = rig_stats(r);

    cr_assert_leq(
        stats.disk_bytes, 2 * stats.live_bytes + 4 * STORE_SEGMENT_SIZE_MIN,
        "%llu live, %llu on the disk", (unsigned long long)stats.live_bytes,
        (unsigned long long)stats.disk_bytes);
}

Test(walk, moves_one_old_entry_out_of_the_way)
{
    struct rig r;
    qr_index kept = 0;

    start(&r, 8);
    rig_create(&r, 17);
    /* Each segment gets one entry that stays, of a queue that is never
     * emptied, among those of a busy one. */
    for (qr_index at = 1; at <= 3000; at++) {
        rig_append(&r, 16, at, 1, 1, SIZE);
        if (at % 40 == 0) {
            rig_append(&r, 17, ++kept, 1, 1, SIZE);
            rig_snapshot(&r, 16, at, 0, 0);
            if (kept % 2 == 0) {
                rig_snapshot(&r, 17, kept, 1, kept);
            }
        }
        rig_settle(&r);
        rig_pass(&r, 1);
    }
    rig_pass(&r, 120 * 1000);
    check_bound(&r);
    cr_assert_gt(rig_stats(&r).moved_bytes, 0);
    for (int round = 0; round < 2; round++) {
        for (qr_index at = 1; at <= kept; at++) {
            cr_assert(rig_has(&r, 17, at, 1, SIZE));
        }
        rig_reopen(&r);
    }
    rig_deinit(&r);
}

Test(walk, keeps_the_disk_bounded_with_many_groups)
{
    struct rig r;
    struct store_group_info info;

    start(&r, 9);
    for (qr_group_id id = 100; id < 400; id++) {
        rig_create(&r, id);
        store_hard_state(r.store, id, id, 1);
        rig_append(&r, id, 1, 2, 1, 100); /* no snapshot ever covers these */
        rig_settle(&r);
        for (int i = 0; i < 10; i++) {
            qr_index at = (id - 100) * 10 + (qr_index)i + 1;

            rig_append(&r, 16, at, 1, 1, SIZE);
            if (at % 40 == 0) {
                rig_snapshot(&r, 16, at, 0, 0);
            }
            rig_settle(&r);
        }
        rig_pass(&r, 1);
    }
    rig_pass(&r, 120 * 1000);
    check_bound(&r);
    for (int round = 0; round < 2; round++) {
        for (qr_group_id id = 100; id < 400; id++) {
            cr_assert_eq(store_group_info(r.store, id, &info), 0);
            cr_assert_eq(info.term, id);
            cr_assert_eq(info.last_index, 2);
            cr_assert(rig_has(&r, id, 1, 1, 100));
            cr_assert(rig_has(&r, id, 2, 1, 100));
        }
        rig_reopen(&r);
    }
    rig_deinit(&r);
}

Test(walk, leaves_next_to_nothing_of_an_empty_queue)
{
    struct rig r;

    start(&r, 10);
    for (qr_index at = 1; at <= 4000; at++) {
        rig_append(&r, 16, at, 1, 1, SIZE);
        if (at % 20 == 0) {
            rig_snapshot(&r, 16, at, 0, 0);
        }
        rig_settle(&r);
    }
    rig_pass(&r, 120 * 1000);
    cr_assert_leq(rig_stats(&r).disk_bytes, 4 * STORE_SEGMENT_SIZE_MIN);
    rig_deinit(&r);
}

Test(walk, moves_what_the_end_of_a_log_hangs_on)
{
    struct rig r;
    struct store_group_info info;

    start(&r, 11);
    /* The tail of group 17 is cut, so that its last entry says where it ends;
     * then everything around it dies. */
    rig_create(&r, 17);
    rig_append(&r, 17, 1, 3, 1, SIZE);
    rig_append(&r, 17, 2, 1, 2, SIZE);
    for (qr_index at = 1; at <= 400; at++) {
        rig_append(&r, 16, at, 1, 1, SIZE);
        if (at % 20 == 0) {
            rig_snapshot(&r, 16, at, 0, 0);
        }
        rig_settle(&r);
    }
    rig_pass(&r, 120 * 1000);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(store_group_info(r.store, 17, &info), 0);
        cr_assert_eq(info.last_index, 2);
        cr_assert(rig_has(&r, 17, 1, 1, SIZE));
        cr_assert(rig_has(&r, 17, 2, 2, SIZE));
        rig_reopen(&r);
    }
    rig_deinit(&r);
}
