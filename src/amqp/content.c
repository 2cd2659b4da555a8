/* A publisher's properties are checked once, and then carried as they are. */
#include "amqp/content.h"

#include <string.h>

#include "quorate/error.h"

#include "amqp/limits.h"
#include "amqp/table.h"

enum {
    FLAGS_UNKNOWN = 3 /* continuation, and a bit that means nothing */
};

struct property {
    uint16_t bit;
    enum amqp_field_type type;
    size_t offset;
};

static const struct property PROPERTIES[] = {
#define PROPERTY_ROW(bit_, type_, name_) \
    {1 << (bit_), AMQP_TYPE_##type_, offsetof(struct amqp_properties, name_)},
    AMQP_PROPERTIES(PROPERTY_ROW)
#undef PROPERTY_ROW
};

int
amqp_properties_decode(const uint8_t *data, size_t size,
                       struct amqp_properties *out)
{
    struct cursor c;

    cursor_init(&c, data, size);
    out->flags = cursor_u16be(&c);
    if (c.bad || (out->flags & FLAGS_UNKNOWN) != 0) {
        return -QR_EFORMAT;
    }
    for (size_t i = 0; i < ARRAY_COUNT(PROPERTIES); i++) {
        const struct property *p = &PROPERTIES[i];
        int rv = 0;

        if ((out->flags & p->bit) == 0) {
            continue;
        }
        rv = amqp_field_get(&c, p->type, (uint8_t *)out + p->offset);
        if (rv != 0) {
            return rv;
        }
    }
    return c.bad || cursor_left(&c) > 0 ? -QR_EFORMAT : 0;
}

void
amqp_properties_encode(const struct amqp_properties *properties,
                       struct buf *out)
{
    ASSERT((properties->flags & FLAGS_UNKNOWN) == 0);
    buf_put_u16be(out, properties->flags);
    for (size_t i = 0; i < ARRAY_COUNT(PROPERTIES); i++) {
        const struct property *p = &PROPERTIES[i];

        if ((properties->flags & p->bit) != 0) {
            amqp_field_put(out, p->type,
                           (const uint8_t *)properties + p->offset);
        }
    }
}

int
amqp_content_decode(const uint8_t *data, size_t size,
                    struct amqp_content_header *out)
{
    struct amqp_properties properties;
    struct cursor c;
    int rv = 0;

    cursor_init(&c, data, size);
    out->class_id = cursor_u16be(&c);
    if (cursor_u16be(&c) != 0) {
        return -QR_EFORMAT;
    }
    out->body_size = cursor_u64be(&c);
    if (c.bad) {
        return -QR_EFORMAT;
    }
    rv = amqp_properties_decode(c.at, cursor_left(&c), &properties);
    out->properties = c.at;
    out->properties_size = cursor_left(&c);
    out->flags = properties.flags;
    return rv;
}

void
amqp_content_head(struct buf *out, uint64_t body_size)
{
    buf_put_u16be(out, AMQP_CLASS_BASIC);
    buf_put_u16be(out, 0); /* weight */
    buf_put_u64be(out, body_size);
}

/* Append the entries of TABLE that are not KEY. */
static void
content_put_others(struct amqp_text table, const char *key, struct buf *out)
{
    size_t key_size = strlen(key);
    struct amqp_value value;
    struct amqp_text name;
    struct cursor c;

    cursor_init(&c, table.data, table.size);
    for (;;) {
        const uint8_t *at = c.at;

        if (!amqp_table_next(&c, &name, &value)) {
            return;
        }
        if (name.size != key_size || memcmp(name.data, key, key_size) != 0) {
            buf_put(out, at, (size_t)(c.at - at));
        }
    }
}

void
amqp_properties_put_count(const uint8_t *data, size_t size, const char *key,
                          int64_t number, struct buf *out)
{
    struct amqp_properties p;
    struct buf headers;
    int rv = amqp_properties_decode(data, size, &p);

    ASSERT(rv == 0);
    buf_init(&headers);
    if ((p.flags & AMQP_HAS_headers) != 0) {
        content_put_others(p.headers, key, &headers);
    }
    amqp_table_put_int64(&headers, key, number);
    p.flags |= AMQP_HAS_headers;
    p.headers = (struct amqp_text){(const char *)headers.data, headers.size};
    amqp_properties_encode(&p, out);
    buf_deinit(&headers);
}
