/* Asking shards, of this node and of others, and collecting what they say.
 *
 *   new -- gather_add... -- gather_send --> waiting --> done (once)
 *                                              each target: answered, or
 *                                              failed for a reason
 *
 * DONE runs when every target has answered or failed, the deadline's at the
 * latest; never within gather_send(). */
#ifndef MGMT_GATHER_H
#define MGMT_GATHER_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "mgmt/record.h"
#include "peer/frame.h"

struct frame;
struct gather;
struct mgmt;

enum {
    GATHER_TARGETS_MAX = QR_NODES_MAX * QR_SHARDS_MAX,
    GATHER_BYTES_MAX = 256 << 20, /* of one gather's answers */
    GATHER_PIECE_SIZE = 256 << 10 /* about, of a MGMT_ANSWER */
};

enum answer_flags {
    ANSWER_LAST = 1,
    ANSWER_BUSY = 2 /* with LAST: the shard answers too many already */
};

struct gather_target {
    qr_node_id node;
    uint16_t shard;
    bool is_done;
    const char *fault; /* done, but not answered: why. Static */
    uint64_t piece_next;
    struct buf bytes;
};

typedef void (*gather_done_cb)(struct gather *g, void *arg);

struct gather {
    unsigned magic;
    struct mgmt *mgmt;
    uint64_t id;
    struct buf question; /* parameters of the ask, built by the caller */
    enum ask_kind kind;
    struct gather_target *targets;
    size_t targets_count;
    size_t waiting;
    size_t bytes;
    struct timer timer;
    bool is_sent;
    gather_done_cb done;
    void *arg;
};

/* A question without targets; put its parameters into `question`. */
struct gather *gather_new(struct mgmt *m, enum ask_kind kind,
                          gather_done_cb done, void *arg);
/* Stop waiting; tells those who still work on it. */
void gather_free(struct gather **g);
/* Ask SHARD of NODE (FRAME_TO_GROUP is not a shard: see gather_add_group). A
 * node that is not linked is a target that failed. */
void gather_add(struct gather *g, qr_node_id node, uint16_t shard);
/* Ask all shards of NODE; or the one that hosts GROUP. */
void gather_add_node(struct gather *g, qr_node_id node);
void gather_add_group(struct gather *g, qr_node_id node, qr_group_id group);
/* Ask all shards, or only shard 0, of all nodes that the metadata knows. */
void gather_add_all(struct gather *g, bool only_first);
/* Send the question; answers are waited for until DEADLINE_MS. */
void gather_send(struct gather *g, uint64_t deadline_ms);
/* MGMT_ANSWER for G. */
void gather_answer(struct gather *g, struct address from,
                   const struct frame *f);
/* The link to NODE is down. */
void gather_link_down(struct gather *g, qr_node_id node);
/* The answer of target I, for record_get_...; empty if it failed. */
struct cursor gather_bytes(const struct gather *g, size_t i);

#endif
