/* Giving others the commands of entries that are damaged there.
 *
 * A Fetch names entries by index and term, which in Raft name one content for
 * ever, so any replica that has such an entry may give it, applied or not. They
 * are read one at a time through the store's pool; what cannot be read here, or
 * is not here, is said not to be. An answer is sent when about DONATE_SIZE
 * bytes have gathered, though not all that was asked for has been looked at:
 * the asker asks again for the rest. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "consensus/internal.h"

enum {
    DONATION_MAGIC = 0x444f4e41,
    DONATE_SIZE = 1 << 20,
    DONATIONS_MAX = 32 /* at a time, of a host; further ones ask again */
};

/* One Fetch that is being answered. */
struct donation {
    unsigned magic;
    struct list link; /* of its group */
    struct qr_host *host;
    struct qr_group *group; /* NULL: closed, free it when the read has come */
    qr_replica_id to;
    uint64_t nonce;
    qr_index wanted[WIRE_FETCH_MAX];
    qr_term terms[WIRE_FETCH_MAX];
    size_t count;
    size_t at; /* how many were looked at */
    uint64_t sizes[WIRE_FETCH_MAX];
    uint32_t crcs[WIRE_FETCH_MAX];
    struct frame *frame;
    size_t frame_size;
    bool is_fetching;
    struct store_fetch fetch;
};

static void
donation_free(struct donation *d)
{
    OBJ_CHECK(d, DONATION_MAGIC);
    list_remove(&d->link);
    frame_free(&d->frame);
    d->group = NULL;
    if (d->is_fetching) {
        return;
    }
    ASSERT(d->host->donations > 0);
    d->host->donations--;
    d->magic = 0;
    mem_free(d);
}

void
donate_free_all(struct qr_group *g)
{
    struct list *it;
    struct list *tmp;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_foreach_safe (it, tmp, &g->donations) {
        donation_free(list_entry(it, struct donation, link));
    }
}

/* Say what was found, and be done. */
static void
answer(struct donation *d)
{
    struct qr_group *g = d->group;
    Raft__Fetched pb = RAFT__FETCHED__INIT;
    uint64_t indexes[WIRE_FETCH_MAX];
    struct frame *f = d->frame;
    struct block *block;

    OBJ_CHECK(d, DONATION_MAGIC);
    ASSERT(d->at > 0);
    ASSERT(d->at <= d->count);
    for (size_t i = 0; i < d->at; i++) {
        indexes[i] = d->wanted[i] - (i > 0 ? d->wanted[i - 1] : 0);
    }
    pb.group = g->id;
    pb.from = g->self;
    pb.to = d->to;
    pb.nonce = d->nonce;
    pb.indexes = indexes;
    pb.sizes = d->sizes;
    pb.crcs = d->crcs;
    pb.n_indexes = pb.n_sizes = pb.n_crcs = d->at;
    pb.snapshot = g->snapshot_index;
    block = block_new(raft__fetched__get_packed_size(&pb));
    raft__fetched__pack(&pb, block->data);
    f->head = slice_of_block(block);
    f->group = g->id;
    f->to_shard = FRAME_TO_GROUP;
    d->frame = NULL;
    (void)host_post(g->host, qr_replica_node(d->to), &f);
    donation_free(d);
}

/* What to say of entry INDEX of TERM, whose commands are not here. What was
 * applied and is not in the log was released by a snapshot; then its term is
 * gone, too, but for the last one's, by which the snapshot is known. */
static uint64_t
what_of(const struct qr_group *g, qr_index index, qr_term term)
{
    const struct store *store = g->host->store;
    qr_term ours = store_term(store, g->id, index);

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(term > 0);
    return index <= g->applied && (ours == 0 || ours == term) &&
                   !store_is_damaged(store, g->id, index)
               ? WIRE_RELEASED
               : WIRE_ABSENT;
}

/* Entry INDEX is damaged here, too, but we have applied it: with a snapshot of
 * what came of it the asker can do without. */
static void
consider_snapshot(struct qr_group *g, qr_index index)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (index > g->snapshot_index && index <= g->applied &&
        repair_is_damaged(g, index)) {
        qr_group_snapshot(g);
    }
}

static void on_fetched(struct store_fetch *fetch);

/* Read the next entry, or answer. */
static void
go_on(struct donation *d)
{
    const struct store *store = d->host->store;

    OBJ_CHECK(d, DONATION_MAGIC);
    while (d->at < d->count && d->frame_size < DONATE_SIZE) {
        if (store_term(store, d->group->id, d->wanted[d->at]) ==
            d->terms[d->at]) {
            memset(&d->fetch, 0, sizeof d->fetch);
            d->fetch.done = on_fetched;
            d->fetch.arg = d;
            d->fetch.group = d->group->id;
            d->fetch.index = d->wanted[d->at];
            d->is_fetching = true;
            store_fetch(d->host->store, &d->fetch);
            return;
        }
        d->sizes[d->at] = what_of(d->group, d->wanted[d->at], d->terms[d->at]);
        d->at++;
    }
    answer(d);
}

static void
on_fetched(struct store_fetch *fetch)
{
    struct donation *d = fetch->arg;
    struct store_entry *e = &fetch->entry;

    OBJ_CHECK(d, DONATION_MAGIC);
    d->is_fetching = false;
    if (d->group == NULL) {
        if (fetch->result == 0) {
            slice_unref(&e->data);
        }
        donation_free(d);
        return;
    }
    if (fetch->result == 0 && e->term == d->terms[d->at]) {
        d->sizes[d->at] = (uint64_t)e->data.size * 4 + e->type;
        d->crcs[d->at] = crc32c(0, e->data.data, e->data.size);
        d->frame_size += e->data.size;
        frame_add(d->frame, slice_take(&e->data));
    } else if (fetch->result == 0) {
        slice_unref(&e->data);
    } else if (fetch->result == -QR_ENOENT) {
        d->sizes[d->at] = what_of(d->group, d->wanted[d->at], d->terms[d->at]);
    }
    consider_snapshot(d->group, d->wanted[d->at]);
    d->at++;
    go_on(d);
}

/* Copy what PB asks for; false when it makes no sense. */
static bool
take_wanted(struct donation *d, const Raft__Fetch *pb)
{
    qr_index index = 0;

    OBJ_CHECK(d, DONATION_MAGIC);
    for (size_t i = 0; i < pb->n_indexes; i++) {
        if (pb->indexes[i] == 0 || pb->indexes[i] > UINT64_MAX - index ||
            pb->terms[i] == 0) {
            return false;
        }
        index += pb->indexes[i];
        d->wanted[i] = index;
        d->terms[i] = pb->terms[i];
    }
    d->count = pb->n_indexes;
    return d->count > 0;
}

/* Whether TO is being answered: its earlier question is as good. */
static bool
is_answering(const struct qr_group *g, qr_replica_id to)
{
    struct list *it;

    OBJ_CHECK(g, GROUP_MAGIC);
    list_foreach (it, &g->donations) {
        if (list_entry(it, struct donation, link)->to == to) {
            return true;
        }
    }
    return false;
}

void
donate_receive(struct qr_group *g, const Raft__Fetch *pb)
{
    struct donation *d;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(pb->n_indexes <= WIRE_FETCH_MAX);
    ASSERT(pb->n_indexes == pb->n_terms);
    membership_disown(g, pb->from);
    if (pb->n_indexes == 0) {
        state_send(g, pb);
        return;
    }
    if (g->host->donations >= DONATIONS_MAX || is_answering(g, pb->from)) {
        return;
    }
    d = mem_zalloc(1, sizeof *d);
    d->magic = DONATION_MAGIC;
    d->host = g->host;
    d->group = g;
    d->to = pb->from;
    d->nonce = pb->nonce;
    d->frame = frame_new(FRAME_STREAM, WIRE_FETCHED);
    list_init(&d->link);
    list_push_back(&g->donations, &d->link);
    g->host->donations++;
    if (take_wanted(d, pb)) {
        go_on(d);
    } else {
        donation_free(d);
    }
}
