/* Streams over loopback and Unix-domain sockets, both ends in one loop. */
#include <fcntl.h>
#include <quorate/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/stream.h"
#include "net/stream_internal.h"

enum {
    DEADLINE_MS = 10000,
    INPUT_MAX = 8 << 20
};

/* One end of a connection, and what it saw. */
struct end {
    struct stream *stream;
    uint8_t *in;
    size_t in_size;
    size_t unit;     /* consume only whole units of this many bytes */
    size_t need;     /* ask for this much when there is less than a unit */
    size_t seen_max; /* longest slice offered */
    struct slice kept;
    bool keep;
    int drains;
    int closes;
    int reason;
    bool stop_on_data;
};

struct world {
    uv_loop_t loop;
    uv_timer_t deadline;
    struct net *net;
    struct listener *listener;
    uint16_t port;
    struct end client;
    struct end server;
    int connect_calls;
    int connect_error;
    bool late;
};

static size_t
end_on_data(void *arg, const struct slice *bytes)
{
    struct end *e = arg;
    size_t used = bytes->size;

    e->seen_max = bytes->size > e->seen_max ? bytes->size : e->seen_max;
    if (e->unit > 0) {
        used -= used % e->unit;
        if (used == 0 && e->need > 0) {
            stream_need(e->stream, e->need);
        }
    }
    cr_assert_leq(e->in_size + used, INPUT_MAX);
    memcpy(e->in + e->in_size, bytes->data, used);
    e->in_size += used;
    if (e->keep && e->kept.block == NULL) {
        e->kept = slice_sub(bytes, 0, used);
    }
    if (e->stop_on_data) {
        stream_read_stop(e->stream);
    }
    return used;
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

    cr_assert_not_null(text);
    e->closes++;
    e->reason = reason;
    e->stream = NULL;
}

static void
end_start(struct end *e, struct stream *s)
{
    struct stream_events events = {.arg = e,
                                   .on_data = end_on_data,
                                   .on_drain = end_on_drain,
                                   .on_close = end_on_close};

    e->stream = s;
    stream_start(s, &events);
}

static void
on_accept(void *arg, struct stream *s)
{
    struct world *w = arg;

    if (w->server.stream != NULL) {
        stream_close(s);
        return;
    }
    end_start(&w->server, s);
}

static void
on_connect(void *arg, struct stream *s, int error)
{
    struct world *w = arg;

    w->connect_calls++;
    w->connect_error = error;
    if (s != NULL) {
        end_start(&w->client, s);
    }
}

static void
on_deadline(uv_timer_t *timer)
{
    struct world *w = timer->data;

    w->late = true;
}

static void
turn(struct world *w)
{
    net_flush(w->net);
    uv_run(&w->loop, UV_RUN_ONCE);
    cr_assert(!w->late, "deadline");
}

#define DRIVE_UNTIL(w, cond) \
    do {                     \
        while (!(cond)) {    \
            turn(w);         \
        }                    \
    } while (0)

static void
world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    cr_assert_eq(uv_timer_init(&w->loop, &w->deadline), 0);
    w->deadline.data = w;
    uv_timer_start(&w->deadline, on_deadline, DEADLINE_MS, 0);
    w->net = net_new(&w->loop, NULL, NULL);
    w->client.in = mem_alloc(INPUT_MAX);
    w->server.in = mem_alloc(INPUT_MAX);
}

static void
world_listen(struct world *w)
{
    struct error err;
    int fd = -1;

    cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0, "%s",
                 err.text);
    w->port = listener_fd_port(fd);
    cr_assert_neq(w->port, 0);
    cr_assert_eq(listener_start(w->net, fd, on_accept, w, &w->listener, &err),
                 0);
}

static void
world_connect(struct world *w)
{
    world_listen(w);
    stream_connect(w->net, "127.0.0.1", w->port, 2000, on_connect, w);
    DRIVE_UNTIL(w, w->client.stream != NULL && w->server.stream != NULL);
}

static void
world_deinit(struct world *w)
{
    net_close_all(w->net);
    uv_close((uv_handle_t *)&w->deadline, NULL);
    cr_assert_eq(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(net_streams(w->net), 0);
    net_free(&w->net);
    cr_expect_eq(uv_loop_close(&w->loop), 0);
    slice_unref(&w->client.kept);
    slice_unref(&w->server.kept);
    mem_free(w->client.in);
    mem_free(w->server.in);
}

Test(stream, carries_bytes_both_ways)
{
    struct world w;

    world_init(&w);
    world_connect(&w);
    stream_write(w.client.stream, "ping", 4);
    DRIVE_UNTIL(&w, w.server.in_size == 4);
    stream_write(w.server.stream, "pong!", 5);
    DRIVE_UNTIL(&w, w.client.in_size == 5);
    cr_expect_eq(memcmp(w.server.in, "ping", 4), 0);
    cr_expect_eq(memcmp(w.client.in, "pong!", 5), 0);
    cr_expect_eq(stream_bytes_in(w.server.stream), 4);
    cr_expect_eq(stream_bytes_out(w.server.stream), 5);
    world_deinit(&w);
}

Test(stream, knows_its_addresses)
{
    struct world w;
    char name[128];

    world_init(&w);
    world_connect(&w);
    cr_expect_str_eq(stream_peer_host(w.server.stream), "127.0.0.1");
    cr_expect_str_eq(stream_own_host(w.server.stream), "127.0.0.1");
    cr_expect_eq(stream_own_port(w.server.stream), w.port);
    cr_expect_eq(stream_peer_port(w.client.stream), w.port);
    cr_expect_eq(stream_peer_port(w.server.stream),
                 stream_own_port(w.client.stream));
    snprintf(name, sizeof(name), "127.0.0.1:%u -> 127.0.0.1:%u",
             stream_own_port(w.client.stream), w.port);
    cr_expect_str_eq(stream_name(w.server.stream), name);
    world_deinit(&w);
}

Test(stream, keeps_order_of_copies_and_slices)
{
    struct world w;
    struct rng rng;
    uint8_t *sent = mem_alloc(INPUT_MAX);
    size_t size = 0;

    world_init(&w);
    world_connect(&w);
    rng_init(&rng, 7);
    rng_fill(&rng, sent, INPUT_MAX);
    while (size < INPUT_MAX - 200000) {
        size_t part =
            (size_t)rng_below(&rng, rng_chance(&rng, 50000) ? 200000 : 2000);
        uint64_t how = rng_below(&rng, 3);

        if (how == 0) {
            stream_write(w.client.stream, sent + size, part);
        } else if (how == 1) {
            struct slice s = slice_copy(sent + size, part);

            stream_write_slice(w.client.stream, &s);
            cr_assert_null(s.block);
        } else {
            memcpy(stream_reserve(w.client.stream, part > 16384 ? 16384 : part),
                   sent + size, part > 16384 ? 16384 : part);
            part = part > 16384 ? 16384 : part;
            stream_commit(w.client.stream, part);
        }
        size += part;
        if (rng_chance(&rng, 30000)) {
            turn(&w);
        }
    }
    DRIVE_UNTIL(&w, w.server.in_size == size);
    cr_expect_eq(memcmp(w.server.in, sent, size), 0);
    cr_expect_eq(stream_backlog(w.client.stream), 0);
    mem_free(sent);
    world_deinit(&w);
}

/* Units that no read ends with: leftovers are carried over every time. */
static void
check_carry(size_t unit, size_t need)
{
    struct world w;
    struct rng rng;
    uint8_t *sent = mem_alloc(INPUT_MAX);
    size_t size = unit * (4000000 / unit);

    world_init(&w);
    world_connect(&w);
    w.server.unit = unit;
    w.server.need = need;
    rng_init(&rng, unit);
    rng_fill(&rng, sent, size);
    stream_write(w.client.stream, sent, size);
    DRIVE_UNTIL(&w, w.server.in_size == size);
    cr_expect_eq(memcmp(w.server.in, sent, size), 0);
    cr_expect_geq(w.server.seen_max, unit);
    mem_free(sent);
    world_deinit(&w);
}

Test(stream, carries_over_small_leftovers)
{
    check_carry(7, 0);
    check_carry(9999, 0);
}

Test(stream, carries_over_leftovers_larger_than_a_block)
{
    check_carry(300007, 0);
    check_carry(300007, 300007);
}

/* Half a frame, and then nothing for long, while others read a lot. */
Test(stream, an_unfinished_frame_costs_its_own_size)
{
    struct world w;
    uint8_t *sent = mem_zalloc(1, 1 << 20);

    world_init(&w);
    world_connect(&w);
    w.server.unit = 10;
    stream_write(w.client.stream, "01234", 5);
    DRIVE_UNTIL(&w, w.server.seen_max == 5);
    cr_expect_eq(w.server.stream->in.block->size, NET_READ_BLOCK_SIZE);
    w.client.unit = 4096; /* leaves something, too */
    stream_write(w.server.stream, sent, 1 << 20);
    DRIVE_UNTIL(&w, w.client.in_size == 1 << 20);
    cr_expect_eq(w.server.stream->in.block->size, 5);
    stream_write(w.client.stream, "56789", 5);
    DRIVE_UNTIL(&w, w.server.in_size == 10);
    cr_expect_eq(memcmp(w.server.in, "0123456789", 10), 0);
    mem_free(sent);
    world_deinit(&w);
}

Test(stream, leaves_kept_bytes_alone)
{
    struct world w;
    uint8_t *junk = mem_zalloc(1, 1 << 20);

    world_init(&w);
    world_connect(&w);
    w.server.keep = true;
    stream_write(w.client.stream, "keep me", 7);
    DRIVE_UNTIL(&w, w.server.in_size == 7);
    stream_write(w.client.stream, junk, 1 << 20);
    DRIVE_UNTIL(&w, w.server.in_size == 7 + (1 << 20));
    cr_expect_eq(w.server.kept.size, 7);
    cr_expect_eq(memcmp(w.server.kept.data, "keep me", 7), 0);
    mem_free(junk);
    world_deinit(&w);
}

Test(stream, stops_reading_and_tells_when_the_backlog_has_drained)
{
    struct world w;
    struct slice big = slice_of_block(block_new(6 << 20));

    memset(big.block->data, 0x5a, big.size);
    world_init(&w);
    world_connect(&w);
    stream_read_stop(w.server.stream);
    cr_expect(!stream_is_reading(w.server.stream));
    stream_write_slice(w.client.stream, &big);
    for (int i = 0; i < 20; i++) {
        stream_write(w.client.stream, "x", 1); /* keeps the turn short */
        net_flush(w.net);
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
    cr_expect_eq(w.server.in_size, 0);
    cr_expect_gt(stream_backlog(w.client.stream), STREAM_DRAIN_HIGH);
    cr_expect_eq(w.client.drains, 0);
    stream_read_start(w.server.stream);
    DRIVE_UNTIL(&w, w.server.in_size == (6 << 20) + 20);
    DRIVE_UNTIL(&w, w.client.drains == 1);
    world_deinit(&w);
}

Test(stream, gives_leftovers_again_after_a_stop)
{
    struct world w;

    world_init(&w);
    world_connect(&w);
    w.server.unit = 10;
    w.server.stop_on_data = true;
    stream_write(w.client.stream, "0123456", 7);
    DRIVE_UNTIL(&w, !stream_is_reading(w.server.stream));
    cr_expect_eq(w.server.in_size, 0);
    w.server.unit = 7;
    stream_read_start(w.server.stream);
    cr_expect_eq(w.server.in_size, 0, "not within the call");
    net_flush(w.net);
    cr_expect_eq(w.server.in_size, 7);
    world_deinit(&w);
}

Test(stream, shut_sends_what_is_queued_first)
{
    struct world w;
    size_t size = 5 << 20;
    uint8_t *junk = mem_zalloc(1, size);

    world_init(&w);
    world_connect(&w);
    /* Unread bytes at the closing side must not turn its end into a reset. */
    stream_read_stop(w.client.stream);
    stream_write(w.server.stream, "unread", 6);
    net_flush(w.net);
    stream_write(w.client.stream, junk, size);
    stream_shut(w.client.stream, 5000);
    cr_expect(stream_is_closing(w.client.stream));
    stream_write(w.client.stream, "ignored", 7);
    DRIVE_UNTIL(&w, w.server.closes == 1 && w.client.closes == 1);
    cr_expect_eq(w.server.in_size, size);
    cr_expect_eq(w.server.reason, 0);
    cr_expect_eq(w.client.reason, 0);
    mem_free(junk);
    world_deinit(&w);
}

Test(stream, shut_gives_up_at_its_deadline)
{
    struct world w;
    size_t size = 32 << 20;
    uint8_t *junk = mem_zalloc(1, size);

    world_init(&w);
    world_connect(&w);
    stream_read_stop(w.server.stream);
    stream_write(w.client.stream, junk, size);
    stream_shut(w.client.stream, 50);
    DRIVE_UNTIL(&w, w.client.closes == 1);
    cr_expect_eq(w.client.reason, -QR_ETIMEOUT);
    mem_free(junk);
    world_deinit(&w);
}

Test(stream, tells_the_peer_s_end_once)
{
    struct world w;

    world_init(&w);
    world_connect(&w);
    stream_close(w.client.stream);
    stream_close(w.client.stream);
    cr_expect_eq(w.client.closes, 0, "not within the call");
    DRIVE_UNTIL(&w, w.server.closes == 1 && w.client.closes == 1);
    cr_expect_eq(w.server.reason, 0);
    world_deinit(&w);
    cr_expect_eq(w.client.closes, 1);
}

Test(stream, tells_a_reset_as_an_error)
{
    struct world w;

    world_init(&w);
    world_connect(&w);
    stream_read_stop(w.client.stream);
    stream_write(w.server.stream, "never read", 10);
    net_flush(w.net);
    stream_close(w.client.stream);
    DRIVE_UNTIL(&w, w.server.closes == 1);
    cr_expect_eq(w.server.reason, -QR_EIO);
    world_deinit(&w);
}

Test(stream, says_that_nobody_listens)
{
    struct world w;
    struct error err;
    int fd = -1;

    world_init(&w);
    cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0);
    stream_connect(w.net, "127.0.0.1", listener_fd_port(fd), 2000, on_connect,
                   &w);
    cr_expect_eq(w.connect_calls, 0, "not within the call");
    DRIVE_UNTIL(&w, w.connect_calls == 1);
    cr_expect_eq(w.connect_error, UV_ECONNREFUSED);
    close(fd);
    world_deinit(&w);
}

Test(stream, connects_by_name_to_whichever_address_answers)
{
    struct world w;

    world_init(&w);
    world_listen(&w);
    stream_connect(w.net, "localhost", w.port, 5000, on_connect, &w);
    DRIVE_UNTIL(&w, w.connect_calls == 1);
    cr_expect_eq(w.connect_error, 0);
    cr_expect_not_null(w.client.stream);
    world_deinit(&w);
}

Test(stream, says_that_a_name_does_not_resolve)
{
    struct world w;

    world_init(&w);
    stream_connect(w.net, "no.such.host.invalid", 1, 8000, on_connect, &w);
    DRIVE_UNTIL(&w, w.connect_calls == 1);
    cr_expect_lt(w.connect_error, 0);
    cr_expect_null(w.client.stream);
    world_deinit(&w);
}

Test(stream, a_cancelled_attempt_reports_nothing)
{
    struct world w;

    world_init(&w);
    world_listen(&w);
    stream_connect_cancel(
        stream_connect(w.net, "127.0.0.1", w.port, 2000, on_connect, &w));
    stream_connect_cancel(
        stream_connect(w.net, "localhost", w.port, 2000, on_connect, &w));
    stream_connect(w.net, "127.0.0.1", w.port, 2000, on_connect, &w);
    DRIVE_UNTIL(&w, w.client.stream != NULL);
    cr_expect_eq(w.connect_calls, 1);
    world_deinit(&w);
}

Test(listener, refuses_an_address_that_is_taken)
{
    struct world w;
    struct error err;
    int fd = -1;

    world_init(&w);
    world_listen(&w);
    cr_expect_eq(listener_bind_tcp("127.0.0.1", w.port, &fd, &err), -QR_EIO);
    cr_expect_not_null(strstr(err.text, "127.0.0.1"));
    cr_expect_eq(listener_bind_tcp("no.such.host.invalid", 0, &fd, &err),
                 -QR_EINVAL);
    cr_expect_eq(fd, -1);
    world_deinit(&w);
}

Test(listener, accepts_on_every_duplicate)
{
    struct world w;
    struct listener *other = NULL;
    struct error err;
    int fd = -1;
    int copy = -1;

    world_init(&w);
    cr_assert_eq(listener_bind_tcp("", 0, &fd, &err), 0, "%s", err.text);
    w.port = listener_fd_port(fd);
    cr_assert_eq(listener_dup(fd, &copy, &err), 0);
    cr_assert_eq(listener_start(w.net, fd, on_accept, &w, &w.listener, &err),
                 0);
    cr_assert_eq(listener_start(w.net, copy, on_accept, &w, &other, &err), 0);
    listener_close(&w.listener, NULL, NULL);
    cr_expect_null(w.listener);
    turn(&w);
    stream_connect(w.net, "127.0.0.1", w.port, 2000, on_connect, &w);
    DRIVE_UNTIL(&w, w.server.stream != NULL && w.client.stream != NULL);
    cr_expect_str_eq(stream_peer_host(w.server.stream), "127.0.0.1");
    world_deinit(&w);
}

Test(listener, makes_a_unix_socket_for_its_owner_alone)
{
    struct world w;
    struct error err;
    struct stat st;
    char dir[] = "/tmp/net-test-XXXXXX";
    char path[64];
    int fd = -1;

    world_init(&w);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/ctl.sock", dir);
    cr_assert_eq(listener_bind_unix(path, &fd, &err), 0, "%s", err.text);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(listener_start(w.net, fd, on_accept, &w, &w.listener, &err),
                 0);
    stream_connect(w.net, path, 0, 2000, on_connect, &w);
    DRIVE_UNTIL(&w, w.server.stream != NULL && w.client.stream != NULL);
    stream_write(w.client.stream, "hello", 5);
    DRIVE_UNTIL(&w, w.server.in_size == 5);
    cr_expect_eq(listener_bind_unix(path, &fd, &err), -QR_EEXIST,
                 "one that answers is not replaced");
    listener_close(&w.listener, NULL, NULL);
    turn(&w);
    cr_expect_eq(listener_bind_unix(path, &fd, &err), 0,
                 "one left behind is: %s", err.text);
    close(fd);
    unlink(path);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    cr_expect_eq(listener_bind_unix(path, &fd, &err), -QR_EEXIST,
                 "a file is not touched");
    unlink(path);
    rmdir(dir);
    world_deinit(&w);
}

/* Connect to PATH as user nobody; how many bytes come before its end. */
static int
connect_as_nobody(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte = 0;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    if (setuid(65534) != 0 ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        return -1;
    }
    return (int)read(fd, &byte, 1);
}

Test(listener, closes_on_other_users)
{
    struct world w;
    struct error err;
    char dir[] = "/tmp/net-test-XXXXXX";
    char path[64];
    int fd = -1;
    int status = 0;
    pid_t child = 0;

    if (geteuid() != 0) {
        cr_log_info("needs root, to be somebody else");
        return;
    }
    world_init(&w);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/ctl.sock", dir);
    cr_assert_eq(listener_bind_unix(path, &fd, &err), 0);
    /* Somebody has opened the door; who comes in is still checked. */
    cr_assert_eq(chmod(path, 0777), 0);
    cr_assert_eq(chmod(dir, 0777), 0);
    cr_assert_eq(listener_start(w.net, fd, on_accept, &w, &w.listener, &err),
                 0);
    child = fork();
    if (child == 0) {
        _exit(connect_as_nobody(path) == 0 ? 7 : 1);
    }
    while (waitpid(child, &status, WNOHANG) == 0) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        cr_assert(!w.late);
    }
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    cr_expect_null(w.server.stream);
    unlink(path);
    rmdir(dir);
    world_deinit(&w);
}

Test(listener, refuses_a_path_too_long)
{
    char path[LISTENER_PATH_SIZE + 1];
    struct error err;
    int fd = -1;

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[LISTENER_PATH_SIZE] = '\0';
    cr_expect_eq(listener_bind_unix(path, &fd, &err), -QR_ETOOBIG);
}
