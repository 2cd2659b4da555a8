/* The SASL mechanism AMQPLAIN, which AMQP 0-9-1 brokers have beside PLAIN. */
#ifndef AUTH_AMQPLAIN_H
#define AUTH_AMQPLAIN_H

#include <stddef.h>

#include "auth/credential.h"
#include "base/check.h"

enum {
    AMQPLAIN_FIELDS_MAX = 64
};

/* Parse a client's response: the fields of an AMQP table, without the length
 * before it, with long strings LOGIN and PASSWORD among them; the first of
 * each counts. *OUT borrows from it. -QR_EFORMAT: no table, more than
 * AMQPLAIN_FIELDS_MAX fields, or one of the two is missing, of another type,
 * or the login is empty. */
MUST_USE int amqplain_parse(const void *response, size_t size,
                            struct credential *out);

#endif
