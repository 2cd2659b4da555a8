/* The simulated disk: its names, requests and ends. disk_sim_file.c has what
 * its files hold. */
#include "store/disk_sim.h"

#include <quorate/error.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "store/disk.h"
#include "store/disk_sim_impl.h"

static struct disk_sim *
sim_of(struct disk *disk)
{
    struct disk_sim *d = CONTAINER_OF(disk, struct disk_sim, base);

    OBJ_CHECK(d, SIM_MAGIC);
    return d;
}

static struct sim_handle *
handle_of(struct disk_file *file)
{
    ASSERT(file != NULL);
    return CONTAINER_OF(file, struct sim_handle, base);
}

struct sim_file *
disk_sim_find(const struct disk_sim *d, const char *name)
{
    return strmap_get(&d->files, name, strlen(name));
}

void
disk_sim_file_remove(struct disk_sim *d, struct sim_file *f)
{
    ASSERT(!f->gone);
    strmap_remove(&d->files, f->name, strlen(f->name));
    ASSERT(d->stats.bytes_used >= f->size);
    d->stats.bytes_used -= f->size;
    f->gone = true;
    if (f->opens == 0) {
        disk_sim_file_free(d, f);
    }
}

static struct disk_file *
file_open(struct disk_sim *d, struct sim_file *f)
{
    struct sim_handle *h = mem_zalloc(1, sizeof(*h));

    OBJ_CHECK(d, SIM_MAGIC);
    ASSERT(!f->gone);
    h->base.disk = &d->base;
    h->file = f;
    f->opens++;
    list_push_back(&d->handles, &h->link);
    return &h->base;
}

static int
sim_list(struct disk *disk, disk_list_cb cb, void *arg)
{
    struct disk_sim *d = sim_of(disk);
    void **files = strmap_values_sorted(&d->files);
    size_t count = d->files.count;

    for (size_t i = 0; i < count; i++) {
        const struct sim_file *f = files[i];

        cb(arg, f->name, f->size);
    }
    mem_free(files);
    return 0;
}

static int
sim_open(struct disk *disk, const char *name, struct disk_file **out)
{
    struct disk_sim *d = sim_of(disk);
    struct sim_file *f = disk_sim_find(d, name);

    if (f == NULL) {
        return -QR_ENOENT;
    }
    *out = file_open(d, f);
    return 0;
}

static void
sim_close(struct disk_file *file)
{
    struct sim_handle *h = handle_of(file);
    struct disk_sim *d = sim_of(h->base.disk);
    struct sim_file *f = h->file;

    ASSERT(f->opens > 0);
    f->opens--;
    list_remove(&h->link);
    mem_free(h);
    if (f->gone && f->opens == 0) {
        disk_sim_file_free(d, f);
    }
}

static int
sim_size(struct disk_file *file, uint64_t *out)
{
    *out = handle_of(file)->file->size;
    return 0;
}

/* What is in the page cache of F gets to the platter. */
static void
flush(struct disk_sim *d, struct sim_file *f)
{
    OBJ_CHECK(d, SIM_MAGIC);
    disk_sim_file_sync(f);
    d->stats.syncs++;
}

/* Whether an operation that changes the disk fails now. */
static bool
changes_fail(struct disk_sim *d)
{
    OBJ_CHECK(d, SIM_MAGIC);
    if (d->fail_error == 0) {
        return false;
    }
    if (d->fail_after > 0) {
        d->fail_after--;
        return false;
    }
    return true;
}

static int
sim_sync(struct disk_file *file)
{
    struct sim_handle *h = handle_of(file);
    struct disk_sim *d = sim_of(h->base.disk);

    if (disk_sim_is_over(d)) {
        return -QR_ESHUTDOWN;
    }
    if (changes_fail(d)) {
        return d->fail_error;
    }
    flush(d, h->file);
    return 0;
}

static bool
reads_fail(struct disk_sim *d)
{
    if (d->fail_reads_error == 0) {
        return false;
    }
    if (d->fail_reads_after > 0) {
        d->fail_reads_after--;
        return false;
    }
    return true;
}

static int
sim_read(struct disk_file *file, uint64_t offset, void *dst, size_t size)
{
    struct sim_handle *h = handle_of(file);
    struct disk_sim *d = sim_of(h->base.disk);

    ASSERT(size > 0);
    (void)disk_sim_is_over(d); /* it counts; if it fails, see the header */
    if (reads_fail(d)) {
        return d->fail_reads_error;
    }
    if (offset > h->file->size || size > h->file->size - offset ||
        disk_sim_is_bad(h->file, offset, size)) {
        return -QR_EIO;
    }
    memcpy(dst, h->file->bytes + offset, size);
    return 0;
}

static int
remove_name(struct disk_sim *d, const char *name)
{
    struct sim_file *f = disk_sim_find(d, name);

    if (f == NULL) {
        return -QR_ENOENT;
    }
    disk_sim_file_remove(d, f);
    return 0;
}

static int
sim_remove(struct disk *disk, const char *name)
{
    struct disk_sim *d = sim_of(disk);

    if (disk_sim_is_over(d)) {
        return -QR_ESHUTDOWN;
    }
    return changes_fail(d) ? d->fail_error : remove_name(d, name);
}

static int
sim_replace(struct disk *disk, const char *name, const void *data, size_t size)
{
    struct disk_sim *d = sim_of(disk);
    struct sim_file *f = disk_sim_find(d, name);

    if (disk_sim_is_over(d)) {
        return -QR_ESHUTDOWN;
    }
    if (changes_fail(d)) {
        return d->fail_error;
    }
    if (f != NULL) {
        disk_sim_file_remove(d, f);
    }
    f = disk_sim_file_new(d, name, size);
    disk_sim_file_fill(f, data, size);
    return 0;
}

static int
sim_slurp(struct disk *disk, const char *name, size_t size_max, void **data,
          size_t *size)
{
    const struct sim_file *f = disk_sim_find(sim_of(disk), name);

    if (f == NULL) {
        return -QR_ENOENT;
    }
    if (f->size > size_max) {
        return -QR_ETOOBIG;
    }
    *data = mem_dup(f->bytes, (size_t)f->size);
    *size = (size_t)f->size;
    return 0;
}

static void
submit(struct disk *disk, struct disk_req *req, enum sim_kind kind)
{
    struct disk_sim *d = sim_of(disk);
    struct sim_req *r = mem_zalloc(1, sizeof(*r));

    ASSERT(d->queue_count < DISK_SIM_REQUESTS_MAX);
    ASSERT(req->done != NULL);
    ASSERT(req->iov_count <= DISK_IOV_MAX);
    r->kind = kind;
    r->req = req;
    list_push_back(&d->queue, &r->link);
    d->queue_count++;
    if (d->notify != NULL) {
        d->notify(d->notify_arg);
    }
}

static void
sim_create(struct disk *disk, struct disk_req *req)
{
    ASSERT(req->name != NULL);
    submit(disk, req, SIM_CREATE);
}

static void
sim_write(struct disk *disk, struct disk_req *req)
{
    ASSERT(req->file != NULL);
    submit(disk, req, SIM_WRITE);
}

static void
sim_read_async(struct disk *disk, struct disk_req *req)
{
    submit(disk, req, SIM_READ);
}

static void
sim_discard(struct disk *disk, struct disk_req *req)
{
    ASSERT(req->name != NULL);
    submit(disk, req, SIM_DISCARD);
}

static size_t
sim_inflight(struct disk *disk)
{
    return sim_of(disk)->queue_count;
}

static uint64_t
sim_free_bytes(struct disk *disk)
{
    const struct disk_sim *d = sim_of(disk);

    return d->capacity > d->stats.bytes_used ? d->capacity - d->stats.bytes_used
                                             : 0;
}

static const struct disk_ops sim_ops = {
    .list = sim_list,
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .sync = sim_sync,
    .read = sim_read,
    .remove = sim_remove,
    .replace = sim_replace,
    .slurp = sim_slurp,
    .create = sim_create,
    .write = sim_write,
    .read_async = sim_read_async,
    .discard = sim_discard,
    .inflight = sim_inflight,
    .free_bytes = sim_free_bytes,
};

struct disk_sim *
disk_sim_new(struct rng *rng, uint64_t capacity)
{
    struct disk_sim *d = mem_zalloc(1, sizeof(*d));

    ASSERT(rng != NULL);
    d->magic = SIM_MAGIC;
    d->base.ops = &sim_ops;
    d->rng = rng;
    d->capacity = capacity;
    strmap_init(&d->files);
    list_init(&d->handles);
    list_init(&d->queue);
    return d;
}

static void
forget_requests(struct disk_sim *d)
{
    struct list *it;

    while ((it = list_pop_front(&d->queue)) != NULL) {
        mem_free(list_entry(it, struct sim_req, link));
        d->queue_count--;
    }
    ASSERT(d->queue_count == 0);
}

void
disk_sim_free(struct disk_sim **dp)
{
    struct disk_sim *d = *dp;
    void **files;
    size_t count;

    OBJ_CHECK(d, SIM_MAGIC);
    ASSERT(list_is_empty(&d->handles));
    forget_requests(d);
    files = strmap_values_sorted(&d->files);
    count = d->files.count;
    for (size_t i = 0; i < count; i++) {
        disk_sim_file_free(d, files[i]);
    }
    while (d->spares_count > 0) {
        mem_free(d->spares[--d->spares_count].bytes);
    }
    mem_free(files);
    strmap_deinit(&d->files);
    d->magic = 0;
    mem_free(d);
    *dp = NULL;
}

struct disk *
disk_sim_disk(struct disk_sim *d)
{
    OBJ_CHECK(d, SIM_MAGIC);
    return &d->base;
}

void
disk_sim_set_notify(struct disk_sim *d, void (*cb)(void *arg), void *arg)
{
    OBJ_CHECK(d, SIM_MAGIC);
    d->notify = cb;
    d->notify_arg = arg;
}

size_t
disk_sim_inflight(const struct disk_sim *d)
{
    OBJ_CHECK(d, SIM_MAGIC);
    return d->queue_count;
}

static uint64_t
iov_total(const struct disk_req *req)
{
    uint64_t total = 0;

    ASSERT(req->iov_count >= 0);
    for (int i = 0; i < req->iov_count; i++) {
        total += req->iov[i].iov_len;
    }
    return total;
}

/* The first LIMIT bytes of REQ get into the page cache. */
static void
write_to_cache(const struct disk_req *req, uint64_t limit)
{
    struct sim_file *f = handle_of(req->file)->file;
    uint64_t at = req->offset;

    for (int i = 0; i < req->iov_count && limit > 0; i++) {
        uint64_t size = MIN(req->iov[i].iov_len, limit);

        if (size == 0) {
            continue;
        }
        disk_sim_file_write(f, at, req->iov[i].iov_base, (size_t)size);
        at += size;
        limit -= size;
    }
}

static int
perform_write(struct disk_sim *d, const struct disk_req *req)
{
    struct sim_file *f = handle_of(req->file)->file;
    uint64_t total = iov_total(req);

    ASSERT(req->iov_count > 0);
    if (req->offset > f->size || total > f->size - req->offset) {
        return -QR_EIO; /* the store never grows a file */
    }
    write_to_cache(req, total);
    if (req->sync) {
        flush(d, f);
    }
    d->stats.writes++;
    d->stats.bytes_written += total;
    return 0;
}

static int
perform_create(struct disk_sim *d, struct disk_req *req)
{
    ASSERT(req->size > 0);
    if (disk_sim_find(d, req->name) != NULL) {
        return -QR_EEXIST;
    }
    if (req->size > sim_free_bytes(&d->base)) {
        return -QR_ENOSPC;
    }
    req->file = file_open(d, disk_sim_file_new(d, req->name, req->size));
    return 0;
}

static int
perform_read(struct disk_sim *d, const struct disk_req *req)
{
    uint64_t at = req->offset;

    if (req->iov_count == 0) {
        return 0;
    }
    for (int i = 0; i < req->iov_count; i++) {
        int rv =
            sim_read(req->file, at, req->iov[i].iov_base, req->iov[i].iov_len);

        if (rv != 0) {
            return rv;
        }
        at += req->iov[i].iov_len;
    }
    (void)d;
    return 0;
}

static int
perform(struct disk_sim *d, const struct sim_req *r)
{
    OBJ_CHECK(d, SIM_MAGIC);
    if (r->kind == SIM_READ) {
        return perform_read(d, r->req);
    }
    if (changes_fail(d)) {
        return d->fail_error;
    }
    switch (r->kind) {
    case SIM_CREATE:
        return perform_create(d, r->req);
    case SIM_WRITE:
        return perform_write(d, r->req);
    case SIM_DISCARD:
        return remove_name(d, r->req->name);
    case SIM_READ:
    default:
        UNREACHABLE("reads are above");
    }
}

void
disk_sim_hold_reads(struct disk_sim *d, bool hold)
{
    OBJ_CHECK(d, SIM_MAGIC);
    d->holds_reads = hold;
}

/* The oldest request that may complete, or NULL. */
static struct sim_req *
oldest(const struct disk_sim *d)
{
    struct list *it;

    list_foreach (it, &d->queue) {
        struct sim_req *r = list_entry(it, struct sim_req, link);

        if (r->kind != SIM_READ || !d->holds_reads) {
            return r;
        }
    }
    return NULL;
}

bool
disk_sim_complete_one(struct disk_sim *d)
{
    struct sim_req *r;
    struct disk_req *req;

    OBJ_CHECK(d, SIM_MAGIC);
    r = oldest(d);
    if (r == NULL || disk_sim_is_over(d)) {
        return false;
    }
    list_remove(&r->link);
    req = r->req;
    req->result = perform(d, r);
    d->queue_count--;
    mem_free(r);
    req->done(req);
    return true;
}

void
disk_sim_complete_all(struct disk_sim *d)
{
    while (disk_sim_complete_one(d)) {
    }
}

/* The request that was under way: R got done in part. */
static void
perform_part(struct disk_sim *d, const struct sim_req *r)
{
    struct disk_req *req = r->req;
    uint64_t total;

    ASSERT(r->req != NULL);
    if (d->fail_error != 0) {
        return;
    }
    if (r->kind == SIM_WRITE) {
        total = iov_total(req);
        if (req->offset + total <= handle_of(req->file)->file->size) {
            /* Usually it is the sync that was under way; a copy into the
             * page cache stops between sectors, if at all. */
            total = rng_below(d->rng, 4) > 0 ? total : rng_below(d->rng, total);
            write_to_cache(req, total - total % SIM_SECTOR);
        }
    } else if (r->kind == SIM_CREATE && disk_sim_find(d, req->name) == NULL &&
               req->size <= sim_free_bytes(&d->base)) {
        (void)disk_sim_file_new(d, req->name,
                                rng_between(d->rng, 0, req->size));
    }
}

/* A request that had been performed, though nobody was told. */
static void
perform_untold(struct disk_sim *d, const struct sim_req *r)
{
    if (r->kind != SIM_READ && perform(d, r) == 0 && r->kind == SIM_CREATE) {
        sim_close(r->req->file);
    }
}

static void
stop(struct disk_sim *d)
{
    struct list *it;

    OBJ_CHECK(d, SIM_MAGIC);
    list_foreach (it, &d->queue) {
        const struct sim_req *r = list_entry(it, struct sim_req, link);

        if (disk_sim_has_stopped(d)) {
            break; /* of what was asked for since, nothing was done */
        }
        if (rng_below(d->rng, 2) == 0) {
            perform_part(d, r);
            break;
        }
        perform_untold(d, r);
    }
    forget_requests(d);
    d->stops = false;
}

void
disk_sim_kill(struct disk_sim *d)
{
    stop(d);
}

static void
lose(struct disk_sim *d, struct sim_file *f, uint32_t keep_per_million)
{
    OBJ_CHECK(d, SIM_MAGIC);
    for (size_t i = f->dirty_first; i < f->dirty_limit; i++) {
        if (f->dirty[i] > 0 && !rng_chance(d->rng, keep_per_million)) {
            memcpy(f->bytes + i * SIM_SECTOR, disk_sim_platter(f, i),
                   disk_sim_sector_size(f, i));
        }
    }
    flush(d, f);
}

void
disk_sim_crash(struct disk_sim *d, uint32_t keep_per_million)
{
    void **files;
    size_t count;

    stop(d);
    files = strmap_values_sorted(&d->files);
    count = d->files.count;
    for (size_t i = 0; i < count; i++) {
        lose(d, files[i], keep_per_million);
    }
    mem_free(files);
}

void
disk_sim_fail(struct disk_sim *d, uint64_t after, int error)
{
    OBJ_CHECK(d, SIM_MAGIC);
    ASSERT(error <= 0);
    d->fail_after = after;
    d->fail_error = error;
}

void
disk_sim_fail_reads(struct disk_sim *d, uint64_t after, int error)
{
    OBJ_CHECK(d, SIM_MAGIC);
    ASSERT(error <= 0);
    d->fail_reads_after = after;
    d->fail_reads_error = error;
}

void
disk_sim_set_capacity(struct disk_sim *d, uint64_t capacity)
{
    OBJ_CHECK(d, SIM_MAGIC);
    d->capacity = capacity;
}

static uint64_t
memory(const struct disk_sim *d)
{
    uint64_t bytes = 0;
    const uint8_t *name;
    struct list *it;
    struct sim_file *f;
    size_t size;
    size_t pos = 0;

    OBJ_CHECK(d, SIM_MAGIC);
    while (strmap_next(&d->files, &pos, &name, &size, (void **)&f)) {
        bytes += disk_sim_file_memory(f);
    }
    list_foreach (it, &d->handles) {
        f = list_entry(it, struct sim_handle, link)->file;
        /* What is removed and open is found by its handles alone. */
        bytes += f->gone ? disk_sim_file_memory(f) / f->opens : 0;
    }
    for (size_t i = 0; i < d->spares_count; i++) {
        bytes += d->spares[i].size;
    }
    return bytes;
}

void
disk_sim_stats(const struct disk_sim *d, struct disk_sim_stats *out)
{
    OBJ_CHECK(d, SIM_MAGIC);
    *out = d->stats;
    out->memory = memory(d);
}
