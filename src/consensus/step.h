/* The raft library behind one guarded door.
 *
 * The library (0.22.1) turns events into updates and does no I/O. Its contract
 * as we use it:
 *
 *  1. raft_step() is called by step_guarded() alone. A received AppendEntries
 *     goes in chunks: see step_chunk().
 *  2. After each step, in this order: queue term and vote; truncate and append
 *     entries; encode messages; take the new state; apply what is committed;
 *     arm the timer.
 *  3. A group's messages wait until its latest term and vote are durable; an
 *     AppendEntries that carries a CHANGE waits until the CHANGE is durable
 *     here.
 *  4. What a truncation overtook is never reported as persisted; what an
 *     install overtook neither.
 *  5. Time is monotonic per replica; a timer is never armed for the past.
 *  6. The commit index used is a running maximum, clamped to what is stored.
 *  7. No CHANGE before an entry of the leader's own term has committed; one
 *     server per CHANGE; a leader never removes itself; ids are never reused.
 *  8. The only voter takes a new term and votes for itself before it leads.
 *
 * What each guard corrects, and how it shows, is told beside it in step.c.
 * Four need more than one step: 2 (on_timer() in replica.c), 3 (renew_term() in
 * start.c), 11 (confirm_before() in replica.c) and 12 (snapshot_consider()).
 * An update's entries, messages and addresses are borrowed until the next step
 * of the same replica; `entries.batch[0].batch` and `snapshot.chunk` are the
 * caller's to free. */
#ifndef CONSENSUS_STEP_H
#define CONSENSUS_STEP_H

#include <raft.h>
#include <stdbool.h>

#include "base/check.h"

/* What the guards remember of one replica; zeroed when it starts. */
struct step_guard {
    raft_time leader_heard; /* when a leader's message last came */
    /* This candidacy is told, or knows, that the leader is no more. May be set
     * before the step that begins it. */
    bool may_disrupt;
};

/* Messages of all replicas of one thread share one array: a replica that is
 * idle then holds none (a kilobyte and a half each otherwise). */
struct step_messages {
    struct raft_message *items;
    unsigned capacity;
};

enum step_outcome {
    STEP_DONE,
    STEP_DROPPED, /* the message was ignored: its batch, configuration and
                     data remain the caller's */
    STEP_COVERED  /* stepped, but all its entries lie below our snapshot: the
                     batch remains the caller's */
};

/* An array without room; steps make it grow. */
void step_messages_init(struct step_messages *m);
/* Free it; no update that points into it may be in use. */
void step_messages_deinit(struct step_messages *m);

/* Where the chunk of a received AppendEntries that starts at entry AT ends: a
 * CHANGE may only be the first of a chunk. AT < COUNT. */
unsigned step_chunk(const struct raft_entry *entries, unsigned count,
                    unsigned at);

/* One step. EVENT->time is set by the caller. On an error the update is empty
 * and what the event carried remains the caller's. The library's own code is
 * returned: RAFT_NOTLEADER, RAFT_CANTCHANGE, RAFT_SHUTDOWN (a conflict with
 * what is committed: the caller stops the process), ... */
MUST_USE int step_guarded(struct raft *r, struct raft_event *event,
                          struct raft_update *update, struct step_guard *guard,
                          struct step_messages *messages,
                          enum step_outcome *outcome);

#endif
