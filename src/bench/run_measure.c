/* Where measuring begins and ends, and what is made of it. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "bench/clock.h"
#include "bench/run_priv.h"
#include "bench/verify.h"

/* The broker's processes, unless one has gone; ERR says which. */
static bool
take_sample(struct run *r, struct sample *out, struct error *err)
{
    if (r->options->pids.count == 0 ||
        sample_take(&r->options->pids, out, err) != 0) {
        return false;
    }
    r->result->spent.resident_peak =
        MAX(r->result->spent.resident_peak, out->resident);
    return true;
}

void
run_measure_begin(struct run *r)
{
    struct traffic *t = &r->traffic;
    struct error err;

    error_clear(&err);
    if (r->is_begun) {
        return;
    }
    r->is_begun = true;
    t->is_measuring = true;
    r->begin_us = bench_now_us();
    t->measure_us = r->begin_us;
    r->begin = t->counts;
    r->begin_own_us = sample_own_cpu_us();
    r->begin_machine_us = sample_machine_cpu_us();
    r->sample_us = r->begin_us;
    r->has_sample = take_sample(r, &r->begin_sample, &err);
    if (r->options->pids.count > 0 && !r->has_sample) {
        run_fail(r, "%s", err.text);
    }
    run_probes_begin(r);
    /* Silence from the begin on counts, also before anything came. */
    t->confirm_gap.last_us = r->begin_us;
    t->deliver_gap.last_us = r->publishers_count > 0 ? r->begin_us : 0;
}

void
run_measure_tick(struct run *r, uint64_t now_us)
{
    struct sample now = {0};
    struct error err;

    error_clear(&err);
    if (r->has_sample &&
        now_us > r->sample_us + (uint64_t)RUN_SAMPLE_MS * BENCH_US_PER_MS) {
        r->sample_us = now_us;
        r->has_sample = take_sample(r, &now, &err);
        if (!r->has_sample && !r->options->quiet) {
            (void)fprintf(stderr, "quorate-bench: %s any more\n", err.text);
        }
    }
}

static double
seconds_between(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? (double)(to_us - from_us) / BENCH_US_PER_S : 0;
}

/* COUNT in so many seconds. */
static double
per_second(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

/* Seconds in which a count was reached that ended by itself: up to its last
 * event. */
static double
own_seconds(const struct run *r, uint64_t last_us, double seconds)
{
    bool ends_itself = r->options->count > 0 || r->options->idle_us > 0;

    return ends_itself && last_us > r->begin_us
               ? seconds_between(r->begin_us, last_us)
               : seconds;
}

void
run_measure_end(struct run *r, uint64_t now_us)
{
    struct bench_result *result = r->result;
    const struct traffic *t = &r->traffic;
    struct sample end = {0};
    struct error err;

    error_clear(&err);
    ASSERT(r->is_begun);
    result->has_figures = true;
    result->seconds = seconds_between(r->begin_us, now_us);
    result->own_cpu_s = seconds_between(r->begin_own_us, sample_own_cpu_us());
    result->machine_cpu_s =
        seconds_between(r->begin_machine_us, sample_machine_cpu_us());
    if (r->has_sample && take_sample(r, &end, &err)) {
        result->spent.is_known = true;
        result->spent.has_io = end.has_io && r->begin_sample.has_io;
        result->spent.cpu_s =
            seconds_between(r->begin_sample.cpu_us, end.cpu_us);
        result->spent.written = end.written - r->begin_sample.written;
        result->spent.write_calls =
            end.write_calls - r->begin_sample.write_calls;
    }
    r->has_sample = false;
    run_probes_end(r);
    result->published = t->counts.published - r->begin.published;
    result->confirmed = t->counts.confirmed - r->begin.confirmed;
    result->delivered = t->counts.delivered - r->begin.delivered;
    result->publish_rate = per_second(result->published, result->seconds);
    result->confirm_rate = per_second(
        result->confirmed, own_seconds(r, t->confirm_last_us, result->seconds));
    result->deliver_rate = per_second(
        result->delivered, own_seconds(r, t->deliver_last_us, result->seconds));
    result->operation_rate = per_second(result->operations, result->seconds);
}

static double
ms(uint64_t us)
{
    return (double)us / BENCH_US_PER_MS;
}

void
run_measure_finish(struct run *r)
{
    struct bench_result *result = r->result;
    const struct traffic *t = &r->traffic;

    run_probes_finish(r);
    result->all = t->counts;
    result->confirm_latency = t->confirm_latency;
    result->deliver_latency = t->deliver_latency;
    result->first_delivery_ms =
        t->deliver_first_us > 0 ? ms(t->deliver_first_us - r->begin_us) : 0;
    result->confirm_gap_ms = ms(t->confirm_gap.longest_us);
    result->deliver_gap_ms = ms(t->deliver_gap.longest_us);
    result->confirm_gap_at_s =
        seconds_between(r->begin_us, t->confirm_gap.longest_at_us);
    result->deliver_gap_at_s =
        seconds_between(r->begin_us, t->deliver_gap.longest_at_us);
    result->worst_confirm_gap_ms = ms(t->worst_confirm_gap_us);
    result->worst_deliver_gap_ms = ms(t->worst_deliver_gap_us);
    if (t->verify != NULL) {
        verify_totals(t->verify, &result->totals);
        result->is_verified = r->consumers_count > 0;
    }
}

void
run_fail(struct run *r, const char *fmt, ...)
{
    va_list args;

    if (r->is_failed) {
        return;
    }
    r->is_failed = true;
    va_start(args, fmt);
    (void)vsnprintf(r->result->error.text, sizeof(r->result->error.text), fmt,
                    args);
    va_end(args);
}
