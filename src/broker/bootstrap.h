/* What a node puts into the metadata by itself: that it has started, and, into
 * an empty one, the default vhost and user. */
#ifndef BROKER_BOOTSTRAP_H
#define BROKER_BOOTSTRAP_H

#include <stdbool.h>

struct broker;

/* This node leads the metadata: make the default vhost, and the default user
 * with all permissions there, if there is no vhost at all. */
void bootstrap_if_empty(struct broker *b);
/* Say that this node has started (shard 0, once). When that is applied the
 * copy here is up to date (broker.is_current). */
void bootstrap_node_up(struct broker *b);
/* Whether every node that the cluster was formed of has been heard of: until
 * then queues would get too few replicas. */
bool bootstrap_is_complete(const struct broker *b);

#endif
