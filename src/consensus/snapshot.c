/* Taking snapshots.
 *
 * A snapshot is small: the machine writes what it needs to know, and names the
 * entries whose bodies it still needs; the store keeps those and releases the
 * others. So a snapshot is what frees the log, and it is taken when enough
 * has been appended, when the machine says that enough is dead, or when the
 * store is pressed.
 *
 * Some entries before the snapshot are kept for followers that are a little
 * behind (they would need the snapshot otherwise). To the store they are live
 * like the machine's own; the manifest's envelope says which the machine
 * needs, so that a snapshot sent elsewhere brings no more than those:
 *
 *    u8 version (1)   u64le wall clock of the newest entry
 *    varint count, then for each range of live entries:
 *        varint distance from the end of the one before, varint length - 1
 *    the machine's bytes
 *
 * The library hears of a snapshot when it is durable, and not at all when an
 * install has overtaken it. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    ENVELOPE_VERSION = 1,
    /* Kept for followers, at most: entries (more than may be in flight), and
     * this part of the bytes after which a snapshot is due. */
    TRAILING_ENTRIES_MAX = INFLIGHT_ENTRIES_MAX + 64,
    TRAILING_PART = 16,
    TRAILING_PART_LAGGING = 2, /* while a linked follower is behind */
    /* With much that is live, a snapshot frees little: wait longer. */
    LIVE_FACTOR = 8,
    RELIEVE_GROUPS_MAX = 16,
    RELIEVE_MS = 100
};

/* ---- the envelope ---- */

static void
envelope_put(struct buf *b, uint64_t clock_ms, const struct ranges *live)
{
    uint64_t end = 0;

    buf_put_u8(b, ENVELOPE_VERSION);
    buf_put_u64le(b, clock_ms);
    buf_put_varint(b, live->count);
    for (size_t i = 0; i < live->count; i++) {
        buf_put_varint(b, live->items[i].first - end);
        buf_put_varint(b, live->items[i].last - live->items[i].first);
        end = live->items[i].last;
    }
}

static bool
envelope_ranges(struct cursor *c, struct ranges *live)
{
    uint64_t count = cursor_varint(c);
    uint64_t end = 0;

    if (c->bad || count > cursor_left(c)) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = end + cursor_varint(c);
        uint64_t last = first + cursor_varint(c);

        if (c->bad || first <= end || last < first) {
            return false;
        }
        ranges_add(live, first, last);
        end = last;
    }
    return true;
}

int
snapshot_open(const struct slice *manifest, struct ranges *live,
              uint64_t *clock_ms, size_t *body_offset)
{
    struct cursor c;
    uint64_t clock;

    cursor_init(&c, manifest->data, manifest->size);
    if (cursor_u8(&c) != ENVELOPE_VERSION) {
        return -QR_EFORMAT;
    }
    clock = cursor_u64le(&c);
    if (c.bad || !envelope_ranges(&c, live)) {
        return -QR_EFORMAT;
    }
    *clock_ms = MAX(*clock_ms, clock);
    *body_offset = manifest->size - cursor_left(&c);
    return 0;
}

/* ---- policy ---- */

static bool
is_due(const struct qr_group *g)
{
    const struct qr_host_config *c = &g->host->config;
    uint64_t dead;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->wants_snapshot || g->log_entries >= c->snapshot_log_entries) {
        return true;
    }
    if (g->log_bytes < c->snapshot_log_bytes) {
        return false;
    }
    if (g->ops->dead_bytes == NULL ||
        g->log_bytes >= LIVE_FACTOR * c->snapshot_log_bytes) {
        return true;
    }
    dead = g->ops->dead_bytes(g->machine);
    return dead >= c->snapshot_log_bytes / 2;
}

/* Whether it should wait although it is due: a follower is fetching the last
 * one, whose entries this would release. Not for ever. */
static bool
should_wait(const struct qr_group *g)
{
    const struct qr_host_config *c = &g->host->config;

    OBJ_CHECK(g, GROUP_MAGIC);
    return !g->wants_snapshot && stream_is_active(g) &&
           g->log_bytes < LIVE_FACTOR * c->snapshot_log_bytes &&
           g->log_entries < LIVE_FACTOR * c->snapshot_log_entries;
}

/* The least that a linked follower is known to have; our own applied index
 * when there is none. */
static qr_index
least_match(struct qr_group *g)
{
    const struct raft_configuration *c = &g->raft.configuration;
    struct env *env = g->host->env;
    qr_index least = g->applied;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n; i++) {
        qr_replica_id id = c->servers[i].id;
        raft_index match;

        if (id != g->self && raft_match_index(&g->raft, id, &match) == 0 &&
            match > 0 && env->ops->is_linked(env, qr_replica_node(id))) {
            least = MIN(least, match);
        }
    }
    return least;
}

/* How many entries before the snapshot to keep. */
static unsigned
trailing_entries(struct qr_group *g)
{
    uint64_t size = g->log_bytes / MAX(g->log_entries, 1) + 1;
    uint64_t budget = g->host->config.snapshot_log_bytes;
    uint64_t readable = g->applied - g->raft.trail.offset;
    uint64_t base = budget / TRAILING_PART / size;
    uint64_t lag;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->applied >= g->raft.trail.offset);
    /* What nobody has cannot be sent to a follower: it is to go. */
    if (g->is_pressed || (g->damage != NULL && g->damage->missing.count > 0)) {
        return 0;
    }
    if (replica_is_leader(g)) {
        lag = g->applied - least_match(g);
        lag = MIN(lag, budget / TRAILING_PART_LAGGING / size);
        base = MAX(base, lag);
    }
    base = MIN(base, (uint64_t)TRAILING_ENTRIES_MAX);
    return (unsigned)MIN(base, readable);
}

/* ---- taking ---- */

/* What was appended after APPLIED counts towards the next one. */
static void
reset_log(struct qr_group *g)
{
    uint64_t after = g->last - g->applied;
    uint64_t size = g->log_bytes / MAX(g->log_entries, 1);

    OBJ_CHECK(g, GROUP_MAGIC);
    g->log_entries = after;
    g->log_bytes = after * size;
}

/* The envelope and the machine's BODY in one piece. */
static struct slice
seal(struct qr_group *g, const struct buf *body, const struct ranges *live)
{
    struct buf *envelope = &g->host->scratch;
    struct block *block;

    OBJ_CHECK(g, GROUP_MAGIC);
    buf_clear(envelope);
    envelope_put(envelope, g->clock_ms, live);
    block = block_new(envelope->size + body->size);
    memcpy(block->data, envelope->data, envelope->size);
    if (body->size > 0) {
        memcpy(block->data + envelope->size, body->data, body->size);
    }
    return slice_of_block(block);
}

/* Let the store record the snapshot MANIFEST with LIVE entries. */
static void
record(struct qr_group *g, const struct slice *manifest, struct ranges *live)
{
    struct store_snapshot s = {
        .index = g->applied,
        .term = store_term(g->host->store, g->id, g->applied),
        .configuration = g->configuration,
        .configuration_index = g->configuration_index,
        .manifest = *manifest,
        .live = live,
    };

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(s.term > 0);
    g->is_taking = true;
    g->taking_index = s.index;
    g->taking_term = s.term;
    g->taking_trailing = trailing_entries(g);
    g->taking_configuration = slice_ref(&g->configuration);
    g->taking_configuration_index = s.configuration_index;
    if (g->taking_trailing > 0) {
        ranges_add(live, s.index - g->taking_trailing + 1, s.index);
    }
    g->taking_batch = store_snapshot(g->host->store, g->id, &s);
    replica_note_batch(g, g->taking_batch);
}

static void
take(struct qr_group *g)
{
    struct slice manifest;
    struct buf body;
    struct ranges live;

    OBJ_CHECK(g, GROUP_MAGIC);
    ranges_init(&live);
    buf_init(&body);
    g->ops->snapshot(g->machine, &body, &live);
    ASSERT(live.count == 0 || live.items[live.count - 1].last <= g->applied);
    manifest = seal(g, &body, &live);
    buf_deinit(&body);
    if (manifest.size + g->configuration.size <= STORE_ENTRY_SIZE_MAX) {
        record(g, &manifest, &live);
    } else {
        log_error(g->host->env->log, "raft",
                  "group %llu: its snapshot would have %zu bytes, more than "
                  "%d: its log grows until the state is smaller",
                  (unsigned long long)g->id, manifest.size,
                  (int)STORE_ENTRY_SIZE_MAX);
    }
    slice_unref(&manifest);
    ranges_deinit(&live);
    reset_log(g); /* also without one: not at every entry again */
}

void
snapshot_consider(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_running || g->is_installing || g->is_taking || g->is_leaving ||
        g->install != NULL || !is_due(g)) {
        return;
    }
    /* Guard 12: of a snapshot at 1 the library believes that it still has
     * entry 1, and sends a follower that has nothing neither of them. */
    if (g->applied <= MAX(g->snapshot_index, (qr_index)1) ||
        g->configuration.size == 0) {
        g->wants_snapshot = false; /* it would free nothing */
        return;
    }
    if (should_wait(g)) {
        return;
    }
    take(g);
    g->wants_snapshot = false;
    g->is_pressed = false;
    if (g->is_taking && g->taking_batch <= g->host->durable) {
        snapshot_taken(g);
    }
}

void
snapshot_cancel(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    g->is_taking = false;
    slice_unref(&g->taking_configuration);
}

void
snapshot_taken(struct qr_group *g)
{
    struct raft_event event;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->is_taking);
    ASSERT(g->taking_index > g->snapshot_index);
    ASSERT(!g->is_installing);
    memset(&event, 0, sizeof event);
    event.type = RAFT_SNAPSHOT;
    event.snapshot.metadata.index = g->taking_index;
    event.snapshot.metadata.term = g->taking_term;
    event.snapshot.metadata.configuration_index = g->taking_configuration_index;
    replica_decode(&g->taking_configuration,
                   &event.snapshot.metadata.configuration);
    event.snapshot.trailing = g->taking_trailing;
    snapshot_cancel(g);
    rv = replica_step(g, &event, NULL);
    ASSERT(rv == 0);
    g->snapshot_index = event.snapshot.metadata.index;
    g->host->stats.snapshots_taken++;
}

void
snapshot_relieve(struct qr_host *host)
{
    qr_group_id ids[RELIEVE_GROUPS_MAX];
    uint64_t now = host->env->ops->now_ms(host->env);
    size_t n;

    OBJ_CHECK(host, HOST_MAGIC);
    if (now < host->relieve_at_ms || !store_is_pressed(host->store)) {
        return;
    }
    host->relieve_at_ms = now + RELIEVE_MS;
    n = store_pinning_groups(host->store, ids, RELIEVE_GROUPS_MAX);
    ASSERT(n <= RELIEVE_GROUPS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct qr_group *g = map_get(&host->groups, ids[i]);

        if (g != NULL) {
            g->wants_snapshot = true;
            g->is_pressed = true;
            host_attend(g);
        }
    }
}

void
qr_group_snapshot(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    g->wants_snapshot = true;
    host_attend(g);
}
