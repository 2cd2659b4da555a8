/* Declaring and deleting queues: RabbitMQ's checks, in its order and with its
 * texts, around commands of the metadata machine. A declaration is one command
 * that names the queue's members; their nodes start replicas when they apply
 * it. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "broker/arguments.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/names.h"
#include "broker/placement.h"
#include "broker/queue_client.h"
#include "machine/meta/meta_command.h"
#include "shard/env.h"

enum {
    QUEUE_DURABLE = 1,
    QUEUE_AUTO_DELETE = 2,
    QUEUE_IS_EXCLUSIVE = 4,
    DELETE_IF_UNUSED = 8,
    DELETE_IF_EMPTY = 16
};

/* Arguments whose effect is not there yet: refused by name rather than
 * accepted in silence. */
static const char *const arguments_to_come[] = {
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-consumer-timeout",
};

bool
broker_may_use(const struct broker *b, const struct broker_connection *c,
               const struct meta_queue *queue, struct broker_fault *fault)
{
    if (queue->owner.node == 0 || (queue->owner.node == b->env->node &&
                                   queue->owner.boot == b->env->boot &&
                                   queue->owner.connection == c->id)) {
        return true;
    }
    broker_fault_set(fault, BROKER_LOCKED,
                     "cannot obtain exclusive access to locked queue '%.*s' "
                     "in vhost '%.*s'. It could be originally declared on "
                     "another connection or the exclusive property value does "
                     "not match that of the original declaration.",
                     (int)queue->name.size, queue->name.data,
                     (int)queue->vhost.size, queue->vhost.data);
    return false;
}

struct meta_queue *
broker_find_queue(struct broker *b, const struct broker_connection *c,
                  struct meta_text name, struct broker_fault *fault)
{
    const struct meta_vhost *vhost =
        meta_vhost(b->meta, c->vhost, strlen(c->vhost));
    struct meta_queue *queue =
        vhost == NULL ? NULL : meta_queue(b->meta, vhost, name.data, name.size);

    if (queue == NULL) {
        broker_fault_set(fault, BROKER_NOT_FOUND,
                         "no queue '%.*s' in vhost '%s'", (int)name.size,
                         name.data, c->vhost);
        return NULL;
    }
    return broker_may_use(b, c, queue, fault) ? queue : NULL;
}

/* ---- declare ---- */

static struct meta_queue *
request_queue(const struct meta_request *r)
{
    const struct meta_vhost *vhost =
        meta_vhost(r->broker->meta, r->vhost, r->vhost_size);

    return vhost == NULL
               ? NULL
               : meta_queue(r->broker->meta, vhost, r->name, r->name_size);
}

static void
differs(struct broker_fault *fault, const struct meta_request *r,
        const char *what, bool received)
{
    broker_fault_set(fault, BROKER_PRECONDITION,
                     "inequivalent arg '%s' for queue '%s' in vhost '%s': "
                     "received '%s' but current is '%s'",
                     what, r->name, r->vhost, received ? "true" : "false",
                     received ? "false" : "true");
}

/* May this request's connection use QUEUE, and is it what it declared? */
static void
compare(const struct meta_request *r, const struct meta_queue *queue,
        bool is_passive, struct broker_fault *fault)
{
    bool is_durable = (r->flags & QUEUE_DURABLE) != 0;
    bool is_auto_delete = (r->flags & QUEUE_AUTO_DELETE) != 0;
    bool is_exclusive = (r->flags & QUEUE_IS_EXCLUSIVE) != 0;
    struct meta_text received = {.data = (const char *)r->spec.data,
                                 .size = r->spec.size};

    if (r->connection == NULL ||
        !broker_may_use(r->broker, r->connection, queue, fault) || is_passive) {
        return;
    }
    if (is_exclusive && queue->owner.node == 0) {
        broker_fault_set(fault, BROKER_LOCKED,
                         "cannot obtain exclusive access to locked queue "
                         "'%s' in vhost '%s'. It could be originally declared "
                         "on another connection or the exclusive property "
                         "value does not match that of the original "
                         "declaration.",
                         r->name, r->vhost);
    } else if (is_durable != queue->is_durable) {
        differs(fault, r, "durable", is_durable);
    } else if (is_auto_delete != queue->is_auto_delete) {
        differs(fault, r, "auto_delete", is_auto_delete);
    } else if (!is_exclusive && queue->owner.node != 0) {
        differs(fault, r, "exclusive", is_exclusive);
    } else {
        arguments_compare(received, queue->arguments, r->name, r->vhost, fault);
    }
}

static struct meta_text
request_text(const struct meta_request *r)
{
    struct meta_text t = {.data = r->name, .size = r->name_size};

    return t;
}

/* The queue was there: its counts are part of the answer. */
static void
ask_counts(struct meta_request *r)
{
    struct meta_queue *queue = request_queue(r);

    r->reply.queue = request_text(r);
    if (queue != NULL) { /* else deleted while this waited */
        queue_client_query(queue_client_get(r->broker, queue), &r->call);
    }
}

static void
found(struct meta_request *r, bool is_passive, struct broker_reply *reply)
{
    struct meta_queue *queue = request_queue(r);

    if (queue == NULL) {
        broker_fault_set(&reply->fault, BROKER_NOT_FOUND,
                         "no queue '%s' in vhost '%s'", r->name, r->vhost);
        return;
    }
    compare(r, queue, is_passive, &reply->fault);
    if (reply->fault.kind == BROKER_OK) {
        r->ended = ask_counts;
    }
}

static void
put_declare(struct meta_request *r, const struct broker_queue_spec *spec)
{
    struct broker *b = r->broker;
    struct meta_queue_declare command = {.vhost = request_vhost(r),
                                         .name = request_text(r),
                                         .is_durable = spec->is_durable,
                                         .is_auto_delete = spec->is_auto_delete,
                                         .arguments = spec->arguments,
                                         .stand = b->env->node};

    if (spec->is_exclusive) {
        command.owner.node = b->env->node;
        command.owner.boot = b->env->boot;
        command.owner.connection = r->connection->id;
        command.nodes[0] = b->env->node;
        command.nodes_count = 1;
        r->connection->owns_queues = true;
    } else {
        command.nodes_count = placement_choose(b, command.nodes);
        command.stand = command.nodes[0];
    }
    meta_put_queue_declare(&r->command, b->session, r->number, &command);
}

static void declare_applied(struct meta_request *r,
                            const struct meta_outcome *outcome,
                            struct broker_reply *reply);

/* The queue was there, and is gone before this copy could look at it: declare
 * it, as was asked, with a number of its own. Whoever asked goes on waiting. */
static void
declare_again(struct meta_request *r)
{
    struct broker_queue_spec spec = {
        .is_durable = (r->flags & QUEUE_DURABLE) != 0,
        .is_auto_delete = (r->flags & QUEUE_AUTO_DELETE) != 0,
        .is_exclusive = (r->flags & QUEUE_IS_EXCLUSIVE) != 0,
        .arguments = {.data = (const char *)r->spec.data,
                      .size = r->spec.size}};
    struct meta_request *again;
    struct call_ref *none;

    if (r->connection == NULL) {
        return; /* and nobody waits */
    }
    again = meta_request_new(r->broker, NULL, declare_applied);
    none = again->call;
    again->call = r->call;
    r->call = none;
    request_name(again, r->connection, request_text(r));
    again->flags = r->flags;
    buf_put(&again->spec, r->spec.data, r->spec.size);
    put_declare(again, &spec);
    meta_request_send(again);
}

static void
declare_applied(struct meta_request *r, const struct meta_outcome *outcome,
                struct broker_reply *reply)
{
    if (outcome->status == META_OK) {
        reply->queue = request_text(r);
    } else if (outcome->status == META_EXISTS && request_queue(r) == NULL) {
        r->ended = declare_again;
    } else if (outcome->status == META_EXISTS) {
        found(r, false, reply);
    } else if (outcome->status == META_NOT_FOUND) {
        /* Not the queue is missing, but each node that was to hold it. */
        broker_fault_set(&reply->fault, BROKER_INTERNAL,
                         "queue '%s' in vhost '%s': the nodes chosen for it "
                         "were removed from the cluster; declare it again",
                         r->name, r->vhost);
    } else {
        request_fault(r, outcome, "queue", &reply->fault);
    }
}

static void
passive_applied(struct meta_request *r, const struct meta_outcome *outcome,
                struct broker_reply *reply)
{
    (void)outcome;
    found(r, true, reply);
}

/* "amq.gen-" and 128 random bits as 22 characters of base64url (RFC 4648,
 * section 5), as RabbitMQ names them. */
static size_t
generate_name(struct broker *b, char out[32])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                 "stuvwxyz0123456789-_";
    uint8_t bytes[17] = {0};
    size_t n = 8;

    b->env->ops->random(b->env, bytes, 16);
    memcpy(out, "amq.gen-", n);
    for (size_t bit = 0; bit < 128; bit += 6) {
        unsigned pair = ((unsigned)bytes[bit / 8] << 8) | bytes[bit / 8 + 1];

        out[n++] = digits[(pair >> (10 - bit % 8)) & 63];
    }
    out[n] = '\0';
    return n;
}

/* Every queue is a Raft group, whichever of RabbitMQ's queue types is asked
 * for; a stream would be something else. */
static bool
check_type(const struct broker_queue_spec *spec, struct broker_fault *fault)
{
    struct meta_text type = arguments_text(spec->arguments, "x-queue-type");

    if (!arguments_has(spec->arguments, "x-queue-type") ||
        text_equal(type.data, type.size, "quorum") ||
        text_equal(type.data, type.size, "classic")) {
        return true;
    }
    broker_fault_set(fault, BROKER_NOT_IMPLEMENTED, "queue type '%.*s'",
                     (int)MIN(type.size, 64), type.data);
    return false;
}

static bool
check_declare(struct broker *b, const struct broker_connection *c,
              const struct broker_queue_spec *spec, struct broker_fault *fault)
{
    if (spec->is_passive) {
        return true;
    }
    if (name_is_reserved(spec->name)) {
        broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                         "queue name '%.*s' contains reserved prefix 'amq.*'",
                         (int)spec->name.size, spec->name.data);
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(arguments_to_come); i++) {
        if (arguments_has(spec->arguments, arguments_to_come[i])) {
            broker_fault_set(fault, BROKER_NOT_IMPLEMENTED,
                             "queue argument '%s'", arguments_to_come[i]);
            return false;
        }
    }
    if (!check_type(spec, fault)) {
        return false;
    }
    return spec->name.size == 0 ||
           broker_is_allowed(b, c, ACCESS_CONFIGURE, "queue", spec->name,
                             fault);
}

void
broker_queue_declare(struct broker *b, struct broker_connection *c,
                     const struct broker_queue_spec *spec,
                     struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_text name = spec->name;
    struct meta_request *r;
    char generated[32];

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!check_declare(b, c, spec, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    if (name.size == 0 && !spec->is_passive) {
        name.size = generate_name(b, generated);
        name.data = generated;
    }
    r = meta_request_new(b, call,
                         spec->is_passive ? passive_applied : declare_applied);
    request_name(r, c, name);
    r->flags = (spec->is_durable ? QUEUE_DURABLE : 0U) |
               (spec->is_auto_delete ? QUEUE_AUTO_DELETE : 0U) |
               (spec->is_exclusive ? QUEUE_IS_EXCLUSIVE : 0U);
    buf_put(&r->spec, spec->arguments.data, spec->arguments.size);
    if (spec->is_passive) {
        meta_put_barrier(&r->command, b->session, r->number);
    } else {
        put_declare(r, spec);
    }
    meta_request_send(r);
}

/* ---- delete ---- */

/* A deletion that first asks the queue for its counts. */
struct deletion {
    struct list link; /* broker.deletions */
    struct broker_call query;
    struct broker *broker;
    struct call_ref *call;
    qr_group_id group;
    bool if_unused;
    bool if_empty;
    uint64_t messages;
    struct broker_call removal;
};

static void
deletion_end(struct deletion *d, const struct broker_reply *reply)
{
    list_remove(&d->link);
    call_end(&d->call, reply);
    mem_free(d);
}

void
queues_deinit(struct broker *b)
{
    struct list *it;

    while ((it = list_pop_front(&b->deletions)) != NULL) {
        struct deletion *d = list_entry(it, struct deletion, link);

        (void)call_release(&d->call);
        mem_free(d);
    }
}

static void
removal_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct deletion *d = CONTAINER_OF(call, struct deletion, removal);
    struct broker_reply answer = *reply;

    answer.messages = d->messages;
    deletion_end(d, &answer);
}

static void
remove_applied(struct meta_request *r, const struct meta_outcome *outcome,
               struct broker_reply *reply)
{
    if (outcome->status != META_OK && outcome->status != META_NO_QUEUE &&
        outcome->status != META_NOT_FOUND) {
        request_fault(r, outcome, "queue", &reply->fault);
    }
}

/* Delete QUEUE, this one and no later one of its name. */
static void
remove_queue(struct broker *b, const struct meta_queue *queue,
             struct broker_call *call)
{
    struct meta_queue_delete command = {
        .vhost = queue->vhost, .name = queue->name, .group = queue->group};
    struct meta_request *r = meta_request_new(b, call, remove_applied);

    r->is_kept = call == NULL; /* nobody would ask again */
    memcpy(r->name, queue->name.data, queue->name.size);
    memcpy(r->vhost, queue->vhost.data, queue->vhost.size);
    meta_put_queue_delete(&r->command, b->session, r->number, &command);
    meta_request_send(r);
}

static void
counts_known(struct broker_call *call, const struct broker_reply *reply)
{
    struct deletion *d = CONTAINER_OF(call, struct deletion, query);
    struct meta_queue *queue = meta_queue_by_group(d->broker->meta, d->group);
    struct broker_reply gone = {0};

    if (reply->fault.kind == BROKER_NOT_FOUND || queue == NULL) {
        deletion_end(d, &gone);
    } else if (reply->fault.kind != BROKER_OK) {
        deletion_end(d, reply);
    } else if (d->if_unused && reply->consumers > 0) {
        broker_fault_set(&gone.fault, BROKER_PRECONDITION,
                         "queue '%.*s' in vhost '%.*s' in use",
                         (int)queue->name.size, queue->name.data,
                         (int)queue->vhost.size, queue->vhost.data);
        deletion_end(d, &gone);
    } else if (d->if_empty && reply->messages > 0) {
        broker_fault_set(&gone.fault, BROKER_PRECONDITION,
                         "queue '%.*s' in vhost '%.*s' not empty",
                         (int)queue->name.size, queue->name.data,
                         (int)queue->vhost.size, queue->vhost.data);
        deletion_end(d, &gone);
    } else {
        d->messages = reply->messages;
        remove_queue(d->broker, queue, &d->removal);
    }
}

/* This copy of the metadata knows all that was promised before R was asked
 * for: delete the queue of that name, if there is one. */
static void
delete_current(struct meta_request *r)
{
    struct broker *b = r->broker;
    struct meta_queue *queue = request_queue(r);
    struct call_ref *query;
    struct deletion *d;

    if (r->reply.fault.kind != BROKER_OK || queue == NULL) {
        return; /* idempotent, as RabbitMQ's */
    }
    /* Exclusive queues of who has gone meanwhile go by themselves. */
    if (r->connection == NULL
            ? queue->owner.node != 0
            : !broker_may_use(b, r->connection, queue, &r->reply.fault)) {
        return;
    }
    d = mem_zalloc(1, sizeof(*d));
    d->broker = b;
    d->group = queue->group;
    d->if_unused = (r->flags & DELETE_IF_UNUSED) != 0;
    d->if_empty = (r->flags & DELETE_IF_EMPTY) != 0;
    d->call = r->call;
    r->call = NULL;
    d->query.done = counts_known;
    d->removal.done = removal_done;
    list_push_back(&b->deletions, &d->link);
    query = call_begin(b, &d->query);
    queue_client_query(queue_client_get(b, queue), &query);
}

void
broker_queue_delete(struct broker *b, struct broker_connection *c,
                    struct meta_text name, bool if_unused, bool if_empty,
                    struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct meta_request *r;

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!broker_is_allowed(b, c, ACCESS_CONFIGURE, "queue", name, &fault)) {
        call_fail_soon(b, call, &fault);
        return;
    }
    /* A copy that lags may lack the queue, or know an earlier one of its name:
     * what was declared is not to be there after a delete-ok. */
    r = meta_request_new(b, call, NULL);
    request_name(r, c, name);
    r->flags =
        (if_unused ? DELETE_IF_UNUSED : 0U) | (if_empty ? DELETE_IF_EMPTY : 0U);
    r->ended = delete_current;
    meta_put_barrier(&r->command, b->session, r->number);
    meta_request_send(r);
}

void
broker_queue_unused(struct broker *b, qr_group_id group)
{
    struct meta_queue *queue = meta_queue_by_group(b->meta, group);

    if (queue != NULL && queue->is_auto_delete) {
        remove_queue(b, queue, NULL);
    }
}
