/* What lies on the disk, byte for byte: segment headers, batch headers,
 * records, the index of a sealed segment and its trailer. Pure encoding; who
 * writes what and when is batch.c, segment.c and recovery.c.
 *
 * All integers are little endian. docs/formats/store.md draws the layouts and
 * has the version-bump procedure. */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct buf;
struct cursor;
struct group_log;
struct ranges;
struct store_snapshot;

enum {
    SECTOR_SIZE = 512,         /* what a disk writes whole or not at all */
    SEGMENT_HEADER_SIZE = 512, /* the first sector of a file, and the second */
    SEGMENT_DATA_AT = 1024,    /* where the first batch starts */
    BATCH_HEADER_SIZE = 32,
    BATCH_MARK_SIZE = 48,
    RECORD_HEADER_SIZE = 32,
    RECORD_ALIGN = 8,         /* records start at multiples of it */
    TRAILER_SIZE = 512,       /* before and after a sealed segment's index */
    INDEX_ITEM_SIZE_MAX = 48, /* one record in a segment's index */
    RECORD_SIZE_MAX = (40 << 20) - 4096
};

enum segment_use {
    SEGMENT_UNUSED = 1,
    SEGMENT_IN_USE = 2
};

struct record;

/* How many records there have been in this store so far, modulo 2^32, and the
 * sums of their log numbers. When some are lost, the counts on both sides tell
 * what they were, and of one alone, whose. */
struct log_counts {
    uint32_t entries;
    uint32_t entry_sum;
    uint32_t controls; /* what is neither entry, staged nor seal */
    uint32_t control_sum;
};

/* R was written. */
void log_counts_add(struct log_counts *c, const struct record *r);
/* What came between FROM and TO. */
struct log_counts log_counts_between(const struct log_counts *from,
                                     const struct log_counts *to);

/* The first sector of a segment file, and the second. Unused ones keep it, so
 * that a disk moved between nodes is noticed. */
struct segment_header {
    uint32_t version;
    enum segment_use use;
    uint8_t node_uuid[16];
    uint32_t shard;
    uint32_t chain;       /* of the batch before the first one here */
    uint64_t sequence;    /* of the segment, from 1, never used again */
    uint64_t batch_first; /* number of the first batch here; of a free one, the
                             first that was not durable when it was freed */
    uint64_t size;        /* of the file, a multiple of SECTOR_SIZE */
    /* Before the first batch here. */
    struct log_counts counts;
};

/* Write a whole sector. */
void segment_header_encode(const struct segment_header *h,
                           uint8_t out[SEGMENT_HEADER_SIZE]);
/* -QR_ENOENT: nothing but zeros; -QR_ECORRUPT. The version is not judged: the
 * first 64 bytes are the same in every version. */
MUST_USE int segment_header_decode(const uint8_t in[SEGMENT_HEADER_SIZE],
                                   struct segment_header *out);
/* What the checksums of batches and trailer of this segment start from, so
 * that nothing of another segment or node, and no bytes that a client made up,
 * ever pass for a batch. */
uint32_t segment_seed(const struct segment_header *h);

struct batch_header {
    uint32_t size; /* of the batch, in bytes, a multiple of SECTOR_SIZE */
    uint64_t number;
    uint32_t chain_before; /* `chain` of the batch before this one */
    uint32_t records;
    uint32_t body_crc; /* over the checksums of the records */
    uint32_t chain;    /* checksum of this header: links to the next one */
};

/* Sets h->chain. */
void batch_header_encode(struct batch_header *h, uint32_t seed,
                         uint8_t out[BATCH_HEADER_SIZE]);
/* Whether these bytes are a batch header of the segment with SEED. */
bool batch_header_decode(const uint8_t in[BATCH_HEADER_SIZE], uint32_t seed,
                         struct batch_header *out);

/* The end of a batch: an index of its records, as in the segment's, and in the
 * last bytes of its last sector the mark, which says again what the header
 * said. With it, what a batch held is known though its header or any record
 * has rotted. The first item's gap means nothing: the first record follows the
 * batch header. */
struct batch_mark {
    uint32_t size;
    uint64_t number;
    uint32_t chain;
    uint32_t items_size; /* the items end where the mark begins */
    uint32_t records;
    struct log_counts counts; /* after this batch */
};

/* ITEMS_SIZE bytes of items have been written right before OUT. */
void batch_mark_encode(const struct batch_mark *m, uint32_t seed, uint8_t *out);
/* Whether the last bytes of this sector look like a mark: cheap. */
bool batch_mark_is_likely(const uint8_t sector[SECTOR_SIZE]);
/* IN: the mark of a batch, of which SIZE bytes lie before it. False if it is
 * none, or its items are not whole. */
bool batch_mark_decode(const uint8_t *in, uint64_t size, uint32_t seed,
                       struct batch_mark *out);
/* The size that it claims, unverified. */
uint32_t batch_mark_size(const uint8_t *in);

enum record_type {
    RECORD_ENTRY = 1, /* cuts what follows `index`, then is it */
    RECORD_STAGED,    /* a live entry out of order: cuts nothing */
    RECORD_HARD,      /* index: vote, term */
    RECORD_CUT,       /* index: the last one that stays */
    RECORD_SNAPSHOT,  /* index: of the snapshot, term: last index of the log */
    RECORD_CREATED,   /* index: group id; body: header */
    RECORD_DELETED,   /* index: see control.h, tombstones */
    RECORD_COPY,      /* an entry that the log has now, in another place */
    RECORD_LOST,      /* the group is; index: its id */
    RECORD_STATE,     /* log 0: see control.h, the store's own */
    RECORD_SEAL       /* log 0: the batches before are durable */
};

enum {
    CREATED_AGAIN = 1 /* `entry_type` of a creation that was written again: it
                         says nothing of what came before it */
};

/* One record, wherever it lies. `log` numbers a group's life in this store:
 * a group deleted and created again is another log. */
struct record {
    enum record_type type;
    uint8_t entry_type;
    uint32_t log;
    uint64_t index;
    uint64_t term;
    uint64_t offset; /* in the segment; not in the record itself */
    uint32_t size;   /* header and body, without padding */
    bool is_damaged; /* known from an index only; not in the record itself */
};

/* BODY_CRC continues over the body: see record_crc_start(). */
void record_encode(const struct record *r, uint8_t out[RECORD_HEADER_SIZE]);
/* The checksum of the encoded header; continue it over the body, then store
 * it with record_seal(). */
uint32_t record_crc_start(const uint8_t header[RECORD_HEADER_SIZE]);
void record_seal(uint8_t header[RECORD_HEADER_SIZE], uint32_t crc);
/* Decode and verify the record at the start of SIZE bytes: -QR_ECORRUPT. Sets
 * *CRC to its checksum. */
MUST_USE int record_decode(const uint8_t *in, size_t size, struct record *out,
                           uint32_t *crc);
/* Bytes that a record of SIZE bytes takes. */
uint64_t record_span(uint64_t size);
uint64_t sector_round_up(uint64_t size);

/* A segment's index: every record of the segment in order. BEFORE is the end
 * of the previous record (0 at first). */
void index_item_encode(struct buf *b, const struct record *r, uint64_t before);
MUST_USE int index_item_decode(struct cursor *c, uint64_t before,
                               struct record *out);

/* The last sector of a sealed segment, and another, right before the index.
 * That is padded to whole sectors. */
struct trailer {
    uint64_t sequence; /* of the segment */
    uint64_t batch_last;
    uint32_t chain;      /* of the last batch */
    uint64_t data_end;   /* where the next batch would have started */
    uint64_t index_size; /* without padding */
    uint64_t records;
    uint32_t index_crc;       /* with padding, from the seed */
    bool has_no_index;        /* read the batches: they are not all there */
    struct log_counts counts; /* after the last batch */
};

/* Write a whole sector. */
void trailer_encode(const struct trailer *t, uint32_t seed,
                    uint8_t out[TRAILER_SIZE]);
/* The sequence that it claims, unverified; 0: it is none. */
uint64_t trailer_sequence(const uint8_t in[TRAILER_SIZE]);
/* Whether these bytes are the trailer of the segment with SEED. */
bool trailer_decode(const uint8_t in[TRAILER_SIZE], uint32_t seed,
                    struct trailer *out);

/* The body of a snapshot record but for the manifest, which follows it. TERMS
 * knows the term of every live entry. */
void snapshot_encode(struct buf *b, const struct store_snapshot *s,
                     const struct group_log *terms);

/* One stretch of live entries with the same term. */
struct live_run {
    qr_index first;
    qr_index last;
    qr_term term;
};

/* A decoded snapshot body; `configuration` and `manifest` point into it. */
struct snapshot_body {
    qr_term term;
    qr_index configuration_index;
    const uint8_t *configuration;
    size_t configuration_size;
    const uint8_t *manifest;
    size_t manifest_size;
    struct live_run *runs; /* mem_free */
    size_t runs_count;
};

/* -QR_ECORRUPT. INDEX is the snapshot's. */
MUST_USE int snapshot_decode(const uint8_t *data, size_t size, qr_index index,
                             struct snapshot_body *out);

#endif
