/* Publishing: content in every shape, returns, confirms. */
#include "amqp/channel.h"
#include "base/mem.h"
#include "client.h"
#include "lib/harness.h"

static struct client c;

static void
setup(void)
{
    client_init(&c);
    client_connect(&c);
    client_open(&c, 1);
    client_declare(&c, 1, "q");
}

static void
teardown(void)
{
    client_deinit(&c);
}

TestSuite(channel_publish, .init = setup, .fini = teardown);

enum {
    LARGE = 200000
};

static uint8_t large[LARGE];

static void
fill_large(void)
{
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = (uint8_t)(i * 7 + i / 256);
    }
}

static void
expect_in_queue(const void *body, size_t size)
{
    const struct slice *got = NULL;

    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
    got = fake_broker_first_body(c.broker, "q");
    cr_assert_eq(got->size, size);
    cr_assert(size == 0 || memcmp(got->data, body, size) == 0);
}

static struct amqp_method
publish(const char *key)
{
    struct amqp_method m = {.id = AMQP_basic_publish};

    m.basic_publish.exchange = client_text("");
    m.basic_publish.routing_key = client_text(key);
    return m;
}

Test(channel_publish, an_empty_body_has_no_frame)
{
    client_put_publish(&c, 1, "", "q", "", 0, 1);
    client_pump(&c);
    expect_in_queue("", 0);
}

Test(channel_publish, a_body_may_be_cut_anywhere)
{
    for (size_t cut = 0; cut <= 10; cut++) {
        struct amqp_method m = publish("q");

        teardown();
        setup();
        client_put_method(&c, 1, &m);
        client_put_header(&c, 1, 10);
        client_put_body(&c, 1, "0123456789", cut);
        if (cut < 10) { /* one more would be one too many */
            client_put_body(&c, 1, &"0123456789"[cut], 10 - cut);
        }
        client_pump(&c);
        expect_in_queue("0123456789", 10);
        client_open(&c, 2);
    }
}

Test(channel_publish, frames_may_be_of_any_size)
{
    static const size_t frames[] = {1,     7,     4088,  16383, 16384,
                                    20000, 65536, 65537, 131064};

    fill_large();
    for (size_t i = 0; i < ARRAY_COUNT(frames); i++) {
        teardown();
        setup();
        client_put_publish(&c, 1, "", "q", large, LARGE, frames[i]);
        client_pump(&c);
        expect_in_queue(large, LARGE);
    }
}

Test(channel_publish, small_and_large_frames_mix)
{
    struct amqp_method m = publish("q");
    size_t at = 0;

    fill_large();
    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, LARGE);
    for (size_t i = 0; at < LARGE; i++) {
        size_t size = MIN(LARGE - at, i % 3 == 0 ? 20000 : i % 3 * 5);

        client_put_body(&c, 1, large + at, size);
        at += size;
    }
    client_pump(&c);
    expect_in_queue(large, LARGE);
}

Test(channel_publish, a_body_in_one_frame_is_not_copied)
{
    client_put_publish(&c, 1, "", "q", "hello", 5, 5);
    client_pump(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->last_body_pieces, 1);
}

Test(channel_publish, tiny_frames_cost_few_pieces)
{
    fill_large();
    client_put_publish(&c, 1, "", "q", large, LARGE, 3);
    client_pump(&c);
    /* Chunks double up to the largest: 1 + 1 + 2 + 4 ... KiB. */
    cr_assert_leq(fake_broker_stats(c.broker)->last_body_pieces,
                  LARGE / AMQP_BODY_CHUNK_SIZE + 8);
    expect_in_queue(large, LARGE);
}

Test(channel_publish, a_header_must_follow)
{
    struct amqp_method m = publish("q");

    client_put_method(&c, 1, &m);
    client_put_method(&c, 1, &m);
    client_pump(&c);
    client_expect_error(&c, 0, 505,
                        "UNEXPECTED_FRAME - expected content header for "
                        "class 60, got non content header frame instead");
    cr_assert_eq(c.method.connection_close.class_id, 60);
    cr_assert_eq(c.method.connection_close.method_id, 40);
}

Test(channel_publish, the_header_must_be_of_its_class)
{
    struct amqp_method m = publish("q");
    static const uint8_t header[] = {2, 0, 1, 0, 0, 0, 14, 0, 50, 0, 0,
                                     0, 0, 0, 0, 0, 0, 0,  0, 0,  0, 0xce};

    client_put_method(&c, 1, &m);
    client_put(&c, header, sizeof(header));
    client_pump(&c);
    client_expect_error(&c, 0, 505,
                        "UNEXPECTED_FRAME - expected content header for "
                        "class 60, got one for class 50 instead");
}

Test(channel_publish, the_header_must_be_well_formed)
{
    struct amqp_method m = publish("q");
    static const uint8_t header[] = {2, 0, 1, 0, 0, 0, 14, 0, 60,   0, 0,
                                     0, 0, 0, 0, 0, 0, 0,  0, 0x80, 0, 0xce};

    client_put_method(&c, 1, &m);
    client_put(&c, header, sizeof(header));
    client_pump(&c);
    client_expect_error(&c, 0, 502,
                        "SYNTAX_ERROR - malformed content header or "
                        "properties");
}

Test(channel_publish, a_body_must_follow)
{
    struct amqp_method m = publish("q");

    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 5);
    client_put_header(&c, 1, 5);
    client_pump(&c);
    client_expect_error(&c, 0, 505,
                        "UNEXPECTED_FRAME - expected content body, got non "
                        "content body frame instead");
}

Test(channel_publish, a_body_is_not_longer_than_announced)
{
    struct amqp_method m = publish("q");

    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 5);
    client_put_body(&c, 1, "123", 3);
    client_put_body(&c, 1, "456", 3);
    client_pump(&c);
    client_expect_error(&c, 0, 501,
                        "FRAME_ERROR - content body is larger than the 5 "
                        "bytes that its header announced");
}

Test(channel_publish, a_message_has_a_maximum_size)
{
    struct amqp_method m = publish("q");

    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, BROKER_MESSAGE_SIZE_MAX + 1);
    client_put_body(&c, 1, "123", 3);
    client_pump(&c);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - message size 16777217 is "
                        "larger than configured max size 16777216");
    client_expect_nothing(&c);
    client_open(&c, 2);
    client_put_method(&c, 2, &m);
    client_put_header(&c, 2, BROKER_MESSAGE_SIZE_MAX);
    client_pump(&c);
    client_expect_nothing(&c);
}

Test(channel_publish, the_maximum_size_is_configured)
{
    struct amqp_method m = publish("q");

    c.config.message_size_max = 10;
    client_put_publish(&c, 1, "", "q", "0123456789", 10, 10);
    client_pump(&c);
    expect_in_queue("0123456789", 10);
    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 11);
    client_pump(&c);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - message size 11 is larger "
                        "than configured max size 10");
}

Test(channel_publish, to_no_exchange_is_not_found)
{
    client_put_publish(&c, 1, "none", "q", "x", 1, 1);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_pump(&c);
    client_expect_error(&c, 1, 404,
                        "NOT_FOUND - no exchange 'none' in vhost '/'");
    cr_assert_eq(fake_broker_stats(c.broker)->published, 0);
}

Test(channel_publish, immediate_is_not_implemented)
{
    struct amqp_method m = publish("q");

    m.basic_publish.immediate = true;
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540, "NOT_IMPLEMENTED - immediate=true");
}

static void
put_with(const struct amqp_properties *p)
{
    struct amqp_method m = publish("q");
    size_t mark = 0;

    client_put_method(&c, 1, &m);
    mark = amqp_frame_begin(&c.sent, AMQP_FRAME_HEADER, 1);
    amqp_content_head(&c.sent, 0);
    amqp_properties_encode(p, &c.sent);
    amqp_frame_end(&c.sent, mark);
    client_pump(&c);
}

Test(channel_publish, the_user_id_is_ones_own)
{
    struct amqp_properties p = {.flags = AMQP_HAS_user_id};

    p.user_id = client_text("guest");
    put_with(&p);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
    p.user_id = client_text("other");
    put_with(&p);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - user_id property set to "
                        "'other' but authenticated user was 'guest'");
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
}

Test(channel_publish, expiry_is_refused_by_name)
{
    struct amqp_properties p = {.flags = AMQP_HAS_expiration};

    p.expiration = client_text("1000");
    put_with(&p);
    client_expect_error(&c, 0, 540,
                        "NOT_IMPLEMENTED - message property 'expiration'");
}

Test(channel_publish, copies_for_others_are_refused_by_name)
{
    struct amqp_properties p = {.flags = AMQP_HAS_headers};

    p.headers = (struct amqp_text){"\1at\1", 4};
    put_with(&p);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
    p.headers = (struct amqp_text){"\3BCCV", 5};
    put_with(&p);
    client_expect_error(&c, 0, 540, "NOT_IMPLEMENTED - message header 'BCC'");
}

Test(channel_publish, mandatory_comes_back_before_its_confirm)
{
    struct amqp_method m = publish("none");

    client_confirm_select(&c, 1);
    m.basic_publish.mandatory = true;
    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 3);
    client_put_body(&c, 1, "abc", 3);
    client_pump(&c);
    client_expect_content(&c, 1, AMQP_basic_return);
    cr_assert_eq(c.method.basic_return.reply_code, 312);
    cr_assert(client_text_is(c.method.basic_return.reply_text, "NO_ROUTE"));
    cr_assert(client_text_is(c.method.basic_return.routing_key, "none"));
    cr_assert_arr_eq(c.body.data, "abc", 3);
    client_expect(&c, 1, AMQP_basic_ack);
    cr_assert_eq(c.method.basic_ack.delivery_tag, 1);
    client_expect_nothing(&c);
}

Test(channel_publish, without_mandatory_it_is_dropped)
{
    client_put_publish(&c, 1, "", "none", "abc", 3, 3);
    client_pump(&c);
    client_expect_nothing(&c);
}

Test(channel_publish, confirms_come_together)
{
    client_confirm_select(&c, 1);
    for (int i = 0; i < 100; i++) {
        client_put_publish(&c, 1, "", "q", "abc", 3, 3);
    }
    client_pump(&c);
    client_expect(&c, 1, AMQP_basic_ack);
    cr_assert_eq(c.method.basic_ack.delivery_tag, 100);
    cr_assert(c.method.basic_ack.multiple);
    client_expect_nothing(&c);
}

Test(channel_publish, confirms_out_of_order_come_one_by_one)
{
    client_confirm_select(&c, 1);
    fake_broker_control(c.broker)->hold_confirms = true;
    fake_broker_control(c.broker)->confirm_backwards = true;
    for (int i = 0; i < 3; i++) {
        client_put_publish(&c, 1, "", "q", "abc", 3, 3);
    }
    client_pump(&c);
    client_expect_nothing(&c);
    fake_broker_control(c.broker)->hold_confirms = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_basic_ack);
    cr_assert_eq(c.method.basic_ack.delivery_tag, 3);
    cr_assert(c.method.basic_ack.multiple);
}

Test(channel_publish, refusals_are_nacks)
{
    client_confirm_select(&c, 1);
    fake_broker_control(c.broker)->refuse_publishes = true;
    client_put_publish(&c, 1, "", "q", "abc", 3, 3);
    client_pump(&c);
    client_expect(&c, 1, AMQP_basic_nack);
    cr_assert_eq(c.method.basic_nack.delivery_tag, 1);
    cr_assert_not(c.method.basic_nack.multiple);
}

Test(channel_publish, tags_count_from_confirm_select)
{
    client_put_publish(&c, 1, "", "q", "abc", 3, 3);
    client_pump(&c);
    client_expect_nothing(&c);
    client_confirm_select(&c, 1);
    client_confirm_select(&c, 1); /* again is fine */
    client_put_publish(&c, 1, "", "q", "abc", 3, 3);
    client_pump(&c);
    client_expect(&c, 1, AMQP_basic_ack);
    cr_assert_eq(c.method.basic_ack.delivery_tag, 1);
}

Test(channel_publish, closing_with_unconfirmed_messages_is_fine)
{
    struct amqp_method m = {.id = AMQP_channel_close};

    client_confirm_select(&c, 1);
    fake_broker_control(c.broker)->hold_confirms = true;
    client_put_publish(&c, 1, "", "q", "abc", 3, 3);
    m.channel_close.reply_text = client_text("");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_channel_close_ok);
    fake_broker_control(c.broker)->hold_confirms = false;
    client_pump(&c);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
}

Test(channel_publish, a_message_cut_off_by_the_end_is_forgotten)
{
    struct amqp_method m = publish("q");

    fill_large();
    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, LARGE);
    client_put_body(&c, 1, large, 100000);
    client_put_body(&c, 1, large, 10);
    client_pump(&c);
    amqp_connection_lost(c.connection);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 0);
}

/* Half of a message on each of COUNT channels. */
static void
put_halves(uint16_t first, uint16_t count, const uint8_t *body, size_t size)
{
    struct amqp_method m = publish("q");

    for (uint16_t i = first; i < first + count; i++) {
        client_open(&c, i);
        client_put_method(&c, i, &m);
        client_put_header(&c, i, 2 * size);
        for (size_t at = 0; at < size; at += 4000) {
            client_put_body(&c, i, body + at, MIN(size - at, 4000));
        }
        client_pump(&c);
    }
}

Test(channel_publish, incomplete_messages_of_a_connection_have_a_bound)
{
    size_t size = 8 << 20;
    uint8_t *body = mem_zalloc(1, size);

    put_halves(2, 7, body, size);
    cr_assert_leq(c.connection->incomplete_bytes, AMQP_INCOMPLETE_BYTES_MAX);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_pump(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
    put_halves(9, 1, body, size);
    client_expect_error(&c, 0, 506,
                        "RESOURCE_ERROR - more than 67108864 bytes of messages "
                        "are incomplete on the channels of this connection");
    cr_assert_eq(c.connection->incomplete_bytes, 0);
    mem_free(body);
}

Test(channel_publish, an_announced_size_costs_nothing)
{
    struct amqp_method m = publish("q");

    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 16 << 20);
    client_put_body(&c, 1, "x", 1);
    client_pump(&c);
    cr_assert_leq(c.connection->incomplete_bytes,
                  AMQP_BODY_CHUNK_SIZE_MIN + 64);
}

Test(channel_publish, an_incomplete_message_lets_go_of_the_input)
{
    const struct amqp_channel *ch = NULL;
    struct amqp_method m = publish("q");

    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 10);
    client_pump(&c);
    ch = map_get(&c.connection->channels, 1);
    cr_assert_not_null(ch);
    cr_assert_eq(ch->in.properties.block->size, ch->in.properties.size);
    client_put_body(&c, 1, "0123456789", 10);
    client_pump(&c);
    expect_in_queue("0123456789", 10);
    cr_assert_eq(c.connection->incomplete_bytes, 0);
}
