/* The faults of the simulated disk, one by one. */
#include <quorate/error.h>
#include <string.h>

#include "base/rng.h"
#include "lib/harness.h"
#include "store/disk_sim.h"

enum {
    SIZE = 4096
};

struct fixture {
    struct rng rng;
    struct disk_sim *sim;
    struct disk *disk;
    uint8_t bytes[SIZE];
};

static void
start(struct fixture *f)
{
    rng_init(&f->rng, 7);
    f->sim = disk_sim_new(&f->rng, 1 << 20);
    f->disk = disk_sim_disk(f->sim);
    memset(f->bytes, 0, SIZE);
    memset(f->bytes + 1024, 0xab, 512);
    cr_assert_eq(f->disk->ops->replace(f->disk, "a", f->bytes, SIZE), 0);
}

/* Read file "a" from OFFSET on; the code. */
static int
read_a(struct fixture *f, uint64_t offset, size_t size, uint8_t *out)
{
    struct disk_file *file;
    int rv;

    cr_assert_eq(f->disk->ops->open(f->disk, "a", &file), 0);
    rv = f->disk->ops->read(file, offset, out, size);
    f->disk->ops->close(file);
    return rv;
}

Test(disk_sim_fault, rot_flips_a_bit_of_what_is_stored)
{
    struct fixture f;
    struct disk_sim_spot spot;
    uint8_t got[SIZE];

    start(&f);
    for (int i = 0; i < 100; i++) {
        uint8_t diff;

        cr_assert(disk_sim_rot(f.sim, &spot));
        cr_assert_str_eq(spot.name, "a");
        cr_assert(spot.offset >= 1024 && spot.offset < 1536);
        cr_assert_eq(read_a(&f, 0, SIZE, got), 0);
        diff = got[spot.offset] ^ f.bytes[spot.offset];
        cr_assert(diff != 0 && (diff & (diff - 1)) == 0);
        memcpy(f.bytes, got, SIZE);
    }
    disk_sim_lose(f.sim);
    cr_assert_not(disk_sim_rot(f.sim, &spot));
    cr_assert_not(disk_sim_spoil(f.sim, &spot));
    disk_sim_free(&f.sim);
}

static void
on_done(struct disk_req *req)
{
    (void)req;
}

Test(disk_sim_fault, a_bad_sector_is_bad_until_it_is_written)
{
    struct fixture f;
    struct disk_sim_spot spot;
    struct disk_file *file;
    struct iovec iov = {f.bytes, 512};
    struct disk_req req = {
        .done = on_done, .offset = 1024, .iov = &iov, .iov_count = 1};
    uint8_t got[SIZE];

    start(&f);
    cr_assert(disk_sim_spoil(f.sim, &spot));
    cr_assert_eq(spot.offset, 1024);
    cr_assert_eq(read_a(&f, 1535, 1, got), -QR_EIO);
    cr_assert_eq(read_a(&f, 0, SIZE, got), -QR_EIO);
    cr_assert_eq(read_a(&f, 0, 1024, got), 0);
    cr_assert_eq(read_a(&f, 1536, 512, got), 0);
    cr_assert_eq(f.disk->ops->open(f.disk, "a", &file), 0);
    req.file = file;
    f.disk->ops->write(f.disk, &req);
    disk_sim_complete_all(f.sim);
    f.disk->ops->close(file);
    cr_assert_eq(read_a(&f, 0, SIZE, got), 0);
    cr_assert_eq(disk_sim_spoil_at(f.sim, "b", 0), -QR_ENOENT);
    cr_assert_eq(disk_sim_spoil_at(f.sim, "a", SIZE), -QR_ENOENT);
    cr_assert_eq(disk_sim_spoil_at(f.sim, "a", 7), 0);
    cr_assert_eq(read_a(&f, 0, 1, got), -QR_EIO);
    disk_sim_heal(f.sim);
    cr_assert_eq(read_a(&f, 0, SIZE, got), 0);
    cr_assert_eq(memcmp(got, f.bytes, 512), 0);
    disk_sim_free(&f.sim);
}

Test(disk_sim_fault, a_machine_stops_in_the_middle)
{
    struct fixture f;
    uint8_t got[SIZE];

    start(&f);
    disk_sim_stop_after(f.sim, 2);
    cr_assert_eq(read_a(&f, 0, 1, got), 0);
    cr_assert_not(disk_sim_has_stopped(f.sim));
    cr_assert_eq(f.disk->ops->replace(f.disk, "b", "x", 1), 0);
    cr_assert(disk_sim_has_stopped(f.sim));
    cr_assert_eq(read_a(&f, 0, 1, got), 0);
    cr_assert_eq(f.disk->ops->remove(f.disk, "b"), -QR_ESHUTDOWN);
    cr_assert_eq(f.disk->ops->replace(f.disk, "c", "x", 1), -QR_ESHUTDOWN);
    disk_sim_crash(f.sim, 0);
    cr_assert_eq(read_a(&f, 0, 1, got), 0);
    disk_sim_free(&f.sim);
}

Test(disk_sim_fault, an_old_copy_comes_back)
{
    struct fixture f;
    struct disk_sim_image *image;
    struct disk_sim_stats stats;
    uint8_t got[SIZE];

    start(&f);
    image = disk_sim_copy(f.sim);
    cr_assert_geq(disk_sim_image_memory(image), SIZE);
    cr_assert_lt(disk_sim_image_memory(image), 2 * SIZE);
    cr_assert_eq(disk_sim_flip(f.sim, "a", 0, 1), 0);
    cr_assert_eq(f.disk->ops->replace(f.disk, "b", "x", 1), 0);
    disk_sim_roll_back(f.sim, image);
    disk_sim_image_free(&image);
    cr_assert_null(image);
    disk_sim_stats(f.sim, &stats);
    cr_assert_eq(stats.bytes_used, SIZE);
    cr_assert_eq(read_a(&f, 0, SIZE, got), 0);
    cr_assert_eq(memcmp(got, f.bytes, SIZE), 0);
    cr_assert_eq(f.disk->ops->remove(f.disk, "b"), -QR_ENOENT);
    disk_sim_free(&f.sim);
}
