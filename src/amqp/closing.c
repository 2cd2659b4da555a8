/* How a connection ends: by the client's leave, by an error, by force, by the
 * loss of its socket. Whatever the way, it leaves the broker once, and what
 * handlers up the stack may still hold stays until it is freed. */
#include <stdarg.h>
#include <stdio.h>

#include "amqp/channel.h"
#include "amqp/connection_priv.h"

#define NEVER UINT64_MAX

/* Take every channel out of the broker. They stay in the map: a handler up
 * the stack may hold one. */
static void
connection_release_channels(struct amqp_connection *c)
{
    struct amqp_channel *ch = NULL;
    uint64_t number = 0;
    size_t pos = 0;

    map_foreach (&c->channels, pos, number, ch) {
        amqp_channel_release(ch);
    }
    ring_clear(&c->out.marks);
}

static void
connection_leave_broker(struct amqp_connection *c)
{
    broker_call_abandon(&c->call);
    connection_release_channels(c);
    if (c->is_registered) {
        c->is_registered = false;
        broker_connection_closed(c->broker, &c->bc);
    }
}

static void
connection_log_end(const struct amqp_connection *c)
{
    const struct broker_connection *bc = &c->bc;

    if (c->state >= AMQP_CLOSING) {
        log_info(c->config->log, "connection",
                 "closing AMQP connection (%s, vhost: '%s', user: '%s')",
                 bc->name, bc->vhost, bc->user);
    } else {
        log_warning(c->config->log, "connection",
                    "closing AMQP connection (%s, vhost: '%s', user: '%s'): "
                    "client unexpectedly closed TCP connection",
                    bc->name, bc->vhost, bc->user);
    }
}

void
amqp_connection_lost(struct amqp_connection *c)
{
    OBJ_CHECK(c, AMQP_CONNECTION_MAGIC);
    if (c->is_lost) {
        return;
    }
    c->is_lost = true;
    connection_log_end(c);
    connection_leave_broker(c);
    amqp_connection_set_state(c, AMQP_CLOSED);
}

void
amqp_connection_end(struct amqp_connection *c, bool flush)
{
    if (c->is_lost || c->state == AMQP_CLOSED) {
        return;
    }
    amqp_connection_set_state(c, AMQP_CLOSED);
    c->deadline_ms = NEVER;
    c->beat.next_ms = NEVER;
    c->fresh_ms = NEVER;
    amqp_connection_arm(c);
    connection_leave_broker(c);
    c->transport.close(c->transport.arg, flush);
}

/* All that was asked for before the client's connection.close has been done,
 * or never will be. */
static void
connection_close_ok(struct amqp_connection *c)
{
    struct amqp_method m = {.id = AMQP_connection_close_ok};

    connection_leave_broker(c);
    amqp_output_method(c, 0, &m);
    amqp_connection_end(c, true);
}

void
amqp_connection_fail(struct amqp_connection *c, enum amqp_code code,
                     uint32_t method, const char *fmt, ...)
{
    const struct amqp_error *e = amqp_error(code);
    struct amqp_method m = {.id = AMQP_connection_close};
    char why[AMQP_REPLY_TEXT_SIZE];
    char text[AMQP_REPLY_TEXT_SIZE];
    va_list args;

    if (c->is_lost || c->state >= AMQP_CLOSING) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    amqp_reply_text(text, e, why);
    log_error(c->config->log, "connection",
              "error on AMQP connection (%s, vhost: '%s', user: '%s', state: "
              "%s): operation %s caused a connection exception: %s",
              c->bc.name, c->bc.vhost, c->bc.user, c->bc.state,
              amqp_method_name(method), text);
    if (c->state == AMQP_HEADER) {
        amqp_connection_end(c, false);
        return;
    }
    if (c->state == AMQP_DRAINING) {
        connection_close_ok(c); /* what the client waits for, as RabbitMQ */
        return;
    }
    m.connection_close.reply_code = e->code;
    m.connection_close.reply_text = amqp_text(text);
    m.connection_close.class_id = amqp_class_of(method);
    m.connection_close.method_id = amqp_method_of(method);
    broker_call_abandon(&c->call);
    connection_release_channels(c);
    amqp_output_method(c, 0, &m);
    amqp_connection_set_state(c, AMQP_CLOSING);
    c->beat.next_ms = NEVER;
    c->fresh_ms = NEVER;
    amqp_connection_pause(c, (enum amqp_pause)c->pauses, false);
    amqp_connection_expect(c, AMQP_CLOSE_TIMEOUT_MS);
}

void
amqp_connection_drained(struct amqp_connection *c)
{
    struct amqp_channel *ch = NULL;
    uint64_t number = 0;
    size_t pos = 0;

    if (c->state != AMQP_DRAINING) {
        return;
    }
    map_foreach (&c->channels, pos, number, ch) {
        if (!amqp_channel_is_idle(ch)) {
            return;
        }
    }
    connection_close_ok(c);
}
