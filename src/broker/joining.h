/* How a cluster takes a blank node in: broker/formation.h asks here. Runs on
 * shard 0 of a node of the cluster. */
#ifndef BROKER_JOINING_H
#define BROKER_JOINING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"
#include "broker/cluster.h"
#include "peer/frame.h"

struct meta_group;

enum {
    /* The holder of the name must have been out of the metadata leader's reach
     * for this long: longer than a link is taken for alive without a sign. */
    JOIN_LOST_MS = 6000,
    JOIN_NEWS_MS = 5000, /* how long a leader's refusal is passed on */
    JOIN_TEXT_SIZE = 512
};

enum join_answer {
    JOIN_IS_MEMBER, /* the metadata has its UUID, with its id */
    JOIN_WAIT,      /* ask again; the text says what for */
    JOIN_REFUSED,   /* ask again when what the text says was done */
    JOIN_REMOVED    /* ask again with another UUID: who had this one was removed
                       from the cluster */
};

/* WHO (id 0) asks to join. Proposes it when this node leads the metadata, asks
 * the leader otherwise; fills TEXT unless WHO is a member. Idempotent. */
enum join_answer joining_ask(struct broker *b, const struct cluster_member *who,
                             char *text, size_t text_size);
/* Frames BROKER_META_JOIN and BROKER_META_JOIN_NO, on shard 0. */
void joining_frame(struct broker *b, struct address from,
                   const struct frame *frame);

/* Whether every queue that has a replica on NODE would have a majority of
 * running replicas without it. False: why not, in TEXT. */
bool joining_is_spared(struct broker *b, qr_node_id node, char *text,
                       size_t text_size);
/* Remove node NAME from the cluster. CALL ends with a fault when NAME is not
 * known (NOT_FOUND), or when it is linked, this node itself, or needed: its
 * removal would take away the majority of a group that has one (PRECONDITION).
 */
void joining_forget(struct broker *b, struct meta_text name,
                    struct broker_call *call);

#endif
