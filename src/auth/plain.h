/* The SASL mechanism PLAIN (RFC 4616). */
#ifndef AUTH_PLAIN_H
#define AUTH_PLAIN_H

#include <stddef.h>

#include "auth/credential.h"
#include "base/check.h"

/* Parse a client's response, "authzid NUL user NUL password". *OUT borrows
 * from it. -QR_EFORMAT: it is none, or has an empty user; -QR_EACCESS: it asks
 * to act as somebody other than its user. */
MUST_USE int plain_parse(const void *response, size_t size,
                         struct credential *out);

#endif
