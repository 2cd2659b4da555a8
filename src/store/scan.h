/* Reading one segment at start: its index if it has one, else its batches. */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct error;
struct log_counts;
struct record;
struct segment;
struct store;

/* Who hears what a segment holds, in order. */
struct scan_sink {
    /* A record; r->is_damaged: its body is lost. 0, or an error to stop. */
    int (*record)(void *arg, struct segment *seg, const struct record *r);
    /* What came before, from whatever segment, has these counts. */
    void (*counts)(void *arg, const struct log_counts *counts);
    /* Records are lost here of which nothing is known, in batches up to
     * BATCH. */
    void (*hole)(void *arg, struct segment *seg, uint64_t batch);
    void *arg;
};

/* Tell SINK of the records of SEG, whose header is read; sets its end, last
 * batch, chain and counts, has_index if that is what was read, and is_broken if
 * there are holes or what is behind its end cannot be read. BATCH_LAST: the
 * number of its last batch as far as others know; 0 if not at all. No batch
 * beyond SEG->batch_max is told of. IS_NEWEST: it is the last segment, so its
 * log may end in a torn batch. -QR_EIO and worse, with ERR, when the disk fails
 * as a whole. */
MUST_USE int scan_segment(struct store *s, struct segment *seg,
                          uint64_t batch_last, bool is_newest,
                          const struct scan_sink *sink, struct error *err);

#endif
