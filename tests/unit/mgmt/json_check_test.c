/* What is JSON and what is not. */
#include "base/error.h"
#include "lib/harness.h"
#include "mgmt/json_check.h"

static int
check(const char *text)
{
    struct error err;
    int rv;

    error_clear(&err);
    rv = json_check_object(text, strlen(text), &err);
    cr_assert((rv == 0) == (err.text[0] == '\0'));
    return rv;
}

Test(json_check, objects_are_accepted)
{
    static const char *const good[] = {
        "{\"a\":1}",
        " { \"a\" : [ ] , \"b\" : { } } \n",
        "{\"\":null}",
        "{\"a\":[1,-0.5e+10,2E3,true,false,null,\"x\"]}",
        "{\"a\\u00e9\\n\\\"\":\"\\\\\"}",
        "{\"\xc3\xa9\":0}",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_assert_eq(check(good[i]), 0, "%s", good[i]);
    }
}

Test(json_check, anything_else_is_not)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[1]",
        "1",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":\"x}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":1} x",
        "{\"a\":\"\xff\"}",
        "{\"a\":'x'}",
        "{\"a\" 1}",
        "{\"a\":\"\\",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(check(bad[i]), -QR_EFORMAT, "%s", bad[i]);
    }
}

Test(json_check, a_nul_within_is_not_the_end)
{
    struct error err;

    cr_assert_eq(json_check_object("{\"a\":1}\0", 8, &err), -QR_EFORMAT);
    cr_assert_eq(json_check_object("{\"\0\":1}", 7, &err), -QR_EFORMAT);
}

Test(json_check, nesting_has_a_limit)
{
    char text[128];
    size_t size = 0;

    /* An object and arrays within each other, JSON_CHECK_DEPTH_MAX - 1 in
     * all, and a number. */
    size += (size_t)snprintf(text, sizeof(text), "{\"a\":");
    for (unsigned i = 0; i < JSON_CHECK_DEPTH_MAX - 2; i++) {
        text[size++] = '[';
    }
    text[size++] = '1';
    for (unsigned i = 0; i < JSON_CHECK_DEPTH_MAX - 2; i++) {
        text[size++] = ']';
    }
    text[size++] = '}';
    text[size] = '\0';
    cr_assert_eq(check(text), 0);
    memmove(text + 6, text + 5, size - 4);
    text[5] = '[';
    text[size] = ']';
    text[size + 1] = '}';
    text[size + 2] = '\0';
    cr_assert_eq(check(text), -QR_EFORMAT);
}

Test(json_check, an_error_says_where)
{
    struct error err;

    error_clear(&err);
    cr_assert_eq(json_check_object("{\"a\":x}", 7, &err), -QR_EFORMAT);
    cr_assert(strstr(err.text, "at byte 5") != NULL, "%s", err.text);
}
