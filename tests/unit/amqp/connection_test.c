/* A connection's frames, time, pauses and end. */
#include "base/rng.h"
#include "client.h"
#include "lib/harness.h"

static struct client c;

static void
setup(void)
{
    client_init(&c);
    client_connect(&c);
}

static void
teardown(void)
{
    client_deinit(&c);
}

TestSuite(connection, .init = setup, .fini = teardown);

Test(connection, publishes_and_consumes)
{
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
}

Test(connection, does_the_same_byte_by_byte)
{
    c.piece = 1;
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    client_put_publish(&c, 1, "", "q", "hello", 5, 2);
    client_consume(&c, 1, "q", "tag", false);
    client_expect_content(&c, 1, AMQP_basic_deliver);
    cr_assert_arr_eq(c.body.data, "hello", 5);
    client_expect_nothing(&c);
}

Test(connection, a_frame_without_its_end_closes_it)
{
    static const uint8_t bytes[] = {8, 0, 0, 0, 0, 0, 0, 0xcd,
                                    8, 0, 0, 0, 0, 0, 0, 0xce};

    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_error(&c, 0, 501,
                        "FRAME_ERROR - type 8, channel 0, 0 bytes of "
                        "payload: invalid frame end marker");
    cr_assert_eq(c.sent.size, 0, "what follows is thrown away");
}

Test(connection, an_unknown_frame_type_closes_it)
{
    static const uint8_t bytes[] = {4, 0, 3, 0, 0, 0, 0, 0xce};

    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_error(&c, 0, 501,
                        "FRAME_ERROR - unknown frame type 4 on channel 3");
}

Test(connection, content_on_channel_0_closes_it)
{
    client_put_header(&c, 0, 5);
    client_pump(&c);
    client_expect_error(&c, 0, 505,
                        "UNEXPECTED_FRAME - expected a method frame on "
                        "channel 0, got one of type 2");
}

Test(connection, an_unknown_method_on_channel_0_is_invalid)
{
    static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 99, 0xce};

    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_error(&c, 0, 503,
                        "COMMAND_INVALID - unknown method 99 of class 10");
    cr_assert_eq(c.method.connection_close.class_id, 10);
    cr_assert_eq(c.method.connection_close.method_id, 99);
}

Test(connection, a_malformed_method_on_channel_0_is_a_syntax_error)
{
    static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 50, 0xce};

    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_error(&c, 0, 502,
                        "SYNTAX_ERROR - argument 'reply_code' of "
                        "connection.close is malformed");
}

Test(connection, a_method_of_a_channel_does_not_belong_on_0)
{
    struct amqp_method m = {.id = AMQP_basic_ack};

    client_send(&c, 0, &m);
    client_expect_error(&c, 0, 504,
                        "CHANNEL_ERROR - unexpected method in connection "
                        "state running");
}

Test(connection, after_its_close_only_close_ok_counts)
{
    struct amqp_method m = {.id = AMQP_basic_ack};

    client_send(&c, 0, &m);
    client_expect(&c, 0, AMQP_connection_close);
    m.id = AMQP_channel_open;
    m.channel_open.reserved_1 = client_text("");
    client_send(&c, 1, &m);
    client_send(&c, 0, &m);
    client_expect_nothing(&c);
    cr_assert_not(c.is_closed);
    cr_assert_str_eq(c.connection->bc.state, "closing");
    /* The client's own close crosses ours. */
    m.id = AMQP_connection_close;
    m.connection_close.reply_text = client_text("");
    client_send(&c, 0, &m);
    client_expect(&c, 0, AMQP_connection_close_ok);
    m.id = AMQP_connection_close_ok;
    client_send(&c, 0, &m);
    client_expect_nothing(&c);
    cr_assert(c.is_closed);
    cr_assert(c.is_flushed);
}

Test(connection, waits_for_close_ok_so_long)
{
    struct amqp_method m = {.id = AMQP_basic_ack};

    client_send(&c, 0, &m);
    client_expect(&c, 0, AMQP_connection_close);
    cr_assert_eq(c.deadline_ms, c.now_ms + AMQP_CLOSE_TIMEOUT_MS);
    amqp_connection_tick(c.connection, c.deadline_ms);
    cr_assert(c.is_closed);
    cr_assert_not(c.is_flushed);
}

Test(connection, garbage_after_its_close_ends_it)
{
    static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 0, 0};
    struct amqp_method m = {.id = AMQP_basic_ack};

    client_send(&c, 0, &m);
    client_expect(&c, 0, AMQP_connection_close);
    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_nothing(&c);
    cr_assert(c.is_closed);
}

Test(connection, shutdown_has_rabbitmqs_words)
{
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    client_consume(&c, 1, "q", "", false);
    amqp_connection_shutdown(c.connection);
    client_expect_error(&c, 0, 320,
                        "CONNECTION_FORCED - broker forced connection "
                        "closure with reason 'shutdown'");
    cr_assert_eq(c.method.connection_close.class_id, 0);
    cr_assert_eq(fake_broker_stats(c.broker)->consumers, 0);
    amqp_connection_shutdown(c.connection);
    client_expect_nothing(&c);
}

Test(connection, the_broker_can_close_it)
{
    c.connection->bc.force_close(&c.connection->bc, "vhost is deleted");
    client_expect_error(&c, 0, 320,
                        "CONNECTION_FORCED - broker forced connection "
                        "closure with reason 'vhost is deleted'");
}

Test(connection, a_long_text_is_cut)
{
    char text[400];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    c.connection->bc.force_close(&c.connection->bc, text);
    client_expect(&c, 0, AMQP_connection_close);
    cr_assert_eq(c.method.connection_close.reply_text.size, 255);
    cr_assert_arr_eq(c.method.connection_close.reply_text.data + 252, "...", 3);
}

Test(connection, loss_takes_everything_out_of_the_broker)
{
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    fake_broker_fill(c.broker, "q", 3, 10);
    client_consume(&c, 1, "q", "", false);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_pump(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 0);
    amqp_connection_lost(c.connection);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 4);
    cr_assert_eq(fake_broker_stats(c.broker)->connections, 0);
    cr_assert_eq(fake_broker_stats(c.broker)->publishers, 0);
    cr_assert(client_logged(&c, "client unexpectedly closed TCP connection"));
    amqp_connection_lost(c.connection);
    amqp_connection_tick(c.connection, 1 << 30);
    amqp_connection_turn(c.connection);
    amqp_connection_writable(c.connection, 0);
}

static void
tick(uint64_t now_ms)
{
    c.now_ms = now_ms;
    amqp_connection_tick(c.connection, now_ms);
}

Test(connection, beats_when_it_has_nothing_to_say)
{
    static const uint8_t beat[] = {8, 0, 0, 0, 0, 0, 0, 0xce};

    cr_assert_eq(c.deadline_ms, 31000);
    tick(31000); /* something was sent since */
    client_expect_nothing(&c);
    for (uint64_t now = 61000; now < 600000; now += 30000) {
        client_put(&c, beat, sizeof(beat));
        client_pump(&c);
        cr_assert_eq(c.deadline_ms, now);
        tick(now);
        client_expect_heartbeat(&c);
    }
    client_open(&c, 1);
    tick(c.deadline_ms);
    client_expect_nothing(&c);
    cr_assert_not(c.is_closed);
}

Test(connection, ends_after_two_silent_intervals)
{
    uint64_t heard = 0;

    client_open(&c, 1); /* heard at the first tick */
    heard = c.deadline_ms;
    for (int i = 0; i < 4; i++) {
        tick(c.deadline_ms);
        cr_assert_not(c.is_closed);
    }
    tick(c.deadline_ms);
    cr_assert(c.is_closed);
    cr_assert_not(c.is_flushed);
    cr_assert_eq(c.now_ms - heard, 120000);
    cr_assert(client_logged(&c, "missed heartbeats from client, timeout: "
                                "60s"));
}

Test(connection, half_a_frame_counts_as_heard)
{
    for (int i = 0; i < 20; i++) {
        client_put(&c, "\x8", i == 0 ? 1 : 0);
        if (i > 0) {
            client_put(&c, "\0", 1);
        }
        if (c.sent.size == 7) {
            client_put(&c, "\xce", 1);
        }
        client_pump(&c);
        tick(c.deadline_ms);
        if (c.sent.size == 0) {
            break;
        }
        cr_assert_not(c.is_closed);
    }
    cr_assert_not(c.is_closed);
}

Test(connection, who_is_not_read_cannot_be_heard)
{
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_pump(&c);
    fake_broker_congest(c.broker, true);
    cr_assert_not(c.is_reading);
    for (int i = 0; i < 20; i++) {
        tick(c.deadline_ms);
    }
    cr_assert_not(c.is_closed);
    fake_broker_congest(c.broker, false);
    cr_assert(c.is_reading);
}

Test(connection, congestion_stops_reading_at_once)
{
    client_open(&c, 1);
    client_open(&c, 2);
    client_declare(&c, 1, "q");
    for (uint16_t channel = 1; channel <= 2; channel++) {
        client_put_publish(&c, channel, "", "q", "x", 1, 1);
    }
    client_pump(&c);
    fake_broker_congest(c.broker, true);
    client_put_publish(&c, 1, "", "q", "y", 1, 1);
    client_pump(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 2);
    fake_broker_congest(c.broker, false);
    client_pump(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 3);
}

Test(connection, an_alarm_blocks_who_publishes)
{
    struct amqp_method close = {.id = AMQP_channel_close};

    client_open(&c, 1);
    client_declare(&c, 1, "q");
    amqp_connection_block(c.connection, "low on memory");
    client_expect_nothing(&c);
    cr_assert(c.is_reading, "it has not published");
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_pump(&c);
    client_expect(&c, 0, AMQP_connection_blocked);
    cr_assert(
        client_text_is(c.method.connection_blocked.reason, "low on memory"));
    cr_assert_not(c.is_reading);
    cr_assert_str_eq(c.connection->bc.state, "blocked");
    amqp_connection_block(c.connection, "low on memory");
    client_expect_nothing(&c);
    amqp_connection_block(c.connection, NULL);
    client_expect(&c, 0, AMQP_connection_unblocked);
    cr_assert(c.is_reading);
    cr_assert_str_eq(c.connection->bc.state, "running");
    client_pump(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 1);
    amqp_connection_block(c.connection, "low on disk");
    client_expect(&c, 0, AMQP_connection_blocked);
    amqp_connection_block(c.connection, NULL);
    client_expect(&c, 0, AMQP_connection_unblocked);
    close.channel_close.reply_text = client_text("");
    client_send(&c, 1, &close);
    client_expect(&c, 1, AMQP_channel_close_ok);
}

Test(connection, what_came_before_close_is_published)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    m.queue_declare.queue = client_text("q");
    m.queue_declare.arguments = client_text("");
    client_put_method(&c, 1, &m);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    m.id = AMQP_connection_close;
    m.connection_close.reply_text = client_text("");
    m.connection_close.reply_code = 200;
    client_send(&c, 0, &m);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 0);
    cr_assert_eq(c.deadline_ms, c.now_ms + AMQP_DRAIN_TIMEOUT_MS);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 0, AMQP_connection_close_ok);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
    cr_assert(c.is_closed);
}

/* What came before the close ends in an error: its close-ok is what the
 * client waits for. */
Test(connection, an_error_while_draining_does_not_take_its_answer)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    m.queue_declare.queue = client_text("q");
    m.queue_declare.arguments = client_text("");
    client_put_method(&c, 1, &m);
    client_put_header(&c, 1, 3);
    m.id = AMQP_connection_close;
    m.connection_close.reply_text = client_text("");
    client_send(&c, 0, &m);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 0, AMQP_connection_close_ok);
    client_expect_nothing(&c);
    cr_assert(client_logged(&c, "UNEXPECTED_FRAME"));
    cr_assert(c.is_closed);
    cr_assert(c.is_flushed);
    cr_assert_eq(fake_broker_stats(c.broker)->connections, 0);
}

Test(connection, draining_ends_in_time)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    m.queue_declare.queue = client_text("q");
    m.queue_declare.arguments = client_text("");
    client_put_method(&c, 1, &m);
    m.id = AMQP_connection_close;
    m.connection_close.reply_text = client_text("");
    client_send(&c, 0, &m);
    tick(c.deadline_ms);
    cr_assert(c.is_closed);
    cr_assert_eq(fake_broker_stats(c.broker)->calls, 0);
}

Test(connection, counts_its_bytes)
{
    uint64_t received = c.connection->bc.bytes_received;
    static const uint8_t beat[] = {8, 0, 0, 0, 0, 0, 0, 0xce};

    cr_assert_eq(c.connection->bc.bytes_sent, c.heard.size);
    c.piece = 3; /* shown again with what follows: counted once */
    client_put(&c, beat, sizeof(beat));
    client_pump(&c);
    cr_assert_eq(c.connection->bc.bytes_received, received + sizeof(beat));
}

Test(connection, says_how_much_it_needs)
{
    static const uint8_t head[] = {1, 0, 1, 0, 0, 2, 0};

    client_put(&c, head, 3);
    client_pump(&c);
    cr_assert_eq(amqp_connection_need(c.connection), 7);
    client_put(&c, head + 3, 4);
    client_pump(&c);
    cr_assert_eq(amqp_connection_need(c.connection), 512 + 8);
}

/* Valid frames with random flaws: whatever comes, it stays standing. */
Test(connection, survives_random_frames)
{
    struct rng rng;

    rng_init(&rng, 67);
    for (int round = 0; round < 400; round++) {
        teardown();
        setup();
        client_open(&c, 1);
        client_declare(&c, 1, "q");
        fake_broker_fill(c.broker, "q", 3, 100);
        client_consume(&c, 1, "q", "", round % 2 == 0);
        for (int i = 0; i < 30; i++) {
            enum amqp_row row = (enum amqp_row)rng_below(&rng, AMQP_ROWS);
            uint8_t junk[40];
            size_t size = rng_below(&rng, 3) == 0
                              ? (size_t)rng_below(&rng, sizeof(junk))
                              : 12;
            size_t mark =
                amqp_frame_begin(&c.sent,
                                 rng_below(&rng, 10) == 0 ? AMQP_FRAME_HEADER
                                                          : AMQP_FRAME_METHOD,
                                 (uint16_t)rng_below(&rng, 3));

            for (size_t k = 0; k < sizeof(junk); k++) {
                junk[k] = (uint8_t)rng_below(&rng, 3);
            }
            buf_put_u32be(&c.sent, amqp_method_of_row(row)->id);
            buf_put(&c.sent, junk, size);
            amqp_frame_end(&c.sent, mark);
        }
        client_pump(&c);
    }
}

/* Others have their turn before the rest of it. */
Test(connection, takes_a_share_of_what_is_sent_in_each_turn)
{
    struct amqp_method m = {.id = AMQP_basic_qos};
    size_t answered = 0;
    struct slice bytes;

    client_open(&c, 1);
    c.now_ms++; /* another turn */
    for (size_t i = 0; i < 2 * AMQP_TURN_FRAMES; i++) {
        client_put_method(&c, 1, &m);
    }
    bytes = slice_copy(c.sent.data, c.sent.size);
    answered = c.heard.size;
    cr_assert_eq(amqp_connection_input(c.connection, &bytes), c.sent.size / 2);
    slice_unref(&bytes);
    buf_consume(&c.sent, c.sent.size / 2);
    answered = c.heard.size - answered;
    cr_assert_not(c.is_reading);
    cr_assert(c.wants_turn);
    c.wants_turn = false;
    amqp_connection_turn(c.connection);
    cr_assert(c.is_reading);
    client_pump(&c);
    cr_assert_eq(c.heard.size - c.read, 2 * answered);
}

Test(connection, shares_count_the_queues_that_a_message_goes_to)
{
    size_t sent = 0;

    client_open(&c, 1);
    client_declare(&c, 1, "q");
    c.now_ms++;
    for (size_t i = 0; i < AMQP_TURN_FRAMES; i++) {
        client_put_publish(&c, 1, "", "q", "x", 1, 1);
    }
    while (c.is_reading && sent < AMQP_TURN_FRAMES) {
        struct slice bytes = slice_copy(c.sent.data, c.sent.size);
        size_t used = amqp_connection_input(c.connection, &bytes);

        slice_unref(&bytes);
        buf_consume(&c.sent, used);
        sent++;
    }
    /* Method, header, body, and one queue. */
    cr_assert_eq(fake_broker_ready(c.broker, "q"), AMQP_TURN_FRAMES / 4);
    client_pump(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), AMQP_TURN_FRAMES);
}
