/* What the files of a queue's replica share: the replica (queue_group.c) and
 * the outboxes of its clients (queue_outbox.c). */
#ifndef BROKER_QUEUE_GROUP_PRIV_H
#define BROKER_QUEUE_GROUP_PRIV_H

#include <quorate/host.h>

#include "base/ranges.h"
#include "base/ring.h"
#include "broker/broker_priv.h"
#include "broker/queue_group.h"

enum {
    GROUP_MAGIC = 0x71677270,
    OUTBOX_FRAME_BYTES = 512 << 10, /* a frame of events is sent beyond it */
    OUTBOX_BACKLOG_MAX = 16 << 20,  /* waiting on the link: hold the rest */
    OUTBOX_UNREADABLE_MS = 1000     /* until an entry is tried again */
};

/* What waits for one client. */
struct queue_outbox {
    struct queue_group *group;
    uint64_t session;
    struct ring effects; /* struct queue_effect */
    struct qr_fetch fetch;
    bool is_fetching;
    bool is_dropped;     /* while fetching: free when it completes */
    qr_index body_index; /* 0 = none */
    qr_index unreadable; /* the entry that could not be read, 0 = none */
    uint64_t unreadable_ms;
    struct slice body;
};

struct queue_group {
    unsigned magic;
    struct broker *broker;
    qr_group_id id;
    qr_replica_id self;
    struct qr_group *raft;
    struct queue_machine *machine;
    struct qr_standing standing;
    struct map outboxes; /* by session */
    struct list dirty;
    struct timer retry;
    bool must_bury;       /* there is a session of a start that is dead */
    bool must_set_aside;  /* there is something that no replica has any more */
    struct ranges asides; /* proposed so by us, since we lead */
};

/* queue_losses.c: propose that what no replica has any more is set aside. */
void queue_group_set_aside(struct queue_group *g);
/* The machine counted LOSSES before it applied an entry: say what was lost by
 * it, and have a snapshot taken that does without what is damaged. */
void queue_group_note_losses(struct queue_group *g, uint64_t losses,
                             uint64_t lost);

/* Have queue_group_flush() called this turn. */
void queue_group_dirty(struct queue_group *g);

/* The outbox of SESSION, made when there is none. */
struct queue_outbox *queue_outbox_get(struct queue_group *g, uint64_t session);
/* Forget what O holds and O itself (not its place in the map). */
void queue_outbox_free(struct queue_outbox *o);
void queue_outboxes_drop(struct queue_group *g);
/* Move what can be sent of O into frames. False when more cannot leave just
 * now: the link or the mailbox is full. */
bool queue_outbox_flush(struct queue_outbox *o);
struct address queue_outbox_address(uint64_t session);
/* Whether frames to NODE can leave. */
bool queue_outbox_is_reachable(const struct broker *b, qr_node_id node);

#endif
