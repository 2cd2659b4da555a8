/* Every step of the raft library passes through here, and each guard corrects
 * a defect of 0.22.1 that a simulator reproduced: without it, runs diverged,
 * stuck or stopped. The figures beside each say in how many of the runs that
 * were made without it. */
#include "consensus/step.h"

#include <string.h>

#include "base/check.h"

void
step_messages_init(struct step_messages *m)
{
    ASSERT(m != NULL);
    m->items = NULL;
    m->capacity = 0;
}

void
step_messages_deinit(struct step_messages *m)
{
    ASSERT(m != NULL);
    raft_free(m->items);
    step_messages_init(m);
}

/* Guard 1, split. The library takes the index of the *first* new entry of a
 * message for the index of a configuration found anywhere in it. The replica
 * then believes for ever in an uncommitted change (RAFT_CANTCHANGE), or rolls
 * back to the wrong one. 469 of 1043 runs. */
unsigned
step_chunk(const struct raft_entry *entries, unsigned count, unsigned at)
{
    ASSERT(entries != NULL);
    ASSERT(at < count);
    for (unsigned i = at + 1; i < count; i++) {
        if (entries[i].type == RAFT_CHANGE) {
            return i;
        }
    }
    return count;
}

/* What the guards learn before a step and need after it. */
struct before {
    bool is_stale;        /* the message's term is past */
    bool is_low_pre_vote; /* a pre-vote of a term below ours */
    bool is_leaders;      /* the message is one that only leaders send */
    bool is_posing;       /* guard 6 is at work */
    raft_term term;
    raft_id leader; /* hidden by guard 6 */
    struct raft_configuration configuration;
    struct raft_server self;
};

/* Guard 4, re-anchor. A message may begin below our compacted prefix, where we
 * know no terms any more. The prefix is committed, so it equals the leader's:
 * let the message begin at our snapshot. Otherwise one whose previous entry is
 * 0 appends at the wrong index and overwrites what is applied, and any other
 * is rejected one index at a time. 6 of 760 runs. */
static bool
re_anchor(const struct raft *r, struct raft_append_entries *a)
{
    raft_index snapshot = r->trail.snapshot.index;
    raft_index below = snapshot - a->prev_log_index;
    unsigned skip;
    bool is_covered;

    ASSERT(a->prev_log_index < r->trail.offset);
    ASSERT(r->trail.offset <= snapshot);
    skip = below > a->n_entries ? a->n_entries : (unsigned)below;
    is_covered = skip == a->n_entries && skip > 0;
    a->entries += skip;
    a->n_entries -= skip;
    a->prev_log_index = snapshot;
    a->prev_log_term = r->trail.snapshot.term;
    return is_covered;
}

/* Guard 5, stale rejection. A rejection that a later acceptance overtook makes
 * next_index fall to the match index: an assertion, and without assertions
 * replication stalls. So does one of a follower that says to end below what we
 * know it to have: that was before, or it has lost entries (lost.c). It is
 * turned into an acknowledgement of nothing. 79 of 920 runs. (One whose log
 * ends at what it rejects or beyond, as after an install that failed, the
 * library puts right itself before it would assert that there is none.) */
static void
mute_stale_rejection(const struct raft *r, const struct raft_message *m,
                     struct raft_append_entries_result *a)
{
    raft_index match;

    if (r->state != RAFT_LEADER || a->term != r->current_term ||
        a->rejected == 0) {
        return;
    }
    if (raft_match_index(r, m->server_id, &match) == 0 &&
        (a->rejected <= match || a->last_log_index < match)) {
        a->rejected = 0;
        a->last_log_index = 0;
    }
}

/* Guard 13, each attempt asks first. A candidate that has once got past its
 * pre-vote, or was told to do without, skips it in all retries: one that is cut
 * off adds a term with each, and deposes the leader when it comes back.
 * quorate-sim 906514. */
static void
ask_again(struct raft *r, const struct raft_event *event,
          struct step_guard *guard)
{
    if (r->state == RAFT_CANDIDATE && raft_timeout(r) <= event->time) {
        guard->may_disrupt = false;
        r->candidate_state.in_pre_vote = r->pre_vote;
    }
}

/* Guard 14, no faith in a leader that asks for votes. It has stepped down; only
 * we have not heard of it, and would refuse it until our own timer fires. It
 * cannot have asked before it led: its term would be ours at most, and from a
 * pre-vote for the next one (guard 13) it leads no more in the one it has.
 * quorate-sim 905220. */
static void
doubt_candidate(struct raft *r, const struct raft_message *m)
{
    if (r->state == RAFT_FOLLOWER &&
        r->follower_state.current_leader.id == m->server_id &&
        m->request_vote.term > r->current_term) {
        r->follower_state.current_leader.id = 0;
    }
}

/* The same for the leader of a term that has ended with this step: the library
 * forgets it only when it leads or stands itself. */
static void
doubt_past_leader(struct raft *r, const struct before *b)
{
    if (r->state == RAFT_FOLLOWER && r->current_term > b->term &&
        !b->is_leaders) {
        r->follower_state.current_leader.id = 0;
    }
}

/* Look at a message before it is stepped, and correct it. */
static enum step_outcome
before_receive(struct raft *r, const struct raft_event *event,
               struct step_guard *guard, struct before *b)
{
    struct raft_message *m = event->receive.message;

    switch (m->type) {
    case RAFT_APPEND_ENTRIES:
        b->is_leaders = true;
        b->is_stale = m->append_entries.term < r->current_term;
        if (b->is_stale) {
            break;
        }
        guard->leader_heard = event->time;
        if (!r->snapshot.installing &&
            m->append_entries.prev_log_index < r->trail.offset &&
            re_anchor(r, &m->append_entries)) {
            return STEP_COVERED;
        }
        break;
    case RAFT_INSTALL_SNAPSHOT:
        b->is_leaders = true;
        b->is_stale = m->install_snapshot.term < r->current_term;
        if (!b->is_stale) {
            guard->leader_heard = event->time;
        }
        if (r->snapshot.installing) {
            return STEP_DROPPED; /* the library would leak it */
        }
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        mute_stale_rejection(r, m, &m->append_entries_result);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        if (r->state != RAFT_CANDIDATE) {
            return STEP_DROPPED; /* it would read a dead member of a union */
        }
        break;
    case RAFT_REQUEST_VOTE:
        b->is_low_pre_vote =
            m->request_vote.pre_vote && m->request_vote.term < r->current_term;
        b->is_posing = raft_role(r) != RAFT_VOTER;
        doubt_candidate(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        guard->may_disrupt = r->state == RAFT_FOLLOWER || guard->may_disrupt;
        break;
    default:
        return STEP_DROPPED;
    }
    return STEP_DONE;
}

/* Guard 6, vote without a seat. The library refuses to vote unless it is a
 * voter in its *own* configuration; but when the entry that promotes us is
 * still only with the candidate, nobody can be elected without our vote
 * (thesis, 4.2.2: servers grant votes whatever their own configuration says).
 * So for this one step we are a voter. Such a replica never forgets a leader
 * by itself, so a leader not heard of for an election time-out is hidden too.
 * 12 of 875 runs. */
static void
pose_as_voter(struct raft *r, const struct raft_event *event,
              const struct step_guard *guard, struct before *b)
{
    b->configuration = r->configuration;
    b->self.id = r->id;
    b->self.address = r->address;
    b->self.role = RAFT_VOTER;
    r->configuration.servers = &b->self;
    r->configuration.n = 1;
    if (r->state == RAFT_FOLLOWER &&
        event->time - guard->leader_heard >= r->election_timeout) {
        b->leader = r->follower_state.current_leader.id;
        r->follower_state.current_leader.id = 0;
    }
}

static void
pose_no_more(struct raft *r, const struct before *b)
{
    ASSERT(r->configuration.servers == &b->self);
    r->configuration = b->configuration;
    if (b->leader != 0 && r->state == RAFT_FOLLOWER &&
        r->current_term == b->term) {
        r->follower_state.current_leader.id = b->leader;
    }
}

/* Correct what the step wants sent. */
static void
after_step(const struct raft *r, struct raft_update *u,
           const struct step_guard *guard, const struct before *b)
{
    for (unsigned i = 0; i < u->messages.n; i++) {
        struct raft_message *m = &u->messages.batch[i];

        switch (m->type) {
        case RAFT_APPEND_ENTRIES_RESULT:
            /* Guard 8. The reply to a stale term carries an uninitialised
             * last index: a false acknowledgement. 1 of 705 runs. */
            if (b->is_stale) {
                m->append_entries_result.last_log_index = 0;
            }
            break;
        case RAFT_REQUEST_VOTE_RESULT:
            /* Guard 9. A refused pre-vote echoes the candidate's term, so
             * that one with a low term and a long log never learns that it
             * must catch up: deadlock. */
            if (b->is_low_pre_vote && !m->request_vote_result.vote_granted) {
                m->request_vote_result.term = r->current_term;
            }
            break;
        case RAFT_REQUEST_VOTE:
            /* Guard 10. The permission to disrupt a leader is for one
             * attempt; the library keeps it for every retry. */
            m->request_vote.disrupt_leader = guard->may_disrupt;
            break;
        case RAFT_APPEND_ENTRIES:
        case RAFT_INSTALL_SNAPSHOT:
        case RAFT_TIMEOUT_NOW:
        default:
            break;
        }
    }
}

/* The step itself, with the shared message array lent to the replica. */
static int
raw_step(struct raft *r, struct raft_event *event, struct raft_update *update,
         struct step_messages *messages)
{
    int rv;

    ASSERT(r->messages == NULL);
    r->messages = messages->items;
    r->n_messages_cap = messages->capacity;
    rv = raft_step(r, event, update);
    messages->items = r->messages;
    messages->capacity = r->n_messages_cap;
    r->messages = NULL;
    r->n_messages_cap = 0;
    return rv;
}

int
step_guarded(struct raft *r, struct raft_event *event,
             struct raft_update *update, struct step_guard *guard,
             struct step_messages *messages, enum step_outcome *outcome)
{
    struct before b;
    int rv;

    ASSERT(r != NULL);
    ASSERT(event != NULL);
    memset(&b, 0, sizeof b);
    memset(update, 0, sizeof *update);
    b.term = r->current_term;
    *outcome = STEP_DONE;
    if (event->type == RAFT_RECEIVE) {
        *outcome = before_receive(r, event, guard, &b);
        if (*outcome == STEP_DROPPED) {
            return 0;
        }
    }
    if (event->type == RAFT_TIMEOUT) {
        ask_again(r, event, guard);
    }
    if (b.is_posing) {
        pose_as_voter(r, event, guard, &b);
    }
    rv = raw_step(r, event, update, messages);
    if (b.is_posing) {
        pose_no_more(r, &b);
    }
    if (rv != 0) {
        memset(update, 0, sizeof *update);
        return rv;
    }
    doubt_past_leader(r, &b);
    guard->may_disrupt = guard->may_disrupt && r->state == RAFT_CANDIDATE;
    after_step(r, update, guard, &b);
    return 0;
}
