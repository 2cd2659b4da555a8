/* From the protocol header to connection.open, and class connection after. */
#include <quorate/version.h>

#include "amqp/table.h"
#include "auth/mechanism.h"
#include "client.h"
#include "lib/harness.h"

static struct client c;

static void
setup(void)
{
    client_init(&c);
}

static void
teardown(void)
{
    client_deinit(&c);
}

TestSuite(handshake, .init = setup, .fini = teardown);

static void
send_header(void)
{
    client_put(&c, "AMQP\0\0\x9\1", 8);
    client_pump(&c);
    client_expect(&c, 0, AMQP_connection_start);
}

static void
send_start_ok(const char *mechanism, const void *response, size_t size,
              bool close_capability)
{
    static const char properties[] = "\xc"
                                     "capabilitiesF\0\0\0\x1f"
                                     "\x1c"
                                     "authentication_failure_closet\1"
                                     "\xf"
                                     "connection_nameS\0\0\0\3me!";
    struct amqp_method m = {.id = AMQP_connection_start_ok};

    m.connection_start_ok.client_properties = (struct amqp_text){
        properties, close_capability ? sizeof(properties) - 1 : 0};
    m.connection_start_ok.mechanism = client_text(mechanism);
    m.connection_start_ok.response = (struct amqp_text){response, size};
    m.connection_start_ok.locale = client_text("en_US");
    client_send(&c, 0, &m);
}

static void
login(void)
{
    send_header();
    send_start_ok("PLAIN", "\0guest\0guest", 12, true);
    client_expect(&c, 0, AMQP_connection_tune);
}

static void
send_tune_ok(uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat)
{
    struct amqp_method m = {.id = AMQP_connection_tune_ok};

    m.connection_tune_ok.channel_max = channel_max;
    m.connection_tune_ok.frame_max = frame_max;
    m.connection_tune_ok.heartbeat = heartbeat;
    client_send(&c, 0, &m);
}

static void
send_open(const char *vhost)
{
    struct amqp_method m = {.id = AMQP_connection_open};

    m.connection_open.virtual_host = client_text(vhost);
    m.connection_open.reserved_1 = client_text("");
    client_send(&c, 0, &m);
}

static void
send_close(void)
{
    struct amqp_method m = {.id = AMQP_connection_close};

    m.connection_close.reply_code = 200;
    m.connection_close.reply_text = client_text("bye");
    client_send(&c, 0, &m);
}

/* Begin again as a client whose certificate names USER. */
static void
restart(const char *user, unsigned mechanisms)
{
    client_deinit(&c);
    client_init_certified(&c, user, mechanisms);
    send_header();
}

static void
expect_mechanisms(const char *names)
{
    struct amqp_text offered = c.method.connection_start.mechanisms;

    cr_expect_eq(offered.size, strlen(names));
    cr_expect_arr_eq(offered.data, names, strlen(names));
}

Test(handshake, external_is_offered_where_it_can_succeed)
{
    restart("CN=app", AUTH_PLAIN | AUTH_EXTERNAL);
    expect_mechanisms("PLAIN EXTERNAL");
    restart(NULL, AUTH_PLAIN | AUTH_EXTERNAL);
    expect_mechanisms("PLAIN");
    restart("", AUTH_PLAIN | AUTH_EXTERNAL);
    expect_mechanisms("PLAIN");
    restart("CN=app", 0);
    expect_mechanisms("PLAIN AMQPLAIN");
}

Test(handshake, external_takes_the_certificate_s_user)
{
    restart("CN=app", AUTH_EXTERNAL);
    send_start_ok("EXTERNAL", "somebody else", 13, true);
    client_expect(&c, 0, AMQP_connection_tune);
    cr_expect_eq(fake_broker_stats(c.broker)->externals, 1);
    cr_expect_str_eq(c.connection->bc.user, "CN=app");
    cr_expect_str_eq(c.connection->bc.mechanism, "EXTERNAL");
}

Test(handshake, external_without_such_a_user_is_refused)
{
    restart("CN=other", AUTH_EXTERNAL);
    send_start_ok("EXTERNAL", "", 0, true);
    client_expect_error(&c, 0, 403,
                        "ACCESS_REFUSED - Login was refused using "
                        "authentication mechanism EXTERNAL. For details see "
                        "the broker logfile.");
    cr_expect(client_logged(&c, "user 'CN=other'"));
}

Test(handshake, external_without_a_certificate_is_no_mechanism)
{
    restart(NULL, AUTH_PLAIN | AUTH_EXTERNAL);
    send_start_ok("EXTERNAL", "", 0, true);
    client_expect(&c, 0, AMQP_connection_close);
    cr_expect_eq(c.method.connection_close.reply_code, 503);
    cr_expect_eq(fake_broker_stats(c.broker)->externals, 0);
}

Test(handshake, a_password_where_only_certificates_count_is_refused)
{
    restart("CN=app", AUTH_EXTERNAL);
    send_start_ok("PLAIN", "\0guest\0guest", 12, true);
    client_expect(&c, 0, AMQP_connection_close);
    cr_expect_eq(c.method.connection_close.reply_code, 503);
}

Test(handshake, another_protocol_is_told_ours)
{
    client_put(&c, "AMQP\0\1\0\0", 8);
    client_pump(&c);
    cr_assert_eq(c.heard.size, 8);
    cr_assert_arr_eq(c.heard.data, "AMQP\0\0\x9\1", 8);
    cr_assert(c.is_closed);
    cr_assert(c.is_flushed);
}

Test(handshake, a_stop_before_the_header_is_silent)
{
    amqp_connection_shutdown(c.connection);
    cr_assert_eq(c.heard.size, 0);
    cr_assert(c.is_closed);
}

Test(handshake, http_is_told_at_its_first_byte)
{
    client_put(&c, "G", 1);
    client_pump(&c);
    cr_assert_eq(c.heard.size, 8);
    cr_assert(c.is_closed);
}

Test(handshake, start_says_who_we_are)
{
    static const struct {
        const char *name;
        bool is_served;
    } capabilities[] = {
        {"publisher_confirms", true},
        {"exchange_exchange_bindings", true},
        {"basic.nack", true},
        {"consumer_cancel_notify", true},
        {"connection.blocked", true},
        {"consumer_priorities", false},
        {"authentication_failure_close", true},
        {"per_consumer_qos", true},
        {"direct_reply_to", true},
    };
    static const char *const keys[] = {"product",     "version",
                                       "platform",    "copyright",
                                       "information", "cluster_name"};
    struct amqp_text properties;
    struct amqp_value v;

    send_header();
    cr_assert_eq(c.method.connection_start.version_major, 0);
    cr_assert_eq(c.method.connection_start.version_minor, 9);
    cr_assert(
        client_text_is(c.method.connection_start.mechanisms, "PLAIN AMQPLAIN"));
    cr_assert(client_text_is(c.method.connection_start.locales, "en_US"));
    properties = c.method.connection_start.server_properties;
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        cr_assert(amqp_table_get(properties, keys[i], &v), "%s", keys[i]);
        cr_assert_eq(v.type, 'S');
        cr_assert_gt(v.text.size, 0);
    }
    cr_assert(amqp_table_get(properties, "product", &v));
    cr_assert(client_text_is(v.text, "Quorate"));
    cr_assert(amqp_table_get(properties, "version", &v));
    cr_assert(client_text_is(v.text, QR_VERSION_STRING));
    cr_assert(amqp_table_get(properties, "cluster_name", &v));
    cr_assert(client_text_is(v.text, "fake"));
    cr_assert(amqp_table_get(properties, "capabilities", &v));
    for (size_t i = 0; i < ARRAY_COUNT(capabilities); i++) {
        struct amqp_value flag;

        cr_assert(amqp_table_get(v.text, capabilities[i].name, &flag));
        cr_assert_eq(flag.number != 0, capabilities[i].is_served, "%s",
                     capabilities[i].name);
    }
}

Test(handshake, tune_proposes_rabbitmqs_values)
{
    login();
    cr_assert_eq(c.method.connection_tune.channel_max, 2047);
    cr_assert_eq(c.method.connection_tune.frame_max, 131072);
    cr_assert_eq(c.method.connection_tune.heartbeat, 60);
    cr_assert(fake_broker_stats(c.broker)->last_is_loopback);
}

Test(handshake, amqplain_is_a_table)
{
    static const char response[] = "\5LOGINS\0\0\0\5guest"
                                   "\x8PASSWORDS\0\0\0\5guest";

    send_header();
    send_start_ok("AMQPLAIN", response, sizeof(response) - 1, true);
    client_expect(&c, 0, AMQP_connection_tune);
}

Test(handshake, a_wrong_password_is_refused_with_rabbitmqs_words)
{
    send_header();
    send_start_ok("PLAIN", "\0guest\0wrong", 12, true);
    client_expect_error(
        &c, 0, 403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism "
        "PLAIN. For details see the broker logfile.");
    cr_assert_not(c.is_closed);
    cr_assert(client_logged(&c, "PLAIN login refused: user 'guest' - "
                                "invalid credentials"));
    client_send(&c, 0, &(struct amqp_method){.id = AMQP_connection_close_ok});
    cr_assert(c.is_closed);
}

Test(handshake, without_the_capability_a_refusal_is_silence)
{
    send_header();
    send_start_ok("PLAIN", "\0guest\0wrong", 12, false);
    client_expect_nothing(&c);
    cr_assert(c.is_closed);
}

Test(handshake, a_malformed_response_is_refused)
{
    static const struct {
        const char *mechanism;
        const char *response;
        size_t size;
    } rows[] = {
        {"PLAIN", "", 0},
        {"PLAIN", "guest", 5},
        {"PLAIN", "\0guest", 6},
        {"AMQPLAIN", "", 0},
        {"AMQPLAIN", "garbage", 7},
        {"AMQPLAIN", "\5LOGINS\0\0\0\5guest", 16},
        {"AMQPLAIN", "\5LOGINt\1\x8PASSWORDt\1", 18},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        client_deinit(&c);
        client_init(&c);
        send_header();
        send_start_ok(rows[i].mechanism, rows[i].response, rows[i].size, true);
        client_expect(&c, 0, AMQP_connection_close);
        cr_assert_eq(c.method.connection_close.reply_code, 403);
        cr_assert(client_logged(&c, "malformed response"));
    }
}

Test(handshake, another_mechanism_is_invalid)
{
    send_header();
    send_start_ok("EXTERNAL", "", 0, true);
    client_expect_error(&c, 0, 503,
                        "COMMAND_INVALID - unknown authentication mechanism "
                        "'EXTERNAL'");
}

Test(handshake, the_client_may_ask_for_less)
{
    login();
    send_tune_ok(1, 4096, 0);
    send_open("/");
    client_expect(&c, 0, AMQP_connection_open_ok);
    cr_assert_eq(c.connection->frame_max, 4096);
    cr_assert_eq(c.connection->channel_max, 1);
    cr_assert_eq(c.deadline_ms, UINT64_MAX, "no heartbeat, no deadline");
    cr_assert_str_eq(c.connection->bc.client, "me!");
    cr_assert_str_eq(c.connection->bc.state, "running");
    cr_assert(client_logged(&c, "user 'guest' authenticated and granted "
                                "access to vhost '/'"));
}

Test(handshake, the_client_may_not_ask_for_more)
{
    static const struct {
        uint16_t channel_max;
        uint32_t frame_max;
        const char *text;
    } rows[] = {
        {2047, 4095,
         "NOT_ALLOWED - negotiated frame_max = 4095 is lower than the "
         "minimum allowed value (4096)"},
        {2047, 131073,
         "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the "
         "maximum allowed value (131072)"},
        {2047, 0,
         "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum "
         "allowed value (131072)"},
        {2048, 131072,
         "NOT_ALLOWED - negotiated channel_max = 2048 is higher than the "
         "maximum allowed value (2047)"},
        {0, 131072,
         "NOT_ALLOWED - negotiated channel_max = 0 is higher than the "
         "maximum allowed value (2047)"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        client_deinit(&c);
        client_init(&c);
        login();
        send_tune_ok(rows[i].channel_max, rows[i].frame_max, 60);
        client_expect_error(&c, 0, 530, rows[i].text);
    }
}

Test(handshake, an_unknown_vhost_is_not_allowed)
{
    login();
    send_tune_ok(2047, 131072, 60);
    send_open("other");
    client_expect_error(&c, 0, 530, "NOT_ALLOWED - vhost other not found");
}

Test(handshake, a_method_out_of_turn_is_a_channel_error)
{
    login();
    send_open("/");
    client_expect_error(&c, 0, 504,
                        "CHANNEL_ERROR - unexpected method in connection "
                        "state starting");
    cr_assert_eq(c.method.connection_close.class_id, 10);
    cr_assert_eq(c.method.connection_close.method_id, 40);
}

Test(handshake, channels_wait_for_the_connection)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    login();
    m.channel_open.reserved_1 = client_text("");
    client_send(&c, 1, &m);
    client_expect_error(&c, 0, 505,
                        "UNEXPECTED_FRAME - frame on channel 1 before "
                        "connection.open");
}

Test(handshake, frames_are_small_before_tune)
{
    uint8_t head[7] = {1, 0, 0, 0, 0, 0, 0};

    send_header();
    put_u32be(head + 3, AMQP_FRAME_SIZE_INITIAL - 7);
    client_put(&c, head, sizeof(head));
    client_pump(&c);
    client_expect_error(&c, 0, 501,
                        "FRAME_ERROR - type 1, channel 0: a frame with 8185 "
                        "bytes of payload is larger than the negotiated "
                        "maximum of 8192 bytes");
}

Test(handshake, takes_ten_seconds_at_most)
{
    send_header();
    cr_assert_eq(c.deadline_ms, 1000 + AMQP_HANDSHAKE_TIMEOUT_MS);
    amqp_connection_tick(c.connection, c.deadline_ms - 1);
    cr_assert_not(c.is_closed);
    cr_assert_eq(c.deadline_ms, 1000 + AMQP_HANDSHAKE_TIMEOUT_MS);
    amqp_connection_tick(c.connection, c.deadline_ms);
    cr_assert(c.is_closed);
    cr_assert_not(c.is_flushed);
    cr_assert(client_logged(&c, "handshake timeout"));
}

Test(handshake, is_lost_while_the_password_is_hashed)
{
    fake_broker_control(c.broker)->hold_calls = true;
    send_header();
    send_start_ok("PLAIN", "\0guest\0guest", 12, true);
    cr_assert_not(c.is_reading);
    cr_assert_eq(fake_broker_stats(c.broker)->calls, 1);
    amqp_connection_lost(c.connection);
    cr_assert_eq(fake_broker_stats(c.broker)->calls, 0);
}

Test(handshake, works_byte_by_byte)
{
    c.piece = 1;
    client_connect(&c);
    client_open(&c, 1);
}

Test(handshake, close_is_answered)
{
    client_connect(&c);
    send_close();
    client_expect(&c, 0, AMQP_connection_close_ok);
    cr_assert(c.is_closed);
    cr_assert(c.is_flushed);
    cr_assert_eq(fake_broker_stats(c.broker)->connections, 0);
    amqp_connection_lost(c.connection);
    cr_assert(client_logged(&c, "connection: closing AMQP connection "));
    cr_assert_not(client_logged(&c, "unexpectedly"));
}

Test(handshake, close_is_answered_before_open_too)
{
    login();
    send_close();
    client_expect(&c, 0, AMQP_connection_close_ok);
    cr_assert(c.is_closed);
}

Test(handshake, a_new_secret_is_checked)
{
    struct amqp_method m = {.id = AMQP_connection_update_secret};

    client_connect(&c);
    m.connection_update_secret.new_secret = client_text("guest");
    m.connection_update_secret.reason = client_text("rotated");
    client_send(&c, 0, &m);
    client_expect(&c, 0, AMQP_connection_update_secret_ok);
    m.connection_update_secret.new_secret = client_text("wrong");
    client_send(&c, 0, &m);
    client_expect_error(&c, 0, 530,
                        "NOT_ALLOWED - New secret was refused by one of the "
                        "backends");
}
