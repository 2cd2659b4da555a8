/* Entries whose bodies are lost: found, told, listed and put right. */
#include <string.h>

#include "lib/harness.h"
#include "rig.h"
#include "store/damage.h"
#include "store/record.h"

enum {
    SIZE = 1000,
    COUNT = 10
};

static const char *first = "segment-00000001.log";

/* Where a record of the first segment that holds entry INDEX's body lies. */
static uint64_t
find_body(struct rig *r, qr_index index)
{
    struct disk *disk = r->config.disk;
    struct slice want = rig_body(16, index, 1, SIZE);
    struct disk_file *file;
    uint8_t got[SIZE];
    uint64_t at;

    cr_assert_eq(disk->ops->open(disk, first, &file), 0);
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

/* Group 16 with COUNT entries, of which nothing is in memory. */
static void
fill(struct rig *r)
{
    rig_create(r, 16);
    store_hard_state(r->store, 16, 1, 7);
    for (qr_index i = 1; i <= COUNT; i++) {
        rig_append(r, 16, i, 1, 1, SIZE);
        rig_settle(r);
    }
    rig_reopen(r);
}

static void
rot(struct rig *r, qr_index index)
{
    cr_assert_eq(disk_sim_flip(r->sim, first, find_body(r, index) + 77, 4), 0);
}

static int
repair(struct rig *r, qr_index index, qr_term term, uint64_t *batch)
{
    struct store_entry e = {term, 1, rig_body(16, index, 1, SIZE)};
    int rv = store_repair(r->store, 16, index, &e, batch);

    slice_unref(&e.data);
    return rv;
}

struct listed {
    unsigned count;
    struct store_damage last;
};

static void
on_listed(void *arg, const struct store_damage *damage)
{
    struct listed *l = arg;

    l->count++;
    l->last = *damage;
}

static struct listed
list(struct rig *r)
{
    struct listed l = {0};

    store_foreach_damage(r->store, on_listed, &l);
    return l;
}

Test(damage, is_told_once_when_a_read_finds_it)
{
    struct rig r;
    struct store_entry e;

    rig_init(&r, 1);
    fill(&r);
    rot(&r, 4);
    cr_assert_eq(list(&r).count, 0);
    cr_assert_eq(store_read(r.store, 16, 4, &e), -QR_ECORRUPT);
    cr_assert_eq(store_read(r.store, 16, 4, &e), -QR_ECORRUPT);
    cr_assert_eq(r.damages, 1);
    cr_assert_eq(r.damage.kind, STORE_DAMAGE_ENTRY);
    cr_assert_eq(r.damage.group, 16);
    cr_assert_eq(r.damage.index, 4);
    cr_assert_eq(r.damage.term, 1);
    cr_assert_eq(r.damage.type, 1);
    cr_assert_eq(list(&r).count, 1);
    cr_assert_eq(list(&r).last.index, 4);
    cr_assert(store_is_damaged(r.store, 16, 4));
    cr_assert_not(store_is_damaged(r.store, 16, 5));
    cr_assert_eq(store_term(r.store, 16, 4), 1);
    cr_assert_eq(rig_stats(&r).damaged, 1);
    rig_deinit(&r);
}

static void
on_fetched(struct store_fetch *fetch)
{
    unsigned *calls = fetch->arg;

    (*calls)++;
}

Test(damage, is_told_when_a_fetch_finds_it)
{
    struct rig r;
    unsigned calls = 0;
    struct store_fetch f = {
        .group = 16, .index = 2, .done = on_fetched, .arg = &calls};

    rig_init(&r, 2);
    fill(&r);
    disk_sim_fail_reads(r.sim, 0, -QR_EIO);
    store_fetch(r.store, &f);
    disk_sim_complete_all(r.sim);
    cr_assert_eq(f.result, -QR_EIO);
    cr_assert_eq(r.damages, 1);
    cr_assert_eq(r.damage.index, 2);
    disk_sim_fail_reads(r.sim, 0, 0);
    store_fetch(r.store, &f);
    disk_sim_complete_all(r.sim);
    cr_assert_eq(f.result, -QR_ECORRUPT);
    cr_assert_eq(r.damages, 1);
    cr_assert_eq(calls, 2);
    rig_deinit(&r);
}

Test(damage, ends_with_a_good_body)
{
    struct rig r;
    struct store_entry e;
    uint64_t batch = 0;

    rig_init(&r, 3);
    fill(&r);
    rot(&r, 4);
    cr_assert_eq(store_read(r.store, 16, 4, &e), -QR_ECORRUPT);
    cr_assert_eq(repair(&r, 4, 1, &batch), 0);
    cr_assert_eq(batch, store_current(r.store));
    cr_assert_eq(list(&r).count, 0);
    for (int round = 0; round < 3; round++) {
        struct store_group_info info;

        cr_assert_eq(store_group_info(r.store, 16, &info), 0);
        cr_assert_eq(info.last_index, COUNT);
        for (qr_index i = 1; i <= COUNT; i++) {
            cr_assert(rig_has(&r, 16, i, 1, SIZE));
        }
        rig_settle(&r);
        rig_reopen(&r);
    }
    cr_assert_eq(rig_stats(&r).damages, 0);
    rig_deinit(&r);
}

Test(damage, of_the_last_entry_can_be_repaired)
{
    struct rig r;
    struct store_entry e;
    struct store_group_info info;
    uint64_t batch = 0;

    rig_init(&r, 4);
    fill(&r);
    store_append(r.store, 16, COUNT, NULL, 0); /* entry COUNT is cut off */
    rig_settle(&r);
    rot(&r, COUNT - 1);
    cr_assert_eq(store_read(r.store, 16, COUNT - 1, &e), -QR_ECORRUPT);
    cr_assert_eq(repair(&r, COUNT - 1, 1, &batch), 0);
    rig_settle(&r);
    rig_reopen(&r);
    cr_assert_eq(store_group_info(r.store, 16, &info), 0);
    cr_assert_eq(info.last_index, COUNT - 1);
    cr_assert(rig_has(&r, 16, COUNT - 1, 1, SIZE));
    rig_deinit(&r);
}

Test(damage, takes_only_what_fits)
{
    struct rig r;
    struct store_entry e = {1, 2, rig_body(16, 4, 1, SIZE)};
    uint64_t batch = 99;

    rig_init(&r, 5);
    fill(&r);
    cr_assert_eq(repair(&r, 4, 1, &batch), 0);
    cr_assert_eq(batch, 0); /* it was not damaged */
    rot(&r, 4);
    cr_assert_eq(store_repair(r.store, 17, 4, &e, &batch), -QR_ENOENT);
    cr_assert_eq(repair(&r, COUNT + 1, 1, &batch), -QR_ENOENT);
    {
        struct store_entry got;

        cr_assert_eq(store_read(r.store, 16, 4, &got), -QR_ECORRUPT);
    }
    cr_assert_eq(repair(&r, 4, 2, &batch), -QR_ECONFLICT);
    cr_assert_eq(store_repair(r.store, 16, 4, &e, &batch), -QR_ECONFLICT);
    e.type = 1;
    e.data.size--;
    cr_assert_eq(store_repair(r.store, 16, 4, &e, &batch), -QR_ECONFLICT);
    e.data.size++;
    cr_assert_eq(store_repair(r.store, 16, 4, &e, &batch), 0);
    slice_unref(&e.data);
    rig_deinit(&r);
}

Test(damage, goes_with_what_was_damaged)
{
    struct rig r;
    struct store_entry e;

    rig_init(&r, 6);
    fill(&r);
    rot(&r, 3);
    rot(&r, 9);
    cr_assert_eq(store_read(r.store, 16, 3, &e), -QR_ECORRUPT);
    cr_assert_eq(store_read(r.store, 16, 9, &e), -QR_ECORRUPT);
    cr_assert_eq(rig_stats(&r).damaged, 2);
    store_append(r.store, 16, 9, NULL, 0);
    cr_assert_eq(rig_stats(&r).damaged, 1);
    rig_snapshot(&r, 16, 5, 4, 4);
    cr_assert_eq(rig_stats(&r).damaged, 0);
    cr_assert_eq(list(&r).count, 0);
    rig_settle(&r);
    rig_deinit(&r);
}
