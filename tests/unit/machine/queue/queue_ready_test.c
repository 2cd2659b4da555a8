/* Blocks and the heap of what waits. */
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "machine/queue/queue_ready.h"

static struct queue_message
message_at(uint64_t n)
{
    /* Three messages an entry. */
    return (struct queue_message){n / 3 + 1, (uint32_t)(n % 3 * 100),
                                  (uint32_t)(n % 50)};
}

Test(queue_ready, is_small)
{
    cr_assert_leq(sizeof(struct queue_slot), 12);
    cr_assert_leq(sizeof(struct queue_block), 4096 - 16);
    cr_assert_leq(sizeof(struct queue_item), 24);
}

Test(queue_ready, gives_nothing_when_empty)
{
    struct queue_ready r;
    struct queue_item item;

    queue_ready_init(&r);
    cr_assert_not(queue_ready_take(&r, &item));
    cr_assert_eq(queue_ready_count(&r), 0);
    queue_ready_deinit(&r);
}

Test(queue_ready, keeps_the_order_over_many_blocks)
{
    enum {
        COUNT = QUEUE_BLOCK_SLOTS * 5 + 7
    };
    struct queue_ready r;
    struct queue_item item;
    uint64_t taken = 0;

    queue_ready_init(&r);
    for (uint64_t n = 0; n < COUNT; n++) {
        struct queue_message m = message_at(n);

        queue_ready_push(&r, &m);
        /* One is taken for three that come. */
        if (n % 3 == 0) {
            cr_assert(queue_ready_take(&r, &item));
            cr_assert_eq(item.message.index, message_at(taken).index);
            taken++;
        }
    }
    cr_assert_eq(queue_ready_count(&r), COUNT - taken);
    while (queue_ready_take(&r, &item)) {
        cr_assert_eq(item.message.index, message_at(taken).index);
        cr_assert_eq(item.message.offset, message_at(taken).offset);
        cr_assert_eq(item.message.size, message_at(taken).size);
        cr_assert_eq(item.count, 0);
        taken++;
    }
    cr_assert_eq(taken, COUNT);
    cr_assert_eq(r.bytes, 0);
    cr_assert_null(r.head);
    cr_assert_not_null(r.spare);
    queue_ready_deinit(&r);
}

Test(queue_ready, begins_a_block_where_indexes_leap)
{
    const qr_index indexes[] = {1, (UINT64_C(1) << 32), (UINT64_C(1) << 32) + 1,
                                UINT64_C(1) << 62};
    struct queue_ready r;
    struct queue_item item;

    queue_ready_init(&r);
    for (size_t i = 0; i < ARRAY_COUNT(indexes); i++) {
        struct queue_message m = {indexes[i], 0, 1};

        queue_ready_push(&r, &m);
    }
    cr_assert_eq(r.head->end, 2, "a distance of 2^32 - 1 still fits");
    for (size_t i = 0; i < ARRAY_COUNT(indexes); i++) {
        cr_assert(queue_ready_take(&r, &item));
        cr_assert_eq(item.message.index, indexes[i]);
    }
    queue_ready_deinit(&r);
}

Test(queue_ready, gives_returned_messages_first_and_in_order)
{
    enum {
        COUNT = 5000
    };
    uint8_t *is_in = mem_zalloc(COUNT, 1);
    struct queue_item *sorted = NULL;
    struct queue_ready r;
    struct queue_item item;
    struct rng rng;
    uint64_t next = 0;

    rng_init(&rng, 5);
    queue_ready_init(&r);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t n = rng_below(&rng, COUNT);

        if (is_in[n] == 0) {
            is_in[n] = 1;
            item.message = message_at(n);
            item.count = (uint32_t)n + 1;
            queue_ready_return(&r, &item);
        }
    }
    item.message = message_at(COUNT);
    queue_ready_push(&r, &item.message);
    sorted = queue_ready_returned_sorted(&r);
    for (size_t i = 1; i < r.returned_count; i++) {
        cr_assert(queue_message_is_before(&sorted[i - 1].message,
                                          &sorted[i].message));
    }
    mem_free(sorted);
    while (r.returned_count > 0) {
        cr_assert(queue_ready_take(&r, &item));
        while (is_in[next] == 0) {
            next++;
        }
        cr_assert_eq(item.count, next + 1);
        next++;
    }
    cr_assert_null(r.returned, "memory is given back");
    cr_assert(queue_ready_take(&r, &item));
    cr_assert_eq(item.count, 0);
    cr_assert_eq(r.bytes, 0);
    queue_ready_deinit(&r);
    mem_free(is_in);
}

Test(queue_ready, clears_everything)
{
    struct queue_item item = {{1, 2, 3}, 1};
    struct queue_ready r;

    queue_ready_init(&r);
    for (uint64_t n = 0; n < 3 * QUEUE_BLOCK_SLOTS; n++) {
        struct queue_message m = message_at(n + 3);

        queue_ready_push(&r, &m);
    }
    queue_ready_return(&r, &item);
    queue_ready_clear(&r);
    cr_assert_eq(queue_ready_count(&r), 0);
    cr_assert_eq(r.bytes, 0);
    cr_assert_not(queue_ready_take(&r, &item));
    item.message = message_at(9);
    queue_ready_push(&r, &item.message);
    cr_assert(queue_ready_take(&r, &item));
    queue_ready_deinit(&r);
}

Test(queue_ready, walks_the_fresh_ones)
{
    struct queue_walk walk = {NULL, 0};
    struct queue_ready r;
    struct queue_message m;
    struct queue_item item;
    uint64_t n = 1;

    queue_ready_init(&r);
    cr_assert_not(queue_ready_walk(&walk, &m));
    for (uint64_t i = 0; i < 2 * QUEUE_BLOCK_SLOTS + 1; i++) {
        m = message_at(i);
        queue_ready_push(&r, &m);
    }
    cr_assert(queue_ready_take(&r, &item));
    walk.block = r.head;
    while (queue_ready_walk(&walk, &m)) {
        cr_assert_eq(m.index, message_at(n).index);
        cr_assert_eq(m.offset, message_at(n).offset);
        n++;
    }
    cr_assert_eq(n, 2 * QUEUE_BLOCK_SLOTS + 1);
    queue_ready_deinit(&r);
}
