/* Context for an error, wrapped on its way up:
 * "open store: segment 12: no space left". */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <quorate/error.h>

#include "base/check.h"

enum {
    ERROR_TEXT_SIZE = 512
};

/* A text for people. Cleared by error_clear(); truncated when full. */
struct error {
    char text[ERROR_TEXT_SIZE];
};

/* Forget what ERR says. NULL is fine, here and below. */
void error_clear(struct error *err);
/* Say why, and return -CODE (CODE positive), for `return error_set(...)`. */
int error_set(struct error *err, int code, const char *fmt, ...) PRINTF(3, 4);
/* Put "CONTEXT: " before what ERR says; returns RV unchanged. */
int error_wrap(struct error *err, int rv, const char *fmt, ...) PRINTF(3, 4);

#endif
