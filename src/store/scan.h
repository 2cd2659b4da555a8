/* Reading one segment at start: its index if it has one, else its batches. */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include <stdbool.h>

#include "base/check.h"

struct error;
struct record;
struct segment;
struct store;

/* Called for each record of the segment in order; 0, or an error to stop. */
typedef int (*scan_record_cb)(void *arg, struct segment *seg,
                              const struct record *r);

/* Run CB over the records of SEG, whose header is read; sets its end, last
 * batch and chain, and has_index if that is what was read. -QR_ECORRUPT names
 * segment and offset in ERR. */
MUST_USE int scan_segment(struct store *s, struct segment *seg,
                          scan_record_cb cb, void *arg, struct error *err);

#endif
