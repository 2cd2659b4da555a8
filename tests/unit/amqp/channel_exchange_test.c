/* Class exchange: what reaches the broker, and what comes back. */
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

TestSuite(channel_exchange, .init = setup, .fini = teardown);

static struct amqp_method
declare(const char *name, const char *type)
{
    struct amqp_method m = {.id = AMQP_exchange_declare};

    m.exchange_declare.exchange = client_text(name);
    m.exchange_declare.type = client_text(type);
    m.exchange_declare.arguments = client_text("");
    return m;
}

Test(channel_exchange, is_declared)
{
    struct amqp_method m = declare("x", "fanout");

    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_exchange_declare_ok);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_exchange_type, "fanout");
    m.exchange_declare.passive = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_exchange_declare_ok);
    m.exchange_declare.passive = false;
    m.exchange_declare.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
}

Test(channel_exchange, that_is_not_there_is_not_found)
{
    struct amqp_method m = declare("x", "");

    m.exchange_declare.passive = true;
    client_send(&c, 1, &m);
    client_expect_error(&c, 1, 404, "NOT_FOUND - no exchange 'x' in vhost '/'");
}

Test(channel_exchange, of_an_unknown_type_is_invalid)
{
    struct amqp_method m = declare("x", "odd");

    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 503,
                        "COMMAND_INVALID - unknown exchange type 'odd'");
    cr_assert_eq(c.method.connection_close.class_id, 40);
}

Test(channel_exchange, is_deleted)
{
    struct amqp_method m = declare("x", "direct");

    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_exchange_declare_ok);
    m.id = AMQP_exchange_delete;
    m.exchange_delete.exchange = client_text("x");
    m.exchange_delete.if_unused = true;
    m.exchange_delete.nowait = false;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_exchange_delete_ok);
    cr_assert(fake_broker_stats(c.broker)->last_if_unused);
    m.exchange_delete.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
}

Test(channel_exchange, is_bound_to_another)
{
    struct amqp_method m = {.id = AMQP_exchange_bind};

    m.exchange_bind.destination = client_text("to");
    m.exchange_bind.source = client_text("from");
    m.exchange_bind.routing_key = client_text("key");
    m.exchange_bind.arguments = client_text("");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_exchange_bind_ok);
    cr_assert(fake_broker_stats(c.broker)->last_binding.to_exchange);
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_destination, "to");
    cr_assert_str_eq(fake_broker_stats(c.broker)->last_key, "key");
    m.exchange_bind.nowait = true;
    client_send(&c, 1, &m);
    client_expect_nothing(&c);
    m.id = AMQP_exchange_unbind;
    m.exchange_unbind.destination = client_text("to");
    m.exchange_unbind.source = client_text("from");
    m.exchange_unbind.routing_key = client_text("key");
    m.exchange_unbind.nowait = false;
    m.exchange_unbind.arguments = client_text("");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_exchange_unbind_ok);
}
