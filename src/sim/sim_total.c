/* See sim_total.h. */
#include "sim/sim_total.h"

#include <inttypes.h>

#include "base/buf.h"

enum {
    US = 1000000
};

/* The counters of a result by name, in the order in which they are printed. */
#define EACH_COUNTER(X) \
    X(published)        \
    X(confirmed)        \
    X(delivered)        \
    X(redelivered)      \
    X(frames)           \
    X(frames_lost)      \
    X(frames_twice)     \
    X(comparisons)      \
    X(given_up)         \
    X(skipped)

static uint64_t
faults_of(const struct sim_world_result *r)
{
    uint64_t count = 0;

    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        count += r->faults[i];
    }
    return count;
}

void
sim_total_add(struct sim_total *t, const struct sim_world_result *result)
{
    struct sim_world_result *sum = &t->sum;

    t->seeds++;
    t->failed += result->violation[0] == '\0' ? 0 : 1;
    sum->virtual_us += result->virtual_us;
    sum->rested_us = MAX(sum->rested_us, result->rested_us);
    sum->recovered_us = MAX(sum->recovered_us, result->recovered_us);
#define ADD(name) sum->name += result->name;
    EACH_COUNTER(ADD)
#undef ADD
    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        sum->faults[i] += result->faults[i];
    }
}

static void
print_faults(const struct sim_world_result *r, const char *format_end,
             struct buf *out)
{
    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        if (r->faults[i] > 0) {
            buf_putf(out, " %s=%" PRIu64,
                     sim_fault_name((enum sim_fault_kind)i), r->faults[i]);
        }
    }
    buf_putf(out, "%s", format_end);
}

void
sim_total_print(const struct sim_total *t, double seconds, struct buf *out)
{
    const struct sim_world_result *s = &t->sum;
    double virtual_s = (double)s->virtual_us / US;

    buf_putf(out,
             "%" PRIu64 " seeds, %" PRIu64 " failed; %.2f virtual hours in "
             "%.0f s, %.0f times real time\n",
             t->seeds, t->failed, virtual_s / 3600, seconds,
             seconds > 0 ? virtual_s / seconds : 0.0);
    buf_putf(out,
             "%" PRIu64 " messages published, %" PRIu64 " confirmed, %" PRIu64
             " delivered; %" PRIu64 " frames, %" PRIu64
             " lost; replicas compared %" PRIu64
             " times; slowest to recover %.1f s, to come to rest %.1f s\n",
             s->published, s->confirmed, s->delivered, s->frames,
             s->frames_lost, s->comparisons, (double)s->recovered_us / US,
             (double)s->rested_us / US);
    buf_putf(out, "%" PRIu64 " faults:", faults_of(s));
    print_faults(s, "\n", out);
}

void
sim_total_print_keys(const struct sim_total *t, double seconds, struct buf *out)
{
    const struct sim_world_result *s = &t->sum;

    buf_putf(out,
             "total seeds=%" PRIu64 " failed=%" PRIu64
             " seconds=%.1f virtual_s=%.1f faults=%" PRIu64,
             t->seeds, t->failed, seconds, (double)s->virtual_us / US,
             faults_of(s));
#define PUT(name) buf_putf(out, " " #name "=%" PRIu64, s->name);
    EACH_COUNTER(PUT)
#undef PUT
    print_faults(s, "\n", out);
}

void
sim_result_print(const struct sim_plan *plan, const struct sim_world_result *r,
                 struct buf *out)
{
    buf_putf(out,
             "seed %" PRIu64 ": %s, trace %016" PRIx64 ", %" PRIu64
             " nodes, %.1f s, published %" PRIu64 ", confirmed %" PRIu64
             ", delivered %" PRIu64 " (%" PRIu64 " again), frames %" PRIu64
             " (%" PRIu64 " lost), compared %" PRIu64
             ", recovered in %.1f s, at rest %.1f s later with %" PRIu64
             " KiB;",
             plan->seed, r->violation[0] == '\0' ? "good" : "BROKEN", r->trace,
             plan->nodes, (double)r->virtual_us / US, r->published,
             r->confirmed, r->delivered, r->redelivered, r->frames,
             r->frames_lost, r->comparisons, (double)r->recovered_us / US,
             (double)r->rested_us / US, r->memory >> 10);
    print_faults(r, "\n", out);
}
