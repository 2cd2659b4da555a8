/* Frames (specification 4.2.3).
 *
 *   0      1         3             7                  size+7 size+8
 *   +------+---------+-------------+------------------+------+
 *   | type | channel |    size     |  payload         | 0xCE |
 *   +------+---------+-------------+------------------+------+ */
#ifndef AMQP_FRAME_H
#define AMQP_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

enum amqp_frame_type {
    AMQP_FRAME_METHOD = 1,
    AMQP_FRAME_HEADER = 2,
    AMQP_FRAME_BODY = 3,
    AMQP_FRAME_HEARTBEAT = 8
};

enum {
    AMQP_FRAME_END = 0xce
};

/* A frame in place: `payload` is borrowed. */
struct amqp_frame {
    uint8_t type;
    uint16_t channel;
    uint32_t size;
    const uint8_t *payload;
};

/* Read the frame at the start of SIZE bytes at DATA. Returns the bytes that it
 * takes; 0 when they are not all there, *NEED says how many are wanted in all;
 * -QR_ETOOBIG: larger than FRAME_MAX, as a whole; -QR_EFORMAT: it does not end
 * with 0xCE. In both cases OUT is filled in as far as it was read. */
MUST_USE int64_t amqp_frame_decode(const uint8_t *data, size_t size,
                                   size_t frame_max, struct amqp_frame *out,
                                   size_t *need);

/* Append a frame's head; the payload follows, then amqp_frame_end(). Returns
 * the mark to give to it. */
size_t amqp_frame_begin(struct buf *out, enum amqp_frame_type type,
                        uint16_t channel);
/* Write the size of the payload since MARK, and the end. */
void amqp_frame_end(struct buf *out, size_t mark);
/* Append the head of a frame whose payload of SIZE bytes goes elsewhere. */
void amqp_frame_head(struct buf *out, enum amqp_frame_type type,
                     uint16_t channel, size_t size);

#endif
