/* Reads a frame's content piece by piece. Within a node content keeps the
 * slices that it was made of; over a link it arrives as one: a reader takes
 * either, without copying unless a piece crosses slices. */
#ifndef BROKER_FRAME_READER_H
#define BROKER_FRAME_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct frame;

struct frame_reader {
    const struct frame *frame; /* borrowed */
    uint16_t at;               /* slice */
    size_t offset;             /* within it */
};

/* Read the content of F (borrowed) from its start. */
void frame_reader_init(struct frame_reader *r, const struct frame *f);
/* The next SIZE bytes, a new reference in *OUT; false when there are fewer. */
bool frame_reader_take(struct frame_reader *r, size_t size, struct slice *out);

#endif
