/* A directory of a file system as a disk. Writes go to one thread, in order,
 * each with at most one pwritev and one fdatasync; creations and removals to
 * another, so that a new segment does not delay a batch; reads to a small
 * pool. Completions come back to the loop that the disk was opened on. */
#ifndef STORE_DISK_REAL_H
#define STORE_DISK_REAL_H

#include "base/check.h"

struct disk;
struct disk_real;
struct error;
struct uv_loop_s;

enum {
    DISK_REAL_READERS = 4,
    DISK_REAL_ZERO_SIZE = 4 << 10, /* zeros written at once: a page; see
                                      fill_zeros() */
    DISK_REAL_SYNC_SIZE = 1 << 20  /* zeros between syncs */
};

/* Use the directory PATH, which is made (mode 0700) if its parent exists, and
 * lock it against other processes. LOOP is borrowed until closed.
 * -QR_EBUSY: another process has it; -QR_EACCESS, -QR_EIO, -QR_ENOSPC. */
MUST_USE int disk_real_open(const char *path, struct uv_loop_s *loop,
                            struct disk_real **out, struct error *err);
struct disk *disk_real_disk(struct disk_real *d);
/* Stop the threads and free all; nothing may be in flight. CB (may be NULL)
 * runs later, on the loop. *D becomes NULL at once. */
void disk_real_close(struct disk_real **d, void (*cb)(void *arg), void *arg);

#endif
