/* Sectors that could not be read at one start and can at the next, as with a
 * loose cable: by then the log has gone on without what they hold. */
#include <quorate/error.h>
#include <string.h>

#include "lib/harness.h"
#include "rig.h"
#include "store/record.h"

enum {
    SIZE = 1000,
    BATCH = 1536, /* that such an entry makes */
    FILES = 9
};

static const char *first = "segment-00000001.log";

/* Entries FROM to LAST, each a batch of its own. */
static void
fill(struct rig *r, qr_index from, qr_index last)
{
    if (from == 1) {
        rig_create(r, 16);
    }
    for (qr_index i = from; i <= last; i++) {
        rig_append(r, 16, i, 1, 1, SIZE);
        rig_settle(r);
    }
}

static qr_index
last_index(struct rig *r)
{
    struct store_group_info info;

    cr_assert_eq(store_group_info(r->store, 16, &info), 0);
    cr_assert_not(info.is_lost);
    return info.last_index;
}

static void
spoil(struct rig *r, const char *name, uint64_t from, uint64_t size)
{
    for (uint64_t at = from; at < from + size; at += SECTOR_SIZE) {
        cr_assert_eq(disk_sim_spoil_at(r->sim, name, at), 0);
    }
}

/* The newest segment's file in NAME, and its header. */
static struct segment_header
newest(struct rig *r, char name[DISK_NAME_SIZE])
{
    struct disk *disk = r->config.disk;
    struct segment_header newest = {.sequence = 0};

    for (unsigned i = 1; i <= FILES; i++) {
        uint8_t sector[SECTOR_SIZE];
        char found[DISK_NAME_SIZE];
        struct disk_file *file;
        struct segment_header h;

        snprintf(found, sizeof(found), "segment-%08u.log", i);
        if (disk->ops->open(disk, found, &file) != 0) {
            continue;
        }
        cr_assert_eq(disk->ops->read(file, 0, sector, sizeof(sector)), 0);
        disk->ops->close(file);
        if (segment_header_decode(sector, &h) == 0 && h.use == SEGMENT_IN_USE &&
            h.sequence > newest.sequence) {
            newest = h;
            memcpy(name, found, sizeof(found));
        }
    }
    cr_assert_gt(newest.sequence, 0);
    return newest;
}

/* The last batch seems torn, and as the segment has a hole the log goes on in
 * another one, with a batch of the same number. */
Test(again, a_batch_that_comes_back_was_cut_off)
{
    struct rig r;

    rig_init(&r, 1);
    fill(&r, 1, 5);
    rig_close(&r);
    spoil(&r, first, SEGMENT_DATA_AT + 2 * BATCH, BATCH);
    spoil(&r, first, SEGMENT_DATA_AT + 4 * BATCH, SECTOR_SIZE);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 4);
    cr_assert(store_is_damaged(r.store, 16, 3));
    rig_append(&r, 16, 5, 1, 2, SIZE);
    rig_settle(&r);
    rig_close(&r);
    disk_sim_heal(r.sim);
    for (int i = 0; i < 2; i++) {
        rig_must_open(&r);
        cr_assert_eq(last_index(&r), 5);
        cr_assert(rig_has(&r, 16, 3, 1, SIZE));
        cr_assert(rig_has(&r, 16, 5, 2, SIZE));
        rig_settle(&r);
        rig_close(&r);
    }
    rig_deinit(&r);
}

/* What lies where nothing can be read is not written around: it would show up
 * behind what is written in its place. */
Test(again, nothing_comes_back_behind_what_was_written_since)
{
    struct rig r;
    char name[DISK_NAME_SIZE];

    rig_init(&r, 2);
    fill(&r, 1, 4);
    rig_close(&r);
    spoil(&r, first, SEGMENT_DATA_AT + 2 * BATCH, 2 * BATCH);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 2);
    rig_append(&r, 16, 3, 1, 2, 10);
    rig_settle(&r);
    rig_close(&r);
    disk_sim_heal(r.sim);
    (void)newest(&r, name);
    cr_assert_neq(strcmp(name, first), 0);
    cr_assert_eq(disk_sim_flip(r.sim, name, SEGMENT_DATA_AT + 60, 1), 0);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 2);
    rig_deinit(&r);
}

/* A file that nobody knew is the newest segment after all: what was written
 * since has another sequence, and takes precedence. */
Test(again, a_file_that_comes_back_takes_nobodys_place)
{
    struct rig r;
    char name[DISK_NAME_SIZE];
    char later[DISK_NAME_SIZE];
    struct segment_header lost;
    uint64_t batch;

    rig_init(&r, 3);
    fill(&r, 1, 60);
    rig_close(&r);
    lost = newest(&r, name);
    cr_assert_gt(lost.sequence, 1);
    spoil(&r, name, 0, SEGMENT_DATA_AT + SECTOR_SIZE);
    rig_must_open(&r);
    rig_create(&r, 18);
    batch = rig_append(&r, 18, 1, 1, 1, SIZE);
    store_flush(r.store);
    while (r.durable < batch) {
        cr_assert(disk_sim_complete_one(r.sim));
    }
    rig_crash(&r, 0);
    disk_sim_heal(r.sim);
    cr_assert_gt(newest(&r, later).sequence, lost.sequence);
    rig_must_open(&r);
    rig_settle(&r);
    rig_reopen(&r);
    rig_deinit(&r);
}

/* Whose creation nobody knew is gone for good: what followed on it may have
 * been thrown away since. */
Test(again, a_group_that_was_gone_stays_gone)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 5);
    fill(&r, 1, 2);
    rig_create(&r, 17);
    rig_settle(&r);
    store_hard_state(r.store, 17, 3, 2);
    rig_settle(&r);
    fill(&r, 3, 4);
    rig_close(&r);
    spoil(&r, first, SEGMENT_DATA_AT + 2 * BATCH, SECTOR_SIZE);
    rig_must_open(&r);
    cr_assert_eq(store_group_info(r.store, 17, &info), -QR_ENOENT);
    rig_settle(&r);
    rig_close(&r);
    disk_sim_heal(r.sim);
    rig_must_open(&r);
    cr_assert_eq(store_group_info(r.store, 17, &info), -QR_ENOENT);
    cr_assert_eq(last_index(&r), 4);
    rig_deinit(&r);
}

/* What the trailer of file NAME says, as far as there is one. */
static uint64_t
trailer_of(struct rig *r, const char *name)
{
    struct disk *disk = r->config.disk;
    struct disk_file *file;
    uint8_t bytes[TRAILER_SIZE];

    cr_assert_eq(disk->ops->open(disk, name, &file), 0);
    cr_assert_eq(disk->ops->read(file, STORE_SEGMENT_SIZE_MIN - TRAILER_SIZE,
                                 bytes, TRAILER_SIZE),
                 0);
    disk->ops->close(file);
    return trailer_sequence(bytes);
}

/* A file that is used again and has lost its headers still has the trailer of
 * its former use. */
Test(again, a_file_is_what_its_first_batch_tells)
{
    struct rig r;
    char name[DISK_NAME_SIZE];
    uint64_t former = 0;
    qr_index last = 0;

    rig_init(&r, 4);
    while (former == 0) {
        fill(&r, last + 1, last + 10);
        last += 10;
        rig_snapshot(&r, 16, last, 0, 0);
        rig_settle(&r);
        rig_settle(&r);
        cr_assert_lt(last, 1000);
        cr_assert_geq(newest(&r, name).sequence, former);
        former = trailer_of(&r, name);
    }
    fill(&r, last + 1, last + 3);
    rig_close(&r);
    cr_assert_eq(trailer_of(&r, name), former);
    cr_assert_lt(former, newest(&r, name).sequence, "used again");
    spoil(&r, name, 0, SEGMENT_DATA_AT);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), last + 3);
    rig_deinit(&r);
}

/* A group of which nothing is known, so that nobody knows the number of its
 * log: no other group gets that number, and with it what comes back. */
Test(again, what_comes_back_is_of_no_other_group)
{
    struct rig r;
    struct store_group_info info;

    rig_init(&r, 6);
    fill(&r, 1, 2);
    rig_create(&r, 17);
    store_hard_state(r.store, 17, 3, 2);
    rig_settle(&r);
    store_hard_state(r.store, 16, 1, 1);
    rig_snapshot(&r, 16, 2, 1, 2);
    rig_settle(&r);
    fill(&r, 3, 4);
    rig_close(&r);
    spoil(&r, first, SEGMENT_DATA_AT + 2 * BATCH, SECTOR_SIZE);
    rig_must_open(&r);
    cr_assert_eq(store_group_info(r.store, 17, &info), -QR_ENOENT);
    cr_assert_eq(last_index(&r), 4);
    rig_settle(&r);
    rig_reopen(&r);
    rig_create(&r, 18);
    rig_settle(&r);
    rig_close(&r);
    disk_sim_heal(r.sim);
    rig_must_open(&r);
    cr_assert_eq(store_group_info(r.store, 18, &info), 0);
    cr_assert_eq(info.term, 0);
    cr_assert_eq(info.vote, 0);
    rig_deinit(&r);
}
