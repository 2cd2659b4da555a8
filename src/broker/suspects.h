/* What a store that has forgotten whole groups may have forgotten.
 *
 * Every replica that the metadata had placed on this shard before this start
 * is under suspicion; where the store does not know it, the host takes it for
 * lost, and its group's leader replaces it. One placed here later is beyond
 * suspicion. When none of the former is lost any more, the store is told that
 * the loss has been made good (store_accept_loss()), through the host. */
#ifndef BROKER_SUSPECTS_H
#define BROKER_SUSPECTS_H

#include <stdbool.h>

struct broker;
struct meta_queue;

/* Nothing is under suspicion; and forget what is, at the end. */
void suspects_init(struct broker *b);
void suspects_deinit(struct broker *b);
/* This start has just been applied to this shard's copy of the metadata: who
 * is placed here now was placed here before. */
void suspects_note(struct broker *b);
/* Whether the replica of QUEUE here was placed after this start. */
bool suspects_is_fresh(const struct broker *b, const struct meta_queue *queue);
/* From time to time: end the suspicion if nothing is lost any more. */
void suspects_check(struct broker *b);

#endif
