/* What travels between the shards of a node: many senders, one receiver.
 *
 * Bounded twice: in bytes by class, charged at post and discharged at hand
 * over, and in number. Senders append whole batches; the receiver takes all
 * that there is at once, so the lock is held for a copy of a few words. */
#ifndef SHARD_MAILBOX_H
#define SHARD_MAILBOX_H

#include <quorate/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/ring.h"
#include "peer/peers.h"

struct frame;

enum mail_kind {
    MAIL_LOCAL, /* frame from a shard of this node, or itself */
    MAIL_IN,    /* frame from node `node` */
    MAIL_OUT,   /* frame for node `node`, charged to its gauge; to shard 0 */
    MAIL_LINK,  /* news of a link */
    MAIL_STOP   /* the runtime stops */
};

/* News of a link, for one shard. */
struct link_news {
    enum link_event event;
    struct link_peer peer;
    struct link_gauge *gauge;
};

struct mail {
    enum mail_kind kind;
    qr_node_id node;
    uint64_t epoch;         /* OUT: of the link it was meant for */
    struct frame *frame;    /* LOCAL, IN, OUT: owned */
    struct link_news *news; /* LINK: owned */
};

struct mailbox {
    uv_mutex_t lock;
    struct ring mails;       /* of struct mail; under the lock */
    bool closed;             /* under the lock */
    uv_async_t *wake;        /* of the receiver's loop */
    _Atomic bool asleep;     /* the receiver waits, or is about to */
    _Atomic size_t count;    /* of `mails` */
    struct link_gauge gauge; /* bytes for this shard, wherever they wait */
};

/* WINDOW has FRAME_CLASS_COUNT sizes. WAKE is borrowed until mailbox_close. */
void mailbox_init(struct mailbox *box, uv_async_t *wake, const size_t *window);
/* Frees what is left in it. */
void mailbox_deinit(struct mailbox *box);

/* Append all of MAILS (a ring of struct mail), which is empty afterwards, and
 * wake the receiver if it sleeps. What comes after mailbox_close() is freed;
 * LIMIT mails at most may wait: the rest stays in MAILS. Any thread. */
void mailbox_push_mt(struct mailbox *box, struct ring *mails, size_t limit);

/* Take all there is into the empty ring MAILS. */
void mailbox_take(struct mailbox *box, struct ring *mails);

/* The receiver is about to wait: false if there is mail, so it must not. */
bool mailbox_sleep(struct mailbox *box);
/* It no longer waits. */
void mailbox_awake(struct mailbox *box);

/* No more mail, and no more wake-ups. */
void mailbox_close(struct mailbox *box);

/* Free what MAIL owns. */
void mail_drop(struct mail *mail);
/* Free every mail of the ring MAILS and empty it. */
void mail_drop_all(struct ring *mails);

#endif
