/* Both reports take the derived figures from the same functions, so that they
 * agree. docs/bench.md says what each means. */
#include "bench/report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/histogram.h"
#include "base/json.h"
#include "bench/clock.h"
#include "bench/options.h"
#include "bench/run.h"

enum {
    LABEL_WIDTH = 24,
    BYTES_PER_MB = 1000000,
    PERCENT = 100
};

static const struct {
    const char *name;
    double percent;
} percentiles[] = {
    {"p50", 50}, {"p95", 95}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100},
};

static bool
has_traffic(const struct bench_options *o)
{
    return o->mode <= BENCH_GET;
}

/* What costs are counted by: confirmed messages, or those that were received
 * where none was published, or that were published without confirms. */
static uint64_t
messages(const struct bench_options *o, const struct bench_result *r)
{
    if (!has_traffic(o)) {
        return r->operations;
    }
    if (o->publishers == 0) {
        return r->delivered;
    }
    return o->window > 0 ? r->confirmed : r->published;
}

/* COST a message; not a number if there was none. */
static double
per_message(const struct bench_options *o, const struct bench_result *r,
            double cost)
{
    uint64_t count = messages(o, r);

    return count > 0 ? cost / (double)count : (double)NAN;
}

static double
write_amplification(const struct bench_options *o, const struct bench_result *r)
{
    if (!r->spent.has_io || !has_traffic(o) || o->size == 0) {
        return (double)NAN;
    }
    return per_message(o, r, (double)r->spent.written) / (double)o->size;
}

/* What neither the broker, as far as its processes are known, nor this one
 * has spent. */
static double
others_cpu_s(const struct bench_result *r)
{
    double others = r->machine_cpu_s - r->own_cpu_s -
                    (r->spent.is_known ? r->spent.cpu_s : 0);

    return others > 0 ? others : 0;
}

static void
label(struct buf *out, const char *text)
{
    buf_putf(out, "%-*s ", LABEL_WIDTH, text);
}

static void
row_rate(struct buf *out, const char *name, uint64_t count, double rate)
{
    label(out, name);
    buf_putf(out, "%12.0f /s   (%" PRIu64 ")\n", rate, count);
}

static void
row_latency(struct buf *out, const char *name, const struct histogram *h)
{
    size_t i = 0;

    if (histogram_count(h) == 0) {
        return;
    }
    label(out, name);
    for (i = 0; i < ARRAY_COUNT(percentiles); i++) {
        buf_putf(out, "%s%s %.3f", i > 0 ? "  " : "", percentiles[i].name,
                 (double)histogram_percentile(h, percentiles[i].percent) /
                     BENCH_US_PER_MS);
    }
    buf_put_text(out, " ms\n");
}

static void
rows_rates(struct buf *out, const struct bench_options *o,
           const struct bench_result *r)
{
    if (o->publishers > 0 && o->window > 0) {
        row_rate(out, "confirmed", r->confirmed, r->confirm_rate);
    } else if (o->publishers > 0) {
        row_rate(out, "published", r->published, r->publish_rate);
    }
    if (o->consumers > 0) {
        row_rate(out, "consumed", r->delivered, r->deliver_rate);
    }
    row_latency(out, "confirm latency", &r->confirm_latency);
    row_latency(out, "end-to-end latency", &r->deliver_latency);
    if (o->publishers == 0 && r->delivered > 0) {
        label(out, "first delivery after");
        buf_putf(out, "%12.1f ms\n", r->first_delivery_ms);
    }
}

static void
row_gap(struct buf *out, const char *name, double gap_ms, double at_s,
        double worst_ms)
{
    label(out, name);
    buf_putf(out, "%12.1f ms   at %.2f s; worst of one connection %.1f ms\n",
             gap_ms, at_s, worst_ms);
}

static void
rows_counters(struct buf *out, const struct bench_options *o,
              const struct bench_result *r)
{
    const struct bench_counter *c = NULL;
    unsigned i = 0;

    for (i = 0; i < o->probes.count; i++) {
        c = &r->counters[i];
        buf_putf(out, "%-*.*s ", LABEL_WIDTH, (int)strcspn(c->name, "="),
                 c->name);
        if (c->is_known) {
            buf_putf(out, "%12.1f /s   (%.4f per message)\n",
                     (double)c->count / r->seconds,
                     per_message(o, r, (double)c->count));
        } else {
            buf_put_text(out, "     unknown: the command gave no number\n");
        }
    }
}

static void
rows_spent(struct buf *out, const struct bench_options *o,
           const struct bench_result *r)
{
    const struct bench_spent *s = &r->spent;

    if (s->is_known) {
        label(out, "broker CPU");
        buf_putf(out, "%12.1f s per million messages   (%.1f %% of a core)\n",
                 per_message(o, r, s->cpu_s) * BENCH_US_PER_S,
                 s->cpu_s / r->seconds * PERCENT);
    }
    if (s->is_known && s->has_io) {
        label(out, "broker writes");
        buf_putf(out,
                 "%12.0f bytes per message, %.2f times the body; %.2f "
                 "calls\n",
                 per_message(o, r, (double)s->written),
                 write_amplification(o, r),
                 per_message(o, r, (double)s->write_calls));
    }
    if (s->resident_peak > 0) {
        label(out, "broker memory, peak");
        buf_putf(out, "%12.1f MB   (%u processes)\n",
                 (double)s->resident_peak / BYTES_PER_MB, o->pids.count);
    }
    rows_counters(out, o, r);
    label(out, "own CPU");
    buf_putf(out, "%12.1f %% of a core; %s %.1f %%\n",
             r->seconds > 0 ? r->own_cpu_s / r->seconds * PERCENT : 0,
             s->is_known ? "others" : "others with the broker",
             r->seconds > 0 ? others_cpu_s(r) / r->seconds * PERCENT : 0);
}

static void
rows_verdict(struct buf *out, const struct bench_options *o,
             const struct bench_result *r)
{
    const struct traffic_counts *c = &r->all;

    if (r->is_verified) {
        label(out, "lost / twice / disorder");
        buf_putf(out, "%" PRIu64 " / %" PRIu64 " / %" PRIu64 "\n",
                 o->publishers > 0 ? r->totals.missing : r->totals.holes,
                 c->duplicates_unflagged, c->out_of_order);
    }
    if (c->duplicates_flagged + c->duplicates_after_send > 0) {
        label(out, "twice, rightly");
        buf_putf(out,
                 "%" PRIu64 " flagged redelivered, %" PRIu64
                 " published again\n",
                 c->duplicates_flagged, c->duplicates_after_send);
    }
    if (c->connections_lost > 0) {
        label(out, "connections lost");
        buf_putf(out, "%" PRIu64 "; %" PRIu64 " messages published again\n",
                 c->connections_lost, c->published_again);
    }
    if (c->nacked + c->foreign + c->strange_confirms > 0) {
        label(out, "odd");
        buf_putf(out,
                 "%" PRIu64 " refused, %" PRIu64 " of other runs, %" PRIu64
                 " confirms of nothing\n",
                 c->nacked, c->foreign, c->strange_confirms);
    }
    if (o->publishers > 0 && !r->is_settled) {
        label(out, "not settled");
        buf_put_text(out, "some confirms or messages never came\n");
    }
}

static void
rows_operations(struct buf *out, const struct bench_options *o,
                const struct bench_result *r)
{
    row_rate(out, bench_mode_name(o->mode), r->operations, r->operation_rate);
    row_latency(out, "latency", &r->operation_latency);
    if (o->mode == BENCH_CONNECTIONS) {
        label(out, "alive at the end");
        buf_putf(out, "%12" PRIu64 "\n", r->connections_alive);
    }
    if (r->failures > 0) {
        label(out, "failures");
        buf_putf(out, "%12" PRIu64 "\n", r->failures);
    }
}

void
bench_report_table(const struct bench_options *o, const struct bench_result *r,
                   struct buf *out)
{
    buf_putf(out, "%s%s%s: ", o->label, o->label[0] != 0 ? ", " : "",
             bench_mode_name(o->mode));
    if (has_traffic(o)) {
        buf_putf(out,
                 "%" PRIu64 " publishers, %" PRIu64 " consumers, %" PRIu64
                 " queues, %" PRIu64 " bytes, window %" PRIu64 ", %.1f s\n",
                 o->publishers, o->consumers, o->queues, o->size, o->window,
                 r->seconds);
        rows_rates(out, o, r);
        if (o->publishers > 0 && o->window > 0) {
            row_gap(out, "longest confirm gap", r->confirm_gap_ms,
                    r->confirm_gap_at_s, r->worst_confirm_gap_ms);
        }
        if (o->consumers > 0) {
            row_gap(out, "longest delivery gap", r->deliver_gap_ms,
                    r->deliver_gap_at_s, r->worst_deliver_gap_ms);
        }
    } else {
        buf_putf(out, "%.1f s\n", r->seconds);
        rows_operations(out, o, r);
    }
    rows_spent(out, o, r);
    rows_verdict(out, o, r);
}

static void
put_u64(struct json *j, const char *key, uint64_t value)
{
    json_key(j, key);
    json_u64(j, value);
}

static void
put_double(struct json *j, const char *key, double value)
{
    json_key(j, key);
    json_double(j, value);
}

static void
put_text(struct json *j, const char *key, const char *value)
{
    json_key(j, key);
    json_text(j, value);
}

static void
put_bool(struct json *j, const char *key, bool value)
{
    json_key(j, key);
    json_bool(j, value);
}

static void
put_latency(struct json *j, const char *key, const struct histogram *h)
{
    size_t i = 0;

    json_key(j, key);
    if (histogram_count(h) == 0) {
        json_null(j);
        return;
    }
    json_object_begin(j);
    put_u64(j, "count", histogram_count(h));
    put_double(j, "mean", histogram_mean(h) / BENCH_US_PER_MS);
    for (i = 0; i < ARRAY_COUNT(percentiles); i++) {
        put_double(j, percentiles[i].name,
                   (double)histogram_percentile(h, percentiles[i].percent) /
                       BENCH_US_PER_MS);
    }
    json_object_end(j);
}

static void
json_options(struct json *j, const struct bench_options *o)
{
    put_text(j, "label", o->label);
    put_text(j, "mode", bench_mode_name(o->mode));
    put_u64(j, "publishers", o->publishers);
    put_u64(j, "consumers", o->consumers);
    put_u64(j, "queues", o->queues);
    put_u64(j, "connections", o->connections);
    put_u64(j, "size", o->size);
    put_u64(j, "window", o->window);
    put_u64(j, "prefetch", o->prefetch);
    put_u64(j, "ack_every", o->ack_every);
    put_u64(j, "rate", o->rate);
    put_bool(j, "durable", o->durable);
    put_bool(j, "quorum", o->quorum);
}

static void
json_traffic(struct json *j, const struct bench_options *o,
             const struct bench_result *r)
{
    put_u64(j, "published", r->published);
    put_u64(j, "confirmed", r->confirmed);
    put_u64(j, "consumed", r->delivered);
    put_double(j, "published_per_s", r->publish_rate);
    put_double(j, "confirmed_per_s", r->confirm_rate);
    put_double(j, "consumed_per_s", r->deliver_rate);
    put_double(j, "first_delivery_ms", r->first_delivery_ms);
    put_latency(j, "confirm_latency_ms", &r->confirm_latency);
    put_latency(j, "end_to_end_latency_ms", &r->deliver_latency);
    put_double(j, "confirm_gap_ms", r->confirm_gap_ms);
    put_double(j, "confirm_gap_at_s", r->confirm_gap_at_s);
    put_double(j, "confirm_gap_worst_connection_ms", r->worst_confirm_gap_ms);
    put_double(j, "delivery_gap_ms", r->deliver_gap_ms);
    put_double(j, "delivery_gap_at_s", r->deliver_gap_at_s);
    put_double(j, "delivery_gap_worst_connection_ms", r->worst_deliver_gap_ms);
    put_bool(j, "settled", o->publishers == 0 || r->is_settled);
}

static void
json_verdict(struct json *j, const struct bench_result *r)
{
    const struct traffic_counts *c = &r->all;

    put_bool(j, "verified", r->is_verified);
    put_u64(j, "lost", r->totals.missing);
    put_u64(j, "holes", r->totals.holes);
    put_u64(j, "duplicates_unflagged", c->duplicates_unflagged);
    put_u64(j, "duplicates_flagged", c->duplicates_flagged);
    put_u64(j, "duplicates_after_republish", c->duplicates_after_send);
    put_u64(j, "out_of_order", c->out_of_order);
    put_u64(j, "redelivered", c->redelivered);
    put_u64(j, "arrived_unconfirmed", r->totals.unconfirmed_arrived);
    put_u64(j, "total_confirmed", c->confirmed);
    put_u64(j, "total_consumed", c->delivered);
    put_u64(j, "refused", c->nacked);
    put_u64(j, "foreign", c->foreign);
    put_u64(j, "strange_confirms", c->strange_confirms);
    put_u64(j, "get_empty", c->get_empty);
    put_u64(j, "connections_lost", c->connections_lost);
    put_u64(j, "reconnects", c->reconnects);
    put_u64(j, "published_again", c->published_again);
}

static void
json_spent(struct json *j, const struct bench_options *o,
           const struct bench_result *r)
{
    const struct bench_spent *s = &r->spent;
    double unknown = (double)NAN;
    bool has_io = s->is_known && s->has_io;
    const struct bench_counter *c = NULL;
    unsigned i = 0;

    put_double(j, "cpu_s", s->is_known ? s->cpu_s : unknown);
    put_double(j, "cpu_s_per_million",
               s->is_known ? per_message(o, r, s->cpu_s) * BENCH_US_PER_S
                           : unknown);
    put_double(j, "written_bytes_per_message",
               has_io ? per_message(o, r, (double)s->written) : unknown);
    put_double(j, "write_amplification",
               has_io ? write_amplification(o, r) : unknown);
    put_double(j, "write_calls_per_message",
               has_io ? per_message(o, r, (double)s->write_calls) : unknown);
    put_double(j, "resident_peak_bytes",
               s->resident_peak > 0 ? (double)s->resident_peak : unknown);
    put_double(j, "own_cpu_s", r->own_cpu_s);
    put_double(j, "others_cpu_s", others_cpu_s(r));
    json_key(j, "counters");
    json_object_begin(j);
    for (i = 0; i < o->probes.count; i++) {
        c = &r->counters[i];
        json_key_bytes(j, c->name, strcspn(c->name, "="));
        json_object_begin(j);
        put_double(j, "count", c->is_known ? (double)c->count : unknown);
        put_double(j, "per_message",
                   c->is_known ? per_message(o, r, (double)c->count) : unknown);
        json_object_end(j);
    }
    json_object_end(j);
}

void
bench_report_json(const struct bench_options *o, const struct bench_result *r,
                  struct buf *out)
{
    struct json j;

    json_init(&j, out);
    json_object_begin(&j);
    json_options(&j, o);
    put_double(&j, "seconds", r->seconds);
    if (has_traffic(o)) {
        json_traffic(&j, o, r);
        json_verdict(&j, r);
    } else {
        put_u64(&j, "operations", r->operations);
        put_u64(&j, "failures", r->failures);
        put_double(&j, "operations_per_s", r->operation_rate);
        put_latency(&j, "operation_latency_ms", &r->operation_latency);
        put_u64(&j, "connections_alive", r->connections_alive);
    }
    json_spent(&j, o, r);
    json_key(&j, "error");
    if (r->error.text[0] != 0) {
        json_text(&j, r->error.text);
    } else {
        json_null(&j);
    }
    json_object_end(&j);
    ASSERT(json_is_complete(&j));
    buf_put_u8(out, '\n');
}
