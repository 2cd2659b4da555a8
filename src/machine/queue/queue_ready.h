/* What waits to be delivered: messages that never were, in the order of the
 * log, and messages that came back, which go first.
 *
 * The first are many and never change: blocks of twelve bytes a message, fed
 * at the end and eaten at the front. The second are few and come in any order:
 * a binary heap on their place in the log. */
#ifndef MACHINE_QUEUE_QUEUE_READY_H
#define MACHINE_QUEUE_QUEUE_READY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/ranges.h"
#include "machine/queue/queue_machine.h"

enum {
    QUEUE_BLOCK_SLOTS = 338 /* so that a block is just under 4 KiB */
};

/* A message, and how often it was delivered before. */
struct queue_item {
    struct queue_message message;
    uint32_t count;
};

/* A message of a block, whose index is the block's base and `delta`. */
struct queue_slot {
    uint32_t delta;
    uint32_t offset;
    uint32_t size;
};

struct queue_block {
    struct queue_block *next;
    qr_index base;
    uint32_t first; /* slot of the first message that is left */
    uint32_t end;   /* slot behind the last */
    struct queue_slot slots[QUEUE_BLOCK_SLOTS];
};

struct queue_ready {
    struct queue_block *head;
    struct queue_block *tail;
    struct queue_block *spare; /* one is kept, for queues that are near empty */
    uint64_t fresh_count;      /* in blocks */
    struct queue_item *returned; /* heap */
    size_t returned_count;
    size_t returned_capacity;
    uint64_t bytes; /* of all messages */
};

/* Where a walk over the blocks is. */
struct queue_walk {
    const struct queue_block *block;
    uint32_t slot;
};

/* Whether A lies before B in the log. */
static inline bool
queue_message_is_before(const struct queue_message *a,
                        const struct queue_message *b)
{
    return a->index != b->index ? a->index < b->index : a->offset < b->offset;
}

/* All that is ready. */
static inline uint64_t
queue_ready_count(const struct queue_ready *r)
{
    return r->fresh_count + r->returned_count;
}

/* Nothing is ready; allocates nothing. */
void queue_ready_init(struct queue_ready *r);
void queue_ready_deinit(struct queue_ready *r);
/* Drop all messages. */
void queue_ready_clear(struct queue_ready *r);
/* Add MESSAGE, which lies behind all fresh ones. O(1). */
void queue_ready_push(struct queue_ready *r,
                      const struct queue_message *message);
/* Add ITEM, which was delivered before. O(log returned). */
void queue_ready_return(struct queue_ready *r, const struct queue_item *item);
/* Take the next one: false if there is none. */
MUST_USE bool queue_ready_take(struct queue_ready *r, struct queue_item *out);
/* Take out all messages of the entries in INDEXES; each goes to CB with ARG, in
 * the order of the log. O(ready / QUEUE_BLOCK_SLOTS) and what is touched. */
void queue_ready_remove(struct queue_ready *r, const struct ranges *indexes,
                        void (*cb)(void *arg,
                                   const struct queue_message *message),
                        void *arg);
/* The message in slot SLOT of BLOCK. */
void queue_block_read(const struct queue_block *block, uint32_t slot,
                      struct queue_message *out);
/* Walk the fresh messages in order: zero WALK and set its block to the head;
 * false at the end. */
MUST_USE bool queue_ready_walk(struct queue_walk *walk,
                               struct queue_message *out);
/* The returned ones in their order; the caller frees the array (mem_free). */
struct queue_item *queue_ready_returned_sorted(const struct queue_ready *r);

#endif
