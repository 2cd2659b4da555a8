/* Records between nodes: what is written is read, by older and newer readers
 * too, and what is broken is not. */
#include "base/buf.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "mgmt/record.h"

static const struct replica_record replica = {.group = 1234567890123,
                                              .leader = 3,
                                              .is_leader = 1,
                                              .is_voter = 1,
                                              .state = {"leader", 6},
                                              .term = 9,
                                              .last = 100,
                                              .stored = 99,
                                              .committed = 98,
                                              .applied = 97,
                                              .snapshot = 50,
                                              .ready = 7,
                                              .unsettled = 8,
                                              .ready_bytes = 70,
                                              .unsettled_bytes = 80,
                                              .consumers = 2,
                                              .damaged = 5,
                                              .blocked = 98,
                                              .lost = 11,
                                              .losses = {"xyz", 3}};

static bool
is_same_text(struct meta_text a, struct meta_text b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

Test(record, a_replica_comes_back_as_it_was)
{
    struct replica_record out;
    struct cursor c;
    struct buf b;

    buf_init(&b);
    record_put_replica(&b, &replica);
    record_put_replica(&b, &replica);
    cursor_init(&c, b.data, b.size);
    cr_assert(record_get_replica(&c, &out));
    cr_assert(record_get_replica(&c, &out));
    cr_assert_eq(out.group, replica.group);
    cr_assert_eq(out.leader, 3);
    cr_assert_eq(out.term, 9);
    cr_assert_eq(out.snapshot, 50);
    cr_assert_eq(out.consumers, 2);
    cr_assert(is_same_text(out.state, replica.state));
    cr_assert_eq(out.damaged, 5);
    cr_assert_eq(out.blocked, 98);
    cr_assert_eq(out.lost, 11);
    cr_assert(is_same_text(out.losses, replica.losses));
    cr_assert(!record_get_replica(&c, &out));
    cr_assert(!c.bad);
    buf_deinit(&b);
}

Test(record, a_loss_comes_back_as_it_was)
{
    struct loss_record loss = {.first = 3,
                               .last = 5,
                               .messages = 7,
                               .bytes = 900,
                               .time_ms = UINT64_C(1700000000000),
                               .is_unknown = 1};
    struct loss_record out;
    struct cursor c;
    struct buf b;

    buf_init(&b);
    record_put_loss(&b, &loss);
    cursor_init(&c, b.data, b.size);
    cr_assert(record_get_loss(&c, &out));
    cr_assert_eq(memcmp(&out, &loss, sizeof(out)), 0);
    cr_assert(!record_get_loss(&c, &out));
    buf_deinit(&b);
}

Test(record, the_others_come_back_as_they_were)
{
    struct consumer_record consumer = {
        .group = 16, .session = 1, .tag = {"ct", 2}, .unsettled = 5};
    struct connection_record connection = {.id = 7,
                                           .name = {"a -> b", 6},
                                           .peer_host = {"", 0},
                                           .user = {"u", 1},
                                           .vhost = {"/", 1},
                                           .protocol = {"", 0},
                                           .state = {"running", 7},
                                           .client = {"", 0},
                                           .bytes_sent = 99};
    struct channel_record channel = {.connection = 7,
                                     .connection_name = {"x", 1},
                                     .user = {"u", 1},
                                     .vhost = {"/", 1},
                                     .unacknowledged = 3};
    struct node_record node = {
        .version = {"1.2", 3}, .meta_snapshot = 4, .meta_state = {"leader", 6}};
    struct cursor c;
    struct buf b;

    buf_init(&b);
    record_put_consumer(&b, &consumer);
    record_put_connection(&b, &connection);
    record_put_channel(&b, &channel);
    record_put_node(&b, &node);
    cursor_init(&c, b.data, b.size);
    memset(&consumer, 0xff, sizeof(consumer));
    cr_assert(record_get_consumer(&c, &consumer));
    cr_assert_eq(consumer.unsettled, 5);
    memset(&connection, 0xff, sizeof(connection));
    cr_assert(record_get_connection(&c, &connection));
    cr_assert_eq(connection.bytes_sent, 99);
    memset(&channel, 0xff, sizeof(channel));
    cr_assert(record_get_channel(&c, &channel));
    cr_assert_eq(channel.unacknowledged, 3);
    memset(&node, 0xff, sizeof(node));
    cr_assert(record_get_node(&c, &node));
    cr_assert_eq(node.meta_state.size, 6);
    cr_assert_eq(cursor_left(&c), 0);
    buf_deinit(&b);
}

Test(record, members_of_a_newer_writer_are_skipped)
{
    struct node_record node = {.version = {"1", 1}, .meta_state = {"s", 1}};
    struct node_record out;
    struct cursor c;
    struct buf b;

    buf_init(&b);
    record_put_node(&b, &node);
    b.data[0] = (uint8_t)(b.data[0] + 2); /* its size */
    buf_put_u8(&b, 1);
    buf_put_u8(&b, 2);
    record_put_node(&b, &node);
    cursor_init(&c, b.data, b.size);
    cr_assert(record_get_node(&c, &out));
    cr_assert(record_get_node(&c, &out));
    cr_assert(!record_get_node(&c, &out));
    cr_assert(!c.bad);
    buf_deinit(&b);
}

Test(record, members_that_an_older_writer_lacks_are_zero)
{
    static const uint8_t bytes[] = {3, 1, 'v', 5}; /* version and boot */
    struct node_record out;
    struct cursor c;

    cursor_init(&c, bytes, sizeof(bytes));
    cr_assert(record_get_node(&c, &out));
    cr_assert_eq(out.version.size, 1);
    cr_assert_eq(out.boot, 5);
    cr_assert_eq(out.shards, 0);
    cr_assert_eq(out.meta_state.size, 0);
    cr_assert(out.meta_state.data != NULL);
}

Test(record, a_record_cut_short_is_none)
{
    struct replica_record out;
    struct cursor c;
    struct buf b;

    buf_init(&b);
    record_put_replica(&b, &replica);
    for (size_t size = 1; size < b.size; size++) {
        cursor_init(&c, b.data, size);
        cr_assert(!record_get_replica(&c, &out));
        cr_assert(c.bad);
    }
    buf_deinit(&b);
}

Test(record, a_text_longer_than_its_record_is_none)
{
    static const uint8_t bytes[] = {3, 9, 'v', 5};
    struct node_record out;
    struct cursor c;

    cursor_init(&c, bytes, sizeof(bytes));
    cr_assert(!record_get_node(&c, &out));
    cr_assert(c.bad);
}

Test(record, a_number_too_large_for_its_member_is_none)
{
    /* leader, the second member, has 32 bits. */
    static const uint8_t bytes[] = {7, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    struct replica_record out;
    struct cursor c;

    cursor_init(&c, bytes, sizeof(bytes));
    cr_assert(!record_get_replica(&c, &out));
    cr_assert(c.bad);
}

Test(record, random_bytes_break_nothing)
{
    struct rng r;
    uint8_t bytes[64];
    struct replica_record replica_out;
    struct connection_record connection_out;

    rng_init(&r, 1);
    for (unsigned i = 0; i < 20000; i++) {
        size_t size = (size_t)rng_below(&r, sizeof(bytes) + 1);
        struct cursor c;

        rng_fill(&r, bytes, sizeof(bytes));
        cursor_init(&c, bytes, size);
        while (record_get_replica(&c, &replica_out)) {
        }
        cursor_init(&c, bytes, size);
        while (record_get_connection(&c, &connection_out)) {
        }
    }
}
