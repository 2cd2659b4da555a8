/* Control records: what the store must know of a group besides its entries.
 * The newest of each kind is live; when nothing else in a segment is, they are
 * queued again and the segment becomes free.
 *
 * Tombstones. That a group was deleted must be known for as long as a segment
 * may hold the record of its creation, that is while one with a sequence up
 * to `until` is in use; other records of a log that nobody created mean
 * nothing. */
#ifndef STORE_CONTROL_H
#define STORE_CONTROL_H

#include <stdint.h>

#include "store/store_impl.h"

/* Queue the record that states what GROUP has of KIND; returns its batch. */
uint64_t control_write(struct store *s, struct group *g,
                       enum control_kind kind);
/* The live record of C lies in SEG now (NULL: nowhere). */
void control_place(struct store *s, struct control *c, struct segment *seg,
                   uint64_t span);
/* Queue a tombstone for G, whose controls are still in place. */
uint64_t control_bury(struct store *s, const struct group *g);
/* A tombstone found at start; SEG NULL: it is gone, though it must have been
 * there, and control_mend() writes it again. */
void control_exhume(struct store *s, uint32_t log, uint64_t until,
                    struct segment *seg, uint64_t span);
/* Queue the store's own record: what losses have been dealt with, and whether
 * groups may be lost that nobody knows of. */
uint64_t control_write_state(struct store *s);
/* After a start: queue what it concluded. */
void control_mend(struct store *s);
/* Drop the tombstones that nothing needs any more. */
void control_trim(struct store *s);
/* Queue all of SEG's control records again. */
void control_rewrite(struct store *s, struct segment *seg);

#endif
