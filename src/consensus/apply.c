/* What is committed goes to the machine, in order, once: commands with their
 * effects when this replica proposed them in the present term; changes of
 * members to the library too. And the machine is told where its replica
 * stands: it serves only when the first entry of its own term is applied. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "consensus/internal.h"

void
apply_standing(struct qr_group *g)
{
    struct qr_standing s = {0};

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_running) {
        s.is_leader = g->is_serving;
        s.term = raft_current_term(&g->raft);
        s.leader = qr_replica_node(replica_leader(g));
    }
    if (replica_is_leader(g) && !g->is_serving) {
        s.leader = 0;
    }
    if (g->has_told && s.is_leader == g->told.is_leader &&
        s.term == g->told.term && s.leader == g->told.leader) {
        return;
    }
    g->has_told = true;
    g->told = s;
    if (g->ops->standing != NULL) {
        g->ops->standing(g->machine, &s);
    }
}

void
replica_configure(struct qr_group *g, const struct slice *body, qr_index index)
{
    struct raft_configuration c;
    bool has_us = false;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(index >= g->configuration_index);
    replica_decode(body, &c);
    for (unsigned i = 0; i < c.n; i++) {
        has_us = has_us || c.servers[i].id == g->self;
    }
    raft_configuration_close(&c);
    if (has_us) {
        g->is_member = true;
    } else if (g->is_member) {
        g->is_leaving = true; /* ids are not used again: this is final */
        host_attend(g);
    }
    if (body != &g->configuration) {
        slice_unref(&g->configuration);
        g->configuration = slice_ref(body);
    }
    g->configuration_index = index;
}

/* Tell those that are members no more, before they ask: they may sleep. */
static void
disown_removed(struct qr_group *g, const struct slice *before)
{
    struct raft_configuration c;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_serving || before->size == 0) {
        return;
    }
    replica_decode(before, &c);
    for (unsigned i = 0; i < c.n; i++) {
        membership_disown(g, c.servers[i].id);
    }
    raft_configuration_close(&c);
}

static void
apply_change(struct qr_group *g, const struct store_entry *e, qr_index index)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    event.configuration.index = index;
    replica_decode(&e->data, &event.configuration.conf);
    rv = replica_step(g, &event, NULL); /* takes the configuration over */
    ASSERT(rv == 0);
    disown_removed(g, &g->configuration);
    replica_configure(g, &e->data, index);
}

/* The configuration that entry INDEX, damaged, changes the members to: the
 * library has it, until it is applied. */
static void
remake_change(struct qr_group *g, qr_index index)
{
    struct store_entry e = {.type = RAFT_CHANGE};
    struct raft_buffer b;
    uint64_t batch = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->raft.configuration_uncommitted_index == index);
    if (raft_configuration_encode(&g->raft.configuration, &b) != 0) {
        UNREACHABLE("out of memory");
    }
    e.term = store_term(g->host->store, g->id, index);
    e.data = slice_copy(b.base, b.len);
    raft_free(b.base);
    if (store_repair(g->host->store, g->id, index, &e, &batch) == 0) {
        replica_note_batch(g, batch);
    }
    slice_unref(&e.data);
}

/* Read entry INDEX, to be applied. False: it has to wait for a repair. An entry
 * that no member has is passed over by who is alone: nobody else's state can
 * differ, and all that comes after it would be lost, too. */
static bool
read_next(struct qr_group *g, qr_index index, struct store_entry *e,
          bool *is_missing)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(index == g->applied + 1);
    if (g->raft.configuration_uncommitted_index == index &&
        repair_is_damaged(g, index)) {
        remake_change(g, index);
    }
    *is_missing = g->raft.configuration.n == 1 && repair_is_missing(g, index);
    if (*is_missing) {
        e->term = store_term(g->host->store, g->id, index);
        e->type = RAFT_COMMAND;
        e->data = slice_empty();
        return true;
    }
    switch (store_read(g->host->store, g->id, index, e)) {
    case 0:
        return true;
    case -QR_ECORRUPT:
    case -QR_EIO:
        repair_note(g, index);
        return false;
    case -QR_ESHUTDOWN: /* the disk does no more, so nothing goes on */
        return false;
    default:
        UNREACHABLE("a committed entry is not there");
    }
}

bool
apply_next(struct qr_group *g)
{
    qr_index index = g->applied + 1;
    struct store_entry e;
    struct slice body = slice_empty();
    struct qr_entry entry = {0};

    OBJ_CHECK(g, GROUP_MAGIC);
    if (g->is_installing || index > MIN(g->commit, g->raft.last_stored)) {
        return false;
    }
    if (!read_next(g, index, &e, &entry.is_missing)) {
        return false;
    }
    g->applied = index;
    if (e.type == RAFT_CHANGE) {
        apply_change(g, &e, index);
    }
    if (entry.is_missing) {
        entry.time_ms = g->clock_ms;
        entry.lost_until = g->last;
    }
    entry.index = index;
    entry.term = e.term;
    entry.is_leading =
        replica_is_leader(g) &&
        (e.term == raft_current_term(&g->raft) || MUTATION(old_term));
    if (e.type == RAFT_COMMAND && e.data.size >= ENTRY_HEADER_SIZE) {
        size_t size = e.data.size - ENTRY_HEADER_SIZE;

        entry.time_ms = get_u64le(e.data.data);
        body = slice_sub(&e.data, ENTRY_HEADER_SIZE, size);
        entry.body = &body;
        g->clock_ms = MAX(g->clock_ms, entry.time_ms);
        if (entry.is_leading) {
            g->pending_size -= MIN(g->pending_size, size);
        }
    }
    g->ops->apply(g->machine, &entry);
    g->host->stats.entries_applied++;
    if (entry.is_leading && !g->is_serving) {
        g->is_serving = true;
        apply_standing(g);
    }
    if (e.type == RAFT_CHANGE && g->ops->members != NULL) {
        g->ops->members(g->machine);
    }
    slice_unref(&body);
    slice_unref(&e.data);
    return true;
}
