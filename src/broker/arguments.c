/* See arguments.h. */
#include "broker/arguments.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "broker/broker_priv.h"

enum {
    VALUE_TEXT_SIZE = 128,
    KEYS_MAX = 256
};

/* One entry of a table. */
struct entry {
    const char *key;
    size_t key_size;
    uint8_t type;
    const uint8_t *value;
    size_t value_size;
};

/* Bytes of a value of TYPE that have a fixed size. */
static size_t
fixed_size(uint8_t type)
{
    switch (type) {
    case 't':
    case 'b':
    case 'B':
        return 1;
    case 's':
    case 'u':
    case 'U':
        return 2;
    case 'I':
    case 'i':
    case 'f':
        return 4;
    case 'D':
        return 5;
    case 'l':
    case 'L':
    case 'd':
    case 'T':
        return 8;
    default:
        return 0; /* V, or counted */
    }
}

static bool
next_entry(struct cursor *c, struct entry *e)
{
    if (cursor_left(c) == 0) {
        return false;
    }
    e->key_size = cursor_u8(c);
    e->key = (const char *)cursor_bytes(c, e->key_size);
    e->type = cursor_u8(c);
    if (e->type == 'S' || e->type == 'F' || e->type == 'A' || e->type == 'x') {
        e->value_size = cursor_u32be(c);
    } else {
        e->value_size = fixed_size(e->type);
    }
    e->value = cursor_bytes(c, e->value_size);
    return !c->bad;
}

static bool
find(struct meta_text table, const char *key, size_t key_size,
     struct entry *out)
{
    struct cursor c;

    cursor_init(&c, table.data, table.size);
    while (next_entry(&c, out)) {
        if (out->key_size == key_size && memcmp(out->key, key, key_size) == 0) {
            return true;
        }
    }
    return false;
}

bool
arguments_has(struct meta_text table, const char *key)
{
    struct entry e;

    return find(table, key, strlen(key), &e);
}

struct meta_text
arguments_text(struct meta_text table, const char *key)
{
    struct meta_text none = {.data = "", .size = 0};
    struct meta_text text;
    struct entry e;

    if (!find(table, key, strlen(key), &e) || e.type != 'S') {
        return none;
    }
    text.data = (const char *)e.value;
    text.size = e.value_size;
    return text;
}

/* An integer value, whatever its width; false for other types. */
static bool
as_integer(const struct entry *e, int64_t *out)
{
    uint64_t raw = 0;
    unsigned bits = (unsigned)e->value_size * 8;

    if (e->type == '\0' || strchr("bBsuUIilL", e->type) == NULL || bits == 0) {
        return false;
    }
    for (size_t i = 0; i < e->value_size; i++) {
        raw = (raw << 8) | e->value[i];
    }
    /* Sign-extend the signed types. */
    if (strchr("bsUIlL", e->type) != NULL && bits < 64 &&
        (raw >> (bits - 1)) != 0) {
        raw |= UINT64_MAX << bits;
    }
    *out = (int64_t)raw;
    return true;
}

static bool
is_same(const struct entry *a, const struct entry *b)
{
    int64_t x;
    int64_t y;

    if (as_integer(a, &x) && as_integer(b, &y)) {
        return x == y;
    }
    return a->type == b->type && a->value_size == b->value_size &&
           memcmp(a->value, b->value, a->value_size) == 0;
}

/* "none", or "the value 'V' of type 'T'", as RabbitMQ says it. */
static void
describe(const struct entry *e, char out[VALUE_TEXT_SIZE])
{
    int64_t n;

    if (e == NULL) {
        (void)snprintf(out, VALUE_TEXT_SIZE, "none");
    } else if (as_integer(e, &n)) {
        (void)snprintf(out, VALUE_TEXT_SIZE, "the value '%lld' of type '%s'",
                       (long long)n, e->value_size == 8 ? "long" : "signedint");
    } else if (e->type == 'S') {
        (void)snprintf(out, VALUE_TEXT_SIZE,
                       "the value '%.*s' of type 'longstr'",
                       (int)MIN(e->value_size, 64), (const char *)e->value);
    } else if (e->type == 't') {
        (void)snprintf(out, VALUE_TEXT_SIZE, "the value '%s' of type 'bool'",
                       e->value[0] != 0 ? "true" : "false");
    } else {
        (void)snprintf(out, VALUE_TEXT_SIZE, "another value");
    }
}

/* The first entry of A that B lacks or has otherwise. */
static bool
first_difference(struct meta_text a, struct meta_text b, struct entry *in_a,
                 struct entry *in_b, bool *has_b)
{
    struct cursor c;

    cursor_init(&c, a.data, a.size);
    for (size_t i = 0; i < KEYS_MAX && next_entry(&c, in_a); i++) {
        *has_b = find(b, in_a->key, in_a->key_size, in_b);
        if (!*has_b || !is_same(in_a, in_b)) {
            return true;
        }
    }
    return false;
}

void
arguments_compare(struct meta_text received, struct meta_text current,
                  const char *name, const char *vhost,
                  struct broker_fault *fault)
{
    char received_text[VALUE_TEXT_SIZE];
    char current_text[VALUE_TEXT_SIZE];
    struct entry r;
    struct entry c;
    bool has_r = true;
    bool has_c = true;
    const struct entry *named;

    if (!first_difference(received, current, &r, &c, &has_c) &&
        !first_difference(current, received, &c, &r, &has_r)) {
        return;
    }
    named = has_r ? &r : &c;
    describe(has_r ? &r : NULL, received_text);
    describe(has_c ? &c : NULL, current_text);
    broker_fault_set(fault, BROKER_PRECONDITION,
                     "inequivalent arg '%.*s' for queue '%s' in vhost '%s': "
                     "received %s but current is %s",
                     (int)named->key_size, named->key, name, vhost,
                     received_text, current_text);
}
