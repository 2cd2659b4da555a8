/* Nodes and groups: who runs, who leads, how far each replica is. */
#include <quorate/version.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/broker_admin.h"
#include "mgmt/gather.h"
#include "mgmt/list_queues.h"
#include "mgmt/listing.h"
#include "mgmt/members.h"
#include "mgmt/mgmt_priv.h"
#include "shard/env.h"

enum {
    GATHER_MARGIN_MS = 500, /* a gather ends before its job does */
    STARTUP_POLL_MS = 50,
    RELOAD_POLL_MS = 10
};

static void
send(struct job *job)
{
    gather_send(job->gather,
                job->deadline_ms - MIN(job_left(job) / 4, GATHER_MARGIN_MS));
}

/* ---- quorum_status ---- */

static void
put_replica(struct job *job, const struct queue_row *row,
            const struct meta_member *member)
{
    struct json *j = &job->json;
    qr_node_id node = qr_replica_node(member->replica);
    const struct replica_record *r = NULL;
    uint64_t last =
        row == NULL || row->leader == NULL ? 0 : row->leader->record.last;
    char scratch[NODE_SCRATCH_SIZE];

    for (size_t i = 0; row != NULL && i < row->count; i++) {
        if (row->replicas[i].node == node) {
            r = &row->replicas[i].record;
        }
    }
    json_array_begin(j);
    put_text(j, mgmt_node_name(job->mgmt, node, scratch));
    json_text(j, member->is_voter ? "voter" : "learner");
    if (r == NULL) {
        json_text(j, "no answer");
        for (size_t i = 0; i < 8; i++) {
            json_null(j);
        }
    } else {
        put_text(j, r->state);
        json_u64(j, r->term);
        json_u64(j, r->last);
        json_u64(j, r->stored);
        json_u64(j, r->applied);
        json_u64(j, r->committed);
        json_u64(j, r->snapshot);
        if (last == 0) {
            json_null(j);
        } else {
            json_u64(j, last > r->stored ? last - r->stored : 0);
        }
        json_u64(j, r->damaged);
    }
    json_array_end(j);
}

/* TIME_MS as people write it, in UTC; nothing when it is not known. */
static void
put_time(struct json *j, uint64_t time_ms)
{
    char text[32];
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;

    if (time_ms == 0 || gmtime_r(&seconds, &tm) == NULL) {
        json_null(j);
        return;
    }
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_text(j, text);
}

/* What of the queue has rotted on every replica, if anything. */
static void
put_losses(struct job *job, const struct queue_row *row)
{
    struct json *j = &job->json;
    struct loss_record loss;
    struct meta_text losses;
    struct cursor c;

    if (row == NULL || row->best == NULL ||
        row->best->record.losses.size == 0) {
        return;
    }
    losses = row->best->record.losses;
    cursor_init(&c, (const uint8_t *)losses.data, losses.size);
    table_begin(job, "Lost: rotted on every replica", "losses",
                "first_entry last_entry messages bytes commands time");
    while (record_get_loss(&c, &loss)) {
        json_array_begin(j);
        json_u64(j, loss.first);
        json_u64(j, loss.last);
        json_u64(j, loss.messages);
        json_u64(j, loss.bytes);
        json_text(j, loss.is_unknown != 0 ? "unknown" : "known");
        put_time(j, loss.time_ms);
        json_array_end(j);
    }
    table_end(job);
}

/* Why the queue is refused service, if that is why. */
static void
put_blocked(struct job *job, const struct queue_row *row)
{
    struct json *j = &job->json;
    qr_index blocked = row == NULL ? 0 : queue_row_blocked(row);

    if (blocked == 0) {
        return;
    }
    table_begin(job, "The queue cannot be served", "damaged", "entry why");
    json_array_begin(j);
    json_u64(j, blocked);
    json_text(j, "its commands have rotted on every replica before they were "
                 "part of a snapshot: what they did is unknown, and nothing is "
                 "skipped. Put back the disk of a node that has them, or "
                 "delete the queue and declare it again");
    json_array_end(j);
    table_end(job);
}

static void
quorum_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct meta_queue *queue =
        meta_queue_by_group(broker_meta(job->mgmt->broker), job->group);
    const struct queue_row *row;

    if (queue == NULL) {
        job_fail(job, EXIT_CODE_DATA, "Queue '%s' was deleted meanwhile",
                 job_arg(job, 0));
        return;
    }
    queue_rows_read(&job->replicas, g);
    row = map_get(&job->replicas, job->group);
    tables_begin(job);
    table_begin(job, "", "replicas",
                "node role state term last stored applied commit snapshot lag "
                "damaged");
    for (size_t i = 0; i < queue->members_count; i++) {
        put_replica(job, row, &queue->members[i]);
    }
    table_end(job);
    put_blocked(job, row);
    put_losses(job, row);
    tables_end(job, g);
}

void
run_quorum_status(struct job *job)
{
    struct meta_queue *queue = job_queue(job);

    if (queue == NULL) {
        return;
    }
    job->group = queue->group;
    job->gather = gather_new(job->mgmt, ASK_REPLICA, quorum_gathered, job);
    buf_put_varint(&job->gather->question, queue->group);
    for (size_t i = 0; i < queue->members_count; i++) {
        gather_add_group(job->gather,
                         qr_replica_node(queue->members[i].replica),
                         queue->group);
    }
    send(job);
}

/* ---- cluster_status ---- */

struct put_nodes {
    struct job *job;
    const struct gather *gather;
    uint64_t last; /* of the metadata's leader, 0 = unknown */
};

/* What NODE said into OUT; false if it said nothing. */
static bool
node_said(const struct gather *g, qr_node_id node, struct node_record *out)
{
    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        if (g->targets[i].node == node) {
            return record_get_node(&c, out);
        }
    }
    return false;
}

/* The last columns: what the node is to the metadata, and its start. */
static void
put_membership(struct job *job, const struct meta_node *node)
{
    const char *role = members_role(job, node->id);

    if (role == NULL) {
        json_null(&job->json);
    } else {
        json_text(&job->json, role);
    }
    json_u64(&job->json, node->boot);
}

static void
put_rebuilding(struct job *job, const struct meta_queue *queue,
               const char *what)
{
    struct json *j = &job->json;

    json_array_begin(j);
    put_text(j, queue->name);
    put_text(j, queue->vhost);
    json_text(j, what);
    json_array_end(j);
}

static bool
put_cluster_node(void *arg, const struct meta_node *node)
{
    struct put_nodes *p = arg;
    struct json *j = &p->job->json;
    struct node_record r;

    if (node->is_removed) {
        return true;
    }
    json_array_begin(j);
    put_text(j, node->name);
    json_u64(j, node->id);
    put_text(j, node->address);
    if (!node_said(p->gather, node->id, &r)) {
        json_text(j, "down");
        for (size_t i = 0; i < 8; i++) {
            json_null(j);
        }
    } else {
        json_text(j, r.is_ready != 0 ? "running" : "starting");
        put_text(j, r.version);
        json_u64(j, r.uptime_ms / 1000);
        json_u64(j, r.shards);
        put_text(j, r.meta_state);
        json_u64(j, r.meta_term);
        json_u64(j, r.meta_committed);
        json_u64(j, r.meta_applied);
        if (p->last == 0) {
            json_null(j);
        } else {
            json_u64(j, p->last > r.meta_stored ? p->last - r.meta_stored : 0);
        }
    }
    put_membership(p->job, node);
    json_array_end(j);
    return true;
}

/* A node that this copy of the metadata has not heard of yet. */
static void
put_unknown_node(struct put_nodes *p, qr_node_id id)
{
    char scratch[NODE_SCRATCH_SIZE];
    struct meta_node node = {.id = id, .address = meta_text("", 0)};

    node.name = mgmt_node_name(p->job->mgmt, id, scratch);
    (void)put_cluster_node(p, &node);
}

/* The record of whoever leads the metadata, in the newest term. */
static qr_node_id
find_leader(const struct gather *g, struct node_record *leader)
{
    qr_node_id node = 0;
    struct node_record r;

    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        if (record_get_node(&c, &r) && r.meta_leader == g->targets[i].node &&
            (node == 0 || r.meta_term > leader->meta_term)) {
            *leader = r;
            node = g->targets[i].node;
        }
    }
    return node;
}

/* The entry of the metadata that those who would have to apply it next do not
 * have, nor anybody else; 0: there is none. */
static qr_index
meta_blocked(const struct gather *g)
{
    qr_index blocked = 0;
    qr_index applied = 0;
    struct node_record r;

    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        if (record_get_node(&c, &r)) {
            blocked = MAX(blocked, r.meta_blocked);
            applied = MAX(applied, r.meta_applied);
        }
    }
    return applied < blocked ? blocked : 0;
}

static void
put_pair(struct job *job, const char *name, struct meta_text value)
{
    struct json *j = &job->json;

    json_array_begin(j);
    json_text(j, name);
    put_text(j, value);
    json_array_end(j);
}

static void
put_number_pair(struct job *job, const char *name, uint64_t value)
{
    struct json *j = &job->json;

    json_array_begin(j);
    json_text(j, name);
    json_u64(j, value);
    json_array_end(j);
}

/* What of the metadata has rotted everywhere; BLOCKED: the entry that nobody
 * can apply, or 0. */
static void
put_meta_losses(struct job *job, qr_index blocked)
{
    struct meta_losses losses;
    char text[160];

    meta_losses(broker_meta(job->mgmt->broker), &losses);
    if (losses.count > 0) {
        (void)snprintf(text, sizeof(text),
                       "%llu, from %llu to %llu of its log: declarations or "
                       "other changes are lost; compare the listings with "
                       "what should be there",
                       (unsigned long long)losses.count,
                       (unsigned long long)losses.first,
                       (unsigned long long)losses.last);
        put_pair(job, "metadata_entries_lost", meta_text(text, strlen(text)));
    }
    if (blocked != 0) {
        (void)snprintf(text, sizeof(text),
                       "%llu has rotted on every node: nothing can be declared "
                       "or changed before a disk that has it is put back",
                       (unsigned long long)blocked);
        put_pair(job, "metadata_entry_damaged", meta_text(text, strlen(text)));
    }
}

static void
put_basics(struct job *job, qr_node_id leader, const struct node_record *r,
           qr_index blocked)
{
    struct mgmt *m = job->mgmt;
    struct meta_machine *meta = broker_meta(m->broker);
    struct meta_text name = meta_cluster_name(meta);
    char scratch[NODE_SCRATCH_SIZE];

    if (name.size == 0) {
        const char *configured = broker_cluster_name(m->broker);

        name = meta_text(configured, strlen(configured));
    }
    table_begin(job, "Cluster", "cluster", "name value");
    put_pair(job, "cluster_name", name);
    put_pair(job, "asked_node",
             meta_text(m->config.node_name, strlen(m->config.node_name)));
    put_pair(job, "metadata_leader",
             leader == 0 ? meta_text("none", 4)
                         : mgmt_node_name(m, leader, scratch));
    if (leader != 0) {
        put_number_pair(job, "metadata_term", r->meta_term);
        put_number_pair(job, "metadata_commit_index", r->meta_committed);
    }
    if (broker_alarm_reason(m->broker)[0] != '\0') {
        const char *reason = broker_alarm_reason(m->broker);

        put_pair(job, "publishers_blocked", meta_text(reason, strlen(reason)));
    }
    put_meta_losses(job, blocked);
    put_number_pair(job, "queues", meta_queues_count(meta));
    put_number_pair(job, "exchanges", meta_exchanges_count(meta));
    put_number_pair(job, "bindings", meta_bindings_count(meta));
    put_number_pair(job, "queues_rebuilding", members_rebuilding(job, NULL));
    table_end(job);
}

static void
cluster_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct node_record leader = {0};
    qr_node_id node = find_leader(g, &leader);
    struct put_nodes p = {.job = job, .gather = g};

    p.last = node == 0 ? 0 : leader.meta_last;
    tables_begin(job);
    put_basics(job, node, &leader, node == 0 ? meta_blocked(g) : 0);
    table_begin(job, "Nodes", "nodes",
                "node id address state version uptime_s shards metadata term "
                "commit applied lag role boot");
    meta_each_node(broker_meta(job->mgmt->broker), put_cluster_node, &p);
    for (size_t i = 0; i < g->targets_count; i++) {
        if (meta_node(broker_meta(job->mgmt->broker), g->targets[i].node) ==
            NULL) {
            put_unknown_node(&p, g->targets[i].node);
        }
    }
    table_end(job);
    if (members_rebuilding(job, NULL) > 0) {
        table_begin(job, "Queues that are not whole", "rebuilding",
                    "queue vhost why");
        (void)members_rebuilding(job, put_rebuilding);
        table_end(job);
    }
    tables_end(job, g);
}

void
run_cluster_status(struct job *job)
{
    job->gather = gather_new(job->mgmt, ASK_NODE, cluster_gathered, job);
    gather_add_all(job->gather, true);
    if (job->gather->targets_count == 0) { /* no metadata yet: who is linked */
        gather_add(job->gather, job->mgmt->env->node, 0);
        for (size_t i = 0; i < job->mgmt->linked_count; i++) {
            gather_add(job->gather, job->mgmt->linked[i], 0);
        }
    }
    send(job);
}

/* ---- one node ---- */

void
run_ping(struct job *job)
{
    job_text(job, "Ping succeeded");
}

void
run_version(struct job *job)
{
    job_text(job, "%s", QR_VERSION_STRING);
}

/* quoratectl does these alone; only a broken client asks a node. */
void
run_local(struct job *job)
{
    job_fail(job, EXIT_CODE_USAGE, "'%s' is not a command for nodes",
             command_row(job->request.command)->name);
}

void
run_stop(struct job *job)
{
    struct mgmt *m = job->mgmt;

    if (m->config.stop == NULL) {
        job_fail(job, EXIT_CODE_SOFTWARE, "this node cannot be stopped so");
        return;
    }
    m->config.stop(m->config.arg);
    job_text(job, "Node '%s' is stopping", m->config.node_name);
}

static void
poll_reload(void *arg)
{
    struct job *job = arg;
    const struct mgmt_config *c = &job->mgmt->config;
    const char *text = NULL;
    int result = 0;

    if (!c->reloaded_tls(c->arg, job->number, &result, &text)) {
        job_poll(job, poll_reload, RELOAD_POLL_MS);
    } else if (result != 0) {
        job_fail(job, EXIT_CODE_DATA, "%s", text);
    } else {
        job_text(job, "%s", text);
    }
}

void
run_reload_tls(struct job *job)
{
    const struct mgmt_config *c = &job->mgmt->config;

    if (c->reload_tls != NULL) {
        job->number = c->reload_tls(c->arg);
    }
    if (job->number == 0) {
        job_fail(job, EXIT_CODE_DATA,
                 "Node '%s' has no certificates: neither listeners.ssl nor "
                 "cluster.tls is set",
                 c->node_name);
    } else {
        poll_reload(job);
    }
}

static void
poll_startup(void *arg)
{
    struct job *job = arg;
    const struct mgmt_config *c = &job->mgmt->config;
    bool is_serving = c->is_serving != NULL ? c->is_serving(c->arg)
                                            : broker_is_ready(c->broker);

    if (is_serving) {
        job_text(job, "Node '%s' serves clients", job->mgmt->config.node_name);
    } else {
        job_poll(job, poll_startup, STARTUP_POLL_MS);
    }
}

void
run_await_startup(struct job *job)
{
    poll_startup(job);
}

static void
put_row(void *arg, const char *name, const char *value)
{
    put_pair(arg, name, meta_text(value, strlen(value)));
}

void
run_environment(struct job *job)
{
    struct mgmt *m = job->mgmt;

    if (m->config.environment == NULL) {
        job_fail(job, EXIT_CODE_SOFTWARE,
                 "this node does not show its configuration");
        return;
    }
    tables_begin(job);
    table_begin(job, "", "environment", "key value");
    m->config.environment(m->config.arg, put_row, job);
    table_end(job);
    tables_end(job, NULL);
}

/* The shard that is asked stands for itself; queues and groups are summed over
 * the node's shards by their answers to ASK_REPLICAS. */
static void
status_gathered(struct gather *g, void *arg)
{
    struct job *job = arg;
    struct mgmt *m = job->mgmt;
    struct env *env = m->env;
    struct replica_record r;
    uint64_t replicas = 0;
    uint64_t leading = 0;
    uint64_t messages = 0;

    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        while (record_get_replica(&c, &r)) {
            replicas++;
            leading += r.is_leader != 0 ? 1 : 0;
            messages += r.is_leader != 0 ? r.ready + r.unsettled : 0;
        }
    }
    tables_begin(job);
    table_begin(job, "", "status", "name value");
    put_row(job, "node", m->config.node_name);
    put_row(job, "version", QR_VERSION_STRING);
    put_row(job, "state", broker_is_ready(m->broker) ? "running" : "starting");
    put_number_pair(job, "starts", env->boot);
    put_number_pair(job, "uptime_s",
                    (env->ops->wall_ms(env) - m->started_ms) / 1000);
    put_number_pair(job, "shards", env->shards);
    put_number_pair(job, "queue_replicas", replicas);
    put_number_pair(job, "queues_led", leading);
    put_number_pair(job, "messages_in_queues_led", messages);
    put_row(job, "publishers_blocked",
            broker_alarm_reason(m->broker)[0] != '\0'
                ? broker_alarm_reason(m->broker)
                : "no");
    if (m->config.status != NULL) {
        m->config.status(m->config.arg, put_row, job);
    }
    table_end(job);
    tables_end(job, g);
}

void
run_status(struct job *job)
{
    job->gather = gather_new(job->mgmt, ASK_REPLICAS, status_gathered, job);
    buf_put_blob(&job->gather->question, "", 0);
    gather_add_node(job->gather, job->mgmt->env->node);
    send(job);
}
