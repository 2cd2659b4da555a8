/* A double-ended queue of fixed-size elements in one growing ring. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/* Elements of one ring; more stops the process. */
#define RING_COUNT_MAX ((size_t)1 << 32)
/* An empty ring of no more keeps its memory in ring_trim_idle(). */
#define RING_IDLE_SIZE ((size_t)1024)

struct ring {
    uint8_t *data;
    size_t element_size;
    size_t capacity; /* elements, power of two, or 0 */
    size_t head;     /* slot of element 0 */
    size_t count;
    size_t shrink_below; /* count at which a push shrinks the ring */
};

/* An empty ring; allocates nothing. */
void ring_init(struct ring *r, size_t element_size);
void ring_deinit(struct ring *r);
/* Make the next push find room, by doubling; or halve a large ring of which
 * 15 slots in 16 stand empty. Called by the pushes. */
void ring_make_room(struct ring *r);
/* Give back memory that the elements do not need. Moves them. */
void ring_trim(struct ring *r);
/* Give back the memory of an empty ring that takes more than RING_IDLE_SIZE
 * bytes, else nothing: for what there are many of, each time it has emptied. */
static inline void ring_trim_idle(struct ring *r);
/* Drop all elements, keep the memory. */
void ring_clear(struct ring *r);

/* The address of slot (head + INDEX), which the caller knows to be there. */
static inline void *
ring_slot(const struct ring *r, size_t index)
{
    return r->data + ((r->head + index) & (r->capacity - 1)) * r->element_size;
}

/* Element INDEX (0 is the first), INDEX < count. Valid until a push, a trim or
 * a clear. */
static inline void *
ring_at(const struct ring *r, size_t index)
{
    ASSERT(index < r->count);
    return ring_slot(r, index);
}

/* Address of the new last element, uninitialised. Moves others. */
static inline void *
ring_push_back(struct ring *r)
{
    if (UNLIKELY(r->count >= r->capacity || r->count < r->shrink_below)) {
        ring_make_room(r);
    }
    r->count++;
    return ring_slot(r, r->count - 1);
}

/* Address of the new first element, uninitialised. Moves others. */
static inline void *
ring_push_front(struct ring *r)
{
    if (UNLIKELY(r->count >= r->capacity || r->count < r->shrink_below)) {
        ring_make_room(r);
    }
    r->head = (r->head - 1) & (r->capacity - 1);
    r->count++;
    return ring_slot(r, 0);
}

/* Drop the first element; count > 0. Its bytes stay until a push. */
static inline void
ring_pop_front(struct ring *r)
{
    ASSERT(r->count > 0);
    r->head = (r->head + 1) & (r->capacity - 1);
    r->count--;
}

static inline void
ring_trim_idle(struct ring *r)
{
    if (r->count == 0 && r->capacity > RING_IDLE_SIZE / r->element_size) {
        ring_trim(r);
    }
}

/* Drop the last element; count > 0. Its bytes stay until a push. */
static inline void
ring_pop_back(struct ring *r)
{
    ASSERT(r->count > 0);
    r->count--;
}

#endif
