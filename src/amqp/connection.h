/* A client's AMQP 0-9-1 connection, without I/O: bytes in, bytes out, time
 * passed in, calls to the broker.
 *
 *     bytes            amqp_connection_input        struct amqp_transport
 *   ---------> transport ------------> connection ------------> transport
 *                                      |        ^
 *                         broker.h     v        |   callbacks of broker.h
 *                                       broker
 *
 * States (specification 2.2.4 and the reference's class connection):
 *
 *   HEADER --"AMQP0091"--> START --start-ok--> AUTHENTICATING --accepted-->
 *   TUNE --tune-ok--> OPEN --open--> RUNNING --close--> DRAINING --> CLOSED
 *                                       |
 *            any --error, force_close-> CLOSING --close-ok or time--> CLOSED
 *
 * DRAINING waits for what the client sent before its close to reach the
 * broker; CLOSING discards everything but close and close-ok. Every wait has a
 * deadline. Everything runs on one thread, the broker's. */
#ifndef AMQP_CONNECTION_H
#define AMQP_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct amqp_connection;
struct broker;
struct broker_tls;
struct logger;
struct slice;

/* Shared by connections; borrowed for their life. */
struct amqp_config {
    const struct logger *log;      /* may be NULL */
    uint32_t frame_max;            /* proposed; 0: AMQP_FRAME_SIZE_MAX */
    uint16_t channel_max;          /* proposed; 0: AMQP_CHANNELS_MAX */
    uint16_t heartbeat_s;          /* proposed; 0 proposes none */
    uint32_t handshake_timeout_ms; /* 0: AMQP_HANDSHAKE_TIMEOUT_MS */
    uint32_t message_size_max;     /* of a body; 0: BROKER_MESSAGE_SIZE_MAX */
    unsigned mechanisms;           /* enum auth_mechanism; 0: AUTH_DEFAULT */
};

/* What carries a connection's bytes. No function calls back into it. */
struct amqp_transport {
    void *arg;
    /* Queue SIZE bytes at DATA (copied), or *SLICE (taken). */
    void (*write)(void *arg, const void *data, size_t size);
    void (*write_slice)(void *arg, struct slice *slice);
    /* Stop or resume calling amqp_connection_input(). */
    void (*read)(void *arg, bool on);
    /* The connection is over; once. FLUSH: write what is queued first. Then
     * amqp_connection_lost(). */
    void (*close)(void *arg, bool flush);
    /* Call amqp_connection_turn() before this turn ends, and
     * amqp_connection_writable() when its output has been given to the socket.
     * Called at most once until that turn. */
    void (*want_turn)(void *arg);
    /* Call amqp_connection_tick() at AT_MS; instead of the time given before.
     * UINT64_MAX: not at all. */
    void (*deadline)(void *arg, uint64_t at_ms);
    /* The monotonic clock of the ticks. */
    uint64_t (*now_ms)(void *arg);
};

/* Who connected; borrowed for the call that takes it, TLS for the life of the
 * connection. */
struct amqp_peer {
    const char *name; /* "127.0.0.1:40000 -> 127.0.0.1:5672" */
    const char *host;
    uint16_t port;
    uint16_t own_port;
    bool is_loopback;             /* from this machine */
    uint64_t wall_ms;             /* now, since 1970 */
    const struct broker_tls *tls; /* NULL: no TLS */
    /* The user that the client's certificate names, for EXTERNAL; NULL or "":
     * none, and EXTERNAL is not offered. */
    const char *certified_user;
};

/* A connection that awaits its protocol header. CONFIG and BROKER are borrowed
 * for its life, TRANSPORT is copied. */
struct amqp_connection *
amqp_connection_new(const struct amqp_config *config, struct broker *broker,
                    const struct amqp_peer *peer,
                    const struct amqp_transport *transport);
/* Whether its vhost is open: it knows who it serves. */
bool amqp_connection_is_open(const struct amqp_connection *c);
/* Whether it is the broker's answer to a login that it waits for. */
bool amqp_connection_is_authenticating(const struct amqp_connection *c);
/* The client is gone, in whatever state: leaves the broker. Nothing is called
 * or written after this. Idempotent. */
void amqp_connection_lost(struct amqp_connection *c);
/* Free *C (nulled); lost first if it was not. */
void amqp_connection_free(struct amqp_connection **c);

/* BYTES (borrowed) are all that is unread. Returns how many were consumed; the
 * rest comes again with more, or after reading was resumed. */
size_t amqp_connection_input(struct amqp_connection *c,
                             const struct slice *bytes);
/* Whether the next input may have a password in it. What is consumed of that is
 * kept nowhere, and the caller should overwrite it. */
bool amqp_connection_is_private(const struct amqp_connection *c);
/* Bytes that the next input must have for anything to be consumed; a hint. */
size_t amqp_connection_need(const struct amqp_connection *c);
/* The turn ends: tells publishers what it confirmed. */
void amqp_connection_turn(struct amqp_connection *c);
/* BACKLOG bytes of what was written have not been taken by the socket. What
 * consumers without acknowledgements were sent before those is settled. */
void amqp_connection_writable(struct amqp_connection *c, size_t backlog);
/* Deadlines and heartbeats. */
void amqp_connection_tick(struct amqp_connection *c, uint64_t now_ms);

/* Close it with RabbitMQ's 320 text, because the node stops. */
void amqp_connection_shutdown(struct amqp_connection *c);
/* An alarm (REASON such as "low on memory") holds publishers up, until REASON
 * NULL. Consumers go on unless their connection publishes (RabbitMQ's
 * connection.blocked). */
void amqp_connection_block(struct amqp_connection *c, const char *reason);

#endif
