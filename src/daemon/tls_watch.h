/* Certificates while the node runs: read again when their files change, when
 * an operator says so, and warned about before they end. On shard 0. */
#ifndef DAEMON_TLS_WATCH_H
#define DAEMON_TLS_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct env;
struct tls_store;
struct tls_watch;

enum {
    TLS_WATCH_STORES = 2,      /* of the listeners, of the links */
    TLS_WATCH_TEXT_SIZE = 1100 /* of how a reload went */
};

/* Borrowed until tls_watch_free(). */
struct tls_watch_config {
    struct env *env;
    struct tls_store *stores[TLS_WATCH_STORES]; /* NULL: there is none */
    uint64_t interval_ms; /* between looks at the files; 0: never */
    uint64_t warning_days;
};

/* A name and a value, borrowed. */
typedef void (*tls_watch_row_cb)(void *arg, const char *name,
                                 const char *value);

/* A watch over CONFIG's stores; the first look comes at once. */
struct tls_watch *tls_watch_new(const struct tls_watch_config *config);
/* No more looks. */
void tls_watch_stop(struct tls_watch *w);
/* Free *W (nulled), when the shard's slow work is done. */
void tls_watch_free(struct tls_watch **w);

/* Begin to read all files again, on the pool; the number of this reload. Those
 * asked for while one runs are one more together. */
uint64_t tls_watch_reload(struct tls_watch *w);
/* Whether reload NUMBER is over; if so *RESULT is 0 or -QR_E*, and TEXT
 * (borrowed until the next call) what was loaded or refused. */
bool tls_watch_reloaded(const struct tls_watch *w, uint64_t number, int *result,
                        const char **text);
/* Rows about the certificates for `status`. */
void tls_watch_describe(const struct tls_watch *w, tls_watch_row_cb row,
                        void *arg);

#endif
