/* Raft messages there and back, and what is refused on the way. */
#include <quorate/error.h>

#include "base/buf.h"
#include "consensus/wire.h"
#include "lib/harness.h"

static const struct wire_route route = {
    .group = 17,
    .from = (UINT64_C(1) << 32) | 1,
    .to = (UINT64_C(2) << 32) | 9,
};

/* Put M, and read it back as the only message of a batch. */
static Raft__Batch *
there_and_back(const struct raft_message *m, struct wire_entries *entries,
               struct wire_arena *arena)
{
    struct buf b;
    Raft__Batch *batch;

    buf_init(&b);
    wire_put(&b, &route, m, entries);
    batch =
        raft__batch__unpack(wire_arena_reset(arena, b.size), b.size, b.data);
    buf_deinit(&b);
    cr_assert_not_null(batch);
    cr_assert_eq(batch->n_messages, 1);
    cr_assert(wire_is_sane(batch->messages[0]));
    cr_assert_eq(batch->messages[0]->group, route.group);
    cr_assert_eq(batch->messages[0]->from, route.from);
    cr_assert_eq(batch->messages[0]->to, route.to);
    return batch;
}

Test(wire, a_vote_request_survives_the_way)
{
    struct wire_arena arena;
    struct raft_message m = {.type = RAFT_REQUEST_VOTE};
    struct raft_message out;

    wire_arena_init(&arena);
    m.request_vote.term = 7;
    m.request_vote.candidate_id = route.from;
    m.request_vote.last_log_index = 100;
    m.request_vote.last_log_term = 6;
    m.request_vote.pre_vote = true;
    m.request_vote.disrupt_leader = true;
    wire_get(there_and_back(&m, NULL, &arena)->messages[0], &out);
    cr_assert_eq(out.type, RAFT_REQUEST_VOTE);
    cr_assert_eq(out.server_id, route.from);
    cr_assert_eq(out.request_vote.term, 7);
    cr_assert_eq(out.request_vote.candidate_id, route.from);
    cr_assert_eq(out.request_vote.last_log_index, 100);
    cr_assert_eq(out.request_vote.last_log_term, 6);
    cr_assert(out.request_vote.pre_vote);
    cr_assert(out.request_vote.disrupt_leader);
    cr_assert_eq(out.request_vote.version, 2);
    wire_arena_deinit(&arena);
}

Test(wire, answers_survive_the_way)
{
    struct wire_arena arena;
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    struct raft_message out;

    wire_arena_init(&arena);
    m.request_vote_result.term = 3;
    m.request_vote_result.vote_granted = true;
    wire_get(there_and_back(&m, NULL, &arena)->messages[0], &out);
    cr_assert_eq(out.type, RAFT_REQUEST_VOTE_RESULT);
    cr_assert(out.request_vote_result.vote_granted);
    cr_assert_not(out.request_vote_result.pre_vote);
    memset(&m, 0, sizeof m);
    m.type = RAFT_APPEND_ENTRIES_RESULT;
    m.append_entries_result.term = 4;
    m.append_entries_result.rejected = 9;
    m.append_entries_result.last_log_index = 8;
    wire_get(there_and_back(&m, NULL, &arena)->messages[0], &out);
    cr_assert_eq(out.type, RAFT_APPEND_ENTRIES_RESULT);
    cr_assert_eq(out.append_entries_result.term, 4);
    cr_assert_eq(out.append_entries_result.rejected, 9);
    cr_assert_eq(out.append_entries_result.last_log_index, 8);
    memset(&m, 0, sizeof m);
    m.type = RAFT_TIMEOUT_NOW;
    m.timeout_now.term = 5;
    m.timeout_now.last_log_index = 11;
    m.timeout_now.last_log_term = 4;
    wire_get(there_and_back(&m, NULL, &arena)->messages[0], &out);
    cr_assert_eq(out.type, RAFT_TIMEOUT_NOW);
    cr_assert_eq(out.timeout_now.term, 5);
    cr_assert_eq(out.timeout_now.last_log_index, 11);
    cr_assert_eq(out.timeout_now.last_log_term, 4);
    wire_arena_deinit(&arena);
}

/* Entries of terms 1, 1, 2 with bodies "a", "", "bcd". */
static Raft__Batch *
three_entries(struct wire_arena *arena)
{
    static struct wire_entries e;
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES};

    memset(&e, 0, sizeof e);
    wire_entries_add(&e, 1, RAFT_COMMAND, 1);
    wire_entries_add(&e, 1, RAFT_BARRIER, 0);
    wire_entries_add(&e, 2, RAFT_COMMAND, 3);
    m.append_entries.term = 2;
    m.append_entries.prev_log_index = 5;
    m.append_entries.prev_log_term = 1;
    m.append_entries.leader_commit = 4;
    return there_and_back(&m, &e, arena);
}

Test(wire, entries_get_their_bodies_from_the_content)
{
    struct wire_arena arena;
    struct raft_entry entries[8];
    struct slice bodies[8];
    struct slice content = slice_copy("abcd", 4);
    struct raft_message out;
    Raft__Batch *batch;
    size_t at = 0;

    wire_arena_init(&arena);
    batch = three_entries(&arena);
    wire_get(batch->messages[0], &out);
    cr_assert_eq(out.append_entries.n_entries, 3);
    cr_assert_eq(out.append_entries.prev_log_index, 5);
    cr_assert_eq(out.append_entries.leader_commit, 4);
    cr_assert_eq(wire_get_entries(batch->messages[0]->append, &content, &at,
                                  entries, bodies),
                 0);
    cr_assert_eq(at, 4);
    cr_assert_eq(entries[0].term, 1);
    cr_assert_eq(entries[1].term, 1);
    cr_assert_eq(entries[2].term, 2);
    cr_assert_eq(entries[1].type, RAFT_BARRIER);
    cr_assert_eq(bodies[1].size, 0);
    cr_assert_eq(bodies[2].size, 3);
    cr_assert_eq(memcmp(bodies[2].data, "bcd", 3), 0);
    for (size_t i = 0; i < 3; i++) {
        slice_unref(&bodies[i]);
    }
    slice_unref(&content);
    wire_arena_deinit(&arena);
}

Test(wire, a_content_that_is_too_short_is_refused)
{
    struct wire_arena arena;
    struct raft_entry entries[8];
    struct slice bodies[8];
    struct slice content = slice_copy("abc", 3);
    size_t at = 0;

    wire_arena_init(&arena);
    cr_assert_eq(wire_get_entries(three_entries(&arena)->messages[0]->append,
                                  &content, &at, entries, bodies),
                 -QR_EFORMAT);
    cr_assert_eq(at, 0);
    slice_unref(&content);
    wire_arena_deinit(&arena);
}

Test(wire, entries_of_unknown_type_or_without_configuration_are_refused)
{
    struct wire_arena arena;
    struct raft_entry entries[8];
    struct slice bodies[8];
    struct slice content = slice_copy("abcd", 4);
    Raft__Append *a;
    size_t at = 0;

    wire_arena_init(&arena);
    a = three_entries(&arena)->messages[0]->append;
    a->sizes[0] = 1 << 2;
    cr_assert_eq(wire_get_entries(a, &content, &at, entries, bodies),
                 -QR_EFORMAT);
    a->sizes[0] = 1 << 2 | RAFT_CHANGE;
    cr_assert_eq(wire_get_entries(a, &content, &at, entries, bodies),
                 -QR_EFORMAT);
    slice_unref(&content);
    wire_arena_deinit(&arena);
}

Test(wire, what_makes_no_sense_is_not_sane)
{
    struct wire_arena arena;
    Raft__Message *m;
    Raft__Message empty = RAFT__MESSAGE__INIT;

    wire_arena_init(&arena);
    empty.group = empty.from = empty.to = 1;
    cr_assert_not(wire_is_sane(&empty));
    m = three_entries(&arena)->messages[0];
    m->append->terms[0] = 3; /* more than there are entries */
    cr_assert_not(wire_is_sane(m));
    m->append->terms[0] = 0;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->append->terms[1] = 0;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->append->n_terms = 3;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->append->n_terms = 2;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->append->prev_term = 0;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->term = 0;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->group = 0;
    cr_assert_not(wire_is_sane(m));
    m = three_entries(&arena)->messages[0];
    m->append->n_sizes = WIRE_ENTRIES_MAX + 1;
    cr_assert_not(wire_is_sane(m));
    wire_arena_deinit(&arena);
}

Test(wire, a_small_body_does_not_hold_a_large_block)
{
    struct block *block = block_new(1000);
    struct slice all;
    struct slice small;
    struct slice large;

    memset(block->data, 'x', 1000);
    all = slice_of_block(block);
    small = wire_body(&all, 10, 249);
    large = wire_body(&all, 10, 250);
    cr_assert_neq(small.block, block);
    cr_assert_eq(large.block, block);
    cr_assert_eq(memcmp(small.data, all.data + 10, 249), 0);
    slice_unref(&small);
    slice_unref(&large);
    slice_unref(&all);
}

Test(wire, an_arena_refuses_what_is_beyond_its_limit)
{
    struct wire_arena arena;
    ProtobufCAllocator *a;

    wire_arena_init(&arena);
    a = wire_arena_reset(&arena, 1 << 20);
    cr_assert_not_null(a->alloc(a->allocator_data, WIRE_ARENA_SIZE_MAX - 16));
    cr_assert_null(a->alloc(a->allocator_data, 32));
    cr_assert_null(a->alloc(a->allocator_data, WIRE_ARENA_SIZE_MAX + 1));
    a = wire_arena_reset(&arena, 10);
    cr_assert_not_null(a->alloc(a->allocator_data, 32));
    wire_arena_deinit(&arena);
}
