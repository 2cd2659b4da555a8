/* Content headers and properties. */
#include <quorate/error.h>

#include "amqp/content.h"
#include "amqp/table.h"
#include "base/rng.h"
#include "lib/harness.h"

static struct amqp_properties
all_properties(void)
{
    struct amqp_properties p = {
        .flags = 0xfffc,
        .content_type = amqp_text("text/plain"),
        .content_encoding = amqp_text("utf-8"),
        .headers = {"\1at\1", 4},
        .delivery_mode = 2,
        .priority = 5,
        .correlation_id = amqp_text("c"),
        .reply_to = amqp_text("r"),
        .expiration = amqp_text("1000"),
        .message_id = amqp_text("m"),
        .timestamp = 1234567890,
        .type = amqp_text("t"),
        .user_id = amqp_text("guest"),
        .app_id = amqp_text("app"),
        .cluster_id = amqp_text(""),
    };

    return p;
}

Test(content, properties_come_back_as_they_were)
{
    struct amqp_properties before = all_properties();
    struct amqp_properties after = {0};
    struct buf a;
    struct buf b;

    buf_init(&a);
    buf_init(&b);
    for (unsigned flags = 0; flags < 1 << 14; flags++) {
        before.flags = (uint16_t)(flags << 2);
        buf_clear(&a);
        buf_clear(&b);
        amqp_properties_encode(&before, &a);
        cr_assert_eq(amqp_properties_decode(a.data, a.size, &after), 0);
        amqp_properties_encode(&after, &b);
        cr_assert_eq(a.size, b.size);
        cr_assert_arr_eq(a.data, b.data, a.size);
    }
    cr_assert_eq(after.timestamp, 1234567890);
    cr_assert_eq(after.user_id.size, 5);
    buf_deinit(&a);
    buf_deinit(&b);
}

Test(content, every_cut_is_refused_and_a_byte_more)
{
    struct amqp_properties p = all_properties();
    struct amqp_content_header h;
    struct buf b;
    uint8_t copy[256];

    buf_init(&b);
    amqp_content_head(&b, 77);
    amqp_properties_encode(&p, &b);
    cr_assert_eq(amqp_content_decode(b.data, b.size, &h), 0);
    cr_assert_eq(h.class_id, 60);
    cr_assert_eq(h.body_size, 77);
    cr_assert_eq(h.properties, b.data + AMQP_CONTENT_HEAD_SIZE);
    cr_assert_eq(h.properties_size, b.size - AMQP_CONTENT_HEAD_SIZE);
    cr_assert_eq(h.flags, 0xfffc);
    for (size_t size = 0; size < b.size; size++) {
        uint8_t *at = copy + sizeof(copy) - size;

        memcpy(at, b.data, size);
        cr_assert_eq(amqp_content_decode(at, size, &h), -QR_EFORMAT, "%zu",
                     size);
    }
    buf_put_u8(&b, 0);
    cr_assert_eq(amqp_content_decode(b.data, b.size, &h), -QR_EFORMAT);
    buf_deinit(&b);
}

Test(content, refuses_weight_and_flags_without_a_meaning)
{
    uint8_t bytes[] = {0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    struct amqp_content_header h;

    cr_assert_eq(amqp_content_decode(bytes, sizeof(bytes), &h), 0);
    bytes[3] = 1;
    cr_assert_eq(amqp_content_decode(bytes, sizeof(bytes), &h), -QR_EFORMAT);
    bytes[3] = 0;
    bytes[13] = 1;
    cr_assert_eq(amqp_content_decode(bytes, sizeof(bytes), &h), -QR_EFORMAT);
    bytes[13] = 2;
    cr_assert_eq(amqp_content_decode(bytes, sizeof(bytes), &h), -QR_EFORMAT);
}

Test(content, refuses_headers_that_are_no_table)
{
    static const uint8_t bytes[] = {0x20, 0, 0, 0, 0, 3, 1, 'a', '?'};
    struct amqp_properties p;

    cr_assert_eq(amqp_properties_decode(bytes, sizeof(bytes), &p), -QR_EFORMAT);
}

static int64_t
count_in(const struct buf *b)
{
    struct amqp_properties p;
    struct amqp_value v;

    cr_assert_eq(amqp_properties_decode(b->data, b->size, &p), 0);
    cr_assert(amqp_table_get(p.headers, "x-delivery-count", &v));
    return v.number;
}

Test(content, a_count_is_added_to_headers_or_replaced)
{
    struct amqp_properties p = all_properties();
    struct amqp_value v;
    struct buf a;
    struct buf b;
    struct buf again;

    buf_init(&a);
    buf_init(&b);
    buf_init(&again);
    amqp_properties_encode(&p, &a);
    amqp_properties_put_count(a.data, a.size, "x-delivery-count", 3, &b);
    cr_assert_eq(count_in(&b), 3);
    amqp_properties_put_count(b.data, b.size, "x-delivery-count", 4, &again);
    cr_assert_eq(count_in(&again), 4);
    cr_assert_eq(again.size, b.size);
    cr_assert_eq(amqp_properties_decode(again.data, again.size, &p), 0);
    cr_assert(amqp_table_is_set(p.headers, "a"));
    cr_assert_eq(p.priority, 5);
    /* To properties without headers. */
    buf_clear(&b);
    amqp_properties_put_count((const uint8_t *)"\0\0", 2, "x-delivery-count", 1,
                              &b);
    cr_assert_eq(count_in(&b), 1);
    cr_assert_eq(amqp_properties_decode(b.data, b.size, &p), 0);
    cr_assert_not(amqp_table_get(p.headers, "a", &v));
    buf_deinit(&a);
    buf_deinit(&b);
    buf_deinit(&again);
}

Test(content, survives_random_bytes)
{
    struct rng rng;
    uint8_t data[64];

    rng_init(&rng, 64);
    for (int i = 0; i < 50000; i++) {
        struct amqp_properties p;
        size_t size = (size_t)rng_below(&rng, sizeof(data));
        uint8_t *at = data + sizeof(data) - size;

        for (size_t k = 0; k < size; k++) {
            at[k] = (uint8_t)rng_below(&rng, k < 2 ? 256 : 6);
        }
        (void)!amqp_properties_decode(at, size, &p);
    }
}
