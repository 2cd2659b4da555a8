/* Another member's snapshot, where applying cannot go on.
 *
 * A replica does not apply past an entry whose commands are damaged here. Often
 * nobody can send them: the others have applied them long ago, taken a
 * snapshot, and released them. Their snapshot is the machine's state after that
 * entry and others, and every machine comes to the same state; so it is put in
 * place of the machine's own, and applying goes on from there.
 *
 * That is no install: our log stays as it is, with all that we have promised.
 * The snapshot is one of entries that we have, up to one that is committed; its
 * live entries are here, since what is live later was live before. What its
 * entries did to the members the library is told.
 *
 * A leader does not do so, since it would not perform what it passes over: it
 * gives way (repair.c). A replica that cannot start, since a change of members
 * may be among what is damaged, starts from such a snapshot. One whose log ends
 * before it cannot do that; it is lost after some rounds. */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    STATE_ASK_MS = 2000 /* between two questions */
};

/* Whether a snapshot from elsewhere would help now. */
static bool
is_needed(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_repairing) {
        return !g->is_leaving;
    }
    return g->is_running && !g->is_installing && g->install == NULL &&
           !g->is_taking && !g->is_leaving && !replica_is_leader(g) &&
           g->applied < g->commit && repair_is_damaged(g, g->applied + 1);
}

void
state_ask(struct qr_group *g)
{
    struct env *env = g->host->env;
    struct damage *d = g->damage;
    Raft__Fetch pb = RAFT__FETCH__INIT;
    struct frame *f;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (d->offered <= g->applied || !is_needed(g) ||
        env->ops->now_ms(env) < d->state_due_ms) {
        return;
    }
    d->state_due_ms = env->ops->now_ms(env) + STATE_ASK_MS;
    pb.group = g->id;
    pb.from = g->self;
    pb.to = d->offered_by;
    pb.nonce = ++g->host->stream_next;
    f = host_frame(FRAME_RAFT, WIRE_FETCH, g->id, &pb.base);
    (void)host_post(g->host, qr_replica_node(d->offered_by), &f);
}

void
state_send(struct qr_group *g, const Raft__Fetch *pb)
{
    Raft__Install state = RAFT__INSTALL__INIT;
    struct store_group_info info;
    struct frame *f;
    uint8_t *configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    /* Only what is durable and known to the library: the store may be about
     * to record another one. */
    if (g->is_lost || g->is_taking || g->is_installing ||
        store_group_info(g->host->store, g->id, &info) != 0 ||
        !info.has_snapshot) {
        return;
    }
    configuration = mem_dup(info.snapshot.configuration.data,
                            info.snapshot.configuration.size);
    state.group = g->id;
    state.from = g->self;
    state.to = pb->from;
    state.last_index = info.snapshot.index;
    state.last_term = info.snapshot.term;
    state.configuration_index = info.snapshot.configuration_index;
    state.configuration.data = configuration;
    state.configuration.len = info.snapshot.configuration.size;
    f = host_frame(FRAME_STREAM, WIRE_STATE, g->id, &state.base);
    frame_add(f, slice_ref(&info.snapshot.manifest));
    mem_free(configuration);
    (void)host_post(g->host, qr_replica_node(pb->from), &f);
}

/* Up to where our log may be passed over: it is committed, and durable. What a
 * snapshot stands for is committed; what a start has found is durable. */
static qr_index
limit(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_running ? MIN(g->commit, g->raft.last_stored) : UINT64_MAX;
}

/* Whether PB stands for entries that we have and that are committed, and goes
 * beyond what is applied. */
static bool
is_ours(struct qr_group *g, const Raft__Install *pb)
{
    struct raft_buffer b = {pb->configuration.data, pb->configuration.len};
    struct raft_configuration c;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (pb->last_index <= g->applied || pb->last_term == 0 ||
        pb->last_index > limit(g) ||
        store_term(g->host->store, g->id, pb->last_index) != pb->last_term ||
        pb->configuration_index < g->configuration_index ||
        pb->configuration_index > pb->last_index || b.len < 16 ||
        raft_configuration_decode(&b, &c) != 0) {
        return false;
    }
    raft_configuration_close(&c);
    return true;
}

/* Tell the library and the host what the passed entries did to the members. */
static void
configure(struct qr_group *g, const Raft__Install *pb)
{
    struct slice configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_running && g->raft.configuration_uncommitted_index != 0 &&
        g->raft.configuration_uncommitted_index <= g->applied) {
        replica_confirm(g);
    }
    if (pb->configuration_index == g->configuration_index) {
        return;
    }
    configuration = slice_copy(pb->configuration.data, pb->configuration.len);
    replica_configure(g, &configuration, pb->configuration_index);
    slice_unref(&configuration);
    if (g->ops->members != NULL) {
        g->ops->members(g->machine);
    }
}

/* The replica has not started: it starts from MANIFEST, whose LIVE entries are
 * here, once that is recorded. */
static void
start_from(struct qr_group *g, const Raft__Install *pb,
           const struct slice *manifest, const struct ranges *live)
{
    struct store_snapshot s = {
        .index = pb->last_index,
        .term = pb->last_term,
        .configuration_index = g->configuration_index,
        .configuration = g->configuration,
        .manifest = *manifest,
        .live = live,
    };

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_running);
    g->commit = MAX(g->commit, g->applied);
    replica_note_batch(g, store_snapshot(g->host->store, g->id, &s));
    g->is_repairing = false;
    g->must_restart = true;
    host_await(g, g->last_batch);
}

void
state_receive(struct qr_group *g, const Raft__Install *pb,
              const struct slice *manifest)
{
    struct ranges live;
    uint64_t clock = g->clock_ms;
    size_t offset = 0;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!is_needed(g) || !is_ours(g, pb)) {
        return;
    }
    ranges_init(&live);
    rv = snapshot_open(manifest, &live, &clock, &offset);
    if (rv == 0) {
        rv = g->ops->restore(g->machine, pb->last_index,
                             manifest->data + offset, manifest->size - offset);
    }
    if (rv != 0) {
        ranges_deinit(&live);
        log_error(g->host->env->log, "raft",
                  "group %llu: node %u's snapshot at %llu is refused",
                  (unsigned long long)g->id, qr_replica_node(pb->from),
                  (unsigned long long)pb->last_index);
        return;
    }
    log_info(g->host->env->log, "raft",
             "group %llu: goes on from node %u's snapshot at %llu: entry %llu "
             "is damaged here",
             (unsigned long long)g->id, qr_replica_node(pb->from),
             (unsigned long long)pb->last_index,
             (unsigned long long)g->applied + 1);
    g->clock_ms = clock;
    g->applied = pb->last_index;
    configure(g, pb);
    if (g->is_running) {
        qr_group_snapshot(g); /* ours, from here on */
        replica_settle(g);
    } else {
        start_from(g, pb, manifest, &live);
    }
    ranges_deinit(&live);
}
