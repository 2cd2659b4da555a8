/* Resource alarms of the cluster, as one shard knows them.
 *
 * Each shard reports what it finds of its own node (memory, disk) to every
 * shard of every linked node: when it changes, when a link comes up, and again
 * and again while there is something to report. A node that is not linked has
 * no alarms here.
 *
 * When publishers are blocked:
 *
 *   memory  any node is above its high watermark. Its queues' replicas and
 *           connections grow by what is published anywhere, so all stop.
 *   disk    of the nodes that are linked, too few have room for a majority of
 *           all nodes. While a majority has room it goes on: a follower
 *           without room waits, a leader without room hands over.
 *
 * Consumers go on: they make room. */
#ifndef BROKER_ALARMS_H
#define BROKER_ALARMS_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/timer.h"
#include "broker/broker.h"
#include "peer/frame.h"
#include "peer/link_event.h"

struct broker;

enum {
    ALARMS_REPEAT_MS = 2000,
    /* What another shard reported and has not repeated for so long is over:
     * the word that it is may have been lost. */
    ALARMS_STALE_MS = 4 * ALARMS_REPEAT_MS,
    ALARMS_REASON_SIZE = 128
};

/* What the shards of one node report. */
struct alarms_node {
    qr_node_id node;
    uint16_t shards;
    uint8_t bits[QR_SHARDS_MAX];      /* enum broker_alarm, by shard */
    uint64_t heard_ms[QR_SHARDS_MAX]; /* when it was last said */
};

struct alarms {
    struct alarms_node nodes[QR_NODES_MAX + 1]; /* linked ones and this one */
    size_t count;
    struct timer timer; /* while any shard has something to report */
    char reason[ALARMS_REASON_SIZE]; /* why publishers are blocked, or "" */
    void (*on_change)(void *arg, const char *reason);
    void *arg;
};

/* No alarms. */
void alarms_init(struct broker *b);
void alarms_deinit(struct broker *b);
/* A BROKER_ALARM frame. */
void alarms_frame(struct broker *b, struct address from,
                  const struct frame *frame);
/* The link to PEER came up, or it is gone. */
void alarms_link(struct broker *b, const struct link_peer *peer, bool is_up);

#endif
