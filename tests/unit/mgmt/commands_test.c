/* Commands on simulated nodes: what they change, what they list, what they
 * refuse and with which exit code. */
#include "lib/harness.h"
#include "mgmt/protocol.h"
#include "unit/mgmt/cluster.h"

/* Assert that LINE on node 1 of C says so. */
#define SAYS(line, code, text) \
    cr_assert(cluster_says(&c, 0, (line), (code), (text)))

Test(commands, users_are_added_changed_and_deleted)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    SAYS("add_user -- bob secret", EXIT_CODE_OK, "Don't forget");
    SAYS("add_user -- bob other", EXIT_CODE_SOFTWARE, "already exists");
    SAYS("authenticate_user -- bob secret", EXIT_CODE_OK, "Success");
    SAYS("authenticate_user -- bob other", EXIT_CODE_DATA, "invalid");
    SAYS("change_password -- bob other", EXIT_CODE_OK, "\"text\":\"\"");
    SAYS("authenticate_user -- bob other", EXIT_CODE_OK, "Success");
    SAYS("set_user_tags -- bob monitoring policymaker", EXIT_CODE_OK, "text");
    SAYS("list_users --", EXIT_CODE_OK,
         "[\"bob\",[\"monitoring\",\"policymaker\"]]");
    SAYS("set_user_tags -- bob", EXIT_CODE_OK, "text");
    SAYS("list_users --", EXIT_CODE_OK, "[\"bob\",[]]");
    SAYS("delete_user -- bob", EXIT_CODE_OK, "text");
    SAYS("delete_user -- bob", EXIT_CODE_NO_USER, "does not exist");
    SAYS("change_password -- bob x", EXIT_CODE_NO_USER, "does not exist");
    SAYS("set_user_tags -- bob x", EXIT_CODE_NO_USER, "does not exist");
    SAYS("authenticate_user -- bob x", EXIT_CODE_DATA, "invalid");
    cluster_deinit(&c);
}

Test(commands, a_password_may_not_be_empty)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    SAYS("add_user -- bob ", EXIT_CODE_DATA, "may not be empty");
    SAYS("change_password -- guest ", EXIT_CODE_DATA, "may not be empty");
    SAYS("authenticate_user -- guest ", EXIT_CODE_DATA, "may not be empty");
    cluster_deinit(&c);
}

Test(commands, permissions_are_set_listed_and_cleared)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    SAYS("add_user -- bob secret", EXIT_CODE_OK, "text");
    SAYS("set_permissions --vhost=/ -- bob a.* b c", EXIT_CODE_OK, "text");
    SAYS("list_permissions --", EXIT_CODE_OK, "[\"bob\",\"a.*\",\"b\",\"c\"]");
    SAYS("list_user_permissions -- bob", EXIT_CODE_OK,
         "[[\"/\",\"a.*\",\"b\",\"c\"]]");
    SAYS("set_permissions -- bob a[ b c", EXIT_CODE_DATA, "configure pattern");
    SAYS("set_permissions -- bob a b[ c", EXIT_CODE_DATA, "write pattern");
    SAYS("set_permissions -- bob a b c[", EXIT_CODE_DATA, "read pattern");
    SAYS("set_permissions -- eve a b c", EXIT_CODE_NO_USER, "User 'eve'");
    SAYS("set_permissions --vhost=no -- bob a b c", EXIT_CODE_DATA,
         "Virtual host 'no'");
    SAYS("clear_permissions -- bob", EXIT_CODE_OK, "text");
    SAYS("list_user_permissions -- bob", EXIT_CODE_OK, "\"rows\":[]");
    SAYS("list_user_permissions -- eve", EXIT_CODE_NO_USER, "'eve'");
    SAYS("list_permissions --vhost=no --", EXIT_CODE_DATA, "'no'");
    cluster_deinit(&c);
}

Test(commands, vhosts_are_added_and_deleted)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    SAYS("add_vhost --description=d --tags=x,y -- v", EXIT_CODE_OK, "text");
    SAYS("add_vhost -- v", EXIT_CODE_SOFTWARE, "already exists");
    SAYS("list_vhosts -- name description tags tracing", EXIT_CODE_OK,
         "[\"v\",\"d\",[\"x\",\"y\"],false]");
    SAYS("list_exchanges --vhost=v -- name type internal", EXIT_CODE_OK,
         "[\"amq.topic\",\"topic\",false]");
    SAYS("delete_vhost -- v", EXIT_CODE_OK, "text");
    SAYS("delete_vhost -- v", EXIT_CODE_DATA, "does not exist");
    SAYS("list_exchanges --vhost=v --", EXIT_CODE_DATA, "does not exist");
    SAYS("list_bindings --vhost=v --", EXIT_CODE_DATA, "does not exist");
    SAYS("list_consumers --vhost=v --", EXIT_CODE_DATA, "does not exist");
    SAYS("add_vhost -- ", EXIT_CODE_DATA, "1 to 255");
    cluster_deinit(&c);
}

Test(commands, policies_are_stored_and_nothing_else)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    SAYS("set_policy --priority=-7 --apply-to=queues -- p ^q {\"a\":1}",
         EXIT_CODE_OK, "does not act on it");
    SAYS("list_policies --", EXIT_CODE_OK,
         "[\"/\",\"p\",\"^q\",\"queues\",\"{\\\"a\\\":1}\",-7]");
    SAYS("set_policy --priority=x -- p ^q {\"a\":1}", EXIT_CODE_USAGE,
         "priority 'x'");
    SAYS("set_policy --apply-to=x -- p ^q {\"a\":1}", EXIT_CODE_USAGE, "'x'");
    SAYS("set_policy -- p ^q {}", EXIT_CODE_DATA, "empty");
    SAYS("set_policy -- p [ {\"a\":1}", EXIT_CODE_DATA, "pattern");
    SAYS("set_policy --vhost=no -- p q {\"a\":1}", EXIT_CODE_DATA, "'no'");
    SAYS("clear_policy -- p", EXIT_CODE_OK, "text");
    SAYS("clear_policy -- p", EXIT_CODE_DATA, "does not exist");
    SAYS("list_policies --vhost=no --", EXIT_CODE_DATA, "'no'");
    cluster_deinit(&c);
}

Test(commands, a_nodes_own_are_answered_at_once)
{
    struct cluster c;

    cluster_init(&c, 1, 2);
    SAYS("ping --", EXIT_CODE_OK, "Ping succeeded");
    SAYS("version --", EXIT_CODE_OK, "\"text\":\"0.");
    SAYS("await_startup --", EXIT_CODE_OK, "serves clients");
    SAYS("status --", EXIT_CODE_OK, "[\"shards\",2]");
    SAYS("status --", EXIT_CODE_OK, "[\"a_key\",\"a \\\"value\\\"\"]");
    SAYS("environment --", EXIT_CODE_OK, "a_key");
    SAYS("help --", EXIT_CODE_USAGE, "not a command for nodes");
    SAYS("stop --", EXIT_CODE_OK, "stopping");
    cr_assert_eq(c.stops, 1);
    cluster_deinit(&c);
}

Test(commands, what_is_no_request_is_told_so)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    SAYS("no_such --", EXIT_CODE_USAGE, "no_such");
    SAYS("ping --vhost=/ --", EXIT_CODE_USAGE, "--vhost");
    SAYS("ping --timeout=x --", EXIT_CODE_USAGE, "timeout 'x'");
    SAYS("ping -- x", EXIT_CODE_USAGE, "at most 0");
    SAYS("list_queues -- name foo", EXIT_CODE_USAGE, "no column 'foo'");
    cluster_deinit(&c);
}

Test(commands, queues_are_listed_with_what_is_in_them)
{
    struct cluster c;

    cluster_init(&c, 1, 2);
    cluster_declare(&c, 0, 0, "q1");
    cluster_declare(&c, 0, 1, "q2");
    cluster_publish(&c, 0, 1, "q1", 3);
    SAYS(
        "list_queues --", EXIT_CODE_OK,
        "\"columns\":[\"name\",\"messages\"],\"rows\":[[\"q1\",3],[\"q2\",0]]");
    SAYS("list_queues -- name,durable state leader members online lag",
         EXIT_CODE_OK, "[\"q1\",true,\"running\",\"n1\",[\"n1\"],[\"n1\"],0]");
    SAYS("list_queues -- message_bytes_ready messages_ready consumers "
         "messages_unacknowledged",
         EXIT_CODE_OK, ",3,0,0]");
    SAYS("list_queues --offline -- name", EXIT_CODE_OK, "\"rows\":[]");
    SAYS("list_queues --online -- name", EXIT_CODE_OK,
         "\"rows\":[[\"q1\"],[\"q2\"]]");
    SAYS("list_queues --local -- name", EXIT_CODE_OK, "q1");
    SAYS("list_bindings -- destination_name routing_key", EXIT_CODE_OK,
         "[\"q1\",\"q1\"]");
    cluster_deinit(&c);
}

Test(commands, a_queue_is_purged_and_deleted)
{
    struct cluster c;

    cluster_init(&c, 1, 1);
    cluster_declare(&c, 0, 0, "q");
    cluster_publish(&c, 0, 0, "q", 2);
    SAYS("delete_queue --if-empty -- q", EXIT_CODE_DATA, "not empty: 2");
    SAYS("purge_queue -- q", EXIT_CODE_OK, "Purged 2 messages");
    cluster_publish(&c, 0, 0, "q", 1);
    SAYS("delete_queue --if-unused -- q", EXIT_CODE_OK, "1 ready messages");
    SAYS("delete_queue -- q", EXIT_CODE_DATA, "does not exist");
    SAYS("purge_queue -- q", EXIT_CODE_DATA, "does not exist");
    SAYS("quorum_status -- q", EXIT_CODE_DATA, "does not exist");
    SAYS("transfer_leadership -- q n1", EXIT_CODE_DATA, "does not exist");
    cluster_deinit(&c);
}

Test(commands, connections_and_channels_of_all_shards_are_listed)
{
    struct cluster c;
    struct broker_connection on_0;
    struct broker_connection on_1;
    struct broker_channel channel = {.number = 5,
                                     .is_confirming = true,
                                     .prefetch = 9,
                                     .consumers_count = 2,
                                     .unacknowledged = 4};

    cluster_init(&c, 1, 2);
    cluster_connect(&c, 0, 0, &on_0);
    cluster_connect(&c, 0, 1, &on_1);
    list_push_back(&on_1.channels, &channel.link);
    SAYS("list_connections --", EXIT_CODE_OK,
         "[[\"guest\",\"127.0.0.1\",4000,\"running\"],"
         "[\"guest\",\"127.0.0.1\",4001,\"running\"]]");
    SAYS("list_connections --local -- node vhost", EXIT_CODE_OK,
         "[[\"n1\",\"/\"],[\"n1\",\"/\"]]");
    SAYS("list_channels -- name number confirm prefetch_count consumer_count "
         "messages_unacknowledged",
         EXIT_CODE_OK, "[[\"127.0.0.1:4001 -> server (5)\",5,true,9,2,4]]");
    SAYS("list_channels --", EXIT_CODE_OK, ".5>\",\"guest\",2,4]");
    broker_connection_closed(sim_node_broker(c.nodes[0], 0), &on_0);
    broker_connection_closed(sim_node_broker(c.nodes[0], 1), &on_1);
    cluster_deinit(&c);
}
