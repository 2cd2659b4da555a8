/* Bodies in memory: budget, pinning, tickets. */
#include "lib/harness.h"
#include "store/cache.h"

enum {
    BODY = 100,
    COST = BODY + CACHE_ITEM_COST
};

static uint32_t
add(struct cache *c, qr_index index, uint64_t batch)
{
    struct cache_key key = {1, index, 1};
    struct slice data = slice_of_block(block_new(BODY));
    uint32_t ticket = cache_add(c, &key, &data, batch);

    slice_unref(&data);
    return ticket;
}

static bool
has(const struct cache *c, uint32_t ticket, qr_index index)
{
    struct cache_key key = {1, index, 1};

    return cache_get(c, ticket, &key) != NULL;
}

Test(cache, evicts_the_oldest_over_budget)
{
    struct cache c;
    uint32_t t[4];

    cache_init(&c, 2 * COST);
    for (qr_index i = 0; i < 4; i++) {
        t[i] = add(&c, i + 1, 0);
        cache_trim(&c, 0);
    }
    cr_assert_not(has(&c, t[0], 1));
    cr_assert_not(has(&c, t[1], 2));
    cr_assert(has(&c, t[2], 3));
    cr_assert(has(&c, t[3], 4));
    cr_assert_eq(c.bytes, 2 * COST);
    cache_deinit(&c);
}

Test(cache, pins_what_is_not_durable)
{
    struct cache c;
    uint32_t t[3];

    cache_init(&c, COST);
    for (qr_index i = 0; i < 3; i++) {
        t[i] = add(&c, i + 1, i + 1);
    }
    cache_trim(&c, 0);
    cr_assert(has(&c, t[0], 1));
    cache_trim(&c, 1);
    cr_assert_not(has(&c, t[0], 1));
    cr_assert(has(&c, t[1], 2));
    cache_trim(&c, 3);
    cr_assert_not(has(&c, t[1], 2));
    cr_assert(has(&c, t[2], 3));
    cache_deinit(&c);
}

Test(cache, drops_leave_no_bytes_and_no_ghosts)
{
    struct cache c;
    uint32_t a;
    uint32_t b;

    cache_init(&c, 10 * COST);
    a = add(&c, 1, 0);
    b = add(&c, 2, 0);
    cache_drop(&c, b, 1, 1); /* another entry's ticket */
    cr_assert(has(&c, b, 2));
    cache_drop(&c, b, 1, 2);
    cr_assert_not(has(&c, b, 2));
    cache_drop(&c, b, 1, 2);
    cr_assert(has(&c, a, 1));
    cache_drop(&c, a, 1, 1);
    cache_trim(&c, 0);
    cr_assert_eq(c.bytes, 0);
    cr_assert_not(has(&c, CACHE_TICKET_NONE, 1));
    cache_drop(&c, CACHE_TICKET_NONE, 1, 1);
    cache_deinit(&c);
}

Test(cache, keys_tell_entries_apart)
{
    struct cache c;
    struct cache_key key = {1, 5, 1};
    uint32_t t;

    cache_init(&c, 10 * COST);
    t = add(&c, 5, 0);
    cr_assert_not_null(cache_get(&c, t, &key));
    key.term = 2;
    cr_assert_null(cache_get(&c, t, &key));
    key.term = 1;
    key.log = 2;
    cr_assert_null(cache_get(&c, t, &key));
    cr_assert_not(has(&c, t, 6));
    cr_assert_not(has(&c, t + 1, 5));
    cr_assert_not(has(&c, t - 1, 5));
    cache_deinit(&c);
}

Test(cache, tickets_come_round)
{
    struct cache c;
    uint32_t t[8];

    cache_init(&c, 4 * COST);
    c.ticket_first = UINT32_MAX - 3;
    for (qr_index i = 0; i < 8; i++) {
        t[i] = add(&c, i + 1, 0);
        cr_assert_neq(t[i], CACHE_TICKET_NONE);
        cr_assert(has(&c, t[i], i + 1));
        for (qr_index k = 0; k < i; k++) {
            cr_assert_neq(t[k], t[i]);
            cr_assert(has(&c, t[k], k + 1));
        }
    }
    cache_trim(&c, 0);
    for (qr_index i = 0; i < 8; i++) {
        cr_assert_eq(has(&c, t[i], i + 1), i >= 4);
    }
    cache_deinit(&c);
}
