/* Text: comparing, parsing, and the edges of UTF-8. */
#include <quorate/error.h>

#include "base/buf.h"
#include "base/text.h"
#include "lib/harness.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

Test(text, is_equal_in_size_and_bytes)
{
    cr_assert(text_equal(BYTES("abc"), "abc"));
    cr_assert(text_equal(NULL, 0, ""));
    cr_assert(!text_equal(BYTES("ab"), "abc"));
    cr_assert(!text_equal(BYTES("abc"), "ab"));
    cr_assert(!text_equal(BYTES("abc"), "abd"));
    cr_assert(!text_equal(BYTES("ab\0"), "ab"));
    cr_assert(!text_equal(NULL, 0, "a"));
}

/* The result of parsing TEXT within [0, MAX]; the number goes to *OUT. */
static int
parse(const char *text, uint64_t max, uint64_t *out)
{
    return parse_u64(text, strlen(text), 0, max, out);
}

Test(text, parses_numbers)
{
    uint64_t v = 7;

    cr_assert_eq(parse("0", UINT64_MAX, &v), 0);
    cr_assert_eq(v, 0);
    cr_assert_eq(parse("007", UINT64_MAX, &v), 0);
    cr_assert_eq(v, 7);
    cr_assert_eq(parse("18446744073709551615", UINT64_MAX, &v), 0);
    cr_assert_eq(v, UINT64_MAX);
    cr_assert_eq(parse_u64("12345", 2, 0, 100, &v), 0);
    cr_assert_eq(v, 12);
}

Test(text, refuses_numbers_past_their_limits)
{
    uint64_t v = 7;

    cr_assert_eq(parse("101", 100, &v), -QR_EINVAL);
    cr_assert_eq(parse("100", 100, &v), 0);
    v = 7;
    cr_assert_eq(parse_u64(BYTES("9"), 10, 100, &v), -QR_EINVAL);
    cr_assert_eq(parse("18446744073709551616", UINT64_MAX, &v), -QR_EINVAL);
    cr_assert_eq(parse("99999999999999999999999999", UINT64_MAX, &v),
                 -QR_EINVAL);
    cr_assert_eq(v, 7);
    cr_assert_eq(parse_u64(BYTES("10"), 10, 10, &v), 0);
    cr_assert_eq(v, 10);
}

Test(text, refuses_what_is_no_number)
{
    static const char *const bad[] = {"",   "-1", "+1",  " 1", "1 ",
                                      "1x", "x",  "0x1", "1.0"};
    uint64_t v = 7;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_assert_eq(parse(bad[i], UINT64_MAX, &v), -QR_EFORMAT, "%s", bad[i]);
    }
    /* Malformed wins over too large. */
    cr_assert_eq(parse("99999999999999999999999999x", UINT64_MAX, &v),
                 -QR_EFORMAT);
    cr_assert_eq(v, 7);
}

Test(text, parses_truth)
{
    bool v = false;

    cr_assert_eq(parse_bool(BYTES("true"), &v), 0);
    cr_assert(v);
    cr_assert_eq(parse_bool(BYTES("false"), &v), 0);
    cr_assert(!v);
    cr_assert_eq(parse_bool(BYTES("on"), &v), 0);
    cr_assert(v);
    cr_assert_eq(parse_bool(BYTES("off"), &v), 0);
    cr_assert(!v);
    cr_assert_eq(parse_bool(BYTES("yes"), &v), 0);
    cr_assert(v);
    cr_assert_eq(parse_bool(BYTES("no"), &v), 0);
    cr_assert(!v);
}

Test(text, refuses_other_truths)
{
    bool v = true;

    cr_assert_eq(parse_bool(BYTES("True"), &v), -QR_EFORMAT);
    cr_assert_eq(parse_bool(BYTES("1"), &v), -QR_EFORMAT);
    cr_assert_eq(parse_bool(NULL, 0, &v), -QR_EFORMAT);
    cr_assert(v);
}

/* The UTF-8 form of CODE by the table of RFC 3629, also for codes that have
 * none; returns its size. */
static size_t
encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

Test(utf8, accepts_every_character_and_no_other_code)
{
    for (uint32_t code = 0; code < 0x1fffff; code++) {
        uint8_t bytes[4];
        size_t size = encode(code, bytes);
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        bool valid = code <= 0x10ffff && !surrogate;

        cr_assert_eq(utf8_is_valid(bytes, size), valid, "U+%04X",
                     (unsigned)code);
        cr_assert_eq(utf8_character_size(bytes, size), valid ? size : 0);
        cr_assert(!utf8_is_valid(bytes, size - 1) || size == 1);
    }
}

Test(utf8, refuses_overlong_forms_and_stray_bytes)
{
    cr_assert(!utf8_is_valid(BYTES("\xc0\x80")));
    cr_assert(!utf8_is_valid(BYTES("\xc1\xbf")));
    cr_assert(!utf8_is_valid(BYTES("\xe0\x9f\xbf")));
    cr_assert(!utf8_is_valid(BYTES("\xf0\x8f\xbf\xbf")));
    cr_assert(!utf8_is_valid(BYTES("\xf5\x80\x80\x80")));
    cr_assert(!utf8_is_valid(BYTES("\xff")));
    cr_assert(!utf8_is_valid(BYTES("\x80")));
    cr_assert(!utf8_is_valid(BYTES("\xc3(")));
    cr_assert(!utf8_is_valid(BYTES("ok\xe2\x82")));
}

Test(utf8, accepts_text)
{
    cr_assert(utf8_is_valid(NULL, 0));
    cr_assert(utf8_is_valid(BYTES("plain, with a NUL: \0")));
    cr_assert(utf8_is_valid(BYTES("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xb0")));
    cr_assert_eq(utf8_character_size(NULL, 0), 0);
}

/* Whether TEXT becomes EXPECTED on a manual page. */
static bool
is_put_man(const char *text, const char *expected)
{
    struct buf out;
    bool is_same;

    buf_init(&out);
    text_put_man(&out, text, strlen(text));
    is_same = text_equal(out.data, out.size, expected);
    buf_deinit(&out);
    return is_same;
}

Test(text, is_not_taken_for_requests_of_a_manual_page)
{
    cr_assert(is_put_man("", ""));
    cr_assert(is_put_man("plain 'text'.", "plain 'text'."));
    cr_assert(is_put_man(".TH", "\\&.TH"));
    cr_assert(is_put_man("'so", "\\&'so"));
    cr_assert(is_put_man("--a-b", "\\-\\-a\\-b"));
    cr_assert(is_put_man("C:\\", "C:\\e"));
}

Test(text, parses_sizes_with_units)
{
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {{"0", 0},
                {"12", 12},
                {"1k", 1024},
                {"1KB", 1000},
                {"3KiB", 3072},
                {"2M", 2 << 20},
                {"2MB", 2000000},
                {"2mB", 2000000},
                {"1GiB", 1 << 30},
                {"5GB", 5000000000},
                {"1TiB", (uint64_t)1 << 40},
                {"8388607TiB", (uint64_t)8388607 << 40},
                {"9223372036854775807", INT64_MAX}};
    static const char *const bad[] = {
        "",          "K",    "1X",  "1KX",  "1KBB", "-1",
        "1 K",       "1.5G", "1Ki", "0x10", "1B",   "9223372036854775808",
        "8388608TiB"};
    uint64_t size = 0;

    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_expect_eq(parse_size(good[i].text, strlen(good[i].text), &size), 0,
                     "%s", good[i].text);
        cr_expect_eq(size, good[i].size, "%s", good[i].text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_expect_eq(parse_size(bad[i], strlen(bad[i]), &size), -QR_EFORMAT,
                     "%s", bad[i]);
    }
}

Test(text, parses_ratios)
{
    static const struct {
        const char *text;
        uint32_t ratio;
    } good[] = {
        {"0", 0},        {"1", 1000000},   {"0.6", 600000},     {"0.05", 50000},
        {"0.000001", 1}, {"1.0", 1000000}, {"0.999999", 999999}};
    static const char *const bad[] = {"",    ".5",   "1.", "1.1",       "2",
                                      "0,5", "-0.5", "60", "0.0000001", "0.5x"};
    uint32_t ratio = 0;

    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        cr_expect_eq(parse_ratio(good[i].text, strlen(good[i].text), &ratio), 0,
                     "%s", good[i].text);
        cr_expect_eq(ratio, good[i].ratio, "%s", good[i].text);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        cr_expect_eq(parse_ratio(bad[i], strlen(bad[i]), &ratio), -QR_EFORMAT,
                     "%s", bad[i]);
    }
}
