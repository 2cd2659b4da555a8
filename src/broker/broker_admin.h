/* What operators ask of the broker of one shard: changes to vhosts, users,
 * permissions and policies; any queue, whoever owns it; and where the replicas
 * on this shard stand. For mgmt and http; applications come by broker.h.
 *
 * Calls are as in broker.h: `done` runs once, later. Names and texts are
 * borrowed for the call. Faults: NOT_FOUND, NOT_ALLOWED (exists already),
 * INVALID (a name or a value that is not allowed, with the rule),
 * ACCESS_REFUSED, RESOURCE (a limit), INTERNAL (no majority in time). */
#ifndef BROKER_BROKER_ADMIN_H
#define BROKER_BROKER_ADMIN_H

#include <quorate/host.h>
#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"
#include "machine/meta/meta_machine.h"
#include "machine/queue/queue_machine.h"

enum {
    ADMIN_HASHES_MAX = 64, /* passwords that wait for their hash, a shard */
    ADMIN_TAGS_SIZE_MAX = 1024,
    ADMIN_DESCRIPTION_SIZE_MAX = 4096,
    ADMIN_DEFINITION_SIZE_MAX = 32768 /* of a policy */
};

/* Virtual hosts. ADD: NOT_ALLOWED when it exists. */
void broker_vhost_add(struct broker *b, const struct meta_vhost *vhost,
                      struct broker_call *call);
void broker_vhost_delete(struct broker *b, struct meta_text name,
                         struct broker_call *call);

/* Users. PASSWORD is hashed off the loop and wiped; an empty one is INVALID.
 * ADD: NOT_ALLOWED when the user exists. */
void broker_user_add(struct broker *b, struct meta_text name,
                     struct meta_text password, struct meta_text tags,
                     struct broker_call *call);
void broker_user_delete(struct broker *b, struct meta_text name,
                        struct broker_call *call);
void broker_user_password(struct broker *b, struct meta_text name,
                          struct meta_text password, struct broker_call *call);
/* TAGS: comma separated. */
void broker_user_tags(struct broker *b, struct meta_text name,
                      struct meta_text tags, struct broker_call *call);

/* Permissions; patterns are checked (INVALID). */
void broker_permission_set(struct broker *b,
                           const struct meta_permission *permission,
                           struct broker_call *call);
/* Vhost and user. */
void broker_permission_clear(struct broker *b,
                             const struct meta_permission *permission,
                             struct broker_call *call);

/* Policies; the pattern is checked, the definition is the caller's to check. */
void broker_policy_set(struct broker *b, const struct meta_policy *policy,
                       struct broker_call *call);
/* Vhost, name, is_operator. */
void broker_policy_clear(struct broker *b, const struct meta_policy *policy,
                         struct broker_call *call);

/* Delete the queue of GROUP, and no later one of its name. */
void broker_admin_queue_delete(struct broker *b, qr_group_id group,
                               struct broker_call *call);
/* Drop what is ready in the queue of GROUP: reply->messages says how many. */
void broker_admin_queue_purge(struct broker *b, qr_group_id group,
                              struct broker_call *call);

/* One replica on this shard. */
struct broker_replica {
    struct qr_group_status status;
    struct queue_counts counts;      /* all 0 of the metadata group */
    const struct queue_loss *losses; /* borrowed until anything is applied */
    size_t losses_count;
};

/* The replica of GROUP (or QR_GROUP_META) here; false if there is none. */
bool broker_replica(struct broker *b, qr_group_id group,
                    struct broker_replica *out);
/* The queues' groups that have a replica here, ascending; *COUNT of them. The
 * caller frees the array (mem_free). */
uint64_t *broker_replica_ids(const struct broker *b, size_t *count);
/* The consumers of GROUP's queue as the replica here knows them, unless there
 * is none. */
void broker_replica_consumers(
    struct broker *b, qr_group_id group,
    void (*cb)(void *arg, const struct queue_consumer_info *info), void *arg);
/* Ask that NODE leads GROUP, whose leader is the replica here. 0: under way;
 * -QR_ENOTLEADER; -QR_ENOENT: not a voter; -QR_EBUSY: another change runs. */
MUST_USE int broker_replica_transfer(struct broker *b, qr_group_id group,
                                     qr_node_id node);
/* How many replicas a queue is to have, if there are that many nodes. */
uint32_t broker_queue_replicas(const struct broker *b);
/* The shard's host. */
void broker_host_stats(const struct broker *b, struct qr_host_stats *out);

#endif
