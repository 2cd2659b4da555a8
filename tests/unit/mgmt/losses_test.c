/* What has rotted on every node: of a queue, the others of its messages are
 * delivered, and what is missing is said. */
#include <quorate/host.h>
#include <string.h>

#include "base/mem.h"
#include "broker/broker_admin.h"
#include "lib/harness.h"
#include "mgmt/protocol.h"
#include "store/disk_sim.h"
#include "unit/mgmt/cluster.h"

#define SAYS(i, line, code, text) \
    cr_expect(cluster_says(&c, (i), (line), (code), (text)), "%s", (line))

enum {
    BODY_SIZE = 24,
    HELD_MAX = 64
};

/* Somebody who publishes, consumes and gets. */
struct client {
    struct cluster *c;
    struct broker *broker;
    struct broker_connection connection;
    struct broker_publisher publisher;
    struct broker_consumer consumer;
    struct broker_call call;
    bool is_done;
    struct broker_reply reply;
    char got[BODY_SIZE + 1];
    char bodies[HELD_MAX][BODY_SIZE + 1];
    size_t held;
    uint64_t confirmed;
};

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    struct client *k = p->arg;

    (void)multiple;
    cr_assert(is_ok);
    k->confirmed = MAX(k->confirmed, tag);
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
    struct client *k = consumer->arg;

    cr_assert_lt(k->held, HELD_MAX);
    cr_assert_eq(d->body.size, BODY_SIZE);
    memcpy(k->bodies[k->held], d->body.data, BODY_SIZE);
    k->held++;
}

static void
on_cancelled(struct broker_consumer *consumer)
{
    (void)consumer;
}

static void
on_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct client *k = call->arg;

    k->is_done = true;
    k->reply = *reply;
    memset(k->got, 0, sizeof(k->got));
    if (reply->delivery != NULL) {
        memcpy(k->got, reply->delivery->body.data, BODY_SIZE);
    }
}

static void
await(struct client *k)
{
    for (unsigned i = 0; i < 60000 && !k->is_done; i++) {
        cluster_pass(k->c, 1);
    }
    cr_assert(k->is_done);
    k->is_done = false;
}

static void
client_open(struct client *k, struct cluster *c, size_t node)
{
    memset(k, 0, sizeof(*k));
    k->c = c;
    k->broker = sim_node_broker(c->nodes[node], 0);
    cluster_connect(c, node, 0, &k->connection);
    k->publisher.connection = &k->connection;
    k->publisher.on_confirm = on_confirm;
    k->publisher.on_congestion = on_congestion;
    k->publisher.arg = k;
    k->consumer.on_deliver = on_deliver;
    k->consumer.on_cancelled = on_cancelled;
    k->consumer.arg = k;
    k->call.done = on_done;
    k->call.arg = k;
    broker_publisher_open(k->broker, &k->publisher);
}

static void
client_close(struct client *k)
{
    broker_consumer_detach(&k->consumer);
    broker_publisher_close(&k->publisher);
    broker_connection_closed(k->broker, &k->connection);
    cluster_pass(k->c, 200);
}

static void
body_of(unsigned i, char out[BODY_SIZE + 1])
{
    (void)snprintf(out, BODY_SIZE + 1, "message %08u of ten.", i);
    cr_assert_eq(strlen(out), BODY_SIZE);
}

/* Publish messages FIRST to LAST, each an entry of its own. */
static void
publish(struct client *k, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        char body[BODY_SIZE + 1];
        struct slice piece;
        struct broker_message message = {.exchange = meta_text("", 0),
                                         .key = meta_text("q", 1),
                                         .body = &piece,
                                         .body_count = 1,
                                         .body_size = BODY_SIZE};
        struct broker_fault fault = {.kind = BROKER_OK};
        size_t routed = 0;

        body_of(i, body);
        piece = slice_borrow(body, BODY_SIZE);
        broker_publish(&k->publisher, &message, i, &routed, &fault);
        cr_assert_eq(routed, 1);
        for (unsigned ms = 0; ms < 20000 && k->confirmed < i; ms++) {
            cluster_pass(k->c, 1);
        }
        cr_assert_eq(k->confirmed, i);
    }
}

static void
consume(struct client *k, uint32_t prefetch)
{
    struct broker_consume_spec spec = {.queue = meta_text("q", 1),
                                       .tag = meta_text("t", 1),
                                       .prefetch = prefetch};

    broker_consume(k->broker, &k->connection, &spec, &k->consumer, &k->call);
    await(k);
    cr_assert_eq(k->reply.fault.kind, BROKER_OK, "%s", k->reply.fault.text);
}

/* ---- rot ---- */

struct rot {
    struct disk_sim *disk;
    char body[BODY_SIZE + 1];
    unsigned count;
};

/* Change what is sought wherever file NAME has it. */
static void
rot_file(void *arg, const char *name, uint64_t size)
{
    struct rot *r = arg;
    struct disk *disk = disk_sim_disk(r->disk);
    uint8_t *data = mem_alloc(size);
    struct disk_file *file;
    const uint8_t *at = data;

    cr_assert_eq(disk->ops->open(disk, name, &file), 0);
    cr_assert_eq(disk->ops->read(file, 0, data, size), 0);
    disk->ops->close(file);
    while ((at = memmem(at, size - (size_t)(at - data), r->body, BODY_SIZE)) !=
           NULL) {
        cr_assert_eq(disk_sim_flip(r->disk, name, (uint64_t)(at - data) + 3, 1),
                     0);
        r->count++;
        at++;
    }
    mem_free(data);
}

/* What is TEXT rots on every node; all are down. */
static void
rot_text(struct cluster *c, const char *text)
{
    for (size_t n = 0; n < c->count; n++) {
        struct rot r = {.disk = sim_node_disk(c->nodes[n], 0)};
        struct disk *disk = disk_sim_disk(r.disk);

        cr_assert_eq(strlen(text), BODY_SIZE);
        memcpy(r.body, text, BODY_SIZE);
        cr_assert_eq(disk->ops->list(disk, rot_file, &r), 0);
        cr_assert_gt(r.count, 0);
    }
}

/* Message I does. */
static void
rot(struct cluster *c, unsigned i)
{
    char body[BODY_SIZE + 1];

    body_of(i, body);
    rot_text(c, body);
}

/* ---- nodes ---- */

static qr_group_id
group_of(struct cluster *c, size_t node)
{
    size_t count;
    uint64_t *ids =
        broker_replica_ids(sim_node_broker(c->nodes[node], 0), &count);
    qr_group_id id;

    cr_assert_eq(count, 1);
    id = ids[0];
    mem_free(ids);
    return id;
}

/* Every replica of the queue takes a snapshot. */
static void
snapshot(struct cluster *c)
{
    for (size_t n = 0; n < c->count; n++) {
        struct sim_parts parts;

        cr_assert(sim_node_parts(c->nodes[n], 0, &parts));
        qr_group_snapshot(qr_host_group(parts.host, group_of(c, n)));
    }
    cluster_pass(c, 1000);
}

static void
stop(struct cluster *c)
{
    for (size_t n = 0; n < c->count; n++) {
        cluster_kill(c, n);
    }
}

static void
start(struct cluster *c)
{
    for (size_t n = 0; n < c->count; n++) {
        cluster_start(c, n);
    }
    cluster_pass(c, 8000);
    for (size_t n = 0; n < c->count; n++) {
        cr_assert(broker_is_ready(sim_node_broker(c->nodes[n], 0)));
    }
}

/* COUNT nodes with a queue of ten messages, each an entry of its own; is it
 * of a snapshot? */
static void
ten(struct cluster *c, size_t count, bool has_snapshot)
{
    struct client k;

    cluster_init(c, count, 1);
    cluster_declare(c, 0, 0, "q");
    client_open(&k, c, 0);
    publish(&k, 1, 10);
    client_close(&k);
    if (has_snapshot) {
        snapshot(c);
    }
}

/* K holds messages FIRST to LAST but for those in BUT, in their order. */
static void
expect_held(const struct client *k, unsigned first, unsigned last, unsigned but)
{
    size_t at = 0;

    for (unsigned i = first; i <= last; i++) {
        char body[BODY_SIZE + 1];

        body_of(i, body);
        if (i != but) {
            cr_assert_lt(at, k->held, "message %u did not come", i);
            cr_assert_str_eq(k->bodies[at], body);
            at++;
        }
    }
    cr_assert_eq(at, k->held);
}

/* ---- bodies ---- */

Test(losses, a_message_that_nobody_has_is_in_nobodys_way)
{
    struct cluster c;
    struct client k;

    ten(&c, 3, true);
    stop(&c);
    rot(&c, 4);
    start(&c);
    client_open(&k, &c, 1);
    consume(&k, 0);
    cluster_pass(&c, 10000);
    expect_held(&k, 1, 10, 4);
    SAYS(0, "list_queues -- messages_unacknowledged messages_lost state",
         EXIT_CODE_OK, "[[9,1,\"running\"]]");
    SAYS(1, "quorum_status -- q", EXIT_CODE_OK,
         "\"columns\":[\"first_entry\",\"last_entry\",\"messages\","
         "\"bytes\",\"commands\",\"time\"]");
    client_close(&k);
    stop(&c);
    start(&c);
    client_open(&k, &c, 2);
    consume(&k, 0);
    cluster_pass(&c, 10000);
    expect_held(&k, 1, 10, 4);
    SAYS(0, "list_queues -- messages messages_lost state", EXIT_CODE_OK,
         "[[9,1,\"running\"]]");
    publish(&k, 11, 12);
    cluster_pass(&c, 1000);
    expect_held(&k, 1, 12, 4);
    client_close(&k);
    cluster_deinit(&c);
}

Test(losses, a_get_gets_the_one_behind_it)
{
    struct cluster c;
    struct client k;
    char body[BODY_SIZE + 1];

    ten(&c, 3, true);
    stop(&c);
    rot(&c, 1);
    start(&c);
    client_open(&k, &c, 0);
    broker_get(k.broker, &k.connection, meta_text("q", 1), &k.consumer,
               &k.call);
    await(&k);
    cr_assert_eq(k.reply.fault.kind, BROKER_OK, "%s", k.reply.fault.text);
    body_of(2, body);
    cr_assert_str_eq(k.got, body);
    SAYS(0, "list_queues -- messages messages_lost", EXIT_CODE_OK, "[[9,1]]");
    client_close(&k);
    cluster_deinit(&c);
}

Test(losses, a_node_that_is_away_may_have_it)
{
    struct cluster c;
    struct client k;

    ten(&c, 3, true);
    stop(&c);
    rot(&c, 4);
    cluster_start(&c, 0);
    cluster_start(&c, 1);
    cluster_pass(&c, 8000);
    client_open(&k, &c, 0);
    consume(&k, 0);
    cluster_pass(&c, 20000);
    expect_held(&k, 1, 3, 0);
    SAYS(0, "list_queues -- messages_unacknowledged messages_lost",
         EXIT_CODE_OK, "[[10,0]]");
    cluster_start(&c, 2);
    cluster_pass(&c, 20000);
    expect_held(&k, 1, 10, 4);
    client_close(&k);
    cluster_deinit(&c);
}

/* ---- commands ---- */

Test(losses, commands_that_nobody_knows_end_a_queues_service_and_say_so)
{
    struct broker_queue_spec passive = {.name = meta_text("q", 1),
                                        .is_passive = true};
    struct cluster c;
    struct client k;

    ten(&c, 3, false);
    stop(&c);
    rot(&c, 4);
    start(&c);
    cluster_pass(&c, 10000);
    SAYS(0, "list_queues -- name state", EXIT_CODE_OK, "[\"q\",\"damaged\"]");
    SAYS(0, "quorum_status -- q", EXIT_CODE_OK, "The queue cannot be served");
    client_open(&k, &c, 0);
    broker_queue_declare(k.broker, &k.connection, &passive, &k.call);
    await(&k);
    cr_assert_neq(k.reply.fault.kind, BROKER_OK);
    cr_assert(strstr(k.reply.fault.text, "'q' in vhost '/'") != NULL, "%s",
              k.reply.fault.text);
    cr_assert(strstr(k.reply.fault.text, "rotted") != NULL, "%s",
              k.reply.fault.text);
    SAYS(0, "delete_queue -- q", EXIT_CODE_OK, "it had no leader");
    cluster_declare(&c, 1, 0, "q");
    k.confirmed = 0;
    publish(&k, 1, 2);
    SAYS(0, "list_queues -- messages messages_lost state", EXIT_CODE_OK,
         "[[2,0,\"running\"]]");
    client_close(&k);
    cluster_deinit(&c);
}

Test(losses, a_queue_of_one_replica_loses_what_has_rotted_and_no_more)
{
    struct cluster c;
    struct client k;

    ten(&c, 1, false);
    stop(&c);
    rot(&c, 4);
    start(&c);
    SAYS(0, "list_queues -- messages messages_lost state", EXIT_CODE_OK,
         "[[9,0,\"running\"]]");
    SAYS(0, "quorum_status -- q", EXIT_CODE_OK, "\"unknown\"");
    client_open(&k, &c, 0);
    consume(&k, 0);
    cluster_pass(&c, 5000);
    expect_held(&k, 1, 10, 4);
    client_close(&k);
    cluster_deinit(&c);
}

Test(losses, a_queue_whose_only_state_has_rotted_says_so_and_how_to_go_on)
{
    static const char tag[] = "a tag that is nowhere el";
    struct broker_consume_spec spec = {.queue = meta_text("q", 1),
                                       .tag = meta_text(tag, BODY_SIZE),
                                       .prefetch = 1};
    struct broker_queue_spec passive = {.name = meta_text("q", 1),
                                        .is_passive = true};
    struct cluster c;
    struct client k;

    ten(&c, 1, false);
    client_open(&k, &c, 0);
    broker_consume(k.broker, &k.connection, &spec, &k.consumer, &k.call);
    await(&k);
    snapshot(&c); /* has the tag */
    client_close(&k);
    stop(&c);
    rot_text(&c, tag);
    start(&c);
    SAYS(0, "list_queues -- name state", EXIT_CODE_OK, "[\"q\",\"lost\"]");
    client_open(&k, &c, 0);
    broker_queue_declare(k.broker, &k.connection, &passive, &k.call);
    await(&k);
    cr_assert_eq(k.reply.fault.kind, BROKER_INTERNAL);
    cr_assert(strstr(k.reply.fault.text, "'q' in vhost '/' is lost") != NULL,
              "%s", k.reply.fault.text);
    SAYS(0, "delete_queue -- q", EXIT_CODE_OK, "it had no leader");
    cluster_declare(&c, 0, 0, "q");
    publish(&k, 1, 3);
    consume(&k, 0);
    cluster_pass(&c, 1000);
    expect_held(&k, 1, 3, 0);
    client_close(&k);
    cluster_deinit(&c);
}

/* ---- metadata ---- */

/* 24 bytes each, so that they are found on the disk. */
static const char *const names[] = {
    "first of the four queues", "second of the queues ...",
    "third of the queues ....", "fourth of the queues ..."};

static void
expect_messages(struct cluster *c, const char *name, unsigned count)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "[\"%s\",%u]", name, count);
    cr_expect(
        cluster_says(c, 0, "list_queues -- name messages", EXIT_CODE_OK, text),
        "%s", text);
}

/* Four queues with 1 to 4 messages; the declaration of LOST rots. */
static void
lose_declaration(size_t lost, uint16_t shards)
{
    struct cluster c;

    cluster_init(&c, 1, shards);
    for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
        cluster_declare(&c, 0, 0, names[i]);
        cluster_publish(&c, 0, 0, names[i], i + 1);
    }
    stop(&c);
    rot_text(&c, names[lost]);
    start(&c);
    for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
        if (i != lost) {
            expect_messages(&c, names[i], i + 1);
        }
    }
    SAYS(0, "cluster_status --", EXIT_CODE_OK, "\"metadata_entries_lost\",\"1");
    SAYS(0, "cluster_status --", EXIT_CODE_OK, "[\"queues\",3]");
    cluster_declare(&c, 0, 0, "another");
    expect_messages(&c, "another", 0);
    cluster_declare(&c, 0, 0, names[lost]);
    expect_messages(&c, names[lost], 0);
    cluster_publish(&c, 0, 0, names[lost], 2);
    stop(&c);
    start(&c);
    expect_messages(&c, names[lost], 2);
    expect_messages(&c, names[0 + (lost == 0)], 1 + (lost == 0));
    SAYS(0, "cluster_status --", EXIT_CODE_OK, "\"metadata_entries_lost\",\"1");
    cluster_deinit(&c);
}

Test(losses, a_lost_declaration_takes_no_other_queues_messages)
{
    lose_declaration(1, 1);
}

Test(losses, the_last_declaration_that_is_lost_leaves_no_id_behind)
{
    lose_declaration(3, 1);
}

Test(losses, a_lost_declaration_is_known_to_all_shards)
{
    lose_declaration(1, 2);
}
