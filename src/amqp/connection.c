/* The connection: frames in, states, closing, deadlines and heartbeats.
 *
 * Time: `deadline_ms` is that of the state (handshake, draining, closing); the
 * heartbeat looks at its counters every half interval, so that a connection
 * that carries anything pays nothing for it. */
#include "amqp/connection.h"

#include <stdio.h>
#include <string.h>

#include "amqp/channel.h"
#include "amqp/connection_priv.h"
#include "base/error.h"
#include "base/mem.h"

enum {
    MS_PER_S = 1000
};

#define NEVER UINT64_MAX

static const char *
connection_state_name(const struct amqp_connection *c)
{
    switch (c->state) {
    case AMQP_HEADER:
    case AMQP_START:
    case AMQP_AUTHENTICATING:
    case AMQP_TUNE:
    case AMQP_OPEN:
        return "starting";
    case AMQP_RUNNING:
        return (c->pauses & AMQP_PAUSE_BLOCKED) != 0 ? "blocked" : "running";
    case AMQP_DRAINING:
    case AMQP_CLOSING:
    case AMQP_CLOSED:
        break;
    }
    return "closing";
}

void
amqp_connection_set_state(struct amqp_connection *c, enum amqp_state state)
{
    c->state = state;
    c->bc.state = connection_state_name(c);
}

static uint64_t
connection_now(const struct amqp_connection *c)
{
    return c->transport.now_ms(c->transport.arg);
}

void
amqp_connection_arm(struct amqp_connection *c)
{
    uint64_t next = MIN(c->deadline_ms, c->beat.next_ms);

    next = MIN(next, c->fresh_ms);
    if (next != c->told_ms && !c->is_lost) {
        c->told_ms = next;
        c->transport.deadline(c->transport.arg, next);
    }
}

void
amqp_connection_expect(struct amqp_connection *c, uint64_t ms)
{
    c->deadline_ms = ms == NEVER ? NEVER : connection_now(c) + ms;
    amqp_connection_arm(c);
}

void
amqp_connection_want_turn(struct amqp_connection *c)
{
    if (!c->is_turn_wanted && !c->is_lost) {
        c->is_turn_wanted = true;
        c->transport.want_turn(c->transport.arg);
    }
}

static void
connection_force_close(struct broker_connection *bc, const char *text)
{
    struct amqp_connection *c = CONTAINER_OF(bc, struct amqp_connection, bc);

    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    amqp_connection_fail(c, AMQP_CONNECTION_FORCED, AMQP_NO_METHOD,
                         "broker forced connection closure with reason '%s'",
                         text);
}

void
amqp_connection_shutdown(struct amqp_connection *c)
{
    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    connection_force_close(&c->bc, "shutdown");
}

static void
connection_describe(struct amqp_connection *c, const struct amqp_peer *peer)
{
    struct broker_connection *bc = &c->bc;

    (void)snprintf(bc->name, sizeof(bc->name), "%s", peer->name);
    (void)snprintf(bc->peer_host, sizeof(bc->peer_host), "%s", peer->host);
    bc->peer_port = peer->port;
    bc->port = peer->own_port;
    bc->protocol = "AMQP 0-9-1";
    bc->connected_ms = peer->wall_ms;
    bc->tls = peer->tls;
    bc->mechanism = c->mechanism;
    bc->force_close = connection_force_close;
    list_init(&bc->link);
    list_init(&bc->channels);
}

struct amqp_connection *
amqp_connection_new(const struct amqp_config *config, struct broker *broker,
                    const struct amqp_peer *peer,
                    const struct amqp_transport *transport)
{
    struct amqp_connection *c = mem_zalloc(1, sizeof(*c));
    uint32_t timeout_ms = config->handshake_timeout_ms;

    c->magic = AMQP_CONNECTION_MAGIC;
    c->config = config;
    c->broker = broker;
    c->transport = *transport;
    c->is_loopback = peer->is_loopback;
    c->frame_max = AMQP_FRAME_SIZE_INITIAL;
    c->need = 1;
    c->deadline_ms = NEVER;
    c->told_ms = NEVER;
    c->beat.next_ms = NEVER;
    if (peer->certified_user != NULL && peer->certified_user[0] != '\0') {
        c->certified_user = mem_strdup(peer->certified_user);
    }
    connection_describe(c, peer);
    amqp_connection_set_state(c, AMQP_HEADER);
    map_init(&c->channels);
    list_init(&c->telling);
    list_init(&c->yielding);
    list_init(&c->hungry);
    list_init(&c->fresh);
    list_init(&c->incomplete);
    c->fresh_ms = NEVER;
    buf_init(&c->out.frames);
    ring_init(&c->out.marks, sizeof(struct amqp_mark));
    amqp_connection_expect(c, timeout_ms > 0 ? timeout_ms
                                             : AMQP_HANDSHAKE_TIMEOUT_MS);
    log_info(config->log, "connection", "accepting AMQP connection %s",
             c->bc.name);
    return c;
}

void
amqp_connection_free(struct amqp_connection **connection)
{
    struct amqp_connection *c = *connection;
    struct amqp_channel *ch = NULL;
    uint64_t number = 0;
    size_t pos = 0;

    amqp_connection_lost(c);
    map_foreach (&c->channels, pos, number, ch) {
        amqp_channel_free(ch);
    }
    map_deinit(&c->channels);
    buf_deinit(&c->out.frames);
    ring_deinit(&c->out.marks);
    mem_free(c->certified_user);
    c->magic = 0;
    mem_free(c);
    *connection = NULL;
}

bool
amqp_connection_is_open(const struct amqp_connection *c)
{
    return c->is_registered;
}

bool
amqp_connection_is_private(const struct amqp_connection *c)
{
    return c->state == AMQP_HEADER || c->state == AMQP_START;
}

bool
amqp_connection_is_authenticating(const struct amqp_connection *c)
{
    return c->state == AMQP_AUTHENTICATING;
}

bool
amqp_connection_is_reading(const struct amqp_connection *c)
{
    return c->pauses == 0 && !c->is_lost;
}

void
amqp_connection_pause(struct amqp_connection *c, enum amqp_pause why, bool on)
{
    unsigned before = c->pauses;

    if (c->state == AMQP_CLOSED) {
        return; /* what comes is thrown away */
    }
    c->pauses = on ? before | why : before & ~(unsigned)why;
    c->bc.state = connection_state_name(c);
    if (c->is_lost || (before == 0) == (c->pauses == 0)) {
        return;
    }
    c->transport.read(c->transport.arg, c->pauses == 0);
}

void
amqp_connection_blocked_check(struct amqp_connection *c)
{
    struct amqp_method m = {.id = AMQP_connection_blocked};

    if (c->alarm_text[0] == '\0' || !c->has_published ||
        c->state != AMQP_RUNNING || (c->pauses & AMQP_PAUSE_BLOCKED) != 0) {
        return;
    }
    amqp_connection_pause(c, AMQP_PAUSE_BLOCKED, true);
    if (c->capabilities.connection_blocked) {
        m.connection_blocked.reason = amqp_text(c->alarm_text);
        amqp_output_method(c, 0, &m);
    }
}

void
amqp_connection_block(struct amqp_connection *c, const char *reason)
{
    struct amqp_method m = {.id = AMQP_connection_unblocked};

    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    (void)snprintf(c->alarm_text, sizeof(c->alarm_text), "%s",
                   reason != NULL ? reason : "");
    if (reason != NULL) {
        amqp_connection_blocked_check(c);
    } else if ((c->pauses & AMQP_PAUSE_BLOCKED) != 0) {
        if (c->capabilities.connection_blocked && c->state == AMQP_RUNNING) {
            amqp_output_method(c, 0, &m);
        }
        amqp_connection_pause(c, AMQP_PAUSE_BLOCKED, false);
    }
}

/* A method on channel 0. */
static void
connection_method(struct amqp_connection *c, const struct amqp_frame *frame)
{
    struct amqp_method m;
    struct error err = {""};
    int rv = 0;

    if (frame->type != AMQP_FRAME_METHOD) {
        amqp_connection_fail(c, AMQP_UNEXPECTED_FRAME, AMQP_NO_METHOD,
                             "expected a method frame on channel 0, got one "
                             "of type %u",
                             frame->type);
        return;
    }
    rv = amqp_method_decode(frame->payload, frame->size, &m, &err);
    if (rv == 0) {
        amqp_handshake_method(c, &m);
    } else if (rv == -QR_EUNSUPPORTED) {
        amqp_connection_fail(c, AMQP_COMMAND_INVALID, m.id, "%s", err.text);
    } else {
        amqp_connection_fail(c, AMQP_SYNTAX_ERROR, AMQP_NO_METHOD, "%s",
                             err.text);
    }
}

static void
connection_frame(struct amqp_connection *c, const struct amqp_frame *frame,
                 const struct slice *bytes)
{
    switch (frame->type) {
    case AMQP_FRAME_METHOD:
    case AMQP_FRAME_HEADER:
    case AMQP_FRAME_BODY:
        break;
    case AMQP_FRAME_HEARTBEAT:
        return;
    default:
        amqp_connection_fail(c, AMQP_FRAME_ERROR, AMQP_NO_METHOD,
                             "unknown frame type %u on channel %u", frame->type,
                             frame->channel);
        return;
    }
    if (frame->channel == 0) {
        connection_method(c, frame);
    } else if (c->state == AMQP_RUNNING) {
        amqp_channel_frame(c, frame, bytes);
    } else if (c->state < AMQP_RUNNING) {
        amqp_connection_fail(c, AMQP_UNEXPECTED_FRAME, AMQP_NO_METHOD,
                             "frame on channel %u before connection.open",
                             frame->channel);
    }
}

/* The frame at the start of SIZE bytes at DATA, within BYTES. Returns what was
 * consumed; 0 for not enough. */
static size_t
connection_step(struct amqp_connection *c, const uint8_t *data, size_t size,
                const struct slice *bytes)
{
    struct amqp_frame frame;
    int64_t taken = 0;

    if (c->state == AMQP_HEADER) {
        return amqp_handshake_header(c, data, size);
    }
    taken = amqp_frame_decode(data, size, c->frame_max, &frame, &c->need);
    if (taken > 0) {
        connection_frame(c, &frame, bytes);
        return (size_t)taken;
    }
    if (taken == 0) {
        return 0;
    }
    if (c->state == AMQP_CLOSING) {
        amqp_connection_end(c, true);
    } else if (taken == -QR_ETOOBIG) {
        amqp_connection_fail(c, AMQP_FRAME_ERROR, AMQP_NO_METHOD,
                             "type %u, channel %u: a frame with %u bytes of "
                             "payload is larger than the negotiated maximum "
                             "of %u bytes",
                             frame.type, frame.channel, frame.size,
                             c->frame_max);
    } else {
        amqp_connection_fail(c, AMQP_FRAME_ERROR, AMQP_NO_METHOD,
                             "type %u, channel %u, %u bytes of payload: "
                             "invalid frame end marker",
                             frame.type, frame.channel, frame.size);
    }
    /* Where the next frame begins is not known any more. */
    c->is_garbled = true;
    return size;
}

void
amqp_connection_share(struct amqp_connection *c, size_t size)
{
    c->share_frames++;
    c->share_bytes += size;
    if (c->share_frames >= AMQP_TURN_FRAMES ||
        c->share_bytes >= AMQP_TURN_BYTES) {
        amqp_connection_pause(c, AMQP_PAUSE_TURN, true);
        amqp_connection_want_turn(c);
    }
}

/* A share is of a turn; turns within a millisecond have one. */
static void
connection_share_begin(struct amqp_connection *c)
{
    uint64_t now_ms = connection_now(c);

    if (now_ms != c->share_ms) {
        c->share_ms = now_ms;
        c->share_frames = 0;
        c->share_bytes = 0;
    }
}

size_t
amqp_connection_input(struct amqp_connection *c, const struct slice *bytes)
{
    size_t used = 0;

    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    ASSERT(bytes->size >= c->unread);
    c->bc.bytes_received += bytes->size - c->unread;
    connection_share_begin(c);
    while (used < bytes->size && amqp_connection_is_reading(c)) {
        size_t step = 0;

        if (c->state == AMQP_CLOSED || c->state == AMQP_DRAINING ||
            c->is_garbled) {
            used = bytes->size;
            break;
        }
        step =
            connection_step(c, bytes->data + used, bytes->size - used, bytes);
        if (step == 0) {
            break;
        }
        used += step;
        c->need = 1;
        amqp_connection_share(c, step);
    }
    amqp_publish_keep(c);
    c->unread = bytes->size - used;
    return used;
}

size_t
amqp_connection_need(const struct amqp_connection *c)
{
    return c->need;
}

void
amqp_connection_turn(struct amqp_connection *c)
{
    struct list *entry = NULL;

    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    c->is_turn_wanted = false;
    if (c->is_lost) {
        return;
    }
    if ((c->pauses & AMQP_PAUSE_TURN) != 0) {
        c->share_frames = 0;
        c->share_bytes = 0;
        amqp_connection_pause(c, AMQP_PAUSE_TURN, false);
    }
    while ((c->pauses & AMQP_PAUSE_TURN) == 0 &&
           (entry = list_pop_front(&c->yielding)) != NULL) {
        amqp_channel_continue(
            list_entry(entry, struct amqp_channel, yielding_link));
    }
    while ((entry = list_pop_front(&c->telling)) != NULL) {
        amqp_channel_tell(list_entry(entry, struct amqp_channel, telling_link));
    }
}

void
amqp_connection_writable(struct amqp_connection *c, size_t backlog)
{
    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    if (!c->is_lost) {
        amqp_output_taken(c, backlog);
    }
}

/* The heartbeat's half interval is over. */
static void
connection_beat(struct amqp_connection *c, uint64_t now_ms)
{
    static const uint8_t heartbeat[AMQP_FRAME_OVERHEAD] = {
        AMQP_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, AMQP_FRAME_END};
    uint64_t interval_ms = (uint64_t)c->heartbeat_s * MS_PER_S;
    struct amqp_beat *beat = &c->beat;

    /* One that is not read cannot be heard. */
    if (c->bc.bytes_received != beat->seen_in || c->pauses != 0) {
        beat->heard_ms = now_ms;
    } else if (now_ms - beat->heard_ms >= 2 * interval_ms) {
        log_error(c->config->log, "connection",
                  "closing AMQP connection (%s, vhost: '%s', user: '%s'): "
                  "missed heartbeats from client, timeout: %us",
                  c->bc.name, c->bc.vhost, c->bc.user,
                  (unsigned)c->heartbeat_s);
        amqp_connection_end(c, false);
        return;
    }
    if (c->bc.bytes_sent == beat->seen_out) {
        amqp_output_bytes(c, heartbeat, sizeof(heartbeat));
    }
    beat->seen_in = c->bc.bytes_received;
    beat->seen_out = c->bc.bytes_sent;
    beat->next_ms = now_ms + interval_ms / 2;
}

void
amqp_connection_beat_start(struct amqp_connection *c)
{
    uint64_t now_ms = connection_now(c);

    if (c->heartbeat_s > 0) {
        c->beat = (struct amqp_beat){
            .seen_in = c->bc.bytes_received,
            .seen_out = c->bc.bytes_sent,
            .heard_ms = now_ms,
            .next_ms = now_ms + (uint64_t)c->heartbeat_s * MS_PER_S / 2};
        amqp_connection_arm(c);
    }
}

void
amqp_connection_fresh(struct amqp_connection *c, struct list *link)
{
    list_push_back(&c->fresh, link);
    if (c->fresh_ms == NEVER) {
        c->fresh_ms = connection_now(c) + AMQP_CREDIT_IDLE_MS;
        amqp_connection_arm(c);
    }
}

/* Whoever has got nothing by now may have all. */
static void
connection_feed_fresh(struct amqp_connection *c)
{
    struct list *entry = NULL;

    c->fresh_ms = NEVER;
    while ((entry = list_pop_front(&c->fresh)) != NULL) {
        amqp_consumer_feed(
            list_entry(entry, struct amqp_consumer, waiting_link));
    }
}

static void
connection_expired(struct amqp_connection *c)
{
    c->deadline_ms = NEVER;
    if (c->state < AMQP_RUNNING) {
        log_error(c->config->log, "connection",
                  "closing AMQP connection (%s): handshake timeout in state "
                  "%s",
                  c->bc.name, c->bc.state);
    }
    amqp_connection_end(c, c->state == AMQP_DRAINING);
}

void
amqp_connection_tick(struct amqp_connection *c, uint64_t now_ms)
{
    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    c->told_ms = NEVER; /* the timer has run */
    if (c->is_lost || c->state == AMQP_CLOSED) {
        return;
    }
    if (now_ms >= c->deadline_ms) {
        connection_expired(c);
    } else if (now_ms >= c->beat.next_ms) {
        connection_beat(c, now_ms);
    }
    if (now_ms >= c->fresh_ms) {
        connection_feed_fresh(c);
    }
    amqp_connection_arm(c);
}
