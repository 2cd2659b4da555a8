/* Bytes on their way out.
 *
 *   slices: [slice][slice]...[slice]   block: ....[from....fill)....
 *            ^ first_done bytes gone          small writes, copied
 *
 * Small writes are copied one behind the other into the block, which joins the
 * slices when a large one follows or the queue is flushed. */
#include <string.h>

#include "base/check.h"
#include "net/net.h"
#include "net/stream.h"
#include "net/stream_internal.h"

void
stream_queue_init(struct stream_queue *q)
{
    *q = (struct stream_queue){.size = 0};
    ring_init(&q->slices, sizeof(struct slice));
}

void
stream_queue_deinit(struct stream_queue *q)
{
    while (q->slices.count > 0) {
        slice_unref(ring_at(&q->slices, 0));
        ring_pop_front(&q->slices);
    }
    ring_deinit(&q->slices);
    block_unref(q->block);
    q->block = NULL;
    q->size = 0;
}

void
stream_queue_seal(struct stream_queue *q)
{
    if (q->fill > q->from) {
        struct slice *last = ring_push_back(&q->slices);

        *last = slice_in_block(q->block, q->from, q->fill - q->from);
        q->from = q->fill;
    }
}

uint8_t *
stream_queue_reserve(struct stream_queue *q, struct net *net, size_t size)
{
    ASSERT(size <= NET_OUT_BLOCK_SIZE);
    if (q->block != NULL && q->block->size - q->fill < size) {
        stream_queue_seal(q);
        block_unref(q->block);
        q->block = NULL;
    }
    if (q->block == NULL) {
        q->block = net_spare_take(net);
        q->from = 0;
        q->fill = 0;
    }
    return q->block->data + q->fill;
}

void
stream_queue_commit(struct stream_queue *q, size_t size)
{
    ASSERT(q->block != NULL);
    ASSERT(size <= q->block->size - q->fill);
    q->fill += size;
    q->size += size;
}

void
stream_queue_write(struct stream_queue *q, struct net *net, const void *data,
                   size_t size)
{
    const uint8_t *at = data;

    while (size > 0) {
        size_t room = q->block == NULL ? 0 : q->block->size - q->fill;
        size_t part = 0;

        /* Fill the block to its end before the next one is begun. */
        part = MIN(size, room > 0 ? room : (size_t)NET_OUT_BLOCK_SIZE);
        memcpy(stream_queue_reserve(q, net, part), at, part);
        stream_queue_commit(q, part);
        at += part;
        size -= part;
    }
}

void
stream_queue_slice(struct stream_queue *q, struct slice *slice)
{
    struct slice *last = NULL;

    stream_queue_seal(q);
    last = ring_push_back(&q->slices);
    *last = slice_take(slice);
    q->size += last->size;
}

void
stream_queue_advance(struct stream_queue *q, size_t size)
{
    ASSERT(size <= q->size);
    q->size -= size;
    while (size > 0) {
        struct slice *first = ring_at(&q->slices, 0);
        size_t left = first->size - q->first_done;

        if (size < left) {
            q->first_done += size;
            return;
        }
        size -= left;
        q->first_done = 0;
        slice_unref(first);
        ring_pop_front(&q->slices);
    }
}

/* libuv's buffers are not const, but writes do not touch them. */
static uv_buf_t
stream_queue_buf(const uint8_t *data, size_t size)
{
    uv_buf_t buf = {.len = size};

    memcpy(&buf.base, &data, sizeof(buf.base));
    return buf;
}

unsigned
stream_queue_gather(const struct stream_queue *q, uv_buf_t *bufs, size_t *size)
{
    unsigned count = 0;
    size_t skip = q->first_done;

    *size = 0;
    for (size_t i = 0; i < q->slices.count && count < STREAM_IOV_MAX; i++) {
        const struct slice *piece = ring_at(&q->slices, i);

        bufs[count] = stream_queue_buf(piece->data + skip, piece->size - skip);
        *size += piece->size - skip;
        skip = 0;
        count++;
    }
    return count;
}

void
stream_queue_rest(struct stream_queue *q, struct net *net)
{
    if (q->size == 0 && q->block != NULL) {
        net_spare_put(net, q->block);
        q->block = NULL;
        q->from = 0;
        q->fill = 0;
    }
}
