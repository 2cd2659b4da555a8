/* An ordered set of 64-bit integers kept as disjoint, merged ranges: what is
 * live in a log, what is settled of a consumer's deliveries. */
#ifndef BASE_RANGES_H
#define BASE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [first, last], both included. */
struct range {
    uint64_t first;
    uint64_t last;
};

/* Ranges of one set; more stops the process. */
#define RANGES_COUNT_MAX ((size_t)1 << 32)

/* Sorted, disjoint, not adjacent. There is room on both sides of the items, so
 * that a set eaten from the front and fed at the end, as a log is, moves
 * nothing. Read `items` and `count`; leave the rest. */
struct ranges {
    struct range *items;
    size_t count;
    size_t front;    /* free slots before items */
    size_t capacity; /* slots, those included */
    uint64_t total;  /* modulo 2^64 */
};

/* An empty set; allocates nothing. */
void ranges_init(struct ranges *r);
void ranges_deinit(struct ranges *r);
/* Empty the set, keep its memory. */
void ranges_clear(struct ranges *r);
/* Add [FIRST, LAST], FIRST <= LAST; some or all may be there. O(1) at the end,
 * else O(log n) to find the place and O(n) to move the shorter side. */
void ranges_add(struct ranges *r, uint64_t first, uint64_t last);
/* Remove [FIRST, LAST], FIRST <= LAST; some or all may be missing. O(1) at the
 * front, else as ranges_add(). */
void ranges_remove(struct ranges *r, uint64_t first, uint64_t last);
/* The index of the first range that ends at VALUE or later, or `count`. */
size_t ranges_find(const struct ranges *r, uint64_t value);
bool ranges_has(const struct ranges *r, uint64_t value);
/* How many integers are in the set, UINT64_MAX if all are. O(1). */
uint64_t ranges_total(const struct ranges *r);

#endif
