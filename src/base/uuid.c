/* UUIDs in their canonical text form: 8-4-4-4-12 hexadecimal digits, written
 * in lower case, read in either (RFC 9562, section 4). */
#include "base/uuid.h"

#include <quorate/error.h>
#include <string.h>

/* Whether a hyphen precedes byte INDEX in the text form. */
static bool
uuid_hyphen_before(size_t index)
{
    return index == 4 || index == 6 || index == 8 || index == 10;
}

/* The value of hexadecimal digit C, or -1. */
static int
uuid_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

struct uuid
uuid_from_random(const uint8_t random[16])
{
    struct uuid u = {{0}};

    ASSERT(random != NULL);
    memcpy(u.bytes, random, sizeof(u.bytes));
    u.bytes[6] = (uint8_t)((u.bytes[6] & 0x0f) | 0x40); /* version 4 */
    u.bytes[8] = (uint8_t)((u.bytes[8] & 0x3f) | 0x80); /* RFC variant */
    ASSERT(!uuid_is_nil(&u));
    return u;
}

bool
uuid_is_equal(const struct uuid *a, const struct uuid *b)
{
    ASSERT(a != NULL);
    ASSERT(b != NULL);
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool
uuid_is_nil(const struct uuid *u)
{
    static const struct uuid nil = {{0}};

    return uuid_is_equal(u, &nil);
}

void
uuid_format(const struct uuid *u, char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    ASSERT(u != NULL);
    for (size_t i = 0; i < sizeof(u->bytes); i++) {
        if (uuid_hyphen_before(i)) {
            text[at++] = '-';
        }
        text[at++] = digits[u->bytes[i] >> 4];
        text[at++] = digits[u->bytes[i] & 0x0f];
    }
    ASSERT(at == UUID_TEXT_SIZE - 1);
    text[at] = '\0';
}

int
uuid_parse(const char *text, struct uuid *out)
{
    struct uuid u = {{0}};

    ASSERT(text != NULL);
    ASSERT(out != NULL);
    for (size_t i = 0; i < sizeof(u.bytes); i++) {
        int high = 0;
        int low = 0;

        if (uuid_hyphen_before(i)) {
            if (*text != '-') {
                return -QR_EFORMAT;
            }
            text++;
        }
        high = uuid_digit(text[0]);
        low = high < 0 ? -1 : uuid_digit(text[1]);
        if (low < 0) {
            return -QR_EFORMAT;
        }
        u.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0') {
        return -QR_EFORMAT;
    }
    *out = u;
    return 0;
}
