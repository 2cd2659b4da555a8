/* A snapshot on its way out. */
#ifndef CONSENSUS_STREAM_H
#define CONSENSUS_STREAM_H

#include "base/list.h"
#include "consensus/wire.h"
#include "peer/frame.h"
#include "store/store.h"

enum {
    STREAM_CHUNK_SIZE = 1 << 20,
    STREAM_CREDIT_MAX = 8,
    STREAM_ACTIVE_MS = 2500, /* pulled within: the follower is at it */
    STREAM_IDLE_MS = 30000   /* forgotten after */
};

/* What one follower fetches of one snapshot. */
struct stream {
    unsigned magic;
    struct list link; /* of its group */
    struct qr_group *group;
    qr_replica_id to;
    qr_index snapshot;
    uint64_t id;
    uint64_t sequence;
    unsigned credit;
    uint64_t pulled_at_ms;
    struct range *ranges; /* asked for */
    size_t ranges_count;
    size_t range; /* where we are */
    qr_index next;
    bool is_fetching; /* `fetch` is under way: pinned */
    bool is_closed;   /* free it when the fetch has come */
    struct store_fetch fetch;
    struct frame *frame; /* the chunk that is filled */
    size_t frame_size;
    size_t count;
    qr_index last; /* in the chunk */
    uint64_t indexes[WIRE_ENTRIES_MAX];
    uint64_t terms[WIRE_ENTRIES_MAX];
    uint64_t sizes[WIRE_ENTRIES_MAX];
};

#endif
