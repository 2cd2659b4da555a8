/* The writing half of a stream: what its owner may queue, and how the queue
 * for the socket is emptied.
 *
 * A flush first tries to write at once, as the kernel nearly always has room;
 * what it does not take waits in one uv_write(), and what comes after that
 * waits here. */
#include <quorate/error.h>

#include "base/check.h"
#include "net/stream.h"
#include "net/stream_internal.h"

void
stream_out_mark(struct stream *s)
{
    if (stream_backlog(s) > s->drain_high) {
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

uint8_t *
stream_reserve(struct stream *s, size_t size)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return stream_queue_reserve(&s->out, s->net, size);
}

void
stream_commit(struct stream *s, size_t size)
{
    if (!stream_is_writable(s) || size == 0) {
        return;
    }
    stream_queue_commit(&s->out, size);
    stream_out_mark(s);
}

void
stream_write(struct stream *s, const void *data, size_t size)
{
    if (stream_is_writable(s) && size > 0) {
        stream_queue_write(&s->out, s->net, data, size);
        stream_out_mark(s);
    }
}

void
stream_write_slice(struct stream *s, struct slice *slice)
{
    if (!stream_is_writable(s) || slice->size <= STREAM_COPY_MAX) {
        stream_write(s, slice->data, slice->size);
        slice_unref(slice);
        return;
    }
    stream_queue_slice(&s->out, slice);
    stream_out_mark(s);
}

size_t
stream_backlog(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->out.size + s->sealed;
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
stream_out_sent(struct stream *s, size_t size)
{
    stream_queue_advance(s->wire, size);
    s->bytes_out += size;
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
    if (s->state != STREAM_SHUTTING || s->wire->size > 0 || s->fin_sent) {
        return;
    }
    s->fin_sent = true;
    if (s->ended ||
        uv_shutdown(&s->shutdown, &s->uv.stream, stream_on_fin) != 0) {
        stream_close(s);
    }
}

void
stream_out_settle(struct stream *s)
{
    if (s->was_high && stream_backlog(s) <= s->drain_low) {
        s->was_high = false;
        if (s->state == STREAM_OPEN && s->events.on_drain != NULL) {
            s->events.on_drain(s->events.arg);
        }
    }
    stream_out_finish(s);
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
    stream_out_sent(s, size);
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
    stream_out_sent(s, (size_t)rv);
    return (size_t)rv == size;
}

bool
stream_out_send(struct stream *s)
{
    uv_buf_t bufs[STREAM_IOV_MAX];
    size_t size = 0;
    unsigned count = 0;
    int rv = 0;

    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state == STREAM_CLOSING || s->inflight > 0) {
        return s->state != STREAM_CLOSING;
    }
    stream_queue_seal(s->wire);
    do {
        count = stream_queue_gather(s->wire, bufs, &size);
    } while (count > 0 && stream_out_try(s, bufs, count, size));
    if (s->state == STREAM_CLOSING) {
        return false;
    }
    count = stream_queue_gather(s->wire, bufs, &size);
    if (count > 0) {
        s->inflight = size;
        rv = uv_write(&s->write, &s->uv.stream, bufs, count, stream_on_write);
    }
    if (rv != 0) {
        s->inflight = 0;
        stream_fail(s, -QR_EIO, uv_strerror(rv));
        return false;
    }
    stream_queue_rest(s->wire, s->net);
    return true;
}

void
stream_out_flush(struct stream *s)
{
    if (stream_out_send(s)) {
        stream_out_settle(s);
    }
}
