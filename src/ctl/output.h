/* Responses (docs/formats/ctl.md) as text: tables for people, CSV and JSON for
 * programs. What a client named something cannot break a table's lines or talk
 * to the terminal: control characters are shown escaped. */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "ctl/options.h"

struct buf;
struct error;

struct output_style {
    enum output_format format;
    bool has_format;  /* else several tables are shown as pretty ones */
    bool has_headers; /* of tables */
};

/* Write the response of SIZE bytes at JSON: what is for standard output to OUT,
 * notes and errors to ERRORS. -QR_EFORMAT and ERR: it is not one. */
MUST_USE int output_format(const struct output_style *style, const char *json,
                           size_t size, struct buf *out, struct buf *errors,
                           struct error *err);

#endif
