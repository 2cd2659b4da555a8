/* What recovery.c finds out about each group, and settle.c makes of it. */
#ifndef STORE_REPLAY_H
#define STORE_REPLAY_H

#include "base/check.h"
#include "store/store_impl.h"

struct error;

/* Where replay saw the newest record of a kind. */
struct sighting {
    struct segment *segment; /* NULL: never */
    uint64_t offset;
    uint32_t size;
};

/* A body that was written again: a record of type COPY. */
struct copy {
    qr_index index;
    qr_term term;
    struct entry_loc loc;
};

/* A group while it is being replayed. */
struct life {
    struct group *group;
    qr_index last_index;
    struct copy *copies; /* as seen; by index and place once settled */
    size_t copies_count;
    size_t copies_capacity;
    qr_index copy_max; /* their highest index */
    struct sighting seen[CONTROL_KINDS];
    struct sighting tombstone;
    uint64_t until; /* of the tombstone */
    bool is_lost;
    /* How many holes there had been in the log when these were seen. */
    uint32_t created_at;
    uint32_t hard_at;
    uint32_t snapshot_at;
    uint32_t end_at; /* what last said where the group's log ends */
    /* A hole may have held something else for entries up to this one, unless a
     * snapshot covers it. */
    qr_index doubt;
};

/* What a hole in the log cost. */
struct loss {
    uint32_t hole;  /* running number, from 1 */
    uint64_t first; /* batch */
    uint64_t last;
    bool is_counted; /* else nothing is known of it */
    struct log_counts lost;
    struct log_counts explained; /* entries whose absence tells of them */
};

struct replay {
    struct store *store;
    struct map lives;  /* by log */
    struct life *last; /* the one of the record before */
    struct segment **used;
    size_t used_count;
    uint64_t freed_last; /* a batch that was durable when a segment was freed */
    struct segment **strays; /* nobody knows what they are */
    size_t strays_count;
    size_t doubts; /* headers of files that could not be read */
    struct loss *losses;
    uint32_t holes;           /* losses */
    uint32_t uncounted;       /* of those, the last ones */
    bool is_counted;          /* `counts` is right */
    struct log_counts counts; /* so far */
    struct sighting state;
    struct error *err;
};

/* Open RP's files and judge them: those in use in order of sequence, and
 * strays. -QR_ECONFLICT, -QR_EVERSION, -QR_ECORRUPT, or how the disk fails. */
MUST_USE int replay_judge_files(struct replay *rp);

/* Keeping account of holes, for loss_judge(). A record was seen; */
void loss_record(struct replay *rp, const struct record *r);
/* batches FIRST to LAST are missing, wholly or in part; */
void loss_hole(struct replay *rp, uint64_t first, uint64_t last);
/* what was there up to now has these counts; */
void loss_counts(struct replay *rp, const struct log_counts *counts);
/* nobody can tell the counts up to now; */
void loss_uncounted(struct replay *rp);
/* R, an entry, is the first of LIFE since the last hole. */
void loss_check(struct replay *rp, struct life *life, const struct record *r);
/* The replay is over: mark lives as lost, and the store as unsure. */
void loss_judge(struct replay *rp);

/* Make groups and tombstones of the store out of RP's lives. */
void settle_all(struct replay *rp);

#endif
