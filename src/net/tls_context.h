/* What a TLS endpoint is configured with, made into an OpenSSL context: files
 * are read here, and everything that can be wrong with them is said here. */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

struct error;
struct ssl_ctx_st;

enum {
    TLS_DEPTH_MAX = 100,
    TLS_FILE_SIZE_MAX = 64 << 10,       /* of a key */
    TLS_PEER_CHAIN_SIZE_MAX = 32 << 10, /* bytes of certificates from a peer */
    TLS_CIPHERS_SIZE_MAX = 4096,
    TLS_SESSION_LIFE_S = 300, /* for which a ticket resumes */
    TLS_SUBJECT_SIZE = 256    /* in struct tls_validity */
};

/* Texts are NUL-terminated and borrowed; NULL or "" is not set. */
struct tls_config {
    const char *prefix; /* of the keys in messages: "ssl_options" */
    const char *cacertfile;
    const char *certfile; /* the certificate, then those of its chain */
    const char *keyfile;
    const char *password; /* of the key */
    bool verify_peer;
    bool fail_if_no_peer_cert;
    uint32_t depth; /* authorities between the peer's certificate and a root */
    bool tls12;
    bool tls13;
    bool honor_cipher_order;
    bool tickets;        /* sessions may be resumed */
    const char *ciphers; /* colon separated; NULL: ours. TLS_... are for 1.3 */
};

/* How long what was loaded is good. */
struct tls_validity {
    int64_t begins; /* seconds since 1970; of all certificates of certfile */
    int64_t ends;
    int64_t authority_ends; /* the first of cacertfile to end; 0: none */
    char subject[TLS_SUBJECT_SIZE]; /* of the first */
};

/* A context of CONFIG; free with SSL_CTX_free(). TLS 1.2 and 1.3 only, forward
 * secrecy and authenticated encryption only, no renegotiation, no compression.
 * The private key must not be readable by everybody. -QR_EINVAL, -QR_EACCESS,
 * -QR_ENOENT, -QR_EIO; ERR names key, file and remedy. */
MUST_USE int tls_context_new(const struct tls_config *config,
                             struct ssl_ctx_st **out,
                             struct tls_validity *validity, struct error *err);

/* A context for clients that trust the authorities in CAFILE; free with
 * SSL_CTX_free(). Which name the server's certificate has is not looked at.
 * -QR_EINVAL, ERR names the file. */
MUST_USE int tls_context_client(const char *cafile, struct ssl_ctx_st **out,
                                struct error *err);

/* Whether NAME is a cipher suite that this build of OpenSSL has. */
bool tls_cipher_is_known(const char *name);

#endif
