/* Whom a node links with: while it is blank the nodes of its configuration,
 * then the members of its cluster, as the metadata have them. On shard 0. */
#ifndef DAEMON_NODE_LINKS_H
#define DAEMON_NODE_LINKS_H

#include <stdint.h>

#include "base/check.h"

struct config;
struct error;
struct identity;
struct logger;
struct meta_machine;
struct peers;
struct peers_identity;
struct plan;

/* What that depends on; all borrowed. */
struct node_links {
    const struct config *config;
    const struct plan *plan;
    const struct identity *identity;
    const struct logger *log;
    struct peers *peers; /* NULL: a node without links */
};

/* Who this node is, for the links' hello. */
void node_links_identity(const struct node_links *l,
                         struct peers_identity *out);
/* Accept links from *SOCKET (taken, if it is not -1) and begin to dial. */
MUST_USE int node_links_start(const struct node_links *l, int *socket,
                              struct error *err);
/* The identity has become that of a cluster's founder: links stay. */
void node_links_formed(const struct node_links *l);
/* Link with the nodes that META has, refuse those that were removed. */
void node_links_follow(const struct node_links *l,
                       const struct meta_machine *meta);

#endif
