/* Random histories, then rot in a few random places, then a start, perhaps one
 * that is cut short. The store is what the model is, or says what it lacks:
 * never less, and nothing else; also when sectors that could not be read can be
 * again, after the log has gone on. Then everything that can be repaired is,
 * and later starts, and the emptying of segments, find that whole.
 *
 * The last batches of a history are of no group of the model, since rot in the
 * very last one is taken for a torn tail. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lib/harness.h"
#include "model.h"
#include "rig.h"

enum {
    SEEDS = 25,
    ROUNDS = 12, /* of rot to a history */
    PLACES = 3,  /* of rot, at most */
    LAST_BATCHES = 8,
    LAST_GROUP = 99,
    NEW_GROUP = 100, /* and the next ones: made after the rot */
    OPERATIONS = 700
};

struct count {
    unsigned rounds;
    unsigned damaged; /* entries */
    unsigned lost;
    unsigned unsure;
    unsigned whole; /* nothing of it all was hit */
    unsigned stopped;
};

struct listed {
    unsigned lost;
    bool is_unsure;
};

struct run {
    struct rig rig;
    struct rng rng;
    struct model model;
    uint64_t term_next;
    struct count *count;
};

static void
operate(struct run *run)
{
    struct op op;

    if (model_choose(&run->model, &run->rng, &run->term_next, &op)) {
        model_perform(&run->rig, &op);
        model_apply(&run->model, &op);
    }
    if (rng_below(&run->rng, 3) == 0) {
        rig_settle(&run->rig);
    }
    if (rng_below(&run->rng, 150) == 0) {
        rig_settle(&run->rig);
        rig_reopen(&run->rig);
        model_restart(&run->model);
    }
    if (rng_below(&run->rng, 40) == 0) {
        rig_pass(&run->rig, 2000);
    }
}

static void
make_history(struct run *run)
{
    rig_use_timers(&run->rig);
    rig_reopen(&run->rig);
    for (int i = 0; i < OPERATIONS; i++) {
        operate(run);
    }
    rig_settle(&run->rig);
    rig_pass(&run->rig, 1);
    rig_create(&run->rig, LAST_GROUP);
    for (qr_term term = 1; term <= LAST_BATCHES; term++) {
        store_hard_state(run->rig.store, LAST_GROUP, term, 1);
        rig_settle(&run->rig);
    }
    rig_close(&run->rig);
    model_restart(&run->model);
}

static void
on_listed(void *arg, const struct store_damage *damage)
{
    struct listed *l = arg;

    if (damage->kind == STORE_DAMAGE_MEMORY) {
        l->lost += damage->group != 0 && damage->group != LAST_GROUP;
        l->is_unsure = l->is_unsure || damage->group == 0;
    }
}

static struct listed
list(struct run *run)
{
    struct listed l = {0, false};

    store_foreach_damage(run->rig.store, on_listed, &l);
    return l;
}

/* Open the store; now and then some attempts are cut short before. */
static void
open_store(struct run *run)
{
    while (rng_below(&run->rng, 3) == 0) {
        disk_sim_stop_after(run->rig.sim, rng_below(&run->rng, 60));
        if (rig_open(&run->rig) == 0) {
            for (uint64_t i = rng_below(&run->rng, 4); i > 0; i--) {
                store_flush(run->rig.store);
                (void)disk_sim_complete_one(run->rig.sim);
            }
            run->rig.durable = 0;
            rig_crash(&run->rig, 500000);
        } else {
            disk_sim_crash(run->rig.sim, 500000);
        }
        run->count->stopped++;
    }
    rig_must_open(&run->rig);
}

static void
rot(struct run *run)
{
    uint64_t places = 1 + rng_below(&run->rng, PLACES);
    struct disk_sim_spot spot;

    for (uint64_t i = 0; i < places; i++) {
        if (rng_below(&run->rng, 2) == 0) {
            (void)disk_sim_rot(run->rig.sim, &spot);
        } else {
            (void)disk_sim_spoil(run->rig.sim, &spot);
        }
    }
}

/* Those that were made since know nothing yet, whatever comes back. */
static void
check_new(struct run *run, qr_group_id last)
{
    for (qr_group_id id = NEW_GROUP; id <= last; id++) {
        struct store_group_info info;

        cr_assert_eq(store_group_info(run->rig.store, id, &info), 0);
        cr_assert_not(info.is_lost);
        cr_assert_eq(info.term, 0);
        cr_assert_eq(info.vote, 0);
        cr_assert_eq(info.last_index, 0);
        cr_assert_not(info.has_snapshot);
    }
}

/* The log goes on, with another group; then, perhaps, what could not be read
 * can be again. */
static void
go_on(struct run *run, qr_group_id fresh)
{
    struct rig *r = &run->rig;
    struct store_group_info info;
    bool writes = rng_below(&run->rng, 2) == 0;

    if (writes && store_group_info(r->store, LAST_GROUP, &info) == 0 &&
        !info.is_lost) {
        store_hard_state(r->store, LAST_GROUP, ++info.term, 1);
    }
    rig_create(r, fresh);
    rig_settle(r);
    rig_close(r);
    if (rng_below(&run->rng, 2) == 0) {
        disk_sim_heal(r->sim);
    }
}

static void
check_round(struct run *run)
{
    struct rig *r = &run->rig;
    struct listed first;
    unsigned damaged;

    rot(run);
    open_store(run);
    first = list(run);
    damaged = model_check_damaged(r, &run->model, first.is_unsure, true);
    run->count->rounds++;
    run->count->damaged += damaged;
    run->count->lost += first.lost;
    run->count->unsure += first.is_unsure;
    run->count->whole += damaged == 0 && first.lost == 0 && !first.is_unsure;
    for (unsigned i = 0; i < 2; i++) {
        struct listed again;

        rig_settle(r);
        rig_pass(r, i * UINT64_C(5000));
        cr_assert_eq(r->failures, 0, "%s", r->failure);
        go_on(run, NEW_GROUP + i);
        open_store(run);
        check_new(run, NEW_GROUP + i);
        again = list(run);
        /* Of those that were gone, what comes back may be lost. */
        cr_assert(again.lost <= first.lost || first.is_unsure);
        (void)model_check_damaged(r, &run->model, first.is_unsure, true);
    }
    rig_settle(r);
    rig_close(r);
}

static void
check_seed(uint64_t seed, struct count *count)
{
    struct run *run = mem_zalloc(1, sizeof(*run));
    struct disk_sim_image *image;

    rng_init(&run->rng, seed * 77);
    run->term_next = 1;
    run->count = count;
    rig_init(&run->rig, seed);
    make_history(run);
    image = disk_sim_copy(run->rig.sim);
    for (int i = 0; i < ROUNDS; i++) {
        disk_sim_roll_back(run->rig.sim, image);
        check_round(run);
    }
    disk_sim_image_free(&image);
    rig_deinit(&run->rig);
    mem_free(run);
}

Test(rot, is_never_silent)
{
    const char *more = getenv("STORE_ROT_SEEDS"); /* FIRST,COUNT: a long run */
    char *end = NULL;
    uint64_t first = more != NULL ? strtoull(more, &end, 10) : 1;
    uint64_t seeds = more != NULL ? strtoull(end + 1, NULL, 10) : SEEDS;
    struct count count = {0};

    for (uint64_t seed = first; seed < first + seeds; seed++) {
        cr_log_info("seed %llu", (unsigned long long)seed);
        check_seed(seed, &count);
    }
    cr_log_info("%u rounds: %u whole, %u entries damaged, %u groups lost, %u "
                "unsure, %u starts cut short",
                count.rounds, count.whole, count.damaged, count.lost,
                count.unsure, count.stopped);
    cr_assert_gt(count.damaged, count.rounds / 10);
    cr_assert_gt(count.whole, count.rounds / 10);
    cr_assert_gt(count.lost, 0);
    cr_assert_gt(count.stopped, count.rounds / 10);
}
