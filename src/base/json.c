/* A JSON writer that keeps two bits for each open container: what it is, and
 * whether a comma is due. Output is always valid UTF-8, whatever the names
 * that clients chose hold. */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/text.h"

_Static_assert(JSON_DEPTH_MAX == 32, "one bit a level in 32-bit masks");

enum {
    JSON_DOUBLE_SIZE = 40
};

void
json_init(struct json *j, struct buf *out)
{
    ASSERT(j != NULL);
    ASSERT(out != NULL);
    *j = (struct json){out, 0, 0, 0, false, false};
}

bool
json_is_complete(const struct json *j)
{
    ASSERT(!j->is_complete || j->depth == 0);
    return j->is_complete;
}

/* The bit of the innermost container. */
static uint32_t
json_bit(const struct json *j)
{
    ASSERT(j->depth > 0);
    ASSERT(j->depth <= JSON_DEPTH_MAX);
    return UINT32_C(1) << (j->depth - 1);
}

/* A comma, unless this is the container's first member. */
static void
json_separate(struct json *j)
{
    if ((j->nonempty & json_bit(j)) != 0) {
        buf_put_u8(j->out, ',');
    }
    j->nonempty |= json_bit(j);
}

/* What goes before a value, here where one may stand. */
static void
json_before_value(struct json *j)
{
    ASSERT(!j->is_complete);
    if (j->depth == 0) {
        return;
    }
    if ((j->objects & json_bit(j)) != 0) {
        ASSERT(j->has_key);
        j->has_key = false;
        return;
    }
    json_separate(j);
}

/* What follows from a value's end. */
static void
json_after_value(struct json *j)
{
    ASSERT(!j->has_key);
    j->is_complete = j->depth == 0;
}

static void
json_begin(struct json *j, bool is_object)
{
    json_before_value(j);
    ASSERT(j->depth < JSON_DEPTH_MAX);
    j->depth++;
    j->nonempty &= ~json_bit(j);
    if (is_object) {
        j->objects |= json_bit(j);
    } else {
        j->objects &= ~json_bit(j);
    }
    buf_put_u8(j->out, is_object ? '{' : '[');
}

static void
json_end(struct json *j, bool is_object)
{
    ASSERT(((j->objects & json_bit(j)) != 0) == is_object);
    ASSERT(!j->has_key);
    j->depth--;
    buf_put_u8(j->out, is_object ? '}' : ']');
    json_after_value(j);
}

void
json_object_begin(struct json *j)
{
    json_begin(j, true);
}

void
json_object_end(struct json *j)
{
    json_end(j, true);
}

void
json_array_begin(struct json *j)
{
    json_begin(j, false);
}

void
json_array_end(struct json *j)
{
    json_end(j, false);
}

/* The control character, quote or backslash BYTE, escaped. */
static void
json_put_escape(struct buf *out, uint8_t byte)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";

    for (size_t i = 0; i + 1 < sizeof(named); i += 2) {
        if ((uint8_t)named[i] == byte) {
            buf_put_u8(out, '\\');
            buf_put_u8(out, (uint8_t)named[i + 1]);
            return;
        }
    }
    ASSERT(byte < 0x20);
    buf_putf(out, "\\u%04x", (unsigned)byte);
}

static void
json_put_quoted(struct buf *out, const uint8_t *text, size_t size)
{
    size_t plain = 0; /* where the bytes not yet copied begin */
    size_t at = 0;

    buf_put_u8(out, '"');
    while (at < size) {
        size_t count = utf8_character_size(text + at, size - at);

        if (count > 0 && text[at] >= 0x20 && text[at] != '"' &&
            text[at] != '\\') {
            at += count;
            continue;
        }
        buf_put(out, text + plain, at - plain);
        if (count == 0) {
            buf_put_text(out, "\xef\xbf\xbd");
        } else {
            json_put_escape(out, text[at]);
        }
        at++;
        plain = at;
    }
    ASSERT(at == size);
    if (at > plain) {
        buf_put(out, text + plain, at - plain);
    }
    buf_put_u8(out, '"');
}

void
json_key_bytes(struct json *j, const void *key, size_t size)
{
    ASSERT((j->objects & json_bit(j)) != 0);
    ASSERT(!j->has_key);
    json_separate(j);
    json_put_quoted(j->out, key, size);
    buf_put_u8(j->out, ':');
    j->has_key = true;
}

void
json_key(struct json *j, const char *key)
{
    ASSERT(key != NULL);
    json_key_bytes(j, key, strlen(key));
}

void
json_string(struct json *j, const void *text, size_t size)
{
    ASSERT(text != NULL || size == 0);
    json_before_value(j);
    json_put_quoted(j->out, text, size);
    json_after_value(j);
}

void
json_text(struct json *j, const char *text)
{
    ASSERT(text != NULL);
    json_string(j, text, strlen(text));
}

void
json_u64(struct json *j, uint64_t value)
{
    json_before_value(j);
    buf_putf(j->out, "%" PRIu64, value);
    json_after_value(j);
}

void
json_i64(struct json *j, int64_t value)
{
    json_before_value(j);
    buf_putf(j->out, "%" PRId64, value);
    json_after_value(j);
}

void
json_double(struct json *j, double value)
{
    char text[JSON_DOUBLE_SIZE];
    double back = 0;

    if (!isfinite(value)) {
        json_null(j);
        return;
    }
    json_before_value(j);
    (void)snprintf(text, sizeof(text), "%.15g", value);
    back = strtod(text, NULL);
    if (back < value || back > value) {
        (void)snprintf(text, sizeof(text), "%.17g", value);
    }
    buf_put_text(j->out, text);
    json_after_value(j);
}

void
json_bool(struct json *j, bool value)
{
    json_before_value(j);
    buf_put_text(j->out, value ? "true" : "false");
    json_after_value(j);
}

void
json_null(struct json *j)
{
    json_before_value(j);
    buf_put_text(j->out, "null");
    json_after_value(j);
}
