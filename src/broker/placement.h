/* Which nodes hold a new queue's replicas. */
#ifndef BROKER_PLACEMENT_H
#define BROKER_PLACEMENT_H

#include <quorate/types.h>
#include <stddef.h>

struct broker;

/* Nodes for a queue declared here: this node first (it leads: RabbitMQ's
 * client-local), then linked ones, then others; queue_replicas of them, or as
 * many as there are. Returns how many, 1 at least. */
size_t placement_choose(const struct broker *b, qr_node_id out[QR_MEMBERS_MAX]);

#endif
