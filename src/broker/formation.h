/* How nodes become a cluster, once, and how a blank node joins one.
 *
 * A blank node hails every node that it is linked to. Among blank nodes of one
 * configuration, the one that is first by name waits until it is linked to all
 * the others and each has hailed it; then it makes the cluster's id, writes it
 * down with every node's UUID, and tells the others (FORM), who write it down
 * too. A node of a cluster answers a hail with FORM if the UUID that hails is
 * one of its members': so a crash in the middle is healed by the next meeting.
 *
 * Otherwise the hail is a request to join (broker/joining.h): the cluster
 * commits one command that adds the node under a new id and removes the one
 * that had its name, if that is not linked. The next hail is then answered
 * with FORM; until then with WAIT or NO and a reason, which is logged when it
 * changes. Nothing is remembered between hails but what the metadata has, so
 * each step may be repeated: asked, committed but not answered, answered but
 * not written down.
 *
 *           +-- FORM with my UUID, or (first by name) all others blank --+
 *           |                                                            v
 *   blank --+-- hail --> NO, WAIT: again in HAIL_MS                   formed
 *           |
 *           +-- hail --> RENEW, for RENEW_MS: it is another node, still blank
 *
 * A blank node may have been taken in and been removed again before it heard of
 * it. Nobody takes its UUID in again (ADR 4), so it is answered with RENEW. It
 * has promised nothing, as it has no log: it takes another UUID, as if its
 * directory had been emptied, and starts again. Only a member of a cluster says
 * RENEW, and only of a UUID that the cluster's metadata have as removed. One
 * start of a node takes RENEW_MS to give its UUID up, which bounds how many it
 * uses, whatever it is told.
 *
 * To run it, in the daemon or in the simulator: give it the links (guests
 * included, LINK_GUEST_FIRST) of shard 0, and, on a node that is of a cluster,
 * formation_serve() once its broker is made. When on_formed() says that the
 * node's id is not that of its env (it has joined), start the node again with
 * that id: its stores are empty. docs/formats/peer.md has the frames. */
#ifndef BROKER_FORMATION_H
#define BROKER_FORMATION_H

#include <stdbool.h>

#include "base/uuid.h"
#include "broker/cluster.h"
#include "peer/frame.h"

struct broker;
struct env;
struct formation;

enum {
    FORMATION_KIND_FIRST = FRAME_NODE_FIRST,
    FORMATION_KIND_LIMIT = FRAME_NODE_FIRST + 8,
    FORMATION_HAIL_MS = 500,
    FORMATION_RENEW_MS = 2000,
    FORMATION_TEXT_SIZE = 512
};

struct formation_config {
    struct env *env; /* shard 0's */
    /* The configured nodes in the order of their names. While blank, the links
     * have their ids. */
    const struct cluster_member *nodes;
    size_t nodes_count;
    size_t self; /* this node's place in it */
    struct uuid uuid;
    const char *data_dir;    /* for the log */
    struct cluster *cluster; /* blank: completed; borrowed */
    /* *cluster is complete, and this node is member ID of it: write it down.
     * Negative: it could not be; the node stays blank. */
    int (*on_formed)(void *arg, qr_node_id id);
    /* The UUID is of no use any more. Nothing is done from here on: stop, put
     * another one in the place of the identity (identity_renew()), and start
     * again. */
    void (*on_renew)(void *arg);
    void *arg;
};

/* CONFIG is copied; what it points at is borrowed for its life. The caller
 * frees it, which nulls *F. */
struct formation *formation_new(const struct formation_config *config);
void formation_free(struct formation **f);
/* Blank: form a cluster of one at once, or begin to hail. */
void formation_start(struct formation *f);
/* Answer those who want to join, from BROKER's metadata (shard 0's broker). */
void formation_serve(struct formation *f, struct broker *broker);
bool formation_is_formed(const struct formation *f);
/* What a blank node waits for, for people; "" when it is formed. */
const char *formation_waits_for(const struct formation *f);

#endif
