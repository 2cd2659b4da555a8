/* Connections that are opened and held, or opened and closed again and
 * again. */
#include "base/check.h"
#include "base/mem.h"
#include "bench/clock.h"
#include "bench/run_priv.h"

enum {
    IDLE_MAGIC = 0x69646c65
};

static bool
is_churn(const struct run *r)
{
    return r->options->mode == BENCH_CHURN;
}

static void
idle_open(struct idle *i)
{
    const struct bench_hosts *hosts = &i->run->options->hosts;

    i->begun_us = bench_now_us();
    client_open(&i->client, &hosts->list[i->host]);
    i->host = (i->host + 1) % hosts->count;
}

/* One more operation that began with the connection. */
static void
idle_done(struct idle *i)
{
    struct run *r = i->run;
    uint64_t now_us = bench_now_us();

    if (r->traffic.is_measuring) {
        r->result->operations++;
        histogram_record(&r->result->operation_latency, now_us - i->begun_us);
    }
}

static void
on_open(void *arg)
{
    struct idle *i = arg;

    OBJ_CHECK(i, IDLE_MAGIC);
    if (is_churn(i->run)) {
        client_close(&i->client);
    } else {
        idle_done(i);
    }
}

static void
on_method(void *arg, const struct amqp_method *m)
{
    struct idle *i = arg;

    (void)m;
    OBJ_CHECK(i, IDLE_MAGIC);
}

static void
on_down(void *arg, const char *text)
{
    struct idle *i = arg;
    struct run *r = i->run;

    OBJ_CHECK(i, IDLE_MAGIC);
    if (text != NULL) {
        r->result->failures++;
        if (r->result->operations == 0 && !r->is_failed) {
            run_fail(r, "%s", text);
        }
    } else if (is_churn(r)) {
        idle_done(i);
    }
    if (is_churn(r) && r->traffic.is_measuring && text == NULL) {
        idle_open(i);
    }
}

void
run_idles_init(struct run *r)
{
    struct client_events events = {
        .on_open = on_open, .on_method = on_method, .on_down = on_down};
    uint32_t i = 0;

    r->idles_count = (uint32_t)r->options->connections;
    r->idles = mem_zalloc(r->idles_count, sizeof(r->idles[0]));
    for (i = 0; i < r->idles_count; i++) {
        r->idles[i] = (struct idle){.magic = IDLE_MAGIC,
                                    .run = r,
                                    .index = i,
                                    .host = i % r->options->hosts.count};
        events.arg = &r->idles[i];
        client_init(&r->idles[i].client, &r->setup, &events);
    }
}

void
run_idles_deinit(struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->idles_count; i++) {
        client_deinit(&r->idles[i].client);
    }
    mem_free(r->idles);
}

void
run_idles_start(struct run *r)
{
    run_measure_begin(r);
    run_idles_tick(r, bench_now_us());
}

/* Open those that have never been, a few at a time; in churn also those that
 * failed. */
static void
open_more(struct run *r)
{
    uint32_t opening = 0;
    uint32_t i = 0;

    for (i = 0; i < r->idles_opened; i++) {
        opening += !client_is_down(&r->idles[i].client) &&
                   !client_is_open(&r->idles[i].client);
    }
    while (r->idles_opened < r->idles_count && opening < RUN_OPENING_MAX) {
        idle_open(&r->idles[r->idles_opened]);
        r->idles_opened++;
        opening++;
    }
    for (i = 0; is_churn(r) && i < r->idles_opened; i++) {
        if (client_is_down(&r->idles[i].client)) {
            idle_open(&r->idles[i]);
        }
    }
}

void
run_idles_tick(struct run *r, uint64_t now_us)
{
    uint32_t i = 0;

    for (i = 0; i < r->idles_opened; i++) {
        client_tick(&r->idles[i].client, now_us);
    }
    if (r->traffic.is_measuring && !r->is_failed) {
        open_more(r);
    }
}

bool
run_idles_are_open(struct run *r, uint64_t now_us)
{
    (void)now_us;
    return r->result->operations + r->result->failures >= r->idles_count;
}

uint64_t
run_idles_progress(const struct run *r)
{
    return r->result->operations + r->result->failures;
}

void
run_idles_close(struct run *r)
{
    uint32_t i = 0;

    r->traffic.is_measuring = false;
    for (i = 0; i < r->idles_count; i++) {
        if (!is_churn(r)) {
            r->result->connections_alive += client_is_open(&r->idles[i].client);
        }
        client_close(&r->idles[i].client);
    }
}

bool
run_idles_are_closed(const struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->idles_count; i++) {
        if (!client_is_down(&r->idles[i].client)) {
            return false;
        }
    }
    return true;
}
