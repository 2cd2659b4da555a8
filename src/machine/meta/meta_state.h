/* The metadata machine's records and what its files share. Private to
 * machine/meta.
 *
 *   machine -> vhosts -> exchanges --sources--> bindings --> queues, exchanges
 *           -> users -> permissions         (a binding is on the lists of both)
 *           -> nodes -> owners -> exclusive queues
 *                    -> transient queues with a member there
 *
 * A record embeds the public one and owns the texts in it. Creating and
 * dropping keeps all indexes; it is used by commands and by restore alike. */
#ifndef MACHINE_META_META_STATE_H
#define MACHINE_META_META_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/ranges.h"
#include "machine/meta/meta_machine.h"
#include "routing/direct.h"
#include "routing/entry.h"
#include "routing/fanout.h"
#include "routing/topic.h"

enum {
    META_MACHINE_MAGIC = 0x3e7a0001,
    META_NODE_MAGIC = 0x3e7a0002,
    META_OWNER_MAGIC = 0x3e7a0003,
    META_VHOST_MAGIC = 0x3e7a0004,
    META_USER_MAGIC = 0x3e7a0005,
    META_PERMISSION_MAGIC = 0x3e7a0006,
    META_EXCHANGE_MAGIC = 0x3e7a0007,
    META_QUEUE_MAGIC = 0x3e7a0008,
    META_BINDING_MAGIC = 0x3e7a0009,
    META_POLICY_MAGIC = 0x3e7a000a,
    META_PARAMETER_MAGIC = 0x3e7a000b,
    META_SESSION_MAGIC = 0x3e7a000c
};

struct meta_node_record {
    unsigned magic;
    struct meta_node pub;
    struct list owners;     /* meta_owner_record.by_node */
    struct list transients; /* meta_transient.link */
};

/* A connection that owns exclusive queues; lives as long as they do. */
struct meta_owner_record {
    unsigned magic;
    struct meta_owner owner;
    struct list by_node;
    struct list queues; /* meta_queue_record.by_owner */
};

struct meta_vhost_record {
    unsigned magic;
    struct meta_vhost pub;
    struct strmap exchanges;
    struct strmap queues;
    struct strmap permissions; /* by user */
    struct strmap policies;    /* by meta_policy_key() */
};

struct meta_user_record {
    unsigned magic;
    struct meta_user pub;
    struct list permissions; /* meta_permission_record.by_user */
};

struct meta_permission_record {
    unsigned magic;
    struct meta_permission pub;
    struct meta_vhost_record *vhost;
    struct list by_user;
};

/* What exchanges and queues have in common as ends of bindings. */
struct meta_end {
    uint64_t serial;      /* of this copy; in the keys of bindings */
    uint64_t route;       /* the stamp of the route that reached it last */
    struct list bindings; /* meta_binding_record.by_destination */
};

struct meta_exchange_record {
    unsigned magic;
    struct meta_exchange pub;
    struct meta_vhost_record *vhost;
    struct meta_end end;
    struct list sources; /* meta_binding_record.by_source */
    struct list doomed;  /* on meta_machine.doomed */
    struct meta_exchange_record *route_next;
    struct direct direct; /* of these, the one of its type is in use */
    struct fanout fanout;
    struct topic topic;
};

struct meta_queue_record;

struct meta_transient {
    struct list link;
    struct meta_queue_record *queue;
};

struct meta_queue_record {
    unsigned magic;
    uint32_t incarnation_next;
    struct meta_queue pub;
    struct meta_vhost_record *vhost;
    struct meta_end end;
    struct meta_owner_record *owner; /* NULL: not exclusive */
    struct list by_owner;
    struct meta_transient transients[QR_MEMBERS_MAX]; /* if non-durable and
                                                         shared */
};

struct meta_binding_record {
    unsigned magic;
    struct meta_binding pub;
    struct meta_exchange_record *source;
    struct meta_queue_record *queue; /* one of the two */
    struct meta_exchange_record *exchange;
    struct route_entry entry; /* in the source's routing table */
    struct list by_source;
    struct list by_destination;
};

struct meta_policy_record {
    unsigned magic;
    struct meta_policy pub;
};

struct meta_parameter_record {
    unsigned magic;
    struct meta_parameter pub;
};

/* The requests of one session that were applied. */
struct meta_session_record {
    unsigned magic;
    struct ranges requests;
};

/* Where protobuf-c unpacks one command into; emptied after each. */
struct meta_arena {
    uint8_t *bytes;
    size_t used;
};

/* A lost entry cannot have declared more queues: a declaration has more than
 * twenty bytes, a proposal at most QR_PROPOSAL_SIZE_MAX. */
#define META_GROUPS_LOST_MAX ((qr_group_id)1 << 20)
/* So far above the next id one may be chosen by the leader. */
#define META_GROUPS_JUMP_MAX ((qr_group_id)1 << 40)

struct meta_machine {
    unsigned magic;
    struct meta_events events;
    qr_index applied;
    uint64_t time_ms; /* of the entry being applied */
    char *cluster_name;
    size_t cluster_name_size;
    qr_group_id group_next;
    struct meta_losses losses;
    qr_index torn; /* after this entry ids jump over what was lost; 0: no */
    qr_node_id node_next;
    size_t nodes_live;
    size_t exchanges_count;
    size_t permissions_count;
    size_t policies_count;
    struct map nodes;         /* by id; removed ones stay */
    struct map groups;        /* queues, by group */
    struct map sessions;      /* by session, docs/formats/meta.md */
    struct strmap vhosts;     /* by name */
    struct strmap users;      /* by name */
    struct strmap owners;     /* by meta_owner_key() */
    struct strmap bindings;   /* by meta_binding_key() */
    struct strmap parameters; /* by meta_parameter_key() */
    struct list doomed;       /* exchanges to drop; empty between commands */
    uint64_t serial_next;
    uint64_t route; /* stamp of the latest meta_route() */
    struct buf key; /* scratch */
    struct meta_arena arena;
};

/* A text of the record's own: a NUL-terminated copy. */
struct meta_text meta_text_dup(struct meta_text text);
/* Free what meta_text_dup() gave; TEXT is then "". */
void meta_text_drop(struct meta_text *text);
/* Replace a text of the record's own by a copy of NEW. */
void meta_text_set(struct meta_text *text, struct meta_text new);
/* The order of bytes, as listings have it: <0, 0, >0. */
int meta_text_compare(struct meta_text a, struct meta_text b);

static inline bool
meta_text_is(struct meta_text a, struct meta_text b)
{
    return a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool
meta_owner_is(const struct meta_owner *a, const struct meta_owner *b)
{
    return a->node == b->node && a->boot == b->boot &&
           a->connection == b->connection;
}

/* The record around the public part that a caller holds. Records are this
 * machine's own and mutable; only the view that lookups give is const. */
struct meta_vhost_record *meta_vhost_of(const struct meta_vhost *pub);
struct meta_exchange_record *meta_exchange_of(const struct meta_exchange *pub);
struct meta_queue_record *meta_queue_of(const struct meta_queue *pub);

/* Lookups of records; NULL when there is none. */
struct meta_node_record *meta_node_get(const struct meta_machine *m,
                                       qr_node_id id);
struct meta_vhost_record *meta_vhost_get(const struct meta_machine *m,
                                         struct meta_text name);
struct meta_user_record *meta_user_get(const struct meta_machine *m,
                                       struct meta_text name);
struct meta_exchange_record *
meta_exchange_get(const struct meta_vhost_record *vhost, struct meta_text name);
struct meta_queue_record *meta_queue_get(const struct meta_vhost_record *vhost,
                                         struct meta_text name);

/* Creating: what SPEC says is copied, what it names is there, what it creates
 * is not. Dropping: with all that depends on it, and events. */
struct meta_node_record *meta_node_create(struct meta_machine *m,
                                          const struct meta_node *spec);
void meta_node_free(struct meta_node_record *node);
struct meta_vhost_record *meta_vhost_create(struct meta_machine *m,
                                            const struct meta_vhost *spec);
void meta_vhost_drop(struct meta_machine *m, struct meta_vhost_record *vhost);
struct meta_user_record *meta_user_create(struct meta_machine *m,
                                          const struct meta_user *spec);
void meta_user_drop(struct meta_machine *m, struct meta_user_record *user);
struct meta_permission_record *
meta_permission_create(struct meta_machine *m, struct meta_vhost_record *vhost,
                       struct meta_user_record *user,
                       const struct meta_permission *spec);
void meta_permission_drop(struct meta_machine *m,
                          struct meta_permission_record *permission);
struct meta_exchange_record *
meta_exchange_create(struct meta_machine *m, struct meta_vhost_record *vhost,
                     const struct meta_exchange *spec);
/* With its bindings, and the auto-delete exchanges that lose their last one
 * by it, and so on. */
void meta_exchange_drop(struct meta_machine *m,
                        struct meta_exchange_record *exchange);
/* SPEC says everything but `user`. */
struct meta_queue_record *meta_queue_create(struct meta_machine *m,
                                            struct meta_vhost_record *vhost,
                                            const struct meta_queue *spec);
void meta_queue_drop(struct meta_machine *m, struct meta_queue_record *queue);
struct meta_policy_record *meta_policy_set(struct meta_machine *m,
                                           struct meta_vhost_record *vhost,
                                           const struct meta_policy *spec);
void meta_policy_drop(struct meta_machine *m, struct meta_vhost_record *vhost,
                      struct meta_policy_record *policy);
struct meta_parameter_record *
meta_parameter_set(struct meta_machine *m, const struct meta_parameter *spec);
void meta_parameter_drop(struct meta_machine *m,
                         struct meta_parameter_record *parameter);
/* Drop those of VHOST. */
void meta_parameters_drop_vhost(struct meta_machine *m, struct meta_text vhost);

/* A binding's two ends. */
struct meta_ends {
    struct meta_exchange_record *source;
    struct meta_queue_record *queue; /* one of the two */
    struct meta_exchange_record *exchange;
};
/* The binding between ENDS with KEY and ARGUMENTS, or NULL. */
struct meta_binding_record *meta_binding_get(struct meta_machine *m,
                                             const struct meta_ends *ends,
                                             struct meta_text key,
                                             struct meta_text arguments);
/* -QR_EBUSY: the topic trie is full. */
MUST_USE int meta_binding_create(struct meta_machine *m,
                                 const struct meta_ends *ends,
                                 struct meta_text key,
                                 struct meta_text arguments);
/* Drop the binding; if its source auto-deletes and this was its last, doom
 * it: call meta_doomed_drop() then. */
void meta_binding_drop(struct meta_machine *m,
                       struct meta_binding_record *binding);
/* Drop the exchanges that are doomed, until there are none. */
void meta_doomed_drop(struct meta_machine *m);
/* Drop all bindings whose destination END is (dooming, as above). */
void meta_end_unbind(struct meta_machine *m, struct meta_end *end);
void meta_end_init(struct meta_machine *m, struct meta_end *end);

/* NODE has started anew, or is removed: drop what ended with its earlier
 * starts. */
void meta_node_restarted(struct meta_machine *m, struct meta_node_record *node);
/* Whether QUEUE is non-durable, shared, and all its members' nodes have
 * started again or are removed since they became members. */
bool meta_queue_is_over(const struct meta_machine *m,
                        const struct meta_queue_record *queue);
/* Replace the members and what is indexed by them. */
void meta_queue_set_members(struct meta_machine *m,
                            struct meta_queue_record *queue,
                            const struct meta_member *members, size_t count);
/* Drop all exclusive queues of OWNER, which goes with them. */
void meta_owner_drop(struct meta_machine *m, struct meta_owner_record *owner);
struct meta_owner_record *meta_owner_get(struct meta_machine *m,
                                         const struct meta_owner *owner);

/* What came of remembering a request. */
enum meta_request_state {
    META_REQUEST_NEW,     /* noted just now: apply it */
    META_REQUEST_APPLIED, /* before */
    META_REQUEST_STALE    /* of a start that is over, or a removed node */
};
/* Note REQUEST of SESSION; those of session 0, of node 0, and of sessions
 * beyond META_SESSIONS_MAX are always new. */
enum meta_request_state meta_session_note(struct meta_machine *m,
                                          uint64_t session, uint64_t request);
/* Forget the sessions of NODE's starts before BOOT. */
void meta_session_drop(struct meta_machine *m, qr_node_id node, uint32_t boot);
/* The record of SESSION, made when it is new. */
struct meta_session_record *meta_session_get(struct meta_machine *m,
                                             uint64_t session);
void meta_sessions_free(struct meta_machine *m);

/* Events; a NULL callback is skipped. */
void meta_tell_user(const struct meta_machine *m, struct meta_text name);
void meta_tell_node(const struct meta_machine *m,
                    const struct meta_node_record *node);

/* The bindings of which EXCHANGE is the source, sorted by kind and name of
 * destination, key, arguments; the caller frees the array (mem_free). */
struct meta_binding_record **
meta_bindings_sorted(const struct meta_exchange_record *exchange);

/* Assert that the state is sound: all of it is walked. */
void meta_check(const struct meta_machine *m);

/* An empty machine without events, and the end of one. */
void meta_state_init(struct meta_machine *m);
void meta_state_deinit(struct meta_machine *m);

#endif
