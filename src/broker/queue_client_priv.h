/* What the files of the queue client share; queue_client.h draws its states.
 *
 *   queue_client.c         commands as they gather, life
 *   queue_client_leader.c  finding the leader, sending
 *   queue_client_events.c  what the leader says
 */
#ifndef BROKER_QUEUE_CLIENT_PRIV_H
#define BROKER_QUEUE_CLIENT_PRIV_H

#include "base/ranges.h"
#include "base/ring.h"
#include "broker/broker_priv.h"
#include "broker/queue_client.h"
#include "machine/queue/queue_command.h"
#include "peer/frame.h"

enum {
    CLIENT_MAGIC = 0x71636c69,
    QUEUE_CLIENT_HOPS_MAX = 8, /* hints followed without waiting */
    GAP_QUIET_MS = 100,        /* the same gap is answered once in this time */
    HOLD_SHIFT_MAX = 5         /* QUEUE_CLIENT_RETRY_MS doubles so often */
};

enum client_state {
    CLIENT_RESOLVING,
    CLIENT_BOUND
};

/* Commands that left, or wait to leave, as one frame. */
struct batch {
    uint64_t last_seq;
    struct slice bytes;
};

/* Message SEQ was published by `publisher` as its `slot`. */
struct pending_confirm {
    uint64_t seq;
    uint64_t slot;
    struct publisher_impl *publisher;
};

/* A command with a result, or (CANCEL) one whose application is waited for. */
struct ask {
    struct list link;
    enum queue_command_kind kind;
    uint64_t seq;                   /* 0: not emitted yet */
    struct consumer_impl *consumer; /* NULL once detached */
    struct call_ref *call;
    struct broker_delivery delivery; /* GET: what arrived for it */
    struct slice message;            /* its bytes */
    bool has_result;                 /* GET: OK, its delivery is to follow */
    bool is_repeat; /* ATTACH: once more, its outcome was lost */
    uint64_t value;
};

/* A question to the leader, no command. */
struct query {
    struct list link;
    uint64_t request;
    bool is_sent;
    struct call_ref *call;
};

struct queue_client {
    unsigned magic;
    struct broker *broker;
    qr_group_id group;
    enum client_state state;
    qr_node_id leader;     /* bound: to it; resolving: whom was asked last */
    qr_node_id hint;       /* ask it first; 0 = none */
    qr_index blocked;      /* a replica said that nobody has this entry, which
                              it has to apply next; 0 = none */
    bool is_lost;          /* a replica said that it has lost its memory */
    qr_term term;          /* of the leader bound to */
    uint32_t attempts;     /* since resolving began */
    uint64_t resolving_ms; /* since when */
    uint64_t seq_next;
    uint64_t seq_applied;
    struct buf building;
    struct ring batches;            /* struct batch */
    size_t batches_sent;            /* of them, to the leader bound to */
    size_t sent_bytes;              /* in those */
    size_t batches_bytes;           /* in all */
    uint64_t hold_ms;               /* send none before */
    uint64_t progress_ms;           /* something was applied, or first sent */
    uint64_t heard_ms;              /* events came */
    bool is_watching;               /* bound: the timer is for silence only */
    uint32_t refusals;              /* since something was applied */
    struct ring confirms;           /* struct pending_confirm */
    struct list asks;               /* struct ask */
    struct list queries;            /* struct query */
    struct map consumers;           /* consumer_impl by number */
    struct consumer_impl *settling; /* whose ids `ids` are */
    enum queue_command_kind settling_kind;
    struct ranges ids;
    struct list dirty;
    struct timer timer;
    uint64_t gap_seq;
    uint64_t gap_ms;
};

/* The queue's record: looked up each time, since a restored snapshot of the
 * metadata replaces all records. */
const struct meta_queue *client_record(const struct queue_client *q);
uint64_t client_now_ms(const struct queue_client *q);
/* Have queue_client_flush() called this turn. */
void client_dirty(struct queue_client *q);
/* Have the timer run in DELAY_MS, instead of when it would. */
void client_arm(struct queue_client *q, uint64_t delay_ms);

/* queue_client.c: make what was gathered a batch. */
void client_seal(struct queue_client *q);
/* Put the settlements that gathered into a command. */
void client_close_settling(struct queue_client *q);
/* The number of the next command, which the caller appends at once. */
uint64_t client_next_seq(struct queue_client *q);
/* The ask that is out, or NULL. */
struct ask *client_ask_out(struct queue_client *q);
/* Emit the first ask that waits, if none is out. */
void client_emit_ask(struct queue_client *q);
/* Its call has been ended. */
void client_ask_free(struct ask *ask);
/* C's owner no longer waits for anything. */
void client_forget_consumer(struct queue_client *q, struct consumer_impl *c);
/* Drop C's asks that were not emitted. */
void client_drop_asks(struct queue_client *q, const struct consumer_impl *c);

/* queue_client_leader.c: the bond is broken, or was not made: ask somebody. */
void client_resolve(struct queue_client *q);
/* The leader did not take command SEQ, nor what followed it: send from there
 * again, after a moment that grows as long as nothing is applied. */
void client_refused(struct queue_client *q, uint64_t seq);
/* Bound: have the timer run when the leader has been silent for too long. */
void client_watch(struct queue_client *q);
/* The timer: try again. ARG is the client. */
void client_on_timer(void *arg);
/* Frames RESUMED and LEADER. */
void client_on_resumed(struct queue_client *q, struct address from,
                       struct frame *f);
void client_on_leader(struct queue_client *q, struct address from,
                      struct frame *f);

/* queue_client_events.c: commands up to SEQ have been applied. */
void client_on_applied(struct queue_client *q, uint64_t seq);
/* Tell the publishers of messages up to SEQ. */
void client_confirm_upto(struct queue_client *q, uint64_t seq);
/* The outcome of the ask that is out. */
void client_on_result(struct queue_client *q, const struct queue_effect *e);
/* End ASK, the one that is out, with STATUS; then emit the next. */
void client_end_ask(struct queue_client *q, struct ask *ask,
                    enum queue_status status, uint64_t value);

#endif
