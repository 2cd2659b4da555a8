/* How a replica starts, and stops.
 *
 * The library is given what the store has: term and vote, the snapshot's place
 * and configuration, and of each entry after it the term and type. What is
 * applied stays with the machine: a replica whose install failed is closed and
 * started again below it, and nothing is applied twice. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

void
replica_decode(const struct slice *body, struct raft_configuration *out)
{
    struct raft_buffer b;
    void *copy = mem_dup(body->data, body->size);

    ASSERT(body->size > 0);
    b.base = copy;
    b.len = body->size;
    if (raft_configuration_decode(&b, out) != 0) {
        UNREACHABLE("a configuration that was stored cannot be decoded");
    }
    mem_free(copy);
}

bool
replica_is_only_voter(const struct raft_configuration *c, qr_replica_id self)
{
    unsigned voters = 0;
    bool has_us = false;

    for (unsigned i = 0; i < c->n; i++) {
        if (c->servers[i].role == RAFT_VOTER) {
            voters++;
            has_us = has_us || c->servers[i].id == self;
        }
    }
    return voters == 1 && has_us;
}

/* What START needs of the log: terms and types, and the bodies of CHANGEs,
 * which are kept in *BODIES until the step is done. */
struct restored {
    struct raft_entry *entries;
    struct slice *bodies; /* one per entry, mostly empty */
    size_t count;
    qr_index first;
};

/* Entry INDEX is damaged. The library wants to know whether it changes the
 * members; if that is not sure, the replica does not start with this. */
static int
restore_damaged(struct qr_group *g, qr_index index, struct raft_entry *out)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    repair_note(g, index);
    out->term = store_term(g->host->store, g->id, index);
    out->type = RAFT_COMMAND;
    g->log_entries++;
    ASSERT(out->term > 0);
    return 0;
}

static int
restore_one(struct qr_group *g, struct restored *r, size_t i)
{
    struct store_entry e;
    int rv = store_read(g->host->store, g->id, r->first + i, &e);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (rv == -QR_ECORRUPT || rv == -QR_EIO) {
        return restore_damaged(g, r->first + i, &r->entries[i]);
    }
    if (rv != 0) {
        return rv;
    }
    r->entries[i].term = e.term;
    r->entries[i].type = (enum raft_entry_type)e.type;
    g->log_bytes += e.data.size;
    g->log_entries++;
    if (e.type == RAFT_CHANGE) {
        r->bodies[i] = slice_ref(&e.data);
        memcpy(&r->entries[i].buf.base, &r->bodies[i].data, sizeof(void *));
        r->entries[i].buf.len = r->bodies[i].size;
    } else if (e.type == RAFT_COMMAND && e.data.size >= ENTRY_HEADER_SIZE) {
        g->clock_ms = MAX(g->clock_ms, get_u64le(e.data.data));
    }
    slice_unref(&e.data);
    return 0;
}

static void
restored_free(struct restored *r)
{
    for (size_t i = 0; i < r->count; i++) {
        slice_unref(&r->bodies[i]);
    }
    mem_free(r->bodies);
    mem_free(r->entries);
}

static int
restore_log(struct qr_group *g, const struct store_group_info *info,
            struct restored *r)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    r->first = info->first_index;
    r->count = (size_t)(info->last_index + 1 - info->first_index);
    r->entries = mem_zalloc(r->count, sizeof r->entries[0]);
    r->bodies = mem_zalloc(r->count, sizeof r->bodies[0]);
    g->log_bytes = 0;
    g->log_entries = 0;
    for (size_t i = 0; i < r->count; i++) {
        int rv = restore_one(g, r, i);

        if (rv != 0) {
            restored_free(r);
            return rv;
        }
    }
    return 0;
}

/* The newest configuration in the log, or the snapshot's; NULL: none. */
static const struct slice *
newest_configuration(const struct restored *r,
                     const struct store_group_info *info)
{
    for (size_t i = r->count; i-- > 0;) {
        if (r->entries[i].type == RAFT_CHANGE) {
            return &r->bodies[i];
        }
    }
    return info->has_snapshot ? &info->snapshot.configuration : NULL;
}

static void
know_members(struct qr_group *g, const struct slice *configuration)
{
    struct raft_configuration c;

    OBJ_CHECK(g, GROUP_MAGIC);
    replica_decode(configuration, &c);
    for (unsigned i = 0; i < c.n; i++) {
        repair_know(g, c.servers[i].id);
    }
    raft_configuration_close(&c);
}

/* Whether others must first be asked for what may be a change of members. */
static bool
must_repair(struct qr_group *g, const struct restored *r,
            const struct store_group_info *info)
{
    const struct slice *newest;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->damage == NULL) {
        return false;
    }
    newest = newest_configuration(r, info);
    if (newest != NULL) {
        know_members(g, newest);
    }
    if (info->has_snapshot && newest != &info->snapshot.configuration) {
        know_members(g, &info->snapshot.configuration);
    }
    return repair_must_wait(g, r->first);
}

/* Rule 11: the library lets an only voter lead in the term it had; another may
 * have led in it. Take a new term, and vote for ourselves, first. */
static void
renew_term(struct qr_group *g, struct store_group_info *info,
           const struct slice *configuration)
{
    struct raft_configuration c;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (configuration == NULL) {
        return;
    }
    replica_decode(configuration, &c);
    if (replica_is_only_voter(&c, g->self)) {
        info->term += 1;
        info->vote = g->self;
        g->hard_batch =
            store_hard_state(g->host->store, g->id, info->term, info->vote);
        replica_note_batch(g, g->hard_batch);
    }
    raft_configuration_close(&c);
}

static void
init_raft(struct qr_group *g)
{
    struct qr_host *host = g->host;
    uint32_t seed = 0;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    memset(&g->raft, 0, sizeof g->raft);
    memset(&g->guard, 0, sizeof g->guard);
    host_address(g->self, g->address);
    rv = raft_init(&g->raft, NULL, NULL, g->self, g->address);
    ASSERT(rv == 0);
    g->raft.tracer = NULL; /* it formats text at every step, and is static */
    host->env->ops->random(host->env, &seed, sizeof seed);
    raft_seed(&g->raft, seed);
    raft_set_election_timeout(&g->raft,
                              host->config.election_timeout_ms *
                                  (repair_hinders(g) ? HINDERED_FACTOR : 1));
    raft_set_heartbeat_timeout(&g->raft, host->config.heartbeat_ms);
    raft_set_install_snapshot_timeout(&g->raft, INSTALL_TIMEOUT_MS);
    raft_set_pre_vote(&g->raft, true);
    g->inflight = INFLIGHT_ENTRIES_MAX;
    raft_set_max_inflight_entries(&g->raft, g->inflight);
    g->is_running = true;
    g->is_installing = false;
    g->is_serving = false;
    g->was_elected = false;
    g->reports_count = 0;
}

static void
start_event(struct qr_group *g, const struct store_group_info *info,
            const struct restored *r, struct raft_snapshot_metadata *metadata,
            struct raft_event *event)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    event->type = RAFT_START;
    event->start.term = info->term;
    event->start.voted_for = info->vote;
    event->start.start_index = r->first;
    event->start.entries = r->count > 0 ? r->entries : NULL;
    event->start.n_entries = (unsigned)r->count;
    g->snapshot_index = 0;
    if (info->has_snapshot) {
        metadata->index = info->snapshot.index;
        metadata->term = info->snapshot.term;
        metadata->configuration_index = info->snapshot.configuration_index;
        replica_decode(&info->snapshot.configuration, &metadata->configuration);
        event->start.metadata = metadata;
        g->snapshot_index = metadata->index;
    }
    /* Started in the past, a replica that stands is due at once. */
    if (g->must_stand) {
        event->time = replica_now(g) -
                      2 * (raft_time)g->host->config.election_timeout_ms - 1;
    }
}

void
replica_confirm(struct qr_group *g)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    qr_index index = g->raft.configuration_uncommitted_index;
    struct raft_buffer b;
    struct slice body;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(index > 0);
    /* Not from the store, where it may have rotted. */
    rv = raft_configuration_encode(&g->raft.configuration, &b);
    ASSERT(rv == 0);
    event.configuration.index = index;
    body = slice_copy(b.base, b.len);
    raft_free(b.base);
    replica_decode(&body, &event.configuration.conf);
    slice_unref(&body);
    rv = replica_step(g, &event, NULL);
    ASSERT(rv == 0);
}

int
replica_start(struct qr_group *g, struct error *err)
{
    struct store_group_info info;
    struct raft_snapshot_metadata metadata;
    struct raft_event event;
    struct restored r;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_running);
    ASSERT(!g->is_lost);
    memset(&event, 0, sizeof event);
    memset(&metadata, 0, sizeof metadata);
    rv = store_group_info(g->host->store, g->id, &info);
    ASSERT(rv == 0);
    rv = restore_log(g, &info, &r);
    if (rv != 0) {
        return error_set(err, -rv, "group %llu: its log cannot be read",
                         (unsigned long long)g->id);
    }
    if (must_repair(g, &r, &info)) {
        restored_free(&r);
        g->is_repairing = true;
        return 0;
    }
    renew_term(g, &info, newest_configuration(&r, &info));
    init_raft(g);
    start_event(g, &info, &r, &metadata, &event);
    rv = replica_step(g, &event, NULL);
    restored_free(&r);
    if (rv != 0) {
        replica_stop(g);
        return error_set(err, QR_ECORRUPT, "group %llu: %s",
                         (unsigned long long)g->id, raft_strerror(rv));
    }
    /* Started again below what its machine has applied, it does not apply a
     * CHANGE in between once more; the library must hear of it all the same. */
    if (g->raft.configuration_uncommitted_index != 0 &&
        g->raft.configuration_uncommitted_index <= g->applied) {
        replica_confirm(g);
    }
    return 0;
}

void
replica_stop(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running) {
        return;
    }
    hibernate_wake(g);
    raft_close(&g->raft, NULL);
    g->is_running = false;
    g->is_installing = false;
    g->is_serving = false;
    g->was_elected = false;
    g->lost_leader = 0;
    g->reports_count = 0;
    g->pending_size = 0;
    g->intent = INTENT_NONE;
    replica_drop_gathered(g);
    snapshot_cancel(g);
    timers_stop(&g->host->env->timers, &g->timer);
}

void
replica_restart(struct qr_group *g)
{
    struct error err;

    OBJ_CHECK(g, GROUP_MAGIC);
    g->must_restart = false;
    if (replica_start(g, &err) != 0) {
        log_error(g->host->env->log, "raft", "%s", err.text);
        g->is_failed = true;
    }
}
