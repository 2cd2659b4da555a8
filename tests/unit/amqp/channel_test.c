/* Channels: open, close, order, and what belongs on none. */
#include "amqp/channel.h"
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

TestSuite(channel, .init = setup, .fini = teardown);

static void
send_close(uint16_t number)
{
    struct amqp_method m = {.id = AMQP_channel_close};

    m.channel_close.reply_code = 200;
    m.channel_close.reply_text = client_text("");
    client_send(&c, number, &m);
}

static void
send_declare(uint16_t channel, const char *queue, bool passive)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    m.queue_declare.queue = client_text(queue);
    m.queue_declare.passive = passive;
    m.queue_declare.arguments = client_text("");
    client_send(&c, channel, &m);
}

Test(channel, opens_and_closes_and_opens_again)
{
    for (int i = 0; i < 3; i++) {
        client_open(&c, 7);
        cr_assert_eq(c.connection->bc.channels_count, 1);
        send_close(7);
        client_expect(&c, 7, AMQP_channel_close_ok);
        cr_assert_eq(c.connection->bc.channels_count, 0);
    }
    cr_assert(list_is_empty(&c.connection->bc.channels));
}

Test(channel, opens_once)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    client_open(&c, 1);
    m.channel_open.reserved_1 = client_text("");
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 504,
                        "CHANNEL_ERROR - second 'channel.open' seen");
    cr_assert_eq(c.method.connection_close.class_id, 20);
    cr_assert_eq(c.method.connection_close.method_id, 10);
}

Test(channel, must_be_open)
{
    send_declare(1, "q", false);
    client_expect_error(&c, 0, 504, "CHANNEL_ERROR - expected 'channel.open'");
}

Test(channel, numbers_go_to_the_negotiated_maximum)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    teardown();
    client_init(&c);
    client_connect_with(&c, 3, 0, 0);
    client_open(&c, 3);
    m.channel_open.reserved_1 = client_text("");
    client_send(&c, 4, &m);
    client_expect_error(&c, 0, 530,
                        "NOT_ALLOWED - channel 4 is above the negotiated "
                        "channel_max (3)");
}

Test(channel, flow_can_only_be_on)
{
    struct amqp_method m = {.id = AMQP_channel_flow};

    client_open(&c, 1);
    m.channel_flow.active = true;
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_channel_flow_ok);
    cr_assert(c.method.channel_flow_ok.active);
    m.channel_flow.active = false;
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 540, "NOT_IMPLEMENTED - active=false");
}

Test(channel, answers_to_the_server_are_taken_in_silence)
{
    client_open(&c, 1);
    client_send(&c, 1, &(struct amqp_method){.id = AMQP_channel_flow_ok});
    client_expect_nothing(&c);
}

Test(channel, access_is_always_granted)
{
    struct amqp_method m = {.id = AMQP_access_request};

    client_open(&c, 1);
    m.access_request.realm = client_text("/data");
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_access_request_ok);
    cr_assert_eq(c.method.access_request_ok.ticket, 1);
}

Test(channel, transactions_are_refused_by_name)
{
    static const struct {
        enum amqp_method_id id;
        const char *text;
    } rows[] = {
        {AMQP_tx_select, "NOT_IMPLEMENTED - tx.select"},
        {AMQP_tx_commit, "NOT_IMPLEMENTED - tx.commit"},
        {AMQP_tx_rollback, "NOT_IMPLEMENTED - tx.rollback"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct amqp_method m = {.id = rows[i].id};

        teardown();
        setup();
        client_open(&c, 1);
        client_send(&c, 1, &m);
        client_expect_error(&c, 0, 540, rows[i].text);
    }
}

Test(channel, every_method_of_the_server_is_invalid_from_a_client)
{
    for (size_t row = 0; row < AMQP_ROWS; row++) {
        const struct amqp_method_spec *spec =
            amqp_method_of_row((enum amqp_row)row);
        struct amqp_method m = {0};

        if (spec->who != AMQP_BY_SERVER && amqp_class_of(spec->id) != 10) {
            continue;
        }
        teardown();
        setup();
        client_open(&c, 1);
        m.id = spec->id;
        client_send(&c, 1, &m);
        client_expect(&c, 0, AMQP_connection_close);
        cr_assert_eq(c.method.connection_close.reply_code, 503, "%s",
                     spec->name);
    }
}

/* With arguments of zeroes, everything that a client may send has an answer,
 * or is taken in silence; nothing is forgotten. */
Test(channel, every_method_of_the_client_has_a_handler)
{
    for (size_t row = 0; row < AMQP_ROWS; row++) {
        const struct amqp_method_spec *spec =
            amqp_method_of_row((enum amqp_row)row);
        struct amqp_method m = {0};

        if ((spec->who & AMQP_BY_CLIENT) == 0 ||
            amqp_class_of(spec->id) == 10 ||
            spec->id == AMQP_channel_close_ok) {
            continue;
        }
        teardown();
        setup();
        client_open(&c, 1);
        client_declare(&c, 1, "q");
        m.id = spec->id;
        client_send(&c, 1, &m);
        cr_assert_not(client_logged(&c, "unimplemented method"), "%s",
                      spec->name);
        if (spec->flags == AMQP_IS_SYNC) {
            cr_assert_lt(c.read, c.heard.size, "no answer to %s", spec->name);
        }
    }
}

Test(channel, an_unknown_method_is_invalid)
{
    static const uint8_t bytes[] = {1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, 0xce};

    client_open(&c, 1);
    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_error(&c, 0, 503,
                        "COMMAND_INVALID - unknown method 99 of class 60");
}

Test(channel, a_malformed_method_is_a_syntax_error)
{
    static const uint8_t bytes[] = {1, 0, 1, 0, 0, 0, 5, 0, 60, 0, 80, 1, 0xce};

    client_open(&c, 1);
    client_put(&c, bytes, sizeof(bytes));
    client_pump(&c);
    client_expect_error(&c, 0, 502,
                        "SYNTAX_ERROR - argument 'delivery_tag' of "
                        "basic.ack is malformed");
}

Test(channel, a_soft_error_closes_it_alone)
{
    client_open(&c, 1);
    client_open(&c, 2);
    send_declare(1, "none", true);
    client_expect_error(&c, 1, 404, "NOT_FOUND - no queue 'none' in vhost '/'");
    cr_assert_eq(c.method.channel_close.class_id, 50);
    cr_assert_eq(c.method.channel_close.method_id, 10);
    cr_assert(client_logged(&c, "channel: channel error on connection"));
    /* Discards until close-ok, then may be opened again. */
    send_declare(1, "q", false);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_pump(&c);
    client_expect_nothing(&c);
    client_declare(&c, 2, "q");
    client_send(&c, 1, &(struct amqp_method){.id = AMQP_channel_close_ok});
    client_open(&c, 1);
    client_declare(&c, 1, "q");
    cr_assert_eq(fake_broker_stats(c.broker)->published, 0);
}

Test(channel, closes_that_cross_are_answered)
{
    client_open(&c, 1);
    send_declare(1, "none", true);
    client_expect(&c, 1, AMQP_channel_close);
    send_close(1);
    client_expect(&c, 1, AMQP_channel_close_ok);
    client_send(&c, 1, &(struct amqp_method){.id = AMQP_channel_close_ok});
    client_open(&c, 1);
}

Test(channel, waits_for_its_calls_while_others_go_on)
{
    client_open(&c, 1);
    client_open(&c, 2);
    client_declare(&c, 2, "q");
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "p", false);
    client_put_publish(&c, 1, "", "p", "one", 3, 3);
    client_put_publish(&c, 2, "", "q", "two", 3, 3);
    client_pump(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "p"), 0);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
    cr_assert(c.is_reading);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    cr_assert_eq(fake_broker_ready(c.broker, "p"), 1);
    cr_assert_eq(c.connection->waiting_frames, 0);
    cr_assert_eq(c.connection->waiting_bytes, 0);
}

Test(channel, calls_go_in_the_order_of_the_wire)
{
    struct amqp_method m = {.id = AMQP_queue_declare};

    client_open(&c, 1);
    m.queue_declare.arguments = client_text("");
    for (int i = 0; i < 5; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e"};

        m.queue_declare.queue = client_text(names[i]);
        client_put_method(&c, 1, &m);
    }
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    cr_assert(client_text_is(c.method.queue_declare_ok.queue, "a"));
    for (int i = 0; i < 4; i++) {
        client_expect(&c, 1, AMQP_queue_declare_ok);
    }
    cr_assert(client_text_is(c.method.queue_declare_ok.queue, "e"));
}

Test(channel, what_waits_is_bounded_in_frames)
{
    size_t heartbeats = 0;

    client_open(&c, 1);
    client_declare(&c, 1, "q");
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "p", false);
    for (size_t i = 0; i < AMQP_WAITING_FRAMES_MAX - 1; i++) {
        client_put_method(&c, 1,
                          &(struct amqp_method){.id = AMQP_confirm_select});
    }
    client_pump(&c);
    cr_assert(c.is_reading);
    client_put_method(&c, 1, &(struct amqp_method){.id = AMQP_confirm_select});
    client_put_method(&c, 1, &(struct amqp_method){.id = AMQP_confirm_select});
    client_pump(&c);
    cr_assert_not(c.is_reading);
    cr_assert_eq(c.connection->waiting_frames, AMQP_WAITING_FRAMES_MAX);
    cr_assert_gt(c.sent.size, 0, "the rest was not consumed");
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    cr_assert(c.is_reading);
    cr_assert_eq(c.sent.size, 0);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    for (; c.read < c.heard.size; heartbeats++) {
        client_expect(&c, 1, AMQP_confirm_select_ok);
    }
    cr_assert_eq(heartbeats, AMQP_WAITING_FRAMES_MAX + 1);
}

Test(channel, what_waits_is_bounded_in_bytes)
{
    static uint8_t body[100000];

    client_open(&c, 1);
    client_declare(&c, 1, "q");
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "p", false);
    for (int i = 0; i < 15; i++) {
        client_put_publish(&c, 1, "", "q", body, sizeof(body), 100000);
    }
    client_pump(&c);
    cr_assert_not(c.is_reading);
    cr_assert_lt(c.connection->waiting_bytes,
                 AMQP_WAITING_BYTES_MAX + AMQP_FRAME_SIZE_MAX);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 15);
}

Test(channel, closing_waits_for_what_came_before)
{
    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "q", false);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    send_close(1);
    client_expect_nothing(&c);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 1, AMQP_channel_close_ok);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 1);
}

/* However dear it is, and however much waits: one share a turn. */
Test(channel, what_waited_has_its_share_of_a_turn)
{
    client_open(&c, 1);
    client_open(&c, 2);
    client_declare(&c, 1, "q");
    fake_broker_control(c.broker)->hold_calls = true;
    fake_broker_control(c.broker)->route_steps =
        (size_t)AMQP_TURN_FRAMES * AMQP_TURN_STEPS_OF_FRAME;
    for (uint16_t number = 1; number <= 2; number++) {
        send_declare(number, "p", false);
        client_put_publish(&c, number, "", "q", "x", 1, 1);
        client_put_publish(&c, number, "", "q", "x", 1, 1);
    }
    send_close(1);
    fake_broker_control(c.broker)->hold_calls = false;
    fake_broker_run(c.broker);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 1);
    cr_assert_not(c.is_reading);
    for (size_t published = 2; published <= 4; published++) {
        cr_assert(c.wants_turn);
        c.wants_turn = false;
        amqp_connection_turn(c.connection);
        cr_assert_eq(fake_broker_stats(c.broker)->published, published);
    }
    client_pump(&c);
    cr_assert(c.is_reading);
    cr_assert_eq(fake_broker_ready(c.broker, "q"), 4);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 2, AMQP_queue_declare_ok);
    client_expect(&c, 1, AMQP_channel_close_ok);
    client_expect_nothing(&c);
    cr_assert_eq(c.connection->waiting_frames, 0);
}

/* It may end while it waits for its turn. */
Test(channel, the_connection_may_end_before_its_turn)
{
    struct amqp_method m = {.id = AMQP_connection_close};

    client_open(&c, 1);
    client_declare(&c, 1, "q");
    fake_broker_control(c.broker)->hold_calls = true;
    fake_broker_control(c.broker)->route_steps =
        (size_t)AMQP_TURN_FRAMES * AMQP_TURN_STEPS_OF_FRAME;
    send_declare(1, "p", false);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    client_put_publish(&c, 1, "", "q", "x", 1, 1);
    m.connection_close.reply_text = client_text("");
    client_send(&c, 0, &m);
    fake_broker_control(c.broker)->hold_calls = false;
    fake_broker_run(c.broker);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 1);
    cr_assert_not(c.is_closed, "what came before the close is not done");
    client_pump(&c);
    cr_assert_eq(fake_broker_stats(c.broker)->published, 2);
    cr_assert(c.is_closed);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 0, AMQP_connection_close_ok);
}

Test(channel, an_error_drops_what_waits)
{
    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "none", true);
    send_declare(1, "q", false);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_channel_close);
    client_expect_nothing(&c);
    cr_assert_eq(c.connection->waiting_frames, 0);
}

/* Its close waits behind the call whose fault closes the channel: it is not
 * among what is dropped, since the client waits for its answer. */
Test(channel, a_close_that_waits_behind_an_error_is_answered)
{
    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "none", true);
    send_declare(1, "q", false);
    send_close(1);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_channel_close);
    client_expect(&c, 1, AMQP_channel_close_ok);
    client_expect_nothing(&c);
    cr_assert_eq(c.connection->waiting_frames, 0);
    client_send(&c, 1, &(struct amqp_method){.id = AMQP_channel_close_ok});
    client_open(&c, 1);
}

/* The order of the wire holds whatever the broker's pace is. */
Test(channel, what_follows_a_close_that_waits_is_heard)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "q", false);
    send_close(1);
    m.channel_open.reserved_1 = client_text("");
    client_send(&c, 1, &m);
    send_declare(1, "p", false);
    client_put_publish(&c, 1, "", "p", "x", 1, 1);
    client_pump(&c);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 1, AMQP_channel_close_ok);
    client_expect(&c, 1, AMQP_channel_open_ok);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect_nothing(&c);
    cr_assert_eq(fake_broker_ready(c.broker, "p"), 1);
    cr_assert_eq(c.connection->waiting_frames, 0);
    cr_assert_eq(c.connection->waiting_bytes, 0);
}

Test(channel, what_follows_a_close_that_waits_needs_a_channel)
{
    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "q", false);
    send_close(1);
    send_declare(1, "p", false);
    send_declare(1, "r", false);
    fake_broker_control(c.broker)->hold_calls = false;
    client_pump(&c);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    client_expect(&c, 1, AMQP_channel_close_ok);
    client_expect_error(&c, 0, 504, "CHANNEL_ERROR - expected 'channel.open'");
    client_expect_nothing(&c);
    cr_assert_eq(c.connection->waiting_frames, 0);
}

Test(channel, a_lost_connection_abandons_its_call)
{
    client_open(&c, 1);
    fake_broker_control(c.broker)->hold_calls = true;
    send_declare(1, "q", false);
    cr_assert_eq(fake_broker_stats(c.broker)->calls, 1);
    amqp_connection_lost(c.connection);
    cr_assert_eq(fake_broker_stats(c.broker)->calls, 0);
}

Test(channel, content_without_a_method_is_unexpected)
{
    client_open(&c, 1);
    client_put_header(&c, 1, 3);
    client_pump(&c);
    client_expect_error(&c, 0, 505,
                        "UNEXPECTED_FRAME - expected method frame, got non "
                        "method frame instead");
}

Test(channel, arguments_have_a_size)
{
    static char arguments[META_ARGUMENTS_SIZE_MAX + 8];
    struct amqp_method m = {.id = AMQP_queue_declare};

    client_open(&c, 1);
    memcpy(arguments, "\1aS", 3);
    m.queue_declare.queue = client_text("q");
    put_u32be((uint8_t *)arguments + 3, META_ARGUMENTS_SIZE_MAX - 7);
    m.queue_declare.arguments =
        (struct amqp_text){arguments, META_ARGUMENTS_SIZE_MAX};
    client_send(&c, 1, &m);
    client_expect(&c, 1, AMQP_queue_declare_ok);
    cr_assert_eq(fake_broker_stats(c.broker)->last_arguments_size,
                 META_ARGUMENTS_SIZE_MAX);
    put_u32be((uint8_t *)arguments + 3, META_ARGUMENTS_SIZE_MAX - 6);
    m.queue_declare.arguments.size++;
    client_send(&c, 1, &m);
    client_expect_error(&c, 1, 406,
                        "PRECONDITION_FAILED - arguments of 65537 bytes are "
                        "larger than the maximum of 65536 bytes");
}
