/* The table of reply codes, and which of them the broker's faults become. */
#include "amqp/errors.h"

#include <stdio.h>
#include <string.h>

static const struct amqp_error ERRORS[] = {
#define AMQP_ERROR(code_, name_, scope_, source_) \
    {code_, #name_, AMQP_SCOPE_##scope_, source_},
#include "amqp/error.def"
#undef AMQP_ERROR
};

const struct amqp_error *
amqp_error(unsigned code)
{
    for (size_t i = 0; i < ARRAY_COUNT(ERRORS); i++) {
        if (ERRORS[i].code == code) {
            return &ERRORS[i];
        }
    }
    return &ERRORS[ARRAY_COUNT(ERRORS) - 1]; /* INTERNAL_ERROR is last */
}

static enum amqp_code
error_code_of(enum broker_fault_kind kind)
{
    switch (kind) {
    case BROKER_OK:
        break;
    case BROKER_NOT_FOUND:
        return AMQP_NOT_FOUND;
    case BROKER_ACCESS_REFUSED:
        return AMQP_ACCESS_REFUSED;
    case BROKER_LOCKED:
        return AMQP_RESOURCE_LOCKED;
    case BROKER_PRECONDITION:
        return AMQP_PRECONDITION_FAILED;
    case BROKER_NOT_ALLOWED:
        return AMQP_NOT_ALLOWED;
    case BROKER_NOT_IMPLEMENTED:
        return AMQP_NOT_IMPLEMENTED;
    case BROKER_RESOURCE:
        return AMQP_RESOURCE_ERROR;
    case BROKER_INVALID:
        return AMQP_COMMAND_INVALID;
    case BROKER_INTERNAL:
        return AMQP_INTERNAL_ERROR;
    }
    UNREACHABLE("no fault");
}

const struct amqp_error *
amqp_error_of_fault(enum broker_fault_kind kind)
{
    return amqp_error(error_code_of(kind));
}

void
amqp_reply_text(char *out, const struct amqp_error *e, const char *why)
{
    static const char cut[] = "...";
    int size = snprintf(out, AMQP_REPLY_TEXT_SIZE, "%s - %s", e->name, why);

    if (size >= AMQP_REPLY_TEXT_SIZE) {
        memcpy(out + AMQP_REPLY_TEXT_SIZE - sizeof(cut), cut, sizeof(cut));
    }
}
