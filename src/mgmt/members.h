/* What cluster_status says about members: see members.c. */
#ifndef MGMT_MEMBERS_H
#define MGMT_MEMBERS_H

#include <quorate/types.h>
#include <stddef.h>

struct job;
struct meta_queue;

enum {
    MEMBERS_ROWS_MAX = 50 /* queues that are named; others are counted */
};

/* QUEUE is not whole: WHAT says why. */
typedef void (*members_row_cb)(struct job *job, const struct meta_queue *queue,
                               const char *what);

/* How many queues have not the replicas that they should have; ROW (may be
 * NULL) hears of the first MEMBERS_ROWS_MAX. */
size_t members_rebuilding(struct job *job, members_row_cb row);
/* NODE's part in the metadata's group: "voter", "learner", "none"; NULL when
 * this shard does not know. */
const char *members_role(struct job *job, qr_node_id node);

#endif
