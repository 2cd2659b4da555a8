/* Whole nodes in situations that seeds seldom bring about. */
#include <stdio.h>
#include <string.h>

#include "broker/broker.h"
#include "lib/harness.h"
#include "sim/sim_node.h"

enum {
    NODES = 3,
    US = 1000000
};

struct cluster {
    struct sim *sim;
    struct sim_node *nodes[NODES];
    qr_node_id ids[NODES];
};

static void
on_given_up(void *arg, qr_node_id id)
{
    (void)arg;
    (void)id;
}

static void
cluster_init(struct cluster *c)
{
    struct sim_node_config config = {.nodes = c->ids,
                                     .nodes_count = NODES,
                                     .shards = 2,
                                     .disk_delay_us = 1000,
                                     .snapshot_log_bytes = 1 << 20,
                                     .snapshot_log_entries = 10000,
                                     .on_given_up = on_given_up};

    c->sim = sim_new(1);
    config.sim = c->sim;
    for (uint32_t i = 0; i < NODES; i++) {
        c->ids[i] = i + 1;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        config.id = c->ids[i];
        c->nodes[i] = sim_node_new(&config);
    }
}

static void
cluster_deinit(struct cluster *c)
{
    for (uint32_t i = 0; i < NODES; i++) {
        if (sim_node_is_up(c->nodes[i])) {
            sim_node_crash(c->nodes[i], false);
        }
        sim_node_free(&c->nodes[i]);
    }
    sim_free(&c->sim);
}

static void
pass(struct cluster *c, uint64_t seconds)
{
    sim_run(c->sim, sim_now_us(c->sim) + seconds * US);
}

static bool
is_ready(const struct cluster *c)
{
    for (uint32_t i = 0; i < NODES; i++) {
        for (uint16_t s = 0; s < 2; s++) {
            if (!broker_is_ready(sim_node_broker(c->nodes[i], s))) {
                return false;
            }
        }
    }
    return true;
}

/* A front end with a publisher, a consumer and a call. */
struct front {
    struct broker *broker;
    struct broker_connection connection;
    struct broker_publisher publisher;
    struct broker_consumer consumer;
    struct broker_call call;
    bool is_done;
    struct broker_reply reply;
    uint64_t confirmed;
    uint64_t delivered;
    uint64_t last;
    bool closes_when_confirmed;
};

static void
on_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct front *f = call->arg;

    f->is_done = true;
    f->reply = *reply;
}

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    struct front *f = p->arg;

    (void)multiple;
    cr_assert(is_ok);
    f->confirmed = tag;
    if (f->closes_when_confirmed) {
        broker_publisher_close(p);
    }
}

static void
on_congestion(struct broker_publisher *p, bool is_congested)
{
    (void)p;
    (void)is_congested;
}

static void
on_deliver(struct broker_consumer *consumer, const struct broker_delivery *d)
{
    struct front *f = consumer->arg;

    f->delivered++;
    f->last = d->id;
}

static void
on_cancelled(struct broker_consumer *consumer)
{
    (void)consumer;
}

static struct meta_text
text(const char *s)
{
    struct meta_text t = {.data = s, .size = strlen(s)};

    return t;
}

static void
front_open(struct front *f, struct broker *b)
{
    struct broker_fault fault;

    memset(f, 0, sizeof(*f));
    f->broker = b;
    list_init(&f->connection.link);
    list_init(&f->connection.channels);
    (void)snprintf(f->connection.user, sizeof(f->connection.user), "%s",
                   SIM_NODE_USER);
    (void)snprintf(f->connection.vhost, sizeof(f->connection.vhost), "/");
    f->publisher.connection = &f->connection;
    f->publisher.on_confirm = on_confirm;
    f->publisher.on_congestion = on_congestion;
    f->publisher.arg = f;
    f->consumer.on_deliver = on_deliver;
    f->consumer.on_cancelled = on_cancelled;
    f->consumer.arg = f;
    f->call.done = on_done;
    f->call.arg = f;
    broker_connection_open(b, &f->connection, &fault);
    cr_assert_eq(fault.kind, BROKER_OK, "%s", fault.text);
    broker_publisher_open(b, &f->publisher);
}

static void
front_close(struct front *f)
{
    broker_call_abandon(&f->call);
    broker_consumer_detach(&f->consumer);
    broker_publisher_close(&f->publisher);
    broker_connection_closed(f->broker, &f->connection);
}

static void
declare(struct cluster *c, struct front *f, const char *name, bool is_exclusive)
{
    struct broker_queue_spec spec = {.name = text(name),
                                     .is_durable = !is_exclusive,
                                     .is_exclusive = is_exclusive};

    f->is_done = false;
    broker_queue_declare(f->broker, &f->connection, &spec, &f->call);
    pass(c, 5);
}

static void
publish(struct front *f, const char *queue, uint64_t tag)
{
    struct slice body = {.data = (const uint8_t *)"hello", .size = 5};
    struct broker_message message = {.exchange = text(""),
                                     .key = text(queue),
                                     .body = &body,
                                     .body_count = 1,
                                     .body_size = body.size};
    struct broker_fault fault;
    size_t routed = 0;

    broker_publish(&f->publisher, &message, tag, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_OK);
    cr_assert_eq(routed, 1);
}

static void
consume(struct cluster *c, struct front *f, const char *queue)
{
    struct broker_consume_spec spec = {
        .queue = text(queue), .tag = text("t"), .prefetch = 10};

    f->is_done = false;
    broker_consume(f->broker, &f->connection, &spec, &f->consumer, &f->call);
    pass(c, 2);
    cr_assert(f->is_done);
    cr_assert_eq(f->reply.fault.kind, BROKER_OK, "%s", f->reply.fault.text);
}

Test(sim_cluster, a_node_that_waited_long_for_others_becomes_ready)
{
    struct cluster c;

    cluster_init(&c);
    (void)sim_node_start(c.nodes[0]);
    pass(&c, 120);
    (void)sim_node_start(c.nodes[1]);
    (void)sim_node_start(c.nodes[2]);
    pass(&c, 10);
    cr_assert(is_ready(&c));
    cluster_deinit(&c);
}

Test(sim_cluster, a_publisher_may_close_in_its_own_confirm)
{
    struct cluster c;
    struct front f;

    cluster_init(&c);
    for (uint32_t i = 0; i < NODES; i++) {
        (void)sim_node_start(c.nodes[i]);
    }
    pass(&c, 5);
    front_open(&f, sim_node_broker(c.nodes[0], 0));
    declare(&c, &f, "q", false);
    f.closes_when_confirmed = true;
    for (uint64_t tag = 1; tag <= 3; tag++) {
        publish(&f, "q", tag);
    }
    pass(&c, 1);
    cr_assert_eq(f.confirmed, 3);
    cr_assert_null(f.publisher.impl);
    front_close(&f);
    cluster_deinit(&c);
}

/* The consumer's node is cut off and never comes back; all that is left starts
 * after that, so no link to it was ever up. */
Test(sim_cluster, a_node_cut_off_before_the_others_started_is_given_up)
{
    struct cluster c;
    struct front far;
    struct front near;

    cluster_init(&c);
    for (uint32_t i = 0; i < NODES; i++) {
        (void)sim_node_start(c.nodes[i]);
    }
    pass(&c, 5);
    front_open(&far, sim_node_broker(c.nodes[2], 0));
    declare(&c, &far, "q", false);
    consume(&c, &far, "q");
    publish(&far, "q", 1);
    pass(&c, 1);
    cr_assert_eq(far.delivered, 1);
    for (uint32_t i = 0; i < 2; i++) {
        sim_cut(c.sim, c.ids[i], c.ids[2], true);
        sim_cut(c.sim, c.ids[2], c.ids[i], true);
        sim_node_crash(c.nodes[i], false);
    }
    for (uint32_t i = 0; i < 2; i++) {
        (void)sim_node_start(c.nodes[i]);
    }
    pass(&c, 10);
    front_open(&near, sim_node_broker(c.nodes[0], 0));
    consume(&c, &near, "q");
    cr_assert_eq(near.delivered, 0, "a live consumer may still hold it");
    pass(&c, 60);
    cr_assert_eq(near.delivered, 1);
    front_close(&near);
    front_close(&far);
    cluster_deinit(&c);
}

/* The connection closes while its declaration is under way, and the metadata
 * has no majority for longer than anybody waits. */
Test(sim_cluster, an_exclusive_queue_goes_with_its_connection_however_late)
{
    struct cluster c;
    struct front f;
    struct front g;

    cluster_init(&c);
    for (uint32_t i = 0; i < NODES; i++) {
        (void)sim_node_start(c.nodes[i]);
    }
    pass(&c, 5);
    front_open(&f, sim_node_broker(c.nodes[0], 1));
    declare(&c, &f, "x", true);
    cr_assert(f.is_done);
    cr_assert_eq(f.reply.fault.kind, BROKER_OK);
    sim_node_crash(c.nodes[1], false);
    sim_node_crash(c.nodes[2], false);
    declare(&c, &f, "y", true);
    cr_assert_not(f.is_done);
    front_close(&f);
    pass(&c, 60);
    (void)sim_node_start(c.nodes[1]);
    (void)sim_node_start(c.nodes[2]);
    pass(&c, 10);
    front_open(&g, sim_node_broker(c.nodes[2], 0));
    declare(&c, &g, "x", true);
    cr_assert_eq(g.reply.fault.kind, BROKER_OK, "%s", g.reply.fault.text);
    declare(&c, &g, "y", true);
    cr_assert_eq(g.reply.fault.kind, BROKER_OK, "%s", g.reply.fault.text);
    front_close(&g);
    cluster_deinit(&c);
}

Test(sim_cluster, a_paused_node_goes_on_where_it_was)
{
    struct cluster c;
    struct front f;

    cluster_init(&c);
    for (uint32_t i = 0; i < NODES; i++) {
        (void)sim_node_start(c.nodes[i]);
    }
    pass(&c, 5);
    front_open(&f, sim_node_broker(c.nodes[0], 0));
    declare(&c, &f, "q", false);
    publish(&f, "q", 1);
    sim_pause(c.sim, c.ids[0], sim_now_us(c.sim) + 3 * US);
    cr_assert(sim_is_paused(c.sim, c.ids[0]));
    pass(&c, 2);
    cr_assert_eq(f.confirmed, 0);
    pass(&c, 6);
    cr_assert_eq(f.confirmed, 1);
    front_close(&f);
    cluster_deinit(&c);
}
