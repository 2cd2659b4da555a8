/* Resource alarms: which node is short of what, and whether that blocks
 * publishers (broker/alarms.h). */
#include "base/json.h"
#include "broker/broker.h"
#include "mgmt/answer.h"
#include "mgmt/listing.h"
#include "mgmt/mgmt_priv.h"

static const char *
alarm_text(enum broker_alarm alarm)
{
    return alarm == BROKER_ALARM_MEMORY ? "memory" : "disk";
}

static void
put_alarm(void *arg, qr_node_id node, enum broker_alarm alarm)
{
    struct job *job = arg;
    struct json *j = &job->json;
    char scratch[NODE_SCRATCH_SIZE];

    json_array_begin(j);
    put_text(j, mgmt_node_name(job->mgmt, node, scratch));
    json_text(j, alarm_text(alarm));
    json_array_end(j);
}

void
run_alarms(struct job *job)
{
    tables_begin(job);
    table_begin(job, "", "alarms", "node alarm");
    broker_alarms_each(job->mgmt->broker, put_alarm, job);
    table_end(job);
    tables_end(job, NULL);
}

static void
count_alarm(void *arg, qr_node_id node, enum broker_alarm alarm)
{
    size_t *count = arg;

    (void)node;
    (void)alarm;
    (*count)++;
}

void
run_check_alarms(struct job *job)
{
    const char *reason = broker_alarm_reason(job->mgmt->broker);
    size_t count = 0;

    broker_alarms_each(job->mgmt->broker, count_alarm, &count);
    if (count == 0) {
        job_text(job, "No alarms are in effect");
        return;
    }
    job_fail(job, EXIT_CODE_UNAVAILABLE,
             "%zu alarms are in effect ('quoratectl alarms' lists them); "
             "publishers are %s%s",
             count, reason[0] != '\0' ? "blocked: " : "not blocked", reason);
}
