/* TLS between a stream's owner and its socket.
 *
 *   socket --> in --feed--> [tls] --read--> plain.in --> on_data
 *   owner  --> out --stage--> [tls] --sink--> wire --> socket
 *
 * Nothing is decrypted that the owner does not want now: the rest waits as it
 * came. Small writes are gathered into full records, for a record costs as much
 * as some hundred bytes. The space for that belongs to the loop, as no flush
 * leaves anything in it.
 *
 * After a failure the stream is shut like one that ends in order, so that the
 * alert, which says why, reaches the peer before a reset could overtake it. */
#include <openssl/ssl.h>
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/stream.h"
#include "net/stream_internal.h"
#include "net/tls.h"

enum {
    STREAM_TLS_MAGIC = 0x73746c73
};

struct stream_tls {
    unsigned magic;
    struct tls *tls;
    struct stream_in in;      /* decrypted, not consumed */
    struct stream_queue wire; /* encrypted */
    bool is_server;
    bool is_done;  /* the handshake */
    bool is_ended; /* close_notify is on its way */
};

static void
stream_tls_sink(void *arg, const void *data, size_t size)
{
    struct stream *s = arg;

    OBJ_CHECK(s, STREAM_MAGIC);
    stream_queue_write(&s->tls->wire, s->net, data, size);
}

/* The session cannot go on; its alert, if there is one, is in `wire`. */
static void
stream_tls_fail(struct stream *s, int reason)
{
    if (s->state == STREAM_OPEN) {
        s->fault = reason;
        s->fault_text = tls_text(s->tls->tls);
        stream_shut(s, STREAM_TLS_ALERT_MS);
    }
}

static void
stream_tls_handshake(struct stream *s)
{
    struct stream_tls *t = s->tls;

    OBJ_CHECK(t, STREAM_TLS_MAGIC);
    if (tls_handshake(t->tls, &t->is_done) != 0) {
        stream_tls_fail(s, -QR_EACCESS);
        return;
    }
    if (t->wire.size > 0) {
        stream_out_mark(s);
    }
    if (t->is_done && s->events.on_secure != NULL) {
        s->events.on_secure(s->events.arg);
    }
}

/* Offer what is decrypted. */
static void
stream_tls_offer(struct stream *s)
{
    struct stream_in *in = &s->tls->in;
    struct slice bytes = stream_in_slice(in);
    size_t used = 0;

    in->need = 0;
    used = s->events.on_data(s->events.arg, &bytes);
    stream_in_use(in, &s->net->plain, used);
}

/* Decrypt and offer, for as long as there is something and it is wanted. */
static void
stream_tls_read(struct stream *s)
{
    struct stream_tls *t = s->tls;
    size_t got = 1;

    /* What was read before a pause comes first. */
    if (s->reading && stream_in_size(&t->in) > 0) {
        stream_tls_offer(s);
    }
    while (s->state == STREAM_OPEN && s->reading && got > 0) {
        size_t room = 0;
        /* Room for a record: the session never keeps a part of one. */
        uint8_t *at =
            stream_in_room(&t->in, &s->net->plain, TLS_RECORD_SIZE, &room);
        int rv = tls_read(t->tls, at, room, &got);

        if (rv == -QR_ECLOSED) {
            stream_fail(s, 0, "closed by the peer");
        } else if (rv != 0) {
            stream_tls_fail(s, rv);
        } else if (got > 0) {
            stream_in_grow(&t->in, &s->net->plain, got);
            stream_tls_offer(s);
        }
    }
    stream_in_use(&t->in, &s->net->plain, 0);
}

static size_t
stream_tls_received(struct stream *s, const struct slice *bytes)
{
    struct stream_tls *t = s->tls;
    size_t unused = 0;

    OBJ_CHECK(t, STREAM_TLS_MAGIC);
    if (s->state != STREAM_OPEN) {
        return bytes->size; /* shutting: only its end is of interest */
    }
    tls_feed(t->tls, bytes->data, bytes->size);
    if (!t->is_done) {
        stream_tls_handshake(s);
    }
    if (t->is_done && s->state == STREAM_OPEN) {
        stream_tls_read(s);
    }
    /* A stream that closed meanwhile has no use for the rest. */
    unused = s->state == STREAM_OPEN ? tls_unused(t->tls) : 0;
    tls_drop(t->tls);
    /* Reading may have made something to say: new keys, an alert. */
    if (s->state != STREAM_CLOSING && t->wire.size > 0) {
        stream_out_mark(s);
    }
    return bytes->size - unused;
}

/* The next record's bytes: those of one large slice, or small ones gathered in
 * the loop's stage. */
static const uint8_t *
stream_tls_next(struct stream *s, size_t *size)
{
    struct ring *slices = &s->out.slices;
    const struct slice *first = ring_at(slices, 0);
    size_t skip = s->out.first_done;
    size_t fill = 0;

    if (first->size - skip >= TLS_RECORD_SIZE || slices->count == 1) {
        *size = MIN(first->size - skip, (size_t)TLS_RECORD_SIZE);
        return first->data + skip;
    }
    if (s->net->stage == NULL) {
        s->net->stage = mem_alloc(TLS_RECORD_SIZE);
    }
    for (size_t i = 0; i < slices->count && fill < TLS_RECORD_SIZE; i++) {
        const struct slice *piece = ring_at(slices, i);
        size_t part = MIN(piece->size - skip, (size_t)TLS_RECORD_SIZE - fill);

        memcpy(s->net->stage + fill, piece->data + skip, part);
        fill += part;
        skip = 0;
    }
    *size = fill;
    return s->net->stage;
}

/* Encrypt what is queued, up to what should wait for the socket. */
static void
stream_tls_seal(struct stream *s)
{
    struct stream_tls *t = s->tls;

    stream_queue_seal(&s->out);
    while (s->out.size > 0 && t->wire.size < STREAM_TLS_WIRE_MAX) {
        size_t size = 0;
        const uint8_t *data = stream_tls_next(s, &size);

        if (tls_write(t->tls, data, size) != 0) {
            stream_fail(s, -QR_EIO, tls_text(t->tls));
            return;
        }
        s->sealed += size;
        stream_queue_advance(&s->out, size);
    }
    stream_queue_rest(&s->out, s->net);
    if (s->state == STREAM_SHUTTING && s->out.size == 0 && !t->is_ended &&
        s->fault == 0) {
        t->is_ended = true;
        tls_end(t->tls);
    }
}

static void
stream_tls_flush(struct stream *s)
{
    struct stream_tls *t = s->tls;
    bool goes_on = true;

    OBJ_CHECK(t, STREAM_TLS_MAGIC);
    while (goes_on && s->state != STREAM_CLOSING) {
        if (t->is_done && s->inflight == 0) {
            stream_tls_seal(s);
        }
        if (s->state == STREAM_CLOSING || !stream_out_send(s)) {
            return;
        }
        goes_on = false;
        if (t->wire.size == 0) {
            s->sealed = 0;
            goes_on = t->is_done && s->out.size > 0;
        }
    }
    stream_out_settle(s);
}

static const struct stream_transport stream_tls_transport = {
    .received = stream_tls_received,
    .flush = stream_tls_flush,
};

void
stream_secure(struct stream *s, struct ssl_ctx_st *ctx, bool is_server)
{
    struct stream_tls *t = mem_zalloc(1, sizeof(*t));

    OBJ_CHECK(s, STREAM_MAGIC);
    ASSERT(!s->started);
    ASSERT(s->tls == NULL);
    t->magic = STREAM_TLS_MAGIC;
    t->is_server = is_server;
    stream_in_init(&t->in);
    stream_queue_init(&t->wire);
    t->tls = tls_new(ctx, is_server, stream_tls_sink, s, NULL);
    s->tls = t;
    s->transport = &stream_tls_transport;
    s->offered = &t->in;
    s->wire = &t->wire;
}

void
stream_tls_start(struct stream *s)
{
    if (s->state == STREAM_OPEN && !s->tls->is_server) {
        stream_tls_handshake(s);
    }
}

void
stream_tls_free(struct stream_tls **tls)
{
    struct stream_tls *t = *tls;

    if (t == NULL) {
        return;
    }
    OBJ_CHECK(t, STREAM_TLS_MAGIC);
    *tls = NULL;
    tls_free(&t->tls);
    stream_in_drop(&t->in);
    stream_queue_deinit(&t->wire);
    t->magic = 0;
    mem_free(t);
}

struct tls *
stream_tls(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->tls == NULL ? NULL : s->tls->tls;
}
