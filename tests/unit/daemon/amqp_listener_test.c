/* AMQP over real sockets of the loopback interface, on a loop of its own. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/amqp_listener.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"
#include "shard/env.h"
#include "unit/amqp/fake_broker.h"

enum {
    TURNS_MAX = 5000,
    TURN_MS = 1,
    QUIET_TURNS = 50
};

static uv_loop_t loop;
static uv_idle_t idle;
static uv_check_t check;
static struct env env;
static struct net *net;
static struct broker *broker;
static struct amqp_listener *listener;
static struct amqp_gate gate;
static uint16_t port;
static struct logger logger;
static struct buf lines;
static uint64_t ahead_ms; /* of the loop's clock */

static void
on_idle(uv_idle_t *handle)
{
    (void)handle;
}

static void
wake(struct env *e)
{
    (void)e;
    (void)uv_idle_start(&idle, on_idle);
}

static void
net_wake_up(void *arg)
{
    (void)arg;
    wake(NULL);
}

static uint64_t
now_ms(struct env *e)
{
    (void)e;
    return uv_now(&loop) + ahead_ms;
}

static uint64_t
wall_ms(struct env *e)
{
    (void)e;
    return 1;
}

static void
on_check(uv_check_t *handle)
{
    (void)handle;
    (void)uv_idle_stop(&idle);
    (void)timers_run(&env.timers, now_ms(&env), 100);
    fake_broker_run(broker);
    env_run_turn(&env);
    net_flush(net);
}

static void
on_line(void *arg, enum log_level level, const char *category, const char *text)
{
    (void)arg;
    (void)level;
    buf_putf(&lines, "%s: %s\n", category, text);
}

static void
setup(void)
{
    static const struct env_ops ops = {
        .now_ms = now_ms, .wall_ms = wall_ms, .wake = wake};
    struct amqp_config config = {.log = &logger, .heartbeat_s = 60};
    struct error err = {""};
    int fd = -1;

    buf_init(&lines);
    logger = (struct logger){on_line, NULL, LOG_DEBUG};
    cr_assert_eq(uv_loop_init(&loop), 0);
    net = net_new(&loop, net_wake_up, NULL);
    /* In one process the tests follow each other. */
    memset(&env, 0, sizeof(env));
    timers_init(&env.timers);
    env.ops = &ops;
    env.log = &logger;
    (void)uv_idle_init(&loop, &idle);
    (void)uv_check_init(&loop, &check);
    (void)uv_check_start(&check, on_check);
    broker = fake_broker_new();
    gate = (struct amqp_gate){.connections_max = 100, .handshakes_max = 100};
    listener = amqp_listener_new(&env, net, broker, &gate, &config);
    cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0, "%s",
                 err.text);
    port = listener_fd_port(fd);
    cr_assert_eq(amqp_listener_listen(listener, fd, NULL, &err), 0, "%s",
                 err.text);
}

static void
teardown(void)
{
    net_close_all(net);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    while (amqp_listener_clients(listener) > 0) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    cr_expect_eq(gate.connections, 0);
    cr_expect_eq(gate.handshakes, 0);
    amqp_listener_free(&listener);
    uv_close((uv_handle_t *)&idle, NULL);
    uv_close((uv_handle_t *)&check, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    net_free(&net);
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_expect_eq(fake_broker_stats(broker)->connections, 0);
    cr_expect_eq(fake_broker_stats(broker)->consumers, 0);
    fake_broker_free(&broker);
    timers_deinit(&env.timers);
    buf_deinit(&lines);
}

TestSuite(amqp_listener, .init = setup, .fini = teardown);

/* The client's end. */
struct peer {
    int fd;
    struct buf heard;
    size_t read;
    bool has_ended;
};

static void
peer_connect(struct peer *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    int on = 1;

    *p = (struct peer){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    buf_init(&p->heard);
    (void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    cr_assert_eq(connect(p->fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

static void
peer_close(struct peer *p)
{
    (void)close(p->fd);
    buf_deinit(&p->heard);
}

/* A turn of the loop, when something happens or a moment has passed. */
static void
turn(void)
{
    struct pollfd waiting = {.fd = uv_backend_fd(&loop), .events = POLLIN};

    (void)poll(&waiting, 1, TURN_MS);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* Take what is there, waiting a little. */
static void
peer_take(struct peer *p)
{
    struct pollfd waiting = {.fd = p->fd, .events = POLLIN};
    static uint8_t bytes[1 << 18];
    ssize_t size = 0;

    turn();
    if (poll(&waiting, 1, TURN_MS) != 1) {
        return;
    }
    size = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    p->has_ended = size <= 0;
    if (size > 0) {
        buf_put(&p->heard, bytes, (size_t)size);
    }
}

/* Until the server has ended the stream. */
static void
peer_wait_for_end(struct peer *p)
{
    for (int i = 0; i < TURNS_MAX && !p->has_ended; i++) {
        peer_take(p);
    }
}

static void
peer_say(struct peer *p, const void *data, size_t size)
{
    cr_assert_eq(send(p->fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void
peer_say_method(struct peer *p, uint16_t channel, const struct amqp_method *m)
{
    struct buf b;
    size_t mark = 0;

    buf_init(&b);
    mark = amqp_frame_begin(&b, AMQP_FRAME_METHOD, channel);
    amqp_method_encode(m, &b);
    amqp_frame_end(&b, mark);
    peer_say(p, b.data, b.size);
    buf_deinit(&b);
}

/* The next frame; its payload is valid until more is taken. */
static struct amqp_frame
peer_next(struct peer *p)
{
    struct amqp_frame frame = {0};
    size_t need = 0;
    int64_t taken = 0;

    for (int i = 0; i < TURNS_MAX && taken == 0; i++) {
        taken =
            amqp_frame_decode(p->heard.data + p->read, p->heard.size - p->read,
                              AMQP_FRAME_SIZE_MAX, &frame, &need);
        if (taken == 0) {
            peer_take(p);
        }
    }
    cr_assert_gt(taken, 0);
    p->read += (size_t)taken;
    return frame;
}

static struct amqp_method
peer_expect(struct peer *p, enum amqp_method_id id)
{
    struct amqp_frame frame = peer_next(p);
    struct amqp_method m;
    struct error err = {""};

    cr_assert_eq(frame.type, AMQP_FRAME_METHOD);
    cr_assert_eq(amqp_method_decode(frame.payload, frame.size, &m, &err), 0,
                 "%s", err.text);
    cr_assert_eq(m.id, id, "expected %s, got %s", amqp_method_name(id),
                 amqp_method_name(m.id));
    return m;
}

static void
peer_login(struct peer *p)
{
    struct amqp_method m = {.id = AMQP_connection_start_ok};

    peer_connect(p);
    peer_say(p, "AMQP\0\0\x9\1", 8);
    (void)peer_expect(p, AMQP_connection_start);
    m.connection_start_ok.client_properties = amqp_text("");
    m.connection_start_ok.mechanism = amqp_text("PLAIN");
    m.connection_start_ok.response = (struct amqp_text){"\0guest\0guest", 12};
    m.connection_start_ok.locale = amqp_text("en_US");
    peer_say_method(p, 0, &m);
    m = peer_expect(p, AMQP_connection_tune);
    m.id = AMQP_connection_tune_ok;
    peer_say_method(p, 0, &m);
    m.id = AMQP_connection_open;
    m.connection_open.virtual_host = amqp_text("/");
    m.connection_open.reserved_1 = amqp_text("");
    m.connection_open.reserved_2 = false;
    peer_say_method(p, 0, &m);
    (void)peer_expect(p, AMQP_connection_open_ok);
    m.id = AMQP_channel_open;
    m.channel_open.reserved_1 = amqp_text("");
    peer_say_method(p, 1, &m);
    (void)peer_expect(p, AMQP_channel_open_ok);
}

static void
peer_consume(struct peer *p, bool no_ack)
{
    struct amqp_method m = {.id = AMQP_basic_consume};

    m.basic_consume.queue = amqp_text("q");
    m.basic_consume.consumer_tag = amqp_text("t");
    m.basic_consume.no_ack = no_ack;
    m.basic_consume.arguments = amqp_text("");
    peer_say_method(p, 1, &m);
    (void)peer_expect(p, AMQP_basic_consume_ok);
}

Test(amqp_listener, serves_a_client)
{
    struct peer p;
    struct amqp_method m;

    fake_broker_fill(broker, "q", 2, 200000);
    peer_login(&p);
    cr_assert(fake_broker_stats(broker)->last_is_loopback);
    cr_assert_eq(amqp_listener_clients(listener), 1);
    peer_consume(&p, false);
    for (int i = 0; i < 2; i++) {
        (void)peer_expect(&p, AMQP_basic_deliver);
        for (int k = 0; k < 3; k++) {
            (void)peer_next(&p); /* a header, and a body in two */
        }
    }
    m = (struct amqp_method){.id = AMQP_connection_close};
    m.connection_close.reply_code = 200;
    m.connection_close.reply_text = amqp_text("");
    peer_say_method(&p, 0, &m);
    (void)peer_expect(&p, AMQP_connection_close_ok);
    peer_wait_for_end(&p);
    cr_assert(p.has_ended);
    peer_close(&p);
    cr_assert_eq(fake_broker_ready(broker, "q"), 2);
}

Test(amqp_listener, another_protocol_is_answered_and_closed)
{
    struct peer p;

    peer_connect(&p);
    peer_say(&p, "GET / HTTP/1.0\r\n\r\n", 18);
    peer_wait_for_end(&p);
    cr_assert(p.has_ended);
    cr_assert_eq(p.heard.size, 8);
    cr_assert_arr_eq(p.heard.data, "AMQP\0\0\x9\1", 8);
    peer_close(&p);
}

Test(amqp_listener, a_client_that_vanishes_is_forgotten)
{
    struct peer p;

    fake_broker_fill(broker, "q", 5, 10);
    peer_login(&p);
    peer_consume(&p, false);
    cr_assert_eq(fake_broker_ready(broker, "q"), 0);
    peer_close(&p);
    for (int i = 0; i < TURNS_MAX && amqp_listener_clients(listener) > 0; i++) {
        turn();
    }
    cr_assert_eq(amqp_listener_clients(listener), 0);
    cr_assert_eq(fake_broker_ready(broker, "q"), 5);
    cr_assert_not_null(memmem(lines.data, lines.size, "unexpectedly", 12));
}

/* Bytes that were sent and not acknowledged stay within the credit, whatever
 * the length of the queue. */
Test(amqp_listener, a_reader_without_acknowledgements_is_paced)
{
    struct peer p;
    size_t left = 0;
    size_t bodies = 0;

    fake_broker_fill(broker, "q", 1500, 20000);
    peer_login(&p);
    peer_consume(&p, true);
    for (int i = 0; i < QUIET_TURNS; i++) {
        turn();
    }
    /* What the kernel takes, and one credit beyond it. */
    left = fake_broker_ready(broker, "q");
    cr_assert_gt(left, 0);
    for (int i = 0; i < QUIET_TURNS; i++) {
        turn();
    }
    cr_assert_eq(fake_broker_ready(broker, "q"), left);
    while (bodies < 1500) {
        bodies += peer_next(&p).type == AMQP_FRAME_BODY ? 1 : 0;
        if (p.read > 1 << 20) {
            buf_consume(&p.heard, p.read);
            p.read = 0;
        }
    }
    for (int i = 0; i < TURNS_MAX && fake_broker_stats(broker)->acked < 1500;
         i++) {
        turn();
    }
    cr_assert_eq(fake_broker_stats(broker)->acked, 1500);
    peer_close(&p);
}

Test(amqp_listener, stopping_tells_clients_and_refuses_new_ones)
{
    struct peer p;
    struct amqp_method m;

    peer_login(&p);
    amqp_listener_stop(listener);
    m = peer_expect(&p, AMQP_connection_close);
    cr_assert_eq(m.connection_close.reply_code, 320);
    m = (struct amqp_method){.id = AMQP_connection_close_ok};
    peer_say_method(&p, 0, &m);
    for (int i = 0; i < TURNS_MAX && amqp_listener_clients(listener) > 0; i++) {
        peer_take(&p);
    }
    cr_assert_eq(amqp_listener_clients(listener), 0);
    peer_close(&p);
}

Test(amqp_listener, an_alarm_holds_publishers_that_come_later_too)
{
    struct peer p;
    struct amqp_method m = {.id = AMQP_basic_publish};

    amqp_listener_block(listener, "low on memory");
    peer_login(&p);
    m.basic_publish.exchange = amqp_text("");
    m.basic_publish.routing_key = amqp_text("q");
    peer_say_method(&p, 1, &m);
    peer_say(&p, "\2\0\1\0\0\0\xe\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0\xce", 22);
    for (int i = 0; i < QUIET_TURNS; i++) {
        turn();
    }
    cr_assert_eq(fake_broker_stats(broker)->published, 0);
    amqp_listener_block(listener, NULL);
    for (int i = 0; i < TURNS_MAX && fake_broker_stats(broker)->published == 0;
         i++) {
        turn();
    }
    cr_assert_eq(fake_broker_stats(broker)->published, 1);
    peer_close(&p);
}

Test(amqp_listener, ticks_reach_the_connection)
{
    struct peer p;

    peer_login(&p);
    /* The first finds that something was sent, the second does not. */
    for (int i = 0; i < 2; i++) {
        ahead_ms += 30000;
        turn();
    }
    cr_assert_eq(peer_next(&p).type, AMQP_FRAME_HEARTBEAT);
    peer_close(&p);
}

Test(amqp_listener, sockets_have_a_limit)
{
    struct error err = {""};
    int fd = -1;

    for (int i = 1; i < AMQP_LISTENER_SOCKETS_MAX; i++) {
        cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0);
        cr_assert_eq(amqp_listener_listen(listener, fd, NULL, &err), 0);
    }
    cr_assert_eq(listener_bind_tcp("127.0.0.1", 0, &fd, &err), 0);
    cr_assert_eq(amqp_listener_listen(listener, fd, NULL, &err), -QR_EBUSY);
    cr_assert_neq(err.text[0], '\0');
}

static bool
is_logged(const char *text)
{
    return memmem(lines.data, lines.size, text, strlen(text)) != NULL;
}

Test(amqp_listener, connections_have_a_maximum)
{
    struct peer a;
    struct peer b;
    struct peer c;

    gate.connections_max = 2;
    peer_login(&a);
    peer_login(&b);
    peer_connect(&c);
    peer_wait_for_end(&c);
    cr_assert(c.has_ended);
    cr_assert(is_logged("connection_max is reached"));
    peer_close(&a);
    while (gate.connections > 1) {
        turn();
    }
    peer_close(&c);
    peer_login(&c);
    peer_close(&b);
    peer_close(&c);
}

Test(amqp_listener, the_oldest_handshake_makes_room)
{
    struct peer slow[3];
    struct peer p;

    gate.handshakes_max = ARRAY_COUNT(slow);
    for (size_t i = 0; i < ARRAY_COUNT(slow); i++) {
        peer_connect(&slow[i]);
        peer_say(&slow[i], "AMQ", 3);
    }
    while (gate.handshakes < ARRAY_COUNT(slow)) {
        turn();
    }
    peer_connect(&p);
    peer_wait_for_end(&p);
    cr_assert(p.has_ended, "all of them are young: it is one too many");
    peer_close(&p);
    ahead_ms += AMQP_LISTENER_GRACE_MS;
    peer_login(&p);
    peer_wait_for_end(&slow[0]);
    cr_assert(slow[0].has_ended);
    cr_assert_not(slow[1].has_ended);
    cr_assert_eq(gate.handshakes, ARRAY_COUNT(slow) - 1);
    peer_close(&p);
    for (size_t i = 0; i < ARRAY_COUNT(slow); i++) {
        peer_close(&slow[i]);
    }
}

Test(amqp_listener, who_has_an_open_vhost_is_in_no_handshake)
{
    struct peer a;
    struct peer b;

    gate.handshakes_max = 1;
    peer_login(&a);
    cr_assert_eq(gate.handshakes, 0);
    ahead_ms += AMQP_LISTENER_GRACE_MS;
    peer_login(&b);
    cr_assert_eq(gate.connections, 2);
    cr_assert_not(a.has_ended);
    peer_close(&a);
    peer_close(&b);
}
