/* A ring of bodies in the order in which they came. A ticket is an item's
 * running number, so that finding it needs no table; an item whose entry is
 * dropped leaves a hole until it reaches the front. Consumers read what was
 * just appended, or walk a backlog once: first in, first out serves both and
 * costs nothing on a hit. */
#include "store/cache.h"

#include "base/check.h"

struct item {
    struct slice data;
    qr_index index;
    qr_term term;
    uint64_t batch;
    uint32_t log;
    bool used;
};

void
cache_init(struct cache *c, uint64_t budget)
{
    ring_init(&c->items, sizeof(struct item));
    c->ticket_first = 1;
    c->budget = budget;
    c->bytes = 0;
}

static void
item_clear(struct cache *c, struct item *item)
{
    ASSERT(item->used);
    ASSERT(c->bytes >= item->data.size + CACHE_ITEM_COST);
    c->bytes -= item->data.size;
    slice_unref(&item->data);
    item->used = false;
}

/* The front item leaves the ring. */
static void
pop(struct cache *c)
{
    struct item *item = ring_at(&c->items, 0);

    if (item->used) {
        item_clear(c, item);
    }
    ASSERT(c->bytes >= CACHE_ITEM_COST);
    c->bytes -= CACHE_ITEM_COST;
    ring_pop_front(&c->items);
    c->ticket_first++;
    if (c->ticket_first == CACHE_TICKET_NONE) {
        c->ticket_first++;
    }
}

void
cache_deinit(struct cache *c)
{
    while (c->items.count > 0) {
        pop(c);
    }
    ring_deinit(&c->items);
    ASSERT(c->bytes == 0);
}

/* Tickets run on from the first item's, leaving out CACHE_TICKET_NONE. */
static uint32_t
ticket_at(const struct cache *c, size_t position)
{
    uint32_t ticket = c->ticket_first + (uint32_t)position;

    return ticket < c->ticket_first ? ticket + 1 : ticket;
}

static struct item *
find(const struct cache *c, uint32_t ticket)
{
    uint32_t position = ticket - c->ticket_first;

    if (ticket == CACHE_TICKET_NONE) {
        return NULL;
    }
    if (ticket < c->ticket_first) {
        position--;
    }
    return position < c->items.count ? ring_at(&c->items, position) : NULL;
}

uint32_t
cache_add(struct cache *c, const struct cache_key *key,
          const struct slice *data, uint64_t batch)
{
    uint32_t ticket = ticket_at(c, c->items.count);
    struct item *item;

    ASSERT(key->index > 0);
    ASSERT(key->term > 0);
    ASSERT(c->items.count < CACHE_ITEMS_MAX);
    item = ring_push_back(&c->items);
    item->data = slice_ref(data);
    item->index = key->index;
    item->term = key->term;
    item->log = key->log;
    item->batch = batch;
    item->used = true;
    c->bytes += data->size + CACHE_ITEM_COST;
    ASSERT(ticket != CACHE_TICKET_NONE);
    return ticket;
}

const struct slice *
cache_get(const struct cache *c, uint32_t ticket, const struct cache_key *key)
{
    const struct item *item = find(c, ticket);

    ASSERT(key->index > 0);
    if (item == NULL || !item->used || item->log != key->log ||
        item->index != key->index || item->term != key->term) {
        return NULL;
    }
    return &item->data;
}

void
cache_drop(struct cache *c, uint32_t ticket, uint32_t log, qr_index index)
{
    struct item *item = find(c, ticket);

    ASSERT(index > 0);
    if (item != NULL && item->used && item->log == log &&
        item->index == index) {
        item_clear(c, item);
    }
}

void
cache_trim(struct cache *c, uint64_t durable)
{
    while (c->items.count > 0) {
        const struct item *item = ring_at(&c->items, 0);

        if (item->used && (c->bytes <= c->budget || item->batch > durable)) {
            break;
        }
        pop(c);
    }
}
