/* See model.h. Operations are chosen as Raft would: one term and index name
 * one content, and all that is before it, for ever; what a snapshot covers is
 * settled, and a snapshot that is installed keeps nothing alive that had been
 * released. */
#include "model.h"

#include <string.h>

#include "base/ranges.h"
#include "lib/harness.h"

static qr_group_id
id_of(unsigned group)
{
    return MODEL_FIRST_ID + group;
}

size_t
model_size(unsigned group, uint64_t index, uint64_t term)
{
    uint64_t h = (group + 1) * 7919 + index * 104729 + term * 1299709;

    h ^= h >> 7;
    if (h % 1009 == 0) {
        return 70000; /* fits no segment of this size */
    }
    switch (h % 16) {
    case 0:
        return 0;
    case 1:
        return 4000 + h % 3000;
    case 2:
        return 512 - 32;
    default:
        return h % 400;
    }
}

static void
choose_live(const struct model_group *g, struct rng *rng, struct op *op)
{
    uint64_t at = 1;

    op->live_count = 0;
    for (size_t i = 0; i < MODEL_RANGES_MAX; i++) {
        uint64_t first = at + rng_below(rng, 1 + op->index / 2);
        uint64_t last = first;

        if (rng_below(rng, 3) == 0) {
            continue;
        }
        while (first <= op->index && g->terms[first] == 0) {
            first++;
        }
        if (first > op->index) {
            break;
        }
        last = first;
        while (last + 1 <= op->index && g->terms[last + 1] != 0 &&
               rng_below(rng, 8) != 0) {
            last++;
        }
        op->live[op->live_count][0] = first;
        op->live[op->live_count++][1] = last;
        at = last + 2;
    }
}

static bool
choose_snapshot(const struct model_group *g, struct rng *rng, struct op *op)
{
    if (g->last == g->snapshot) {
        return false;
    }
    op->index = rng_between(rng, g->snapshot + 1, g->last);
    op->term = g->terms[op->index];
    choose_live(g, rng, op);
    return true;
}

/* Everything above the snapshot that is live must be staged or present. */
static bool
choose_install(const struct model_group *g, struct rng *rng,
               uint64_t *term_next, struct op *op)
{
    struct model_group seen = *g;

    op->index = g->snapshot + 1 + rng_below(rng, 30);
    if (op->index > MODEL_INDEX_MAX) {
        return false;
    }
    for (uint64_t i = 1; i <= op->index; i++) {
        if (g->staged[i] != 0) {
            seen.terms[i] = g->staged[i];
        }
    }
    choose_live(&seen, rng, op);
    op->term =
        seen.terms[op->index] != 0 ? seen.terms[op->index] : (*term_next)++;
    return true;
}

static bool
choose_stage(const struct model_group *g, struct rng *rng, uint64_t *term_next,
             struct op *op)
{
    op->index = 1 + rng_below(rng, g->last + 10);
    if (op->index > MODEL_INDEX_MAX) {
        return false;
    }
    if (op->index <= g->snapshot) {
        op->term = g->terms[op->index];
        return op->term != 0;
    }
    op->term =
        g->staged[op->index] != 0 ? g->staged[op->index] : (*term_next)++;
    return true;
}

static bool
choose_append(const struct model_group *g, struct rng *rng, uint64_t *term_next,
              struct op *op)
{
    op->index = g->last + 1;
    if (rng_below(rng, 10) == 0 && g->last > g->snapshot) {
        op->index = rng_between(rng, g->snapshot + 1, g->last);
    }
    if (op->index > MODEL_INDEX_MAX) {
        op->kind = OP_DELETE;
        return true;
    }
    if (op->index <= g->last) {
        /* Newer than all there was: else what follows could have an index and
         * a term that were there already, after something else. */
        op->term = ++*term_next;
        return true;
    }
    op->term = rng_below(rng, 20) == 0 ? (*term_next)++ : *term_next;
    if (g->last > 0 && g->terms[g->last] != 0 && rng_below(rng, 4) != 0) {
        op->term = g->terms[g->last];
    }
    return true;
}

static enum op_kind
choose_kind(struct rng *rng)
{
    uint64_t dice = rng_below(rng, 200);

    if (dice < 4) {
        return OP_DELETE;
    }
    if (dice < 20) {
        return OP_HARD;
    }
    if (dice < 24) {
        return OP_CUT;
    }
    if (dice < 34) {
        return OP_SNAPSHOT;
    }
    if (dice < 50) {
        return OP_STAGE;
    }
    if (dice < 52) {
        return OP_STAGE_DROP;
    }
    return dice < 55 ? OP_INSTALL : OP_APPEND;
}

bool
model_choose(const struct model *m, struct rng *rng, uint64_t *term_next,
             struct op *out)
{
    const struct model_group *g;

    memset(out, 0, sizeof(*out));
    out->group = (unsigned)rng_below(rng, MODEL_GROUPS);
    g = &m->groups[out->group];
    out->kind = g->exists ? choose_kind(rng) : OP_CREATE;
    switch (out->kind) {
    case OP_CREATE:
        out->is_volatile = rng_below(rng, 6) == 0;
        return true;
    case OP_HARD:
        out->term = (*term_next)++;
        out->index = rng_below(rng, 3);
        return true;
    case OP_APPEND:
        return choose_append(g, rng, term_next, out);
    case OP_CUT:
        if (g->last == g->snapshot) {
            return false;
        }
        out->index = rng_between(rng, g->snapshot + 1, g->last);
        (*term_next)++;
        return true;
    case OP_SNAPSHOT:
        return choose_snapshot(g, rng, out);
    case OP_STAGE:
        return choose_stage(g, rng, term_next, out);
    case OP_INSTALL:
        return choose_install(g, rng, term_next, out);
    case OP_DELETE:
    case OP_STAGE_DROP:
        return true;
    case OP_KINDS:
    default:
        return false;
    }
}

static void
keep_live(struct model_group *g, const struct op *op)
{
    for (uint64_t i = 1; i <= op->index; i++) {
        bool live = false;

        for (size_t k = 0; k < op->live_count; k++) {
            live = live || (op->live[k][0] <= i && i <= op->live[k][1]);
        }
        if (!live) {
            g->terms[i] = 0;
        }
    }
    g->snapshot = op->index;
    g->snapshot_term = op->term;
}

static void
cut(struct model_group *g, uint64_t from)
{
    for (uint64_t i = from; i <= MODEL_INDEX_MAX; i++) {
        g->terms[i] = 0;
    }
    g->last = from - 1;
}

static void
install(struct model_group *g, const struct op *op)
{
    for (uint64_t i = 1; i <= op->index; i++) {
        if (g->staged[i] != 0) {
            g->terms[i] = g->staged[i];
        }
    }
    keep_live(g, op);
    cut(g, op->index + 1);
    memset(g->staged, 0, sizeof(g->staged));
}

void
model_apply(struct model *m, const struct op *op)
{
    struct model_group *g = &m->groups[op->group];

    switch (op->kind) {
    case OP_CREATE:
        g->exists = true;
        g->is_volatile = op->is_volatile;
        break;
    case OP_DELETE:
        memset(g, 0, sizeof(*g));
        break;
    case OP_HARD:
        g->term = op->term;
        g->vote = op->index;
        break;
    case OP_APPEND:
        cut(g, op->index);
        g->terms[op->index] = op->term;
        g->last = op->index;
        break;
    case OP_CUT:
        cut(g, op->index);
        break;
    case OP_SNAPSHOT:
        keep_live(g, op);
        break;
    case OP_STAGE:
        g->staged[op->index] = op->term;
        break;
    case OP_STAGE_DROP:
        memset(g->staged, 0, sizeof(g->staged));
        break;
    case OP_INSTALL:
        install(g, op);
        break;
    case OP_KINDS:
    default:
        cr_assert(false, "no such operation");
    }
}

void
model_restart(struct model *m)
{
    for (unsigned i = 0; i < MODEL_GROUPS; i++) {
        struct model_group *g = &m->groups[i];

        if (g->is_volatile) {
            memset(g, 0, sizeof(*g));
        }
        memset(g->staged, 0, sizeof(g->staged));
    }
}

bool
model_has_staged(const struct model *m)
{
    for (unsigned i = 0; i < MODEL_GROUPS; i++) {
        for (uint64_t at = 1; at <= MODEL_INDEX_MAX; at++) {
            if (m->groups[i].staged[at] != 0) {
                return true;
            }
        }
    }
    return false;
}

static void
perform_snapshot(struct rig *r, struct op *op)
{
    struct ranges live;
    struct store_snapshot snap = {.index = op->index,
                                  .term = op->term,
                                  .configuration_index = op->index / 2,
                                  .live = &live};
    qr_index missing = 0;

    ranges_init(&live);
    for (size_t i = 0; i < op->live_count; i++) {
        ranges_add(&live, op->live[i][0], op->live[i][1]);
    }
    snap.manifest =
        rig_body(id_of(op->group), op->index, op->term, op->index % 300);
    snap.configuration = slice_copy(&op->index, sizeof(op->index));
    if (op->kind == OP_SNAPSHOT) {
        op->batch = store_snapshot(r->store, id_of(op->group), &snap);
    } else {
        int rv = store_install(r->store, id_of(op->group), &snap, &op->batch,
                               &missing);

        cr_assert_eq(rv, 0, "entry %llu", (unsigned long long)missing);
    }
    slice_unref(&snap.manifest);
    slice_unref(&snap.configuration);
    ranges_deinit(&live);
}

void
model_perform(struct rig *r, struct op *op)
{
    qr_group_id id = id_of(op->group);
    struct slice header = slice_copy(&id, sizeof(id));
    struct store_entry e = {.term = op->term, .type = 1};

    switch (op->kind) {
    case OP_CREATE:
        op->batch = store_group_create(r->store, id, &header, op->is_volatile);
        break;
    case OP_DELETE:
        op->batch = store_group_delete(r->store, id);
        break;
    case OP_HARD:
        op->batch = store_hard_state(r->store, id, op->term, op->index);
        break;
    case OP_APPEND:
    case OP_STAGE:
        e.data = rig_body(id, op->index, op->term,
                          model_size(op->group, op->index, op->term));
        op->batch = op->kind == OP_APPEND
                        ? store_append(r->store, id, op->index, &e, 1)
                        : store_stage(r->store, id, op->index, &e);
        slice_unref(&e.data);
        break;
    case OP_CUT:
        op->batch = store_append(r->store, id, op->index, NULL, 0);
        break;
    case OP_STAGE_DROP:
        store_stage_drop(r->store, id);
        op->batch = store_current(r->store);
        break;
    case OP_SNAPSHOT:
    case OP_INSTALL:
        perform_snapshot(r, op);
        break;
    case OP_KINDS:
    default:
        break;
    }
    slice_unref(&header);
}

static void
check_entries(struct rig *r, unsigned group, const struct model_group *g)
{
    for (uint64_t i = 1; i <= MODEL_INDEX_MAX; i++) {
        uint64_t term = g->terms[i];

        if (term != 0) {
            cr_assert(
                rig_has(r, id_of(group), i, term, model_size(group, i, term)),
                "group %u entry %llu of term %llu", group,
                (unsigned long long)i, (unsigned long long)term);
        } else if (i != g->snapshot) {
            cr_assert_eq(store_term(r->store, id_of(group), i), 0,
                         "group %u entry %llu has risen", group,
                         (unsigned long long)i);
        }
    }
}

static void
check_snapshot(const struct model_group *g, unsigned group,
               const struct store_group_info *info)
{
    struct slice want;

    cr_assert_eq(info->has_snapshot, g->snapshot != 0);
    cr_assert_eq(info->snapshot.index, g->snapshot);
    cr_assert_eq(info->snapshot.term, g->snapshot_term);
    if (g->snapshot == 0) {
        return;
    }
    cr_assert_eq(info->snapshot.configuration_index, g->snapshot / 2);
    cr_assert_eq(info->snapshot.configuration.size, sizeof(g->snapshot));
    cr_assert_eq(memcmp(info->snapshot.configuration.data, &g->snapshot,
                        sizeof(g->snapshot)),
                 0);
    want = rig_body(id_of(group), g->snapshot, g->snapshot_term,
                    g->snapshot % 300);
    cr_assert_eq(info->snapshot.manifest.size, want.size);
    cr_assert_eq(memcmp(info->snapshot.manifest.data, want.data, want.size), 0);
    slice_unref(&want);
    for (uint64_t i = 1; i <= g->snapshot; i++) {
        cr_assert_eq(ranges_has(info->snapshot.live, i), g->terms[i] != 0);
    }
}

void
model_check(struct rig *r, const struct model *m)
{
    for (unsigned i = 0; i < MODEL_GROUPS; i++) {
        const struct model_group *g = &m->groups[i];
        struct store_group_info info;
        int rv = store_group_info(r->store, id_of(i), &info);

        cr_assert_eq(rv, g->exists ? 0 : -QR_ENOENT, "group %u: %d", i, rv);
        if (!g->exists) {
            continue;
        }
        cr_assert_eq(info.term, g->term);
        cr_assert_eq(info.vote, g->vote);
        cr_assert_eq(info.is_volatile, g->is_volatile);
        cr_assert_eq(info.last_index, g->last, "group %u: %llu, not %llu", i,
                     (unsigned long long)info.last_index,
                     (unsigned long long)g->last);
        cr_assert_eq(info.first_index, g->snapshot + 1);
        cr_assert_eq(info.header.size, sizeof(qr_group_id));
        check_snapshot(g, i, &info);
        check_entries(r, i, g);
    }
}

static void
repair_entry(struct rig *r, unsigned group, uint64_t index, uint64_t term)
{
    struct store_entry e = {.term = term, .type = 1};
    uint64_t batch = 0;
    int rv;

    e.data =
        rig_body(id_of(group), index, term, model_size(group, index, term));
    rv = store_repair(r->store, id_of(group), index, &e, &batch);
    slice_unref(&e.data);
    cr_assert_eq(rv, 0, "group %u entry %llu: %d", group,
                 (unsigned long long)index, rv);
}

/* Entry INDEX of a group that is not lost; true if it is damaged. */
static bool
check_damaged_entry(struct rig *r, unsigned group, uint64_t index,
                    uint64_t term, bool repair)
{
    struct store_entry e;

    cr_assert_eq(store_term(r->store, id_of(group), index), term,
                 "group %u entry %llu", group, (unsigned long long)index);
    if (rig_has(r, id_of(group), index, term, model_size(group, index, term))) {
        return false;
    }
    cr_assert(store_is_damaged(r->store, id_of(group), index),
              "group %u entry %llu", group, (unsigned long long)index);
    cr_assert_eq(store_read(r->store, id_of(group), index, &e), -QR_ECORRUPT);
    if (repair) {
        repair_entry(r, group, index, term);
        cr_assert(rig_has(r, id_of(group), index, term,
                          model_size(group, index, term)));
    }
    return true;
}

static unsigned
check_damaged_group(struct rig *r, unsigned group, const struct model_group *g,
                    const struct store_group_info *info, bool repair)
{
    unsigned damaged = 0;

    cr_assert_eq(info->term, g->term, "group %u", group);
    cr_assert_eq(info->vote, g->vote, "group %u", group);
    cr_assert_eq(info->last_index, g->last, "group %u: %llu, not %llu", group,
                 (unsigned long long)info->last_index,
                 (unsigned long long)g->last);
    cr_assert_eq(info->first_index, g->snapshot + 1);
    cr_assert_eq(info->header.size, sizeof(qr_group_id));
    check_snapshot(g, group, info);
    for (uint64_t i = 1; i <= MODEL_INDEX_MAX; i++) {
        if (g->terms[i] != 0) {
            damaged += check_damaged_entry(r, group, i, g->terms[i], repair);
        } else if (i != g->snapshot) {
            cr_assert_eq(store_term(r->store, id_of(group), i), 0,
                         "group %u entry %llu has risen", group,
                         (unsigned long long)i);
        }
    }
    return damaged;
}

unsigned
model_check_damaged(struct rig *r, const struct model *m, bool is_unsure,
                    bool repair)
{
    unsigned damaged = 0;

    for (unsigned i = 0; i < MODEL_GROUPS; i++) {
        const struct model_group *g = &m->groups[i];
        struct store_group_info info;
        int rv = store_group_info(r->store, id_of(i), &info);

        if (rv != 0) {
            cr_assert(!g->exists || is_unsure, "group %u is gone", i);
        } else if (!info.is_lost) {
            cr_assert(g->exists, "group %u has risen", i);
            damaged += check_damaged_group(r, i, g, &info, repair);
        }
    }
    return damaged;
}
