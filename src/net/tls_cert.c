/* Names in certificates, as RabbitMQ formats them. */
#include "net/tls_cert.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"

enum {
    OID_TEXT_SIZE = 80
};

/* RabbitMQ's short names of attributes; others appear by their number. */
static const struct {
    int nid;
    const char *name;
} ATTRIBUTES[] = {
    {NID_surname, "SN"},
    {NID_givenName, "GIVENNAME"},
    {NID_initials, "INITIALS"},
    {NID_generationQualifier, "GENERATIONQUALIFIER"},
    {NID_commonName, "CN"},
    {NID_localityName, "L"},
    {NID_stateOrProvinceName, "ST"},
    {NID_organizationName, "O"},
    {NID_organizationalUnitName, "OU"},
    {NID_title, "TITLE"},
    {NID_countryName, "C"},
    {NID_serialNumber, "SERIALNUMBER"},
    {NID_pseudonym, "PSEUDONYM"},
    {NID_domainComponent, "DC"},
    {NID_pkcs9_emailAddress, "EMAILADDRESS"},
    {NID_streetAddress, "STREET"},
    {NID_userId, "UID"},
};

static void
put_type(struct buf *out, const ASN1_OBJECT *type)
{
    int nid = OBJ_obj2nid(type);
    char text[OID_TEXT_SIZE];

    for (size_t i = 0; i < ARRAY_COUNT(ATTRIBUTES); i++) {
        if (ATTRIBUTES[i].nid == nid) {
            buf_putf(out, "%s=", ATTRIBUTES[i].name);
            return;
        }
    }
    (void)OBJ_obj2txt(text, sizeof(text), type, 1);
    buf_putf(out, "%s=", text);
}

/* Whether RFC 4514 wants a backslash before the byte C at place AT of SIZE. */
static bool
is_special(unsigned char c, size_t at, size_t size)
{
    if (at == 0 && (c == ' ' || c == '#')) {
        return true;
    }
    if (at + 1 == size && c == ' ') {
        return true;
    }
    return c != '\0' && strchr("\"+,;<>\\", c) != NULL;
}

static void
put_value(struct buf *out, const ASN1_STRING *value)
{
    unsigned char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&text, value);

    for (int i = 0; i < size; i++) {
        unsigned char c = text[i];

        if (is_special(c, (size_t)i, (size_t)size)) {
            buf_putf(out, "\\%c", c);
        } else if (c < 32 || c >= 126) {
            buf_putf(out, "\\%02X", c);
        } else {
            buf_put_u8(out, c);
        }
    }
    if (size >= 0) {
        OPENSSL_free(text);
    }
}

static void
put_name(struct buf *out, const X509_NAME *name)
{
    int count = X509_NAME_entry_count(name);
    size_t start = out->size;
    int end = count;

    /* Sets of attributes ("A=1+B=2") from the last to the first, each in its
     * own order. */
    while (end > 0 && out->size - start < TLS_NAME_SIZE_MAX) {
        int set = X509_NAME_ENTRY_set(X509_NAME_get_entry(name, end - 1));
        int from = end;

        while (from > 0 && X509_NAME_ENTRY_set(
                               X509_NAME_get_entry(name, from - 1)) == set) {
            from--;
        }
        buf_putf(out, "%s", end < count ? "," : "");
        for (int i = from; i < end; i++) {
            X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);

            buf_putf(out, "%s", i > from ? "+" : "");
            put_type(out, X509_NAME_ENTRY_get_object(e));
            put_value(out, X509_NAME_ENTRY_get_data(e));
        }
        end = from;
    }
    out->size = MIN(out->size, start + TLS_NAME_SIZE_MAX);
}

void
tls_cert_subject(const struct x509_st *cert, struct buf *out)
{
    put_name(out, X509_get_subject_name(cert));
}

void
tls_cert_issuer(const struct x509_st *cert, struct buf *out)
{
    put_name(out, X509_get_issuer_name(cert));
}

static int64_t
seconds_of(const ASN1_TIME *time)
{
    struct tm tm = {.tm_year = 70, .tm_mday = 1};

    if (ASN1_TIME_to_tm(time, &tm) != 1) {
        return 0;
    }
    return (int64_t)timegm(&tm);
}

int64_t
tls_cert_begins(const struct x509_st *cert)
{
    return seconds_of(X509_get0_notBefore(cert));
}

int64_t
tls_cert_ends(const struct x509_st *cert)
{
    return seconds_of(X509_get0_notAfter(cert));
}

void
tls_time_text(int64_t seconds, char out[TLS_TIME_SIZE])
{
    time_t t = (time_t)seconds;
    struct tm tm = {.tm_mday = 1};

    (void)gmtime_r(&t, &tm);
    if (strftime(out, TLS_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        out[0] = '\0';
    }
}

void
tls_cert_validity(const struct x509_st *cert, struct buf *out)
{
    char begins[TLS_TIME_SIZE];
    char ends[TLS_TIME_SIZE];

    tls_time_text(tls_cert_begins(cert), begins);
    tls_time_text(tls_cert_ends(cert), ends);
    buf_putf(out, "%s - %s", begins, ends);
}

/* Append what VALUE says, with SEPARATOR before it. */
static void
put_text(struct buf *out, const char *separator, const ASN1_STRING *value)
{
    unsigned char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&text, value);

    if (size >= 0) {
        buf_putf(out, "%s", separator);
        buf_put(out, text, (size_t)size);
        OPENSSL_free(text);
    }
}

static void
put_common_names(struct buf *out, const X509_NAME *name)
{
    size_t start = out->size;
    int at = -1;

    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0) {
        put_text(out, out->size > start ? "," : "",
                 X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    }
}

static int
general_type(enum tls_san_type type)
{
    switch (type) {
    case TLS_SAN_DNS:
        return GEN_DNS;
    case TLS_SAN_IP:
        return GEN_IPADD;
    case TLS_SAN_EMAIL:
        return GEN_EMAIL;
    case TLS_SAN_URI:
        return GEN_URI;
    case TLS_SAN_OTHER:
        return GEN_OTHERNAME;
    }
    UNREACHABLE("a type of alternative names");
}

static void
put_address(struct buf *out, const ASN1_OCTET_STRING *ip)
{
    char text[INET6_ADDRSTRLEN] = "";
    int size = ASN1_STRING_length(ip);

    if (size == 4 || size == 16) {
        (void)inet_ntop(size == 4 ? AF_INET : AF_INET6,
                        ASN1_STRING_get0_data(ip), text, sizeof(text));
    }
    buf_putf(out, "%s", text);
}

static void
put_general_name(struct buf *out, const GENERAL_NAME *name)
{
    switch (name->type) {
    case GEN_DNS:
    case GEN_EMAIL:
    case GEN_URI:
        buf_put(out, ASN1_STRING_get0_data(name->d.ia5),
                (size_t)ASN1_STRING_length(name->d.ia5));
        break;
    case GEN_IPADD:
        put_address(out, name->d.iPAddress);
        break;
    case GEN_OTHERNAME:
        /* Microsoft's user principal names, for one, are UTF-8. */
        if (name->d.otherName->value->type == V_ASN1_UTF8STRING) {
            put_text(out, "", name->d.otherName->value->value.utf8string);
        }
        break;
    default:
        break;
    }
}

static GENERAL_NAMES *
alternative_names(const struct x509_st *cert)
{
    return X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
}

static void
put_alternative_name(struct buf *out, const struct x509_st *cert,
                     const struct tls_login *rule)
{
    GENERAL_NAMES *names = alternative_names(cert);
    uint32_t seen = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == general_type(rule->san_type) &&
            seen++ == rule->san_index) {
            put_general_name(out, name);
        }
    }
    GENERAL_NAMES_free(names);
}

/* Names go to logs and listings, and name users: nothing unseen in them. */
static bool
is_presentable(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
    }
    return size > 0 && size <= TLS_NAME_SIZE_MAX;
}

bool
tls_cert_login(const struct x509_st *cert, const struct tls_login *rule,
               struct buf *out)
{
    size_t start = out->size;

    switch (rule->from) {
    case TLS_LOGIN_DN:
        tls_cert_subject(cert, out);
        break;
    case TLS_LOGIN_CN:
        put_common_names(out, X509_get_subject_name(cert));
        break;
    case TLS_LOGIN_SAN:
        put_alternative_name(out, cert, rule);
        break;
    }
    if (!is_presentable(out->data + start, out->size - start)) {
        out->size = start;
        return false;
    }
    return true;
}

static bool
is_name(const GENERAL_NAME *name, int type, const char *want)
{
    size_t size = strlen(want);
    const char *text = NULL;

    if (name->type != type || (size_t)ASN1_STRING_length(name->d.ia5) != size) {
        return false;
    }
    text = (const char *)ASN1_STRING_get0_data(name->d.ia5);
    return type == GEN_DNS ? strncasecmp(text, want, size) == 0
                           : memcmp(text, want, size) == 0;
}

bool
tls_cert_has_name(const struct x509_st *cert, const char *name)
{
    GENERAL_NAMES *names = alternative_names(cert);
    int type = strstr(name, "://") != NULL ? GEN_URI : GEN_DNS;
    bool found = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        found = found || is_name(sk_GENERAL_NAME_value(names, i), type, name);
    }
    GENERAL_NAMES_free(names);
    return found;
}
