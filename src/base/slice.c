/* Blocks: one allocation holds the count and the bytes. */
#include "base/slice.h"

#include <string.h>

#include "base/mem.h"

struct block *
block_new(size_t size)
{
    struct block *block = NULL;

    ASSERT(size <= BLOCK_SIZE_MAX);
    block = mem_alloc(sizeof(*block) + size);
    atomic_init(&block->refs, 1);
    block->magic = BLOCK_MAGIC;
    block->size = size;
    return block;
}

void
block_free(struct block *block)
{
    OBJ_CHECK(block, BLOCK_MAGIC);
    block->magic = 0; /* a later use trips over it */
    mem_free(block);
}

struct slice
slice_copy(const void *src, size_t size)
{
    struct block *block = NULL;

    ASSERT(src != NULL || size == 0);
    if (size == 0) {
        return slice_empty();
    }
    block = block_new(size);
    memcpy(block->data, src, size);
    return slice_of_block(block);
}

void
slice_wipe(const struct slice *s, size_t size)
{
    size_t at = 0;

    ASSERT(size <= s->size);
    if (size > 0) {
        OBJ_CHECK(s->block, BLOCK_MAGIC);
        at = (size_t)(s->data - s->block->data);
        ASSERT(at <= s->block->size);
        ASSERT(size <= s->block->size - at);
        mem_wipe(s->block->data + at, size);
    }
}
