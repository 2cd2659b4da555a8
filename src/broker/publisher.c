/* Publishing: route by this shard's copy of the metadata, give the message to
 * the client of each queue, and tell the front end when all have it.
 *
 * Each message of a publisher has a slot, in order. A slot is done when every
 * queue that the message went to has it on a majority; messages that went to
 * several queues count down. Confirms leave once a turn: the finished prefix
 * as one "multiple", those that finished ahead of it one by one, so that one
 * slow queue does not hold up the others.
 *
 * A publisher lives until its last slot is done, whether its channel and its
 * connection still do or not: what waits is counted for the connection, the
 * queue and the shard, so that opening new ones gets nobody more memory. */
#include "broker/publisher.h"

#include <string.h>

#include "base/mem.h"
#include "base/mutation.h"
#include "base/ring.h"
#include "broker/broker_priv.h"
#include "broker/queue_client.h"
#include "broker/queue_events.h"
#include "shard/env.h"

enum {
    PUBLISHER_MAGIC = 0x7075626c
};

struct slot {
    uint64_t tag;     /* 0: no confirm wanted */
    uint64_t size;    /* counted bytes */
    uint32_t missing; /* queues that do not have it yet */
    bool is_told;
};

/* The sum of a connection's publishers. */
struct publishing {
    size_t refs; /* the connection, and each publisher */
    uint64_t bytes;
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
    struct publishing *sum;
    struct list congested;  /* broker.congested, or self-linked */
    qr_group_id full_queue; /* that congests it; 0: none */
};

static struct slot *
slot_at(struct publisher_impl *p, uint64_t number)
{
    ASSERT(number >= p->slot_first);
    return ring_at(&p->slots, (size_t)(number - p->slot_first));
}

static void
sum_unref(struct publishing **sum)
{
    struct publishing *s = *sum;

    *sum = NULL;
    ASSERT(s->refs > 0);
    s->refs--;
    if (s->refs == 0) {
        mem_free(s);
    }
}

/* SIZE bytes are waiting no more. */
static void
discharge(struct publisher_impl *p, uint64_t size)
{
    ASSERT(p->bytes >= size);
    ASSERT(p->sum->bytes >= size);
    ASSERT(p->broker->publishing_bytes >= size);
    p->bytes -= size;
    p->sum->bytes -= size;
    p->broker->publishing_bytes -= size;
    p->broker->is_easing = true;
}

static void
charge(struct publisher_impl *p, uint64_t size)
{
    p->bytes += size;
    p->sum->bytes += size;
    p->broker->publishing_bytes += size;
}

static void
impl_free(struct publisher_impl *p)
{
    discharge(p, p->bytes); /* at shutdown: what was lost */
    sum_unref(&p->sum);
    list_remove(&p->dirty);
    list_remove(&p->congested);
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

/* Whether one of the bounds divided by PART is exceeded. */
static bool
is_above(const struct publisher_impl *p, uint64_t part)
{
    struct queue_client *q =
        p->full_queue == 0 ? NULL : map_get(&p->broker->clients, p->full_queue);

    return p->bytes > BROKER_PUBLISHER_BYTES_MAX / part ||
           p->slots.count > BROKER_PUBLISHER_MESSAGES_MAX / part ||
           p->sum->bytes > BROKER_CONNECTION_BYTES_MAX / part ||
           p->broker->publishing_bytes > BROKER_SHARD_BYTES_MAX / part ||
           (q != NULL &&
            queue_client_backlog(q) > BROKER_QUEUE_BYTES_MAX / part);
}

/* Hold P up if it has too much under way. */
static void
congest(struct publisher_impl *p)
{
    if (!list_is_linked(&p->congested) && is_above(p, 1)) {
        list_push_back(&p->broker->congested, &p->congested);
        p->publisher->on_congestion(p->publisher, true);
    }
}

void
publishers_ease(struct broker *b)
{
    size_t left = PUBLISHERS_EASED_MAX;
    const struct list *kept = NULL; /* first that was put behind the others */
    struct list *it;
    struct list *next;

    if (!b->is_easing) {
        return;
    }
    b->is_easing = false;
    list_foreach_safe (it, next, &b->congested) {
        struct publisher_impl *p =
            list_entry(it, struct publisher_impl, congested);

        if (it == kept) {
            return;
        }
        if (left-- == 0) {
            /* The others' turn is the next. */
            b->is_easing = true;
            b->env->ops->wake(b->env);
            return;
        }
        list_remove(it);
        if (is_above(p, 2)) {
            list_push_back(&b->congested, it);
            kept = kept == NULL ? it : kept;
            continue;
        }
        p->full_queue = 0;
        p->publisher->on_congestion(p->publisher, false);
    }
}

void
publishers_leave(struct broker_connection *c)
{
    if (c->publishing != NULL) {
        sum_unref(&c->publishing);
    }
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
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    list_remove(&p->dirty);
    tell(p);
    if (p->publisher == NULL && p->slots.count == 0) {
        impl_free(p);
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
    if (slot->missing > 0 && !MUTATION(confirm_first)) {
        return;
    }
    discharge(p, slot->size);
    slot->size = 0;
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
    list_remove(&p->congested);
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
    list_init(&p->congested);
    meta_route_init(&p->route);
    if (publisher->connection->publishing == NULL) {
        publisher->connection->publishing =
            mem_zalloc(1, sizeof(struct publishing));
        publisher->connection->publishing->refs = 1;
    }
    p->sum = publisher->connection->publishing;
    p->sum->refs++;
    publisher->impl = p;
    congest(p);
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
    list_remove(&p->congested);
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

/* Where MESSAGE goes from X. */
static bool
route(struct publisher_impl *p, const struct meta_exchange *x,
      const struct broker_message *message, struct broker_fault *fault)
{
    int rv = meta_route(p->broker->meta, x, message->key.data,
                        message->key.size, &p->route);

    p->publisher->route_steps = p->route.steps;
    if (rv != 0) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "routing key '%.*s' would take more than %d steps "
                         "from exchange '%.*s' to its queues: use fewer "
                         "bindings that match it, or fewer '#' in their keys",
                         (int)message->key.size, message->key.data,
                         (int)META_ROUTE_STEPS_MAX, (int)x->name.size,
                         x->name.data);
        return false;
    }
    return true;
}

/* Whether MESSAGE may be held in memory for each queue of P's route. */
static bool
check_size(const struct publisher_impl *p, const struct broker_message *message,
           struct broker_fault *fault)
{
    if (message->body_size > BROKER_MESSAGE_SIZE_MAX) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "message size %zu is larger than configured max "
                         "size %d",
                         message->body_size, (int)BROKER_MESSAGE_SIZE_MAX);
        return false;
    }
    if (p->route.count > 1 &&
        message->body_size > BROKER_FANOUT_BYTES_MAX / p->route.count) {
        broker_fault_set(fault, BROKER_PRECONDITION,
                         "message of %zu bytes for %zu queues: together at "
                         "most %d bytes are allowed",
                         message->body_size, p->route.count,
                         (int)BROKER_FANOUT_BYTES_MAX);
        return false;
    }
    return true;
}

/* Give MESSAGE to the queues of P's route. */
static void
send(struct publisher_impl *p, const struct broker_message *message,
     uint64_t tag)
{
    uint64_t number = p->slot_first + p->slots.count;
    struct slot *slot = ring_push_back(&p->slots);

    slot->tag = tag;
    slot->size = p->route.count * (uint64_t)(stored_message_size(message) +
                                             BROKER_MESSAGE_OVERHEAD);
    slot->missing = (uint32_t)p->route.count;
    slot->is_told = false;
    charge(p, slot->size);
    for (size_t i = 0; i < p->route.count; i++) {
        struct queue_client *q =
            queue_client_get(p->broker, p->route.queues[i]);

        queue_client_enqueue(q, message, p, number);
        if (queue_client_backlog(q) > BROKER_QUEUE_BYTES_MAX) {
            p->full_queue = queue_client_group(q);
        }
    }
    if (p->route.count == 0) {
        mark_dirty(p);
        if (tag != 0 && number != p->slot_first) {
            *(uint64_t *)ring_push_back(&p->early) = number;
        }
    }
}

void
broker_publish(struct broker_publisher *publisher,
               const struct broker_message *message, uint64_t tag,
               size_t *routed, struct broker_fault *fault)
{
    struct publisher_impl *p = publisher->impl;
    const struct meta_exchange *x;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    fault->kind = BROKER_OK;
    publisher->route_steps = 0;
    x = find_exchange(p->broker, publisher->connection, message, fault);
    if (x == NULL) {
        return;
    }
    if (!route(p, x, message, fault) || !check_size(p, message, fault)) {
        return;
    }
    send(p, message, tag);
    *routed = p->route.count;
    congest(p);
}

struct publisher_impl *
publisher_of_dirty(struct list *link)
{
    return list_entry(link, struct publisher_impl, dirty);
}
