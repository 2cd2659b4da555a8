/* The histogram against a sorted array. */
#include "base/check.h"
#include "base/histogram.h"
#include "base/mem.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    SAMPLES = 20000
};

static struct histogram *
histogram_new(void)
{
    struct histogram *h = mem_alloc(sizeof(*h));

    histogram_init(h);
    return h;
}

static int
compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* A time of any magnitude up to the greatest. */
static uint64_t
sample(struct rng *r)
{
    uint64_t us = rng_u64(r) >> (32 + rng_below(r, 32));

    return MIN(us, HISTOGRAM_US_MAX);
}

Test(histogram, is_empty_at_first)
{
    struct histogram *h = histogram_new();

    cr_assert_eq(histogram_count(h), 0);
    cr_assert_eq(histogram_min(h), 0);
    cr_assert_eq(histogram_max(h), 0);
    cr_assert_leq(histogram_mean(h), 0);
    cr_assert_eq(histogram_percentile(h, 50), 0);
    cr_assert_eq(histogram_count_upto(h, HISTOGRAM_US_MAX), 0);
    mem_free(h);
}

Test(histogram, errs_by_less_than_a_hundredth_from_1_us_to_1_h)
{
    struct histogram *h = mem_alloc(sizeof(*h));

    for (uint64_t us = 1; us <= HISTOGRAM_US_MAX; us += 1 + us / 50) {
        uint64_t got = 0;

        histogram_init(h);
        histogram_record(h, us);
        histogram_record(h, HISTOGRAM_US_MAX); /* so that max is not used */
        got = histogram_percentile(h, 50);
        cr_assert_geq(got, us);
        cr_assert_leq(got - us, us / 128, "%llu", (unsigned long long)us);
    }
    mem_free(h);
}

Test(histogram, matches_a_sorted_array)
{
    static const double percents[] = {0.1, 1,  10,   25,    50, 75,
                                      90,  99, 99.9, 99.99, 100};
    static uint64_t samples[SAMPLES];
    struct histogram *h = histogram_new();
    struct rng r;

    rng_init(&r, 19);
    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = sample(&r);
        histogram_record(h, samples[i]);
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), compare);
    for (size_t i = 0; i < ARRAY_COUNT(percents); i++) {
        size_t rank = (size_t)(percents[i] * SAMPLES / 100 + 0.5);
        uint64_t exact = samples[rank - 1];
        uint64_t got = histogram_percentile(h, percents[i]);

        cr_assert_geq(got, exact, "percentile %g", percents[i]);
        cr_assert_leq(got, exact + exact / 128);
        cr_assert_geq(histogram_count_upto(h, exact), rank);
    }
    cr_assert_eq(histogram_min(h), samples[0]);
    cr_assert_eq(histogram_max(h), samples[SAMPLES - 1]);
    cr_assert_eq(histogram_percentile(h, 0), samples[0]);
    cr_assert_eq(histogram_percentile(h, 100), samples[SAMPLES - 1]);
    mem_free(h);
}

Test(histogram, takes_percentiles_by_rank)
{
    struct histogram *h = histogram_new();

    for (uint64_t us = 1; us <= 200; us++) {
        histogram_record(h, us);
    }
    cr_assert_eq(histogram_percentile(h, 0.5), 1);
    cr_assert_eq(histogram_percentile(h, 0.6), 2);
    cr_assert_eq(histogram_percentile(h, 50), 100);
    cr_assert_eq(histogram_percentile(h, 99.5), 199);
    cr_assert_eq(histogram_percentile(h, 99.6), 200);
    cr_assert_gt(histogram_mean(h), 100.4);
    cr_assert_lt(histogram_mean(h), 100.6);
    cr_assert_eq(histogram_count_upto(h, 0), 0);
    cr_assert_eq(histogram_count_upto(h, 77), 77);
    cr_assert_eq(histogram_count_upto(h, UINT64_MAX), 200);
    mem_free(h);
}

Test(histogram, gives_the_greatest_value_of_a_bucket)
{
    struct histogram *h = histogram_new();

    histogram_record(h, 255);
    histogram_record(h, 256);
    histogram_record(h, 1024);
    histogram_record(h, 1032);
    cr_assert_eq(histogram_percentile(h, 25), 255);
    cr_assert_eq(histogram_percentile(h, 50), 257);
    cr_assert_eq(histogram_percentile(h, 75), 1031);
    cr_assert_eq(histogram_count_upto(h, 1023), 2);
    cr_assert_eq(histogram_count_upto(h, 1031), 3);
    mem_free(h);
}

Test(histogram, does_not_round_a_rank_up_for_want_of_precision)
{
    struct histogram *h = histogram_new();

    for (uint64_t i = 1; i <= 1000; i++) {
        histogram_record(h, i <= 999 ? 5 : 9);
    }
    cr_assert_eq(histogram_percentile(h, 99.9), 5);
    cr_assert_eq(histogram_percentile(h, 99.91), 9);
    mem_free(h);
}

Test(histogram, merges_as_if_recorded_in_one)
{
    struct histogram *parts[2] = {histogram_new(), histogram_new()};
    struct histogram *whole = histogram_new();
    struct histogram *empty = histogram_new();
    struct rng r;

    rng_init(&r, 20);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t us = sample(&r);

        histogram_record(parts[i % 2], us);
        histogram_record(whole, us);
    }
    histogram_merge(parts[0], parts[1]);
    histogram_merge(parts[0], empty);
    cr_assert_arr_eq(parts[0], whole, sizeof(*whole));
    histogram_merge(empty, whole);
    cr_assert_arr_eq(empty, whole, sizeof(*whole));
    mem_free(parts[0]);
    mem_free(parts[1]);
    mem_free(whole);
    mem_free(empty);
}

Test(histogram, counts_longer_times_as_an_hour)
{
    struct histogram *h = histogram_new();

    histogram_record(h, HISTOGRAM_US_MAX);
    histogram_record(h, HISTOGRAM_US_MAX + 1);
    histogram_record(h, UINT64_MAX);
    cr_assert_eq(histogram_count(h), 3);
    cr_assert_eq(histogram_max(h), HISTOGRAM_US_MAX);
    cr_assert_eq(histogram_percentile(h, 50), HISTOGRAM_US_MAX);
    mem_free(h);
}

Test(histogram, refuses_more_than_a_hundred_percent, .signal = SIGABRT)
{
    struct histogram *h = histogram_new();

    (void)histogram_percentile(h, 100.1);
}

Test(histogram, refuses_less_than_nothing, .signal = SIGABRT)
{
    struct histogram *h = histogram_new();

    (void)histogram_percentile(h, -0.1);
}
