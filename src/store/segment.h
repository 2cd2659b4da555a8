/* The files of a store: which one is written to, which are needed, free or
 * on their way to either. */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

struct disk_file;
struct record;
struct segment;
struct store;

/* A new segment object in the table: FILE NUMBER with name, state FREE. */
struct segment *segment_new(struct store *s, uint32_t number, uint64_t size);
/* Close its file and take it out of the table. */
void segment_free(struct store *s, struct segment *seg);
/* The segment in SLOT, which is in use. */
struct segment *segment_at(const struct store *s, uint32_t slot);
/* Whether a record of SPAN bytes still fits after a batch of GATHERED bytes
 * at the segment's end, with room left for the index. */
bool segment_has_room(const struct segment *seg, uint64_t gathered,
                      uint64_t span);
/* Make another segment the active one, with room for SPAN bytes. */
void segment_roll(struct store *s, uint64_t span);
/* Note a record for the segment's index. */
void segment_note(struct segment *seg, const struct record *r);
/* Write SEG's index; runs batch_write_next() afterwards. */
void segment_seal(struct store *s, struct segment *seg);
/* A live entry of SPAN bytes is in SEG, or died there. */
void segment_add_live(struct store *s, struct segment *seg, uint64_t span);
void segment_kill(struct store *s, struct segment *seg, uint64_t span);
/* After a start: put right what can be, hold what is still needed. */
void segments_mend(struct store *s);
/* What a start concluded was queued: free no segment before it is durable. */
void segments_hold(struct store *s);
/* Write SEG's headers again; it is in use, and no seal of it under way. */
void segment_restore(struct store *s, struct segment *seg);
/* Reclaim what can be; asks for control records to be written again. */
void segment_maintain(struct store *s);
/* When there is no active segment, or it is half full, make a spare file if
 * there is none; once a segment. */
void segment_ensure_spare(struct store *s);
/* If there was no space for a file, try again. */
void segment_retry(struct store *s);
/* Bytes that can be written without another file. */
uint64_t segment_room(const struct store *s);
/* The lowest sequence in use, or UINT64_MAX. */
uint64_t segment_oldest(const struct store *s);

#endif
