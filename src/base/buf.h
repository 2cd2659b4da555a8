/* A growing byte buffer and a reader that cannot run over its end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"

/* A buffer never holds more; growing past it stops the process. What a peer
 * or a client may make it hold is limited, far lower, by its user. */
#define BUF_SIZE_MAX ((size_t)1 << 36)

/* Bytes of the longest varint. */
enum {
    VARINT_SIZE_MAX = 10
};

/* Bytes that this owns. `data` moves when it grows. */
struct buf {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

/* Fixed-offset stores and loads for headers. Compilers make one instruction
 * or two of each, at any alignment. */
static inline void
put_u16be(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static inline void
put_u32be(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

static inline void
put_u64be(uint8_t *at, uint64_t v)
{
    put_u32be(at, (uint32_t)(v >> 32));
    put_u32be(at + 4, (uint32_t)v);
}

static inline void
put_u32le(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
    at[2] = (uint8_t)(v >> 16);
    at[3] = (uint8_t)(v >> 24);
}

static inline void
put_u64le(uint8_t *at, uint64_t v)
{
    put_u32le(at, (uint32_t)v);
    put_u32le(at + 4, (uint32_t)(v >> 32));
}

static inline uint16_t
get_u16be(const uint8_t *at)
{
    return (uint16_t)((unsigned)at[0] << 8 | at[1]);
}

static inline uint32_t
get_u32be(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
           (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t
get_u64be(const uint8_t *at)
{
    return (uint64_t)get_u32be(at) << 32 | get_u32be(at + 4);
}

static inline uint32_t
get_u32le(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 |
           (uint32_t)at[1] << 8 | at[0];
}

static inline uint64_t
get_u64le(const uint8_t *at)
{
    return (uint64_t)get_u32le(at + 4) << 32 | get_u32le(at);
}

/* An empty buffer; allocates nothing. */
void buf_init(struct buf *b);
/* Release the memory; the buffer is then as after buf_init(). */
void buf_deinit(struct buf *b);
/* Forget the content, keep the memory. */
void buf_clear(struct buf *b);
/* Make room for MORE bytes beyond `size` (at least doubling). */
void buf_reserve(struct buf *b, size_t more);
/* Append what printf() would print; up to 2 GiB. */
void buf_putf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_put_text(struct buf *b, const char *text); /* without its NUL */
/* Append the words of TEXT and a line end, in lines of at most WIDTH columns,
 * unless a word is longer. B's last line has COLUMN columns already; further
 * ones begin with as many blanks. */
void buf_put_wrapped(struct buf *b, const char *text, size_t column,
                     size_t width);
/* Drop COUNT bytes from the front. Moves the rest: O(size). */
void buf_consume(struct buf *b, size_t count);
/* buf_put_varint() of a value of two bytes or more. */
void buf_put_varint_long(struct buf *b, uint64_t v);

/* Grow `size` by MORE and return where the new, uninitialised bytes start. */
static inline uint8_t *
buf_extend(struct buf *b, size_t more)
{
    uint8_t *at = NULL;

    if (UNLIKELY(b->capacity - b->size < more || b->data == NULL)) {
        buf_reserve(b, more);
    }
    at = b->data + b->size;
    b->size += more;
    return at;
}

/* Append SIZE bytes at SRC, which is not within B. */
static inline void
buf_put(struct buf *b, const void *src, size_t size)
{
    if (size > 0) {
        memcpy(buf_extend(b, size), src, size);
    }
}

static inline void
buf_put_u8(struct buf *b, uint8_t v)
{
    *buf_extend(b, 1) = v;
}

static inline void
buf_put_u16be(struct buf *b, uint16_t v)
{
    put_u16be(buf_extend(b, 2), v);
}

static inline void
buf_put_u32be(struct buf *b, uint32_t v)
{
    put_u32be(buf_extend(b, 4), v);
}

static inline void
buf_put_u64be(struct buf *b, uint64_t v)
{
    put_u64be(buf_extend(b, 8), v);
}

static inline void
buf_put_u32le(struct buf *b, uint32_t v)
{
    put_u32le(buf_extend(b, 4), v);
}

static inline void
buf_put_u64le(struct buf *b, uint64_t v)
{
    put_u64le(buf_extend(b, 8), v);
}

/* LEB128, 1 to VARINT_SIZE_MAX bytes. */
static inline void
buf_put_varint(struct buf *b, uint64_t v)
{
    if (LIKELY(v < 0x80)) {
        buf_put_u8(b, (uint8_t)v);
        return;
    }
    buf_put_varint_long(b, v);
}

/* A varint length, then the bytes. */
static inline void
buf_put_blob(struct buf *b, const void *src, size_t size)
{
    buf_put_varint(b, size);
    buf_put(b, src, size);
}

/* Reads forwards. A read past the end sets `bad`, returns 0 and stays bad, so
 * that a decoder may check once, at its end. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

/* cursor_varint() of two bytes or more, or of none. */
uint64_t cursor_varint_long(struct cursor *c);

/* Read SIZE bytes at DATA, borrowed as long as the cursor is used. DATA may be
 * NULL when SIZE is 0. */
static inline void
cursor_init(struct cursor *c, const void *data, size_t size)
{
    ASSERT(data != NULL || size == 0);
    c->at = data != NULL ? data : (const void *)"";
    c->end = c->at + size;
    c->bad = false;
}

/* Bytes not yet read; 0 when bad. */
static inline size_t
cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* Give up on the input: nothing is left and the cursor is bad. For decoders
 * that find a value they cannot accept. */
static inline void
cursor_fail(struct cursor *c)
{
    c->bad = true;
    c->at = c->end;
}

/* SIZE bytes within the input (borrowed), or NULL and bad. */
static inline const uint8_t *
cursor_bytes(struct cursor *c, size_t size)
{
    const uint8_t *at = c->at;

    if (UNLIKELY(cursor_left(c) < size || c->bad)) {
        cursor_fail(c);
        return NULL;
    }
    c->at = at + size;
    return at;
}

static inline uint8_t
cursor_u8(struct cursor *c)
{
    const uint8_t *at = cursor_bytes(c, 1);

    return LIKELY(at != NULL) ? *at : 0;
}

static inline uint16_t
cursor_u16be(struct cursor *c)
{
    const uint8_t *at = cursor_bytes(c, 2);

    return LIKELY(at != NULL) ? get_u16be(at) : 0;
}

static inline uint32_t
cursor_u32be(struct cursor *c)
{
    const uint8_t *at = cursor_bytes(c, 4);

    return LIKELY(at != NULL) ? get_u32be(at) : 0;
}

static inline uint64_t
cursor_u64be(struct cursor *c)
{
    const uint8_t *at = cursor_bytes(c, 8);

    return LIKELY(at != NULL) ? get_u64be(at) : 0;
}

static inline uint32_t
cursor_u32le(struct cursor *c)
{
    const uint8_t *at = cursor_bytes(c, 4);

    return LIKELY(at != NULL) ? get_u32le(at) : 0;
}

static inline uint64_t
cursor_u64le(struct cursor *c)
{
    const uint8_t *at = cursor_bytes(c, 8);

    return LIKELY(at != NULL) ? get_u64le(at) : 0;
}

/* A varint of more than VARINT_SIZE_MAX bytes or 64 bits is bad. */
static inline uint64_t
cursor_varint(struct cursor *c)
{
    if (LIKELY(cursor_left(c) > 0 && *c->at < 0x80)) {
        return *c->at++;
    }
    return cursor_varint_long(c);
}

/* What buf_put_blob() wrote: borrowed bytes, their count in *SIZE (0 when
 * bad), or NULL and bad. */
static inline const uint8_t *
cursor_blob(struct cursor *c, size_t *size)
{
    uint64_t count = cursor_varint(c);
    const uint8_t *at = cursor_bytes(c, (size_t)count);

    *size = LIKELY(at != NULL) ? (size_t)count : 0;
    return at;
}

#endif
