/* Whole runs against a broker in a thread: what is right is found clean, and
 * each wrong is found and called by its name. */
#include <jansson.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bench/report.h"
#include "bench/run.h"
#include "fake_broker.h"
#include "lib/harness.h"

TestSuite(run, .timeout = 60);

/* A run that ends by itself after some thousand messages. */
static struct bench_options
small(const struct fake_broker *b)
{
    struct bench_options o = {
        .publishers = 1,
        .consumers = 1,
        .queues = 1,
        .connections = 4,
        .size = 64,
        .window = 64,
        .prefetch = 200,
        .ack_every = 20,
        .count = 3000,
        .duration_us = 20000000,
        .connect_us = 5000000,
        .settle_us = 1000000,
        .user = "u",
        .password = "p",
        .vhost = "/",
        .prefix = "t",
        .label = "test",
        .tls = "",
        .durable = true,
        .declare = true,
        .verify = true,
        .quiet = true,
    };

    o.hosts.count = 1;
    (void)snprintf(o.hosts.list[0].name, sizeof(o.hosts.list[0].name),
                   "127.0.0.1");
    o.hosts.list[0].port = fake_broker_port(b);
    o.publish_hosts = o.hosts;
    o.consume_hosts = o.hosts;
    return o;
}

/* Run O against a broker with FAULTS; the caller frees *RESULT. */
static int
run_with(const struct fake_faults *faults,
         void (*change)(struct bench_options *), struct bench_result **result)
{
    struct fake_broker *b = fake_broker_start(faults);
    struct bench_options o = small(b);
    int status = 0;

    if (change != NULL) {
        change(&o);
    }
    *result = mem_zalloc(1, sizeof(**result));
    status = bench_run(&o, *result);
    fake_broker_stop(&b);
    return status;
}

static void
expect_clean(const struct bench_result *r, int status)
{
    cr_assert_eq(status, BENCH_CLEAN, "%d: %s", status, r->error.text);
    cr_assert(r->has_figures);
    cr_assert_eq(r->totals.missing, 0);
    cr_assert_eq(r->all.out_of_order, 0);
    cr_assert_eq(r->all.duplicates_unflagged, 0);
    cr_assert_eq(r->all.strange_confirms, 0);
}

Test(run, all_that_is_published_is_confirmed_and_arrives)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, NULL, &r);

    expect_clean(r, status);
    cr_assert_eq(r->confirmed, 3000);
    cr_assert_eq(r->delivered, 3000);
    cr_assert_eq(r->totals.arrived, 3000);
    cr_assert_eq(histogram_count(&r->confirm_latency), 3000);
    cr_assert_eq(histogram_count(&r->deliver_latency), 3000);
    cr_assert_gt(r->confirm_rate, 0);
    cr_assert(r->is_settled);
    mem_free(r);
}

static void
many(struct bench_options *o)
{
    o->publishers = 5;
    o->consumers = 3;
    o->queues = 7;
}

Test(run, several_of_each_share_the_queues)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, many, &r);

    expect_clean(r, status);
    cr_assert_eq(r->totals.arrived, 3000);
    mem_free(r);
}

static void
crowded(struct bench_options *o)
{
    o->publishers = 9;
    o->consumers = 6;
    o->queues = 2;
}

Test(run, several_consumers_share_a_queue)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, crowded, &r);

    expect_clean(r, status);
    cr_assert_eq(r->totals.arrived, 3000);
    mem_free(r);
}

static void
large(struct bench_options *o)
{
    o->size = 100000;
    o->count = 50;
    o->window = 4;
}

Test(run, bodies_of_many_frames_arrive)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, large, &r);

    expect_clean(r, status);
    cr_assert_eq(r->totals.arrived, 50);
    mem_free(r);
}

static void
empty(struct bench_options *o)
{
    o->size = 0;
    o->verify = false;
}

Test(run, empty_bodies_are_counted_and_not_verified)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, empty, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->delivered, 3000);
    cr_assert_not(r->is_verified);
    mem_free(r);
}

static void
unconfirmed(struct bench_options *o)
{
    o->window = 0;
    o->verify = false;
}

Test(run, a_window_of_0_needs_no_confirms)
{
    struct fake_faults f = {.never_confirms = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, unconfirmed, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->published, 3000);
    cr_assert_eq(r->delivered, 3000);
    mem_free(r);
}

static void
paced(struct bench_options *o)
{
    o->rate = 1000;
    o->count = 0;
    o->publishers = 3;
    o->duration_us = 1000000;
}

Test(run, a_rate_is_kept)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, paced, &r);

    expect_clean(r, status);
    /* It may end late on a busy machine; it publishes no more than is due. */
    cr_assert_leq((double)r->all.published, 1000 * r->seconds + 100);
    cr_assert_gt(r->all.published, 500);
    mem_free(r);
}

Test(run, lost_messages_are_found)
{
    struct fake_faults f = {.lose_every = 100};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_VIOLATED);
    cr_assert_eq(r->totals.missing, 30);
    cr_assert_eq(r->totals.arrived, 2970);
    mem_free(r);
}

Test(run, duplicates_are_found)
{
    struct fake_faults f = {.twice_every = 100};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_VIOLATED);
    cr_assert_eq(r->all.duplicates_unflagged, 30);
    cr_assert_eq(r->totals.missing, 0);
    mem_free(r);
}

Test(run, disorder_is_found)
{
    struct fake_faults f = {.swap_every = 99};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_VIOLATED);
    cr_assert_eq(r->all.out_of_order, 30);
    cr_assert_eq(r->totals.missing, 0);
    mem_free(r);
}

Test(run, refusals_are_no_losses)
{
    struct fake_faults f = {.refuse_every = 100};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->all.nacked, 30);
    cr_assert_eq(r->all.confirmed, 2970);
    mem_free(r);
}

static void
reconnecting(struct bench_options *o)
{
    o->reconnect = true;
}

Test(run, refused_messages_are_published_again_with_reconnect)
{
    struct fake_faults f = {.refuse_every = 100};
    struct bench_result *r = NULL;
    int status = run_with(&f, reconnecting, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->all.confirmed, 3000);
    cr_assert_eq(r->all.published_again, r->all.nacked);
    mem_free(r);
}

Test(run, lost_connections_come_back_and_nothing_is_lost)
{
    struct fake_faults f = {.hang_up_every = 700};
    struct bench_result *r = NULL;
    int status = run_with(&f, reconnecting, &r);

    expect_clean(r, status);
    cr_assert_eq(r->all.confirmed, 3000);
    cr_assert_gt(r->all.reconnects, 4);
    cr_assert_gt(r->all.published_again, 0);
    /* The messages that it hung up on were stored. */
    cr_assert_gt(r->all.duplicates_after_send, 0);
    cr_assert_gt(r->confirm_gap_ms, 0);
    mem_free(r);
}

Test(run, a_lost_connection_ends_the_run_without_reconnect)
{
    struct fake_faults f = {.hang_up_every = 700};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_FAILED);
    cr_assert(r->has_figures);
    /* Ended or reset: it depends on what was unread. */
    cr_assert_not_null(strstr(r->error.text, "127.0.0.1:"), "%s",
                       r->error.text);
    mem_free(r);
}

Test(run, a_cancelled_consumer_subscribes_again)
{
    struct fake_faults f = {.cancel_every = 1000};
    struct bench_result *r = NULL;
    int status = run_with(&f, reconnecting, &r);

    expect_clean(r, status);
    cr_assert_eq(r->totals.arrived, 3000);
    /* Another cancellation may find it on its way back. */
    cr_assert_geq(r->all.reconnects, 1);
    cr_assert_leq(r->all.reconnects, 3);
    mem_free(r);
}

Test(run, returned_messages_do_not_disturb)
{
    struct fake_faults f = {.return_every = 10};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    expect_clean(r, status);
    mem_free(r);
}

Test(run, confirms_of_nothing_are_counted)
{
    struct fake_faults f = {.confirms_strangely = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->all.strange_confirms, 3000);
    mem_free(r);
}

static void
brief(struct bench_options *o)
{
    o->duration_us = 300000;
}

Test(run, confirms_that_never_come_are_a_violation)
{
    struct fake_faults f = {.never_confirms = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, brief, &r);

    cr_assert_eq(status, BENCH_VIOLATED);
    cr_assert_not(r->is_settled);
    cr_assert_eq(r->all.published, 64);
    mem_free(r);
}

Test(run, a_refused_login_says_so)
{
    struct fake_faults f = {.refuse_login = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_FAILED);
    cr_assert_not(r->has_figures);
    cr_assert_not_null(strstr(r->error.text, "403 ACCESS_REFUSED"), "%s",
                       r->error.text);
    cr_assert_not_null(strstr(r->error.text, "127.0.0.1:"));
    mem_free(r);
}

Test(run, a_refused_declaration_says_so)
{
    struct fake_faults f = {.refuse_declare = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_FAILED);
    cr_assert_not_null(strstr(r->error.text, "channel closed: 406"), "%s",
                       r->error.text);
    mem_free(r);
}

static void
impatient(struct bench_options *o)
{
    o->connect_us = 1000000;
}

Test(run, silence_ends_with_the_deadline)
{
    struct fake_faults f = {.is_silent = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, impatient, &r);

    cr_assert_eq(status, BENCH_FAILED);
    cr_assert_not_null(
        strstr(r->error.text, "declare queues: not done in time"), "%s",
        r->error.text);
    mem_free(r);
}

Test(run, another_protocol_is_named)
{
    struct fake_faults f = {.is_garbled = true};
    struct bench_result *r = NULL;
    int status = run_with(&f, NULL, &r);

    cr_assert_eq(status, BENCH_FAILED);
    cr_assert_not_null(strstr(r->error.text, "does not speak AMQP 0-9-1"), "%s",
                       r->error.text);
    mem_free(r);
}

static void
elsewhere(struct bench_options *o)
{
    o->hosts.list[0].port = 1;
}

Test(run, a_closed_port_is_named)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, elsewhere, &r);

    cr_assert_eq(status, BENCH_FAILED);
    cr_assert_str_eq(r->error.text, "127.0.0.1:1: connection refused");
    mem_free(r);
}

static void
first_host_is_down(struct bench_options *o)
{
    o->hosts.count = 2;
    o->hosts.list[1] = o->hosts.list[0];
    o->hosts.list[0].port = 1;
    o->publish_hosts = o->hosts;
    o->consume_hosts = o->hosts;
    o->reconnect = true;
    o->delete_after = true;
}

Test(run, the_next_host_is_tried)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, first_host_is_down, &r);

    expect_clean(r, status);
    mem_free(r);
}

static void
getting(struct bench_options *o)
{
    o->mode = BENCH_GET;
    o->count = 300;
    o->queues = 3;
}

Test(run, get_fetches_one_by_one)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, getting, &r);

    expect_clean(r, status);
    cr_assert_eq(r->totals.arrived, 300);
    mem_free(r);
}

Test(run, a_backlog_can_be_published_and_consumed_by_two_runs)
{
    struct fake_broker *b = fake_broker_start(NULL);
    struct bench_options o = small(b);
    struct bench_result *r = mem_zalloc(1, sizeof(*r));

    o.mode = BENCH_PUBLISH;
    o.consumers = 0;
    cr_assert_eq(bench_run(&o, r), BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->confirmed, 3000);
    cr_assert_not(r->is_verified);
    memset(r, 0, sizeof(*r));
    o.mode = BENCH_CONSUME;
    o.consumers = 1;
    o.publishers = 0;
    cr_assert_eq(bench_run(&o, r), BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->delivered, 3000);
    cr_assert_eq(r->totals.holes, 0);
    cr_assert_eq(r->all.foreign, 0);
    mem_free(r);
    fake_broker_stop(&b);
}

static void
idling(struct bench_options *o)
{
    o->mode = BENCH_CONSUME;
    o->publishers = 0;
    o->count = 0;
    o->idle_us = 200000;
}

Test(run, consuming_stops_when_nothing_comes)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, idling, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_lt(r->seconds, 10);
    mem_free(r);
}

static void
declaring(struct bench_options *o)
{
    o->mode = BENCH_DECLARE;
    o->publishers = 0;
    o->consumers = 0;
    o->queues = 50;
    o->delete_after = true;
}

Test(run, queues_are_declared_and_timed)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, declaring, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->operations, 50);
    cr_assert_eq(histogram_count(&r->operation_latency), 50);
    mem_free(r);
}

static void
holding(struct bench_options *o)
{
    o->mode = BENCH_CONNECTIONS;
    o->publishers = 0;
    o->consumers = 0;
    o->connections = 100;
    o->duration_us = 100000;
}

Test(run, connections_are_opened_and_held)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, holding, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_eq(r->operations, 100);
    cr_assert_eq(r->connections_alive, 100);
    mem_free(r);
}

static void
churning(struct bench_options *o)
{
    o->mode = BENCH_CHURN;
    o->publishers = 0;
    o->consumers = 0;
    o->duration_us = 300000;
}

Test(run, connections_are_opened_and_closed)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, churning, &r);

    cr_assert_eq(status, BENCH_CLEAN, "%s", r->error.text);
    cr_assert_gt(r->operations, 10);
    cr_assert_eq(r->failures, 0);
    mem_free(r);
}

static void
sampled(struct bench_options *o)
{
    o->pids.count = 1;
    o->pids.list[0] = (uint32_t)getpid();
    o->probes.count = 2;
    o->probes.list[0] = "calls=date +%s%N";
    o->probes.list[1] = "nothing=false";
    o->count = 0;
    o->duration_us = 500000;
}

Test(run, what_processes_spent_is_measured)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, sampled, &r);

    expect_clean(r, status);
    cr_assert(r->spent.is_known);
    cr_assert_gt(r->spent.resident_peak, 100000);
    cr_assert(r->counters[0].is_known);
    cr_assert_gt(r->counters[0].count, 0);
    cr_assert_not(r->counters[1].is_known);
    mem_free(r);
}

static void
sampling_nobody(struct bench_options *o)
{
    o->pids.count = 1;
    o->pids.list[0] = 4194304;
}

Test(run, a_process_that_is_not_there_is_an_error)
{
    struct bench_result *r = NULL;

    cr_assert_eq(run_with(NULL, sampling_nobody, &r), BENCH_FAILED);
    cr_assert_not_null(strstr(r->error.text, "4194304"), "%s", r->error.text);
    mem_free(r);
}

static void
until_told(struct bench_options *o)
{
    o->count = 0;
    o->duration_us = 50000000;
    o->probes.count = 1;
    /* Its parent is this process. */
    o->probes.list[0] = "stop=sh -c kill${IFS}-TERM${IFS}$PPID";
}

Test(run, a_signal_ends_it_with_figures)
{
    struct bench_result *r = NULL;
    int status = run_with(NULL, until_told, &r);

    expect_clean(r, status);
    cr_assert_lt(r->seconds, 30);
    mem_free(r);
}

/* Report on R in JSON and parse it. */
static json_t *
as_json(const struct bench_options *o, const struct bench_result *r)
{
    struct buf out;
    json_t *parsed = NULL;

    buf_init(&out);
    bench_report_json(o, r, &out);
    parsed = json_loadb((const char *)out.data, out.size, 0, NULL);
    buf_deinit(&out);
    cr_assert_not_null(parsed);
    return parsed;
}

Test(run, the_reports_hold_the_figures)
{
    struct fake_broker *b = fake_broker_start(NULL);
    struct bench_options o = small(b);
    struct bench_result *r = mem_zalloc(1, sizeof(*r));
    json_t *j = NULL;
    struct buf out;

    cr_assert_eq(bench_run(&o, r), BENCH_CLEAN, "%s", r->error.text);
    fake_broker_stop(&b);
    j = as_json(&o, r);
    cr_assert_eq(json_integer_value(json_object_get(j, "confirmed")), 3000);
    cr_assert_eq(json_integer_value(json_object_get(j, "lost")), 0);
    cr_assert(json_is_true(json_object_get(j, "verified")));
    cr_assert(json_is_null(json_object_get(j, "cpu_s")));
    cr_assert(json_is_null(json_object_get(j, "error")));
    cr_assert_gt(json_real_value(json_object_get(
                     json_object_get(j, "confirm_latency_ms"), "p99.9")),
                 0);
    json_decref(j);
    buf_init(&out);
    bench_report_table(&o, r, &out);
    buf_put_u8(&out, 0);
    cr_assert_not_null(strstr((const char *)out.data, "test, pubcon: 1 pub"));
    cr_assert_not_null(strstr((const char *)out.data, "(3000)\n"));
    cr_assert_not_null(
        strstr((const char *)out.data, "lost / twice / disorder  0 / 0 / 0"));
    buf_deinit(&out);
    mem_free(r);
}
