/* The queue machine's inside: its state and what its files ask of each other.
 *
 *   queue_machine    commands, effects, counts, lists
 *   queue_session    sessions and their numbers, results, dead nodes
 *   queue_consumer   consumers, what they hold, whose turn it is
 *   queue_ready      what waits
 *   queue_snapshot   the state as bytes
 *   queue_restore    and back
 *   queue_check      that the state is sound
 *
 * Sessions own their consumers; the machine owns the sessions. All that
 * determines effects is in the snapshot; hash tables, lists of creation and
 * the holes in a consumer's ring are not, and decide nothing. */
#ifndef MACHINE_QUEUE_QUEUE_STATE_H
#define MACHINE_QUEUE_QUEUE_STATE_H

#include <quorate/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/ranges.h"
#include "base/ring.h"
#include "machine/queue/queue_command.h"
#include "machine/queue/queue_machine.h"
#include "machine/queue/queue_ready.h"

enum {
    QUEUE_MACHINE_MAGIC = 0x51554d31,
    QUEUE_SESSION_MAGIC = 0x51555331,
    QUEUE_CONSUMER_MAGIC = 0x51554331,
    QUEUE_DEAD_MAX = 65536 /* nodes in session ids */
};

/* What has rotted everywhere; see queue_losses.c. */
struct queue_losses {
    uint64_t messages;
    uint64_t bytes;
    uint64_t commands;   /* SET_ASIDE, and entries passed over */
    qr_index torn;       /* up to here, numbers of sessions may jump */
    struct ranges aside; /* entries set aside that consumers hold some of; and
                            some that they hold nothing of any more */
    struct queue_loss items[QUEUE_LOSSES_MAX];
    size_t count;
};

/* An unsettled delivery. Index 0: settled, a hole until the ring is packed. */
struct queue_held {
    uint64_t delivery;
    struct queue_item item;
};

enum queue_consumer_state {
    QUEUE_CONSUMER_GETS = 0,     /* made by GET; never gets a turn */
    QUEUE_CONSUMER_ATTACHED = 1, /* gets a turn while it has credit */
    QUEUE_CONSUMER_CANCELLED = 2 /* goes when it holds nothing */
};

struct queue_consumer {
    unsigned magic;
    enum queue_consumer_state state;
    struct queue_session *session;
    struct list turn;    /* in the machine's turns, if it has credit */
    struct list sibling; /* in its session's consumers */
    struct ring held;    /* queue_held, ascending by delivery, with holes */
    uint64_t id;
    uint64_t held_count; /* without holes */
    uint64_t delivery_next;
    uint32_t credit; /* as it was asked for; 0 = QUEUE_CREDIT_MAX */
    uint32_t flags;
    uint32_t ordinal; /* its place in the snapshot being written */
    uint32_t tag_size;
    uint8_t tag[];
};

/* The outcome of a session's last command that has one. seq 0: none yet. */
struct queue_result {
    uint64_t seq;
    enum queue_status status;
    uint64_t consumer;
    uint64_t delivery;
    uint64_t value;
};

struct queue_session {
    unsigned magic;
    bool is_heard;             /* this apply: APPLIED is due */
    bool is_refused;           /* this apply: GAP is due */
    enum queue_status refusal; /* and its status */
    uint64_t id;
    uint64_t applied; /* number of its last command */
    struct queue_result result;
    struct ranges skipped; /* numbers jumped over; only up to `torn` */
    struct map consumers;
    struct list consumer_list;
    struct list sibling; /* in the machine's session_list */
    struct list touched; /* in the machine's touched, this apply */
};

/* Sessions of `node` with a boot up to `boot` are dead. */
struct queue_dead {
    qr_node_id node;
    uint32_t boot;
};

struct queue_machine {
    unsigned magic;
    bool was_used;   /* a consumer was attached once */
    bool is_unused;  /* this apply: UNUSED is due */
    bool is_strange; /* this apply: an unknown session was refused: */
    uint64_t stranger;
    qr_index index_last;
    uint64_t time_ms; /* of the entry that is being applied */
    struct map sessions;
    struct list session_list;
    struct list touched;
    struct list turns; /* attached consumers with credit, the next one first */
    struct queue_session *recent;     /* the last one found */
    struct queue_consumer *exclusive; /* attached */
    struct queue_dead *dead;          /* ascending by node */
    size_t dead_count;
    struct queue_ready ready;
    uint64_t attached_count;
    uint64_t consumer_count; /* in any state */
    uint64_t held_count;
    uint64_t held_bytes;
    uint64_t dead_bytes;
    uint64_t malformed;
    struct queue_losses *losses; /* NULL: there are none, as a rule */
};

/* Append an effect of KIND, else zeroed; valid until the next one. */
struct queue_effect *queue_effects_add(struct queue_effects *e,
                                       enum queue_effect_kind kind);

/* The session ID or NULL. */
struct queue_session *queue_session_find(struct queue_machine *m, uint64_t id);
/* Make session ID, which is not there; there are fewer than
 * QUEUE_SESSIONS_MAX. Owned by M. */
struct queue_session *queue_session_open(struct queue_machine *m, uint64_t id);
/* Remove S with all its consumers; what they hold is dropped, so return it
 * before. */
void queue_session_close(struct queue_machine *m, struct queue_session *s);
/* Whether a SESSION_DOWN covers session ID. */
bool queue_session_is_dead(const struct queue_machine *m, uint64_t id);
/* Carry out SESSION_DOWN. */
void queue_session_down(struct queue_machine *m, qr_node_id node,
                        uint32_t boot);
/* Sessions of NODE up to BOOT are dead from now on; those that live stay. */
void queue_session_mark_dead(struct queue_machine *m, qr_node_id node,
                             uint32_t boot);
/* Let session ID's command SEQ pass if it is the next: its session, which has
 * counted it. NULL if it was seen before, is too early, or cannot be taken
 * (FULL: this machine takes no message more); the effects that follow are
 * noted, or added to EFFECTS. */
struct queue_session *queue_session_admit(struct queue_machine *m,
                                          const struct queue_command *cmd,
                                          bool full,
                                          struct queue_effects *effects);
/* The effect of S's result, which it has. */
void queue_session_add_result(const struct queue_session *s,
                              struct queue_effects *effects);
/* The APPLIED and GAP effects of the sessions that this apply touched. */
void queue_session_report(struct queue_machine *m,
                          struct queue_effects *effects);

/* Carry out SET_ASIDE of CMD, a command of entry INDEX. */
void queue_losses_set_aside(struct queue_machine *m, qr_index index,
                            const struct queue_command *cmd);
/* Message MESSAGE comes back from a consumer. True: it was set aside, and is
 * counted now; else it is ready again. */
bool queue_losses_take(struct queue_machine *m,
                       const struct queue_message *message);
/* Drop from the entries set aside those of which nobody holds anything; HELD
 * are COUNT indexes of messages, ascending. */
void queue_losses_prune(struct queue_machine *m, const qr_index *held,
                        size_t count);
/* The part of a snapshot of M that is written when there are losses. */
void queue_losses_write(const struct queue_machine *m, struct buf *out);
/* Read it into M, which has none, but its sessions; C is bad when it is
 * none. */
void queue_losses_read(struct cursor *c, struct queue_machine *m);
void queue_losses_free(struct queue_machine *m);
/* Whether command SEQ of session S (NULL: not known yet), which is not the
 * next, may be applied in entry INDEX all the same. Notes what it jumps over.
 */
bool queue_losses_may_jump(const struct queue_machine *m,
                           struct queue_session *s, uint64_t seq);

/* Consumer ID of S or NULL. */
struct queue_consumer *queue_consumer_find(const struct queue_session *s,
                                           uint64_t id);
/* Make consumer CMD->consumer, which is not there, with CMD's credit, flags
 * and tag; there are fewer than QUEUE_CONSUMERS_MAX. Owned by S. */
struct queue_consumer *queue_consumer_new(struct queue_machine *m,
                                          struct queue_session *s,
                                          enum queue_consumer_state state,
                                          const struct queue_command *cmd);
/* Remove C; what it holds is dropped, so return it before. */
void queue_consumer_free(struct queue_machine *m, struct queue_consumer *c);
/* How many unsettled deliveries C may have. */
uint32_t queue_consumer_limit(const struct queue_consumer *c);
/* Whether C may have a turn. */
bool queue_consumer_is_hungry(const struct queue_consumer *c);
/* Give C a turn, the last, or take its turn away, as its state has it. */
void queue_consumer_update(struct queue_machine *m, struct queue_consumer *c);
/* Deliver the next ready message, of which there is one, to C. */
void queue_consumer_deliver(struct queue_machine *m, struct queue_consumer *c,
                            struct queue_effects *effects);
/* C holds ITEM as DELIVERY, its next or a later one. Counts it; the rest of
 * deliver's work is the caller's. */
void queue_consumer_hold(struct queue_machine *m, struct queue_consumer *c,
                         uint64_t delivery, const struct queue_item *item);
/* Drop what C holds as deliveries FIRST to LAST, or return it. */
void queue_consumer_drop(struct queue_machine *m, struct queue_consumer *c,
                         uint64_t first, uint64_t last);
void queue_consumer_return(struct queue_machine *m, struct queue_consumer *c,
                           uint64_t first, uint64_t last);
/* After drops and returns: C's turn; or its end, if it was cancelled and holds
 * nothing. C may be gone then. */
void queue_consumer_settled(struct queue_machine *m, struct queue_consumer *c);
/* C is attached no more: it gets state CANCELLED. */
void queue_consumer_cancel(struct queue_machine *m, struct queue_consumer *c);
/* Whether no message is in two places, and all that were delivered once lie
 * before those that never were. O(n log n). */
bool queue_check_is_distinct(const struct queue_machine *m);
/* The slot in C's ring of the first delivery numbered ID or more. */
size_t queue_consumer_seek(const struct queue_consumer *c, uint64_t id);
/* The delivery in slot SLOT of C's ring, or NULL for a hole. */
static inline const struct queue_held *
queue_consumer_held(const struct queue_consumer *c, size_t slot)
{
    const struct queue_held *h = ring_at(&c->held, slot);

    return h->item.message.index != 0 ? h : NULL;
}

#endif
