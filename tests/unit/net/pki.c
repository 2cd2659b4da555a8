/* A certification authority in a few lines of OpenSSL. */
#include "pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/harness.h"

const char *
pki_path(const struct pki *p, const char *name, const char *ending,
         char out[PKI_PATH_SIZE])
{
    (void)snprintf(out, PKI_PATH_SIZE, "%s/%s%s", p->dir, name, ending);
    return out;
}

static FILE *
create(const struct pki *p, const char *name, const char *ending)
{
    char path[PKI_PATH_SIZE];
    FILE *f = NULL;

    (void)unlink(pki_path(p, name, ending, path));
    f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_eq(fchmod(fileno(f), 0400), 0);
    return f;
}

static void
put_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e = NULL;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    cr_assert_not_null(e, "%s", value);
    cr_assert_eq(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *
new_certificate(EVP_PKEY *key, int64_t begins_s, int64_t ends_s)
{
    X509 *cert = X509_new();
    uint64_t serial = (uint64_t)random();

    cr_assert_not_null(cert);
    cr_assert_eq(X509_set_version(cert, 2), 1);
    cr_assert_eq(ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial),
                 1);
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(cert), begins_s));
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notAfter(cert), ends_s));
    cr_assert_eq(X509_set_pubkey(cert, key), 1);
    return cert;
}

static void
put_attribute(X509_NAME *name, const char *type, const char *value)
{
    bool joins = type[0] == '+';
    X509_NAME_ENTRY *e = X509_NAME_ENTRY_create_by_txt(
        NULL, type + (joins ? 1 : 0), MBSTRING_UTF8,
        (const unsigned char *)value, -1);

    cr_assert_not_null(e, "%s", type);
    cr_assert_eq(X509_NAME_add_entry(name, e, -1, joins ? -1 : 0), 1);
    X509_NAME_ENTRY_free(e);
}

void
pki_init(struct pki *p)
{
    static unsigned number;
    char common[64];
    FILE *f = NULL;

    memset(p, 0, sizeof(*p));
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/quorate-pki-XXXXXX");
    cr_assert_not_null(mkdtemp(p->dir));
    p->key = EVP_EC_gen("P-256");
    p->authority = new_certificate(p->key, -3600, 200 * PKI_DAY_S);
    (void)snprintf(common, sizeof(common), "authority %u", ++number);
    put_attribute(X509_get_subject_name(p->authority), "CN", common);
    cr_assert_eq(
        X509_set_issuer_name(p->authority, X509_get_subject_name(p->authority)),
        1);
    put_extension(p->authority, p->authority, NID_basic_constraints,
                  "critical,CA:TRUE");
    cr_assert_gt(X509_sign(p->authority, p->key, EVP_sha256()), 0);
    f = create(p, "ca", ".pem");
    cr_assert_eq(PEM_write_X509(f, p->authority), 1);
    (void)fclose(f);
}

void
pki_deinit(struct pki *p)
{
    char command[PKI_PATH_SIZE];

    X509_free(p->authority);
    EVP_PKEY_free(p->key);
    (void)snprintf(command, sizeof(command), "rm -rf %s", p->dir);
    cr_assert_eq(system(command), 0);
}

static void
put_subject(X509 *cert, const struct pki_request *r)
{
    X509_NAME *name = X509_get_subject_name(cert);

    if (r->subject == NULL) {
        put_attribute(name, "CN", r->name);
        return;
    }
    for (size_t i = 0; r->subject[i] != NULL; i += 2) {
        put_attribute(name, r->subject[i], r->subject[i + 1]);
    }
}

void
pki_issue(const struct pki *p, const struct pki_request *r)
{
    EVP_PKEY *key = r->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509 *cert = new_certificate(key, r->begins_s != 0 ? r->begins_s : -3600,
                                 r->ends_s != 0 ? r->ends_s : 100 * PKI_DAY_S);
    const EVP_CIPHER *cipher = r->password != NULL ? EVP_aes_128_cbc() : NULL;
    int size = r->password != NULL ? (int)strlen(r->password) : 0;
    FILE *f = NULL;

    put_subject(cert, r);
    cr_assert_eq(
        X509_set_issuer_name(cert, X509_get_subject_name(p->authority)), 1);
    if (r->alternatives != NULL) {
        put_extension(cert, p->authority, NID_subject_alt_name,
                      r->alternatives);
    }
    cr_assert_gt(X509_sign(cert, p->key, EVP_sha256()), 0);
    f = create(p, r->name, ".key");
    cr_assert_eq(PEM_write_PKCS8PrivateKey(f, key, cipher, r->password, size,
                                           NULL, NULL),
                 1);
    (void)fclose(f);
    f = create(p, r->name, ".pem");
    cr_assert_eq(PEM_write_X509(f, cert), 1);
    (void)fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

X509 *
pki_load(const struct pki *p, const char *name)
{
    char path[PKI_PATH_SIZE];
    FILE *f = fopen(pki_path(p, name, ".pem", path), "r");
    X509 *cert = NULL;

    cr_assert_not_null(f);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    cr_assert_not_null(cert);
    (void)fclose(f);
    return cert;
}
