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
    SEGMENT_HEADER_SIZE = 512, /* the first sector of a file */
    BATCH_HEADER_SIZE = 32,
    RECORD_HEADER_SIZE = 32,
    RECORD_ALIGN = 8,         /* records start at multiples of it */
    TRAILER_SIZE = 512,       /* the last sector of a sealed segment */
    INDEX_ITEM_SIZE_MAX = 48, /* one record in a segment's index */
    RECORD_SIZE_MAX = (40 << 20) - 4096
};

enum segment_use {
    SEGMENT_UNUSED = 1,
    SEGMENT_IN_USE = 2
};

/* The first sector of a segment file. Unused ones keep it, so that a disk
 * moved between nodes is noticed. */
struct segment_header {
    uint32_t version;
    enum segment_use use;
    uint8_t node_uuid[16];
    uint32_t shard;
    uint32_t chain;       /* of the batch before the first one here */
    uint64_t sequence;    /* of the segment, from 1, never used again */
    uint64_t batch_first; /* number of the first batch here */
    uint64_t size;        /* of the file, a multiple of SECTOR_SIZE */
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

/* Size includes the header, not the padding to a whole sector. */
struct batch_header {
    uint32_t size;
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

enum record_type {
    RECORD_ENTRY = 1, /* cuts what follows `index`, then is it */
    RECORD_STAGED,    /* a live entry out of order: cuts nothing */
    RECORD_HARD,      /* index: vote, term */
    RECORD_CUT,       /* index: the last one that stays */
    RECORD_SNAPSHOT,  /* index: of the snapshot, term: last index of the log */
    RECORD_CREATED,   /* index: group id; body: header */
    RECORD_DELETED,   /* index: see control.h, tombstones */
    RECORD_COPY       /* an entry that the log has now, in another place */
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

/* The last sector of a sealed segment. The index, padded to whole sectors,
 * ends right before it. */
struct trailer {
    uint64_t sequence; /* of the segment */
    uint64_t batch_last;
    uint32_t chain;      /* of the last batch */
    uint64_t data_end;   /* where the next batch would have started */
    uint64_t index_size; /* without padding */
    uint64_t records;
    uint32_t index_crc; /* with padding, from the seed */
};

/* Write a whole sector. */
void trailer_encode(const struct trailer *t, uint32_t seed,
                    uint8_t out[TRAILER_SIZE]);
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
