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
    BODY_MIN = 8,
    US = 1000000,
    PUBLISHED_MAX = 60000, /* in a run: what consumers can drain at its end */
    SETTLE_TICK_US = 5000,
    /* BROKER_CALL_TIMEOUT_MS, and what a node may be paused for. */
    CALL_US_MAX = (BROKER_CALL_TIMEOUT_MS / 1000 + 7) * US
};

enum client_state {
    CLIENT_AWAY,
    CLIENT_DECLARING,
    CLIENT_BINDING,
    CLIENT_BINDING_FANOUT,
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
    struct broker_call admin_call; /* delete, purge, a queue of its own */
    uint64_t call_us;              /* when they began */
    uint64_t get_us;
    uint64_t admin_us;
    struct sim_consumer seen;
    struct sim_consumer got;
    uint32_t publisher_number;
    uint32_t prefetch;
    bool has_private; /* an exclusive queue */
    uint64_t tag;
    struct ring out; /* uint64_t: ids by tag, oldest first */
    uint64_t tag_first;
    struct held held[SIM_CLIENT_HELD_MAX];
    size_t held_count;
    bool is_settling_down;
    char queue[16];
    char private[16];
};

static struct rng *
rng(struct sim_client *c)
{
    return sim_rng(c->config.sim);
}

static unsigned
own_queue(const struct sim_client *c)
{
    return c->config.number % (c->config.queues + c->config.lossy);
}

static bool
is_lossy(const struct sim_client *c)
{
    return own_queue(c) >= c->config.queues;
}

/* Whether the bit of its own, lossy queue is set in MASK. */
static bool
is_among(const struct sim_client *c, unsigned mask)
{
    return is_lossy(c) &&
           ((mask >> (own_queue(c) - c->config.queues)) & 1) != 0;
}

static uint64_t
now_us(const struct sim_client *c)
{
    return sim_now_us(c->config.sim);
}

static void on_tick(void *arg);

static void
schedule(struct sim_client *c)
{
    uint64_t delay = 1 + rng_below(rng(c), 2ULL * c->config.tick_us);

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
    sim_check_deliver(c->config.check, &c->seen, id, d->is_redelivered);
    if (c->held_count >= c->prefetch) {
        sim_check_violate(c->config.check,
                          "I5: client %u holds %zu messages and got one more",
                          c->config.number, c->held_count);
        return;
    }
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

        sim_check_deliver(c->config.check, &c->got, id,
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
    sim_check_attach(c->config.check, &c->seen);
}

/* The group of its queue as its shard knows it, 0 if it does not. */
static qr_group_id
group_of(const struct sim_client *c)
{
    struct meta_machine *m = broker_meta(c->broker);
    const struct meta_vhost *vhost = meta_vhost(m, "/", 1);
    const struct meta_queue *queue =
        vhost == NULL ? NULL : meta_queue(m, vhost, c->queue, strlen(c->queue));

    return queue == NULL ? 0 : queue->group;
}

static void
attach(struct sim_client *c)
{
    struct broker_consume_spec spec = {.queue = text(c->queue),
                                       .tag = text("t")};

    c->prefetch = (uint32_t)rng_between(rng(c), 4, SIM_CLIENT_HELD_MAX);
    c->seen.is_exclusive = is_lossy(c) && rng_chance(rng(c), 300000);
    c->seen.group = group_of(c);
    spec.prefetch = c->prefetch;
    spec.is_exclusive = c->seen.is_exclusive;
    c->state = CLIENT_ATTACHING;
    c->call.done = on_attached;
    c->call_us = now_us(c);
    broker_consume(c->broker, &c->connection, &spec, &c->consumer, &c->call);
}

static void bind_to(struct sim_client *c, const char *exchange);

static void
on_bound(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (reply->fault.kind != BROKER_OK) {
        sim_client_lost(c);
    } else if (c->state == CLIENT_BINDING && !is_lossy(c)) {
        c->state = CLIENT_BINDING_FANOUT;
        bind_to(c, "amq.fanout");
    } else {
        attach(c);
    }
}

static void
bind_to(struct sim_client *c, const char *exchange)
{
    struct broker_binding_spec spec = {.source = text(exchange),
                                       .destination = text(c->queue),
                                       .key = text(c->queue)};

    c->call.done = on_bound;
    c->call_us = now_us(c);
    broker_bind(c->broker, &c->connection, &spec, &c->call);
}

static void
on_declared(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (reply->fault.kind != BROKER_OK) {
        sim_client_lost(c);
        return;
    }
    c->state = CLIENT_BINDING;
    bind_to(c, "amq.direct");
}

static void
connect(struct sim_client *c)
{
    struct sim_node *node =
        c->config.nodes[rng_below(rng(c), c->config.nodes_count)];
    uint16_t shard = (uint16_t)rng_below(rng(c), c->config.shards);
    struct broker *b = sim_node_broker(node, shard);
    struct broker_queue_spec spec = {
        .name = text(c->queue),
        .is_durable = !is_among(c, c->config.transient),
        .is_auto_delete = is_among(c, c->config.auto_delete)};
    struct broker_fault fault;

    if (b == NULL || !broker_is_ready(b) ||
        sim_is_paused(c->config.sim, sim_node_id(node))) {
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
    c->node = sim_node_id(node);
    c->shard = shard;
    c->publisher.connection = &c->connection;
    broker_publisher_open(b, &c->publisher);
    c->publisher_number = ++c->config.check->publishers;
    c->state = CLIENT_DECLARING;
    c->call.done = on_declared;
    c->call_us = now_us(c);
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
    broker_call_abandon(&c->admin_call);
    for (size_t i = 0; i < c->held_count; i++) {
        sim_check_release(c->config.check, c->held[i].message, own_queue(c));
    }
    sim_check_detach(c->config.check, &c->seen);
    c->has_private = false;
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
sim_client_owns(const struct sim_client *c, qr_node_id node,
                uint64_t connection)
{
    return sim_client_is_on(c, node) && c->connection.id == connection;
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
    c->config.tick_us = MIN(c->config.tick_us, (uint32_t)SETTLE_TICK_US);
}

/* ---- what it does ---- */

/* Where a message goes. */
struct aim {
    const char *exchange;
    char key[16];
    uint16_t queues; /* that it must reach */
};

static void
take_aim(struct sim_client *c, struct aim *aim)
{
    unsigned all = c->config.queues + c->config.lossy;
    unsigned queue = (unsigned)rng_below(rng(c), all);

    (void)snprintf(aim->key, sizeof(aim->key), "q%u", queue);
    aim->exchange = rng_chance(rng(c), 500000) ? "" : "amq.direct";
    aim->queues = (uint16_t)(1U << queue);
    if (c->has_private && rng_chance(rng(c), 50000)) {
        (void)snprintf(aim->key, sizeof(aim->key), "%s", c->private);
        aim->exchange = "";
        aim->queues = 0;
    } else if (rng_chance(rng(c), 100000)) {
        aim->exchange = "amq.fanout";
        aim->queues = (uint16_t)((1U << c->config.queues) - 1);
    }
}

static void
publish_one(struct sim_client *c)
{
    uint8_t body[4096];
    size_t size = BODY_MIN + rng_below(rng(c), c->config.body_size_max);
    struct slice piece = {.data = body, .size = size};
    struct broker_message message = {
        .body = &piece, .body_count = 1, .body_size = size};
    struct broker_fault fault;
    struct aim aim = {0};
    size_t routed = 0;
    uint64_t id;

    ASSERT(size <= sizeof(body));
    take_aim(c, &aim);
    message.key = text(aim.key);
    message.exchange = text(aim.exchange);
    id = sim_check_publish(c->config.check, aim.queues, c->publisher_number);
    memset(body, (int)(id & 0xff), size);
    put_u64le(body, id);
    *(uint64_t *)ring_push_back(&c->out) = id;
    broker_publish(&c->publisher, &message, ++c->tag, &routed, &fault);
    ASSERT(fault.kind == BROKER_OK);
    if (routed == 0) { /* not declared by anybody yet: dropped, by rule */
        *(uint64_t *)ring_at(&c->out, c->out.count - 1) = 0;
    } else if (aim.queues != 0 &&
               routed != (size_t)__builtin_popcount(aim.queues)) {
        sim_check_unsure(c->config.check, id);
    }
}

/* Settle some of what is held, in any order. */
static void
settle_some(struct sim_client *c)
{
    size_t count = rng_below(rng(c), c->held_count + 1);

    count = c->is_settling_down ? c->held_count : count;
    for (size_t i = 0; i < count; i++) {
        size_t at = rng_below(rng(c), c->held_count);
        struct held h = c->held[at];
        bool is_return = !c->is_settling_down && rng_chance(rng(c), 50000);

        c->held[at] = c->held[--c->held_count];
        if (is_return) {
            sim_check_release(c->config.check, h.message, own_queue(c));
        } else {
            sim_check_ack(c->config.check, h.message, own_queue(c));
        }
        broker_settle(&c->consumer, h.delivery, h.delivery,
                      is_return ? BROKER_REQUEUE : BROKER_ACK);
    }
}

static void
on_admin(struct broker_call *call, const struct broker_reply *reply)
{
    (void)call;
    (void)reply; /* refused when it is in use, or not empty, or not there */
}

static void
on_private(struct broker_call *call, const struct broker_reply *reply)
{
    struct sim_client *c = call->arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    c->has_private = reply->fault.kind == BROKER_OK;
}

/* Delete or purge its queue, or have one of its own. */
static void
administer(struct sim_client *c)
{
    struct broker_queue_spec spec = {.name = text(c->private),
                                     .is_exclusive = true};
    uint64_t what = rng_below(rng(c), 1000);

    if (c->admin_call.impl != NULL || what > 5 || (what > 2 && !is_lossy(c))) {
        return;
    }
    c->admin_us = now_us(c);
    c->admin_call.done = what <= 2 ? on_private : on_admin;
    if (what <= 2) {
        broker_queue_declare(c->broker, &c->connection, &spec, &c->admin_call);
    } else if (what == 3) {
        broker_queue_purge(c->broker, &c->connection, text(c->queue),
                           &c->admin_call);
    } else {
        broker_queue_delete(c->broker, &c->connection, text(c->queue),
                            rng_chance(rng(c), 300000),
                            rng_chance(rng(c), 300000), &c->admin_call);
    }
}

static void
act(struct sim_client *c)
{
    settle_some(c);
    if (c->is_settling_down) {
        return;
    }
    if (c->out.count < OUT_MAX &&
        c->config.check->messages.count < PUBLISHED_MAX) {
        uint64_t count = rng_below(rng(c), 8);

        for (uint64_t i = 0; i < count; i++) {
            publish_one(c);
        }
    }
    administer(c);
    if (c->get_call.impl == NULL && rng_chance(rng(c), 20000)) {
        c->get_us = now_us(c);
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

static void
check_call(struct sim_client *c, const struct broker_call *call,
           uint64_t start_us, const char *what)
{
    if (call->impl != NULL && now_us(c) - start_us > CALL_US_MAX) {
        sim_check_violate(c->config.check,
                          "I13: client %u waits for its %s since %.1f s",
                          c->config.number, what, (double)start_us / US);
    }
}

/* Have a turn on its node, or on one that it may connect to. */
static void
on_tick(void *arg)
{
    struct sim_client *c = arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    if (c->node == 0 || !sim_is_paused(c->config.sim, c->node)) {
        check_call(c, &c->call, c->call_us, "declare, bind or consume");
        check_call(c, &c->get_call, c->get_us, "get");
        check_call(c, &c->admin_call, c->admin_us, "delete, purge or declare");
        in_turn(c);
    }
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
    (void)snprintf(c->private, sizeof(c->private), "x%u", config->number);
    c->seen.queue = c->got.queue = own_queue(c);
    c->seen.client = c->got.client = config->number;
    c->publisher.on_confirm = on_confirm;
    c->publisher.on_congestion = on_congestion;
    c->publisher.arg = c;
    c->consumer.on_deliver = on_deliver;
    c->consumer.on_cancelled = on_cancelled;
    c->consumer.arg = c;
    c->getter.arg = c;
    c->call.arg = c;
    c->get_call.arg = c;
    c->admin_call.arg = c;
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
    static const char *const states[] = {"away",      "declaring",
                                         "binding",   "binding to fanout",
                                         "attaching", "ready"};

    buf_putf(out, "client %u of %s: %s on n%u.%u, %zu unconfirmed, %zu held\n",
             c->config.number, c->queue, states[c->state], c->node, c->shard,
             c->out.count, c->held_count);
}
