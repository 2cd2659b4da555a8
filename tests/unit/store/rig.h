/* A store on a simulated disk, for the tests of this room. */
#ifndef TESTS_STORE_RIG_H
#define TESTS_STORE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rng.h"
#include "base/timer.h"
#include "store/disk.h"
#include "store/disk_sim.h"
#include "store/store.h"

enum {
    RIG_TEXT_SIZE = 256
};

struct rig {
    struct rng rng;
    struct disk_sim *sim;
    struct store_config config;
    struct store *store;
    uint64_t durable; /* as told to us */
    struct timers timers;
    uint64_t now_ms;
    struct store_damage damage; /* the last one told */
    unsigned damages;
    unsigned failures;
    char failure[RIG_TEXT_SIZE];
    struct error err;
};

/* A new disk and an open store with segments of STORE_SEGMENT_SIZE_MIN. */
void rig_init(struct rig *r, uint64_t seed);
void rig_deinit(struct rig *r);
/* Open the store; the caller judges the result. */
int rig_open(struct rig *r);
/* Open the store or fail the test. */
void rig_must_open(struct rig *r);
/* Close it in peace. */
void rig_close(struct rig *r);
/* Flush and complete everything. */
void rig_settle(struct rig *r);
/* Close and open again. */
void rig_reopen(struct rig *r);
/* Power cut, then close; the disk stays. */
void rig_crash(struct rig *r, uint32_t keep_per_million);

/* The body of entry INDEX of TERM of GROUP: SIZE bytes that depend on all. */
struct slice rig_body(qr_group_id group, qr_index index, qr_term term,
                      size_t size);
/* Append COUNT entries of SIZE bytes each. */
uint64_t rig_append(struct rig *r, qr_group_id group, qr_index first,
                    size_t count, qr_term term, size_t size);
/* Whether entry INDEX can be read and is rig_body(). */
bool rig_has(struct rig *r, qr_group_id group, qr_index index, qr_term term,
             size_t size);
void rig_create(struct rig *r, qr_group_id group);
/* A snapshot at INDEX that keeps [first, last] (none if first is 0). */
uint64_t rig_snapshot(struct rig *r, qr_group_id group, qr_index index,
                      qr_index first, qr_index last);
/* From the next opening on the store has timers, and rates. */
void rig_use_timers(struct rig *r);
/* Let MS milliseconds pass, in which the disk completes what it is asked. */
void rig_pass(struct rig *r, uint64_t ms);
struct store_stats rig_stats(const struct rig *r);

#endif
