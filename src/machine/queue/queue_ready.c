/* Ready messages: a list of blocks and a heap.
 *
 * A backlog of ten million messages is what this is made for: twelve bytes a
 * message, nothing moved as it grows, memory given back block by block as it
 * is eaten. A block keeps one 64-bit index and each of its messages the
 * distance from it; one that lies too far away begins a new block.
 *
 * What was returned lies before all that was never delivered, so the two need
 * no merging: the heap is emptied first. */
#include "machine/queue/queue_ready.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    RETURNED_CAPACITY_MIN = 16
};

void
queue_ready_init(struct queue_ready *r)
{
    ASSERT(r != NULL);
    memset(r, 0, sizeof(*r));
}

/* Put BLOCK, off the list, where the next block is taken from. */
static void
queue_ready_recycle(struct queue_ready *r, struct queue_block *block)
{
    ASSERT(block != r->head);
    if (r->spare == NULL) {
        r->spare = block;
    } else {
        mem_free(block);
    }
}

void
queue_ready_clear(struct queue_ready *r)
{
    while (r->head != NULL) {
        struct queue_block *block = r->head;

        r->head = block->next;
        queue_ready_recycle(r, block);
    }
    r->tail = NULL;
    r->fresh_count = 0;
    mem_free(r->returned);
    r->returned = NULL;
    r->returned_count = 0;
    r->returned_capacity = 0;
    r->bytes = 0;
}

void
queue_ready_deinit(struct queue_ready *r)
{
    ASSERT(r != NULL);
    queue_ready_clear(r);
    mem_free(r->spare);
    queue_ready_init(r);
}

/* A new last block whose messages lie at BASE and up. */
static struct queue_block *
queue_ready_extend(struct queue_ready *r, qr_index base)
{
    struct queue_block *block = r->spare;

    ASSERT(base > 0);
    r->spare = NULL;
    if (block == NULL) {
        block = mem_alloc(sizeof(*block));
    }
    block->next = NULL;
    block->base = base;
    block->first = 0;
    block->end = 0;
    if (r->tail == NULL) {
        r->head = block;
    } else {
        r->tail->next = block;
    }
    r->tail = block;
    return block;
}

void
queue_ready_push(struct queue_ready *r, const struct queue_message *message)
{
    struct queue_block *block = r->tail;
    struct queue_slot *slot = NULL;

    if (block == NULL || block->end == QUEUE_BLOCK_SLOTS ||
        message->index - block->base > UINT32_MAX) {
        block = queue_ready_extend(r, message->index);
    }
    ASSERT(message->index >= block->base);
    ASSERT(block->end < QUEUE_BLOCK_SLOTS);
    slot = &block->slots[block->end];
    slot->delta = (uint32_t)(message->index - block->base);
    slot->offset = message->offset;
    slot->size = message->size;
    block->end++;
    r->fresh_count++;
    r->bytes += message->size;
}

void
queue_block_read(const struct queue_block *block, uint32_t slot,
                 struct queue_message *out)
{
    const struct queue_slot *s = &block->slots[slot];

    out->index = block->base + s->delta;
    out->offset = s->offset;
    out->size = s->size;
}

bool
queue_ready_walk(struct queue_walk *walk, struct queue_message *out)
{
    if (walk->block == NULL) {
        return false;
    }
    ASSERT(walk->block->first < walk->block->end);
    walk->slot = MAX(walk->slot, walk->block->first);
    queue_block_read(walk->block, walk->slot, out);
    walk->slot++;
    if (walk->slot == walk->block->end) {
        walk->block = walk->block->next;
        walk->slot = 0;
    }
    return true;
}

/* Take the first fresh message; there is one. */
static void
queue_ready_take_fresh(struct queue_ready *r, struct queue_item *out)
{
    struct queue_block *block = r->head;

    ASSERT(block != NULL);
    ASSERT(block->first < block->end);
    queue_block_read(block, block->first, &out->message);
    out->count = 0;
    block->first++;
    r->fresh_count--;
    if (block->first == block->end) {
        r->head = block->next;
        if (r->head == NULL) {
            r->tail = NULL;
        }
        queue_ready_recycle(r, block);
    }
}

static bool
queue_item_is_before(const struct queue_item *a, const struct queue_item *b)
{
    return queue_message_is_before(&a->message, &b->message);
}

void
queue_ready_return(struct queue_ready *r, const struct queue_item *item)
{
    size_t at = r->returned_count;

    ASSERT(item->count > 0);
    ASSERT(at <= r->returned_capacity);
    if (at == r->returned_capacity) {
        r->returned_capacity =
            MAX(r->returned_capacity * 2, (size_t)RETURNED_CAPACITY_MIN);
        r->returned = mem_realloc(r->returned,
                                  r->returned_capacity * sizeof(*r->returned));
    }
    r->returned_count++;
    r->bytes += item->message.size;
    /* It climbs over all that come later. */
    while (at > 0 && queue_item_is_before(item, &r->returned[(at - 1) / 2])) {
        r->returned[at] = r->returned[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    r->returned[at] = *item;
}

/* Take the least of the heap; there is one. */
static void
queue_ready_take_returned(struct queue_ready *r, struct queue_item *out)
{
    struct queue_item *heap = r->returned;
    const struct queue_item *last = NULL;
    size_t count = r->returned_count - 1;
    size_t at = 0;
    size_t child = 1;

    ASSERT(r->returned_count > 0);
    *out = heap[0];
    last = &heap[count];
    /* The last one sinks from the top, under all that come earlier. */
    while (child < count) {
        if (child + 1 < count &&
            queue_item_is_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!queue_item_is_before(&heap[child], last)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
        child = at * 2 + 1;
    }
    heap[at] = *last;
    r->returned_count = count;
    if (count == 0) {
        mem_free(r->returned);
        r->returned = NULL;
        r->returned_capacity = 0;
    }
}

bool
queue_ready_take(struct queue_ready *r, struct queue_item *out)
{
    if (r->returned_count > 0) {
        queue_ready_take_returned(r, out);
    } else if (r->fresh_count > 0) {
        queue_ready_take_fresh(r, out);
    } else {
        return false;
    }
    ASSERT(r->bytes >= out->message.size);
    r->bytes -= out->message.size;
    return true;
}

static int
queue_item_compare(const void *a, const void *b)
{
    return queue_item_is_before(a, b) ? -1 : queue_item_is_before(b, a);
}

/* Where removed messages go. */
struct queue_removal {
    const struct ranges *indexes;
    void (*cb)(void *arg, const struct queue_message *message);
    void *arg;
};

/* What was returned, in order, is a heap as well. */
static void
queue_ready_remove_returned(struct queue_ready *r,
                            const struct queue_removal *what)
{
    size_t kept = 0;

    if (r->returned_count == 0) {
        return;
    }
    qsort(r->returned, r->returned_count, sizeof(*r->returned),
          queue_item_compare);
    for (size_t i = 0; i < r->returned_count; i++) {
        const struct queue_message *message = &r->returned[i].message;

        if (ranges_has(what->indexes, message->index)) {
            r->bytes -= message->size;
            what->cb(what->arg, message);
        } else {
            r->returned[kept++] = r->returned[i];
        }
    }
    r->returned_count = kept;
    if (kept == 0) {
        mem_free(r->returned);
        r->returned = NULL;
        r->returned_capacity = 0;
    }
}

static void
queue_ready_remove_slots(struct queue_ready *r, struct queue_block *block,
                         const struct queue_removal *what)
{
    uint32_t to = block->first;
    struct queue_message message;

    ASSERT(block->first < block->end);
    for (uint32_t slot = block->first; slot < block->end; slot++) {
        queue_block_read(block, slot, &message);
        if (ranges_has(what->indexes, message.index)) {
            r->fresh_count--;
            r->bytes -= message.size;
            what->cb(what->arg, &message);
        } else {
            block->slots[to++] = block->slots[slot];
        }
    }
    block->end = to;
}

/* Whether BLOCK may have messages of the entries in INDEXES. */
static bool
queue_block_touches(const struct queue_block *block,
                    const struct ranges *indexes)
{
    struct queue_message first;
    struct queue_message last;
    size_t at;

    ASSERT(block->first < block->end);
    queue_block_read(block, block->first, &first);
    queue_block_read(block, block->end - 1, &last);
    at = ranges_find(indexes, first.index);
    return at < indexes->count && indexes->items[at].first <= last.index;
}

void
queue_ready_remove(struct queue_ready *r, const struct ranges *indexes,
                   void (*cb)(void *arg, const struct queue_message *message),
                   void *arg)
{
    struct queue_removal what = {indexes, cb, arg};
    struct queue_block **at = &r->head;

    ASSERT(cb != NULL);
    queue_ready_remove_returned(r, &what);
    r->tail = NULL;
    while (*at != NULL) {
        struct queue_block *block = *at;

        if (queue_block_touches(block, indexes)) {
            queue_ready_remove_slots(r, block, &what);
        }
        if (block->first == block->end) {
            *at = block->next;
            queue_ready_recycle(r, block);
        } else {
            r->tail = block;
            at = &block->next;
        }
    }
    ASSERT((r->head == NULL) == (r->fresh_count == 0));
}

struct queue_item *
queue_ready_returned_sorted(const struct queue_ready *r)
{
    size_t size = r->returned_count * sizeof(*r->returned);
    struct queue_item *items = mem_dup(r->returned, size);

    ASSERT(r->returned_count <= r->returned_capacity);
    qsort(items, r->returned_count, sizeof(*items), queue_item_compare);
    return items;
}
