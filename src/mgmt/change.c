/* Commands that change something: checks of what only the command line has
 * (numbers, JSON), then the broker's calls. Passwords are hashed by the broker
 * and never logged; the request's bytes are wiped with the job. */
#include <quorate/error.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "broker/broker_admin.h"
#include "mgmt/gather.h"
#include "mgmt/json_check.h"
#include "mgmt/list_queues.h"
#include "mgmt/mgmt_priv.h"
#include "shard/env.h"

enum {
    GATHER_MARGIN_MS = 500, /* a gather ends before its job does */
    TRANSFER_POLL_MS = 50
};

static struct meta_text
option_text(const struct job *job, enum command_option option,
            const char *otherwise)
{
    const char *value = job->request.options[option];

    value = value == NULL ? otherwise : value;
    return meta_text(value, strlen(value));
}

/* ---- virtual hosts ---- */

void
run_add_vhost(struct job *job)
{
    struct meta_vhost vhost = {.name = job_arg_text(job, 0),
                               .description =
                                   option_text(job, OPTION_DESCRIPTION, ""),
                               .tags = option_text(job, OPTION_TAGS, "")};

    broker_vhost_add(job->mgmt->broker, &vhost, job_simple_call(job));
}

void
run_delete_vhost(struct job *job)
{
    broker_vhost_delete(job->mgmt->broker, job_arg_text(job, 0),
                        job_simple_call(job));
}

/* ---- users ---- */

/* The password in argument 1; false: JOB has ended. */
static bool
has_password(struct job *job)
{
    if (job_arg_text(job, 1).size > 0) {
        return true;
    }
    job_fail(job, EXIT_CODE_DATA,
             "the password may not be empty: give it as the second argument, "
             "or on standard input");
    return false;
}

static void
user_added(struct job *job, const struct broker_reply *reply)
{
    (void)reply;
    job_text(job,
             "Done. Don't forget to grant the user permissions to some virtual "
             "hosts! See 'quoratectl help set_permissions' to learn more.");
}

void
run_add_user(struct job *job)
{
    if (has_password(job)) {
        broker_user_add(job->mgmt->broker, job_arg_text(job, 0),
                        job_arg_text(job, 1), meta_text("", 0),
                        job_broker_call(job, user_added));
    }
}

void
run_delete_user(struct job *job)
{
    broker_user_delete(job->mgmt->broker, job_arg_text(job, 0),
                       job_simple_call(job));
}

void
run_change_password(struct job *job)
{
    if (has_password(job)) {
        broker_user_password(job->mgmt->broker, job_arg_text(job, 0),
                             job_arg_text(job, 1), job_simple_call(job));
    }
}

static void
authenticated(struct job *job, const struct broker_reply *reply)
{
    (void)reply;
    job_text(job, "Success");
}

void
run_authenticate_user(struct job *job)
{
    struct broker_origin from = {.host = "", .is_loopback = true};
    struct meta_text user = job_arg_text(job, 0);
    struct meta_text password = job_arg_text(job, 1);

    if (has_password(job)) {
        broker_authenticate(job->mgmt->broker, user, password, &from,
                            job_broker_call(job, authenticated));
    }
}

void
run_set_user_tags(struct job *job)
{
    struct buf tags;

    buf_init(&tags);
    for (size_t i = 1; i < job->request.args_count; i++) {
        struct meta_text tag = job_arg_text(job, i);

        if (tag.size == 0) {
            continue;
        }
        if (tags.size > 0) {
            buf_put_u8(&tags, ',');
        }
        buf_put(&tags, tag.data, tag.size);
    }
    broker_user_tags(job->mgmt->broker, job_arg_text(job, 0),
                     tags.size == 0
                         ? meta_text("", 0)
                         : meta_text((const char *)tags.data, tags.size),
                     job_simple_call(job));
    buf_deinit(&tags);
}

/* ---- permissions ---- */

void
run_set_permissions(struct job *job)
{
    struct meta_permission permission = {.vhost = job_vhost_name(job),
                                         .user = job_arg_text(job, 0),
                                         .configure = job_arg_text(job, 1),
                                         .write = job_arg_text(job, 2),
                                         .read = job_arg_text(job, 3)};

    broker_permission_set(job->mgmt->broker, &permission, job_simple_call(job));
}

void
run_clear_permissions(struct job *job)
{
    struct meta_permission permission = {.vhost = job_vhost_name(job),
                                         .user = job_arg_text(job, 0)};

    broker_permission_clear(job->mgmt->broker, &permission,
                            job_simple_call(job));
}

/* ---- policies ---- */

/* Whether TEXT is one of WORDS, which are separated by spaces. */
static bool
is_one_of(struct meta_text text, const char *words)
{
    while (*words != '\0') {
        size_t size = strcspn(words, " ");

        if (size == text.size && memcmp(words, text.data, size) == 0) {
            return true;
        }
        words += size + (words[size] == '\0' ? 0 : 1);
    }
    return false;
}

static bool
parse_priority(struct job *job, int32_t *out)
{
    struct meta_text text = option_text(job, OPTION_PRIORITY, "0");
    bool is_negative = text.size > 0 && text.data[0] == '-';
    uint64_t value;

    if (parse_u64(text.data + (is_negative ? 1 : 0),
                  text.size - (is_negative ? 1 : 0), 0, INT32_MAX,
                  &value) != 0) {
        job_fail(job, EXIT_CODE_USAGE,
                 "priority '%s' is no whole number from -%d to %d", text.data,
                 INT32_MAX, INT32_MAX);
        return false;
    }
    *out = is_negative ? -(int32_t)value : (int32_t)value;
    return true;
}

static bool
check_definition(struct job *job, struct meta_text definition)
{
    struct error err;

    error_clear(&err);
    if (json_check_object(definition.data, definition.size, &err) == 0) {
        return true;
    }
    job_fail(job, EXIT_CODE_DATA,
             "the definition must be a JSON object such as "
             "{\"max-length\":1000}: %s",
             err.text);
    return false;
}

static void
policy_set(struct job *job, const struct broker_reply *reply)
{
    (void)reply;
    job_text(job, "The policy is stored. This version does not act on it");
}

void
run_set_policy(struct job *job)
{
    struct meta_policy policy = {.vhost = job_vhost_name(job),
                                 .name = job_arg_text(job, 0),
                                 .pattern = job_arg_text(job, 1),
                                 .definition = job_arg_text(job, 2),
                                 .apply_to =
                                     option_text(job, OPTION_APPLY_TO, "all")};

    if (!is_one_of(policy.apply_to,
                   "all queues exchanges quorum_queues classic_queues")) {
        job_fail(job, EXIT_CODE_USAGE,
                 "--apply-to '%s' is not one of all, queues, exchanges, "
                 "quorum_queues, classic_queues",
                 policy.apply_to.data);
        return;
    }
    if (parse_priority(job, &policy.priority) &&
        check_definition(job, policy.definition)) {
        broker_policy_set(job->mgmt->broker, &policy,
                          job_broker_call(job, policy_set));
    }
}

void
run_clear_policy(struct job *job)
{
    struct meta_policy policy = {.vhost = job_vhost_name(job),
                                 .name = job_arg_text(job, 0)};

    broker_policy_clear(job->mgmt->broker, &policy, job_simple_call(job));
}

/* ---- queues ---- */

/* Ask the members of job->group where they stand. */
static void
ask_replicas(struct job *job, const struct meta_queue *queue,
             gather_done_cb done)
{
    gather_free(&job->gather);
    job->gather = gather_new(job->mgmt, ASK_REPLICA, done, job);
    buf_put_varint(&job->gather->question, queue->group);
    for (size_t i = 0; i < queue->members_count; i++) {
        gather_add_group(job->gather,
                         qr_replica_node(queue->members[i].replica),
                         queue->group);
    }
    gather_send(job->gather,
                job->deadline_ms - MIN(job_left(job) / 4, GATHER_MARGIN_MS));
}

static void
queue_deleted(struct job *job, const struct broker_reply *reply)
{
    (void)reply;
    if (job->number == UINT64_MAX) {
        job_text(job, "Queue was successfully deleted; it had no leader that "
                      "could count its messages");
        return;
    }
    job_text(job, "Queue was successfully deleted with %llu ready messages",
             (unsigned long long)job->number);
}

static void
delete_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    const struct queue_row *row;
    const struct replica_record *r = NULL;
    uint64_t messages;

    queue_rows_read(&job->replicas, g);
    row = map_get(&job->replicas, job->group);
    if (row != NULL && row->leader != NULL) {
        r = &row->leader->record;
    }
    if (r == NULL &&
        (job_has(job, OPTION_IF_EMPTY) || job_has(job, OPTION_IF_UNUSED))) {
        job_fail(job, EXIT_CODE_UNAVAILABLE,
                 "queue '%s' has no leader that could tell whether it is empty "
                 "or used: try again, or see 'quoratectl quorum_status'",
                 job_arg(job, 0));
        return;
    }
    if (r != NULL && job_has(job, OPTION_IF_UNUSED) && r->consumers > 0) {
        job_fail(job, EXIT_CODE_DATA, "queue '%s' is in use: %llu consumers",
                 job_arg(job, 0), (unsigned long long)r->consumers);
        return;
    }
    messages = r == NULL ? 0 : r->ready + r->unsettled;
    if (job_has(job, OPTION_IF_EMPTY) && messages > 0) {
        job_fail(job, EXIT_CODE_DATA, "queue '%s' is not empty: %llu messages",
                 job_arg(job, 0), (unsigned long long)messages);
        return;
    }
    job->number = r == NULL ? UINT64_MAX : r->ready;
    broker_admin_queue_delete(job->mgmt->broker, job->group,
                              job_broker_call(job, queue_deleted));
}

void
run_delete_queue(struct job *job)
{
    struct meta_queue *queue = job_queue(job);

    if (queue != NULL) {
        job->group = queue->group;
        ask_replicas(job, queue, delete_gathered);
    }
}

static void
queue_purged(struct job *job, const struct broker_reply *reply)
{
    job_text(job, "Purged %llu messages", (unsigned long long)reply->messages);
}

void
run_purge_queue(struct job *job)
{
    struct meta_queue *queue = job_queue(job);

    if (queue != NULL) {
        broker_admin_queue_purge(job->mgmt->broker, queue->group,
                                 job_broker_call(job, queue_purged));
    }
}

/* ---- transfer_leadership: find the leader, ask it, wait for the other ----
 *
 *   look --> leader is NODE: done
 *     ^  --> leader known: ask it (again after some time) --+
 *     +---------------- TRANSFER_POLL_MS <------------------+
 */

static void look(void *arg);

static void
look_again(struct job *job)
{
    job_poll(job, look, TRANSFER_POLL_MS);
}

static void
transfer_asked(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct cursor c = gather_bytes(g, 0);
    uint64_t code = cursor_varint(&c);

    if (!c.bad && code == QR_ENOENT) {
        job_fail(job, EXIT_CODE_DATA,
                 "node '%s' is no voting member of queue '%s'. See 'quoratectl "
                 "quorum_status %s'",
                 job_arg(job, 1), job_arg(job, 0), job_arg(job, 0));
        return;
    }
    job->number = mgmt_now_ms(job->mgmt);
    look_again(job);
}

static void
ask_leader(struct job *job, qr_node_id leader)
{
    gather_free(&job->gather);
    job->gather = gather_new(job->mgmt, ASK_TRANSFER, transfer_asked, job);
    buf_put_varint(&job->gather->question, job->group);
    buf_put_varint(&job->gather->question, job->node);
    gather_add_group(job->gather, leader, job->group);
    gather_send(job->gather, job->deadline_ms);
}

static void
leader_looked_for(struct gather *g, void *arg)
{
    struct job *job = arg;
    const struct queue_row *row;
    qr_node_id leader = 0;

    queue_rows_free(&job->replicas);
    map_init(&job->replicas);
    queue_rows_read(&job->replicas, g);
    row = map_get(&job->replicas, job->group);
    if (row != NULL && row->leader != NULL) {
        leader = row->leader->node;
    }
    if (leader == job->node) {
        job_text(job, "Node '%s' leads queue '%s'", job_arg(job, 1),
                 job_arg(job, 0));
    } else if (leader != 0 && (job->number == 0 ||
                               mgmt_now_ms(job->mgmt) - job->number > 1000)) {
        ask_leader(job, leader);
    } else {
        look_again(job);
    }
}

static void
look(void *arg)
{
    struct job *job = arg;
    struct meta_queue *queue =
        meta_queue_by_group(broker_meta(job->mgmt->broker), job->group);

    if (queue == NULL) {
        job_fail(job, EXIT_CODE_DATA, "Queue '%s' was deleted meanwhile",
                 job_arg(job, 0));
        return;
    }
    ask_replicas(job, queue, leader_looked_for);
}

void
run_transfer_leadership(struct job *job)
{
    struct meta_queue *queue = job_queue(job);
    const struct meta_node *node;
    bool is_member = false;

    if (queue == NULL) {
        return;
    }
    node = job_node(job, job_arg(job, 1));
    if (node == NULL) {
        return;
    }
    for (size_t i = 0; i < queue->members_count; i++) {
        is_member =
            is_member || qr_replica_node(queue->members[i].replica) == node->id;
    }
    if (!is_member) {
        job_fail(job, EXIT_CODE_DATA,
                 "node '%s' holds no replica of queue '%s'. See 'quoratectl "
                 "quorum_status %s'",
                 job_arg(job, 1), job_arg(job, 0), job_arg(job, 0));
        return;
    }
    job->group = queue->group;
    job->node = node->id;
    look(job);
}
