/* Random numbers: published sequences, bounds, and rough fairness. */
#include "base/check.h"
#include "base/rng.h"
#include "lib/harness.h"

Test(rng, is_seeded_by_split_mix)
{
    /* SplitMix64 of 1234567. */
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
        UINT64_C(9817491932198370423), UINT64_C(4593380528125082431)};
    struct rng r;

    rng_init(&r, 1234567);
    cr_assert_arr_eq(r.s, expected, sizeof(expected));
}

Test(rng, gives_the_published_sequence)
{
    /* xoshiro256** from the state 1, 2, 3, 4. */
    static const uint64_t expected[] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
        UINT64_C(16172922978634559625),
        UINT64_C(8476171486693032832),
        UINT64_C(10595114339597558777),
        UINT64_C(2904607092377533576),
    };
    struct rng r = {{1, 2, 3, 4}};

    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        cr_assert_eq(rng_u64(&r), expected[i], "number %zu", i);
    }
}

Test(rng, repeats_itself_from_the_same_seed_only)
{
    struct rng a;
    struct rng b;
    struct rng c;
    unsigned equal = 0;

    rng_init(&a, 99);
    rng_init(&b, 99);
    rng_init(&c, 98);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t v = rng_u64(&a);

        cr_assert_eq(rng_u64(&b), v);
        equal += rng_u64(&c) == v;
    }
    cr_assert_eq(equal, 0);
}

Test(rng, stays_below_any_limit)
{
    struct rng r;

    rng_init(&r, 1);
    for (unsigned bits = 0; bits < 64; bits++) {
        uint64_t limit = UINT64_C(1) << bits;

        for (unsigned i = 0; i < 100; i++) {
            cr_assert_lt(rng_below(&r, limit), limit);
            cr_assert_lt(rng_below(&r, limit + 1), limit + 1);
        }
    }
    cr_assert_eq(rng_below(&r, 1), 0);
    cr_assert_lt(rng_below(&r, UINT64_MAX), UINT64_MAX);
}

Test(rng, is_fair_below_a_limit)
{
    enum {
        SIDES = 6,
        THROWS = 60000
    };
    unsigned seen[SIDES] = {0};
    struct rng r;

    rng_init(&r, 2);
    for (unsigned i = 0; i < THROWS; i++) {
        seen[rng_below(&r, SIDES)]++;
    }
    for (size_t i = 0; i < SIDES; i++) {
        cr_assert_gt(seen[i], THROWS / SIDES * 95 / 100);
        cr_assert_lt(seen[i], THROWS / SIDES * 105 / 100);
    }
}

Test(rng, reaches_both_ends_of_a_range)
{
    bool seen[3] = {false};
    struct rng r;

    rng_init(&r, 3);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t v = rng_between(&r, 10, 12);

        cr_assert_geq(v, 10);
        cr_assert_leq(v, 12);
        seen[v - 10] = true;
    }
    cr_assert(seen[0] && seen[1] && seen[2]);
    cr_assert_eq(rng_between(&r, 5, 5), 5);
    cr_assert_eq(rng_between(&r, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    cr_assert_geq(rng_between(&r, 1, UINT64_MAX), 1);
    cr_assert_neq(rng_between(&r, 0, UINT64_MAX),
                  rng_between(&r, 0, UINT64_MAX));
}

Test(rng, takes_chances_as_told)
{
    unsigned hits = 0;
    struct rng r;

    rng_init(&r, 4);
    for (unsigned i = 0; i < 100000; i++) {
        cr_assert(!rng_chance(&r, 0));
        cr_assert(rng_chance(&r, 1000000));
        hits += rng_chance(&r, 250000);
    }
    cr_assert_gt(hits, 24000);
    cr_assert_lt(hits, 26000);
}

Test(rng, fills_exactly_the_bytes_asked_for)
{
    struct rng r;

    rng_init(&r, 5);
    for (size_t size = 0; size <= 40; size++) {
        uint8_t bytes[48];
        struct rng again;
        uint8_t prefix[48];

        memset(bytes, 0xee, sizeof(bytes));
        again = r;
        rng_fill(&r, bytes, size);
        rng_fill(&again, prefix, size / 8 * 8);
        cr_assert_arr_eq(bytes, prefix, size / 8 * 8);
        for (size_t i = size; i < sizeof(bytes); i++) {
            cr_assert_eq(bytes[i], 0xee);
        }
    }
    rng_fill(&r, NULL, 0);
}

Test(rng, refuses_a_limit_of_nothing, .signal = SIGABRT)
{
    struct rng r;

    rng_init(&r, 6);
    (void)rng_below(&r, 0);
}

Test(rng, refuses_a_range_that_is_backwards, .signal = SIGABRT)
{
    struct rng r;

    rng_init(&r, 7);
    (void)rng_between(&r, 2, 1);
}

Test(rng, refuses_more_than_certainty, .signal = SIGABRT)
{
    struct rng r;

    rng_init(&r, 8);
    (void)rng_chance(&r, 1000001);
}
