/* What a certificate says, in RabbitMQ's words: its listings and its user names
 * of EXTERNAL are what operators have in their permissions. */
#ifndef NET_TLS_CERT_H
#define NET_TLS_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct buf;
struct x509_st;
struct X509_name_st;

enum {
    TLS_NAME_SIZE_MAX = 4096, /* of a formatted name; longer ones are cut */
    TLS_TIME_SIZE = 24        /* "2026-11-21T04:46:27Z" and a NUL */
};

/* Where the user name of SASL EXTERNAL comes from (ssl_cert_login_from). */
enum tls_login_from {
    TLS_LOGIN_DN,
    TLS_LOGIN_CN,
    TLS_LOGIN_SAN
};

enum tls_san_type {
    TLS_SAN_DNS,
    TLS_SAN_IP,
    TLS_SAN_EMAIL,
    TLS_SAN_URI,
    TLS_SAN_OTHER
};

struct tls_login {
    enum tls_login_from from;
    enum tls_san_type san_type;
    uint32_t san_index; /* among those of its type, from 0 */
};

/* Append the subject or the issuer of CERT: its relative names from the last to
 * the first, as in "CN=app,O=Example,C=DE", escaped as RabbitMQ escapes
 * (rabbit_cert_info.erl, RFC 4514): bytes below 32 and above 125 become a
 * backslash and two hexadecimal digits. */
void tls_cert_subject(const struct x509_st *cert, struct buf *out);
void tls_cert_issuer(const struct x509_st *cert, struct buf *out);
/* Append "2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z". */
void tls_cert_validity(const struct x509_st *cert, struct buf *out);
/* Append the user name that RULE finds in CERT. False, and nothing appended, if
 * there is none, it is empty, or has a byte that is not printable. Several
 * common names are joined with commas, as RabbitMQ does. */
bool tls_cert_login(const struct x509_st *cert, const struct tls_login *rule,
                    struct buf *out);
/* Whether CERT has NAME among its subject alternative names: as URI if NAME has
 * "://" in it, else as DNS name, case-insensitively and without wildcards. */
bool tls_cert_has_name(const struct x509_st *cert, const char *name);
/* When CERT begins and ends to be valid, in seconds since 1970. */
int64_t tls_cert_begins(const struct x509_st *cert);
int64_t tls_cert_ends(const struct x509_st *cert);
/* SECONDS since 1970 as "2026-11-21T04:46:27Z". */
void tls_time_text(int64_t seconds, char out[TLS_TIME_SIZE]);

#endif
