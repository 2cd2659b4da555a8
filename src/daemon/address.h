/* ADDRESS:PORT and PORT, as configurations write them. */
#ifndef DAEMON_ADDRESS_H
#define DAEMON_ADDRESS_H

#include <stdint.h>

#include "base/check.h"

struct error;

enum {
    ADDRESS_HOST_SIZE = 256
};

/* "5672", "127.0.0.1:5672", "[::1]:5672", "host:5672". *HOST is empty for a
 * port alone: every address. -QR_EINVAL, ERR says what is allowed. */
MUST_USE int address_parse(const char *text, char host[ADDRESS_HOST_SIZE],
                           uint16_t *port, struct error *err);

#endif
