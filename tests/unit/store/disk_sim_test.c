/* The simulated disk must be as treacherous as promised, and no more. */
#include <quorate/error.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "store/disk.h"
#include "store/disk_sim.h"

enum {
    SIZE = 8192,
    SECTORS = SIZE / 512
};

struct fixture {
    struct rng rng;
    struct disk_sim *sim;
    struct disk *disk;
    struct disk_file *file;
    struct disk_req req;
    struct iovec iov;
    uint8_t bytes[SIZE];
    unsigned done;
    unsigned notified;
};

static void
on_done(struct disk_req *req)
{
    struct fixture *f = req->arg;

    f->done++;
}

static void
start(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    rng_init(&f->rng, 1);
    f->sim = disk_sim_new(&f->rng, 2 * SIZE);
    f->disk = disk_sim_disk(f->sim);
    f->req.done = on_done;
    f->req.arg = f;
    f->req.iov = &f->iov;
    f->req.name = "a";
    f->req.size = SIZE;
    f->disk->ops->create(f->disk, &f->req);
    cr_assert(disk_sim_complete_one(f->sim));
    cr_assert_eq(f->req.result, 0);
    f->file = f->req.file;
}

static void
finish(struct fixture *f)
{
    if (f->file != NULL) {
        f->disk->ops->close(f->file);
    }
    disk_sim_free(&f->sim);
}

static void
write_ones(struct fixture *f, bool sync)
{
    memset(f->bytes, 1, SIZE);
    f->req.offset = 0;
    f->req.iov_count = 1;
    f->req.sync = sync;
    f->iov.iov_base = f->bytes;
    f->iov.iov_len = SIZE;
    f->disk->ops->write(f->disk, &f->req);
}

/* How many sectors hold ones; none may be mixed. */
static unsigned
ones(struct fixture *f)
{
    uint8_t got[SIZE];
    unsigned count = 0;

    cr_assert_eq(f->disk->ops->read(f->file, 0, got, SIZE), 0);
    for (size_t i = 0; i < SECTORS; i++) {
        cr_assert(got[i * 512] == got[i * 512 + 511]);
        count += got[i * 512] == 1;
    }
    return count;
}

static void
on_notify(void *arg)
{
    struct fixture *f = arg;

    f->notified++;
}

Test(disk_sim, performs_a_write_when_told)
{
    struct fixture f;

    start(&f);
    disk_sim_set_notify(f.sim, on_notify, &f);
    write_ones(&f, true);
    cr_assert_eq(f.notified, 1);
    cr_assert_eq(disk_sim_inflight(f.sim), 1);
    cr_assert_eq(ones(&f), 0);
    cr_assert(disk_sim_complete_one(f.sim));
    cr_assert_eq(f.done, 2);
    cr_assert_eq(ones(&f), SECTORS);
    cr_assert_not(disk_sim_complete_one(f.sim));
    finish(&f);
}

Test(disk_sim, a_crash_spares_what_was_synced)
{
    struct fixture f;

    start(&f);
    write_ones(&f, true);
    disk_sim_complete_all(f.sim);
    disk_sim_crash(f.sim, 0);
    cr_assert_eq(ones(&f), SECTORS);
    finish(&f);
}

Test(disk_sim, a_crash_loses_what_was_not)
{
    struct fixture f;

    start(&f);
    write_ones(&f, false);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(ones(&f), SECTORS);
    disk_sim_crash(f.sim, 0);
    cr_assert_eq(ones(&f), 0);
    finish(&f);
}

Test(disk_sim, a_crash_keeps_sectors_at_random)
{
    struct fixture f;

    start(&f);
    write_ones(&f, false);
    disk_sim_complete_all(f.sim);
    disk_sim_crash(f.sim, 500000);
    cr_assert_gt(ones(&f), 0);
    cr_assert_lt(ones(&f), SECTORS);
    finish(&f);
}

Test(disk_sim, a_crash_tears_the_write_in_flight)
{
    unsigned torn = 0;
    unsigned none = 0;
    unsigned whole = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        unsigned count;

        start(&f);
        rng_init(&f.rng, seed);
        write_ones(&f, true);
        disk_sim_crash(f.sim, 500000);
        cr_assert_eq(disk_sim_inflight(f.sim), 0);
        cr_assert_eq(f.done, 1);
        count = ones(&f);
        none += count == 0;
        whole += count == SECTORS;
        torn += count > 0 && count < SECTORS;
        finish(&f);
    }
    cr_assert_gt(torn, 20);
    cr_assert_gt(whole, 20);
    cr_assert_leq(none, 60);
}

Test(disk_sim, a_kill_spares_the_page_cache)
{
    struct fixture f;

    start(&f);
    write_ones(&f, false);
    disk_sim_complete_all(f.sim);
    disk_sim_kill(f.sim);
    cr_assert_eq(ones(&f), SECTORS);
    cr_assert_eq(f.disk->ops->sync(f.file), 0);
    disk_sim_crash(f.sim, 0);
    cr_assert_eq(ones(&f), SECTORS);
    finish(&f);
}

Test(disk_sim, fails_on_demand)
{
    struct fixture f;
    uint8_t byte;

    start(&f);
    disk_sim_fail(f.sim, 1, -QR_EIO);
    write_ones(&f, true);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(f.req.result, 0);
    write_ones(&f, true);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(f.req.result, -QR_EIO);
    disk_sim_fail(f.sim, 0, 0);
    write_ones(&f, true);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(f.req.result, 0);
    disk_sim_fail_reads(f.sim, 0, -QR_EIO);
    cr_assert_eq(f.disk->ops->read(f.file, 0, &byte, 1), -QR_EIO);
    finish(&f);
}

Test(disk_sim, fills_up)
{
    struct fixture f;
    struct disk_req req = {.done = on_done, .name = "b", .size = SIZE + 512};

    start(&f);
    req.arg = &f;
    cr_assert_eq(f.disk->ops->free_bytes(f.disk), SIZE);
    f.disk->ops->create(f.disk, &req);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(req.result, -QR_ENOSPC);
    disk_sim_set_capacity(f.sim, 4 * SIZE);
    f.disk->ops->create(f.disk, &req);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(req.result, 0);
    f.disk->ops->close(req.file);
    f.disk->ops->create(f.disk, &req);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(req.result, -QR_EEXIST);
    finish(&f);
}

Test(disk_sim, discards_and_flips)
{
    struct fixture f;
    struct disk_sim_stats stats;
    uint8_t byte = 0;

    start(&f);
    cr_assert_eq(disk_sim_flip(f.sim, "a", 700, 0x40), 0);
    cr_assert_eq(f.disk->ops->read(f.file, 700, &byte, 1), 0);
    cr_assert_eq(byte, 0x40);
    cr_assert_eq(disk_sim_flip(f.sim, "a", SIZE, 1), -QR_ENOENT);
    cr_assert_eq(disk_sim_flip(f.sim, "b", 0, 1), -QR_ENOENT);
    f.req.name = "a";
    f.disk->ops->discard(f.disk, &f.req);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(f.req.result, 0);
    disk_sim_stats(f.sim, &stats);
    cr_assert_eq(stats.bytes_used, 0);
    f.disk->ops->discard(f.disk, &f.req);
    disk_sim_complete_all(f.sim);
    cr_assert_eq(f.req.result, -QR_ENOENT);
    finish(&f);
}

Test(disk_sim, replaces_and_slurps)
{
    struct fixture f;
    void *data = NULL;
    size_t size = 0;

    start(&f);
    cr_assert_eq(f.disk->ops->replace(f.disk, "id", "one", 3), 0);
    cr_assert_eq(f.disk->ops->replace(f.disk, "id", "four", 4), 0);
    disk_sim_crash(f.sim, 0);
    cr_assert_eq(f.disk->ops->slurp(f.disk, "id", 3, &data, &size),
                 -QR_ETOOBIG);
    cr_assert_eq(f.disk->ops->slurp(f.disk, "id", 4, &data, &size), 0);
    cr_assert_eq(memcmp(data, "four", 4), 0);
    mem_free(data);
    cr_assert_eq(f.disk->ops->slurp(f.disk, "no", 4, &data, &size), -QR_ENOENT);
    finish(&f);
}

/* What a page cache holds back for a power cut, what is removed but open, and
 * what is kept for the next file, count. */
Test(disk_sim, tells_the_memory_it_takes)
{
    struct fixture f;
    struct disk_sim_stats clean;
    struct disk_sim_stats dirty;
    struct disk_sim_stats removed;

    start(&f);
    disk_sim_stats(f.sim, &clean);
    cr_assert_geq(clean.memory, SIZE + SECTORS * sizeof(uint32_t));
    write_ones(&f, false);
    disk_sim_complete_all(f.sim);
    disk_sim_stats(f.sim, &dirty);
    cr_assert_geq(dirty.memory, clean.memory + SIZE);
    cr_assert_eq(f.disk->ops->remove(f.disk, "a"), 0);
    disk_sim_stats(f.sim, &removed);
    cr_assert_eq(removed.bytes_used, 0);
    cr_assert_eq(removed.memory, dirty.memory);
    f.disk->ops->close(f.file);
    f.file = NULL;
    disk_sim_stats(f.sim, &removed);
    cr_assert_eq(removed.memory, 0);
    finish(&f);
}
