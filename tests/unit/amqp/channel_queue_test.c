/* Class queue: what reaches the broker, and what comes back. */
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

TestSuite(channel_queue, .init = setup, .fini = teardown);

static struct amqp_method
declare(const char *name)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    m.queue_declare.queue = client_text(name);
    m.queue_declare.arguments = client_text("");
    return m;
}

static struct amqp_method
bind(const char *queue, const char *exchange, const char *key)
{
    struct amqp_method m = {.id = AMQP_queue_bind};

    m.queue_bind.queue = client_text(queue);
    m.queue_bind.exchange = client_text(exchange);
    m.queue_bind.routing_key = client_text(key);
    m.queue_bind.arguments = client_text("");
    return m;
}

Test(channel_queue, is_declared_with_its_counts)
{
    struct amqp_method m = declare("q");

    fake_broker_fill(c.broker, "q", 3, 1);
    client_consume(&c, 1, "q", "", false);
    for (int i = 0; i < 3; i++) {
        client_expect_content(&c, 1, AMQP_basic_deliver);
    }
    fake_broker_control(c.broker)->hold_calls = false;
    m.queue_declare.exclusive = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    cr_assert_eq(c.method.queue_declare_ok.message_count, 0);
    cr_assert_eq(c.method.queue_declare_ok.consumer_count, 1);
    cr_assert(fake_broker_stats(c.broker)->last_is_exclusive);
    m.queue_declare.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
}

Test(channel_queue, without_a_name_gets_one)
{
    struct amqp_method m = declare("");

    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    cr_assert(client_text_is(c.method.queue_declare_ok.queue, "amq.gen-1"));
}

Test(channel_queue, the_last_one_needs_no_name)
{
    struct amqp_method m = declare("last");

    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    m = bind("", "x", "");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_bind_ok);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_destination, "last");
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_key, "last");
    m = bind("", "x", "key");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_bind_ok);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_key, "key");
    m = bind("last", "x", "");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_bind_ok);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_key, "");
    m = declare("");
    m.queue_declare.passive = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    cr_assert(client_text_is(c.method.queue_declare_ok.queue, "last"));
    fake_broker_fill(c.broker, "last", 1, 1);
    m.id = AMQP_basic_get;
    m.basic_get.queue = client_text("");
    m.basic_get.no_ack = true;
    client_send(&c, 1, &m);
    client_expect_content(&c, 1, AMQP_basic_get_ok);
    client_consume(&c, 1, "", "", false);
    m.id = AMQP_queue_purge;
    m.queue_purge.queue = client_text("");
    m.queue_purge.nowait = false;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_purge_ok);
}

Test(channel_queue, there_may_be_no_last_one)
{
    struct amqp_method m = bind("", "x", "");

    client_send(&c, 1, &m);
    client_expect_error(&c, 1, 404, "NOT_FOUND - no previously declared queue");
}

Test(channel_queue, is_unbound)
{
    struct amqp_method m = {.id = AMQP_queue_unbind};

    client_declare(&c, 1, "q");
    m.queue_unbind.queue = client_text("");
    m.queue_unbind.exchange = client_text("x");
    m.queue_unbind.routing_key = client_text("");
    m.queue_unbind.arguments = client_text("\1at\1");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_unbind_ok);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_key, "q");
    cr_assert_not(fake_broker_stats(c.broker)->last_binding.to_exchange);
    cr_assert_eq(fake_broker_stats(c.broker)->last_arguments_size, 4);
}

Test(channel_queue, bind_may_not_wait)
{
    struct amqp_method m = bind("q", "x", "");

    client_declare(&c, 1, "q");
    m.queue_bind.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_destination, "q");
}

Test(channel_queue, bind_reports_the_brokers_fault)
{
    struct amqp_method m = bind("none", "x", "");

    m.queue_bind.nowait = true;
    client_send(&c, 1, &m);
    client_expect_error(&c, 1, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
    cr_assert_eq(c.method.channel_close.method_id, 20);
}

Test(channel_queue, is_purged_and_deleted_with_counts)
{
    struct amqp_method m = {.id = AMQP_queue_purge};

    fake_broker_fill(c.broker, "q", 5, 1);
    m.queue_purge.queue = client_text("q");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_purge_ok);
    cr_assert_eq(c.method.queue_purge_ok.message_count, 5);
    m.queue_purge.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
    fake_broker_fill(c.broker, "q", 2, 1);
    m.id = AMQP_queue_delete;
    m.queue_delete.queue = client_text("q");
    m.queue_delete.if_empty = true;
    m.queue_delete.if_unused = false;
    m.queue_delete.nowait = false;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_delete_ok);
    cr_assert_eq(c.method.queue_delete_ok.message_count, 2);
    cr_assert(fake_broker_stats(c.broker)->last_if_empty);
    cr_assert_not(fake_broker_stats(c.broker)->last_if_unused);
    m.queue_delete.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
}
