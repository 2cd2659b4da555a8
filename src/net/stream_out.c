/* The writing half of a stream.
 *
 *   out:  [slice][slice][slice]...[slice]   out_block: ....[from....fill)....
 *          ^ out_first_done bytes written               small writes, copied
 *
 * Small writes are copied one behind the other into out_block, which joins the
 * queue as one slice when a large slice follows or the stream is flushed. A
 * flush first tries to write at once, as the kernel nearly always has room;
 * what it does not take waits in one uv_write(), and what comes after that
 * waits here. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "net/stream.h"
#include "net/stream_internal.h"

void
stream_out_mark(struct stream *s)
{
    if (s->backlog > s->drain_high) {
        s->was_high = true;
    }
    if (!list_is_linked(&s->dirty_entry)) {
        list_push_back(&s->net->dirty, &s->dirty_entry);
        net_wake(s->net);
    }
}

/* Whether the owner may still queue bytes. */
static bool
stream_is_writable(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->state == STREAM_OPEN;
}

/* Put what was copied into out_block on the queue. */
static void
stream_out_seal(struct stream *s)
{
    if (s->out_fill > s->out_from) {
        struct slice *last = ring_push_back(&s->out);

        *last = slice_in_block(s->out_block, s->out_from,
                               s->out_fill - s->out_from);
        s->out_from = s->out_fill;
    }
}

uint8_t *
stream_reserve(struct stream *s, size_t size)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    ASSERT(size <= NET_OUT_BLOCK_SIZE);
    if (s->out_block != NULL && s->out_block->size - s->out_fill < size) {
        stream_out_seal(s);
        block_unref(s->out_block);
        s->out_block = NULL;
    }
    if (s->out_block == NULL) {
        s->out_block = net_spare_take(s->net);
        s->out_from = 0;
        s->out_fill = 0;
    }
    return s->out_block->data + s->out_fill;
}

void
stream_commit(struct stream *s, size_t size)
{
    ASSERT(s->out_block != NULL);
    ASSERT(size <= s->out_block->size - s->out_fill);
    if (!stream_is_writable(s) || size == 0) {
        return;
    }
    s->out_fill += size;
    s->backlog += size;
    stream_out_mark(s);
}

void
stream_write(struct stream *s, const void *data, size_t size)
{
    const uint8_t *at = data;

    if (!stream_is_writable(s)) {
        return;
    }
    while (size > 0) {
        size_t room =
            s->out_block == NULL ? 0 : s->out_block->size - s->out_fill;
        size_t part = 0;

        /* Fill the block to its end before the next one is begun. */
        part = MIN(size, room > 0 ? room : (size_t)NET_OUT_BLOCK_SIZE);
        memcpy(stream_reserve(s, part), at, part);
        stream_commit(s, part);
        at += part;
        size -= part;
    }
}

void
stream_write_slice(struct stream *s, struct slice *slice)
{
    struct slice *last = NULL;

    if (!stream_is_writable(s) || slice->size <= STREAM_COPY_MAX) {
        stream_write(s, slice->data, slice->size);
        slice_unref(slice);
        return;
    }
    stream_out_seal(s);
    last = ring_push_back(&s->out);
    *last = slice_take(slice);
    s->backlog += last->size;
    stream_out_mark(s);
}

size_t
stream_backlog(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->backlog;
}

void
stream_set_drain(struct stream *s, size_t low, size_t high)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    ASSERT(low < high);
    s->drain_low = low;
    s->drain_high = high;
}

/* SIZE bytes at the front of the queue have been written. */
static void
stream_out_advance(struct stream *s, size_t size)
{
    ASSERT(size <= s->backlog);
    s->backlog -= size;
    s->bytes_out += size;
    while (size > 0) {
        struct slice *first = ring_at(&s->out, 0);
        size_t left = first->size - s->out_first_done;

        if (size < left) {
            s->out_first_done += size;
            return;
        }
        size -= left;
        s->out_first_done = 0;
        slice_unref(first);
        ring_pop_front(&s->out);
    }
}

/* libuv's buffers are not const, but writes do not touch them. */
static uv_buf_t
stream_out_buf(const uint8_t *data, size_t size)
{
    uv_buf_t buf = {.len = size};

    memcpy(&buf.base, &data, sizeof(buf.base));
    return buf;
}

/* The queue's first pieces in BUFS; how many, and their bytes in *SIZE. */
static unsigned
stream_out_gather(const struct stream *s, uv_buf_t *bufs, size_t *size)
{
    unsigned count = 0;
    size_t skip = s->out_first_done;

    *size = 0;
    for (size_t i = 0; i < s->out.count && count < STREAM_IOV_MAX; i++) {
        const struct slice *piece = ring_at(&s->out, i);

        bufs[count] = stream_out_buf(piece->data + skip, piece->size - skip);
        *size += piece->size - skip;
        skip = 0;
        count++;
    }
    return count;
}

/* All is written: give the block back, tell who waits. */
static void
stream_out_drained(struct stream *s)
{
    if (s->backlog == 0 && s->out_block != NULL) {
        net_spare_put(s->net, s->out_block);
        s->out_block = NULL;
        s->out_from = 0;
        s->out_fill = 0;
    }
    if (s->was_high && s->backlog <= s->drain_low) {
        s->was_high = false;
        if (s->state == STREAM_OPEN && s->events.on_drain != NULL) {
            s->events.on_drain(s->events.arg);
        }
    }
}

static void
stream_on_fin(uv_shutdown_t *req, int status)
{
    /* What remains is to see the peer's end; the deadline runs. */
    (void)req;
    (void)status;
}

/* Nothing is left of an orderly close but its end. */
static void
stream_out_finish(struct stream *s)
{
    if (s->state != STREAM_SHUTTING || s->backlog > 0 || s->fin_sent) {
        return;
    }
    s->fin_sent = true;
    if (s->ended ||
        uv_shutdown(&s->shutdown, &s->uv.stream, stream_on_fin) != 0) {
        stream_close(s);
    }
}

static void
stream_on_write(uv_write_t *req, int status)
{
    struct stream *s = CONTAINER_OF(req, struct stream, write);
    size_t size = s->inflight;

    OBJ_CHECK(s, STREAM_MAGIC);
    s->inflight = 0;
    if (s->state == STREAM_CLOSING) {
        return;
    }
    if (status != 0) {
        stream_fail(s, -QR_EIO, uv_strerror(status));
        return;
    }
    stream_out_advance(s, size);
    s->transport->flush(s);
}

/* Try at once; false when the kernel would take no more or failed. */
static bool
stream_out_try(struct stream *s, uv_buf_t *bufs, unsigned count, size_t size)
{
    int rv = uv_try_write(&s->uv.stream, bufs, count);

    if (rv == UV_EAGAIN) {
        return false;
    }
    if (rv < 0) {
        stream_fail(s, -QR_EIO, uv_strerror(rv));
        return false;
    }
    stream_out_advance(s, (size_t)rv);
    return (size_t)rv == size;
}

void
stream_out_flush(struct stream *s)
{
    uv_buf_t bufs[STREAM_IOV_MAX];
    size_t size = 0;
    unsigned count = 0;
    int rv = 0;

    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state == STREAM_CLOSING || s->inflight > 0) {
        return;
    }
    stream_out_seal(s);
    do {
        count = stream_out_gather(s, bufs, &size);
    } while (count > 0 && stream_out_try(s, bufs, count, size));
    if (s->state == STREAM_CLOSING) {
        return;
    }
    count = stream_out_gather(s, bufs, &size);
    if (count > 0) {
        s->inflight = size;
        rv = uv_write(&s->write, &s->uv.stream, bufs, count, stream_on_write);
    }
    if (rv != 0) {
        s->inflight = 0;
        stream_fail(s, -QR_EIO, uv_strerror(rv));
        return;
    }
    stream_out_drained(s);
    stream_out_finish(s);
}

void
stream_out_deinit(struct stream *s)
{
    while (s->out.count > 0) {
        slice_unref(ring_at(&s->out, 0));
        ring_pop_front(&s->out);
    }
    ring_deinit(&s->out);
    block_unref(s->out_block);
    s->out_block = NULL;
}
