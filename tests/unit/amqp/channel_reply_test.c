/* Direct reply-to. */
#include "client.h"
#include "lib/harness.h"

static struct client c;

static void
setup(void)
{
    client_init(&c);
    client_connect(&c);
    client_open(&c, 1);
    client_declare(&c, 1, "requests");
}

static void
teardown(void)
{
    client_deinit(&c);
}

TestSuite(channel_reply, .init = setup, .fini = teardown);

static const char REPLY_TO[] = "amq.rabbitmq.reply-to";

static void
send_consume(const char *tag, bool no_ack)
{
    struct amqp_method m = {.id = AMQP_basic_consume};

    m.basic_consume.queue = client_text(REPLY_TO);
    m.basic_consume.consumer_tag = client_text(tag);
    m.basic_consume.no_ack = no_ack;
    m.basic_consume.arguments = client_text("");
    client_send(&c, 1, &m);
}

static void
send_request(void)
{
    struct amqp_method m = {.id = AMQP_basic_publish};
    struct amqp_properties p = {.flags = AMQP_HAS_reply_to |
                                         AMQP_HAS_correlation_id};
    size_t mark = 0;

    m.basic_publish.exchange = client_text("");
    m.basic_publish.routing_key = client_text("requests");
    p.reply_to = client_text(REPLY_TO);
    p.correlation_id = client_text("7");
    client_put_method(&c, 1, &m);
    mark = amqp_frame_begin(&c.sent, AMQP_FRAME_HEADER, 1);
    amqp_content_head(&c.sent, 0);
    amqp_properties_encode(&p, &c.sent);
    amqp_frame_end(&c.sent, mark);
    client_pump(&c);
}

Test(channel_reply, answers_come_back)
{
    struct amqp_method m = {.id = AMQP_basic_get};
    struct amqp_properties p;
    char reply_to[256];

    send_consume("replies", true);
    client_expect(&c, 1, AMQP_basic_consume_ok);
    cr_assert(
        client_text_is(c.method.basic_consume_ok.consumer_tag, "replies"));
    cr_assert(fake_broker_stats(c.broker)->last_is_exclusive);
    send_request();
    /* The responder sees a queue's name, and what else was sent. */
    m.basic_get.queue = client_text("requests");
    m.basic_get.no_ack = true;
    client_send(&c, 1, &m);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    cr_assert_eq(amqp_properties_decode(c.header.properties,
                                        c.header.properties_size, &p),
                 0);
    cr_assert(client_text_is(p.reply_to, "amq.gen-1"));
    cr_assert(client_text_is(p.correlation_id, "7"));
    memcpy(reply_to, p.reply_to.data, p.reply_to.size);
    reply_to[p.reply_to.size] = '\0';
    client_put_publish(&c, 1, "", reply_to, "answer", 6, 6);
    client_pump(&c);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert(client_text_is(c.method.basic_deliver.consumer_tag, "replies"));
    cr_assert_arr_eq(c.body.data, "answer", 6);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 2);
}

Test(channel_reply, cannot_be_acknowledged)
{
    send_consume("", false);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - reply consumer cannot "
                        "acknowledge");
}

Test(channel_reply, has_one_consumer)
{
    send_consume("a", true);
    client_expect(&c, 1, AMQP_basic_consume_ok);
    send_consume("b", true);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - reply consumer already set");
}

Test(channel_reply, needs_its_consumer_before_the_request)
{
    send_request();
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - fast reply consumer does not "
                        "exist");
    cr_assert_eq(fake_broker_ready(c.broker, "requests"), 0);
}

Test(channel_reply, ends_with_its_consumer)
{
    struct amqp_method m = {.id = AMQP_basic_cancel};

    send_consume("a", true);
    client_expect(&c, 1, AMQP_basic_consume_ok);
    m.basic_cancel.consumer_tag = client_text("a");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_basic_cancel_ok);
    send_consume("a", true);
    client_expect(&c, 1, AMQP_basic_consume_ok);
    m.basic_cancel.nowait = true;
    client_send(&c, 1, &m);
    send_request();
    client_expect(&c, 1, AMQP_channel_close);
}

Test(channel_reply, is_lost_half_way)
{
    fake_broker_control(c.broker)->hold_calls = true;
    send_consume("a", true);
    amqp_connection_lost(c.connection);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 0);
}
