/* TLS 1.3 with the cluster secret as external pre-shared key (RFC 8446, 2.2
 * and 4.2.11): no certificates, both ends proven, keys fresh for each link. */
#ifndef PEER_PSK_H
#define PEER_PSK_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "peer/secret.h"

struct psk;
struct ssl_ctx_st;
struct ssl_st;

enum {
    PSK_NAME_SIZE = QR_NAME_SIZE_MAX + 1
};

/* What the handshake of one connection told; the session's app data. */
struct psk_peer {
    const struct psk *psk;
    bool offered;  /* a Quorate key was offered (seen by the accepting end) */
    bool mismatch; /* made of another secret */
    char fingerprint[SECRET_FINGERPRINT_SIZE];
    char name[PSK_NAME_SIZE]; /* of the node; printable; not proven */
};

/* Contexts for links of the node called NAME. */
struct psk *psk_new(const struct secret *secret, const char *name);
void psk_free(struct psk **psk);
struct ssl_ctx_st *psk_ctx(const struct psk *psk);
const char *psk_fingerprint(const struct psk *psk);

/* For the dialling end: with no authority trusted, a certificate that the
 * other end might show instead of the key fails the handshake. */
void psk_distrust_certificates(struct ssl_st *ssl);

/* Whether SSL, its handshake done, was proven by the key and nothing else. */
bool psk_is_proven(struct ssl_st *ssl);

/* SSL's handshake is done, and the key has served: the session's copy of it is
 * overwritten. */
void psk_forget(struct ssl_st *ssl);

/* Copy SIZE bytes at SRC to DST (DST_SIZE bytes, with a NUL), anything that is
 * not printable ASCII as '?': for logs. */
void psk_printable(char *dst, size_t dst_size, const void *src, size_t size);

#endif
