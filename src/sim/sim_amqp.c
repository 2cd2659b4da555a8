/* See sim_amqp.h. Encoding and decoding are room amqp's, which fuzz tests
 * cover from both ends; how a client behaves is here. */
#include "sim/sim_amqp.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "amqp/content.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/table.h"
#include "base/error.h"
#include "base/mem.h"
#include "sim/sim_env.h"
#include "sim/sim_front.h"
#include "sim/sim_wire.h"

enum {
    AMQP_MAGIC = 0x7369616d,
    US = 1000000,
    NUMBER_DIGITS = 16,
    TEXT_SIZE = 200,
    /* Beats that a peer may miss, as the broker counts them. */
    BEATS_MISSED_MAX = 2
};

enum session_state {
    SESSION_AWAY,
    SESSION_HEADER,  /* the header was sent: start is awaited, */
    SESSION_TUNING,  /* start-ok: tune, */
    SESSION_OPENING, /* tune-ok and open: open-ok */
    SESSION_OPEN,
    SESSION_CLOSING /* connection.close: close-ok */
};

/* A message that is arriving. */
struct assembly {
    enum amqp_method_id id; /* AMQP_NO_METHOD: none */
    struct sim_amqp_message message;
    char owner[SIM_AMQP_TAG_SIZE];
    bool has_header;
    uint64_t size;
    struct buf body;
};

struct session_channel {
    bool is_open;
    bool is_crossed; /* both closed it: a close-ok more may come */
    enum amqp_method_id asked;
    uint64_t asked_us;
    struct assembly in;
};

struct sim_amqp {
    unsigned magic;
    struct sim_amqp_events events;
    struct sim_amqp_config config;
    enum session_state state;
    struct sim_wire *wire;
    struct list wires;
    struct session_channel channels[SIM_AMQP_CHANNELS];
    struct buf out;
    size_t need;
    uint64_t since_us; /* in this state of the handshake */
    uint64_t heard_us;
    uint64_t spoke_us;
    bool is_reading;
    bool is_blocked;
};

static uint64_t
session_now(const struct sim_amqp *s)
{
    return sim_now_us(s->config.sim);
}

/* ---- sending ---- */

static void
session_flush(struct sim_amqp *s)
{
    if (s->wire != NULL && s->out.size > 0) {
        sim_wire_write(s->wire, SIM_WIRE_CLIENT, s->out.data, s->out.size);
        (void)sim_wire_flush(s->wire, SIM_WIRE_CLIENT);
        s->spoke_us = session_now(s);
    }
    buf_clear(&s->out);
}

static void
session_put(struct sim_amqp *s, uint16_t number, const struct amqp_method *m)
{
    size_t mark = amqp_frame_begin(&s->out, AMQP_FRAME_METHOD, number);

    amqp_method_encode(m, &s->out);
    amqp_frame_end(&s->out, mark);
}

static void
session_send(struct sim_amqp *s, uint16_t number, const struct amqp_method *m)
{
    session_put(s, number, m);
    session_flush(s);
}

uint16_t
sim_amqp_number(const struct sim_amqp *s, unsigned channel)
{
    return (uint16_t)(s->config.first_channel + channel);
}

void
sim_amqp_tell(struct sim_amqp *s, unsigned channel, const struct amqp_method *m)
{
    OBJ_CHECK(s, AMQP_MAGIC);
    if (s->state == SESSION_OPEN) {
        session_send(s, sim_amqp_number(s, channel), m);
    }
}

void
sim_amqp_ask(struct sim_amqp *s, unsigned channel, const struct amqp_method *m)
{
    struct session_channel *ch = &s->channels[channel];

    OBJ_CHECK(s, AMQP_MAGIC);
    ASSERT(channel < SIM_AMQP_CHANNELS);
    ASSERT(ch->asked == AMQP_NO_METHOD);
    ASSERT(s->state == SESSION_OPEN);
    sim_trace(s->config.sim, 0, "channel %u asks %s",
              s->config.first_channel + channel, amqp_method_name(m->id));
    ch->asked = m->id;
    ch->asked_us = session_now(s);
    session_send(s, sim_amqp_number(s, channel), m);
}

/* A header frame: the number as message-id, persistent. */
static void
session_put_header(struct sim_amqp *s, uint16_t number, uint64_t id,
                   size_t size)
{
    struct amqp_properties p = {.flags = AMQP_HAS_message_id |
                                         AMQP_HAS_delivery_mode};
    char text[NUMBER_DIGITS + 1];
    size_t mark = amqp_frame_begin(&s->out, AMQP_FRAME_HEADER, number);

    (void)snprintf(text, sizeof(text), "%016" PRIx64, id);
    p.delivery_mode = 2;
    p.message_id = amqp_text(text);
    amqp_content_head(&s->out, size);
    amqp_properties_encode(&p, &s->out);
    amqp_frame_end(&s->out, mark);
}

void
sim_amqp_publish(struct sim_amqp *s, unsigned channel,
                 const struct amqp_method *m, uint64_t number,
                 const uint8_t *body, size_t size)
{
    uint16_t wire_number = sim_amqp_number(s, channel);
    size_t most = s->config.frame_max - AMQP_FRAME_OVERHEAD;

    OBJ_CHECK(s, AMQP_MAGIC);
    ASSERT(s->state == SESSION_OPEN);
    session_put(s, wire_number, m);
    session_put_header(s, wire_number, number, size);
    for (size_t at = 0; at < size;) {
        size_t count = MIN(most, size - at);

        amqp_frame_head(&s->out, AMQP_FRAME_BODY, wire_number, count);
        buf_put(&s->out, body + at, count);
        buf_put_u8(&s->out, AMQP_FRAME_END);
        at += count;
    }
    session_flush(s);
}

/* ---- the end ---- */

static void
session_reset_channels(struct sim_amqp *s)
{
    for (size_t i = 0; i < SIM_AMQP_CHANNELS; i++) {
        struct session_channel *ch = &s->channels[i];

        buf_clear(&ch->in.body);
        ch->in.id = AMQP_NO_METHOD;
        ch->asked = AMQP_NO_METHOD;
        ch->is_open = ch->is_crossed = false;
    }
}

static void
session_down(struct sim_amqp *s, enum sim_wire_end how, unsigned code)
{
    struct sim_wire *w = s->wire;

    s->wire = NULL;
    s->state = SESSION_AWAY;
    buf_clear(&s->out);
    session_reset_channels(s);
    sim_wire_close(w, SIM_WIRE_CLIENT, how);
    s->events.on_down(s->events.arg, code);
}

static void
session_violate(struct sim_amqp *s, const char *what, unsigned number)
{
    char text[TEXT_SIZE];

    (void)snprintf(text, sizeof(text), "AMQP: unexpected: %s (channel %u)",
                   what, number);
    s->events.on_violation(s->events.arg, text);
    session_down(s, SIM_WIRE_RESET, 0);
}

/* ---- the handshake ---- */

static void
session_start_ok(struct sim_amqp *s)
{
    struct amqp_method m = {.id = AMQP_connection_start_ok};
    struct buf table;
    char response[TEXT_SIZE];
    int size = snprintf(response, sizeof(response), "%c%s%c%s", 0,
                        s->config.user, 0, s->config.password);
    size_t mark;

    buf_init(&table);
    mark = amqp_table_begin(&table, "capabilities");
    amqp_table_put_bool(&table, "consumer_cancel_notify", true);
    amqp_table_put_bool(&table, "connection.blocked", true);
    amqp_table_put_bool(&table, "authentication_failure_close", true);
    amqp_table_end(&table, mark);
    m.connection_start_ok.client_properties =
        (struct amqp_text){(const char *)table.data, table.size};
    m.connection_start_ok.mechanism = amqp_text("PLAIN");
    m.connection_start_ok.response = (struct amqp_text){response, (size_t)size};
    m.connection_start_ok.locale = amqp_text("en_US");
    session_send(s, 0, &m);
    buf_deinit(&table);
}

static void
session_tune_ok(struct sim_amqp *s, const struct amqp_connection_tune *tune)
{
    struct amqp_method m = {.id = AMQP_connection_tune_ok};

    s->config.frame_max = MIN(s->config.frame_max, tune->frame_max);
    m.connection_tune_ok.channel_max = tune->channel_max;
    m.connection_tune_ok.frame_max = s->config.frame_max;
    m.connection_tune_ok.heartbeat = s->config.heartbeat_s;
    session_put(s, 0, &m);
    m = (struct amqp_method){.id = AMQP_connection_open};
    m.connection_open.virtual_host = amqp_text("/");
    m.connection_open.reserved_1 = amqp_text("");
    session_send(s, 0, &m);
}

static void
session_move(struct sim_amqp *s, enum session_state state)
{
    s->state = state;
    s->since_us = session_now(s);
}

/* Deadlines begin now: the broker did not read, or the client did not. */
static void
session_ask_anew(struct sim_amqp *s)
{
    for (size_t i = 0; i < SIM_AMQP_CHANNELS; i++) {
        s->channels[i].asked_us = session_now(s);
    }
}

static void
session_connection_method(struct sim_amqp *s, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_connection_close_ok};

    if (m->id == AMQP_connection_close) {
        session_send(s, 0, &ok);
        session_down(s, SIM_WIRE_FLUSH, m->connection_close.reply_code);
    } else if (m->id == AMQP_connection_blocked) {
        s->is_blocked = true;
    } else if (m->id == AMQP_connection_unblocked) {
        s->is_blocked = false;
        session_ask_anew(s);
    } else if (m->id == AMQP_connection_start && s->state == SESSION_HEADER) {
        session_start_ok(s);
        session_move(s, SESSION_TUNING);
    } else if (m->id == AMQP_connection_tune && s->state == SESSION_TUNING) {
        session_tune_ok(s, &m->connection_tune);
        session_move(s, SESSION_OPENING);
    } else if (m->id == AMQP_connection_open_ok &&
               s->state == SESSION_OPENING) {
        session_move(s, SESSION_OPEN);
        s->events.on_open(s->events.arg);
    } else if (m->id == AMQP_connection_close_ok &&
               s->state == SESSION_CLOSING) {
        session_down(s, SIM_WIRE_FLUSH, 0);
    } else {
        session_violate(s, amqp_method_name(m->id), 0);
    }
}

/* ---- channels ---- */

static void
session_text(char *out, size_t size, struct amqp_text text)
{
    (void)snprintf(out, size, "%.*s", (int)MIN(text.size, size - 1), text.data);
}

static void
session_begin_message(struct assembly *in, unsigned channel,
                      const struct amqp_method *m)
{
    struct sim_amqp_message *message = &in->message;

    memset(message, 0, sizeof(*message));
    in->id = message->id = m->id;
    in->owner[0] = '\0';
    in->has_header = false;
    buf_clear(&in->body);
    message->channel = channel;
    message->owner = in->owner;
    if (m->id == AMQP_basic_deliver) {
        message->tag = m->basic_deliver.delivery_tag;
        message->is_redelivered = m->basic_deliver.redelivered;
        session_text(in->owner, sizeof(in->owner),
                     m->basic_deliver.consumer_tag);
    } else if (m->id == AMQP_basic_get_ok) {
        message->tag = m->basic_get_ok.delivery_tag;
        message->is_redelivered = m->basic_get_ok.redelivered;
    }
}

static void
session_channel_close(struct sim_amqp *s, unsigned channel,
                      const struct amqp_method *m)
{
    struct session_channel *ch = &s->channels[channel];
    struct amqp_method ok = {.id = AMQP_channel_close_ok};
    enum amqp_method_id asked = ch->asked;

    session_send(s, sim_amqp_number(s, channel), &ok);
    ch->is_open = false;
    ch->is_crossed = asked == AMQP_channel_close;
    ch->asked = AMQP_NO_METHOD;
    s->events.on_channel_closed(s->events.arg, channel,
                                m->channel_close.reply_code, asked);
}

/* An answer is the next row of the specification, but for two. */
static bool
session_is_answer(const struct session_channel *ch, const struct amqp_method *m)
{
    const struct amqp_method_spec *spec = amqp_method_spec(m->id);

    if (ch->asked == AMQP_basic_get) {
        return m->id == AMQP_basic_get_empty;
    }
    return spec != NULL && spec->flags == AMQP_IS_ANSWER &&
           ch->asked != AMQP_NO_METHOD &&
           amqp_method_row(m->id) == amqp_method_row(ch->asked) + 1;
}

static void
session_answer(struct sim_amqp *s, unsigned channel,
               const struct amqp_method *m)
{
    struct session_channel *ch = &s->channels[channel];

    if (ch->is_crossed && m->id == AMQP_channel_close_ok) {
        ch->is_crossed = false;
        return;
    }
    if (!session_is_answer(ch, m)) {
        session_violate(s, amqp_method_name(m->id), channel);
        return;
    }
    ch->is_open = m->id == AMQP_channel_open_ok ||
                  (ch->is_open && m->id != AMQP_channel_close_ok);
    ch->is_crossed = false; /* the broker answers in order */
    ch->asked = AMQP_NO_METHOD;
    s->events.on_answer(s->events.arg, channel, m);
}

static void
session_channel_method(struct sim_amqp *s, unsigned channel,
                       const struct amqp_method *m)
{
    char tag[SIM_AMQP_TAG_SIZE];

    switch ((uint32_t)m->id) {
    case AMQP_basic_deliver:
    case AMQP_basic_get_ok:
    case AMQP_basic_return:
        session_begin_message(&s->channels[channel].in, channel, m);
        break;
    case AMQP_basic_ack:
        s->events.on_confirm(s->events.arg, channel, m->basic_ack.delivery_tag,
                             m->basic_ack.multiple, true);
        break;
    case AMQP_basic_nack:
        s->events.on_confirm(s->events.arg, channel, m->basic_nack.delivery_tag,
                             m->basic_nack.multiple, false);
        break;
    case AMQP_basic_cancel:
        session_text(tag, sizeof(tag), m->basic_cancel.consumer_tag);
        s->events.on_cancel(s->events.arg, channel, tag);
        break;
    case AMQP_channel_close:
        session_channel_close(s, channel, m);
        break;
    default:
        session_answer(s, channel, m);
        break;
    }
}

/* ---- messages ---- */

static uint64_t
session_parse_number(struct amqp_text text)
{
    uint64_t v = 0;

    if (text.size != NUMBER_DIGITS) {
        return 0;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                                              : (unsigned)(c - 'a' + 10);

        if (digit > 15) {
            return 0;
        }
        v = v << 4 | digit;
    }
    return v;
}

static void
session_end_message(struct sim_amqp *s, struct assembly *in)
{
    struct session_channel *ch = &s->channels[in->message.channel];

    in->message.body = in->body.data;
    in->message.size = in->body.size;
    in->id = AMQP_NO_METHOD;
    if (in->message.id == AMQP_basic_get_ok) {
        ch->asked = AMQP_NO_METHOD;
    }
    s->events.on_message(s->events.arg, &in->message);
}

static bool
session_header(struct sim_amqp *s, struct assembly *in,
               const struct amqp_frame *frame)
{
    struct amqp_content_header header;
    struct amqp_properties p;
    struct amqp_value v;

    if (in->id == AMQP_NO_METHOD || in->has_header ||
        amqp_content_decode(frame->payload, frame->size, &header) != 0 ||
        amqp_properties_decode(header.properties, header.properties_size, &p) !=
            0) {
        return false;
    }
    in->has_header = true;
    in->size = header.body_size;
    in->message.number = (p.flags & AMQP_HAS_message_id) != 0
                             ? session_parse_number(p.message_id)
                             : 0;
    if ((p.flags & AMQP_HAS_headers) != 0 &&
        amqp_table_get(p.headers, "x-delivery-count", &v)) {
        in->message.has_count = true;
        in->message.count = (uint64_t)v.number;
    }
    if (in->size == 0) {
        session_end_message(s, in);
    }
    return true;
}

static bool
session_body(struct sim_amqp *s, struct assembly *in,
             const struct amqp_frame *frame)
{
    if (in->id == AMQP_NO_METHOD || !in->has_header ||
        in->body.size + frame->size > in->size) {
        return false;
    }
    buf_put(&in->body, frame->payload, frame->size);
    if (in->body.size == in->size) {
        session_end_message(s, in);
    }
    return true;
}

/* ---- frames ---- */

static void
session_method(struct sim_amqp *s, const struct amqp_frame *frame)
{
    struct amqp_method m;
    struct error err = {""};

    if (amqp_method_decode(frame->payload, frame->size, &m, &err) != 0) {
        session_violate(s, err.text, frame->channel);
    } else if (frame->channel == 0) {
        session_connection_method(s, &m);
    } else {
        session_channel_method(
            s, (unsigned)(frame->channel - s->config.first_channel), &m);
    }
}

static void
session_frame(struct sim_amqp *s, const struct amqp_frame *frame)
{
    unsigned channel = (unsigned)frame->channel - s->config.first_channel;

    if (frame->type == AMQP_FRAME_HEARTBEAT) {
        return;
    }
    if (frame->channel == 0 ? frame->type != AMQP_FRAME_METHOD
                            : channel >= SIM_AMQP_CHANNELS) {
        session_violate(s, "a frame on a channel that was never opened",
                        frame->channel);
        return;
    }
    if (s->state == SESSION_CLOSING && frame->channel != 0) {
        return;
    }
    if (frame->type == AMQP_FRAME_METHOD) {
        session_method(s, frame);
    } else if (frame->type == AMQP_FRAME_HEADER
                   ? !session_header(s, &s->channels[channel].in, frame)
                   : !session_body(s, &s->channels[channel].in, frame)) {
        session_violate(s, "malformed content", frame->channel);
    }
}

/* Whatever is there, frame by frame; the owner may end or stall the session
 * in any of them. */
static void
session_on_data(void *arg)
{
    struct sim_amqp *s = arg;

    OBJ_CHECK(s, AMQP_MAGIC);
    while (s->wire != NULL && s->is_reading) {
        struct amqp_frame frame;
        size_t size = 0;
        size_t need = 0;
        const uint8_t *data = sim_wire_peek(s->wire, SIM_WIRE_CLIENT, &size);
        struct sim_wire *w = s->wire;
        int64_t taken =
            amqp_frame_decode(data, size, AMQP_FRAME_SIZE_MAX, &frame, &need);

        s->heard_us = session_now(s);
        if (taken == 0) {
            sim_wire_need(s->wire, SIM_WIRE_CLIENT, need);
            break;
        }
        if (taken < 0) {
            session_violate(s, "malformed frame", frame.channel);
            break;
        }
        session_frame(s, &frame);
        if (s->wire == w) {
            sim_wire_consume(w, SIM_WIRE_CLIENT, (size_t)taken);
        }
    }
}

static void
session_on_closed(void *arg)
{
    struct sim_amqp *s = arg;
    const struct sim_wire *w = s->wire;

    s->is_reading = true;
    session_on_data(s);
    if (s->wire == w) {
        session_down(s, SIM_WIRE_RESET, 0);
    }
}

/* ---- life ---- */

struct sim_amqp *
sim_amqp_new(const struct sim_amqp_events *events)
{
    struct sim_amqp *s = mem_zalloc(1, sizeof(*s));

    s->magic = AMQP_MAGIC;
    s->events = *events;
    list_init(&s->wires);
    buf_init(&s->out);
    for (size_t i = 0; i < SIM_AMQP_CHANNELS; i++) {
        buf_init(&s->channels[i].in.body);
    }
    return s;
}

void
sim_amqp_free(struct sim_amqp **session)
{
    struct sim_amqp *s = *session;

    OBJ_CHECK(s, AMQP_MAGIC);
    sim_wires_free(&s->wires);
    buf_deinit(&s->out);
    for (size_t i = 0; i < SIM_AMQP_CHANNELS; i++) {
        buf_deinit(&s->channels[i].in.body);
    }
    s->magic = 0;
    mem_free(s);
    *session = NULL;
}

void
sim_amqp_open(struct sim_amqp *s, const struct sim_amqp_config *config,
              struct sim_front *front, struct env *env)
{
    static const uint8_t header[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};
    struct sim_wire_config wire = {.sim = config->sim,
                                   .env = env,
                                   .delay_min_us = config->delay_min_us,
                                   .delay_max_us = config->delay_max_us,
                                   .chop_per_million = config->chop_per_million,
                                   .window = config->window};
    struct sim_wire_events events = {
        .arg = s, .on_data = session_on_data, .on_closed = session_on_closed};

    OBJ_CHECK(s, AMQP_MAGIC);
    ASSERT(s->state == SESSION_AWAY);
    ASSERT(config->heartbeat_s > 0);
    s->config = *config;
    s->wire = sim_wire_new(&wire, &s->wires);
    sim_wire_attach(s->wire, SIM_WIRE_CLIENT, &events);
    s->is_reading = true;
    s->is_blocked = false;
    s->heard_us = session_now(s);
    session_move(s, SESSION_HEADER);
    sim_front_connect(front, s->wire);
    buf_put(&s->out, header, sizeof(header));
    session_flush(s);
}

bool
sim_amqp_is_away(const struct sim_amqp *s)
{
    return s->state == SESSION_AWAY;
}

bool
sim_amqp_is_open(const struct sim_amqp *s)
{
    return s->state == SESSION_OPEN;
}

bool
sim_amqp_is_blocked(const struct sim_amqp *s)
{
    return s->is_blocked;
}

void
sim_amqp_close(struct sim_amqp *s)
{
    struct amqp_method m = {.id = AMQP_connection_close};

    OBJ_CHECK(s, AMQP_MAGIC);
    ASSERT(s->state == SESSION_OPEN);
    m.connection_close.reply_code = 200;
    m.connection_close.reply_text = amqp_text("bye");
    session_send(s, 0, &m);
    session_move(s, SESSION_CLOSING);
}

void
sim_amqp_vanish(struct sim_amqp *s, bool is_silent)
{
    OBJ_CHECK(s, AMQP_MAGIC);
    if (s->state != SESSION_AWAY) {
        session_down(s, is_silent ? SIM_WIRE_SILENT : SIM_WIRE_RESET, 0);
    }
}

void
sim_amqp_read(struct sim_amqp *s, bool on)
{
    OBJ_CHECK(s, AMQP_MAGIC);
    if (s->is_reading == on || s->wire == NULL) {
        return;
    }
    s->is_reading = on;
    s->heard_us = session_now(s); /* who does not listen does not hear */
    if (on) {
        session_ask_anew(s);
        sim_wire_poke(s->wire, SIM_WIRE_CLIENT);
    }
}

static void
session_check_deadlines(struct sim_amqp *s)
{
    char text[TEXT_SIZE];
    uint64_t now = session_now(s);

    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        const struct session_channel *ch = &s->channels[i];

        if (ch->asked != AMQP_NO_METHOD &&
            now - ch->asked_us > SIM_AMQP_ANSWER_US && !s->is_blocked) {
            (void)snprintf(
                text, sizeof(text), "I13: %s is not answered since %.1f s",
                amqp_method_name(ch->asked), (double)ch->asked_us / US);
            s->events.on_violation(s->events.arg, text);
        }
    }
    if (s->state != SESSION_OPEN && now - s->since_us > SIM_AMQP_ANSWER_US) {
        (void)snprintf(text, sizeof(text),
                       "I13: the handshake waits in state %d since %.1f s",
                       (int)s->state, (double)s->since_us / US);
        s->events.on_violation(s->events.arg, text);
    }
}

void
sim_amqp_tick(struct sim_amqp *s)
{
    static const uint8_t heartbeat[AMQP_FRAME_OVERHEAD] = {
        AMQP_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, AMQP_FRAME_END};
    uint64_t now = session_now(s);
    uint64_t beat_us = (uint64_t)s->config.heartbeat_s * US;

    OBJ_CHECK(s, AMQP_MAGIC);
    if (s->state == SESSION_AWAY || !s->is_reading) {
        return;
    }
    if (now - s->heard_us > BEATS_MISSED_MAX * beat_us) {
        session_down(s, SIM_WIRE_RESET, 0);
        return;
    }
    if (s->state == SESSION_OPEN && now - s->spoke_us >= beat_us / 2) {
        buf_put(&s->out, heartbeat, sizeof(heartbeat));
        session_flush(s);
    }
    session_check_deadlines(s);
}

size_t
sim_amqp_backlog(const struct sim_amqp *s)
{
    return s->wire == NULL ? 0 : sim_wire_backlog(s->wire, SIM_WIRE_CLIENT);
}

const struct sim_wire *
sim_amqp_wire(const struct sim_amqp *s)
{
    return s->wire;
}

bool
sim_amqp_channel_is_open(const struct sim_amqp *s, unsigned channel)
{
    return s->state == SESSION_OPEN && s->channels[channel].is_open;
}

bool
sim_amqp_is_asking(const struct sim_amqp *s, unsigned channel)
{
    return s->channels[channel].asked != AMQP_NO_METHOD;
}

void
sim_amqp_describe(const struct sim_amqp *s, struct buf *out)
{
    static const char *const states[] = {"away",    "header", "tuning",
                                         "opening", "open",   "closing"};

    buf_putf(out, "%s", states[s->state]);
    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        const struct session_channel *ch = &s->channels[i];

        buf_putf(out, ", %s%s%s", ch->is_open ? "open" : "shut",
                 ch->asked == AMQP_NO_METHOD ? "" : " asks ",
                 ch->asked == AMQP_NO_METHOD ? ""
                                             : amqp_method_name(ch->asked));
    }
}
