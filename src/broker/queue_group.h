/* One queue's replica on this shard: the machine under the host, and, while it
 * leads, the one that answers its clients. */
#ifndef BROKER_QUEUE_GROUP_H
#define BROKER_QUEUE_GROUP_H

#include <quorate/types.h>
#include <stdbool.h>

#include "machine/queue/queue_machine.h"
#include "peer/frame.h"

struct broker;
struct list;
struct meta_queue;
struct node_state;
struct queue_group;

/* Start the replica of QUEUE on this node (it is a member), new or stored.
 * Registered in broker->groups. NULL when the host refused (logged). */
struct queue_group *queue_group_open(struct broker *b,
                                     const struct meta_queue *queue);
/* The queue is deleted, or this node no longer a member: forget all. */
void queue_group_delete(struct queue_group *g);
/* At shutdown: free without touching what is stored. */
void queue_group_free(struct queue_group *g);

/* Frames BROKER_COMMANDS, RESUME and QUERY. G NULL: this shard has no replica
 * of frame->group; answers LEADER 0. */
void queue_group_frame(struct broker *b, struct queue_group *g,
                       struct address from, struct frame **frame);
/* Send the events that gathered; called for dirty groups once a turn. */
void queue_group_flush(struct queue_group *g);
/* STATE's node has died (its boot_dead grew). */
void queue_group_node_dead(struct queue_group *g,
                           const struct node_state *state);

/* What no replica has any more is set aside, once this one leads. */
void queue_group_missing(struct queue_group *g);

/* What it is made of, borrowed. */
struct qr_group *queue_group_raft(const struct queue_group *g);
struct queue_machine *queue_group_machine(const struct queue_group *g);
qr_replica_id queue_group_self(const struct queue_group *g);
/* Where it believes the leader to be, 0 = unknown. */
qr_node_id queue_group_leader(const struct queue_group *g);

/* The list link of broker.dirty_groups. */
struct queue_group *queue_group_of_dirty(struct list *link);

#endif
