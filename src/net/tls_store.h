/* Certificates that can change while the node runs: the context that new
 * sessions take, and how it is replaced when its files were. Sessions that are
 * open keep the one that they began with.
 *
 * Every function may be called from any thread; a reload reads files and should
 * run on the pool. */
#ifndef NET_TLS_STORE_H
#define NET_TLS_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "net/tls_context.h"

struct error;
struct ssl_ctx_st;
struct tls_store;

/* Load what CONFIG (copied) says. Errors as of tls_context_new(); certificates
 * that are not valid now are loaded all the same, since a node that refused to
 * start would help nobody. */
MUST_USE int tls_store_new(const struct tls_config *config,
                           struct tls_store **out, struct error *err);
void tls_store_free(struct tls_store **store);

/* The context for a new session: a reference, for SSL_CTX_free(). */
struct ssl_ctx_st *tls_store_context_mt(struct tls_store *store);

/* Read the files again. On an error, also -QR_EINVAL for certificates that are
 * not valid at NOW_S (seconds since 1970), the context stays. */
MUST_USE int tls_store_reload_mt(struct tls_store *store, int64_t now_s,
                                 struct error *err);

/* Whether a file differs from what was loaded or refused last, and has not
 * changed since the last call: files that belong together are seldom replaced
 * at one instant. Costs a stat() for each. */
bool tls_store_is_changed_mt(struct tls_store *store);

/* How long the present certificates are good. */
void tls_store_validity_mt(struct tls_store *store, struct tls_validity *out);

/* Of the configuration: "ssl_options". */
const char *tls_store_prefix(const struct tls_store *store);
bool tls_store_verifies_peer(const struct tls_store *store);

#endif
