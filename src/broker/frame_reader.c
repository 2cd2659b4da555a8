/* See frame_reader.h. */
#include "broker/frame_reader.h"

#include <string.h>

#include "base/check.h"
#include "peer/frame.h"

void
frame_reader_init(struct frame_reader *r, const struct frame *f)
{
    r->frame = f;
    r->at = 0;
    r->offset = 0;
}

/* Bytes that are left. */
static size_t
left(const struct frame_reader *r)
{
    size_t sum = 0;

    for (uint16_t i = r->at; i < r->frame->content_count; i++) {
        sum += r->frame->content[i].size;
    }
    return sum - r->offset;
}

/* Step over slices that have been read. */
static void
advance(struct frame_reader *r)
{
    while (r->at < r->frame->content_count &&
           r->offset == r->frame->content[r->at].size) {
        r->at++;
        r->offset = 0;
    }
}

static void
gather(struct frame_reader *r, uint8_t *dst, size_t size)
{
    while (size > 0) {
        const struct slice *s;
        size_t n;

        advance(r);
        s = &r->frame->content[r->at];
        n = MIN(size, s->size - r->offset);
        memcpy(dst, s->data + r->offset, n);
        r->offset += n;
        dst += n;
        size -= n;
    }
}

bool
frame_reader_take(struct frame_reader *r, size_t size, struct slice *out)
{
    struct block *block;

    advance(r);
    if (size == 0) {
        *out = slice_empty();
        return true;
    }
    if (r->at < r->frame->content_count &&
        r->frame->content[r->at].size - r->offset >= size) {
        *out = slice_sub(&r->frame->content[r->at], r->offset, size);
        r->offset += size;
        return true;
    }
    if (left(r) < size) {
        return false;
    }
    block = block_new(size);
    gather(r, block->data, size);
    *out = slice_of_block(block);
    return true;
}
