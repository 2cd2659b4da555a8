/* JSON: what is written, and what may not be. */
#include <math.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/text.h"
#include "lib/harness.h"

/* A writer and its buffer. */
struct page {
    struct buf out;
    struct json json;
};

static void
page_init(struct page *p)
{
    buf_init(&p->out);
    json_init(&p->json, &p->out);
}

/* Whether the page holds TEXT, whole; ends the page. */
static bool
page_is(struct page *p, const char *text)
{
    bool equal = json_is_complete(&p->json) &&
                 text_equal(p->out.data, p->out.size, text);

    if (!equal) {
        (void)fprintf(stderr, "%.*s\n", (int)p->out.size,
                      (const char *)p->out.data);
    }
    buf_deinit(&p->out);
    return equal;
}

Test(json, writes_nested_values)
{
    struct page p;
    struct json *j = &p.json;

    page_init(&p);
    json_object_begin(j);
    json_key(j, "name");
    json_text(j, "q");
    json_key(j, "members");
    json_array_begin(j);
    json_u64(j, 1);
    json_object_begin(j);
    json_object_end(j);
    json_array_begin(j);
    json_array_end(j);
    json_array_end(j);
    json_key(j, "ok");
    json_bool(j, true);
    json_key(j, "no");
    json_bool(j, false);
    json_key(j, "none");
    json_null(j);
    cr_assert(!json_is_complete(j));
    json_object_end(j);
    cr_assert(page_is(&p, "{\"name\":\"q\",\"members\":[1,{},[]],"
                          "\"ok\":true,\"no\":false,\"none\":null}"));
}

Test(json, puts_commas_between_members_only)
{
    struct page p;
    struct json *j = &p.json;

    page_init(&p);
    json_array_begin(j);
    for (unsigned i = 0; i < 2; i++) {
        json_array_begin(j);
        json_u64(j, i);
        json_u64(j, i);
        json_array_end(j);
        json_object_begin(j);
        json_key(j, "a");
        json_u64(j, i);
        json_key(j, "b");
        json_u64(j, i);
        json_object_end(j);
    }
    json_array_end(j);
    cr_assert(page_is(&p, "[[0,0],{\"a\":0,\"b\":0},[1,1],{\"a\":1,\"b\":1}]"));
}

Test(json, writes_a_bare_value)
{
    struct page p;

    page_init(&p);
    cr_assert(!json_is_complete(&p.json));
    json_u64(&p.json, UINT64_MAX);
    cr_assert(page_is(&p, "18446744073709551615"));
    page_init(&p);
    json_i64(&p.json, INT64_MIN);
    cr_assert(page_is(&p, "-9223372036854775808"));
}

Test(json, escapes)
{
    struct page p;

    page_init(&p);
    json_string(&p.json, "\"\\/\b\f\n\r\t\x01\x1f\x7f\0", 12);
    cr_assert(page_is(&p, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f"
                          "\\u0000\""));
}

Test(json, escapes_keys)
{
    struct page p;

    page_init(&p);
    json_object_begin(&p.json);
    json_key_bytes(&p.json, "a\"\xff", 3);
    json_null(&p.json);
    json_key_bytes(&p.json, NULL, 0);
    json_null(&p.json);
    json_object_end(&p.json);
    cr_assert(page_is(&p, "{\"a\\\"\xef\xbf\xbd\":null,\"\":null}"));
}

Test(json, replaces_what_is_not_utf8)
{
    struct page p;

    page_init(&p);
    json_string(&p.json, "\xc3\xa4\x80x\xe2\x82", 6);
    cr_assert(page_is(&p, "\"\xc3\xa4\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\""));
    page_init(&p);
    json_string(&p.json, NULL, 0);
    cr_assert(page_is(&p, "\"\""));
}

Test(json, is_utf8_without_controls_whatever_comes_in)
{
    struct rng r;

    rng_init(&r, 18);
    for (unsigned i = 0; i < 2000; i++) {
        uint8_t bytes[40];
        size_t size = (size_t)rng_below(&r, sizeof(bytes));
        struct page p;

        rng_fill(&r, bytes, size);
        page_init(&p);
        json_string(&p.json, bytes, size);
        cr_assert(utf8_is_valid(p.out.data, p.out.size));
        for (size_t at = 0; at < p.out.size; at++) {
            cr_assert_geq(p.out.data[at], 0x20);
        }
        buf_deinit(&p.out);
    }
}

/* VALUE, as JSON, is TEXT. */
static bool
double_is(double value, const char *text)
{
    struct page p;

    page_init(&p);
    json_double(&p.json, value);
    return page_is(&p, text);
}

Test(json, writes_doubles)
{
    cr_assert(double_is(0, "0"));
    cr_assert(double_is(0.1, "0.1"));
    cr_assert(double_is(-1.5, "-1.5"));
    cr_assert(double_is(1e300, "1e+300"));
    cr_assert(double_is(1.0 / 3, "0.33333333333333331"));
    cr_assert(double_is((double)NAN, "null"));
    cr_assert(double_is((double)INFINITY, "null"));
    cr_assert(double_is(-(double)INFINITY, "null"));
}

Test(json, nests_to_its_limit)
{
    struct page p;

    page_init(&p);
    for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
        json_array_begin(&p.json);
    }
    json_null(&p.json);
    json_null(&p.json);
    for (unsigned i = 0; i < JSON_DEPTH_MAX; i++) {
        json_array_end(&p.json);
    }
    cr_assert(json_is_complete(&p.json));
    cr_assert_eq(p.out.size, 2 * JSON_DEPTH_MAX + 9);
    buf_deinit(&p.out);
}

Test(json, stops_past_its_limit, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    for (unsigned i = 0; i <= JSON_DEPTH_MAX; i++) {
        json_array_begin(&p.json);
    }
}

Test(json, wants_a_key_in_an_object, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_object_begin(&p.json);
    json_null(&p.json);
}

Test(json, wants_no_key_in_an_array, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_array_begin(&p.json);
    json_key(&p.json, "k");
}

Test(json, wants_a_value_after_a_key, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_object_begin(&p.json);
    json_key(&p.json, "k");
    json_object_end(&p.json);
}

Test(json, wants_one_key_for_a_value, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_object_begin(&p.json);
    json_key(&p.json, "k");
    json_key(&p.json, "k");
}

Test(json, wants_the_end_of_what_began, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_object_begin(&p.json);
    json_array_end(&p.json);
}

Test(json, wants_no_end_without_a_beginning, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_array_end(&p.json);
}

Test(json, wants_one_value_only, .signal = SIGABRT)
{
    struct page p;

    page_init(&p);
    json_null(&p.json);
    json_null(&p.json);
}
