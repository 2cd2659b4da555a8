/* Messages on their way out.
 *
 * All messages of one turn for one shard of a peer share a frame (a parcel
 * while it is filled): a thousand heartbeats are one frame, and what is sent
 * to a shard arrives in the order of sending. A message that promises
 * something not yet durable goes into a parcel of its own kind, which is held
 * until the batch with the promise is durable.
 *
 * Nothing waits without a limit: beyond PEER_WAITING_SIZE_MAX, and while a
 * link is down, messages are dropped. Raft sends them again. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "consensus/internal.h"

static struct parcel *
parcel_new(struct qr_host *host)
{
    struct list *link = list_pop_front(&host->parcels_free);
    struct parcel *p;

    OBJ_CHECK(host, HOST_MAGIC);
    if (link != NULL) {
        p = list_entry(link, struct parcel, link);
        host->parcels_free_count--;
    } else {
        p = mem_zalloc(1, sizeof *p);
        buf_init(&p->head);
    }
    list_init(&p->link);
    p->frame = frame_new(FRAME_RAFT, WIRE_BATCH);
    p->content_size = 0;
    buf_clear(&p->head);
    return p;
}

static void
parcel_recycle(struct qr_host *host, struct parcel *p)
{
    OBJ_CHECK(host, HOST_MAGIC);
    frame_free(&p->frame);
    list_remove(&p->link);
    if (host->parcels_free_count == FREE_KEPT_MAX) {
        buf_deinit(&p->head);
        mem_free(p);
        return;
    }
    list_push_back(&host->parcels_free, &p->link);
    host->parcels_free_count++;
}

static size_t
parcel_size(const struct parcel *p)
{
    return p->head.size + p->content_size;
}

/* Hand P to the link, if it takes it; P is free afterwards. */
static void
parcel_post(struct peer *peer, struct parcel *p)
{
    struct env *env = peer->host->env;
    struct address to = {peer->node, p->shard};

    ASSERT(p->head.size > 0);
    ASSERT(peer->waiting_size >= parcel_size(p));
    peer->waiting_size -= parcel_size(p);
    p->frame->group = p->group;
    p->frame->to_shard = p->shard;
    p->frame->head = slice_copy(p->head.data, p->head.size);
    (void)env->ops->post(env, to, &p->frame);
    parcel_recycle(peer->host, p);
}

/* Whether P may take one more message, with COUNT entries. */
static bool
parcel_has_room(const struct parcel *p, unsigned count)
{
    return p->head.size < PARCEL_HEAD_SIZE &&
           p->content_size < PARCEL_CONTENT_SIZE &&
           p->frame->content_count + count <= FRAME_CONTENT_MAX;
}

/* The last parcel for SHARD with NEED. An earlier one that still had room
 * would overtake it. */
static struct parcel *
parcel_find(struct peer *peer, const struct qr_group *g, uint16_t shard,
            uint64_t need)
{
    struct list *it;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (it = peer->parcels.prev; it != &peer->parcels; it = it->prev) {
        struct parcel *p = list_entry(it, struct parcel, link);

        if (p->shard == shard && p->need == need &&
            (shard != FRAME_TO_GROUP || p->group == g->id)) {
            return p;
        }
    }
    return NULL;
}

/* The parcel for a message of GROUP with COUNT entries. */
static struct parcel *
parcel_for(struct qr_group *g, struct peer *peer, uint64_t need, unsigned count)
{
    struct qr_host *host = g->host;
    uint16_t shard = FRAME_TO_GROUP;
    struct parcel *p;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(count <= FRAME_CONTENT_MAX);
    if (need <= host->durable) {
        need = 0;
    }
    if (peer->shards != 0) {
        shard = env_shard_of(g->id, peer->shards);
    }
    p = parcel_find(peer, g, shard, need);
    if (p == NULL || !parcel_has_room(p, count)) {
        p = parcel_new(host);
        p->shard = shard;
        p->need = need;
        p->group = g->id;
        list_push_back(&peer->parcels, &p->link);
        if (!list_is_linked(&peer->dirty)) {
            list_push_back(&host->peers_dirty, &peer->dirty);
        }
    }
    return p;
}

/* Whether a message to PEER may be sent, or is to be dropped. */
static bool
window_is_open(const struct peer *peer)
{
    return peer->is_linked && peer->waiting_size <= PEER_WAITING_SIZE_MAX;
}

/* Put M with COUNT entries of host->records, which host->wire_entries
 * describes. The references move to the frame. */
static void
put(struct qr_group *g, struct peer *peer, const struct raft_message *m,
    uint64_t need, unsigned count)
{
    struct qr_host *host = g->host;
    struct wire_route route = {g->id, g->self, m->server_id,
                               hibernate_is_quiet(g, m), room_of(g)};
    struct parcel *p = parcel_for(g, peer, need, count);
    size_t before = parcel_size(p);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(host->wire_entries.count == count);
    wire_put(&p->head, &route, m, &host->wire_entries);
    for (unsigned i = 0; i < count; i++) {
        p->content_size += host->records[i].data.size;
        frame_add(p->frame, slice_take(&host->records[i].data));
    }
    peer->waiting_size += parcel_size(p) - before;
    host->wire_entries.count = 0;
    host->wire_entries.terms_count = 0;
}

/* Read entries from FIRST on, at most COUNT and about PARCEL_CONTENT_SIZE
 * bytes, into host->records. Returns how many; 0 when the first cannot be
 * read. */
static unsigned
read_entries(struct qr_group *g, qr_index first, unsigned count)
{
    struct qr_host *host = g->host;
    struct wire_entries *e = &host->wire_entries;
    size_t size = 0;
    unsigned n = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    count = MIN(count, (unsigned)WIRE_ENTRIES_MAX);
    while (n < count && size < PARCEL_CONTENT_SIZE) {
        struct store_entry *r = &host->records[n];

        if (store_read(host->store, g->id, first + n, r) != 0) {
            break;
        }
        size += r->data.size;
        wire_entries_add(e, r->term, r->type, r->data.size);
        n++;
    }
    return n;
}

/* An AppendEntries with entries, as several messages where they are many or
 * large. Shortening the message itself is not allowed: the library has noted
 * all of it as sent. What does not fit into the peer's window is lost, which
 * the library is prepared for. */
static void
send_append(struct qr_group *g, struct peer *peer, const struct raft_message *m,
            uint64_t need)
{
    struct raft_message part = *m;
    struct raft_append_entries *a = &part.append_entries;
    unsigned left = m->append_entries.n_entries;

    OBJ_CHECK(g, GROUP_MAGIC);
    while (left > 0 && window_is_open(peer)) {
        unsigned n = read_entries(g, a->prev_log_index + 1, left);
        qr_term last_term;

        if (n == 0) {
            return; /* just released: the follower will get the snapshot */
        }
        last_term = g->host->records[n - 1].term;
        a->n_entries = n;
        put(g, peer, &part, need, n);
        a->prev_log_index += n;
        a->prev_log_term = last_term;
        left -= n;
    }
}

/* What must be durable before M may leave (rule 3). */
static uint64_t
need_of(const struct qr_group *g, const struct raft_message *m)
{
    const struct raft_append_entries *a = &m->append_entries;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (m->type == RAFT_APPEND_ENTRIES && a->n_entries > 0 &&
        g->change_batch > g->hard_batch &&
        a->prev_log_index + a->n_entries >= g->change_index) {
        return g->change_batch;
    }
    return g->hard_batch;
}

void
outbox_send(struct qr_group *g, const struct raft_message *m)
{
    struct peer *peer;
    uint64_t need;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(m->type != RAFT_INSTALL_SNAPSHOT);
    /* A follower without a leader may address server 0. */
    if (qr_replica_node(m->server_id) == 0) {
        return;
    }
    peer = host_peer(g->host, qr_replica_node(m->server_id));
    if (!window_is_open(peer)) {
        return;
    }
    need = MUTATION(no_hold) ? 0 : need_of(g, m);
    if (m->type == RAFT_APPEND_ENTRIES && m->append_entries.n_entries > 0) {
        send_append(g, peer, m, need);
        return;
    }
    put(g, peer, m, need, 0);
}

static void
peer_flush(struct peer *peer)
{
    struct list *it;
    struct list *tmp;

    list_foreach_safe (it, tmp, &peer->parcels) {
        struct parcel *p = list_entry(it, struct parcel, link);

        if (p->need <= peer->host->durable) {
            parcel_post(peer, p);
        }
    }
}

void
outbox_flush(struct qr_host *host)
{
    struct list *it;
    struct list *tmp;

    OBJ_CHECK(host, HOST_MAGIC);
    list_foreach_safe (it, tmp, &host->peers_dirty) {
        struct peer *peer = list_entry(it, struct peer, dirty);

        peer_flush(peer);
        if (list_is_empty(&peer->parcels)) {
            list_remove(&peer->dirty);
        }
    }
}

void
outbox_drop(struct peer *peer)
{
    struct list *link;

    while ((link = list_pop_front(&peer->parcels)) != NULL) {
        struct parcel *p = list_entry(link, struct parcel, link);

        peer->waiting_size -= parcel_size(p);
        parcel_recycle(peer->host, p);
    }
    list_remove(&peer->dirty);
    ASSERT(peer->waiting_size == 0);
}
