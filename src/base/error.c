/* Context for errors, and the texts of the public error codes.
 *
 * A code says what a program may do about an error, a `struct error` says to a
 * person what happened to what. The text is built where the error is found and
 * each caller puts what it was doing before it. */
#include "base/error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* CODE without its sign, so that both conventions name the same error. */
static int
error_code_positive(int code)
{
    return code < 0 && code >= -INT16_MAX ? -code : code;
}

const char *
qr_error_name(int code)
{
    switch (error_code_positive(code)) {
    case 0:
        return "OK";
#define ERROR_NAME(number, name, text) \
    case number:                       \
        return #name;
        QR_ERRORS(ERROR_NAME)
#undef ERROR_NAME
    default:
        return "UNKNOWN";
    }
}

const char *
qr_error_text(int code)
{
    switch (error_code_positive(code)) {
    case 0:
        return "no error";
#define ERROR_TEXT(number, name, text) \
    case number:                       \
        return text;
        QR_ERRORS(ERROR_TEXT)
#undef ERROR_TEXT
    default:
        return "unknown error";
    }
}

void
error_clear(struct error *err)
{
    if (err != NULL) {
        err->text[0] = '\0';
    }
}

int
error_set(struct error *err, int code, const char *fmt, ...)
{
    va_list args;

    ASSERT(code > 0);
    ASSERT(fmt != NULL);
    if (err != NULL) {
        va_start(args, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, args);
        va_end(args);
    }
    return -code;
}

/* Append TEXT to ERR as far as there is room. */
static void
error_append(struct error *err, const char *text)
{
    size_t used = strlen(err->text);
    size_t size = MIN(strlen(text), sizeof(err->text) - 1 - used);

    ASSERT(used < sizeof(err->text));
    memcpy(err->text + used, text, size);
    err->text[used + size] = '\0';
}

int
error_wrap(struct error *err, int rv, const char *fmt, ...)
{
    struct error inner;
    va_list args;

    ASSERT(fmt != NULL);
    if (err == NULL) {
        return rv;
    }
    inner = *err;
    va_start(args, fmt);
    (void)vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    if (inner.text[0] != '\0') {
        error_append(err, ": ");
        error_append(err, inner.text);
    }
    return rv;
}
