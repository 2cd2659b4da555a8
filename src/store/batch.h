/* Gathering records into batches and writing them, one at a time. */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "store/record.h"

struct batch;
struct segment;
struct slice;
struct store;

enum {
    BATCH_BODY_PARTS_MAX = 2
};

/* Where a record went. */
struct place {
    struct segment *segment;
    uint64_t offset;
    uint64_t batch;
};

/* Queue a record with the bytes of PARTS as its body; R's offset and size are
 * set here. Small parts and those without a block are copied, of the others a
 * reference is kept until they are written. */
struct place batch_add(struct store *s, struct record *r,
                       const struct slice *parts, size_t count);
/* Start writing what may be written, unless a write is under way. */
void batch_write_next(struct store *s);
/* Forget what is queued. */
void batch_drop_all(struct store *s);

#endif
