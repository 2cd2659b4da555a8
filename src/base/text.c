/* Comparing, parsing and validating text that carries its size. */
#include "base/text.h"

#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"

bool
text_equal(const void *text, size_t size, const char *expected)
{
    ASSERT(text != NULL || size == 0);
    ASSERT(expected != NULL);
    return strlen(expected) == size &&
           (size == 0 || memcmp(text, expected, size) == 0);
}

int
parse_u64(const char *text, size_t size, uint64_t min, uint64_t max,
          uint64_t *out)
{
    uint64_t value = 0;
    bool over = false;

    ASSERT(text != NULL || size == 0);
    ASSERT(min <= max);
    if (size == 0) {
        return -QR_EFORMAT;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';

        if (digit > 9) {
            return -QR_EFORMAT;
        }
        over = over || __builtin_mul_overflow(value, 10, &value) ||
               __builtin_add_overflow(value, digit, &value);
    }
    if (over || value < min || value > max) {
        return -QR_EINVAL;
    }
    *out = value;
    return 0;
}

/* What UNIT multiplies by; 0: there is no such unit. */
static uint64_t
unit_factor(const char *unit, size_t size)
{
    static const char letters[] = "kmgt";
    const char *letter = NULL;
    uint64_t base = 1024;
    uint64_t factor = 1;
    int first = 0;

    if (size == 0) {
        return 1;
    }
    first = (unsigned char)unit[0];
    if (first >= 'A' && first <= 'Z') {
        first |= 0x20;
    }
    letter = memchr(letters, first, sizeof(letters) - 1);
    if (letter == NULL) {
        return 0;
    }
    if (text_equal(unit + 1, size - 1, "B")) {
        base = 1000;
    } else if (size > 1 && !text_equal(unit + 1, size - 1, "iB")) {
        return 0;
    }
    for (ptrdiff_t i = letter - letters; i >= 0; i--) {
        factor *= base;
    }
    return factor;
}

int
parse_size(const char *text, size_t size, uint64_t *out)
{
    uint64_t factor = 0;
    uint64_t value = 0;
    size_t digits = 0;

    ASSERT(text != NULL || size == 0);
    ASSERT(out != NULL);
    while (digits < size && text[digits] >= '0' && text[digits] <= '9') {
        digits++;
    }
    factor = unit_factor(text + digits, size - digits);
    if (factor == 0 ||
        parse_u64(text, digits, 0, INT64_MAX / factor, &value) != 0) {
        return -QR_EFORMAT;
    }
    *out = value * factor;
    return 0;
}

int
parse_ratio(const char *text, size_t size, uint32_t *out)
{
    enum {
        MILLION = 1000000,
        DIGITS_MAX = 6
    };
    const char *point = size == 0 ? NULL : memchr(text, '.', size);
    size_t whole = point == NULL ? size : (size_t)(point - text);
    size_t digits = point == NULL ? 0 : size - whole - 1;
    uint64_t value = 0;
    uint64_t part = 0;

    ASSERT(text != NULL || size == 0);
    ASSERT(out != NULL);
    if (parse_u64(text, whole, 0, 1, &value) != 0 || digits > DIGITS_MAX ||
        (point != NULL &&
         parse_u64(point + 1, digits, 0, MILLION - 1, &part) != 0)) {
        return -QR_EFORMAT;
    }
    for (size_t i = digits; i < DIGITS_MAX; i++) {
        part *= 10;
    }
    value = value * MILLION + part;
    if (value > MILLION) {
        return -QR_EFORMAT;
    }
    *out = (uint32_t)value;
    return 0;
}

int
parse_bool(const char *text, size_t size, bool *out)
{
    ASSERT(text != NULL || size == 0);
    ASSERT(out != NULL);
    if (text_equal(text, size, "true") || text_equal(text, size, "on") ||
        text_equal(text, size, "yes")) {
        *out = true;
        return 0;
    }
    if (text_equal(text, size, "false") || text_equal(text, size, "off") ||
        text_equal(text, size, "no")) {
        *out = false;
        return 0;
    }
    return -QR_EFORMAT;
}

/* Bytes that a character beginning with LEAD has, 0 if none begins so; and
 * in [*LOW, *HIGH] what its second byte may be, which excludes overlong forms,
 * surrogates and numbers past U+10FFFF. */
static size_t
utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

size_t
utf8_character_size(const void *text, size_t size)
{
    const uint8_t *at = text;
    uint8_t low = 0;
    uint8_t high = 0;
    size_t count = 0;

    ASSERT(text != NULL || size == 0);
    if (size == 0) {
        return 0;
    }
    count = utf8_lead(at[0], &low, &high);
    if (count > size) {
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        if (at[i] < low || at[i] > high) {
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    ASSERT(count <= 4);
    return count;
}

bool
utf8_is_valid(const void *text, size_t size)
{
    const uint8_t *at = text;

    ASSERT(text != NULL || size == 0);
    while (size > 0) {
        size_t count = utf8_character_size(at, size);

        if (count == 0) {
            return false;
        }
        ASSERT(count <= size);
        at += count;
        size -= count;
    }
    return true;
}

void
text_put_man(struct buf *out, const char *text, size_t size)
{
    ASSERT(text != NULL || size == 0);
    if (size > 0 && (text[0] == '.' || text[0] == '\'')) {
        buf_put_text(out, "\\&");
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '-') {
            buf_put_text(out, "\\-");
        } else if (text[i] == '\\') {
            buf_put_text(out, "\\e");
        } else {
            buf_put_u8(out, (uint8_t)text[i]);
        }
    }
}
