/* A link with whoever is at the other end: a stranger, a node whose records
 * are tampered with on the way, and a node that is proven and says anything.
 *
 *   0        1
 *   +--------+---------------------------------+
 *   | flags  | what is sent                    |
 *   +--------+---------------------------------+
 *
 * Flags: bits 0-1 what the bytes are (enum way); bit 2 the node dials, instead
 * of being dialled; bit 3 the other end says no hello of its own; bit 4 the
 * stream ends after the bytes.
 *
 * The node is real: its loop, its sockets, its TLS. What is read of them is not
 * the same on every run (TLS has random numbers), but what is decoded is. */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/tls.h"
#include "peer/hello.h"
#include "peer/peers.h"
#include "peer/psk.h"

enum way {
    WAY_RAW,      /* bytes instead of TLS */
    WAY_TAMPERED, /* u16 offset, u8 xor: of what TLS sends */
    WAY_PLAIN,    /* bytes within TLS, in place of frames */
    WAY_FRAMES    /* frames; see put_frames() */
};

enum {
    WAY_MASK = 3,
    DIALS = 4,
    NO_HELLO = 8,
    ENDS = 16,
    CONNECT_MS = 2000,
    TURNS_MAX = 400,
    IDLE_MAX = 4, /* turns without a byte */
    FRAME_SPEC_SIZE = 6
};

static const char SECRET[] = "0123456789abcdef";

/* The node. */
struct node {
    uv_loop_t loop;
    struct net *net;
    struct peers *peers;
    struct logger log;
    uint16_t port;
    bool is_closed;
};

/* The other end. */
struct far {
    const uint8_t *data;
    size_t size;
    unsigned flags;
    int fd;
    struct psk *psk;
    struct psk_peer app;
    struct tls *tls; /* NULL: none, or not any more */
    struct buf out;  /* for the socket */
    size_t sent;     /* by TLS, ever */
    bool is_done;    /* with the handshake */
    bool is_over;
};

static void
on_log(void *arg, enum log_level level, const char *category, const char *text)
{
    (void)arg;
    (void)level;
    (void)category;
    for (const char *p = text; *p != '\0'; p++) {
        ASSERT(*p >= 0x20 && *p < 0x7f);
    }
}

static void
on_frame(void *arg, const struct link_peer *peer, struct frame **frame)
{
    (void)arg;
    ASSERT(peer->node == 2);
    ASSERT((*frame)->kind >= FRAME_RAFT_FIRST);
    ASSERT((*frame)->klass < FRAME_CLASS_COUNT);
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer,
        struct link_gauge *gauge)
{
    (void)arg;
    (void)event;
    ASSERT(gauge != NULL);
    ASSERT(peer->node != 0);
}

static void
on_unwelcome(void *arg, bool is_rolled_back, const char *text)
{
    (void)is_rolled_back;
    on_log(arg, LOG_ERROR, "", text);
}

static struct peers_identity
identity_of(qr_node_id id)
{
    struct peers_identity self = {
        .node = id, .starts = {.boot = 1}, .shards = 1};

    memset(self.cluster.bytes, 1, sizeof(self.cluster.bytes));
    memset(self.uuid.bytes, (int)(0x10 + id), sizeof(self.uuid.bytes));
    (void)snprintf(self.cluster_name, sizeof(self.cluster_name), "fuzz");
    (void)snprintf(self.node_name, sizeof(self.node_name), "n%u", id);
    return self;
}

static struct secret
secret_make(void)
{
    struct secret secret;
    struct error err;
    int rv = secret_derive(SECRET, strlen(SECRET), &secret, &err);

    ASSERT(rv == 0);
    return secret;
}

/* N listens, or dials port DIALLED. */
static void
node_start(struct node *n, uint16_t dialled)
{
    struct peers_events events = {.arg = n,
                                  .on_frame = on_frame,
                                  .on_link = on_link,
                                  .on_unwelcome = on_unwelcome};
    struct peers_identity self = identity_of(1);
    struct secret secret = secret_make();
    struct peers_proof proof = {.secret = &secret};
    struct peers_limits limits = {.dial_min_ms = 1, .dial_max_ms = 2};
    struct error err;
    int fd = -1;
    int rv = uv_loop_init(&n->loop);

    ASSERT(rv == 0);
    n->log = (struct logger){on_log, n, LOG_DEBUG};
    n->net = net_new(&n->loop, NULL, NULL);
    n->peers = peers_new(n->net, &n->log, &self, &proof, &limits, &events);
    if (dialled == 0) {
        rv = listener_bind_tcp("127.0.0.1", 0, &fd, &err);
        ASSERT(rv == 0);
        n->port = listener_fd_port(fd);
        rv = peers_listen(n->peers, fd, &err);
        ASSERT(rv == 0);
    }
    rv = peers_add(n->peers, 2, "n2", "127.0.0.1", dialled, &err);
    ASSERT(rv == 0);
}

static void
node_turn(struct node *n)
{
    if (!n->is_closed) {
        peers_flush(n->peers);
        net_flush(n->net);
    }
    (void)uv_run(&n->loop, UV_RUN_NOWAIT);
}

static void
on_closed(void *arg)
{
    ((struct node *)arg)->is_closed = true;
}

static void
node_stop(struct node *n)
{
    int rv = 0;

    peers_close(n->peers, on_closed, n);
    net_close_all(n->net);
    while (!n->is_closed || net_streams(n->net) > 0) {
        (void)uv_run(&n->loop, UV_RUN_ONCE);
    }
    peers_free(&n->peers);
    net_free(&n->net);
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    rv = uv_loop_close(&n->loop);
    ASSERT(rv == 0);
}

static void
on_sink(void *arg, const void *data, size_t size)
{
    struct far *f = arg;
    size_t start = f->out.size;

    buf_put(&f->out, data, size);
    for (size_t i = 0;
         (f->flags & WAY_MASK) == WAY_TAMPERED && i + 3 <= f->size; i += 3) {
        size_t at = get_u16be(f->data + i);

        if (at >= f->sent && at - f->sent < size) {
            f->out.data[start + at - f->sent] ^= f->data[i + 2];
        }
    }
    f->sent += size;
}

static void
far_write(struct far *f, const void *data, size_t size)
{
    for (size_t at = 0; at < size && f->tls != NULL; at += TLS_RECORD_SIZE) {
        if (tls_write(f->tls, (const uint8_t *)data + at,
                      MIN(size - at, (size_t)TLS_RECORD_SIZE)) != 0) {
            tls_free(&f->tls);
        }
    }
}

/* Send *FRAME (taken). */
static void
far_send(struct far *f, struct frame **frame)
{
    uint8_t header[FRAME_HEADER_SIZE];
    struct slice content = frame_content(*frame);

    frame_encode_header(*frame, header);
    far_write(f, header, sizeof(header));
    far_write(f, (*frame)->head.data, (*frame)->head.size);
    far_write(f, content.data, content.size);
    slice_unref(&content);
    frame_free(frame);
}

/* Each frame: class, kind, shard, group, argument, size, and that many bytes,
 * the first of which are its head. */
static void
far_send_frames(struct far *f)
{
    size_t at = 0;

    while (f->size - at >= FRAME_SPEC_SIZE) {
        const uint8_t *spec = f->data + at;
        struct frame *frame =
            frame_new((enum frame_class)(spec[0] % FRAME_CLASS_COUNT), spec[1]);
        size_t size = 0;

        at += FRAME_SPEC_SIZE;
        size = MIN((size_t)spec[5], f->size - at);
        frame->to_shard = spec[2];
        frame->group = spec[3];
        frame->arg = spec[4];
        if (spec[1] < FRAME_RAFT_FIRST) {
            frame->head = slice_copy(f->data + at, size);
        } else {
            frame_add(frame, slice_copy(f->data + at, size));
        }
        at += size;
        far_send(f, &frame);
    }
}

/* The handshake is done. */
static void
far_speak(struct far *f)
{
    struct peers_identity self = identity_of(2);
    struct frame *hello = hello_frame(&self);

    if ((f->flags & NO_HELLO) == 0) {
        far_send(f, &hello);
    }
    frame_free(&hello);
    if ((f->flags & WAY_MASK) == WAY_PLAIN) {
        far_write(f, f->data, f->size);
    } else if ((f->flags & WAY_MASK) == WAY_FRAMES) {
        far_send_frames(f);
    }
}

static void
far_start(struct far *f)
{
    struct secret secret = secret_make();

    buf_init(&f->out);
    f->psk = psk_new(&secret, "n2");
    f->app.psk = f->psk;
    if ((f->flags & WAY_MASK) == WAY_RAW) {
        buf_put(&f->out, f->data, f->size);
    } else {
        f->tls = tls_new(psk_ctx(f->psk), (f->flags & DIALS) != 0, on_sink, f,
                         &f->app);
    }
}

/* SIZE bytes came. */
static void
far_hear(struct far *f, const uint8_t *data, size_t size)
{
    uint8_t plain[4096];
    size_t got = 1;
    bool done = f->is_done;

    if (f->tls == NULL) {
        return;
    }
    tls_feed(f->tls, data, size);
    if (!done && tls_handshake(f->tls, &done) != 0) {
        tls_free(&f->tls);
        return;
    }
    if (done && !f->is_done) {
        f->is_done = true;
        far_speak(f);
    }
    while (done && f->tls != NULL && got > 0) {
        if (tls_read(f->tls, plain, sizeof(plain), &got) != 0) {
            tls_free(&f->tls);
        }
    }
}

/* False if nothing moved. */
static bool
far_turn(struct far *f)
{
    uint8_t data[8192];
    ssize_t size = recv(f->fd, data, sizeof(data), MSG_DONTWAIT);
    ssize_t sent = 0;

    f->is_over = size == 0 || (size < 0 && errno != EAGAIN);
    if (size > 0) {
        far_hear(f, data, (size_t)size);
    }
    if (f->out.size > 0) {
        sent =
            send(f->fd, f->out.data, f->out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        buf_clear(&f->out); /* a socket takes what an input has, or is gone */
    } else if ((f->flags & ENDS) != 0 && (f->tls == NULL || f->is_done)) {
        (void)shutdown(f->fd, SHUT_WR);
    }
    return size > 0 || sent > 0;
}

static void
far_stop(struct far *f)
{
    /* No port waits for stragglers: there are many inputs. */
    struct linger linger = {.l_onoff = 1};

    (void)setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(f->fd);
    tls_free(&f->tls);
    psk_free(&f->psk);
    buf_deinit(&f->out);
}

static void
connect_to(struct far *f, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int rv = 0;

    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(f->fd >= 0);
    rv = connect(f->fd, (const struct sockaddr *)&to, sizeof(to));
    ASSERT(rv == 0);
}

/* N dials what listens at FD. */
static void
await_dial(struct node *n, struct far *f, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (int ms = 0; ms < CONNECT_MS && p.revents == 0; ms++) {
        node_turn(n);
        (void)poll(&p, 1, 1);
    }
    f->fd = accept(fd, NULL, NULL);
    ASSERT(f->fd >= 0);
}

static void
run(struct node *n, struct far *f)
{
    unsigned idle = 0;

    far_start(f);
    if ((f->flags & DIALS) == 0 && f->tls != NULL) {
        far_hear(f, NULL, 0); /* the one who dials speaks first */
    }
    for (unsigned i = 0; i < TURNS_MAX && idle < IDLE_MAX && !f->is_over; i++) {
        bool moved = far_turn(f);

        node_turn(n);
        idle = moved ? 0 : idle + 1;
    }
    far_stop(f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct node n = {.is_closed = false};
    struct far f = {.fd = -1};
    struct error err;
    int fd = -1;
    int rv = 0;

    if (size == 0) {
        return 0;
    }
    f.flags = data[0];
    f.data = data + 1;
    f.size = size - 1;
    if ((f.flags & DIALS) != 0) {
        rv = listener_bind_tcp("127.0.0.1", 0, &fd, &err);
        ASSERT(rv == 0);
        rv = listen(fd, 1);
        ASSERT(rv == 0);
        node_start(&n, listener_fd_port(fd));
        await_dial(&n, &f, fd);
        (void)close(fd);
    } else {
        node_start(&n, 0);
        connect_to(&f, n.port);
    }
    run(&n, &f);
    node_stop(&n);
    return 0;
}

/* What a stranger sends: the notice of another secret, or a record of TLS. */
static void
put_raw(struct rng *r, struct buf *b)
{
    static const uint8_t record[] = {22, 3, 1, 0, 8, 1, 0, 0, 4, 3, 3, 0, 0};

    if (rng_below(r, 2) == 0) {
        buf_put(b, "QUORATE-SECRET 0123abcd\n", 24);
    } else {
        buf_put(b, record, sizeof(record));
    }
}

static void
put_frames(struct rng *r, struct buf *b)
{
    struct frame *welcome = hello_welcome_frame(1);
    struct frame *refuse =
        hello_refuse_frame((enum refusal)rng_below(r, 9), "why");
    const struct frame *heads[] = {welcome, refuse};

    for (uint64_t n = rng_below(r, 4); n > 0; n--) {
        uint64_t kind = rng_below(r, 2) == 0 ? rng_below(r, HELLO_KIND_LIMIT)
                                             : rng_below(r, FRAME_KIND_LIMIT);
        const struct slice *head = &heads[kind == HELLO_REFUSE]->head;

        buf_put_u8(b, (uint8_t)rng_below(r, FRAME_CLASS_COUNT));
        buf_put_u8(b, (uint8_t)kind);
        buf_put_u8(b, (uint8_t)rng_below(r, 3));
        buf_put_u8(b, (uint8_t)rng_below(r, 3));
        buf_put_u8(b, (uint8_t)rng_below(r, 256));
        buf_put_u8(b, (uint8_t)head->size);
        buf_put(b, head->data, head->size);
    }
    frame_free(&welcome);
    frame_free(&refuse);
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    enum way way = (enum way)rng_below(r, 4);
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    buf_put_u8(&b, (uint8_t)(rng_below(r, 8) * DIALS + way));
    switch (way) {
    case WAY_RAW:
        put_raw(r, &b);
        break;
    case WAY_TAMPERED:
        buf_put_u8(&b, (uint8_t)rng_below(r, 256));
        buf_put_u8(&b, (uint8_t)rng_below(r, 2));
        buf_put_u8(&b, (uint8_t)rng_below(r, 256));
        break;
    case WAY_PLAIN:
        for (uint64_t n = rng_below(r, 80); n > 0; n--) {
            buf_put_u8(&b, (uint8_t)rng_below(r, 4));
        }
        break;
    case WAY_FRAMES:
        put_frames(r, &b);
        break;
    }
    size = MIN(b.size, capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
