/* The broker of one shard: what every front end talks to. It knows vhosts,
 * exchanges, queues, permissions; no protocol, and of Raft only groups and
 * their leaders (quorate/host.h).
 *
 * Faults carry a kind and RabbitMQ's text for it, which clients match on; a
 * front end turns the kind into its protocol's code.
 *
 * Calls that need the cluster take a `struct broker_call`, embedded by the
 * caller and pinned until its `done` has run: exactly once, later, never from
 * within the call itself, and at most BROKER_CALL_TIMEOUT_MS later. A call may
 * be abandoned (broker_call_abandon): then `done` does not run.
 *
 * Everything runs on the shard's own thread. */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <quorate/host.h>
#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/list.h"
#include "base/slice.h"
#include "machine/meta/meta_machine.h"

struct broker;
struct broker_call;
struct broker_consumer;
struct broker_publisher;
struct buf;
struct cluster;
struct env;
struct error;
struct publishing;

enum {
    BROKER_CALL_TIMEOUT_MS = 15000,
    BROKER_FAULT_TEXT_SIZE = 512,
    /* What is published and not on a majority yet is in memory, once for each
     * queue that it goes to. A publisher is congested, and its front end stops
     * reading, while one of these is exceeded, until it is at half:
     *
     * its own messages; */
    BROKER_PUBLISHER_BYTES_MAX = 2 << 20,
    BROKER_PUBLISHER_MESSAGES_MAX = 4096,
    /* all of its connection's, those of closed channels among them; */
    BROKER_CONNECTION_BYTES_MAX = 4 << 20,
    /* what waits on this shard for a queue that it published to; */
    BROKER_QUEUE_BYTES_MAX = 64 << 20,
    /* all of this shard's, those of closed connections among them. */
    BROKER_SHARD_BYTES_MAX = 256 << 20,
    /* One message to many queues at once; more: PRECONDITION. */
    BROKER_FANOUT_BYTES_MAX = 256 << 20,
    BROKER_MESSAGE_OVERHEAD = 128, /* that a waiting message is counted with */
    BROKER_MESSAGE_SIZE_MAX = 16 << 20, /* body; max_message_size */
    BROKER_PREFETCH_DEFAULT = 2000      /* where a client asks for no limit */
};

enum broker_fault_kind {
    BROKER_OK,
    BROKER_NOT_FOUND,       /* 404 */
    BROKER_ACCESS_REFUSED,  /* 403 */
    BROKER_LOCKED,          /* 405 */
    BROKER_PRECONDITION,    /* 406 */
    BROKER_NOT_ALLOWED,     /* 530 */
    BROKER_NOT_IMPLEMENTED, /* 540 */
    BROKER_RESOURCE,        /* 506 */
    BROKER_INVALID,         /* 503 */
    BROKER_INTERNAL         /* 541: no quorum in time, and the like */
};

struct broker_fault {
    enum broker_fault_kind kind;
    char text[BROKER_FAULT_TEXT_SIZE]; /* without the code's name */
};

/* What a call came to. */
struct broker_reply {
    struct broker_fault fault;        /* kind BROKER_OK: done */
    struct meta_text queue;           /* declare: its name (borrowed) */
    uint64_t messages;                /* declare: ready; purge, delete: dropped;
                                  get: left */
    uint64_t consumers;               /* declare */
    struct broker_delivery *delivery; /* get: the message, or NULL (borrowed) */
};

struct broker_call {
    void (*done)(struct broker_call *call, const struct broker_reply *reply);
    void *arg;
    void *impl; /* NULL when no call is under way */
};

/* Forget CALL: `done` will not run. Harmless when none is under way. */
void broker_call_abandon(struct broker_call *call);

/* What TLS agreed on and the client's certificate says, for listings, in
 * RabbitMQ's words; "" for what there is not. NUL-terminated, never NULL. */
struct broker_tls {
    const char *protocol; /* "tlsv1.3" */
    const char *key_exchange;
    const char *cipher; /* "aes_256_gcm" */
    const char *hash;
    const char *subject; /* of the client's certificate */
    const char *issuer;
    const char *validity;
};

/* A client's connection, embedded in the front end's. Fill `name` ...
 * `protocol`, authenticate, open a vhost, register. Counters are the front
 * end's to keep. */
struct broker_connection {
    uint64_t id;    /* unique on this start of this node; set by register */
    char name[160]; /* "127.0.0.1:40000 -> 127.0.0.1:5672" */
    char peer_host[64];
    uint16_t peer_port;
    uint16_t port;
    char user[256];
    char vhost[256];
    const char *protocol; /* "AMQP 0-9-1" */
    const char *state;    /* "starting", "running", "blocked", "closing" */
    char client[256];     /* connection_name, product: for listings */
    const struct broker_tls *tls; /* borrowed; NULL: no TLS */
    const char *mechanism;        /* of authentication; "" until it is known */
    uint32_t channels_count;
    uint64_t connected_ms;
    uint64_t bytes_received;
    uint64_t bytes_sent;
    struct list link;
    struct list channels; /* broker_channel.link */
    /* Close it, for TEXT: operator, deleted vhost or user, shutdown (320). */
    void (*force_close)(struct broker_connection *c, const char *text);
    bool owns_queues; /* has declared an exclusive queue; the broker's */
    struct publishing *publishing; /* its publishers' sum, or NULL; likewise */
};

/* A channel, for listings. */
struct broker_channel {
    struct list link;
    uint16_t number;
    bool is_confirming;
    uint16_t prefetch;
    uint32_t consumers_count;
    uint64_t unconfirmed;
    uint64_t unacknowledged;
};

/* Where a login comes from. */
struct broker_origin {
    const char *host; /* its address; "": from an operator */
    bool is_loopback; /* from this machine (loopback_users) */
};

/* Is PASSWORD right for USER? A slow hash off the loop, or a cached yes. The
 * fault's text is for the log; a client is told as little as RabbitMQ tells.
 * Hashing is paced: FROM's logins wait in a queue of its own, so that no
 * address keeps the others waiting for long. */
void broker_authenticate(struct broker *b, struct meta_text user,
                         struct meta_text password,
                         const struct broker_origin *from,
                         struct broker_call *call);
/* May USER, whom a certificate proved, log in? There must be such a user; its
 * password does not matter. The rest as above. */
void broker_authenticate_external(struct broker *b, struct meta_text user,
                                  const struct broker_origin *from,
                                  struct broker_call *call);
/* Register C (user and vhost set): checks that the vhost exists and that the
 * user has permissions there. NOT_ALLOWED (530) otherwise. */
void broker_connection_open(struct broker *b, struct broker_connection *c,
                            struct broker_fault *fault);
/* C is gone: drops what it owned. Its consumers are detached, and its
 * publishers closed, before. Harmless when it was never opened. */
void broker_connection_closed(struct broker *b, struct broker_connection *c);

/* Exchanges. TYPE as text; an unknown one is INVALID (503). */
struct broker_exchange_spec {
    struct meta_text name;
    struct meta_text type;
    struct meta_text arguments; /* encoded AMQP table, validated */
    bool is_passive;
    bool is_durable;
    bool is_auto_delete;
    bool is_internal;
};

/* Declare an exchange, or check that it is as SPEC says (is_passive: that it
 * exists). CALL ends with a fault: NOT_FOUND, PRECONDITION, ACCESS_REFUSED. */
void broker_exchange_declare(struct broker *b, struct broker_connection *c,
                             const struct broker_exchange_spec *spec,
                             struct broker_call *call);
/* Delete exchange NAME with its bindings; one that is not there is no fault.
 * IF_UNUSED: PRECONDITION while it is bound. */
void broker_exchange_delete(struct broker *b, struct broker_connection *c,
                            struct meta_text name, bool if_unused,
                            struct broker_call *call);
/* Queues. An empty name asks for a generated one (amq.gen-...). */
struct broker_queue_spec {
    struct meta_text name;
    struct meta_text arguments;
    bool is_passive;
    bool is_durable;
    bool is_exclusive;
    bool is_auto_delete;
};

/* Declare a queue, or check that it is as SPEC says. The reply has its name and
 * counts. Faults: NOT_FOUND, PRECONDITION, LOCKED, ACCESS_REFUSED. */
void broker_queue_declare(struct broker *b, struct broker_connection *c,
                          const struct broker_queue_spec *spec,
                          struct broker_call *call);
/* Delete queue NAME with its messages; the reply counts them. One that is not
 * there is no fault. PRECONDITION by IF_UNUSED or IF_EMPTY. */
void broker_queue_delete(struct broker *b, struct broker_connection *c,
                         struct meta_text name, bool if_unused, bool if_empty,
                         struct broker_call *call);
/* Drop the ready messages of queue NAME; the reply counts them. */
void broker_queue_purge(struct broker *b, struct broker_connection *c,
                        struct meta_text name, struct broker_call *call);
struct broker_binding_spec {
    struct meta_text source; /* exchange */
    struct meta_text destination;
    bool to_exchange;
    struct meta_text key;
    struct meta_text arguments;
};

/* Bind a queue or an exchange; the same binding again is no fault.
 * NOT_FOUND, ACCESS_REFUSED. */
void broker_bind(struct broker *b, struct broker_connection *c,
                 const struct broker_binding_spec *spec,
                 struct broker_call *call);
/* Remove a binding; one that is not there is no fault. */
void broker_unbind(struct broker *b, struct broker_connection *c,
                   const struct broker_binding_spec *spec,
                   struct broker_call *call);

/* A message on its way in. Slices are borrowed; referenced as needed. */
struct broker_message {
    struct meta_text exchange;
    struct meta_text key;
    struct slice properties;  /* the front end's own encoding, opaque */
    const struct slice *body; /* pieces */
    size_t body_count;
    size_t body_size;
};

/* One channel's publishing, embedded in it. */
struct broker_publisher {
    struct broker_connection *connection;
    /* Messages with tag <= TAG, in the order published, are safe with every
     * queue that they went to (MULTIPLE), or this one is; or it was refused.
     * Only for tags that are not 0. */
    void (*on_confirm)(struct broker_publisher *p, uint64_t tag, bool multiple,
                       bool is_ok);
    /* Congestion (see BROKER_PUBLISHER_*) began or ended. */
    void (*on_congestion)(struct broker_publisher *p, bool is_congested);
    void *arg;
    void *impl;
    size_t route_steps; /* work that routing the latest message was */
};

/* Begin publishing; P is pinned until broker_publisher_close(). */
void broker_publisher_open(struct broker *b, struct broker_publisher *p);
/* No more callbacks. What was published still goes to its queues. */
void broker_publisher_close(struct broker_publisher *p);
/* Route and send. TAG 0: no confirm wanted; otherwise 1, 2, 3 ... *ROUTED says
 * to how many queues (0: a mandatory message is to be returned before its
 * confirm, which is reported later as usual). FAULT: NOT_FOUND (exchange),
 * ACCESS_REFUSED, PRECONDITION (too large, or its route is): the message is not
 * taken. */
void broker_publish(struct broker_publisher *p,
                    const struct broker_message *message, uint64_t tag,
                    size_t *routed, struct broker_fault *fault);

/* A message on its way out. Slices are borrowed for the call. */
struct broker_delivery {
    uint64_t id; /* of this consumer: 1, 2, 3 ... */
    bool is_redelivered;
    uint32_t delivery_count; /* deliveries before this one */
    struct meta_text exchange;
    struct meta_text key;
    struct slice properties;
    struct slice body;
};

/* A consumer, embedded in the front end's. */
struct broker_consumer {
    void (*on_deliver)(struct broker_consumer *c,
                       const struct broker_delivery *delivery);
    /* The queue is gone: nothing comes any more, nothing need be settled.
     * The consumer is detached already. */
    void (*on_cancelled)(struct broker_consumer *c);
    /* The queue's leader has been out of reach for so long that what this one
     * holds will be given to others. It is detached already. NULL: the same as
     * on_cancelled. */
    void (*on_given_up)(struct broker_consumer *c);
    void *arg;
    void *impl;
};
struct broker_consume_spec {
    struct meta_text queue;
    struct meta_text tag;
    struct meta_text arguments;
    uint32_t prefetch; /* 0: BROKER_PREFETCH_DEFAULT */
    bool is_exclusive;
    bool
        is_no_ack; /* the front end settles each when its socket has taken it */
};
/* Deliveries may begin before CALL is done? No: after. */
void broker_consume(struct broker *b, struct broker_connection *c,
                    const struct broker_consume_spec *spec,
                    struct broker_consumer *consumer, struct broker_call *call);
/* From now on CONSUMER may have LIMIT unsettled deliveries, instead of its
 * prefetch; at least 1. What it has beyond that stays with it. */
void broker_consumer_credit(struct broker_consumer *consumer, uint32_t limit);
/* basic.cancel: no more deliveries; what is unsettled may still be settled. */
void broker_consumer_cancel(struct broker_consumer *consumer,
                            struct broker_call *call);
/* The channel is gone: unsettled deliveries go back to the queue. */
void broker_consumer_detach(struct broker_consumer *consumer);

enum broker_outcome {
    BROKER_ACK,
    BROKER_REQUEUE,
    BROKER_DISCARD
};
/* Settle deliveries FIRST to LAST of CONSUMER; those that are settled already
 * are skipped. */
void broker_settle(struct broker_consumer *consumer, uint64_t first,
                   uint64_t last, enum broker_outcome outcome);

/* basic.get: CONSUMER (one per channel and queue, made on first use, detached
 * with the channel) holds what is got until it is settled; reply->delivery,
 * reply->messages. */
void broker_get(struct broker *b, struct broker_connection *c,
                struct meta_text name, struct broker_consumer *consumer,
                struct broker_call *call);
/* Whether CONSUMER has been given to broker_consume() or broker_get() and not
 * detached or cancelled by the broker since. */
bool broker_consumer_is_attached(const struct broker_consumer *consumer);

/* Resources that a node may run short of; bits. */
enum broker_alarm {
    BROKER_ALARM_MEMORY = 1,
    BROKER_ALARM_DISK = 2
};

/* This shard found that its node runs short of something, or no longer. What
 * that means for publishers: broker/alarms.h. */
void broker_alarm_set(struct broker *b, enum broker_alarm alarm, bool is_on);
/* CB is told when publishers are to be blocked, and why, anywhere in the
 * cluster; with NULL, that they may go on. At once, if they are blocked. One
 * CB a broker; NULL: nobody. */
void broker_on_alarm(struct broker *b,
                     void (*cb)(void *arg, const char *reason), void *arg);
/* Why publishers are blocked, such as "low on memory (n2)"; "" if they are
 * not. */
const char *broker_alarm_reason(const struct broker *b);
/* The alarms of all nodes that are linked, whether they block or not. */
void broker_alarms_each(const struct broker *b,
                        void (*cb)(void *arg, qr_node_id node,
                                   enum broker_alarm alarm),
                        void *arg);

/* This shard's copy of the metadata. */
struct meta_machine *broker_meta(struct broker *b);
/* Connections of this shard (broker_connection.link). */
struct list *broker_connections(struct broker *b);
/* Close all connections with RabbitMQ's shutdown text, refuse new ones, and
 * hand what this shard leads over to other nodes. */
void broker_shutdown(struct broker *b);
/* The cluster's name; and whether metadata has a leader that was heard of. */
const char *broker_cluster_name(const struct broker *b);
bool broker_is_ready(const struct broker *b);

enum broker_unwelcome {
    BROKER_ROLLED_BACK,
    BROKER_DAMAGED,
    BROKER_REMOVED
};

struct broker_user_config {
    const char *name;
    const char *password;
    const char *tags;
};
struct broker_config {
    struct env *env;
    struct qr_host *host;
    const char *cluster_name;
    const char *node_name;
    const char *node_address; /* of its links */
    struct uuid node_uuid;
    uint64_t node_process; /* a random number of this start; all shards have
                              the same */
    /* Made when the metadata is empty (default_user, default_vhost). */
    const char *default_user;
    const char *default_pass;
    /* Its hash (auth/password.h), if it is made already; else NULL. */
    const char *default_pass_hash;
    const char *default_vhost;
    const char *default_user_tags;
    const char *loopback_users; /* comma separated: may only connect from
                                   this machine */
    uint32_t queue_replicas;    /* quorum_queue.initial_cluster_size */
    /* The cluster took this start of the node for dead while it could not be
     * reached, and gave what its consumers held to others: nothing that it
     * sends is listened to any more, and it must start again. */
    void (*on_given_up)(void *arg);
    /* The cluster does not know this node as what it takes itself for; TEXT
     * says why. It must not go on. BROKER_ROLLED_BACK: its data are an old
     * copy; BROKER_DAMAGED: its replica of the metadata has lost its memory;
     * with both, set the data aside and start blank. BROKER_REMOVED: it was
     * removed; stop. May be NULL. */
    void (*on_unwelcome)(void *arg, enum broker_unwelcome why,
                         const char *text);
    /* Shard 0: the metadata are current and their nodes are not what was told
     * before: broker_meta() has them, removed ones included. May be NULL. */
    void (*on_nodes)(void *arg);
    void *arg;
    /* First members of the metadata group: node ids, equal on every node that
     * formed the cluster; none on one that joined it. */
    const qr_node_id *initial_nodes;
    size_t initial_nodes_count;
    /* The same nodes with names, UUIDs and addresses, borrowed; NULL: unknown,
     * they make themselves known. */
    const struct cluster *founders;
};
/* The broker of config->env's shard, registered with it. Config strings are
 * borrowed for its life. */
struct broker *broker_new(const struct broker_config *config);
/* Open the metadata group (shard 0) and report this node's start. Call it once
 * the host can open groups; the queues' groups follow from the metadata. */
MUST_USE int broker_start(struct broker *b, struct error *err);
/* After the host is gone. */
void broker_free(struct broker **b);
/* For the host's questions (qr_host_config.unknown and .deleted). B may be
 * NULL: not made yet. */
enum qr_unknown broker_unknown_group(struct broker *b, qr_group_id group,
                                     qr_node_id from);
void broker_deleted_group(struct broker *b, qr_group_id group);
/* For qr_host_config.missing: every copy of entry INDEX of GROUP has rotted.
 * Says in the log which queue's messages are gone. */
void broker_missing_entry(struct broker *b, qr_group_id group, qr_index index);
/* For qr_host_config.lost: REPLICA of GROUP, which is led here, has lost its
 * memory and is to be replaced. */
void broker_lost_replica(struct broker *b, qr_group_id group,
                         qr_replica_id replica);

#endif
