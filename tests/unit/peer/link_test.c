/* A link whose other end has the secret and breaks the protocol: every step
 * is checked, logged, answered with a refusal and closed. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "net/net.h"
#include "net/stream.h"
#include "peer/frame.h"
#include "peer/link.h"
#include "peers_helper.h"

/* The other end: TLS by hand, frames by hand. */
struct rogue {
    struct stream *stream;
    struct psk *psk;
    struct psk_peer peer;
    struct tls *tls;
    bool ready; /* TLS is up */
    bool closed;
    struct block *in;
    size_t in_size;
    enum refusal refused;
    bool welcomed;
    struct peers_identity hello; /* the node's */
};

static struct helper_world world;
static struct rogue rogue;

static void
rogue_on_sink(void *arg, const void *data, size_t size)
{
    struct rogue *r = arg;

    stream_write(r->stream, data, size);
}

static void
rogue_on_frame(struct rogue *r, const struct frame *f)
{
    char text[HELLO_TEXT_SIZE];
    uint32_t protocol = 0;

    if (f->kind == HELLO_HELLO) {
        cr_assert_eq(hello_decode(f, &r->hello), 0);
    } else if (f->kind == HELLO_REFUSE) {
        cr_assert_eq(hello_decode_refuse(f, &r->refused, text), 0);
    } else if (f->kind == HELLO_WELCOME) {
        cr_assert_eq(hello_decode_welcome(f, &protocol), 0);
        r->welcomed = true;
    }
}

static void
rogue_parse(struct rogue *r)
{
    size_t at = 0;
    size_t used = 1;

    while (used > 0) {
        struct frame *f = NULL;
        size_t need = 0;

        cr_assert_eq(frame_decode(r->in, at, r->in_size - at, &f, &used, &need),
                     0);
        at += used;
        if (f != NULL) {
            rogue_on_frame(r, f);
            frame_free(&f);
        }
    }
    memmove(r->in->data, r->in->data + at, r->in_size - at);
    r->in_size -= at;
}

static size_t
rogue_on_data(void *arg, const struct slice *bytes)
{
    struct rogue *r = arg;
    size_t got = 1;

    tls_feed(r->tls, bytes->data, bytes->size);
    if (!r->ready) {
        cr_assert_eq(tls_handshake(r->tls, &r->ready), 0);
    }
    while (r->ready && got > 0) {
        if (tls_read(r->tls, r->in->data + r->in_size, r->in->size - r->in_size,
                     &got) != 0) {
            break;
        }
        r->in_size += got;
        rogue_parse(r);
    }
    tls_drop(r->tls);
    return bytes->size;
}

static void
rogue_on_close(void *arg, int reason, const char *text)
{
    struct rogue *r = arg;

    (void)reason;
    (void)text;
    r->closed = true;
}

static void
rogue_on_connect(void *arg, struct stream *s, int error)
{
    struct rogue *r = arg;
    struct stream_events events = {
        .arg = r, .on_data = rogue_on_data, .on_close = rogue_on_close};

    cr_assert_eq(error, 0);
    r->stream = s;
    r->tls = tls_new(psk_ctx(r->psk), false, rogue_on_sink, r, &r->peer);
    stream_start(s, &events);
    cr_assert_eq(tls_handshake(r->tls, &r->ready), 0);
}

/* Send F (freed) with CORRUPT bytes at its end made others. */
static void
rogue_send(struct rogue *r, struct frame *f, size_t corrupt)
{
    struct buf b;

    buf_init(&b);
    frame_encode_header(f, buf_extend(&b, FRAME_HEADER_SIZE));
    buf_put(&b, f->head.data, f->head.size);
    for (size_t i = 0; i < corrupt; i++) {
        b.data[b.size - 1 - i] ^= 0xff;
    }
    cr_assert_eq(tls_write(r->tls, b.data, b.size), 0);
    buf_deinit(&b);
    frame_free(&f);
}

/* Node 1 runs and knows node 2, which the rogue says it is. TLS is up and the
 * node has said hello. */
static struct rogue *
rogue_begin(void)
{
    struct helper_world *w = &world;
    struct rogue *r = &rogue;
    struct error *none = NULL;

    helper_init(w);
    helper_start(w, 1);
    cr_assert_eq(peers_add(w->nodes[1].peers, 2, "n2", "127.0.0.1", 1, none),
                 0);
    memset(r, 0, sizeof(*r));
    r->in = block_new(64 << 10);
    r->psk = psk_new(&w->nodes[1].secret, "n2");
    r->peer.psk = r->psk;
    stream_connect(w->nodes[1].net, "127.0.0.1", w->nodes[1].port, 1000,
                   rogue_on_connect, r);
    HELPER_UNTIL(w, r->ready && r->hello.shards == 1);
    return r;
}

static void
rogue_end(struct rogue *r)
{
    helper_deinit(&world);
    cr_assert(r->closed);
    tls_free(&r->tls);
    psk_free(&r->psk);
    block_unref(r->in);
}

/* The node has had enough, says WHY and closes. */
static void
check_thrown_out(struct rogue *r, const char *why)
{
    HELPER_UNTIL(&world, r->closed);
    cr_expect(helper_logged(&world, 1, why), "log: %s", world.nodes[1].log);
    cr_expect_eq(r->refused, REFUSAL_MALFORMED);
    rogue_end(r);
}

/* As rogue_begin(), and the link is up. */
static struct rogue *
rogue_link(void)
{
    struct rogue *r = rogue_begin();

    rogue_send(r, hello_frame(&world.nodes[2].identity), 0);
    HELPER_UNTIL(&world, r->welcomed && helper_is_up(&world, 1, 2));
    return r;
}

Test(link, comes_up_when_spoken_to_as_the_format_says)
{
    struct rogue *r = rogue_link();
    struct frame *f = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);

    f->arg = 1;
    rogue_send(r, f, 0);
    HELPER_UNTIL(&world, world.nodes[1].frames[FRAME_CALL] == 1);
    rogue_end(r);
}

Test(link, takes_no_frame_before_hello)
{
    struct rogue *r = rogue_begin();

    rogue_send(r, frame_new(FRAME_CALL, FRAME_BROKER_FIRST), 0);
    check_thrown_out(r, "a frame that is not for now");
}

Test(link, takes_no_second_hello)
{
    struct rogue *r = rogue_link();

    rogue_send(r, hello_frame(&world.nodes[2].identity), 0);
    check_thrown_out(r, "a second hello");
}

Test(link, takes_no_hello_that_cannot_be_read)
{
    struct rogue *r = rogue_begin();
    struct frame *f = frame_new(FRAME_CONTROL, HELLO_HELLO);

    f->head = slice_copy("\xff\xff\xff", 3);
    rogue_send(r, f, 0);
    check_thrown_out(r, "a hello that cannot be read");
}

Test(link, takes_no_welcome_from_a_junior)
{
    struct rogue *r = rogue_link();

    rogue_send(r, hello_welcome_frame(1), 0);
    check_thrown_out(r, "an unexpected welcome");
}

Test(link, takes_no_refusal_that_cannot_be_read)
{
    struct rogue *r = rogue_begin();
    struct frame *f = frame_new(FRAME_CONTROL, HELLO_REFUSE);

    f->head = slice_copy("\xff\xff\xff", 3);
    rogue_send(r, f, 0);
    check_thrown_out(r, "a refusal that cannot be read");
}

Test(link, takes_no_frame_kind_that_it_does_not_know)
{
    struct rogue *r = rogue_link();

    rogue_send(r, frame_new(FRAME_CONTROL, HELLO_KIND_LIMIT), 0);
    check_thrown_out(r, "a frame that is not for now");
}

Test(link, takes_no_frame_that_was_changed)
{
    struct rogue *r = rogue_link();
    struct frame *f = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);

    f->head = slice_copy("head", 4);
    rogue_send(r, f, 2);
    check_thrown_out(r, "does not match its checksum");
}

Test(link, takes_no_frame_larger_than_allowed)
{
    struct rogue *r = rogue_link();
    uint8_t header[FRAME_HEADER_SIZE] = {0};

    put_u32le(header, FRAME_SIZE_MAX);
    cr_assert_eq(tls_write(r->tls, header, sizeof(header)), 0);
    check_thrown_out(r, "larger than its limit");
}

Test(link, ends_with_its_tls_session)
{
    struct rogue *r = rogue_link();

    /* A record that nobody with the key has made. */
    stream_write(r->stream, "\x17\x03\x03\x00\x20", 5);
    for (int i = 0; i < 4; i++) {
        stream_write(r->stream, "01234567", 8);
    }
    HELPER_UNTIL(&world, r->closed);
    cr_expect_eq(helper_count(&world, 1, 2, LINK_DOWN), 1);
    cr_expect(helper_logged(&world, 1, "link to node n2"));
    rogue_end(r);
}

Test(link, survives_random_frames_of_its_own_kinds)
{
    struct rng rng;

    rng_init(&rng, 11);
    for (int i = 0; i < 30; i++) {
        struct rogue *r = rogue_begin();

        while (!r->closed) {
            struct frame *f = frame_new(
                FRAME_CONTROL, (uint16_t)rng_below(&rng, HELLO_KIND_LIMIT + 1));
            uint8_t bytes[40];

            rng_fill(&rng, bytes, sizeof(bytes));
            f->head = slice_copy(bytes, (size_t)rng_below(&rng, 40));
            rogue_send(r, f, 0);
            helper_turn(&world);
        }
        rogue_end(r);
    }
}
