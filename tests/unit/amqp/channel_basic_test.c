/* Prefetch and settling. */
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

TestSuite(channel_basic, .init = setup, .fini = teardown);

/* COUNT messages delivered to a consumer with prefetch COUNT. */
static void
deliver(size_t count)
{
    fake_broker_fill(c.broker, "q", count, 5);
    client_consume(&c, 1, "q", "t", false);
    for (size_t i = 0; i < count; i++) {
        client_expect_content(&c, 1, AMQP_basic_deliver);
    }
}

Test(channel_basic, prefetch_is_not_by_size)
{
    struct amqp_method m = {.id = AMQP_basic_qos};

    m.basic_qos.prefetch_size = 10;
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)");
}

Test(channel_basic, prefetch_is_not_shared)
{
    struct amqp_method m = {.id = AMQP_basic_qos};

    m.basic_qos.global = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_basic_qos_ok);
    m.basic_qos.prefetch_count = 1;
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540,
                        "NOT_IMPLEMENTED - basic.qos with global=true");
}

Test(channel_basic, prefetch_holds_deliveries)
{
    client_qos(&c, 1, 2);
    fake_broker_fill(c.broker, "q", 5, 5);
    client_consume(&c, 1, "q", "t", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_expect_nothing(&c);
    client_ack(&c, 1, 1, false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_expect_nothing(&c);
}

Test(channel_basic, ack_multiple_is_one_run)
{
    deliver(100);
    client_ack(&c, 1, 100, true);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 100);
    cr_assert_eq(fake_broker_stats(c.broker)->settled_runs, 1);
}

Test(channel_basic, ack_of_tag_0_is_all)
{
    deliver(3);
    client_ack(&c, 1, 0, true);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 3);
    client_ack(&c, 1, 0, true);
    client_expect_nothing(&c);
}

Test(channel_basic, an_unknown_tag_closes_the_channel)
{
    static const struct {
        uint64_t tag;
        bool multiple;
        const char *text;
    } rows[] = {
        {1, false, "PRECONDITION_FAILED - unknown delivery tag 1"},
        {4, false, "PRECONDITION_FAILED - unknown delivery tag 4"},
        {4, true, "PRECONDITION_FAILED - unknown delivery tag 4"},
        {0, false, "PRECONDITION_FAILED - unknown delivery tag 0"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        teardown();
        setup();
        deliver(3);
        client_ack(&c, 1, 1, false);
        client_ack(&c, 1, rows[i].tag, rows[i].multiple);
        client_expect_error(&c, 1, 406, rows[i].text);
        cr_assert_eq(c.method.channel_close.class_id, 60);
        cr_assert_eq(c.method.channel_close.method_id, 80);
        cr_assert_eq(fake_broker_ready(c.broker, "q"), 2);
    }
}

Test(channel_basic, nack_and_reject_requeue_or_discard)
{
    struct amqp_method m = {.id = AMQP_basic_nack};

    deliver(6);
    m.basic_nack.delivery_tag = 2;
    m.basic_nack.multiple = true;
    client_send(&c, 1, &m);
    cr_assert_eq(fake_broker_stats(c.broker)->discarded, 2);
    m.basic_nack.delivery_tag = 3;
    m.basic_nack.multiple = false;
    m.basic_nack.requeue = true;
    client_send(&c, 1, &m);
    cr_assert_eq(fake_broker_stats(c.broker)->requeued, 1);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert_eq(c.method.basic_deliver.delivery_tag, 7);
    m.id = AMQP_basic_reject;
    m.basic_reject.delivery_tag = 4;
    m.basic_reject.requeue = false;
    client_send(&c, 1, &m);
    cr_assert_eq(fake_broker_stats(c.broker)->discarded, 3);
    m.basic_reject.delivery_tag = 99;
    client_send(&c, 1, &m);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - unknown delivery tag 99");
}

Test(channel_basic, recover_delivers_again)
{
    struct amqp_method m = {.id = AMQP_basic_recover};

    deliver(2);
    m.basic_recover.requeue = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_basic_recover_ok);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert(c.method.basic_deliver.redelivered);
    cr_assert_eq(c.method.basic_deliver.delivery_tag, 3);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    m.id = AMQP_basic_recover_async;
    m.basic_recover_async.requeue = true;
    client_send(&c, 1, &m);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_expect_nothing(&c);
}

Test(channel_basic, recover_must_requeue)
{
    struct amqp_method m = {.id = AMQP_basic_recover};

    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540, "NOT_IMPLEMENTED - requeue=false");
    teardown();
    setup();
    m.id = AMQP_basic_recover_async;
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540, "NOT_IMPLEMENTED - requeue=false");
}
