/* The public face of one group: open, propose, ask, read, delete.
 *
 * The store keeps a header for each group that says which replica this is:
 *
 *    0 u8 version (1)   1 u8 flags (1: volatile, 2: lost)   2 u64 replica id
 *
 * A log entry of a command is the leader's wall clock (u64 milliseconds) and
 * then all that was proposed in its turn. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "consensus/internal.h"

enum {
    HEADER_VERSION = 1,
    HEADER_SIZE = 10,
    HEADER_VOLATILE = 1,
    HEADER_LOST = 2 /* it has lost its memory: it never starts again */
};

/* ---- opening ---- */

static struct slice
header_make(const struct qr_group_config *config, bool is_lost)
{
    uint8_t h[HEADER_SIZE];

    h[0] = HEADER_VERSION;
    h[1] = (uint8_t)((config->is_volatile ? HEADER_VOLATILE : 0) |
                     (is_lost ? HEADER_LOST : 0));
    put_u64le(h + 2, config->self);
    return slice_copy(h, sizeof h);
}

/* The replica that a stored group is; 0: a header that we cannot read. */
static qr_replica_id
header_self(const struct slice *header)
{
    if (header->size != HEADER_SIZE || header->data[0] != HEADER_VERSION) {
        return 0;
    }
    return get_u64le(header->data + 2);
}

static bool
header_is_lost(const struct slice *header)
{
    ASSERT(header->size == HEADER_SIZE);
    return (header->data[1] & HEADER_LOST) != 0;
}

static struct qr_group *
group_new(struct qr_host *host, const struct qr_group_config *config)
{
    struct qr_group *g = mem_zalloc(1, sizeof *g);

    OBJ_CHECK(host, HOST_MAGIC);
    g->magic = GROUP_MAGIC;
    g->host = host;
    g->id = config->id;
    g->self = config->self;
    g->ops = config->ops;
    g->machine = config->machine;
    g->is_volatile = config->is_volatile;
    g->is_new = true;
    g->configuration = slice_empty();
    g->taking_configuration = slice_empty();
    list_init(&g->attention);
    list_init(&g->waiting);
    list_init(&g->lost);
    list_init(&g->streams);
    list_init(&g->donations);
    list_init(&g->reads);
    replica_init(g);
    return g;
}

/* The first members as entry 1, the same on every node. */
static struct slice
bootstrap_entry(const struct qr_group_config *config)
{
    struct raft_configuration c;
    struct raft_buffer b;
    struct slice s;

    raft_configuration_init(&c);
    for (size_t i = 0; i < config->members_count; i++) {
        char address[ADDRESS_SIZE];
        int rv;

        host_address(config->members[i].id, address);
        rv = raft_configuration_add(&c, config->members[i].id, address,
                                    RAFT_VOTER);
        ASSERT(rv == 0);
    }
    if (raft_configuration_encode(&c, &b) != 0) {
        UNREACHABLE("out of memory");
    }
    raft_configuration_close(&c);
    s = slice_copy(b.base, b.len);
    raft_free(b.base);
    return s;
}

/* Make the group in the store. Messages wait until it is durable, though the
 * library is told that entry 1 is stored: it is the same everywhere. */
static void
create(struct qr_group *g, const struct qr_group_config *config)
{
    struct store *store = g->host->store;
    struct slice header = header_make(config, false);
    struct store_entry first = {.term = 1, .type = RAFT_CHANGE};
    uint64_t batch =
        store_group_create(store, g->id, &header, config->is_volatile);

    OBJ_CHECK(g, GROUP_MAGIC);
    slice_unref(&header);
    if (config->members_count > 0) {
        (void)store_hard_state(store, g->id, 1, 0);
        first.data = bootstrap_entry(config);
        batch = store_append(store, g->id, 1, &first, 1);
        slice_unref(&first.data);
    }
    g->hard_batch = batch;
    replica_note_batch(g, batch);
}

/* What its log still had is of no use: a learner gets all of it from the
 * leader. */
void
group_lose(struct qr_group *g)
{
    struct qr_group_config config = {.self = g->self};
    struct store *store = g->host->store;
    struct slice header = header_make(&config, true);
    struct store_group_info info;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(!g->is_volatile);
    replica_stop(g);
    repair_abandon(g);
    repair_free(g);
    repair_forget(g->host, g->id);
    g->is_repairing = false;
    g->must_restart = false;
    if (store_group_info(store, g->id, &info) == 0) {
        (void)store_group_delete(store, g->id);
    }
    g->hard_batch = store_group_create(store, g->id, &header, false);
    slice_unref(&header);
    lost_begin(g);
}

/* Put the machine where the stored snapshot says. */
static int
restore_machine(struct qr_group *g, const struct store_group_info *info,
                struct error *err)
{
    const struct store_snapshot *s = &info->snapshot;
    struct ranges live;
    size_t offset;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    ranges_init(&live);
    rv = snapshot_open(&s->manifest, &live, &g->clock_ms, &offset);
    ranges_deinit(&live);
    if (rv == 0) {
        rv = g->ops->restore(g->machine, s->index, s->manifest.data + offset,
                             s->manifest.size - offset);
    }
    if (rv != 0) {
        return error_set(err, rv == -QR_EVERSION ? QR_EVERSION : QR_EFORMAT,
                         "group %llu: its snapshot at %llu cannot be read: %s",
                         (unsigned long long)g->id,
                         (unsigned long long)s->index, qr_error_text(rv));
    }
    g->applied = s->index;
    g->commit = s->index;
    replica_configure(g, &s->configuration, s->configuration_index);
    return 0;
}

/* The store has a log of GROUP, but of another replica: an earlier incarnation
 * of ours gives way. That there was one means that the members have changed
 * since the group was made. */
static int
supersede(struct qr_group *g, const struct qr_group_config *config,
          qr_replica_id stored, struct error *err)
{
    struct qr_group_config joining = *config;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(stored != config->self);
    if (stored > config->self ||
        qr_replica_node(stored) != qr_replica_node(config->self)) {
        return error_set(err, QR_ESTALE,
                         "group %llu: the log here is of replica %llx, not "
                         "%llx: delete it first",
                         (unsigned long long)g->id, (unsigned long long)stored,
                         (unsigned long long)config->self);
    }
    (void)store_group_delete(g->host->store, g->id);
    repair_forget(g->host, g->id);
    joining.members_count = 0;
    create(g, &joining);
    return 0;
}

/* Whether CONFIG names no member but us. */
static bool
is_alone(const struct qr_group_config *config)
{
    return config->members_count == 1 && config->members[0].id == config->self;
}

/* The store does not know GROUP. It is new, or was never durable, so nothing
 * was promised; unless the store has forgotten whole groups, and it was placed
 * here before that. Then only who is alone may begin again: what it has
 * forgotten, it has promised to nobody. */
static void
begin(struct qr_group *g, const struct qr_group_config *config)
{
    bool has_amnesia =
        g->host->has_amnesia && !config->is_volatile && !config->is_fresh;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (has_amnesia && !is_alone(config) && !MUTATION(reuse_id)) {
        group_lose(g);
        return;
    }
    if (has_amnesia) {
        log_error(g->host->env->log, "raft",
                  "group %llu: if it was here before, its log is gone, and no "
                  "other node has it; it begins empty",
                  (unsigned long long)g->id);
    }
    g->must_stand = config->stand && config->members_count > 0;
    create(g, config);
}

/* Some of GROUP's log is damaged: who may be asked for it. Without anybody, the
 * first entry can still be made again. */
static void
prepare_repair(struct qr_group *g, const struct qr_group_config *config)
{
    struct store_entry first = {.term = 1, .type = RAFT_CHANGE};
    uint64_t batch = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    repair_attach(g);
    if (g->damage == NULL) {
        return;
    }
    for (size_t i = 0; i < config->members_count; i++) {
        repair_know(g, config->members[i].id);
    }
    if (is_alone(config) && repair_is_damaged(g, 1) &&
        store_term(g->host->store, g->id, 1) == 1) {
        first.data = bootstrap_entry(config);
        if (store_repair(g->host->store, g->id, 1, &first, &batch) == 0) {
            replica_note_batch(g, batch);
        }
        slice_unref(&first.data);
    }
}

/* Find GROUP in the store, or make it there. */
static int
recover(struct qr_group *g, const struct qr_group_config *config,
        struct error *err)
{
    struct store_group_info info;
    qr_replica_id stored;
    int rv = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (store_group_info(g->host->store, g->id, &info) != 0) {
        begin(g, config);
        return 0;
    }
    stored = header_self(&info.header);
    if (info.is_lost && MUTATION(reuse_id)) {
        (void)store_group_delete(g->host->store, g->id);
        begin(g, config);
        return 0;
    }
    if (info.is_lost && (stored == 0 || stored == config->self)) {
        group_lose(g);
        return 0;
    }
    if (stored != config->self) {
        return supersede(g, config, stored, err);
    }
    g->is_volatile = info.is_volatile;
    g->is_recovered = true;
    if (header_is_lost(&info.header)) {
        lost_begin(g);
        return 0;
    }
    prepare_repair(g, config);
    if (info.has_snapshot) {
        rv = restore_machine(g, &info, err);
    }
    if (rv == -QR_EFORMAT) {
        log_error(g->host->env->log, "raft",
                  "group %llu: its snapshot at %llu cannot be read",
                  (unsigned long long)g->id,
                  (unsigned long long)info.snapshot.index);
        group_lose(g);
        rv = 0;
    }
    return rv;
}

/* Whether open replica G is at its end, and CONFIG is of a later incarnation
 * that may take its place. */
static bool
gives_way(const struct qr_group *g, const struct qr_group_config *config)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return (g->is_lost || g->is_failed || g->is_leaving) && !g->is_settling &&
           g->self < config->self &&
           qr_replica_node(g->self) == qr_replica_node(config->self);
}

int
qr_group_open(struct qr_host *host, const struct qr_group_config *config,
              struct qr_group **out, struct error *err)
{
    struct qr_group_config c = *config;
    struct qr_group *g = map_get(&host->groups, c.id);
    int rv;

    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(c.id != 0);
    ASSERT(c.self != 0);
    ASSERT(c.members_count <= QR_MEMBERS_MAX);
    if (g != NULL && !gives_way(g, config)) {
        return error_set(err, QR_EEXIST, "group %llu is open",
                         (unsigned long long)c.id);
    }
    if (g != NULL) {
        g->is_leaving = true;
        host_group_destroy(g);
        c.members_count = 0;
    }
    g = group_new(host, &c);
    rv = recover(g, &c, err);
    if (rv == 0 && !g->is_lost) {
        rv = replica_start(g, err);
    }
    if (rv == 0 && g->is_repairing) {
        prepare_repair(g, &c); /* it may have been found just now */
        repair_start(g);
    }
    if (rv != 0) {
        host_group_free(g);
        return rv;
    }
    (void)map_put(&host->groups, g->id, g);
    host_attend(g);
    *out = g;
    return 0;
}

struct stored_arg {
    void (*cb)(void *arg, qr_group_id id, qr_replica_id self, bool is_volatile);
    void *arg;
};

static void
on_stored(void *arg, const struct store_group_info *info)
{
    struct stored_arg *a = arg;

    a->cb(a->arg, info->id, header_self(&info->header), info->is_volatile);
}

void
qr_host_foreach_stored(struct qr_host *host,
                       void (*cb)(void *arg, qr_group_id id, qr_replica_id self,
                                  bool is_volatile),
                       void *arg)
{
    struct stored_arg a = {cb, arg};

    OBJ_CHECK(host, HOST_MAGIC);
    store_foreach_group(host->store, on_stored, &a);
}

/* ---- closing ---- */

/* Reads under way end without GROUP. */
static void
detach_reads(struct qr_group *g)
{
    struct list *link;

    OBJ_CHECK(g, GROUP_MAGIC);
    while ((link = list_pop_front(&g->reads)) != NULL) {
        list_entry(link, struct host_fetch, reads)->group = NULL;
    }
}

void
host_group_free(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    replica_stop(g);
    install_free(g);
    stream_free_all(g);
    donate_free_all(g);
    detach_reads(g);
    repair_free(g);
    lost_end(g);
    list_remove(&g->attention);
    list_remove(&g->waiting);
    timers_stop(&g->host->env->timers, &g->timer);
    slice_unref(&g->configuration);
    slice_unref(&g->taking_configuration);
    g->magic = 0;
    mem_free(g);
}

void
host_group_destroy(struct qr_group *g)
{
    struct qr_host *host = g->host;
    const struct qr_machine_ops *ops = g->ops;
    void *machine = g->machine;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->is_leaving);
    ASSERT(!g->is_settling);
    (void)map_remove(&host->groups, g->id);
    install_free(g); /* drops what it staged, while the group exists */
    repair_abandon(g);
    (void)store_group_delete(host->store, g->id);
    host_group_free(g);
    if (ops->gone != NULL) {
        ops->gone(machine);
    }
}

void
qr_host_forget(struct qr_host *host, qr_group_id id)
{
    struct store_group_info info;

    OBJ_CHECK(host, HOST_MAGIC);
    ASSERT(qr_host_group(host, id) == NULL);
    repair_forget(host, id);
    if (store_group_info(host->store, id, &info) == 0) {
        (void)store_group_delete(host->store, id);
    }
}

void
qr_group_delete(struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    g->is_leaving = true;
    host_attend(g);
}

/* ---- proposing ---- */

static struct gather *
gather_get(struct qr_group *g)
{
    struct list *link;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->gather != NULL) {
        return g->gather;
    }
    link = list_pop_front(&g->host->gathers_free);
    if (link != NULL) {
        g->gather = list_entry(link, struct gather, link);
        g->host->gathers_free_count--;
        g->host->gathers_free_size -= g->gather->bytes.capacity;
    } else {
        g->gather = mem_zalloc(1, sizeof *g->gather);
        buf_init(&g->gather->bytes);
        list_init(&g->gather->link);
    }
    buf_clear(&g->gather->bytes);
    g->gather->count = 0;
    return g->gather;
}

/* Make room for SIZE bytes, in a new entry where the last one is large enough.
 * False when there are too many entries. */
static bool
gather_room(struct gather *gather, size_t size)
{
    size_t n = gather->count;

    if (n > 0 && gather->bytes.size - gather->starts[n - 1] + size <=
                     QR_ENTRY_SIZE_SOFT + ENTRY_HEADER_SIZE) {
        return true;
    }
    if (n == GATHER_CUTS_MAX) {
        return false;
    }
    gather->starts[n] = (uint32_t)gather->bytes.size;
    gather->count = (uint32_t)n + 1;
    memset(buf_extend(&gather->bytes, ENTRY_HEADER_SIZE), 0, ENTRY_HEADER_SIZE);
    return true;
}

int
qr_group_propose(struct qr_group *g, const struct slice *pieces, size_t count)
{
    size_t size = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (size_t i = 0; i < count; i++) {
        size += pieces[i].size;
    }
    ASSERT(size > 0);
    if (size > QR_PROPOSAL_SIZE_MAX) {
        return -QR_ETOOBIG;
    }
    if (!g->is_serving || g->is_leaving) {
        return -QR_ENOTLEADER;
    }
    if (g->pending_size + size > QR_PENDING_SIZE_MAX ||
        !gather_room(gather_get(g), size)) {
        return -QR_EBUSY;
    }
    for (size_t i = 0; i < count; i++) {
        buf_put(&g->gather->bytes, pieces[i].data, pieces[i].size);
    }
    g->pending_size += size;
    host_attend(g);
    return 0;
}

/* ---- reading ---- */

/* The commands of E, which is taken. */
static int
take_body(struct store_entry *e, struct slice *out)
{
    int rv = -QR_ENOENT;

    if (e->type == RAFT_COMMAND && e->data.size >= ENTRY_HEADER_SIZE) {
        *out = slice_sub(&e->data, ENTRY_HEADER_SIZE,
                         e->data.size - ENTRY_HEADER_SIZE);
        rv = 0;
    }
    slice_unref(&e->data);
    return rv;
}

int
qr_group_read(struct qr_group *g, qr_index index, struct slice *out)
{
    struct store_entry e;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    rv = store_read(g->host->store, g->id, index, &e);
    rv = rv == -QR_EIO ? -QR_ECORRUPT : rv;
    return rv != 0 ? rv : take_body(&e, out);
}

bool
qr_group_is_cached(const struct qr_group *g, qr_index index)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return store_is_cached(g->host->store, g->id, index);
}

void
host_fetch_done(struct host_fetch *f, int result)
{
    struct qr_fetch *asker = f->asker;

    ASSERT(!list_is_linked(&f->link));
    list_remove(&f->reads);
    asker->result = result;
    asker->impl = NULL;
    mem_free(f);
    asker->done(asker);
}

/* Whether F is to wait: its entry may yet come from another member. */
static bool
must_await(const struct host_fetch *f)
{
    struct qr_group *g = f->group;
    uint64_t due = f->due_ms;

    return g != NULL && repair_is_damaged(g, f->fetch.index) &&
           !repair_is_missing(g, f->fetch.index) &&
           (due == 0 || g->host->env->ops->now_ms(g->host->env) < due);
}

static void
on_fetched(struct store_fetch *fetch)
{
    struct host_fetch *f = fetch->arg;
    int rv = fetch->result == -QR_EIO ? -QR_ECORRUPT : fetch->result;

    if (rv == 0) {
        rv = take_body(&fetch->entry, f->asker->body);
    } else if (rv == -QR_ECORRUPT && must_await(f)) {
        repair_await(f->group, f);
        return;
    }
    host_fetch_done(f, rv);
}

void
qr_group_fetch(struct qr_group *g, struct qr_fetch *fetch)
{
    struct host_fetch *f = mem_zalloc(1, sizeof *f);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(fetch->done != NULL);
    f->asker = fetch;
    f->group = g;
    list_init(&f->link);
    list_init(&f->reads);
    list_push_back(&g->reads, &f->reads);
    f->fetch.done = on_fetched;
    f->fetch.arg = f;
    f->fetch.group = g->id;
    f->fetch.index = fetch->index;
    fetch->impl = f;
    store_fetch(g->host->store, &f->fetch);
}
