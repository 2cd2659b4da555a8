/* What the simulated disk's files hold. A file is what a reader sees (the page
 * cache), and, of each sector that was written since the last sync, what a
 * power cut would leave (the platter). Few sectors are dirty at a time, so a
 * sync copies nothing, and a power cut little. */
#include <string.h>

#include "base/mem.h"
#include "store/disk_sim_impl.h"

enum {
    SAVED_MIN = 8, /* sectors */
    SAVED_KEPT = 256,
    SPARE_SIZE_MIN = 64 << 10
};

size_t
disk_sim_sectors(uint64_t size)
{
    return (size_t)((size + SIM_SECTOR - 1) / SIM_SECTOR);
}

const uint8_t *
disk_sim_platter(const struct sim_file *f, size_t sector)
{
    ASSERT(sector < disk_sim_sectors(f->size));
    ASSERT(f->dirty[sector] <= f->saved_count);
    return f->dirty[sector] > 0
               ? f->saved + (size_t)(f->dirty[sector] - 1) * SIM_SECTOR
               : f->bytes + sector * SIM_SECTOR;
}

size_t
disk_sim_sector_size(const struct sim_file *f, size_t sector)
{
    uint64_t left = f->size - (uint64_t)sector * SIM_SECTOR;

    ASSERT(sector < disk_sim_sectors(f->size));
    return (size_t)MIN((uint64_t)SIM_SECTOR, left);
}

/* SIZE zeros. */
static uint8_t *
take_spare(struct disk_sim *d, uint64_t size)
{
    for (size_t i = 0; i < d->spares_count; i++) {
        struct sim_spare spare = d->spares[i];

        if (spare.size == size) {
            d->spares[i] = d->spares[--d->spares_count];
            memset(spare.bytes, 0, (size_t)spare.used);
            return spare.bytes;
        }
    }
    return mem_zalloc((size_t)size, 1);
}

struct sim_file *
disk_sim_file_new(struct disk_sim *d, const char *name, uint64_t size)
{
    struct sim_file *f = mem_zalloc(1, sizeof(*f));
    size_t length = strlen(name);

    ASSERT(length < DISK_NAME_SIZE);
    ASSERT(disk_sim_find(d, name) == NULL);
    ASSERT(d->files.count < DISK_SIM_FILES_MAX);
    memcpy(f->name, name, length);
    f->size = size;
    f->bytes = take_spare(d, size);
    f->dirty = mem_zalloc(disk_sim_sectors(size), sizeof(*f->dirty));
    f->dirty_first = disk_sim_sectors(size);
    strmap_put(&d->files, name, length, f);
    d->stats.bytes_used += size;
    return f;
}

uint64_t
disk_sim_file_memory(const struct sim_file *f)
{
    uint64_t sectors = disk_sim_sectors(f->size);

    ASSERT(f->saved_count <= f->saved_capacity);
    return sizeof(*f) + f->size + sectors * sizeof(*f->dirty) +
           (uint64_t)f->saved_capacity * SIM_SECTOR +
           (f->bad != NULL ? sectors * sizeof(*f->bad) : 0);
}

void
disk_sim_file_free(struct disk_sim *d, struct sim_file *f)
{
    ASSERT(f->opens == 0);
    ASSERT(f->used <= f->size);
    if (f->size >= SPARE_SIZE_MIN && d->spares_count < SIM_SPARES_MAX) {
        struct sim_spare *spare = &d->spares[d->spares_count++];

        spare->bytes = f->bytes;
        spare->size = f->size;
        spare->used = f->used;
    } else {
        mem_free(f->bytes);
    }
    mem_free(f->dirty);
    mem_free(f->saved);
    mem_free(f->bad);
    mem_free(f);
}

void
disk_sim_file_fill(struct sim_file *f, const void *data, size_t size)
{
    ASSERT(size <= f->size);
    ASSERT(f->saved_count == 0);
    memcpy(f->bytes, data, size);
    f->used = MAX(f->used, (uint64_t)size);
}

void
disk_sim_file_flip(struct sim_file *f, uint64_t offset, uint8_t mask)
{
    uint32_t saved = f->dirty[offset / SIM_SECTOR];

    ASSERT(offset < f->size);
    ASSERT(saved <= f->saved_count);
    f->bytes[offset] ^= mask;
    f->used = MAX(f->used, offset + 1);
    if (saved > 0) {
        f->saved[(size_t)(saved - 1) * SIM_SECTOR + offset % SIM_SECTOR] ^=
            mask;
    }
}

/* SECTOR of F, which is clean, will be written: keep what the platter has. */
static void
save(struct sim_file *f, size_t sector)
{
    ASSERT(f->dirty[sector] == 0);
    if (f->saved_count == f->saved_capacity) {
        f->saved_capacity = MAX(f->saved_capacity * 2, (size_t)SAVED_MIN);
        f->saved = mem_realloc(f->saved, f->saved_capacity * SIM_SECTOR);
    }
    memcpy(f->saved + f->saved_count * SIM_SECTOR,
           f->bytes + sector * SIM_SECTOR, disk_sim_sector_size(f, sector));
    f->dirty[sector] = (uint32_t)++f->saved_count;
}

static void
mark_dirty(struct sim_file *f, size_t first, size_t last)
{
    ASSERT(first <= last);
    ASSERT(last < disk_sim_sectors(f->size));
    for (size_t i = first; i <= last; i++) {
        if (f->dirty[i] == 0) {
            save(f, i);
        }
        if (f->bad != NULL) {
            f->bad[i] = false; /* disks put another sector in its place */
        }
    }
    f->dirty_first = MIN(f->dirty_first, first);
    f->dirty_limit = MAX(f->dirty_limit, last + 1);
}

void
disk_sim_file_write(struct sim_file *f, uint64_t offset, const void *data,
                    size_t size)
{
    ASSERT(size > 0);
    ASSERT(offset + size <= f->size);
    mark_dirty(f, (size_t)(offset / SIM_SECTOR),
               (size_t)((offset + size - 1) / SIM_SECTOR));
    memcpy(f->bytes + offset, data, size);
    f->used = MAX(f->used, offset + size);
}

void
disk_sim_file_sync(struct sim_file *f)
{
    ASSERT(f->dirty_limit <= disk_sim_sectors(f->size));
    for (size_t i = f->dirty_first; i < f->dirty_limit; i++) {
        f->dirty[i] = 0;
    }
    f->saved_count = 0;
    if (f->saved_capacity > SAVED_KEPT) { /* one large write needed it */
        mem_free(f->saved);
        f->saved = NULL;
        f->saved_capacity = 0;
    }
    f->dirty_first = disk_sim_sectors(f->size);
    f->dirty_limit = 0;
}
