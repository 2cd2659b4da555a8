/* A connection's life, without a socket. */
#include "client.h"
#include "lib/harness.h"

Test(connection, publishes_and_consumes)
{
    struct client c;

    client_init(&c);
    client_connect(&c);
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    cr_assert(client_text_is(c.method.queue_declare_ok.queue, "q"));
    client_put_publish(&c, 1, "", "q", "hello", 5, 100);
    client_consume(&c, 1, "q", "tag", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert_arr_eq(c.body.data, "hello", 5);
    cr_assert(client_text_is(c.method.basic_deliver.consumer_tag, "tag"));
    cr_assert_eq(c.method.basic_deliver.delivery_tag, 1);
    client_ack(&c, 1, 1, false);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->acked, 1);
    client_deinit(&c);
}
