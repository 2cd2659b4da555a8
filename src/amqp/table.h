/* Field tables (specification 4.2.5.5), with the type letters that RabbitMQ
 * uses where they differ from the specification's:
 *
 *   t bool   b int8   B uint8   s U int16   u uint16   I int32   i uint32
 *   l int64  L uint64  f float  d double    D decimal  S long string
 *   x bytes  T time    F table  A array     V nothing
 *
 * A table is handled as its encoded entries, without the length before them:
 * checked once where it enters, then walked. */
#ifndef AMQP_TABLE_H
#define AMQP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "amqp/method.h"
#include "base/buf.h"
#include "base/check.h"

/* One value. `type` is its letter. */
struct amqp_value {
    char type;
    int64_t number;        /* t b B s U u I i l L(as bits) T */
    double real;           /* f d */
    struct amqp_text text; /* S x; F and A: their encoded entries; D: its five
                              bytes */
};

/* Whether TABLE is well formed. -QR_EFORMAT; -QR_ETOOBIG beyond
 * AMQP_TABLE_SIZE_MAX bytes or AMQP_TABLE_DEPTH_MAX levels. */
MUST_USE int amqp_table_check(struct amqp_text table);

/* Read the next entry of a checked table at C; false at its end. */
bool amqp_table_next(struct cursor *c, struct amqp_text *key,
                     struct amqp_value *value);
/* Read the next value of a checked array at C; false at its end. */
bool amqp_array_next(struct cursor *c, struct amqp_value *value);
/* Entry KEY of a checked table; false when there is none. The first of
 * several. */
bool amqp_table_get(struct amqp_text table, const char *key,
                    struct amqp_value *value);
/* Whether entry KEY of a checked table is a true bool. */
bool amqp_table_is_set(struct amqp_text table, const char *key);

/* Append an entry to the table that is being built at the end of OUT. Keys are
 * at most 255 bytes. */
void amqp_table_put_text(struct buf *out, const char *key,
                         struct amqp_text text);
void amqp_table_put_bool(struct buf *out, const char *key, bool v);
void amqp_table_put_int64(struct buf *out, const char *key, int64_t v);
/* Begin a table as an entry; entries follow; end it with what was returned. */
size_t amqp_table_begin(struct buf *out, const char *key);
void amqp_table_end(struct buf *out, size_t begun);

#endif
