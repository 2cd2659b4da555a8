/* The rooms of one shard of the daemon, in the order in which they are made:
 * disk, store, host, broker, mgmt, front end. */
#ifndef DAEMON_NODE_SHARD_H
#define DAEMON_NODE_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "amqp/connection.h"
#include "base/timer.h"
#include "broker/broker.h"
#include "daemon/identity.h"
#include "daemon/tls_options.h"

struct amqp_gate;
struct amqp_listener;
struct config;
struct disk_real;
struct env;
struct error;
struct mgmt;
struct net;
struct qr_host;
struct store;
struct tls_store;
struct tls_watch;
struct watch;
struct watch_limits;

enum {
    NODE_SHARD_SOCKETS_MAX = 32, /* of listeners.tcp and listeners.ssl */
    NODE_SHARD_FAILURE_SIZE = 512
};

/* What shards share; read only while they run. */
struct node_shared {
    const struct config *config;
    const struct identity *identity;
    const char *node_name;
    const char *node_address;
    const char *default_user_tags; /* comma separated */
    const char *loopback_users;    /* the same */
    qr_node_id initial_nodes[CLUSTER_MEMBERS_MAX];
    size_t initial_nodes_count;     /* 0: this node joined */
    const struct cluster *founders; /* the same nodes; NULL if none */
    struct amqp_gate *gate;         /* how many clients are let in */
    const struct watch_limits *limits;
    /* Bound; each shard accepts from a copy. The first ones are plain. */
    int sockets[NODE_SHARD_SOCKETS_MAX];
    size_t sockets_count;
    size_t sockets_plain;
    struct tls_store *tls; /* of the others; NULL: there are none */
    struct login_options login;
    void *arg;
    /* Shard 0: an operator stops the node. */
    void (*stop)(void *arg);
    struct tls_watch *tls_watch; /* shard 0's; NULL: no certificates */
    /* Any thread: the disk of a shard failed, the process must stop. */
    void (*on_failure_mt)(void *arg, const char *text);
    /* Any thread: the cluster gave this start up; it must start again. */
    void (*on_given_up_mt)(void *arg);
    /* Any thread: the cluster does not want this node as it is: its data are
     * an old copy, or it was removed. */
    void (*on_unwelcome_mt)(void *arg, bool is_rolled_back, const char *text);
    /* Shard 0: the nodes that the metadata have changed. */
    void (*on_nodes)(void *arg);
};

struct node_shard {
    unsigned magic;
    const struct node_shared *shared;
    struct env *env;
    struct net *net;
    uv_loop_t *loop;
    struct disk_real *disk;
    struct store *store;
    struct qr_host *host;
    struct broker *broker;
    struct mgmt *mgmt;
    struct amqp_listener *amqp;
    struct watch *watch;
    struct amqp_config amqp_config;
    struct timer timer; /* until ready; while draining */
    uv_timer_t closing;
    bool is_listening;
    bool is_draining;
    uint64_t drain_end_ms;
    /* Told once when no client is left, or the drain's time is over. */
    void (*on_drained)(struct node_shard *s);
    void *arg;
};

/* Make the rooms. The front end listens as soon as the broker is ready. */
MUST_USE int node_shard_open(struct node_shard *s, struct error *err);
/* Clients are told to go (320), leaders handed over; on_drained follows. */
void node_shard_drain(struct node_shard *s);
/* The shard stops: close the disk when its last write is done. */
void node_shard_stop(struct node_shard *s);
/* Last of all. */
void node_shard_free(struct node_shard *s);

#endif
