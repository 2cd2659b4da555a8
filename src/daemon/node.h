/* One node: the rooms of each shard put together, from a configuration.
 *
 *   configuration, identity, secret
 *     -> runtime (shards, links)
 *        -> shard 0: formation; when formed, every shard:
 *           disk -> store -> host -> broker -> mgmt
 *           -> listeners, once the broker's metadata is up to date
 *
 * Stopping goes the other way: listeners close, clients are told (320), leads
 * are handed over as links drop, the log is closed. */
#ifndef DAEMON_NODE_H
#define DAEMON_NODE_H

#include "base/check.h"

struct config;
struct error;
struct logger;
struct node;

enum {
    NODE_DRAIN_MS = 2000, /* for clients to take their leave */
    NODE_HOLD_MS = 300    /* for leaders to be handed over */
};

/* Check what CONFIG asks for beyond its syntax: addresses, nodes, the secret.
 * -QR_EINVAL, -QR_EACCESS ... with what to do in ERR. */
MUST_USE int node_check(const struct config *config, struct error *err);
/* What node_run() returns when the cluster gave this start of the node up
 * (nodes.h): run it again. */
enum {
    NODE_AGAIN = 1
};
/* Run until SIGTERM, SIGINT, or `quoratectl stop`. CONFIG and LOG are borrowed.
 * Negative: it could not start, or its disk failed. */
MUST_USE int node_run(const struct config *config, const struct logger *log,
                      struct error *err);

#endif
