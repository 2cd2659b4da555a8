/* Where a message goes.
 *
 * Each route has a number. A queue or an exchange that it reaches is stamped
 * with it, so that it counts once however many bindings lead there; exchanges
 * wait on a list that runs through their records. So cycles end, a route costs
 * what it touches, and nothing is allocated but room for the result. What it
 * may touch is bounded: whoever may bind could otherwise make one message cost
 * seconds. */
#include <quorate/error.h>

#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_state.h"

enum {
    META_ROUTE_MIN = 16
};

/* A route on its way. */
struct meta_walk {
    uint64_t stamp;
    struct meta_exchange_record *last; /* of those that wait */
    struct meta_route *out;
    size_t left; /* steps that it may still take */
    bool is_over;
};

void
meta_route_init(struct meta_route *r)
{
    ASSERT(r != NULL);
    memset(r, 0, sizeof(*r));
}

void
meta_route_deinit(struct meta_route *r)
{
    mem_free(r->queues);
    memset(r, 0, sizeof(*r));
}

static void
meta_walk_queue(struct meta_walk *walk, struct meta_queue_record *queue)
{
    struct meta_route *r = walk->out;

    ASSERT(queue->magic == META_QUEUE_MAGIC);
    ASSERT(queue->end.route <= walk->stamp);
    if (queue->end.route == walk->stamp) {
        return;
    }
    queue->end.route = walk->stamp;
    if (UNLIKELY(r->count == r->capacity)) {
        r->capacity = MAX((size_t)META_ROUTE_MIN, r->capacity * 2);
        r->queues =
            mem_realloc(r->queues, r->capacity * sizeof(struct meta_queue *));
    }
    r->queues[r->count++] = &queue->pub;
}

static void
meta_walk_exchange(struct meta_walk *walk,
                   struct meta_exchange_record *exchange)
{
    ASSERT(exchange->magic == META_EXCHANGE_MAGIC);
    ASSERT(exchange->end.route <= walk->stamp);
    if (exchange->end.route == walk->stamp) {
        return;
    }
    exchange->end.route = walk->stamp;
    exchange->route_next = NULL;
    if (walk->last != NULL) {
        walk->last->route_next = exchange;
    }
    walk->last = exchange;
}

/* A binding matches. */
static void
meta_walk_entry(void *arg, struct route_entry *entry)
{
    struct meta_walk *walk = arg;
    struct meta_binding_record *binding =
        CONTAINER_OF(entry, struct meta_binding_record, entry);

    ASSERT(binding->magic == META_BINDING_MAGIC);
    if (walk->left == 0) {
        walk->is_over = true;
        return;
    }
    walk->left--;
    if (binding->queue != NULL) {
        meta_walk_queue(walk, binding->queue);
    } else {
        meta_walk_exchange(walk, binding->exchange);
    }
}

static void
meta_walk_from(struct meta_walk *walk, struct meta_exchange_record *from,
               struct meta_text key)
{
    struct meta_queue_record *queue = NULL;

    if (from->pub.name.size == 0) {
        queue = meta_queue_get(from->vhost, key);
        if (queue != NULL) {
            meta_walk_queue(walk, queue);
        }
        return;
    }
    switch (from->pub.type) {
    case META_DIRECT:
        direct_match(&from->direct, key.data, key.size, meta_walk_entry, walk);
        return;
    case META_FANOUT:
        fanout_match(&from->fanout, meta_walk_entry, walk);
        return;
    case META_TOPIC:
        if (topic_match(&from->topic, key.data, key.size, &walk->left,
                        meta_walk_entry, walk) != 0) {
            walk->is_over = true;
        }
        return;
    case META_HEADERS:
        return; /* stored and listed; routing comes later */
    }
    UNREACHABLE("an exchange of no type");
}

int
meta_route(struct meta_machine *m, const struct meta_exchange *exchange,
           const char *key, size_t key_size, struct meta_route *r)
{
    struct meta_walk walk = {.out = r, .left = META_ROUTE_STEPS_MAX};
    struct meta_exchange_record *from = meta_exchange_of(exchange);

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    ASSERT(key_size <= QR_NAME_SIZE_MAX);
    r->count = 0;
    walk.stamp = ++m->route;
    meta_walk_exchange(&walk, from);
    for (; from != NULL && !walk.is_over; from = from->route_next) {
        meta_walk_from(&walk, from, meta_text(key, key_size));
    }
    r->steps = META_ROUTE_STEPS_MAX - walk.left;
    if (walk.is_over) {
        r->count = 0;
        return -QR_EBUSY;
    }
    return 0;
}
