/* Events of a queue's leader, encoded and read again. */
#include "base/rng.h"
#include "broker/broker.h"
#include "broker/queue_events.h"
#include "lib/harness.h"

static struct queue_effect
random_effect(struct rng *rng)
{
    static const enum queue_effect_kind kinds[] = {
        QUEUE_EFFECT_APPLIED, QUEUE_EFFECT_GAP, QUEUE_EFFECT_RESULT,
        QUEUE_EFFECT_DELIVER, QUEUE_EFFECT_ABSENT};
    struct queue_effect e = {.kind = kinds[rng_below(rng, 5)]};

    switch (e.kind) {
    case QUEUE_EFFECT_RESULT:
        e.status = (enum queue_status)rng_below(rng, 5);
        e.value = rng_u64(rng);
        e.seq = rng_u64(rng);
        break;
    case QUEUE_EFFECT_DELIVER:
        e.consumer = rng_u64(rng);
        e.delivery = rng_u64(rng);
        e.count = (uint32_t)rng_u64(rng);
        e.message.size = (uint32_t)rng_u64(rng);
        break;
    case QUEUE_EFFECT_ABSENT:
        e.consumer = rng_u64(rng);
        e.delivery = rng_u64(rng);
        break;
    case QUEUE_EFFECT_APPLIED:
    case QUEUE_EFFECT_GAP:
    case QUEUE_EFFECT_UNUSED:
        e.seq = rng_u64(rng);
        break;
    }
    return e;
}

Test(queue_events, come_back_as_they_were_put)
{
    struct rng rng;
    struct buf b;

    rng_init(&rng, 1);
    buf_init(&b);
    for (int i = 0; i < 1000; i++) {
        struct queue_effect e = random_effect(&rng);
        struct queue_effect back;
        struct cursor c;

        buf_clear(&b);
        queue_event_put(&b, &e);
        cursor_init(&c, b.data, b.size);
        cr_assert(queue_event_next(&c, &back));
        cr_assert_eq(cursor_left(&c), 0);
        cr_assert_eq(back.kind, e.kind);
        cr_assert_eq(back.seq, e.seq);
        cr_assert_eq(back.status, e.status);
        cr_assert_eq(back.value, e.value);
        cr_assert_eq(back.consumer, e.consumer);
        cr_assert_eq(back.delivery, e.delivery);
        cr_assert_eq(back.count, e.count);
        cr_assert_eq(back.message.size, e.message.size);
    }
    buf_deinit(&b);
}

Test(queue_events, cut_short_are_refused)
{
    struct queue_effect e = {.kind = QUEUE_EFFECT_RESULT, .seq = 300};
    struct buf b;

    buf_init(&b);
    queue_event_put(&b, &e);
    for (size_t size = 0; size < b.size; size++) {
        struct queue_effect back;
        struct cursor c;

        cursor_init(&c, b.data, size);
        cr_assert_not(queue_event_next(&c, &back), "%zu bytes", size);
    }
    buf_deinit(&b);
}

Test(queue_events, of_unknown_kind_are_refused)
{
    uint8_t byte = 0xee;
    struct queue_effect back;
    struct cursor c;

    cursor_init(&c, &byte, 1);
    cr_assert_not(queue_event_next(&c, &back));
}

static struct broker_message
message(const struct slice *body, size_t count, size_t size)
{
    struct broker_message m = {
        .exchange = {.data = "ex", .size = 2},
        .key = {.data = "the.key", .size = 7},
        .properties = {.data = (const uint8_t *)"props", .size = 5},
        .body = body,
        .body_count = count,
        .body_size = size};

    return m;
}

Test(stored_message, joins_the_pieces_of_its_body)
{
    struct slice pieces[2] = {{.data = (const uint8_t *)"cat", .size = 3},
                              {.data = (const uint8_t *)"ch", .size = 2}};
    struct broker_message m = message(pieces, 2, 5);
    struct stored_message back;
    struct buf b;

    buf_init(&b);
    stored_message_put(&b, &m);
    cr_assert_eq(b.size, stored_message_size(&m));
    cr_assert(stored_message_get(b.data, b.size, &back));
    cr_assert_eq(back.exchange_size, 2);
    cr_assert_eq(back.key_size, 7);
    cr_assert_arr_eq(back.key, "the.key", 7);
    cr_assert_eq(back.properties_size, 5);
    cr_assert_arr_eq(back.properties, "props", 5);
    cr_assert_eq(back.body_size, 5);
    cr_assert_arr_eq(back.body, "catch", 5);
    buf_deinit(&b);
}

Test(stored_message, that_is_empty_comes_back_empty)
{
    struct broker_message m = {.body = NULL};
    struct stored_message back;
    struct buf b;

    buf_init(&b);
    stored_message_put(&b, &m);
    cr_assert(stored_message_get(b.data, b.size, &back));
    cr_assert_eq(back.exchange_size + back.key_size + back.body_size, 0);
    buf_deinit(&b);
}

Test(stored_message, of_another_version_or_cut_short_is_refused)
{
    struct broker_message m = message(NULL, 0, 0);
    struct stored_message back;
    struct buf b;

    buf_init(&b);
    stored_message_put(&b, &m);
    for (size_t size = 0; size < b.size; size++) {
        cr_assert_not(stored_message_get(b.data, size, &back), "%zu", size);
    }
    b.data[0]++;
    cr_assert_not(stored_message_get(b.data, b.size, &back));
    buf_deinit(&b);
}
