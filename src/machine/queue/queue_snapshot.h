/* What the writer and the reader of snapshots share. The layout is described
 * in docs/formats/queue.md; with it changes QUEUE_SNAPSHOT_VERSION. */
#ifndef MACHINE_QUEUE_QUEUE_SNAPSHOT_H
#define MACHINE_QUEUE_QUEUE_SNAPSHOT_H

#include <stdint.h>

#include "machine/queue/queue_state.h"

enum {
    QUEUE_SNAPSHOT_VERSION = 1,
    QUEUE_SNAPSHOT_WAS_USED = 1, /* flags of the machine */
    QUEUE_SNAPSHOT_HAS_LOSSES = 2
};

/* Which fields the runs of a list have. */
enum queue_list {
    QUEUE_LIST_READY,    /* neither count nor delivery */
    QUEUE_LIST_RETURNED, /* count */
    QUEUE_LIST_HELD      /* count and delivery */
};

/* Messages in a row: same entry, size and count, at equal distances, with
 * deliveries numbered one by one. */
struct queue_run {
    uint64_t length;
    uint32_t gap; /* bytes between one message and the next; 0 if alone */
    struct queue_held first;
};

/* Where a list has got to; each run is coded by its distance from here. */
struct queue_place {
    qr_index index;
    uint64_t end; /* offset behind the last message */
    uint64_t delivery;
};

/* Signed distances as small unsigned numbers: 0, -1, 1, -2, ... */
static inline uint64_t
queue_zigzag(uint64_t from, uint64_t to)
{
    uint64_t d = to - from;

    return (d << 1) ^ (0 - (d >> 63));
}

/* The number that queue_zigzag() of FROM and it made Z. */
static inline uint64_t
queue_unzigzag(uint64_t from, uint64_t z)
{
    return from + ((z >> 1) ^ (0 - (z & 1)));
}

#endif
