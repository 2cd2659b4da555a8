/* Groups in memory: their making, and the accounting of their entries. */
#ifndef STORE_GROUP_H
#define STORE_GROUP_H

#include "store/store_impl.h"

/* A group without anything; the caller owns it. */
struct group *group_new(qr_group_id id, uint32_t log);
/* Release everything G holds in memory; the segments are told of nothing. */
void group_free(struct group *g);

/* For group_log_cut() and the like: which group of which store. */
struct group_ref {
    struct store *store;
    struct group *group;
};

/* Entry INDEX left G's log for good. A group_log_drop_cb on a group_ref. */
void group_drop_entry(void *arg, qr_index index, const struct entry_loc *loc);
/* The same for one that no longer counts as tail. */
void group_drop_retired(void *arg, qr_index index, const struct entry_loc *loc);
/* Bytes that the entry at LOC takes on the disk. */
uint64_t group_entry_span(const struct entry_loc *loc);
/* An entry of SPAN bytes follows G's snapshot. */
void group_add_tail(struct store *s, struct group *g, uint64_t span);
/* The reverse. */
void group_sub_tail(struct store *s, struct group *g, uint64_t span);
/* Entries of (g->snapshot.index, LAST] no longer count as tail. */
void group_retire_tail(struct store *s, struct group *g, qr_index last);
/* Forget what is staged; live entries among it are the caller's business. */
void group_stage_clear(struct store *s, struct group *g);
/* Staged entries in order of index, of several for one only the last. The
 * others are dropped, or just left out with S NULL: recovery, which has not
 * counted them yet. */
void group_stage_sort(struct store *s, struct group *g);
/* The staged entry INDEX or NULL; sorted only. */
struct staged *group_stage_find(const struct group *g, qr_index index);
void group_stage_add(struct group *g, qr_index index, qr_term term,
                     const struct entry_loc *loc);
/* Take SNAPSHOT, with references of its slices, in place of what G has. */
void group_set_snapshot(struct group *g, const struct store_snapshot *snapshot);
/* A reference of S, or a copy if it does not own its bytes. */
struct slice group_keep_slice(const struct slice *s);

#endif
