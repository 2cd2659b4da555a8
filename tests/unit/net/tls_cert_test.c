/* Names as RabbitMQ formats them, and user names out of certificates. */
#include <string.h>

#include "base/buf.h"
#include "lib/harness.h"
#include "net/tls_cert.h"
#include "pki.h"

static struct pki pki;

static void
setup(void)
{
    pki_init(&pki);
}

static void
teardown(void)
{
    pki_deinit(&pki);
}

TestSuite(tls_cert, .init = setup, .fini = teardown);

static void
expect_subject(const char *const *subject, const char *want)
{
    struct pki_request r = {.name = "x", .subject = subject};
    struct buf out;
    X509 *cert = NULL;

    pki_issue(&pki, &r);
    cert = pki_load(&pki, "x");
    buf_init(&out);
    tls_cert_subject(cert, &out);
    buf_put_u8(&out, 0);
    cr_expect_str_eq((const char *)out.data, want);
    buf_deinit(&out);
    X509_free(cert);
}

Test(tls_cert, a_name_runs_from_the_last_part_to_the_first)
{
    static const char *const subject[] = {"C",  "DE", "O",   "Example", "OU",
                                          "IT", "CN", "app", NULL};

    expect_subject(subject, "CN=app,OU=IT,O=Example,C=DE");
}

Test(tls_cert, parts_of_one_set_are_joined)
{
    static const char *const subject[] = {"O",    "Example", "CN", "app",
                                          "+UID", "17",      NULL};

    expect_subject(subject, "CN=app+UID=17,O=Example");
}

Test(tls_cert, special_bytes_are_escaped)
{
    static const char *const subject[] = {
        "O", " a,b+c\"d\\e<f>g;h ", "OU", "#x", "CN", "J\xc3\xbcrgen~", NULL};

    expect_subject(subject, "CN=J\\C3\\BCrgen\\7E,OU=\\#x,"
                            "O=\\ a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h\\ ");
}

Test(tls_cert, attributes_have_rabbitmq_s_names)
{
    static const char *const subject[] = {"DC",
                                          "org",
                                          "ST",
                                          "Bayern",
                                          "emailAddress",
                                          "a@b",
                                          "SN",
                                          "Name",
                                          "givenName",
                                          "Given",
                                          "serialNumber",
                                          "7",
                                          "title",
                                          "Dr",
                                          "businessCategory",
                                          "x",
                                          NULL};

    expect_subject(subject, "2.5.4.15=x,TITLE=Dr,SERIALNUMBER=7,"
                            "GIVENNAME=Given,SN=Name,EMAILADDRESS=a@b,"
                            "ST=Bayern,DC=org");
}

/* What RULE finds; "" for nothing. */
static void
expect_login(const struct pki_request *request, const struct tls_login *rule,
             const char *want)
{
    struct buf out;
    X509 *cert = NULL;

    pki_issue(&pki, request);
    cert = pki_load(&pki, request->name);
    buf_init(&out);
    cr_expect_eq(tls_cert_login(cert, rule, &out), want[0] != '\0');
    cr_expect(want[0] != '\0' || out.size == 0);
    buf_put_u8(&out, 0);
    cr_expect_str_eq((const char *)out.data, want);
    buf_deinit(&out);
    X509_free(cert);
}

Test(tls_cert, a_user_is_the_distinguished_name)
{
    static const char *const subject[] = {"O", "Ex, Inc", "CN", "app", NULL};
    static const char *const empty[] = {NULL};
    struct tls_login rule = {.from = TLS_LOGIN_DN};
    struct pki_request r = {.name = "x", .subject = subject};

    expect_login(&r, &rule, "CN=app,O=Ex\\, Inc");
    r.subject = empty;
    r.alternatives = "DNS:x";
    expect_login(&r, &rule, "");
}

Test(tls_cert, a_user_is_the_common_name)
{
    static const char *const one[] = {"O", "Example", "CN", "app", NULL};
    static const char *const two[] = {"CN", "a", "O", "E", "CN", "b", NULL};
    static const char *const none[] = {"O", "Example", NULL};
    static const char *const odd[] = {"CN", "a\nb", NULL};
    struct tls_login rule = {.from = TLS_LOGIN_CN};
    struct pki_request r = {.name = "x", .subject = one};

    expect_login(&r, &rule, "app");
    r.subject = two;
    expect_login(&r, &rule, "a,b");
    r.subject = none;
    expect_login(&r, &rule, "");
    r.subject = odd; /* nothing unseen in names */
    expect_login(&r, &rule, "");
}

Test(tls_cert, a_user_is_an_alternative_name)
{
    struct tls_login rule = {.from = TLS_LOGIN_SAN};
    struct pki_request r = {
        .name = "x",
        .alternatives = "DNS:a.example,email:a@example,DNS:b.example,"
                        "URI:spiffe://x/y,IP:192.0.2.1,IP:2001:db8::1,"
                        "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:upn@example"};

    expect_login(&r, &rule, "a.example");
    rule.san_index = 1;
    expect_login(&r, &rule, "b.example");
    rule.san_index = 2;
    expect_login(&r, &rule, "");
    rule.san_index = 0;
    rule.san_type = TLS_SAN_EMAIL;
    expect_login(&r, &rule, "a@example");
    rule.san_type = TLS_SAN_URI;
    expect_login(&r, &rule, "spiffe://x/y");
    rule.san_type = TLS_SAN_OTHER;
    expect_login(&r, &rule, "upn@example");
    rule.san_type = TLS_SAN_IP;
    expect_login(&r, &rule, "192.0.2.1");
    rule.san_index = 1;
    expect_login(&r, &rule, "2001:db8::1");
    r.alternatives = NULL;
    expect_login(&r, &rule, "");
}

Test(tls_cert, a_node_s_name_is_matched_whole)
{
    struct pki_request r = {.name = "n1",
                            .alternatives = "DNS:n2,DNS:*.example,"
                                            "URI:spiffe://x/n3"};
    X509 *cert = NULL;

    pki_issue(&pki, &r);
    cert = pki_load(&pki, "n1");
    cr_expect(tls_cert_has_name(cert, "n2"));
    cr_expect(tls_cert_has_name(cert, "N2"));
    cr_expect(!tls_cert_has_name(cert, "n1")); /* a common name is none */
    cr_expect(!tls_cert_has_name(cert, "n"));
    cr_expect(!tls_cert_has_name(cert, "n22"));
    cr_expect(!tls_cert_has_name(cert, "a.example"));
    cr_expect(!tls_cert_has_name(cert, ""));
    cr_expect(tls_cert_has_name(cert, "spiffe://x/n3"));
    cr_expect(!tls_cert_has_name(cert, "spiffe://x/N3"));
    X509_free(cert);
}

Test(tls_cert, tells_its_time)
{
    struct pki_request r = {.name = "x", .ends_s = PKI_DAY_S};
    struct buf out;
    char text[TLS_TIME_SIZE];
    X509 *cert = NULL;

    tls_time_text(1795236387, text);
    cr_expect_str_eq(text, "2026-11-21T04:46:27Z");
    pki_issue(&pki, &r);
    cert = pki_load(&pki, "x");
    cr_expect_eq(tls_cert_ends(cert) - tls_cert_begins(cert), PKI_DAY_S + 3600);
    buf_init(&out);
    tls_cert_validity(cert, &out);
    cr_expect_eq(out.size, 20 + 3 + 20);
    buf_deinit(&out);
    X509_free(cert);
}
