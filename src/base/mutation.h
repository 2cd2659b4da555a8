/* Bugs that are planted on purpose, to show that the simulator finds them
 * (docs/testing.md). A build with -Dmutations=true has all of them, each asleep
 * until it is chosen by name; in any other build MUTATION(name) is false, at no
 * cost. None may ever be in a broker that keeps somebody's messages. */
#ifndef BASE_MUTATION_H
#define BASE_MUTATION_H

#include <stdbool.h>

#include "base/buf.h"

/* X(name, what is wrong). */
#define EACH_MUTATION(X)                                                   \
    X(skip_sync, "the store's writes are not synced")                      \
    X(no_hold, "messages do not wait for what they promise to be durable") \
    X(early_report, "what is not yet durable counts as stored")            \
    X(forget_vote, "the vote is not stored with the term")                 \
    X(old_term, "a leader counts, confirms entries of old terms")          \
    X(reuse_id, "who lost its memory goes on under its id")                \
    X(replay_effects, "every replica performs effects, replay included")   \
    X(drop_dedup, "a queue's snapshot lacks the publishers' numbers")      \
    X(drop_resend, "a new leader does not resend what consumers hold")     \
    X(drop_live, "a snapshot forgets one live entry in sixteen")           \
    X(ignore_prefetch, "a consumer's credit is ignored")                   \
    X(share_exclusive, "an exclusive consumer is not alone")               \
    X(unflagged, "what is delivered again does not say so")                \
    X(meta_twice, "the metadata of shard 0 apply each command twice")      \
    X(keep_deleted, "a deleted queue's replica stays")                     \
    X(confirm_first, "a message is confirmed by the first of its queues")  \
    X(settle_less, "one settled delivery in a hundred is forgotten")       \
    X(skip_crc, "what is read is not checked")

#ifdef QUORATE_MUTATIONS
#    define MUTATION_ENUM(name, what) MUTATION_##name,
enum mutation {
    MUTATION_none,
    EACH_MUTATION(MUTATION_ENUM)
};
#    undef MUTATION_ENUM
/* Set by mutation_select(); the one in force. */
extern enum mutation mutation_chosen;
#    define MUTATION(name) (mutation_chosen == MUTATION_##name)
#else
#    define MUTATION(name) false
#endif

/* Plant the bug called NAME from now on. False: there is none, or this build
 * has none at all. */
bool mutation_select(const char *name);
/* Append a line for each bug of this build: its name, and what is wrong. */
void mutation_list(struct buf *out);

#endif
