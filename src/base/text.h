/* Small judgements about bytes that are meant as text. None of them needs a
 * NUL at the end; TEXT may be NULL when SIZE is 0. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct buf;

/* Whether SIZE bytes at TEXT are the NUL-terminated EXPECTED. */
bool text_equal(const void *text, size_t size, const char *expected);
/* A decimal number of digits only, in [MIN, MAX]. -QR_EFORMAT: no number, or
 * more than that; -QR_EINVAL: a number outside of the limits. */
MUST_USE int parse_u64(const char *text, size_t size, uint64_t min,
                       uint64_t max, uint64_t *out);
/* A number of bytes with or without a unit: K, KiB, M, MiB, G, GiB, T, TiB are
 * powers of 1024; KB, MB, GB, TB of 1000; a lower k is the same. At most
 * INT64_MAX; -QR_EFORMAT. */
MUST_USE int parse_size(const char *text, size_t size, uint64_t *out);
/* "0.4", "1" or "0": from 0 to 1 with up to six digits after the point, as
 * millionths. -QR_EFORMAT. */
MUST_USE int parse_ratio(const char *text, size_t size, uint32_t *out);
/* "true", "on" and "yes", or "false", "off" and "no"; else -QR_EFORMAT. */
MUST_USE int parse_bool(const char *text, size_t size, bool *out);
/* Bytes of the UTF-8 character at TEXT, 1 to 4; 0 if there is none: the text
 * is at its end, cut short, overlong, a surrogate or past U+10FFFF (RFC 3629,
 * section 3). */
size_t utf8_character_size(const void *text, size_t size);
/* Whether all of TEXT is UTF-8. The empty text is. */
bool utf8_is_valid(const void *text, size_t size);
/* Append SIZE bytes of TEXT for a page of man(7): no dash becomes a hyphen, no
 * backslash an escape, and a dot or quote at its start no request. */
void text_put_man(struct buf *out, const char *text, size_t size);

#endif
