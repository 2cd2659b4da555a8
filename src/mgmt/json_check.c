/* See json_check.h. The grammar by recursive descent, to a bounded depth. A
 * fault is kept where it was found; whoever called just returns. */
#include "mgmt/json_check.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

struct reader {
    const char *text;
    size_t size;
    size_t at;
    const char *fault; /* NULL: none yet. Static */
};

static bool check_value(struct reader *r, unsigned depth);

static bool
fail(struct reader *r, const char *fault)
{
    if (r->fault == NULL) {
        r->fault = fault;
    }
    return false;
}

/* The next byte, or NUL at the end. */
static char
peek(const struct reader *r)
{
    char c = '\0';

    if (r->at < r->size) {
        c = r->text[r->at];
    }
    return c;
}

static void
skip_blanks(struct reader *r)
{
    char c = peek(r);

    while (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        r->at++;
        c = peek(r);
    }
}

static bool
take(struct reader *r, char c)
{
    if (peek(r) != c || r->at == r->size) {
        return false;
    }
    r->at++;
    return true;
}

static bool
check_word(struct reader *r, const char *word)
{
    size_t size = strlen(word);

    if (r->size - r->at < size || memcmp(r->text + r->at, word, size) != 0) {
        return fail(r, "neither true, false nor null");
    }
    r->at += size;
    return true;
}

static bool
check_escape(struct reader *r)
{
    char c = peek(r);

    r->at += r->at < r->size ? 1 : 0;
    if (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) {
        return true;
    }
    if (c != 'u') {
        return fail(r, "an unknown escape");
    }
    for (unsigned i = 0; i < 4; i++) {
        c = peek(r);
        if (c == '\0' || strchr("0123456789abcdefABCDEF", c) == NULL) {
            return fail(r, "an escape that is no \\uXXXX");
        }
        r->at++;
    }
    return true;
}

static bool
check_string(struct reader *r)
{
    if (!take(r, '"')) {
        return fail(r, "a string is expected");
    }
    while (!take(r, '"')) {
        size_t size = utf8_character_size(r->text + r->at, r->size - r->at);

        if (r->at == r->size) {
            return fail(r, "a string without an end");
        }
        if (size == 0 || (uint8_t)r->text[r->at] < 0x20) {
            return fail(r, "a byte that a string may not have");
        }
        r->at += size;
        if (size == 1 && r->text[r->at - 1] == '\\' && !check_escape(r)) {
            return false;
        }
    }
    return true;
}

/* One digit at least. */
static bool
check_digits(struct reader *r)
{
    size_t from = r->at;

    while (peek(r) >= '0' && peek(r) <= '9') {
        r->at++;
    }
    return r->at > from || fail(r, "a digit is expected");
}

static bool
check_number(struct reader *r)
{
    (void)take(r, '-');
    if (!take(r, '0') && !check_digits(r)) {
        return false;
    }
    if (take(r, '.') && !check_digits(r)) {
        return false;
    }
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+')) {
            (void)take(r, '-');
        }
        return check_digits(r);
    }
    return true;
}

static bool
check_member(struct reader *r, unsigned depth)
{
    skip_blanks(r);
    if (!check_string(r)) {
        return false;
    }
    skip_blanks(r);
    if (!take(r, ':')) {
        return fail(r, "':' is expected");
    }
    return check_value(r, depth);
}

/* The rest of an object or array, whose first byte was taken. */
static bool
check_members(struct reader *r, char end, unsigned depth)
{
    skip_blanks(r);
    if (take(r, end)) {
        return true;
    }
    do {
        if (end == '}' ? !check_member(r, depth) : !check_value(r, depth)) {
            return false;
        }
        skip_blanks(r);
    } while (take(r, ','));
    return take(r, end) || fail(r, end == '}' ? "',' or '}' is expected"
                                              : "',' or ']' is expected");
}

static bool
check_value(struct reader *r, unsigned depth)
{
    if (depth == JSON_CHECK_DEPTH_MAX) {
        return fail(r, "nested too deep");
    }
    skip_blanks(r);
    switch (peek(r)) {
    case '{':
        r->at++;
        return check_members(r, '}', depth + 1);
    case '[':
        r->at++;
        return check_members(r, ']', depth + 1);
    case '"':
        return check_string(r);
    case 't':
        return check_word(r, "true");
    case 'f':
        return check_word(r, "false");
    case 'n':
        return check_word(r, "null");
    default:
        return check_number(r);
    }
}

int
json_check_object(const char *text, size_t size, struct error *err)
{
    struct reader r = {.text = text, .size = size};

    skip_blanks(&r);
    if (peek(&r) != '{') {
        (void)fail(&r, "'{' is expected");
    } else {
        r.at++;
        skip_blanks(&r);
        if (peek(&r) == '}') {
            (void)fail(&r, "the object is empty");
        } else if (check_members(&r, '}', 1)) {
            skip_blanks(&r);
            if (r.at < r.size) {
                (void)fail(&r, "something follows the object");
            }
        }
    }
    if (r.fault != NULL) {
        return error_set(err, QR_EFORMAT, "%s at byte %zu", r.fault, r.at);
    }
    return 0;
}
