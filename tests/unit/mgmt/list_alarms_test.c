/* What operators are told of alarms. */
#include "cluster.h"
#include "lib/harness.h"
#include "mgmt/protocol.h"

static struct cluster c;

#define SAYS(line, code, text) cr_assert(cluster_says(&c, 0, line, code, text))

Test(list_alarms, tells_who_is_short_of_what)
{
    cluster_init(&c, 2, 2);
    SAYS("check_alarms --", EXIT_CODE_OK, "No alarms are in effect");
    SAYS("status --", EXIT_CODE_OK, "[\"publishers_blocked\",\"no\"]");
    broker_alarm_set(sim_node_broker(c.nodes[1], 1), BROKER_ALARM_DISK, true);
    cluster_pass(&c, 100);
    SAYS("alarms --", EXIT_CODE_OK, "[\"n2\",\"disk\"]");
    SAYS("check_alarms --", EXIT_CODE_UNAVAILABLE,
         "1 alarms are in effect ('quoratectl alarms' lists them); publishers "
         "are blocked: low on disk (n2)");
    broker_alarm_set(sim_node_broker(c.nodes[0], 0), BROKER_ALARM_MEMORY, true);
    cluster_pass(&c, 100);
    SAYS("alarms --", EXIT_CODE_OK, "[\"n1\",\"memory\"]");
    SAYS("status --", EXIT_CODE_OK,
         "[\"publishers_blocked\",\"low on memory (n1) & low on disk (n2)\"]");
    SAYS("cluster_status --", EXIT_CODE_OK,
         "[\"publishers_blocked\",\"low on memory (n1) & low on disk (n2)\"]");
    cluster_deinit(&c);
}
