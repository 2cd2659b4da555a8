/* What the replicas of queues say about them, put together by queue: for
 * list_queues, quorum_status and the commands that look before they act. */
#ifndef MGMT_LIST_QUEUES_H
#define MGMT_LIST_QUEUES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/map.h"
#include "mgmt/record.h"

struct gather;

/* A replica that answered, and where it is. */
struct queue_replica {
    qr_node_id node;
    struct replica_record record;
};

/* The replicas of one queue that answered. */
struct queue_row {
    struct queue_replica replicas[QR_MEMBERS_MAX];
    size_t count;
    /* The one that leads, in the newest term if several say so; else NULL. */
    const struct queue_replica *leader;
    /* The leader, else the one that applied most; NULL when COUNT is 0. */
    const struct queue_replica *best;
};

/* Read the records of ASK_REPLICAS or ASK_REPLICA out of G into ROWS (by
 * group). Texts stay G's. */
void queue_rows_read(struct map *rows, const struct gather *g);
/* Free the rows, and the map's own memory. */
void queue_rows_free(struct map *rows);
/* Entries that the slowest replica of ROW that answered has yet to store;
 * false when there is no leader to compare with. */
bool queue_row_lag(const struct queue_row *row, uint64_t *lag);
/* The entry that no replica of ROW has and each would have to apply next, so
 * that none can serve; 0: there is none. */
qr_index queue_row_blocked(const struct queue_row *row);

#endif
