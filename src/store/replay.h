/* What recovery.c finds out about each group, and settle.c makes of it. */
#ifndef STORE_REPLAY_H
#define STORE_REPLAY_H

#include "base/check.h"
#include "store/store_impl.h"

struct error;

/* Where replay saw the newest record of a kind. */
struct sighting {
    struct segment *segment; /* NULL: never */
    uint64_t offset;
    uint32_t size;
};

/* A body that was written again: a record of type COPY. */
struct copy {
    qr_index index;
    qr_term term;
    struct entry_loc loc;
};

/* A group while it is being replayed. */
struct life {
    struct group *group;
    qr_index last_index;
    struct copy *copies; /* as seen; by index and place once settled */
    size_t copies_count;
    size_t copies_capacity;
    struct sighting seen[CONTROL_KINDS];
    struct sighting tombstone;
    uint64_t until; /* of the tombstone */
    bool is_lost;
};

struct replay {
    struct store *store;
    struct map lives;  /* by log */
    struct life *last; /* the one of the record before */
    struct segment **used;
    size_t used_count;
    struct error *err;
};

/* Make groups and tombstones of the store out of RP's lives. */
void settle_all(struct replay *rp);

#endif
