/* The names of SASL mechanisms. */
#include "auth/mechanism.h"

#include <string.h>

#include "base/buf.h"

static const struct {
    const char *name;
    enum auth_mechanism mechanism;
} MECHANISMS[] = {
    {"PLAIN", AUTH_PLAIN},
    {"AMQPLAIN", AUTH_AMQPLAIN},
    {"EXTERNAL", AUTH_EXTERNAL},
};

unsigned
auth_mechanism_parse(const char *name, size_t size)
{
    for (size_t i = 0; i < ARRAY_COUNT(MECHANISMS); i++) {
        if (strlen(MECHANISMS[i].name) == size &&
            memcmp(MECHANISMS[i].name, name, size) == 0) {
            return MECHANISMS[i].mechanism;
        }
    }
    return 0;
}

void
auth_mechanism_names(unsigned mechanisms, struct buf *out)
{
    size_t start = out->size;

    for (size_t i = 0; i < ARRAY_COUNT(MECHANISMS); i++) {
        if ((mechanisms & (unsigned)MECHANISMS[i].mechanism) != 0) {
            buf_putf(out, "%s%s", out->size > start ? " " : "",
                     MECHANISMS[i].name);
        }
    }
}
