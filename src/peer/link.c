/* A connection: TLS, who is there, then frames.
 *
 * Two ends whose secrets differ cannot finish TLS, so they could not tell each
 * other why. The accepting end therefore answers such a ClientHello in the
 * clear, with the fingerprint of its own secret:
 *
 *     "QUORATE-SECRET " 8 hexadecimal digits "\n"
 *
 * No TLS record begins with a Q. The dialling end logs it and trusts it for
 * nothing else. */
#include "peer/link.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/slice.h"
#include "net/net.h"
#include "net/stream.h"
#include "net/tls_store.h"
#include "peer/certificate.h"
#include "peer/peers_internal.h"

static const char link_notice[] = "QUORATE-SECRET ";

enum {
    LINK_NOTICE_PREFIX = sizeof(link_notice) - 1,
    LINK_NOTICE_SIZE = LINK_NOTICE_PREFIX + 9
};

void
link_describe(const struct link *l, char *text, size_t size)
{
    const char *name = l->other.node_name;

    if (name[0] == '\0') {
        name = l->peer != NULL ? l->peer->name : l->psk.name;
    }
    if (l->dialled && l->peer != NULL) {
        (void)snprintf(text, size, "node %s at %s port %u", name, l->peer->host,
                       l->peer->port);
    } else {
        (void)snprintf(text, size, "node %s at %s", name,
                       l->stream != NULL ? stream_peer_host(l->stream) : "");
    }
}

static void
link_unref(struct link *l)
{
    struct peers *peers = l->peers;

    OBJ_CHECK(l, LINK_MAGIC);
    l->handles--;
    if (l->handles > 0) {
        return;
    }
    ASSERT(l->state == LINK_CLOSED);
    list_remove(&l->entry);
    tls_free(&l->tls);
    block_unref(l->in);
    l->magic = 0;
    mem_free(l);
    peers_handle_closed(peers);
}

static void
link_on_timer_closed(uv_handle_t *handle)
{
    link_unref(handle->data);
}

/* What every end of a link has in common; the stream is closed or closing. */
static void
link_end(struct link *l)
{
    l->state = LINK_CLOSED;
    uv_close((uv_handle_t *)&l->timer, link_on_timer_closed);
    link_drop_queues(l);
    peers_link_lost(l);
}

void
link_close(struct link *l)
{
    OBJ_CHECK(l, LINK_MAGIC);
    if (l->state != LINK_CLOSED) {
        stream_close(l->stream);
        link_end(l);
    }
}

void
link_refuse(struct link *l, enum refusal reason, const char *text)
{
    struct frame *f = hello_refuse_frame(reason, text);

    OBJ_CHECK(l, LINK_MAGIC);
    ASSERT(l->state == LINK_HELLO || l->state == LINK_WAIT ||
           l->state == LINK_LIVE);
    link_queue(l, &f);
    link_pump(l);
    if (l->state != LINK_CLOSED) {
        stream_shut(l->stream, LINK_SHUT_MS);
        link_end(l);
    }
}

/* The other end's secret is not ours: say so, as far as it can be said. */
static void
link_refuse_secret(struct link *l)
{
    char notice[LINK_NOTICE_SIZE + 1];

    (void)snprintf(notice, sizeof(notice), "%s%s\n", link_notice,
                   psk_fingerprint(l->psk.psk));
    stream_write(l->stream, notice, LINK_NOTICE_SIZE);
    stream_shut(l->stream, LINK_SHUT_MS);
    link_end(l);
}

static void
link_log_secret(struct link *l, const char *theirs)
{
    char who[HELLO_TEXT_SIZE];

    link_describe(l, who, sizeof(who));
    peers_log(l->peers, LOG_ERROR,
              "%s has another cluster secret: the fingerprint of its secret "
              "is %s, of this node's %s; give both nodes the same secret file "
              "and restart the one that had the wrong one",
              who, theirs, psk_fingerprint(l->psk.psk));
}

/* The other end wants the secret, where this one has certificates. */
static void
link_log_ways(struct link *l)
{
    char who[HELLO_TEXT_SIZE];

    link_describe(l, who, sizeof(who));
    peers_log(l->peers, LOG_ERROR,
              "%s wants the cluster secret, but this node has certificates "
              "(cluster.tls); configure all nodes alike",
              who);
}

/* TLS failed. */
static void
link_fail_tls(struct link *l)
{
    char who[HELLO_TEXT_SIZE];

    if (l->psk.mismatch) {
        link_log_secret(l, l->psk.fingerprint);
        link_refuse_secret(l);
        return;
    }
    link_describe(l, who, sizeof(who));
    peers_log(l->peers, LOG_WARNING, "TLS handshake with %s failed: %s%s", who,
              tls_text(l->tls),
              l->dialled || l->psk.offered || l->peers->psk == NULL
                  ? ""
                  : "; it offered no cluster secret, so it is no node");
    /* The alert, which says why, should reach the other end. */
    stream_shut(l->stream, LINK_SHUT_MS);
    link_end(l);
}

static void
link_malformed(struct link *l, const char *what)
{
    char who[HELLO_TEXT_SIZE];

    link_describe(l, who, sizeof(who));
    peers_log(l->peers, LOG_ERROR, "%s broke the link protocol: %s", who, what);
    link_refuse(l, REFUSAL_MALFORMED, what);
}

void
link_welcome(struct link *l)
{
    struct frame *f = NULL;

    ASSERT(l->state == LINK_HELLO);
    if (!peers_remember(l)) {
        link_close(l);
        return;
    }
    f = hello_welcome_frame(hello_protocol(&l->self, &l->other));
    l->state = LINK_LIVE;
    l->tick_ms = peers_now(l->peers);
    link_queue(l, &f);
    link_pump(l);
    if (l->state == LINK_LIVE) {
        peers_link_up(l);
    }
}

/* Whether the other end is who its hello says: with certificates, theirs must
 * say so, too. */
static bool
link_check_name(struct link *l)
{
    struct error err = {""};
    char who[HELLO_TEXT_SIZE];

    if (l->peers->tls == NULL ||
        certificate_check(tls_ssl(l->tls), l->peers->tls_name,
                          l->other.node_name, &err) == 0) {
        return true;
    }
    link_describe(l, who, sizeof(who));
    peers_log(l->peers, LOG_ERROR, "refused a link with %s: %s", who, err.text);
    link_refuse(l, REFUSAL_NODE, err.text);
    return false;
}

static void
link_on_hello(struct link *l, const struct frame *f)
{
    if (l->state != LINK_HELLO) {
        link_malformed(l, "a second hello");
        return;
    }
    if (hello_decode(f, &l->other) != 0) {
        link_malformed(l, "a hello that cannot be read");
        return;
    }
    if (!link_check_name(l)) {
        return;
    }
    peers_hello(l);
    if (l->state == LINK_HELLO) {
        l->state = LINK_WAIT;
    }
}

static void
link_on_welcome(struct link *l, const struct frame *f)
{
    uint32_t protocol = 0;

    if (l->state != LINK_WAIT || hello_decode_welcome(f, &protocol) != 0 ||
        protocol != hello_protocol(&l->self, &l->other)) {
        link_malformed(l, "an unexpected welcome");
        return;
    }
    if (!peers_remember(l)) {
        link_close(l);
        return;
    }
    l->state = LINK_LIVE;
    l->tick_ms = peers_now(l->peers);
    peers_link_up(l);
}

static void
link_on_refuse(struct link *l, const struct frame *f)
{
    enum refusal reason = REFUSAL_NONE;
    char text[HELLO_TEXT_SIZE];
    char who[HELLO_TEXT_SIZE];

    if (hello_decode_refuse(f, &reason, text) != 0) {
        link_malformed(l, "a refusal that cannot be read");
        return;
    }
    link_describe(l, who, sizeof(who));
    peers_log(l->peers, reason == REFUSAL_DUPLICATE ? LOG_DEBUG : LOG_ERROR,
              "%s refuses a link: %s", who, text);
    if (reason == REFUSAL_REMOVED || reason == REFUSAL_ROLLED_BACK) {
        peers_unwelcome(l, reason, text);
    }
    link_close(l);
}

static void
link_on_frame(struct link *l, struct frame **f)
{
    switch ((*f)->kind) {
    case HELLO_HELLO:
        link_on_hello(l, *f);
        break;
    case HELLO_WELCOME:
        link_on_welcome(l, *f);
        break;
    case HELLO_REFUSE:
        link_on_refuse(l, *f);
        break;
    case HELLO_PING:
        break;
    default:
        if (l->state != LINK_LIVE || (*f)->kind < FRAME_RAFT_FIRST) {
            link_malformed(l, "a frame that is not for now");
            break;
        }
        peers_link_frame(l, f);
        break;
    }
    frame_free(f);
}

/* Make room for at least the bytes that the next frame needs. */
static void
link_in_room(struct link *l)
{
    size_t unread = l->in_end - l->in_start;
    size_t want = MAX(l->in_need, unread + LINK_READ_ROOM_MIN);
    struct block *block = NULL;

    if (l->in != NULL && unread == 0 &&
        atomic_load_explicit(&l->in->refs, memory_order_acquire) == 1) {
        l->in_start = 0; /* nobody refers to what was read */
        l->in_end = 0;
    }
    if (l->in != NULL && l->in->size - l->in_start >= want) {
        return;
    }
    block = block_new(want > LINK_READ_SIZE ? want + LINK_READ_ROOM_MIN
                                            : (size_t)LINK_READ_SIZE);
    if (l->in != NULL) {
        memcpy(block->data, l->in->data + l->in_start, unread);
    }
    block_unref(l->in);
    l->in = block;
    l->in_start = 0;
    l->in_end = unread;
}

/* Take the whole frames out of what has been read. */
static void
link_parse(struct link *l)
{
    while (l->state != LINK_CLOSED && l->in_end > l->in_start) {
        struct frame *f = NULL;
        size_t used = 0;
        int rv = frame_decode(l->in, l->in_start, l->in_end - l->in_start, &f,
                              &used, &l->in_need);

        if (rv != 0) {
            link_malformed(l, qr_error_text(rv));
            return;
        }
        if (used == 0) {
            return;
        }
        l->in_start += used;
        link_on_frame(l, &f);
    }
}

/* Decrypt what was fed and take its frames. */
static void
link_read(struct link *l)
{
    size_t got = 1;

    while (l->state != LINK_CLOSED && got > 0) {
        int rv = 0;

        link_in_room(l);
        rv = tls_read(l->tls, l->in->data + l->in_end, l->in->size - l->in_end,
                      &got);
        if (rv != 0) {
            if (rv != -QR_ECLOSED) {
                char who[HELLO_TEXT_SIZE];

                link_describe(l, who, sizeof(who));
                peers_log(l->peers, LOG_ERROR, "link to %s: %s", who,
                          tls_text(l->tls));
            }
            link_close(l);
            return;
        }
        l->in_end += got;
        link_parse(l);
    }
}

/* Whether the handshake, which is done, proved what it should. */
static bool
link_is_proven(const struct link *l)
{
    struct ssl_st *ssl = tls_ssl(l->tls);

    if (l->peers->tls != NULL) {
        return certificate_is_proven(ssl);
    }
    if (!psk_is_proven(ssl)) {
        return false;
    }
    psk_forget(ssl);
    return true;
}

/* Go on with TLS; when it is done, say hello. */
static void
link_handshake(struct link *l)
{
    struct frame *hello = NULL;
    bool done = false;

    if (tls_handshake(l->tls, &done) != 0) {
        link_fail_tls(l);
        return;
    }
    if (!done) {
        return;
    }
    if (!link_is_proven(l)) {
        link_fail_tls(l);
        return;
    }
    l->state = LINK_HELLO;
    l->self = l->peers->self;
    if (uuid_is_nil(&l->self.cluster)) {
        l->self.node = 0; /* an id of the configuration's is none yet */
    }
    hello = hello_frame(&l->self);
    link_queue(l, &hello);
    link_pump(l);
}

/* The accepting end's notice instead of TLS. False if BYTES are TLS. */
static bool
link_read_notice(struct link *l, const struct slice *bytes, size_t *used)
{
    char theirs[SECRET_FINGERPRINT_SIZE];

    if (!l->dialled || stream_bytes_in(l->stream) > LINK_NOTICE_SIZE ||
        memcmp(bytes->data, link_notice,
               MIN(bytes->size, (size_t)LINK_NOTICE_PREFIX)) != 0) {
        return false;
    }
    *used = 0;
    if (bytes->size == LINK_NOTICE_SIZE) {
        psk_printable(theirs, sizeof(theirs), bytes->data + LINK_NOTICE_PREFIX,
                      8);
        if (l->peers->psk == NULL) {
            link_log_ways(l);
        } else {
            link_log_secret(l, theirs);
        }
        *used = bytes->size;
        link_close(l);
    }
    return true;
}

static size_t
link_on_data(void *arg, const struct slice *bytes)
{
    struct link *l = arg;
    size_t used = 0;

    OBJ_CHECK(l, LINK_MAGIC);
    l->heard_ms = peers_now(l->peers);
    l->silent_told = false;
    if (l->state == LINK_CLOSED ||
        (l->state == LINK_TLS && link_read_notice(l, bytes, &used))) {
        return used;
    }
    tls_feed(l->tls, bytes->data, bytes->size);
    if (l->state == LINK_TLS) {
        link_handshake(l);
    }
    if (l->state != LINK_TLS) {
        link_read(l);
    }
    /* A link that closed meanwhile has no use for the rest. */
    if (l->state == LINK_CLOSED) {
        tls_drop(l->tls);
    }
    ASSERT(tls_unused(l->tls) == 0);
    return bytes->size;
}

static void
link_on_drain(void *arg)
{
    link_pump(arg);
}

static void
link_on_stream_closed(void *arg, int reason, const char *text)
{
    struct link *l = arg;
    char who[HELLO_TEXT_SIZE];

    OBJ_CHECK(l, LINK_MAGIC);
    if (l->state != LINK_CLOSED) {
        link_describe(l, who, sizeof(who));
        peers_log(l->peers, l->state == LINK_LIVE ? LOG_INFO : LOG_DEBUG,
                  "link to %s: %s", who, reason == 0 ? "closed" : text);
    }
    l->stream = NULL;
    if (l->state != LINK_CLOSED) {
        link_end(l);
    }
    link_unref(l);
}

static void
link_on_sink(void *arg, const void *data, size_t size)
{
    struct link *l = arg;

    /* After a mismatch OpenSSL's alert would only hide the notice. */
    if (l->stream != NULL && !l->psk.mismatch) {
        stream_write(l->stream, data, size);
    }
}

/* A live link: heartbeat, and what its silence means. */
static void
link_watch(struct link *l, uint64_t now)
{
    const struct peers_limits *limits = &l->peers->limits;
    uint64_t silence = now - l->heard_ms;
    char who[HELLO_TEXT_SIZE];

    if (l->peers->paused ||
        now - l->tick_ms > (uint64_t)limits->heartbeat_ms * 2) {
        l->heard_ms = now; /* it is we who did not listen */
    } else if (silence >= limits->dead_ms) {
        link_describe(l, who, sizeof(who));
        peers_log(l->peers, LOG_WARNING,
                  "link to %s: nothing heard for %u ms: closed", who,
                  limits->dead_ms);
        link_close(l);
        return;
    } else if (silence >= limits->silent_ms && !l->silent_told) {
        l->silent_told = true;
        peers_link_silent(l);
    }
    if (l->state == LINK_LIVE && now - l->sent_ms >= limits->heartbeat_ms / 2 &&
        !link_has_output(l)) {
        struct frame *ping = hello_ping_frame();

        link_queue(l, &ping);
        link_pump(l);
    }
}

static void
link_on_timer(uv_timer_t *timer)
{
    struct link *l = timer->data;
    uint64_t now = peers_now(l->peers);
    char who[HELLO_TEXT_SIZE];

    OBJ_CHECK(l, LINK_MAGIC);
    if (l->state == LINK_LIVE) {
        link_watch(l, now);
        l->tick_ms = now;
    } else if (now - l->since_ms >= l->peers->limits.handshake_ms) {
        link_describe(l, who, sizeof(who));
        peers_log(l->peers, LOG_WARNING,
                  "link to %s: no handshake within %u ms", who,
                  l->peers->limits.handshake_ms);
        link_close(l);
    }
}

/* A session of TLS as the cluster's nodes prove themselves. */
static void
link_secure(struct link *l)
{
    struct peers *peers = l->peers;
    SSL_CTX *ctx = NULL;

    if (peers->tls != NULL) {
        ctx = tls_store_context_mt(peers->tls);
        l->tls = tls_new(ctx, !l->dialled, link_on_sink, l, &l->psk);
        SSL_CTX_free(ctx);
        return;
    }
    l->tls =
        tls_new(psk_ctx(peers->psk), !l->dialled, link_on_sink, l, &l->psk);
    if (l->dialled) {
        psk_distrust_certificates(tls_ssl(l->tls));
    }
}

void
link_new(struct peers *peers, struct peer *peer, struct stream *stream)
{
    struct link *l = mem_zalloc(1, sizeof(*l));
    struct stream_events events = {.arg = l,
                                   .on_data = link_on_data,
                                   .on_drain = link_on_drain,
                                   .on_close = link_on_stream_closed};
    uint32_t tick = peers->limits.heartbeat_ms;
    int rv = 0;

    l->magic = LINK_MAGIC;
    l->peers = peers;
    l->peer = peer;
    l->dialled = peer != NULL;
    l->stream = stream;
    l->psk.psk = peers->psk;
    l->since_ms = peers_now(peers);
    l->heard_ms = l->since_ms;
    l->handles = 2;
    peers->handles++;
    list_push_back(&peers->links, &l->entry);
    rv = uv_timer_init(net_loop(peers->net), &l->timer);
    ASSERT(rv == 0);
    l->timer.data = l;
    (void)uv_timer_start(&l->timer, link_on_timer, tick, tick);
    link_secure(l);
    stream_set_drain(stream, LINK_DRAIN_LOW, LINK_DRAIN_HIGH);
    stream_start(stream, &events);
    if (l->dialled) {
        link_handshake(l);
    }
}
