/* What must hold when everything has been healed: contracts I8 to I12, of
 * docs/testing.md. */
#ifndef SIM_SIM_REST_H
#define SIM_SIM_REST_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame;
struct sim;
struct sim_node;
struct world;

enum {
    REST_TEXT_SIZE = 200,
    REST_LEADER_S = 5, /* after the last fault each group has a leader */
    /* Of a shard's log, beyond twice what is live. */
    REST_SLACK_SEGMENTS = 8
};

/* The first group id that no queue has had so far, as far as a node is up that
 * knows. */
uint64_t rest_groups_end(const struct world *w);
/* Whether the metadata and each queue whose group is below GROUPS_END have a
 * leader that serves; otherwise WHY (REST_TEXT_SIZE bytes) begins with the
 * contract that is broken. */
bool rest_is_led(struct world *w, uint64_t groups_end, char *why);
/* Whether nothing is left to be cleaned up, repaired or caught up with. */
bool rest_is_clean(struct world *w, char *why);
/* Whether no message of FRAME, a batch of Raft messages that leaves N, grants a
 * vote or acknowledges entries for a replica that lost its memory. */
bool rest_is_remembered(const struct sim_node *n, const struct frame *frame,
                        char *why);
/* Put the votes in FRAME, such a batch that leaves NODE, into the trace. */
void rest_trace_votes(struct sim *sim, qr_node_id node,
                      const struct frame *frame);
/* What must hold at all times, of one moment: nothing that its own node knows
 * to be deleted leads. */
bool rest_is_sane(struct world *w, char *why);

#endif
