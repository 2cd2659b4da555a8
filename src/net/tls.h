/* A TLS session without a socket: bytes in, bytes out. What the peer sent is
 * fed, what is to be sent comes through a callback; nothing is buffered here
 * besides the record under way. Links use it, and streams that are secured. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct ssl_ctx_st;
struct ssl_st;
struct tls;

enum {
    TLS_RECORD_SIZE = 16384, /* plain bytes in a full record (RFC 8446, 5.1) */
    TLS_TEXT_SIZE = 256
};

/* Bytes for the peer (borrowed). Must take them all. */
typedef void (*tls_sink_cb)(void *arg, const void *data, size_t size);

/* A session of CTX (referenced). APP is what the context's callbacks find with
 * SSL_get_app_data(). */
struct tls *tls_new(struct ssl_ctx_st *ctx, bool is_server, tls_sink_cb sink,
                    void *arg, void *app);
void tls_free(struct tls **tls);
struct ssl_st *tls_ssl(struct tls *tls);

/* The next bytes from the peer (borrowed until they are used up, which the
 * functions below do, or the next call). The last ones are used up. */
void tls_feed(struct tls *tls, const void *data, size_t size);
/* How many of them are not used yet. */
size_t tls_unused(const struct tls *tls);
/* Forget them. */
void tls_drop(struct tls *tls);

/* Go on with the handshake: *DONE when it is complete, else it wants more
 * bytes. -QR_EACCESS when it failed; tls_text() says why. */
MUST_USE int tls_handshake(struct tls *tls, bool *done);

/* Up to SIZE plain bytes to DST; *GOT of them, 0 when more must be fed first.
 * -QR_ECLOSED after the peer's end, -QR_EFORMAT for anything not TLS. */
MUST_USE int tls_read(struct tls *tls, void *dst, size_t size, size_t *got);

/* Encrypt SIZE bytes at DATA and send them. Keys are changed long before a
 * cipher's limit (RFC 8446, 5.5). -QR_EIO. */
MUST_USE int tls_write(struct tls *tls, const void *data, size_t size);

/* Tell the peer that nothing more comes (close_notify). After the handshake
 * only. */
void tls_end(struct tls *tls);

/* What the last error was, for logs. Borrowed. */
const char *tls_text(const struct tls *tls);

#endif
