/* The disk seam: everything the store does to a file goes through this table.
 * disk_real.c is pread, pwritev and fdatasync with a writer thread; the
 * simulator's disk loses, tears and rots what was not synced.
 *
 * A disk is one flat directory. Names are plain file names of at most
 * DISK_NAME_SIZE bytes. Everything runs on the owner shard; callbacks too. */
#ifndef STORE_DISK_H
#define STORE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"

enum {
    DISK_NAME_SIZE = 64,
    DISK_IOV_MAX = 1024
};

struct disk;
struct error;

/* An open file; owned by the disk until file_close. */
struct disk_file {
    struct disk *disk;
};

/* An asynchronous request; embedded in its owner, pinned until `done` ran.
 * `result` is 0 or -QR_E* (EIO, ENOSPC). */
struct disk_req {
    void (*done)(struct disk_req *req);
    void *arg;
    int result;
    void *impl; /* for the implementation */
    struct disk_file *file;
    uint64_t offset;
    struct iovec *iov; /* borrowed until done */
    int iov_count;
    bool sync; /* writes: fdatasync after the last byte */
    /* Reads: the first iovec from the disk rather than the page cache, where
     * that can be had, and leave nothing there. */
    bool uncached;
    const char *name; /* creations, removals: borrowed until done */
    uint64_t size;
};

typedef void (*disk_list_cb)(void *arg, const char *name, uint64_t size);

/* Synchronous members may block: use them at start-up, or for reads that are
 * known to be in the page cache. Asynchronous members complete in order per
 * disk for writes; reads may overtake. */
struct disk_ops {
    /* Every file of the directory, in name order. */
    int (*list)(struct disk *disk, disk_list_cb cb, void *arg);
    int (*open)(struct disk *disk, const char *name, struct disk_file **out);
    void (*close)(struct disk_file *file);
    int (*size)(struct disk_file *file, uint64_t *out);
    /* What was written so far is durable when it returns. */
    int (*sync)(struct disk_file *file);
    /* Exactly SIZE bytes, or -QR_EIO (also at the end of the file). */
    int (*read)(struct disk_file *file, uint64_t offset, void *dst,
                size_t size);
    /* Remove; durable when it returns. */
    int (*remove)(struct disk *disk, const char *name);
    /* Replace (or create) NAME with SIZE bytes, atomically and durably. */
    int (*replace)(struct disk *disk, const char *name, const void *data,
                   size_t size);
    /* Read a whole small file; the caller frees *DATA (mem_free). */
    int (*slurp)(struct disk *disk, const char *name, size_t size_max,
                 void **data, size_t *size);
    /* Create req->name with req->size bytes written as zeros and synced, so
     * that later syncs of it write no metadata; then open it: req->file. */
    void (*create)(struct disk *disk, struct disk_req *req);
    /* req->file, offset, iov, sync. */
    void (*write)(struct disk *disk, struct disk_req *req);
    /* Fill req->iov from req->file at offset. */
    void (*read_async)(struct disk *disk, struct disk_req *req);
    /* Remove req->name; durable when done. */
    void (*discard)(struct disk *disk, struct disk_req *req);
    /* Asynchronous requests whose `done` has not run. */
    size_t (*inflight)(struct disk *disk);
    /* Bytes left on the file system. */
    uint64_t (*free_bytes)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
};

#endif
