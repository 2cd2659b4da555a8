/* The metadata group's replica, on shard 0, and how the other shards' copies
 * follow it. */
#ifndef BROKER_META_GROUP_H
#define BROKER_META_GROUP_H

#include <quorate/types.h>
#include <stdbool.h>

#include "peer/frame.h"

struct broker;
struct error;
struct meta_group;
struct meta_queue;
struct node_state;
struct qr_group;

/* Open the replica (shard 0): NULL, with ERR, when the host refuses. */
struct meta_group *meta_group_open(struct broker *b, struct error *err);
/* At shutdown, after the host is gone. */
void meta_group_free(struct meta_group **g);

/* Frames BROKER_META_*. On shards other than 0, G is NULL. */
void meta_group_frame(struct broker *b, struct meta_group *g,
                      struct address from, struct frame **frame);
/* Tell the other nodes what all shards here have applied; once a turn. */
void meta_group_flush(struct meta_group *g);
/* A link came up: tell that node. */
void meta_group_link_up(struct meta_group *g, qr_node_id node);

/* From time to time: if the replica has lost its memory, this node cannot go on
 * as what it is; the daemon is told. */
void meta_group_check(struct meta_group *g);

/* Of the leader: tell the node of REPLICA, which denies entries that it had
 * acknowledged, that it cannot go on as what it is. */
void meta_group_renew(struct meta_group *g, qr_replica_id replica);

/* STATE's node has died (its starts up to boot_dead): what its connections
 * owned alone goes with them. */
void meta_group_node_dead(struct meta_group *g, const struct node_state *state);

/* An exclusive QUEUE appears: if its owner's node is known dead already, the
 * declaration came after the burial; let it go, too. */
void meta_group_bury_late(struct meta_group *g, struct meta_queue *queue);

/* Its group in the host, borrowed; NULL once this node was removed from it. */
struct qr_group *meta_group_raft(const struct meta_group *g);

#endif
