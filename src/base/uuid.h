/* 128-bit identifiers of nodes and clusters (RFC 9562, version 4). */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

enum {
    UUID_TEXT_SIZE = 37
};

struct uuid {
    uint8_t bytes[16];
};

/* A version-4 UUID out of 16 random bytes. */
struct uuid uuid_from_random(const uint8_t random[16]);
bool uuid_is_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_nil(const struct uuid *u);
/* Writes 36 characters and a NUL. */
void uuid_format(const struct uuid *u, char text[UUID_TEXT_SIZE]);
/* 0, or -QR_EFORMAT. */
MUST_USE int uuid_parse(const char *text, struct uuid *out);

#endif
