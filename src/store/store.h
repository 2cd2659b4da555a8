/* The log store: one segmented write-ahead log for all groups of a shard.
 *
 * Callers queue records during a turn of the loop; store_flush() writes all of
 * them with one write and one fdatasync. Each queueing call returns the number
 * of the batch that will carry it; when that batch is durable, `on_durable` is
 * called with the highest durable batch number. While one batch is being
 * written the next one gathers; it is started when the first completes.
 *
 * The log is also the message store. An entry stays readable while it is
 * after its group's snapshot, or live: within the ranges that the newest
 * snapshot named. A segment without live records is reused; a segment in which
 * only control records (hard state, snapshots, group headers) are live has
 * them written again at the front of the log and is then reused.
 *
 * Rot. What cannot be read back as it was written is damaged: the store says
 * so (struct store_damage), goes on, and takes a good body from whoever has
 * one (store_repair()). It never refuses to start because of it, and never
 * presents less, or anything else, than what was durable without saying so.
 *
 * Formats: docs/formats/store.md. Design: section 5. Owner shard only. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

struct disk;
struct error;
struct logger;
struct ranges;
struct store;
struct timers;

enum {
    STORE_SEGMENT_SIZE_DEFAULT = 64 << 20,
    STORE_SEGMENT_SIZE_MIN = 64 << 10, /* tests and the simulator */
    STORE_ENTRY_SIZE_MAX = 32 << 20,   /* bytes in one entry */
    STORE_BATCH_SIZE_MAX = 40 << 20,   /* bytes in one write */
    STORE_GROUPS_MAX = 1 << 20,
    STORE_GROUP_HEADER_SIZE_MAX = 4096,
    STORE_CACHE_SIZE_DEFAULT = 64 << 20,
    STORE_TYPE_UNKNOWN = 0 /* of a damaged entry; no entry may have it */
};

/* What the store does by itself, with `timers`. */
enum {
    STORE_SEAL_DELAY_MS = 200,   /* at rest for so long: the log's end is sealed
                                    against rot, with an empty batch */
    STORE_SPACE_CHECK_MS = 1000, /* between looks at the room on the disk */
    STORE_WALK_SIZE = 256 << 10, /* bytes that the scrub reads at once; a larger
                                    record is read whole */
    STORE_SCRUB_DELAY_MS = 10 * 1000,     /* from the start to the first pass */
    STORE_SCRUB_PAUSE_MS = 60 * 60 * 1000 /* between passes */
};

/* 100 GiB in seven hours, for 1 % of what a disk can read. */
#define STORE_SCRUB_RATE_DEFAULT ((uint64_t)4 << 20)
/* Moving the last live records out of mostly dead segments: more than most
 * brokers write. */
#define STORE_COMPACT_RATE_DEFAULT ((uint64_t)32 << 20)

/* One entry: `type` is the raft library's entry type. */
struct store_entry {
    qr_term term;
    uint8_t type;
    struct slice data;
};

/* What stands for all entries up to `index`. */
struct store_snapshot {
    qr_index index;
    qr_term term;
    qr_index configuration_index;
    struct slice configuration; /* encoded, opaque here */
    struct slice manifest;      /* the machine's state, opaque here */
    const struct ranges *live;  /* entries <= index that stay readable */
};

/* A group as found at start, or as it is now. Slices are borrowed. */
struct store_group_info {
    qr_group_id id;
    struct slice header; /* what store_group_create() was given */
    bool is_volatile;
    qr_term term; /* hard state */
    qr_replica_id vote;
    bool has_snapshot;
    struct store_snapshot snapshot;
    qr_index first_index; /* snapshot.index + 1, or 1 */
    qr_index last_index;  /* first_index - 1 when there is nothing after */
    /* STORE_DAMAGE_MEMORY: nothing here but `id` can be relied on, and `header`
     * if it is not empty. */
    bool is_lost;
};

enum store_damage_kind {
    /* The body of one entry is lost; everything else about it is known, and
     * so is everything else about its group. Ends with store_repair(), or when
     * the entry is cut off, released or deleted. */
    STORE_DAMAGE_ENTRY,
    /* The group's hard state, snapshot or extent cannot be relied on: it may
     * have voted, or stored and acknowledged entries, that the store no longer
     * knows of. Such a replica must never vote or acknowledge again; a new one
     * takes its place. Ends with store_group_delete(), the only thing that may
     * be asked of the group besides store_group_info(). Found at a start only:
     * a running store knows these things.
     *
     * With group 0: groups that the store does not list may have been here.
     * Every replica that was placed on this shard before this start and that
     * store_group_info() does not know is to be treated the same way. It is
     * reported at each start until store_accept_loss(). */
    STORE_DAMAGE_MEMORY
};

/* One thing that has rotted. */
struct store_damage {
    enum store_damage_kind kind;
    qr_group_id group;
    /* ENTRY only. */
    qr_index index;
    qr_term term;
    /* As it was appended, or STORE_TYPE_UNKNOWN: the record as a whole is
     * gone and only its neighbours told its index and term. */
    uint8_t type;
};

/* Whether there is room to write to. A segment is made before it is needed, so
 * running out of space is a state and never a failure. */
enum store_space {
    STORE_SPACE_OK,
    STORE_SPACE_LOW, /* another segment cannot be made, or soon could not be */
    /* Only the reserve is left: for hard state, settling, snapshots and what
     * gives space back. Append nothing that brings a body from outside. What is
     * appended all the same waits for space, in memory, and becomes durable
     * when there is some. */
    STORE_SPACE_FULL
};

struct store_config {
    struct disk *disk;
    const struct logger *log;
    uint64_t segment_size;
    uint64_t cache_size;   /* budget for entry bodies in memory, bytes */
    uint32_t shard;        /* written into segment headers and checked */
    uint8_t node_uuid[16]; /* likewise: a segment of another node is refused */
    /* Batches up to BATCH are durable. */
    void (*on_durable)(void *arg, uint64_t batch);
    /* The disk failed (text for people); the process must stop. */
    void (*on_failure)(void *arg, const char *text);
    /* An entry turned out to be damaged, at a read or by the scrub; once an
     * entry, until it is repaired. May be NULL. Called from within
     * store_read() and from completions of the disk, so it only takes note: it
     * must not call the store. What a start finds is not reported here but
     * listed by store_foreach_damage(). */
    void (*on_damage)(void *arg, const struct store_damage *damage);
    void *arg; /* of all callbacks */
    /* Clock and timers of the shard, which outlive the store, for what it does
     * by itself: scrubbing, sealing what is at rest, asking again for space.
     * TIMERS NULL: it does nothing by itself. */
    struct timers *timers;
    uint64_t (*now_ms)(void *arg);
    uint64_t scrub_rate;   /* bytes read per second; 0: no scrubbing */
    uint64_t compact_rate; /* likewise; 0: no compaction */
    /* Between two passes of the scrub, and before the first; 0: as above. */
    uint64_t scrub_pause_ms;
};

struct store_stats {
    uint64_t bytes_written;
    uint64_t syncs;
    uint64_t batches;
    uint64_t records;
    uint64_t segments;      /* files */
    uint64_t segments_free; /* of those, ready for reuse */
    uint64_t live_bytes;
    uint64_t cache_bytes;
    uint64_t disk_bytes;  /* segments * segment_size */
    uint64_t damaged;     /* entries that are, now */
    uint64_t damages;     /* found since the start, and at it */
    uint64_t repaired;    /* of those, by store_repair() or out of memory */
    uint64_t groups_lost; /* that are, now */
    uint64_t scrubbed_bytes;
    uint64_t scrub_passes; /* over everything that is live */
    uint64_t moved_bytes;  /* by compaction */
};

/* Open the log in config->disk and recover it: synchronous, start-up only.
 * A torn tail is cut off silently (it was never confirmed). Rot is no error:
 * see store_foreach_damage(). Errors: -QR_ECONFLICT (files of another node or
 * shard), -QR_EVERSION (of a newer program), -QR_EIO, -QR_ENOSPC; file, offset
 * and remedy in ERR. */
MUST_USE int store_open(const struct store_config *config, struct store **out,
                        struct error *err);
/* Wait-free close: forgets what is queued but not flushed, closes files. What
 * is in flight must have completed (store_is_idle()), unless its disk has
 * forgotten it (disk_sim_crash()). */
void store_close(struct store **s);
bool store_is_idle(const struct store *s);

/* Every group found at start-up or created since, in id order. */
void store_foreach_group(struct store *s,
                         void (*cb)(void *arg,
                                    const struct store_group_info *info),
                         void *arg);
/* 0 or -QR_ENOENT. */
MUST_USE int store_group_info(struct store *s, qr_group_id group,
                              struct store_group_info *out);

/* Start group GROUP (must not exist). A volatile group lives in memory only:
 * its batches count as durable at once (the calls return batch 0). */
uint64_t store_group_create(struct store *s, qr_group_id group,
                            const struct slice *header, bool is_volatile);
/* Forget the group and all its records. */
uint64_t store_group_delete(struct store *s, qr_group_id group);
/* Term and vote (0 = none). */
uint64_t store_hard_state(struct store *s, qr_group_id group, qr_term term,
                          qr_replica_id vote);
/* Append COUNT entries from FIRST on; entries from FIRST on that exist are
 * cut off first. first_index <= FIRST <= last_index + 1. Takes a reference of
 * each entry's data. */
uint64_t store_append(struct store *s, qr_group_id group, qr_index first,
                      const struct store_entry *entries, size_t count);
/* Record a snapshot of the own machine, snapshot->index > the previous one and
 * <= last_index; all of `live` is present. Entries <= index outside `live` can
 * no longer be read, and give their space back once the snapshot is durable.
 * Configuration and manifest: together up to STORE_ENTRY_SIZE_MAX. */
uint64_t store_snapshot(struct store *s, qr_group_id group,
                        const struct store_snapshot *snapshot);
/* Stage a live entry that belongs to a snapshot being received; kept beside
 * the group's present state until store_install() or store_stage_drop(). */
uint64_t store_stage(struct store *s, qr_group_id group, qr_index index,
                     const struct store_entry *entry);
void store_stage_drop(struct store *s, qr_group_id group);
/* Replace the group's log and snapshot by SNAPSHOT and the staged entries. A
 * live entry that is not staged is taken from the log; that it is the same one
 * there is the caller's to see to: it stages those whose store_term() differs.
 * snapshot->index > the previous one; last_index becomes snapshot->index.
 * -QR_ENOENT (with the first missing index in *MISSING) when a live entry is
 * neither staged nor present. */
MUST_USE int store_install(struct store *s, qr_group_id group,
                           const struct store_snapshot *snapshot,
                           uint64_t *batch, qr_index *missing);

/* Write what was queued, unless a write is under way (then it follows). Call
 * once at the end of each turn. */
void store_flush(struct store *s);
/* The highest durable batch, and the one that is gathering. */
uint64_t store_durable(const struct store *s);
uint64_t store_current(const struct store *s);

/* The term of entry INDEX (also of the snapshot's index), or 0. */
qr_term store_term(const struct store *s, qr_group_id group, qr_index index);
/* Entry INDEX with a new reference in out->data (caller unrefs): from memory,
 * or with a blocking read. -QR_ENOENT; -QR_ECORRUPT, -QR_EIO: it is damaged now
 * (on_damage was called unless that was known); -QR_ESHUTDOWN: the (simulated)
 * disk has stopped, which is nobody's damage. */
MUST_USE int store_read(struct store *s, qr_group_id group, qr_index index,
                        struct store_entry *out);
/* Whether store_read() would be served from memory. */
bool store_is_cached(const struct store *s, qr_group_id group, qr_index index);

/* A read that may go to the disk; embedded in its owner, pinned until `done`.
 * `result` and `entry` (reference owned by the receiver) are set then. */
struct store_fetch {
    void (*done)(struct store_fetch *fetch);
    void *arg;
    qr_group_id group;
    qr_index index;
    int result;
    struct store_entry entry;
    void *impl;
};
/* Start FETCH (group, index, done set): calls done once, later (never from
 * within this call). */
void store_fetch(struct store *s, struct store_fetch *fetch);

/* Everything that is damaged now, by group and index. Call it after
 * store_open(), before groups are started. CB must not call the store. */
void store_foreach_damage(struct store *s,
                          void (*cb)(void *arg,
                                     const struct store_damage *damage),
                          void *arg);
/* Whether entry INDEX is known to be damaged; store_read() of it would be
 * -QR_ECORRUPT without looking. Cheap. */
bool store_is_damaged(const struct store *s, qr_group_id group, qr_index index);
/* ENTRY, from elsewhere, is what entry INDEX was: same group, index and term,
 * which in Raft name one content for ever. Its body can be read at once and is
 * written again; *BATCH carries it. Takes a reference of the data. An entry
 * that is not damaged is left alone, with 0.
 *   -QR_ENOENT     no such group or entry (any more), or the group is lost
 *   -QR_ECONFLICT  its term or, if known, type or size is another one */
MUST_USE int store_repair(struct store *s, qr_group_id group, qr_index index,
                          const struct store_entry *entry, uint64_t *batch);
/* All that STORE_DAMAGE_MEMORY with group 0 stands for has been replaced, and
 * the cluster knows: forget it for good. Harmless if there is none. */
void store_accept_loss(struct store *s);
/* Cheap. Changes between two turns; ask again rather than remember. */
enum store_space store_space(const struct store *s);

/* Groups whose unsnapshotted entries keep the oldest segment from reuse, up to
 * MAX; the host asks them for a snapshot when store_is_pressed(). */
size_t store_pinning_groups(struct store *s, qr_group_id *out, size_t max);
/* The log holds more than twice its live bytes and 256 MiB (or four segments
 * where they are small). Entries that no snapshot covers yet do not count as
 * live: only a snapshot can tell which of them are. */
bool store_is_pressed(const struct store *s);
void store_stats(const struct store *s, struct store_stats *out);

#endif
