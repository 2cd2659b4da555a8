/* Raft messages as protobuf heads and raw content: proto/raft.proto. */
#ifndef CONSENSUS_WIRE_H
#define CONSENSUS_WIRE_H

#include <quorate/types.h>
#include <raft.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"
#include "peer/frame.h"
#include "raft.pb-c.h"

struct buf;

enum {
    /* Frame kinds of this room. */
    WIRE_BATCH = FRAME_RAFT_FIRST,
    WIRE_INSTALL,
    WIRE_PULL,
    WIRE_CHUNK,
    WIRE_NOTICE,
    WIRE_LOST,
    WIRE_FETCH,
    WIRE_FETCHED,
    WIRE_STATE,
    WIRE_KIND_LIMIT = FRAME_BROKER_FIRST,

    /* Entries in one message; a longer AppendEntries travels as several. */
    WIRE_ENTRIES_MAX = FRAME_CONTENT_MAX,
    WIRE_ARENA_SIZE_MAX = 16 << 20, /* memory that one head may unpack to */
    WIRE_RANGES_MAX = 4096,         /* in one Pull */
    WIRE_LOST_MAX = 4096,           /* replicas in one Lost */
    WIRE_FETCH_MAX = 64,            /* entries in one Fetch */
    WIRE_ABSENT = 0,                /* of an entry in a Fetched, for its size */
    WIRE_RELEASED = 4,
    WIRE_PIN_FACTOR = 4 /* see wire_body() */
};

/* Memory for unpacked heads: grows to what the largest needed, is emptied
 * before each, and refuses beyond WIRE_ARENA_SIZE_MAX. */
struct wire_arena {
    ProtobufCAllocator allocator;
    uint8_t *data;
    size_t size;
    size_t used;
    size_t wanted; /* by the last unpacking */
};

/* An arena without memory. */
void wire_arena_init(struct wire_arena *a);
/* Free what was unpacked into it, too. */
void wire_arena_deinit(struct wire_arena *a);
/* Forget what was unpacked, and make room for a head of SIZE bytes. The
 * unpacked message lives until the next call. */
ProtobufCAllocator *wire_arena_reset(struct wire_arena *a, size_t size);

/* Who talks to whom. */
struct wire_route {
    qr_group_id group;
    qr_replica_id from;
    qr_replica_id to;
    bool is_quiet; /* of an AppendEntries or its result: see hibernate.c */
    uint8_t space; /* of an AppendEntries' result: enum store_space */
};

/* What is told of the entries of an AppendEntries: their terms in runs and
 * their sizes. */
struct wire_entries {
    uint64_t terms[2 * WIRE_ENTRIES_MAX];
    uint64_t sizes[WIRE_ENTRIES_MAX];
    size_t terms_count;
    size_t count;
};

/* Describe one more entry; count < WIRE_ENTRIES_MAX. */
void wire_entries_add(struct wire_entries *e, qr_term term, unsigned type,
                      size_t size);

/* Append M, as the next message of a Batch, to OUT. ENTRIES: of an
 * AppendEntries, NULL for others. Not for InstallSnapshot. */
void wire_put(struct buf *out, const struct wire_route *route,
              const struct raft_message *m, struct wire_entries *entries);

/* Whether PB is complete and sane: a body, ids that are not 0, entries that
 * match their runs. */
bool wire_is_sane(const Raft__Message *pb);
/* Whether PB is marked as quiet. */
bool wire_is_quiet(const Raft__Message *pb);
/* Whether an entry of TYPE (of the library) may have SIZE bytes. */
bool wire_entry_is_sane(uint64_t type, uint64_t size);
/* Into *OUT, without its entries and addresses. PB is sane. */
void wire_get(const Raft__Message *pb, struct raft_message *out);
/* The entries of A, whose bodies are the next of CONTENT from *AT on. BODIES
 * get references; entries[i].buf shows their bytes. -QR_EFORMAT when the
 * content is too short or a type unknown; then nothing is referenced. */
MUST_USE int wire_get_entries(const Raft__Append *a,
                              const struct slice *content, size_t *at,
                              struct raft_entry *entries, struct slice *bodies);
/* SIZE bytes at AT of CONTENT, as a slice that does not hold on to a block
 * more than WIRE_PIN_FACTOR times its size. The caller unrefs it. */
struct slice wire_body(const struct slice *content, size_t at, size_t size);

#endif
