/* Entries come from the cache, or from the disk with their checksum verified.
 * A fetch holds its segment: that is not reused while a read is under way,
 * even if the entry dies meanwhile. */
#include "store/read.h"

#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/damage.h"
#include "store/segment.h"
#include "store/store_impl.h"

enum {
    FETCH_MAGIC = 0x46455443,
    CACHE_SHARE = 4 /* one body gets at most this part of the cache */
};

/* The disk's side of a store_fetch. */
struct fetch_impl {
    unsigned magic;
    struct list link; /* store.fetches */
    struct store *store;
    struct store_fetch *fetch;
    struct segment *segment; /* NULL: served from memory */
    struct slice data;       /* if from memory */
    struct block *block;
    struct record want;
    struct iovec iov;
    struct disk_req req;
};

static const struct group *
find_group(const struct store *s, qr_group_id id)
{
    OBJ_CHECK(s, STORE_MAGIC);
    return map_get(&s->groups, id);
}

static bool
is_same(const struct record *r, const struct record *want)
{
    return r->log == want->log && r->index == want->index &&
           r->term == want->term && r->size == want->size &&
           r->entry_type == want->entry_type &&
           (r->type == RECORD_ENTRY || r->type == RECORD_STAGED ||
            r->type == RECORD_COPY);
}

int
record_load(struct store *s, const struct segment *seg, uint64_t offset,
            uint32_t size, struct record *out, struct slice *body)
{
    struct block *block = block_new(size);
    uint32_t crc;
    int rv;

    OBJ_CHECK(s, STORE_MAGIC);
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(size >= RECORD_HEADER_SIZE);
    ASSERT(offset + size <= seg->header.size);
    rv = s->disk->ops->read(seg->file, offset, block->data, size);
    if (rv == 0) {
        rv = record_decode(block->data, size, out, &crc);
    }
    if (rv == 0 && out->size != size) {
        rv = -QR_ECORRUPT;
    }
    if (rv == 0) {
        out->offset = offset;
        *body = slice_in_block(block, RECORD_HEADER_SIZE,
                               size - RECORD_HEADER_SIZE);
    }
    block_unref(block);
    return rv;
}

static struct record
wanted(const struct group *g, qr_index index, const struct entry_loc *loc)
{
    struct record r = {.type = RECORD_ENTRY,
                       .entry_type = entry_loc_type(loc),
                       .log = g->log,
                       .index = index,
                       .term = group_log_term(&g->entries, index),
                       .offset = (uint64_t)entry_loc_offset(loc) * RECORD_ALIGN,
                       .size = RECORD_HEADER_SIZE + entry_loc_size(loc)};

    OBJ_CHECK(g, GROUP_MAGIC);
    return r;
}

/* The entry if it is in memory. */
static bool
from_memory(const struct store *s, const struct group *g, qr_index index,
            const struct entry_loc *loc, struct slice *out)
{
    struct cache_key key = {.log = g->log, .index = index};
    const struct slice *hit;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT((loc->what & ENTRY_LOC_PRESENT) != 0);
    if (entry_loc_size(loc) == 0 &&
        (g->is_volatile || !entry_loc_is_damaged(loc))) {
        *out = slice_empty();
        return true;
    }
    if (g->is_volatile) {
        *out = slice_in_block(loc->block, loc->cache, entry_loc_size(loc));
        return true;
    }
    key.term = group_log_term(&g->entries, index);
    hit = cache_get(&s->cache, loc->cache, &key);
    if (hit == NULL) {
        return false;
    }
    *out = slice_ref(hit);
    return true;
}

/* Keep what was read: an entry is a batch of messages, and they are asked for
 * one by one. The location may have moved or gone meanwhile. */
static void
remember(struct store *s, qr_group_id id, const struct record *want,
         const struct slice *data)
{
    struct cache_key key = {want->log, want->index, want->term};
    const struct group *g = find_group(s, id);
    struct entry_loc *loc = g ? group_log_get(&g->entries, want->index) : NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT(data->size == want->size - RECORD_HEADER_SIZE);
    if (loc == NULL || g->log != want->log ||
        group_log_term(&g->entries, want->index) != want->term ||
        data->size > s->config.cache_size / CACHE_SHARE) {
        return;
    }
    if (cache_get(&s->cache, loc->cache, &key) == NULL) {
        loc->cache = cache_add(&s->cache, &key, data, 0);
        cache_trim(&s->cache, s->durable);
    }
}

static void
note_damage(struct store *s, const struct segment *seg, qr_group_id group,
            const struct record *want, int rv)
{
    OBJ_CHECK(seg, SEGMENT_MAGIC);
    ASSERT(rv != 0);
    log_error(s->config.log, "store",
              "%s: offset %llu: entry %llu of log %u cannot be read: %s",
              seg->name, (unsigned long long)want->offset,
              (unsigned long long)want->index, want->log, qr_error_text(rv));
    damage_at_read(s, seg, group, want);
}

int
store_read(struct store *s, qr_group_id group, qr_index index,
           struct store_entry *out)
{
    const struct group *g = find_group(s, group);
    struct entry_loc *loc = g ? group_log_get(&g->entries, index) : NULL;
    struct slice data = slice_empty();
    const struct segment *seg;
    struct record want;
    struct record got;
    int rv;

    if (loc == NULL) {
        return -QR_ENOENT;
    }
    want = wanted(g, index, loc);
    if (!from_memory(s, g, index, loc, &data)) {
        if (entry_loc_is_damaged(loc)) {
            return -QR_ECORRUPT;
        }
        seg = segment_at(s, loc->segment);
        rv = record_load(s, seg, want.offset, want.size, &got, &data);
        if (rv == 0 && !is_same(&got, &want)) {
            slice_unref(&data);
            rv = -QR_ECORRUPT;
        }
        if (rv != 0) {
            if (rv != -QR_ESHUTDOWN) {
                note_damage(s, seg, group, &want, rv);
            }
            return rv;
        }
        remember(s, group, &want, &data);
    }
    out->term = want.term;
    out->type = want.entry_type;
    out->data = data;
    return 0;
}

bool
store_is_cached(const struct store *s, qr_group_id group, qr_index index)
{
    const struct group *g = find_group(s, group);
    struct entry_loc *loc = g ? group_log_get(&g->entries, index) : NULL;
    struct slice data;
    bool hit;

    if (loc == NULL) {
        return true; /* -QR_ENOENT needs no disk either */
    }
    hit = from_memory(s, g, index, loc, &data);
    if (hit) {
        slice_unref(&data);
    }
    return hit;
}

static int
judge(struct fetch_impl *f, struct slice *data)
{
    struct record got;
    uint32_t crc;
    int rv = f->req.result;

    OBJ_CHECK(f, FETCH_MAGIC);
    if (rv == 0) {
        rv = record_decode(f->block->data, f->want.size, &got, &crc);
    }
    if (rv == 0 && !is_same(&got, &f->want)) {
        rv = -QR_ECORRUPT;
    }
    if (rv == 0) {
        *data = slice_in_block(f->block, RECORD_HEADER_SIZE,
                               f->want.size - RECORD_HEADER_SIZE);
    }
    return rv;
}

static void
impl_free(struct fetch_impl *f)
{
    OBJ_CHECK(f, FETCH_MAGIC);
    list_remove(&f->link);
    slice_unref(&f->data);
    block_unref(f->block);
    f->magic = 0;
    mem_free(f);
}

void
read_forget_all(struct store *s)
{
    while (!list_is_empty(&s->fetches)) {
        impl_free(list_entry(s->fetches.next, struct fetch_impl, link));
    }
}

static void
fetch_done(struct disk_req *req)
{
    struct fetch_impl *f = req->arg;
    struct store *s = f->store;
    struct store_fetch *fetch = f->fetch;

    OBJ_CHECK(s, STORE_MAGIC);
    OBJ_CHECK(f, FETCH_MAGIC);
    ASSERT(s->fetching > 0);
    s->fetching--;
    if (f->segment == NULL) {
        fetch->entry.data = slice_take(&f->data);
    } else {
        fetch->result = judge(f, &fetch->entry.data);
        if (fetch->result == 0) {
            remember(s, fetch->group, &f->want, &fetch->entry.data);
        } else {
            note_damage(s, f->segment, fetch->group, &f->want, fetch->result);
        }
        ASSERT(f->segment->readers > 0);
        f->segment->readers--;
        s->must_maintain = s->must_maintain || f->segment->readers == 0;
    }
    impl_free(f);
    fetch->impl = NULL;
    fetch->done(fetch);
}

/* F has to go to the disk for what is at LOC. */
static void
prepare_read(struct fetch_impl *f, const struct entry_loc *loc)
{
    OBJ_CHECK(f, FETCH_MAGIC);
    ASSERT(f->segment == NULL);
    if (entry_loc_is_damaged(loc)) {
        f->fetch->result = -QR_ECORRUPT;
        return;
    }
    f->segment = segment_at(f->store, loc->segment);
    f->segment->readers++;
    f->block = block_new(f->want.size);
    f->iov.iov_base = f->block->data;
    f->iov.iov_len = f->want.size;
    f->req.iov_count = 1;
    f->req.file = f->segment->file;
    f->req.offset = f->want.offset;
}

void
store_fetch(struct store *s, struct store_fetch *fetch)
{
    const struct group *g = find_group(s, fetch->group);
    struct entry_loc *loc = g ? group_log_get(&g->entries, fetch->index) : NULL;
    struct fetch_impl *f = mem_zalloc(1, sizeof(*f));

    ASSERT(fetch->done != NULL);
    f->magic = FETCH_MAGIC;
    list_push_back(&s->fetches, &f->link);
    f->store = s;
    f->fetch = fetch;
    f->req.done = fetch_done;
    f->req.arg = f;
    f->req.iov = &f->iov;
    fetch->impl = f;
    fetch->result = loc == NULL ? -QR_ENOENT : 0;
    memset(&fetch->entry, 0, sizeof(fetch->entry));
    if (loc != NULL) {
        f->want = wanted(g, fetch->index, loc);
        fetch->entry.term = f->want.term;
        fetch->entry.type = f->want.entry_type;
    }
    if (loc != NULL && !from_memory(s, g, fetch->index, loc, &f->data)) {
        prepare_read(f, loc);
    }
    /* Without an iovec the disk only answers, later, as promised. */
    s->fetching++;
    s->disk->ops->read_async(s->disk, &f->req);
}
