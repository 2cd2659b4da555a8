/* Entry bodies in memory, first in, first out, within a budget. What is not
 * yet durable is pinned: it cannot be read from anywhere else. */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ring.h"
#include "base/slice.h"

enum {
    CACHE_ITEM_COST = 64,      /* charged for an item besides its bytes */
    CACHE_ITEMS_MAX = 1 << 30, /* tickets must not come round within these */
    CACHE_TICKET_NONE = 0
};

/* Which entry a body belongs to. In Raft, log, index and term name a content
 * for ever, so that a ticket that has gone stale cannot hit another entry. */
struct cache_key {
    uint32_t log;
    qr_index index;
    qr_term term;
};

struct cache {
    struct ring items;
    uint32_t ticket_first; /* of items[0] */
    uint64_t budget;
    uint64_t bytes; /* charged */
};

/* An empty cache that keeps up to BUDGET bytes. */
void cache_init(struct cache *c, uint64_t budget);
/* Let go of every body. */
void cache_deinit(struct cache *c);
/* Keep a new reference of DATA. BATCH: which batch makes it durable, 0 if it
 * already is. Returns a ticket, never CACHE_TICKET_NONE. */
uint32_t cache_add(struct cache *c, const struct cache_key *key,
                   const struct slice *data, uint64_t batch);
/* The body (borrowed) or NULL. */
const struct slice *cache_get(const struct cache *c, uint32_t ticket,
                              const struct cache_key *key);
/* Entry INDEX of LOG is gone; harmless if its body is, too. */
void cache_drop(struct cache *c, uint32_t ticket, uint32_t log, qr_index index);
/* Evict down to the budget, but nothing of batches after DURABLE. */
void cache_trim(struct cache *c, uint64_t durable);

#endif
