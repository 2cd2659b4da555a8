/* How the nodes of a configuration become a cluster, once.
 *
 * The node with the lowest id waits until it is linked to all the others and
 * each has said that it is blank; then it makes the cluster's id, writes it
 * down with every node's UUID, and tells the others, who write it down too. A
 * node that is formed tells every node that it is linked to, again at each
 * link: so a crash in the middle is healed by the next meeting.
 *
 *   blank --FORM received, or (lowest id) all others blank--> formed
 *
 * A blank node that hears of a cluster in which its name has another UUID has
 * lost its disk: it must not pass for the old one, and says so. */
#ifndef DAEMON_FORMATION_H
#define DAEMON_FORMATION_H

#include <stdbool.h>

#include "base/list.h"
#include "base/uuid.h"
#include "daemon/identity.h"
#include "peer/frame.h"

struct env;
struct formation;

enum {
    FORMATION_KIND_FIRST = FRAME_NODE_FIRST,
    FORMATION_KIND_LIMIT = FRAME_NODE_FIRST + 8
};

struct formation_config {
    struct env *env; /* shard 0's */
    qr_node_id self;
    const struct identity_member *nodes; /* configured: ids and names */
    size_t nodes_count;
    struct identity *identity; /* completed when formed; borrowed */
    /* The identity has become that of a cluster: write it down. Negative: it
     * could not be; the node stays blank. */
    int (*on_formed)(void *arg);
    void *arg;
};

/* CONFIG is copied; what it points at is borrowed for its life. The caller
 * frees it, which nulls *F. */
struct formation *formation_new(const struct formation_config *config);
void formation_free(struct formation **f);
/* A cluster of one, or one that was formed before, starts at once: on_formed
 * is called only for a new one. */
void formation_start(struct formation *f);
bool formation_is_formed(const struct formation *f);

#endif
