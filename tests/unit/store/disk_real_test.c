/* The real disk, in a directory of its own, with a libuv loop. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/slice.h"
#include "lib/harness.h"
#include "store/disk.h"
#include "store/disk_real.h"
#include "store/store.h"

enum {
    TEXT_SIZE = 128,
    FILES_MAX = 16
};

struct fixture {
    char path[TEXT_SIZE];
    uv_loop_t loop;
    struct disk_real *real;
    struct disk *disk;
    struct error err;
    unsigned done;
    bool closed;
    uint64_t durable;
    char names[FILES_MAX][DISK_NAME_SIZE];
    size_t names_count;
};

static void
open_disk(struct fixture *f)
{
    int rv = disk_real_open(f->path, &f->loop, &f->real, &f->err);

    cr_assert_eq(rv, 0, "%s", f->err.text);
    f->disk = disk_real_disk(f->real);
}

static void
start(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    snprintf(f->path, sizeof(f->path), "/tmp/quorate-disk-XXXXXX");
    cr_assert_not_null(mkdtemp(f->path));
    cr_assert_eq(uv_loop_init(&f->loop), 0);
    open_disk(f);
}

static void
on_closed(void *arg)
{
    struct fixture *f = arg;

    f->closed = true;
}

static void
close_disk(struct fixture *f)
{
    f->closed = false;
    disk_real_close(&f->real, on_closed, f);
    cr_assert_null(f->real);
    while (!f->closed) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void
remember(void *arg, const char *name, uint64_t size)
{
    struct fixture *f = arg;

    (void)size;
    cr_assert_lt(f->names_count, FILES_MAX);
    snprintf(f->names[f->names_count++], DISK_NAME_SIZE, "%s", name);
}

static void
list_files(struct fixture *f)
{
    f->names_count = 0;
    cr_assert_eq(f->disk->ops->list(f->disk, remember, f), 0);
}

static void
finish(struct fixture *f)
{
    list_files(f);
    for (size_t i = 0; i < f->names_count; i++) {
        cr_assert_eq(f->disk->ops->remove(f->disk, f->names[i]), 0);
    }
    close_disk(f);
    cr_assert_eq(uv_loop_close(&f->loop), 0);
    cr_assert_eq(rmdir(f->path), 0);
}

static void
on_done(struct disk_req *req)
{
    struct fixture *f = req->arg;

    f->done++;
}

static void
wait_for(struct fixture *f, unsigned count)
{
    while (f->done < count) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static struct disk_file *
create_file(struct fixture *f, const char *name, uint64_t size)
{
    struct disk_req req = {
        .done = on_done, .arg = f, .name = name, .size = size};

    f->done = 0;
    f->disk->ops->create(f->disk, &req);
    cr_assert_eq(f->disk->ops->inflight(f->disk), 1);
    wait_for(f, 1);
    cr_assert_eq(req.result, 0);
    cr_assert_eq(f->disk->ops->inflight(f->disk), 0);
    return req.file;
}

Test(disk_real, creates_zeroed_files)
{
    struct fixture f;
    struct disk_file *file;
    uint64_t size;
    uint8_t bytes[4] = {1, 1, 1, 1};

    start(&f);
    file = create_file(&f, "a", 3 << 20);
    cr_assert_eq(f.disk->ops->size(file, &size), 0);
    cr_assert_eq(size, 3 << 20);
    cr_assert_eq(f.disk->ops->read(file, size - 4, bytes, 4), 0);
    cr_assert_eq(bytes[0] + bytes[1] + bytes[2] + bytes[3], 0);
    cr_assert_eq(f.disk->ops->read(file, size - 3, bytes, 4), -QR_EIO);
    f.disk->ops->close(file);
    finish(&f);
}

Test(disk_real, refuses_to_create_what_exists)
{
    struct fixture f;
    struct disk_req req = {.done = on_done, .arg = &f, .name = "a", .size = 1};

    start(&f);
    f.disk->ops->close(create_file(&f, "a", 512));
    f.done = 0;
    f.disk->ops->create(f.disk, &req);
    wait_for(&f, 1);
    cr_assert_eq(req.result, -QR_EEXIST);
    finish(&f);
}

Test(disk_real, writes_and_reads_in_pieces)
{
    struct fixture f;
    struct disk_file *file;
    char one[5] = "hello";
    char two[6] = " world";
    char got[11];
    struct iovec out[3] = {{one, 5}, {two, 0}, {two, 6}};
    struct iovec in[2] = {{got, 4}, {got + 4, 7}};
    struct disk_req wr = {.done = on_done, .iov = out, .iov_count = 3};
    struct disk_req rd = {.done = on_done, .iov = in, .iov_count = 2};

    start(&f);
    file = create_file(&f, "a", 4096);
    f.done = 0;
    wr.arg = &f;
    wr.file = file;
    wr.offset = 1000;
    wr.sync = true;
    f.disk->ops->write(f.disk, &wr);
    wait_for(&f, 1);
    cr_assert_eq(wr.result, 0);
    rd.arg = &f;
    rd.file = file;
    rd.offset = 1000;
    f.disk->ops->read_async(f.disk, &rd);
    wait_for(&f, 2);
    cr_assert_eq(rd.result, 0);
    cr_assert_eq(memcmp(got, "hello world", 11), 0);
    rd.offset = 4090;
    f.disk->ops->read_async(f.disk, &rd);
    wait_for(&f, 3);
    cr_assert_eq(rd.result, -QR_EIO);
    cr_assert_eq(f.disk->ops->sync(file), 0);
    f.disk->ops->close(file);
    finish(&f);
}

Test(disk_real, discards_files)
{
    struct fixture f;
    struct disk_req req = {.done = on_done, .name = "a"};

    start(&f);
    f.disk->ops->close(create_file(&f, "a", 512));
    f.done = 0;
    req.arg = &f;
    f.disk->ops->discard(f.disk, &req);
    wait_for(&f, 1);
    cr_assert_eq(req.result, 0);
    f.disk->ops->discard(f.disk, &req);
    wait_for(&f, 2);
    cr_assert_eq(req.result, -QR_ENOENT);
    list_files(&f);
    cr_assert_eq(f.names_count, 0);
    finish(&f);
}

Test(disk_real, replaces_and_slurps_small_files)
{
    struct fixture f;
    void *data = NULL;
    size_t size = 0;

    start(&f);
    cr_assert_eq(f.disk->ops->slurp(f.disk, "id", 100, &data, &size),
                 -QR_ENOENT);
    cr_assert_eq(f.disk->ops->replace(f.disk, "id", "one", 3), 0);
    cr_assert_eq(f.disk->ops->replace(f.disk, "id", "three", 5), 0);
    cr_assert_eq(f.disk->ops->slurp(f.disk, "id", 4, &data, &size),
                 -QR_ETOOBIG);
    cr_assert_eq(f.disk->ops->slurp(f.disk, "id", 5, &data, &size), 0);
    cr_assert_eq(size, 5);
    cr_assert_eq(memcmp(data, "three", 5), 0);
    mem_free(data);
    cr_assert_gt(f.disk->ops->free_bytes(f.disk), 0);
    finish(&f);
}

Test(disk_real, lists_regular_files_in_order)
{
    struct fixture f;
    char path[TEXT_SIZE + 8];

    start(&f);
    cr_assert_eq(f.disk->ops->replace(f.disk, "b", "", 0), 0);
    cr_assert_eq(f.disk->ops->replace(f.disk, "a", "", 0), 0);
    snprintf(path, sizeof(path), "%s/dir", f.path);
    cr_assert_eq(mkdir(path, 0700), 0);
    list_files(&f);
    cr_assert_eq(f.names_count, 2);
    cr_assert_str_eq(f.names[0], "a");
    cr_assert_str_eq(f.names[1], "b");
    cr_assert_eq(rmdir(path), 0);
    finish(&f);
}

Test(disk_real, is_used_by_one_process_at_a_time)
{
    struct fixture f;
    struct disk_real *other = NULL;

    start(&f);
    cr_assert_eq(disk_real_open(f.path, &f.loop, &other, &f.err), -QR_EBUSY);
    cr_assert_not_null(strstr(f.err.text, "in use"));
    finish(&f);
}

Test(disk_real, says_why_it_cannot_open)
{
    struct fixture f;
    struct disk_real *other = NULL;
    char path[TEXT_SIZE + 16];

    start(&f);
    snprintf(path, sizeof(path), "%s/no/where", f.path);
    cr_assert_eq(disk_real_open(path, &f.loop, &other, &f.err), -QR_ENOENT);
    cr_assert_not_null(strstr(f.err.text, path));
    cr_assert_eq(f.disk->ops->replace(f.disk, "file", "", 0), 0);
    snprintf(path, sizeof(path), "%s/file", f.path);
    cr_assert_eq(disk_real_open(path, &f.loop, &other, &f.err), -QR_EIO);
    finish(&f);
}

static void
on_durable(void *arg, uint64_t batch)
{
    struct fixture *f = arg;

    f->durable = batch;
}

static void
on_failure(void *arg, const char *text)
{
    (void)arg;
    cr_assert(false, "%s", text);
}

static struct store *
open_store(struct fixture *f)
{
    struct store_config config = {.disk = f->disk,
                                  .segment_size = 1 << 20,
                                  .cache_size = 64 << 10,
                                  .on_durable = on_durable,
                                  .on_failure = on_failure,
                                  .arg = f};
    struct store *s = NULL;
    int rv = store_open(&config, &s, &f->err);

    cr_assert_eq(rv, 0, "%s", f->err.text);
    return s;
}

static void
close_store(struct fixture *f, struct store **s)
{
    while (!store_is_idle(*s)) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    store_close(s);
}

Test(disk_real, carries_a_store_over_several_segments)
{
    struct fixture f;
    struct store *s;
    struct store_entry e = {.term = 1, .type = 1};
    struct slice header = slice_empty();
    struct block *block = block_new(20000);

    start(&f);
    s = open_store(&f);
    memset(block->data, 7, block->size);
    e.data = slice_of_block(block);
    store_group_create(s, 16, &header, false);
    for (qr_index i = 1; i <= 300; i++) {
        uint64_t batch = store_append(s, 16, i, &e, 1);

        store_flush(s);
        while (f.durable < batch) {
            uv_run(&f.loop, UV_RUN_ONCE);
        }
    }
    close_store(&f, &s);
    close_disk(&f);
    open_disk(&f);
    s = open_store(&f);
    for (qr_index i = 1; i <= 300; i++) {
        struct store_entry got;

        cr_assert_eq(store_read(s, 16, i, &got), 0);
        cr_assert_eq(got.data.size, e.data.size);
        cr_assert_eq(memcmp(got.data.data, e.data.data, e.data.size), 0);
        slice_unref(&got.data);
    }
    slice_unref(&e.data);
    close_store(&f, &s);
    finish(&f);
}
