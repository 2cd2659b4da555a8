/* Nodes that join and leave, and what is not whole because of that. */
#include "mgmt/members.h"

#include <string.h>

#include "broker/broker_admin.h"
#include "broker/joining.h"
#include "mgmt/mgmt_priv.h"
#include "shard/env.h"

void
run_forget_cluster_node(struct job *job)
{
    if (job->mgmt->env->shard != 0) {
        job_fail(job, EXIT_CODE_SOFTWARE, "shard 0 of a node does that");
        return;
    }
    joining_forget(job->mgmt->broker, job_arg_text(job, 0),
                   job_simple_call(job));
}

void
run_join_cluster(struct job *job)
{
    const char *name = job_arg(job, 0);
    const char *self = job->mgmt->config.node_name;

    if (meta_node_named(broker_meta(job->mgmt->broker), name, strlen(name)) !=
        NULL) {
        job_text(job, "Node '%s' is of the same cluster as '%s' already", self,
                 name);
        return;
    }
    job_fail(job, EXIT_CODE_DATA,
             "node '%s' is of a cluster already, which does not have a node "
             "'%s'. Nodes join by themselves: stop this one, name itself and "
             "nodes of the other cluster in "
             "cluster_formation.classic_config.nodes, give it the other "
             "cluster's secret, and start it with an empty data directory",
             self, name);
}

/* ---- cluster_status ---- */

struct rebuilding {
    struct job *job;
    members_row_cb row;
    size_t wanted;
    size_t found;
};

struct live {
    size_t count;
};

static bool
count_live(void *arg, const struct meta_node *node)
{
    struct live *live = arg;

    live->count += node->is_removed ? 0 : 1;
    return true;
}

/* What QUEUE lacks, as the metadata have it; NULL if nothing. */
static const char *
lacks(const struct meta_machine *meta, const struct meta_queue *queue,
      size_t wanted)
{
    const char *what = NULL;

    if (queue->owner.node != 0) {
        return NULL; /* in the memory of one node */
    }
    if (queue->members_count < wanted) {
        what = "too few replicas";
    }
    for (size_t i = 0; i < queue->members_count; i++) {
        const struct meta_member *m = &queue->members[i];
        const struct meta_node *node =
            meta_node(meta, qr_replica_node(m->replica));

        if (node != NULL && node->is_removed) {
            return "a replica on a removed node";
        }
        if (!m->is_voter) {
            what = "a replica catches up";
        }
    }
    return what;
}

static bool
look_at_queue(void *arg, struct meta_queue *queue)
{
    struct rebuilding *r = arg;
    const char *what =
        lacks(broker_meta(r->job->mgmt->broker), queue, r->wanted);

    if (what != NULL) {
        r->found++;
        if (r->row != NULL && r->found <= MEMBERS_ROWS_MAX) {
            r->row(r->job, queue, what);
        }
    }
    return true;
}

static bool
look_at_vhost(void *arg, const struct meta_vhost *vhost)
{
    struct rebuilding *r = arg;

    meta_each_queue(broker_meta(r->job->mgmt->broker), vhost, look_at_queue, r);
    return true;
}

size_t
members_rebuilding(struct job *job, members_row_cb row)
{
    struct rebuilding r = {.job = job, .row = row};
    struct live live = {0};
    struct broker *b = job->mgmt->broker;

    meta_each_node(broker_meta(b), count_live, &live);
    r.wanted = MIN(live.count, (size_t)broker_queue_replicas(b));
    meta_each_vhost(broker_meta(b), look_at_vhost, &r);
    return r.found;
}

const char *
members_role(struct job *job, qr_node_id node)
{
    struct broker_replica replica;

    if (!broker_replica(job->mgmt->broker, QR_GROUP_META, &replica)) {
        return NULL;
    }
    for (size_t i = 0; i < replica.status.members_count; i++) {
        const struct qr_member *m = &replica.status.members[i].member;

        if (qr_replica_node(m->id) == node) {
            return m->role == QR_ROLE_VOTER ? "voter" : "learner";
        }
    }
    return "none";
}
