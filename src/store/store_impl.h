/* The store's own structures, shared by the files of this room only. */
#ifndef STORE_STORE_IMPL_H
#define STORE_STORE_IMPL_H

#include <sys/uio.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/ranges.h"
#include "base/timer.h"
#include "store/cache.h"
#include "store/disk.h"
#include "store/group_log.h"
#include "store/record.h"
#include "store/store.h"

enum {
    STORE_MAGIC = 0x53544f52,
    GROUP_MAGIC = 0x47524f55,
    SEGMENT_MAGIC = 0x5345474d,
    BATCH_OBJ_MAGIC = 0x42415443,

    SEGMENTS_MAX = 1 << 20,  /* files in one store */
    SEGMENT_NAME_DIGITS = 8, /* of its number */
    SEGMENT_NUMBER_MAX = 99999999,
    SEGMENT_SPARES_MAX = 2,     /* kept when more become free */
    SEGMENT_SIZE_MAX = 1 << 30, /* configured; larger ones hold one record */
    BATCH_PIECES_MAX = 500,     /* bodies written from where they lie */
    BATCH_COPY_MAX = 4096,      /* bodies up to this size are copied */
    BATCHES_SPARE_MAX = 2,      /* kept with their memory */
    BATCH_BUFFER_KEPT = 4 << 20,
    SCAN_WINDOW = 1 << 20 /* bytes read at once when a segment is scanned */
};

struct group;

/* What a control record says; the newest of each kind is live. */
enum control_kind {
    CONTROL_CREATED,
    CONTROL_HARD,
    CONTROL_SNAPSHOT,
    CONTROL_CUT,
    CONTROL_LOST,
    CONTROL_KINDS,
    CONTROL_TOMBSTONE = CONTROL_KINDS,
    CONTROL_STATE /* the store's own */
};

/* Where a live control record lies: in `segment`'s list; NULL: nowhere. */
struct control {
    struct list link;
    struct segment *segment;
    struct group *group; /* NULL: part of a tombstone */
    enum control_kind kind;
    uint32_t span; /* bytes */
};

/* A deleted group, for as long as a segment may hold that it was created. */
struct tombstone {
    struct list link; /* store.tombstones */
    struct control control;
    uint32_t log;
    uint64_t until; /* segments up to this sequence must be gone first */
};

/* An entry of a snapshot that is being received. */
struct staged {
    qr_index index;
    qr_term term;
    struct entry_loc loc;
    size_t order; /* later ones win */
};

struct group {
    unsigned magic;
    uint32_t log;
    qr_group_id id;
    bool is_volatile;
    bool has_snapshot;
    bool is_lost; /* STORE_DAMAGE_MEMORY */
    struct slice header;
    qr_term term;
    qr_replica_id vote;
    struct store_snapshot snapshot; /* live points to the next member */
    struct ranges live;
    qr_index last_index;
    uint64_t tail_bytes; /* its part of the store's */
    struct group_log entries;
    uint64_t damaged; /* of those */
    struct staged *staged;
    size_t staged_count;
    size_t staged_capacity;
    struct control controls[CONTROL_KINDS];
};

enum segment_state {
    SEGMENT_FREE,       /* may become active */
    SEGMENT_ACTIVE,     /* batches go there; perhaps still being created */
    SEGMENT_SEALED,     /* nothing more is written to it */
    SEGMENT_ERASING,    /* its header is being overwritten */
    SEGMENT_DISCARDING, /* its file is being removed */
    SEGMENT_STATES
};

/* One file. Slots of the table are reused, files keep their names. */
struct segment {
    unsigned magic;
    enum segment_state state;
    uint32_t slot;   /* in store.segments, from 1 */
    uint32_t number; /* in its name */
    char name[DISK_NAME_SIZE];
    struct store *store;
    struct disk_file *file; /* NULL while it is being created */
    struct segment_header header;
    uint32_t seed;
    bool is_creating;
    bool is_indexed;        /* there is an index on the disk */
    bool must_empty;        /* move what is live elsewhere: it has rotted */
    uint64_t walk_after_ms; /* not to be emptied before */
    bool is_restored;       /* its header was lost */
    bool is_restoring;
    bool must_restore;  /* one of its headers is */
    bool is_broken;     /* batches of it are lost: it gets no index */
    bool is_opened;     /* its header is on the disk or in a batch's write */
    bool is_durable;    /* its first batch is on the disk */
    bool has_spare;     /* one was asked for to follow it */
    bool has_index;     /* sealed on the disk, or found to be beyond sealing */
    bool is_open_ended; /* only the next one tells where it ends */
    uint64_t end;       /* where the next batch starts */
    uint64_t durable_end; /* of what is on the disk */
    uint64_t batch_last;
    uint64_t batch_max; /* at a start: what follows is of later segments */
    uint32_t chain_last;
    struct log_counts counts_last; /* after its last batch */
    uint64_t records;              /* in it */
    uint64_t entry_bytes;          /* live */
    uint64_t entry_count;
    uint64_t control_bytes;
    struct list controls;
    uint64_t kill_batch; /* the last batch that made something here dead */
    uint32_t readers;
    struct buf index;      /* while it is not sealed */
    uint64_t index_padded; /* bytes of it on the disk */
    uint64_t index_before;
    uint8_t sector[SECTOR_SIZE];
    struct iovec iov[4];
    struct disk_req req;
};

/* A body that is written from where it lies, after `at` bytes of the head. */
struct piece {
    struct slice data;
    size_t at;
};

/* Records that go to the disk together. */
struct batch {
    unsigned magic;
    struct list link;
    struct store *store;
    uint64_t number;
    struct segment *segment;
    uint64_t offset;
    struct buf head; /* headers and copied bodies */
    struct piece *pieces;
    size_t pieces_count;
    uint64_t size; /* head and pieces */
    uint32_t records;
    uint32_t body_crc;
    size_t index_at; /* where its items begin in the segment's index */
    uint8_t sector[SECTOR_SIZE]; /* the segment's header */
    struct iovec *iov;
    struct disk_req req;
};

struct store {
    unsigned magic;
    struct store_config config; /* as given */
    struct disk *disk;
    struct map groups; /* id -> struct group */
    struct map logs;   /* the durable ones by log */
    uint32_t log_next;
    struct list tombstones;

    struct segment **segments; /* by slot; [0] and gaps are NULL */
    size_t segments_capacity;
    uint64_t sequence_next;   /* of segments */
    struct segment *active;   /* NULL: none yet */
    struct segment *unsealed; /* the last one written to, until sealed */
    bool must_maintain;
    bool is_rewriting; /* control records are being queued */

    struct batch *gather; /* NULL: nothing is queued */
    struct list closed;   /* complete, waiting to be written */
    struct batch *spare[BATCHES_SPARE_MAX];
    size_t spare_count;
    uint64_t batch_next; /* the number of the gathering batch */
    uint64_t flush_upto;
    uint64_t durable;
    uint32_t chain;           /* of the last batch closed */
    struct log_counts counts; /* with the batch that gathers */
    /* What was lost in these batches has been dealt with: whoever is lost has a
     * record that says so. */
    struct ranges resolved;
    bool is_unsure;       /* groups may have been lost that are not known */
    bool must_state;      /* they have changed since it was written */
    struct control state; /* says both */
    bool is_writing;      /* a batch or an index is on its way */
    bool has_failed;
    struct buf scratch;

    struct walk *walk;        /* of walk.c */
    struct timer chore_timer; /* of chores.c */
    struct timer walk_timer;
    uint64_t rest_batch; /* the last durable one when it was last looked at */
    uint64_t seal_batch; /* the last one that is a seal */
    uint64_t space_check_ms;
    bool is_short; /* a file could not be made for want of space */
    bool is_low;   /* soon one could not */

    struct cache cache;
    uint64_t live_bytes; /* records that a restart needs, or readers may */
    uint64_t tail_bytes; /* of those, entries after their group's snapshot */
    size_t creating;     /* segments in creation, erasure or removal */
    size_t fetching;
    struct list fetches;      /* in flight, of read.c */
    struct store_stats stats; /* the counters of it */
};

/* Bytes in segments that are not free. */
uint64_t stats_used_bytes(const struct store *s);
/* The disk, or the room on it, is gone: tell the owner, once. */
void store_fail(struct store *s, int rv, const char *what);
/* Queue E, of the durable group G, as record R, of which type and index are
 * set; its body is cached. LOC says where it went. Returns the batch. */
uint64_t entry_write(struct store *s, const struct group *g, struct record *r,
                     const struct store_entry *e, struct entry_loc *loc);

#endif
