/* Certificates for tests: an authority in a directory of its own, and what it
 * issues, as PEM files. */
#ifndef TESTS_UNIT_NET_PKI_H
#define TESTS_UNIT_NET_PKI_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PKI_PATH_SIZE = 128,
    PKI_DAY_S = 86400
};

struct pki {
    char dir[64];
    EVP_PKEY *key;
    X509 *authority; /* ca.pem */
};

/* What to issue as NAME.pem and NAME.key. */
struct pki_request {
    const char *name;
    /* Pairs of OpenSSL's name of an attribute and its value, NULL at the end;
     * a name with "+" before it joins the attribute before. NULL: CN=NAME. */
    const char *const *subject;
    const char *alternatives; /* "DNS:n1,URI:x://y"; NULL: none */
    int64_t begins_s;         /* from now; 0: an hour ago */
    int64_t ends_s;           /* from now; 0: in 100 days */
    const char *password;     /* of the key; NULL: none */
    bool is_rsa;
};

void pki_init(struct pki *p);
void pki_deinit(struct pki *p);
/* The path of file NAME with ENDING (".pem"); in OUT, which is returned. */
const char *pki_path(const struct pki *p, const char *name, const char *ending,
                     char out[PKI_PATH_SIZE]);
void pki_issue(const struct pki *p, const struct pki_request *request);
/* The certificate NAME.pem; caller frees. */
X509 *pki_load(const struct pki *p, const char *name);

#endif
