/* The ring's memory. The capacity is a power of two, so that a slot is a mask
 * away. A ring that held a long backlog gives memory back as it is used on, or
 * at once when its owner trims it. */
#include "base/ring.h"

#include <string.h>

#include "base/mem.h"

enum {
    RING_CAPACITY_MIN = 8,
    RING_SHRINK_SIZE_MIN = 65536 /* bytes; smaller rings only grow */
};

void
ring_init(struct ring *r, size_t element_size)
{
    ASSERT(r != NULL);
    ASSERT(element_size > 0);
    memset(r, 0, sizeof(*r));
    r->element_size = element_size;
}

void
ring_deinit(struct ring *r)
{
    ASSERT(r != NULL);
    ASSERT(r->count <= r->capacity);
    mem_free(r->data);
    ring_init(r, r->element_size);
}

/* Move all elements into a fresh array of CAPACITY slots. */
static void
ring_resize(struct ring *r, size_t capacity)
{
    size_t size = r->element_size;
    size_t whole = MIN(r->count, r->capacity - r->head);
    uint8_t *data = NULL;

    ASSERT(capacity >= r->count);
    ASSERT((capacity & (capacity - 1)) == 0);
    ASSERT(capacity <= MEM_SIZE_MAX / size);
    data = mem_alloc(capacity * size);
    if (r->count > 0) {
        memcpy(data, r->data + r->head * size, whole * size);
        memcpy(data + whole * size, r->data, (r->count - whole) * size);
    }
    mem_free(r->data);
    r->data = data;
    r->capacity = capacity;
    r->head = 0;
    r->shrink_below =
        capacity * size > RING_SHRINK_SIZE_MIN ? capacity / 16 : 0;
}

void
ring_make_room(struct ring *r)
{
    ASSERT(r->element_size > 0);
    ASSERT(r->count < RING_COUNT_MAX);
    if (r->count >= r->capacity) {
        ring_resize(r, MAX(r->capacity * 2, (size_t)RING_CAPACITY_MIN));
    } else if (r->count < r->shrink_below) {
        ring_resize(r, r->capacity / 2);
    }
    ASSERT(r->count < r->capacity);
}

void
ring_trim(struct ring *r)
{
    size_t capacity = RING_CAPACITY_MIN;

    ASSERT(r->count <= r->capacity);
    if (r->count == 0) {
        ring_deinit(r);
        return;
    }
    while (capacity < r->count) {
        capacity *= 2;
    }
    if (capacity < r->capacity) {
        ring_resize(r, capacity);
    }
}

void
ring_clear(struct ring *r)
{
    ASSERT(r != NULL);
    r->head = 0;
    r->count = 0;
}
