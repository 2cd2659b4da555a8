/* Writes JSON (RFC 8259) into a buffer, value by value. The grammar is
 * asserted: whoever leaves out a key or an end has a bug. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Objects and arrays within each other; one more stops the process. */
enum {
    JSON_DEPTH_MAX = 32
};

struct json {
    struct buf *out;
    unsigned depth;    /* containers open */
    uint32_t objects;  /* bit D: the container at depth D is an object */
    uint32_t nonempty; /* bit D: it has a member already */
    bool has_key;      /* a key waits for its value */
    bool is_complete;  /* the one value at depth 0 is written */
};

/* Append to OUT, which is borrowed until the last value is written. */
void json_init(struct json *j, struct buf *out);
/* Whether one whole value has been written. */
bool json_is_complete(const struct json *j);

/* A value that is an object: members go between, a key and a value each. */
void json_object_begin(struct json *j);
/* Ends the innermost container, which is an object. */
void json_object_end(struct json *j);
/* A value that is an array: its elements go between. */
void json_array_begin(struct json *j);
/* Ends the innermost container, which is an array. */
void json_array_end(struct json *j);
/* The name of the next member of an object. */
void json_key(struct json *j, const char *key);
/* The same out of SIZE bytes, treated as json_string() does. */
void json_key_bytes(struct json *j, const void *key, size_t size);
/* SIZE bytes of UTF-8 at TEXT; each byte that is not becomes U+FFFD. */
void json_string(struct json *j, const void *text, size_t size);
/* The NUL-terminated TEXT. */
void json_text(struct json *j, const char *text);
void json_u64(struct json *j, uint64_t value);
void json_i64(struct json *j, int64_t value);
/* The shortest of 15 or 17 digits that reads back the same; null when VALUE
 * is infinite or not a number, for which JSON has no form. */
void json_double(struct json *j, double value);
void json_bool(struct json *j, bool value);
void json_null(struct json *j);

#endif
