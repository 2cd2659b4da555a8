/* Receiving a snapshot: the manifest first, then the entries that it names as
 * live and that are not here, then all of it becomes durable at once.
 *
 * The manifest comes with the library's InstallSnapshot. When the library
 * accepts it, it ignores entries until it is told PERSISTED_SNAPSHOT; our log
 * and machine stay as they are until then. Missing entries are pulled from the
 * sender with a window of INSTALL_CREDIT chunks, and staged in the store. A
 * lost chunk is noticed by its number, or by silence, and what is still
 * missing is asked for again.
 *
 * The library knows no way to give up. A transfer that fails closes the
 * replica and starts it again from what is on disk, which is the old state;
 * the leader offers its snapshot again, and what was staged is not fetched
 * twice: entries below a snapshot are committed, so an index says it all. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    INSTALL_RANGES_MAX = 512, /* asked for at a time */
    INSTALL_CREDIT = 4,       /* chunks under way at a time */
    INSTALL_STALL_MS = 1000,  /* nothing came: ask again */
    INSTALL_STALLS_MAX = 5    /* then give up, and keep what was staged */
};

/*  offered --(library accepts)--> fetching --(all staged)--> storing
 *     |                              |  ^ chunk, stall          | durable
 *     v (refused)                    v                          v
 *    gone                          failed --> (restart)        done: gone
 *                                    |  staged entries stay
 *                                    v
 *                                 offered again
 */
enum install_state {
    INSTALL_OFFERED,
    INSTALL_FETCHING,
    INSTALL_STORING,
    INSTALL_FAILED
};

struct install {
    enum install_state state;
    qr_replica_id from;
    qr_index index;
    qr_term term;
    qr_index configuration_index;
    struct slice configuration;
    struct slice manifest;
    struct ranges live;   /* what the machine needs */
    struct ranges needed; /* of that, what is neither here nor staged */
    struct ranges asked;  /* of that, what the stream is to bring */
    struct ranges staged; /* in the store, also from attempts before */
    uint64_t stream;
    uint64_t sequence;
    unsigned stalls;
    uint64_t batch; /* carries the store's install */
    bool has_metadata;
    struct raft_configuration metadata; /* ours until PERSISTED_SNAPSHOT */
    struct timer timer;
};

static void on_stall(void *arg);

static struct install *
install_get(struct qr_group *g)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (in == NULL) {
        in = mem_zalloc(1, sizeof *in);
        ranges_init(&in->live);
        ranges_init(&in->needed);
        ranges_init(&in->asked);
        ranges_init(&in->staged);
        in->configuration = slice_empty();
        in->manifest = slice_empty();
        in->state = INSTALL_FAILED;
        timer_init(&in->timer, on_stall, g);
        g->install = in;
    }
    return in;
}

/* Forget the transfer, but not what was staged. */
static void
clear(struct qr_group *g)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    timers_stop(&g->host->env->timers, &in->timer);
    slice_unref(&in->configuration);
    slice_unref(&in->manifest);
    ranges_clear(&in->live);
    ranges_clear(&in->needed);
    ranges_clear(&in->asked);
    if (in->has_metadata) {
        raft_configuration_close(&in->metadata);
        in->has_metadata = false;
    }
    in->state = INSTALL_FAILED;
}

void
install_free(struct qr_group *g)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (in == NULL) {
        return;
    }
    clear(g);
    if (in->staged.count > 0) {
        store_stage_drop(g->host->store, g->id);
    }
    ranges_deinit(&in->live);
    ranges_deinit(&in->needed);
    ranges_deinit(&in->asked);
    ranges_deinit(&in->staged);
    mem_free(in);
    g->install = NULL;
}

/* ---- the offer ---- */

/* Whether PB is one that the library and we can work with; its configuration
 * is decoded then. */
static bool
offer_is_sane(const Raft__Install *pb, const struct slice *manifest,
              struct raft_configuration *configuration)
{
    struct raft_buffer b = {pb->configuration.data, pb->configuration.len};
    struct ranges live;
    uint64_t clock = 0;
    size_t offset;
    int rv;

    if (pb->term == 0 || pb->last_index == 0 || pb->last_term == 0 ||
        pb->configuration_index == 0 ||
        pb->configuration_index > pb->last_index || b.len < 16) {
        return false;
    }
    ranges_init(&live);
    rv = snapshot_open(manifest, &live, &clock, &offset);
    if (rv == 0 && live.count > 0 &&
        live.items[live.count - 1].last > pb->last_index) {
        rv = -QR_EFORMAT;
    }
    ranges_deinit(&live);
    return rv == 0 && raft_configuration_decode(&b, configuration) == 0;
}

static void
note_offer(struct qr_group *g, const Raft__Install *pb,
           const struct slice *manifest)
{
    struct install *in = install_get(g);
    uint64_t clock = 0;
    size_t offset;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    clear(g);
    in->state = INSTALL_OFFERED;
    in->from = pb->from;
    in->index = pb->last_index;
    in->term = pb->last_term;
    in->configuration_index = pb->configuration_index;
    in->configuration =
        slice_copy(pb->configuration.data, pb->configuration.len);
    in->manifest = slice_ref(manifest);
    rv = snapshot_open(manifest, &in->live, &clock, &offset);
    ASSERT(rv == 0);
}

void
install_receive(struct qr_group *g, const Raft__Install *pb,
                const struct slice *manifest)
{
    struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT};
    struct raft_event event = {.type = RAFT_RECEIVE};
    enum step_outcome outcome;
    char address[ADDRESS_SIZE];
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_installing ||
        !offer_is_sane(pb, manifest, &m.install_snapshot.conf)) {
        return; /* the leader repeats its offer */
    }
    note_offer(g, pb, manifest);
    host_address(pb->from, address);
    m.server_id = pb->from;
    m.server_address = address;
    m.install_snapshot.term = pb->term;
    m.install_snapshot.last_index = pb->last_index;
    m.install_snapshot.last_term = pb->last_term;
    m.install_snapshot.conf_index = pb->configuration_index;
    m.install_snapshot.data.base = raft_malloc(1);
    m.install_snapshot.data.len = 1;
    event.receive.message = &m;
    rv = replica_step(g, &event, &outcome);
    ASSERT(rv == 0);
    ASSERT(outcome == STEP_DONE);
    if (g->install->state == INSTALL_OFFERED) {
        clear(g); /* the library has all that already */
        if (g->install->staged.count == 0) {
            install_free(g);
        }
    }
    replica_settle(g);
}

/* ---- fetching ---- */

/* Ask for what is missing, in a stream that replaces the one before. */
static void
pull(struct qr_group *g)
{
    struct install *in = g->install;
    Raft__Pull pb = RAFT__PULL__INIT;
    uint64_t ranges[2 * INSTALL_RANGES_MAX];
    struct frame *f;

    OBJ_CHECK(g, GROUP_MAGIC);
    ranges_clear(&in->asked);
    for (size_t i = 0; i < in->needed.count && i < (size_t)INSTALL_RANGES_MAX;
         i++) {
        const struct range *r = &in->needed.items[i];

        ranges[2 * i] = r->first;
        ranges[2 * i + 1] = r->last - r->first + 1;
        ranges_add(&in->asked, r->first, r->last);
    }
    in->stream = ++g->host->stream_next;
    in->sequence = 0;
    pb.group = g->id;
    pb.from = g->self;
    pb.to = in->from;
    pb.snapshot = in->index;
    pb.stream = in->stream;
    pb.credit = INSTALL_CREDIT;
    pb.ranges = ranges;
    pb.n_ranges = 2 * in->asked.count;
    f = host_frame(FRAME_RAFT, WIRE_PULL, g->id, &pb.base);
    (void)host_post(g->host, qr_replica_node(in->from), &f);
}

/* One more chunk may come. */
static void
grant(struct qr_group *g)
{
    struct install *in = g->install;
    Raft__Pull pb = RAFT__PULL__INIT;
    struct frame *f;

    OBJ_CHECK(g, GROUP_MAGIC);
    pb.group = g->id;
    pb.from = g->self;
    pb.to = in->from;
    pb.snapshot = in->index;
    pb.stream = in->stream;
    pb.credit = 1;
    f = host_frame(FRAME_RAFT, WIRE_PULL, g->id, &pb.base);
    (void)host_post(g->host, qr_replica_node(in->from), &f);
}

static void
watch(struct qr_group *g)
{
    struct env *env = g->host->env;

    OBJ_CHECK(g, GROUP_MAGIC);
    timers_start(&env->timers, &g->install->timer,
                 env->ops->now_ms(env) + INSTALL_STALL_MS);
}

/* All is here: let the store replace our log by it. */
static void
finish(struct qr_group *g)
{
    struct install *in = g->install;
    struct store_snapshot s = {
        .index = in->index,
        .term = in->term,
        .configuration_index = in->configuration_index,
        .configuration = in->configuration,
        .manifest = in->manifest,
        .live = &in->live,
    };
    qr_index missing = 0;
    int rv = store_install(g->host->store, g->id, &s, &in->batch, &missing);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (rv != 0) {
        /* What we had went away, such as a truncated tail: fetch it. */
        ASSERT(rv == -QR_ENOENT);
        ASSERT(missing > 0);
        ranges_add(&in->needed, missing, missing);
        pull(g);
        watch(g);
        return;
    }
    timers_stop(&g->host->env->timers, &in->timer);
    ranges_clear(&in->staged); /* part of the log now */
    in->state = INSTALL_STORING;
    replica_note_batch(g, in->batch);
    host_await(g, in->batch);
}

/* Fetch what is missing, or finish. */
static void
go_on(struct qr_group *g)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (in->needed.count == 0) {
        finish(g);
        return;
    }
    if (in->asked.count == 0) {
        pull(g);
    }
    watch(g);
}

/* What is committed and readable here is what the snapshot means, whatever its
 * term: of each index only one entry can be committed. */
static void
find_needed(struct qr_group *g)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (size_t i = 0; i < in->live.count; i++) {
        const struct range *r = &in->live.items[i];

        for (qr_index at = r->first; at <= r->last; at++) {
            bool is_here =
                at <= g->applied && store_term(g->host->store, g->id, at) != 0;

            if (!is_here && !ranges_has(&in->staged, at)) {
                ranges_add(&in->needed, at, at);
            }
        }
    }
}

void
install_begin(struct qr_group *g, struct raft_update *u)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(in != NULL);
    ASSERT(in->state == INSTALL_OFFERED);
    ASSERT(in->index == u->snapshot.metadata.index);
    raft_free(u->snapshot.chunk.base);
    in->metadata = u->snapshot.metadata.configuration;
    in->has_metadata = true;
    in->state = INSTALL_FETCHING;
    in->stalls = 0;
    g->is_installing = true;
    find_needed(g);
    go_on(g);
}

static void
fail(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    log_info(g->host->env->log, "raft",
             "group %llu: the snapshot at %llu did not arrive; trying again",
             (unsigned long long)g->id, (unsigned long long)g->install->index);
    clear(g);
    replica_stop(g);
    g->must_restart = true;
    host_await(g, g->last_batch);
}

static void
on_stall(void *arg)
{
    struct qr_group *g = arg;
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(in != NULL);
    if (in->state != INSTALL_FETCHING) {
        return;
    }
    if (++in->stalls > INSTALL_STALLS_MAX) {
        fail(g);
        return;
    }
    pull(g);
    watch(g);
}

void
install_gone(struct qr_group *g, uint64_t stream)
{
    struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (in != NULL && in->state == INSTALL_FETCHING && in->stream == stream) {
        fail(g);
    }
}

/* ---- chunks ---- */

static bool
chunk_is_sane(const Raft__Chunk *pb, const struct slice *content)
{
    size_t size = 0;

    if (pb->n_indexes != pb->n_terms || pb->n_indexes != pb->n_sizes) {
        return false;
    }
    for (size_t i = 0; i < pb->n_sizes; i++) {
        if (pb->sizes[i] / 4 > content->size - size || pb->terms[i] == 0) {
            return false;
        }
        size += pb->sizes[i] / 4;
    }
    return true;
}

static void
stage(struct qr_group *g, qr_index index, const struct store_entry *e)
{
    struct install *in = g->install;
    uint64_t batch;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!ranges_has(&in->needed, index)) {
        return;
    }
    batch = store_stage(g->host->store, g->id, index, e);
    ranges_remove(&in->needed, index, index);
    ranges_remove(&in->asked, index, index);
    ranges_add(&in->staged, index, index);
    replica_note_batch(g, batch);
}

void
install_chunk(struct qr_group *g, const Raft__Chunk *pb,
              const struct slice *content)
{
    struct install *in = g->install;
    qr_index index = 0;
    size_t at = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (in == NULL || in->state != INSTALL_FETCHING ||
        pb->stream != in->stream || pb->sequence != in->sequence ||
        !chunk_is_sane(pb, content)) {
        return; /* of an earlier stream, or one was lost: the timer sees it */
    }
    in->sequence++;
    in->stalls = 0;
    for (size_t i = 0; i < pb->n_indexes; i++) {
        size_t size = pb->sizes[i] / 4;
        struct store_entry e = {.term = pb->terms[i],
                                .type = (uint8_t)(pb->sizes[i] % 4)};

        index += pb->indexes[i];
        e.data = wire_body(content, at, size);
        stage(g, index, &e);
        slice_unref(&e.data);
        at += size;
    }
    if (in->asked.count > 0) {
        grant(g);
    }
    go_on(g);
}

/* ---- done ---- */

/* The library's view, the machine's and ours move to the snapshot together. */
static int
adopt(struct qr_group *g)
{
    struct install *in = g->install;
    struct ranges live;
    size_t offset;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ranges_init(&live);
    rv = snapshot_open(&in->manifest, &live, &g->clock_ms, &offset);
    ranges_deinit(&live);
    if (rv == 0) {
        rv = g->ops->restore(g->machine, in->index, in->manifest.data + offset,
                             in->manifest.size - offset);
    }
    if (rv != 0) {
        return rv;
    }
    g->applied = in->index;
    g->commit = MAX(g->commit, in->index);
    g->snapshot_index = in->index;
    g->log_bytes = 0;
    g->log_entries = 0;
    g->reports_count = 0;
    replica_configure(g, &in->configuration, in->configuration_index);
    return 0;
}

/* The store has taken the snapshot. */
static void
complete(struct qr_group *g)
{
    struct install *in = g->install;
    struct raft_event event;
    int rv = adopt(g);

    OBJ_CHECK(g, GROUP_MAGIC);
    if (rv != 0) {
        log_error(g->host->env->log, "raft",
                  "group %llu: its snapshot at %llu is of a version that "
                  "this node does not know; the replica stays out",
                  (unsigned long long)g->id, (unsigned long long)in->index);
        install_free(g);
        replica_stop(g);
        g->is_failed = true;
        return;
    }
    memset(&event, 0, sizeof event);
    event.type = RAFT_PERSISTED_SNAPSHOT;
    event.persisted_snapshot.metadata.index = in->index;
    event.persisted_snapshot.metadata.term = in->term;
    event.persisted_snapshot.metadata.configuration_index =
        in->configuration_index;
    event.persisted_snapshot.metadata.configuration = in->metadata;
    event.persisted_snapshot.last = true;
    in->has_metadata = false; /* the library's now */
    g->is_installing = false;
    rv = replica_step(g, &event, NULL);
    ASSERT(rv == 0);
    install_free(g);
    g->host->stats.snapshots_installed++;
    if (g->ops->members != NULL) {
        g->ops->members(g->machine);
    }
}

void
install_durable(struct qr_group *g)
{
    const struct install *in = g->install;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (in != NULL && in->state == INSTALL_STORING && g->is_running &&
        in->batch <= g->host->durable) {
        complete(g);
    }
}
