/* See sim_client.h. Everything it does, it does in a turn of its node. */
#include "sim/sim_client.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "sim/sim_node.h"

enum {
    CLIENT_MAGIC = 0x7369636c,
    OUT_MAX = 256,
    BODY_MIN = 8
};

enum client_state {
    CLIENT_AWAY,
    CLIENT_DECLARING,
    CLIENT_BINDING,
    CLIENT_ATTACHING,
    CLIENT_READY
};

struct held {
    uint64_t delivery;
    uint64_t message;
};

struct sim_client {
    unsigned magic;
    struct sim_client_config config;
    enum client_state state;
    qr_node_id node;
    uint16_t shard;
    struct env *env;
    struct broker *broker;
    struct broker_connection connection;
    struct broker_publisher publisher;
    struct broker_consumer consumer;
    struct broker_consumer getter;
    struct broker_call call;
    struct broker_call get_call;
    uint64_t tag;
    struct ring out; /* uint64_t: ids by tag, oldest first */
    uint64_t tag_first;
    struct held held[SIM_CLIENT_HELD_MAX];
    size_t held_count;
    bool is_settling_down;
    char queue[16];
};

static struct rng *
rng(struct sim_client *c)
{
    return sim_rng(c->config.sim);
}

static unsigned
own_queue(const struct sim_client *c)
{
    return c->config.number % c->config.queues;
}

static void on_tick(void *arg);

static void
schedule(struct sim_client *c)
{
    uint64_t delay = 1 + rng_below(rng(c), 2 * c->config.tick_us);

    sim_call(c->config.sim, NULL, delay, on_tick, c);
}

static struct meta_text
text(const char *s)
{
    struct meta_text t = {.data = s, .size = strlen(s)};

    return t;
}

/* ---- what comes back ---- */

static uint64_t
id_of(const struct slice *body)
{
    return body->size < BODY_MIN ? 0 : get_u64le(body->data);
}

static void
on_deliver(struct broker_consumer *consumer, const struct broker_delivery *d)
{
    struct sim_client *c = consumer->arg;
    uint64_t id = id_of(&d->body);

    OBJ_CHECK(c, CLIENT_MAGIC);
    sim_check_deliver(c->config.check, id, own_queue(c), d->is_redelivered);
    ASSERT(c->held_count < SIM_CLIENT_HELD_MAX);
    c->held[c->held_count].delivery = d->id;
    c->held[c->held_count].message = id;
    c->held_count++;
}

static void
on_cancelled(struct broker_consumer *consumer)
{
    struct sim_client *c = consumer->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    sim_client_lost(c);
}

static void
confirm_one(struct sim_client *c, uint64_t tag)
{
    uint64_t *id = ring_at(&c->out, (size_t)(tag - c->tag_first));

    if (*id != 0) {
        sim_check_confirm(c->config.check, *id);
        *id = 0;
    }
}

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    struct sim_client *c = p->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    ASSERT(tag >= c->tag_first && tag <= c->tag);
    if (!is_ok) {
        return;
    }
    for (uint64_t t = multiple ? c->tag_first : tag; t <= tag; t++) {
        confirm_one(c, t);
    }
    while (c->out.count > 0 && *(uint64_t *)ring_at(&c->out, 0) == 0) {
        ring_pop_front(&c->out);
        c->tag_first++;
    }
}

static void
on_congestion(struct broker_publisher *p, bool is_congested)
{
    (void)p;
    (void)is_congested;
}

static void
force_close(struct broker_connection *connection, const char *why)
{
    (void)connection;
    (void)why;
    UNREACHABLE("nobody closes simulated connections");
}

/* ---- coming and going ---- */

static void
on_get(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (reply->fault.kind == BROKER_OK && reply->delivery != NULL) {
        uint64_t id = id_of(&reply->delivery->body);

        sim_check_deliver(c->config.check, id, own_queue(c),
                          reply->delivery->is_redelivered);
        sim_check_ack(c->config.check, id, own_queue(c));
        broker_settle(&c->getter, reply->delivery->id, reply->delivery->id,
                      BROKER_ACK);
    }
}

static void
on_attached(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (reply->fault.kind != BROKER_OK) {
        sim_client_lost(c);
        return;
    }
    c->state = CLIENT_READY;
}

static void
on_bound(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;
    struct broker_consume_spec spec = {.queue = text(c->queue),
                                       .tag = text("t"),
                                       .prefetch = SIM_CLIENT_HELD_MAX};

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (reply->fault.kind != BROKER_OK) {
        sim_client_lost(c);
        return;
    }
    c->state = CLIENT_ATTACHING;
    c->call.done = on_attached;
    broker_consume(c->broker, &c->connection, &spec, &c->consumer, &c->call);
}

static void
on_declared(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;
    struct broker_binding_spec spec = {.source = text("amq.direct"),
                                       .destination = text(c->queue),
                                       .key = text(c->queue)};

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (reply->fault.kind != BROKER_OK) {
        sim_client_lost(c);
        return;
    }
    c->state = CLIENT_BINDING;
    c->call.done = on_bound;
    broker_bind(c->broker, &c->connection, &spec, &c->call);
}

static void
connect(struct sim_client *c)
{
    struct sim_node *node =
        c->config.nodes[rng_below(rng(c), c->config.nodes_count)];
    uint16_t shard = (uint16_t)rng_below(rng(c), c->config.shards);
    struct broker *b = sim_node_broker(node, shard);
    struct broker_queue_spec spec = {.name = text(c->queue),
                                     .is_durable = true};
    struct broker_fault fault;

    if (b == NULL || !broker_is_ready(b)) {
        return;
    }
    memset(&c->connection, 0, sizeof(c->connection));
    list_init(&c->connection.link);
    list_init(&c->connection.channels);
    (void)snprintf(c->connection.user, sizeof(c->connection.user), "guest");
    (void)snprintf(c->connection.vhost, sizeof(c->connection.vhost), "/");
    c->connection.force_close = force_close;
    broker_connection_open(b, &c->connection, &fault);
    if (fault.kind != BROKER_OK) {
        return;
    }
    c->broker = b;
    for (size_t i = 0; i < c->config.nodes_count; i++) {
        c->node = c->config.nodes[i] == node ? (qr_node_id)(i + 1) : c->node;
    }
    c->shard = shard;
    c->publisher.connection = &c->connection;
    broker_publisher_open(b, &c->publisher);
    c->state = CLIENT_DECLARING;
    c->call.done = on_declared;
    broker_queue_declare(b, &c->connection, &spec, &c->call);
}

void
sim_client_lost(struct sim_client *c)
{
    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->state == CLIENT_AWAY) {
        return;
    }
    broker_call_abandon(&c->call);
    broker_call_abandon(&c->get_call);
    broker_consumer_detach(&c->consumer);
    broker_consumer_detach(&c->getter);
    broker_publisher_close(&c->publisher);
    broker_connection_closed(c->broker, &c->connection);
    ring_clear(&c->out);
    c->tag = 0;
    c->tag_first = 1;
    c->held_count = 0;
    c->state = CLIENT_AWAY;
    c->node = 0;
    c->broker = NULL;
}

bool
sim_client_is_on(const struct sim_client *c, qr_node_id node)
{
    return c->state != CLIENT_AWAY && c->node == node;
}

void
sim_client_settle_down(struct sim_client *c)
{
    c->is_settling_down = true;
}

/* ---- what it does ---- */

static void
publish_one(struct sim_client *c)
{
    uint8_t body[4096];
    size_t size = BODY_MIN + rng_below(rng(c), c->config.body_size_max);
    struct slice piece = {.data = body, .size = size};
    unsigned queue = (unsigned)rng_below(rng(c), c->config.queues);
    struct broker_message message = {
        .body = &piece, .body_count = 1, .body_size = size};
    struct broker_fault fault;
    char key[16];
    size_t routed = 0;
    uint64_t id;

    ASSERT(size <= sizeof(body));
    (void)snprintf(key, sizeof(key), "q%u", queue);
    message.key = text(key);
    message.exchange = text(rng_chance(rng(c), 500000) ? "" : "amq.direct");
    id = sim_check_publish(c->config.check, (uint16_t)(1U << queue));
    memset(body, (int)(id & 0xff), size);
    put_u64le(body, id);
    *(uint64_t *)ring_push_back(&c->out) = id;
    broker_publish(&c->publisher, &message, ++c->tag, &routed, &fault);
    ASSERT(fault.kind == BROKER_OK);
    if (routed == 0) { /* not declared by anybody yet: dropped, by rule */
        *(uint64_t *)ring_at(&c->out, c->out.count - 1) = 0;
    }
}

/* Settle some of what is held, in any order. */
static void
settle_some(struct sim_client *c)
{
    size_t count = rng_below(rng(c), c->held_count + 1);

    for (size_t i = 0; i < count; i++) {
        size_t at = rng_below(rng(c), c->held_count);
        struct held h = c->held[at];
        bool is_return = !c->is_settling_down && rng_chance(rng(c), 50000);

        c->held[at] = c->held[--c->held_count];
        if (!is_return) {
            sim_check_ack(c->config.check, h.message, own_queue(c));
        }
        broker_settle(&c->consumer, h.delivery, h.delivery,
                      is_return ? BROKER_REQUEUE : BROKER_ACK);
    }
}

static void
act(struct sim_client *c)
{
    settle_some(c);
    if (c->is_settling_down) {
        return;
    }
    if (c->out.count < OUT_MAX) {
        uint64_t count = rng_below(rng(c), 8);

        for (uint64_t i = 0; i < count; i++) {
            publish_one(c);
        }
    }
    if (c->get_call.impl == NULL && rng_chance(rng(c), 20000)) {
        broker_get(c->broker, &c->connection, text(c->queue), &c->getter,
                   &c->get_call);
    }
    if (rng_chance(rng(c), 3000)) {
        sim_client_lost(c);
    }
}

static void
in_turn(void *arg)
{
    struct sim_client *c = arg;

    if (c->state == CLIENT_AWAY) {
        connect(c);
    } else if (c->state == CLIENT_READY) {
        act(c);
    }
}

/* Have a turn on its node, or on one that it may connect to. */
static void
on_tick(void *arg)
{
    struct sim_client *c = arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    in_turn(c);
    schedule(c);
}

struct sim_client *
sim_client_new(const struct sim_client_config *config)
{
    struct sim_client *c = mem_zalloc(1, sizeof(*c));

    c->magic = CLIENT_MAGIC;
    c->config = *config;
    c->tag_first = 1;
    ring_init(&c->out, sizeof(uint64_t));
    (void)snprintf(c->queue, sizeof(c->queue), "q%u", own_queue(c));
    c->publisher.on_confirm = on_confirm;
    c->publisher.on_congestion = on_congestion;
    c->publisher.arg = c;
    c->consumer.on_deliver = on_deliver;
    c->consumer.on_cancelled = on_cancelled;
    c->consumer.arg = c;
    c->getter.arg = c;
    c->call.arg = c;
    c->get_call.arg = c;
    c->get_call.done = on_get;
    schedule(c);
    return c;
}

void
sim_client_free(struct sim_client **c)
{
    OBJ_CHECK(*c, CLIENT_MAGIC);
    sim_client_lost(*c);
    ring_deinit(&(*c)->out);
    (*c)->magic = 0;
    mem_free(*c);
    *c = NULL;
}

void
sim_client_describe(const struct sim_client *c, struct buf *out)
{
    static const char *const states[] = {"away", "declaring", "binding",
                                         "attaching", "ready"};

    buf_putf(out, "client %u of %s: %s on n%u.%u, %zu unconfirmed, %zu held\n",
             c->config.number, c->queue, states[c->state], c->node, c->shard,
             c->out.count, c->held_count);
}
