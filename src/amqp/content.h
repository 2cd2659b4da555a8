/* Content headers (specification 4.2.6) and the properties of class basic.
 *
 *   0       2       4                12      14
 *   +-------+-------+----------------+-------+------------------------+
 *   | class | 0     |   body size    | flags | properties in order    |
 *   +-------+-------+----------------+-------+------------------------+
 *
 * From the flags on, the bytes are what a message keeps as its properties:
 * they go to consumers as the publisher sent them. */
#ifndef AMQP_CONTENT_H
#define AMQP_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amqp/method.h"
#include "base/buf.h"
#include "base/check.h"

enum {
    AMQP_CONTENT_HEAD_SIZE = 12,  /* before the flags */
    AMQP_PROPERTIES_SIZE_MIN = 2, /* the flags */
    AMQP_CLASS_BASIC = 60
};

/* Bit, type, name. Bits 1 and 0 are not properties. */
#define AMQP_PROPERTIES(X)            \
    X(15, shortstr, content_type)     \
    X(14, shortstr, content_encoding) \
    X(13, table, headers)             \
    X(12, octet, delivery_mode)       \
    X(11, octet, priority)            \
    X(10, shortstr, correlation_id)   \
    X(9, shortstr, reply_to)          \
    X(8, shortstr, expiration)        \
    X(7, shortstr, message_id)        \
    X(6, longlong, timestamp)         \
    X(5, shortstr, type)              \
    X(4, shortstr, user_id)           \
    X(3, shortstr, app_id)            \
    X(2, shortstr, cluster_id)

enum amqp_property {
#define AMQP_PROPERTY_BIT(bit_, type_, name_) AMQP_HAS_##name_ = 1 << (bit_),
    AMQP_PROPERTIES(AMQP_PROPERTY_BIT)
#undef AMQP_PROPERTY_BIT
};

/* Decoded; a property counts if its bit is in `flags`. Texts are borrowed. */
struct amqp_properties {
    uint16_t flags;
#define AMQP_PROPERTY_MEMBER(bit_, type_, name_) AMQP_C_##type_ name_;
    AMQP_PROPERTIES(AMQP_PROPERTY_MEMBER)
#undef AMQP_PROPERTY_MEMBER
};

struct amqp_content_header {
    uint16_t class_id;
    uint64_t body_size;
    const uint8_t *properties; /* from the flags on, checked; borrowed */
    size_t properties_size;
    uint16_t flags;
};

/* Decode the payload of a header frame. -QR_EFORMAT: weight not 0, unknown
 * flags, or properties that are not what the flags say; -QR_ETOOBIG: a headers
 * table beyond its limits. */
MUST_USE int amqp_content_decode(const uint8_t *data, size_t size,
                                 struct amqp_content_header *out);
/* Decode properties, from the flags on. Errors as above. */
MUST_USE int amqp_properties_decode(const uint8_t *data, size_t size,
                                    struct amqp_properties *out);
/* Append P, from the flags on. */
void amqp_properties_encode(const struct amqp_properties *p, struct buf *out);
/* Append the head of a content header; properties follow. */
void amqp_content_head(struct buf *out, uint64_t body_size);
/* Append the checked properties DATA with header KEY set to NUMBER. */
void amqp_properties_put_count(const uint8_t *data, size_t size,
                               const char *key, int64_t number,
                               struct buf *out);

#endif
