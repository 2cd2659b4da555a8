/* AMQP tables as JSON, every type of value. */
#include "base/buf.h"
#include "base/json.h"
#include "base/rng.h"
#include "lib/harness.h"
#include "mgmt/table_json.h"

/* Whether the SIZE bytes of TABLE become EXPECTED. */
static bool
becomes(const char *table, size_t size, const char *expected)
{
    struct json j;
    struct buf b;
    bool is_equal;

    buf_init(&b);
    json_init(&j, &b);
    table_json_put(&j, meta_text(table, size));
    cr_assert(json_is_complete(&j));
    buf_put_u8(&b, 0);
    is_equal = strcmp((const char *)b.data, expected) == 0;
    if (!is_equal) {
        (void)fprintf(stderr, "%s\n", (const char *)b.data);
    }
    buf_deinit(&b);
    return is_equal;
}

#define BECOMES(table, expected) \
    cr_assert(becomes((table), sizeof(table) - 1, (expected)))

Test(table_json, the_empty_table_is_an_empty_object)
{
    BECOMES("", "{}");
}

Test(table_json, integers_keep_their_signs)
{
    BECOMES("\1ab\xff", "{\"a\":-1}");
    BECOMES("\1aB\xff", "{\"a\":255}");
    BECOMES("\1as\xff\xfe", "{\"a\":-2}");
    BECOMES("\1aU\xff\xfe", "{\"a\":-2}");
    BECOMES("\1au\xff\xfe", "{\"a\":65534}");
    BECOMES("\1aI\xff\xff\xff\xff", "{\"a\":-1}");
    BECOMES("\1ai\xff\xff\xff\xff", "{\"a\":4294967295}");
    BECOMES("\1al\xff\xff\xff\xff\xff\xff\xff\xff", "{\"a\":-1}");
    BECOMES("\1aT\0\0\0\0\0\0\0\x10", "{\"a\":16}");
}

Test(table_json, other_values_become_what_is_nearest)
{
    BECOMES("\1at\1", "{\"a\":true}");
    BECOMES("\1at\0", "{\"a\":false}");
    BECOMES("\1aV", "{\"a\":null}");
    BECOMES("\1aS\0\0\0\2xy", "{\"a\":\"xy\"}");
    BECOMES("\1ax\0\0\0\1z", "{\"a\":\"z\"}");
    BECOMES("\1af\x3f\x80\0\0", "{\"a\":1}");
    BECOMES("\1ad\x3f\xf8\0\0\0\0\0\0", "{\"a\":1.5}");
    BECOMES("\1aD\2\0\0\0\x7d", "{\"a\":1.25}");
}

Test(table_json, tables_and_arrays_nest)
{
    BECOMES("\1aA\0\0\0\4t\1t\0", "{\"a\":[true,false]}");
    BECOMES("\1aF\0\0\0\4\1bt\1\1cV", "{\"a\":{\"b\":true},\"c\":null}");
}

Test(table_json, what_is_broken_ends_the_object_there)
{
    BECOMES("\1at", "{\"a\":false}");
    BECOMES("\1a?\1\1bt\1", "{\"a\":null}");
    BECOMES("\5a", "{}");
    BECOMES("\1aS\xff\xff\xff\xffx", "{\"a\":\"\"}");
    BECOMES("\1aA\0\0\0\7t\1", "{\"a\":[]}");
    BECOMES("\1aF\0\0\0\7t\1", "{\"a\":{}}");
}

/* DEPTH arrays within each other. */
static void
put_nested(struct buf *b, unsigned depth)
{
    size_t inner = 0;
    uint8_t bytes[5 * 40];
    size_t at = sizeof(bytes);

    for (unsigned i = 0; i < depth; i++) {
        at -= 5;
        bytes[at] = 'A';
        put_u32be(bytes + at + 1, (uint32_t)inner);
        inner += 5;
    }
    buf_put_u8(b, 1);
    buf_put_u8(b, 'a');
    buf_put(b, bytes + at, inner);
}

Test(table_json, nesting_has_a_limit)
{
    struct json j;
    struct buf table;
    struct buf out;

    for (unsigned depth = 1; depth < 40; depth++) {
        buf_init(&table);
        buf_init(&out);
        put_nested(&table, depth);
        json_init(&j, &out);
        table_json_put(&j, meta_text((const char *)table.data, table.size));
        cr_assert(json_is_complete(&j));
        buf_put_u8(&out, 0);
        cr_assert((strstr((const char *)out.data, "null") != NULL) ==
                  (depth > TABLE_JSON_DEPTH_MAX));
        buf_deinit(&table);
        buf_deinit(&out);
    }
}

Test(table_json, random_bytes_break_nothing)
{
    static const char types[] = "tbBsUuIilLTfdDSxAFV?";
    struct rng r;

    rng_init(&r, 3);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[48];
        size_t size = (size_t)rng_below(&r, sizeof(bytes) + 1);
        struct json j;
        struct buf out;

        for (size_t k = 0; k < sizeof(bytes); k++) {
            uint64_t die = rng_below(&r, 3);

            bytes[k] = die == 0   ? (uint8_t)rng_below(&r, 256)
                       : die == 1 ? (uint8_t)types[rng_below(&r, 20)]
                                  : (uint8_t)rng_below(&r, 3);
        }
        buf_init(&out);
        json_init(&j, &out);
        table_json_put(&j, meta_text((const char *)bytes, size));
        cr_assert(json_is_complete(&j));
        buf_deinit(&out);
    }
}
