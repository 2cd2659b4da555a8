/* The real disk.
 *
 *   owner (loop)                 threads
 *   submit --> lane's queue ---> writer | maker | readers
 *   done  <-- finished list <--- (uv_async_send)
 *
 * One mutex guards all queues: they are touched twice a request, and a request
 * takes a disk's time. A failed sync is final: the kernel may have dropped the
 * pages, so nobody tries again, the store stops. */
#include "store/disk_real.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "store/disk.h"

enum {
    REAL_MAGIC = 0x5245414c,
    THREADS = 2 + DISK_REAL_READERS,
    FILE_MODE = 0600,
    DIR_MODE = 0700
};

enum lane {
    LANE_WRITE,
    LANE_MAKE,
    LANE_READ,
    LANES
};

enum job_kind {
    JOB_WRITE,
    JOB_CREATE,
    JOB_DISCARD,
    JOB_READ
};

struct job {
    struct list link;
    enum job_kind kind;
    struct disk_req *req;
};

struct real_file {
    struct disk_file base;
    int fd;
};

struct worker {
    struct disk_real *disk;
    enum lane lane;
    uv_thread_t thread;
};

struct disk_real {
    unsigned magic;
    struct disk base;
    char *path;
    int dir_fd;
    size_t inflight;  /* owner only, as the next two */
    struct list pool; /* unused jobs */
    uv_async_t async;
    void (*closed)(void *arg);
    void *closed_arg;
    uv_mutex_t mutex; /* guards what follows */
    uv_cond_t cond[LANES];
    struct list queue[LANES];
    struct list finished;
    bool stopping;
    struct worker workers[THREADS];
    unsigned started;
};

static struct disk_real *
real_of(struct disk *disk)
{
    struct disk_real *d = CONTAINER_OF(disk, struct disk_real, base);

    OBJ_CHECK(d, REAL_MAGIC);
    return d;
}

static int
fd_of(struct disk_file *file)
{
    ASSERT(file != NULL);
    return CONTAINER_OF(file, struct real_file, base)->fd;
}

static int
from_errno(int code)
{
    switch (code) {
    case ENOENT:
        return -QR_ENOENT;
    case EEXIST:
        return -QR_EEXIST;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return -QR_ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
        return -QR_EACCESS;
    default:
        return -QR_EIO;
    }
}

static int
write_all(int fd, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *at = data;

    ASSERT(fd >= 0);
    while (size > 0) {
        ssize_t done = pwrite(fd, at, size, (off_t)offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? from_errno(errno) : -QR_ENOSPC;
        }
        at += done;
        size -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

static int
read_all(int fd, void *data, size_t size, uint64_t offset)
{
    uint8_t *at = data;

    ASSERT(fd >= 0);
    while (size > 0) {
        ssize_t done = pread(fd, at, size, (off_t)offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return -QR_EIO;
        }
        at += done;
        size -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

static int
sync_fd(int fd)
{
    return fdatasync(fd) == 0 ? 0 : from_errno(errno);
}

static int
sync_dir(const struct disk_real *d)
{
    return fsync(d->dir_fd) == 0 ? 0 : from_errno(errno);
}

/* The rare rest of a pwritev that stopped after DONE bytes. */
static int
write_rest(int fd, const struct disk_req *req, size_t done)
{
    uint64_t at = req->offset;

    for (int i = 0; i < req->iov_count; i++) {
        size_t size = req->iov[i].iov_len;
        size_t skip = MIN(done, size);
        int rv = write_all(fd, (const uint8_t *)req->iov[i].iov_base + skip,
                           size - skip, at + skip);

        if (rv != 0) {
            return rv;
        }
        done -= skip;
        at += size;
    }
    return 0;
}

static int
run_write(const struct disk_req *req)
{
    int fd = fd_of(req->file);
    ssize_t done = pwritev(fd, req->iov, req->iov_count, (off_t)req->offset);
    size_t total = 0;
    int rv = 0;

    ASSERT(req->iov_count > 0);
    ASSERT(fd >= 0);
    if (done < 0 && errno != EINTR) {
        return from_errno(errno);
    }
    for (int i = 0; i < req->iov_count; i++) {
        total += req->iov[i].iov_len;
    }
    done = MAX(done, 0);
    if ((size_t)done < total) {
        rv = write_rest(fd, req, (size_t)done);
    }
    return rv == 0 && req->sync ? sync_fd(fd) : rv;
}

static int
run_read(const struct disk_req *req)
{
    uint64_t at = req->offset;

    if (req->uncached && req->iov_count > 0) { /* only a hint */
        (void)posix_fadvise(fd_of(req->file), (off_t)at,
                            (off_t)req->iov[0].iov_len, POSIX_FADV_DONTNEED);
    }
    for (int i = 0; i < req->iov_count; i++) {
        int rv = read_all(fd_of(req->file), req->iov[i].iov_base,
                          req->iov[i].iov_len, at);

        if (rv != 0) {
            return rv;
        }
        at += req->iov[i].iov_len;
    }
    return 0;
}

static struct disk_file *
file_new(struct disk_real *d, int fd)
{
    struct real_file *f = mem_zalloc(1, sizeof(*f));

    OBJ_CHECK(d, REAL_MAGIC);
    ASSERT(fd >= 0);
    f->base.disk = &d->base;
    f->fd = fd;
    return &f->base;
}

/* SIZE zeros, synced now and then so that a batch's sync does not have to wait
 * for all of them.
 *
 * They are written page by page, because a kernel with large folios makes one
 * folio of each write, and a batch that touches a byte of a folio dirties all
 * of it: with zeros written by the MiB, each batch of a page was accounted, in
 * /proc/PID/io, as a MiB written (the disk itself wrote the page). */
static int
fill_zeros(int fd, uint64_t size)
{
    uint8_t *zeros = mem_zalloc(DISK_REAL_ZERO_SIZE, 1);
    uint64_t at = 0;
    int rv = 0;

    ASSERT(size > 0);
    while (at < size && rv == 0) {
        size_t part = (size_t)MIN(size - at, (uint64_t)DISK_REAL_ZERO_SIZE);

        rv = write_all(fd, zeros, part, at);
        at += part;
        if (rv == 0 && at % DISK_REAL_SYNC_SIZE == 0) {
            rv = sync_fd(fd);
        }
    }
    mem_free(zeros);
    return rv;
}

static int
run_create(struct disk_real *d, struct disk_req *req)
{
    int fd = openat(d->dir_fd, req->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                    FILE_MODE);
    int rv;

    ASSERT(req->name != NULL);
    ASSERT(req->size > 0);
    if (fd < 0) {
        return from_errno(errno);
    }
    /* Not every file system can; zeros are written in any case. */
    rv = fallocate(fd, 0, 0, (off_t)req->size) != 0 && errno == ENOSPC
             ? -QR_ENOSPC
             : 0;
    if (rv == 0) {
        rv = fill_zeros(fd, req->size);
    }
    if (rv == 0 && fsync(fd) != 0) {
        rv = from_errno(errno);
    }
    if (rv == 0) {
        rv = sync_dir(d);
    }
    if (rv != 0) {
        close(fd);
        (void)unlinkat(d->dir_fd, req->name, 0);
        return rv;
    }
    req->file = file_new(d, fd);
    return 0;
}

static int
remove_name(const struct disk_real *d, const char *name)
{
    ASSERT(name != NULL);
    return unlinkat(d->dir_fd, name, 0) == 0 ? sync_dir(d) : from_errno(errno);
}

static int
run_job(struct disk_real *d, const struct job *job)
{
    OBJ_CHECK(d, REAL_MAGIC);
    switch (job->kind) {
    case JOB_WRITE:
        return run_write(job->req);
    case JOB_CREATE:
        return run_create(d, job->req);
    case JOB_DISCARD:
        return remove_name(d, job->req->name);
    case JOB_READ:
        return run_read(job->req);
    default:
        UNREACHABLE("no such job");
    }
}

static void
work(void *arg)
{
    struct worker *w = arg;
    struct disk_real *d = w->disk;

    OBJ_CHECK(d, REAL_MAGIC);
    ASSERT(w->lane < LANES);
    uv_mutex_lock(&d->mutex);
    for (;;) {
        struct list *it = list_pop_front(&d->queue[w->lane]);
        struct job *job;
        bool first;

        if (it == NULL && d->stopping) {
            break;
        }
        if (it == NULL) {
            uv_cond_wait(&d->cond[w->lane], &d->mutex);
            continue;
        }
        uv_mutex_unlock(&d->mutex);
        job = list_entry(it, struct job, link);
        job->req->result = run_job(d, job);
        uv_mutex_lock(&d->mutex);
        first = list_is_empty(&d->finished);
        list_push_back(&d->finished, &job->link);
        if (first) {
            uv_async_send(&d->async);
        }
    }
    uv_mutex_unlock(&d->mutex);
}

static void
on_async(uv_async_t *async)
{
    struct disk_real *d = CONTAINER_OF(async, struct disk_real, async);
    struct list done;
    struct list *it;

    OBJ_CHECK(d, REAL_MAGIC);
    list_init(&done);
    uv_mutex_lock(&d->mutex);
    while ((it = list_pop_front(&d->finished)) != NULL) {
        list_push_back(&done, it);
    }
    uv_mutex_unlock(&d->mutex);
    while ((it = list_pop_front(&done)) != NULL) {
        struct job *job = list_entry(it, struct job, link);
        struct disk_req *req = job->req;

        list_push_back(&d->pool, &job->link);
        ASSERT(d->inflight > 0);
        d->inflight--;
        req->done(req);
    }
}

static void
submit(struct disk *disk, struct disk_req *req, enum lane lane,
       enum job_kind kind)
{
    struct disk_real *d = real_of(disk);
    struct list *it = list_pop_front(&d->pool);
    struct job *job = it != NULL ? list_entry(it, struct job, link)
                                 : mem_zalloc(1, sizeof(*job));

    ASSERT(req->done != NULL);
    ASSERT(req->iov_count <= DISK_IOV_MAX);
    job->kind = kind;
    job->req = req;
    d->inflight++;
    uv_mutex_lock(&d->mutex);
    ASSERT(!d->stopping);
    list_push_back(&d->queue[lane], &job->link);
    uv_cond_signal(&d->cond[lane]);
    uv_mutex_unlock(&d->mutex);
}

static void
real_create(struct disk *disk, struct disk_req *req)
{
    submit(disk, req, LANE_MAKE, JOB_CREATE);
}

static void
real_discard(struct disk *disk, struct disk_req *req)
{
    submit(disk, req, LANE_MAKE, JOB_DISCARD);
}

static void
real_write(struct disk *disk, struct disk_req *req)
{
    submit(disk, req, LANE_WRITE, JOB_WRITE);
}

static void
real_read_async(struct disk *disk, struct disk_req *req)
{
    submit(disk, req, LANE_READ, JOB_READ);
}

static size_t
real_inflight(struct disk *disk)
{
    return real_of(disk)->inflight;
}

static int
by_name(const void *a, const void *b)
{
    char *const *x = a;
    char *const *y = b;

    return strcmp(*x, *y);
}

static void
list_one(const struct disk_real *d, const char *name, disk_list_cb cb,
         void *arg)
{
    struct stat st;

    if (strlen(name) < DISK_NAME_SIZE &&
        fstatat(d->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode)) {
        cb(arg, name, (uint64_t)st.st_size);
    }
}

static int
real_list(struct disk *disk, disk_list_cb cb, void *arg)
{
    struct disk_real *d = real_of(disk);
    uv_fs_t req;
    uv_dirent_t entry;
    int found = uv_fs_scandir(NULL, &req, d->path, 0, NULL);
    char **names;
    size_t count = 0;

    if (found < 0) {
        uv_fs_req_cleanup(&req);
        return from_errno(-found);
    }
    names = mem_zalloc((size_t)found, sizeof(*names));
    while (uv_fs_scandir_next(&req, &entry) == 0) {
        names[count++] = mem_strdup(entry.name);
    }
    uv_fs_req_cleanup(&req);
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        list_one(d, names[i], cb, arg);
        mem_free(names[i]);
    }
    mem_free(names);
    return 0;
}

static int
real_open(struct disk *disk, const char *name, struct disk_file **out)
{
    struct disk_real *d = real_of(disk);
    int fd = openat(d->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        return from_errno(errno);
    }
    *out = file_new(d, fd);
    return 0;
}

static void
real_close(struct disk_file *file)
{
    close(fd_of(file));
    mem_free(CONTAINER_OF(file, struct real_file, base));
}

static int
real_size(struct disk_file *file, uint64_t *out)
{
    struct stat st;

    if (fstat(fd_of(file), &st) != 0) {
        return from_errno(errno);
    }
    *out = (uint64_t)st.st_size;
    return 0;
}

static int
real_sync(struct disk_file *file)
{
    return sync_fd(fd_of(file));
}

static int
real_read(struct disk_file *file, uint64_t offset, void *dst, size_t size)
{
    return read_all(fd_of(file), dst, size, offset);
}

static int
real_remove(struct disk *disk, const char *name)
{
    return remove_name(real_of(disk), name);
}

/* Write a temporary file beside it, then rename. */
static int
real_replace(struct disk *disk, const char *name, const void *data, size_t size)
{
    struct disk_real *d = real_of(disk);
    char temp[DISK_NAME_SIZE + 8];
    int fd;
    int rv;

    ASSERT(strlen(name) < DISK_NAME_SIZE);
    snprintf(temp, sizeof(temp), "%s.new", name);
    fd = openat(d->dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                FILE_MODE);
    if (fd < 0) {
        return from_errno(errno);
    }
    rv = write_all(fd, data, size, 0);
    if (rv == 0 && fsync(fd) != 0) {
        rv = from_errno(errno);
    }
    close(fd);
    if (rv == 0 && renameat(d->dir_fd, temp, d->dir_fd, name) != 0) {
        rv = from_errno(errno);
    }
    if (rv != 0) {
        (void)unlinkat(d->dir_fd, temp, 0);
        return rv;
    }
    return sync_dir(d);
}

static int
real_slurp(struct disk *disk, const char *name, size_t size_max, void **data,
           size_t *size)
{
    struct disk_file *file;
    uint64_t found = 0;
    void *bytes;
    int rv = real_open(disk, name, &file);

    ASSERT(data != NULL);
    ASSERT(size != NULL);
    if (rv != 0) {
        return rv;
    }
    rv = real_size(file, &found);
    if (rv == 0 && found > size_max) {
        rv = -QR_ETOOBIG;
    }
    if (rv != 0) {
        real_close(file);
        return rv;
    }
    bytes = mem_alloc((size_t)found);
    rv = real_read(file, 0, bytes, (size_t)found);
    real_close(file);
    if (rv != 0) {
        mem_free(bytes);
        return rv;
    }
    *data = bytes;
    *size = (size_t)found;
    return 0;
}

static uint64_t
real_free_bytes(struct disk *disk)
{
    struct statvfs st;

    if (fstatvfs(real_of(disk)->dir_fd, &st) != 0) {
        return 0;
    }
    return (uint64_t)st.f_bavail * st.f_frsize;
}

static const struct disk_ops real_ops = {
    .list = real_list,
    .open = real_open,
    .close = real_close,
    .size = real_size,
    .sync = real_sync,
    .read = real_read,
    .remove = real_remove,
    .replace = real_replace,
    .slurp = real_slurp,
    .create = real_create,
    .write = real_write,
    .read_async = real_read_async,
    .discard = real_discard,
    .inflight = real_inflight,
    .free_bytes = real_free_bytes,
};

/* The name of the directory at FD, in its parent, becomes durable. */
static int
sync_parent(int fd)
{
    int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv;

    if (parent < 0) {
        return from_errno(errno);
    }
    rv = fsync(parent) == 0 ? 0 : from_errno(errno);
    close(parent);
    return rv;
}

/* Open and lock the directory. */
static int
open_dir(const char *path, int *out, struct error *err)
{
    int fd;
    int code;
    int rv;
    bool made;

    ASSERT(path != NULL);
    made = mkdir(path, DIR_MODE) == 0;
    if (!made && errno != EEXIST) {
        code = errno;
        return error_set(err, -from_errno(code), "cannot make %s: %s", path,
                         uv_strerror(-code));
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        code = errno;
        return error_set(err, -from_errno(code), "cannot open %s: %s", path,
                         uv_strerror(-code));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return error_set(err, QR_EBUSY,
                         "%s is in use by another process: stop that first",
                         path);
    }
    rv = made ? sync_parent(fd) : 0;
    if (rv != 0) {
        close(fd);
        return error_set(err, -rv, "cannot sync the parent of %s", path);
    }
    *out = fd;
    return 0;
}

static void
start_workers(struct disk_real *d)
{
    for (unsigned i = 0; i < THREADS; i++) {
        struct worker *w = &d->workers[i];

        w->disk = d;
        w->lane = i == 0 ? LANE_WRITE : i == 1 ? LANE_MAKE : LANE_READ;
        /* A process that cannot start its threads cannot go on. */
        ASSERT(uv_thread_create(&w->thread, work, w) == 0);
        d->started++;
    }
}

int
disk_real_open(const char *path, struct uv_loop_s *loop, struct disk_real **out,
               struct error *err)
{
    struct disk_real *d;
    int fd = -1;
    int rv = open_dir(path, &fd, err);

    ASSERT(loop != NULL);
    ASSERT(out != NULL);
    if (rv != 0) {
        return rv;
    }
    d = mem_zalloc(1, sizeof(*d));
    d->magic = REAL_MAGIC;
    d->base.ops = &real_ops;
    d->path = mem_strdup(path);
    d->dir_fd = fd;
    list_init(&d->pool);
    list_init(&d->finished);
    ASSERT(uv_mutex_init(&d->mutex) == 0);
    for (int lane = 0; lane < LANES; lane++) {
        list_init(&d->queue[lane]);
        ASSERT(uv_cond_init(&d->cond[lane]) == 0);
    }
    ASSERT(uv_async_init(loop, &d->async, on_async) == 0);
    start_workers(d);
    *out = d;
    return 0;
}

struct disk *
disk_real_disk(struct disk_real *d)
{
    OBJ_CHECK(d, REAL_MAGIC);
    return &d->base;
}

static void
on_closed(uv_handle_t *handle)
{
    struct disk_real *d =
        CONTAINER_OF((uv_async_t *)handle, struct disk_real, async);
    void (*closed)(void *arg) = d->closed;
    void *closed_arg = d->closed_arg;
    struct list *it;

    OBJ_CHECK(d, REAL_MAGIC);
    while ((it = list_pop_front(&d->pool)) != NULL) {
        mem_free(list_entry(it, struct job, link));
    }
    for (int lane = 0; lane < LANES; lane++) {
        uv_cond_destroy(&d->cond[lane]);
    }
    uv_mutex_destroy(&d->mutex);
    close(d->dir_fd);
    mem_free(d->path);
    d->magic = 0;
    mem_free(d);
    if (closed != NULL) {
        closed(closed_arg);
    }
}

void
disk_real_close(struct disk_real **dp, void (*cb)(void *arg), void *arg)
{
    struct disk_real *d = *dp;

    OBJ_CHECK(d, REAL_MAGIC);
    ASSERT(d->inflight == 0);
    d->closed = cb;
    d->closed_arg = arg;
    uv_mutex_lock(&d->mutex);
    d->stopping = true;
    for (int lane = 0; lane < LANES; lane++) {
        uv_cond_broadcast(&d->cond[lane]);
    }
    uv_mutex_unlock(&d->mutex);
    for (unsigned i = 0; i < d->started; i++) {
        ASSERT(uv_thread_join(&d->workers[i].thread) == 0);
    }
    uv_close((uv_handle_t *)&d->async, on_closed);
    *dp = NULL;
}
