/* A log-linear histogram. The highest bit of a value selects a group of
 * buckets, the seven bits below it the bucket in the group; small values are
 * their own bucket. */
#include "base/histogram.h"

#include <string.h>

#include "base/check.h"

_Static_assert(HISTOGRAM_EXACT_COUNT == 2 << HISTOGRAM_SUB_BITS,
               "the first group has as many buckets as bits say");
_Static_assert(HISTOGRAM_US_MAX < UINT64_C(1) << 32, "bits 8 to 31");

/* The bucket of US, which is at most HISTOGRAM_US_MAX. */
static size_t
histogram_bucket(uint64_t us)
{
    unsigned shift = 0;

    ASSERT(us <= HISTOGRAM_US_MAX);
    if (us < HISTOGRAM_EXACT_COUNT) {
        return (size_t)us;
    }
    shift = 63 - (unsigned)__builtin_clzll(us) - HISTOGRAM_SUB_BITS;
    return (size_t)(us >> shift) + ((size_t)shift << HISTOGRAM_SUB_BITS);
}

/* The greatest value that goes to bucket INDEX. */
static uint64_t
histogram_bucket_last(size_t index)
{
    unsigned shift = 0;
    uint64_t sub = 0;

    ASSERT(index < HISTOGRAM_BUCKET_COUNT);
    if (index < HISTOGRAM_EXACT_COUNT) {
        return index;
    }
    shift = (unsigned)(index >> HISTOGRAM_SUB_BITS) - 1;
    sub = index - ((size_t)shift << HISTOGRAM_SUB_BITS);
    return ((sub + 1) << shift) - 1;
}

void
histogram_init(struct histogram *h)
{
    ASSERT(h != NULL);
    memset(h, 0, sizeof(*h));
    h->min_us = UINT64_MAX;
}

void
histogram_record(struct histogram *h, uint64_t us)
{
    us = MIN(us, HISTOGRAM_US_MAX);
    h->buckets[histogram_bucket(us)]++;
    h->count++;
    h->sum_us += us;
    h->min_us = MIN(h->min_us, us);
    h->max_us = MAX(h->max_us, us);
    ASSERT(h->min_us <= h->max_us);
}

void
histogram_merge(struct histogram *h, const struct histogram *from)
{
    ASSERT(h != NULL);
    ASSERT(from != NULL);
    for (size_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        h->buckets[i] += from->buckets[i];
    }
    h->count += from->count;
    h->sum_us += from->sum_us;
    h->min_us = MIN(h->min_us, from->min_us);
    h->max_us = MAX(h->max_us, from->max_us);
}

/* How many of COUNT values PERCENT of them are, rounded up; 1 to COUNT. */
static uint64_t
histogram_rank(uint64_t count, double percent)
{
    /* So that 99.9 % of 1000 is 999 and not, for a rounding error, 1000. */
    double exact = percent / 100 * (double)count * (1 - 1e-12);
    uint64_t rank = (uint64_t)exact;

    if ((double)rank < exact) {
        rank++;
    }
    return MIN(MAX(rank, 1), count);
}

uint64_t
histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t rank = 0;
    uint64_t seen = 0;

    ASSERT(percent >= 0);
    ASSERT(percent <= 100);
    if (h->count == 0) {
        return 0;
    }
    rank = histogram_rank(h->count, percent);
    if (rank == 1 && percent <= 0) {
        return h->min_us;
    }
    for (size_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            return MIN(histogram_bucket_last(i), h->max_us);
        }
    }
    UNREACHABLE("the buckets hold fewer values than were counted");
}

uint64_t
histogram_count_upto(const struct histogram *h, uint64_t us)
{
    size_t last = histogram_bucket(MIN(us, HISTOGRAM_US_MAX));
    uint64_t count = 0;

    for (size_t i = 0; i <= last; i++) {
        count += h->buckets[i];
    }
    ASSERT(count <= h->count);
    return count;
}

uint64_t
histogram_count(const struct histogram *h)
{
    ASSERT(h != NULL);
    return h->count;
}

uint64_t
histogram_min(const struct histogram *h)
{
    ASSERT(h != NULL);
    return h->count > 0 ? h->min_us : 0;
}

uint64_t
histogram_max(const struct histogram *h)
{
    ASSERT(h != NULL);
    return h->max_us;
}

double
histogram_mean(const struct histogram *h)
{
    ASSERT(h != NULL);
    return h->count > 0 ? (double)h->sum_us / (double)h->count : 0;
}
