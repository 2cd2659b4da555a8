/* What has rotted: noticing it, telling, and putting it right. */
#ifndef STORE_DAMAGE_H
#define STORE_DAMAGE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stdint.h>

struct entry_loc;
struct group;
struct record;
struct segment;
struct slice;
struct store;

/* Entry INDEX of G, at LOC in G's log, cannot be read: mark it. TELL: and call
 * on_damage. Harmless if it is marked already. */
void damage_mark(struct store *s, struct group *g, qr_index index,
                 struct entry_loc *loc, bool tell);
/* Reading WANT from SEG failed. Marks the entry, and tells, if it is still
 * there; it may have moved or gone while the read was under way. */
void damage_at_read(struct store *s, const struct segment *seg,
                    qr_group_id group, const struct record *want);
/* Write entry INDEX of G, whose body DATA is, to the front of the log, and
 * rely on that from now on. Returns the batch. */
uint64_t damage_rewrite(struct store *s, struct group *g, qr_index index,
                        const struct slice *data);

#endif
