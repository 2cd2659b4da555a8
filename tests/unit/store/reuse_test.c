/* The disk that a store takes stays bounded, and what it reuses is clean. */
#include <string.h>

#include "base/ranges.h"
#include "lib/harness.h"
#include "rig.h"
#include "store/record.h"
#include "store/segment.h"
#include "store/store_impl.h"

/* One turn of a busy queue: an entry, and now and then a snapshot that keeps
 * nothing. */
static void
turn(struct rig *r, qr_group_id group, qr_index at)
{
    rig_append(r, group, at, 1, 1, 900);
    if (at % 40 == 0) {
        rig_snapshot(r, group, at - 5, 0, 0);
    }
    rig_settle(r);
}

Test(reuse, keeps_the_disk_bounded_under_endless_load)
{
    struct rig r;
    uint64_t most = 0;

    rig_init(&r, 1);
    rig_create(&r, 16);
    for (qr_index at = 1; at <= 5000; at++) {
        turn(&r, 16, at);
        most = MAX(most, rig_stats(&r).segments);
        cr_assert_not(store_is_pressed(r.store));
    }
    cr_assert_leq(most, 5);
    cr_assert_gt(rig_stats(&r).bytes_written, 20 * STORE_SEGMENT_SIZE_MIN);
    rig_reopen(&r);
    cr_assert(rig_has(&r, 16, 5000, 1, 900));
    rig_deinit(&r);
}

Test(reuse, moves_control_records_of_idle_groups_forward)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 2);
    for (qr_group_id id = 17; id < 57; id++) {
        rig_create(&r, id);
        store_hard_state(r.store, id, id, 1);
        rig_append(&r, id, 1, 2, 1, 10);
        rig_snapshot(&r, id, 2, 0, 0);
    }
    rig_create(&r, 16);
    for (qr_index at = 1; at <= 2000; at++) {
        turn(&r, 16, at);
    }
    cr_assert_leq(rig_stats(&r).segments, 6);
    rig_reopen(&r);
    for (qr_group_id id = 17; id < 57; id++) {
        cr_assert_eq(store_group_info(r.store, id, &info), 0);
        cr_assert_eq(info.term, id);
        cr_assert_eq(info.vote, 1);
        cr_assert_eq(info.last_index, 2);
        cr_assert_eq(info.snapshot.index, 2);
        cr_assert_eq(info.header.size, 6);
    }
    rig_deinit(&r);
}

Test(reuse, leaves_segments_that_hold_live_entries)
{
    struct rig r;

    rig_init(&r, 3);
    rig_create(&r, 16);
    rig_create(&r, 17);
    rig_append(&r, 17, 1, 1, 1, 500);
    for (qr_index at = 1; at <= 500; at++) {
        turn(&r, 16, at);
    }
    rig_snapshot(&r, 17, 1, 1, 1);
    rig_settle(&r);
    for (qr_index at = 501; at <= 1000; at++) {
        turn(&r, 16, at);
    }
    cr_assert(rig_has(&r, 17, 1, 1, 500));
    cr_assert_leq(rig_stats(&r).segments, 6);
    rig_reopen(&r);
    cr_assert(rig_has(&r, 17, 1, 1, 500));
    rig_deinit(&r);
}

Test(reuse, forgets_deleted_groups_in_the_end)
{
    struct rig r;
    uint64_t live;
    qr_index at = 1;

    rig_init(&r, 4);
    rig_create(&r, 16);
    for (; at <= 200; at++) {
        turn(&r, 16, at);
    }
    live = rig_stats(&r).live_bytes;
    for (qr_group_id id = 100; id < 200; id++) {
        rig_create(&r, id);
        rig_append(&r, id, 1, 1, 1, 10);
        rig_settle(&r);
        store_group_delete(r.store, id);
    }
    for (; at <= 1000; at++) {
        turn(&r, 16, at);
    }
    cr_assert_leq(rig_stats(&r).live_bytes, live + 10000);
    rig_reopen(&r);
    cr_assert_leq(rig_stats(&r).live_bytes, live + 10000);
    rig_deinit(&r);
}

Test(reuse, gives_surplus_files_back)
{
    struct rig r;
    struct store_stats stats;

    rig_init(&r, 5);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 1000, 1, 900);
    rig_append(&r, 16, 1001, 1, 1, 100000);
    rig_settle(&r);
    stats = rig_stats(&r);
    cr_assert_gt(stats.segments, 15);
    rig_snapshot(&r, 16, 1001, 0, 0);
    for (qr_index at = 1002; at <= 1010; at++) {
        rig_append(&r, 16, at, 1, 1, 900);
        rig_settle(&r);
    }
    stats = rig_stats(&r);
    cr_assert_leq(stats.segments, 4);
    cr_assert_leq(stats.segments_free, 2);
    cr_assert_eq(stats.disk_bytes, stats.segments * STORE_SEGMENT_SIZE_MIN);
    rig_deinit(&r);
}

static void
ignore(struct store_fetch *fetch)
{
    (void)fetch;
}

Test(reuse, waits_for_readers)
{
    struct rig r;
    struct store_fetch fetch = {.done = ignore, .group = 16, .index = 1};
    struct slice want;

    rig_init(&r, 6);
    rig_create(&r, 16);
    rig_append(&r, 16, 1, 60, 1, 900);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_not(store_is_cached(r.store, 16, 1));
    disk_sim_hold_reads(r.sim, true);
    store_fetch(r.store, &fetch);
    for (qr_index at = 61; at <= 1000; at++) {
        turn(&r, 16, at); /* enough to reuse any segment several times */
    }
    disk_sim_hold_reads(r.sim, false);
    disk_sim_complete_all(r.sim);
    cr_assert_eq(fetch.result, 0);
    want = rig_body(16, 1, 1, 900);
    cr_assert_eq(memcmp(fetch.entry.data.data, want.data, want.size), 0);
    slice_unref(&want);
    slice_unref(&fetch.entry.data);
    for (qr_index at = 1001; at <= 1200; at++) {
        turn(&r, 16, at);
    }
    cr_assert_leq(rig_stats(&r).segments, 5); /* none is held for ever */
    rig_deinit(&r);
}

/* The segment that is written to. */
static const struct segment *
active(struct rig *r)
{
    cr_assert_not_null(r->store->active);
    return r->store->active;
}

/* Whether a segment was freed when there were batches in the active one. */
static bool
has_freed(struct rig *r)
{
    uint64_t first = active(r)->header.batch_first;

    for (size_t i = 1; i < r->store->segments_capacity; i++) {
        const struct segment *seg = r->store->segments[i];

        if (seg != NULL && seg->state == SEGMENT_FREE &&
            seg->header.batch_first > first) {
            return true;
        }
    }
    return false;
}

/* Segment SEQUENCE, or NULL. */
static const struct segment *
segment_of(struct rig *r, uint64_t sequence)
{
    for (size_t i = 1; i < r->store->segments_capacity; i++) {
        const struct segment *seg = r->store->segments[i];

        if (seg != NULL && seg->state != SEGMENT_FREE &&
            seg->header.sequence == sequence) {
            return seg;
        }
    }
    return NULL;
}

/* Where the trailers of a segment are gone, the next one tells how far it went:
 * without that, it might have held anything. */
Test(reuse, keeps_what_tells_where_a_segment_ends)
{
    struct rig r;
    const struct segment *seg;
    uint64_t last;
    qr_index at = 0;

    rig_init(&r, 9);
    rig_create(&r, 16);
    rig_create(&r, 17);
    rig_append(&r, 17, 1, 1, 1, 500);
    do {
        turn(&r, 16, ++at);
    } while (active(&r)->header.sequence < 3);
    seg = segment_of(&r, 1);
    cr_assert_not_null(seg);
    last = r.config.segment_size - TRAILER_SIZE;
    cr_assert_eq(disk_sim_spoil_at(r.sim, seg->name, last), 0);
    last -= seg->index_padded + TRAILER_SIZE;
    cr_assert_eq(disk_sim_spoil_at(r.sim, seg->name, last), 0);
    rig_reopen(&r);
    do {
        turn(&r, 16, ++at);
    } while (active(&r)->header.sequence < 6);
    cr_assert_not_null(segment_of(&r, 1));
    cr_assert_not_null(segment_of(&r, 2));
    cr_assert_null(segment_of(&r, 3));
    rig_reopen(&r);
    cr_assert(rig_has(&r, 17, 1, 1, 500));
    cr_assert(rig_has(&r, 16, at, 1, 900));
    rig_deinit(&r);
}

/* That does not last: the segment is emptied, and then both go. */
Test(reuse, empties_a_segment_that_has_lost_its_trailers)
{
    struct rig r;
    const struct segment *seg;
    uint64_t last;
    qr_index at = 0;

    rig_init(&r, 10);
    rig_use_timers(&r);
    rig_reopen(&r);
    rig_create(&r, 16);
    rig_create(&r, 17);
    do {
        rig_append(&r, 17, ++at, 1, 1, 900);
        rig_settle(&r);
    } while (active(&r)->header.sequence < 3);
    seg = segment_of(&r, 1);
    cr_assert_not_null(seg);
    last = r.config.segment_size - TRAILER_SIZE;
    cr_assert_eq(disk_sim_spoil_at(r.sim, seg->name, last), 0);
    last -= seg->index_padded + TRAILER_SIZE;
    cr_assert_eq(disk_sim_spoil_at(r.sim, seg->name, last), 0);
    rig_reopen(&r);
    cr_assert_not_null(segment_of(&r, 1));
    rig_pass(&r, 20000);
    rig_append(&r, 17, ++at, 1, 1, 900);
    rig_settle(&r);
    cr_assert_null(segment_of(&r, 1));
    rig_reopen(&r);
    for (qr_index i = 1; i <= at; i++) {
        cr_assert(rig_has(&r, 17, i, 1, 900));
    }
    rig_deinit(&r);
}

/* When the last segment's batches have rotted, they look like a torn tail; but
 * a segment was freed since, so they were durable. */
Test(reuse, remembers_how_far_the_log_was_durable)
{
    struct rig r;
    struct store_group_info info;
    char name[DISK_NAME_SIZE];
    qr_index at = 0;

    rig_init(&r, 8);
    rig_create(&r, 16);
    do {
        cr_assert_lt(at, 2000);
        turn(&r, 16, ++at);
    } while (!has_freed(&r));
    memcpy(name, active(&r)->name, sizeof(name));
    rig_close(&r);
    for (uint64_t o = SEGMENT_DATA_AT; o < r.config.segment_size;
         o += SECTOR_SIZE) {
        cr_assert_eq(disk_sim_spoil_at(r.sim, name, o), 0);
    }
    rig_must_open(&r);
    cr_assert(r.store->is_unsure);
    cr_assert(store_group_info(r.store, 16, &info) != 0 || info.is_lost);
    rig_deinit(&r);
}

/* The newest segment is lost as a whole. What was durable in it is judged once:
 * what comes after has other numbers. */
Test(reuse, judges_what_was_durable_once)
{
    struct rig r;
    struct store_group_info info;
    char name[DISK_NAME_SIZE];
    qr_index at = 0;

    rig_init(&r, 9);
    rig_create(&r, 16);
    rig_create(&r, 18);
    rig_create(&r, 19);
    for (uint64_t i = 1; i <= 3; i++) { /* each holds a segment */
        rig_append(&r, i < 3 ? 18 : 19, i < 3 ? i : 1, 1, 1, 1000);
        while (active(&r)->header.sequence == i) {
            turn(&r, 16, ++at);
        }
    }
    for (int i = 0; i < 8; i++) {
        turn(&r, 16, ++at);
    }
    rig_snapshot(&r, 18, 2, 0, 0);
    rig_settle(&r);
    rig_settle(&r);
    cr_assert(has_freed(&r));
    memcpy(name, active(&r)->name, sizeof(name));
    rig_close(&r);
    for (uint64_t o = 0; o < r.config.segment_size; o += SECTOR_SIZE) {
        cr_assert_eq(disk_sim_spoil_at(r.sim, name, o), 0);
    }
    rig_must_open(&r);
    cr_assert(r.store->is_unsure);
    rig_create(&r, 17);
    store_hard_state(r.store, 17, 2, 1);
    rig_settle(&r);
    for (int i = 0; i < 2; i++) {
        rig_reopen(&r);
        cr_assert_eq(store_group_info(r.store, 17, &info), 0);
        cr_assert_not(info.is_lost);
        cr_assert_eq(info.term, 2);
        rig_settle(&r);
    }
    rig_deinit(&r);
}

/* Fill segments with entries of GROUP from FROM on, until another is active;
 * return the next entry's index. */
static qr_index
fill_segment(struct rig *r, qr_group_id group, qr_index from)
{
    uint64_t sequence = active(r)->header.sequence;

    while (active(r)->header.sequence == sequence) {
        rig_append(r, group, from++, 1, 1, 1000);
        rig_settle(r);
    }
    return from;
}

/* A group's snapshot has rotted, and nothing else was in its segment. That is
 * not freed before it is durable that the group is lost, at whatever request
 * the power goes. */
Test(reuse, keeps_evidence_until_the_verdict_is_durable)
{
    struct rig r;
    struct store_group_info info;
    struct disk_sim_image *image;
    char name[DISK_NAME_SIZE];
    qr_index next;
    uint64_t end;

    rig_init(&r, 10);
    rig_create(&r, 16);
    rig_create(&r, 18);
    rig_create(&r, 19);
    rig_append(&r, 18, 1, 1, 1, 1000); /* holds the first segment */
    next = fill_segment(&r, 16, 1);
    memcpy(name, active(&r)->name, sizeof(name));
    end = active(&r)->end;
    rig_snapshot(&r, 16, next - 1, next - 1, next - 1);
    rig_settle(&r);
    next = fill_segment(&r, 19, 1);
    rig_snapshot(&r, 19, next - 1, 0, 0);
    rig_settle(&r);
    rig_close(&r);
    cr_assert_eq(disk_sim_flip(r.sim, name,
                               end + BATCH_HEADER_SIZE + RECORD_HEADER_SIZE, 1),
                 0);
    image = disk_sim_copy(r.sim);
    for (unsigned requests = 0; requests < 8; requests++) {
        disk_sim_roll_back(r.sim, image);
        rig_must_open(&r);
        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert(info.is_lost);
        store_flush(r.store);
        for (unsigned i = 0; i < requests; i++) {
            (void)disk_sim_complete_one(r.sim);
        }
        rig_crash(&r, 0);
        rig_must_open(&r);
        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert(info.is_lost, "after %u requests", requests);
        rig_settle(&r);
        rig_close(&r);
    }
    disk_sim_image_free(&image);
    rig_deinit(&r);
}
