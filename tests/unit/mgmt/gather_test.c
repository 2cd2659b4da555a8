/* Commands that need other nodes: everything is asked, nothing waits beyond
 * its deadline, and what is missing is named. */
#include "lib/harness.h"
#include "mgmt/protocol.h"
#include "unit/mgmt/cluster.h"

/* Assert that LINE on node I of C says so. */
#define SAYS(i, line, code, text) \
    cr_assert(cluster_says(&c, (i), (line), (code), (text)))

Test(gather, every_node_tells_the_same_of_a_queue)
{
    struct cluster c;

    cluster_init(&c, 3, 2);
    cluster_declare(&c, 0, 0, "q");
    cluster_publish(&c, 1, 1, "q", 4);
    for (size_t i = 0; i < 3; i++) {
        SAYS(i, "list_queues -- name messages members", EXIT_CODE_OK,
             "\"rows\":[[\"q\",4,[\"n");
        SAYS(i, "list_queues -- name messages members", EXIT_CODE_OK,
             "\"notes\":[]");
    }
    cluster_deinit(&c);
}

Test(gather, a_request_goes_to_the_node_that_it_names)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    SAYS(0, "status --node=n3 --", EXIT_CODE_OK, "[\"node\",\"n3\"]");
    SAYS(0, "status --node=n1 --", EXIT_CODE_OK, "[\"node\",\"n1\"]");
    SAYS(0, "ping --node=n9 --", EXIT_CODE_UNAVAILABLE, "no node 'n9'");
    SAYS(1, "add_user --node=n2 -- bob secret", EXIT_CODE_OK, "text");
    SAYS(2, "add_user --node=n1 -- eve secret", EXIT_CODE_OK, "text");
    SAYS(1, "list_users --", EXIT_CODE_OK, "\"eve\"");
    SAYS(0, "add_user --node=n2 -- bob x", EXIT_CODE_SOFTWARE, "exists");
    cluster_deinit(&c);
}

Test(gather, connections_of_all_nodes_are_listed)
{
    struct cluster c;
    struct broker_connection connection;

    cluster_init(&c, 3, 1);
    cluster_connect(&c, 2, 0, &connection);
    SAYS(0, "list_connections -- node user", EXIT_CODE_OK,
         "\"rows\":[[\"n3\",\"guest\"]]");
    SAYS(0, "list_connections --local -- node user", EXIT_CODE_OK,
         "\"rows\":[]");
    broker_connection_closed(sim_node_broker(c.nodes[2], 0), &connection);
    cluster_deinit(&c);
}

Test(gather, a_dead_node_is_named_and_the_rest_is_shown)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    cluster_declare(&c, 0, 0, "q");
    cluster_kill(&c, 2);
    cluster_pass(&c, 10000);
    SAYS(0, "list_queues -- name state", EXIT_CODE_OK, "[\"q\",\"running\"]");
    SAYS(0, "list_queues -- name state", EXIT_CODE_OK,
         "node 'n3' is missing here: there is no link to it");
    SAYS(0, "quorum_status -- q", EXIT_CODE_OK,
         "[\"n3\",\"voter\",\"no answer\",null");
    SAYS(0, "cluster_status --", EXIT_CODE_OK, "\"down\"");
    SAYS(0, "ping --node=n3 --", EXIT_CODE_UNAVAILABLE, "there is no link");
    cluster_deinit(&c);
}

Test(gather, a_node_that_dies_while_it_is_asked_ends_the_wait)
{
    struct cluster c;
    struct response r;

    cluster_init(&c, 3, 1);
    cluster_send(&c, 0, "ping --node=n3 --timeout=60 --", &r);
    cluster_kill(&c, 2); /* the question is on its way */
    cluster_pass(&c, 20000);
    cr_assert(r.is_done);
    cr_assert_eq(r.code, EXIT_CODE_UNAVAILABLE);
    response_deinit(&r);
    cluster_deinit(&c);
}

Test(gather, nothing_takes_longer_than_its_timeout)
{
    struct cluster c;
    uint64_t began;

    cluster_init(&c, 3, 1);
    cluster_declare(&c, 0, 0, "q");
    sim_cut(c.sim, 2, 1, true);
    sim_cut(c.sim, 3, 1, true);
    began = sim_now_us(c.sim);
    SAYS(0, "list_queues --timeout=1 -- name messages", EXIT_CODE_OK,
         "it did not answer in time");
    cr_assert_lt(sim_now_us(c.sim) - began, 1100000);
    began = sim_now_us(c.sim);
    SAYS(0, "add_vhost --timeout=1 -- v", EXIT_CODE_TIMEOUT,
         "not done in time");
    cr_assert_lt(sim_now_us(c.sim) - began, 1100000);
    cluster_deinit(&c);
}

Test(gather, without_a_majority_queues_say_so)
{
    struct cluster c;

    cluster_init(&c, 3, 1);
    cluster_declare(&c, 0, 0, "q");
    cluster_kill(&c, 1);
    cluster_kill(&c, 2);
    cluster_pass(&c, 20000);
    SAYS(0, "list_queues -- name state leader", EXIT_CODE_OK,
         "[\"q\",\"minority\",\"\"]");
    SAYS(0, "delete_queue --if-empty -- q", EXIT_CODE_UNAVAILABLE,
         "has no leader");
    SAYS(0, "transfer_leadership --timeout=1 -- q n1", EXIT_CODE_TIMEOUT,
         "not done in time");
    SAYS(0, "list_vhosts --", EXIT_CODE_OK, "\"/\"");
    cluster_deinit(&c);
}

Test(gather, leadership_moves_to_the_node_that_is_named)
{
    struct cluster c;

    cluster_init(&c, 3, 2);
    cluster_declare(&c, 0, 0, "q");
    SAYS(1, "transfer_leadership -- q n3", EXIT_CODE_OK, "'n3' leads");
    SAYS(0, "list_queues -- leader", EXIT_CODE_OK, "[[\"n3\"]]");
    SAYS(1, "transfer_leadership -- q n2", EXIT_CODE_OK, "'n2' leads");
    SAYS(2, "list_queues -- leader", EXIT_CODE_OK, "[[\"n2\"]]");
    SAYS(2, "transfer_leadership -- q n7", EXIT_CODE_UNAVAILABLE, "'n7'");
    cluster_deinit(&c);
}

Test(gather, a_call_that_is_abandoned_is_never_told)
{
    struct cluster c;
    struct response r;

    cluster_init(&c, 3, 1);
    cluster_send(&c, 0, "cluster_status --", &r);
    mgmt_call_abandon(&r.call);
    mgmt_call_abandon(&r.call);
    cluster_pass(&c, 20000);
    cr_assert(!r.is_done);
    response_deinit(&r);
    cluster_deinit(&c);
}

Test(gather, more_requests_than_may_run_are_refused)
{
    struct cluster c;
    struct response r[MGMT_JOBS_MAX + 1];
    unsigned refused = 0;

    cluster_init(&c, 3, 1);
    for (size_t i = 0; i <= MGMT_JOBS_MAX; i++) {
        cluster_send(&c, 0, "cluster_status --", &r[i]);
    }
    cluster_pass(&c, 20000);
    for (size_t i = 0; i <= MGMT_JOBS_MAX; i++) {
        cr_assert(r[i].is_done);
        refused += r[i].code == EXIT_CODE_UNAVAILABLE ? 1 : 0;
        response_deinit(&r[i]);
    }
    cr_assert_eq(refused, 1);
    cluster_deinit(&c);
}

Test(gather, many_queues_come_in_many_pieces)
{
    enum {
        QUEUES = 700 /* more than a turn looks at */
    };
    struct cluster c;
    struct response r;
    unsigned rows = 0;

    cluster_init(&c, 1, 2);
    for (unsigned i = 0; i < QUEUES; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "queue-%03u", i);
        cluster_declare(&c, 0, (uint16_t)(i % 2), name);
    }
    cluster_run(&c, 0, "list_queues -- name state", &r);
    for (const char *at = (const char *)r.json.data;
         (at = strstr(at, "\"running\"")) != NULL; at++) {
        rows++;
    }
    cr_assert_eq(rows, QUEUES);
    response_deinit(&r);
    cluster_deinit(&c);
}
