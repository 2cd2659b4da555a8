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

/* Sorted, disjoint, not adjacent. */
struct ranges {
    struct range *items;
    size_t count;
    size_t capacity;
};

void ranges_init(struct ranges *r);
void ranges_deinit(struct ranges *r);
void ranges_clear(struct ranges *r);
/* Add [FIRST, LAST]; appending at the end is O(1). */
void ranges_add(struct ranges *r, uint64_t first, uint64_t last);
/* Remove [FIRST, LAST]. */
void ranges_remove(struct ranges *r, uint64_t first, uint64_t last);
bool ranges_has(const struct ranges *r, uint64_t value);
/* How many integers are in the set. */
uint64_t ranges_total(const struct ranges *r);

#endif
