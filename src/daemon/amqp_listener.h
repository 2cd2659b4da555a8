/* AMQP on TCP: accepts for one shard, and carries bytes between its streams
 * and amqp/connection.h.
 *
 *   listener --accept--> client { stream <--> amqp_connection, timer }
 *
 * Made last of a shard's rooms, so that its turn hook runs after the broker's
 * and tells in the same turn what that confirmed. */
#ifndef DAEMON_AMQP_LISTENER_H
#define DAEMON_AMQP_LISTENER_H

#include <stdatomic.h>
#include <stddef.h>

#include "amqp/connection.h"
#include "base/check.h"
#include "net/tls_cert.h"

struct amqp_listener;
struct broker;
struct env;
struct error;
struct net;
struct tls_store;

enum {
    AMQP_LISTENER_SOCKETS_MAX = 64, /* of one shard; more: -QR_EBUSY */
    AMQP_LISTENER_FLUSH_MS = 5000,  /* for the last words of a connection */
    /* Whoever is younger may not be slow, only one of many that came at once:
     * it is not closed to make room. */
    AMQP_LISTENER_GRACE_MS = 1000,
    AMQP_LISTENER_SAY_MS = 1000 /* refusals are told once in this time */
};

/* How many a node lets in; shared by the listeners of its shards.
 *
 * At connections_max a newcomer is closed. At handshakes_max the connection
 * that has been without an open vhost for the longest is closed instead, if it
 * is this shard's, is older than the grace, and it is the client that is waited
 * for; if there is none such, the newcomer is. So clients that connect and say
 * nothing, or say it slowly, keep nobody out. */
struct amqp_gate {
    size_t connections_max; /* connection_max */
    size_t handshakes_max;  /* handshake_max: of them, not open yet */
    _Atomic size_t connections;
    _Atomic size_t handshakes;
};

/* How a socket speaks TLS. */
struct amqp_listener_tls {
    struct tls_store *store; /* borrowed for the listener's life */
    struct tls_login login;  /* of a client's certificate, for EXTERNAL */
    uint32_t handshake_ms;   /* for its TLS handshake */
};

/* A front end on ENV's shard for BROKER; nothing listens yet. ENV, NET, BROKER
 * and GATE are borrowed for its life, CONFIG is copied (its logger borrowed).
 */
struct amqp_listener *amqp_listener_new(struct env *env, struct net *net,
                                        struct broker *broker,
                                        struct amqp_gate *gate,
                                        const struct amqp_config *config);
/* Accept from FD, bound by listener_bind_tcp() and taken, also on failure. TLS
 * (copied) is NULL for a socket without. -QR_EIO, -QR_EBUSY. */
MUST_USE int amqp_listener_listen(struct amqp_listener *l, int fd,
                                  const struct amqp_listener_tls *tls,
                                  struct error *err);
/* Accept no more, and close all connections with RabbitMQ's 320 text; they go
 * when their clients have taken note, or after some seconds. */
void amqp_listener_stop(struct amqp_listener *l);
/* Connections that are not gone yet. */
size_t amqp_listener_clients(const struct amqp_listener *l);
/* All publishers of this shard are held up because of REASON ("low on
 * memory"), new ones too; NULL: they go on. */
void amqp_listener_block(struct amqp_listener *l, const char *reason);
/* Free *L (nulled), once its streams and sockets have closed
 * (net_close_all). */
void amqp_listener_free(struct amqp_listener **l);

#endif
