/* What the files of the broker share. Nothing outside includes this.
 *
 *   data plane                          control plane
 *   publisher.c  routing, confirms      meta_client.c  proposals, outcomes
 *   consumer.c   consume, get, settle   meta_group.c   the replica, the copies
 *   queue_client.c  one queue's client  queues.c, exchanges.c  declarations
 *   queue_group.c   one queue's replica connections.c, access.c, login.c
 *                                       bootstrap.c, nodes.c, calls.c
 *
 * Frame kinds and their contents: docs/formats/broker.md. */
#ifndef BROKER_BROKER_PRIV_H
#define BROKER_BROKER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "broker/broker.h"
#include "broker/nodes.h"
#include "broker/queue_client.h"
#include "machine/queue/queue_machine.h"
#include "peer/frame.h"

struct access;
struct alarms;
struct env;
struct login;
struct meta_client;
struct meta_group;
struct queue_client;
struct queue_group;
struct reconciler;

enum broker_frame_kind {
    /* Queue client -> a replica's shard (FRAME_TO_GROUP). */
    BROKER_COMMANDS = FRAME_BROKER_FIRST, /* content: queue commands */
    BROKER_RESUME, /* content: session and consumers; answered by RESUMED or
                      LEADER */
    BROKER_QUERY,  /* arg: request; answered by COUNTS */
    /* A replica's shard -> queue client. */
    BROKER_EVENTS,  /* content[0]: events; content[1..]: messages */
    BROKER_RESUMED, /* arg: term; content: applied seq */
    BROKER_LEADER,  /* arg: term; content: node that leads or 0. "Not me", or
                       "I do, since this term" */
    BROKER_BUSY,    /* arg: first command that the group does not take now */
    BROKER_COUNTS,  /* arg: request; content: counts */
    BROKER_DEAD,    /* arg: session; the queue takes it for dead */
    /* Any shard -> any shard. */
    BROKER_ALARM, /* arg: the sender's alarms (enum broker_alarm) */
    /* Metadata. */
    BROKER_META_PROPOSE = FRAME_BROKER_FIRST + 16, /* to shard 0 of a node */
    BROKER_META_ENTRY,    /* shard 0 -> other shards: an applied entry */
    BROKER_META_SNAPSHOT, /* shard 0 -> other shards: a restored snapshot */
    BROKER_META_APPLIED,  /* to all nodes: arg = index applied by all shards */
    BROKER_META_LEADER,   /* not the leader; arg: node that leads or 0 */
    BROKER_META_JOIN,     /* to the leader: a blank node asks to join */
    BROKER_META_JOIN_NO,  /* its answer, if it refuses: joining.c */
    BROKER_META_RENEW     /* from the leader: arg = replica that forgot */
};

/* joining.c: what the leader said of a node that asked here. */
struct join_news {
    struct uuid uuid;
    uint64_t at_ms;
    bool is_removed; /* JOIN_REMOVED, not JOIN_REFUSED */
    char text[512];  /* "": nothing */
};

struct broker {
    unsigned magic;
    struct broker_config config;
    struct env *env;
    struct qr_host *host;
    const struct logger *log;
    struct meta_machine *meta; /* this shard's copy */
    struct meta_client *meta_client;
    struct meta_group *meta_group; /* shard 0 only */
    qr_node_id meta_leader;        /* 0 = unknown */
    struct nodes nodes;            /* links and boots of the others */
    struct map groups;             /* queue_group by group id */
    struct map suspects;           /* suspects.c: replica id by group id */
    struct map clients;            /* queue_client by group id */
    struct buf rooms[QUEUE_CLIENT_ROOMS_MAX]; /* queue_client.building, free */
    size_t rooms_count;
    size_t rooms_size;            /* of their memory, in bytes */
    struct queue_effects effects; /* queue_group.c: of what is applied now */
    struct list dirty_clients;    /* queue_client.dirty */
    struct list dirty_groups;     /* queue_group.dirty */
    struct list dirty_publishers; /* publisher_impl.dirty */
    struct list congested;        /* publisher_impl.congested */
    uint64_t publishing_bytes;    /* of all publishers, closed ones too */
    bool is_easing; /* something that may have congested somebody is gone */
    struct list connections;
    struct list calls;       /* call_ref.link, earliest deadline first */
    struct list calls_ended; /* call_ref.link, to be told this turn */
    struct timer calls_timer;
    struct list deletions; /* queues.c: under way */
    uint64_t session;      /* session_id() of this shard and start */
    uint64_t consumer_next;
    uint64_t connection_next;
    uint64_t request_next;
    size_t hashes_waiting; /* admin.c */
    bool is_shutting_down;
    bool is_current; /* this start is in the metadata: it is up to date */
    bool is_bootstrapping;
    bool is_joining;            /* a node is being taken in */
    bool nodes_changed;         /* tell config.on_nodes when current */
    struct join_news join_news; /* shard 0 */
    struct timer nodes_timer;
    struct reconciler *reconciler; /* NULL until started */
    struct login *login;           /* login.c */
    struct access *access;         /* access.c */
    struct alarms *alarms;         /* alarms.c */
};

enum {
    BROKER_MAGIC = 0x6272306b
};

/* Fill FAULT. */
void broker_fault_set(struct broker_fault *fault, enum broker_fault_kind kind,
                      const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* calls.c: a call that is under way. Its owner in the broker keeps the
 * reference and ends it exactly once; meanwhile the caller may abandon it or
 * its deadline may pass, and the end then tells nobody. */
struct call_ref {
    struct list link; /* broker.calls by deadline, or broker.calls_ended */
    struct broker_call *call; /* NULL: abandoned, or told */
    uint64_t deadline_ms;
    qr_group_id group;         /* whose leader is to answer, 0: another's */
    struct broker_reply reply; /* of a call that ended at once */
};
/* Start CALL, which must not be under way. CALL may be NULL: nobody asks. */
struct call_ref *call_begin(struct broker *b, struct broker_call *call);
/* End *REF (nulled) with REPLY, from an event: `done` runs within. */
void call_end(struct call_ref **ref, const struct broker_reply *reply);
void call_end_fault(struct call_ref **ref, enum broker_fault_kind kind,
                    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* End *REF (nulled) without telling: the caller's call, for another part of
 * the broker to go on with, or NULL when nobody waits any more. */
struct broker_call *call_release(struct call_ref **ref);
/* End CALL from within the function that it was given to: `done` runs later
 * in this turn. Texts that REPLY refers to must live until then. */
void call_end_soon(struct broker *b, struct broker_call *call,
                   const struct broker_reply *reply);
void call_fail_soon(struct broker *b, struct broker_call *call,
                    const struct broker_fault *fault);
/* Tell those that ended soon; once a turn. */
void calls_run(struct broker *b);
void calls_init(struct broker *b);
void calls_deinit(struct broker *b);

/* queues.c: forget the deletions under way; once nothing refers to them. */
void queues_deinit(struct broker *b);
/* queues.c: may C use QUEUE? FAULT (LOCKED) otherwise. */
bool broker_may_use(const struct broker *b, const struct broker_connection *c,
                    const struct meta_queue *queue, struct broker_fault *fault);
/* connections.c: an exclusive QUEUE may be declared after its connection has
 * closed, or once more by a proposal that was repeated: let it go, too. */
void connections_queue_created(struct broker *b,
                               const struct meta_queue *queue);
/* connections.c: VHOST is deleted; close its connections. */
void broker_vhost_gone(struct broker *b, const struct meta_vhost *vhost);
/* login.c: what was remembered of NAME's password is void. */
void login_forget(struct broker *b, const char *name, size_t size);
void login_init(struct broker *b);
void login_deinit(struct broker *b);
/* broker.c: whether USER is one of config.loopback_users. */
bool broker_is_loopback_user(const struct broker *b, const char *user,
                             size_t size);
/* access.c */
void access_init(struct broker *b);
void access_deinit(struct broker *b);

/* broker.c: replica SELF of GROUP here is gone. If the metadata have another
 * one for this node by now, start that. */
void broker_group_gone(struct broker *b, qr_group_id group, qr_replica_id self);
/* broker.c: the replica that QUEUE has on this node, 0 if none. */
qr_replica_id broker_replica_of(const struct broker *b,
                                const struct meta_queue *queue);

/* queues.c: the queue of GROUP lost its last consumer; if it is auto-delete,
 * delete it. Called on the leader. */
void broker_queue_unused(struct broker *b, qr_group_id group);

/* permission.c: may C's user do this to NAME in C's vhost? FAULT otherwise,
 * with RabbitMQ's text. */
enum broker_access {
    ACCESS_CONFIGURE,
    ACCESS_WRITE,
    ACCESS_READ
};

/* Whether C's user may do ACCESS to NAME, which is a KIND (for the text of
 * FAULT, which is set when not). */
bool broker_is_allowed(struct broker *b, const struct broker_connection *c,
                       enum broker_access access, const char *kind,
                       struct meta_text name, struct broker_fault *fault);
/* The queue NAME of C's vhost, if it exists and is not another connection's
 * exclusive one. NULL and FAULT (NOT_FOUND, LOCKED) otherwise. */
struct meta_queue *broker_find_queue(struct broker *b,
                                     const struct broker_connection *c,
                                     struct meta_text name,
                                     struct broker_fault *fault);

#endif
