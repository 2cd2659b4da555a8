/* Reference-counted bytes. A block is allocated once and shared by slices; a
 * slice is a window into a block. Content is written before it is shared and
 * never after. Counts are atomic: slices travel between shards, and every
 * function here may be called from any thread on references it holds. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

enum {
    BLOCK_MAGIC = 0x510cb10c
};

/* More holders of one block than this is a leak, and stops the process. */
#define BLOCK_REFS_MAX ((uint32_t)1 << 30)

/* A larger block stops the process; users limit sizes far below. */
#define BLOCK_SIZE_MAX ((size_t)1 << 32)

struct block {
    _Atomic uint32_t refs;
    uint32_t magic;
    size_t size;
    uint8_t data[]; /* size bytes */
};

/* A window; holds one reference on its block unless block is NULL (then the
 * bytes are static or borrowed). By value; copy with slice_ref(). */
struct slice {
    struct block *block;
    const uint8_t *data;
    size_t size;
};

/* A new block of SIZE uninitialised bytes with one reference. */
struct block *block_new(size_t size);
/* Release BLOCK, whose last reference is gone. Call block_unref() instead. */
void block_free(struct block *block);

/* Another reference to BLOCK, which is returned. */
static inline struct block *
block_ref(struct block *block)
{
    uint32_t before = 0;

    OBJ_CHECK(block, BLOCK_MAGIC);
    before = atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    ASSERT(before < BLOCK_REFS_MAX);
    return block;
}

/* Drop a reference; the last one frees. NULL is fine. */
static inline void
block_unref(struct block *block)
{
    uint32_t before = 0;

    if (block == NULL) {
        return;
    }
    ASSERT(block->magic == BLOCK_MAGIC);
    /* The only holder needs no locked instruction: nobody else can be adding
     * a reference to what nobody else refers to. */
    if (atomic_load_explicit(&block->refs, memory_order_acquire) == 1) {
        block_free(block);
        return;
    }
    before = atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        block_free(block);
    }
}

/* Overwrite the first SIZE bytes of *S, which is in a block, where they lie:
 * they were a secret, and nobody refers to them any more. */
void slice_wipe(const struct slice *s, size_t size);

/* The empty slice. */
static inline struct slice
slice_empty(void)
{
    return (struct slice){NULL, (const uint8_t *)"", 0};
}

/* SIZE bytes at DATA, borrowed: they must outlive the slice and all its
 * references. For static bytes and for calls. */
static inline struct slice
slice_borrow(const void *data, size_t size)
{
    ASSERT(data != NULL || size == 0);
    return size == 0 ? slice_empty() : (struct slice){NULL, data, size};
}

/* A new slice that owns a copy of SIZE bytes at SRC. */
struct slice slice_copy(const void *src, size_t size);

/* Takes the caller's reference of BLOCK; the slice is all of it. */
static inline struct slice
slice_of_block(struct block *block)
{
    OBJ_CHECK(block, BLOCK_MAGIC);
    return (struct slice){block, block->data, block->size};
}

/* SIZE bytes at OFFSET within BLOCK; takes a new reference. */
static inline struct slice
slice_in_block(struct block *block, size_t offset, size_t size)
{
    OBJ_CHECK(block, BLOCK_MAGIC);
    ASSERT(offset <= block->size);
    ASSERT(size <= block->size - offset);
    return (struct slice){block_ref(block), block->data + offset, size};
}

/* Another reference to the same bytes. */
static inline struct slice
slice_ref(const struct slice *s)
{
    if (s->block != NULL) {
        (void)block_ref(s->block);
    }
    return *s;
}

/* A window into S: a new reference. */
static inline struct slice
slice_sub(const struct slice *s, size_t offset, size_t size)
{
    struct slice sub = slice_empty();

    ASSERT(offset <= s->size);
    ASSERT(size <= s->size - offset);
    if (size > 0) {
        sub = slice_ref(s);
        sub.data += offset;
        sub.size = size;
    }
    return sub;
}

/* Drop the reference; *S becomes empty. */
static inline void
slice_unref(struct slice *s)
{
    struct block *block = s->block;

    *s = slice_empty();
    block_unref(block);
}

/* Move out of *S, which becomes empty. */
static inline struct slice
slice_take(struct slice *s)
{
    struct slice taken = *s;

    *s = slice_empty();
    return taken;
}

#endif
