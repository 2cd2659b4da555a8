/* A node's groups in words, for the end of a trace. */
#include <quorate/host.h>

#include "base/buf.h"
#include "base/map.h"
#include "broker/broker_priv.h"
#include "broker/queue_group.h"
#include "machine/queue/queue_command.h"
#include "sim/sim_node.h"

static void
describe_consumer(void *arg, const struct queue_consumer_info *i)
{
    buf_putf(arg, "    consumer %u.%u.%u/%llu: credit %u, unsettled %llu%s%s\n",
             session_node(i->session), session_boot(i->session),
             session_shard(i->session), (unsigned long long)i->consumer,
             i->credit, (unsigned long long)i->unsettled,
             i->is_cancelled ? ", cancelled" : "", i->is_get ? ", get" : "");
}

static void
describe_group(const struct qr_group *g, struct buf *out)
{
    struct qr_group_status s;

    qr_group_status(g, &s);
    buf_putf(out,
             "%s, term %llu, last %llu, stored %llu, committed %llu, applied "
             "%llu, %zu members%s\n",
             s.state, (unsigned long long)s.term, (unsigned long long)s.last,
             (unsigned long long)s.stored, (unsigned long long)s.committed,
             (unsigned long long)s.applied, s.members_count,
             s.damaged > 0 ? ", damaged" : "");
}

static void
describe_queue(const struct queue_machine *m, struct buf *out)
{
    struct queue_counts c;

    queue_machine_counts(m, &c);
    buf_putf(out, "    ready %llu, unsettled %llu, consumers %llu\n",
             (unsigned long long)c.ready, (unsigned long long)c.unsettled,
             (unsigned long long)c.consumers);
    queue_machine_foreach_consumer(m, describe_consumer, out);
}

static void
describe_shard(const struct sim_node *n, const struct sim_parts *parts,
               struct buf *out)
{
    const struct qr_group *meta = qr_host_group(parts->host, QR_GROUP_META);
    struct queue_group *g;
    uint64_t id;
    size_t pos;

    if (meta != NULL) {
        buf_putf(out, "n%u metadata: ", sim_node_id(n));
        describe_group(meta, out);
    }
    map_foreach (&parts->broker->groups, pos, id, g) {
        buf_putf(out, "n%u group %llu: ", sim_node_id(n),
                 (unsigned long long)id);
        describe_group(queue_group_raft(g), out);
        describe_queue(queue_group_machine(g), out);
    }
}

void
sim_node_describe(const struct sim_node *n, struct buf *out)
{
    struct sim_parts parts;

    for (uint16_t i = 0; i < sim_node_shards(n); i++) {
        if (sim_node_parts(n, i, &parts)) {
            describe_shard(n, &parts, out);
        }
    }
}
