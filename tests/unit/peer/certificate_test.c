/* Links that certificates prove: who is let in, and what is said of others. */
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "lib/harness.h"
#include "net/tls_store.h"
#include "peer/certificate.h"
#include "peers_helper.h"
#include "unit/net/pki.h"

static struct helper_world world;
static struct pki pki;
static struct tls_store *stores[HELPER_NODES_MAX + 1];

/* The store of node ID: certificate NAME of FROM, whose authority it trusts. */
static void
give(qr_node_id id, const struct pki *from, const char *name)
{
    char ca[PKI_PATH_SIZE];
    char pem[PKI_PATH_SIZE];
    char key[PKI_PATH_SIZE];
    struct tls_config c = {.prefix = "cluster.tls",
                           .cacertfile = pki_path(from, "ca", ".pem", ca),
                           .certfile = pki_path(from, name, ".pem", pem),
                           .keyfile = pki_path(from, name, ".key", key),
                           .verify_peer = true,
                           .fail_if_no_peer_cert = true,
                           .depth = 1,
                           .tls13 = true};
    struct error err = {""};

    cr_assert_eq(tls_store_new(&c, &stores[id], &err), 0, "%s", err.text);
    world.nodes[id].tls = stores[id];
    world.nodes[id].tls_name = "%n";
}

static void
issue(const struct pki *from, const char *name, const char *alternatives)
{
    struct pki_request r = {.name = name, .alternatives = alternatives};

    pki_issue(from, &r);
}

static void
setup(void)
{
    pki_init(&pki);
    issue(&pki, "n1", "DNS:n1,DNS:localhost");
    issue(&pki, "n2", "DNS:n2");
    helper_init(&world);
}

static void
teardown(void)
{
    helper_deinit(&world);
    for (size_t i = 0; i <= HELPER_NODES_MAX; i++) {
        tls_store_free(&stores[i]);
    }
    pki_deinit(&pki);
}

TestSuite(certificate, .init = setup, .fini = teardown);

/* Start 1 and 2, who know each other. */
static void
start(void)
{
    helper_start(&world, 1);
    helper_start(&world, 2);
    helper_add(&world, 1, 2);
    helper_add(&world, 2, 1);
}

Test(certificate, links_nodes_that_it_names)
{
    give(1, &pki, "n1");
    give(2, &pki, "n2");
    start();
    HELPER_UNTIL(&world,
                 helper_is_up(&world, 1, 2) && helper_is_up(&world, 2, 1));
    cr_assert(helper_send(&world, 1, 2, FRAME_RAFT, 1, 100000));
    HELPER_UNTIL(&world, world.nodes[2].bytes == 100000);
    cr_expect(!world.nodes[2].disorder);
}

Test(certificate, of_another_name_is_refused_and_both_say_so)
{
    issue(&pki, "wrong", "DNS:n3");
    give(1, &pki, "n1");
    give(2, &pki, "wrong");
    start();
    HELPER_UNTIL(&world,
                 helper_logged(&world, 1,
                               "it says that it is node n2, but its "
                               "certificate (CN=wrong) lacks the subject "
                               "alternative name n2") &&
                     helper_logged(&world, 2, "refuses a link: "));
    cr_expect_eq(helper_count(&world, 1, 2, LINK_UP), 0);
    cr_expect_eq(helper_count(&world, 2, 1, LINK_UP), 0);
}

Test(certificate, of_another_authority_is_refused)
{
    struct pki other;

    pki_init(&other);
    issue(&other, "n2", "DNS:n2");
    give(1, &pki, "n1");
    give(2, &other, "n2");
    start();
    HELPER_UNTIL(&world, helper_logged(&world, 1, "certificate") &&
                             helper_logged(&world, 2, "certificate"));
    cr_expect_eq(helper_count(&world, 1, 2, LINK_UP), 0);
    cr_expect_eq(helper_count(&world, 2, 1, LINK_UP), 0);
    pki_deinit(&other);
}

Test(certificate, that_has_expired_is_refused)
{
    struct pki_request r = {.name = "n2",
                            .alternatives = "DNS:n2",
                            .begins_s = -PKI_DAY_S,
                            .ends_s = -60};

    pki_issue(&pki, &r);
    give(1, &pki, "n1");
    give(2, &pki, "n2");
    start();
    HELPER_UNTIL(&world, helper_logged(&world, 1, "has expired"));
    cr_expect_eq(helper_count(&world, 1, 2, LINK_UP), 0);
}

Test(certificate, and_secret_do_not_mix)
{
    give(1, &pki, "n1"); /* 2 has the secret */
    start();
    HELPER_UNTIL(&world, helper_logged(&world, 1, "TLS handshake with") &&
                             helper_logged(&world, 2, "TLS handshake with"));
    cr_expect_eq(helper_count(&world, 1, 2, LINK_UP), 0);
    cr_expect_eq(helper_count(&world, 2, 1, LINK_UP), 0);
}

Test(certificate, that_was_replaced_serves_new_links)
{
    struct error err = {""};

    issue(&pki, "wrong", "DNS:n3");
    give(1, &pki, "n1");
    give(2, &pki, "n2");
    issue(&pki, "n2", "DNS:n3"); /* not read yet */
    start();
    HELPER_UNTIL(&world,
                 helper_is_up(&world, 1, 2) && helper_is_up(&world, 2, 1));
    cr_assert_eq(tls_store_reload_mt(stores[2], 1, &err), -QR_EINVAL);
    issue(&pki, "n2", "DNS:n2,DNS:more");
    cr_assert_eq(tls_store_reload_mt(stores[2], time(NULL), &err), 0, "%s",
                 err.text);
    cr_expect(helper_is_up(&world, 1, 2));
    helper_stop(&world, 2);
    HELPER_UNTIL(&world, !helper_is_up(&world, 1, 2));
    helper_start(&world, 2);
    helper_add(&world, 2, 1);
    HELPER_UNTIL(&world,
                 helper_is_up(&world, 1, 2) && helper_is_up(&world, 2, 1));
}

Test(certificate, patterns_name_nodes)
{
    char out[CERTIFICATE_NAME_SIZE];
    char longest[CERTIFICATE_NAME_SIZE + 1];

    cr_assert_eq(certificate_expand("%n", "n1", out), 0);
    cr_expect_str_eq(out, "n1");
    cr_assert_eq(certificate_expand("spiffe://x/%n.%n/%", "n1", out), 0);
    cr_expect_str_eq(out, "spiffe://x/n1.n1/%");
    cr_assert_eq(certificate_expand("one-for-all", "n1", out), 0);
    cr_expect_str_eq(out, "one-for-all");
    memset(longest, 'x', sizeof(longest));
    longest[CERTIFICATE_NAME_SIZE - 1] = '\0';
    cr_assert_eq(certificate_expand("%n", longest, out), 0);
    longest[CERTIFICATE_NAME_SIZE - 1] = 'x';
    longest[CERTIFICATE_NAME_SIZE] = '\0';
    cr_assert_eq(certificate_expand("%n", longest, out), -QR_ETOOBIG);
}
