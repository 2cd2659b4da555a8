/* Consumers, cancelling, getting. */
#include "amqp/channel.h"
#include "amqp/table.h"
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

TestSuite(channel_consume, .init = setup, .fini = teardown);

static struct amqp_method
consume(const char *queue, const char *tag)
{
    struct amqp_method m = {.id = AMQP_basic_consume};

    m.basic_consume.queue = client_text(queue);
    m.basic_consume.consumer_tag = client_text(tag);
    m.basic_consume.arguments = client_text("");
    return m;
}

static void
send_cancel(const char *tag, bool nowait)
{
    struct amqp_method m = {.id = AMQP_basic_cancel};

    m.basic_cancel.consumer_tag = client_text(tag);
    m.basic_cancel.nowait = nowait;
    client_send(&c, 1, &m);
}

static void
send_get(const char *queue, bool no_ack)
{
    struct amqp_method m = {.id = AMQP_basic_get};

    m.basic_get.queue = client_text(queue);
    m.basic_get.no_ack = no_ack;
    client_send(&c, 1, &m);
}

Test(channel_consume, a_tag_is_made_for_who_has_none)
{
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "", false);
    cr_assert_eq(
        memcmp(c.method.basic_consume_ok.consumer_tag.data, "amq.ctag-", 9), 0);
    client_consume(&c, 1, "q", "", false);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 2);
}

Test(channel_consume, a_tag_is_used_once)
{
    struct amqp_method m = consume("q", "t");

    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", false);
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 530,
                        "NOT_ALLOWED - attempt to reuse consumer tag 't'");
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 0);
}

Test(channel_consume, of_no_queue_is_not_found)
{
    struct amqp_method m = consume("none", "t");

    client_send(&c, 1, &m);
    client_expect_error(&c, 1, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
}

Test(channel_consume, may_not_wait)
{
    struct amqp_method m = consume("q", "t");

    fake_broker_fill(c.broker, "q", 1, 5);
    m.basic_consume.nowait = true;
    client_send(&c, 1, &m);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    send_cancel("t", true);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 1);
    client_ack(&c, 1, 1, false);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 0);
}

Test(channel_consume, exclusive_and_prefetch_reach_the_broker)
{
    struct amqp_method m = consume("q", "t");

    client_declare(&c, 1, "q");
    client_qos(&c, 1, 7);
    m.basic_consume.exclusive = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_basic_consume_ok);
    cr_assert_eq(fake_broker_stats(c.broker)->last_prefetch, 7);
    cr_assert(fake_broker_stats(c.broker)->last_is_exclusive);
    client_consume(&c, 1, "q", "no ack", true);
    cr_assert_eq(fake_broker_stats(c.broker)->last_prefetch,
                 AMQP_CREDIT_INITIAL);
    client_qos(&c, 1, 0);
    client_consume(&c, 1, "q", "unlimited", false);
    cr_assert_eq(fake_broker_stats(c.broker)->last_prefetch,
                 AMQP_CREDIT_INITIAL);
}

Test(channel_consume, a_redelivery_says_so)
{
    struct amqp_method m = {.id = AMQP_basic_reject};
    struct amqp_properties p;
    struct amqp_value v;

    fake_broker_fill(c.broker, "q", 1, 5);
    client_consume(&c, 1, "q", "t", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert_not(c.method.basic_deliver.redelivered);
    cr_assert_eq(c.header.flags, 0);
    m.basic_reject.delivery_tag = 1;
    m.basic_reject.requeue = true;
    client_send(&c, 1, &m);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert(c.method.basic_deliver.redelivered);
    cr_assert_eq(c.method.basic_deliver.delivery_tag, 2);
    cr_assert_eq(amqp_properties_decode(c.header.properties,
                                        c.header.properties_size, &p),
                 0);
    cr_assert(amqp_table_get(p.headers, "x-delivery-count", &v));
    cr_assert_eq(v.number, 1);
}

Test(channel_consume, priority_is_refused_by_name)
{
    struct amqp_method m = consume("q", "t");

    client_declare(&c, 1, "q");
    m.basic_consume.arguments = (struct amqp_text){"\xax-priorityb\5", 13};
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540,
                        "NOT_IMPLEMENTED - consumer argument 'x-priority'");
}

Test(channel_consume, cancel_leaves_what_is_unsettled)
{
    fake_broker_fill(c.broker, "q", 3, 5);
    client_qos(&c, 1, 2);
    client_consume(&c, 1, "q", "t", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    send_cancel("t", false);
    client_expect(&c, 1, AMQP_basic_cancel_ok);
    cr_assert(client_text_is(c.method.basic_cancel_ok.consumer_tag, "t"));
    client_ack(&c, 1, 1, false);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 1);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 1);
    /* The tag is free again. */
    client_consume(&c, 1, "q", "t", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_ack(&c, 1, 3, true);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 3);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 1);
}

Test(channel_consume, cancelling_nothing_is_fine)
{
    send_cancel("none", false);
    client_expect(&c, 1, AMQP_basic_cancel_ok);
    cr_assert(client_text_is(c.method.basic_cancel_ok.consumer_tag, "none"));
    send_cancel("none", true);
    client_expect_nothing(&c);
}

Test(channel_consume, the_loss_of_its_queue_is_told)
{
    fake_broker_fill(c.broker, "q", 1, 5);
    client_consume(&c, 1, "q", "t", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    client_declare(&c, 1, "p");
    client_consume(&c, 1, "p", "u", false);
    fake_broker_drop(c.broker, "q");
    client_expect(&c, 1, AMQP_basic_cancel);
    cr_assert(client_text_is(c.method.basic_cancel.consumer_tag, "t"));
    cr_assert(c.method.basic_cancel.nowait);
    fake_broker_drop(c.broker, "p");
    client_expect(&c, 1, AMQP_basic_cancel);
    /* Its delivery may be settled all the same, to no effect. */
    client_ack(&c, 1, 1, false);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 0);
    send_cancel("t", false);
    client_expect(&c, 1, AMQP_basic_cancel_ok);
}

Test(channel_consume, the_loss_is_not_told_to_who_does_not_ask)
{
    c.connection->capabilities.consumer_cancel_notify = false;
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", false);
    fake_broker_drop(c.broker, "q");
    client_expect_nothing(&c);
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", false);
}

Test(channel_consume, the_queue_may_go_while_it_is_cancelled)
{
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "t", false);
    fake_broker_control(c.broker)->hold_calls = true;
    send_cancel("t", false);
    fake_broker_drop(c.broker, "q");
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_basic_cancel);
    client_expect(&c, 1, AMQP_basic_cancel_ok);
}

Test(channel_consume, consumers_have_a_limit)
{
    struct amqp_method m = consume("q", "");

    client_declare(&c, 1, "q");
    m.basic_consume.nowait = true;
    for (size_t i = 0; i < AMQP_CONSUMERS_MAX; i++) {
        client_put_method(&c, 1, &m);
    }
    for (int i = 0; i < 100 && c.sent.size > 0; i++) {
        client_pump(&c);
    }
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, AMQP_CONSUMERS_MAX);
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 506,
                        "RESOURCE_ERROR - number of consumers of the channel "
                        "has reached its maximum (8192)");
}

Test(channel_consume, get_gets)
{
    fake_broker_fill(c.broker, "q", 2, 5);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    cr_assert_eq(c.method.basic_get_ok.delivery_tag, 1);
    cr_assert_eq(c.method.basic_get_ok.message_count, 1);
    cr_assert(client_text_is(c.method.basic_get_ok.routing_key, "q"));
    cr_assert_eq(c.body.size, 5);
    send_get("q", true);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    cr_assert_eq(c.method.basic_get_ok.delivery_tag, 2);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 1);
    send_get("q", false);
    client_expect(&c, 1, AMQP_basic_get_empty);
    client_ack(&c, 1, 1, false);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 2);
    client_expect_nothing(&c);
}

Test(channel_consume, get_of_no_queue_is_not_found)
{
    send_get("none", false);
    client_expect_error(&c, 1, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
}

Test(channel_consume, what_was_got_goes_back_with_the_channel)
{
    struct amqp_method m = {.id = AMQP_channel_close};

    fake_broker_fill(c.broker, "q", 2, 5);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    m.channel_close.reply_text = client_text("");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_channel_close_ok);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 2);
}

Test(channel_consume, what_was_got_may_lose_its_queue)
{
    fake_broker_fill(c.broker, "q", 1, 5);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    fake_broker_drop(c.broker, "q");
    client_expect_nothing(&c);
    fake_broker_fill(c.broker, "q", 1, 5);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    client_ack(&c, 1, 2, true);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 1);
}

Test(channel_consume, what_was_got_may_go_to_others)
{
    fake_broker_fill(c.broker, "q", 2, 5);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    fake_broker_give_up(c.broker, "q");
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - queue 'q' in vhost '/' cannot "
                        "be reached: what basic.get gave to channel 1 goes to "
                        "others");
}

Test(channel_consume, who_got_and_holds_nothing_hears_nothing)
{
    fake_broker_fill(c.broker, "q", 2, 5);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    client_ack(&c, 1, 1, false);
    client_expect_nothing(&c);
    fake_broker_give_up(c.broker, "q");
    client_expect_nothing(&c);
    send_get("q", false);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
}

Test(channel_consume, idle_holders_of_get_make_room)
{
    char name[16];

    for (int i = 0; i <= AMQP_GET_QUEUES_MAX; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        fake_broker_fill(c.broker, name, 1, 1);
        send_get(name, i != 5);
        client_expect_content(&c, 1, AMQP_basic_get_ok);
    }
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, AMQP_GET_QUEUES_MAX);
    client_ack(&c, 1, 6, false);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, AMQP_GET_QUEUES_MAX + 1);
}

Test(channel_consume, holders_of_get_have_a_limit)
{
    char name[16];

    for (int i = 0; i <= AMQP_GET_QUEUES_MAX; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        fake_broker_fill(c.broker, name, 1, 1);
        send_get(name, false);
        if (i < AMQP_GET_QUEUES_MAX) {
            client_expect_content(&c, 1, AMQP_basic_get_ok);
        }
    }
    client_expect_error(&c, 0, 506,
                        "RESOURCE_ERROR - the channel holds messages of 256 "
                        "queues from basic.get: settle some first");
}

Test(channel_consume, listings_follow)
{
    const struct broker_channel *listed =
        list_entry(c.connection->bc.channels.next, struct broker_channel, link);

    fake_broker_fill(c.broker, "q", 3, 5);
    client_qos(&c, 1, 3);
    client_consume(&c, 1, "q", "t", false);
    cr_assert_eq(listed->number, 1);
    cr_assert_eq(listed->consumers_count, 1);
    cr_assert_eq(listed->prefetch, 3);
    cr_assert_eq(listed->unacknowledged, 3);
    for (int i = 0; i < 3; i++) {
        client_expect_content(&c, 1, AMQP_basic_deliver);
    }
    client_ack(&c, 1, 2, true);
    cr_assert_eq(listed->unacknowledged, 1);
    client_confirm_select(&c, 1);
    fake_broker_control(c.broker)->hold_confirms = true;
    client_put_publish(&c, 1, "", "none", "x", 1, 1);
    client_pump(&c);
    cr_assert(listed->is_confirming);
    cr_assert_eq(listed->unconfirmed, 1);
    send_cancel("t", true);
    cr_assert_eq(listed->consumers_count, 0);
}
