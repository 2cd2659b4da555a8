/* The reconciler: makes the members of the groups that this shard leads what
 * the metadata want. Replicas on removed nodes go, and those that have lost
 * their memory; in their place come new ones, on nodes that are up, as learners
 * first, voters when they have caught up; then the metadata learn of it
 * (QueueMembers). A node that is merely down keeps its replicas. A node that
 * has lost what it had acknowledged of the metadata is told to join anew (one
 * that knows of the loss does so by itself, meta_group_check()).
 *
 *   event --> pending --a step to do, and room--> active --nothing to do--> -
 *                 \________ nothing to do _______________________________/
 *
 * Events: this shard begins to lead a group; nodes come, go, or are linked
 * again; a queue's members changed; a replica is reported lost; every SWEEP_MS,
 * all groups. One step of a group at a time, RECONCILE_ACTIVE_MAX groups of a
 * node at a time. */
#ifndef BROKER_RECONCILE_H
#define BROKER_RECONCILE_H

#include <quorate/host.h>
#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/meta/meta_machine.h"

struct broker;
struct reconciler;

enum {
    RECONCILE_ACTIVE_MAX = 16, /* groups of a node in change at a time */
    RECONCILE_TICK_MS = 100,   /* between looks at those in change */
    RECONCILE_SLICE = 256,     /* groups looked at in one tick */
    RECONCILE_SWEEP_MS = 30000,
    RECONCILE_TELL_MS = 1000, /* until the metadata are told again */
    RECONCILE_META_VOTERS = 5 /* of the metadata's group; others learn */
};

/* ---- the decision, pure ---- */

struct reconcile_member {
    struct qr_member member;
    bool is_gone; /* its node was removed from the cluster */
    bool is_lost; /* it has lost its memory */
    bool is_up;   /* its node can be reached */
};

/* A group as its leader sees it; no change of it is under way. */
struct reconcile_view {
    struct reconcile_member members[QR_MEMBERS_MAX];
    size_t members_count;
    qr_replica_id self;
    size_t wanted;     /* replicas */
    size_t voters_max; /* of them */
    /* Nodes that are up and may take a replica, best first. */
    qr_node_id candidates[QR_NODES_MAX];
    size_t candidates_count;
    uint32_t incarnation; /* for a replica that is new */
    /* A node has one replica of the metadata in its life: in place of a lost
     * one, the node is renewed. */
    bool is_metadata;
    /* What the metadata have of it; is_told false: they keep nothing. */
    bool is_told;
    const struct meta_member *told;
    size_t told_count;
};

enum reconcile_kind {
    RECONCILE_NOTHING,
    RECONCILE_REMOVE,
    RECONCILE_TELL, /* the metadata what the members are */
    RECONCILE_PROMOTE,
    RECONCILE_ADD,
    RECONCILE_RENEW /* the node of that replica is to join anew */
};

struct reconcile_step {
    enum reconcile_kind kind;
    qr_replica_id replica;
};

/* The next thing to do for V. Those that cannot serve go first: without them
 * the others need no larger majority. Nodes to be renewed go last: a queue may
 * need them for long, and more nodes may be what helps. */
struct reconcile_step reconcile_next(const struct reconcile_view *v);

/* ---- doing it ---- */

/* Of B's shard; freed with the broker, *R nulled. */
struct reconciler *reconciler_new(struct broker *b);
void reconciler_free(struct reconciler **r);
/* Have a look at GROUP (a queue's, or QR_GROUP_META), if it is led here. */
void reconcile_group(struct broker *b, qr_group_id group);
/* The same for all groups led here: nodes came or went. */
void reconcile_nodes(struct broker *b);
/* REPLICA of GROUP, which is led here, has lost its memory. */
void reconcile_lost(struct broker *b, qr_group_id group, qr_replica_id replica);
/* Groups in change on this shard. */
size_t reconcile_active(const struct broker *b);

#endif
