/* Intrusive min-heap on a 64-bit key, for timers and the simulator's
 * events. Ties are broken by insertion, so order is deterministic. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Elements of one heap; more stops the process. */
#define HEAP_COUNT_MAX ((size_t)1 << 32)

/* Embed in the element; owned by the heap while in it. */
struct heap_node {
    uint64_t key;
    uint64_t order;
    size_t slot; /* 1-based; 0 = not in a heap */
};

/* An element's place, with what it is compared by. */
struct heap_slot {
    uint64_t key;
    uint64_t order;
    struct heap_node *node;
};

struct heap {
    struct heap_slot *slots;
    size_t count;
    size_t capacity;
    uint64_t order_next;
};

/* An empty heap; allocates nothing. */
void heap_init(struct heap *h);
/* Release the memory. Elements still in it are no longer in a heap. */
void heap_deinit(struct heap *h);
/* Insert NODE (not in a heap; zeroed before its first use) at KEY. */
void heap_insert(struct heap *h, struct heap_node *node, uint64_t key);
/* Remove NODE; harmless when it is in no heap. */
void heap_remove(struct heap *h, struct heap_node *node);
/* The least element or NULL. */
struct heap_node *heap_min(const struct heap *h);
/* Whether NODE is in a heap. */
bool heap_has(const struct heap_node *node);

#endif
