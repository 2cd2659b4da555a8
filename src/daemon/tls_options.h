/* What a configuration says of TLS and of who may log in how. */
#ifndef DAEMON_TLS_OPTIONS_H
#define DAEMON_TLS_OPTIONS_H

#include <stdbool.h>

#include "base/check.h"
#include "net/tls_cert.h"
#include "net/tls_store.h"

struct config;
struct error;

/* How clients log in. */
struct login_options {
    unsigned mechanisms; /* enum auth_mechanism */
    struct tls_login from;
};

/* auth_mechanisms and ssl_cert_login_*. -QR_EINVAL; ERR names key and rule. */
MUST_USE int login_options_make(const struct config *config,
                                struct login_options *out, struct error *err);
/* Whether links between nodes are proven by certificates. */
bool tls_options_has_cluster(const struct config *config);
/* Check ssl_options, if there are TLS listeners, and cluster.tls, if that is
 * set, and load what they name: NULL for what is not there. -QR_EINVAL and the
 * like, with what to do in ERR. */
MUST_USE int tls_options_open(const struct config *config,
                              struct tls_store **listeners,
                              struct tls_store **cluster, struct error *err);

#endif
