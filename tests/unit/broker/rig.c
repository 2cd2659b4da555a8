/* A broker to test; see rig.h. */
#include "rig.h"

static const qr_node_id nodes[] = {1};

struct meta_text
text(const char *s)
{
    struct meta_text t = {.data = s, .size = strlen(s)};

    return t;
}

static void
on_answer(struct broker_call *call, const struct broker_reply *reply)
{
    struct answer *a = call->arg;

    cr_assert_not(a->is_done);
    a->is_done = true;
    a->reply = *reply;
    if (reply->queue.size > 0) {
        memcpy(a->queue, reply->queue.data, reply->queue.size);
    }
    if (reply->delivery != NULL) {
        memcpy(a->body, reply->delivery->body.data, reply->delivery->body.size);
        a->delivery = reply->delivery->id;
    }
}

static void
on_deliver(struct broker_consumer *c, const struct broker_delivery *d)
{
    struct rig *r = c->arg;

    cr_assert_lt(r->held, HELD_MAX);
    r->deliveries[r->held] = d->id;
    memset(r->bodies[r->held], 0, sizeof(r->bodies[0]));
    memcpy(r->bodies[r->held], d->body.data, d->body.size);
    r->redelivered[r->held] = d->is_redelivered;
    r->held++;
}

static void
on_cancelled(struct broker_consumer *c)
{
    struct rig *r = c->arg;

    r->is_cancelled = true;
}

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    struct rig *r = p->arg;

    cr_assert(is_ok);
    cr_assert(multiple || tag == r->confirmed + 1);
    r->confirmed = tag;
}

static void
on_congestion(struct broker_publisher *p, bool is_congested)
{
    (void)p;
    (void)is_congested;
}

static void
force_close(struct broker_connection *c, const char *why)
{
    (void)c;
    (void)why;
}

void
open_connection(struct rig *r, struct broker_connection *c)
{
    struct broker_fault fault;

    list_init(&c->link);
    list_init(&c->channels);
    strcpy(c->user, SIM_NODE_USER);
    strcpy(c->vhost, "/");
    c->force_close = force_close;
    broker_connection_open(r->broker, c, &fault);
    cr_assert_eq(fault.kind, BROKER_OK, "%s", fault.text);
}

void
rig_init(struct rig *r)
{
    struct sim_node_config config = {.id = 1,
                                     .shards = 1,
                                     .nodes = nodes,
                                     .nodes_count = 1,
                                     .disk_delay_us = 200};

    memset(r, 0, sizeof(*r));
    r->sim = sim_new(1);
    config.sim = r->sim;
    r->node = sim_node_new(&config);
    sim_node_start(r->node);
    r->broker = sim_node_broker(r->node, 0);
    for (int i = 0; i < 100 && !broker_is_ready(r->broker); i++) {
        sim_run(r->sim, sim_now_us(r->sim) + 100000);
    }
    cr_assert(broker_is_ready(r->broker));
    open_connection(r, &r->connection);
    open_connection(r, &r->other);
    r->publisher.connection = &r->connection;
    r->publisher.on_confirm = on_confirm;
    r->publisher.on_congestion = on_congestion;
    r->publisher.arg = r;
    broker_publisher_open(r->broker, &r->publisher);
    r->consumer.on_deliver = on_deliver;
    r->consumer.on_cancelled = on_cancelled;
    r->consumer.arg = r;
    r->getter.arg = r;
}

void
rig_deinit(struct rig *r)
{
    broker_consumer_detach(&r->consumer);
    broker_consumer_detach(&r->getter);
    broker_publisher_close(&r->publisher);
    broker_connection_closed(r->broker, &r->connection);
    broker_connection_closed(r->broker, &r->other);
    sim_node_crash(r->node, false);
    sim_node_free(&r->node);
    sim_free(&r->sim);
}

void
answer_init(struct answer *a)
{
    memset(a, 0, sizeof(*a));
    a->call.done = on_answer;
    a->call.arg = a;
}

enum broker_fault_kind
await(struct rig *r, struct answer *a)
{
    uint64_t end = sim_now_us(r->sim) + WAIT_US;

    while (!a->is_done && sim_now_us(r->sim) < end) {
        sim_run(r->sim, sim_now_us(r->sim) + 1000);
    }
    cr_assert(a->is_done);
    return a->reply.fault.kind;
}

void
pass(struct rig *r)
{
    sim_run(r->sim, sim_now_us(r->sim) + 100000);
}

enum broker_fault_kind
declare(struct rig *r, struct broker_connection *c,
        const struct broker_queue_spec *spec, struct answer *a)
{
    answer_init(a);
    broker_queue_declare(r->broker, c, spec, &a->call);
    return await(r, a);
}

void
declare_plain(struct rig *r, const char *name)
{
    struct broker_queue_spec spec = {.name = text(name), .is_durable = true};
    struct answer a;

    cr_assert_eq(declare(r, &r->connection, &spec, &a), BROKER_OK, "%s",
                 a.reply.fault.text);
}

size_t
publish(struct rig *r, const char *exchange, const char *key, const char *body,
        uint64_t tag)
{
    struct slice piece = {.data = (const uint8_t *)body, .size = strlen(body)};
    struct broker_message m = {.exchange = text(exchange),
                               .key = text(key),
                               .body = &piece,
                               .body_count = 1,
                               .body_size = piece.size};
    struct broker_fault fault;
    size_t routed = 99;

    broker_publish(&r->publisher, &m, tag, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_OK, "%s", fault.text);
    return routed;
}

enum broker_fault_kind
consume(struct rig *r, const char *queue, uint32_t prefetch, bool exclusive,
        struct answer *a)
{
    struct broker_consume_spec spec = {.queue = text(queue),
                                       .tag = text("tag"),
                                       .prefetch = prefetch,
                                       .is_exclusive = exclusive};

    answer_init(a);
    broker_consume(r->broker, &r->connection, &spec, &r->consumer, &a->call);
    return await(r, a);
}
