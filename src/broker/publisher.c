/* Publishing: route by this shard's copy of the metadata, give the message to
 * the client of each queue, and tell the front end when all have it.
 *
 * Each message of a publisher has a slot, in order. A slot is done when every
 * queue that the message went to has it on a majority; messages that went to
 * several queues count down. Confirms leave once a turn: the finished prefix
 * as one "multiple", those that finished ahead of it one by one, so that one
 * slow queue does not hold up the others. */
#include "broker/publisher.h"

#include <string.h>

#include "base/mem.h"
#include "base/ring.h"
#include "broker/broker_priv.h"
#include "broker/queue_client.h"
#include "shard/env.h"

enum {
    PUBLISHER_MAGIC = 0x7075626c
};

struct slot {
    uint64_t tag; /* 0: no confirm wanted */
    uint32_t size;
    uint32_t missing; /* queues that do not have it yet */
    bool is_told;
};

struct publisher_impl {
    unsigned magic;
    struct broker *broker;
    struct broker_publisher *publisher; /* NULL: closed */
    struct ring slots;                  /* struct slot */
    uint64_t slot_first;                /* number of slots[0] */
    uint64_t bytes;                     /* of the slots not done */
    struct ring early; /* uint64_t: slots done ahead of the prefix */
    struct list dirty;
    struct meta_route route;
    bool is_congested;
};

static struct slot *
slot_at(struct publisher_impl *p, uint64_t number)
{
    ASSERT(number >= p->slot_first);
    return ring_at(&p->slots, (size_t)(number - p->slot_first));
}

static void
impl_free(struct publisher_impl *p)
{
    list_remove(&p->dirty);
    ring_deinit(&p->slots);
    ring_deinit(&p->early);
    meta_route_deinit(&p->route);
    p->magic = 0;
    mem_free(p);
}

static void
mark_dirty(struct publisher_impl *p)
{
    if (!list_is_linked(&p->dirty)) {
        list_push_back(&p->broker->dirty_publishers, &p->dirty);
        p->broker->env->ops->wake(p->broker->env);
    }
}

static bool
is_above(const struct publisher_impl *p, uint64_t bytes, uint64_t messages)
{
    return p->bytes > bytes || p->slots.count > messages;
}

/* Tell what the front end has not been told. Slots in front that are done
 * leave the ring. */
static void
tell(struct publisher_impl *p)
{
    uint64_t multiple = 0;

    while (p->slots.count > 0) {
        struct slot *slot = ring_at(&p->slots, 0);

        if (slot->missing > 0) {
            break;
        }
        if (slot->tag != 0 && !slot->is_told) {
            multiple = slot->tag;
        }
        ring_pop_front(&p->slots);
        p->slot_first++;
    }
    if (multiple != 0 && p->publisher != NULL) {
        p->publisher->on_confirm(p->publisher, multiple, true, true);
    }
    while (p->early.count > 0) {
        uint64_t number = *(uint64_t *)ring_at(&p->early, 0);
        struct slot *slot;

        ring_pop_front(&p->early);
        if (number < p->slot_first) {
            continue;
        }
        slot = slot_at(p, number);
        if (!slot->is_told && slot->tag != 0 && p->publisher != NULL) {
            slot->is_told = true;
            p->publisher->on_confirm(p->publisher, slot->tag, false, true);
        }
    }
}

void
publisher_flush(struct publisher_impl *p)
{
    bool is_relieved;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    list_remove(&p->dirty);
    tell(p);
    if (p->publisher == NULL) {
        if (p->slots.count == 0) {
            impl_free(p);
        }
        return;
    }
    is_relieved =
        p->is_congested && !is_above(p, BROKER_PUBLISHER_BYTES_MAX / 2,
                                     BROKER_PUBLISHER_MESSAGES_MAX / 2);
    if (is_relieved) {
        p->is_congested = false;
        p->publisher->on_congestion(p->publisher, false);
    }
}

void
publisher_slot_done(struct publisher_impl *p, uint64_t number)
{
    struct slot *slot;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    slot = slot_at(p, number);
    ASSERT(slot->missing > 0);
    slot->missing--;
    if (slot->missing > 0) {
        return;
    }
    ASSERT(p->bytes >= slot->size);
    p->bytes -= slot->size;
    if (slot->tag != 0 && number != p->slot_first) {
        *(uint64_t *)ring_push_back(&p->early) = number;
    }
    mark_dirty(p);
}

void
publisher_slot_lost(struct publisher_impl *p, uint64_t number)
{
    struct slot *slot;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    slot = slot_at(p, number);
    ASSERT(slot->missing > 0);
    slot->missing--;
    if (p->publisher != NULL) {
        p->publisher->impl = NULL;
        p->publisher = NULL;
    }
    mark_dirty(p);
}

void
broker_publisher_open(struct broker *b, struct broker_publisher *publisher)
{
    struct publisher_impl *p = mem_zalloc(1, sizeof(*p));

    OBJ_CHECK(b, BROKER_MAGIC);
    ASSERT(publisher->impl == NULL);
    p->magic = PUBLISHER_MAGIC;
    p->broker = b;
    p->publisher = publisher;
    ring_init(&p->slots, sizeof(struct slot));
    ring_init(&p->early, sizeof(uint64_t));
    list_init(&p->dirty);
    meta_route_init(&p->route);
    publisher->impl = p;
}

void
broker_publisher_close(struct broker_publisher *publisher)
{
    struct publisher_impl *p = publisher->impl;

    if (p == NULL) {
        return;
    }
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    publisher->impl = NULL;
    p->publisher = NULL;
    mark_dirty(p); /* freed there: this may be one of its own callbacks */
}

/* The exchange of MESSAGE, if the user may write to it. */
static const struct meta_exchange *
find_exchange(struct broker *b, const struct broker_connection *c,
              const struct broker_message *message, struct broker_fault *fault)
{
    const struct meta_vhost *vhost =
        meta_vhost(b->meta, c->vhost, strlen(c->vhost));
    const struct meta_exchange *x = NULL;

    if (!broker_is_allowed(b, c, ACCESS_WRITE, "exchange", message->exchange,
                           fault)) {
        return NULL;
    }
    if (vhost != NULL) {
        x = meta_exchange(b->meta, vhost, message->exchange.data,
                          message->exchange.size);
    }
    if (x == NULL) {
        broker_fault_set(
            fault, BROKER_NOT_FOUND, "no exchange '%.*s' in vhost '%s'",
            (int)message->exchange.size, message->exchange.data, c->vhost);
        return NULL;
    }
    if (x->type == META_HEADERS) {
        broker_fault_set(fault, BROKER_NOT_IMPLEMENTED,
                         "exchange type 'headers'");
        return NULL;
    }
    if (x->is_internal) {
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "cannot publish to internal exchange '%.*s' in "
                         "vhost '%s'",
                         (int)message->exchange.size, message->exchange.data,
                         c->vhost);
        return NULL;
    }
    return x;
}

void
broker_publish(struct broker_publisher *publisher,
               const struct broker_message *message, uint64_t tag,
               size_t *routed, struct broker_fault *fault)
{
    struct publisher_impl *p = publisher->impl;
    const struct meta_exchange *x;
    struct slot *slot;
    uint64_t number;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    fault->kind = BROKER_OK;
    if (message->body_size > BROKER_MESSAGE_SIZE_MAX) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "message size %zu is larger than configured max "
                         "size %d",
                         message->body_size, (int)BROKER_MESSAGE_SIZE_MAX);
        return;
    }
    x = find_exchange(p->broker, publisher->connection, message, fault);
    if (x == NULL) {
        return;
    }
    meta_route(p->broker->meta, x, message->key.data, message->key.size,
               &p->route);
    number = p->slot_first + p->slots.count;
    slot = ring_push_back(&p->slots);
    slot->tag = tag;
    slot->size = (uint32_t)message->body_size;
    slot->missing = (uint32_t)p->route.count;
    slot->is_told = false;
    p->bytes += p->route.count > 0 ? slot->size : 0;
    for (size_t i = 0; i < p->route.count; i++) {
        queue_client_enqueue(queue_client_get(p->broker, p->route.queues[i]),
                             message, p, number);
    }
    *routed = p->route.count;
    if (p->route.count == 0) {
        mark_dirty(p);
        if (tag != 0 && number != p->slot_first) {
            *(uint64_t *)ring_push_back(&p->early) = number;
        }
    }
    if (!p->is_congested && is_above(p, BROKER_PUBLISHER_BYTES_MAX,
                                     BROKER_PUBLISHER_MESSAGES_MAX)) {
        p->is_congested = true;
        publisher->on_congestion(publisher, true);
    }
}

struct publisher_impl *
publisher_of_dirty(struct list *link)
{
    return list_entry(link, struct publisher_impl, dirty);
}
