/* The broker of one simulated node, as a front end uses it: declarations and
 * their refusals, publishing, consuming, getting, deleting. */
#include "broker/meta_client.h"
#include "broker/queue_client_priv.h"
#include "rig.h"

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
    struct broker_consumer consumer = {0};
    struct answer a;
    struct rig r;

    rig_init(&r);
    consumer.on_deliver = r.consumer.on_deliver;
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
