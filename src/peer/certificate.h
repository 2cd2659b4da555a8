/* Links proven by certificates of both ends, instead of the cluster secret: who
 * has one from the cluster's authority that names a node, is that node. */
#ifndef PEER_CERTIFICATE_H
#define PEER_CERTIFICATE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct error;
struct ssl_st;

enum {
    CERTIFICATE_PATTERN_SIZE = 256, /* with the NUL */
    CERTIFICATE_NAME_SIZE = 1024    /* of an expanded pattern, likewise */
};

/* Whether SSL, its handshake done, was proven by a certificate that was
 * verified. */
bool certificate_is_proven(struct ssl_st *ssl);

/* Put NODE's name where PATTERN has %n. -QR_ETOOBIG. */
MUST_USE int certificate_expand(const char *pattern, const char *node,
                                char out[CERTIFICATE_NAME_SIZE]);

/* Whether the other end of SSL may be the node called NODE: its certificate has
 * the name that PATTERN makes of that among its subject alternative names.
 * -QR_EACCESS, and ERR says what it has and what it should have. */
MUST_USE int certificate_check(struct ssl_st *ssl, const char *pattern,
                               const char *node, struct error *err);

#endif
