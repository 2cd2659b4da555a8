/* What can be wrong with the files and options of TLS, and what is said. */
#include <openssl/ssl.h>
#include <quorate/error.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "lib/harness.h"
#include "net/tls_context.h"
#include "net/tls_store.h"
#include "pki.h"

static struct pki pki;
static char ca[PKI_PATH_SIZE];
static char pem[PKI_PATH_SIZE];
static char key[PKI_PATH_SIZE];
static struct tls_config config;

static void
setup(void)
{
    static const struct pki_request request = {.name = "n1"};

    pki_init(&pki);
    pki_issue(&pki, &request);
    config = (struct tls_config){.prefix = "ssl_options",
                                 .cacertfile = pki_path(&pki, "ca", ".pem", ca),
                                 .certfile = pki_path(&pki, "n1", ".pem", pem),
                                 .keyfile = pki_path(&pki, "n1", ".key", key),
                                 .depth = 1,
                                 .tls12 = true,
                                 .tls13 = true};
}

static void
teardown(void)
{
    pki_deinit(&pki);
}

TestSuite(tls_context, .init = setup, .fini = teardown);

static void
expect_refused(int code, const char *first, const char *second)
{
    struct tls_validity v;
    struct error err = {""};
    SSL_CTX *ctx = NULL;

    cr_assert_eq(tls_context_new(&config, &ctx, &v, &err), -code, "%s",
                 err.text);
    cr_expect_null(ctx);
    cr_expect_not_null(strstr(err.text, first), "%s", err.text);
    cr_expect_not_null(strstr(err.text, second), "%s", err.text);
}

Test(tls_context, speaks_what_it_is_told)
{
    struct tls_validity v;
    struct error err = {""};
    SSL_CTX *ctx = NULL;

    config.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_256_GCM_SHA384";
    config.verify_peer = true;
    config.fail_if_no_peer_cert = true;
    cr_assert_eq(tls_context_new(&config, &ctx, &v, &err), 0, "%s", err.text);
    cr_expect_eq(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
    cr_expect_eq(SSL_CTX_get_max_proto_version(ctx), TLS1_3_VERSION);
    cr_expect_eq(SSL_CTX_get_verify_mode(ctx),
                 SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    cr_expect_eq(SSL_CTX_get_verify_depth(ctx), 1);
    cr_expect_neq(SSL_CTX_get_options(ctx) & SSL_OP_NO_RENEGOTIATION, 0);
    cr_expect_neq(SSL_CTX_get_options(ctx) & SSL_OP_NO_TICKET, 0);
    cr_expect_eq(SSL_CTX_get_session_cache_mode(ctx), SSL_SESS_CACHE_OFF);
    cr_expect_eq(sk_SSL_CIPHER_num(SSL_CTX_get_ciphers(ctx)), 2);
    cr_expect_str_eq(v.subject, "CN=n1");
    cr_expect_gt(v.authority_ends, v.ends);
    SSL_CTX_free(ctx);
    config.tls12 = false;
    config.ciphers = NULL;
    cr_assert_eq(tls_context_new(&config, &ctx, &v, &err), 0, "%s", err.text);
    cr_expect_eq(SSL_CTX_get_min_proto_version(ctx), TLS1_3_VERSION);
    SSL_CTX_free(ctx);
}

Test(tls_context, refuses_what_is_not_set)
{
    config.certfile = "";
    expect_refused(QR_EINVAL, "ssl_options.certfile is not set", "certificate");
    config.certfile = pem;
    config.keyfile = NULL;
    expect_refused(QR_EINVAL, "ssl_options.keyfile is not set", "private key");
    config.keyfile = key;
    config.cacertfile = NULL;
    config.verify_peer = true;
    expect_refused(QR_EINVAL, "ssl_options.cacertfile is not set", "verify");
}

Test(tls_context, refuses_files_that_are_not_there)
{
    config.certfile = "/nowhere/x.pem";
    expect_refused(QR_EINVAL, "ssl_options.certfile: /nowhere/x.pem", "PEM");
    config.certfile = pem;
    config.keyfile = "/nowhere/x.key";
    expect_refused(QR_ENOENT, "ssl_options.keyfile: /nowhere/x.key",
                   "No such file");
    config.keyfile = pki.dir;
    expect_refused(QR_EIO, pki.dir, "not a plain file");
    config.keyfile = key;
    config.cacertfile = "/nowhere/ca.pem";
    expect_refused(QR_EINVAL, "ssl_options.cacertfile: /nowhere/ca.pem", "PEM");
}

Test(tls_context, refuses_files_that_are_something_else)
{
    config.certfile = key;
    expect_refused(QR_EINVAL, "ssl_options.certfile", key);
    config.certfile = pem;
    config.keyfile = pem;
    cr_assert_eq(chmod(pem, 0400), 0);
    expect_refused(QR_EINVAL, "ssl_options.keyfile", "private key in PEM form");
    config.keyfile = key;
    config.cacertfile = key;
    expect_refused(QR_EINVAL, "ssl_options.cacertfile", key);
}

Test(tls_context, refuses_the_key_of_another)
{
    static const struct pki_request other = {.name = "n2"};
    char path[PKI_PATH_SIZE];

    pki_issue(&pki, &other);
    config.keyfile = pki_path(&pki, "n2", ".key", path);
    expect_refused(QR_EINVAL, "ssl_options.keyfile", "not the key of");
}

Test(tls_context, refuses_a_key_that_everybody_reads)
{
    cr_assert_eq(chmod(key, 0444), 0);
    expect_refused(QR_EACCESS, "0444", "chmod 0400");
    cr_assert_eq(chmod(key, 0404), 0);
    expect_refused(QR_EACCESS, "0404", "chmod 0400");
}

Test(tls_context, refuses_a_key_that_is_too_large)
{
    cr_assert_eq(chmod(key, 0600), 0);
    cr_assert_eq(truncate(key, TLS_FILE_SIZE_MAX + 1), 0);
    expect_refused(QR_ETOOBIG, key, "at most");
}

Test(tls_context, opens_a_key_with_its_password)
{
    static const struct pki_request request = {.name = "locked",
                                               .password = "open sesame"};
    char one[PKI_PATH_SIZE];
    char two[PKI_PATH_SIZE];
    struct tls_validity v;
    struct error err = {""};
    SSL_CTX *ctx = NULL;

    pki_issue(&pki, &request);
    config.certfile = pki_path(&pki, "locked", ".pem", one);
    config.keyfile = pki_path(&pki, "locked", ".key", two);
    expect_refused(QR_EINVAL, "locked.key", "password is not set");
    config.password = "open parsley";
    expect_refused(QR_EINVAL, "locked.key", "and its password");
    config.password = "open sesame";
    cr_assert_eq(tls_context_new(&config, &ctx, &v, &err), 0, "%s", err.text);
    SSL_CTX_free(ctx);
}

Test(tls_context, refuses_no_version_and_no_cipher)
{
    config.tls12 = false;
    config.tls13 = false;
    expect_refused(QR_EINVAL, "ssl_options.versions", "tlsv1.3");
    config.tls12 = true;
    config.ciphers = "NO-SUCH-CIPHER";
    expect_refused(QR_EINVAL, "ssl_options.ciphers", "NO-SUCH-CIPHER");
}

Test(tls_context, knows_ciphers_by_name)
{
    cr_expect(tls_cipher_is_known("ECDHE-RSA-AES256-GCM-SHA384"));
    cr_expect(tls_cipher_is_known("TLS_AES_256_GCM_SHA384"));
    cr_expect(!tls_cipher_is_known("ECDHE-RSA-AES999-GCM-SHA384"));
    cr_expect(!tls_cipher_is_known("TLS_AES_999_GCM_SHA384"));
    cr_expect(!tls_cipher_is_known(""));
}

/* ---- the store ---- */

static int64_t
now_s(void)
{
    struct timespec now;

    cr_assert_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
    return now.tv_sec;
}

Test(tls_context, a_store_sees_a_change_when_it_has_settled)
{
    static const struct pki_request again = {.name = "n1"};
    struct error err = {""};
    struct tls_store *s = NULL;
    SSL_CTX *before = NULL;
    SSL_CTX *after = NULL;

    cr_assert_eq(tls_store_new(&config, &s, &err), 0, "%s", err.text);
    cr_expect_str_eq(tls_store_prefix(s), "ssl_options");
    cr_expect(!tls_store_verifies_peer(s));
    cr_expect(!tls_store_is_changed_mt(s));
    before = tls_store_context_mt(s);
    pki_issue(&pki, &again);
    cr_expect(!tls_store_is_changed_mt(s)); /* first seen */
    cr_expect(tls_store_is_changed_mt(s));  /* as it was */
    cr_assert_eq(tls_store_reload_mt(s, now_s(), &err), 0, "%s", err.text);
    cr_expect(!tls_store_is_changed_mt(s));
    after = tls_store_context_mt(s);
    cr_expect_neq(before, after);
    SSL_CTX_free(before);
    SSL_CTX_free(after);
    tls_store_free(&s);
    cr_expect_null(s);
}

Test(tls_context, a_store_keeps_what_it_has_when_the_new_is_bad)
{
    struct pki_request bad = {
        .name = "n1", .ends_s = -60, .begins_s = -PKI_DAY_S};
    struct error err = {""};
    struct tls_validity v;
    struct tls_store *s = NULL;
    SSL_CTX *before = NULL;
    SSL_CTX *after = NULL;

    cr_assert_eq(tls_store_new(&config, &s, &err), 0, "%s", err.text);
    before = tls_store_context_mt(s);
    pki_issue(&pki, &bad);
    cr_assert_eq(tls_store_reload_mt(s, now_s(), &err), -QR_EINVAL);
    cr_expect_not_null(strstr(err.text, "expired at"), "%s", err.text);
    bad.begins_s = PKI_DAY_S;
    bad.ends_s = 2 * PKI_DAY_S;
    pki_issue(&pki, &bad);
    cr_assert_eq(tls_store_reload_mt(s, now_s(), &err), -QR_EINVAL);
    cr_expect_not_null(strstr(err.text, "not valid before"), "%s", err.text);
    cr_assert_eq(unlink(key), 0);
    cr_assert_eq(tls_store_reload_mt(s, now_s(), &err), -QR_ENOENT);
    cr_expect(!tls_store_is_changed_mt(s)); /* it was refused already */
    after = tls_store_context_mt(s);
    cr_expect_eq(before, after);
    tls_store_validity_mt(s, &v);
    cr_expect_gt(v.ends, now_s());
    SSL_CTX_free(before);
    SSL_CTX_free(after);
    tls_store_free(&s);
}

Test(tls_context, a_store_starts_with_what_has_expired)
{
    struct pki_request old = {
        .name = "n1", .ends_s = -60, .begins_s = -PKI_DAY_S};
    struct error err = {""};
    struct tls_store *s = NULL;

    pki_issue(&pki, &old);
    cr_assert_eq(tls_store_new(&config, &s, &err), 0, "%s", err.text);
    tls_store_free(&s);
    cr_assert_eq(unlink(pem), 0);
    cr_assert_eq(tls_store_new(&config, &s, &err), -QR_EINVAL);
    cr_expect_null(s);
}

Test(tls_context, a_client_trusts_a_file)
{
    struct error err = {""};
    SSL_CTX *ctx = NULL;

    cr_assert_eq(tls_context_client(ca, &ctx, &err), 0, "%s", err.text);
    cr_expect_eq(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_PEER);
    SSL_CTX_free(ctx);
    ctx = NULL;
    cr_assert_eq(tls_context_client(key, &ctx, &err), -QR_EINVAL);
    cr_expect_null(ctx);
    cr_expect_not_null(strstr(err.text, key), "%s", err.text);
}
