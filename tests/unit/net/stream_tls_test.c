/* Streams with TLS over loopback, both ends in one loop. */
#include <openssl/ssl.h>
#include <quorate/error.h>
#include <string.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/stream.h"
#include "net/stream_internal.h"
#include "net/tls.h"
#include "net/tls_context.h"
#include "pki.h"

enum {
    DEADLINE_MS = 20000,
    INPUT_MAX = 8 << 20
};

/* One end of a connection, and what it saw. */
struct end {
    struct stream *stream;
    uint8_t *in;
    size_t in_size;
    size_t unit;  /* consume only whole units of this many bytes */
    size_t stops; /* times to stop after data */
    int secured;
    int drains;
    int closes;
    int reason;
    char text[TLS_TEXT_SIZE];
};

static struct {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct net *net;
    struct listener *listener;
    uint16_t port;
    struct end client;
    struct end server;
    SSL_CTX *client_ctx; /* NULL: plain */
    SSL_CTX *server_ctx;
    struct pki pki;
    bool late;
} w;

static size_t
end_on_data(void *arg, const struct slice *bytes)
{
    struct end *e = arg;
    size_t used = bytes->size;

    if (e->unit > 0) {
        used -= used % e->unit;
        if (used == 0) {
            stream_need(e->stream, e->unit);
        }
    }
    cr_assert_leq(e->in_size + used, INPUT_MAX);
    memcpy(e->in + e->in_size, bytes->data, used);
    e->in_size += used;
    if (e->stops > 0) {
        e->stops--;
        stream_read_stop(e->stream);
    }
    return used;
}

static void
end_on_secure(void *arg)
{
    struct end *e = arg;

    cr_assert_not_null(stream_tls(e->stream));
    e->secured++;
}

static void
end_on_drain(void *arg)
{
    struct end *e = arg;

    e->drains++;
}

static void
end_on_close(void *arg, int reason, const char *text)
{
    struct end *e = arg;

    e->closes++;
    e->reason = reason;
    (void)snprintf(e->text, sizeof(e->text), "%s", text);
    e->stream = NULL;
}

static void
end_start(struct end *e, struct stream *s, SSL_CTX *ctx, bool is_server)
{
    struct stream_events events = {.arg = e,
                                   .on_data = end_on_data,
                                   .on_secure = end_on_secure,
                                   .on_drain = end_on_drain,
                                   .on_close = end_on_close};

    e->stream = s;
    if (ctx != NULL) {
        stream_secure(s, ctx, is_server);
    }
    stream_start(s, &events);
}

static void
on_accept(void *arg, struct stream *s)
{
    (void)arg;
    end_start(&w.server, s, w.server_ctx, true);
}

static void
on_connect(void *arg, struct stream *s, int error)
{
    (void)arg;
    cr_assert_eq(error, 0);
    end_start(&w.client, s, w.client_ctx, false);
}

static void
on_deadline(uv_timer_t *timer)
{
    (void)timer;
    w.late = true;
}

static void
turn(void)
{
    net_flush(w.net);
    /* A flush may do all that there was to wait for. */
    uv_run(&w.loop, UV_RUN_NOWAIT);
    cr_assert(!w.late, "deadline");
}

#define DRIVE_UNTIL(cond) \
    do {                  \
        while (!(cond)) { \
            turn();       \
        }                 \
    } while (0)

static SSL_CTX *
context(const char *name, bool tls13, bool verify)
{
    char ca[PKI_PATH_SIZE];
    char pem[PKI_PATH_SIZE];
    char key[PKI_PATH_SIZE];
    struct tls_config c = {.prefix = "test",
                           .cacertfile = pki_path(&w.pki, "ca", ".pem", ca),
                           .certfile = pki_path(&w.pki, name, ".pem", pem),
                           .keyfile = pki_path(&w.pki, name, ".key", key),
                           .depth = 1,
                           .verify_peer = verify,
                           .fail_if_no_peer_cert = verify,
                           .tls12 = !tls13,
                           .tls13 = tls13};
    struct tls_validity v;
    struct error err = {""};
    SSL_CTX *ctx = NULL;

    cr_assert_eq(tls_context_new(&c, &ctx, &v, &err), 0, "%s", err.text);
    return ctx;
}

static void
setup(void)
{
    static const struct pki_request server = {.name = "server"};
    static const struct pki_request client = {.name = "client"};

    memset(&w, 0, sizeof(w));
    pki_init(&w.pki);
    pki_issue(&w.pki, &server);
    pki_issue(&w.pki, &client);
    cr_assert_eq(uv_loop_init(&w.loop), 0);
    cr_assert_eq(uv_timer_init(&w.loop, &w.deadline), 0);
    uv_timer_start(&w.deadline, on_deadline, DEADLINE_MS, 0);
    w.net = net_new(&w.loop, NULL, NULL);
    w.client.in = mem_alloc(INPUT_MAX);
    w.server.in = mem_alloc(INPUT_MAX);
}

static void
teardown(void)
{
    net_close_all(w.net);
    uv_close((uv_handle_t *)&w.deadline, NULL);
    cr_assert_eq(uv_run(&w.loop, UV_RUN_DEFAULT), 0);
    net_free(&w.net);
    cr_expect_eq(uv_loop_close(&w.loop), 0);
    SSL_CTX_free(w.client_ctx);
    SSL_CTX_free(w.server_ctx);
    mem_free(w.client.in);
    mem_free(w.server.in);
    pki_deinit(&w.pki);
}

TestSuite(stream_tls, .init = setup, .fini = teardown);

static void
connect_ends(void)
{
    struct error err;
    int fd = -1;

    cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0);
    w.port = listener_fd_port(fd);
    cr_assert_eq(listener_start(w.net, fd, on_accept, NULL, &w.listener, &err),
                 0);
    stream_connect(w.net, "127.0.0.1", w.port, 2000, on_connect, NULL);
    DRIVE_UNTIL(w.client.stream != NULL && w.server.stream != NULL);
}

static void
secure_ends(bool tls13)
{
    w.server_ctx = context("server", tls13, true);
    w.client_ctx = context("client", tls13, true);
    connect_ends();
    DRIVE_UNTIL(w.client.secured == 1 && w.server.secured == 1);
}

static void
check_both_ways(bool tls13)
{
    secure_ends(tls13);
    stream_write(w.client.stream, "ping", 4);
    DRIVE_UNTIL(w.server.in_size == 4);
    stream_write(w.server.stream, "pong!", 5);
    DRIVE_UNTIL(w.client.in_size == 5);
    cr_expect_eq(memcmp(w.server.in, "ping", 4), 0);
    cr_expect_eq(memcmp(w.client.in, "pong!", 5), 0);
    cr_expect_gt(stream_bytes_in(w.server.stream), 500); /* encrypted */
    cr_expect_eq(SSL_version(tls_ssl(stream_tls(w.server.stream))),
                 tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    /* At rest no stream holds a buffer. */
    cr_expect_null(w.server.stream->in.block);
    cr_expect_null(w.server.stream->offered->block);
    cr_expect_null(w.server.stream->wire->block);
    cr_expect_eq(stream_backlog(w.server.stream), 0);
}

Test(stream_tls, carries_bytes_with_1_3)
{
    check_both_ways(true);
}

Test(stream_tls, carries_bytes_with_1_2)
{
    check_both_ways(false);
}

/* Copies and slices of all sizes from FROM to TO, which now and then stops. */
static void
check_order(struct end *from, struct end *to, uint64_t seed)
{
    uint8_t *sent = mem_alloc(INPUT_MAX);
    struct rng rng;
    size_t size = 0;

    rng_init(&rng, seed);
    rng_fill(&rng, sent, INPUT_MAX);
    while (size < INPUT_MAX / 2) {
        size_t part =
            (size_t)rng_below(&rng, rng_chance(&rng, 50000) ? 200000 : 2000);

        if (rng_chance(&rng, 500000)) {
            stream_write(from->stream, sent + size, part);
        } else {
            struct slice s = slice_copy(sent + size, part);

            stream_write_slice(from->stream, &s);
        }
        size += part;
        if (rng_chance(&rng, 30000)) {
            to->stops = to->stops == 0 ? 1 : 0;
            turn();
            stream_read_start(to->stream);
        }
    }
    to->stops = 0;
    stream_read_start(to->stream);
    size -= to->unit > 0 ? size % to->unit : 0;
    DRIVE_UNTIL(to->in_size == size);
    cr_expect_eq(memcmp(to->in, sent, size), 0);
    mem_free(sent);
}

Test(stream_tls, keeps_order_whatever_the_reader_does)
{
    secure_ends(true);
    check_order(&w.client, &w.server, 1);
    check_order(&w.server, &w.client, 2);
    cr_expect_eq(stream_backlog(w.client.stream), 0);
    cr_expect_eq(stream_backlog(w.server.stream), 0);
}

Test(stream_tls, carries_leftovers_over)
{
    secure_ends(false);
    w.server.unit = 9999;
    check_order(&w.client, &w.server, 3);
}

Test(stream_tls, carries_leftovers_larger_than_a_block)
{
    secure_ends(true);
    w.server.unit = 300007;
    check_order(&w.client, &w.server, 4);
}

Test(stream_tls, encrypts_no_more_than_waits_for_the_socket)
{
    uint8_t *junk = mem_zalloc(1, INPUT_MAX);

    secure_ends(true);
    stream_set_drain(w.client.stream, 0, 1);
    stream_read_stop(w.server.stream);
    stream_write(w.client.stream, junk, INPUT_MAX);
    for (int i = 0; i < 50; i++) {
        net_flush(w.net);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        cr_assert_leq(w.client.stream->wire->size,
                      STREAM_TLS_WIRE_MAX + 2 * TLS_RECORD_SIZE);
    }
    cr_expect_gt(stream_backlog(w.client.stream), 0);
    cr_expect_eq(w.client.drains, 0);
    stream_read_start(w.server.stream);
    DRIVE_UNTIL(w.server.in_size == INPUT_MAX && w.client.drains > 0);
    cr_expect_eq(stream_backlog(w.client.stream), 0);
    mem_free(junk);
}

Test(stream_tls, shut_delivers_all_and_ends_in_order)
{
    uint8_t *junk = mem_zalloc(1, 1 << 20);

    secure_ends(true);
    stream_write(w.server.stream, junk, 1 << 20);
    stream_shut(w.server.stream, 5000);
    DRIVE_UNTIL(w.client.closes == 1 && w.server.closes == 1);
    cr_expect_eq(w.client.in_size, 1 << 20);
    cr_expect_eq(w.client.reason, 0);
    cr_expect_eq(w.server.reason, 0);
    mem_free(junk);
}

Test(stream_tls, what_was_written_before_the_handshake_follows_it)
{
    w.server_ctx = context("server", true, true);
    w.client_ctx = context("client", true, true);
    connect_ends();
    stream_write(w.client.stream, "early", 5);
    DRIVE_UNTIL(w.server.in_size == 5);
    cr_expect_eq(memcmp(w.server.in, "early", 5), 0);
}

Test(stream_tls, a_client_of_another_authority_is_refused)
{
    struct pki other;
    static const struct pki_request request = {.name = "client"};
    struct pki own = w.pki;

    pki_init(&other);
    pki_issue(&other, &request);
    w.server_ctx = context("server", true, true);
    w.pki = other;
    w.client_ctx = context("client", true, false);
    w.pki = own;
    connect_ends();
    DRIVE_UNTIL(w.server.closes == 1 && w.client.closes == 1);
    cr_expect_eq(w.server.reason, -QR_EACCESS);
    cr_expect_not_null(strstr(w.server.text, "certificate verify failed"), "%s",
                       w.server.text);
    cr_expect_eq(w.server.secured, 0);
    /* The alert got through. */
    cr_expect_not_null(strstr(w.client.text, "unknown ca"), "%s",
                       w.client.text);
    pki_deinit(&other);
}

Test(stream_tls, a_client_whose_certificate_has_expired_is_refused)
{
    static const struct pki_request request = {
        .name = "client", .begins_s = -PKI_DAY_S, .ends_s = -60};

    pki_issue(&w.pki, &request);
    w.server_ctx = context("server", false, true);
    w.client_ctx = context("client", false, true);
    connect_ends();
    DRIVE_UNTIL(w.server.closes == 1);
    cr_expect_eq(w.server.reason, -QR_EACCESS);
    cr_expect_not_null(strstr(w.server.text, "certificate has expired"), "%s",
                       w.server.text);
}

Test(stream_tls, a_client_without_a_certificate_is_refused)
{
    w.server_ctx = context("server", true, true);
    w.client_ctx = SSL_CTX_new(TLS_method());
    connect_ends();
    DRIVE_UNTIL(w.server.closes == 1);
    cr_expect_eq(w.server.reason, -QR_EACCESS);
    cr_expect_not_null(strstr(w.server.text, "did not return a certificate"),
                       "%s", w.server.text);
}

Test(stream_tls, what_is_not_tls_is_refused)
{
    w.server_ctx = context("server", true, true);
    connect_ends();
    stream_write(w.client.stream, "AMQP\0\0\x9\1 and more", 17);
    DRIVE_UNTIL(w.server.closes == 1);
    cr_expect_eq(w.server.reason, -QR_EACCESS);
    cr_expect_eq(w.server.in_size, 0);
}

Test(stream_tls, a_broken_record_ends_the_stream)
{
    secure_ends(true);
    /* Past its TLS, straight to the socket. */
    stream_queue_write(w.client.stream->wire, w.net,
                       "\x17\x3\x3\0\x20 thirty-two bytes of no meaning..", 37);
    stream_out_mark(w.client.stream);
    DRIVE_UNTIL(w.server.closes == 1);
    cr_expect_eq(w.server.reason, -QR_EFORMAT);
}

Test(stream_tls, renegotiation_is_refused)
{
    secure_ends(false);
    cr_expect_eq(SSL_renegotiate(tls_ssl(stream_tls(w.client.stream))), 0);
    cr_expect_eq(SSL_renegotiate(tls_ssl(stream_tls(w.server.stream))), 0);
}
