/* A double-ended queue of fixed-size elements in one growing ring. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stddef.h>
#include <stdint.h>

struct ring {
    uint8_t *data;
    size_t element_size;
    size_t capacity; /* elements, power of two, or 0 */
    size_t head;     /* slot of element 0 */
    size_t count;
};

void ring_init(struct ring *r, size_t element_size);
void ring_deinit(struct ring *r);
/* Address of the new last (first) element, uninitialised. Moves others. */
void *ring_push_back(struct ring *r);
void *ring_push_front(struct ring *r);
/* Element INDEX (0 is the first), INDEX < count. Valid until a push. */
void *ring_at(const struct ring *r, size_t index);
/* Drop the first (last) element; count > 0. */
void ring_pop_front(struct ring *r);
void ring_pop_back(struct ring *r);
void ring_clear(struct ring *r);

#endif
