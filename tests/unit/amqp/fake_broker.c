/* See fake_broker.h. Simple rather than quick: lists everywhere. Publishing is
 * in fake_publish.c. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fake_broker_priv.h"

struct broker *
fake_broker_new(void)
{
    struct broker *b = mem_zalloc(1, sizeof(*b));

    list_init(&b->queues);
    list_init(&b->exchanges);
    list_init(&b->bindings);
    list_init(&b->consumers);
    list_init(&b->publishers);
    list_init(&b->confirms);
    list_init(&b->calls);
    list_init(&b->connections);
    return b;
}

static void
fake_message_free(struct message *m)
{
    list_remove(&m->link);
    slice_unref(&m->properties);
    slice_unref(&m->body);
    mem_free(m);
}

static void
fake_messages_free(struct list *list)
{
    while (!list_is_empty(list)) {
        fake_message_free(list_entry(list->next, struct message, link));
    }
}

static void
fake_entries_free(struct list *list)
{
    struct list *entry = NULL;

    while ((entry = list_pop_front(list)) != NULL) {
        /* `link` comes first in all of them. */
        mem_free(entry);
    }
}

void
fake_broker_free(struct broker **broker)
{
    struct broker *b = *broker;
    struct list *it = NULL;

    list_foreach (it, &b->queues) {
        fake_messages_free(&list_entry(it, struct queue, link)->ready);
    }
    list_foreach (it, &b->consumers) {
        fake_messages_free(&list_entry(it, struct consumer, link)->unsettled);
    }
    fake_entries_free(&b->queues);
    fake_entries_free(&b->exchanges);
    fake_entries_free(&b->bindings);
    fake_entries_free(&b->consumers);
    fake_entries_free(&b->publishers);
    fake_entries_free(&b->confirms);
    fake_entries_free(&b->calls);
    mem_free(b);
    *broker = NULL;
}

struct fake_stats *
fake_broker_stats(struct broker *b)
{
    return &b->stats;
}

struct fake_control *
fake_broker_control(struct broker *b)
{
    return &b->control;
}

void
fake_keep(char *out, struct meta_text text)
{
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

bool
fake_is_text(const char *s, struct meta_text text)
{
    return strlen(s) == text.size && memcmp(s, text.data, text.size) == 0;
}

struct queue *
fake_queue_find(struct broker *b, struct meta_text name)
{
    struct list *it = NULL;

    list_foreach (it, &b->queues) {
        struct queue *q = list_entry(it, struct queue, link);

        if (fake_is_text(q->name, name)) {
            return q;
        }
    }
    return NULL;
}

static struct queue *
fake_queue_make(struct broker *b, struct meta_text name)
{
    struct queue *q = fake_queue_find(b, name);

    if (q == NULL) {
        q = mem_zalloc(1, sizeof(*q));
        fake_keep(q->name, name);
        list_init(&q->ready);
        list_push_back(&b->queues, &q->link);
    }
    return q;
}

struct meta_text
fake_text_of(const char *s)
{
    return (struct meta_text){s, strlen(s)};
}

static size_t
fake_list_size(const struct list *list)
{
    const struct list *it = NULL;
    size_t count = 0;

    list_foreach (it, list) {
        count++;
    }
    return count;
}

size_t
fake_broker_ready(struct broker *b, const char *queue)
{
    struct queue *q = fake_queue_find(b, fake_text_of(queue));

    return q != NULL ? fake_list_size(&q->ready) : 0;
}

const struct slice *
fake_broker_first_body(struct broker *b, const char *queue)
{
    struct queue *q = fake_queue_find(b, fake_text_of(queue));

    return &list_entry(q->ready.next, struct message, link)->body;
}

static struct call *
fake_call_new(struct broker *b, struct broker_call *outer)
{
    struct call *call = mem_zalloc(1, sizeof(*call));

    call->b = b;
    call->outer = outer;
    outer->impl = call;
    list_push_back(&b->calls, &call->link);
    b->stats.calls++;
    return call;
}

void
broker_call_abandon(struct broker_call *outer)
{
    struct call *call = outer->impl;

    if (call != NULL) {
        list_remove(&call->link);
        call->b->stats.calls--;
        outer->impl = NULL;
        mem_free(call);
    }
}

static void
fault(struct call *call, enum broker_fault_kind kind, const char *fmt,
      const char *a)
{
    call->reply.fault.kind = kind;
    /* One %s at most. */
    (void)snprintf(call->reply.fault.text, sizeof(call->reply.fault.text),
                   "%.*s%s%s", (int)strcspn(fmt, "%"), fmt, a,
                   strchr(fmt, '%') != NULL ? strchr(fmt, '%') + 2 : "");
}

static void
fault_no_queue(struct call *call, struct meta_text name)
{
    char text[256];

    fake_keep(text, name);
    fault(call, BROKER_NOT_FOUND, "no queue '%s' in vhost '/'", text);
}

static struct queue *
fake_queue_need(struct broker *b, struct call *call, struct meta_text name)
{
    struct queue *q = fake_queue_find(b, name);

    if (q == NULL) {
        fault_no_queue(call, name);
    }
    return q;
}

void
broker_authenticate(struct broker *b, struct meta_text user,
                    struct meta_text password, const struct broker_origin *from,
                    struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);

    b->stats.last_is_loopback = from->is_loopback;
    if (!fake_is_text("guest", user) || !fake_is_text("guest", password)) {
        fault(call, BROKER_ACCESS_REFUSED, "invalid credentials", "");
    }
}

void
broker_authenticate_external(struct broker *b, struct meta_text user,
                             const struct broker_origin *from,
                             struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);

    b->stats.last_is_loopback = from->is_loopback;
    b->stats.externals++;
    if (!fake_is_text("CN=app", user)) {
        fault(call, BROKER_ACCESS_REFUSED, "no such user", "");
    }
}

void
broker_connection_open(struct broker *b, struct broker_connection *c,
                       struct broker_fault *f)
{
    if (strcmp(c->vhost, "/") != 0) {
        f->kind = BROKER_NOT_ALLOWED;
        (void)snprintf(f->text, sizeof(f->text), "vhost %.200s not found",
                       c->vhost);
        return;
    }
    f->kind = BROKER_OK;
    c->id = ++b->connection_id;
    list_push_back(&b->connections, &c->link);
    b->stats.connections++;
}

void
broker_connection_closed(struct broker *b, struct broker_connection *c)
{
    list_remove(&c->link);
    b->stats.connections--;
}

struct exchange *
fake_exchange_find(struct broker *b, struct meta_text name)
{
    struct list *it = NULL;

    list_foreach (it, &b->exchanges) {
        struct exchange *e = list_entry(it, struct exchange, link);

        if (fake_is_text(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

void
broker_exchange_declare(struct broker *b, struct broker_connection *c,
                        const struct broker_exchange_spec *spec,
                        struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);
    struct exchange *e = fake_exchange_find(b, spec->name);
    char name[256];

    (void)c;
    fake_keep(name, spec->name);
    fake_keep(b->stats.last_exchange_type, spec->type);
    b->stats.last_arguments_size = spec->arguments.size;
    if (spec->is_passive && e == NULL) {
        fault(call, BROKER_NOT_FOUND, "no exchange '%s' in vhost '/'", name);
    } else if (fake_is_text("odd", spec->type)) {
        fault(call, BROKER_INVALID, "unknown exchange type '%s'", "odd");
    } else if (e == NULL) {
        e = mem_zalloc(1, sizeof(*e));
        fake_keep(e->name, spec->name);
        list_push_back(&b->exchanges, &e->link);
    }
}

void
broker_exchange_delete(struct broker *b, struct broker_connection *c,
                       struct meta_text name, bool if_unused,
                       struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);
    struct exchange *e = fake_exchange_find(b, name);

    (void)c;
    (void)call;
    b->stats.last_if_unused = if_unused;
    if (e != NULL) {
        list_remove(&e->link);
        mem_free(e);
    }
}

static void
queue_count_consumers(struct broker *b, const struct queue *q,
                      struct broker_reply *reply)
{
    struct list *it = NULL;

    reply->messages = fake_list_size(&q->ready);
    list_foreach (it, &b->consumers) {
        const struct consumer *c = list_entry(it, struct consumer, link);

        reply->consumers += c->queue == q && !c->is_get ? 1 : 0;
    }
}

void
broker_queue_declare(struct broker *b, struct broker_connection *c,
                     const struct broker_queue_spec *spec,
                     struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);
    struct queue *q = NULL;

    (void)c;
    fake_keep(call->name, spec->name);
    b->stats.last_arguments_size = spec->arguments.size;
    b->stats.last_is_exclusive = spec->is_exclusive;
    if (spec->name.size == 0) {
        (void)snprintf(call->name, sizeof(call->name), "amq.gen-%llu",
                       (unsigned long long)++b->generated);
    }
    if (spec->is_passive && fake_queue_find(b, spec->name) == NULL) {
        fault_no_queue(call, spec->name);
        return;
    }
    q = fake_queue_make(b, fake_text_of(call->name));
    call->reply.queue = fake_text_of(call->name);
    queue_count_consumers(b, q, &call->reply);
}

/* GIVEN_UP: they are told that, not that the queue is gone. */
static void
queue_drop_consumers(struct broker *b, struct queue *q, bool given_up)
{
    struct list *it = NULL;
    struct list *next = NULL;

    list_foreach_safe (it, next, &b->consumers) {
        struct consumer *c = list_entry(it, struct consumer, link);

        if (c->queue == q) {
            struct broker_consumer *outer = c->outer;

            list_remove(&c->link);
            fake_messages_free(&c->unsettled);
            outer->impl = NULL;
            b->stats.consumers--;
            mem_free(c);
            if (given_up && outer->on_given_up != NULL) {
                outer->on_given_up(outer);
            } else {
                outer->on_cancelled(outer);
            }
        }
    }
}

static void
queue_delete(struct broker *b, struct queue *q)
{
    queue_drop_consumers(b, q, false);
    list_remove(&q->link);
    fake_messages_free(&q->ready);
    mem_free(q);
}

void
fake_broker_drop(struct broker *b, const char *queue)
{
    struct queue *q = fake_queue_find(b, fake_text_of(queue));

    if (q != NULL) {
        queue_delete(b, q);
    }
}

void
fake_broker_give_up(struct broker *b, const char *queue)
{
    queue_drop_consumers(b, fake_queue_find(b, fake_text_of(queue)), true);
}

void
broker_queue_delete(struct broker *b, struct broker_connection *c,
                    struct meta_text name, bool if_unused, bool if_empty,
                    struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);
    struct queue *q = fake_queue_find(b, name);

    (void)c;
    b->stats.last_if_unused = if_unused;
    b->stats.last_if_empty = if_empty;
    if (q != NULL) {
        call->reply.messages = fake_list_size(&q->ready);
        queue_delete(b, q);
    }
}

void
broker_queue_purge(struct broker *b, struct broker_connection *c,
                   struct meta_text name, struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);
    struct queue *q = fake_queue_need(b, call, name);

    (void)c;
    if (q != NULL) {
        call->reply.messages = fake_list_size(&q->ready);
        fake_messages_free(&q->ready);
    }
}

static void
binding_keep(struct broker *b, const struct broker_binding_spec *spec)
{
    b->stats.last_binding = *spec;
    fake_keep(b->stats.last_key, spec->key);
    fake_keep(b->stats.last_destination, spec->destination);
    b->stats.last_arguments_size = spec->arguments.size;
}

void
broker_bind(struct broker *b, struct broker_connection *c,
            const struct broker_binding_spec *spec, struct broker_call *outer)
{
    struct call *call = fake_call_new(b, outer);
    struct binding *binding = NULL;

    (void)c;
    binding_keep(b, spec);
    if (!spec->to_exchange &&
        fake_queue_need(b, call, spec->destination) == NULL) {
        return;
    }
    binding = mem_zalloc(1, sizeof(*binding));
    fake_keep(binding->source, spec->source);
    fake_keep(binding->destination, spec->destination);
    list_push_back(&b->bindings, &binding->link);
}

void
broker_unbind(struct broker *b, struct broker_connection *c,
              const struct broker_binding_spec *spec, struct broker_call *outer)
{
    (void)c;
    (void)fake_call_new(b, outer);
    binding_keep(b, spec);
    fake_entries_free(&b->bindings);
}

static struct consumer *
consumer_new(struct broker *b, struct broker_consumer *outer, struct queue *q)
{
    struct consumer *c = mem_zalloc(1, sizeof(*c));

    c->b = b;
    c->outer = outer;
    c->queue = q;
    c->next_id = 1;
    list_init(&c->unsettled);
    outer->impl = c;
    list_push_back(&b->consumers, &c->link);
    b->stats.consumers++;
    return c;
}

void
broker_consume(struct broker *b, struct broker_connection *connection,
               const struct broker_consume_spec *spec,
               struct broker_consumer *outer, struct broker_call *call_outer)
{
    struct call *call = fake_call_new(b, call_outer);
    struct queue *q = fake_queue_need(b, call, spec->queue);
    struct consumer *c = NULL;

    (void)connection;
    b->stats.last_prefetch = spec->prefetch;
    b->stats.last_is_exclusive = spec->is_exclusive;
    if (q != NULL) {
        c = consumer_new(b, outer, q);
        c->prefetch =
            spec->prefetch > 0 ? spec->prefetch : BROKER_PREFETCH_DEFAULT;
        call->activate = c;
    }
}

void
broker_consumer_credit(struct broker_consumer *outer, uint32_t limit)
{
    struct consumer *c = outer->impl;

    ASSERT(limit > 0);
    c->prefetch = limit;
    c->b->stats.credits++;
    c->b->stats.last_credit = limit;
}

void
broker_consumer_cancel(struct broker_consumer *outer,
                       struct broker_call *call_outer)
{
    struct consumer *c = outer->impl;

    (void)fake_call_new(c->b, call_outer);
    c->is_active = false;
}

/* Oldest last in, so that they come back in their order. */
static void
consumer_return(struct consumer *c, struct message *m)
{
    list_remove(&m->link);
    m->deliveries++;
    list_push_front(&c->queue->ready, &m->link);
}

void
broker_consumer_detach(struct broker_consumer *outer)
{
    struct consumer *c = outer->impl;
    struct list *it = NULL;

    while (!list_is_empty(&c->unsettled)) {
        consumer_return(c, list_entry(c->unsettled.prev, struct message, link));
    }
    list_foreach (it, &c->b->calls) {
        struct call *call = list_entry(it, struct call, link);

        call->activate = call->activate == c ? NULL : call->activate;
        call->get = call->get == c ? NULL : call->get;
    }
    c->b->stats.consumers--;
    list_remove(&c->link);
    outer->impl = NULL;
    mem_free(c);
}

bool
broker_consumer_is_attached(const struct broker_consumer *outer)
{
    return outer->impl != NULL;
}

void
broker_settle(struct broker_consumer *outer, uint64_t first, uint64_t last,
              enum broker_outcome outcome)
{
    struct consumer *c = outer->impl;
    struct list *it = NULL;

    c->b->stats.settled_runs++;
    for (it = c->unsettled.prev; it != &c->unsettled;) {
        struct message *m = list_entry(it, struct message, link);

        it = it->prev;
        if (m->id < first || m->id > last) {
            continue;
        }
        c->held--;
        if (outcome == BROKER_REQUEUE) {
            consumer_return(c, m);
            c->b->stats.requeued++;
        } else {
            *(outcome == BROKER_ACK ? &c->b->stats.acked
                                    : &c->b->stats.discarded) += 1;
            fake_message_free(m);
        }
    }
}

void
broker_get(struct broker *b, struct broker_connection *connection,
           struct meta_text queue, struct broker_consumer *outer,
           struct broker_call *call_outer)
{
    struct call *call = fake_call_new(b, call_outer);
    struct queue *q = fake_queue_need(b, call, queue);

    (void)connection;
    if (q == NULL) {
        return;
    }
    if (outer->impl == NULL) {
        consumer_new(b, outer, q)->is_get = true;
    }
    call->get = outer->impl;
}

static struct broker_delivery
consumer_take(struct consumer *c, struct message *m)
{
    list_remove(&m->link);
    list_push_back(&c->unsettled, &m->link);
    m->id = c->next_id++;
    c->held++;
    return (struct broker_delivery){
        .id = m->id,
        .is_redelivered = m->deliveries > 0,
        .delivery_count = m->deliveries,
        .exchange = fake_text_of(m->exchange),
        .key = fake_text_of(m->key),
        .properties = m->properties,
        .body = m->body,
    };
}

static void
run_call(struct broker *b, struct call *call)
{
    struct broker_call *outer = call->outer;
    struct broker_delivery delivery;

    list_remove(&call->link);
    b->stats.calls--;
    outer->impl = NULL;
    if (call->activate != NULL) {
        call->activate->is_active = true;
    }
    if (call->get != NULL && !list_is_empty(&call->get->queue->ready)) {
        struct queue *q = call->get->queue;

        delivery = consumer_take(
            call->get, list_entry(q->ready.next, struct message, link));
        call->reply.delivery = &delivery;
        call->reply.messages = fake_list_size(&q->ready);
    }
    outer->done(outer, &call->reply);
    mem_free(call);
}

static bool
run_deliveries(struct broker *b)
{
    struct list *it = NULL;

    list_foreach (it, &b->consumers) {
        struct consumer *c = list_entry(it, struct consumer, link);
        struct broker_delivery d;

        if (c->is_active && c->held < c->prefetch &&
            !list_is_empty(&c->queue->ready)) {
            d = consumer_take(
                c, list_entry(c->queue->ready.next, struct message, link));
            c->outer->on_deliver(c->outer, &d);
            return true;
        }
    }
    return false;
}

static bool
run_confirm(struct broker *b)
{
    struct list *entry = NULL;
    struct confirm *c = NULL;

    if (b->control.hold_confirms) {
        return false;
    }
    entry = list_pop_front(&b->confirms);
    if (entry == NULL) {
        return false;
    }
    c = list_entry(entry, struct confirm, link);
    c->publisher->outer->on_confirm(c->publisher->outer, c->tag, false,
                                    c->is_ok);
    mem_free(c);
    return true;
}

void
fake_broker_run(struct broker *b)
{
    for (;;) {
        if (!b->control.hold_calls && !list_is_empty(&b->calls)) {
            run_call(b, list_entry(b->calls.next, struct call, link));
        } else if (!run_confirm(b) && !run_deliveries(b)) {
            return;
        }
    }
}

void
fake_broker_fill(struct broker *b, const char *queue, size_t count, size_t size)
{
    static const uint8_t no_properties[2];
    struct queue *q = fake_queue_make(b, fake_text_of(queue));
    struct slice body = slice_of_block(block_new(size));
    struct broker_message m = {
        .exchange = fake_text_of(""),
        .key = fake_text_of(queue),
        .properties = slice_borrow(no_properties, sizeof(no_properties)),
        .body = &body,
        .body_count = 1,
        .body_size = size,
    };

    for (size_t i = 0; i < size; i++) {
        body.block->data[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < count; i++) {
        fake_queue_put(q, &m);
    }
    slice_unref(&body);
}

const char *
broker_cluster_name(const struct broker *b)
{
    (void)b;
    return "fake";
}
