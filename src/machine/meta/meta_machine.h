/* The metadata machine: nodes, vhosts, users, permissions, exchanges,
 * bindings, queues with their groups' members, policies and parameters, as a
 * pure function of the metadata group's log. Design: section 7.
 *
 * Commands are protobuf messages (proto/meta.proto, Meta.Command), each with
 * a varint length before it, as many as a turn brought. A command carries its
 * origin (session and request number), so that whoever proposed it finds the
 * outcome when its own copy applies it; outcomes do not travel.
 *
 * A command takes effect once: one that was proposed again after a change of
 * leader is known by its origin and changes nothing, though what it made may be
 * gone since. What the machine remembers for it, per session, is the set of
 * requests applied; it ends with the session's start or node. Commands of a
 * start that is over, or of a node that was removed, change nothing either.
 *
 * What the proposer decides, and the command carries: time, generated names,
 * password hashes, which nodes hold a queue's replicas. What the machine
 * decides: group ids, node ids, incarnations, uniqueness.
 *
 * Every shard keeps its own copy. Records are borrowed until the next apply or
 * restore. Names are at most QR_NAME_SIZE_MAX bytes. */
#ifndef MACHINE_META_META_MACHINE_H
#define MACHINE_META_META_MACHINE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/uuid.h"

struct buf;
struct meta_machine;

enum {
    META_VHOSTS_MAX = 10000,
    META_USERS_MAX = 100000,
    META_QUEUES_MAX = 1 << 20,
    META_EXCHANGES_MAX = 1 << 20,
    META_BINDINGS_MAX = 1 << 22,
    /* Of a route: bindings that match, and steps of matching patterns. Some
     * milliseconds' work; a message that needs more is refused. */
    META_ROUTE_STEPS_MAX = 1 << 17,
    META_ARGUMENTS_SIZE_MAX = 65536, /* bytes of an AMQP table */
    META_PATTERN_SIZE_MAX = 1024,
    META_POLICIES_MAX = 10000,
    META_PARAMETERS_MAX = 10000,
    META_PERMISSIONS_MAX = 1 << 20,
    META_TEXT_SIZE_MAX = 65536,   /* other values: hashes, tags, JSON */
    META_NODE_ID_MAX = 65535,     /* as in session_id() */
    META_SESSIONS_MAX = 8192,     /* that requests are remembered of; those of
                                 further ones may take effect twice */
    META_REQUESTS_BACK = 1 << 16, /* a request this far behind its session's
                                     newest counts as applied */
    META_COMMAND_SIZE_MAX = 256 << 10 /* bytes of one encoded command */
};

/* A counted string. Not NUL-terminated on the wire; is in records. */
struct meta_text {
    const char *data;
    size_t size;
};

/* SIZE bytes at DATA, borrowed. */
static inline struct meta_text
meta_text(const char *data, size_t size)
{
    return (struct meta_text){data, size};
}

struct meta_node {
    qr_node_id id;
    struct meta_text name;    /* such as "n1" or "rabbit@host" */
    struct meta_text address; /* host:port of its links */
    struct uuid uuid;
    uint32_t boot;    /* of its latest start, as it reported; 0: none yet */
    uint64_t process; /* of that start: a random number */
    bool is_removed;
};

struct meta_vhost {
    struct meta_text name;
    struct meta_text description;
    struct meta_text tags; /* comma separated */
    uint64_t created_ms;
};

struct meta_user {
    struct meta_text name;
    struct meta_text password; /* encoded hash (auth/password.h); may be empty:
                                  no password login */
    struct meta_text tags;     /* comma separated */
};

/* Regular expressions; empty grants nothing. */
struct meta_permission {
    struct meta_text vhost;
    struct meta_text user;
    struct meta_text configure;
    struct meta_text write;
    struct meta_text read;
};

enum meta_exchange_type {
    META_DIRECT = 1,
    META_FANOUT = 2,
    META_TOPIC = 3,
    META_HEADERS = 4 /* stored and listed; routing comes later */
};

struct meta_exchange {
    struct meta_text vhost;
    struct meta_text name; /* "" is the default exchange */
    enum meta_exchange_type type;
    bool is_durable;
    bool is_auto_delete;
    bool is_internal;
    struct meta_text arguments; /* an encoded AMQP table */
    uint64_t bindings_count;    /* with it as source */
};

/* Who alone may use an exclusive queue. All 0: not exclusive. */
struct meta_owner {
    qr_node_id node;
    uint32_t boot;
    uint64_t connection;
};

struct meta_member {
    qr_replica_id replica;
    bool is_voter;
    uint32_t boot; /* of the node when it became a member */
};

struct meta_queue {
    struct meta_text vhost;
    struct meta_text name;
    qr_group_id group;
    bool is_durable;
    bool is_auto_delete;
    struct meta_owner owner; /* exclusive */
    struct meta_text arguments;
    qr_node_id stand; /* the member that stands for election first */
    size_t members_count;
    struct meta_member members[QR_MEMBERS_MAX];
    uint64_t created_ms;
    void *user; /* for the copy's owner (the shard's queue client); NULL at
                   first; see on_queue_gone */
};

struct meta_binding {
    struct meta_text vhost;
    struct meta_text source;      /* exchange */
    struct meta_text destination; /* queue, or exchange */
    bool to_exchange;
    struct meta_text key;
    struct meta_text arguments;
};

struct meta_policy {
    struct meta_text vhost;
    struct meta_text name;
    struct meta_text pattern;
    struct meta_text apply_to;
    struct meta_text definition; /* JSON */
    int32_t priority;
    bool is_operator;
};

/* A runtime parameter, such as a limit, a shovel or an upstream. */
struct meta_parameter {
    struct meta_text vhost; /* "": of the whole cluster */
    struct meta_text component;
    struct meta_text name;
    struct meta_text value; /* JSON */
};

enum meta_status {
    META_OK = 0,
    META_EXISTS = 1,    /* was there already: compare with the record */
    META_NOT_FOUND = 2, /* what the command names is not there */
    META_IN_USE = 3,    /* delete if-unused: has bindings */
    META_LIMIT = 4,     /* a bound above */
    META_REFUSED = 5,   /* reserved name, last vhost, ... */
    META_NO_VHOST = 6,
    META_NO_EXCHANGE = 7,
    META_NO_QUEUE = 8,
    META_MALFORMED = 9
};

/* What applying one command came to. */
struct meta_outcome {
    uint64_t session; /* origin, 0 = none */
    uint64_t request;
    enum meta_status status;
    qr_index index;
    qr_group_id group; /* of the queue declared, found or deleted */
};

/* What the owner of a copy wants to hear, in the order things happen. Any may
 * be NULL. Records are valid during the call. */
struct meta_events {
    void *arg;
    void (*on_outcome)(void *arg, const struct meta_outcome *outcome);
    void (*on_queue_created)(void *arg, struct meta_queue *queue);
    void (*on_queue_members)(void *arg, struct meta_queue *queue);
    void (*on_queue_gone)(void *arg, struct meta_queue *queue);
    void (*on_node)(void *arg, const struct meta_node *node);
    void (*on_vhost_gone)(void *arg, const struct meta_vhost *vhost);
    void (*on_user)(void *arg, const char *name, size_t size); /* changed or
                                                        gone: drop caches */
};

/* EVENTS is copied. */
struct meta_machine *meta_machine_new(const struct meta_events *events);
void meta_machine_free(struct meta_machine **m);
/* Apply the commands of one entry. */
void meta_machine_apply(struct meta_machine *m, qr_index index,
                        uint64_t time_ms, const void *body, size_t size);
/* The commands of entry INDEX are lost, as the only replica's can be. What they
 * declared is not known; entries up to UNTIL were written by those who knew.
 * So from the entry after UNTIL on no queue gets an id that they may have
 * given out. TIME_MS: about when they were proposed. */
void meta_machine_pass(struct meta_machine *m, qr_index index, qr_index until,
                       uint64_t time_ms);

/* Entries that were lost. */
struct meta_losses {
    uint64_t count; /* 0: the others are 0, too */
    qr_index first;
    qr_index last;
    uint64_t time_ms; /* about when the last was proposed */
};
/* What meta_machine_pass() was told, ever; part of the state. */
void meta_losses(const struct meta_machine *m, struct meta_losses *out);

/* Append the SIZE bytes of COMMANDS to OUT; those that declare queues which are
 * new to M name the group that it is to have, from *NEXT on, which grows. For
 * the leader, before it proposes: so a queue has its id even if entries before
 * that of its declaration are lost. Malformed bytes stay as they are. */
void meta_machine_stamp(struct meta_machine *m, struct buf *out,
                        const void *commands, size_t size, qr_group_id *next);
void meta_machine_snapshot(const struct meta_machine *m, struct buf *out);
/* Replace the state by what meta_machine_snapshot() wrote at INDEX; SIZE 0: by
 * the empty state. Events: on_queue_gone for queues that are no more (their
 * records still hold `user`), then, with the new state in place,
 * on_queue_created for new ones, on_queue_members for each of the others (its
 * record has moved; `user` has come along), on_vhost_gone, on_user for all
 * users of before and after, on_node for all nodes. 0; -QR_EFORMAT: nothing
 * was changed; -QR_EVERSION: written by a newer version, nothing changed. */
MUST_USE int meta_machine_restore(struct meta_machine *m, qr_index index,
                                  const void *data, size_t size);
/* The index last applied. */
qr_index meta_applied(const struct meta_machine *m);
/* Group ids below this have been given out: an unknown one is deleted. */
qr_group_id meta_group_next(const struct meta_machine *m);

/* The cluster's name, "" until one was set. */
struct meta_text meta_cluster_name(const struct meta_machine *m);
/* How many there are. */
size_t meta_queues_count(const struct meta_machine *m);
size_t meta_exchanges_count(const struct meta_machine *m);
size_t meta_bindings_count(const struct meta_machine *m);
/* The incarnation for the next replica that joins QUEUE's group: greater than
 * that of any member it ever had. */
uint32_t meta_queue_incarnation(const struct meta_queue *queue);
/* Whether QUEUE's members are those it was declared with: a replica that is
 * new on its node then begins the group with them; later ones wait to be
 * added by the group's leader. */
bool meta_queue_is_original(const struct meta_queue *queue);

/* Lookups; NULL when there is none. */
const struct meta_node *meta_node(const struct meta_machine *m, qr_node_id id);
const struct meta_node *meta_node_named(const struct meta_machine *m,
                                        const char *name, size_t size);
const struct meta_node *meta_node_by_uuid(const struct meta_machine *m,
                                          const struct uuid *uuid);
const struct meta_vhost *meta_vhost(const struct meta_machine *m,
                                    const char *name, size_t size);
const struct meta_user *meta_user(const struct meta_machine *m,
                                  const char *name, size_t size);
const struct meta_permission *meta_permission(const struct meta_machine *m,
                                              const struct meta_vhost *vhost,
                                              const char *user, size_t size);
const struct meta_exchange *meta_exchange(const struct meta_machine *m,
                                          const struct meta_vhost *vhost,
                                          const char *name, size_t size);
struct meta_queue *meta_queue(const struct meta_machine *m,
                              const struct meta_vhost *vhost, const char *name,
                              size_t size);
struct meta_queue *meta_queue_by_group(const struct meta_machine *m,
                                       qr_group_id group);
const struct meta_policy *meta_policy(const struct meta_machine *m,
                                      const struct meta_vhost *vhost,
                                      bool is_operator, const char *name,
                                      size_t size);
/* By KEY's vhost, component and name. */
const struct meta_parameter *meta_parameter(const struct meta_machine *m,
                                            const struct meta_parameter *key);

/* Listings in name order; return false from CB to stop. CB must not apply. */
void meta_each_node(const struct meta_machine *m,
                    bool (*cb)(void *, const struct meta_node *), void *arg);
void meta_each_vhost(const struct meta_machine *m,
                     bool (*cb)(void *, const struct meta_vhost *), void *arg);
void meta_each_user(const struct meta_machine *m,
                    bool (*cb)(void *, const struct meta_user *), void *arg);
/* VHOST NULL: of all. */
void meta_each_permission(const struct meta_machine *m,
                          const struct meta_vhost *vhost,
                          bool (*cb)(void *, const struct meta_permission *),
                          void *arg);
void meta_each_exchange(const struct meta_machine *m,
                        const struct meta_vhost *vhost,
                        bool (*cb)(void *, const struct meta_exchange *),
                        void *arg);
void meta_each_queue(const struct meta_machine *m,
                     const struct meta_vhost *vhost,
                     bool (*cb)(void *, struct meta_queue *), void *arg);
/* Including each queue's implicit binding to the default exchange. */
void meta_each_binding(const struct meta_machine *m,
                       const struct meta_vhost *vhost,
                       bool (*cb)(void *, const struct meta_binding *),
                       void *arg);
void meta_each_policy(const struct meta_machine *m,
                      const struct meta_vhost *vhost,
                      bool (*cb)(void *, const struct meta_policy *),
                      void *arg);
/* By component, vhost, name. */
void meta_each_parameter(const struct meta_machine *m,
                         bool (*cb)(void *, const struct meta_parameter *),
                         void *arg);

/* The queues a message goes to: reused from call to call, no duplicates. */
struct meta_route {
    struct meta_queue **queues;
    size_t count;
    size_t capacity;
    size_t steps; /* that the latest route took */
};
/* An empty result; allocates nothing. */
void meta_route_init(struct meta_route *r);
/* Release the room. */
void meta_route_deinit(struct meta_route *r);
/* Route KEY through EXCHANGE and the exchanges bound to it, however far, each
 * at most once; cycles end. Replaces R's content. KEY is at most
 * QR_NAME_SIZE_MAX bytes. No allocation once R has grown. -QR_EBUSY: it would
 * take more than META_ROUTE_STEPS_MAX, and R has no queue. */
MUST_USE int meta_route(struct meta_machine *m,
                        const struct meta_exchange *exchange, const char *key,
                        size_t key_size, struct meta_route *r);

#endif
