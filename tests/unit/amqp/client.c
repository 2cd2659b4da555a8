/* See client.h. */
#include "client.h"

#include <quorate/error.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/slice.h"
#include "lib/harness.h"

static void
on_write(void *arg, const void *data, size_t size)
{
    struct client *c = arg;

    cr_assert_not(c->is_closed, "written after it was closed");
    buf_put(&c->heard, data, size);
    c->backlog += c->has_no_backlog ? 0 : size;
}

static void
on_write_slice(void *arg, struct slice *slice)
{
    struct client *c = arg;

    on_write(arg, slice->data, slice->size);
    c->slices++;
    slice_unref(slice);
}

static void
on_read(void *arg, bool on)
{
    struct client *c = arg;

    cr_assert_neq(c->is_reading, on, "told twice to read or not");
    c->is_reading = on;
}

static void
on_close(void *arg, bool flush)
{
    struct client *c = arg;

    cr_assert_not(c->is_closed, "closed twice");
    c->is_closed = true;
    c->is_flushed = flush;
}

static void
on_want_turn(void *arg)
{
    struct client *c = arg;

    cr_assert_not(c->wants_turn, "asked twice for a turn");
    c->wants_turn = true;
}

static void
on_deadline(void *arg, uint64_t at_ms)
{
    ((struct client *)arg)->deadline_ms = at_ms;
}

static uint64_t
on_now(void *arg)
{
    return ((struct client *)arg)->now_ms;
}

static void
on_log(void *arg, enum log_level level, const char *category, const char *text)
{
    struct client *c = arg;

    (void)level;
    buf_putf(&c->log, "%s: %s\n", category, text);
}

void
client_init(struct client *c)
{
    client_init_certified(c, NULL, 0);
}

void
client_init_certified(struct client *c, const char *user, unsigned mechanisms)
{
    struct amqp_peer peer = {
        .name = "127.0.0.1:40000 -> 127.0.0.1:5672",
        .host = "127.0.0.1",
        .port = 40000,
        .own_port = 5672,
        .is_loopback = true,
        .wall_ms = 1,
        .certified_user = user,
    };
    struct amqp_transport transport = {
        .arg = c,
        .write = on_write,
        .write_slice = on_write_slice,
        .read = on_read,
        .close = on_close,
        .want_turn = on_want_turn,
        .deadline = on_deadline,
        .now_ms = on_now,
    };

    *c = (struct client){.is_reading = true, .has_no_backlog = true};
    c->now_ms = 1000;
    c->deadline_ms = UINT64_MAX;
    buf_init(&c->log);
    buf_init(&c->sent);
    buf_init(&c->heard);
    buf_init(&c->body);
    c->logger = (struct logger){on_log, c, LOG_DEBUG};
    c->config = (struct amqp_config){
        .log = &c->logger, .heartbeat_s = 60, .mechanisms = mechanisms};
    c->broker = fake_broker_new();
    c->connection =
        amqp_connection_new(&c->config, c->broker, &peer, &transport);
}

void
client_deinit(struct client *c)
{
    amqp_connection_free(&c->connection);
    cr_expect_eq(fake_broker_stats(c->broker)->consumers, 0);
    cr_expect_eq(fake_broker_stats(c->broker)->publishers, 0);
    cr_expect_eq(fake_broker_stats(c->broker)->connections, 0);
    cr_expect_eq(fake_broker_stats(c->broker)->calls, 0);
    fake_broker_free(&c->broker);
    buf_deinit(&c->log);
    buf_deinit(&c->sent);
    buf_deinit(&c->heard);
    buf_deinit(&c->body);
}

void
client_put(struct client *c, const void *data, size_t size)
{
    buf_put(&c->sent, data, size);
}

void
client_put_method(struct client *c, uint16_t channel,
                  const struct amqp_method *m)
{
    size_t mark = amqp_frame_begin(&c->sent, AMQP_FRAME_METHOD, channel);

    amqp_method_encode(m, &c->sent);
    amqp_frame_end(&c->sent, mark);
}

void
client_put_header(struct client *c, uint16_t channel, uint64_t body_size)
{
    size_t mark = amqp_frame_begin(&c->sent, AMQP_FRAME_HEADER, channel);

    amqp_content_head(&c->sent, body_size);
    buf_put_u16be(&c->sent, 0);
    amqp_frame_end(&c->sent, mark);
}

void
client_put_body(struct client *c, uint16_t channel, const void *data,
                size_t size)
{
    size_t mark = amqp_frame_begin(&c->sent, AMQP_FRAME_BODY, channel);

    buf_put(&c->sent, data, size);
    amqp_frame_end(&c->sent, mark);
}

void
client_put_publish(struct client *c, uint16_t channel, const char *exchange,
                   const char *key, const void *body, size_t size, size_t frame)
{
    struct amqp_method m = {.id = AMQP_basic_publish};
    const uint8_t *at = body;

    m.basic_publish.exchange = client_text(exchange);
    m.basic_publish.routing_key = client_text(key);
    client_put_method(c, channel, &m);
    client_put_header(c, channel, size);
    while (size > 0) {
        size_t count = MIN(size, frame);

        client_put_body(c, channel, at, count);
        at += count;
        size -= count;
    }
}

/* Show the connection the first SIZE bytes; they lie in a block of their own,
 * so that references beyond it are found by the sanitizer. */
static size_t
client_show(struct client *c, size_t size)
{
    struct slice bytes = slice_copy(c->sent.data, size);
    size_t used = amqp_connection_input(c->connection, &bytes);

    slice_unref(&bytes);
    cr_assert_leq(used, size);
    buf_consume(&c->sent, used);
    return used;
}

static void
client_feed(struct client *c)
{
    size_t shown = 0;

    while (c->sent.size > 0 && c->is_reading && !c->is_closed) {
        size_t more = c->piece > 0 ? c->piece : c->sent.size;
        size_t used = 0;

        shown = MIN(shown + more, c->sent.size);
        used = client_show(c, shown);
        shown -= used;
        if (used == 0 && shown == c->sent.size) {
            return;
        }
    }
}

static void
client_turn(struct client *c)
{
    if (!c->wants_turn) {
        return;
    }
    c->wants_turn = false;
    amqp_connection_turn(c->connection);
    amqp_connection_writable(c->connection, c->backlog);
}

void
client_pump(struct client *c)
{
    const struct amqp_connection *connection = c->connection;
    size_t before = 0;

    /* A turn takes no more than a share of it. */
    do {
        before = c->sent.size + connection->waiting_frames;
        for (int i = 0; i < 4; i++) {
            client_feed(c);
            fake_broker_run(c->broker);
            client_turn(c);
        }
    } while (c->sent.size + connection->waiting_frames < before);
}

void
client_send(struct client *c, uint16_t channel, const struct amqp_method *m)
{
    client_put_method(c, channel, m);
    client_pump(c);
}

static struct amqp_frame
client_next(struct client *c, const char *what)
{
    struct amqp_frame frame = {0};
    size_t need = 0;
    int64_t taken =
        amqp_frame_decode(c->heard.data + c->read, c->heard.size - c->read,
                          AMQP_FRAME_SIZE_MAX, &frame, &need);

    cr_assert_gt(taken, 0, "expected %s, got nothing whole", what);
    c->read += (size_t)taken;
    return frame;
}

void
client_expect(struct client *c, uint16_t channel, enum amqp_method_id id)
{
    struct amqp_frame frame = client_next(c, amqp_method_name(id));
    struct error err = {""};
    int rv = 0;

    cr_assert_eq(frame.type, AMQP_FRAME_METHOD, "expected %s",
                 amqp_method_name(id));
    rv = amqp_method_decode(frame.payload, frame.size, &c->method, &err);
    cr_assert_eq(rv, 0, "%s", err.text);
    cr_assert_eq(c->method.id, id, "expected %s, got %s: %.*s",
                 amqp_method_name(id), amqp_method_name(c->method.id),
                 (int)frame.size, (const char *)frame.payload);
    cr_assert_eq(frame.channel, channel);
}

void
client_expect_content(struct client *c, uint16_t channel,
                      enum amqp_method_id id)
{
    struct amqp_frame frame;

    client_expect(c, channel, id);
    frame = client_next(c, "a content header");
    cr_assert_eq(frame.type, AMQP_FRAME_HEADER);
    cr_assert_eq(frame.channel, channel);
    cr_assert_eq(amqp_content_decode(frame.payload, frame.size, &c->header), 0);
    buf_clear(&c->body);
    while (c->body.size < c->header.body_size) {
        frame = client_next(c, "content");
        cr_assert_eq(frame.type, AMQP_FRAME_BODY);
        cr_assert_eq(frame.channel, channel);
        cr_assert_leq(frame.size + AMQP_FRAME_OVERHEAD,
                      c->connection->frame_max);
        buf_put(&c->body, frame.payload, frame.size);
    }
    cr_assert_eq(c->body.size, c->header.body_size);
}

void
client_expect_error(struct client *c, uint16_t channel, unsigned code,
                    const char *text)
{
    struct amqp_text reply;
    unsigned got = 0;

    client_expect(c, channel,
                  channel == 0 ? AMQP_connection_close : AMQP_channel_close);
    /* Both have the same fields. */
    got = channel == 0 ? c->method.connection_close.reply_code
                       : c->method.channel_close.reply_code;
    reply = channel == 0 ? c->method.connection_close.reply_text
                         : c->method.channel_close.reply_text;
    cr_assert_eq(got, code, "%u %.*s", got, (int)reply.size, reply.data);
    cr_assert(client_text_is(reply, text), "'%.*s' is not '%s'",
              (int)reply.size, reply.data, text);
}

void
client_expect_nothing(struct client *c)
{
    struct amqp_frame frame = {0};
    uint32_t id = 0;

    if (c->read < c->heard.size) {
        frame = client_next(c, "nothing");
        id = frame.type == AMQP_FRAME_METHOD ? get_u32be(frame.payload) : 0;
    }
    cr_assert_eq(frame.type, 0, "got type %u, method %s", frame.type,
                 amqp_method_name(id));
}

void
client_expect_heartbeat(struct client *c)
{
    struct amqp_frame frame = client_next(c, "a heartbeat");

    cr_assert_eq(frame.type, AMQP_FRAME_HEARTBEAT);
    cr_assert_eq(frame.channel, 0);
    cr_assert_eq(frame.size, 0);
    client_expect_nothing(c);
}

bool
client_logged(struct client *c, const char *text)
{
    return memmem(c->log.data, c->log.size, text, strlen(text)) != NULL;
}

struct amqp_text
client_text(const char *s)
{
    return (struct amqp_text){s, strlen(s)};
}

bool
client_text_is(struct amqp_text t, const char *s)
{
    return t.size == strlen(s) && memcmp(t.data, s, t.size) == 0;
}

void
client_connect_with(struct client *c, uint16_t channel_max, uint32_t frame_max,
                    uint16_t heartbeat)
{
    struct amqp_method m = {.id = AMQP_connection_start_ok};
    /* consumer_cancel_notify, connection.blocked and
     * authentication_failure_close, all true. */
    static const char capabilities[] = "\x0c"
                                       "capabilitiesF\0\0\0\x4d"
                                       "\x16"
                                       "consumer_cancel_notifyt\1"
                                       "\x12"
                                       "connection.blockedt\1"
                                       "\x1c"
                                       "authentication_failure_closet\1";

    client_put(c, "AMQP\0\0\x9\1", 8);
    client_pump(c);
    client_expect(c, 0, AMQP_connection_start);
    m.connection_start_ok.client_properties =
        (struct amqp_text){capabilities, sizeof(capabilities) - 1};
    m.connection_start_ok.mechanism = client_text("PLAIN");
    m.connection_start_ok.response = (struct amqp_text){"\0guest\0guest", 12};
    m.connection_start_ok.locale = client_text("en_US");
    client_send(c, 0, &m);
    client_expect(c, 0, AMQP_connection_tune);
    m.id = AMQP_connection_tune_ok;
    m.connection_tune_ok.channel_max =
        channel_max > 0 ? channel_max : AMQP_CHANNELS_MAX;
    m.connection_tune_ok.frame_max =
        frame_max > 0 ? frame_max : AMQP_FRAME_SIZE_MAX;
    m.connection_tune_ok.heartbeat = heartbeat;
    client_send(c, 0, &m);
    m.id = AMQP_connection_open;
    m.connection_open.virtual_host = client_text("/");
    m.connection_open.reserved_1 = client_text("");
    m.connection_open.reserved_2 = false;
    client_send(c, 0, &m);
    client_expect(c, 0, AMQP_connection_open_ok);
    client_expect_nothing(c);
}

void
client_connect(struct client *c)
{
    client_connect_with(c, 0, 0, 60);
}

void
client_open(struct client *c, uint16_t number)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    m.channel_open.reserved_1 = client_text("");
    client_send(c, number, &m);
    client_expect(c, number, AMQP_channel_open_ok);
}

void
client_declare(struct client *c, uint16_t channel, const char *queue)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    m.queue_declare.queue = client_text(queue);
    m.queue_declare.arguments = client_text("");
    client_send(c, channel, &m);
    client_expect(c, channel, AMQP_queue_declare_ok);
}

void
client_consume(struct client *c, uint16_t channel, const char *queue,
               const char *tag, bool no_ack)
{
    struct amqp_method m = {.id = AMQP_basic_consume};

    m.basic_consume.queue = client_text(queue);
    m.basic_consume.consumer_tag = client_text(tag);
    m.basic_consume.arguments = client_text("");
    m.basic_consume.no_ack = no_ack;
    client_send(c, channel, &m);
    client_expect(c, channel, AMQP_basic_consume_ok);
}

void
client_qos(struct client *c, uint16_t channel, uint16_t count)
{
    struct amqp_method m = {.id = AMQP_basic_qos};

    m.basic_qos.prefetch_count = count;
    client_send(c, channel, &m);
    client_expect(c, channel, AMQP_basic_qos_ok);
}

void
client_ack(struct client *c, uint16_t channel, uint64_t tag, bool multiple)
{
    struct amqp_method m = {.id = AMQP_basic_ack};

    m.basic_ack.delivery_tag = tag;
    m.basic_ack.multiple = multiple;
    client_send(c, channel, &m);
}

void
client_confirm_select(struct client *c, uint16_t channel)
{
    struct amqp_method m = {.id = AMQP_confirm_select};

    client_send(c, channel, &m);
    client_expect(c, channel, AMQP_confirm_select_ok);
}
