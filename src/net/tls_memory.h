/* Where OpenSSL keeps what must not be found. */
#ifndef NET_TLS_MEMORY_H
#define NET_TLS_MEMORY_H

enum {
    TLS_MEMORY_SECRET_SIZE = 1 << 20, /* for private keys */
    TLS_MEMORY_SECRET_MIN = 64
};

/* From now on private keys live in locked memory that core dumps leave out, and
 * whatever OpenSSL frees is overwritten first: on their way there they pass
 * through ordinary memory. Before anything else of OpenSSL is used, once a
 * process; without it all works, less discreetly. */
void tls_memory_init(void);

#endif
