/* Frames of links: what a peer sends, before and after it is known. */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "peer/frame.h"

enum {
    CRC_AT = 4,
    CRC_FROM = 8
};

/* Decode what is in BLOCK; a frame says of itself what was decoded. */
static void
decode(struct block *block)
{
    struct frame *frame = NULL;
    size_t used = 0;
    size_t need = 0;

    if (frame_decode(block, 0, block->size, &frame, &used, &need) != 0) {
        ASSERT(frame == NULL);
        return;
    }
    if (used == 0) {
        ASSERT(need > block->size);
        ASSERT(need <= FRAME_SIZE_MAX);
        return;
    }
    ASSERT(frame != NULL);
    ASSERT(used <= block->size);
    ASSERT(frame_size(frame) == used);
    frame_free(&frame);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct block *block = block_new(size);
    size_t end = 0;

    if (size > 0) {
        memcpy(block->data, data, size);
    }
    decode(block);
    /* Again with the checksum put right, or nothing gets past it. */
    if (size >= FRAME_HEADER_SIZE) {
        end = MIN(size, (size_t)get_u32le(data) + FRAME_HEADER_SIZE);
        put_u32le(block->data + CRC_AT,
                  crc32c(0, block->data + CRC_FROM, end - CRC_FROM));
        decode(block);
    }
    block_unref(block);
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    uint64_t klass = rng_below(r, FRAME_CLASS_COUNT);
    struct frame *f = frame_new((enum frame_class)klass,
                                (uint16_t)rng_below(r, FRAME_KIND_LIMIT));
    uint8_t body[256];
    size_t head = (size_t)rng_below(r, sizeof(body));
    size_t size = 0;

    rng_fill(r, body, sizeof(body));
    f->group = rng_u64(r);
    f->arg = rng_u64(r);
    f->head = slice_borrow(body, head);
    frame_add(f, slice_borrow(body + head, sizeof(body) - head));
    size = frame_size(f);
    ASSERT(size <= capacity);
    frame_encode_header(f, at);
    memcpy(at + FRAME_HEADER_SIZE, body, sizeof(body));
    frame_free(&f);
    return size;
}
