/* What befalls the simulated disk besides power cuts: rot, sectors that cannot
 * be read, an end in the middle of anything, loss, an old copy put back. */
#include <quorate/error.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/disk_sim_impl.h"

enum {
    SIM_IMAGE_MAGIC = 0x53494d49,
    ROT_TRIES = 64 /* to hit a sector that holds something */
};

struct image_file {
    char name[DISK_NAME_SIZE];
    uint64_t size;
    uint8_t *bytes;
    size_t used; /* so many bytes are there, the others are zeros */
};

struct disk_sim_image {
    unsigned magic;
    struct image_file *files;
    size_t count;
};

int
disk_sim_flip(struct disk_sim *d, const char *name, uint64_t offset,
              uint8_t mask)
{
    struct sim_file *f;

    OBJ_CHECK(d, SIM_MAGIC);
    ASSERT(mask != 0);
    f = disk_sim_find(d, name);
    if (f == NULL || offset >= f->size) {
        return -QR_ENOENT;
    }
    disk_sim_file_flip(f, offset, mask);
    return 0;
}

static bool
has_something(const struct sim_file *f, size_t sector)
{
    const uint8_t *bytes = disk_sim_platter(f, sector);
    size_t size = disk_sim_sector_size(f, sector);
    bool found = false;

    for (size_t i = 0; i < size; i++) {
        found = found || bytes[i] != 0;
    }
    return found;
}

/* A random sector that is not all zeros, by all files' size, or false. */
static bool
pick_sector(const struct disk_sim *d, struct sim_file **file, uint64_t *offset)
{
    void **files = strmap_values_sorted(&d->files);
    bool found = false;

    OBJ_CHECK(d, SIM_MAGIC);
    for (int i = 0; i < ROT_TRIES && !found && d->stats.bytes_used > 0; i++) {
        uint64_t at = rng_below(d->rng, d->stats.bytes_used);
        size_t k = 0;

        for (;; k++) {
            *file = files[k];
            if (at < (*file)->size) {
                break;
            }
            at -= (*file)->size;
        }
        *offset = at - at % SIM_SECTOR;
        found = has_something(*file, (size_t)(at / SIM_SECTOR));
    }
    mem_free(files);
    return found;
}

static void
tell_spot(const struct sim_file *f, uint64_t offset, struct disk_sim_spot *out)
{
    ASSERT(offset < f->size);
    memcpy(out->name, f->name, sizeof(out->name));
    out->offset = offset;
}

bool
disk_sim_rot(struct disk_sim *d, struct disk_sim_spot *out)
{
    struct sim_file *f = NULL;
    uint64_t at = 0;
    uint8_t mask = (uint8_t)(1u << rng_below(d->rng, 8));

    OBJ_CHECK(d, SIM_MAGIC);
    if (!pick_sector(d, &f, &at)) {
        return false;
    }
    at += rng_below(d->rng, MIN((uint64_t)SIM_SECTOR, f->size - at));
    disk_sim_file_flip(f, at, mask);
    tell_spot(f, at, out);
    return true;
}

static void
make_bad(struct sim_file *f, uint64_t offset)
{
    ASSERT(offset < f->size);
    if (f->bad == NULL) {
        f->bad = mem_zalloc(disk_sim_sectors(f->size), sizeof(bool));
    }
    f->bad[offset / SIM_SECTOR] = true;
}

bool
disk_sim_spoil(struct disk_sim *d, struct disk_sim_spot *out)
{
    struct sim_file *f = NULL;
    uint64_t at = 0;

    OBJ_CHECK(d, SIM_MAGIC);
    if (!pick_sector(d, &f, &at)) {
        return false;
    }
    make_bad(f, at);
    tell_spot(f, at, out);
    return true;
}

int
disk_sim_spoil_at(struct disk_sim *d, const char *name, uint64_t offset)
{
    struct sim_file *f;

    OBJ_CHECK(d, SIM_MAGIC);
    f = disk_sim_find(d, name);
    if (f == NULL || offset >= f->size) {
        return -QR_ENOENT;
    }
    make_bad(f, offset);
    return 0;
}

void
disk_sim_heal(struct disk_sim *d)
{
    void **files;

    OBJ_CHECK(d, SIM_MAGIC);
    files = strmap_values_sorted(&d->files);
    for (size_t i = 0; i < d->files.count; i++) {
        struct sim_file *f = files[i];

        mem_free(f->bad);
        f->bad = NULL;
    }
    mem_free(files);
}

bool
disk_sim_is_bad(const struct sim_file *f, uint64_t offset, uint64_t size)
{
    if (f->bad == NULL) {
        return false;
    }
    ASSERT(size > 0);
    ASSERT(offset + size <= f->size);
    for (uint64_t i = offset / SIM_SECTOR;
         i <= (offset + size - 1) / SIM_SECTOR; i++) {
        if (f->bad[i]) {
            return true;
        }
    }
    return false;
}

void
disk_sim_stop_after(struct disk_sim *d, uint64_t operations)
{
    OBJ_CHECK(d, SIM_MAGIC);
    d->stops = true;
    d->stop_after = operations;
}

bool
disk_sim_has_stopped(const struct disk_sim *d)
{
    OBJ_CHECK(d, SIM_MAGIC);
    return d->stops && d->stop_after == 0;
}

bool
disk_sim_is_over(struct disk_sim *d)
{
    if (d->stops && d->stop_after > 0) {
        d->stop_after--;
        return false;
    }
    return d->stops;
}

void
disk_sim_lose(struct disk_sim *d)
{
    void **files;
    size_t count;

    OBJ_CHECK(d, SIM_MAGIC);
    ASSERT(list_is_empty(&d->handles));
    ASSERT(d->queue_count == 0);
    files = strmap_values_sorted(&d->files);
    count = d->files.count;
    for (size_t i = 0; i < count; i++) {
        disk_sim_file_remove(d, files[i]);
    }
    mem_free(files);
    ASSERT(d->stats.bytes_used == 0);
}

static uint8_t *
copy_platter(const struct sim_file *f)
{
    uint8_t *bytes = mem_dup(f->bytes, (size_t)f->used);

    ASSERT(f->dirty_limit <= disk_sim_sectors(f->used));
    for (size_t i = f->dirty_first; i < f->dirty_limit; i++) {
        size_t at = i * SIM_SECTOR;

        if (f->dirty[i] > 0) {
            memcpy(bytes + at, disk_sim_platter(f, i),
                   MIN((size_t)SIM_SECTOR, (size_t)f->used - at));
        }
    }
    return bytes;
}

struct disk_sim_image *
disk_sim_copy(const struct disk_sim *d)
{
    struct disk_sim_image *image = mem_zalloc(1, sizeof(*image));
    void **files;

    OBJ_CHECK(d, SIM_MAGIC);
    image->magic = SIM_IMAGE_MAGIC;
    image->count = d->files.count;
    image->files = mem_zalloc(image->count, sizeof(*image->files));
    files = strmap_values_sorted(&d->files);
    for (size_t i = 0; i < image->count; i++) {
        const struct sim_file *f = files[i];
        struct image_file *to = &image->files[i];

        memcpy(to->name, f->name, sizeof(to->name));
        to->size = f->size;
        to->used = (size_t)f->used;
        to->bytes = copy_platter(f);
    }
    mem_free(files);
    return image;
}

void
disk_sim_roll_back(struct disk_sim *d, const struct disk_sim_image *image)
{
    OBJ_CHECK(image, SIM_IMAGE_MAGIC);
    disk_sim_lose(d);
    for (size_t i = 0; i < image->count; i++) {
        const struct image_file *from = &image->files[i];
        struct sim_file *f = disk_sim_file_new(d, from->name, from->size);

        disk_sim_file_fill(f, from->bytes, from->used);
    }
    ASSERT(d->files.count == image->count);
}

uint64_t
disk_sim_image_memory(const struct disk_sim_image *image)
{
    uint64_t bytes = sizeof(*image) + image->count * sizeof(*image->files);

    OBJ_CHECK(image, SIM_IMAGE_MAGIC);
    for (size_t i = 0; i < image->count; i++) {
        bytes += image->files[i].used;
    }
    return bytes;
}

void
disk_sim_image_free(struct disk_sim_image **image)
{
    OBJ_CHECK(*image, SIM_IMAGE_MAGIC);
    for (size_t i = 0; i < (*image)->count; i++) {
        mem_free((*image)->files[i].bytes);
    }
    mem_free((*image)->files);
    (*image)->magic = 0;
    mem_free(*image);
    *image = NULL;
}
