/* Frames are read where they lie: the transport keeps what is incomplete and
 * shows it again with what follows. */
#include "amqp/frame.h"

#include "quorate/error.h"

#include "amqp/limits.h"

int64_t
amqp_frame_decode(const uint8_t *data, size_t size, size_t frame_max,
                  struct amqp_frame *out, size_t *need)
{
    size_t whole = 0;

    ASSERT(frame_max >= AMQP_FRAME_SIZE_MIN);
    if (size < AMQP_FRAME_HEAD_SIZE) {
        *need = AMQP_FRAME_HEAD_SIZE;
        return 0;
    }
    out->type = data[0];
    out->channel = get_u16be(data + 1);
    out->size = get_u32be(data + 3);
    out->payload = data + AMQP_FRAME_HEAD_SIZE;
    if (out->size > frame_max - AMQP_FRAME_OVERHEAD) {
        return -QR_ETOOBIG;
    }
    whole = (size_t)out->size + AMQP_FRAME_OVERHEAD;
    if (size < whole) {
        *need = whole;
        return 0;
    }
    if (data[whole - 1] != AMQP_FRAME_END) {
        return -QR_EFORMAT;
    }
    return (int64_t)whole;
}

void
amqp_frame_head(struct buf *out, enum amqp_frame_type type, uint16_t channel,
                size_t size)
{
    uint8_t *at = buf_extend(out, AMQP_FRAME_HEAD_SIZE);

    ASSERT(size <= UINT32_MAX);
    at[0] = (uint8_t)type;
    put_u16be(at + 1, channel);
    put_u32be(at + 3, (uint32_t)size);
}

size_t
amqp_frame_begin(struct buf *out, enum amqp_frame_type type, uint16_t channel)
{
    amqp_frame_head(out, type, channel, 0);
    return out->size;
}

void
amqp_frame_end(struct buf *out, size_t mark)
{
    ASSERT(mark >= AMQP_FRAME_HEAD_SIZE);
    ASSERT(mark <= out->size);
    put_u32be(out->data + mark - sizeof(uint32_t),
              (uint32_t)(out->size - mark));
    buf_put_u8(out, AMQP_FRAME_END);
}
