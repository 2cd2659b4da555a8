/* The probes of a run. Their answers take some milliseconds; what is counted
 * is from answer to answer. */
#include "base/check.h"
#include "bench/run_priv.h"

void
run_probes_init(struct run *r)
{
    const struct bench_probes *wanted = &r->options->probes;
    unsigned i = 0;

    for (i = 0; i < wanted->count; i++) {
        r->result->counters[i].name = wanted->list[i];
    }
    for (i = 0; i < wanted->count; i++) {
        if (probe_init(&r->probes[i], &r->loop, wanted->list[i],
                       &r->result->error) != 0) {
            r->is_failed = true;
            return;
        }
        r->probes_count++;
    }
}

void
run_probes_deinit(struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->probes_count; i++) {
        probe_deinit(&r->probes[i]);
    }
}

void
run_probes_begin(struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->probes_count; i++) {
        probe_ask(&r->probes[i]);
    }
}

void
run_probes_end(struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->probes_count; i++) {
        if (!probe_is_asking(&r->probes[i]) &&
            probe_value(&r->probes[i], &r->probes_begin[i])) {
            r->result->counters[i].is_known = true;
            probe_ask(&r->probes[i]);
        }
    }
}

bool
run_probes_done(struct run *r, uint64_t now_us)
{
    uint32_t i = 0;

    (void)now_us;
    for (i = 0; i < r->probes_count; i++) {
        if (probe_is_asking(&r->probes[i])) {
            return false;
        }
    }
    return true;
}

void
run_probes_finish(struct run *r)
{
    struct bench_counter *counter = NULL;
    uint64_t end = 0;
    uint32_t i = 0;

    for (i = 0; i < r->probes_count; i++) {
        counter = &r->result->counters[i];
        counter->is_known =
            counter->is_known && !probe_is_asking(&r->probes[i]) &&
            probe_value(&r->probes[i], &end) && end >= r->probes_begin[i];
        counter->count = counter->is_known ? end - r->probes_begin[i] : 0;
    }
}
