/* Whether a text is JSON (RFC 8259), for definitions that operators give and
 * the metadata keeps as they are. Reads nothing out of it. */
#ifndef MGMT_JSON_CHECK_H
#define MGMT_JSON_CHECK_H

#include <stddef.h>

#include "base/check.h"

struct error;

enum {
    JSON_CHECK_DEPTH_MAX = 16 /* objects and arrays within each other */
};

/* 0 when SIZE bytes at TEXT are one JSON object with a member at least.
 * -QR_EFORMAT: ERR says what is wrong, and at which byte. */
MUST_USE int json_check_object(const char *text, size_t size,
                               struct error *err);

#endif
