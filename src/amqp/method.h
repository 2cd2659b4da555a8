/* The methods of AMQP 0-9-1 as structures, made from spec.def, and their
 * encoding (specification 4.2.5, and 1 of the reference).
 *
 *   0         2         4
 *   +---------+---------+-----------------------------------+
 *   | class   | method  | arguments in order; bits packed   |
 *   +---------+---------+-----------------------------------+ */
#ifndef AMQP_METHOD_H
#define AMQP_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

struct error;

/* Counted bytes: a short string, a long string, or a table's entries without
 * the length before them. Borrowed from what was decoded. */
struct amqp_text {
    const char *data;
    size_t size;
};

enum amqp_field_type {
    AMQP_TYPE_END,
    AMQP_TYPE_octet,
    AMQP_TYPE_short,
    AMQP_TYPE_long,
    AMQP_TYPE_longlong,
    AMQP_TYPE_bit,
    AMQP_TYPE_shortstr,
    AMQP_TYPE_longstr,
    AMQP_TYPE_table
};

/* What each type is in C. */
#define AMQP_C_octet    uint8_t
#define AMQP_C_short    uint16_t
#define AMQP_C_long     uint32_t
#define AMQP_C_longlong uint64_t
#define AMQP_C_bit      bool
#define AMQP_C_shortstr struct amqp_text
#define AMQP_C_longstr  struct amqp_text
#define AMQP_C_table    struct amqp_text

/* struct amqp_basic_publish and so on. ISO C has no empty structure. */
#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_) \
    struct amqp_##class_##_##name_ {                                    \
        uint8_t unused;
#define AMQP_FIELD(method_, type_, name_) AMQP_C_##type_ name_;
#define AMQP_END(method_) \
    }                     \
    ;
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END

/* AMQP_BASIC_PUBLISH is spelled AMQP_basic_publish: class id in the upper
 * half, method id in the lower. */
enum amqp_method_id {
    AMQP_NO_METHOD = 0,
#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_) \
    AMQP_##class_##_##name_ = ((class_id_) << 16 | (method_id_)),
#define AMQP_FIELD(method_, type_, name_)
#define AMQP_END(method_)
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END
};

/* The same as indexes 0 ... AMQP_ROWS - 1, in the order of spec.def, for tables
 * of handlers. */
enum amqp_row {
#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_) \
    AMQP_ROW_##class_##_##name_,
#define AMQP_FIELD(method_, type_, name_)
#define AMQP_END(method_)
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END
    AMQP_ROWS
};

enum amqp_sender {
    AMQP_BY_CLIENT = 1,
    AMQP_BY_SERVER = 2,
    AMQP_BY_BOTH = 3
};

enum amqp_method_flag {
    AMQP_IS_ASYNC = 0,
    AMQP_IS_SYNC = 1,   /* wants an answer */
    AMQP_IS_ANSWER = 2, /* is one */
    AMQP_IS_CONTENT = 4 /* a content header follows */
};

/* One method; `id` says which member is meant. Members are named as in
 * spec.def: m.basic_publish.exchange. */
struct amqp_method {
    enum amqp_method_id id;
    union {
#define AMQP_METHOD(class_, name_, class_id_, method_id_, who_, flags_) \
    struct amqp_##class_##_##name_ class_##_##name_;
#define AMQP_FIELD(method_, type_, name_)
#define AMQP_END(method_)
#include "amqp/spec.def"
#undef AMQP_METHOD
#undef AMQP_FIELD
#undef AMQP_END
    };
};

/* Where a field lies within its structure. */
struct amqp_field {
    enum amqp_field_type type;
    size_t offset; /* within struct amqp_method */
    const char *name;
};

/* A row of spec.def. */
struct amqp_method_spec {
    enum amqp_method_id id;
    const char *name; /* "basic.publish" */
    enum amqp_sender who;
    enum amqp_method_flag flags;
    const struct amqp_field *fields; /* up to AMQP_TYPE_END */
};

/* The row of ID, or NULL. */
const struct amqp_method_spec *amqp_method_spec(uint32_t id);
/* "basic.publish", "none" for AMQP_NO_METHOD. Static. */
const char *amqp_method_name(uint32_t id);
/* The spec of ROW, and the row of ID: AMQP_ROWS if there is none. */
const struct amqp_method_spec *amqp_method_of_row(enum amqp_row row);
enum amqp_row amqp_method_row(uint32_t id);

static inline uint16_t
amqp_class_of(uint32_t id)
{
    return (uint16_t)(id >> 16);
}

static inline uint16_t
amqp_method_of(uint32_t id)
{
    return (uint16_t)(id & 0xffff);
}

/* Decode the payload of a method frame. Texts are borrowed from DATA. Tables
 * are checked (amqp/table.h). -QR_EUNSUPPORTED: no such class or method, *OUT
 * has its id all the same; -QR_EFORMAT: the arguments are not what the method
 * has, or bytes follow them; -QR_ETOOBIG: a table beyond its limits. ERR says
 * which argument. */
MUST_USE int amqp_method_decode(const uint8_t *data, size_t size,
                                struct amqp_method *out, struct error *err);
/* Append M's payload to OUT. Short strings are at most 255 bytes (asserted);
 * tables must be valid. */
void amqp_method_encode(const struct amqp_method *m, struct buf *out);

/* Decode one field of TYPE, neither a bit nor the end, to AT. Too few bytes
 * show in C; -QR_EFORMAT and -QR_ETOOBIG are a table's. */
MUST_USE int amqp_field_get(struct cursor *c, enum amqp_field_type type,
                            void *at);
/* Append what is at AT as a field of TYPE. */
void amqp_field_put(struct buf *out, enum amqp_field_type type, const void *at);

/* A text of a C string, borrowed. */
struct amqp_text amqp_text(const char *s);

#endif
