/* Requests and responses as bytes. */
#include "base/buf.h"
#include "base/error.h"
#include "lib/harness.h"
#include "mgmt/protocol.h"

static int
decode(const char *bytes, size_t size, struct request *out, struct error *err)
{
    error_clear(err);
    return request_decode(bytes, size, out, err);
}

/* Decode a literal, with the NUL that C puts at its end. */
#define DECODE(literal) decode("" literal, sizeof(literal), &r, &err)

Test(protocol, a_request_comes_back_as_it_was)
{
    struct request r;
    struct error err;
    struct buf b;

    buf_init(&b);
    request_put_command(&b, COMMAND_delete_queue);
    request_put_option(&b, OPTION_VHOST, "a=b");
    request_put_option(&b, OPTION_IF_EMPTY, NULL);
    request_put_end(&b);
    request_put_argument(&b, "--if-unused");
    cr_assert_eq(request_decode(b.data, b.size, &r, &err), 0);
    cr_assert_eq(r.command, COMMAND_delete_queue);
    cr_assert_str_eq(r.options[OPTION_VHOST], "a=b");
    cr_assert_str_eq(r.options[OPTION_IF_EMPTY], "");
    cr_assert(r.options[OPTION_IF_UNUSED] == NULL);
    cr_assert_eq(r.args_count, 1);
    cr_assert_str_eq(r.args[0], "--if-unused");
    buf_deinit(&b);
}

Test(protocol, a_request_needs_its_last_nul)
{
    struct request r;
    struct error err;

    cr_assert_eq(decode("ping", 4, &r, &err), -QR_EFORMAT);
    cr_assert_eq(decode("", 0, &r, &err), -QR_EFORMAT);
    cr_assert_eq(DECODE("ping"), 0);
}

Test(protocol, a_request_has_a_largest_size)
{
    static char bytes[REQUEST_SIZE_MAX + 1] = "list_users";
    struct request r;
    struct error err;

    cr_assert_eq(decode(bytes, REQUEST_SIZE_MAX + 1, &r, &err), -QR_ETOOBIG);
    /* One less is looked at: empty words where options should be. */
    cr_assert_eq(decode(bytes, REQUEST_SIZE_MAX, &r, &err), -QR_EFORMAT);
}

Test(protocol, unknown_commands_are_named)
{
    struct request r;
    struct error err;

    cr_assert_eq(DECODE("nonsense\0--"), -QR_EINVAL);
    cr_assert(strstr(err.text, "nonsense") != NULL);
}

Test(protocol, options_are_checked_against_the_command)
{
    struct request r;
    struct error err;

    cr_assert_eq(DECODE("ping\0--vhost=/\0--"), -QR_EINVAL);
    cr_assert_eq(DECODE("ping\0--nonsense\0--"), -QR_EINVAL);
    cr_assert_eq(DECODE("ping\0--node\0--"), -QR_EINVAL);
    cr_assert_eq(DECODE("delete_queue\0--if-empty=1\0--\0q"), -QR_EINVAL);
    cr_assert_eq(DECODE("ping\0node\0--"), -QR_EFORMAT);
    cr_assert_eq(DECODE("ping\0-\0--"), -QR_EFORMAT);
    cr_assert_eq(DECODE("ping\0--node=n1\0--"), 0);
}

Test(protocol, arguments_are_counted)
{
    struct request r;
    struct error err;

    cr_assert_eq(DECODE("add_vhost\0--"), -QR_EINVAL);
    cr_assert_eq(DECODE("add_vhost\0--\0v"), 0);
    cr_assert_eq(DECODE("add_vhost\0--\0v\0w"), -QR_EINVAL);
    cr_assert_eq(DECODE("add_vhost\0--\0"), 0); /* the empty name is one */
}

Test(protocol, a_listing_takes_so_many_columns)
{
    struct request r;
    struct error err;
    struct buf b;

    buf_init(&b);
    request_put_command(&b, COMMAND_list_queues);
    request_put_end(&b);
    for (unsigned i = 0; i < COMMAND_ARGS_MAX; i++) {
        request_put_argument(&b, "name");
    }
    cr_assert_eq(request_decode(b.data, b.size, &r, &err), 0);
    request_put_argument(&b, "name");
    cr_assert_eq(request_decode(b.data, b.size, &r, &err), -QR_EINVAL);
    buf_deinit(&b);
}

Test(protocol, timeouts_are_seconds_with_thousandths)
{
    uint64_t ms = 0;

    cr_assert_eq(timeout_parse("10", &ms), 0);
    cr_assert_eq(ms, 10000);
    cr_assert_eq(timeout_parse("1.5", &ms), 0);
    cr_assert_eq(ms, 1500);
    cr_assert_eq(timeout_parse("0.001", &ms), 0);
    cr_assert_eq(ms, 1);
    cr_assert_eq(timeout_parse("infinity", &ms), 0);
    cr_assert_eq(ms, REQUEST_TIMEOUT_MS_MAX);
    cr_assert_eq(timeout_parse("86400", &ms), 0);
    cr_assert_eq(ms, REQUEST_TIMEOUT_MS_MAX);
}

Test(protocol, what_is_no_timeout_is_refused)
{
    static const char *const bad[] = {"",   "0",      "0.0",     "-1", "x",
                                      "1.", "1.1234", "86400.1", ".5", "1.x",
                                      "1 ", "86401",  "1e3"};
    uint64_t ms = 77;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(timeout_parse(bad[i], &ms), -QR_EINVAL, "%s", bad[i]);
    }
    cr_assert_eq(ms, 77);
}

Test(protocol, a_request_without_timeout_has_the_default)
{
    struct request r;
    struct error err;
    uint64_t ms = 0;

    cr_assert_eq(DECODE("ping"), 0);
    cr_assert_eq(request_timeout(&r, &ms, &err), 0);
    cr_assert_eq(ms, REQUEST_TIMEOUT_MS);
    cr_assert_eq(DECODE("ping\0--timeout=0.2"), 0);
    cr_assert_eq(request_timeout(&r, &ms, &err), 0);
    cr_assert_eq(ms, 200);
    cr_assert_eq(DECODE("ping\0--timeout=never"), 0);
    cr_assert_eq(request_timeout(&r, &ms, &err), -QR_EINVAL);
}

Test(protocol, a_response_header_comes_back_as_it_was)
{
    uint8_t header[RESPONSE_HEADER_SIZE];
    size_t size = 0;
    uint8_t code = 0;

    response_encode_header(header, 12345, EXIT_CODE_TIMEOUT);
    cr_assert_eq(response_decode_header(header, &size, &code), 0);
    cr_assert_eq(size, 12345);
    cr_assert_eq(code, 75);
}

Test(protocol, a_response_has_a_least_and_a_largest_size)
{
    uint8_t header[RESPONSE_HEADER_SIZE] = {0};
    size_t size = 0;
    uint8_t code = 0;

    cr_assert_eq(response_decode_header(header, &size, &code), -QR_EFORMAT);
    put_u32le(header, RESPONSE_SIZE_MAX);
    cr_assert_eq(response_decode_header(header, &size, &code), 0);
    put_u32le(header, RESPONSE_SIZE_MAX + 1);
    cr_assert_eq(response_decode_header(header, &size, &code), -QR_ETOOBIG);
}
