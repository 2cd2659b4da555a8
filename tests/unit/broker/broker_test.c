/* The broker of one simulated node, as a front end uses it: declarations and
 * their refusals, publishing, consuming, getting, deleting. */
#include "broker/broker.h"
#include "broker/broker_priv.h"
#include "broker/meta_client.h"
#include "broker/queue_client_priv.h"
#include "lib/harness.h"
#include "sim/sim_node.h"

enum {
    WAIT_US = 5000000,
    HELD_MAX = 64
};

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct broker *broker;
    struct broker_connection connection;
    struct broker_connection other;
    struct broker_publisher publisher;
    struct broker_consumer consumer;
    struct broker_consumer getter;
    uint64_t deliveries[HELD_MAX];
    char bodies[HELD_MAX][32];
    bool redelivered[HELD_MAX];
    size_t held;
    bool is_cancelled;
    uint64_t confirmed; /* highest tag, all below too */
};

struct answer {
    struct broker_call call;
    bool is_done;
    struct broker_reply reply;
    char queue[256];
    char body[32];
    uint64_t delivery;
};

static const qr_node_id nodes[] = {1};

static struct meta_text
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

static void
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

static void
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

static void
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

static void
answer_init(struct answer *a)
{
    memset(a, 0, sizeof(*a));
    a->call.done = on_answer;
    a->call.arg = a;
}

/* Let time pass until A is there; its fault's kind. */
static enum broker_fault_kind
await(struct rig *r, struct answer *a)
{
    uint64_t end = sim_now_us(r->sim) + WAIT_US;

    while (!a->is_done && sim_now_us(r->sim) < end) {
        sim_run(r->sim, sim_now_us(r->sim) + 1000);
    }
    cr_assert(a->is_done);
    return a->reply.fault.kind;
}

static void
pass(struct rig *r)
{
    sim_run(r->sim, sim_now_us(r->sim) + 100000);
}

static enum broker_fault_kind
declare(struct rig *r, struct broker_connection *c,
        const struct broker_queue_spec *spec, struct answer *a)
{
    answer_init(a);
    broker_queue_declare(r->broker, c, spec, &a->call);
    return await(r, a);
}

static void
declare_plain(struct rig *r, const char *name)
{
    struct broker_queue_spec spec = {.name = text(name), .is_durable = true};
    struct answer a;

    cr_assert_eq(declare(r, &r->connection, &spec, &a), BROKER_OK, "%s",
                 a.reply.fault.text);
}

static size_t
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

static enum broker_fault_kind
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

Test(broker, declares_and_finds_a_queue)
{
    struct broker_queue_spec passive = {.name = text("q"), .is_passive = true};
    struct answer a;
    struct rig r;

    rig_init(&r);
    cr_assert_eq(declare(&r, &r.connection, &passive, &a), BROKER_NOT_FOUND);
    cr_assert_str_eq(a.reply.fault.text, "no queue 'q' in vhost '/'");
    declare_plain(&r, "q");
    declare_plain(&r, "q");
    cr_assert_eq(declare(&r, &r.connection, &passive, &a), BROKER_OK);
    cr_assert_str_eq(a.queue, "q");
    rig_deinit(&r);
}

Test(broker, declares_again_what_was_there_and_is_gone)
{
    const struct broker_queue_spec spec = {.name = text("q")};
    struct meta_outcome outcome = {.status = META_EXISTS};
    struct answer a;
    struct rig r;

    rig_init(&r);
    answer_init(&a);
    broker_queue_declare(r.broker, &r.connection, &spec, &a.call);
    outcome.session = r.broker->session;
    outcome.request = r.broker->request_next;
    meta_client_outcome(r.broker->meta_client, &outcome);
    await(&r, &a);
    cr_assert_eq(a.reply.fault.kind, BROKER_OK, "%s", a.reply.fault.text);
    cr_assert_str_eq(a.queue, "q");
    answer_init(&a);
    broker_queue_declare(r.broker, &r.connection, &spec, &a.call);
    await(&r, &a);
    cr_assert_eq(a.reply.fault.kind, BROKER_OK, "it is the same");
    rig_deinit(&r);
}

Test(broker, refuses_another_declaration_of_a_queue)
{
    struct broker_queue_spec spec = {.name = text("q")};
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_PRECONDITION);
    cr_assert_str_eq(a.reply.fault.text,
                     "inequivalent arg 'durable' for queue 'q' in vhost '/': "
                     "received 'false' but current is 'true'");
    rig_deinit(&r);
}

Test(broker, keeps_an_exclusive_queue_to_its_connection)
{
    struct broker_queue_spec spec = {.name = text("mine"),
                                     .is_exclusive = true};
    struct broker_queue_spec passive = {.name = text("mine"),
                                        .is_passive = true};
    struct answer a;
    struct rig r;

    rig_init(&r);
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_OK);
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_OK);
    cr_assert_eq(declare(&r, &r.other, &passive, &a), BROKER_LOCKED);
    broker_connection_closed(r.broker, &r.connection);
    pass(&r);
    cr_assert_eq(declare(&r, &r.other, &passive, &a), BROKER_NOT_FOUND);
    open_connection(&r, &r.connection);
    rig_deinit(&r);
}

Test(broker, names_a_queue_that_has_none)
{
    struct broker_queue_spec spec = {.is_exclusive = true};
    struct answer a;
    struct rig r;

    rig_init(&r);
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_OK);
    cr_assert_eq(strncmp(a.queue, "amq.gen-", 8), 0);
    cr_assert_eq(strlen(a.queue), 30);
    rig_deinit(&r);
}

Test(broker, refuses_reserved_names_and_arguments_to_come)
{
    static const char ttl[] = "\x0dx-message-ttlI\0\0\0\x01";
    struct broker_queue_spec reserved = {.name = text("amq.mine")};
    struct broker_queue_spec later = {
        .name = text("q"), .arguments = {.data = ttl, .size = sizeof(ttl) - 1}};
    struct answer a;
    struct rig r;

    rig_init(&r);
    cr_assert_eq(declare(&r, &r.connection, &reserved, &a),
                 BROKER_ACCESS_REFUSED);
    cr_assert_str_eq(a.reply.fault.text,
                     "queue name 'amq.mine' contains reserved prefix 'amq.*'");
    cr_assert_eq(declare(&r, &r.connection, &later, &a),
                 BROKER_NOT_IMPLEMENTED);
    rig_deinit(&r);
}

Test(broker, makes_quorum_and_classic_queues_but_no_streams)
{
    static const char quorum[] = "\x0cx-queue-typeS\0\0\0\x06quorum";
    static const char stream[] = "\x0cx-queue-typeS\0\0\0\x06stream";
    struct broker_queue_spec spec = {
        .name = text("q"),
        .arguments = {.data = quorum, .size = sizeof(quorum) - 1}};
    struct answer a;
    struct rig r;

    rig_init(&r);
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_OK);
    spec.name = text("s");
    spec.arguments.data = stream;
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_NOT_IMPLEMENTED);
    cr_assert_str_eq(a.reply.fault.text, "queue type 'stream'");
    rig_deinit(&r);
}

Test(broker, delivers_what_was_published_and_takes_acknowledgements)
{
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    cr_assert_eq(publish(&r, "", "q", "one", 1), 1);
    cr_assert_eq(publish(&r, "", "q", "two", 2), 1);
    pass(&r);
    cr_assert_eq(r.confirmed, 2);
    cr_assert_eq(consume(&r, "q", 1, false, &a), BROKER_OK);
    pass(&r);
    cr_assert_eq(r.held, 1); /* prefetch */
    cr_assert_str_eq(r.bodies[0], "one");
    broker_settle(&r.consumer, r.deliveries[0], r.deliveries[0], BROKER_ACK);
    pass(&r);
    cr_assert_eq(r.held, 2);
    cr_assert_str_eq(r.bodies[1], "two");
    broker_settle(&r.consumer, r.deliveries[1], r.deliveries[1],
                  BROKER_REQUEUE);
    pass(&r);
    cr_assert_eq(r.held, 3);
    cr_assert_str_eq(r.bodies[2], "two");
    cr_assert(r.redelivered[2]);
    rig_deinit(&r);
}

/* Of many queues, confirms come in any order. */
static void
on_any_confirm(struct broker_publisher *p, uint64_t tag, bool multiple,
               bool is_ok)
{
    (void)p;
    (void)tag;
    (void)multiple;
    cr_assert(is_ok);
}

static size_t
count_unconfirmed(const struct rig *r)
{
    struct queue_client *q;
    uint64_t group;
    size_t count = 0;
    size_t pos;

    map_foreach (&r->broker->clients, pos, group, q) {
        count += q->confirms.count;
    }
    return count;
}

/* A burst to each of many queues: at rest their clients have no room of their
 * own, and the shard has as much as it may keep. */
Test(broker, keeps_no_room_for_queues_at_rest)
{
    enum {
        QUEUES = QUEUE_CLIENT_ROOMS_MAX + 8,
        BURST = 100
    };
    char body[2000] = {0};
    struct queue_client *q;
    uint64_t group;
    uint64_t tag = 0;
    char name[8];
    struct rig r;
    size_t pos;

    rig_init(&r);
    r.publisher.on_confirm = on_any_confirm;
    memset(body, 'x', sizeof(body) - 1);
    for (int i = 0; i < QUEUES; i++) {
        (void)snprintf(name, sizeof(name), "q%d", i);
        declare_plain(&r, name);
    }
    for (int i = 0; i < QUEUES * BURST; i++) {
        (void)snprintf(name, sizeof(name), "q%d", i % QUEUES);
        cr_assert_eq(publish(&r, "", name, body, ++tag), 1);
    }
    cr_assert_eq(count_unconfirmed(&r), tag);
    for (int i = 0; i < 50 && count_unconfirmed(&r) > 0; i++) {
        pass(&r);
    }
    cr_assert_eq(count_unconfirmed(&r), 0);
    cr_assert_eq(r.broker->clients.count, QUEUES);
    map_foreach (&r.broker->clients, pos, group, q) {
        cr_assert_null(q->building.data);
        cr_assert_eq(q->confirms.capacity, 0);
    }
    cr_assert_gt(r.broker->rooms_count, 0);
    cr_assert_leq(r.broker->rooms_count, QUEUE_CLIENT_ROOMS_MAX);
    cr_assert_leq(r.broker->rooms_size, QUEUE_CLIENT_ROOMS_SIZE);
    cr_assert_gt(r.broker->rooms_size, QUEUE_CLIENT_ROOMS_SIZE / 2);
    rig_deinit(&r);
}

Test(broker, confirms_what_no_queue_wanted)
{
    struct rig r;

    rig_init(&r);
    cr_assert_eq(publish(&r, "", "nowhere", "x", 1), 0);
    pass(&r);
    cr_assert_eq(r.confirmed, 1);
    rig_deinit(&r);
}

Test(broker, refuses_to_publish_to_what_is_not_there)
{
    struct broker_message m = {.exchange = text("gone"), .key = text("k")};
    struct broker_fault fault;
    size_t routed = 0;
    struct rig r;

    rig_init(&r);
    broker_publish(&r.publisher, &m, 1, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_NOT_FOUND);
    cr_assert_str_eq(fault.text, "no exchange 'gone' in vhost '/'");
    rig_deinit(&r);
}

Test(broker, gets_one_message_or_none)
{
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    answer_init(&a);
    broker_get(r.broker, &r.connection, text("q"), &r.getter, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    cr_assert_eq(a.delivery, 0);
    (void)publish(&r, "", "q", "one", 0);
    (void)publish(&r, "", "q", "two", 0);
    pass(&r);
    answer_init(&a);
    broker_get(r.broker, &r.connection, text("q"), &r.getter, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    cr_assert_eq(a.delivery, 1);
    cr_assert_str_eq(a.body, "one");
    cr_assert_eq(a.reply.messages, 1);
    rig_deinit(&r);
}

Test(broker, returns_what_a_detached_consumer_held)
{
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    (void)publish(&r, "", "q", "one", 0);
    cr_assert_eq(consume(&r, "q", 0, false, &a), BROKER_OK);
    pass(&r);
    cr_assert_eq(r.held, 1);
    broker_consumer_detach(&r.consumer);
    cr_assert_eq(consume(&r, "q", 0, false, &a), BROKER_OK);
    pass(&r);
    cr_assert_eq(r.held, 2);
    cr_assert(r.redelivered[1]);
    rig_deinit(&r);
}

Test(broker, lets_an_exclusive_consumer_be_alone)
{
    struct broker_consume_spec second = {.queue = text("q"), .tag = text("b")};
    struct broker_consumer consumer = {.on_deliver = on_deliver};
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    cr_assert_eq(consume(&r, "q", 0, true, &a), BROKER_OK);
    answer_init(&a);
    broker_consume(r.broker, &r.other, &second, &consumer, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_ACCESS_REFUSED);
    cr_assert_str_eq(a.reply.fault.text,
                     "queue 'q' in vhost '/' in exclusive use");
    broker_consumer_detach(&consumer);
    rig_deinit(&r);
}

Test(broker, deletes_only_as_far_as_asked)
{
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    (void)publish(&r, "", "q", "one", 0);
    pass(&r);
    answer_init(&a);
    broker_queue_delete(r.broker, &r.connection, text("q"), false, true,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_PRECONDITION);
    cr_assert_str_eq(a.reply.fault.text, "queue 'q' in vhost '/' not empty");
    cr_assert_eq(consume(&r, "q", 0, false, &a), BROKER_OK);
    answer_init(&a);
    broker_queue_delete(r.broker, &r.connection, text("q"), true, false,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_PRECONDITION);
    cr_assert_str_eq(a.reply.fault.text, "queue 'q' in vhost '/' in use");
    answer_init(&a);
    broker_queue_delete(r.broker, &r.connection, text("q"), false, false,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    cr_assert(r.is_cancelled);
    cr_assert_not(broker_consumer_is_attached(&r.consumer));
    rig_deinit(&r);
}

Test(broker, deletes_what_its_copy_of_the_metadata_lacks)
{
    struct broker_queue_spec spec = {.name = text("q")};
    struct broker_queue_spec passive = {.name = text("q"), .is_passive = true};
    struct answer declared;
    struct answer deleted;
    struct answer a;
    struct rig r;

    rig_init(&r);
    answer_init(&declared);
    answer_init(&deleted);
    broker_queue_declare(r.broker, &r.other, &spec, &declared.call);
    broker_queue_delete(r.broker, &r.connection, text("q"), false, false,
                        &deleted.call);
    cr_assert_eq(await(&r, &declared), BROKER_OK);
    cr_assert_eq(await(&r, &deleted), BROKER_OK);
    cr_assert_eq(declare(&r, &r.connection, &passive, &a), BROKER_NOT_FOUND);
    answer_init(&a);
    broker_queue_delete(r.broker, &r.connection, text("q"), false, false,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK, "there is none");
    rig_deinit(&r);
}

Test(broker, purges_what_is_ready)
{
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    for (int i = 0; i < 10; i++) {
        (void)publish(&r, "", "q", "x", 0);
    }
    pass(&r);
    answer_init(&a);
    broker_queue_purge(r.broker, &r.connection, text("q"), &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    cr_assert_eq(a.reply.messages, 10);
    rig_deinit(&r);
}

Test(broker, forgets_an_auto_delete_queue_with_its_last_consumer)
{
    struct broker_queue_spec spec = {.name = text("q"), .is_auto_delete = true};
    struct broker_queue_spec passive = {.name = text("q"), .is_passive = true};
    struct answer a;
    struct rig r;

    rig_init(&r);
    cr_assert_eq(declare(&r, &r.connection, &spec, &a), BROKER_OK);
    cr_assert_eq(consume(&r, "q", 0, false, &a), BROKER_OK);
    broker_consumer_detach(&r.consumer);
    pass(&r);
    cr_assert_eq(declare(&r, &r.connection, &passive, &a), BROKER_NOT_FOUND);
    rig_deinit(&r);
}

Test(broker, routes_through_a_fanout_exchange)
{
    struct broker_exchange_spec spec = {.name = text("fan"),
                                        .type = text("fanout")};
    struct broker_binding_spec binding = {.source = text("fan")};
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "a");
    declare_plain(&r, "b");
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    for (const char *q = "a"; q != NULL; q = *q == 'a' ? "b" : NULL) {
        binding.destination = text(q);
        answer_init(&a);
        broker_bind(r.broker, &r.connection, &binding, &a.call);
        cr_assert_eq(await(&r, &a), BROKER_OK);
    }
    cr_assert_eq(publish(&r, "fan", "", "x", 1), 2);
    pass(&r);
    cr_assert_eq(r.confirmed, 1);
    rig_deinit(&r);
}

/* Pattern NUMBER of some that are dear to match with KEY together. */
static void
put_dear(unsigned number, char pattern[QR_NAME_SIZE_MAX + 1])
{
    size_t size = 0;

    for (unsigned word = 0; size + 4 <= QR_NAME_SIZE_MAX; word++) {
        memcpy(pattern + size, word == number ? "#.*." : "#.a.", 4);
        size += 4;
    }
    pattern[size - 1] = '\0';
}

static void
put_dear_key(char key[QR_NAME_SIZE_MAX + 1])
{
    for (size_t i = 0; i < QR_NAME_SIZE_MAX; i++) {
        key[i] = i % 2 == 0 ? 'a' : '.';
    }
    key[QR_NAME_SIZE_MAX] = '\0';
}

Test(broker, refuses_a_route_that_takes_too_long)
{
    struct broker_binding_spec binding = {.source = text("amq.topic"),
                                          .destination = text("q")};
    struct slice body = {.data = (const uint8_t *)"x", .size = 1};
    char key[QR_NAME_SIZE_MAX + 1];
    struct broker_message m = {.exchange = text("amq.topic"),
                               .body = &body,
                               .body_count = 1,
                               .body_size = 1};
    struct broker_fault fault;
    struct answer a;
    struct rig r;
    size_t routed = 0;

    rig_init(&r);
    declare_plain(&r, "q");
    for (unsigned i = 0; i < 40; i++) {
        put_dear(i, key);
        binding.key = text(key);
        answer_init(&a);
        broker_bind(r.broker, &r.connection, &binding, &a.call);
        cr_assert_eq(await(&r, &a), BROKER_OK, "%s", a.reply.fault.text);
    }
    put_dear_key(key);
    m.key = text(key);
    broker_publish(&r.publisher, &m, 1, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_PRECONDITION);
    cr_assert_not_null(strstr(fault.text, "would take more than 131072 steps"));
    cr_assert_eq(r.publisher.route_steps, (size_t)META_ROUTE_STEPS_MAX);
    cr_assert_eq(publish(&r, "", "q", "x", 1), 1);
    cr_assert_eq(r.publisher.route_steps, 0U, "the default exchange");
    pass(&r);
    cr_assert_eq(r.confirmed, 1);
    rig_deinit(&r);
}

Test(broker, refuses_bad_exchanges)
{
    struct broker_exchange_spec spec = {.name = text("x"),
                                        .type = text("direct")};
    struct answer a;
    struct rig r;

    rig_init(&r);
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_OK);
    spec.type = text("fanout");
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_PRECONDITION);
    cr_assert_str_eq(a.reply.fault.text,
                     "inequivalent arg 'type' for exchange 'x' in vhost '/': "
                     "received 'fanout' but current is 'direct'");
    spec.type = text("strange");
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_INVALID);
    cr_assert_str_eq(a.reply.fault.text, "unknown exchange type 'strange'");
    answer_init(&a);
    broker_exchange_delete(r.broker, &r.connection, text("amq.direct"), false,
                           &a.call);
    cr_assert_eq(await(&r, &a), BROKER_ACCESS_REFUSED);
    rig_deinit(&r);
}

Test(broker, says_that_headers_exchanges_are_to_come)
{
    static const char alternate[] = "\x12"
                                    "alternate-exchangeS\0\0\0\1x";
    struct broker_exchange_spec spec = {
        .name = text("x"),
        .type = text("direct"),
        .arguments = {.data = alternate, .size = sizeof(alternate) - 1}};
    struct broker_binding_spec binding = {.source = text("amq.headers"),
                                          .destination = text("q")};
    struct broker_message m = {.exchange = text("amq.match")};
    struct broker_fault fault;
    size_t routed = 0;
    struct answer a;
    struct rig r;

    rig_init(&r);
    declare_plain(&r, "q");
    broker_publish(&r.publisher, &m, 1, &routed, &fault);
    cr_assert_eq(fault.kind, BROKER_NOT_IMPLEMENTED);
    answer_init(&a);
    broker_bind(r.broker, &r.connection, &binding, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_NOT_IMPLEMENTED);
    answer_init(&a);
    broker_exchange_declare(r.broker, &r.connection, &spec, &a.call);
    cr_assert_eq(await(&r, &a), BROKER_NOT_IMPLEMENTED);
    cr_assert_str_eq(a.reply.fault.text,
                     "exchange argument 'alternate-exchange'");
    rig_deinit(&r);
}

Test(broker, knows_its_users)
{
    static const struct broker_origin local = {"127.0.0.1", true};
    static const struct broker_origin remote = {"192.0.2.1", false};
    struct answer a;
    struct rig r;

    rig_init(&r);
    for (int i = 0; i < 2; i++) { /* by the hash, then from the cache */
        answer_init(&a);
        broker_authenticate(r.broker, text(SIM_NODE_USER),
                            text(SIM_NODE_PASSWORD), &local, &a.call);
        cr_assert_eq(await(&r, &a), BROKER_OK);
    }
    answer_init(&a);
    broker_authenticate(r.broker, text(SIM_NODE_USER), text("wrong"), &local,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_ACCESS_REFUSED);
    answer_init(&a);
    broker_authenticate(r.broker, text("nobody"), text("guest"), &local,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_ACCESS_REFUSED);
    answer_init(&a);
    broker_authenticate(r.broker, text("guest"), text("guest"), &remote,
                        &a.call);
    cr_assert_eq(await(&r, &a), BROKER_ACCESS_REFUSED);
    cr_assert_str_eq(a.reply.fault.text,
                     "user 'guest' can only connect via localhost");
    rig_deinit(&r);
}
