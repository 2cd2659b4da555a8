/* Base64 (RFC 4648, section 4), with or without padding. */
#ifndef AUTH_BASE64_H
#define AUTH_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/* Characters, without padding and NUL, that SIZE bytes become. */
#define BASE64_SIZE(size) (((size)*4 + 2) / 3)

/* Write BASE64_SIZE(size) characters to TEXT, without padding or NUL. */
void base64_encode(const void *data, size_t size, char *text);
/* Decode TEXT, whose padding may be missing, into OUT of OUT_SIZE_MAX bytes.
 * -QR_EFORMAT: a character, a length or spare bits that cannot be;
 * -QR_ETOOBIG: more than OUT_SIZE_MAX bytes. */
MUST_USE int base64_decode(const char *text, size_t size, uint8_t *out,
                           size_t out_size_max, size_t *out_size);

#endif
