/* A connection that publishes. */
#ifndef BENCH_PUBLISHER_H
#define BENCH_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ring.h"
#include "bench/client.h"
#include "bench/traffic.h"

/* A message that waits for its confirm. */
struct publisher_pending {
    uint64_t stamp_us; /* 0: the place is free */
    uint64_t sequence;
    uint32_t lane; /* index in `lanes` */
};

/* What goes to one queue. */
struct publisher_lane {
    uint32_t number; /* of the run */
    size_t head_at;  /* basic.publish and the content header in `heads` */
    size_t head_size;
    uint64_t next; /* sequence */
};

/* Pinned while its client is not down. */
struct publisher {
    unsigned magic;
    uint32_t index;
    struct traffic *traffic;
    struct client client;
    struct traffic_retry retry;
    struct publisher_lane *lanes;
    uint32_t lanes_count;
    uint32_t turn;     /* lane of the next new message */
    struct buf heads;  /* frames, of all lanes */
    struct buf body;   /* frames, but for the stamp the same each time */
    size_t body_frame; /* the largest frame that `body` was made for */
    struct publisher_pending *pending; /* by delivery tag */
    uint64_t pending_mask;
    uint64_t next_tag;
    uint64_t oldest_tag;
    uint64_t unconfirmed;
    struct ring again; /* publisher_pending, to be published again */
    uint64_t paced;    /* new messages so far */
    bool is_late;      /* could not publish when one was due */
    bool is_ready;     /* confirm.select-ok came */
    bool is_refused;   /* by basic.nack: wait for the next tick */
    struct traffic_gap gap;
};

/* Publisher INDEX of T (borrowed), not yet connected. */
void publisher_init(struct publisher *p, struct traffic *t, uint32_t index);
/* Its client is down. */
void publisher_deinit(struct publisher *p);
void publisher_open(struct publisher *p);
/* Connected and in confirm mode. */
bool publisher_is_ready(const struct publisher *p);
/* Publish what may be published now. */
void publisher_pump(struct publisher *p, uint64_t now_us);
/* Whether nothing waits for a confirm or to be published again. */
bool publisher_is_settled(const struct publisher *p);
/* Every tick: reconnects, heartbeats, what was refused. */
void publisher_tick(struct publisher *p, uint64_t now_us);

#endif
