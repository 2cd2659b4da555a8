/* Sets of integers as sorted ranges in one array.
 *
 * Both changes come to the same thing: find the run of ranges that the change
 * touches, and put none, one or two ranges in the place of that run. The array
 * has free room on both sides, and whichever side of the place is shorter is
 * moved. The count of integers is kept along the way. */
#include "base/ranges.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    RANGES_CAPACITY_MIN = 4,
    RANGES_SHRINK_CAPACITY_MIN = 1024 /* smaller arrays only grow */
};

void
ranges_init(struct ranges *r)
{
    ASSERT(r != NULL);
    memset(r, 0, sizeof(*r));
}

void
ranges_deinit(struct ranges *r)
{
    ASSERT(r != NULL);
    ASSERT(r->front + r->count <= r->capacity);
    if (r->items != NULL) {
        mem_free(r->items - r->front);
    }
    ranges_init(r);
}

void
ranges_clear(struct ranges *r)
{
    ASSERT(r->front + r->count <= r->capacity);
    if (r->items != NULL) {
        r->items -= r->front;
    }
    r->front = 0;
    r->count = 0;
    r->total = 0;
}

size_t
ranges_find(const struct ranges *r, uint64_t value)
{
    size_t low = 0;
    size_t high = r->count;

    /* Both ends are where most callers look. */
    if (r->count == 0 || r->items[0].last >= value) {
        return 0;
    }
    if (r->items[r->count - 1].first <= value) {
        return r->items[r->count - 1].last >= value ? r->count - 1 : r->count;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->items[middle].last < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool
ranges_has(const struct ranges *r, uint64_t value)
{
    size_t at = ranges_find(r, value);

    return at < r->count && r->items[at].first <= value;
}

uint64_t
ranges_total(const struct ranges *r)
{
    /* Only the set of all integers counts 2^64 of them. */
    return r->count > 0 && r->total == 0 ? UINT64_MAX : r->total;
}

/* The first index of a range that begins after VALUE; FROM is not after it. */
static size_t
ranges_find_after(const struct ranges *r, size_t from, uint64_t value)
{
    size_t at = ranges_find(r, value);

    ASSERT(from <= r->count);
    if (at < r->count && r->items[at].first <= value) {
        at++;
    }
    return MAX(at, from);
}

/* Move all ranges into an array with room for COUNT and half as many more; an
 * eighth in front, if there was any room in front. */
static void
ranges_resize(struct ranges *r, size_t count)
{
    size_t capacity = count + count / 2 + RANGES_CAPACITY_MIN;
    size_t front = r->front > 0 ? count / 8 : 0;
    struct range *items = NULL;

    ASSERT(count >= r->count);
    ASSERT(count <= RANGES_COUNT_MAX);
    items = mem_alloc(capacity * sizeof(*items));
    if (r->count > 0) {
        memcpy(items + front, r->items, r->count * sizeof(*items));
    }
    if (r->items != NULL) {
        mem_free(r->items - r->front);
    }
    r->items = items + front;
    r->front = front;
    r->capacity = capacity;
    ASSERT(r->front + count <= r->capacity);
}

/* Make room behind the last range: by sliding all towards the front, when the
 * free slots there are worth the move, or by a larger array. */
static void
ranges_make_room(struct ranges *r)
{
    size_t shift = r->front - r->front / 2;

    ASSERT(r->front + r->count == r->capacity);
    if (r->front <= r->count / 4) {
        ranges_resize(r, r->count + 1);
        return;
    }
    memmove(r->items - shift, r->items, r->count * sizeof(*r->items));
    r->items -= shift;
    r->front -= shift;
}

/* Open a gap for one more range at INDEX, on the side that moves less. */
static void
ranges_open(struct ranges *r, size_t index)
{
    ASSERT(index <= r->count);
    if (r->front > 0 && index < r->count / 2) {
        r->items--;
        r->front--;
        memmove(r->items, r->items + 1, index * sizeof(*r->items));
    } else {
        if (r->front + r->count == r->capacity) {
            ranges_make_room(r);
        }
        memmove(r->items + index + 1, r->items + index,
                (r->count - index) * sizeof(*r->items));
    }
    r->count++;
    ASSERT(r->front + r->count <= r->capacity);
}

/* Drop the ranges [LOW, HIGH), closing the gap from the side that moves
 * less. */
static void
ranges_close(struct ranges *r, size_t low, size_t high)
{
    size_t count = high - low;

    ASSERT(low <= high);
    ASSERT(high <= r->count);
    if (count == 0) {
        return;
    }
    if (low < r->count - high) {
        memmove(r->items + count, r->items, low * sizeof(*r->items));
        r->items += count;
        r->front += count;
    } else {
        memmove(r->items + low, r->items + high,
                (r->count - high) * sizeof(*r->items));
    }
    r->count -= count;
    if (r->capacity >= RANGES_SHRINK_CAPACITY_MIN &&
        r->count < r->capacity / 8) {
        ranges_resize(r, r->count);
    }
}

/* Integers in the ranges [LOW, HIGH), modulo 2^64. */
static uint64_t
ranges_sum(const struct ranges *r, size_t low, size_t high)
{
    uint64_t sum = 0;

    for (size_t i = low; i < high; i++) {
        sum += r->items[i].last - r->items[i].first + 1;
    }
    return sum;
}

void
ranges_add(struct ranges *r, uint64_t first, uint64_t last)
{
    size_t low = 0;
    size_t high = 0;

    ASSERT(first <= last);
    /* Ranges that end or begin right beside the new one become part of it. */
    low = ranges_find(r, first == 0 ? 0 : first - 1);
    high = ranges_find_after(r, low, last == UINT64_MAX ? last : last + 1);
    if (low == high) {
        ranges_open(r, low);
    } else {
        first = MIN(first, r->items[low].first);
        last = MAX(last, r->items[high - 1].last);
        r->total -= ranges_sum(r, low, high);
        ranges_close(r, low + 1, high);
    }
    r->items[low] = (struct range){first, last};
    r->total += last - first + 1;
    ASSERT(low == 0 || r->items[low - 1].last < first - 1);
    ASSERT(low + 1 == r->count || r->items[low + 1].first - 1 > last);
}

void
ranges_remove(struct ranges *r, uint64_t first, uint64_t last)
{
    size_t low = 0;
    size_t high = 0;
    struct range left;
    struct range right;

    ASSERT(first <= last);
    low = ranges_find(r, first);
    high = ranges_find_after(r, low, last);
    if (low == high) {
        return;
    }
    left = r->items[low];
    right = r->items[high - 1];
    r->total -= ranges_sum(r, low, high);
    /* What sticks out on either side stays, as the ends of the run. */
    if (left.first < first && right.last > last && high - low == 1) {
        ranges_open(r, low);
        high++;
    }
    if (left.first < first) {
        r->items[low] = (struct range){left.first, first - 1};
        r->total += first - left.first;
        low++;
    }
    if (right.last > last) {
        high--;
        r->items[high] = (struct range){last + 1, right.last};
        r->total += right.last - last;
    }
    ranges_close(r, low, high);
    ASSERT(!ranges_has(r, first));
    ASSERT(!ranges_has(r, last));
}
