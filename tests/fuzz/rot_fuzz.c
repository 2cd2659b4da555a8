/* Starts of a store whose files have rotted: bytes anywhere in them are not
 * what was written. Checksums are not put right, so damage must be found: what
 * is read is what was written, or an error.
 *
 *   input := changes; change := u8 file, u16 offset, u8 mask (exclusive or) */
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "store/disk.h"
#include "store/disk_sim.h"
#include "store/store.h"

enum {
    GROUPS = 3,
    ENTRIES = 60, /* of each group: more than a segment holds */
    BODY_SIZE = 700,
    CHANGE_SIZE = 4,
    CHANGES_MAX = 12,
    CAPACITY = 32 << 20,
    FILES = 4
};

static void
on_durable(void *arg, uint64_t batch)
{
    uint64_t *durable = arg;

    *durable = batch;
}

static void
on_failure(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    UNREACHABLE("this disk does not fail");
}

static int
open_store(struct disk_sim *sim, uint64_t *durable, struct store **out)
{
    struct store_config config = {
        .disk = disk_sim_disk(sim),
        .segment_size = STORE_SEGMENT_SIZE_MIN,
        .cache_size = 1024,
        .on_durable = on_durable,
        .on_failure = on_failure,
        .arg = durable,
    };
    struct error err;

    return store_open(&config, out, &err);
}

/* The body of entry INDEX of GROUP. */
static struct slice
body_of(qr_group_id group, qr_index index)
{
    uint8_t bytes[BODY_SIZE];

    memset(bytes, (int)(group * 64 + index), sizeof(bytes));
    return slice_copy(bytes, sizeof(bytes));
}

static void
fill(struct disk_sim *sim)
{
    uint64_t durable = 0;
    struct store *s = NULL;
    struct slice header = slice_borrow("header", 6);
    int rv = open_store(sim, &durable, &s);

    ASSERT(rv == 0);
    for (qr_group_id g = 1; g <= GROUPS; g++) {
        (void)store_group_create(s, g, &header, false);
        (void)store_hard_state(s, g, 2, 1);
    }
    for (qr_index i = 1; i <= ENTRIES; i++) {
        for (qr_group_id g = 1; g <= GROUPS; g++) {
            struct store_entry e = {
                .term = 2, .type = 1, .data = body_of(g, i)};

            (void)store_append(s, g, i, &e, 1);
            slice_unref(&e.data);
        }
        store_flush(s);
        disk_sim_complete_all(sim);
    }
    store_close(&s);
}

static void
rot(struct disk_sim *sim, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + CHANGE_SIZE <= MIN(size, CHANGE_SIZE * CHANGES_MAX);
         i += CHANGE_SIZE) {
        char name[32];

        if (data[i + 3] == 0) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "segment-%08u.log",
                       1 + data[i] % FILES);
        (void)!disk_sim_flip(
            sim, name, (uint64_t)(data[i + 1] | data[i + 2] << 8), data[i + 3]);
    }
}

static void
check_group(void *arg, const struct store_group_info *info)
{
    struct store *s = arg;

    for (qr_index i = info->first_index; i <= info->last_index; i++) {
        struct store_entry e;
        struct slice want = body_of(info->id, i);

        if (store_read(s, info->id, i, &e) == 0) {
            ASSERT(e.term == 2);
            ASSERT(e.data.size == want.size);
            ASSERT(memcmp(e.data.data, want.data, want.size) == 0);
            slice_unref(&e.data);
        }
        slice_unref(&want);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rng rng;
    struct disk_sim *sim = NULL;
    struct store *s = NULL;
    uint64_t durable = 0;

    rng_init(&rng, 1);
    sim = disk_sim_new(&rng, CAPACITY);
    fill(sim);
    rot(sim, data, size);
    if (open_store(sim, &durable, &s) == 0) {
        store_foreach_group(s, check_group, s);
        disk_sim_complete_all(sim);
        store_close(&s);
    }
    disk_sim_free(&sim);
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    size_t count = 1 + (size_t)rng_below(r, CHANGES_MAX);

    ASSERT(count * CHANGE_SIZE <= capacity);
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = rng_below(r, STORE_SEGMENT_SIZE_MIN);

        at[i * CHANGE_SIZE] = (uint8_t)rng_below(r, FILES);
        at[i * CHANGE_SIZE + 1] = (uint8_t)offset;
        at[i * CHANGE_SIZE + 2] = (uint8_t)(offset >> 8);
        at[i * CHANGE_SIZE + 3] = (uint8_t)rng_between(r, 1, 255);
    }
    return count * CHANGE_SIZE;
}
