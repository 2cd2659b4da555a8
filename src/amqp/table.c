/* Tables nest; checking one keeps the ends of those that are open on a stack
 * of its own instead of calling itself. */
#include "amqp/table.h"

#include <string.h>

#include "quorate/error.h"

#include "amqp/limits.h"

enum {
    DECIMAL_SIZE = 5
};

/* Sizes of the fixed-size types; 0: not fixed, or unknown. */
static size_t
table_fixed_size(char type)
{
    switch (type) {
    case 't':
    case 'b':
    case 'B':
        return 1;
    case 's':
    case 'U':
    case 'u':
        return 2;
    case 'I':
    case 'i':
    case 'f':
        return 4;
    case 'l':
    case 'L':
    case 'd':
    case 'T':
        return 8;
    case 'D':
        return DECIMAL_SIZE;
    default:
        return 0;
    }
}

static struct amqp_text
table_bytes(struct cursor *c, size_t size)
{
    const uint8_t *data = cursor_bytes(c, size);

    return data == NULL ? (struct amqp_text){"", 0}
                        : (struct amqp_text){(const char *)data, size};
}

/* What is open while a table is checked. */
struct table_level {
    const uint8_t *end;
    bool is_array;
};

struct table_check {
    struct cursor c;
    size_t depth;
    struct table_level levels[AMQP_TABLE_DEPTH_MAX];
};

/* Check one value: skip it, or open it if it nests. */
static int
table_check_value(struct table_check *k, char type)
{
    const struct table_level *level = &k->levels[k->depth - 1];
    size_t fixed = table_fixed_size(type);
    size_t size = 0;

    if (fixed > 0 || type == 'V') {
        (void)cursor_bytes(&k->c, fixed);
        return 0;
    }
    if (type != 'S' && type != 'x' && type != 'F' && type != 'A') {
        return -QR_EFORMAT;
    }
    size = cursor_u32be(&k->c);
    if (k->c.bad || size > (size_t)(level->end - k->c.at)) {
        return -QR_EFORMAT;
    }
    if (type == 'S' || type == 'x') {
        (void)cursor_bytes(&k->c, size);
        return 0;
    }
    if (k->depth == AMQP_TABLE_DEPTH_MAX) {
        return -QR_ETOOBIG;
    }
    k->levels[k->depth++] = (struct table_level){k->c.at + size, type == 'A'};
    return 0;
}

int
amqp_table_check(struct amqp_text table)
{
    struct table_check k = {.depth = 1};

    if (table.size > AMQP_TABLE_SIZE_MAX) {
        return -QR_ETOOBIG;
    }
    cursor_init(&k.c, table.data, table.size);
    k.levels[0] = (struct table_level){k.c.end, false};
    while (k.depth > 0) {
        const struct table_level *level = &k.levels[k.depth - 1];
        int rv = 0;

        if (k.c.at == level->end) {
            k.depth--;
            continue;
        }
        if (!level->is_array) {
            (void)cursor_bytes(&k.c, cursor_u8(&k.c));
        }
        rv = table_check_value(&k, (char)cursor_u8(&k.c));
        if (rv != 0) {
            return rv;
        }
        /* A value may end where its table does, not later. */
        if (k.c.bad || k.c.at > level->end) {
            return -QR_EFORMAT;
        }
    }
    return 0;
}

static double
table_real(struct cursor *c, char type)
{
    double d = 0;
    float f = 0;
    uint32_t narrow = 0;
    uint64_t wide = 0;

    if (type == 'f') {
        narrow = cursor_u32be(c);
        memcpy(&f, &narrow, sizeof(f));
        return (double)f;
    }
    wide = cursor_u64be(c);
    memcpy(&d, &wide, sizeof(d));
    return d;
}

static int64_t
table_number(struct cursor *c, char type)
{
    switch (type) {
    case 't':
    case 'B':
        return cursor_u8(c);
    case 'b':
        return (int8_t)cursor_u8(c);
    case 's':
    case 'U':
        return (int16_t)cursor_u16be(c);
    case 'u':
        return cursor_u16be(c);
    case 'I':
        return (int32_t)cursor_u32be(c);
    case 'i':
        return cursor_u32be(c);
    default: /* l L T */
        return (int64_t)cursor_u64be(c);
    }
}

bool
amqp_array_next(struct cursor *c, struct amqp_value *value)
{
    if (cursor_left(c) == 0) {
        return false;
    }
    *value = (struct amqp_value){.type = (char)cursor_u8(c)};
    switch (value->type) {
    case 'f':
    case 'd':
        value->real = table_real(c, value->type);
        break;
    case 'D':
        value->text = table_bytes(c, DECIMAL_SIZE);
        break;
    case 'S':
    case 'x':
    case 'F':
    case 'A':
        value->text = table_bytes(c, cursor_u32be(c));
        break;
    case 'V':
        break;
    default:
        value->number = table_number(c, value->type);
        break;
    }
    return !c->bad;
}

bool
amqp_table_next(struct cursor *c, struct amqp_text *key,
                struct amqp_value *value)
{
    if (cursor_left(c) == 0) {
        return false;
    }
    *key = table_bytes(c, cursor_u8(c));
    return amqp_array_next(c, value);
}

bool
amqp_table_get(struct amqp_text table, const char *key,
               struct amqp_value *value)
{
    size_t size = strlen(key);
    struct amqp_text name;
    struct amqp_value v;
    struct cursor c;

    cursor_init(&c, table.data, table.size);
    while (amqp_table_next(&c, &name, &v)) {
        if (name.size == size && memcmp(name.data, key, size) == 0) {
            *value = v;
            return true;
        }
    }
    return false;
}

bool
amqp_table_is_set(struct amqp_text table, const char *key)
{
    struct amqp_value v;

    return amqp_table_get(table, key, &v) && v.type == 't' && v.number != 0;
}

static void
table_put_key(struct buf *out, const char *key, char type)
{
    size_t size = strlen(key);

    ASSERT(size <= AMQP_SHORTSTR_MAX);
    buf_put_u8(out, (uint8_t)size);
    buf_put(out, key, size);
    buf_put_u8(out, (uint8_t)type);
}

void
amqp_table_put_text(struct buf *out, const char *key, struct amqp_text text)
{
    table_put_key(out, key, 'S');
    buf_put_u32be(out, (uint32_t)text.size);
    buf_put(out, text.data, text.size);
}

void
amqp_table_put_bool(struct buf *out, const char *key, bool v)
{
    table_put_key(out, key, 't');
    buf_put_u8(out, v ? 1 : 0);
}

void
amqp_table_put_int64(struct buf *out, const char *key, int64_t v)
{
    table_put_key(out, key, 'l');
    buf_put_u64be(out, (uint64_t)v);
}

size_t
amqp_table_begin(struct buf *out, const char *key)
{
    table_put_key(out, key, 'F');
    buf_put_u32be(out, 0);
    return out->size;
}

void
amqp_table_end(struct buf *out, size_t begun)
{
    ASSERT(begun >= sizeof(uint32_t));
    ASSERT(begun <= out->size);
    put_u32be(out->data + begun - sizeof(uint32_t),
              (uint32_t)(out->size - begun));
}
