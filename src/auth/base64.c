/* Base64 as password hashes need it: strict, so that one hash has one text,
 * but for padding, which RabbitMQ's hashes have and PHC strings do not. */
#include "auth/base64.h"

#include <quorate/error.h>
#include <stdbool.h>

static const char BASE64_ALPHABET[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of character C, or -1. */
static int
base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+') {
        return 62;
    }
    return c == '/' ? 63 : -1;
}

void
base64_encode(const void *data, size_t size, char *text)
{
    const uint8_t *at = data;
    unsigned bits = 0;
    unsigned held = 0;

    ASSERT(text != NULL || size == 0);
    for (size_t i = 0; i < size; i++) {
        bits = (bits << 8) | at[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            *text++ = BASE64_ALPHABET[(bits >> held) & 63];
        }
    }
    if (held > 0) {
        *text = BASE64_ALPHABET[(bits << (6 - held)) & 63];
    }
}

/* SIZE without the padding, or SIZE + 1 if that is wrong. */
static size_t
base64_unpadded(const char *text, size_t size)
{
    size_t bare = size;

    while (bare > 0 && size - bare < 2 && text[bare - 1] == '=') {
        bare--;
    }
    return bare < size && size % 4 != 0 ? size + 1 : bare;
}

int
base64_decode(const char *text, size_t size, uint8_t *out, size_t out_size_max,
              size_t *out_size)
{
    size_t bare = base64_unpadded(text, size);
    size_t count = 0;
    unsigned bits = 0;
    unsigned held = 0;
    int value = 0;

    if (bare > size || bare % 4 == 1) {
        return -QR_EFORMAT;
    }
    if (bare * 3 / 4 > out_size_max) {
        return -QR_ETOOBIG;
    }
    for (size_t i = 0; i < bare; i++) {
        value = base64_value(text[i]);
        if (value < 0) {
            return -QR_EFORMAT;
        }
        bits = (bits << 6) | (unsigned)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[count++] = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1U << held) - 1)) != 0) {
        return -QR_EFORMAT;
    }
    ASSERT(count == bare * 3 / 4);
    *out_size = count;
    return 0;
}
