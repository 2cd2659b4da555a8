/* A growing byte buffer and a reader that cannot run over its end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that this owns. `data` moves when it grows. */
struct buf {
    uint8_t *data;
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
};

void buf_init(struct buf *b);
/* Release the memory; the buffer is then as after buf_init(). */
void buf_deinit(struct buf *b);
/* Forget the content, keep the memory. */
void buf_clear(struct buf *b);
/* Make room for MORE bytes beyond `size` (at least doubling). */
void buf_reserve(struct buf *b, size_t more);
/* Grow `size` by MORE and return where the new, uninitialised bytes start. */
uint8_t *buf_extend(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *src, size_t size);
void buf_put_text(struct buf *b, const char *text); /* without its NUL */
void buf_putf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16be(struct buf *b, uint16_t v);
void buf_put_u32be(struct buf *b, uint32_t v);
void buf_put_u64be(struct buf *b, uint64_t v);
void buf_put_u32le(struct buf *b, uint32_t v);
void buf_put_u64le(struct buf *b, uint64_t v);
/* LEB128, 1 to 10 bytes. */
void buf_put_varint(struct buf *b, uint64_t v);
/* A varint length, then the bytes. */
void buf_put_blob(struct buf *b, const void *src, size_t size);
/* Drop COUNT bytes from the front. */
void buf_consume(struct buf *b, size_t count);

/* Reads forwards. A read past the end sets `bad`, returns 0 and stays bad, so
 * that a decoder may check once, at its end. */
struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

void cursor_init(struct cursor *c, const void *data, size_t size);
size_t cursor_left(const struct cursor *c);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16be(struct cursor *c);
uint32_t cursor_u32be(struct cursor *c);
uint64_t cursor_u64be(struct cursor *c);
uint32_t cursor_u32le(struct cursor *c);
uint64_t cursor_u64le(struct cursor *c);
/* A varint of more than 10 bytes or 64 bits is bad. */
uint64_t cursor_varint(struct cursor *c);
/* SIZE bytes within the input (borrowed), or NULL and bad. */
const uint8_t *cursor_bytes(struct cursor *c, size_t size);
/* What buf_put_blob() wrote: borrowed bytes, their count in *SIZE. */
const uint8_t *cursor_blob(struct cursor *c, size_t *size);

/* Fixed-offset stores and loads for headers. */
void put_u16be(uint8_t *at, uint16_t v);
void put_u32be(uint8_t *at, uint32_t v);
void put_u64be(uint8_t *at, uint64_t v);
void put_u32le(uint8_t *at, uint32_t v);
void put_u64le(uint8_t *at, uint64_t v);
uint16_t get_u16be(const uint8_t *at);
uint32_t get_u32be(const uint8_t *at);
uint64_t get_u64be(const uint8_t *at);
uint32_t get_u32le(const uint8_t *at);
uint64_t get_u64le(const uint8_t *at);

#endif
