/* Options of TLS: RabbitMQ's names, and what is wrong with their values. */
#include <quorate/error.h>
#include <string.h>

#include "auth/mechanism.h"
#include "base/buf.h"
#include "base/error.h"
#include "daemon/config.h"
#include "daemon/tls_options.h"
#include "lib/harness.h"
#include "unit/net/pki.h"

static struct pki pki;
static struct config config;

static void
setup(void)
{
    static const struct pki_request request = {.name = "n1"};

    pki_init(&pki);
    pki_issue(&pki, &request);
    config_init(&config);
}

static void
teardown(void)
{
    config_deinit(&config);
    pki_deinit(&pki);
}

TestSuite(tls_options, .init = setup, .fini = teardown);

static void
set(const char *lines)
{
    struct error err = {""};

    cr_assert_eq(config_parse(&config, "f", lines, strlen(lines), &err), 0,
                 "%s", err.text);
}

/* The three files, as KEYS such as "ssl_options". */
static void
set_files(const char *keys)
{
    struct buf b;

    buf_init(&b);
    buf_putf(&b, "%s.cacertfile = %s/ca.pem\n%s.certfile = %s/n1.pem\n", keys,
             pki.dir, keys, pki.dir);
    buf_putf(&b, "%s.keyfile = %s/n1.key\n", keys, pki.dir);
    buf_put_u8(&b, 0);
    set((const char *)b.data);
    buf_deinit(&b);
}

static int
open_stores(struct tls_store **listeners, struct tls_store **cluster,
            struct error *err)
{
    *listeners = NULL;
    *cluster = NULL;
    error_clear(err);
    return tls_options_open(&config, listeners, cluster, err);
}

static void
expect_refused(const char *text)
{
    struct tls_store *listeners = NULL;
    struct tls_store *cluster = NULL;
    struct error err;

    cr_assert_lt(open_stores(&listeners, &cluster, &err), 0);
    cr_expect_not_null(strstr(err.text, text), "%s", err.text);
    cr_expect_null(listeners);
    cr_expect_null(cluster);
}

Test(tls_options, nothing_is_opened_where_nothing_is_set)
{
    struct tls_store *listeners = NULL;
    struct tls_store *cluster = NULL;
    struct error err;

    set_files("ssl_options"); /* without listeners.ssl */
    cr_assert_eq(open_stores(&listeners, &cluster, &err), 0, "%s", err.text);
    cr_expect_null(listeners);
    cr_expect_null(cluster);
}

Test(tls_options, opens_both)
{
    struct tls_store *listeners = NULL;
    struct tls_store *cluster = NULL;
    struct error err;

    set("listeners.ssl.default = 5671\nssl_options.verify = verify_peer\n"
        "ssl_options.fail_if_no_peer_cert = true\nssl_options.depth = 2\n"
        "ssl_options.versions.1 = tlsv1.3\n"
        "ssl_options.ciphers.1 = TLS_AES_256_GCM_SHA384\n");
    set_files("ssl_options");
    set_files("cluster.tls");
    cr_assert_eq(open_stores(&listeners, &cluster, &err), 0, "%s", err.text);
    cr_expect(tls_store_verifies_peer(listeners));
    cr_expect(tls_store_verifies_peer(cluster));
    cr_expect_str_eq(tls_store_prefix(cluster), "cluster.tls");
    tls_store_free(&listeners);
    tls_store_free(&cluster);
}

Test(tls_options, refuses_values_that_are_not_allowed)
{
    set("listeners.ssl.default = 5671\n");
    expect_refused("ssl_options.certfile is not set");
    set_files("ssl_options");
    set("ssl_options.verify = maybe\n");
    expect_refused("ssl_options.verify = maybe: verify_none or verify_peer");
    set("ssl_options.verify = verify_none\nssl_options.versions.1 = tlsv1.1\n");
    expect_refused("ssl_options.versions.1 = tlsv1.1: tlsv1.2 or tlsv1.3");
    set("ssl_options.versions.1 = tlsv1.2\nssl_options.ciphers.7 = ROT13\n");
    expect_refused("ssl_options.ciphers.7 = ROT13: ");
    set("ssl_options.ciphers = none\n"
        "ssl_options.fail_if_no_peer_cert = true\n");
    expect_refused("ssl_options.fail_if_no_peer_cert = true");
    set("ssl_options.fail_if_no_peer_cert = false\n"
        "ssl_options.honor_ecc_order = false\n");
    expect_refused("ssl_options.honor_ecc_order");
    set("ssl_options.honor_ecc_order = true\n"
        "ssl_options.client_renegotiation = true\n");
    expect_refused("ssl_options.client_renegotiation = true");
    set("ssl_options.client_renegotiation = false\n"
        "ssl_options.secure_renegotiate = false\n");
    expect_refused("ssl_options.secure_renegotiate = false");
}

Test(tls_options, a_link_is_proven_in_one_way)
{
    cr_expect(!tls_options_has_cluster(&config));
    set_files("cluster.tls");
    cr_expect(tls_options_has_cluster(&config));
    set("cluster.secret_file = /etc/secret\n");
    expect_refused("cluster.secret_file and cluster.tls are both set");
}

/* A fault in the second leaves nothing of the first behind. */
Test(tls_options, both_or_none)
{
    set("listeners.ssl.default = 5671\n");
    set_files("ssl_options");
    set("cluster.tls.certfile = /nowhere\ncluster.tls.keyfile = /nowhere\n"
        "cluster.tls.cacertfile = /nowhere\n");
    expect_refused("cluster.tls.certfile: /nowhere");
}

static void
expect_login_refused(const char *text)
{
    struct login_options login;
    struct error err = {""};

    cr_assert_eq(login_options_make(&config, &login, &err), -QR_EINVAL);
    cr_expect_not_null(strstr(err.text, text), "%s", err.text);
}

Test(tls_options, says_who_logs_in_how)
{
    struct login_options login;
    struct error err = {""};

    cr_assert_eq(login_options_make(&config, &login, &err), 0);
    cr_expect_eq(login.mechanisms, AUTH_DEFAULT);
    cr_expect_eq(login.from.from, TLS_LOGIN_DN);
    set("auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN\n"
        "ssl_options.verify = verify_peer\nlisteners.ssl.1 = 5671\n"
        "ssl_cert_login_from = subject_alternative_name\n"
        "ssl_cert_login_san_type = email\nssl_cert_login_san_index = 1\n");
    cr_assert_eq(login_options_make(&config, &login, &err), 0, "%s", err.text);
    cr_expect_eq(login.mechanisms, AUTH_EXTERNAL | AUTH_PLAIN);
    cr_expect_eq(login.from.from, TLS_LOGIN_SAN);
    cr_expect_eq(login.from.san_type, TLS_SAN_EMAIL);
    cr_expect_eq(login.from.san_index, 1);
    set("ssl_options.verify = verify_none\n");
    expect_login_refused("set ssl_options.verify = verify_peer");
    set("auth_mechanisms.1 = ANONYMOUS\n");
    expect_login_refused("auth_mechanisms.1 = ANONYMOUS: PLAIN, AMQPLAIN or");
    set("ssl_cert_login_san_type = directory\n");
    expect_login_refused("ssl_cert_login_san_type = directory: dns, ip, ");
    set("ssl_cert_login_from = nose\n");
    expect_login_refused("ssl_cert_login_from = nose: distinguished_name, ");
}

Test(tls_options, keys_of_rabbitmq_s_that_mean_nothing_say_what_to_do)
{
    static const char *const keys[] = {"dhfile",  "crl_check",    "cert",
                                       "key.RSA", "psk_identity", "cacerts.1"};
    struct error err = {""};

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        char line[128];

        (void)snprintf(line, sizeof(line), "ssl_options.%s = x\n", keys[i]);
        cr_expect_eq(config_parse(&config, "f", line, strlen(line), &err),
                     -QR_EINVAL);
        cr_expect_not_null(strstr(err.text, keys[i]), "%s", err.text);
        cr_expect(strstr(err.text, "leave it out") != NULL ||
                      strstr(err.text, "give the file's name") != NULL,
                  "%s", err.text);
    }
}

Test(tls_options, a_password_is_not_repeated_in_an_error)
{
    static const char line[] = "defualt_pass = swordfish\n";
    struct error err = {""};

    cr_assert_eq(config_parse(&config, "f", line, strlen(line), &err),
                 -QR_EINVAL);
    cr_expect_null(strstr(err.text, "swordfish"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "defualt_pass = (hidden)"));
}
