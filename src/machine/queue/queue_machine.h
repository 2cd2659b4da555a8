/* The queue machine: one queue's messages, consumers and publishers, as a pure
 * function of its log. Design: section 8.
 *
 * A message is known by where its bytes lie: entry index, offset within the
 * entry's body, size. The machine never keeps bodies.
 *
 * Life of a message:
 *
 *            ENQUEUE                deliver, GET
 *   (none) ----------> ready ----------------------> unsettled at a consumer
 *                        ^  front of the queue,          |        |
 *                        |  redelivered, count + 1       |        | SETTLE,
 *                        +---- RETURN, DETACH, ----------+        | DISCARD
 *                              SESSION_DOWN                       v
 *                                                               (gone)
 *
 * SET_ASIDE takes the messages of entries that no replica can read any more:
 * those that are ready are gone, and counted as lost (queue_machine_losses());
 * an unsettled one stays with its consumer, which may have it, and is lost when
 * it comes back.
 *
 * Order: ready messages leave in the order they came; returned ones go before
 * all that were never delivered, in their original order among themselves.
 * Consumers with credit take turns (round robin). An exclusive consumer is
 * alone: ATTACH of it fails if there is another, and of others while it lives.
 *
 * Deliveries of a consumer are numbered 1, 2, 3 ...: its client sees at once
 * when one is missing, and asks for a resend (queue_machine_resend()).
 *
 * Everything is bounded by queue_command.h; beyond a bound a command fails
 * with a status, on every replica alike. */
#ifndef MACHINE_QUEUE_QUEUE_MACHINE_H
#define MACHINE_QUEUE_QUEUE_MACHINE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct buf;
struct queue_machine;
struct ranges;

/* Where a message's bytes are. */
struct queue_message {
    qr_index index;  /* entry */
    uint32_t offset; /* within the entry's body (qr_entry.body) */
    uint32_t size;
};

enum queue_status {
    QUEUE_OK = 0,
    QUEUE_EMPTY = 1,       /* GET found nothing */
    QUEUE_EXCLUSIVE = 2,   /* ATTACH refused: 403 in AMQP */
    QUEUE_NO_CONSUMER = 3, /* the consumer is not attached */
    QUEUE_LIMIT = 4        /* a bound of queue_command.h */
};

enum queue_effect_kind {
    /* All commands of `session` up to `seq` have been applied. Coalesced: one
     * per session and apply. */
    QUEUE_EFFECT_APPLIED,
    /* A command was refused because an earlier one is missing: `seq` is the
     * next that is expected. With `status` QUEUE_LIMIT nothing is missing, but
     * command `seq` cannot be taken now: an ENQUEUE at QUEUE_MESSAGES_MAX, or
     * the first command of a session at QUEUE_SESSIONS_MAX. Coalesced. */
    QUEUE_EFFECT_GAP,
    /* The outcome of command `seq` (ATTACH, GET, PURGE, DETACH, CANCEL):
     * `status`, `value` (PURGE: messages dropped; GET: messages left) and, of
     * a GET that found one, `delivery`; its DELIVER follows at once. Kept in
     * the state until the session's next such command, and repeated (without
     * DELIVER: see resend) when the command is sent again. */
    QUEUE_EFFECT_RESULT,
    /* `message` to `consumer` as delivery `delivery`. `count`: how often it
     * was delivered before (redelivered when > 0). */
    QUEUE_EFFECT_DELIVER,
    /* The last consumer has gone (auto-delete queues). A leader that performs
     * effects from now on asks counts: was_used and no consumers. */
    QUEUE_EFFECT_UNUSED,
    /* Never made here: what a leader tells the client of `consumer` in the
     * place of delivery `delivery` whose message was set aside. */
    QUEUE_EFFECT_ABSENT
};

struct queue_effect {
    enum queue_effect_kind kind;
    enum queue_status status;
    uint64_t session;
    uint64_t seq;
    uint64_t consumer;
    uint64_t delivery;
    uint64_t value;
    uint32_t count;
    struct queue_message message;
};

/* What one apply wants done, in order: RESULTs; DELIVERs of this entry; APPLIED
 * and GAP by session; UNUSED. Reused from call to call. */
enum {
    QUEUE_EFFECTS_KEPT = 4096
};

struct queue_effects {
    struct queue_effect *items;
    size_t count;
    size_t capacity;
};

/* No effects; allocates nothing. */
void queue_effects_init(struct queue_effects *e);
/* Release the memory. */
void queue_effects_deinit(struct queue_effects *e);
/* Forget the effects, and keep the memory, unless it is more than
 * QUEUE_EFFECTS_KEPT effects take. */
void queue_effects_clear(struct queue_effects *e);

/* An empty queue; the caller frees it. */
struct queue_machine *queue_machine_new(void);
/* Free *M and set it to NULL. */
void queue_machine_free(struct queue_machine **m);

/* Apply the commands in BODY (up to 4 GiB), entry INDEX (above all before),
 * proposed at TIME_MS. Malformed bytes end the entry there, on every replica
 * alike, and are counted; so whoever proposes checks what clients sent with
 * queue_command_next(). Ready messages go to consumers once, when all commands
 * have been applied. Commands of dead sessions do nothing and have no effect.
 * Appends to EFFECTS. */
void queue_machine_apply(struct queue_machine *m, qr_index index,
                         uint64_t time_ms, const void *body, size_t size,
                         struct queue_effects *effects);

/* The commands of entry INDEX (above all before) are lost: apply what follows
 * as if they had not been. Sessions that had some in it go on: up to entry
 * UNTIL, which was written by those who knew of it, a command may be numbered
 * beyond the next. For a queue with one replica: nobody else's state differs.
 * TIME_MS: about when. */
void queue_machine_pass(struct queue_machine *m, qr_index index, qr_index until,
                        uint64_t time_ms);

/* The unsettled deliveries of CONSUMER of SESSION numbered FROM and up, as
 * DELIVER effects, at most MAX, ascending; changes nothing. For clients that
 * missed some when a leader or a link changed. Returns how many. */
size_t queue_machine_resend(const struct queue_machine *m, uint64_t session,
                            uint64_t consumer, uint64_t from, size_t max,
                            struct queue_effects *effects);
/* The highest command of SESSION applied, 0 if none; and its last RESULT, if
 * it has one, as an effect. For clients that ask a new leader. */
uint64_t queue_machine_session(const struct queue_machine *m, uint64_t session,
                               struct queue_effects *result);

/* Whether a SESSION_DOWN covers SESSION: nothing it sends is ever taken. A node
 * that was given up and yet lives learns it by this; it has to go on as a new
 * boot. */
bool queue_machine_is_dead(const struct queue_machine *m, uint64_t session);

/* Append the whole state to OUT, deterministic; LIVE gets every index with a
 * message that is not gone. Changes no count. Format: docs/formats/queue.md,
 * versioned. */
void queue_machine_snapshot(struct queue_machine *m, struct buf *out,
                            struct ranges *live);
/* A snapshot that releases what is dead was taken: count dead_bytes from 0. */
void queue_machine_release_dead(struct queue_machine *m);
/* 0 or -QR_EFORMAT, -QR_EVERSION (M unchanged then). SIZE 0: empty state. The
 * next entry applied lies above all messages in the state. */
MUST_USE int queue_machine_restore(struct queue_machine *m, const void *data,
                                   size_t size);

enum {
    QUEUE_LOSSES_MAX = 64 /* kept one by one; the last stands for the others */
};

/* What was lost: messages of entries FIRST to LAST. */
struct queue_loss {
    qr_index first;
    qr_index last;
    uint64_t messages;
    uint64_t bytes;
    uint64_t time_ms; /* when that was committed, by the leader's clock */
    bool is_unknown;  /* and commands of which nobody knows what they were */
};
/* All that was lost, in the order in which it was found. Returns the count;
 * *OUT is borrowed until M changes. */
size_t queue_machine_losses(const struct queue_machine *m,
                            const struct queue_loss **out);
/* Whether messages of entry INDEX that consumers hold were set aside. */
bool queue_machine_is_aside(const struct queue_machine *m, qr_index index);

struct queue_counts {
    uint64_t ready;
    uint64_t unsettled;
    uint64_t ready_bytes;
    uint64_t unsettled_bytes;
    uint64_t consumers; /* attached; not those of GET or cancelled */
    uint64_t sessions;
    uint64_t malformed;  /* entries cut short */
    uint64_t dead_bytes; /* gone since queue_machine_release_dead() */
    bool was_used;       /* a consumer was attached once */
    uint64_t lost;       /* messages, ever; see queue_machine_losses() */
    uint64_t lost_bytes;
    uint64_t losses; /* SET_ASIDEs and queue_machine_pass() */
};
/* What is in the queue now. O(1). */
void queue_machine_counts(const struct queue_machine *m,
                          struct queue_counts *out);

/* One consumer, for listings. */
struct queue_consumer_info {
    uint64_t session;
    uint64_t consumer;
    const uint8_t *tag; /* borrowed */
    size_t tag_size;
    uint32_t credit;
    uint32_t flags;
    uint64_t unsettled;
    bool is_cancelled;
    bool is_get; /* made by GET, never attached */
};
/* Each consumer, by session and id ascending, to CB with ARG. */
void queue_machine_foreach_consumer(
    const struct queue_machine *m,
    void (*cb)(void *arg, const struct queue_consumer_info *info), void *arg);
/* Each session, ascending: whether sessions of nodes that died remain. */
void queue_machine_foreach_session(const struct queue_machine *m,
                                   void (*cb)(void *arg, uint64_t session),
                                   void *arg);

/* Stop the process unless the state is sound: every counter equals what it
 * counts, every order holds. For tests, after an apply; O(n). */
void queue_machine_check(const struct queue_machine *m);

#endif
