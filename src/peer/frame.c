/* Frames, within the node and on the wire.
 *
 * A frame with few pieces of content is one allocation: room for
 * FRAME_INLINE slices follows the struct. On the wire the pieces become one
 * run of bytes, so the receiver sees one slice of content; where senders need
 * the pieces apart, the head says their sizes.
 *
 * The decoder trusts nothing: sizes are checked against the limits before it
 * waits for that many bytes, and the checksum before anything else is read. */
#include "peer/frame.h"

#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"

enum {
    FRAME_MAGIC = 0x4652414d,
    FRAME_VERSION = 1,
    FRAME_INLINE = 4,
    FRAME_CRC_FROM = 8 /* what the CRC covers starts here */
};

struct frame_memory {
    struct frame frame;
    struct slice room[FRAME_INLINE];
};

static void
put_u16le(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static uint16_t
get_u16le(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

struct frame *
frame_new(enum frame_class klass, uint16_t kind)
{
    struct frame_memory *m = mem_zalloc(1, sizeof(*m));
    struct frame *f = &m->frame;

    ASSERT(klass < FRAME_CLASS_COUNT);
    ASSERT(kind < FRAME_KIND_LIMIT);
    f->magic = FRAME_MAGIC;
    f->klass = (uint8_t)klass;
    f->kind = kind;
    f->head = slice_empty();
    f->content = m->room;
    f->content_capacity = FRAME_INLINE;
    return f;
}

void
frame_free(struct frame **f)
{
    struct frame *frame = *f;
    struct frame_memory *m = NULL;

    if (frame == NULL) {
        return;
    }
    OBJ_CHECK(frame, FRAME_MAGIC);
    *f = NULL;
    m = CONTAINER_OF(frame, struct frame_memory, frame);
    slice_unref(&frame->head);
    for (size_t i = 0; i < frame->content_count; i++) {
        slice_unref(&frame->content[i]);
    }
    if (frame->content != m->room) {
        mem_free(frame->content);
    }
    frame->magic = 0;
    mem_free(m);
}

static void
frame_grow(struct frame *f)
{
    struct frame_memory *m = CONTAINER_OF(f, struct frame_memory, frame);
    size_t capacity = (size_t)f->content_capacity * 4;
    struct slice *content = NULL;

    capacity = MIN(capacity, (size_t)FRAME_CONTENT_MAX);
    ASSERT(capacity > f->content_count);
    content = mem_alloc(capacity * sizeof(*content));
    memcpy(content, f->content, f->content_count * sizeof(*content));
    if (f->content != m->room) {
        mem_free(f->content);
    }
    f->content = content;
    f->content_capacity = (uint16_t)capacity;
}

void
frame_add(struct frame *f, struct slice s)
{
    OBJ_CHECK(f, FRAME_MAGIC);
    ASSERT(f->content_count < FRAME_CONTENT_MAX);
    if (f->content_count == f->content_capacity) {
        frame_grow(f);
    }
    f->content[f->content_count++] = s;
}

size_t
frame_content_size(const struct frame *f)
{
    size_t size = 0;

    OBJ_CHECK(f, FRAME_MAGIC);
    for (size_t i = 0; i < f->content_count; i++) {
        size += f->content[i].size;
    }
    return size;
}

size_t
frame_size(const struct frame *f)
{
    return FRAME_HEADER_SIZE + f->head.size + frame_content_size(f);
}

struct slice
frame_content(const struct frame *f)
{
    size_t size = frame_content_size(f);
    struct block *block = NULL;
    size_t at = 0;

    if (f->content_count == 0) {
        return slice_empty();
    }
    if (f->content_count == 1) {
        return slice_ref(&f->content[0]);
    }
    block = block_new(size);
    for (size_t i = 0; i < f->content_count; i++) {
        const struct slice *s = &f->content[i];

        if (s->size > 0) {
            memcpy(block->data + at, s->data, s->size);
            at += s->size;
        }
    }
    ASSERT(at == size);
    return slice_of_block(block);
}

void
frame_encode_header(const struct frame *f, uint8_t *at)
{
    size_t size = frame_size(f);
    uint32_t crc = 0;

    ASSERT(size <= FRAME_SIZE_MAX);
    ASSERT(f->head.size <= FRAME_HEAD_SIZE_MAX);
    put_u32le(at, (uint32_t)(size - FRAME_HEADER_SIZE));
    at[8] = FRAME_VERSION;
    at[9] = f->klass;
    put_u16le(at + 10, f->kind);
    put_u16le(at + 12, f->from_shard);
    put_u16le(at + 14, f->to_shard);
    put_u64le(at + 16, f->group);
    put_u32le(at + 24, (uint32_t)f->head.size);
    put_u32le(at + 28, 0);
    put_u64le(at + 32, f->arg);
    crc = crc32c(0, at + FRAME_CRC_FROM, FRAME_HEADER_SIZE - FRAME_CRC_FROM);
    crc = crc32c(crc, f->head.data, f->head.size);
    for (size_t i = 0; i < f->content_count; i++) {
        crc = crc32c(crc, f->content[i].data, f->content[i].size);
    }
    put_u32le(at + 4, crc);
}

/* Check the header's sizes, which are needed before the CRC can be. */
static int
frame_check_sizes(const uint8_t *at, size_t *total)
{
    uint32_t rest = get_u32le(at);
    uint32_t head = get_u32le(at + 24);

    if (rest > FRAME_SIZE_MAX - FRAME_HEADER_SIZE) {
        return -QR_ETOOBIG;
    }
    if (head > FRAME_HEAD_SIZE_MAX) {
        return -QR_ETOOBIG;
    }
    if (head > rest) {
        return -QR_EFORMAT;
    }
    *total = (size_t)rest + FRAME_HEADER_SIZE;
    return 0;
}

static int
frame_check_content(const uint8_t *at, size_t total)
{
    uint32_t crc = crc32c(0, at + FRAME_CRC_FROM, total - FRAME_CRC_FROM);

    if (crc != get_u32le(at + 4)) {
        return -QR_ECORRUPT;
    }
    if (at[8] != FRAME_VERSION || at[9] >= FRAME_CLASS_COUNT) {
        return -QR_EFORMAT;
    }
    if (get_u16le(at + 10) >= FRAME_KIND_LIMIT || get_u32le(at + 28) != 0) {
        return -QR_EFORMAT;
    }
    return 0;
}

/* The frame of TOTAL checked bytes at OFFSET of BLOCK. */
static struct frame *
frame_build(struct block *block, size_t offset, size_t total)
{
    const uint8_t *at = block->data + offset;
    size_t head = get_u32le(at + 24);
    size_t content = total - FRAME_HEADER_SIZE - head;
    struct frame *f = frame_new((enum frame_class)at[9], get_u16le(at + 10));

    f->from_shard = get_u16le(at + 12);
    f->to_shard = get_u16le(at + 14);
    f->group = get_u64le(at + 16);
    f->arg = get_u64le(at + 32);
    if (head > 0) {
        f->head = slice_in_block(block, offset + FRAME_HEADER_SIZE, head);
    }
    if (content > 0) {
        frame_add(f, slice_in_block(block, offset + FRAME_HEADER_SIZE + head,
                                    content));
    }
    return f;
}

int
frame_decode(struct block *block, size_t offset, size_t size,
             struct frame **out, size_t *used, size_t *need)
{
    const uint8_t *at = block->data + offset;
    size_t total = FRAME_HEADER_SIZE;
    int rv = 0;

    ASSERT(offset <= block->size);
    ASSERT(size <= block->size - offset);
    if (size >= FRAME_HEADER_SIZE) {
        rv = frame_check_sizes(at, &total);
    }
    if (rv == 0 && size >= total) {
        rv = frame_check_content(at, total);
    }
    if (rv != 0) {
        return rv;
    }
    if (size < total) {
        *used = 0;
        *need = total;
        return 0;
    }
    *out = frame_build(block, offset, total);
    *used = total;
    *need = 0;
    return 0;
}
