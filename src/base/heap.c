/* A heap of pointers, each beside its key, so that no element is touched to
 * compare it; four children to a parent, which halves the levels. Each element
 * knows its slot, so that a timer can be stopped in O(log n), and its place in
 * the order of insertion, which breaks ties: two runs that insert alike see
 * the same order. */
#include "base/heap.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum {
    HEAP_ARITY = 4,
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
        h->slots[i].node->slot = 0;
    }
    mem_free(h->slots);
    heap_init(h);
}

static bool
heap_is_before(const struct heap_slot *a, const struct heap_slot *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

/* Put S at INDEX (0-based). */
static void
heap_set(struct heap *h, size_t index, const struct heap_slot *s)
{
    h->slots[index] = *s;
    s->node->slot = index + 1;
}

/* S, wanted at INDEX, climbs over later ones. */
static void
heap_climb(struct heap *h, size_t index, const struct heap_slot *s)
{
    while (index > 0) {
        size_t parent = (index - 1) / HEAP_ARITY;

        if (!heap_is_before(s, &h->slots[parent])) {
            break;
        }
        heap_set(h, index, &h->slots[parent]);
        index = parent;
    }
    heap_set(h, index, s);
}

/* S, wanted at INDEX, sinks under earlier ones. */
static void
heap_sink(struct heap *h, size_t index, const struct heap_slot *s)
{
    for (;;) {
        size_t child = index * HEAP_ARITY + 1;
        size_t limit = MIN(child + HEAP_ARITY, h->count);

        if (child >= h->count) {
            break;
        }
        for (size_t i = child + 1; i < limit; i++) {
            if (heap_is_before(&h->slots[i], &h->slots[child])) {
                child = i;
            }
        }
        if (!heap_is_before(&h->slots[child], s)) {
            break;
        }
        heap_set(h, index, &h->slots[child]);
        index = child;
    }
    heap_set(h, index, s);
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
    struct heap_slot slot;

    ASSERT(node != NULL);
    ASSERT(node->slot == 0);
    heap_fit(h, h->count + 1);
    node->key = key;
    node->order = h->order_next++;
    slot = (struct heap_slot){key, node->order, node};
    h->count++;
    heap_climb(h, h->count - 1, &slot);
}

void
heap_remove(struct heap *h, struct heap_node *node)
{
    struct heap_slot last;
    size_t index = 0;

    ASSERT(node != NULL);
    if (node->slot == 0) {
        return;
    }
    index = node->slot - 1;
    ASSERT(index < h->count);
    ASSERT(h->slots[index].node == node);
    node->slot = 0;
    h->count--;
    last = h->slots[h->count];
    if (last.node != node) {
        if (index > 0 &&
            heap_is_before(&last, &h->slots[(index - 1) / HEAP_ARITY])) {
            heap_climb(h, index, &last);
        } else {
            heap_sink(h, index, &last);
        }
    }
    heap_fit(h, h->count);
}

struct heap_node *
heap_min(const struct heap *h)
{
    ASSERT(h != NULL);
    return h->count > 0 ? h->slots[0].node : NULL;
}

bool
heap_has(const struct heap_node *node)
{
    ASSERT(node != NULL);
    return node->slot != 0;
}
