/* Answering what others ask of this shard (gather.h): a piece a turn, so that
 * a shard with a hundred thousand queues goes on serving its clients while it
 * lists them. */
#ifndef MGMT_ANSWER_H
#define MGMT_ANSWER_H

#include <quorate/types.h>

#include "peer/frame.h"

struct mgmt;

enum {
    ANSWER_REPLICAS_A_TURN = 512 /* replicas looked at in one turn */
};

/* A MGMT_ASK came from FROM. */
void answer_start(struct mgmt *m, struct address from, const struct frame *f);
/* FROM's gather ID needs no answer any more. */
void answer_forget(struct mgmt *m, struct address from, uint64_t id);
/* The link to NODE is down: nobody there waits. */
void answers_link_down(struct mgmt *m, qr_node_id node);
/* Send the next pieces; once a turn. */
void answers_run(struct mgmt *m);
/* At the end: drop all. */
void answers_free(struct mgmt *m);

#endif
