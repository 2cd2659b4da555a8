/* A connection that consumes, or polls with basic.get. */
#ifndef BENCH_CONSUMER_H
#define BENCH_CONSUMER_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/client.h"
#include "bench/traffic.h"

/* One queue that is consumed from: subscription S is that of consumer
 * S % consumers to queue S % queues. */
struct consumer_queue {
    uint32_t number;
    /* For each of the queue's lanes: one past the highest sequence that came
     * here for the first time. */
    uint64_t *ends;
};

/* Pinned while its client is not down. */
struct consumer {
    unsigned magic;
    uint32_t index;
    struct traffic *traffic;
    struct client client;
    struct traffic_retry retry;
    struct consumer_queue *queues;
    uint32_t queues_count;
    uint32_t answers; /* consume-ok and qos-ok that are awaited */
    bool is_ready;
    bool is_acked; /* since the last tick */
    uint64_t unacked;
    uint64_t last_tag; /* to be acknowledged, with all before it */
    uint32_t turn;     /* queue of the next basic.get */
    bool is_getting;   /* an answer to basic.get is awaited */
    bool is_empty;     /* the last one was get-empty: wait for the tick */
    struct traffic_gap gap;
};

/* Consumer INDEX of T (borrowed), not yet connected. */
void consumer_init(struct consumer *c, struct traffic *t, uint32_t index);
/* Its client is down. */
void consumer_deinit(struct consumer *c);
void consumer_open(struct consumer *c);
/* Connected, and consuming from all its queues. */
bool consumer_is_ready(const struct consumer *c);
/* Every tick, of about 10 ms: reconnects, heartbeats, late
 * acknowledgements. */
void consumer_tick(struct consumer *c, uint64_t now_us);
/* Acknowledge all that came. */
void consumer_ack(struct consumer *c);

#endif
