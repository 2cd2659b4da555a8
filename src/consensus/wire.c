/* The library's structs to protobuf and back. Messages of all groups for one
 * shard of a peer are written one behind the other into one buffer, which is a
 * Batch; entries' bodies are never copied on the way out. On the way in a
 * frame's content is one block, and bodies are windows into it. */
#include "consensus/wire.h"

#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

enum {
    BATCH_TAG = 0x0a, /* field 1, length-delimited */
    ARENA_ALIGN = 16,
    ARENA_FACTOR = 64, /* unpacked bytes for a byte of head, at most */
    ARENA_SIZE_MIN = 16 << 10,
    TYPE_BITS = 2,
    TYPE_MASK = 3,
    CONFIGURATION_SIZE_MIN = 16,
    VOTE_VERSION = 2 /* of vote messages that know pre-votes */
};

static void *
arena_alloc(void *data, size_t size)
{
    struct wire_arena *a = data;
    size_t padded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    void *at;

    if (size > WIRE_ARENA_SIZE_MAX) {
        return NULL;
    }
    a->wanted += padded;
    if (padded > a->size - a->used) {
        return NULL;
    }
    at = a->data + a->used;
    a->used += padded;
    return at;
}

static void
arena_free(void *data, void *ptr)
{
    (void)data;
    (void)ptr;
}

void
wire_arena_init(struct wire_arena *a)
{
    ASSERT(a != NULL);
    memset(a, 0, sizeof *a);
    a->allocator.alloc = arena_alloc;
    a->allocator.free = arena_free;
    a->allocator.allocator_data = a;
}

void
wire_arena_deinit(struct wire_arena *a)
{
    ASSERT(a != NULL);
    mem_free(a->data);
    wire_arena_init(a);
}

ProtobufCAllocator *
wire_arena_reset(struct wire_arena *a, size_t size)
{
    size_t need = MAX(size, ARENA_SIZE_MIN / ARENA_FACTOR) * ARENA_FACTOR;

    ASSERT(a->allocator.allocator_data == a);
    need = MIN(need, (size_t)WIRE_ARENA_SIZE_MAX);
    if (need > a->size) {
        mem_free(a->data);
        a->data = mem_alloc(need);
        a->size = need;
    }
    a->used = 0;
    a->wanted = 0;
    return &a->allocator;
}

void
wire_entries_add(struct wire_entries *e, qr_term term, unsigned type,
                 size_t size)
{
    size_t n = e->terms_count;

    ASSERT(e->count < WIRE_ENTRIES_MAX);
    ASSERT(type <= TYPE_MASK);
    if (n > 0 && e->terms[n - 1] == term) {
        e->terms[n - 2] += 1;
    } else {
        e->terms[n] = 1;
        e->terms[n + 1] = term;
        e->terms_count = n + 2;
    }
    e->sizes[e->count++] = (uint64_t)size << TYPE_BITS | type;
}

/* The five bodies a message may have; the one in use is pointed at. */
struct bodies {
    Raft__Append append;
    Raft__AppendResult append_result;
    Raft__Vote vote;
    Raft__VoteResult vote_result;
    Raft__TimeoutNow timeout_now;
};

static void
fill_append(Raft__Message *pb, Raft__Append *a, const struct raft_message *m,
            struct wire_entries *entries)
{
    raft__append__init(a);
    pb->term = m->append_entries.term;
    a->prev_index = m->append_entries.prev_log_index;
    a->prev_term = m->append_entries.prev_log_term;
    a->commit = m->append_entries.leader_commit;
    if (entries != NULL && entries->count > 0) {
        a->terms = entries->terms;
        a->n_terms = entries->terms_count;
        a->sizes = entries->sizes;
        a->n_sizes = entries->count;
    }
    pb->body_case = RAFT__MESSAGE__BODY_APPEND;
    pb->append = a;
}

static void
fill_append_result(Raft__Message *pb, Raft__AppendResult *r,
                   const struct raft_message *m)
{
    raft__append_result__init(r);
    pb->term = m->append_entries_result.term;
    r->rejected = m->append_entries_result.rejected;
    r->last_index = m->append_entries_result.last_log_index;
    pb->body_case = RAFT__MESSAGE__BODY_APPEND_RESULT;
    pb->append_result = r;
}

static void
fill_vote(Raft__Message *pb, Raft__Vote *v, const struct raft_message *m)
{
    raft__vote__init(v);
    pb->term = m->request_vote.term;
    v->last_index = m->request_vote.last_log_index;
    v->last_term = m->request_vote.last_log_term;
    v->pre_vote = m->request_vote.pre_vote;
    v->disrupt_leader = m->request_vote.disrupt_leader;
    pb->body_case = RAFT__MESSAGE__BODY_VOTE;
    pb->vote = v;
}

static void
fill_vote_result(Raft__Message *pb, Raft__VoteResult *r,
                 const struct raft_message *m)
{
    raft__vote_result__init(r);
    pb->term = m->request_vote_result.term;
    r->granted = m->request_vote_result.vote_granted;
    r->pre_vote = m->request_vote_result.pre_vote;
    pb->body_case = RAFT__MESSAGE__BODY_VOTE_RESULT;
    pb->vote_result = r;
}

static void
fill_timeout_now(Raft__Message *pb, Raft__TimeoutNow *t,
                 const struct raft_message *m)
{
    raft__timeout_now__init(t);
    pb->term = m->timeout_now.term;
    t->last_index = m->timeout_now.last_log_index;
    t->last_term = m->timeout_now.last_log_term;
    pb->body_case = RAFT__MESSAGE__BODY_TIMEOUT_NOW;
    pb->timeout_now = t;
}

void
wire_put(struct buf *out, const struct wire_route *route,
         const struct raft_message *m, struct wire_entries *entries)
{
    Raft__Message pb;
    struct bodies b;
    size_t size;

    ASSERT(route->from != 0);
    ASSERT(route->to != 0);
    raft__message__init(&pb);
    pb.group = route->group;
    pb.from = route->from;
    pb.to = route->to;
    switch (m->type) {
    case RAFT_APPEND_ENTRIES:
        fill_append(&pb, &b.append, m, entries);
        b.append.quiet = route->is_quiet;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        fill_append_result(&pb, &b.append_result, m);
        b.append_result.quiet = route->is_quiet;
        b.append_result.space = route->space;
        break;
    case RAFT_REQUEST_VOTE:
        fill_vote(&pb, &b.vote, m);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        fill_vote_result(&pb, &b.vote_result, m);
        break;
    case RAFT_TIMEOUT_NOW:
        fill_timeout_now(&pb, &b.timeout_now, m);
        break;
    case RAFT_INSTALL_SNAPSHOT:
    default:
        UNREACHABLE("a message that does not travel in a batch");
    }
    size = raft__message__get_packed_size(&pb);
    buf_put_u8(out, BATCH_TAG);
    buf_put_varint(out, size);
    raft__message__pack(&pb, buf_extend(out, size));
}

static bool
entries_are_sane(const Raft__Append *a)
{
    size_t count = 0;

    if (a->n_sizes > WIRE_ENTRIES_MAX || a->n_terms % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < a->n_terms; i += 2) {
        if (a->terms[i] == 0 || a->terms[i] > a->n_sizes - count ||
            a->terms[i + 1] == 0) {
            return false;
        }
        count += a->terms[i];
    }
    /* The library asserts that an index and its term go together. */
    return count == a->n_sizes && (a->prev_index == 0) == (a->prev_term == 0);
}

bool
wire_is_sane(const Raft__Message *pb)
{
    if (pb->group == 0 || pb->from == 0 || pb->to == 0) {
        return false;
    }
    switch (pb->body_case) {
    case RAFT__MESSAGE__BODY_APPEND:
        return pb->term != 0 && entries_are_sane(pb->append);
    case RAFT__MESSAGE__BODY_APPEND_RESULT:
    case RAFT__MESSAGE__BODY_VOTE:
    case RAFT__MESSAGE__BODY_VOTE_RESULT:
    case RAFT__MESSAGE__BODY_TIMEOUT_NOW:
        return true;
    case RAFT__MESSAGE__BODY__NOT_SET:
    case _RAFT__MESSAGE__BODY__CASE_IS_INT_SIZE:
    default:
        return false;
    }
}

bool
wire_is_quiet(const Raft__Message *pb)
{
    if (pb->body_case == RAFT__MESSAGE__BODY_APPEND) {
        return pb->append->quiet;
    }
    return pb->body_case == RAFT__MESSAGE__BODY_APPEND_RESULT &&
           pb->append_result->quiet;
}

static void
get_append(const Raft__Message *pb, struct raft_message *out)
{
    struct raft_append_entries *a = &out->append_entries;

    out->type = RAFT_APPEND_ENTRIES;
    a->term = pb->term;
    a->prev_log_index = pb->append->prev_index;
    a->prev_log_term = pb->append->prev_term;
    a->leader_commit = pb->append->commit;
    a->n_entries = (unsigned)pb->append->n_sizes;
}

static void
get_vote(const Raft__Message *pb, struct raft_message *out)
{
    struct raft_request_vote *v = &out->request_vote;

    out->type = RAFT_REQUEST_VOTE;
    v->version = VOTE_VERSION;
    v->term = pb->term;
    v->candidate_id = pb->from;
    v->last_log_index = pb->vote->last_index;
    v->last_log_term = pb->vote->last_term;
    v->pre_vote = pb->vote->pre_vote;
    v->disrupt_leader = pb->vote->disrupt_leader;
}

void
wire_get(const Raft__Message *pb, struct raft_message *out)
{
    memset(out, 0, sizeof *out);
    out->server_id = pb->from;
    switch (pb->body_case) {
    case RAFT__MESSAGE__BODY_APPEND:
        get_append(pb, out);
        break;
    case RAFT__MESSAGE__BODY_APPEND_RESULT:
        out->type = RAFT_APPEND_ENTRIES_RESULT;
        out->append_entries_result.term = pb->term;
        out->append_entries_result.rejected = pb->append_result->rejected;
        out->append_entries_result.last_log_index =
            pb->append_result->last_index;
        break;
    case RAFT__MESSAGE__BODY_VOTE:
        get_vote(pb, out);
        break;
    case RAFT__MESSAGE__BODY_VOTE_RESULT:
        out->type = RAFT_REQUEST_VOTE_RESULT;
        out->request_vote_result.version = VOTE_VERSION;
        out->request_vote_result.term = pb->term;
        out->request_vote_result.vote_granted = pb->vote_result->granted;
        out->request_vote_result.pre_vote = pb->vote_result->pre_vote;
        break;
    case RAFT__MESSAGE__BODY_TIMEOUT_NOW:
        out->type = RAFT_TIMEOUT_NOW;
        out->timeout_now.term = pb->term;
        out->timeout_now.last_log_index = pb->timeout_now->last_index;
        out->timeout_now.last_log_term = pb->timeout_now->last_term;
        break;
    case RAFT__MESSAGE__BODY__NOT_SET:
    case _RAFT__MESSAGE__BODY__CASE_IS_INT_SIZE:
    default:
        UNREACHABLE("wire_is_sane() was not asked");
    }
}

struct slice
wire_body(const struct slice *content, size_t at, size_t size)
{
    ASSERT(at <= content->size);
    ASSERT(size <= content->size - at);
    if (content->block == NULL ||
        size < content->block->size / WIRE_PIN_FACTOR) {
        return slice_copy(content->data + at, size);
    }
    return slice_sub(content, at, size);
}

/* The library reads a configuration without looking where it ends. */
bool
wire_entry_is_sane(uint64_t type, uint64_t size)
{
    return type == RAFT_COMMAND || type == RAFT_BARRIER ||
           (type == RAFT_CHANGE && size >= CONFIGURATION_SIZE_MIN);
}

int
wire_get_entries(const Raft__Append *a, const struct slice *content, size_t *at,
                 struct raft_entry *entries, struct slice *bodies)
{
    size_t run = 0;
    uint64_t left = 0;
    size_t end = *at;

    ASSERT(*at <= content->size);
    ASSERT(a->n_sizes <= WIRE_ENTRIES_MAX);
    for (size_t i = 0; i < a->n_sizes; i++) {
        uint64_t size = a->sizes[i] >> TYPE_BITS;

        if (size > content->size - end ||
            !wire_entry_is_sane(a->sizes[i] & TYPE_MASK, size)) {
            return -QR_EFORMAT;
        }
        end += size;
    }
    for (size_t i = 0; i < a->n_sizes; i++) {
        if (left == 0) {
            left = a->terms[run];
            run += 2;
        }
        left--;
        bodies[i] = wire_body(content, *at, a->sizes[i] >> TYPE_BITS);
        *at += bodies[i].size;
        entries[i].term = a->terms[run - 1];
        entries[i].type = (enum raft_entry_type)(a->sizes[i] & TYPE_MASK);
    }
    ASSERT(*at == end);
    return 0;
}
