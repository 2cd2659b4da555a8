/* Random operations on several groups, against a model; power cuts, kills and
 * restarts at random points. After each the store must be exactly what the
 * model was at the batch that the store says it recovered, and that must not
 * be before the last one reported as durable. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lib/harness.h"
#include "model.h"
#include "rig.h"

enum {
    STEPS = 4000,
    SEEDS = 16
};

struct run {
    struct rig rig;
    struct rng rng;
    struct model model; /* with all operations */
    struct model base;  /* at the last restart */
    struct op *ops;     /* since then */
    size_t ops_count;
    uint64_t term_next;
    unsigned restarts;
    size_t segments_max;
    struct store_fetch fetch;
    uint64_t fetch_term; /* of what it should bring; 0: nothing */
    bool fetching;
};

static void
start(struct run *run, uint64_t seed)
{
    memset(run, 0, sizeof(*run));
    rng_init(&run->rng, seed * 31);
    rig_init(&run->rig, seed);
    run->ops = mem_zalloc(MODEL_OPS_MAX, sizeof(*run->ops));
    run->term_next = 1;
}

static void
finish(struct run *run)
{
    rig_deinit(&run->rig);
    mem_free(run->ops);
}

/* The store was opened again: find the state that it must have. */
static void
check_recovered(struct run *run, uint64_t reported)
{
    uint64_t recovered = store_durable(run->rig.store);

    cr_assert_geq(recovered, reported);
    for (size_t i = 0; i < run->ops_count; i++) {
        const struct op *op = &run->ops[i];

        /* Batch 0 is that of volatile groups, which are gone. */
        if (op->batch > 0 && op->batch <= recovered) {
            model_apply(&run->base, op);
        }
    }
    model_restart(&run->base);
    run->model = run->base;
    run->ops_count = 0;
    run->restarts++;
    model_check(&run->rig, &run->model);
}

/* A start writes nothing that a second start would see. */
static void
check_idempotent(struct run *run)
{
    uint64_t durable = store_durable(run->rig.store);
    uint64_t live = rig_stats(&run->rig).live_bytes;

    rig_crash(&run->rig, 0);
    rig_must_open(&run->rig);
    cr_assert_eq(store_durable(run->rig.store), durable);
    cr_assert_eq(rig_stats(&run->rig).live_bytes, live);
    model_check(&run->rig, &run->model);
}

/* What a crash cuts short never comes back. */
static void
forget_fetch(struct run *run)
{
    run->fetching = false;
}

static void
power_cut(struct run *run)
{
    static const uint32_t keep[] = {0, 300000, 700000, 1000000};
    uint64_t reported = run->rig.durable;

    forget_fetch(run);
    rig_crash(&run->rig, keep[rng_below(&run->rng, 4)]);
    rig_must_open(&run->rig);
    check_recovered(run, reported);
    if (rng_below(&run->rng, 4) == 0) {
        check_idempotent(run);
    }
}

/* The process dies and starts, then the power goes: what the first start saw
 * must not be lost, though nobody had synced it before. */
static void
kill_and_cut(struct run *run)
{
    uint64_t reported = run->rig.durable;

    disk_sim_kill(run->rig.sim);
    forget_fetch(run);
    store_close(&run->rig.store);
    rig_must_open(&run->rig);
    check_recovered(run, reported);
    check_idempotent(run);
}

static void
restart_in_peace(struct run *run)
{
    uint64_t live;
    bool staged = model_has_staged(&run->model);

    disk_sim_hold_reads(run->rig.sim, false);
    rig_settle(&run->rig);
    live = rig_stats(&run->rig).live_bytes;
    rig_reopen(&run->rig);
    check_recovered(run, run->rig.durable);
    if (!staged) {
        cr_assert_eq(rig_stats(&run->rig).live_bytes, live);
    }
}

static void
on_fetched(struct store_fetch *fetch)
{
    struct run *run = fetch->arg;
    unsigned group = (unsigned)(fetch->group - MODEL_FIRST_ID);
    struct slice want;

    run->fetching = false;
    if (fetch->result == -QR_ENOENT) {
        cr_assert_eq(run->fetch_term, 0);
        return;
    }
    cr_assert_eq(fetch->result, 0);
    cr_assert_eq(fetch->entry.term, run->fetch_term);
    want = rig_body(fetch->group, fetch->index, fetch->entry.term,
                    model_size(group, fetch->index, fetch->entry.term));
    cr_assert_eq(fetch->entry.data.size, want.size);
    cr_assert_eq(memcmp(fetch->entry.data.data, want.data, want.size), 0);
    slice_unref(&want);
    slice_unref(&fetch->entry.data);
}

/* What is asked for is what was there then, whatever happens meanwhile. */
static void
fetch(struct run *run)
{
    unsigned group = (unsigned)rng_below(&run->rng, MODEL_GROUPS);
    const struct model_group *g = &run->model.groups[group];
    struct store_fetch *f = &run->fetch;

    if (run->fetching) {
        return;
    }
    memset(f, 0, sizeof(*f));
    f->done = on_fetched;
    f->arg = run;
    f->group = MODEL_FIRST_ID + group;
    f->index = 1 + rng_below(&run->rng, MIN(g->last + 1, MODEL_INDEX_MAX));
    run->fetch_term = g->terms[f->index];
    run->fetching = true;
    store_fetch(run->rig.store, f);
    cr_assert(run->fetching);
}

static void
operate(struct run *run)
{
    struct op op;

    if (!model_choose(&run->model, &run->rng, &run->term_next, &op)) {
        return;
    }
    cr_assert_lt(run->ops_count, MODEL_OPS_MAX);
    model_perform(&run->rig, &op);
    model_apply(&run->model, &op);
    run->ops[run->ops_count++] = op;
}

static void
step(struct run *run)
{
    uint64_t dice = rng_below(&run->rng, 1000);
    struct store_stats stats;

    if (dice < 6) {
        power_cut(run);
    } else if (dice < 9) {
        kill_and_cut(run);
    } else if (dice < 12) {
        restart_in_peace(run);
    } else if (dice < 16) {
        model_check(&run->rig, &run->model);
    } else if (dice < 20) {
        disk_sim_hold_reads(run->rig.sim, dice % 2 == 0);
    } else if (dice < 50) {
        fetch(run);
    } else if (dice < 200) {
        store_flush(run->rig.store);
    } else if (dice < 400) {
        (void)disk_sim_complete_one(run->rig.sim);
    } else {
        operate(run);
    }
    cr_assert_eq(run->rig.failures, 0, "%s", run->rig.failure);
    stats = rig_stats(&run->rig);
    run->segments_max = MAX(run->segments_max, stats.segments);
}

Test(property, recovers_exactly_what_was_durable)
{
    unsigned restarts = 0;
    size_t segments = 0;
    uint64_t written = 0;
    uint64_t used = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct run *run = mem_zalloc(1, sizeof(*run));
        struct disk_sim_stats disk;

        start(run, seed);
        for (int i = 0; i < STEPS; i++) {
            step(run);
        }
        disk_sim_hold_reads(run->rig.sim, false);
        power_cut(run);
        restarts += run->restarts;
        disk_sim_stats(run->rig.sim, &disk);
        written += disk.bytes_written;
        used += run->segments_max * STORE_SEGMENT_SIZE_MIN;
        segments = MAX(segments, run->segments_max);
        finish(run);
        mem_free(run);
    }
    /* The test is worth something only if this happened often. */
    cr_assert_gt(restarts, SEEDS * 5);
    cr_assert_gt(segments, 3);
    cr_assert_gt(written, 2 * used, "%llu, %llu", (unsigned long long)written,
                 (unsigned long long)used);
}
