/* Reading records back, verified. */
#ifndef STORE_READ_H
#define STORE_READ_H

#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

struct record;
struct segment;
struct store;

/* Read and verify the record of SIZE bytes at OFFSET of SEG, blocking. BODY
 * gets a new reference. -QR_EIO, -QR_ECORRUPT. */
MUST_USE int record_load(struct store *s, const struct segment *seg,
                         uint64_t offset, uint32_t size, struct record *out,
                         struct slice *body);

/* The store closes: free what fetches in flight hold; their `done` never
 * runs. */
void read_forget_all(struct store *s);

#endif
