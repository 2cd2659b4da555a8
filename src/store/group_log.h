/* Where each entry of a group lies: 16 bytes an entry, in chunks, so that a
 * log of which only scattered stretches are still live stays cheap. Terms are
 * kept as runs, since they change with elections only. */
#ifndef STORE_GROUP_LOG_H
#define STORE_GROUP_LOG_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct ranges;

enum {
    GROUP_LOG_CHUNK = 32, /* entries a chunk */
    ENTRY_TYPE_MAX = 31,  /* what `what` has room for */
    ENTRY_LOC_SIZE_MASK = (1 << 26) - 1
};

#define ENTRY_LOC_PRESENT (1u << 31)
#define ENTRY_LOC_DAMAGED (1u << 31) /* in `offset`: the body is lost */

/* Where an entry is. A volatile group's entries are in memory only. */
struct entry_loc {
    union {
        struct {
            uint32_t segment; /* slot of the store's table */
            uint32_t offset;  /* of the record, in units of RECORD_ALIGN;
                                 0: nobody knows where it was */
        };
        struct block *block; /* volatile: one reference */
    };
    uint32_t cache; /* durable: cache_add()'s ticket; volatile: start of data */
    uint32_t what;  /* present bit, type (5 bits), data size (26 bits) */
};

struct group_chunk;

/* TERM from `first` up to the next run. */
struct term_run {
    qr_index first;
    qr_term term;
};

struct group_log {
    struct group_chunk **chunks; /* in order of index, from `head` on */
    size_t head;
    size_t count; /* chunks in use, from head */
    size_t capacity;
    struct term_run *runs;
    size_t runs_count;
    size_t runs_capacity;
};

/* What happens to a location that leaves the log. */
typedef void (*group_log_drop_cb)(void *arg, qr_index index,
                                  const struct entry_loc *loc);

static inline uint32_t
entry_loc_what(uint8_t type, size_t size)
{
    return ENTRY_LOC_PRESENT | ((uint32_t)type << 26) | (uint32_t)size;
}

static inline uint32_t
entry_loc_size(const struct entry_loc *loc)
{
    return loc->what & ENTRY_LOC_SIZE_MASK;
}

static inline uint8_t
entry_loc_type(const struct entry_loc *loc)
{
    return (uint8_t)((loc->what >> 26) & ENTRY_TYPE_MAX);
}

/* Where the record of a durable entry starts, in units of RECORD_ALIGN. */
static inline uint32_t
entry_loc_offset(const struct entry_loc *loc)
{
    return loc->offset & ~ENTRY_LOC_DAMAGED;
}

/* Whether the body of a durable entry is known to be lost. */
static inline bool
entry_loc_is_damaged(const struct entry_loc *loc)
{
    return (loc->offset & ENTRY_LOC_DAMAGED) != 0;
}

/* An empty log. */
void group_log_init(struct group_log *log);
/* Calls DROP (may be NULL) for every entry left. */
void group_log_deinit(struct group_log *log, group_log_drop_cb drop, void *arg);
/* Add entry INDEX, above all that are there; gaps are fine. */
void group_log_put(struct group_log *log, qr_index index, qr_term term,
                   const struct entry_loc *loc);
/* The location of INDEX (valid until the log changes) or NULL. */
struct entry_loc *group_log_get(const struct group_log *log, qr_index index);
/* The term of INDEX, which must be present. */
qr_term group_log_term(const struct group_log *log, qr_index index);
/* The last index up to which nothing says another term than at INDEX. */
qr_index group_log_run_last(const struct group_log *log, qr_index index);
/* The first entry at INDEX or above: its index, or 0. */
qr_index group_log_next(const struct group_log *log, qr_index index,
                        struct entry_loc **loc);
/* Drop everything from FROM on. */
void group_log_cut(struct group_log *log, qr_index from, group_log_drop_cb drop,
                   void *arg);
/* Drop what is neither above LAST nor in LIVE (NULL: nothing is). Returns how
 * many entries up to LAST stay. */
uint64_t group_log_keep(struct group_log *log, qr_index last,
                        const struct ranges *live, group_log_drop_cb drop,
                        void *arg);

#endif
