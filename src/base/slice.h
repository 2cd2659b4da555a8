/* Reference-counted bytes. A block is allocated once and shared by slices; a
 * slice is a window into a block. Content is written before it is shared and
 * never after. Counts are atomic: slices travel between shards. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

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
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL is fine */

/* The empty slice. */
struct slice slice_empty(void);
/* A new slice that owns a copy of SIZE bytes at SRC. */
struct slice slice_copy(const void *src, size_t size);
/* Takes the caller's reference of BLOCK; the slice is all of it. */
struct slice slice_of_block(struct block *block);
/* SIZE bytes at OFFSET within BLOCK; takes a new reference. */
struct slice slice_in_block(struct block *block, size_t offset, size_t size);
/* A window into S: a new reference. */
struct slice slice_sub(const struct slice *s, size_t offset, size_t size);
/* Another reference to the same bytes. */
struct slice slice_ref(const struct slice *s);
/* Drop the reference; *S becomes empty. */
void slice_unref(struct slice *s);
/* Move out of *S, which becomes empty. */
struct slice slice_take(struct slice *s);

#endif
