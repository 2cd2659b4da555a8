/* What a configuration comes to: nodes, listeners, secret. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/config.h"
#include "daemon/plan.h"
#include "lib/harness.h"

static const char three[] =
    "cluster_formation.classic_config.nodes.1 = b@10.0.0.2:25672\n"
    "cluster_formation.classic_config.nodes.2 = a@10.0.0.1:25672\n"
    "cluster_formation.classic_config.nodes.3 = c@10.0.0.3:25673\n";

static int
plan(const char *more, const char *base, struct plan *out, struct error *err)
{
    struct config c;
    int rv;

    config_init(&c);
    error_clear(err);
    rv = config_parse(&c, "f", base, strlen(base), err);
    cr_assert_eq(rv, 0, "%s", err->text);
    rv = config_parse(&c, "f", more, strlen(more), err);
    cr_assert_eq(rv, 0, "%s", err->text);
    rv = plan_make(&c, out, err);
    config_deinit(&c);
    return rv;
}

/* A secret in a file of its own; the caller unlinks it. */
static void
make_secret(char *path, mode_t mode)
{
    int fd;

    strcpy(path, "/tmp/quorate-plan-XXXXXX");
    fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "0123456789abcdef0123", 20), 20);
    (void)close(fd);
    cr_assert_eq(chmod(path, mode), 0);
}

Test(plan, of_no_nodes_is_a_cluster_of_one)
{
    struct plan p;
    struct error err;

    cr_assert_eq(plan("node.name = me", "", &p, &err), 0, "%s", err.text);
    cr_assert_eq(p.count, 1);
    cr_assert_eq(p.members[0].id, 1);
    cr_assert_str_eq(p.members[0].name, "me");
    cr_assert_not(p.has_secret);
}

Test(plan, numbers_nodes_by_name)
{
    char path[64];
    char more[128];
    struct plan p;
    struct error err;

    make_secret(path, 0400);
    (void)snprintf(more, sizeof(more),
                   "node.name = c\ncluster.secret_file = %s\n", path);
    cr_assert_eq(plan(more, three, &p, &err), 0, "%s", err.text);
    (void)unlink(path);
    cr_assert_eq(p.count, 3);
    cr_assert_str_eq(p.members[0].name, "a");
    cr_assert_eq(p.members[0].id, 1);
    cr_assert_str_eq(p.nodes[0].host, "10.0.0.1");
    cr_assert_eq(p.self, 2);
    cr_assert_eq(p.listen_port, 25673);
    cr_assert(p.has_secret);
}

Test(plan, needs_a_secret_for_several_nodes)
{
    struct plan p;
    struct error err;

    cr_assert_eq(plan("node.name = a", three, &p, &err), -QR_EINVAL);
    cr_assert_not_null(strstr(err.text, "cluster.secret_file is not set"));
    cr_assert_not_null(strstr(err.text, "openssl rand -hex 32"));
}

Test(plan, refuses_a_secret_that_others_may_read)
{
    char path[64];
    char more[128];
    struct plan p;
    struct error err;

    make_secret(path, 0444);
    (void)snprintf(more, sizeof(more),
                   "node.name = a\ncluster.secret_file = %s\n", path);
    cr_assert_eq(plan(more, three, &p, &err), -QR_EACCESS);
    (void)unlink(path);
    cr_assert_not_null(strstr(err.text, "chmod"));
}

Test(plan, refuses_nodes_that_make_no_sense)
{
    static const struct {
        const char *more;
        const char *says;
    } cases[] = {
        {"node.name = z", "node.name = z: it is not among"},
        {"node.name = a\n"
         "cluster_formation.classic_config.nodes.4 = a@h:1",
         "'a' is there twice"},
        {"node.name = a\ncluster_formation.classic_config.nodes.4 = d",
         "'d': NAME@ADDRESS:PORT is allowed"},
        {"node.name = a\ncluster_formation.classic_config.nodes.4 = d@25672",
         "the part after @ is ADDRESS:PORT"},
        {"node.name = a\n"
         "cluster_formation.peer_discovery_backend = dns",
         "classic_config is the only one"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct plan p;
        struct error err;

        cr_assert_eq(plan(cases[i].more, three, &p, &err), -QR_EINVAL);
        cr_assert_not_null(strstr(err.text, cases[i].says), "%s", err.text);
    }
}
