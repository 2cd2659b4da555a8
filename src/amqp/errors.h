/* Reply codes, made from error.def. */
#ifndef AMQP_ERRORS_H
#define AMQP_ERRORS_H

#include <stdint.h>

#include "broker/broker.h"

enum amqp_code {
#define AMQP_ERROR(code_, name_, scope_, source_) AMQP_##name_ = (code_),
#include "amqp/error.def"
#undef AMQP_ERROR
};

/* What the server closes with it. */
enum amqp_scope {
    AMQP_SCOPE_NOTHING,
    AMQP_SCOPE_CHANNEL,
    AMQP_SCOPE_CONNECTION
};

struct amqp_error {
    uint16_t code;
    const char *name; /* "NOT_FOUND" */
    enum amqp_scope scope;
    const char *source;
};

enum {
    AMQP_REPLY_TEXT_SIZE = 256 /* a short string, with a NUL */
};

/* The row of CODE; INTERNAL_ERROR's for one that is not in the table. */
const struct amqp_error *amqp_error(unsigned code);
/* The row for a fault of the broker; its kind is not BROKER_OK. */
const struct amqp_error *amqp_error_of_fault(enum broker_fault_kind kind);
/* "NAME - WHY" to OUT, of AMQP_REPLY_TEXT_SIZE bytes, as RabbitMQ puts it;
 * what is too long ends in "...". */
void amqp_reply_text(char *out, const struct amqp_error *e, const char *why);

#endif
