/* What a queue's leader tells its clients, and messages as logs hold them. */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"
#include "broker/broker.h"
#include "broker/frame_reader.h"
#include "broker/queue_events.h"
#include "fuzz/fuzz.h"
#include "peer/frame.h"

static void
feed_message(const uint8_t *data, size_t size)
{
    struct stored_message m;

    if (stored_message_get(data, size, &m)) {
        ASSERT(m.body + m.body_size == data + size);
        ASSERT(m.exchange_size + m.key_size + m.properties_size + m.body_size <
               size);
    }
}

/* Take pieces of the sizes that the bytes name. */
static void
feed_reader(const uint8_t *data, size_t size)
{
    struct frame *f = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);
    struct frame_reader reader;
    struct slice piece;
    size_t half = size / 2;
    size_t taken = 0;

    frame_add(f, slice_copy(data, half));
    frame_add(f, slice_copy(data + half, size - half));
    frame_reader_init(&reader, f);
    for (size_t i = 0; i < size; i++) {
        if (!frame_reader_take(&reader, data[i], &piece)) {
            ASSERT(taken + data[i] > size);
            break;
        }
        ASSERT(piece.size == data[i]);
        ASSERT(memcmp(piece.data, data + taken, piece.size) == 0);
        taken += piece.size;
        slice_unref(&piece);
    }
    frame_free(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct queue_effect e;
    struct cursor c;
    struct buf b;

    buf_init(&b);
    cursor_init(&c, data, size);
    while (cursor_left(&c) > 0 && queue_event_next(&c, &e)) {
        buf_clear(&b);
        queue_event_put(&b, &e);
        ASSERT(b.size > 0);
    }
    buf_deinit(&b);
    feed_message(data, size);
    feed_reader(data, size);
    return 0;
}

static void
put_event(struct rng *r, struct buf *b)
{
    static const enum queue_effect_kind kinds[] = {
        QUEUE_EFFECT_APPLIED, QUEUE_EFFECT_GAP, QUEUE_EFFECT_RESULT,
        QUEUE_EFFECT_DELIVER};
    struct queue_effect e;

    memset(&e, 0, sizeof(e));
    e.kind = kinds[rng_below(r, ARRAY_COUNT(kinds))];
    e.seq = rng_u64(r);
    e.consumer = rng_below(r, 10);
    e.delivery = rng_below(r, 1000);
    e.message.size = (uint32_t)rng_below(r, 100);
    queue_event_put(b, &e);
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct slice body = slice_borrow("body", 4);
    struct broker_message m = {.exchange = meta_text("x", 1),
                               .key = meta_text("key", 3),
                               .properties = slice_borrow("\0\0", 2),
                               .body = &body,
                               .body_count = 1,
                               .body_size = 4};
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    if (rng_below(r, 3) == 0) {
        stored_message_put(&b, &m);
    } else {
        for (uint64_t n = 1 + rng_below(r, 8); n > 0; n--) {
            put_event(r, &b);
        }
    }
    size = b.size;
    ASSERT(size <= capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
