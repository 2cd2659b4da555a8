/* The stages of publishing and consuming, and the pace. */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "bench/clock.h"
#include "bench/consumer.h"
#include "bench/publisher.h"
#include "bench/run_priv.h"
#include "bench/verify.h"

enum {
    NS_PER_US = 1000,
    PACE_GRAIN_US = 50 /* the pacer wakes no more often */
};

static void
on_fatal(void *arg, const char *text)
{
    run_fail(arg, "%s", text);
}

void
run_traffic_init(struct run *r)
{
    const struct bench_options *o = r->options;
    struct traffic *t = &r->traffic;
    uint32_t i = 0;

    t->options = o;
    t->setup = r->setup;
    t->lanes = (uint32_t)MAX(o->queues, o->publishers);
    t->run = (uint16_t)bench_now_us();
    t->run_is_known = o->mode != BENCH_CONSUME && o->publishers > 0;
    t->left = o->count > 0 ? o->count : UINT64_MAX;
    t->pace_us = o->rate > 0 ? (double)BENCH_US_PER_S / (double)o->rate : 0;
    t->on_fatal = on_fatal;
    t->arg = r;
    histogram_init(&t->confirm_latency);
    histogram_init(&t->deliver_latency);
    t->verify = o->verify ? verify_new(t->lanes) : NULL;
    r->publishers_count = (uint32_t)o->publishers;
    r->consumers_count = (uint32_t)o->consumers;
    r->publishers = mem_zalloc(o->publishers, sizeof(r->publishers[0]));
    r->consumers = mem_zalloc(o->consumers, sizeof(r->consumers[0]));
    for (i = 0; i < r->publishers_count; i++) {
        publisher_init(&r->publishers[i], t, i);
    }
    for (i = 0; i < r->consumers_count; i++) {
        consumer_init(&r->consumers[i], t, i);
    }
}

void
run_traffic_deinit(struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->publishers_count; i++) {
        publisher_deinit(&r->publishers[i]);
    }
    for (i = 0; i < r->consumers_count; i++) {
        consumer_deinit(&r->consumers[i]);
    }
    mem_free(r->publishers);
    mem_free(r->consumers);
    verify_free(&r->traffic.verify);
}

/* Those not yet opened, as long as not too many are under way. */
static void
open_more(struct run *r)
{
    uint32_t opening = 0;
    uint32_t i = 0;

    for (i = 0; i < r->publishers_count; i++) {
        opening += !client_is_down(&r->publishers[i].client) &&
                   !publisher_is_ready(&r->publishers[i]);
    }
    for (i = 0; i < r->consumers_count; i++) {
        opening += !client_is_down(&r->consumers[i].client) &&
                   !consumer_is_ready(&r->consumers[i]);
    }
    for (i = 0; i < r->consumers_count && opening < RUN_OPENING_MAX; i++) {
        if (client_is_down(&r->consumers[i].client) &&
            r->consumers[i].retry.at_us == 0) {
            consumer_open(&r->consumers[i]);
            opening++;
        }
    }
    for (i = 0; i < r->publishers_count && opening < RUN_OPENING_MAX; i++) {
        if (client_is_down(&r->publishers[i].client) &&
            r->publishers[i].retry.at_us == 0) {
            publisher_open(&r->publishers[i]);
            opening++;
        }
    }
}

void
run_traffic_connect(struct run *r)
{
    if (r->options->mode == BENCH_CONSUME && r->options->warmup_us == 0) {
        /* The backlog comes as soon as somebody asks for it. */
        run_measure_begin(r);
    }
    open_more(r);
}

uint64_t
run_traffic_connected(const struct run *r)
{
    uint64_t count = 0;
    uint32_t i = 0;

    for (i = 0; i < r->publishers_count; i++) {
        count += publisher_is_ready(&r->publishers[i]);
    }
    for (i = 0; i < r->consumers_count; i++) {
        count += consumer_is_ready(&r->consumers[i]);
    }
    return count;
}

bool
run_traffic_is_connected(struct run *r, uint64_t now_us)
{
    (void)now_us;
    if (run_traffic_connected(r) ==
        (uint64_t)r->publishers_count + r->consumers_count) {
        return true;
    }
    open_more(r);
    return false;
}

/* Wake up when message pacer_next of the run is due. */
static void
pacer_arm(struct run *r, uint64_t now_us)
{
    struct traffic *t = &r->traffic;
    uint64_t due_us =
        t->pace_start_us + (uint64_t)((double)r->pacer_next * t->pace_us);
    struct itimerspec when = {0};
    int rv = 0;

    due_us = MAX(due_us, now_us + PACE_GRAIN_US);
    when.it_value.tv_sec = (time_t)(due_us / BENCH_US_PER_S);
    when.it_value.tv_nsec = (long)(due_us % BENCH_US_PER_S) * NS_PER_US;
    rv = timerfd_settime(r->pacer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    ASSERT(rv == 0);
}

/* Some messages are due: let those publish whose turn it is. */
static void
on_pacer(uv_poll_t *poll, int status, int events)
{
    struct run *r = poll->data;
    struct traffic *t = &r->traffic;
    uint64_t now_us = bench_now_us();
    uint64_t expired = 0;
    uint64_t end = 0;
    uint64_t i = 0;

    (void)status;
    (void)events;
    OBJ_CHECK(r, RUN_MAGIC);
    if (read(r->pacer_fd, &expired, sizeof(expired)) < 0 && errno == EAGAIN) {
        return;
    }
    if (!t->may_publish) {
        return;
    }
    end = (uint64_t)((double)(now_us - t->pace_start_us) / t->pace_us) + 1;
    for (i = 0; i < MIN(end - r->pacer_next, r->publishers_count); i++) {
        publisher_pump(
            &r->publishers[(r->pacer_next + i) % r->publishers_count], now_us);
    }
    r->pacer_next = end;
    pacer_arm(r, now_us);
}

static void
pacer_start(struct run *r)
{
    int rv = 0;

    r->pacer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (r->pacer_fd < 0) {
        run_fail(r, "no timer for --rate: error %d", errno);
        return;
    }
    rv = uv_poll_init(&r->loop, &r->pacer, r->pacer_fd);
    ASSERT(rv == 0);
    r->pacer.data = r;
    rv = uv_poll_start(&r->pacer, UV_READABLE, on_pacer);
    ASSERT(rv == 0);
    pacer_arm(r, r->traffic.pace_start_us);
}

void
run_traffic_start(struct run *r)
{
    struct traffic *t = &r->traffic;
    uint32_t i = 0;

    if (t->may_publish || r->publishers_count == 0) {
        return;
    }
    t->may_publish = true;
    t->pace_start_us = bench_now_us();
    if (t->pace_us > 0) {
        pacer_start(r);
        return;
    }
    for (i = 0; i < r->publishers_count; i++) {
        publisher_pump(&r->publishers[i], t->pace_start_us);
    }
}

static bool
publishers_are_settled(const struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->publishers_count; i++) {
        if (!publisher_is_settled(&r->publishers[i])) {
            return false;
        }
    }
    return true;
}

/* With --count: all has been published, confirmed, and has arrived. */
bool
run_traffic_is_through(struct run *r, uint64_t now_us)
{
    const struct bench_options *o = r->options;
    const struct traffic *t = &r->traffic;

    if (o->publishers == 0) {
        return (o->count > 0 && t->counts.delivered >= o->count) ||
               (o->idle_us > 0 &&
                now_us > MAX(t->deliver_gap.last_us, r->begin_us) + o->idle_us);
    }
    if (o->count == 0 || t->left > 0 || !publishers_are_settled(r)) {
        return false;
    }
    if (o->consumers == 0) {
        return true;
    }
    if (t->verify != NULL ? verify_missing(t->verify) == 0
                          : t->counts.delivered >= o->count) {
        return true;
    }
    /* What is still missing a while later is for settling to wait for. */
    return now_us >
           MAX(t->deliver_gap.last_us, t->confirm_gap.last_us) + BENCH_US_PER_S;
}

void
run_traffic_settle(struct run *r)
{
    r->traffic.may_publish = false;
}

bool
run_traffic_is_settled(struct run *r, uint64_t now_us)
{
    const struct traffic *t = &r->traffic;
    uint64_t linger_us = (uint64_t)RUN_LINGER_MS * BENCH_US_PER_MS;

    if (r->publishers_count == 0) {
        return true;
    }
    if (!publishers_are_settled(r)) {
        return false;
    }
    if (r->consumers_count > 0 && t->verify != NULL) {
        if (verify_missing(t->verify) > 0 ||
            now_us < t->deliver_gap.last_us + linger_us) {
            return false;
        }
    }
    r->result->is_settled = true;
    return true;
}

uint64_t
run_traffic_progress(const struct run *r)
{
    return r->traffic.counts.confirmed + r->traffic.counts.delivered;
}

void
run_traffic_close(struct run *r)
{
    uint32_t i = 0;

    r->traffic.may_publish = false;
    r->traffic.is_measuring = false;
    r->traffic.measure_us = 0;
    for (i = 0; i < r->consumers_count; i++) {
        consumer_ack(&r->consumers[i]);
        r->consumers[i].retry.at_us = 0;
        client_close(&r->consumers[i].client);
    }
    for (i = 0; i < r->publishers_count; i++) {
        r->publishers[i].retry.at_us = 0;
        client_close(&r->publishers[i].client);
    }
    if (r->pacer_fd >= 0 && !uv_is_closing((uv_handle_t *)&r->pacer)) {
        uv_close((uv_handle_t *)&r->pacer, NULL);
    }
}

bool
run_traffic_is_closed(const struct run *r)
{
    uint32_t i = 0;

    for (i = 0; i < r->publishers_count; i++) {
        if (!client_is_down(&r->publishers[i].client)) {
            return false;
        }
    }
    for (i = 0; i < r->consumers_count; i++) {
        if (!client_is_down(&r->consumers[i].client)) {
            return false;
        }
    }
    return true;
}

void
run_traffic_tick(struct run *r, uint64_t now_us)
{
    uint32_t i = 0;

    for (i = 0; i < r->publishers_count; i++) {
        publisher_tick(&r->publishers[i], now_us);
    }
    for (i = 0; i < r->consumers_count; i++) {
        consumer_tick(&r->consumers[i], now_us);
    }
}
