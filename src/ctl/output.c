/* See output.h. Jansson reads; what is written is written here, since a cell
 * of a table needs its own form anyway. (base/json.h writes JSON too, but its
 * names are jansson's: a program can have only one of them.) */
#include "ctl/output.h"

#include <jansson.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    CELL_DEPTH_MAX = 24,
    PRETTY_WIDTH_MAX = 60 /* of a column; more is not padded */
};

/* ---- cells ---- */

/* TEXT with control characters escaped. */
static void
put_visible(struct buf *out, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t length = utf8_character_size(text + i, size - i);
        uint8_t c = (uint8_t)text[i];

        if (c == '\t') {
            buf_put_text(out, "\\t");
        } else if (c == '\n') {
            buf_put_text(out, "\\n");
        } else if (c == '\r') {
            buf_put_text(out, "\\r");
        } else if (length == 0 || c < 0x20 || c == 0x7f ||
                   (c == 0xc2 && (uint8_t)text[i + 1] < 0xa0)) {
            buf_putf(out, "\\x%02x", c);
            length = 1;
        } else {
            buf_put(out, text + i, length);
        }
        i += length == 0 ? 1 : length;
    }
}

static void put_cell(struct buf *out, json_t *value, unsigned depth);

/* rabbitmqctl's form: [a, b]; of arguments [{"key","value"}]. */
static void
put_array(struct buf *out, json_t *value, unsigned depth)
{
    buf_put_text(out, "[");
    for (size_t i = 0; i < json_array_size(value); i++) {
        buf_put_text(out, i > 0 ? ", " : "");
        put_cell(out, json_array_get(value, i), depth + 1);
    }
    buf_put_text(out, "]");
}

static void
put_object(struct buf *out, json_t *value, unsigned depth)
{
    const char *key;
    json_t *member;
    bool is_first = true;

    buf_put_text(out, "[");
    json_object_foreach(value, key, member)
    {
        buf_put_text(out, is_first ? "{\"" : ",{\"");
        is_first = false;
        put_visible(out, key, strlen(key));
        buf_put_text(out, "\",");
        if (json_is_string(member)) {
            buf_put_text(out, "\"");
        }
        put_cell(out, member, depth + 1);
        buf_put_text(out, json_is_string(member) ? "\"}" : "}");
    }
    buf_put_text(out, "]");
}

static void
put_cell(struct buf *out, json_t *value, unsigned depth)
{
    if (depth > CELL_DEPTH_MAX) {
        buf_put_text(out, "...");
        return;
    }
    switch (json_typeof(value)) {
    case JSON_STRING:
        put_visible(out, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        buf_putf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        buf_putf(out, "%.15g", json_real_value(value));
        return;
    case JSON_TRUE:
        buf_put_text(out, "true");
        return;
    case JSON_FALSE:
        buf_put_text(out, "false");
        return;
    case JSON_NULL:
        return;
    case JSON_ARRAY:
        put_array(out, value, depth);
        return;
    case JSON_OBJECT:
        put_object(out, value, depth);
        return;
    }
}

/* ---- tables ---- */

static void
put_rows(struct buf *out, const json_t *table, bool has_headers)
{
    const json_t *columns = json_object_get(table, "columns");
    const json_t *rows = json_object_get(table, "rows");

    for (size_t i = 0; has_headers && i < json_array_size(columns); i++) {
        buf_put_text(out, i > 0 ? "\t" : "");
        put_cell(out, json_array_get(columns, i), 0);
    }
    if (has_headers) {
        buf_put_text(out, "\n");
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        for (size_t k = 0; k < json_array_size(row); k++) {
            buf_put_text(out, k > 0 ? "\t" : "");
            put_cell(out, json_array_get(row, k), 0);
        }
        buf_put_text(out, "\n");
    }
}

/* Columns of the terminal that SIZE bytes of UTF-8 take, one a character. */
static size_t
width_of(const uint8_t *text, size_t size)
{
    size_t width = 0;

    for (size_t i = 0; i < size; i++) {
        width += (text[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    return width;
}

static size_t
cell_width(json_t *value)
{
    struct buf cell;
    size_t width;

    buf_init(&cell);
    put_cell(&cell, value, 0);
    width = width_of(cell.data, cell.size);
    buf_deinit(&cell);
    return width;
}

/* The width of column K of TABLE. */
static size_t
column_width(const json_t *table, size_t k, bool has_headers)
{
    const json_t *rows = json_object_get(table, "rows");
    size_t width = 0;

    if (has_headers) {
        width =
            cell_width(json_array_get(json_object_get(table, "columns"), k));
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        width =
            MAX(width, cell_width(json_array_get(json_array_get(rows, i), k)));
    }
    return MIN(width, (size_t)PRETTY_WIDTH_MAX);
}

/* One padded line; the last column is not padded. */
static void
put_line(struct buf *out, const json_t *row, const size_t *widths, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        json_t *value = json_array_get(row, k);
        size_t width = cell_width(value);

        put_cell(out, value, 0);
        for (; k + 1 < count && width < widths[k] + 2; width++) {
            buf_put_text(out, " ");
        }
    }
    while (out->size > 0 && out->data[out->size - 1] == ' ') {
        out->size--;
    }
    buf_put_text(out, "\n");
}

static void
put_pretty(struct buf *out, const json_t *table, bool has_headers)
{
    const json_t *columns = json_object_get(table, "columns");
    const json_t *rows = json_object_get(table, "rows");
    size_t widths[COMMAND_ARGS_MAX];
    size_t count = MIN(json_array_size(columns), ARRAY_COUNT(widths));

    for (size_t k = 0; k < count; k++) {
        widths[k] = column_width(table, k, has_headers);
    }
    if (has_headers) {
        put_line(out, columns, widths, count);
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        put_line(out, json_array_get(rows, i), widths, count);
    }
}

/* ---- CSV (RFC 4180) ---- */

static void
put_csv_cell(struct buf *out, json_t *value)
{
    struct buf cell;

    buf_init(&cell);
    put_cell(&cell, value, 0);
    if (cell.size > 0 && memchr(cell.data, ',', cell.size) == NULL &&
        memchr(cell.data, '"', cell.size) == NULL) {
        buf_put(out, cell.data, cell.size);
    } else {
        buf_put_text(out, "\"");
        for (size_t i = 0; i < cell.size; i++) {
            buf_put_text(out, cell.data[i] == '"' ? "\"" : "");
            buf_put_u8(out, cell.data[i]);
        }
        buf_put_text(out, "\"");
    }
    buf_deinit(&cell);
}

static void
put_csv_line(struct buf *out, const json_t *row)
{
    for (size_t k = 0; k < json_array_size(row); k++) {
        buf_put_text(out, k > 0 ? "," : "");
        put_csv_cell(out, json_array_get(row, k));
    }
    buf_put_text(out, "\n");
}

static void
put_csv(struct buf *out, const json_t *table, bool has_headers)
{
    const json_t *rows = json_object_get(table, "rows");

    if (has_headers) {
        put_csv_line(out, json_object_get(table, "columns"));
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        put_csv_line(out, json_array_get(rows, i));
    }
}

/* ---- JSON ---- */

static int
dump_piece(const char *text, size_t size, void *arg)
{
    buf_put(arg, text, size);
    return 0;
}

static void
put_dump(struct buf *out, const json_t *value)
{
    (void)json_dump_callback(value, dump_piece, out,
                             JSON_COMPACT | JSON_ENCODE_ANY);
}

/* A table as an array of objects, one line each. */
static void
put_json_rows(struct buf *out, const json_t *table)
{
    const json_t *columns = json_object_get(table, "columns");
    const json_t *rows = json_object_get(table, "rows");

    buf_put_text(out, "[");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        buf_put_text(out, i > 0 ? ",\n{" : "\n{");
        for (size_t k = 0; k < json_array_size(row); k++) {
            buf_put_text(out, k > 0 ? "," : "");
            put_dump(out, json_array_get(columns, k));
            buf_put_text(out, ":");
            put_dump(out, json_array_get(row, k));
        }
        buf_put_text(out, "}");
    }
    buf_put_text(out, "\n]");
}

/* Whether TABLE is one of names and values, whose rows are members of one
 * object. */
static bool
is_pairs(const json_t *table)
{
    const json_t *columns = json_object_get(table, "columns");
    const char *second = json_string_value(json_array_get(columns, 1));

    return json_array_size(columns) == 2 && second != NULL &&
           strcmp(second, "value") == 0;
}

static void
put_json_pairs(struct buf *out, const json_t *table)
{
    const json_t *rows = json_object_get(table, "rows");

    buf_put_text(out, "{");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        buf_put_text(out, i > 0 ? ",\n" : "\n");
        put_dump(out, json_array_get(row, 0));
        buf_put_text(out, ":");
        put_dump(out, json_array_get(row, 1));
    }
    buf_put_text(out, "\n}");
}

static void
put_json_tables(struct buf *out, const json_t *tables)
{
    buf_put_text(out, "{");
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *table = json_array_get(tables, i);

        buf_put_text(out, i > 0 ? ",\n" : "");
        put_dump(out, json_object_get(table, "name"));
        buf_put_text(out, ":");
        if (is_pairs(table)) {
            put_json_pairs(out, table);
        } else {
            put_json_rows(out, table);
        }
    }
    buf_put_text(out, "}\n");
}

/* ---- responses ---- */

static void
put_table(const struct output_style *style, struct buf *out,
          const json_t *table)
{
    switch (style->format) {
    case FORMAT_TABLE:
        put_rows(out, table, style->has_headers);
        return;
    case FORMAT_PRETTY_TABLE:
        put_pretty(out, table, style->has_headers);
        return;
    case FORMAT_CSV:
        put_csv(out, table, style->has_headers);
        return;
    case FORMAT_JSON:
        put_json_rows(out, table);
        buf_put_text(out, "\n");
        return;
    }
}

static void
put_tables(const struct output_style *style, struct buf *out,
           const json_t *tables)
{
    struct output_style one = *style;

    if (style->format == FORMAT_JSON) {
        put_json_tables(out, tables);
        return;
    }
    if (!style->has_format) {
        one.format = FORMAT_PRETTY_TABLE;
    }
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *table = json_array_get(tables, i);
        const char *title = json_string_value(json_object_get(table, "title"));

        if (title != NULL && *title != '\0' && one.format != FORMAT_CSV) {
            buf_putf(out, "%s%s\n\n", i > 0 ? "\n" : "", title);
        } else if (i > 0) {
            buf_put_text(out, "\n");
        }
        put_table(&one, out, table);
    }
}

static void
put_notes(struct buf *errors, const json_t *response)
{
    const json_t *notes = json_object_get(response, "notes");

    for (size_t i = 0; i < json_array_size(notes); i++) {
        buf_put_text(errors, "Note: ");
        put_cell(errors, json_array_get(notes, i), 0);
        buf_put_text(errors, "\n");
    }
}

/* {"result":"ok"|"error","message":TEXT} */
static void
put_json_message(struct buf *out, const char *result, const json_t *text)
{
    buf_putf(out, "{\"result\":\"%s\",\"message\":", result);
    put_dump(out, text);
    buf_put_text(out, "}\n");
}

static void
put_response(const struct output_style *style, const json_t *response,
             struct buf *out, struct buf *errors)
{
    json_t *error = json_object_get(response, "error");
    json_t *text = json_object_get(response, "text");
    const json_t *tables = json_object_get(response, "tables");

    if (error != NULL) {
        buf_put_text(errors, "Error: ");
        put_cell(errors, error, 0);
        buf_put_text(errors, "\n");
        if (style->format == FORMAT_JSON) {
            put_json_message(out, "error", error);
        }
    } else if (text != NULL && style->format == FORMAT_JSON) {
        put_json_message(out, "ok", text);
    } else if (text != NULL) {
        put_cell(out, text, 0);
        buf_put_text(out, json_string_length(text) > 0 ? "\n" : "");
    } else if (tables != NULL) {
        put_tables(style, out, tables);
    } else {
        put_table(style, out, response);
    }
    put_notes(errors, response);
}

/* Whether VALUE has columns and rows as a table has. */
static bool
is_table(const json_t *value)
{
    const json_t *rows = json_object_get(value, "rows");

    if (!json_is_array(json_object_get(value, "columns")) ||
        !json_is_array(rows)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(rows); i++) {
        if (!json_is_array(json_array_get(rows, i)) ||
            json_array_size(json_array_get(rows, i)) !=
                json_array_size(json_object_get(value, "columns"))) {
            return false;
        }
    }
    return true;
}

static bool
is_response(const json_t *value)
{
    const json_t *tables = json_object_get(value, "tables");

    if (json_is_string(json_object_get(value, "error")) ||
        json_is_string(json_object_get(value, "text"))) {
        return true;
    }
    for (size_t i = 0; i < json_array_size(tables); i++) {
        if (!is_table(json_array_get(tables, i))) {
            return false;
        }
    }
    return json_is_array(tables) || is_table(value);
}

int
output_format(const struct output_style *style, const char *json, size_t size,
              struct buf *out, struct buf *errors, struct error *err)
{
    json_error_t why;
    json_t *response = json_loadb(json, size, JSON_DECODE_ANY, &why);
    int rv = 0;

    if (response == NULL || !is_response(response)) {
        rv = error_set(err, QR_EFORMAT,
                       "the node's response cannot be understood (%s): its "
                       "version may be another",
                       response == NULL ? why.text : "an unknown form");
    } else {
        put_response(style, response, out, errors);
    }
    json_decref(response);
    return rv;
}
