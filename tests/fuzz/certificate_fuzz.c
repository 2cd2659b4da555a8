/* A client's or a node's certificate, as its authority signed it: what names it
 * holds was up to who asked for it.
 *
 *   0        1
 *   +--------+---------------------------------+
 *   | rule   | the certificate (DER)           |
 *   +--------+---------------------------------+
 *
 * Rule: bits 0-1 where the user name comes from, 2-4 the type of alternative
 * name, 5-7 its index. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "net/tls_cert.h"

enum {
    SAN_SHIFT = 2,
    SAN_MASK = 7,
    INDEX_SHIFT = 5
};

/* What goes to listings and logs. */
static void
check_printable(const struct buf *b)
{
    for (size_t i = 0; i < b->size; i++) {
        ASSERT(b->data[i] >= 0x20 && b->data[i] < 0x7f);
    }
    ASSERT(b->size <= TLS_NAME_SIZE_MAX);
}

static void
check_cert(const X509 *cert, const struct tls_login *rule)
{
    char text[TLS_TIME_SIZE];
    struct buf b;

    buf_init(&b);
    tls_cert_subject(cert, &b);
    check_printable(&b);
    buf_clear(&b);
    tls_cert_issuer(cert, &b);
    check_printable(&b);
    buf_clear(&b);
    tls_cert_validity(cert, &b);
    check_printable(&b);
    tls_time_text(tls_cert_begins(cert), text);
    tls_time_text(tls_cert_ends(cert), text);
    ASSERT(strlen(text) < sizeof(text));
    buf_clear(&b);
    if (tls_cert_login(cert, rule, &b)) {
        ASSERT(b.size > 0);
        ASSERT(memchr(b.data, '\0', b.size) == NULL);
    } else {
        ASSERT(b.size == 0);
    }
    (void)tls_cert_has_name(cert, "n1.example");
    (void)tls_cert_has_name(cert, "quorate://n1");
    buf_deinit(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_login rule;
    const unsigned char *at = data + 1;
    X509 *cert = NULL;

    if (size < 2) {
        return 0;
    }
    rule.from = (enum tls_login_from)(data[0] % (TLS_LOGIN_SAN + 1));
    rule.san_type = (enum tls_san_type)((data[0] >> SAN_SHIFT & SAN_MASK) %
                                        (TLS_SAN_OTHER + 1));
    rule.san_index = data[0] >> INDEX_SHIFT;
    cert = d2i_X509(NULL, &at, (long)size - 1);
    if (cert != NULL) {
        check_cert(cert, &rule);
        X509_free(cert);
    }
    return 0;
}

/* ---- valid input ---- */

static void
name_it(struct rng *r, X509 *cert)
{
    static const char *const fields[] = {"CN", "O", "OU", "C", "emailAddress"};
    static const char *const values[] = {"app", "a,b=c", " #x ", "\xc3\xa4",
                                         "DE"};
    X509_NAME *name = X509_get_subject_name(cert);

    for (uint64_t n = rng_below(r, 4); n > 0; n--) {
        (void)X509_NAME_add_entry_by_txt(
            name, fields[rng_below(r, ARRAY_COUNT(fields))], MBSTRING_UTF8,
            (const unsigned char *)values[rng_below(r, ARRAY_COUNT(values))],
            -1, -1, 0);
    }
    (void)X509_set_issuer_name(cert, name);
}

static void
name_it_else(struct rng *r, X509 *cert)
{
    static const char *const names[] = {
        "DNS:n1.example,DNS:*.example", "IP:192.0.2.1,IP:::1",
        "URI:quorate://n1", "email:a@example",
        "otherName:1.2.3.4;UTF8:app,DNS:n1.example"};
    X509_EXTENSION *e =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
                            names[rng_below(r, ARRAY_COUNT(names))]);

    ASSERT(e != NULL);
    (void)X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    static EVP_PKEY *key;
    X509 *cert = X509_new();
    unsigned char *der = NULL;
    size_t size = 0;
    int rv = 0;

    if (key == NULL) {
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    }
    ASSERT(key != NULL && cert != NULL);
    (void)X509_set_version(cert, 2);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    (void)X509_set_pubkey(cert, key);
    name_it(r, cert);
    name_it_else(r, cert);
    rv = X509_sign(cert, key, NULL);
    ASSERT(rv > 0);
    rv = i2d_X509(cert, &der);
    ASSERT(rv > 0);
    size = MIN((size_t)rv, capacity - 1);
    at[0] = (uint8_t)rng_below(r, 256);
    memcpy(at + 1, der, size);
    OPENSSL_free(der);
    X509_free(cert);
    return size + 1;
}
