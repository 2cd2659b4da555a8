/* Consumers: what they hold, and whose turn it is.
 *
 * Deliveries of a consumer are numbered one after the other and mostly settled
 * in that order, so what it holds is a ring, eaten at the front. A delivery
 * settled out of order leaves a hole; when holes outnumber what is held the
 * ring is packed, so one message never settled costs nothing but itself, and
 * settling stays O(1) amortised. A number is found at its distance from the
 * first one while the ring was not packed, else by halving.
 *
 * Consumers with credit stand in a list of turns. Who gets a message goes to
 * the end of it, who has no credit leaves it, who gains credit joins at the
 * end. */
#include <string.h>

#include "base/mem.h"
#include "base/mutation.h"
#include "machine/queue/queue_state.h"

enum {
    CONSUMER_PACK_MIN = 64,   /* slots; no packing below */
    CONSUMER_SLOTS_KEPT = 256 /* of an empty ring; more are given back */
};

struct queue_consumer *
queue_consumer_find(const struct queue_session *s, uint64_t id)
{
    ASSERT(s->magic == QUEUE_SESSION_MAGIC);
    return map_get(&s->consumers, id);
}

/* C is one of those that messages are for. */
static void
queue_consumer_join(struct queue_machine *m, struct queue_consumer *c)
{
    ASSERT(m->exclusive == NULL);
    m->attached_count++;
    m->was_used = true;
    m->is_unused = false;
    if ((c->flags & QUEUE_ATTACH_EXCLUSIVE) != 0) {
        ASSERT(m->attached_count == 1);
        m->exclusive = c;
    }
}

struct queue_consumer *
queue_consumer_new(struct queue_machine *m, struct queue_session *s,
                   enum queue_consumer_state state,
                   const struct queue_command *cmd)
{
    struct queue_consumer *c = mem_zalloc(1, sizeof(*c) + cmd->size);
    void *before = NULL;

    ASSERT(m->consumer_count < QUEUE_CONSUMERS_MAX);
    ASSERT(cmd->size <= QUEUE_TAG_SIZE_MAX);
    c->magic = QUEUE_CONSUMER_MAGIC;
    c->state = state;
    c->session = s;
    c->id = cmd->consumer;
    c->delivery_next = 1;
    c->credit = cmd->credit;
    c->flags = cmd->flags;
    c->tag_size = (uint32_t)cmd->size;
    if (cmd->size > 0) {
        memcpy(c->tag, cmd->bytes, cmd->size);
    }
    ring_init(&c->held, sizeof(struct queue_held));
    list_init(&c->turn);
    list_push_back(&s->consumer_list, &c->sibling);
    before = map_put(&s->consumers, c->id, c);
    ASSERT(before == NULL);
    m->consumer_count++;
    if (state == QUEUE_CONSUMER_ATTACHED) {
        queue_consumer_join(m, c);
    }
    queue_consumer_update(m, c);
    return c;
}

void
queue_consumer_cancel(struct queue_machine *m, struct queue_consumer *c)
{
    OBJ_CHECK(c, QUEUE_CONSUMER_MAGIC);
    if (c->state == QUEUE_CONSUMER_ATTACHED) {
        ASSERT(m->attached_count > 0);
        m->attached_count--;
        m->is_unused = m->attached_count == 0;
        if (m->exclusive == c) {
            m->exclusive = NULL;
        }
    }
    c->state = QUEUE_CONSUMER_CANCELLED;
    queue_consumer_update(m, c);
}

void
queue_consumer_free(struct queue_machine *m, struct queue_consumer *c)
{
    void *removed = NULL;

    queue_consumer_cancel(m, c);
    queue_consumer_drop(m, c, 0, UINT64_MAX);
    removed = map_remove(&c->session->consumers, c->id);
    ASSERT(removed == c);
    list_remove(&c->sibling);
    ASSERT(!list_is_linked(&c->turn));
    m->consumer_count--;
    ring_deinit(&c->held);
    c->magic = 0;
    mem_free(c);
}

uint32_t
queue_consumer_limit(const struct queue_consumer *c)
{
    ASSERT(c->credit <= QUEUE_CREDIT_MAX);
    return c->credit == 0 || MUTATION(ignore_prefetch) ? QUEUE_CREDIT_MAX
                                                       : c->credit;
}

bool
queue_consumer_is_hungry(const struct queue_consumer *c)
{
    return c->state == QUEUE_CONSUMER_ATTACHED &&
           c->held_count < queue_consumer_limit(c);
}

void
queue_consumer_update(struct queue_machine *m, struct queue_consumer *c)
{
    bool is_hungry = queue_consumer_is_hungry(c);

    if (is_hungry == list_is_linked(&c->turn)) {
        return;
    }
    if (is_hungry) {
        list_push_back(&m->turns, &c->turn);
    } else {
        list_remove(&c->turn);
    }
}

void
queue_consumer_hold(struct queue_machine *m, struct queue_consumer *c,
                    uint64_t delivery, const struct queue_item *item)
{
    struct queue_held *h = NULL;

    ASSERT(delivery >= c->delivery_next);
    ASSERT(item->message.index > 0);
    h = ring_push_back(&c->held);
    h->delivery = delivery;
    h->item = *item;
    c->delivery_next = delivery + 1;
    c->held_count++;
    m->held_count++;
    m->held_bytes += item->message.size;
}

void
queue_consumer_deliver(struct queue_machine *m, struct queue_consumer *c,
                       struct queue_effects *effects)
{
    struct queue_effect *e = NULL;
    struct queue_item item;
    bool taken = queue_ready_take(&m->ready, &item);

    ASSERT(taken);
    ASSERT(c->magic == QUEUE_CONSUMER_MAGIC);
    ASSERT(c->held_count < QUEUE_CREDIT_MAX);
    e = queue_effects_add(effects, QUEUE_EFFECT_DELIVER);
    e->session = c->session->id;
    e->consumer = c->id;
    e->delivery = c->delivery_next;
    e->count = item.count;
    e->message = item.message;
    queue_consumer_hold(m, c, c->delivery_next, &item);
    /* It may have lost its turn; else it goes behind the others. */
    if (!queue_consumer_is_hungry(c)) {
        list_remove(&c->turn);
    } else if (m->turns.prev != &c->turn) {
        list_remove(&c->turn);
        list_push_back(&m->turns, &c->turn);
    }
}

size_t
queue_consumer_seek(const struct queue_consumer *c, uint64_t id)
{
    const struct queue_held *h = NULL;
    size_t low = 0;
    size_t high = c->held.count;

    if (high == 0) {
        return 0;
    }
    h = ring_at(&c->held, 0);
    if (id <= h->delivery) {
        return 0;
    }
    /* Numbers grow by one a slot, or more: ID is here or before. */
    if (id - h->delivery < high) {
        high = (size_t)(id - h->delivery);
        h = ring_at(&c->held, high);
        if (h->delivery == id) {
            return high;
        }
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        h = ring_at(&c->held, middle);
        if (h->delivery < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Move what is held over the holes, when these are the more. */
static void
queue_consumer_pack(struct queue_consumer *c)
{
    size_t kept = 0;

    if (c->held.count < CONSUMER_PACK_MIN ||
        c->held_count > c->held.count / 2) {
        return;
    }
    for (size_t slot = 0; slot < c->held.count; slot++) {
        const struct queue_held *h = queue_consumer_held(c, slot);

        if (h != NULL) {
            *(struct queue_held *)ring_at(&c->held, kept) = *h;
            kept++;
        }
    }
    ASSERT(kept == c->held_count);
    while (c->held.count > kept) {
        ring_pop_back(&c->held);
    }
}

/* H is C's no more; its message goes back to the queue if IS_BACK. */
static void
queue_consumer_release(struct queue_machine *m, struct queue_consumer *c,
                       struct queue_held *h, bool is_back)
{
    ASSERT(c->held_count > 0);
    ASSERT(m->held_bytes >= h->item.message.size);
    c->held_count--;
    m->held_count--;
    m->held_bytes -= h->item.message.size;
    if (!is_back || queue_losses_take(m, &h->item.message)) {
        m->dead_bytes += h->item.message.size;
    } else {
        if (h->item.count < UINT32_MAX) {
            h->item.count++;
        }
        queue_ready_return(&m->ready, &h->item);
    }
    h->item.message.index = 0;
}

static void
queue_consumer_release_range(struct queue_machine *m, struct queue_consumer *c,
                             const uint64_t range[2], bool is_back)
{
    size_t slot = queue_consumer_seek(c, range[0]);

    for (; slot < c->held.count; slot++) {
        struct queue_held *h = ring_at(&c->held, slot);

        if (h->delivery > range[1]) {
            break;
        }
        if (h->item.message.index != 0) {
            queue_consumer_release(m, c, h, is_back);
        }
    }
    while (c->held.count > 0 && queue_consumer_held(c, 0) == NULL) {
        ring_pop_front(&c->held);
    }
    queue_consumer_pack(c);
}

void
queue_consumer_drop(struct queue_machine *m, struct queue_consumer *c,
                    uint64_t first, uint64_t last)
{
    uint64_t range[2] = {first, last};

    ASSERT(first <= last);
    queue_consumer_release_range(m, c, range, false);
}

void
queue_consumer_return(struct queue_machine *m, struct queue_consumer *c,
                      uint64_t first, uint64_t last)
{
    uint64_t range[2] = {first, last};

    ASSERT(first <= last);
    queue_consumer_release_range(m, c, range, true);
}

void
queue_consumer_settled(struct queue_machine *m, struct queue_consumer *c)
{
    OBJ_CHECK(c, QUEUE_CONSUMER_MAGIC);
    if (c->held_count == 0) {
        if (c->state == QUEUE_CONSUMER_CANCELLED) {
            queue_consumer_free(m, c);
            return;
        }
        if (c->held.capacity > CONSUMER_SLOTS_KEPT) {
            ring_trim(&c->held);
        }
    }
    queue_consumer_update(m, c);
}
