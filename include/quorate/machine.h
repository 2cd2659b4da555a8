/* A replicated state machine, as the host sees it.
 *
 * A machine is deterministic: the same entries in the same order give the same
 * state and the same snapshot bytes on every replica. It has no clock, no
 * randomness and does no I/O; what it needs of them comes in the entry. What
 * it wants done outside it leaves with its owner, who acts on it only when the
 * entry says `is_leading`. All calls come from the shard that hosts it. */
#ifndef QUORATE_MACHINE_H
#define QUORATE_MACHINE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct ranges;
struct slice;

/* One committed entry: what qr_group_propose() gathered in one turn of the
 * leader's loop, in order. Borrowed for the call. */
struct qr_entry {
    qr_index index;
    qr_term term;
    uint64_t time_ms;         /* the proposer's wall clock, never decreasing
                                 within a group */
    const struct slice *body; /* the commands; reference it to keep it. NULL
                                 for entries of Raft's own (barriers,
                                 configurations): only the index advances */
    bool is_missing; /* these were commands (body is NULL), which have rotted
                        here, and the group has no other member: what they
                        did is lost. Never set in a group of several.
                        `time_ms` is about when they were proposed */
    qr_index lost_until; /* is_missing: the entries up to here were there when
                            this was found, so they were proposed by those who
                            knew of what is missing */
    bool is_leading; /* this replica proposed it in the present term: perform
                        the effects. Never set during replay */
};

/* What changed in the standing of this replica. */
struct qr_standing {
    bool
        is_leader; /* and its own term's first entry is applied: it may serve */
    qr_term term;
    qr_node_id leader; /* 0 = unknown */
};

struct qr_machine_ops {
    /* Apply the next entry. */
    void (*apply)(void *machine, const struct qr_entry *entry);
    /* Append the whole state after the last applied entry to MANIFEST, and to
     * LIVE the indexes of earlier entries whose bodies it still needs. */
    void (*snapshot)(void *machine, struct buf *manifest, struct ranges *live);
    /* Replace the state by what snapshot() wrote at INDEX. SIZE 0: the empty
     * state. 0 or -QR_EFORMAT. */
    int (*restore)(void *machine, qr_index index, const void *manifest,
                   size_t size);
    /* The standing changed; also called once after start. May be NULL. */
    void (*standing)(void *machine, const struct qr_standing *standing);
    /* The group's member list changed. May be NULL. */
    void (*members)(void *machine);
    /* The replica is gone: removed from its group, or its group is deleted.
     * The machine may free itself; nothing is called after this. */
    void (*gone)(void *machine);
    /* A hint for when to snapshot: bytes of log bodies no longer needed since
     * the last one. May be NULL (then the host goes by log size). */
    uint64_t (*dead_bytes)(void *machine);
};

#endif
