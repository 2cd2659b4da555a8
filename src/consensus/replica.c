/* One replica: its start, its steps and what they ask for, and applying.
 *
 *   event --> step_guarded() --> update
 *      1. term and vote into the store's batch
 *      2. entries into the batch (the store truncates first)
 *      3. a snapshot to install: install.c
 *      4. messages into the outbox
 *      5. leader or not: a barrier is due
 *   then, in replica_settle(): the barrier, reports of what is durable,
 *   applying what is committed and stored, the standing, the timer.
 *
 * Settling is a loop and not a recursion, since each of these may be a step
 * that makes more to do. A machine's callbacks run within it; what they ask of
 * their own group is noted and done in the turn hook. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "consensus/internal.h"

raft_time
replica_now(struct qr_group *g)
{
    raft_time t =
        g->host->env->ops->now_ms(g->host->env) + TIME_ORIGIN_MS - g->slept_ms;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (t > g->time && !g->is_asleep) {
        g->time = t;
    }
    return g->time;
}

void
replica_leap(struct qr_group *g)
{
    raft_time now = replica_now(g);
    raft_time due = raft_timeout(&g->raft);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_asleep);
    if (due > now) {
        g->slept_ms -= due - now;
        g->volunteer_at += due - now;
        timers_stop(&g->host->env->timers, &g->timer); /* of the old time */
    }
}

bool
replica_is_leader(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->is_running && g->raft.state == RAFT_LEADER;
}

qr_replica_id
replica_leader(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running) {
        return 0;
    }
    if (g->raft.state == RAFT_LEADER) {
        return g->self;
    }
    return g->raft.state == RAFT_FOLLOWER
               ? g->raft.follower_state.current_leader.id
               : 0;
}

/* ---- what an update asks for ---- */

void
replica_note_batch(struct qr_group *g, uint64_t batch)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    g->last_batch = MAX(g->last_batch, batch);
    if (batch > g->host->durable) {
        host_await(g, batch);
    }
}

static void
store_hard(struct qr_group *g)
{
    uint64_t batch =
        store_hard_state(g->host->store, g->id, raft_current_term(&g->raft),
                         MUTATION(forget_vote) ? 0 : raft_voted_for(&g->raft));

    OBJ_CHECK(g, GROUP_MAGIC);
    g->hard_batch = batch;
    replica_note_batch(g, batch);
}

/* Rule 4: entries from INDEX on are overtaken. */
static void
cap_reports(struct qr_group *g, qr_index index)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(index > 0);
    for (unsigned i = 0; i < g->reports_count; i++) {
        g->reports[i].index = MIN(g->reports[i].index, index - 1);
    }
}

static void
add_report(struct qr_group *g, uint64_t batch, qr_index index)
{
    unsigned n = g->reports_count;

    OBJ_CHECK(g, GROUP_MAGIC);
    /* More batches than we tell apart: report later, with the newest. */
    if (n > 0 && (g->reports[n - 1].batch == batch || n == REPORTS_MAX)) {
        n--;
    }
    g->reports[n].batch = batch;
    g->reports[n].index = index;
    g->reports_count = n + 1;
}

/* Keep the entries in flight to about INFLIGHT_BYTES. */
static void
tune_inflight(struct qr_group *g)
{
    uint64_t size = g->log_bytes / MAX(g->log_entries, 1) + 1;
    uint64_t want = MIN(INFLIGHT_BYTES / size, (uint64_t)INFLIGHT_ENTRIES_MAX);

    OBJ_CHECK(g, GROUP_MAGIC);
    want = MAX(want, (uint64_t)INFLIGHT_ENTRIES_MIN);
    if (want > 2 * (uint64_t)g->inflight || 2 * want < g->inflight) {
        g->inflight = (uint32_t)want;
        raft_set_max_inflight_entries(&g->raft, g->inflight);
    }
}

/* The store's record of entry E, which is in BODY when it is ours. */
static void
make_record(struct qr_group *g, const struct raft_entry *e, struct slice *body,
            struct store_entry *out)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    out->term = e->term;
    out->type = (uint8_t)e->type;
    out->data =
        body != NULL ? slice_take(body) : slice_copy(e->buf.base, e->buf.len);
    g->log_bytes += out->data.size;
    g->log_entries++;
    if (e->type == RAFT_COMMAND && out->data.size >= ENTRY_HEADER_SIZE) {
        g->clock_ms = MAX(g->clock_ms, get_u64le(out->data.data));
    }
}

/* Entries to store: those of host->entries from some place on, or the
 * library's own barrier. */
static void
store_entries(struct qr_group *g, struct raft_update *u)
{
    struct qr_host *host = g->host;
    uintptr_t base = (uintptr_t)host->entries;
    uintptr_t at = (uintptr_t)u->entries.batch;
    bool is_ours = at >= base && at < base + sizeof host->entries;
    size_t from = is_ours ? (at - base) / sizeof host->entries[0] : 0;
    qr_index first = u->entries.index;
    unsigned n = u->entries.n;
    uint64_t batch;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(n > 0);
    ASSERT(from + n <= WIRE_ENTRIES_MAX);
    ASSERT(first > g->applied);
    for (unsigned i = 0; i < n; i++) {
        make_record(g, &u->entries.batch[i],
                    is_ours ? &host->bodies[from + i] : NULL,
                    &host->records[i]);
    }
    g->sleepers = 0;
    cap_reports(g, first);
    if (g->damage != NULL) {
        repair_cut(g, first);
    }
    batch = store_append(host->store, g->id, first, host->records, n);
    add_report(g, batch, first + n - 1);
    replica_note_batch(g, batch);
    for (unsigned i = 0; i < n; i++) {
        if (host->records[i].type == RAFT_CHANGE &&
            g->raft.state == RAFT_LEADER) {
            g->change_batch = batch;
            g->change_index = first + i;
        }
        slice_unref(&host->records[i].data);
    }
    raft_free(u->entries.batch[0].batch);
    tune_inflight(g);
}

static void
send_messages(struct qr_group *g, struct raft_update *u)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < u->messages.n; i++) {
        const struct raft_message *m = &u->messages.batch[i];

        if (m->type == RAFT_INSTALL_SNAPSHOT) {
            stream_offer(g, m);
        } else {
            outbox_send(g, m);
        }
    }
}

/* The state may have changed with any step, whatever the flags say. */
static void
note_state(struct qr_group *g, struct raft_update *u)
{
    bool is_leader = g->raft.state == RAFT_LEADER;

    OBJ_CHECK(g, GROUP_MAGIC);
    if ((u->flags & (RAFT_UPDATE_STATE)) != 0 && is_leader) {
        g->was_elected = true;
        g->has_barrier = (u->flags & (RAFT_UPDATE_ENTRIES)) != 0;
        g->lost_leader = 0;
        g->host->stats.elections_won++;
    }
    if (!is_leader) {
        g->was_elected = false;
        g->is_serving = false;
        g->pending_size = 0;
        g->sleepers = 0;
        g->intent = INTENT_NONE;
        replica_drop_gathered(g);
    }
}

/* Only for a mutation: what a majority has, of whatever term. */
static qr_index
counted(const struct qr_group *g)
{
    const struct raft_configuration *c = &g->raft.configuration;
    qr_index best = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n; i++) {
        raft_index match = 0;
        unsigned count = 0;

        if (raft_match_index(&g->raft, c->servers[i].id, &match) != 0) {
            continue;
        }
        for (unsigned j = 0; j < c->n; j++) {
            raft_index other = 0;

            if (c->servers[j].role == RAFT_VOTER &&
                raft_match_index(&g->raft, c->servers[j].id, &other) == 0) {
                count += other >= match ? 2 : 0;
            }
        }
        best = count > c->n ? MAX(best, match) : best;
    }
    return best;
}

static void
carry_out(struct qr_group *g, struct raft_update *u)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if ((u->flags & (RAFT_UPDATE_CURRENT_TERM)) != 0 ||
        (u->flags & (RAFT_UPDATE_VOTED_FOR)) != 0) {
        store_hard(g);
    }
    if ((u->flags & (RAFT_UPDATE_ENTRIES)) != 0) {
        store_entries(g, u);
    }
    if ((u->flags & (RAFT_UPDATE_SNAPSHOT)) != 0) {
        ASSERT((u->flags & (RAFT_UPDATE_ENTRIES)) == 0);
        g->reports_count = 0;
        snapshot_cancel(g);
        install_begin(g, u);
    }
    if ((u->flags & (RAFT_UPDATE_MESSAGES)) != 0) {
        send_messages(g, u);
    }
    note_state(g, u);
    g->last = raft_last_index(&g->raft);
    if (!g->is_installing) {
        g->commit = MAX(g->commit, raft_commit_index(&g->raft));
    }
    if (MUTATION(old_term) && replica_is_leader(g)) {
        g->commit = MAX(g->commit, counted(g));
    }
}

int
replica_step(struct qr_group *g, struct raft_event *event,
             enum step_outcome *outcome)
{
    enum step_outcome done;
    struct raft_update u;
    bool was_leader = replica_is_leader(g);
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->is_running);
    if (g->is_asleep && !g->is_hushed) {
        hibernate_wake(g);
    }
    if (event->time == 0) {
        event->time = replica_now(g);
    }
    event->capacity = 0;
    g->host->stats.steps++;
    rv =
        step_guarded(&g->raft, event, &u, &g->guard, &g->host->messages, &done);
    if (rv == RAFT_SHUTDOWN) {
        UNREACHABLE("a leader contradicts what is committed here");
    }
    if (rv == RAFT_NOMEM) {
        UNREACHABLE("out of memory");
    }
    if (rv == 0 && done != STEP_DROPPED) {
        carry_out(g, &u);
    }
    if (was_leader) {
        volunteer_again(g);
    }
    if (outcome != NULL) {
        *outcome = done;
    }
    return rv;
}

/* A step that cannot fail. */
static void
must_step(struct qr_group *g, struct raft_event *event)
{
    int rv = replica_step(g, event, NULL);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(rv == 0);
}

/* ---- receiving and proposing ---- */

static void
drop_bodies(struct qr_host *host, unsigned from, unsigned count)
{
    OBJ_CHECK(host, HOST_MAGIC);
    for (unsigned i = from; i < count; i++) {
        slice_unref(&host->bodies[i]);
    }
}

/* Make entries [FROM, TO) of host->entries one batch, as the library frees
 * and asserts. The bytes are elsewhere; only a CHANGE's are read. */
static void *
make_batch(struct qr_host *host, unsigned from, unsigned to)
{
    void *batch = raft_malloc(1);

    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(batch != NULL);
    for (unsigned i = from; i < to; i++) {
        struct raft_entry *e = &host->entries[i];

        memcpy(&e->buf.base, &host->bodies[i].data, sizeof e->buf.base);
        e->buf.len = host->bodies[i].size;
        e->batch = batch;
    }
    return batch;
}

/* The chunk [FROM, TO) of an AppendEntries. */
static void
receive_chunk(struct qr_group *g, const struct raft_message *m, unsigned from,
              unsigned to)
{
    struct qr_host *host = g->host;
    struct raft_message part = *m;
    struct raft_append_entries *a = &part.append_entries;
    struct raft_event event = {.type = RAFT_RECEIVE};
    enum step_outcome outcome;
    void *batch = NULL;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (from > 0) {
        a->prev_log_index += from;
        a->prev_log_term = host->entries[from - 1].term;
    }
    a->n_entries = to - from;
    a->entries = &host->entries[from];
    if (to > from) {
        batch = make_batch(host, from, to);
    }
    event.receive.message = &part;
    rv = replica_step(g, &event, &outcome);
    ASSERT(rv == 0 || rv == RAFT_MALFORMED);
    if (outcome == STEP_COVERED || outcome == STEP_DROPPED) {
        raft_free(batch);
    }
}

/* Guard 11, one change at a time. The library remembers one uncommitted CHANGE.
 * When the next arrives before the first is applied here, it forgets the first,
 * and if the next is then truncated it rolls back to the configuration before
 * both. But no leader appends a CHANGE before the one before it is committed,
 * so when our log is the sender's up to the new one, the first is committed,
 * known or not: tell the library so. */
static void
confirm_before(struct qr_group *g, const struct raft_message *m, unsigned at)
{
    const struct raft_append_entries *a = &m->append_entries;
    qr_index first = g->raft.configuration_uncommitted_index;
    qr_index prev = a->prev_log_index + at;
    qr_term term = at > 0 ? g->host->entries[at - 1].term : a->prev_log_term;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (first == 0 || first > prev || g->is_installing ||
        a->term < raft_current_term(&g->raft) ||
        store_term(g->host->store, g->id, prev) != term) {
        return;
    }
    replica_confirm(g);
}

static void
receive_append(struct qr_group *g, const struct raft_message *m)
{
    struct qr_host *host = g->host;
    unsigned count = m->append_entries.n_entries;
    unsigned at = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(count <= WIRE_ENTRIES_MAX);
    do {
        unsigned end = count == 0 ? 0 : step_chunk(host->entries, count, at);

        if (count > 0 && host->entries[at].type == RAFT_CHANGE) {
            confirm_before(g, m, at);
        }
        receive_chunk(g, m, at, end);
        at = end;
    } while (at < count && g->is_running);
    drop_bodies(host, 0, count);
}

void
replica_receive(struct qr_group *g, struct raft_message *m, bool is_quiet)
{
    char address[ADDRESS_SIZE];
    struct raft_event event = {.type = RAFT_RECEIVE};

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(m->type != RAFT_INSTALL_SNAPSHOT);
    if (!g->is_running) {
        if (m->type == RAFT_APPEND_ENTRIES) {
            drop_bodies(g->host, 0, m->append_entries.n_entries);
        }
        return;
    }
    host_address(m->server_id, address);
    m->server_address = address;
    g->is_hushed = is_quiet && hibernate_agrees(g, m);
    if (m->type == RAFT_APPEND_ENTRIES_RESULT) {
        lost_weigh(g, m);
    }
    if (m->type == RAFT_APPEND_ENTRIES) {
        receive_append(g, m);
    } else {
        event.receive.message = m;
        must_step(g, &event);
    }
    if (g->is_hushed) {
        g->is_hushed = false;
        hibernate_after(g, m);
    }
    replica_settle(g);
}

int
replica_submit(struct qr_group *g, unsigned count)
{
    struct raft_event event = {.type = RAFT_SUBMIT};
    void *batch;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(count > 0);
    ASSERT(count <= WIRE_ENTRIES_MAX);
    for (unsigned i = 0; i < count; i++) {
        g->host->entries[i].term = raft_current_term(&g->raft);
    }
    batch = make_batch(g->host, 0, count);
    event.submit.entries = g->host->entries;
    event.submit.n = count;
    rv = replica_step(g, &event, NULL);
    if (rv != 0) {
        raft_free(batch);
    }
    drop_bodies(g->host, 0, count);
    return rv;
}

void
replica_drop_gathered(struct qr_group *g)
{
    struct qr_host *host = g->host;
    struct gather *gather;

    OBJ_CHECK(g, GROUP_MAGIC);
    gather = g->gather;
    g->gather = NULL;
    if (gather == NULL) {
        return;
    }
    if (host->gathers_free_count == FREE_KEPT_MAX ||
        gather->bytes.capacity > GATHERS_KEPT_SIZE - host->gathers_free_size) {
        buf_deinit(&gather->bytes);
        mem_free(gather);
        return;
    }
    list_push_front(&host->gathers_free, &gather->link);
    host->gathers_free_count++;
    host->gathers_free_size += gather->bytes.capacity;
}

void
replica_propose(struct qr_group *g)
{
    struct qr_host *host = g->host;
    struct gather *gather = g->gather;
    uint64_t wall;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (gather == NULL || !g->is_serving || raft_transferee(&g->raft) != 0) {
        return; /* it goes on when the transfer has failed */
    }
    wall = host->env->ops->wall_ms(host->env);
    wall = MAX(wall, g->clock_ms);
    for (size_t i = 0; i < gather->count; i++) {
        size_t start = gather->starts[i];
        size_t end =
            i + 1 < gather->count ? gather->starts[i + 1] : gather->bytes.size;

        ASSERT(end - start > ENTRY_HEADER_SIZE);
        put_u64le(gather->bytes.data + start, wall);
        host->bodies[i] = slice_copy(gather->bytes.data + start, end - start);
        host->entries[i].type = RAFT_COMMAND;
    }
    rv = replica_submit(g, (unsigned)gather->count);
    ASSERT(rv == 0);
    host->stats.entries_proposed += gather->count;
    replica_drop_gathered(g);
    replica_settle(g);
}

/* ---- settling ---- */

/* Rule 8: the leader's first entry. Only with it does it learn what is
 * committed. The library adds one itself where it knows of entries that may
 * not be. */
static void
submit_barrier(struct qr_group *g)
{
    uint8_t zero[ENTRY_HEADER_SIZE] = {0};
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    g->was_elected = false;
    if (g->has_barrier) {
        return;
    }
    g->host->bodies[0] = slice_copy(zero, sizeof zero);
    g->host->entries[0].type = RAFT_BARRIER;
    rv = replica_submit(g, 1);
    ASSERT(rv == 0);
}

/* Report what is durable. Returns whether there was anything. */
static bool
report(struct qr_group *g)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    qr_index index = 0;
    unsigned n = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    while (n < g->reports_count && (MUTATION(early_report) ||
                                    g->reports[n].batch <= g->host->durable)) {
        index = g->reports[n].index;
        n++;
    }
    if (n == 0) {
        return false;
    }
    g->reports_count -= n;
    memmove(g->reports, g->reports + n,
            g->reports_count * sizeof g->reports[0]);
    if (index <= g->raft.last_stored || g->is_installing) {
        return true;
    }
    event.persisted_entries.index = index;
    must_step(g, &event);
    return true;
}

/* Arm the timer for what the library wants next. It mostly moves away, so a
 * timer that runs too early is left to look again (a heap is not touched for
 * each message). Rule 12: never for the past. */
static void
arm(struct qr_group *g)
{
    raft_time t = replica_now(g);
    raft_time due;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running || g->is_asleep) {
        timers_stop(&g->host->env->timers, &g->timer);
        return;
    }
    due = raft_timeout(&g->raft);
    if (g->lost_leader != 0 && g->takeover_at < due) {
        due = g->takeover_at;
    }
    if (g->volunteer_tries > 0 && g->volunteer_at < due) {
        due = g->volunteer_at;
    }
    if (due <= t) {
        due = t + MAX(g->host->config.heartbeat_ms / 2, 1U);
    }
    if (timer_is_running(&g->timer) && g->timer_at <= due) {
        return;
    }
    g->timer_at = due;
    timers_start(&g->host->env->timers, &g->timer,
                 due - TIME_ORIGIN_MS + g->slept_ms);
}

/* One more thing that is due; false when nothing is. */
static bool
settle_once(struct qr_group *g, unsigned *budget)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running || g->is_leaving) {
        return false;
    }
    if (g->was_elected) {
        submit_barrier(g);
        return true;
    }
    if (report(g)) {
        return true;
    }
    if (*budget == 0) {
        host_attend(g);
        return false;
    }
    (*budget)--;
    return apply_next(g) || (g->lost_leader != 0 && failover_try(g));
}

void
replica_settle(struct qr_group *g)
{
    unsigned budget = APPLY_BATCH;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_settling);
    g->is_settling = true;
    while (settle_once(g, &budget)) {
    }
    if (!g->is_leaving) {
        apply_standing(g);
    }
    g->is_settling = false;
    if (g->gather != NULL && raft_transferee(&g->raft) == 0) {
        host_attend(g); /* a transfer that held it has failed */
    }
    arm(g);
    snapshot_consider(g);
}

/* ---- time ---- */

/* The time-out EVENT. A leader sends heartbeats to all at once: with each
 * follower on a beat of its own, the library takes one that has answered before
 * another's beat for silent, probes it, and lets new entries for it wait for
 * the next beat, so that a commit may take a whole interval. Others' time-outs
 * are elections, and left as they are. */
static void
beat(struct qr_group *g, struct raft_event *event)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (replica_is_leader(g)) {
        raft_set_heartbeat_timeout(&g->raft, 1);
    }
    must_step(g, event);
    raft_set_heartbeat_timeout(&g->raft, g->host->config.heartbeat_ms);
}

static void
on_timer(void *arg)
{
    struct qr_group *g = arg;
    struct raft_event event = {.type = RAFT_TIMEOUT};

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running) {
        return;
    }
    volunteer_try(g);
    if (raft_timeout(&g->raft) <= replica_now(g)) {
        /* Guard 2: the library would let an only voter lead without a new
         * term. Start it again instead: replica_start() takes one. */
        if (g->raft.state == RAFT_FOLLOWER && !g->is_installing &&
            replica_is_only_voter(&g->raft.configuration, g->self)) {
            g->must_restart = true;
            replica_stop(g);
            host_await(g, g->last_batch);
            return;
        }
        beat(g, &event);
        hibernate_alone(g);
    }
    replica_settle(g);
}

void
replica_stand(struct qr_group *g)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};

    OBJ_CHECK(g, GROUP_MAGIC);
    g->must_stand = false;
    if (!g->is_running || g->raft.state != RAFT_FOLLOWER ||
        raft_timeout(&g->raft) > replica_now(g)) {
        return;
    }
    /* A new group has no leader to disturb: no pre-vote. */
    raft_set_pre_vote(&g->raft, false);
    must_step(g, &event);
    raft_set_pre_vote(&g->raft, true);
    volunteer_start(g); /* again, if the others did not have it open */
    replica_settle(g);
}

/* ---- durability ---- */

void
replica_durable(struct qr_group *g)
{
    uint64_t durable = g->host->durable;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_leaving || g->is_failed || g->is_lost) {
        return;
    }
    if (g->is_taking && g->taking_batch <= durable) {
        snapshot_taken(g);
    }
    install_durable(g);
    if (g->must_restart && g->last_batch <= durable) {
        replica_restart(g);
    }
    replica_settle(g);
    if (g->last_batch > durable) {
        host_await(g, g->last_batch);
    }
}

void
replica_init(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    timer_init(&g->timer, on_timer, g);
}
