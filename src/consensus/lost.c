/* Replicas without their memory.
 *
 * A replica whose term and vote, snapshot or whole log have rotted does not
 * know what it has promised. Were it to start from what is left, it might vote
 * twice in a term, or acknowledge what it then has not. So it never starts: its
 * id is dead (ids are never used again), and all it does is say so, each
 * QR_LOST_MS, to every node that it is linked to, since it has forgotten who
 * the members are. The leader tells its owner, who removes it and adds the
 * node's next incarnation, which is a learner like any other.
 *
 * That it is lost is kept in the store's header of the group, so that a start
 * after this one knows it, too; it is said when that is durable. A host speaks
 * for its lost replicas together: at most WIRE_LOST_MAX in one go, in turn. */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    /* One answer may have been under way for long; many cannot. */
    LOST_DOUBT_MS = 2 * QR_LOST_MS
};

/* ---- those here ---- */

/* What is said at once: each in one place of both arrays. */
struct roll {
    uint64_t *groups;
    uint64_t *replicas;
    size_t count;
};

/* Up to WIRE_LOST_MAX replicas that are lost for good; others next time. */
static struct roll
call_roll(struct qr_host *host)
{
    struct roll r = {0};
    size_t max = MIN(host->lost_count, (size_t)WIRE_LOST_MAX);

    OBJ_CHECK(host, HOST_MAGIC);
    r.groups = mem_zalloc(max, sizeof r.groups[0]);
    r.replicas = mem_zalloc(max, sizeof r.replicas[0]);
    for (size_t i = 0; i < max; i++) {
        struct list *link = list_pop_front(&host->lost);
        const struct qr_group *g;

        ASSERT(link != NULL);
        g = list_entry(link, struct qr_group, lost);
        if (g->hard_batch <= host->durable) {
            r.groups[r.count] = g->id;
            r.replicas[r.count] = g->self;
            r.count++;
        }
        list_push_back(&host->lost, link);
    }
    return r;
}

/* Tell SHARD of PEER of those in ROLL whose groups it would host. */
static void
tell_shard(struct qr_host *host, const struct peer *peer, uint16_t shard,
           const struct roll *all)
{
    Raft__Lost pb = RAFT__LOST__INIT;
    struct address to = {peer->node, shard};
    struct frame *f;
    struct roll r = {0};

    OBJ_CHECK(host, HOST_MAGIC);
    r.groups = mem_zalloc(all->count, sizeof r.groups[0]);
    r.replicas = mem_zalloc(all->count, sizeof r.replicas[0]);
    for (size_t i = 0; i < all->count; i++) {
        if (env_shard_of(all->groups[i], peer->shards) == shard) {
            r.groups[r.count] = all->groups[i];
            r.replicas[r.count] = all->replicas[i];
            r.count++;
        }
    }
    if (r.count > 0) {
        pb.groups = r.groups;
        pb.replicas = r.replicas;
        pb.n_groups = pb.n_replicas = r.count;
        f = host_frame(FRAME_RAFT, WIRE_LOST, r.groups[0], &pb.base);
        f->to_shard = shard;
        (void)host->env->ops->post(host->env, to, &f);
    }
    mem_free(r.groups);
    mem_free(r.replicas);
}

static void
arm(struct qr_host *host)
{
    uint32_t jitter = 0;

    OBJ_CHECK(host, HOST_MAGIC);
    host->env->ops->random(host->env, &jitter, sizeof jitter);
    timers_start(&host->env->timers, &host->lost_timer,
                 host->env->ops->now_ms(host->env) + QR_LOST_MS / 2 +
                     jitter % QR_LOST_MS);
}

static void
on_timer(void *arg)
{
    struct qr_host *host = arg;
    struct roll r;
    size_t pos;
    uint64_t key;
    struct peer *peer;

    OBJ_CHECK(host, HOST_MAGIC);
    if (host->lost_count == 0) {
        return;
    }
    r = call_roll(host);
    map_foreach (&host->peers, pos, key, peer) {
        for (uint16_t i = 0; peer->is_linked && i < peer->shards; i++) {
            tell_shard(host, peer, i, &r);
        }
    }
    mem_free(r.groups);
    mem_free(r.replicas);
    arm(host);
}

void
lost_init(struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    list_init(&host->lost);
    timer_init(&host->lost_timer, on_timer, host);
}

void
lost_deinit(struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(host->lost_count == 0);
    timers_stop(&host->env->timers, &host->lost_timer);
}

void
lost_begin(struct qr_group *g)
{
    struct qr_host *host = g->host;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_running);
    ASSERT(!g->is_lost);
    log_warning(host->env->log, "raft",
                "group %llu: replica %llx has lost its memory; it takes no "
                "part, and waits to be replaced",
                (unsigned long long)g->id, (unsigned long long)g->self);
    g->is_lost = true;
    list_push_back(&host->lost, &g->lost);
    host->lost_count++;
    if (!timer_is_running(&host->lost_timer)) {
        arm(host);
    }
}

void
lost_end(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    mem_free(g->lost_members);
    g->lost_members = NULL;
    if (g->is_lost) {
        ASSERT(g->host->lost_count > 0);
        list_remove(&g->lost);
        g->host->lost_count--;
        g->is_lost = false;
    }
}

/* ---- forgotten groups ---- */

bool
qr_host_is_forgetful(const struct qr_host *host)
{
    OBJ_CHECK(host, HOST_MAGIC);
    return host->has_amnesia;
}

/* A replica that is lost is marked so in the store, and would be known without
 * the report. But as long as there is one, a crash could leave neither it nor
 * its successor there, and a cluster that still names it. */
bool
qr_host_accept_loss(struct qr_host *host)
{
    struct qr_group *g;
    uint64_t id;
    size_t pos;

    OBJ_CHECK(host, HOST_MAGIC);
    if (!host->has_amnesia || host->lost_count > 0) {
        return false;
    }
    map_foreach (&host->groups, pos, id, g) {
        if (g->is_leaving || g->hard_batch > host->durable) {
            return false;
        }
    }
    host->has_amnesia = false;
    store_accept_loss(host->store);
    host->env->ops->wake(host->env);
    log_info(host->env->log, "raft",
             "every replica that may have been forgotten here has been "
             "replaced");
    return true;
}

/* ---- those elsewhere ---- */

static bool
is_member(const struct qr_group *g, qr_replica_id replica)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n; i++) {
        if (c->servers[i].id == replica) {
            return true;
        }
    }
    return false;
}

/* What is known of REPLICA, or NULL. */
static struct lost_member *
member_find(const struct qr_group *g, qr_replica_id replica)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; g->lost_members != NULL && i < QR_MEMBERS_MAX; i++) {
        if (g->lost_members[i].id == replica) {
            return &g->lost_members[i];
        }
    }
    return NULL;
}

static uint64_t
heard_ms(const struct lost_member *m)
{
    return MAX(m->at_ms, m->doubt_ms);
}

/* The same, or for it the place of the one heard of longest ago. */
static struct lost_member *
member_get(struct qr_group *g, qr_replica_id replica)
{
    struct lost_member *at = member_find(g, replica);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (at != NULL) {
        return at;
    }
    if (g->lost_members == NULL) {
        g->lost_members = mem_zalloc(QR_MEMBERS_MAX, sizeof *g->lost_members);
    }
    at = &g->lost_members[0];
    for (unsigned i = 1; i < QR_MEMBERS_MAX; i++) {
        if (heard_ms(&g->lost_members[i]) < heard_ms(at)) {
            at = &g->lost_members[i];
        }
    }
    *at = (struct lost_member){.id = replica};
    return at;
}

/* REPLICA is lost; the owner is told. */
static void
note(struct qr_group *g, qr_replica_id replica)
{
    uint64_t now = g->host->env->ops->now_ms(g->host->env);

    OBJ_CHECK(g, GROUP_MAGIC);
    member_get(g, replica)->at_ms = MAX(now, 1U);
    if (g->is_serving && g->host->config.lost != NULL) {
        g->host->config.lost(g->host->config.arg, g->id, replica);
    }
}

/* Whether M denies what its sender has acknowledged to us in this term. */
static bool
is_contradiction(const struct qr_group *g, const struct raft_message *m)
{
    const struct raft_append_entries_result *r = &m->append_entries_result;
    raft_index match = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    return r->rejected != 0 && r->term == raft_current_term(&g->raft) &&
           raft_match_index(&g->raft, m->server_id, &match) == 0 &&
           r->last_log_index < match;
}

void
lost_weigh(struct qr_group *g, const struct raft_message *m)
{
    uint64_t now = g->host->env->ops->now_ms(g->host->env);
    struct lost_member *at;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(m->type == RAFT_APPEND_ENTRIES_RESULT);
    if (!g->is_serving || !is_member(g, m->server_id)) {
        return;
    }
    if (!is_contradiction(g, m)) {
        at = member_find(g, m->server_id);
        if (at != NULL) {
            at->since_ms = 0;
        }
        return;
    }
    at = member_get(g, m->server_id);
    if (at->since_ms == 0 || now - at->doubt_ms > QR_LOST_MS) {
        at->since_ms = MAX(now, 1U);
    }
    at->doubt_ms = now;
    if (now - at->since_ms < LOST_DOUBT_MS) {
        return;
    }
    if (at->at_ms == 0) {
        log_warning(g->host->env->log, "raft",
                    "group %llu: replica %llx has lost entries that it had "
                    "acknowledged: it is to be replaced",
                    (unsigned long long)g->id,
                    (unsigned long long)m->server_id);
    }
    note(g, m->server_id);
}

bool
lost_is_known(const struct qr_group *g, qr_replica_id replica)
{
    const struct lost_member *m = member_find(g, replica);

    OBJ_CHECK(g, GROUP_MAGIC);
    return m != NULL && m->at_ms != 0 &&
           g->host->env->ops->now_ms(g->host->env) - m->at_ms <=
               2 * (uint64_t)QR_LOST_MS;
}

static void
receive_one(struct qr_host *host, qr_group_id group, qr_replica_id replica,
            qr_node_id from)
{
    struct qr_group *g = map_get(&host->groups, group);

    OBJ_CHECK(host, HOST_MAGIC);
    if (qr_replica_node(replica) != from) {
        return; /* no node speaks for another */
    }
    if (g == NULL) {
        (void)host_is_awaited(host, from, group, replica);
        return;
    }
    if (!g->is_running || g->is_leaving) {
        return;
    }
    if (!is_member(g, replica)) {
        membership_disown(g, replica);
        return;
    }
    note(g, replica);
}

void
lost_receive(struct qr_host *host, const Raft__Lost *pb, qr_node_id from)
{
    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(pb->n_groups == pb->n_replicas);
    for (size_t i = 0; i < pb->n_groups; i++) {
        if (pb->groups[i] != 0 && pb->replicas[i] != 0) {
            receive_one(host, pb->groups[i], pb->replicas[i], from);
        }
    }
}
