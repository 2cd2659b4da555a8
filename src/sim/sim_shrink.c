/* See sim_shrink.h. Each trial is a whole run in a process of its own. */
#include "sim/sim_shrink.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "sim/sim_job.h"

enum {
    US = 1000000
};

struct shrinker {
    struct sim_shrink *bounds;
    struct sim_plan *best;
    struct sim_plan *trial;
    char contract[SIM_CONTRACT_SIZE];
    uint64_t end_s;
};

static uint64_t
seconds(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec;
}

void
sim_contract(const char *violation, char out[SIM_CONTRACT_SIZE])
{
    const char *end = strchr(violation, ':');
    const char *second = end == NULL ? NULL : strchr(end + 1, ':');
    size_t size = end == NULL ? strlen(violation) : (size_t)(end - violation);

    /* FILE:LINE: TEXT */
    if (second != NULL && end[1] >= '0' && end[1] <= '9') {
        size = (size_t)(second - violation);
    }
    (void)snprintf(out, SIM_CONTRACT_SIZE, "%.*s", (int)size, violation);
}

static bool
is_over(const struct shrinker *s)
{
    return s->bounds->runs >= s->bounds->runs_max || seconds() >= s->end_s;
}

/* Run the trial; if it fails as the best does, it is the best now. */
static bool
try_it(struct shrinker *s)
{
    struct sim_world_config config = {.plan = s->trial};
    struct sim_world_result result;
    char contract[SIM_CONTRACT_SIZE];

    if (is_over(s) || sim_job_run(&config, &result) != 0) {
        return false;
    }
    s->bounds->runs++;
    sim_contract(result.violation, contract);
    if (strcmp(contract, s->contract) != 0) {
        return false;
    }
    s->bounds->result = result;
    *s->best = *s->trial;
    return true;
}

/* Without faults FIRST to LIMIT - 1 of the best. */
static bool
try_without(struct shrinker *s, size_t first, size_t limit)
{
    const struct sim_plan *p = s->best;

    *s->trial = *p;
    memmove(&s->trial->faults[first], &p->faults[limit],
            (p->faults_count - limit) * sizeof(p->faults[0]));
    s->trial->faults_count -= limit - first;
    return try_it(s);
}

/* Those that began after it had failed already. */
static void
drop_later(struct shrinker *s)
{
    size_t first = s->best->faults_count;
    uint64_t failed_us = s->bounds->result.virtual_us;

    while (failed_us > 0 && first > 0 &&
           s->best->faults[first - 1].at_us > failed_us) {
        first--;
    }
    if (first < s->best->faults_count) {
        (void)try_without(s, first, s->best->faults_count);
    }
}

/* Ever smaller pieces, until none can go. */
static void
drop_pieces(struct shrinker *s)
{
    size_t piece = s->best->faults_count;

    while (piece > 0 && !is_over(s)) {
        size_t at = 0;

        while (at < s->best->faults_count && !is_over(s)) {
            size_t limit = MIN(at + piece, s->best->faults_count);

            if (!try_without(s, at, limit)) {
                at += piece;
            }
        }
        piece /= 2;
    }
}

/* An end of the load soon after the last fault. */
static void
drop_time(struct shrinker *s)
{
    const struct sim_plan *p = s->best;
    uint64_t last_us = 4ULL * US;

    for (size_t i = 0; i < p->faults_count; i++) {
        last_us = MAX(last_us, p->faults[i].at_us + p->faults[i].for_us + US);
    }
    if (last_us < p->end_us) {
        *s->trial = *p;
        s->trial->end_us = last_us;
        (void)try_it(s);
    }
}

static void
drop_clients(struct shrinker *s)
{
    for (uint64_t count = 1; count < s->best->clients; count++) {
        *s->trial = *s->best;
        s->trial->clients = count;
        if (try_it(s)) {
            return;
        }
    }
}

static void
drop_shards(struct shrinker *s)
{
    if (s->best->shards > 1) {
        *s->trial = *s->best;
        s->trial->shards = 1;
        (void)try_it(s);
    }
}

void
sim_shrink(struct sim_plan *plan, const struct sim_world_result *result,
           struct sim_shrink *shrink)
{
    struct shrinker s = {.bounds = shrink,
                         .best = plan,
                         .trial = mem_zalloc(1, sizeof(*plan)),
                         .end_s = seconds() + shrink->seconds_max};

    shrink->runs = 0;
    shrink->result = *result;
    sim_contract(result->violation, s.contract);
    drop_later(&s);
    drop_pieces(&s);
    drop_clients(&s);
    drop_shards(&s);
    drop_time(&s);
    drop_pieces(&s);
    mem_free(s.trial);
}
