/* One shard's client of one queue: everything that this shard's connections
 * want of the queue, as one numbered stream of commands to its leader.
 *
 *             leader found, RESUMED
 *   resolving ---------------------> bound ----+
 *      ^                                       |
 *      +--- LEADER, link lost, gap, no answer -+
 *
 * While bound, each turn's commands leave as one frame. Commands are kept
 * until the leader says that they were applied; after a change of leader those
 * that were not are sent again, and the queue machine skips what it knows. So
 * each command takes effect exactly once and in order. Deliveries are numbered
 * by consumer; a missing one sends the client back to resolving. */
#ifndef BROKER_QUEUE_CLIENT_H
#define BROKER_QUEUE_CLIENT_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "broker/broker.h"
#include "machine/queue/queue_machine.h"
#include "peer/frame.h"

struct broker;
struct call_ref;
struct consumer_impl;
struct publisher_impl;
struct queue_client;

enum {
    QUEUE_CLIENT_BATCH_SIZE = 256 << 10, /* bytes in one frame of commands, or
                                            one command if larger */
    QUEUE_CLIENT_ROOMS_MAX = 64, /* in which commands gathered: what a shard */
    QUEUE_CLIENT_ROOMS_SIZE = 1 << 20, /* keeps for the next, in bytes too */
    QUEUE_CLIENT_WINDOW = 16 << 20,    /* bytes sent and not applied; a command
                                       alone may be larger */
    QUEUE_CLIENT_RETRY_MS = 50,        /* first wait before asking again */
    QUEUE_CLIENT_RETRY_MS_MAX = 1000,
    QUEUE_CLIENT_STALL_MS = 3000,  /* no progress while bound: resolve again */
    QUEUE_CLIENT_CHECK_MS = 30000, /* nothing heard for the consumers: ask
                                      whether a delivery was lost */
    QUEUE_CLIENT_LOST_MS = 20000   /* no leader found: its consumers are
                                     cancelled; below NODES_LOST_MS */
};

/* The client of QUEUE on this shard, made on first use. */
struct queue_client *queue_client_get(struct broker *b,
                                      struct meta_queue *queue);
/* The queue is gone: what waits is confirmed, consumers are cancelled, calls
 * fail with NOT_FOUND; frees the client. */
void queue_client_queue_gone(struct queue_client *q,
                             const struct meta_queue *queue);
/* At shutdown: free, calling nobody. */
void queue_client_free(struct queue_client *q);
/* The queue's members changed. */
void queue_client_members(struct queue_client *q);

/* Enqueue MESSAGE; PUBLISHER's slot SLOT is told (publisher_slot_done). */
void queue_client_enqueue(struct queue_client *q,
                          const struct broker_message *message,
                          struct publisher_impl *publisher, uint64_t slot);
/* Attach CONSUMER; `call` is finished with the outcome. */
void queue_client_attach(struct queue_client *q, struct consumer_impl *c,
                         struct broker_call *call);
/* CANCEL (CALL told when applied, may be NULL). */
void queue_client_cancel(struct queue_client *q, struct consumer_impl *c,
                         struct broker_call *call);
/* DETACH: C is forgotten at once. */
void queue_client_detach(struct queue_client *q, struct consumer_impl *c);
void queue_client_settle(struct queue_client *q, struct consumer_impl *c,
                         uint64_t first, uint64_t last,
                         enum broker_outcome outcome);
/* C's new limit of unsettled deliveries. */
void queue_client_credit(struct queue_client *q, struct consumer_impl *c,
                         uint32_t limit);
void queue_client_get_one(struct queue_client *q, struct consumer_impl *c,
                          struct broker_call *call);
void queue_client_purge(struct queue_client *q, struct broker_call *call);
/* Ask the leader for its counts: reply->messages (ready), ->consumers. *CALL
 * is taken, with the deadline that it has. */
void queue_client_query(struct queue_client *q, struct call_ref **call);
/* A call to the queue ends for want of an answer: if it is known why, say so in
 * FAULT, which is set. */
void queue_client_explain(const struct queue_client *q,
                          struct broker_fault *fault);

/* Frames BROKER_EVENTS, RESUMED, LEADER, BUSY, COUNTS, DEAD. */
void queue_client_frame(struct queue_client *q, struct address from,
                        struct frame **frame);
/* Send what this turn brought; called for dirty clients once a turn. */
void queue_client_flush(struct queue_client *q);
/* The link to NODE came up or went down. */
void queue_client_link(struct queue_client *q, qr_node_id node, bool is_up);
/* The replica on this shard says that NODE leads (0: nobody). */
void queue_client_hint(struct queue_client *q, qr_node_id node, qr_term term);

/* Bytes of commands that are not applied yet. */
size_t queue_client_backlog(const struct queue_client *q);
/* The group of its queue. */
qr_group_id queue_client_group(const struct queue_client *q);
/* The client whose place in broker.dirty_clients LINK is. */
struct queue_client *queue_client_of_dirty(struct list *link);

/* ---- publisher.c, as the client sees it ---- */

/* Message NUMBER of P is safe with one more of its queues. P may be freed. */
void publisher_slot_done(struct publisher_impl *p, uint64_t number);
/* At shutdown: nobody will know what became of message NUMBER of P. */
void publisher_slot_lost(struct publisher_impl *p, uint64_t number);

/* ---- consumer.c, as the client sees it ---- */

struct consumer_impl {
    unsigned magic;
    struct broker_consumer *consumer; /* NULL once detached */
    struct queue_client *queue;
    uint64_t number;
    uint64_t delivery_next; /* the id expected next */
    uint32_t prefetch;
    uint32_t flags;
    uint8_t tag_size;
    uint8_t tag[255];
    bool is_get;
    bool is_attached; /* ATTACH was answered, or GET was used */
    bool is_cancelled;
};
enum {
    CONSUMER_MAGIC = 0x636f6e73
};

/* The broker cancels C: tells its owner and frees it. */
void consumer_cancelled(struct consumer_impl *c);
/* The same, when no leader is found. */
void consumer_given_up(struct consumer_impl *c);

#endif
