/* The client's half of AMQP 0-9-1, as far as a bench needs it: the handshake,
 * one channel, and the way back. */
#include "bench/client.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "amqp/table.h"
#include "base/check.h"
#include "base/error.h"
#include "base/slice.h"
#include "bench/clock.h"
#include "net/stream.h"

enum {
    CLIENT_MAGIC = 0x636c6965,
    TICK_LATE = 2, /* heartbeats that may be missed */
    REPLY_SUCCESS = 200,
    CONTENT_HEADER_MIN = 14,
    CONTENT_SIZE_AT = 4 /* of the body's size in a header */
};

static const uint8_t protocol_header[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

void
client_init(struct client *c, const struct client_setup *setup,
            const struct client_events *events)
{
    *c = (struct client){
        .magic = CLIENT_MAGIC,
        .state = CLIENT_DOWN,
        .setup = setup,
        .events = *events,
    };
    buf_init(&c->out);
}

void
client_deinit(struct client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    ASSERT(c->state == CLIENT_DOWN);
    buf_deinit(&c->out);
    c->magic = 0;
}

bool
client_is_down(const struct client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    return c->state == CLIENT_DOWN;
}

bool
client_is_open(const struct client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    return c->state == CLIENT_OPEN;
}

bool
client_may_send(const struct client *c)
{
    return c->state == CLIENT_OPEN && !c->is_blocked &&
           stream_backlog(c->stream) <= CLIENT_BACKLOG_HIGH;
}

static void
client_to(struct client *c, enum client_state state)
{
    c->state = state;
    c->state_us = bench_now_us();
}

/* End the connection; on_down is told TEXT, static or in C; NULL: as asked. */
static void
client_fail(struct client *c, const char *text)
{
    if (c->state == CLIENT_ENDING || c->state == CLIENT_DOWN) {
        return;
    }
    ASSERT(c->stream != NULL);
    c->down_text = text;
    client_to(c, CLIENT_ENDING);
    stream_close(c->stream);
}

static void
client_write(struct client *c, const void *data, size_t size)
{
    stream_write(c->stream, data, size);
    c->out_us = c->now_us;
}

static void
client_put(struct client *c, uint16_t channel, const struct amqp_method *m)
{
    size_t mark = 0;

    buf_clear(&c->out);
    mark = amqp_frame_begin(&c->out, AMQP_FRAME_METHOD, channel);
    amqp_method_encode(m, &c->out);
    amqp_frame_end(&c->out, mark);
    client_write(c, c->out.data, c->out.size);
}

void
client_send(struct client *c, const struct amqp_method *m)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    ASSERT(c->state == CLIENT_OPEN);
    client_put(c, CLIENT_CHANNEL, m);
}

void
client_send_bytes(struct client *c, const void *data, size_t size)
{
    ASSERT(c->state == CLIENT_OPEN);
    client_write(c, data, size);
}

/* connection.start: who we are, and PLAIN. */
static void
answer_start(struct client *c)
{
    static const char *const abilities[] = {
        "publisher_confirms",           "basic.nack",
        "consumer_cancel_notify",       "connection.blocked",
        "authentication_failure_close",
    };
    struct amqp_method m = {.id = AMQP_connection_start_ok};
    struct buf properties;
    struct buf response;
    size_t mark = 0;
    size_t i = 0;

    buf_init(&properties);
    buf_init(&response);
    amqp_table_put_text(&properties, "product", amqp_text("quorate-bench"));
    mark = amqp_table_begin(&properties, "capabilities");
    for (i = 0; i < ARRAY_COUNT(abilities); i++) {
        amqp_table_put_bool(&properties, abilities[i], true);
    }
    amqp_table_end(&properties, mark);
    buf_put_u8(&response, 0);
    buf_put_text(&response, c->setup->user);
    buf_put_u8(&response, 0);
    buf_put_text(&response, c->setup->password);
    m.connection_start_ok.client_properties = (struct amqp_text){
        .data = (const char *)properties.data, .size = properties.size};
    m.connection_start_ok.mechanism = amqp_text("PLAIN");
    m.connection_start_ok.response = (struct amqp_text){
        .data = (const char *)response.data, .size = response.size};
    m.connection_start_ok.locale = amqp_text("en_US");
    client_put(c, 0, &m);
    client_to(c, CLIENT_TUNING);
    buf_deinit(&properties);
    buf_deinit(&response);
}

/* The smaller of two limits of which 0 means none. */
static uint32_t
lower(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0) {
        return MAX(a, b);
    }
    return MIN(a, b);
}

static void
answer_tune(struct client *c, const struct amqp_connection_tune *tune)
{
    struct amqp_method ok = {.id = AMQP_connection_tune_ok};
    struct amqp_method open = {.id = AMQP_connection_open};

    c->frame_max = lower(tune->frame_max, AMQP_FRAME_SIZE_MAX);
    c->heartbeat_s =
        c->setup->heartbeat_s == 0
            ? 0
            : (uint16_t)lower(tune->heartbeat, c->setup->heartbeat_s);
    if (c->frame_max < AMQP_FRAME_SIZE_MIN) {
        client_fail(c, "the broker proposes a frame size below 4096");
        return;
    }
    ok.connection_tune_ok.channel_max = tune->channel_max;
    ok.connection_tune_ok.frame_max = (uint32_t)c->frame_max;
    ok.connection_tune_ok.heartbeat = c->heartbeat_s;
    client_put(c, 0, &ok);
    open.connection_open.virtual_host = amqp_text(c->setup->vhost);
    client_put(c, 0, &open);
    client_to(c, CLIENT_OPENING);
}

/* The broker closes the connection or the channel, for CODE and TEXT. */
static void
closed_by_broker(struct client *c, uint16_t channel, uint16_t code,
                 struct amqp_text text)
{
    struct amqp_method ok = {.id = channel == 0 ? AMQP_connection_close_ok
                                                : AMQP_channel_close_ok};

    (void)snprintf(c->why, sizeof(c->why), "%s closed: %u %.*s",
                   channel == 0 ? "connection" : "channel", code,
                   (int)text.size, text.data);
    client_put(c, channel, &ok);
    if (c->state == CLIENT_ENDING) {
        return;
    }
    c->down_text = c->why;
    client_to(c, CLIENT_ENDING);
    stream_shut(c->stream, CLIENT_CLOSE_MS);
}

static void
on_connection_method(struct client *c, const struct amqp_method *m)
{
    struct amqp_method open = {.id = AMQP_channel_open};

    if (m->id == AMQP_connection_start && c->state == CLIENT_STARTING) {
        answer_start(c);
    } else if (m->id == AMQP_connection_tune && c->state == CLIENT_TUNING) {
        answer_tune(c, &m->connection_tune);
    } else if (m->id == AMQP_connection_open_ok && c->state == CLIENT_OPENING) {
        client_put(c, CLIENT_CHANNEL, &open);
        client_to(c, CLIENT_CHANNELING);
    } else if (m->id == AMQP_connection_close) {
        closed_by_broker(c, 0, m->connection_close.reply_code,
                         m->connection_close.reply_text);
    } else if (m->id == AMQP_connection_close_ok &&
               c->state == CLIENT_CLOSING) {
        client_fail(c, NULL);
    } else if (m->id == AMQP_connection_blocked ||
               m->id == AMQP_connection_unblocked) {
        c->is_blocked = m->id == AMQP_connection_blocked;
    } else {
        client_fail(c, "the broker sent a method out of turn");
    }
}

static void
on_flow(struct client *c, bool is_active)
{
    struct amqp_method ok = {.id = AMQP_channel_flow_ok};

    ok.channel_flow_ok.active = is_active;
    client_put(c, CLIENT_CHANNEL, &ok);
    c->is_blocked = !is_active;
}

static void
on_channel_method(struct client *c, const struct amqp_method *m)
{
    if (m->id == AMQP_channel_open_ok && c->state == CLIENT_CHANNELING) {
        client_to(c, CLIENT_OPEN);
        c->events.on_open(c->events.arg);
    } else if (m->id == AMQP_channel_close) {
        closed_by_broker(c, CLIENT_CHANNEL, m->channel_close.reply_code,
                         m->channel_close.reply_text);
    } else if (m->id == AMQP_channel_flow) {
        on_flow(c, m->channel_flow.active);
    } else if (m->id == AMQP_basic_return) {
        c->content = CONTENT_HEADER;
        c->is_return = true;
    } else if (m->id == AMQP_basic_get_ok) {
        c->content = CONTENT_HEADER;
        c->is_return = false;
        c->message.tag = m->basic_get_ok.delivery_tag;
        c->message.is_redelivered = m->basic_get_ok.redelivered;
        c->message.consumer = 0;
    } else if (c->state == CLIENT_OPEN) {
        c->events.on_method(c->events.arg, m);
    }
}

/* basic.deliver: the consumer's number, the tag, the flag. */
static bool
on_deliver(struct client *c, struct cursor *in)
{
    size_t size = cursor_u8(in);
    const uint8_t *text = cursor_bytes(in, size);
    uint32_t consumer = 0;
    size_t i = 0;

    if (text == NULL) {
        return false;
    }
    for (i = 0; i < size; i++) {
        consumer = consumer * 10 + (uint32_t)(text[i] - '0');
    }
    c->message.consumer = consumer;
    c->message.tag = cursor_u64be(in);
    c->message.is_redelivered = (cursor_u8(in) & 1) != 0;
    c->content = CONTENT_HEADER;
    c->is_return = false;
    return !in->bad;
}

static bool
on_confirm(struct client *c, struct cursor *in, bool is_ack)
{
    uint64_t tag = cursor_u64be(in);
    bool multiple = (cursor_u8(in) & 1) != 0;

    if (in->bad) {
        return false;
    }
    if (c->events.on_confirm != NULL && c->state == CLIENT_OPEN) {
        c->events.on_confirm(c->events.arg, tag, multiple, is_ack);
    }
    return true;
}

/* Whether the payload was what it should be. */
static bool
on_method_frame(struct client *c, const struct amqp_frame *frame)
{
    struct amqp_method m;
    struct cursor in;
    uint32_t id = 0;

    cursor_init(&in, frame->payload, frame->size);
    id = cursor_u32be(&in);
    if (c->content != CONTENT_NONE) {
        return false;
    }
    if (LIKELY(id == AMQP_basic_deliver)) {
        return on_deliver(c, &in);
    }
    if (id == AMQP_basic_ack || id == AMQP_basic_nack) {
        return on_confirm(c, &in, id == AMQP_basic_ack);
    }
    if (amqp_method_decode(frame->payload, frame->size, &m, NULL) != 0) {
        return false;
    }
    if (frame->channel == 0) {
        on_connection_method(c, &m);
    } else {
        on_channel_method(c, &m);
    }
    return true;
}

static void
content_done(struct client *c)
{
    c->content = CONTENT_NONE;
    if (!c->is_return && c->state == CLIENT_OPEN &&
        c->events.on_message != NULL) {
        c->events.on_message(c->events.arg, &c->message);
    }
}

static bool
on_header_frame(struct client *c, const struct amqp_frame *frame)
{
    if (c->content != CONTENT_HEADER || frame->size < CONTENT_HEADER_MIN) {
        return false;
    }
    c->message.body_size = get_u64be(frame->payload + CONTENT_SIZE_AT);
    c->message.head_size = 0;
    c->body_left = c->message.body_size;
    c->content = CONTENT_BODY;
    if (c->body_left == 0) {
        content_done(c);
    }
    return true;
}

static bool
on_body_frame(struct client *c, const struct amqp_frame *frame)
{
    struct client_message *m = &c->message;
    size_t want = sizeof(m->head) - m->head_size;

    if (c->content != CONTENT_BODY || frame->size > c->body_left) {
        return false;
    }
    want = MIN(want, frame->size);
    memcpy(m->head + m->head_size, frame->payload, want);
    m->head_size += want;
    c->body_left -= frame->size;
    if (c->body_left == 0) {
        content_done(c);
    }
    return true;
}

static bool
on_frame(struct client *c, const struct amqp_frame *frame)
{
    switch (frame->type) {
    case AMQP_FRAME_METHOD:
        return on_method_frame(c, frame);
    case AMQP_FRAME_HEADER:
        return on_header_frame(c, frame);
    case AMQP_FRAME_BODY:
        return on_body_frame(c, frame);
    case AMQP_FRAME_HEARTBEAT:
        return true;
    default:
        return false;
    }
}

/* Whether frames are still of interest. */
static bool
is_listening(const struct client *c)
{
    return c->state != CLIENT_ENDING && c->state != CLIENT_DOWN;
}

static size_t
client_on_data(void *arg, const struct slice *bytes)
{
    struct client *c = arg;
    struct amqp_frame frame;
    size_t used = 0;
    size_t need = 0;
    int64_t took = 0;

    OBJ_CHECK(c, CLIENT_MAGIC);
    c->now_us = bench_now_us();
    c->in_us = c->now_us;
    if (c->state == CLIENT_STARTING && bytes->data[0] == 'A') {
        client_fail(c, "the broker does not speak AMQP 0-9-1");
        return bytes->size;
    }
    while (is_listening(c)) {
        took = amqp_frame_decode(bytes->data + used, bytes->size - used,
                                 c->frame_max, &frame, &need);
        if (took <= 0) {
            break;
        }
        used += (size_t)took;
        if (!on_frame(c, &frame)) {
            took = -1;
            break;
        }
    }
    if (!is_listening(c)) {
        return bytes->size;
    }
    if (took < 0) {
        client_fail(c, "the broker sent a malformed frame");
        return bytes->size;
    }
    if (c->state == CLIENT_OPEN && c->events.on_turn != NULL) {
        c->events.on_turn(c->events.arg);
    }
    if (is_listening(c)) {
        stream_need(c->stream, need);
    }
    return used;
}

static void
client_on_drain(void *arg)
{
    struct client *c = arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    c->now_us = bench_now_us();
    if (c->state == CLIENT_OPEN && c->events.on_turn != NULL) {
        c->events.on_turn(c->events.arg);
    }
}

/* Tell the owner, whose client may be opened again in there. WHY is not in
 * `text`. */
static void
client_to_down(struct client *c, const char *why)
{
    c->state = CLIENT_DOWN;
    c->stream = NULL;
    if (c->is_silent) {
        return;
    }
    if (why != NULL) {
        (void)snprintf(c->text, sizeof(c->text), "%s:%u: %s", c->host.name,
                       c->host.port, why);
    }
    c->events.on_down(c->events.arg, why != NULL ? c->text : NULL);
}

static void
client_on_close(void *arg, int reason, const char *text)
{
    struct client *c = arg;
    bool is_asked = c->state == CLIENT_ENDING;

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (is_asked || c->state == CLIENT_CLOSING) {
        client_to_down(c, is_asked ? c->down_text : NULL);
    } else {
        client_to_down(c,
                       reason == 0 ? "the broker ended the connection" : text);
    }
}

static void
client_on_connect(void *arg, struct stream *stream, int uv_error)
{
    struct client *c = arg;
    char why[CLIENT_WHY_SIZE];
    struct stream_events events = {.arg = c,
                                   .on_data = client_on_data,
                                   .on_drain = client_on_drain,
                                   .on_close = client_on_close};

    OBJ_CHECK(c, CLIENT_MAGIC);
    c->connect = NULL;
    c->now_us = bench_now_us();
    if (stream == NULL) {
        (void)uv_strerror_r(uv_error, why, sizeof(why));
        client_to_down(c, why);
        return;
    }
    c->stream = stream;
    if (c->setup->tls != NULL) {
        stream_secure(stream, c->setup->tls, false);
    }
    stream_start(stream, &events);
    stream_set_drain(stream, CLIENT_BACKLOG_LOW, CLIENT_BACKLOG_HIGH);
    client_write(c, protocol_header, sizeof(protocol_header));
    c->state = CLIENT_STARTING;
}

void
client_open(struct client *c, const struct bench_host *host)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    ASSERT(c->state == CLIENT_DOWN);
    client_to(c, CLIENT_CONNECTING);
    c->host = *host;
    c->frame_max = AMQP_FRAME_SIZE_MAX;
    c->heartbeat_s = 0;
    c->is_blocked = false;
    c->content = CONTENT_NONE;
    c->down_text = NULL;
    c->is_silent = false;
    c->now_us = c->state_us;
    c->in_us = c->state_us;
    c->connect = stream_connect(c->setup->net, host->name, host->port,
                                CLIENT_HANDSHAKE_MS, client_on_connect, c);
}

void
client_close(struct client *c)
{
    struct amqp_method m = {.id = AMQP_connection_close};

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->state != CLIENT_OPEN) {
        if (c->state != CLIENT_CLOSING) {
            client_drop(c);
        }
        return;
    }
    m.connection_close.reply_code = REPLY_SUCCESS;
    m.connection_close.reply_text = amqp_text("done");
    client_put(c, 0, &m);
    client_to(c, CLIENT_CLOSING);
}

void
client_drop(struct client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->state == CLIENT_CONNECTING) {
        stream_connect_cancel(c->connect);
        c->connect = NULL;
        c->state = CLIENT_DOWN;
        return;
    }
    if (c->state != CLIENT_DOWN) {
        c->is_silent = true;
        client_to(c, CLIENT_ENDING);
        stream_close(c->stream);
    }
}

/* How long the present state may last; 0: for ever. */
static uint64_t
state_limit_us(const struct client *c)
{
    switch (c->state) {
    case CLIENT_STARTING:
    case CLIENT_TUNING:
    case CLIENT_OPENING:
    case CLIENT_CHANNELING:
        return (uint64_t)CLIENT_HANDSHAKE_MS * BENCH_US_PER_MS;
    case CLIENT_CLOSING:
        return (uint64_t)CLIENT_CLOSE_MS * BENCH_US_PER_MS;
    case CLIENT_DOWN:
    case CLIENT_CONNECTING:
    case CLIENT_OPEN:
    case CLIENT_ENDING:
        break;
    }
    return 0;
}

static void
heartbeat(struct client *c, uint64_t now_us)
{
    static const uint8_t beat[] = {AMQP_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0,
                                   AMQP_FRAME_END};
    uint64_t period_us = (uint64_t)c->heartbeat_s * BENCH_US_PER_S;

    if (now_us > c->in_us + TICK_LATE * period_us) {
        client_fail(c, "no sign of the broker for two heartbeats");
    } else if (now_us > c->out_us + period_us / 2) {
        c->now_us = now_us;
        client_write(c, beat, sizeof(beat));
    }
}

void
client_tick(struct client *c, uint64_t now_us)
{
    uint64_t limit_us = state_limit_us(c);

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (limit_us > 0 && now_us > c->state_us + limit_us) {
        client_fail(c, c->state == CLIENT_CLOSING
                           ? NULL
                           : "the broker did not answer in time");
        return;
    }
    if (c->state == CLIENT_OPEN && c->heartbeat_s > 0) {
        heartbeat(c, now_us);
    }
}
