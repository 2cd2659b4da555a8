/* Sending a snapshot: the manifest when the library wants it sent, then the
 * live entries that the follower asks for, a chunk for each credit.
 *
 * Entries that are not in memory are read through the store's pool, one at a
 * time, so that a long stream never blocks the loop. When the snapshot that
 * the follower is fetching has been replaced by a newer one here, its entries
 * may be gone; the follower is told, and will be offered the new one. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    STREAM_MAGIC = 0x5354524d,
    STREAM_CHUNK_SIZE = 1 << 20,
    STREAM_CHUNK_MS = 250, /* on a slow disk it is sent as it is; well below
                              INSTALL_STALL_MS, at which all is asked anew */
    STREAM_CREDIT_MAX = 8,
    STREAM_ACTIVE_MS = 2500, /* pulled within: the follower is at it */
    STREAM_IDLE_MS = 30000   /* forgotten after */
};

/* What one follower fetches of one snapshot. */
struct stream {
    unsigned magic;
    struct list link; /* of its group */
    struct qr_group *group;
    qr_replica_id to;
    qr_index snapshot;
    uint64_t id;
    uint64_t sequence;
    unsigned credit;
    uint64_t chunk_at_ms; /* when its first entry came */
    uint64_t pulled_at_ms;
    struct range *ranges; /* asked for */
    size_t ranges_count;
    size_t range; /* where we are */
    qr_index next;
    bool is_fetching; /* `fetch` is under way: pinned */
    bool is_closed;   /* free it when the fetch has come */
    struct store_fetch fetch;
    struct frame *frame; /* the chunk that is filled */
    size_t frame_size;
    size_t count;
    qr_index last; /* in the chunk */
    uint64_t indexes[WIRE_ENTRIES_MAX];
    uint64_t terms[WIRE_ENTRIES_MAX];
    uint64_t sizes[WIRE_ENTRIES_MAX];
};

static uint64_t
now_ms(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    return g->host->env->ops->now_ms(g->host->env);
}

static void
stream_free(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    list_remove(&s->link);
    frame_free(&s->frame);
    mem_free(s->ranges);
    s->ranges = NULL;
    if (s->is_fetching) {
        s->is_closed = true;
        s->group = NULL;
        return;
    }
    s->magic = 0;
    mem_free(s);
}

void
stream_free_all(struct qr_group *g)
{
    struct list *it;
    struct list *tmp;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_foreach_safe (it, tmp, &g->streams) {
        stream_free(list_entry(it, struct stream, link));
    }
}

static struct stream *
stream_find(struct qr_group *g, qr_replica_id to)
{
    struct list *it;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_foreach (it, &g->streams) {
        struct stream *s = list_entry(it, struct stream, link);

        if (s->to == to) {
            return s;
        }
    }
    return NULL;
}

static void
expire(struct qr_group *g)
{
    uint64_t now = now_ms(g);
    struct list *it;
    struct list *tmp;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_foreach_safe (it, tmp, &g->streams) {
        struct stream *s = list_entry(it, struct stream, link);

        if (now - s->pulled_at_ms > STREAM_IDLE_MS) {
            stream_free(s);
        }
    }
}

static bool
stream_is_busy(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return now_ms(s->group) - s->pulled_at_ms <= STREAM_ACTIVE_MS;
}

bool
stream_is_active(const struct qr_group *g)
{
    struct list *it;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_foreach (it, &g->streams) {
        if (stream_is_busy(list_entry(it, struct stream, link))) {
            return true;
        }
    }
    return false;
}

/* ---- the manifest ---- */

void
stream_offer(struct qr_group *g, const struct raft_message *m)
{
    const struct raft_install_snapshot *a = &m->install_snapshot;
    struct stream *s;
    Raft__Install pb = RAFT__INSTALL__INIT;
    struct store_group_info info;
    struct frame *f;
    uint8_t *configuration;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    expire(g);
    s = stream_find(g, m->server_id);
    if (s != NULL && s->snapshot == a->last_index && stream_is_busy(s)) {
        return; /* it has the manifest and is fetching */
    }
    rv = store_group_info(g->host->store, g->id, &info);
    ASSERT(rv == 0);
    /* A newer snapshot of ours is on its way to the disk, or the term is: the
     * library offers again. */
    if (!info.has_snapshot || info.snapshot.index != a->last_index ||
        g->hard_batch > g->host->durable) {
        return;
    }
    ASSERT(info.snapshot.term == a->last_term);
    ASSERT(info.snapshot.configuration_index == a->conf_index);
    pb.group = g->id;
    pb.from = g->self;
    pb.to = m->server_id;
    pb.term = a->term;
    pb.last_index = a->last_index;
    pb.last_term = a->last_term;
    pb.configuration_index = a->conf_index;
    configuration = mem_dup(info.snapshot.configuration.data,
                            info.snapshot.configuration.size);
    pb.configuration.data = configuration;
    pb.configuration.len = info.snapshot.configuration.size;
    f = host_frame(FRAME_STREAM, WIRE_INSTALL, g->id, &pb.base);
    frame_add(f, slice_ref(&info.snapshot.manifest));
    mem_free(configuration);
    (void)host_post(g->host, qr_replica_node(m->server_id), &f);
}

/* ---- the entries ---- */

static void
tell_gone(struct stream *s)
{
    Raft__Notice n = RAFT__NOTICE__INIT;

    OBJ_CHECK(s, STREAM_MAGIC);
    n.reason = RAFT__NOTICE__REASON__GONE;
    n.group = s->group->id;
    n.replica = s->to;
    n.stream = s->id;
    host_notice(s->group->host, qr_replica_node(s->to), &n);
}

/* Send the chunk that was filled. False when the link did not take it: the
 * follower notices, and asks again. */
static bool
send_chunk(struct stream *s)
{
    struct qr_group *g = s->group;
    Raft__Chunk pb = RAFT__CHUNK__INIT;
    struct frame *f = s->frame;
    struct block *block;

    OBJ_CHECK(s, STREAM_MAGIC);
    ASSERT(s->count > 0);
    ASSERT(s->credit > 0);
    pb.group = g->id;
    pb.from = g->self;
    pb.to = s->to;
    pb.stream = s->id;
    pb.sequence = s->sequence++;
    pb.indexes = s->indexes;
    pb.terms = s->terms;
    pb.sizes = s->sizes;
    pb.n_indexes = pb.n_terms = pb.n_sizes = s->count;
    block = block_new(raft__chunk__get_packed_size(&pb));
    raft__chunk__pack(&pb, block->data);
    f->head = slice_of_block(block);
    f->group = g->id;
    f->to_shard = FRAME_TO_GROUP;
    s->frame = NULL;
    s->count = 0;
    s->last = 0;
    s->frame_size = 0;
    s->credit--;
    return host_post(g->host, qr_replica_node(s->to), &f);
}

/* Add E, which is taken, as the next entry of the chunk. */
static void
add_entry(struct stream *s, struct store_entry *e)
{
    size_t n = s->count;

    OBJ_CHECK(s, STREAM_MAGIC);
    ASSERT(n < WIRE_ENTRIES_MAX);
    if (s->frame == NULL) {
        s->frame = frame_new(FRAME_STREAM, WIRE_CHUNK);
        s->chunk_at_ms = now_ms(s->group);
    }
    s->indexes[n] = s->next - s->last;
    s->terms[n] = e->term;
    s->sizes[n] = (uint64_t)e->data.size * 4 + e->type;
    s->frame_size += e->data.size;
    frame_add(s->frame, slice_take(&e->data));
    s->last = s->next;
    s->count = n + 1;
    if (s->next == s->ranges[s->range].last) {
        s->range++;
        s->next = s->range < s->ranges_count ? s->ranges[s->range].first : 0;
    } else {
        s->next++;
    }
}

static bool
chunk_is_full(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->count == WIRE_ENTRIES_MAX || s->frame_size >= STREAM_CHUNK_SIZE ||
           (s->count > 0 &&
            (s->range == s->ranges_count ||
             now_ms(s->group) - s->chunk_at_ms >= STREAM_CHUNK_MS));
}

static void on_fetched(struct store_fetch *fetch);

/* Get the next entry: true when it is in the chunk already, false when it will
 * come, or never. */
static bool
next_entry(struct stream *s)
{
    struct qr_group *g = s->group;
    struct store_entry e;

    OBJ_CHECK(s, STREAM_MAGIC);
    if (store_is_cached(g->host->store, g->id, s->next)) {
        if (store_read(g->host->store, g->id, s->next, &e) != 0) {
            tell_gone(s);
            stream_free(s);
            return false;
        }
        add_entry(s, &e);
        return true;
    }
    memset(&s->fetch, 0, sizeof s->fetch);
    s->fetch.done = on_fetched;
    s->fetch.arg = s;
    s->fetch.group = g->id;
    s->fetch.index = s->next;
    s->is_fetching = true;
    store_fetch(g->host->store, &s->fetch);
    return false;
}

/* Send while there is credit. S may be freed. */
static void
pump(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    while (s->credit > 0 && !s->is_fetching) {
        if (chunk_is_full(s)) {
            if (!send_chunk(s)) {
                stream_free(s);
                return;
            }
            continue;
        }
        if (s->range == s->ranges_count || !next_entry(s)) {
            return;
        }
    }
}

static void
on_fetched(struct store_fetch *fetch)
{
    struct stream *s = fetch->arg;

    OBJ_CHECK(s, STREAM_MAGIC);
    s->is_fetching = false;
    if (s->is_closed) {
        if (fetch->result == 0) {
            slice_unref(&fetch->entry.data);
        }
        s->magic = 0;
        mem_free(s);
        return;
    }
    if (fetch->result != 0) {
        tell_gone(s);
        stream_free(s);
        return;
    }
    add_entry(s, &fetch->entry);
    pump(s);
}

/* A new stream for PB, in the place of an older one. */
static struct stream *
stream_start(struct qr_group *g, const Raft__Pull *pb)
{
    struct stream *s = stream_find(g, pb->from);
    size_t count = pb->n_ranges / 2;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (s != NULL) {
        stream_free(s);
    }
    s = mem_zalloc(1, sizeof *s);
    s->magic = STREAM_MAGIC;
    s->group = g;
    s->to = pb->from;
    s->snapshot = pb->snapshot;
    s->id = pb->stream;
    s->ranges = mem_zalloc(count, sizeof s->ranges[0]);
    s->ranges_count = count;
    for (size_t i = 0; i < count; i++) {
        s->ranges[i].first = pb->ranges[2 * i];
        s->ranges[i].last = pb->ranges[2 * i] + pb->ranges[2 * i + 1] - 1;
    }
    s->next = s->ranges[0].first;
    list_init(&s->link);
    list_push_back(&g->streams, &s->link);
    return s;
}

static bool
ranges_are_sane(const Raft__Pull *pb)
{
    uint64_t end = 0;

    for (size_t i = 0; i < pb->n_ranges; i += 2) {
        uint64_t first = pb->ranges[i];
        uint64_t count = pb->ranges[i + 1];

        if (first <= end || count == 0 || first + count - 1 < first) {
            return false;
        }
        end = first + count - 1;
    }
    return true;
}

void
stream_pull(struct qr_group *g, const Raft__Pull *pb)
{
    struct stream *s;

    OBJ_CHECK(g, GROUP_MAGIC);
    expire(g);
    if (!ranges_are_sane(pb)) {
        return;
    }
    s = pb->n_ranges > 0 ? stream_start(g, pb) : stream_find(g, pb->from);
    if (s == NULL || s->id != pb->stream) {
        return;
    }
    s->pulled_at_ms = now_ms(g);
    s->credit = MIN(s->credit + pb->credit, (unsigned)STREAM_CREDIT_MAX);
    pump(s);
}
