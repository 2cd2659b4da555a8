/* Lost, twice, disorder: what the books say, against a naive copy. */
#include "base/rng.h"
#include "bench/verify.h"
#include "lib/harness.h"

enum {
    CHUNK = 1 << 15 /* as in verify.c: past it a chunk may be done */
};

Test(verify, a_confirmed_message_is_missing_until_it_arrives)
{
    struct verify *v = verify_new(2);

    verify_confirmed(v, 1, 0);
    cr_assert_eq(verify_missing(v), 1);
    cr_assert_eq(verify_arrived(v, 1, 0), VERIFY_FIRST);
    cr_assert_eq(verify_missing(v), 0);
    verify_free(&v);
    cr_assert_null(v);
    verify_free(&v);
}

Test(verify, a_message_may_arrive_before_its_confirm)
{
    struct verify *v = verify_new(1);
    struct verify_totals totals;

    cr_assert_eq(verify_arrived(v, 0, 0), VERIFY_FIRST);
    verify_totals(v, &totals);
    cr_assert_eq(totals.unconfirmed_arrived, 1);
    verify_confirmed(v, 0, 0);
    cr_assert_eq(verify_missing(v), 0);
    verify_totals(v, &totals);
    cr_assert_eq(totals.unconfirmed_arrived, 0);
    verify_free(&v);
}

Test(verify, a_confirm_counts_once)
{
    struct verify *v = verify_new(1);

    verify_confirmed(v, 0, 7);
    verify_confirmed(v, 0, 7);
    cr_assert_eq(verify_missing(v), 1);
    verify_free(&v);
}

Test(verify, the_second_arrival_is_a_duplicate)
{
    struct verify *v = verify_new(1);

    cr_assert_eq(verify_arrived(v, 0, 3), VERIFY_FIRST);
    cr_assert_eq(verify_arrived(v, 0, 3), VERIFY_AGAIN);
    verify_free(&v);
}

Test(verify, the_second_arrival_of_what_was_sent_twice_is_excused)
{
    struct verify *v = verify_new(1);

    cr_assert_not(verify_was_sent_again(v, 0, 3));
    verify_sent_again(v, 0, 3);
    cr_assert(verify_was_sent_again(v, 0, 3));
    cr_assert_not(verify_was_sent_again(v, 0, 4));
    cr_assert_eq(verify_arrived(v, 0, 3), VERIFY_FIRST);
    cr_assert_eq(verify_arrived(v, 0, 3), VERIFY_AGAIN_AFTER_SEND);
    verify_free(&v);
}

Test(verify, a_duplicate_of_long_ago_is_one)
{
    struct verify *v = verify_new(1);
    uint64_t i = 0;

    for (i = 0; i < UINT64_C(2) * CHUNK; i++) {
        verify_confirmed(v, 0, i);
        cr_assert_eq(verify_arrived(v, 0, i), VERIFY_FIRST);
    }
    cr_assert_eq(verify_arrived(v, 0, 5), VERIFY_AGAIN);
    verify_confirmed(v, 0, 5);
    verify_sent_again(v, 0, 5);
    cr_assert_not(verify_was_sent_again(v, 0, 5));
    cr_assert_eq(verify_missing(v), 0);
    verify_free(&v);
}

Test(verify, what_was_sent_twice_is_remembered_though_all_arrived)
{
    struct verify *v = verify_new(1);
    uint64_t i = 0;

    verify_sent_again(v, 0, 100);
    for (i = 0; i < UINT64_C(2) * CHUNK; i++) {
        verify_confirmed(v, 0, i);
        cr_assert_eq(verify_arrived(v, 0, i), VERIFY_FIRST);
    }
    cr_assert_eq(verify_arrived(v, 0, 100), VERIFY_AGAIN_AFTER_SEND);
    verify_free(&v);
}

Test(verify, holes_are_what_later_arrivals_passed)
{
    struct verify *v = verify_new(2);
    struct verify_totals totals;

    cr_assert_eq(verify_arrived(v, 0, 0), VERIFY_FIRST);
    cr_assert_eq(verify_arrived(v, 0, 4), VERIFY_FIRST);
    cr_assert_eq(verify_arrived(v, 1, 1), VERIFY_FIRST);
    verify_totals(v, &totals);
    cr_assert_eq(totals.holes, 4);
    cr_assert_eq(totals.arrived, 3);
    verify_free(&v);
}

Test(verify, the_last_sequence_is_kept)
{
    struct verify *v = verify_new(1);

    cr_assert_eq(verify_arrived(v, 0, 1000000), VERIFY_FIRST);
    cr_assert_eq(verify_arrived(v, 0, 1000000), VERIFY_AGAIN);
    verify_free(&v);
}

Test(verify, agrees_with_a_naive_copy)
{
    enum {
        LANES = 3,
        COUNT = 3 * CHUNK,
        STEPS = 400000
    };
    struct verify *v = verify_new(LANES);
    uint8_t *naive = calloc(LANES, COUNT);
    struct verify_totals totals;
    uint64_t missing = 0;
    uint64_t arrived = 0;
    uint64_t i = 0;
    struct rng rng;

    cr_assert_not_null(naive);
    rng_init(&rng, 7);
    for (i = 0; i < STEPS; i++) {
        uint32_t lane = (uint32_t)rng_below(&rng, LANES);
        uint64_t at = rng_below(&rng, COUNT);
        uint8_t *is = &naive[(uint64_t)lane * COUNT + at];

        if (rng_below(&rng, 2) == 0) {
            verify_confirmed(v, lane, at);
            *is |= 1;
        } else {
            cr_assert_eq(verify_arrived(v, lane, at) == VERIFY_FIRST,
                         (*is & 2) == 0);
            *is |= 2;
        }
    }
    for (i = 0; i < (uint64_t)LANES * COUNT; i++) {
        missing += naive[i] == 1;
        arrived += (naive[i] & 2) != 0;
    }
    verify_totals(v, &totals);
    cr_assert_eq(totals.missing, missing);
    cr_assert_eq(totals.arrived, arrived);
    free(naive);
    verify_free(&v);
}
