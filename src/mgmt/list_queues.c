/* list_queues. Names and declarations come from this shard's copy of the
 * metadata; what only a replica knows is asked of all shards of all nodes when
 * a column needs it. A queue's counts are its leader's; without a leader they
 * are those of the replica that applied most, and the state says why:
 * "lost" (so many replicas have lost their memory that there is no majority
 * without them: delete the queue, and declare it again), "damaged" (commands
 * that have rotted on every replica are to be applied next, so that the state
 * of the queue is unknown: the same remedy), "electing" (a majority answered),
 * "minority" or "down" (nobody did). */
#include "mgmt/list_queues.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "mgmt/gather.h"
#include "mgmt/listing.h"
#include "mgmt/mgmt_priv.h"
#include "mgmt/table_json.h"
#include "shard/env.h"

enum {
    GATHER_MARGIN_MS = 500 /* a gather ends before its job does */
};

/* One row: what the columns below look at. */
struct view {
    const struct mgmt *m;
    const struct meta_queue *queue;
    const struct queue_row *row; /* NULL: nobody answered, or was asked */
};

/* ---- what replicas said ---- */

static bool
is_better(const struct queue_replica *a, const struct queue_replica *b)
{
    const struct replica_record *x = &a->record;
    const struct replica_record *y = &b->record;

    if (x->is_leader != y->is_leader) {
        return x->is_leader > y->is_leader;
    }
    return x->is_leader != 0 ? x->term > y->term : x->applied > y->applied;
}

static void
row_add(struct map *rows, qr_node_id node, const struct replica_record *record)
{
    struct queue_row *row = map_get(rows, record->group);
    struct queue_replica *replica;

    if (row == NULL) {
        row = mem_zalloc(1, sizeof(*row));
        (void)map_put(rows, record->group, row);
    }
    if (row->count == QR_MEMBERS_MAX) {
        return; /* members are changing; one more is not shown */
    }
    replica = &row->replicas[row->count++];
    replica->node = node;
    replica->record = *record;
    if (row->best == NULL || is_better(replica, row->best)) {
        row->best = replica;
        row->leader = record->is_leader != 0 ? replica : NULL;
    }
}

void
queue_rows_read(struct map *rows, const struct gather *g)
{
    struct replica_record record;

    for (size_t i = 0; i < g->targets_count; i++) {
        struct cursor c = gather_bytes(g, i);

        while (record_get_replica(&c, &record)) {
            row_add(rows, g->targets[i].node, &record);
        }
    }
}

void
queue_rows_free(struct map *rows)
{
    struct queue_row *row;
    uint64_t group;
    size_t pos;

    map_foreach (rows, pos, group, row) {
        mem_free(row);
    }
    map_deinit(rows);
}

bool
queue_row_lag(const struct queue_row *row, uint64_t *lag)
{
    uint64_t most = 0;

    if (row->leader == NULL) {
        return false;
    }
    for (size_t i = 0; i < row->count; i++) {
        uint64_t stored = row->replicas[i].record.stored;

        if (stored < row->leader->record.last) {
            most = MAX(most, row->leader->record.last - stored);
        }
    }
    *lag = most;
    return true;
}

/* ---- columns ---- */

static const struct replica_record *
best(const struct view *v)
{
    return v->row == NULL || v->row->best == NULL ? NULL
                                                  : &v->row->best->record;
}

static void
put_name(struct json *j, const void *row)
{
    put_text(j, ((const struct view *)row)->queue->name);
}

static void
put_vhost(struct json *j, const void *row)
{
    put_text(j, ((const struct view *)row)->queue->vhost);
}

static void
put_durable(struct json *j, const void *row)
{
    json_bool(j, ((const struct view *)row)->queue->is_durable);
}

static void
put_auto_delete(struct json *j, const void *row)
{
    json_bool(j, ((const struct view *)row)->queue->is_auto_delete);
}

static void
put_exclusive(struct json *j, const void *row)
{
    json_bool(j, ((const struct view *)row)->queue->owner.node != 0);
}

static void
put_arguments(struct json *j, const void *row)
{
    table_json_put(j, ((const struct view *)row)->queue->arguments);
}

/* What this version does not have: policies' effects, statistics of RAM. */
static void
put_nothing(struct json *j, const void *row)
{
    (void)row;
    json_text(j, "");
}

static void
put_type(struct json *j, const void *row)
{
    (void)row;
    json_text(j, "quorum");
}

static void
put_id(struct json *j, const struct view *v, qr_node_id node, uint64_t a,
       uint64_t b)
{
    char scratch[NODE_SCRATCH_SIZE];
    struct meta_text name = mgmt_node_name(v->m, node, scratch);
    struct buf id;

    buf_init(&id);
    buf_putf(&id, "<%.*s.%llu.%llu>", (int)name.size, name.data,
             (unsigned long long)a, (unsigned long long)b);
    json_string(j, id.data, id.size);
    buf_deinit(&id);
}

static void
put_pid(struct json *j, const void *row)
{
    const struct view *v = row;

    if (v->row == NULL || v->row->leader == NULL) {
        json_text(j, "");
    } else {
        put_id(j, v, v->row->leader->node, v->queue->group, 0);
    }
}

static void
put_owner_pid(struct json *j, const void *row)
{
    const struct view *v = row;

    if (v->queue->owner.node == 0) {
        json_text(j, "");
    } else {
        put_id(j, v, v->queue->owner.node, v->queue->owner.connection, 0);
    }
}

static void
put_node(struct json *j, const struct view *v, qr_node_id node)
{
    char scratch[NODE_SCRATCH_SIZE];

    put_text(j, mgmt_node_name(v->m, node, scratch));
}

static void
put_leader(struct json *j, const void *row)
{
    const struct view *v = row;

    if (v->row == NULL || v->row->leader == NULL) {
        json_text(j, "");
    } else {
        put_node(j, v, v->row->leader->node);
    }
}

static void
put_members(struct json *j, const void *row)
{
    const struct view *v = row;

    json_array_begin(j);
    for (size_t i = 0; i < v->queue->members_count; i++) {
        put_node(j, v, qr_replica_node(v->queue->members[i].replica));
    }
    json_array_end(j);
}

static const struct queue_replica *
replica_on(const struct view *v, qr_node_id node)
{
    for (size_t i = 0; v->row != NULL && i < v->row->count; i++) {
        if (v->row->replicas[i].node == node) {
            return &v->row->replicas[i];
        }
    }
    return NULL;
}

static void
put_online(struct json *j, const void *row)
{
    const struct view *v = row;

    json_array_begin(j);
    for (size_t i = 0; i < v->queue->members_count; i++) {
        qr_node_id node = qr_replica_node(v->queue->members[i].replica);

        if (replica_on(v, node) != NULL) {
            put_node(j, v, node);
        }
    }
    json_array_end(j);
}

/* The members that do not lead; those that have stored all, if SYNCHRONISED. */
static void
put_followers(struct json *j, const struct view *v, bool synchronised)
{
    qr_node_id leader =
        v->row == NULL || v->row->leader == NULL ? 0 : v->row->leader->node;

    json_array_begin(j);
    for (size_t i = 0; i < v->queue->members_count; i++) {
        qr_node_id node = qr_replica_node(v->queue->members[i].replica);
        const struct queue_replica *r = replica_on(v, node);

        if (node == leader ||
            (synchronised &&
             (r == NULL || leader == 0 ||
              r->record.stored < v->row->leader->record.committed))) {
            continue;
        }
        put_node(j, v, node);
    }
    json_array_end(j);
}

static void
put_slave_pids(struct json *j, const void *row)
{
    put_followers(j, row, false);
}

static void
put_synchronised(struct json *j, const void *row)
{
    put_followers(j, row, true);
}

static bool
is_text(struct meta_text a, const char *b)
{
    return a.size == strlen(b) && memcmp(a.data, b, a.size) == 0;
}

/* Whether no majority of the members has its memory: nobody can lead, ever. */
static bool
is_lost(const struct view *v)
{
    size_t voters = 0;
    size_t lost = 0;

    for (size_t i = 0; i < v->queue->members_count; i++) {
        const struct meta_member *m = &v->queue->members[i];
        const struct queue_replica *r =
            replica_on(v, qr_replica_node(m->replica));

        if (m->is_voter) {
            voters++;
            lost += r != NULL && is_text(r->record.state, "lost") ? 1 : 0;
        }
    }
    return lost > 0 && 2 * (voters - lost) <= voters;
}

qr_index
queue_row_blocked(const struct queue_row *row)
{
    qr_index blocked = 0;
    qr_index applied = 0;

    for (size_t i = 0; i < row->count; i++) {
        blocked = MAX(blocked, row->replicas[i].record.blocked);
        applied = MAX(applied, row->replicas[i].record.applied);
    }
    return row->leader == NULL && applied < blocked ? blocked : 0;
}

static void
put_state(struct json *j, const void *row)
{
    const struct view *v = row;

    if (v->row == NULL || v->row->count == 0) {
        json_text(j, "down");
    } else if (v->row->leader != NULL) {
        json_text(j, "running");
    } else if (is_lost(v)) {
        json_text(j, "lost");
    } else if (queue_row_blocked(v->row) != 0) {
        json_text(j, "damaged");
    } else if (v->row->count * 2 > v->queue->members_count) {
        json_text(j, "electing");
    } else {
        json_text(j, "minority");
    }
}

static void
put_lag(struct json *j, const void *row)
{
    const struct view *v = row;
    uint64_t lag;

    if (v->row != NULL && queue_row_lag(v->row, &lag)) {
        json_u64(j, lag);
    } else {
        json_text(j, "");
    }
}

/* Numbers of the best replica. */
#define NUMBER(name, expression)                            \
    static void put_##name(struct json *j, const void *row) \
    {                                                       \
        const struct replica_record *r = best(row);         \
                                                            \
        if (r == NULL) {                                    \
            json_text(j, "");                               \
        } else {                                            \
            json_u64(j, (expression));                      \
        }                                                   \
    }

NUMBER(messages, r->ready + r->unsettled)
NUMBER(ready, r->ready)
NUMBER(unsettled, r->unsettled)
NUMBER(bytes, r->ready_bytes + r->unsettled_bytes)
NUMBER(ready_bytes, r->ready_bytes)
NUMBER(unsettled_bytes, r->unsettled_bytes)
NUMBER(consumers, r->consumers)
NUMBER(term, r->term)
NUMBER(commit_index, r->committed)
NUMBER(lost, r->lost)

/* The entry of the log that no replica has, and without which none goes on. */
static void
put_damaged_entry(struct json *j, const void *row)
{
    const struct view *v = row;
    qr_index blocked = v->row == NULL ? 0 : queue_row_blocked(v->row);

    if (blocked == 0) {
        json_text(j, "");
    } else {
        json_u64(j, blocked);
    }
}

static const struct column columns[] = {
    {"name", put_name, false},
    {"vhost", put_vhost, false},
    {"durable", put_durable, false},
    {"auto_delete", put_auto_delete, false},
    {"exclusive", put_exclusive, false},
    {"arguments", put_arguments, false},
    {"type", put_type, false},
    {"policy", put_nothing, false},
    {"operator_policy", put_nothing, false},
    {"effective_policy_definition", put_nothing, false},
    {"pid", put_pid, true},
    {"owner_pid", put_owner_pid, false},
    {"exclusive_consumer_pid", put_nothing, false},
    {"exclusive_consumer_tag", put_nothing, false},
    {"messages", put_messages, true},
    {"messages_ready", put_ready, true},
    {"messages_unacknowledged", put_unsettled, true},
    {"messages_persistent", put_messages, true},
    {"message_bytes", put_bytes, true},
    {"message_bytes_ready", put_ready_bytes, true},
    {"message_bytes_unacknowledged", put_unsettled_bytes, true},
    {"message_bytes_persistent", put_bytes, true},
    {"messages_ram", put_nothing, false},
    {"messages_ready_ram", put_nothing, false},
    {"messages_unacknowledged_ram", put_nothing, false},
    {"message_bytes_ram", put_nothing, false},
    {"head_message_timestamp", put_nothing, false},
    {"disk_reads", put_nothing, false},
    {"disk_writes", put_nothing, false},
    {"memory", put_nothing, false},
    {"consumers", put_consumers, true},
    {"consumer_utilisation", put_nothing, false},
    {"consumer_capacity", put_nothing, false},
    {"state", put_state, true},
    {"leader", put_leader, true},
    {"members", put_members, false},
    {"online", put_online, true},
    {"slave_pids", put_slave_pids, true},
    {"synchronised_slave_pids", put_synchronised, true},
    {"term", put_term, true},
    {"commit_index", put_commit_index, true},
    {"lag", put_lag, true},
    {"messages_lost", put_lost, true},
    {"damaged_entry", put_damaged_entry, true},
};

/* ---- the command ---- */

static bool
is_local(const struct mgmt *m, const struct meta_queue *queue)
{
    for (size_t i = 0; i < queue->members_count; i++) {
        if (qr_replica_node(queue->members[i].replica) == m->env->node) {
            return true;
        }
    }
    return false;
}

static bool
put_queue(void *arg, struct meta_queue *queue)
{
    struct job *job = arg;
    struct view v = {.m = job->mgmt,
                     .queue = queue,
                     .row = map_get(&job->replicas, queue->group)};
    bool has_leader = v.row != NULL && v.row->leader != NULL;

    if ((job_has(job, OPTION_ONLINE) && !has_leader) ||
        (job_has(job, OPTION_OFFLINE) && has_leader) ||
        (job_has(job, OPTION_LOCAL) && !is_local(job->mgmt, queue))) {
        return true;
    }
    listing_row(job, &v);
    return true;
}

static void
list(struct job *job, const struct gather *g)
{
    const struct meta_vhost *vhost = job_vhost(job);

    if (vhost == NULL) {
        return; /* deleted meanwhile */
    }
    listing_begin(job);
    meta_each_queue(broker_meta(job->mgmt->broker), vhost, put_queue, job);
    listing_end(job, g);
}

static void
gathered(struct gather *g, void *arg)
{
    struct job *job = arg;

    queue_rows_read(&job->replicas, g);
    list(job, g);
}

void
run_list_queues(struct job *job)
{
    struct meta_text vhost = job_vhost_name(job);
    bool by_leader =
        job_has(job, OPTION_ONLINE) || job_has(job, OPTION_OFFLINE);

    if (!listing_pick(job, columns, ARRAY_COUNT(columns), "name messages", 0) ||
        job_vhost(job) == NULL) {
        return;
    }
    if (!by_leader && !listing_is_live(job)) {
        list(job, NULL);
        return;
    }
    job->gather = gather_new(job->mgmt, ASK_REPLICAS, gathered, job);
    buf_put_blob(&job->gather->question, vhost.data, vhost.size);
    gather_add_all(job->gather, false);
    gather_send(job->gather,
                job->deadline_ms - MIN(job_left(job) / 4, GATHER_MARGIN_MS));
}
