/* What a shard knows of the other nodes: is the link up, which start of the
 * process is it, how long has it been silent. Feeds the decision that the
 * sessions of a node are dead (queue_group.c).
 *
 *   linked --LINK_DOWN--> lost --NODES_LOST_MS--> dead
 *     |                    |
 *     |  LINK_UP, boot + 1 | LINK_REFUSED (nothing listens there)
 *     +--------------------+--> dead (the boots up to the previous one)
 *
 * A start that was taken for dead and comes back is alive again here; where a
 * queue was told of its death meanwhile, the queue tells it. */
#ifndef BROKER_NODES_H
#define BROKER_NODES_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard/env.h"

enum {
    /* Unreachable for this long: its consumers' messages return. A node cut
     * off gives up its own consumers before (QUEUE_CLIENT_LOST_MS). */
    NODES_LOST_MS = 30000,
    NODES_MAX = 2 * QR_NODES_MAX /* removed ones make room for new ones */
};

struct node_state {
    qr_node_id node;
    bool is_linked;
    uint32_t boot;      /* newest seen, 0 = none */
    uint32_t boot_dead; /* starts up to this one are dead */
    uint64_t lost_ms;   /* since when, if not linked */
    bool is_removed;
};

struct nodes {
    struct node_state items[NODES_MAX];
    size_t count;
};

/* Nobody is known. */
void nodes_init(struct nodes *n);
/* The state of NODE, added when new; NULL when the table is full. */
struct node_state *nodes_get(struct nodes *n, qr_node_id node);
/* NODE is known to the cluster, with BOOT as its newest start; at NOW_MS. One
 * that was never linked here counts as lost from the first time on. Returns
 * the state if its `boot_dead` has grown, else NULL. */
struct node_state *nodes_known(struct nodes *n, qr_node_id node, uint32_t boot,
                               uint64_t now_ms);
/* NODE was removed from the cluster: all its starts are dead, for good. As
 * nodes_known(). */
struct node_state *nodes_removed(struct nodes *n, qr_node_id node);
/* Whether start BOOT of NODE is dead. */
bool nodes_is_dead(const struct nodes *n, qr_node_id node, uint32_t boot);
/* Take note of a link event at NOW_MS; returns the state if its `boot_dead`
 * has grown, else NULL. */
struct node_state *nodes_link_event(struct nodes *n, enum link_event event,
                                    const struct link_peer *peer,
                                    uint64_t now_ms);
/* The next node that has been lost for NODES_LOST_MS and is not yet dead: marks
 * it dead and returns it; NULL when there is none. */
struct node_state *nodes_expire(struct nodes *n, uint64_t now_ms);

#endif
