/* Latencies in fixed memory, for the bench and for metrics.
 *
 * Buckets are one microsecond wide up to 256 us; from there each doubling has
 * 128 of them, so a value is known to within 1/128 (0.8 %). */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 7,
    HISTOGRAM_EXACT_COUNT = 256, /* buckets of one microsecond */
    /* The exact ones, and 128 for each of the bits 8 to 31. */
    HISTOGRAM_BUCKET_COUNT = 256 + 24 * 128
};

/* One hour in microseconds. A longer time counts as this. */
#define HISTOGRAM_US_MAX UINT64_C(3600000000)

/* 26 KiB: embed in something on the heap. */
struct histogram {
    uint64_t count;
    uint64_t sum_us;
    uint64_t min_us; /* UINT64_MAX while empty */
    uint64_t max_us;
    uint64_t buckets[HISTOGRAM_BUCKET_COUNT];
};

/* Empty H; also to start anew. */
void histogram_init(struct histogram *h);
/* One time of US microseconds. O(1). */
void histogram_record(struct histogram *h, uint64_t us);
/* All that FROM recorded, too. */
void histogram_merge(struct histogram *h, const struct histogram *from);
/* The time in microseconds that PERCENT of those recorded did not exceed, 0 to
 * 100; at most 0.8 % above the exact one. 0 gives the least, 100 the greatest
 * recorded, both exact. 0 when H is empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
/* How many took US or less; times within 0.8 % above it may be among them. */
uint64_t histogram_count_upto(const struct histogram *h, uint64_t us);
uint64_t histogram_count(const struct histogram *h);
/* The least and the greatest, exact, and the mean; 0 when H is empty. */
uint64_t histogram_min(const struct histogram *h);
uint64_t histogram_max(const struct histogram *h);
double histogram_mean(const struct histogram *h);

#endif
