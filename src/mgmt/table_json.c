/* See table_json.h. Type letters are RabbitMQ's where they differ from the
 * specification's (amqp/table.h). Recursion is bounded by
 * TABLE_JSON_DEPTH_MAX. */
#include "mgmt/table_json.h"

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

static void put_table(struct json *j, struct cursor *c, unsigned depth);
static void put_value(struct json *j, struct cursor *c, unsigned depth);

static const uint8_t *
long_bytes(struct cursor *c, size_t *size)
{
    const uint8_t *at;

    *size = cursor_u32be(c);
    at = cursor_bytes(c, *size);
    if (at == NULL) {
        *size = 0;
    }
    return at;
}

static void
put_string(struct json *j, struct cursor *c)
{
    size_t size;
    const uint8_t *at = long_bytes(c, &size);

    json_string(j, at == NULL ? (const uint8_t *)"" : at, size);
}

static void
put_array(struct json *j, struct cursor *c, unsigned depth)
{
    size_t size;
    const uint8_t *at = long_bytes(c, &size);
    struct cursor inner;

    json_array_begin(j);
    if (at != NULL) {
        cursor_init(&inner, at, size);
        while (cursor_left(&inner) > 0) {
            put_value(j, &inner, depth + 1);
        }
    }
    json_array_end(j);
}

static void
put_inner_table(struct json *j, struct cursor *c, unsigned depth)
{
    size_t size;
    const uint8_t *at = long_bytes(c, &size);
    struct cursor inner;

    cursor_init(&inner, at, size);
    put_table(j, &inner, depth + 1);
}

static void
put_decimal(struct json *j, struct cursor *c)
{
    unsigned scale = cursor_u8(c);
    int32_t value = (int32_t)cursor_u32be(c);

    json_double(j, (double)value / pow(10.0, scale));
}

static void
put_float(struct json *j, struct cursor *c)
{
    uint32_t bits = cursor_u32be(c);
    float value;

    memcpy(&value, &bits, sizeof(value));
    json_double(j, (double)value);
}

static void
put_double(struct json *j, struct cursor *c)
{
    uint64_t bits = cursor_u64be(c);
    double value;

    memcpy(&value, &bits, sizeof(value));
    json_double(j, value);
}

static void
put_value(struct json *j, struct cursor *c, unsigned depth)
{
    unsigned type = cursor_u8(c);

    if (depth >= TABLE_JSON_DEPTH_MAX) {
        cursor_fail(c);
        type = 'V';
    }
    switch (type) {
    case 't':
        json_bool(j, cursor_u8(c) != 0);
        return;
    case 'b':
        json_i64(j, (int8_t)cursor_u8(c));
        return;
    case 'B':
        json_u64(j, cursor_u8(c));
        return;
    case 's':
    case 'U':
        json_i64(j, (int16_t)cursor_u16be(c));
        return;
    case 'u':
        json_u64(j, cursor_u16be(c));
        return;
    case 'I':
        json_i64(j, (int32_t)cursor_u32be(c));
        return;
    case 'i':
        json_u64(j, cursor_u32be(c));
        return;
    case 'l':
        json_i64(j, (int64_t)cursor_u64be(c));
        return;
    case 'L':
    case 'T':
        json_u64(j, cursor_u64be(c));
        return;
    case 'f':
        put_float(j, c);
        return;
    case 'd':
        put_double(j, c);
        return;
    case 'D':
        put_decimal(j, c);
        return;
    case 'S':
    case 'x':
        put_string(j, c);
        return;
    case 'A':
        put_array(j, c, depth);
        return;
    case 'F':
        put_inner_table(j, c, depth);
        return;
    case 'V':
        json_null(j);
        return;
    default:
        cursor_fail(c); /* its size is not known: nothing after it is */
        json_null(j);
        return;
    }
}

static void
put_table(struct json *j, struct cursor *c, unsigned depth)
{
    json_object_begin(j);
    while (cursor_left(c) > 0) {
        size_t size = cursor_u8(c);
        const uint8_t *key = cursor_bytes(c, size);

        if (key == NULL) {
            break;
        }
        json_key_bytes(j, key, size);
        put_value(j, c, depth);
    }
    json_object_end(j);
}

void
table_json_put(struct json *j, struct meta_text table)
{
    struct cursor c;

    cursor_init(&c, table.data, table.size);
    put_table(j, &c, 0);
}
