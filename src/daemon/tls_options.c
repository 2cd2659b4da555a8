/* See tls_options.h. */
#include "daemon/tls_options.h"

#include <quorate/error.h>
#include <string.h>

#include "auth/mechanism.h"
#include "base/buf.h"
#include "base/error.h"
#include "daemon/config.h"

struct word {
    const char *text;
    int value;
};

static const struct word from_words[] = {
    {"distinguished_name", TLS_LOGIN_DN},
    {"common_name", TLS_LOGIN_CN},
    {"subject_alternative_name", TLS_LOGIN_SAN},
};

static const struct word san_words[] = {
    {"dns", TLS_SAN_DNS},          {"ip", TLS_SAN_IP},
    {"email", TLS_SAN_EMAIL},      {"uri", TLS_SAN_URI},
    {"other_name", TLS_SAN_OTHER},
};

static const struct word verify_words[] = {
    {"verify_none", false},
    {"verify_peer", true},
};

/* The value of TEXT among COUNT words; KEY is what it was given for. */
static int
pick(const char *key, const char *text, const struct word *words, size_t count,
     struct error *err)
{
    struct buf allowed;
    int rv = 0;

    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i].text) == 0) {
            return words[i].value;
        }
    }
    buf_init(&allowed);
    for (size_t i = 0; i < count; i++) {
        buf_putf(&allowed, "%s%s",
                 i == 0 ? "" : (i + 1 < count ? ", " : " or "), words[i].text);
    }
    buf_put_u8(&allowed, 0);
    rv = error_set(err, QR_EINVAL, "%s = %s: %s is allowed", key, text,
                   (const char *)allowed.data);
    buf_deinit(&allowed);
    return rv;
}

static int
pick_mechanisms(const struct config_list *list, unsigned *out,
                struct error *err)
{
    unsigned all = list->count == 0 ? AUTH_DEFAULT : 0;

    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->values[i];
        unsigned one = auth_mechanism_parse(name, strlen(name));

        if (one == 0) {
            return error_set(err, QR_EINVAL,
                             "auth_mechanisms.%s = %s: PLAIN, AMQPLAIN or "
                             "EXTERNAL is allowed",
                             list->names[i], name);
        }
        all |= one;
    }
    *out = all;
    return 0;
}

int
login_options_make(const struct config *c, struct login_options *out,
                   struct error *err)
{
    struct login_options o = {.mechanisms = 0};
    int from = pick("ssl_cert_login_from", c->ssl_login_from, from_words,
                    ARRAY_COUNT(from_words), err);
    int type = 0;
    int rv = 0;

    if (from < 0) {
        return from;
    }
    type = pick("ssl_cert_login_san_type", c->ssl_login_san_type, san_words,
                ARRAY_COUNT(san_words), err);
    if (type < 0) {
        return type;
    }
    rv = pick_mechanisms(&c->auth_mechanisms, &o.mechanisms, err);
    if (rv != 0) {
        return rv;
    }
    if ((o.mechanisms & AUTH_EXTERNAL) != 0 && c->ssl_listeners.count > 0 &&
        strcmp(c->ssl_verify, "verify_peer") != 0) {
        return error_set(err, QR_EINVAL,
                         "auth_mechanisms has EXTERNAL, but ssl_options.verify "
                         "= %s asks no client for a certificate: set "
                         "ssl_options.verify = verify_peer",
                         c->ssl_verify);
    }
    o.from.from = (enum tls_login_from)from;
    o.from.san_type = (enum tls_san_type)type;
    o.from.san_index = (uint32_t)c->ssl_login_san_index;
    *out = o;
    return 0;
}

static int
pick_versions(const struct config_list *list, struct tls_config *out,
              struct error *err)
{
    out->tls12 = list->count == 0;
    out->tls13 = list->count == 0;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->values[i], "tlsv1.2") == 0) {
            out->tls12 = true;
        } else if (strcmp(list->values[i], "tlsv1.3") == 0) {
            out->tls13 = true;
        } else {
            return error_set(err, QR_EINVAL,
                             "ssl_options.versions.%s = %s: tlsv1.2 or tlsv1.3 "
                             "is allowed; older versions are not safe any more",
                             list->names[i], list->values[i]);
        }
    }
    return 0;
}

static int
pick_ciphers(const struct config_list *list, struct buf *out, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!tls_cipher_is_known(list->values[i])) {
            return error_set(err, QR_EINVAL,
                             "ssl_options.ciphers.%s = %s: OpenSSL has no such "
                             "cipher suite; `openssl ciphers -v` lists them",
                             list->names[i], list->values[i]);
        }
        buf_putf(out, "%s%s", i == 0 ? "" : ":", list->values[i]);
    }
    if (out->size > 0) {
        buf_put_u8(out, 0);
    }
    return 0;
}

/* What has one value only, and is there for RabbitMQ's files. */
static int
check_fixed(const struct config *c, struct error *err)
{
    if (c->ssl_client_renegotiation) {
        return error_set(err, QR_EINVAL,
                         "ssl_options.client_renegotiation = true: false is "
                         "allowed; renegotiation is off");
    }
    if (!c->ssl_secure_renegotiate) {
        return error_set(err, QR_EINVAL,
                         "ssl_options.secure_renegotiate = false: true is "
                         "allowed; renegotiation is off");
    }
    if (c->ssl_honor_ecc_order != c->ssl_honor_cipher_order) {
        return error_set(err, QR_EINVAL,
                         "ssl_options.honor_ecc_order and "
                         "ssl_options.honor_cipher_order differ: they must be "
                         "equal, as OpenSSL has one order for both");
    }
    if (c->ssl_fail_if_no_peer_cert &&
        strcmp(c->ssl_verify, "verify_peer") != 0) {
        return error_set(err, QR_EINVAL,
                         "ssl_options.fail_if_no_peer_cert = true, but no "
                         "client is asked for a certificate: set "
                         "ssl_options.verify = verify_peer");
    }
    return 0;
}

static int
open_listeners(const struct config *c, struct tls_store **out,
               struct error *err)
{
    struct tls_config tls = {
        .prefix = "ssl_options",
        .cacertfile = c->ssl_cacertfile,
        .certfile = c->ssl_certfile,
        .keyfile = c->ssl_keyfile,
        .password = c->ssl_password,
        .fail_if_no_peer_cert = c->ssl_fail_if_no_peer_cert,
        .depth = (uint32_t)c->ssl_depth,
        .honor_cipher_order = c->ssl_honor_cipher_order,
    };
    struct buf ciphers;
    int verify = pick("ssl_options.verify", c->ssl_verify, verify_words,
                      ARRAY_COUNT(verify_words), err);
    int rv = verify < 0 ? verify : check_fixed(c, err);

    buf_init(&ciphers);
    if (rv == 0) {
        rv = pick_versions(&c->ssl_versions, &tls, err);
    }
    if (rv == 0) {
        rv = pick_ciphers(&c->ssl_ciphers, &ciphers, err);
    }
    if (rv == 0) {
        tls.verify_peer = verify != 0;
        tls.tickets = c->ssl_reuse_sessions && !tls.verify_peer;
        tls.ciphers = (const char *)ciphers.data;
        rv = tls_store_new(&tls, out, err);
    }
    buf_deinit(&ciphers);
    return rv;
}

bool
tls_options_has_cluster(const struct config *c)
{
    return c->cluster_tls_cacertfile[0] != '\0' ||
           c->cluster_tls_certfile[0] != '\0' ||
           c->cluster_tls_keyfile[0] != '\0';
}

static int
open_cluster(const struct config *c, struct tls_store **out, struct error *err)
{
    struct tls_config tls = {
        .prefix = "cluster.tls",
        .cacertfile = c->cluster_tls_cacertfile,
        .certfile = c->cluster_tls_certfile,
        .keyfile = c->cluster_tls_keyfile,
        .password = c->cluster_tls_password,
        .verify_peer = true,
        .fail_if_no_peer_cert = true,
        .depth = (uint32_t)c->cluster_tls_depth,
        .tls13 = true,
        .honor_cipher_order = true,
        .ciphers = "TLS_AES_128_GCM_SHA256",
    };

    if (c->secret_file[0] != '\0') {
        return error_set(err, QR_EINVAL,
                         "cluster.secret_file and cluster.tls are both set: "
                         "nodes prove themselves in one way; remove one of "
                         "them, on all nodes alike");
    }
    return tls_store_new(&tls, out, err);
}

int
tls_options_open(const struct config *c, struct tls_store **listeners,
                 struct tls_store **cluster, struct error *err)
{
    struct tls_store *first = NULL;
    struct tls_store *second = NULL;
    int rv = 0;

    if (c->ssl_listeners.count > 0) {
        rv = open_listeners(c, &first, err);
    }
    if (rv == 0 && tls_options_has_cluster(c)) {
        rv = open_cluster(c, &second, err);
    }
    if (rv != 0) {
        tls_store_free(&first);
        return rv;
    }
    *listeners = first;
    *cluster = second;
    return 0;
}
