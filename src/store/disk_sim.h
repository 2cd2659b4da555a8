/* A disk in memory, for tests and the simulator. Deterministic: its owner says
 * when requests complete, and everything random comes from the owner's rng.
 *
 * It behaves as disk_real.c on a file system: one write at a time, in order; a
 * write goes to the page cache and its sync makes it durable. A power cut
 * (disk_sim_crash) loses what was not synced, sector by sector; the death of
 * the process (disk_sim_kill) leaves the page cache as it is. */
#ifndef STORE_DISK_SIM_H
#define STORE_DISK_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "store/disk.h"

struct disk_sim;
struct disk_sim_image;
struct rng;

enum {
    DISK_SIM_FILES_MAX = 4096,
    DISK_SIM_REQUESTS_MAX = 1 << 20
};

struct disk_sim_stats {
    uint64_t writes; /* asynchronous ones that completed */
    uint64_t syncs;
    uint64_t bytes_written;
    uint64_t bytes_used; /* by all files */
    uint64_t memory;     /* bytes of this process that stand for the disk */
};

/* RNG is borrowed for the disk's life. CAPACITY in bytes: creations beyond it
 * fail with -QR_ENOSPC. */
struct disk_sim *disk_sim_new(struct rng *rng, uint64_t capacity);
/* Requests in flight are forgotten. */
void disk_sim_free(struct disk_sim **d);
struct disk *disk_sim_disk(struct disk_sim *d);

/* CB is called whenever a request was submitted, so that its completion can
 * be scheduled; NULL for none. */
void disk_sim_set_notify(struct disk_sim *d, void (*cb)(void *arg), void *arg);
size_t disk_sim_inflight(const struct disk_sim *d);
/* Complete the oldest request: perform it and call its `done`. False if there
 * was none. */
bool disk_sim_complete_one(struct disk_sim *d);
/* With HOLD, reads wait while later requests overtake them. */
void disk_sim_hold_reads(struct disk_sim *d, bool hold);
/* Complete requests, also those that completions submit, until none is left. */
void disk_sim_complete_all(struct disk_sim *d);

/* Power cut. Of the requests in flight a random number was performed, one more
 * perhaps in part; all are forgotten and their `done` never runs. Each sector
 * that was not synced survives KEEP_PER_MILLION times in a million. Open files
 * stay valid for being closed. */
void disk_sim_crash(struct disk_sim *d, uint32_t keep_per_million);
/* The process dies: as above, but the page cache survives whole. */
void disk_sim_kill(struct disk_sim *d);
/* The operation after the next AFTER ones that change something (writes, syncs,
 * creations, removals) fails with ERROR (negative), and so do all later ones;
 * ERROR 0 heals the disk. */
void disk_sim_fail(struct disk_sim *d, uint64_t after, int error);
/* The same for reads, synchronous or not. */
void disk_sim_fail_reads(struct disk_sim *d, uint64_t after, int error);
/* CAPACITY in bytes. Creations that would need more fail with -QR_ENOSPC, as on
 * a full file system; what was created can be written. Less than is used now is
 * fine; with more again, there is room again. */
void disk_sim_set_capacity(struct disk_sim *d, uint64_t capacity);
void disk_sim_stats(const struct disk_sim *d, struct disk_sim_stats *out);

/* The rest is disk_sim_fault.c. A slow disk is its owner's business: requests
 * take as long as it waits with disk_sim_complete_one(). */

/* Where something was damaged. */
struct disk_sim_spot {
    char name[DISK_NAME_SIZE];
    uint64_t offset;
};

/* Rot. Change one byte of file NAME, on the platter and in the page cache, by
 * exclusive or with MASK. -QR_ENOENT: no such file or offset. */
MUST_USE int disk_sim_flip(struct disk_sim *d, const char *name,
                           uint64_t offset, uint8_t mask);
/* Rot. Flip one random bit in a random sector that holds something; *OUT says
 * where. False: no such sector was found (the disk is empty, or nearly). */
bool disk_sim_rot(struct disk_sim *d, struct disk_sim_spot *out);
/* A random sector that holds something can no longer be read: -QR_EIO for
 * every read that touches it, until it is written. */
bool disk_sim_spoil(struct disk_sim *d, struct disk_sim_spot *out);
/* The same for the sector at OFFSET of file NAME. -QR_ENOENT. */
MUST_USE int disk_sim_spoil_at(struct disk_sim *d, const char *name,
                               uint64_t offset);
/* All that could not be read can be again, and is as it was. */
void disk_sim_heal(struct disk_sim *d);
/* The machine stops for good after the next OPERATIONS (synchronous ones too,
 * which is what a start consists of): later ones that change something fail
 * with -QR_ESHUTDOWN, and requests stay in flight. Reads go on: one that failed
 * would look like rot, which a machine that stops never gets to see, and
 * nothing that comes of what is read reaches the disk. Then end it with
 * disk_sim_crash() or disk_sim_kill(), which also takes this back if it never
 * came to it. */
void disk_sim_stop_after(struct disk_sim *d, uint64_t operations);
/* Whether it has come to it, or will with the next operation. */
bool disk_sim_has_stopped(const struct disk_sim *d);
/* Every file is gone, as on a new disk. No file may be open. */
void disk_sim_lose(struct disk_sim *d);
/* What a power cut at this moment would leave at least; the caller frees it.
 * May be taken while files are open. */
struct disk_sim_image *disk_sim_copy(const struct disk_sim *d);
/* The disk is as IMAGE again, which may be put on any disk. No file of D may be
 * open. */
void disk_sim_roll_back(struct disk_sim *d, const struct disk_sim_image *image);
/* Bytes of this process that IMAGE takes. */
uint64_t disk_sim_image_memory(const struct disk_sim_image *image);
void disk_sim_image_free(struct disk_sim_image **image);

#endif
