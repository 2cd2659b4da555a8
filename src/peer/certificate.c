/* See certificate.h. */
#include "peer/certificate.h"

#include <openssl/ssl.h>
#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "net/tls_cert.h"

bool
certificate_is_proven(struct ssl_st *ssl)
{
    return SSL_get0_peer_certificate(ssl) != NULL &&
           SSL_get_verify_result(ssl) == X509_V_OK &&
           (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0 &&
           SSL_session_reused(ssl) == 0 && SSL_version(ssl) == TLS1_3_VERSION;
}

int
certificate_expand(const char *pattern, const char *node,
                   char out[CERTIFICATE_NAME_SIZE])
{
    size_t size = 0;

    while (*pattern != '\0') {
        bool is_node = strncmp(pattern, "%n", 2) == 0;
        const char *part = is_node ? node : pattern;
        size_t length = is_node ? strlen(node) : 1;

        if (length >= CERTIFICATE_NAME_SIZE - size) {
            return -QR_ETOOBIG;
        }
        memcpy(out + size, part, length);
        size += length;
        pattern += is_node ? 2 : 1;
    }
    out[size] = '\0';
    return 0;
}

int
certificate_check(struct ssl_st *ssl, const char *pattern, const char *node,
                  struct error *err)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    char want[CERTIFICATE_NAME_SIZE];
    struct buf subject;
    int rv = certificate_expand(pattern, node, want);

    ASSERT(cert != NULL);
    if (rv != 0) {
        return error_set(err, QR_EACCESS, "the name of node %s is too long",
                         node);
    }
    if (want[0] != '\0' && tls_cert_has_name(cert, want)) {
        return 0;
    }
    buf_init(&subject);
    tls_cert_subject(cert, &subject);
    rv = error_set(err, QR_EACCESS,
                   "it says that it is node %s, but its certificate (%.*s) "
                   "lacks the subject alternative name %s; give it a "
                   "certificate of its own (cluster.tls.name)",
                   node, (int)MIN(subject.size, (size_t)128),
                   (const char *)subject.data, want);
    buf_deinit(&subject);
    return rv;
}
