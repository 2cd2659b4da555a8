/* Frames: head, end, limits. */
#include <quorate/error.h>

#include "amqp/frame.h"
#include "amqp/limits.h"
#include "lib/harness.h"

static const uint8_t HEARTBEAT[] = {8, 0, 0, 0, 0, 0, 0, 0xce};

Test(frame, asks_for_its_head_and_then_for_the_rest)
{
    static const uint8_t bytes[] = {1, 0, 5, 0, 0, 0, 3, 'a', 'b', 'c', 0xce};
    struct amqp_frame f;
    size_t need = 0;

    for (size_t size = 0; size < sizeof(bytes); size++) {
        cr_assert_eq(amqp_frame_decode(bytes, size, 4096, &f, &need), 0);
        cr_assert_eq(need, size < 7 ? 7 : sizeof(bytes));
    }
    cr_assert_eq(amqp_frame_decode(bytes, sizeof(bytes), 4096, &f, &need),
                 sizeof(bytes));
    cr_assert_eq(f.type, AMQP_FRAME_METHOD);
    cr_assert_eq(f.channel, 5);
    cr_assert_eq(f.size, 3);
    cr_assert_eq(f.payload, bytes + 7);
}

Test(frame, has_no_payload_at_least)
{
    struct amqp_frame f;
    size_t need = 0;

    cr_assert_eq(
        amqp_frame_decode(HEARTBEAT, sizeof(HEARTBEAT), 4096, &f, &need), 8);
    cr_assert_eq(f.size, 0);
}

Test(frame, must_end_with_the_end)
{
    uint8_t bytes[sizeof(HEARTBEAT)];
    struct amqp_frame f;
    size_t need = 0;

    memcpy(bytes, HEARTBEAT, sizeof(bytes));
    bytes[7] = 0xcd;
    cr_assert_eq(amqp_frame_decode(bytes, sizeof(bytes), 4096, &f, &need),
                 -QR_EFORMAT);
}

Test(frame, is_as_large_as_agreed_with_head_and_end)
{
    static uint8_t bytes[4097];
    struct amqp_frame f;
    size_t need = 0;

    bytes[0] = AMQP_FRAME_BODY;
    put_u32be(bytes + 3, 4096 - 8);
    bytes[4095] = 0xce;
    cr_assert_eq(amqp_frame_decode(bytes, 4096, 4096, &f, &need), 4096);
    put_u32be(bytes + 3, 4097 - 8);
    cr_assert_eq(amqp_frame_decode(bytes, 7, 4096, &f, &need), -QR_ETOOBIG);
    cr_assert_eq(f.size, 4097 - 8);
    put_u32be(bytes + 3, UINT32_MAX);
    cr_assert_eq(amqp_frame_decode(bytes, 7, 4096, &f, &need), -QR_ETOOBIG);
}

Test(frame, comes_back_as_it_was)
{
    struct buf b;
    struct amqp_frame f;
    size_t need = 0;
    size_t mark = 0;

    buf_init(&b);
    mark = amqp_frame_begin(&b, AMQP_FRAME_HEADER, 700);
    buf_put(&b, "hello", 5);
    amqp_frame_end(&b, mark);
    cr_assert_eq(amqp_frame_decode(b.data, b.size, 4096, &f, &need), 13);
    cr_assert_eq(f.type, AMQP_FRAME_HEADER);
    cr_assert_eq(f.channel, 700);
    cr_assert_arr_eq(f.payload, "hello", 5);
    buf_clear(&b);
    amqp_frame_head(&b, AMQP_FRAME_BODY, 2, 70000);
    cr_assert_eq(b.size, 7);
    cr_assert_eq(get_u32be(b.data + 3), 70000);
    buf_deinit(&b);
}
