/* Nodes that start and crash, groups on them, and what must hold in each. The
 * machine and what is known of it for certain: oracle.c. */
#include "cluster.h"

#include <inttypes.h>
#include <quorate/error.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slice.h"
#include "consensus/internal.h"
#include "lib/harness.h"

enum {
    DISK_CAPACITY = 1 << 30,
    SEGMENT_SIZE = 1 << 20
};

/* A crash forgets reads under way, as it does; in this one process what they
 * held is then lost, and not a leak of the program. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
    return "leak:store_fetch\nleak:stream_start\nleak:donate_receive\n"
           "leak:qr_group_fetch\n";
}

/* ---- nodes ---- */

struct node *
cluster_node(struct cluster *c, qr_node_id id)
{
    ASSERT(id >= 1 && id <= c->nodes_count);
    return &c->nodes[id];
}

bool
cluster_is_up(const struct cluster *c, qr_node_id id)
{
    return c->nodes[id].host != NULL;
}

qr_replica_id
cluster_replica(qr_node_id node)
{
    return qr_replica(node, 1);
}

static void
complete_disk(void *arg)
{
    struct node *n = arg;

    (void)disk_sim_complete_one(n->disk);
}

static void
on_disk(void *arg)
{
    struct node *n = arg;
    struct sim *sim = n->cluster->sim;
    uint64_t delay = 1 + rng_below(sim_rng(sim), n->disk_delay_us);

    if (sim_is_up(sim, n->id)) {
        sim_call(sim, sim_env(sim, n->id, 0), delay, complete_disk, n);
    }
}

static void
on_durable(void *arg, uint64_t batch)
{
    struct node *n = arg;

    if (n->host != NULL) {
        qr_host_durable(n->host, batch);
    }
}

static void
on_failure(void *arg, const char *text)
{
    (void)arg;
    cr_assert_fail("the store failed: %s", text);
}

static void
on_damage(void *arg, const struct store_damage *damage)
{
    struct node *n = arg;

    if (n->host != NULL) {
        qr_host_damaged(n->host, damage);
    }
}

static enum qr_unknown
on_unknown(void *arg, qr_group_id group, qr_node_id from)
{
    struct node *n = arg;

    (void)from;
    return map_get(&n->cluster->deleted, group) != NULL ? QR_UNKNOWN_DELETED
                                                        : QR_UNKNOWN_WAIT;
}

static void
on_deleted(void *arg, qr_group_id group)
{
    struct node *n = arg;

    n->deleted++;
    if (qr_host_group(n->host, group) != NULL) {
        qr_group_delete(qr_host_group(n->host, group));
    }
}

static void
on_lost(void *arg, qr_group_id group, qr_replica_id replica)
{
    struct node *n = arg;

    (void)group;
    n->lost++;
    n->lost_replica = replica;
}

static void
on_missing(void *arg, qr_group_id group, qr_index index)
{
    struct node *n = arg;

    (void)group;
    n->missing++;
    n->missing_index = index;
}

static void open_group(struct node *n, qr_group_id group,
                       const struct placement *p, bool stand, bool is_fresh);

static void
on_stored(void *arg, qr_group_id id, qr_replica_id self, bool is_volatile)
{
    struct node *n = arg;
    struct placement p = {.self = self, .is_volatile = is_volatile};
    const struct placement *wanted = map_get(&n->placements, id);

    open_group(n, id, wanted != NULL ? wanted : &p, false, false);
}

/* What was lost before it was durable is made again, as the metadata would. */
static void
open_missing(struct node *n)
{
    uint64_t *ids = map_keys_sorted(&n->placements);

    for (size_t i = 0; i < n->placements.count; i++) {
        const struct placement *p = map_get(&n->placements, ids[i]);

        if (qr_host_group(n->host, ids[i]) == NULL && !p->is_volatile) {
            open_group(n, ids[i], p, false, false);
        }
    }
    mem_free(ids);
}

static const struct logger *
test_logger(void)
{
    return NULL;
}

static void
open_store(struct node *n)
{
    struct store_config config = {
        .disk = disk_sim_disk(n->disk),
        .segment_size = n->cluster->segment_size,
        .cache_size = 4 << 20,
        .on_durable = on_durable,
        .on_failure = on_failure,
        .on_damage = on_damage,
        .arg = n,
    };
    struct error err;

    config.node_uuid[0] = (uint8_t)n->id;
    error_clear(&err);
    cr_assert_eq(store_open(&config, &n->store, &err), 0, "%s", err.text);
}

void
cluster_start(struct cluster *c, qr_node_id id)
{
    struct node *n = cluster_node(c, id);
    struct qr_host_config config = {
        .heartbeat_ms = c->heartbeat_ms,
        .election_timeout_ms = c->election_timeout_ms,
        .snapshot_log_bytes = c->snapshot_log_bytes,
        .snapshot_log_entries = c->snapshot_log_entries,
        .unknown = on_unknown,
        .deleted = on_deleted,
        .lost = on_lost,
        .missing = on_missing,
        .arg = n,
    };

    cr_assert_null(n->host);
    sim_start(c->sim, id, 1, test_logger());
    open_store(n);
    config.env = sim_env(c->sim, id, 0);
    config.store = n->store;
    n->host = qr_host_new(&config);
    qr_host_foreach_stored(n->host, on_stored, n);
    open_missing(n);
}

void
cluster_crash(struct cluster *c, qr_node_id id, bool is_power)
{
    struct node *n = cluster_node(c, id);
    size_t pos;
    uint64_t key;
    struct machine *m;

    cr_assert_not_null(n->host);
    sim_stop(c->sim, id);
    if (is_power) {
        disk_sim_crash(n->disk, (uint32_t)rng_below(sim_rng(c->sim), 1000001));
    } else {
        disk_sim_kill(n->disk);
    }
    qr_host_free(&n->host);
    store_close(&n->store);
    map_foreach (&n->machines, pos, key, m) {
        oracle_machine_free(m);
    }
    map_deinit(&n->machines);
    map_init(&n->machines);
}

void
cluster_lose_disk(struct cluster *c, qr_node_id id, uint32_t *incarnation)
{
    struct node *n = cluster_node(c, id);
    uint64_t *ids = map_keys_sorted(&n->placements);

    cr_assert_null(n->host);
    disk_sim_lose(n->disk);
    for (size_t i = 0; i < n->placements.count; i++) {
        struct placement *p = map_get(&n->placements, ids[i]);

        p->self = qr_replica(id, (*incarnation)++);
        p->voters = 0;
    }
    mem_free(ids);
}

struct cluster *
cluster_new(uint64_t seed, unsigned nodes)
{
    struct cluster *c = mem_zalloc(1, sizeof *c);

    ASSERT(nodes <= CLUSTER_NODES_MAX);
    c->sim = sim_new(seed);
    c->nodes_count = nodes;
    c->segment_size = SEGMENT_SIZE;
    c->heartbeat_ms = 100;
    c->election_timeout_ms = 1000;
    map_init(&c->oracles);
    map_init(&c->deleted);
    for (qr_node_id id = 1; id <= nodes; id++) {
        struct node *n = &c->nodes[id];

        n->cluster = c;
        n->id = id;
        n->disk_delay_us = 500;
        n->disk = disk_sim_new(sim_rng(c->sim), DISK_CAPACITY);
        disk_sim_set_notify(n->disk, on_disk, n);
        map_init(&n->machines);
        map_init(&n->placements);
        cluster_start(c, id);
    }
    return c;
}

static void
free_oracles(struct cluster *c)
{
    size_t pos;
    uint64_t key;
    struct oracle *o;

    map_foreach (&c->oracles, pos, key, o) {
        map_deinit(&o->leaders);
        mem_free(o->hashes);
        mem_free(o->bodies);
        mem_free(o);
    }
    map_deinit(&c->oracles);
    map_deinit(&c->deleted);
}

static void
free_placements(struct node *n)
{
    size_t pos;
    uint64_t key;
    struct placement *p;

    map_foreach (&n->placements, pos, key, p) {
        mem_free(p);
    }
    map_deinit(&n->placements);
}

void
cluster_free(struct cluster **cp)
{
    struct cluster *c = *cp;

    for (qr_node_id id = 1; id <= c->nodes_count; id++) {
        if (cluster_is_up(c, id)) {
            cluster_crash(c, id, false);
        }
        map_deinit(&c->nodes[id].machines);
        free_placements(&c->nodes[id]);
        disk_sim_free(&c->nodes[id].disk);
    }
    sim_free(&c->sim);
    free_oracles(c);
    mem_free(c);
    *cp = NULL;
}

/* ---- rot ---- */

struct rot {
    struct node *n;
    struct slice needle;
    uint64_t at; /* in it, the byte to change */
    unsigned count;
};

/* Change what is sought wherever file NAME has it. */
static void
rot_file(void *arg, const char *name, uint64_t size)
{
    struct rot *r = arg;
    struct disk *disk = disk_sim_disk(r->n->disk);
    uint8_t *data = mem_alloc(size);
    struct disk_file *file;
    const uint8_t *at = data;

    cr_assert_eq(disk->ops->open(disk, name, &file), 0);
    cr_assert_eq(disk->ops->read(file, 0, data, size), 0);
    disk->ops->close(file);
    while ((at = memmem(at, size - (size_t)(at - data), r->needle.data,
                        r->needle.size)) != NULL) {
        cr_assert_eq(
            disk_sim_flip(r->n->disk, name, (uint64_t)(at - data) + r->at, 1),
            0);
        r->count++;
        at++;
    }
    mem_free(data);
}

bool
cluster_try_rot(struct cluster *c, qr_node_id node, qr_group_id group,
                qr_index index)
{
    struct rot r = {.n = cluster_node(c, node)};
    struct disk *disk = disk_sim_disk(r.n->disk);
    struct store_entry e;

    if (store_read(r.n->store, group, index, &e) != 0) {
        return false;
    }
    r.needle = e.data;
    r.at = e.data.size - 1;
    if (e.data.size >= 16) { /* others are not unique */
        cr_assert_eq(disk->ops->list(disk, rot_file, &r), 0);
    }
    slice_unref(&e.data);
    return r.count > 0;
}

void
cluster_rot(struct cluster *c, qr_node_id node, qr_group_id group,
            qr_index index)
{
    disk_sim_complete_all(cluster_node(c, node)->disk);
    cr_assert(cluster_try_rot(c, node, group, index),
              "entry %" PRIu64 " is not on the disk", index);
}

/* ---- groups ---- */

static void
open_group(struct node *n, qr_group_id group, const struct placement *p,
           bool stand, bool is_fresh)
{
    struct qr_member members[CLUSTER_NODES_MAX];
    struct machine *m = oracle_machine_new(n, group);
    struct qr_group_config config = {
        .id = group,
        .self = p->self,
        .members = members,
        .members_count = p->voters,
        .stand = stand,
        .is_volatile = p->is_volatile,
        .is_fresh = is_fresh,
        .ops = &oracle_machine_ops,
        .machine = m,
    };
    struct qr_group *g;
    struct error err;

    for (unsigned i = 0; i < p->voters; i++) {
        members[i].id = cluster_replica(i + 1);
        members[i].role = QR_ROLE_VOTER;
    }
    m->self = config.self;
    m->refuses_restore = n->refuses_restore;
    error_clear(&err);
    cr_assert_eq(qr_group_open(n->host, &config, &g, &err), 0, "%s", err.text);
    cr_assert_eq(g, qr_host_group(n->host, group));
}

/* Note P as NODE's place in GROUP, and open it. */
static void
place(struct cluster *c, qr_group_id group, qr_node_id node,
      const struct placement *p, bool stand)
{
    struct node *n = cluster_node(c, node);
    void *before = map_put(&n->placements, group, mem_dup(p, sizeof *p));

    cr_assert_null(before);
    open_group(n, group, p, stand, true);
}

void
cluster_open_on(struct cluster *c, qr_group_id group, qr_node_id node,
                unsigned voters, bool stand, bool is_volatile)
{
    struct placement p = {cluster_replica(node), voters, is_volatile};

    place(c, group, node, &p, stand);
}

void
cluster_open(struct cluster *c, qr_group_id group, unsigned voters,
             bool is_volatile)
{
    for (qr_node_id id = 1; id <= voters; id++) {
        cluster_open_on(c, group, id, voters, id == 1, is_volatile);
    }
}

void
cluster_join(struct cluster *c, qr_group_id group, qr_node_id node,
             qr_replica_id self)
{
    struct placement p = {.self = self};

    place(c, group, node, &p, false);
}

void
cluster_replace(struct cluster *c, qr_group_id group, qr_node_id node,
                qr_replica_id self)
{
    struct node *n = cluster_node(c, node);
    struct machine *before = map_remove(&n->machines, group);
    struct placement p = {.self = self};

    cr_assert_not_null(before);
    open_group(n, group, &p, false, true); /* `gone` frees the one before */
    mem_free(map_put(&n->placements, group, mem_dup(&p, sizeof p)));
}

struct qr_group *
cluster_group(struct cluster *c, qr_node_id node, qr_group_id group)
{
    struct node *n = cluster_node(c, node);

    return n->host == NULL ? NULL : qr_host_group(n->host, group);
}

struct machine *
cluster_machine(struct cluster *c, qr_node_id node, qr_group_id group)
{
    return map_get(&cluster_node(c, node)->machines, group);
}

void
cluster_run(struct cluster *c, uint64_t ms)
{
    sim_run(c->sim, sim_now_us(c->sim) + ms * 1000);
}

qr_node_id
cluster_leader(struct cluster *c, qr_group_id group)
{
    qr_node_id best = 0;
    qr_term term = 0;

    for (qr_node_id id = 1; id <= c->nodes_count; id++) {
        struct qr_group *g = cluster_group(c, id, group);
        struct qr_group_status s;

        if (g == NULL) {
            continue;
        }
        qr_group_status(g, &s);
        if (s.is_leader && s.term > term) {
            term = s.term;
            best = id;
        }
    }
    return best;
}

qr_node_id
cluster_wait_leader(struct cluster *c, qr_group_id group, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        qr_node_id leader = cluster_leader(c, group);

        if (leader != 0) {
            return leader;
        }
        cluster_run(c, 1);
    }
    return cluster_leader(c, group);
}

bool
cluster_propose(struct cluster *c, qr_group_id group, size_t size, bool settle)
{
    qr_node_id leader = cluster_leader(c, group);
    struct buf b;
    struct slice s = slice_empty();
    uint8_t *at;
    int rv;

    if (leader == 0) {
        return false;
    }
    buf_init(&b);
    buf_put_u64le(&b, ++c->next_id);
    buf_put_u8(&b, settle ? 1 : 0);
    buf_put_u32le(&b, (uint32_t)size);
    at = buf_extend(&b, size);
    memset(at, (int)(c->next_id & 255), size);
    s.data = b.data;
    s.size = b.size;
    rv = qr_group_propose(cluster_group(c, leader, group), &s, 1);
    buf_deinit(&b);
    if (rv == 0) {
        cluster_oracle(c, group)->proposed++;
    }
    return rv == 0;
}

static bool
is_converged(struct cluster *c, qr_group_id group)
{
    qr_node_id leader = cluster_leader(c, group);
    struct qr_group_status s;

    if (leader == 0) {
        return false;
    }
    qr_group_status(cluster_group(c, leader, group), &s);
    if (s.applied != s.last) {
        return false;
    }
    for (size_t i = 0; i < s.members_count; i++) {
        qr_node_id node = qr_replica_node(s.members[i].member.id);
        struct machine *m = cluster_machine(c, node, group);

        if (cluster_is_up(c, node) && (m == NULL || m->index != s.applied)) {
            return false;
        }
    }
    return true;
}

bool
cluster_converges(struct cluster *c, qr_group_id group, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && !is_converged(c, group); i += 10) {
        cluster_run(c, 10);
    }
    return is_converged(c, group);
}

/* The newest configuration in G's log, or its snapshot's. False when that
 * cannot be read just now. */
static bool
logged_configuration(struct node *n, const struct qr_group *g,
                     struct slice *out)
{
    struct store_group_info info;

    cr_assert_eq(store_group_info(n->store, g->id, &info), 0);
    for (qr_index i = info.last_index; i >= info.first_index; i--) {
        struct store_entry e;

        if (store_read(n->store, g->id, i, &e) != 0) {
            return false;
        }
        if (e.type == RAFT_CHANGE) {
            *out = e.data;
            return true;
        }
        slice_unref(&e.data);
    }
    *out = info.has_snapshot ? slice_ref(&info.snapshot.configuration)
                             : slice_empty();
    return true;
}

static void
check_members(struct node *n, struct qr_group *g)
{
    struct slice logged;
    struct raft_buffer b;

    cr_assert(g->raft.configuration_uncommitted_index == 0 ||
                  g->raft.configuration_uncommitted_index > g->applied,
              "node %u: the change at %llu is applied, but not to the library",
              n->id, g->raft.configuration_uncommitted_index);
    if (!logged_configuration(n, g, &logged)) {
        return;
    }
    if (g->raft.configuration.n > 0) {
        cr_assert_eq(raft_configuration_encode(&g->raft.configuration, &b), 0);
        cr_assert_eq(b.len, logged.size);
        cr_assert_eq(memcmp(b.base, logged.data, b.len), 0,
                     "node %u: the members are not those of its log", n->id);
        raft_free(b.base);
    }
    slice_unref(&logged);
}

/* Whether the follower that leader G thinks has entry MATCH has it. */
static void
check_match(struct cluster *c, struct node *n, struct qr_group *g,
            const struct raft_server *s)
{
    qr_node_id id = qr_replica_node(s->id);
    struct qr_group *f = cluster_group(c, id, g->id);
    struct store_group_info info;
    raft_index match = 0;
    qr_term ours;
    qr_term theirs;

    if (f == NULL || s->id == g->self || f->self != s->id || !f->is_running ||
        f->is_installing || raft_match_index(&g->raft, s->id, &match) != 0 ||
        match == 0 || f->raft.current_term != g->raft.current_term) {
        return;
    }
    ours = store_term(n->store, g->id, match);
    theirs = store_term(c->nodes[id].store, g->id, match);
    cr_assert_eq(store_group_info(c->nodes[id].store, g->id, &info), 0);
    if (ours == 0 || match < info.first_index - 1) {
        return;
    }
    if (ours != theirs) {
        cluster_dump(c, g->id);
    }
    cr_assert_eq(ours, theirs,
                 "node %u thinks that %u has entry %llu of term %" PRIu64
                 "; it has %" PRIu64,
                 n->id, id, match, ours, theirs);
}

void
cluster_check_engines(struct cluster *c, qr_group_id group)
{
    for (qr_node_id id = 1; id <= c->nodes_count; id++) {
        struct qr_group *g = cluster_group(c, id, group);

        if (g == NULL || !g->is_running || g->is_installing) {
            continue;
        }
        check_members(&c->nodes[id], g);
        for (unsigned i = 0;
             g->raft.state == RAFT_LEADER && i < g->raft.configuration.n; i++) {
            check_match(c, &c->nodes[id], g, &g->raft.configuration.servers[i]);
        }
    }
}

static void
dump_damage(const struct damage *d)
{
    fprintf(stderr,
            "    damaged %" PRIu64 " missing %" PRIu64 " opaque %" PRIu64
            " released %" PRIu64 ", %zu known, %u in vain, offered %" PRIu64
            "%s%s%s:",
            ranges_total(&d->damaged), ranges_total(&d->missing),
            ranges_total(&d->opaque), ranges_total(&d->released),
            d->known_count, d->vain_rounds, d->offered,
            d->is_alone ? ", alone" : "", d->is_asking ? ", asking" : "",
            d->is_unsure ? ", unsure" : "");
    for (size_t i = 0; i < d->damaged.count && i < 8; i++) {
        fprintf(stderr, " %" PRIu64 "-%" PRIu64, d->damaged.items[i].first,
                d->damaged.items[i].last);
    }
    fprintf(stderr, "\n");
}

void
cluster_dump(struct cluster *c, qr_group_id group)
{
    for (qr_node_id id = 1; id <= c->nodes_count; id++) {
        struct qr_group *g = cluster_group(c, id, group);
        struct qr_group_status s;

        fprintf(stderr, "  node %u %s: ", id,
                cluster_is_up(c, id) ? "up" : "down");
        if (g == NULL) {
            fprintf(stderr, "no replica\n");
            continue;
        }
        qr_group_status(g, &s);
        fprintf(stderr,
                "%" PRIx64 " %s%s of %u, term %" PRIu64 " last %" PRIu64
                " stored %" PRIu64 " committed %" PRIu64 " applied %" PRIu64
                " snapshot %" PRIu64 ":",
                s.self, s.state, s.is_leader ? " serving" : "", s.leader,
                s.term, s.last, s.stored, s.committed, s.applied, s.snapshot);
        for (size_t i = 0; i < s.members_count; i++) {
            fprintf(stderr, " %" PRIx64 "%s@%" PRIu64, s.members[i].member.id,
                    s.members[i].member.role == QR_ROLE_VOTER ? "" : "l",
                    s.members[i].match);
        }
        fprintf(stderr, "\n");
        if (g->damage != NULL) {
            dump_damage(g->damage);
        }
    }
}

void
cluster_check_bodies(struct cluster *c, qr_node_id node, qr_group_id group)
{
    struct machine *m = cluster_machine(c, node, group);
    struct qr_group *g = cluster_group(c, node, group);

    for (size_t i = 0; i < m->live.count; i++) {
        for (uint64_t at = m->live.items[i].first; at <= m->live.items[i].last;
             at++) {
            struct slice body;

            cr_assert_eq(qr_group_read(g, at, &body), 0,
                         "node %u cannot read live entry %" PRIu64, node, at);
            cr_assert_eq(crc32c(0, body.data, body.size) + UINT64_C(1),
                         m->oracle->bodies[at]);
            slice_unref(&body);
        }
    }
}
