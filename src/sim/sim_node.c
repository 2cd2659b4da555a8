/* See sim_node.h. Requests to a disk complete after a random time; the store's
 * callbacks find their shard through `struct sim_shard`. */
#include "sim/sim_node.h"

#include <quorate/host.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/broker_priv.h"
#include "broker/formation.h"
#include "broker/queue_group.h"
#include "sim/sim_front.h"
#include "sim/sim_identity.h"
#include "sim/sim_memory.h"
#include "store/disk_sim.h"
#include "store/store.h"

enum {
    SIM_NODE_MAGIC = 0x736e6f64,
    CACHE_SIZE = 256 << 10,
    SCRUB_PAUSE_MS = 3000,
    HEARTBEAT_MS = 200,
    ELECTION_MS = 1000
};

/* Of SIM_NODE_PASSWORD: N = 2, r = 1, p = 1. */
static const char password_hash[] =
    "$scrypt$ln=1,r=1,p=1$c2ltdWxhdGVkLXNhbHQhIQ$"
    "3pU4F5xI8jo1MfiEsIyQ+L4enoNGY9UknYjokqa4Tk8";

struct sim_shard {
    struct sim_node *node;
    uint16_t number;
    struct disk_sim *disk;
    struct store *store;
    struct qr_host *host;
    struct broker *broker;
    struct sim_front *front;
};

struct sim_node {
    unsigned magic;
    struct sim_node_config config;
    char name[16];
    bool is_up;
    bool is_leaving;
    bool sets_aside;       /* what it has, before it starts again */
    bool is_renewed;       /* it is blank, and takes another UUID */
    struct disk_sim *disk; /* of the identity */
    struct disk_sim_image *copies[SIM_SHARDS_MAX + 1]; /* the identity's last */
    struct sim_identity identity;
    struct cluster founders;
    qr_node_id initial[CLUSTER_MEMBERS_MAX];
    struct cluster_member plan[CLUSTER_MEMBERS_MAX]; /* the configuration */
    struct formation *formation;
    struct sim_acquaintance others;
    struct sim_memory memory;
    struct sim_shard shards[SIM_SHARDS_MAX];
};

static void
complete_disk(void *arg)
{
    struct sim_shard *s = arg;

    (void)disk_sim_complete_one(s->disk);
}

static void
on_disk(void *arg)
{
    struct sim_shard *s = arg;
    struct sim_node *n = s->node;
    uint64_t delay =
        20 + rng_below(sim_rng(n->config.sim), n->config.disk_delay_us);

    if (disk_sim_has_stopped(s->disk)) {
        n->config.on_given_up(n->config.arg, n->config.id);
    } else if (sim_is_up(n->config.sim, n->config.id)) {
        sim_call(n->config.sim, sim_env(n->config.sim, n->config.id, s->number),
                 delay, complete_disk, s);
    }
}

static void
on_durable(void *arg, uint64_t batch)
{
    struct sim_shard *s = arg;

    if (s->host != NULL) {
        qr_host_durable(s->host, batch);
    }
}

static void
on_failure(void *arg, const char *text)
{
    struct sim_shard *s = arg;
    struct sim_node_config *c = &s->node->config;

    sim_trace(c->sim, c->id, "the store failed: %s", text);
    c->on_given_up(c->arg, c->id);
}

static uint64_t
now_ms(void *arg)
{
    struct sim_shard *s = arg;

    return sim_now_us(s->node->config.sim) / 1000;
}

static void
on_damage(void *arg, const struct store_damage *damage)
{
    struct sim_shard *s = arg;

    if (s->host != NULL) {
        qr_host_damaged(s->host, damage);
    }
}

static enum qr_unknown
on_unknown(void *arg, qr_group_id group, qr_node_id from)
{
    struct sim_shard *s = arg;

    return broker_unknown_group(s->broker, group, from);
}

static void
on_deleted(void *arg, qr_group_id group)
{
    struct sim_shard *s = arg;

    broker_deleted_group(s->broker, group);
}

/* False: the disk stopped meanwhile. */
static bool
start_store(struct sim_shard *s)
{
    const struct sim_node_config *node = &s->node->config;
    struct store_config config = {.disk = disk_sim_disk(s->disk),
                                  .log = node->log,
                                  .segment_size = SIM_NODE_SEGMENT_SIZE,
                                  .cache_size = CACHE_SIZE,
                                  .shard = s->number,
                                  .on_durable = on_durable,
                                  .on_failure = on_failure,
                                  .on_damage = on_damage,
                                  .arg = s,
                                  .now_ms = now_ms,
                                  .scrub_rate = node->scrub_rate,
                                  .scrub_pause_ms = SCRUB_PAUSE_MS,
                                  .compact_rate = STORE_COMPACT_RATE_DEFAULT};
    struct error err = {{0}};
    int rv;

    memcpy(config.node_uuid, &s->node->identity.uuid, sizeof(config.node_uuid));
    config.timers = &sim_env(node->sim, node->id, s->number)->timers;
    rv = store_open(&config, &s->store, &err);
    if (disk_sim_has_stopped(s->disk)) {
        if (rv != 0) {
            s->store = NULL;
        }
        return false;
    }
    if (rv != 0) {
        UNREACHABLE(err.text); /* a node starts, whatever befell its disk */
    }
    return true;
}

static void
on_given_up(void *arg)
{
    struct sim_shard *s = arg;

    s->node->config.on_given_up(s->node->config.arg, s->node->config.id);
}

static void
on_lost(void *arg, qr_group_id group, qr_replica_id replica)
{
    struct sim_shard *s = arg;

    broker_lost_replica(s->broker, group, replica);
}

static void
on_missing(void *arg, qr_group_id group, qr_index index)
{
    struct sim_shard *s = arg;

    broker_missing_entry(s->broker, group, index);
}

/* Start again, in a moment. */
static void
leave(struct sim_node *n, bool sets_aside, const char *why)
{
    sim_trace(n->config.sim, n->config.id, "starts again: %s", why);
    n->is_leaving = true;
    n->sets_aside = n->sets_aside || sets_aside;
    n->config.on_given_up(n->config.arg, n->config.id);
}

static void
on_unwelcome(void *arg, enum broker_unwelcome why, const char *text)
{
    struct sim_shard *s = arg;

    (void)why;
    leave(s->node, true, text);
}

static void
on_nodes(void *arg)
{
    struct sim_shard *s = arg;
    struct sim_node *n = s->node;

    bool is_news = cluster_follow(&n->identity.cluster, s->broker->meta);

    sim_know_meta(&n->others, s->broker->meta);
    if (sim_know_for_good(&n->others, &n->identity) || is_news) {
        sim_identity_write(n->disk, &n->identity);
    }
    sim_relink(n->config.sim, n->config.id);
}

static bool
start_shard(struct sim_shard *s)
{
    struct sim_node_config *node = &s->node->config;
    struct env *env = sim_env(node->sim, node->id, s->number);
    struct qr_host_config host = {
        .env = env,
        .heartbeat_ms = HEARTBEAT_MS,
        .election_timeout_ms = ELECTION_MS,
        .snapshot_log_bytes = node->snapshot_log_bytes,
        .snapshot_log_entries = node->snapshot_log_entries,
        .unknown = on_unknown,
        .deleted = on_deleted,
        .lost = on_lost,
        .missing = on_missing,
        .arg = s};
    struct broker_config broker = {.env = env,
                                   .cluster_name = "sim",
                                   .node_name = s->node->name,
                                   .node_address = s->node->name,
                                   .default_user = SIM_NODE_USER,
                                   .default_pass_hash = password_hash,
                                   .default_vhost = "/",
                                   .default_user_tags = "administrator",
                                   .loopback_users = "guest",
                                   .queue_replicas = SIM_NODE_REPLICAS,
                                   .node_uuid = s->node->identity.uuid,
                                   .on_given_up = on_given_up,
                                   .on_unwelcome = on_unwelcome,
                                   .on_nodes = on_nodes,
                                   .arg = s,
                                   .initial_nodes = s->node->initial};
    struct sim_front_config front = {.env = env, .log = node->log};
    struct error err = {{0}};
    int rv;

    if (!start_store(s)) {
        return false;
    }
    host.store = s->store;
    s->host = qr_host_new(&host);
    broker.host = s->host;
    broker.node_process = s->node->identity.starts.process[0];
    if (s->node->founders.has_founders) {
        broker.initial_nodes_count = s->node->founders.members_count;
        broker.founders = &s->node->founders;
    }
    s->broker = broker_new(&broker);
    rv = broker_start(s->broker, &err);
    if (rv != 0 && disk_sim_has_stopped(s->disk)) {
        return false;
    }
    if (rv != 0) {
        UNREACHABLE(err.text); /* a node starts, whatever befell its disk */
    }
    front.broker = s->broker;
    front.store = s->store;
    front.rng = node->has_shortages ? sim_rng(node->sim) : NULL;
    s->front = sim_front_new(&front);
    return true;
}

/* The cluster that the configuration's nodes formed, as if long ago: the same
 * on each. */
static void
found(struct sim_node *n)
{
    struct cluster *c = &n->identity.cluster;

    ASSERT(n->config.nodes_count <= CLUSTER_MEMBERS_MAX);
    memset(&c->id, 0xc1, sizeof(c->id));
    c->has_founders = true;
    for (size_t i = 0; i < n->config.nodes_count; i++) {
        struct cluster_member *m = &n->plan[i];

        m->id = n->config.nodes[i];
        (void)snprintf(m->name, sizeof(m->name), "n%u", m->id);
        (void)snprintf(m->address, sizeof(m->address), "n%u:1", m->id);
        memset(&m->uuid, (int)m->id, sizeof(m->uuid));
        c->members[c->members_count++] = *m;
        n->initial[i] = m->id;
    }
    memset(&n->identity.uuid, (int)n->config.id, sizeof(n->identity.uuid));
    n->identity.node = n->config.id;
    sim_identity_write(n->disk, &n->identity);
}

struct sim_node *
sim_node_new(const struct sim_node_config *config)
{
    struct sim_node *n = mem_zalloc(1, sizeof(*n));

    ASSERT(config->shards >= 1);
    ASSERT(config->shards <= SIM_SHARDS_MAX);
    n->magic = SIM_NODE_MAGIC;
    n->config = *config;
    (void)snprintf(n->name, sizeof(n->name), "n%u", config->id);
    for (uint16_t i = 0; i < config->shards; i++) {
        struct sim_shard *s = &n->shards[i];

        s->node = n;
        s->number = i;
        s->disk = disk_sim_new(sim_rng(config->sim), SIM_NODE_DISK_SIZE);
        disk_sim_set_notify(s->disk, on_disk, s);
    }
    n->disk = disk_sim_new(sim_rng(config->sim), SIM_NODE_DISK_SIZE);
    sim_memory_init(&n->memory);
    found(n);
    return n;
}

/* The node is a member of the cluster now: as NODE. */
static int
on_formed(void *arg, qr_node_id id)
{
    struct sim_node *n = arg;

    n->identity.node = id;
    sim_identity_write(n->disk, &n->identity);
    leave(n, false, "it is of the cluster now");
    return 0;
}

/* The node is blank, and nobody takes its UUID in. */
static void
on_renew(void *arg)
{
    struct sim_node *n = arg;

    n->is_renewed = true;
    leave(n, false, "it takes another UUID");
}

/* What daemon/identity_renew() does; its assertion is what makes it safe. */
static void
renew(struct sim_node *n)
{
    ASSERT(n->identity.node == 0);
    ASSERT(sim_node_disk_bytes(n) == 0);
    memset(&n->identity, 0, sizeof(n->identity));
    rng_fill(sim_rng(n->config.sim), &n->identity.uuid,
             sizeof(n->identity.uuid));
}

/* Read who it is, and count this start. */
static void
identify(struct sim_node *n)
{
    struct rng *rng = sim_rng(n->config.sim);

    if (n->sets_aside) {
        sim_node_lose(n);
    }
    n->sets_aside = false;
    n->is_leaving = false;
    if (!sim_identity_read(n->disk, &n->identity)) {
        memset(&n->identity, 0, sizeof(n->identity));
        rng_fill(rng, &n->identity.uuid, sizeof(n->identity.uuid));
    } else if (n->is_renewed && n->identity.node == 0) {
        renew(n);
    }
    n->is_renewed = false;
    starts_push(&n->identity.starts, rng_u64(rng) | 1);
    sim_identity_write(n->disk, &n->identity);
    n->founders = n->identity.cluster;
    sim_know_of(&n->others, &n->identity);
}

static void
start_formation(struct sim_node *n)
{
    struct formation_config config = {
        .env = sim_env(n->config.sim, n->config.id, 0),
        .nodes = n->plan,
        .nodes_count = n->config.nodes_count,
        .uuid = n->identity.uuid,
        .data_dir = n->name,
        .cluster = &n->identity.cluster,
        .on_formed = on_formed,
        .on_renew = on_renew,
        .arg = n};

    while (n->plan[config.self].id != n->config.id) {
        config.self++;
    }
    n->formation = formation_new(&config);
    if (formation_is_formed(n->formation)) {
        formation_serve(n->formation, n->shards[0].broker);
    } else {
        formation_start(n->formation);
    }
}

bool
sim_node_start(struct sim_node *n)
{
    struct sim_self self = {0};
    bool is_good = true;

    OBJ_CHECK(n, SIM_NODE_MAGIC);
    ASSERT(!n->is_up);
    identify(n);
    self.is_blank = n->identity.node == 0;
    self.id = self.is_blank ? n->config.id : n->identity.node;
    self.uuid = n->identity.uuid;
    self.starts = n->identity.starts;
    sim_start_as(n->config.sim, n->config.id, n->config.shards, n->config.log,
                 &self);
    n->is_up = true;
    for (uint16_t i = 0; i < n->config.shards && is_good && !self.is_blank;
         i++) {
        is_good = start_shard(&n->shards[i]) &&
                  !disk_sim_has_stopped(n->shards[i].disk);
    }
    if (!is_good) {
        sim_trace(n->config.sim, n->config.id, "power cut during its start");
        sim_node_crash(n, true);
        return false;
    }
    start_formation(n);
    return true;
}

bool
sim_node_is_formed(const struct sim_node *n)
{
    return n->is_up && n->shards[0].broker != NULL;
}

bool
sim_node_is_leaving(const struct sim_node *n)
{
    return n->is_leaving;
}

bool
sim_node_welcomes(struct sim_node *n, struct sim_node *of)
{
    enum sim_verdict verdict;

    if (n->identity.node == 0 || of->identity.node == 0) {
        return true; /* formation sees to it */
    }
    verdict = sim_judge(&n->others, &of->identity);
    if (verdict != SIM_WELCOME && !of->is_leaving) {
        leave(of, true,
              verdict == SIM_REMOVED ? "it is no member any more"
                                     : "its disks are an old copy");
    }
    if (verdict == SIM_WELCOME && sim_know_for_good(&n->others, &n->identity)) {
        sim_identity_write(n->disk, &n->identity);
    }
    return verdict == SIM_WELCOME;
}

bool
sim_node_knows(struct sim_node *n, const struct sim_node *of)
{
    return sim_node_is_formed(n) && of->identity.node != 0 &&
           sim_is_known(&n->identity, of->identity.node,
                        of->identity.starts.boot);
}

/* ---- memory ---- */

static void
note_replica(struct sim_node *n, const struct qr_group *g)
{
    struct qr_group_status s;

    qr_group_status(g, &s);
    sim_memory_note(&n->memory, s.id, s.self);
}

/* The replicas that are here now were here. */
static void
note_replicas(struct sim_node *n)
{
    for (uint16_t i = 0; i < n->config.shards; i++) {
        const struct sim_shard *s = &n->shards[i];
        struct queue_group *g;
        uint64_t id;
        size_t pos;

        if (s->broker == NULL || s->host == NULL) {
            continue;
        }
        if (qr_host_group(s->host, QR_GROUP_META) != NULL) {
            note_replica(n, qr_host_group(s->host, QR_GROUP_META));
        }
        map_foreach (&s->broker->groups, pos, id, g) {
            note_replica(n, queue_group_raft(g));
        }
    }
}

bool
sim_node_forgot_any(const struct sim_node *n)
{
    return n->memory.forgotten.count > 0;
}

bool
sim_node_has_forgotten(const struct sim_node *n, qr_group_id group,
                       qr_replica_id replica)
{
    return sim_memory_is_lost(&n->memory, group, replica);
}

void
sim_node_lose(struct sim_node *n)
{
    OBJ_CHECK(n, SIM_NODE_MAGIC);
    ASSERT(!n->is_up);
    for (uint16_t i = 0; i < n->config.shards; i++) {
        disk_sim_lose(n->shards[i].disk);
    }
    disk_sim_lose(n->disk);
    sim_memory_lose(&n->memory);
}

static void
drop_copies(struct sim_node *n)
{
    for (size_t i = 0; i <= SIM_SHARDS_MAX; i++) {
        if (n->copies[i] != NULL) {
            disk_sim_image_free(&n->copies[i]);
        }
    }
}

void
sim_node_copy(struct sim_node *n)
{
    OBJ_CHECK(n, SIM_NODE_MAGIC);
    drop_copies(n);
    for (uint16_t i = 0; i < n->config.shards; i++) {
        n->copies[i] = disk_sim_copy(n->shards[i].disk);
    }
    n->copies[SIM_SHARDS_MAX] = disk_sim_copy(n->disk);
}

void
sim_node_roll_back(struct sim_node *n)
{
    OBJ_CHECK(n, SIM_NODE_MAGIC);
    ASSERT(!n->is_up);
    ASSERT(n->copies[SIM_SHARDS_MAX] != NULL);
    for (uint16_t i = 0; i < n->config.shards; i++) {
        disk_sim_roll_back(n->shards[i].disk, n->copies[i]);
    }
    disk_sim_roll_back(n->disk, n->copies[SIM_SHARDS_MAX]);
    drop_copies(n);
    sim_memory_lose(&n->memory);
}

/* ---- the end of a life ---- */

void
sim_node_crash(struct sim_node *n, bool is_power)
{
    struct rng *rng = sim_rng(n->config.sim);

    OBJ_CHECK(n, SIM_NODE_MAGIC);
    ASSERT(n->is_up);
    note_replicas(n);
    n->is_up = false;
    sim_stop(n->config.sim, n->config.id);
    if (n->formation != NULL) {
        formation_free(&n->formation);
    }
    if (is_power) {
        disk_sim_crash(n->disk, 0);
    } else {
        disk_sim_kill(n->disk);
    }
    for (uint16_t i = 0; i < n->config.shards; i++) {
        struct sim_shard *s = &n->shards[i];

        if (is_power) {
            disk_sim_crash(s->disk, (uint32_t)rng_below(rng, 1000001));
        } else {
            disk_sim_kill(s->disk);
        }
        if (s->front != NULL) {
            sim_front_free(&s->front, is_power);
        }
        /* A start that was cut short did not get that far. */
        if (s->host != NULL) {
            qr_host_free(&s->host);
        }
        if (s->broker != NULL) {
            broker_free(&s->broker);
        }
        if (s->store != NULL) {
            store_close(&s->store);
        }
    }
}

void
sim_node_free(struct sim_node **n)
{
    OBJ_CHECK(*n, SIM_NODE_MAGIC);
    ASSERT(!(*n)->is_up);
    for (uint16_t i = 0; i < (*n)->config.shards; i++) {
        disk_sim_free(&(*n)->shards[i].disk);
    }
    disk_sim_free(&(*n)->disk);
    drop_copies(*n);
    sim_memory_deinit(&(*n)->memory);
    (*n)->magic = 0;
    mem_free(*n);
    *n = NULL;
}

qr_node_id
sim_node_id(const struct sim_node *n)
{
    return n->config.id;
}

uint16_t
sim_node_shards(const struct sim_node *n)
{
    return n->config.shards;
}

bool
sim_node_is_up(const struct sim_node *n)
{
    return n->is_up;
}

void
sim_node_set_disk_delay(struct sim_node *n, uint32_t delay_us)
{
    ASSERT(delay_us > 0);
    n->config.disk_delay_us = delay_us;
}

void
sim_node_transfer(struct sim_node *n, uint64_t pick, qr_node_id to)
{
    const struct map *groups;
    struct queue_group *g;
    uint64_t *ids;

    OBJ_CHECK(n, SIM_NODE_MAGIC);
    if (!sim_node_is_formed(n)) {
        return;
    }
    groups = &n->shards[pick % n->config.shards].broker->groups;
    if (groups->count == 0) {
        return;
    }
    ids = map_keys_sorted(groups);
    g = map_get(groups, ids[pick % groups->count]);
    mem_free(ids);
    /* Not the leader, not a member, busy: as with an operator who asks. */
    (void)qr_group_transfer(queue_group_raft(g), to);
}

uint64_t
sim_node_disk_bytes(const struct sim_node *n)
{
    struct disk_sim_stats stats;
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < n->config.shards; i++) {
        disk_sim_stats(n->shards[i].disk, &stats);
        bytes += stats.bytes_used;
    }
    return bytes;
}

uint64_t
sim_node_disk_memory(const struct sim_node *n)
{
    struct disk_sim_stats stats;
    uint64_t bytes = 0;

    for (uint16_t i = 0; i < n->config.shards; i++) {
        disk_sim_stats(n->shards[i].disk, &stats);
        bytes += stats.memory;
    }
    for (size_t i = 0; i <= SIM_SHARDS_MAX; i++) {
        bytes += n->copies[i] != NULL ? disk_sim_image_memory(n->copies[i]) : 0;
    }
    return bytes;
}

struct broker *
sim_node_broker(const struct sim_node *n, uint16_t shard)
{
    ASSERT(shard < n->config.shards);
    return n->is_up ? n->shards[shard].broker : NULL;
}

struct disk_sim *
sim_node_disk(const struct sim_node *n, uint16_t shard)
{
    ASSERT(shard < n->config.shards);
    return n->shards[shard].disk;
}

bool
sim_node_parts(const struct sim_node *n, uint16_t shard, struct sim_parts *out)
{
    const struct sim_shard *s = &n->shards[shard];

    ASSERT(shard < n->config.shards);
    if (!sim_node_is_formed(n)) {
        return false;
    }
    out->broker = s->broker;
    out->host = s->host;
    out->store = s->store;
    out->disk = s->disk;
    return true;
}

struct sim_front *
sim_node_front(const struct sim_node *n, uint16_t shard)
{
    ASSERT(shard < n->config.shards);
    return n->is_up ? n->shards[shard].front : NULL;
}
