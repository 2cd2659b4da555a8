/* Output: frame sizes, references, and a reader that is slow. */
#include "client.h"
#include "lib/harness.h"

static struct client c;

static void
setup(void)
{
    client_init(&c);
    client_connect(&c);
    client_open(&c, 1);
}

static void
teardown(void)
{
    client_deinit(&c);
}

TestSuite(output, .init = setup, .fini = teardown);

static void
expect_body(size_t size)
{
    cr_assert_eq(c.body.size, size);
    for (size_t i = 0; i < size; i++) {
        cr_assert_eq(c.body.data[i], (uint8_t)i);
    }
}

Test(output, bodies_come_in_frames_that_were_agreed)
{
    static const size_t sizes[] = {0,    1,    512,  513,  4087,
                                   4088, 4089, 8176, 8177, 100000};

    teardown();
    client_init(&c);
    client_connect_with(&c, 0, 4096, 0);
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", false);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        fake_broker_fill(c.broker, "q", 1, sizes[i]);
        client_pump(&c);
        client_expect_content(&c, 1, AMQP_basic_deliver);
        expect_body(sizes[i]);
        client_expect_nothing(&c);
    }
}

Test(output, large_bodies_go_by_reference)
{
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", false);
    fake_broker_fill(c.broker, "q", 1, AMQP_BODY_COPY_MAX);
    client_pump(&c);
    cr_assert_eq(c.slices, 0);
    fake_broker_fill(c.broker, "q", 1, AMQP_BODY_COPY_MAX + 1);
    client_pump(&c);
    cr_assert_eq(c.slices, 1);
    fake_broker_fill(c.broker, "q", 1, 3 * AMQP_FRAME_SIZE_MAX);
    client_pump(&c);
    cr_assert_eq(c.slices, 5);
    for (int i = 0; i < 3; i++) {
        client_expect_content(&c, 1, AMQP_basic_deliver);
        expect_body(c.body.size);
    }
}

Test(output, a_slow_reader_gets_its_credit_and_no_more)
{
    size_t before = 0;

    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", true);
    c.has_no_backlog = false;
    c.backlog = 0;
    fake_broker_fill(c.broker, "q", 5000, 1000);
    before = c.heard.size;
    for (int i = 0; i < 20; i++) {
        client_pump(&c);
    }
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 5000 - AMQP_NO_ACK_PREFETCH);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 0);
    cr_assert_lt(c.heard.size - before, AMQP_NO_ACK_PREFETCH * 1200);
    /* The socket takes half of it. */
    c.backlog /= 2;
    amqp_connection_writable(c.connection, c.backlog);
    cr_assert_gt(fake_broker_stats(c.broker)->acked,
                 AMQP_NO_ACK_PREFETCH / 2 - 64);
    cr_assert_leq(fake_broker_stats(c.broker)->acked, AMQP_NO_ACK_PREFETCH / 2);
    cr_assert_lt(fake_broker_stats(c.broker)->settled_runs,
                 AMQP_NO_ACK_PREFETCH / 8, "settled in runs");
    c.has_no_backlog = true;
    c.backlog = 0;
    amqp_connection_writable(c.connection, 0);
    for (int i = 0; i < 20; i++) {
        client_pump(&c);
    }
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 5000);
}

Test(output, credit_grows_to_the_prefetch_while_the_socket_takes_all)
{
    client_qos(&c, 1, 1000);
    fake_broker_fill(c.broker, "q", 2000, 100);
    client_consume(&c, 1, "q", "t", false);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1000);
    cr_assert_eq(fake_broker_stats(c.broker)->credits, 1);
    client_ack(&c, 1, 1000, true);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 0);
    cr_assert_eq(fake_broker_stats(c.broker)->credits, 1);
}

Test(output, of_an_empty_queue_all_credit_is_given_soon)
{
    client_declare(&c, 1, "q");
    client_qos(&c, 1, 1000);
    client_consume(&c, 1, "q", "t", false);
    cr_assert_eq(fake_broker_stats(c.broker)->credits, 0);
    cr_assert_eq(c.deadline_ms, c.now_ms + AMQP_CREDIT_IDLE_MS);
    amqp_connection_tick(c.connection, c.deadline_ms);
    cr_assert_gt(c.deadline_ms, c.now_ms + AMQP_CREDIT_IDLE_MS);
    cr_assert_eq(fake_broker_stats(c.broker)->last_prefetch,
                 AMQP_CREDIT_INITIAL);
    cr_assert_eq(fake_broker_stats(c.broker)->credits, 1);
    cr_assert_eq(fake_broker_stats(c.broker)->last_credit, 1000);
}

Test(output, a_small_prefetch_needs_no_pacing)
{
    client_declare(&c, 1, "q");
    client_qos(&c, 1, AMQP_CREDIT_INITIAL);
    client_consume(&c, 1, "q", "t", false);
    fake_broker_fill(c.broker, "q", 100, 1000);
    client_pump(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 100 - AMQP_CREDIT_INITIAL);
    cr_assert_eq(fake_broker_stats(c.broker)->credits, 0);
}

/* Of a slow reader with acknowledgements, so much is in memory, and no more;
 * once it reads, it gets all it may have. */
Test(output, large_messages_wait_for_the_socket)
{
    static const size_t size = 1 << 20;

    client_qos(&c, 1, 300);
    fake_broker_fill(c.broker, "q", 300, size);
    c.has_no_backlog = false;
    c.backlog = 0;
    client_consume(&c, 1, "q", "t", false);
    for (int i = 0; i < 10; i++) {
        client_pump(&c);
    }
    cr_assert_leq(c.backlog, (AMQP_CREDIT_INITIAL + 1) * (size + 100));
    for (int i = 0; i < 100; i++) {
        c.backlog = 0;
        amqp_connection_writable(c.connection, 0);
        client_pump(&c);
        cr_assert_leq(c.backlog, AMQP_BACKLOG_BYTES_MAX + 2 * size);
    }
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 0, "all of its prefetch");
}

Test(output, large_messages_that_come_later_wait_too)
{
    static const size_t size = 1 << 20;

    client_declare(&c, 1, "q");
    client_qos(&c, 1, 300);
    client_consume(&c, 1, "q", "t", false);
    amqp_connection_tick(c.connection, c.deadline_ms);
    cr_assert_eq(fake_broker_stats(c.broker)->last_credit, 300);
    c.has_no_backlog = false;
    c.backlog = 0;
    fake_broker_fill(c.broker, "q", 300, size);
    for (int i = 0; i < 10; i++) {
        client_pump(&c);
    }
    cr_assert_leq(c.backlog, AMQP_BACKLOG_BYTES_MAX + 2 * size);
}

Test(output, what_is_cancelled_is_settled_when_it_is_taken)
{
    struct amqp_method m = {.id = AMQP_basic_cancel};

    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", true);
    c.has_no_backlog = false;
    fake_broker_fill(c.broker, "q", 10, 100);
    client_pump(&c);
    m.basic_cancel.consumer_tag = client_text("t");
    client_send(&c, 1, &m);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 1);
    amqp_connection_writable(c.connection, 0);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 10);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 0);
}

Test(output, a_channel_that_goes_leaves_no_marks)
{
    struct amqp_method m = {.id = AMQP_channel_close};

    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", true);
    c.has_no_backlog = false;
    fake_broker_fill(c.broker, "q", 10, 100);
    client_pump(&c);
    m.channel_close.reply_text = client_text("");
    client_send(&c, 1, &m);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 0);
    amqp_connection_writable(c.connection, 0);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 0);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 10);
}

Test(output, who_does_not_take_answers_is_not_read)
{
    struct amqp_method m = {.id = AMQP_basic_get};
    size_t gets = 0;

    c.has_no_backlog = false;
    c.backlog = 0;
    m.basic_get.no_ack = true;
    m.basic_get.queue = client_text("q");
    fake_broker_fill(c.broker, "q", 100, 100000);
    while (c.is_reading && gets < 100) {
        client_send(&c, 1, &m);
        gets++;
    }
    cr_assert_eq(gets, AMQP_ANSWERS_BYTES_MAX / 100000 + 1);
    amqp_connection_writable(c.connection, AMQP_ANSWERS_BYTES_MAX / 2);
    cr_assert_not(c.is_reading);
    amqp_connection_writable(c.connection, AMQP_ANSWERS_BYTES_MAX / 2 - 1);
    cr_assert(c.is_reading);
}

/* Whatever is asked for: its answers are kept for a client that does not take
 * them, but only so many. */
static void
expect_bound(const struct amqp_method *m)
{
    size_t sent = 0;

    c.has_no_backlog = false;
    c.backlog = 0;
    while (c.is_reading && sent < 2 * AMQP_ANSWERS_BYTES_MAX) {
        client_put_method(&c, 1, m);
        sent++;
        if (sent % 1000 == 0) {
            client_pump(&c);
        }
    }
    cr_assert_not(c.is_reading);
    cr_assert_gt(c.backlog, AMQP_ANSWERS_BYTES_MAX);
    cr_assert_lt(c.backlog, AMQP_ANSWERS_BYTES_MAX + 1000);
    c.backlog = 0;
    amqp_connection_writable(c.connection, 0);
    cr_assert(c.is_reading);
}

Test(output, who_does_not_take_small_answers_is_not_read_either)
{
    struct amqp_method m = {.id = AMQP_basic_qos};

    expect_bound(&m);
}

Test(output, who_does_not_take_confirms_is_not_read)
{
    size_t sent = 0;

    client_declare(&c, 1, "q");
    client_confirm_select(&c, 1);
    c.has_no_backlog = false;
    c.backlog = 0;
    while (c.is_reading && sent < AMQP_ANSWERS_BYTES_MAX) {
        client_put_publish(&c, 1, "", "q", "x", 1, 1);
        client_pump(&c); /* one confirm each */
        sent++;
    }
    cr_assert_not(c.is_reading);
    cr_assert_lt(c.backlog, AMQP_ANSWERS_BYTES_MAX + 1000);
}
