/* A binary heap of pointers. Each element knows its slot, so that a timer can
 * be stopped in O(log n), and its place in the order of insertion, which
 * breaks ties: two runs that insert alike see the same order. */
#include "base/heap.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    HEAP_CAPACITY_MIN = 16,
    HEAP_SHRINK_CAPACITY_MIN = 2048 /* smaller heaps only grow */
};

void
heap_init(struct heap *h)
{
    ASSERT(h != NULL);
    memset(h, 0, sizeof(*h));
}

void
heap_deinit(struct heap *h)
{
    ASSERT(h != NULL);
    ASSERT(h->count <= h->capacity);
    for (size_t i = 0; i < h->count; i++) {
        h->slots[i]->slot = 0;
    }
    mem_free(h->slots);
    heap_init(h);
}

static bool
heap_is_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

/* Put NODE at INDEX (0-based). */
static void
heap_set(struct heap *h, size_t index, struct heap_node *node)
{
    h->slots[index] = node;
    node->slot = index + 1;
}

/* NODE, wanted at INDEX, climbs over later ones. */
static void
heap_climb(struct heap *h, size_t index, struct heap_node *node)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;

        if (!heap_is_before(node, h->slots[parent])) {
            break;
        }
        heap_set(h, index, h->slots[parent]);
        index = parent;
    }
    heap_set(h, index, node);
}

/* NODE, wanted at INDEX, sinks under earlier ones. */
static void
heap_sink(struct heap *h, size_t index, struct heap_node *node)
{
    for (;;) {
        size_t child = index * 2 + 1;

        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count &&
            heap_is_before(h->slots[child + 1], h->slots[child])) {
            child++;
        }
        if (!heap_is_before(h->slots[child], node)) {
            break;
        }
        heap_set(h, index, h->slots[child]);
        index = child;
    }
    heap_set(h, index, node);
}

/* Double the array when full, halve a large one when seven in eight slots
 * are free. */
static void
heap_fit(struct heap *h, size_t count)
{
    size_t capacity = h->capacity;

    ASSERT(count <= HEAP_COUNT_MAX);
    if (count > capacity) {
        capacity = MAX(capacity * 2, (size_t)HEAP_CAPACITY_MIN);
    } else if (count < capacity / 8 &&
               capacity >= (size_t)HEAP_SHRINK_CAPACITY_MIN) {
        capacity /= 2;
    }
    if (capacity != h->capacity) {
        h->slots = mem_realloc(h->slots, capacity * sizeof(*h->slots));
        h->capacity = capacity;
    }
    ASSERT(count <= h->capacity);
}

void
heap_insert(struct heap *h, struct heap_node *node, uint64_t key)
{
    ASSERT(node != NULL);
    ASSERT(node->slot == 0);
    heap_fit(h, h->count + 1);
    node->key = key;
    node->order = h->order_next++;
    h->count++;
    heap_climb(h, h->count - 1, node);
}

void
heap_remove(struct heap *h, struct heap_node *node)
{
    struct heap_node *last = NULL;
    size_t index = 0;

    ASSERT(node != NULL);
    if (node->slot == 0) {
        return;
    }
    index = node->slot - 1;
    ASSERT(index < h->count);
    ASSERT(h->slots[index] == node);
    node->slot = 0;
    h->count--;
    last = h->slots[h->count];
    if (last != node) {
        if (index > 0 && heap_is_before(last, h->slots[(index - 1) / 2])) {
            heap_climb(h, index, last);
        } else {
            heap_sink(h, index, last);
        }
    }
    heap_fit(h, h->count);
}

struct heap_node *
heap_min(const struct heap *h)
{
    ASSERT(h != NULL);
    return h->count > 0 ? h->slots[0] : NULL;
}

bool
heap_has(const struct heap_node *node)
{
    ASSERT(node != NULL);
    return node->slot != 0;
}
