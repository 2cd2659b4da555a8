/* A run goes from stage to stage by the table below, driven by a tick of 10
 * ms; messages are driven by the sockets and the pacer. Whatever happens, the
 * stages that clean up come last, and each stage has its time. */
#include "bench/run.h"

#include <openssl/ssl.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "bench/clock.h"
#include "bench/run_priv.h"
#include "net/net.h"
#include "net/tls_context.h"

static bool
has_traffic(const struct run *r)
{
    return r->options->mode <= BENCH_GET;
}

static bool
has_idles(const struct run *r)
{
    return r->options->mode == BENCH_CONNECTIONS ||
           r->options->mode == BENCH_CHURN;
}

static bool
is_declare(const struct run *r)
{
    return r->options->mode == BENCH_DECLARE;
}

static bool
is_connections(const struct run *r)
{
    return r->options->mode == BENCH_CONNECTIONS;
}

static bool
is_churn(const struct run *r)
{
    return r->options->mode == BENCH_CHURN;
}

static bool
wants_declared(const struct run *r)
{
    return has_traffic(r) && r->options->declare;
}

static bool
wants_warmup(const struct run *r)
{
    return has_traffic(r) && r->options->warmup_us > 0 && !r->is_interrupted;
}

static bool
wants_deleted(const struct run *r)
{
    return (has_traffic(r) || is_declare(r)) && r->options->delete_after;
}

static bool
wants_closed(const struct run *r)
{
    return has_traffic(r) || has_idles(r);
}

/* Never by itself: when its time is over. */
static bool
when_time_is_over(struct run *r, uint64_t now_us)
{
    (void)now_us;
    return r->is_interrupted;
}

static uint64_t
connect_limit(const struct run *r)
{
    return r->options->connect_us;
}

static uint64_t
warmup_limit(const struct run *r)
{
    return r->options->warmup_us;
}

static uint64_t
duration_limit(const struct run *r)
{
    return r->options->duration_us;
}

static uint64_t
settle_limit(const struct run *r)
{
    return r->options->settle_us;
}

static bool
wants_probes(const struct run *r)
{
    return r->probes_count > 0;
}

static uint64_t
close_limit(const struct run *r)
{
    (void)r;
    return (uint64_t)RUN_CLOSE_MS * BENCH_US_PER_MS;
}

static void
declare_enter(struct run *r)
{
    run_admins_open(r, ADMIN_DECLARE, 1, RUN_ADMIN_DEPTH, NULL);
}

static void
admins_leave(struct run *r, uint64_t now_us)
{
    uint32_t i = 0;

    (void)now_us;
    for (i = 0; i < r->admins_count; i++) {
        client_drop(&r->admins[i].client);
    }
    /* They are freed when they are down, before the next stage. */
}

static void
declare_mode_enter(struct run *r)
{
    run_measure_begin(r);
    run_admins_open(r, ADMIN_DECLARE,
                    (uint32_t)MIN(r->options->connections, r->options->queues),
                    1, &r->result->operation_latency);
}

static void
declare_mode_leave(struct run *r, uint64_t now_us)
{
    r->result->operations = run_admins_progress(r);
    run_measure_end(r, now_us);
    r->traffic.is_measuring = false;
    admins_leave(r, now_us);
}

static void
delete_enter(struct run *r)
{
    run_admins_open(r, ADMIN_DELETE, 1, RUN_ADMIN_DEPTH, NULL);
}

static void
measure_enter(struct run *r)
{
    run_measure_begin(r);
    run_traffic_start(r);
}

static void
measure_leave(struct run *r, uint64_t now_us)
{
    run_measure_end(r, now_us);
}

static void
idles_leave(struct run *r, uint64_t now_us)
{
    run_measure_end(r, now_us);
    r->traffic.is_measuring = false;
}

static bool
measure_is_done(struct run *r, uint64_t now_us)
{
    return r->is_interrupted || run_traffic_is_through(r, now_us);
}

static bool
settle_is_done(struct run *r, uint64_t now_us)
{
    uint64_t most_us = r->options->settle_us * RUN_SETTLE_FACTOR;

    return run_traffic_is_settled(r, now_us) || now_us > r->stage_us + most_us;
}

static void
wait_enter(struct run *r)
{
    (void)r;
}

static void
close_enter(struct run *r)
{
    if (has_traffic(r)) {
        run_traffic_close(r);
    } else {
        run_idles_close(r);
    }
}

static bool
close_is_done(struct run *r, uint64_t now_us)
{
    (void)now_us;
    return has_traffic(r) ? run_traffic_is_closed(r) : run_idles_are_closed(r);
}

static const struct stage stages[] = {
    {.name = "declare queues",
     .applies = wants_declared,
     .enter = declare_enter,
     .is_done = run_admins_done,
     .limit_us = connect_limit,
     .progress = run_admins_progress,
     .leave = admins_leave,
     .limit_is_failure = true},
    {.name = "connect",
     .applies = has_traffic,
     .enter = run_traffic_connect,
     .is_done = run_traffic_is_connected,
     .limit_us = connect_limit,
     .progress = run_traffic_connected,
     .limit_is_failure = true},
    {.name = "warm up",
     .applies = wants_warmup,
     .enter = run_traffic_start,
     .is_done = when_time_is_over,
     .limit_us = warmup_limit},
    {.name = "measure",
     .applies = has_traffic,
     .enter = measure_enter,
     .is_done = measure_is_done,
     .limit_us = duration_limit,
     .leave = measure_leave},
    {.name = "settle",
     .applies = has_traffic,
     .enter = run_traffic_settle,
     .is_done = settle_is_done,
     .limit_us = settle_limit,
     .progress = run_traffic_progress},
    {.name = "declare queues",
     .applies = is_declare,
     .enter = declare_mode_enter,
     .is_done = run_admins_done,
     .limit_us = connect_limit,
     .progress = run_admins_progress,
     .leave = declare_mode_leave,
     .limit_is_failure = true},
    {.name = "open connections",
     .applies = is_connections,
     .enter = run_idles_start,
     .is_done = run_idles_are_open,
     .limit_us = connect_limit,
     .progress = run_idles_progress,
     .leave = idles_leave,
     .limit_is_failure = true},
    {.name = "hold connections",
     .applies = is_connections,
     .enter = wait_enter,
     .is_done = when_time_is_over,
     .limit_us = duration_limit},
    {.name = "open and close connections",
     .applies = is_churn,
     .enter = run_idles_start,
     .is_done = when_time_is_over,
     .limit_us = duration_limit,
     .leave = idles_leave},
    {.name = "close",
     .applies = wants_closed,
     .enter = close_enter,
     .is_done = close_is_done,
     .limit_us = close_limit,
     .always = true},
    {.name = "delete queues",
     .applies = wants_deleted,
     .enter = delete_enter,
     .is_done = run_admins_done,
     .limit_us = connect_limit,
     .progress = run_admins_progress,
     .leave = admins_leave,
     .limit_is_failure = true,
     .always = true},
    {.name = "read probes",
     .applies = wants_probes,
     .enter = wait_enter,
     .is_done = run_probes_done,
     .limit_us = close_limit,
     .always = true},
};

/* The first stage from AT on that applies now. */
static size_t
stage_from(const struct run *r, size_t at)
{
    while (at < ARRAY_COUNT(stages) &&
           ((r->is_failed && !stages[at].always) || !stages[at].applies(r))) {
        at++;
    }
    return at;
}

static void
stage_enter(struct run *r, size_t at)
{
    r->stage = at;
    r->stage_us = bench_now_us();
    r->progress_us = r->stage_us;
    r->progress = 0;
    if (at < ARRAY_COUNT(stages)) {
        stages[at].enter(r);
    } else {
        r->is_over = true;
    }
}

static void
stage_leave(struct run *r, uint64_t now_us)
{
    const struct stage *stage = &stages[r->stage];

    if (stage->leave != NULL) {
        stage->leave(r, now_us);
    }
    r->stage = stage_from(r, r->stage + 1);
    r->stage_us = 0; /* to be entered */
}

/* Whether the present stage's time is over. */
static bool
stage_is_late(struct run *r, uint64_t now_us)
{
    const struct stage *stage = &stages[r->stage];
    uint64_t progress = stage->progress != NULL ? stage->progress(r) : 0;

    if (progress != r->progress) {
        r->progress = progress;
        r->progress_us = now_us;
    }
    return now_us >= r->progress_us + stage->limit_us(r);
}

/* The connections that the last stage worked with are all down. */
static bool
admins_are_down(const struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->admins_count; i++) {
        if (!client_is_down(&r->admins[i].client)) {
            return false;
        }
    }
    return true;
}

static void
stage_tick(struct run *r, uint64_t now_us)
{
    const struct stage *stage = &stages[r->stage];
    bool is_over = false;

    if (r->stage_us == 0) {
        if (admins_are_down(r)) {
            run_admins_free(r);
            stage_enter(r, r->stage);
        }
        return;
    }
    is_over = stage->is_done(r, now_us) || (r->is_failed && !stage->always);
    if (!is_over && stage_is_late(r, now_us)) {
        is_over = true;
        if (stage->limit_is_failure) {
            run_fail(r, "%s: not done in time, and no progress", stage->name);
        }
    }
    if (is_over) {
        stage_leave(r, now_us);
    }
}

static void
on_tick(uv_timer_t *timer)
{
    struct run *r = timer->data;
    uint64_t now_us = bench_now_us();

    OBJ_CHECK(r, RUN_MAGIC);
    run_admins_tick(r, now_us);
    run_traffic_tick(r, now_us);
    run_idles_tick(r, now_us);
    run_measure_tick(r, now_us);
    stage_tick(r, now_us);
    if (r->is_over) {
        uv_stop(&r->loop);
    }
}

static void
on_flush(uv_prepare_t *prepare)
{
    struct run *r = prepare->data;

    OBJ_CHECK(r, RUN_MAGIC);
    net_flush(r->net);
}

/* The first asks for an orderly end, with figures; the second for any. */
static void
on_signal(uv_signal_t *signal, int number)
{
    struct run *r = signal->data;

    OBJ_CHECK(r, RUN_MAGIC);
    if (r->is_interrupted) {
        run_fail(r, "stopped by signal %d", number);
    }
    r->is_interrupted = true;
}

static void
watch_signal(struct run *r, uv_signal_t *handle, int number)
{
    int rv = uv_signal_init(&r->loop, handle);

    ASSERT(rv == 0);
    handle->data = r;
    rv = uv_signal_start(handle, on_signal, number);
    ASSERT(rv == 0);
    uv_unref((uv_handle_t *)handle);
}

static void
run_init(struct run *r, const struct bench_options *o,
         struct bench_result *result, SSL_CTX *tls)
{
    int rv = uv_loop_init(&r->loop);

    ASSERT(rv == 0);
    r->magic = RUN_MAGIC;
    r->options = o;
    r->result = result;
    r->pacer_fd = -1;
    r->net = net_new(&r->loop, NULL, NULL);
    r->setup = (struct client_setup){
        .net = r->net,
        .user = o->user,
        .password = o->password,
        .vhost = o->vhost,
        .heartbeat_s = (uint16_t)o->heartbeat,
        .tls = tls,
    };
    rv = uv_prepare_init(&r->loop, &r->flush);
    ASSERT(rv == 0);
    r->flush.data = r;
    rv = uv_prepare_start(&r->flush, on_flush);
    ASSERT(rv == 0);
    rv = uv_timer_init(&r->loop, &r->tick);
    ASSERT(rv == 0);
    r->tick.data = r;
    rv = uv_timer_start(&r->tick, on_tick, 0, RUN_TICK_MS);
    ASSERT(rv == 0);
    watch_signal(r, &r->interrupt, SIGINT);
    watch_signal(r, &r->terminate, SIGTERM);
    histogram_init(&result->operation_latency);
    if (has_traffic(r)) {
        run_traffic_init(r);
    }
    if (has_idles(r)) {
        run_idles_init(r);
    }
    run_probes_init(r);
    r->stage = stage_from(r, 0);
}

/* Close what is left and wait until it is. */
static void
run_deinit(struct run *r)
{
    int rv = 0;

    net_close_all(r->net);
    uv_close((uv_handle_t *)&r->flush, NULL);
    uv_close((uv_handle_t *)&r->tick, NULL);
    uv_close((uv_handle_t *)&r->interrupt, NULL);
    uv_close((uv_handle_t *)&r->terminate, NULL);
    rv = uv_run(&r->loop, UV_RUN_DEFAULT);
    ASSERT(rv == 0);
    if (r->pacer_fd >= 0) {
        (void)close(r->pacer_fd);
    }
    run_traffic_deinit(r);
    run_idles_deinit(r);
    run_probes_deinit(r);
    net_free(&r->net);
    rv = uv_loop_close(&r->loop);
    ASSERT(rv == 0);
    r->magic = 0;
}

static int
run_status(const struct run *r)
{
    const struct bench_result *result = r->result;

    if (r->is_failed) {
        return BENCH_FAILED;
    }
    if (r->publishers_count > 0 && !result->is_settled) {
        return BENCH_VIOLATED;
    }
    if (result->is_verified &&
        (result->totals.missing > 0 || result->all.out_of_order > 0 ||
         result->all.duplicates_unflagged > 0)) {
        return BENCH_VIOLATED;
    }
    return BENCH_CLEAN;
}

int
bench_run(const struct bench_options *o, struct bench_result *result)
{
    struct run *r = NULL;
    SSL_CTX *tls = NULL;
    int status = 0;

    if (o->tls[0] != '\0' &&
        tls_context_client(o->tls, &tls, &result->error) != 0) {
        return BENCH_FAILED;
    }
    r = mem_zalloc(1, sizeof(*r));
    run_init(r, o, result, tls);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    ASSERT(r->is_over);
    run_measure_finish(r);
    status = run_status(r);
    run_deinit(r);
    mem_free(r);
    SSL_CTX_free(tls);
    return status;
}
