/* Starts that find something wrong, or something that only looks wrong. */
#include <quorate/version.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "lib/harness.h"
#include "rig.h"
#include "store/record.h"
#include "store/recovery.h"

enum {
    SIZE = 1000
};

static const char *first = "segment-00000001.log";

/* A group with COUNT entries of SIZE bytes, each a batch of its own. */
static void
fill(struct rig *r, qr_index count)
{
    rig_create(r, 16);
    for (qr_index i = 1; i <= count; i++) {
        rig_append(r, 16, i, 1, 1, SIZE);
        rig_settle(r);
    }
}

static qr_index
last_index(struct rig *r)
{
    struct store_group_info info;

    cr_assert_eq(store_group_info(r->store, 16, &info), 0);
    return info.last_index;
}

static bool
is_lost(struct rig *r)
{
    struct store_group_info info;

    cr_assert_eq(store_group_info(r->store, 16, &info), 0);
    return info.is_lost;
}

static void
read_sector(struct rig *r, const char *name, uint64_t offset,
            uint8_t out[SECTOR_SIZE])
{
    struct disk *disk = r->config.disk;
    struct disk_file *file;

    cr_assert_eq(disk->ops->open(disk, name, &file), 0);
    cr_assert_eq(disk->ops->read(file, offset, out, SECTOR_SIZE), 0);
    disk->ops->close(file);
}

/* Put DATA in place of file NAME. */
static void
overwrite(struct rig *r, const char *name, uint64_t offset, const void *data,
          size_t size)
{
    struct disk *disk = r->config.disk;
    void *bytes;
    size_t total;

    cr_assert_eq(disk->ops->slurp(disk, name, 64 << 20, &bytes, &total), 0);
    memcpy((uint8_t *)bytes + offset, data, size);
    cr_assert_eq(disk->ops->replace(disk, name, bytes, total), 0);
    mem_free(bytes);
}

static void
flip(struct rig *r, const char *name, uint64_t offset)
{
    cr_assert_eq(disk_sim_flip(r->sim, name, offset, 0x10), 0);
}

/* The store does not open, with CODE and a text that has both parts. */
static void
must_refuse(struct rig *r, int code, const char *part, const char *other)
{
    int rv = rig_open(r);

    cr_assert_eq(rv, -code, "%d: %s", rv, r->err.text);
    cr_assert_null(r->store);
    cr_assert_not_null(strstr(r->err.text, part), "%s", r->err.text);
    cr_assert_not_null(strstr(r->err.text, other), "%s", r->err.text);
}

Test(recovery, cuts_a_torn_tail)
{
    struct rig r;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        rig_init(&r, seed);
        fill(&r, 3);
        rig_append(&r, 16, 4, 8, 1, SIZE);
        store_flush(r.store);
        rig_crash(&r, 500000);
        rig_must_open(&r);
        cr_assert(last_index(&r) == 3 || last_index(&r) == 11);
        /* The place is written again, and nothing of the old shows through. */
        rig_append(&r, 16, last_index(&r) + 1, 1, 2, 10);
        rig_settle(&r);
        rig_reopen(&r);
        cr_assert(last_index(&r) == 4 || last_index(&r) == 12);
        cr_assert(rig_has(&r, 16, last_index(&r), 2, 10));
        rig_deinit(&r);
    }
}

/* Every entry of group 16 up to LAST is there, or said to be damaged; how many
 * are. */
static unsigned
count_damaged(struct rig *r, qr_index last)
{
    unsigned damaged = 0;

    cr_assert_eq(last_index(r), last);
    for (qr_index at = 1; at <= last; at++) {
        cr_assert_eq(store_term(r->store, 16, at), 1);
        if (store_is_damaged(r->store, 16, at)) {
            damaged++;
        } else {
            cr_assert(rig_has(r, 16, at, 1, SIZE));
        }
    }
    return damaged;
}

Test(recovery, names_the_entry_that_has_rotted)
{
    struct rig r;

    rig_init(&r, 1);
    fill(&r, 5);
    rig_close(&r);
    flip(&r, first, SEGMENT_DATA_AT + 1536 + 200);
    rig_must_open(&r);
    cr_assert_eq(count_damaged(&r, 5), 1);
    cr_assert(store_is_damaged(r.store, 16, 2));
    rig_deinit(&r);
}

Test(recovery, survives_rot_in_any_byte_before_the_last_batch)
{
    struct rig r;
    struct disk_sim_image *image;
    unsigned damaged = 0;
    unsigned lost = 0;

    rig_init(&r, 2);
    fill(&r, 4);
    rig_close(&r);
    image = disk_sim_copy(r.sim);
    /* Batches of 1,536 bytes; the first has the group's creation. */
    for (uint64_t at = 0; at < SEGMENT_DATA_AT + 3 * 1536; at++) {
        disk_sim_roll_back(r.sim, image);
        flip(&r, first, at);
        rig_must_open(&r);
        if (is_lost(&r)) {
            lost++;
        } else {
            damaged += count_damaged(&r, 4);
        }
        cr_assert_leq(rig_stats(&r).damaged, 1);
        rig_close(&r);
    }
    disk_sim_image_free(&image);
    cr_assert_geq(damaged, 3 * SIZE);
    cr_assert_leq(damaged, 3 * (SIZE + RECORD_HEADER_SIZE));
    cr_assert_leq(lost, RECORD_HEADER_SIZE + 8); /* the group's header */
    rig_deinit(&r);
}

Test(recovery, tells_what_an_unreadable_batch_held)
{
    struct rig r;

    rig_init(&r, 18);
    fill(&r, 4);
    rig_create(&r, 17);
    rig_settle(&r);
    rig_append(&r, 16, 5, 1, 1, SIZE);
    rig_settle(&r);
    rig_close(&r);
    for (uint64_t at = 0; at < 1536; at += SECTOR_SIZE) {
        cr_assert_eq(
            disk_sim_spoil_at(r.sim, first, SEGMENT_DATA_AT + 2 * 1536 + at),
            0);
    }
    for (int round = 0; round < 3; round++) {
        rig_must_open(&r);
        cr_assert_not(is_lost(&r));
        cr_assert_eq(count_damaged(&r, 5), 1);
        cr_assert(store_is_damaged(r.store, 16, 3));
        rig_settle(&r);
        rig_close(&r);
    }
    rig_deinit(&r);
}

struct listed {
    unsigned lost;
    unsigned unsure;
    qr_group_id last;
};

static void
on_listed(void *arg, const struct store_damage *damage)
{
    struct listed *l = arg;

    if (damage->kind == STORE_DAMAGE_MEMORY) {
        l->lost += damage->group != 0;
        l->unsure += damage->group == 0;
        l->last = damage->group != 0 ? damage->group : l->last;
    }
}

static struct listed
list(struct rig *r)
{
    struct listed l = {0};

    store_foreach_damage(r->store, on_listed, &l);
    return l;
}

/* A store of which the batch that OPERATE makes cannot be read any more. */
static void
lose_a_batch(struct rig *r, uint64_t seed, void (*operate)(struct rig *r))
{
    uint64_t at;
    uint8_t sector[SECTOR_SIZE];

    rig_init(r, seed);
    fill(r, 2);
    rig_create(r, 17);
    rig_append(r, 17, 1, 1, 1, 10);
    store_hard_state(r->store, 17, 3, 2);
    rig_settle(r);
    operate(r);
    rig_settle(r);
    rig_append(r, 16, 3, 1, 1, SIZE);
    rig_settle(r);
    rig_close(r);
    for (at = SEGMENT_DATA_AT + 2 * 1536;; at += SECTOR_SIZE) {
        read_sector(r, first, at, sector);
        if (memcmp(sector, "QRBT", 4) == 0 && sector[8] == 4) {
            break;
        }
    }
    cr_assert_eq(disk_sim_spoil_at(r->sim, first, at), 0);
    rig_must_open(r);
}

static void
vote(struct rig *r)
{
    store_hard_state(r->store, 17, 4, 2);
}

Test(recovery, loses_only_the_group_whose_vote_is_gone)
{
    struct rig r;

    lose_a_batch(&r, 19, vote);
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(list(&r).lost, 1);
        cr_assert_eq(list(&r).last, 17);
        cr_assert_eq(list(&r).unsure, 0);
        cr_assert_eq(count_damaged(&r, 3), 0);
        rig_settle(&r);
        rig_reopen(&r);
    }
    cr_assert_eq(rig_stats(&r).groups_lost, 1);
    store_group_delete(r.store, 17);
    cr_assert_eq(rig_stats(&r).groups_lost, 0);
    rig_create(&r, 17);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(list(&r).lost, 0);
    rig_deinit(&r);
}

static void
append_to_17(struct rig *r)
{
    rig_append(r, 17, 2, 1, 1, 10);
}

Test(recovery, loses_the_group_whose_last_entry_is_gone)
{
    struct rig r;

    lose_a_batch(&r, 20, append_to_17);
    cr_assert_eq(list(&r).lost, 1);
    cr_assert_eq(list(&r).last, 17);
    cr_assert_eq(list(&r).unsure, 0);
    rig_deinit(&r);
}

static void
create_18(struct rig *r)
{
    rig_create(r, 18);
}

Test(recovery, is_unsure_when_a_creation_is_gone)
{
    struct rig r;

    lose_a_batch(&r, 21, create_18);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(list(&r).lost, 0);
        cr_assert_eq(list(&r).unsure, 1);
        rig_settle(&r);
        rig_reopen(&r);
    }
    store_accept_loss(r.store);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(list(&r).unsure, 0);
    rig_deinit(&r);
}

static void
change_much(struct rig *r)
{
    store_hard_state(r->store, 17, 4, 2);
    store_hard_state(r->store, 16, 4, 2);
}

Test(recovery, loses_all_that_may_be_concerned)
{
    struct rig r;

    lose_a_batch(&r, 22, change_much);
    cr_assert_eq(list(&r).lost, 2);
    cr_assert_eq(list(&r).unsure, 1);
    rig_deinit(&r);
}

Test(recovery, knows_a_segment_by_its_contents)
{
    struct rig r;

    for (qr_index count = 5; count <= 100; count += 95) {
        rig_init(&r, 23);
        fill(&r, count);
        rig_close(&r);
        cr_assert_eq(disk_sim_spoil_at(r.sim, first, 0), 0);
        flip(&r, first, SECTOR_SIZE + 20);
        for (int round = 0; round < 2; round++) {
            rig_must_open(&r);
            cr_assert_eq(count_damaged(&r, count), 0);
            cr_assert_eq(list(&r).lost, 0);
            rig_append(&r, 16, count + 1, 1, 1, SIZE);
            store_append(r.store, 16, count + 1, NULL, 0);
            rig_settle(&r);
            rig_close(&r);
        }
        disk_sim_free(&r.sim);
    }
}

Test(recovery, loses_all_with_a_file_that_nothing_tells_of)
{
    struct rig r;
    uint8_t junk[SECTOR_SIZE];

    rig_init(&r, 24);
    fill(&r, 5);
    rig_close(&r);
    memset(junk, 0x77, sizeof(junk));
    for (uint64_t at = 0; at < STORE_SEGMENT_SIZE_MIN; at += SECTOR_SIZE) {
        overwrite(&r, first, at, junk, sizeof(junk));
    }
    rig_must_open(&r);
    cr_assert_eq(list(&r).unsure, 1);
    rig_settle(&r);
    rig_create(&r, 16);
    rig_settle(&r);
    rig_append(&r, 16, 1, 1, 1, SIZE);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(list(&r).unsure, 1);
    cr_assert_eq(list(&r).lost, 0);
    cr_assert_eq(count_damaged(&r, 1), 0);
    rig_deinit(&r);
}

Test(recovery, takes_rot_in_the_last_batch_for_a_torn_tail)
{
    struct rig r;

    rig_init(&r, 3);
    fill(&r, 2);
    rig_close(&r);
    flip(&r, first, SEGMENT_DATA_AT + 1536 + 100);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 1);
    rig_deinit(&r);
}

Test(recovery, reports_a_file_that_is_gone)
{
    struct rig r;

    rig_init(&r, 4);
    fill(&r, 150);
    rig_close(&r);
    cr_assert_eq(
        r.config.disk->ops->remove(r.config.disk, "segment-00000002.log"), 0);
    rig_must_open(&r);
    cr_assert_gt(rig_stats(&r).damaged, 30);
    cr_assert(store_is_damaged(r.store, 16, 60));
    cr_assert_eq(last_index(&r), 150);
    rig_deinit(&r);
}

Test(recovery, reports_a_file_cut_short)
{
    struct rig r;
    struct disk *disk;
    void *bytes;
    size_t size;

    rig_init(&r, 5);
    fill(&r, 5);
    rig_close(&r);
    disk = r.config.disk;
    cr_assert_eq(disk->ops->slurp(disk, first, 64 << 20, &bytes, &size), 0);
    cr_assert_eq(disk->ops->replace(disk, first, bytes, size / 2), 0);
    mem_free(bytes);
    rig_must_open(&r);
    cr_assert_eq(count_damaged(&r, 5), 0); /* they lay in what is left */
    rig_deinit(&r);
}

Test(recovery, refuses_segments_of_another_node)
{
    struct rig r;

    rig_init(&r, 6);
    fill(&r, 1);
    rig_close(&r);
    r.config.node_uuid[3] ^= 1;
    must_refuse(&r, QR_ECONFLICT, first, "right data directory");
    r.config.node_uuid[3] ^= 1;
    r.config.shard++;
    must_refuse(&r, QR_ECONFLICT, "shard 3", "shard 4");
    r.config.shard--;
    rig_must_open(&r);
    rig_deinit(&r);
}

Test(recovery, refuses_a_newer_format)
{
    struct rig r;
    struct segment_header h;
    uint8_t sector[SECTOR_SIZE];

    rig_init(&r, 7);
    fill(&r, 1);
    rig_close(&r);
    read_sector(&r, first, 0, sector);
    cr_assert_eq(segment_header_decode(sector, &h), 0);
    h.version = QR_STORE_FORMAT + 1;
    segment_header_encode(&h, sector);
    overwrite(&r, first, 0, sector, sizeof(sector));
    overwrite(&r, first, SECTOR_SIZE, sector, sizeof(sector));
    must_refuse(&r, QR_EVERSION, first, "newer");
    rig_deinit(&r);
}

Test(recovery, reports_two_segments_in_one_place)
{
    struct rig r;
    uint8_t sector[SECTOR_SIZE];

    rig_init(&r, 8);
    fill(&r, 5);
    rig_close(&r);
    read_sector(&r, first, 0, sector);
    cr_assert_eq(r.config.disk->ops->replace(r.config.disk,
                                             "segment-00000009.log", "", 0),
                 0);
    rig_must_open(&r); /* an empty file is removed */
    rig_close(&r);
    cr_assert_eq(disk_sim_flip(r.sim, "segment-00000009.log", 0, 1),
                 -QR_ENOENT);
    {
        struct disk *disk = r.config.disk;
        void *bytes;
        size_t size;

        cr_assert_eq(disk->ops->slurp(disk, first, 64 << 20, &bytes, &size), 0);
        cr_assert_eq(
            disk->ops->replace(disk, "segment-00000009.log", bytes, size), 0);
        mem_free(bytes);
    }
    must_refuse(&r, QR_ECORRUPT, first, "same place");
    rig_deinit(&r);
}

Test(recovery, ignores_files_that_are_not_segments)
{
    struct rig r;
    struct disk *disk;

    rig_init(&r, 9);
    fill(&r, 1);
    rig_close(&r);
    disk = r.config.disk;
    cr_assert_eq(disk->ops->replace(disk, "identity", "x", 1), 0);
    cr_assert_eq(disk->ops->replace(disk, "segment-1.log", "x", 1), 0);
    cr_assert_eq(disk->ops->replace(disk, "segment-00000001.lox", "x", 1), 0);
    rig_must_open(&r);
    cr_assert_eq(rig_stats(&r).segments, 1);
    cr_assert_eq(last_index(&r), 1);
    rig_deinit(&r);
}

Test(recovery, removes_leftovers_of_creations)
{
    struct rig r;
    struct disk *disk;
    struct disk_sim_stats stats;
    uint8_t zeros[1024] = {0};

    rig_init(&r, 10);
    rig_close(&r);
    disk = r.config.disk;
    cr_assert_eq(disk->ops->replace(disk, first, zeros, 100), 0);
    cr_assert_eq(disk->ops->replace(disk, "segment-00000002.log", zeros, 1024),
                 0);
    rig_must_open(&r);
    disk_sim_stats(r.sim, &stats);
    cr_assert_eq(stats.bytes_used, 0);
    rig_deinit(&r);
}

Test(recovery, reads_a_sealed_segment_by_its_index)
{
    struct rig r;

    rig_init(&r, 11);
    fill(&r, 100);
    rig_close(&r);
    /* With an index nobody looks at the data, so nobody sees this. */
    flip(&r, first, SEGMENT_DATA_AT + 200);
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 100);
    cr_assert_not(rig_has(&r, 16, 1, 1, SIZE));
    cr_assert(rig_has(&r, 16, 2, 1, SIZE));
    rig_deinit(&r);
}

Test(recovery, reads_the_data_when_an_index_is_damaged)
{
    static const uint64_t from_end[] = {600, 500, 462};

    for (size_t i = 0; i < 3; i++) {
        struct rig r;

        rig_init(&r, 12);
        fill(&r, 100);
        rig_close(&r);
        flip(&r, first, STORE_SEGMENT_SIZE_MIN - from_end[i]);
        rig_must_open(&r);
        cr_assert_eq(last_index(&r), 100);
        for (qr_index at = 1; at <= 100; at++) {
            cr_assert(rig_has(&r, 16, at, 1, SIZE));
        }
        rig_deinit(&r);
    }
}

Test(recovery, misses_a_batch_at_the_end_of_a_segment_without_index)
{
    struct rig r;
    uint64_t at = SEGMENT_DATA_AT;
    uint8_t sector[SECTOR_SIZE];

    rig_init(&r, 13);
    fill(&r, 100);
    rig_close(&r);
    for (uint64_t next = at; next < STORE_SEGMENT_SIZE_MIN - 4096;
         next += SECTOR_SIZE) {
        read_sector(&r, first, next, sector);
        at = memcmp(sector, "QRBT", 4) == 0 ? next : at;
    }
    cr_assert_gt(at, 30000);
    flip(&r, first, at + 100);
    flip(&r, first, STORE_SEGMENT_SIZE_MIN - 500);
    rig_must_open(&r);
    cr_assert_eq(count_damaged(&r, 100), 1);
    rig_deinit(&r);
}

Test(recovery, verifies_snapshots_that_an_index_points_to)
{
    struct rig r;
    struct disk_file *file;
    struct disk *disk;
    uint8_t text[8];
    uint64_t at;

    rig_init(&r, 15);
    fill(&r, 10);
    rig_snapshot(&r, 16, 5, 2, 3);
    rig_settle(&r);
    rig_append(&r, 16, 11, 100, 1, SIZE);
    rig_settle(&r);
    rig_close(&r);
    disk = r.config.disk;
    cr_assert_eq(disk->ops->open(disk, first, &file), 0);
    for (at = 0; at < STORE_SEGMENT_SIZE_MIN - 8; at++) {
        cr_assert_eq(disk->ops->read(file, at, text, 8), 0);
        if (memcmp(text, "manifest", 8) == 0) {
            break;
        }
    }
    disk->ops->close(file);
    flip(&r, first, at);
    rig_must_open(&r);
    cr_assert(is_lost(&r));
    rig_deinit(&r);
}

Test(recovery, goes_on_with_another_segment_size)
{
    struct rig r;

    rig_init(&r, 16);
    fill(&r, 100);
    rig_close(&r);
    r.config.segment_size = 2 * STORE_SEGMENT_SIZE_MIN;
    rig_must_open(&r);
    rig_append(&r, 16, 101, 300, 1, SIZE);
    rig_settle(&r);
    rig_reopen(&r);
    for (qr_index at = 1; at <= 400; at++) {
        cr_assert(rig_has(&r, 16, at, 1, SIZE));
    }
    rig_deinit(&r);
}

struct image {
    void *bytes;
    size_t size;
};

static struct image
take_image(struct rig *r)
{
    struct image i = {NULL, 0};

    cr_assert_eq(r->config.disk->ops->slurp(r->config.disk, first, 64 << 20,
                                            &i.bytes, &i.size),
                 0);
    return i;
}

/* Put IMAGE, which is freed, but with the last sector of TRAILER, in place of
 * the first segment; the others never were. */
static void
put_image(struct rig *r, struct image *image, const uint8_t *trailer)
{
    struct disk *disk = r->config.disk;
    uint8_t *end = (uint8_t *)image->bytes + image->size - SECTOR_SIZE;

    memcpy(end, trailer, SECTOR_SIZE);
    cr_assert_eq(disk->ops->replace(disk, first, image->bytes, image->size), 0);
    (void)disk->ops->remove(disk, "segment-00000002.log");
    (void)disk->ops->remove(disk, "segment-00000003.log");
    mem_free(image->bytes);
}

/* Entry INDEX does not fit the first segment any more, so that is sealed. */
static void
force_seal(struct rig *r, qr_index index)
{
    rig_append(r, 16, index, 1, 1, 55000);
    rig_settle(r);
    rig_close(r);
}

Test(recovery, is_not_fooled_by_two_torn_seals)
{
    struct rig r;
    struct image before;
    struct image after;
    uint8_t trailer[SECTOR_SIZE];

    rig_init(&r, 17);
    fill(&r, 10);
    before = take_image(&r);
    force_seal(&r, 11);
    read_sector(&r, first, STORE_SEGMENT_SIZE_MIN - SECTOR_SIZE, trailer);
    put_image(&r, &before, trailer); /* all but the trailer was lost */
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 10);
    rig_append(&r, 16, 11, 1, 1, 10);
    rig_settle(&r);
    force_seal(&r, 12);
    after = take_image(&r);
    put_image(&r, &after, trailer); /* and now only the trailer */
    rig_must_open(&r);
    cr_assert_eq(last_index(&r), 11);
    cr_assert(rig_has(&r, 16, 11, 1, 10));
    rig_deinit(&r);
}
