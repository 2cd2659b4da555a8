/* The methods of class connection: who the client is, what was agreed with
 * it, and its leave.
 *
 * A login that fails tells the client as little as RabbitMQ does; the log has
 * the reason. Clients that do not announce authentication_failure_close
 * expect the socket to be closed without a word. */
#include <quorate/error.h>
#include <quorate/version.h>
#include <stdio.h>
#include <string.h>

#include "amqp/channel.h"
#include "amqp/connection_priv.h"
#include "amqp/table.h"
#include "auth/amqplain.h"
#include "auth/credential.h"
#include "auth/mechanism.h"
#include "auth/plain.h"

static const uint8_t PROTOCOL_HEADER[] = {'A', 'M', 'Q', 'P', 0, 0, 9, 1};

/* What connection.start announces: RabbitMQ's list (compat: A.1), and whether
 * it is so here. */
static const struct {
    const char *name;
    bool is_served;
} CAPABILITIES[] = {
    {"publisher_confirms", true},
    {"exchange_exchange_bindings", true},
    {"basic.nack", true},
    {"consumer_cancel_notify", true},
    {"connection.blocked", true},
    {"consumer_priorities", false},
    {"authentication_failure_close", true},
    {"per_consumer_qos", true},
    {"direct_reply_to", true},
};

/* What this client may choose from: EXTERNAL only where it can succeed. */
static unsigned
handshake_mechanisms(const struct amqp_connection *c)
{
    unsigned all = c->config->mechanisms;

    if (all == 0) {
        all = AUTH_DEFAULT;
    }
    return c->certified_user != NULL ? all : all & ~(unsigned)AUTH_EXTERNAL;
}

static void
handshake_send_start(struct amqp_connection *c)
{
    struct amqp_method m = {.id = AMQP_connection_start};
    struct buf names;
    struct buf t;
    size_t mark = 0;

    buf_init(&t);
    mark = amqp_table_begin(&t, "capabilities");
    for (size_t i = 0; i < ARRAY_COUNT(CAPABILITIES); i++) {
        amqp_table_put_bool(&t, CAPABILITIES[i].name,
                            CAPABILITIES[i].is_served);
    }
    amqp_table_end(&t, mark);
    amqp_table_put_text(&t, "cluster_name",
                        amqp_text(broker_cluster_name(c->broker)));
    amqp_table_put_text(&t, "copyright",
                        amqp_text("Copyright (c) 2026 the Quorate authors"));
    amqp_table_put_text(&t, "information",
                        amqp_text("Licensed under the Apache License 2.0"));
    amqp_table_put_text(&t, "platform", amqp_text("C11, Linux"));
    amqp_table_put_text(&t, "product", amqp_text("Quorate"));
    amqp_table_put_text(&t, "version", amqp_text(QR_VERSION_STRING));
    m.connection_start.version_major = 0;
    m.connection_start.version_minor = 9;
    m.connection_start.server_properties =
        (struct amqp_text){(const char *)t.data, t.size};
    buf_init(&names);
    auth_mechanism_names(handshake_mechanisms(c), &names);
    m.connection_start.mechanisms =
        (struct amqp_text){(const char *)names.data, names.size};
    m.connection_start.locales = amqp_text("en_US");
    amqp_output_method(c, 0, &m);
    buf_deinit(&names);
    buf_deinit(&t);
}

size_t
amqp_handshake_header(struct amqp_connection *c, const uint8_t *data,
                      size_t size)
{
    size_t seen = MIN(size, sizeof(PROTOCOL_HEADER));

    if (memcmp(data, PROTOCOL_HEADER, seen) != 0) {
        log_error(c->config->log, "connection",
                  "closing AMQP connection (%s): the client does not speak "
                  "AMQP 0-9-1",
                  c->bc.name);
        amqp_output_bytes(c, PROTOCOL_HEADER, sizeof(PROTOCOL_HEADER));
        amqp_connection_end(c, true);
        return size;
    }
    if (seen < sizeof(PROTOCOL_HEADER)) {
        c->need = sizeof(PROTOCOL_HEADER);
        return 0;
    }
    amqp_connection_set_state(c, AMQP_START);
    handshake_send_start(c);
    return seen;
}

static void
handshake_keep_text(char *out, size_t out_size, struct amqp_text text)
{
    (void)snprintf(out, out_size, "%.*s", (int)MIN(text.size, out_size - 1),
                   text.data);
}

static void
handshake_read_properties(struct amqp_connection *c, struct amqp_text table)
{
    struct amqp_value v;

    if ((amqp_table_get(table, "connection_name", &v) && v.type == 'S') ||
        (amqp_table_get(table, "product", &v) && v.type == 'S')) {
        handshake_keep_text(c->bc.client, sizeof(c->bc.client), v.text);
    }
    if (amqp_table_get(table, "capabilities", &v) && v.type == 'F') {
        c->capabilities.consumer_cancel_notify =
            amqp_table_is_set(v.text, "consumer_cancel_notify");
        c->capabilities.connection_blocked =
            amqp_table_is_set(v.text, "connection.blocked");
        c->capabilities.authentication_failure_close =
            amqp_table_is_set(v.text, "authentication_failure_close");
    }
}

static void
handshake_refuse(struct amqp_connection *c, const char *why)
{
    log_error(c->config->log, "connection",
              "error on AMQP connection (%s): %s login refused: user '%s' - "
              "%s",
              c->bc.name, c->mechanism, c->bc.user, why);
    if (!c->capabilities.authentication_failure_close) {
        amqp_connection_end(c, true);
        return;
    }
    amqp_connection_fail(c, AMQP_ACCESS_REFUSED, AMQP_NO_METHOD,
                         "Login was refused using authentication mechanism "
                         "%s. For details see the broker logfile.",
                         c->mechanism);
}

static uint32_t
handshake_frame_max(const struct amqp_connection *c)
{
    uint32_t configured = c->config->frame_max;

    return configured > 0 ? configured : AMQP_FRAME_SIZE_MAX;
}

static uint16_t
handshake_channel_max(const struct amqp_connection *c)
{
    uint16_t configured = c->config->channel_max;

    return configured > 0 ? configured : AMQP_CHANNELS_MAX;
}

static void
handshake_authenticated(struct broker_call *call,
                        const struct broker_reply *reply)
{
    struct amqp_connection *c = call->arg;
    struct amqp_method m = {.id = AMQP_connection_tune};

    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    ASSERT(c->state == AMQP_AUTHENTICATING);
    amqp_connection_pause(c, AMQP_PAUSE_AUTHENTICATING, false);
    if (reply->fault.kind != BROKER_OK) {
        handshake_refuse(c, reply->fault.text);
        return;
    }
    m.connection_tune.channel_max = handshake_channel_max(c);
    m.connection_tune.frame_max = handshake_frame_max(c);
    m.connection_tune.heartbeat = c->config->heartbeat_s;
    amqp_connection_set_state(c, AMQP_TUNE);
    amqp_output_method(c, 0, &m);
}

static struct broker_origin
handshake_origin(const struct amqp_connection *c)
{
    return (struct broker_origin){.host = c->bc.peer_host,
                                  .is_loopback = c->is_loopback};
}

static void
handshake_authenticate(struct amqp_connection *c, const struct credential *who,
                       void (*done)(struct broker_call *call,
                                    const struct broker_reply *reply))
{
    struct broker_origin from = handshake_origin(c);

    c->call = (struct broker_call){.done = done, .arg = c};
    amqp_connection_pause(c, AMQP_PAUSE_AUTHENTICATING, true);
    broker_authenticate(c->broker, meta_text(who->user, who->user_size),
                        meta_text(who->password, who->password_size), &from,
                        &c->call);
}

/* The user that the client's certificate names. */
static void
handshake_authenticate_external(struct amqp_connection *c)
{
    struct broker_origin from = handshake_origin(c);

    ASSERT(c->certified_user != NULL);
    c->call = (struct broker_call){.done = handshake_authenticated, .arg = c};
    amqp_connection_pause(c, AMQP_PAUSE_AUTHENTICATING, true);
    broker_authenticate_external(
        c->broker, meta_text(c->certified_user, strlen(c->certified_user)),
        &from, &c->call);
}

/* What CHOSEN's response says; -QR_EUNSUPPORTED: it was not offered. EXTERNAL
 * has a user without a password, whatever the response is: as with RabbitMQ
 * nobody acts as somebody else. */
static int
handshake_parse(const struct amqp_connection *c, unsigned chosen,
                struct amqp_text response, struct credential *out)
{
    switch (chosen) {
    case AUTH_PLAIN:
        return plain_parse(response.data, response.size, out);
    case AUTH_AMQPLAIN:
        return amqplain_parse(response.data, response.size, out);
    case AUTH_EXTERNAL:
        out->user = c->certified_user;
        out->user_size = strlen(c->certified_user);
        return 0;
    default:
        return -QR_EUNSUPPORTED;
    }
}

static void
handshake_start_ok(struct amqp_connection *c, const struct amqp_method *m)
{
    const struct amqp_connection_start_ok *ok = &m->connection_start_ok;
    struct credential who = {.user = "", .password = ""};
    unsigned chosen =
        auth_mechanism_parse(ok->mechanism.data, ok->mechanism.size) &
        handshake_mechanisms(c);
    int rv = handshake_parse(c, chosen, ok->response, &who);

    handshake_read_properties(c, ok->client_properties);
    handshake_keep_text(c->mechanism, sizeof(c->mechanism), ok->mechanism);
    if (rv == -QR_EUNSUPPORTED) {
        amqp_connection_fail(c, AMQP_COMMAND_INVALID, m->id,
                             "unknown authentication mechanism '%s'",
                             c->mechanism);
        return;
    }
    handshake_keep_text(c->bc.user, sizeof(c->bc.user),
                        (struct amqp_text){who.user, who.user_size});
    amqp_connection_set_state(c, AMQP_AUTHENTICATING);
    if (rv != 0 || who.user_size != strlen(c->bc.user)) {
        handshake_refuse(c, "malformed response");
        return;
    }
    if (chosen == AUTH_EXTERNAL) {
        handshake_authenticate_external(c);
    } else {
        handshake_authenticate(c, &who, handshake_authenticated);
    }
}

/* RabbitMQ's rule: 0 is no limit, and above any limit of the server's. */
static bool
handshake_negotiate(struct amqp_connection *c, const char *what, uint32_t low,
                    uint32_t high, uint32_t value)
{
    if (value != 0 && value < low) {
        amqp_connection_fail(c, AMQP_NOT_ALLOWED, AMQP_connection_tune_ok,
                             "negotiated %s = %u is lower than the minimum "
                             "allowed value (%u)",
                             what, value, low);
        return false;
    }
    if (value == 0 || value > high) {
        amqp_connection_fail(c, AMQP_NOT_ALLOWED, AMQP_connection_tune_ok,
                             "negotiated %s = %u is higher than the maximum "
                             "allowed value (%u)",
                             what, value, high);
        return false;
    }
    return true;
}

static void
handshake_tune_ok(struct amqp_connection *c, const struct amqp_method *m)
{
    const struct amqp_connection_tune_ok *ok = &m->connection_tune_ok;

    if (!handshake_negotiate(c, "channel_max", 1, handshake_channel_max(c),
                             ok->channel_max) ||
        !handshake_negotiate(c, "frame_max", AMQP_FRAME_SIZE_MIN,
                             handshake_frame_max(c), ok->frame_max)) {
        return;
    }
    c->channel_max = ok->channel_max;
    c->frame_max = ok->frame_max;
    c->heartbeat_s = ok->heartbeat;
    amqp_connection_set_state(c, AMQP_OPEN);
    amqp_connection_beat_start(c);
}

static void
handshake_open(struct amqp_connection *c, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_connection_open_ok};
    struct broker_fault fault = {.kind = BROKER_OK};

    handshake_keep_text(c->bc.vhost, sizeof(c->bc.vhost),
                        m->connection_open.virtual_host);
    broker_connection_open(c->broker, &c->bc, &fault);
    if (fault.kind != BROKER_OK) {
        amqp_connection_fail(c, amqp_error_of_fault(fault.kind)->code, m->id,
                             "%s", fault.text);
        return;
    }
    c->is_registered = true;
    amqp_connection_set_state(c, AMQP_RUNNING);
    amqp_connection_expect(c, UINT64_MAX);
    ok.connection_open_ok.reserved_1 = amqp_text("");
    amqp_output_method(c, 0, &ok);
    log_info(c->config->log, "connection",
             "connection %s: user '%s' authenticated and granted access to "
             "vhost '%s'",
             c->bc.name, c->bc.user, c->bc.vhost);
}

static void
handshake_close(struct amqp_connection *c)
{
    amqp_connection_set_state(c, AMQP_DRAINING);
    c->beat.next_ms = UINT64_MAX;
    c->fresh_ms = UINT64_MAX;
    amqp_connection_expect(c, AMQP_DRAIN_TIMEOUT_MS);
    amqp_connection_drained(c);
}

static void
handshake_secret_updated(struct broker_call *call,
                         const struct broker_reply *reply)
{
    struct amqp_connection *c = call->arg;
    struct amqp_method m = {.id = AMQP_connection_update_secret_ok};

    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    amqp_connection_pause(c, AMQP_PAUSE_AUTHENTICATING, false);
    if (reply->fault.kind != BROKER_OK) {
        amqp_connection_fail(c, AMQP_NOT_ALLOWED, AMQP_connection_update_secret,
                             "New secret was refused by one of the backends");
        return;
    }
    amqp_output_method(c, 0, &m);
}

static void
handshake_update_secret(struct amqp_connection *c, const struct amqp_method *m)
{
    struct amqp_text secret = m->connection_update_secret.new_secret;
    struct credential who = {.user = c->bc.user,
                             .user_size = strlen(c->bc.user),
                             .password = secret.size > 0 ? secret.data : "",
                             .password_size = secret.size};

    log_info(c->config->log, "connection",
             "connection %s: user '%s' updates its secret, reason: %.*s",
             c->bc.name, c->bc.user,
             (int)m->connection_update_secret.reason.size,
             m->connection_update_secret.reason.data);
    handshake_authenticate(c, &who, handshake_secret_updated);
}

/* Our connection.close is on its way: nothing but the end matters. */
static void
handshake_closing(struct amqp_connection *c, const struct amqp_method *m)
{
    struct amqp_method ok = {.id = AMQP_connection_close_ok};

    if (m->id == AMQP_connection_close_ok) {
        amqp_connection_end(c, true);
    } else if (m->id == AMQP_connection_close) {
        amqp_output_method(c, 0, &ok);
    }
}

/* What may come when. */
struct handshake_step {
    enum amqp_state state;
    enum amqp_method_id method;
    void (*handle)(struct amqp_connection *c, const struct amqp_method *m);
};

static const struct handshake_step STEPS[] = {
    {AMQP_START, AMQP_connection_start_ok, handshake_start_ok},
    {AMQP_TUNE, AMQP_connection_tune_ok, handshake_tune_ok},
    {AMQP_OPEN, AMQP_connection_open, handshake_open},
    {AMQP_RUNNING, AMQP_connection_update_secret, handshake_update_secret},
};

void
amqp_handshake_method(struct amqp_connection *c, const struct amqp_method *m)
{
    if (c->state >= AMQP_CLOSING) {
        handshake_closing(c, m);
        return;
    }
    if (m->id == AMQP_connection_close) {
        handshake_close(c);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(STEPS); i++) {
        if (STEPS[i].state == c->state && STEPS[i].method == m->id) {
            STEPS[i].handle(c, m);
            return;
        }
    }
    amqp_connection_fail(c, AMQP_CHANNEL_ERROR, m->id,
                         "unexpected method in connection state %s",
                         c->bc.state);
}
