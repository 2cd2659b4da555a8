/* Queues declared before and deleted after, or for their own sake. */
#include "base/check.h"
#include "base/mem.h"
#include "bench/clock.h"
#include "bench/run_priv.h"

void
run_admins_open(struct run *r, enum admin_task task, uint32_t count,
                uint32_t depth, struct histogram *latency)
{
    const struct bench_options *o = r->options;
    struct admin_work work = {
        .task = task,
        .step = count,
        .end = (uint32_t)o->queues,
        .depth = depth,
        .latency = latency,
    };

    ASSERT(r->admins == NULL);
    ASSERT(count > 0);
    r->admins_count = count;
    r->admins = mem_zalloc(count, sizeof(r->admins[0]));
    for (work.first = 0; work.first < count; work.first++) {
        admin_init(&r->admins[work.first], o, &r->setup, &work);
        admin_open(&r->admins[work.first], work.first % o->hosts.count);
    }
}

void
run_admins_tick(struct run *r, uint64_t now_us)
{
    uint32_t i = 0;

    for (i = 0; i < r->admins_count; i++) {
        client_tick(&r->admins[i].client, now_us);
    }
}

bool
run_admins_done(struct run *r, uint64_t now_us)
{
    uint32_t i = 0;

    (void)now_us;
    for (i = 0; i < r->admins_count; i++) {
        if (r->admins[i].error != NULL) {
            run_fail(r, "%s", r->admins[i].error);
        }
    }
    for (i = 0; i < r->admins_count; i++) {
        if (!admin_is_over(&r->admins[i])) {
            return r->is_failed;
        }
    }
    return true;
}

uint64_t
run_admins_progress(const struct run *r)
{
    uint64_t done = 0;
    uint32_t i = 0;

    for (i = 0; i < r->admins_count; i++) {
        done += r->admins[i].done;
    }
    return done;
}

void
run_admins_free(struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->admins_count; i++) {
        admin_deinit(&r->admins[i]);
    }
    mem_free(r->admins);
    r->admins = NULL;
    r->admins_count = 0;
}
