/* The guards, one by one, on a bare library. */
#include "consensus/step.h"
#include "lib/harness.h"

struct replica {
    struct raft raft;
    struct step_guard guard;
    struct step_messages messages;
    struct raft_update update;
    enum step_outcome outcome;
};

static int
step(struct replica *r, struct raft_event *e, raft_time time)
{
    e->time = time;
    e->capacity = 0;
    return step_guarded(&r->raft, e, &r->update, &r->guard, &r->messages,
                        &r->outcome);
}

/* Encode the first COUNT of servers 1, 2, 3 with ROLE of the last. */
static struct raft_buffer
configuration(unsigned count, int role)
{
    static const char *const addresses[] = {"1", "2", "3"};
    struct raft_configuration c;
    struct raft_buffer b;

    raft_configuration_init(&c);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(raft_configuration_add(&c, i + 1, addresses[i],
                                            i + 1 == count ? role : RAFT_VOTER),
                     0);
    }
    cr_assert_eq(raft_configuration_encode(&c, &b), 0);
    raft_configuration_close(&c);
    return b;
}

/* Server ID of three, with entry 1 and COMMANDS more of term 1, at TERM. */
static void
start(struct replica *r, raft_id id, raft_term term, unsigned commands,
      struct raft_buffer members)
{
    struct raft_entry entries[16];
    struct raft_event e;

    memset(r, 0, sizeof *r);
    memset(entries, 0, sizeof entries);
    step_messages_init(&r->messages);
    cr_assert_eq(raft_init(&r->raft, NULL, NULL, id, id == 1 ? "1" : "3"), 0);
    r->raft.tracer = NULL;
    raft_seed(&r->raft, 1);
    raft_set_pre_vote(&r->raft, true);
    for (unsigned i = 0; i <= commands; i++) {
        entries[i].term = 1;
        entries[i].type = i == 0 ? RAFT_CHANGE : RAFT_COMMAND;
        entries[i].buf = members;
    }
    memset(&e, 0, sizeof e);
    e.type = RAFT_START;
    e.start.term = term;
    e.start.start_index = 1;
    e.start.entries = entries;
    e.start.n_entries = commands + 1;
    cr_assert_eq(step(r, &e, 1000), 0);
}

static void
stop(struct replica *r)
{
    raft_close(&r->raft, NULL);
    step_messages_deinit(&r->messages);
}

static int
receive(struct replica *r, struct raft_message *m, raft_time time)
{
    struct raft_event e;

    memset(&e, 0, sizeof e);
    e.type = RAFT_RECEIVE;
    e.receive.message = m;
    m->server_address = "2";
    return step(r, &e, time);
}

Test(step, a_change_is_always_the_first_of_its_chunk)
{
    struct raft_entry e[5];

    memset(e, 0, sizeof e);
    for (unsigned i = 0; i < 5; i++) {
        e[i].type = i == 2 ? RAFT_CHANGE : RAFT_COMMAND;
    }
    cr_assert_eq(step_chunk(e, 5, 0), 2);
    cr_assert_eq(step_chunk(e, 5, 2), 5);
    e[0].type = RAFT_CHANGE;
    cr_assert_eq(step_chunk(e, 5, 0), 2);
    cr_assert_eq(step_chunk(e, 1, 0), 1);
}

Test(step, an_idle_replica_holds_no_messages)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_event e;

    start(&r, 1, 1, 0, c);
    memset(&e, 0, sizeof e);
    e.type = RAFT_TIMEOUT;
    cr_assert_eq(step(&r, &e, 10000), 0);
    cr_assert_eq(r.update.messages.n, 2);
    cr_assert_eq(r.update.messages.batch, r.messages.items);
    cr_assert_null(r.raft.messages);
    stop(&r);
    raft_free(c.base);
}

Test(step, a_stale_term_is_answered_with_no_acknowledgement)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = 2};

    start(&r, 1, 5, 3, c);
    m.append_entries.term = 4;
    cr_assert_eq(receive(&r, &m, 1001), 0);
    cr_assert_eq(r.update.messages.n, 1);
    cr_assert_eq(
        r.update.messages.batch[0].append_entries_result.last_log_index, 0);
    cr_assert_eq(r.guard.leader_heard, 0);
    stop(&r);
    raft_free(c.base);
}

Test(step, a_refused_pre_vote_tells_the_higher_term)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .server_id = 2};

    start(&r, 1, 5, 3, c);
    m.request_vote.version = 2;
    m.request_vote.term = 3;
    m.request_vote.candidate_id = 2;
    m.request_vote.last_log_index = 100;
    m.request_vote.last_log_term = 1;
    m.request_vote.pre_vote = true;
    cr_assert_eq(receive(&r, &m, 1001), 0);
    cr_assert_eq(r.update.messages.n, 1);
    cr_assert_not(r.update.messages.batch[0].request_vote_result.vote_granted);
    cr_assert_eq(r.update.messages.batch[0].request_vote_result.term, 5);
    stop(&r);
    raft_free(c.base);
}

Test(step, a_replica_without_a_seat_votes)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_STANDBY);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .server_id = 2};

    start(&r, 3, 1, 3, c);
    m.request_vote.version = 2;
    m.request_vote.term = 2;
    m.request_vote.candidate_id = 2;
    m.request_vote.last_log_index = 100;
    m.request_vote.last_log_term = 1;
    cr_assert_eq(receive(&r, &m, 1001), 0);
    cr_assert(r.update.messages.batch[0].request_vote_result.vote_granted);
    cr_assert_eq(r.raft.configuration.n, 3);
    cr_assert_eq(raft_role(&r.raft), RAFT_STANDBY);
    stop(&r);
    raft_free(c.base);
}

Test(step, the_permission_to_disrupt_is_for_one_attempt)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = 2};
    struct raft_event e;

    start(&r, 1, 1, 0, c);
    m.append_entries.term = 1;
    m.append_entries.prev_log_index = 1;
    m.append_entries.prev_log_term = 1;
    cr_assert_eq(receive(&r, &m, 1001), 0);
    memset(&m, 0, sizeof m);
    m.type = RAFT_TIMEOUT_NOW;
    m.server_id = 2;
    m.timeout_now.term = 1;
    m.timeout_now.last_log_index = 1;
    m.timeout_now.last_log_term = 1;
    cr_assert_eq(receive(&r, &m, 1002), 0);
    cr_assert_eq(r.update.messages.n, 2);
    cr_assert(r.update.messages.batch[0].request_vote.disrupt_leader);
    memset(&e, 0, sizeof e);
    e.type = RAFT_TIMEOUT;
    cr_assert_eq(step(&r, &e, 100000), 0);
    cr_assert_eq(r.update.messages.n, 2);
    cr_assert_not(r.update.messages.batch[0].request_vote.disrupt_leader);
    stop(&r);
    raft_free(c.base);
}

/* R follows server 2 in TERM. */
static void
follow(struct replica *r, raft_term term)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = 2};

    m.append_entries.term = term;
    m.append_entries.prev_log_index = 1;
    m.append_entries.prev_log_term = 1;
    cr_assert_eq(receive(r, &m, 1001), 0);
    cr_assert_eq(r->raft.follower_state.current_leader.id, 2);
}

/* Server FROM asks R for its vote in TERM; what it gets. */
static bool
ask(struct replica *r, raft_id from, raft_term term, bool pre_vote)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .server_id = from};

    m.request_vote.version = 2;
    m.request_vote.term = term;
    m.request_vote.candidate_id = from;
    m.request_vote.last_log_index = 100;
    m.request_vote.last_log_term = 1;
    m.request_vote.pre_vote = pre_vote;
    cr_assert_eq(receive(r, &m, 1002), 0);
    cr_assert_eq(r->update.messages.n, 1);
    return r->update.messages.batch[0].request_vote_result.vote_granted;
}

Test(step, each_attempt_begins_with_a_pre_vote)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = 2};
    struct raft_event e;

    start(&r, 1, 1, 0, c);
    memset(&e, 0, sizeof e);
    e.type = RAFT_TIMEOUT;
    cr_assert_eq(step(&r, &e, 10000), 0);
    m.request_vote_result.version = 2;
    m.request_vote_result.term = 2;
    m.request_vote_result.vote_granted = true;
    m.request_vote_result.pre_vote = true;
    cr_assert_eq(receive(&r, &m, 10001), 0);
    cr_assert_eq(r.raft.current_term, 2);
    cr_assert_not(r.raft.candidate_state.in_pre_vote);
    /* A time-out that has not come leaves the election alone. */
    cr_assert_eq(step(&r, &e, 10002), 0);
    cr_assert_not(r.raft.candidate_state.in_pre_vote);
    for (raft_time t = 20000; t <= 100000; t += 10000) {
        cr_assert_eq(step(&r, &e, t), 0);
        cr_assert_eq(r.update.messages.n, 2);
        cr_assert(r.update.messages.batch[0].request_vote.pre_vote);
        cr_assert_eq(r.raft.current_term, 2);
    }
    stop(&r);
    raft_free(c.base);
}

Test(step, who_knows_that_the_leader_is_dead_may_disrupt_it_with_a_pre_vote)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = 2};
    struct raft_event e;

    start(&r, 1, 1, 0, c);
    memset(&e, 0, sizeof e);
    e.type = RAFT_TIMEOUT;
    r.guard.may_disrupt = true;
    cr_assert_eq(step(&r, &e, 10000), 0);
    cr_assert(r.update.messages.batch[0].request_vote.pre_vote);
    cr_assert(r.update.messages.batch[0].request_vote.disrupt_leader);
    m.request_vote_result.version = 2;
    m.request_vote_result.term = 2;
    m.request_vote_result.vote_granted = true;
    m.request_vote_result.pre_vote = true;
    cr_assert_eq(receive(&r, &m, 10001), 0);
    cr_assert_not(r.update.messages.batch[0].request_vote.pre_vote);
    cr_assert(r.update.messages.batch[0].request_vote.disrupt_leader);
    cr_assert_eq(step(&r, &e, 100000), 0);
    cr_assert_not(r.update.messages.batch[0].request_vote.disrupt_leader);
    stop(&r);
    raft_free(c.base);
}

Test(step, a_leader_that_asks_for_votes_leads_no_more)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);

    start(&r, 1, 1, 0, c);
    follow(&r, 2);
    cr_assert_not(ask(&r, 3, 3, true)); /* who never led must wait */
    cr_assert_not(ask(&r, 2, 2, true)); /* of before it led */
    cr_assert_eq(r.raft.follower_state.current_leader.id, 2);
    cr_assert(ask(&r, 2, 3, true));
    cr_assert_eq(r.raft.current_term, 2);
    cr_assert(ask(&r, 3, 3, true));
    follow(&r, 2);
    cr_assert(ask(&r, 2, 3, false));
    cr_assert_eq(r.raft.current_term, 3);
    stop(&r);
    raft_free(c.base);
}

Test(step, no_leader_is_known_of_a_term_that_has_just_begun)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .server_id = 3};

    start(&r, 1, 1, 0, c);
    follow(&r, 2);
    m.request_vote.version = 2;
    m.request_vote.term = 3;
    m.request_vote.candidate_id = 3;
    m.request_vote.disrupt_leader = true; /* but it lacks an entry */
    cr_assert_eq(receive(&r, &m, 1002), 0);
    cr_assert_eq(r.raft.current_term, 3);
    cr_assert_not(r.update.messages.batch[0].request_vote_result.vote_granted);
    cr_assert_eq(r.raft.follower_state.current_leader.id, 0);
    follow(&r, 4); /* a term that begins with its leader's word */
    stop(&r);
    raft_free(c.base);
}

Test(step, an_append_below_the_snapshot_begins_at_it)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = 2};
    struct raft_entry entries[12];
    struct raft_event e;

    start(&r, 1, 1, 9, c);
    memset(&e, 0, sizeof e);
    e.type = RAFT_SNAPSHOT;
    e.snapshot.metadata.index = 8;
    e.snapshot.metadata.term = 1;
    e.snapshot.metadata.configuration_index = 1;
    cr_assert_eq(
        raft_configuration_decode(&c, &e.snapshot.metadata.configuration), 0);
    cr_assert_eq(step(&r, &e, 1001), 0);
    memset(entries, 0, sizeof entries);
    for (unsigned i = 0; i < 12; i++) {
        entries[i].term = 1;
        entries[i].type = RAFT_COMMAND;
    }
    /* Entries 3 to 12: the library knows 9 and 10, 11 and 12 are new. */
    m.append_entries.term = 1;
    m.append_entries.prev_log_index = 2;
    m.append_entries.prev_log_term = 1;
    m.append_entries.entries = entries;
    m.append_entries.n_entries = 10;
    for (unsigned i = 0; i < 12; i++) {
        entries[i].batch = entries;
    }
    cr_assert_eq(receive(&r, &m, 1002), 0);
    cr_assert_eq(r.outcome, STEP_DONE);
    cr_assert_eq(r.update.entries.index, 11);
    cr_assert_eq(r.update.entries.n, 2);
    cr_assert_eq(r.update.entries.batch, &entries[8]);
    /* Entries 3 to 5 are all below. */
    m.append_entries.prev_log_index = 2;
    m.append_entries.prev_log_term = 1;
    m.append_entries.entries = entries;
    m.append_entries.n_entries = 3;
    cr_assert_eq(receive(&r, &m, 1003), 0);
    cr_assert_eq(r.outcome, STEP_COVERED);
    stop(&r);
    raft_free(c.base);
}

Test(step, votes_that_nobody_asked_for_are_dropped)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = 2};

    start(&r, 1, 1, 0, c);
    m.request_vote_result.version = 2;
    m.request_vote_result.term = 9;
    m.request_vote_result.vote_granted = true;
    cr_assert_eq(receive(&r, &m, 1001), 0);
    cr_assert_eq(r.outcome, STEP_DROPPED);
    cr_assert_eq(r.raft.current_term, 1);
    stop(&r);
    raft_free(c.base);
}

Test(step, a_stale_rejection_does_not_stop_replication)
{
    struct replica r;
    struct raft_buffer c = configuration(3, RAFT_VOTER);
    struct raft_message m;
    struct raft_event e;
    raft_index match;

    start(&r, 1, 1, 9, c);
    memset(&e, 0, sizeof e);
    e.type = RAFT_TIMEOUT;
    cr_assert_eq(step(&r, &e, 10000), 0);
    for (unsigned round = 0; round < 2; round++) {
        memset(&m, 0, sizeof m);
        m.type = RAFT_REQUEST_VOTE_RESULT;
        m.server_id = 2;
        m.request_vote_result.version = 2;
        m.request_vote_result.term = 2;
        m.request_vote_result.vote_granted = true;
        m.request_vote_result.pre_vote = round == 0;
        cr_assert_eq(receive(&r, &m, 10001), 0);
    }
    cr_assert_eq(r.raft.state, RAFT_LEADER);
    raft_free(r.update.entries.batch[0].batch); /* its barrier */
    memset(&m, 0, sizeof m);
    m.type = RAFT_APPEND_ENTRIES_RESULT;
    m.server_id = 2;
    m.append_entries_result.term = 2;
    m.append_entries_result.last_log_index = 10;
    cr_assert_eq(receive(&r, &m, 10002), 0);
    m.append_entries_result.rejected = 5;
    m.append_entries_result.last_log_index = 4;
    cr_assert_eq(receive(&r, &m, 10003), 0);
    cr_assert_eq(raft_match_index(&r.raft, 2, &match), 0);
    cr_assert_eq(match, 10);
    /* Of a time when it had not even those: what it lacked it has been sent. */
    m.append_entries_result.rejected = 11;
    m.append_entries_result.last_log_index = 4;
    cr_assert_eq(receive(&r, &m, 10004), 0);
    cr_assert_eq(r.update.messages.n, 0);
    stop(&r);
    raft_free(c.base);
}

/* ---- rejections, of any kind, in any state ---- */

enum {
    MATCH_MAX = 11, /* the leader's last entry: its barrier */
    SNAPSHOT_INDEX = 8
};

static void
time_out(struct replica *r, raft_time time)
{
    struct raft_event e;

    memset(&e, 0, sizeof e);
    e.type = RAFT_TIMEOUT;
    cr_assert_eq(step(r, &e, time), 0);
}

/* R, which has 10 entries, leads term 2. */
static void
lead(struct replica *r, struct raft_buffer c)
{
    start(r, 1, 1, 9, c);
    time_out(r, 10000);
    for (unsigned round = 0; round < 2; round++) {
        struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT,
                                 .server_id = 2};

        m.request_vote_result.version = 2;
        m.request_vote_result.term = 2;
        m.request_vote_result.vote_granted = true;
        m.request_vote_result.pre_vote = round == 0;
        cr_assert_eq(receive(r, &m, 10001), 0);
    }
    cr_assert_eq(r->raft.state, RAFT_LEADER);
    raft_free(r->update.entries.batch[0].batch);
}

/* Server 2 answers: it lacks REJECTED (0: nothing), its log ends at LAST. */
static void
answer(struct replica *r, raft_index rejected, raft_index last, raft_time time)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT,
                             .server_id = 2};

    m.append_entries_result.term = 2;
    m.append_entries_result.rejected = rejected;
    m.append_entries_result.last_log_index = last;
    cr_assert_eq(receive(r, &m, time), 0);
}

/* The leader forgets what comes before SNAPSHOT_INDEX. */
static void
compact(struct replica *r, struct raft_buffer *c)
{
    struct raft_event e;

    memset(&e, 0, sizeof e);
    e.type = RAFT_SNAPSHOT;
    e.snapshot.metadata.index = SNAPSHOT_INDEX;
    e.snapshot.metadata.term = 1;
    e.snapshot.metadata.configuration_index = 1;
    cr_assert_eq(
        raft_configuration_decode(c, &e.snapshot.metadata.configuration), 0);
    cr_assert_eq(step(r, &e, 10002), 0);
}

/* Bring server 2, which has acknowledged MATCH, into pipeline (0) or probe (1)
 * state; and with COMPACTED take from the leader what it may ask for, so that
 * from probe on it is sent a snapshot. */
static void
arrange(struct replica *r, struct raft_buffer *c, raft_index match,
        bool is_probed, bool is_compacted)
{
    lead(r, *c);
    answer(r, 0, match, 10002);
    if (is_compacted) {
        compact(r, c);
    }
    if (is_probed) { /* silent for two heartbeats */
        time_out(r, 10200);
        time_out(r, 10400);
    }
    cr_assert_eq(r->raft.state, RAFT_LEADER);
}

/* From a follower whose last entries have rotted, whose install has failed, or
 * that speaks of another time, all of these may come; each twice. */
static void
reject_all(struct raft_buffer *c, raft_index match, bool is_probed,
           bool is_compacted)
{
    for (raft_index rejected = 1; rejected <= MATCH_MAX + 1; rejected++) {
        for (raft_index last = 0; last <= MATCH_MAX + 1; last++) {
            struct replica r;
            raft_index now;

            arrange(&r, c, match, is_probed, is_compacted);
            answer(&r, rejected, last, 10500);
            answer(&r, rejected, last, 10500);
            answer(&r, SNAPSHOT_INDEX, last, 10500);
            time_out(&r, 10600);
            cr_assert_eq(r.raft.state, RAFT_LEADER);
            cr_assert_eq(raft_match_index(&r.raft, 2, &now), 0);
            cr_assert_eq(now, match);
            answer(&r, 0, MATCH_MAX, 10700); /* replication goes on */
            cr_assert_eq(raft_match_index(&r.raft, 2, &now), 0);
            cr_assert_eq(now, MATCH_MAX);
            stop(&r);
        }
    }
}

Test(step, no_rejection_makes_the_library_doubt_what_it_knows)
{
    struct raft_buffer c = configuration(3, RAFT_VOTER);

    for (raft_index match = 0; match <= MATCH_MAX; match++) {
        reject_all(&c, match, false, false);
        reject_all(&c, match, true, false);
        reject_all(&c, match, false, true);
        reject_all(&c, match, true, true);
    }
    raft_free(c.base);
}
