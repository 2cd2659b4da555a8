/* Range sets against an array of flags. */
#include "base/check.h"
#include "base/ranges.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    SPAN = 700
};

/* Integers BASE to BASE + SPAN - 1; flag I stands for BASE + I. */
struct model {
    uint64_t base;
    bool flags[SPAN];
};

static void
check_ranges(const struct ranges *r, const struct model *model)
{
    uint64_t total = 0;
    size_t runs = 0;

    for (size_t i = 0; i < SPAN; i++) {
        cr_assert_eq(ranges_has(r, model->base + i), model->flags[i]);
        total += model->flags[i];
        runs += model->flags[i] && (i == 0 || !model->flags[i - 1]);
    }
    cr_assert_eq(ranges_total(r), total);
    cr_assert_eq(r->count, runs, "ranges are not merged");
    for (size_t i = 0; i < r->count; i++) {
        cr_assert_leq(r->items[i].first, r->items[i].last);
        cr_assert(i == 0 || r->items[i].first - 1 > r->items[i - 1].last);
    }
}

/* Random changes around BASE; LENGTH is that of a typical one. */
static void
run_model(uint64_t base, uint64_t length, uint64_t seed)
{
    struct model model = {base, {false}};
    struct ranges r;
    struct rng rng;

    rng_init(&rng, seed);
    ranges_init(&r);
    for (unsigned step = 0; step < 30000; step++) {
        uint64_t first = rng_below(&rng, SPAN);
        uint64_t last = first + rng_below(&rng, length);
        bool add = rng_chance(&rng, 500000);

        last = MIN(last, SPAN - 1);
        for (uint64_t i = first; i <= last; i++) {
            model.flags[i] = add;
        }
        if (add) {
            ranges_add(&r, base + first, base + last);
        } else {
            ranges_remove(&r, base + first, base + last);
        }
        if (step % 16 == 0) {
            check_ranges(&r, &model);
        }
    }
    check_ranges(&r, &model);
    ranges_deinit(&r);
}

Test(ranges, matches_flags_with_single_integers)
{
    run_model(1000, 1, 10);
}

Test(ranges, matches_flags_with_short_ranges)
{
    run_model(1000, 5, 11);
}

Test(ranges, matches_flags_with_long_ranges)
{
    run_model(1000, SPAN, 12);
}

Test(ranges, matches_flags_at_zero)
{
    run_model(0, 20, 13);
}

Test(ranges, matches_flags_at_the_greatest_integer)
{
    run_model(UINT64_MAX - SPAN + 1, 20, 14);
}

Test(ranges, is_empty_at_first_and_when_cleared)
{
    struct ranges r;

    ranges_init(&r);
    cr_assert(!ranges_has(&r, 0));
    cr_assert_eq(ranges_total(&r), 0);
    ranges_remove(&r, 0, UINT64_MAX);
    ranges_add(&r, 5, 9);
    ranges_add(&r, 50, 90);
    ranges_clear(&r);
    cr_assert(!ranges_has(&r, 5));
    cr_assert_eq(ranges_total(&r), 0);
    cr_assert_eq(r.count, 0);
    ranges_deinit(&r);
}

Test(ranges, holds_all_integers)
{
    struct ranges r;

    ranges_init(&r);
    ranges_add(&r, 7, 7);
    ranges_add(&r, 0, UINT64_MAX);
    cr_assert_eq(r.count, 1);
    cr_assert_eq(ranges_total(&r), UINT64_MAX);
    ranges_remove(&r, 7, 7);
    cr_assert_eq(r.count, 2);
    cr_assert_eq(ranges_total(&r), UINT64_MAX);
    ranges_remove(&r, 0, UINT64_MAX);
    cr_assert_eq(ranges_total(&r), 0);
    ranges_deinit(&r);
}

Test(ranges, finds_the_range_at_or_after_a_value)
{
    struct ranges r;

    ranges_init(&r);
    cr_assert_eq(ranges_find(&r, 0), 0);
    ranges_add(&r, 10, 19);
    ranges_add(&r, 30, 39);
    cr_assert_eq(ranges_find(&r, 0), 0);
    cr_assert_eq(ranges_find(&r, 19), 0);
    cr_assert_eq(ranges_find(&r, 20), 1);
    cr_assert_eq(ranges_find(&r, 39), 1);
    cr_assert_eq(ranges_find(&r, 40), 2);
    ranges_deinit(&r);
}

/* A log: fed at the end with gaps, eaten from the front. Were every step to
 * move what lies between, this would take minutes. */
Test(ranges, moves_little_when_used_as_a_log)
{
    enum {
        BACKLOG = 200000,
        STEPS = 1000000
    };
    struct ranges r;

    ranges_init(&r);
    for (uint64_t i = 0; i < BACKLOG; i++) {
        ranges_add(&r, i * 3, i * 3 + 1);
    }
    for (uint64_t i = 0; i < STEPS; i++) {
        uint64_t end = (i + BACKLOG) * 3;

        ranges_remove(&r, i * 3, i * 3 + 1);
        ranges_add(&r, end, end + 1);
    }
    cr_assert_eq(r.count, BACKLOG);
    cr_assert_leq(r.capacity, (size_t)BACKLOG * 3);
    cr_assert_eq(ranges_total(&r), UINT64_C(2) * BACKLOG);
    ranges_remove(&r, 0, UINT64_C(3) * (STEPS + BACKLOG - 10));
    cr_assert_eq(r.count, 10);
    cr_assert_lt(r.capacity, 1024);
    ranges_deinit(&r);
}

Test(ranges, refuses_to_add_backwards, .signal = SIGABRT)
{
    struct ranges r;

    ranges_init(&r);
    ranges_add(&r, 2, 1);
}

Test(ranges, refuses_to_remove_backwards, .signal = SIGABRT)
{
    struct ranges r;

    ranges_init(&r);
    ranges_remove(&r, 2, 1);
}
