/* Commands about the cluster's members. */
#include "lib/harness.h"
#include "mgmt/protocol.h"
#include "unit/mgmt/cluster.h"

#define SAYS(i, line, code, text) \
    cr_expect(cluster_says(&c, (i), (line), (code), (text)), "%s", (line))

Test(members, status_names_roles_starts_and_what_is_not_whole)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    cluster_declare(&c, 0, 0, "q");
    SAYS(0, "cluster_status --", EXIT_CODE_OK, "\"lag\",\"role\",\"boot\"");
    SAYS(1, "cluster_status --", EXIT_CODE_OK, "\"voter\",1]");
    SAYS(2, "cluster_status --", EXIT_CODE_OK, "[\"queues_rebuilding\",0]");
    cluster_deinit(&c);
}

Test(members, a_node_that_runs_is_not_forgotten)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    SAYS(0, "forget_cluster_node -- n2", EXIT_CODE_DATA, "is running");
    SAYS(0, "forget_cluster_node -- n9", EXIT_CODE_DATA, "no node 'n9'");
    cluster_deinit(&c);
}

Test(members, a_node_that_is_down_is_forgotten_and_its_queues_go_on)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    cluster_declare(&c, 0, 0, "q");
    cluster_kill(&c, 1);
    cluster_pass(&c, 3000);
    SAYS(0, "forget_cluster_node -- n2", EXIT_CODE_OK, "");
    cluster_pass(&c, 5000);
    SAYS(2, "cluster_status --", EXIT_CODE_OK, "[\"queues_rebuilding\",0]");
    SAYS(0, "forget_cluster_node -- n2", EXIT_CODE_DATA, "no node 'n2'");
    cluster_deinit(&c);
}

Test(members, join_cluster_says_how_it_is_done)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    SAYS(0, "join_cluster -- n2", EXIT_CODE_OK, "of the same cluster");
    SAYS(0, "join_cluster -- m1", EXIT_CODE_DATA, "Nodes join by themselves");
    cluster_deinit(&c);
}
