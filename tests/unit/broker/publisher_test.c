/* How much publishers may have under way: by themselves, with the channels
 * that their connection has closed, to one queue, and in all. Nothing is
 * applied while the simulated time stands still. */
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "broker/publisher.h"
#include "lib/harness.h"
#include "sim/sim_node.h"

enum {
    MIB = 1 << 20,
    PART = 256 << 10,
    STEPS_MAX = 2000,
    DONE_MS = 20000
};

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct broker *broker;
    uint8_t *body;
};

/* A channel of a connection, as the front end has them. */
struct channel {
    struct broker_connection connection;
    struct broker_publisher publisher;
    uint64_t confirmed;
    bool is_congested;
};

struct answer {
    struct broker_call call;
    bool is_done;
    enum broker_fault_kind kind;
};

static const qr_node_id nodes[] = {1};

static void
pass(struct rig *r, uint64_t ms)
{
    sim_run(r->sim, sim_now_us(r->sim) + ms * 1000);
}

static void
rig_init(struct rig *r)
{
    struct sim_node_config config = {.id = 1,
                                     .shards = 1,
                                     .nodes = nodes,
                                     .nodes_count = 1,
                                     .disk_delay_us = 200};

    memset(r, 0, sizeof(*r));
    r->body = mem_zalloc(1, 16 * MIB);
    r->sim = sim_new(1);
    config.sim = r->sim;
    r->node = sim_node_new(&config);
    sim_node_start(r->node);
    r->broker = sim_node_broker(r->node, 0);
    for (int i = 0; i < 100 && !broker_is_ready(r->broker); i++) {
        pass(r, 100);
    }
    cr_assert(broker_is_ready(r->broker));
}

static void
rig_deinit(struct rig *r)
{
    sim_node_crash(r->node, false);
    sim_node_free(&r->node);
    sim_free(&r->sim);
    mem_free(r->body);
}

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    struct channel *c = p->arg;

    (void)multiple;
    cr_assert(is_ok);
    c->confirmed = MAX(c->confirmed, tag);
}

static void
on_congestion(struct broker_publisher *p, bool is_congested)
{
    struct channel *c = p->arg;

    cr_assert_neq(c->is_congested, is_congested);
    c->is_congested = is_congested;
}

static void
force_close(struct broker_connection *c, const char *why)
{
    (void)c;
    (void)why;
}

static void
channel_open(struct rig *r, struct channel *c)
{
    c->publisher = (struct broker_publisher){.connection = &c->connection,
                                             .on_confirm = on_confirm,
                                             .on_congestion = on_congestion,
                                             .arg = c};
    c->is_congested = false;
    broker_publisher_open(r->broker, &c->publisher);
}

static void
connect(struct rig *r, struct channel *c)
{
    struct broker_fault fault;

    memset(c, 0, sizeof(*c));
    list_init(&c->connection.link);
    list_init(&c->connection.channels);
    strcpy(c->connection.user, "guest");
    strcpy(c->connection.vhost, "/");
    c->connection.force_close = force_close;
    broker_connection_open(r->broker, &c->connection, &fault);
    cr_assert_eq(fault.kind, BROKER_OK, "%s", fault.text);
    channel_open(r, c);
}

static void
disconnect(struct rig *r, struct channel *c)
{
    broker_publisher_close(&c->publisher);
    broker_connection_closed(r->broker, &c->connection);
}

static void
on_answer(struct broker_call *call, const struct broker_reply *reply)
{
    struct answer *a = call->arg;

    a->is_done = true;
    a->kind = reply->fault.kind;
}

static void
await(struct rig *r, struct answer *a)
{
    for (int ms = 0; ms < DONE_MS && !a->is_done; ms++) {
        pass(r, 1);
    }
    cr_assert(a->is_done && a->kind == BROKER_OK);
}

static void
declare(struct rig *r, struct channel *c, const char *name)
{
    struct broker_queue_spec spec = {.name = meta_text(name, strlen(name)),
                                     .arguments = meta_text("", 0),
                                     .is_durable = true};
    struct answer a = {.call = {.done = on_answer}};

    a.call.arg = &a;
    broker_queue_declare(r->broker, &c->connection, &spec, &a.call);
    await(r, &a);
}

static void
bind(struct rig *r, struct channel *c, const char *name)
{
    struct broker_binding_spec spec = {.source = meta_text("amq.fanout", 10),
                                       .destination =
                                           meta_text(name, strlen(name)),
                                       .key = meta_text("", 0),
                                       .arguments = meta_text("", 0)};
    struct answer a = {.call = {.done = on_answer}};

    a.call.arg = &a;
    broker_bind(r->broker, &c->connection, &spec, &a.call);
    await(r, &a);
}

static enum broker_fault_kind
publish_to(struct rig *r, struct channel *c, const char *exchange,
           const char *key, size_t size)
{
    struct slice body = slice_borrow(r->body, size);
    struct broker_message m = {.exchange =
                                   meta_text(exchange, strlen(exchange)),
                               .key = meta_text(key, strlen(key)),
                               .properties = slice_empty(),
                               .body = &body,
                               .body_count = 1,
                               .body_size = size};
    struct broker_fault fault;
    size_t routed = 0;

    broker_publish(&c->publisher, &m, 0, &routed, &fault);
    return fault.kind;
}

static void
publish(struct rig *r, struct channel *c, const char *key, size_t size)
{
    cr_assert_eq(publish_to(r, c, "", key, size), BROKER_OK);
}

/* All that waited is gone. */
static void
expect_rest(struct rig *r)
{
    for (int ms = 0; ms < DONE_MS && r->broker->publishing_bytes > 0; ms++) {
        pass(r, 1);
    }
    cr_assert_eq(r->broker->publishing_bytes, 0);
    pass(r, 10);
    cr_assert(list_is_empty(&r->broker->congested));
}

Test(publisher, is_held_up_at_its_bound_and_goes_on_at_half)
{
    struct channel c;
    struct rig r;
    size_t sent = 0;

    rig_init(&r);
    connect(&r, &c);
    declare(&r, &c, "q");
    while (!c.is_congested && sent < STEPS_MAX) {
        publish(&r, &c, "q", PART);
        sent++;
    }
    cr_assert_eq(sent, BROKER_PUBLISHER_BYTES_MAX / PART);
    expect_rest(&r);
    cr_assert_not(c.is_congested);
    disconnect(&r, &c);
    rig_deinit(&r);
}

Test(publisher, is_held_up_by_small_messages_too)
{
    struct channel c;
    struct rig r;
    size_t sent = 0;

    rig_init(&r);
    connect(&r, &c);
    declare(&r, &c, "q");
    while (!c.is_congested && sent < 2 * BROKER_PUBLISHER_MESSAGES_MAX) {
        publish(&r, &c, "q", 0);
        sent++;
    }
    cr_assert_eq(sent, BROKER_PUBLISHER_MESSAGES_MAX + 1);
    cr_assert_gt(r.broker->publishing_bytes, sent * BROKER_MESSAGE_OVERHEAD);
    expect_rest(&r);
    cr_assert_not(c.is_congested);
    disconnect(&r, &c);
    rig_deinit(&r);
}

/* As a client does that closes its channel before it is held up. */
Test(publisher, gets_no_more_by_opening_another_channel)
{
    struct channel c;
    struct rig r;
    size_t channels = 0;

    rig_init(&r);
    connect(&r, &c);
    declare(&r, &c, "q");
    while (!c.is_congested && channels < STEPS_MAX) {
        for (int i = 0; i < 7 && !c.is_congested; i++) {
            publish(&r, &c, "q", PART);
        }
        if (!c.is_congested) {
            broker_publisher_close(&c.publisher);
            channel_open(&r, &c);
            channels++;
        }
    }
    cr_assert_leq(r.broker->publishing_bytes,
                  BROKER_CONNECTION_BYTES_MAX + 2 * PART);
    broker_publisher_close(&c.publisher);
    channel_open(&r, &c);
    cr_assert(c.is_congested, "before it publishes at all");
    expect_rest(&r);
    cr_assert_not(c.is_congested);
    disconnect(&r, &c);
    rig_deinit(&r);
}

Test(publisher, gets_no_more_by_connecting_again)
{
    struct channel other;
    struct channel c;
    struct rig r;
    size_t connections = 0;

    rig_init(&r);
    connect(&r, &other);
    declare(&r, &other, "q");
    declare(&r, &other, "free");
    connect(&r, &c);
    while (!c.is_congested && connections < STEPS_MAX) {
        for (int i = 0; i < 7 && !c.is_congested; i++) {
            publish(&r, &c, "q", PART);
        }
        if (r.broker->publishing_bytes > BROKER_QUEUE_BYTES_MAX + 2 * PART) {
            cr_assert(c.is_congested, "the queue has too much");
            publish(&r, &other, "free", 10);
            cr_assert_eq(other.is_congested,
                         r.broker->publishing_bytes > BROKER_SHARD_BYTES_MAX);
            if (other.is_congested) {
                break;
            }
        }
        disconnect(&r, &c);
        connect(&r, &c);
        connections++;
    }
    cr_assert_leq(r.broker->publishing_bytes,
                  BROKER_SHARD_BYTES_MAX + 2 * PART);
    disconnect(&r, &c);
    connect(&r, &c);
    cr_assert(c.is_congested, "before it publishes at all");
    expect_rest(&r);
    cr_assert_not(c.is_congested);
    cr_assert_not(other.is_congested);
    disconnect(&r, &c);
    disconnect(&r, &other);
    rig_deinit(&r);
}

Test(publisher, is_held_up_by_its_queue_only_if_it_goes_there)
{
    static struct channel many[40];
    struct channel other;
    struct rig r;

    rig_init(&r);
    connect(&r, &other);
    declare(&r, &other, "q");
    declare(&r, &other, "free");
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        connect(&r, &many[i]);
        for (size_t k = 0; k < 7; k++) {
            publish(&r, &many[i], "q", PART);
            cr_assert_eq(many[i].is_congested,
                         r.broker->publishing_bytes > BROKER_QUEUE_BYTES_MAX);
            if (many[i].is_congested) {
                break;
            }
        }
    }
    cr_assert(many[39].is_congested);
    publish(&r, &other, "free", 10);
    cr_assert_not(other.is_congested);
    publish(&r, &other, "q", 10);
    cr_assert(other.is_congested);
    expect_rest(&r);
    cr_assert_not(other.is_congested);
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        cr_assert_not(many[i].is_congested);
        disconnect(&r, &many[i]);
    }
    disconnect(&r, &other);
    rig_deinit(&r);
}

Test(publisher, counts_a_message_for_each_queue_that_it_goes_to)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    struct channel c;
    struct rig r;
    size_t sent = 0;

    rig_init(&r);
    connect(&r, &c);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        declare(&r, &c, names[i]);
        bind(&r, &c, names[i]);
    }
    while (!c.is_congested && sent < STEPS_MAX) {
        cr_assert_eq(publish_to(&r, &c, "amq.fanout", "", PART), BROKER_OK);
        sent++;
    }
    cr_assert_eq(sent, BROKER_PUBLISHER_BYTES_MAX / PART / ARRAY_COUNT(names));
    expect_rest(&r);
    disconnect(&r, &c);
    rig_deinit(&r);
}

Test(publisher, may_not_send_a_large_message_to_too_many_queues)
{
    struct channel c;
    struct rig r;

    rig_init(&r);
    connect(&r, &c);
    for (char i = 0; i < 17; i++) {
        char name[2] = {(char)('a' + i), '\0'};

        declare(&r, &c, name);
        bind(&r, &c, name);
    }
    cr_assert_eq(publish_to(&r, &c, "amq.fanout", "", 16 * MIB),
                 BROKER_PRECONDITION);
    cr_assert_eq(r.broker->publishing_bytes, 0);
    cr_assert_eq(publish_to(&r, &c, "amq.fanout", "", 1000), BROKER_OK);
    cr_assert_eq(publish_to(&r, &c, "", "a", 16 * MIB), BROKER_OK);
    expect_rest(&r);
    disconnect(&r, &c);
    rig_deinit(&r);
}
