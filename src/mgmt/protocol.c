/* See protocol.h. Decoding trusts nothing: the bytes come from whoever can
 * open the socket, or from another node's operator. */
#include "mgmt/protocol.h"

#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"

void
request_put_command(struct buf *b, enum command_id command)
{
    request_put_argument(b, command_row(command)->name);
}

void
request_put_option(struct buf *b, enum command_option option, const char *value)
{
    buf_put_text(b, "--");
    buf_put_text(b, option_row(option)->name);
    if (value != NULL) {
        buf_put_text(b, "=");
        buf_put_text(b, value);
    }
    buf_put_u8(b, 0);
}

void
request_put_end(struct buf *b)
{
    request_put_argument(b, "--");
}

void
request_put_argument(struct buf *b, const char *argument)
{
    buf_put(b, argument, strlen(argument) + 1);
}

/* The next string and its NUL, or NULL at the end. */
static const char *
next_text(struct cursor *c)
{
    const char *at = (const char *)c->at;

    if (cursor_left(c) == 0) {
        return NULL;
    }
    (void)cursor_bytes(c, strlen(at) + 1); /* the last byte is a NUL */
    return at;
}

static int
decode_option(const char *text, struct request *r, struct error *err)
{
    const struct command_row *row = command_row(r->command);
    const char *equals = strchr(text, '=');
    size_t size = equals == NULL ? strlen(text) : (size_t)(equals - text);
    enum command_option option;

    if (size < 2 || memcmp(text, "--", 2) != 0) {
        return error_set(err, QR_EFORMAT,
                         "the request has '%s' where an option was expected",
                         text);
    }
    if (!option_find(text + 2, size - 2, &option) ||
        !command_takes(row, option)) {
        return error_set(err, QR_EINVAL,
                         "option '%.*s' does not go with %s: see 'quoratectl "
                         "help %s'",
                         (int)size, text, row->name, row->name);
    }
    if ((equals != NULL) != (option_row(option)->value != NULL)) {
        return error_set(err, QR_EINVAL, "option '%.*s' takes %s", (int)size,
                         text, equals != NULL ? "no value" : "a value");
    }
    r->options[option] = equals != NULL ? equals + 1 : "";
    return 0;
}

static int
decode_arguments(struct cursor *c, struct request *r, struct error *err)
{
    const struct command_row *row = command_row(r->command);
    const char *text;

    while ((text = next_text(c)) != NULL) {
        if (r->args_count == row->args_max) {
            return error_set(err, QR_EINVAL,
                             "%s takes at most %zu arguments: %s %s", row->name,
                             row->args_max, row->name, row->arguments);
        }
        r->args[r->args_count++] = text;
    }
    if (r->args_count < row->args_min) {
        return error_set(
            err, QR_EINVAL, "%s needs %zu arguments and has %zu: %s %s",
            row->name, row->args_min, r->args_count, row->name, row->arguments);
    }
    return 0;
}

int
request_decode(const void *data, size_t size, struct request *out,
               struct error *err)
{
    const char *bytes = data;
    struct request r = {0};
    struct cursor c;
    const char *text;
    int rv;

    if (size > REQUEST_SIZE_MAX) {
        return error_set(err, QR_ETOOBIG,
                         "the request has %zu bytes, %d are allowed", size,
                         (int)REQUEST_SIZE_MAX);
    }
    if (size == 0 || bytes[size - 1] != '\0') {
        return error_set(err, QR_EFORMAT,
                         "the request does not end with a NUL");
    }
    cursor_init(&c, data, size);
    text = next_text(&c);
    if (text == NULL || !command_find(text, &r.command)) {
        return error_set(err, QR_EINVAL,
                         "this node knows no command '%s': its version is "
                         "another, or see 'quoratectl help'",
                         text == NULL ? "" : text);
    }
    while ((text = next_text(&c)) != NULL && strcmp(text, "--") != 0) {
        rv = decode_option(text, &r, err);
        if (rv != 0) {
            return rv;
        }
    }
    rv = decode_arguments(&c, &r, err);
    if (rv == 0) {
        *out = r;
    }
    return rv;
}

int
timeout_parse(const char *text, uint64_t *ms)
{
    const char *dot = strchr(text, '.');
    size_t whole_size = dot == NULL ? strlen(text) : (size_t)(dot - text);
    uint64_t whole = 0;
    uint64_t thousandths = 0;

    if (strcmp(text, "infinity") == 0) {
        *ms = REQUEST_TIMEOUT_MS_MAX;
        return 0;
    }
    if (parse_u64(text, whole_size, 0, REQUEST_TIMEOUT_MS_MAX / 1000, &whole) !=
        0) {
        return -QR_EINVAL;
    }
    if (dot != NULL) {
        char digits[4] = "000";
        size_t count = strlen(dot + 1);

        if (count == 0 || count > 3) {
            return -QR_EINVAL;
        }
        memcpy(digits, dot + 1, count);
        if (parse_u64(digits, 3, 0, 999, &thousandths) != 0) {
            return -QR_EINVAL;
        }
    }
    whole = whole * 1000 + thousandths;
    if (whole == 0 || whole > REQUEST_TIMEOUT_MS_MAX) {
        return -QR_EINVAL;
    }
    *ms = whole;
    return 0;
}

int
request_timeout(const struct request *r, uint64_t *ms, struct error *err)
{
    const char *text = r->options[OPTION_TIMEOUT];

    if (text == NULL) {
        *ms = REQUEST_TIMEOUT_MS;
        return 0;
    }
    if (timeout_parse(text, ms) != 0) {
        return error_set(err, QR_EINVAL,
                         "timeout '%s' is no number of seconds from 0.001 to "
                         "%d, nor 'infinity'",
                         text, (int)(REQUEST_TIMEOUT_MS_MAX / 1000));
    }
    return 0;
}

void
response_encode_header(uint8_t out[RESPONSE_HEADER_SIZE], size_t size,
                       enum exit_code code)
{
    ASSERT(size < RESPONSE_SIZE_MAX);
    put_u32le(out, (uint32_t)size + 1);
    out[4] = (uint8_t)code;
}

int
response_decode_header(const uint8_t in[RESPONSE_HEADER_SIZE], size_t *size,
                       uint8_t *code)
{
    uint32_t total = get_u32le(in);

    if (total > RESPONSE_SIZE_MAX) {
        return -QR_ETOOBIG;
    }
    if (total == 0) {
        return -QR_EFORMAT;
    }
    *size = total - 1;
    *code = in[4];
    return 0;
}
