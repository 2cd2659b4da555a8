/* Methods are encoded and decoded by walking the list of their fields, which
 * spec.def expands to. Consecutive bits share octets, lowest bit first
 * (specification 4.2.5.2). */
#include "amqp/method.h"

#include <string.h>

#include "amqp/limits.h"
#include "amqp/table.h"
#include "base/error.h"

enum {
    BITS_PER_OCTET = 8
};

#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_) \
    static const struct amqp_field fields_##class_##_##name_[] = {
#define AMQP_FIELD(method_, type_, name_)        \
    {AMQP_TYPE_##type_,                          \
     offsetof(struct amqp_method, method_) +     \
         offsetof(struct amqp_##method_, name_), \
     #name_},
#define AMQP_END(method_)     \
    {AMQP_TYPE_END, 0, NULL}, \
    }                         \
    ;
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END

static const struct amqp_method_spec METHODS[AMQP_ROWS] = {
#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_)        \
    [AMQP_ROW_##class_##_##                                                    \
        name_] = {AMQP_##class_##_##name_, #class_ "." #name_, AMQP_BY_##who_, \
                  AMQP_IS_##flags_, fields_##class_##_##name_},
#define AMQP_FIELD(method_, type_, name_)
#define AMQP_END(method_)
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END
};

enum amqp_row
amqp_method_row(uint32_t id)
{
    switch (id) {
#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_) \
    case AMQP_##class_##_##name_:                                       \
        return AMQP_ROW_##class_##_##name_;
#define AMQP_FIELD(method_, type_, name_)
#define AMQP_END(method_)
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END
    default:
        return AMQP_ROWS;
    }
}

const struct amqp_method_spec *
amqp_method_of_row(enum amqp_row row)
{
    ASSERT(row < AMQP_ROWS);
    return &METHODS[row];
}

const struct amqp_method_spec *
amqp_method_spec(uint32_t id)
{
    enum amqp_row row = amqp_method_row(id);

    return row < AMQP_ROWS ? &METHODS[row] : NULL;
}

const char *
amqp_method_name(uint32_t id)
{
    const struct amqp_method_spec *spec = amqp_method_spec(id);

    return spec != NULL ? spec->name : "none";
}

struct amqp_text
amqp_text(const char *s)
{
    return (struct amqp_text){s, strlen(s)};
}

static struct amqp_text
method_text(struct cursor *c, size_t size)
{
    const uint8_t *data = cursor_bytes(c, size);

    return data == NULL ? (struct amqp_text){"", 0}
                        : (struct amqp_text){(const char *)data, size};
}

int
amqp_field_get(struct cursor *c, enum amqp_field_type type, void *at)
{
    switch (type) {
    case AMQP_TYPE_octet:
        *(uint8_t *)at = cursor_u8(c);
        return 0;
    case AMQP_TYPE_short:
        *(uint16_t *)at = cursor_u16be(c);
        return 0;
    case AMQP_TYPE_long:
        *(uint32_t *)at = cursor_u32be(c);
        return 0;
    case AMQP_TYPE_longlong:
        *(uint64_t *)at = cursor_u64be(c);
        return 0;
    case AMQP_TYPE_shortstr:
        *(struct amqp_text *)at = method_text(c, cursor_u8(c));
        return 0;
    case AMQP_TYPE_longstr:
        *(struct amqp_text *)at = method_text(c, cursor_u32be(c));
        return 0;
    case AMQP_TYPE_table:
        *(struct amqp_text *)at = method_text(c, cursor_u32be(c));
        return amqp_table_check(*(struct amqp_text *)at);
    case AMQP_TYPE_bit:
    case AMQP_TYPE_END:
        break;
    }
    UNREACHABLE("not a field with bytes of its own");
}

/* Bits share the octet that the first of them opened. */
struct bits {
    uint8_t octet;
    unsigned used;
};

static bool
method_get_bit(struct cursor *c, struct bits *bits)
{
    bool is_set = false;

    if (bits->used == 0) {
        bits->octet = cursor_u8(c);
    }
    is_set = (bits->octet >> bits->used & 1) != 0;
    bits->used = (bits->used + 1) % BITS_PER_OCTET;
    return is_set;
}

static int
method_refuse(const struct amqp_method_spec *spec,
              const struct amqp_field *field, int rv, struct error *err)
{
    if (rv == -QR_ETOOBIG) {
        return error_set(err, QR_ETOOBIG,
                         "argument '%s' of %s is a table of more than %d "
                         "bytes or nested deeper than %d",
                         field->name, spec->name, AMQP_TABLE_SIZE_MAX,
                         AMQP_TABLE_DEPTH_MAX);
    }
    return error_set(err, QR_EFORMAT, "argument '%s' of %s is malformed",
                     field->name, spec->name);
}

static int
method_decode_fields(struct cursor *c, const struct amqp_method_spec *spec,
                     struct amqp_method *out, struct error *err)
{
    struct bits bits = {0};

    for (const struct amqp_field *f = spec->fields; f->type != AMQP_TYPE_END;
         f++) {
        void *at = (uint8_t *)out + f->offset;
        int rv = 0;

        if (f->type == AMQP_TYPE_bit) {
            *(bool *)at = method_get_bit(c, &bits);
        } else {
            bits.used = 0;
            rv = amqp_field_get(c, f->type, at);
        }
        if (rv != 0 || c->bad) {
            return method_refuse(spec, f, rv, err);
        }
    }
    if (cursor_left(c) > 0) {
        return error_set(err, QR_EFORMAT,
                         "%zu bytes follow the arguments of %s", cursor_left(c),
                         spec->name);
    }
    return 0;
}

int
amqp_method_decode(const uint8_t *data, size_t size, struct amqp_method *out,
                   struct error *err)
{
    const struct amqp_method_spec *spec = NULL;
    struct cursor c;
    uint32_t id = 0;

    cursor_init(&c, data, size);
    id = cursor_u32be(&c);
    if (c.bad) {
        return error_set(err, QR_EFORMAT,
                         "a method frame of %zu bytes has no method", size);
    }
    spec = amqp_method_spec(id);
    out->id = (enum amqp_method_id)id;
    if (spec == NULL) {
        return error_set(err, QR_EUNSUPPORTED, "unknown method %u of class %u",
                         amqp_method_of(id), amqp_class_of(id));
    }
    return method_decode_fields(&c, spec, out, err);
}

void
amqp_field_put(struct buf *out, enum amqp_field_type type, const void *at)
{
    const struct amqp_text *text = at;

    switch (type) {
    case AMQP_TYPE_octet:
        buf_put_u8(out, *(const uint8_t *)at);
        return;
    case AMQP_TYPE_short:
        buf_put_u16be(out, *(const uint16_t *)at);
        return;
    case AMQP_TYPE_long:
        buf_put_u32be(out, *(const uint32_t *)at);
        return;
    case AMQP_TYPE_longlong:
        buf_put_u64be(out, *(const uint64_t *)at);
        return;
    case AMQP_TYPE_shortstr:
        ASSERT(text->size <= AMQP_SHORTSTR_MAX);
        buf_put_u8(out, (uint8_t)text->size);
        buf_put(out, text->data, text->size);
        return;
    case AMQP_TYPE_longstr:
    case AMQP_TYPE_table:
        buf_put_u32be(out, (uint32_t)text->size);
        buf_put(out, text->data, text->size);
        return;
    case AMQP_TYPE_bit:
    case AMQP_TYPE_END:
        break;
    }
    UNREACHABLE("not a field with bytes of its own");
}

static void
method_put_bit(struct buf *out, struct bits *bits, bool is_set)
{
    if (bits->used == 0) {
        buf_put_u8(out, 0);
    }
    out->data[out->size - 1] |= (uint8_t)((unsigned)is_set << bits->used);
    bits->used = (bits->used + 1) % BITS_PER_OCTET;
}

void
amqp_method_encode(const struct amqp_method *m, struct buf *out)
{
    const struct amqp_method_spec *spec = amqp_method_spec(m->id);
    struct bits bits = {0};

    ASSERT(spec != NULL);
    buf_put_u32be(out, m->id);
    for (const struct amqp_field *f = spec->fields; f->type != AMQP_TYPE_END;
         f++) {
        const void *at = (const uint8_t *)m + f->offset;

        if (f->type == AMQP_TYPE_bit) {
            method_put_bit(out, &bits, *(const bool *)at);
        } else {
            bits.used = 0;
            amqp_field_put(out, f->type, at);
        }
    }
}
