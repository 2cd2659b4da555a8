/* Stamps, silences, second attempts. */
#include "base/mem.h"
#include "bench/clock.h"
#include "bench/traffic.h"
#include "lib/harness.h"

Test(traffic, a_stamp_comes_back)
{
    struct traffic_stamp in = {.sent_us = 123456789012,
                               .sequence = (UINT64_C(1) << 36) - 1,
                               .lane = 65535,
                               .run = 65535};
    struct traffic_stamp out = {0};
    uint8_t head[BENCH_BODY_HEAD_SIZE];

    traffic_stamp_put(head, &in);
    traffic_stamp_get(head, &out);
    cr_assert_eq(out.sent_us, in.sent_us);
    cr_assert_eq(out.sequence, in.sequence);
    cr_assert_eq(out.lane, in.lane);
    cr_assert_eq(out.run, in.run);
}

Test(traffic, age_is_never_negative)
{
    struct traffic_stamp s = {.sent_us = 1000};

    cr_assert_eq(traffic_stamp_age(&s, 1500), 500);
    cr_assert_eq(traffic_stamp_age(&s, 999), 0);
}

Test(traffic, the_longest_gap_is_kept_with_its_begin)
{
    struct traffic_gap gap = {0};

    traffic_gap_note(&gap, 1000, 1);
    traffic_gap_note(&gap, 1300, 1);
    traffic_gap_note(&gap, 1400, 1);
    cr_assert_eq(gap.longest_us, 300);
    cr_assert_eq(gap.longest_at_us, 1000);
}

Test(traffic, a_gap_counts_from_when_measuring_began)
{
    struct traffic_gap gap = {0};

    traffic_gap_note(&gap, 1000, 0);
    traffic_gap_note(&gap, 2000, 1900);
    cr_assert_eq(gap.longest_us, 100);
    cr_assert_eq(gap.longest_at_us, 1900);
    traffic_gap_note(&gap, 9000, 0);
    cr_assert_eq(gap.longest_us, 100);
}

Test(traffic, queues_are_numbered)
{
    struct bench_options o = {.prefix = "p"};
    char name[TRAFFIC_NAME_SIZE];

    traffic_queue_name(&o, 59999, name);
    cr_assert_str_eq(name, "p-59999");
}

/* What on_fatal was told. */
static void
keep(void *arg, const char *text)
{
    *(const char **)arg = text;
}

Test(traffic, a_lost_connection_is_fatal_without_reconnect)
{
    const char *told = NULL;
    struct bench_options o = {.reconnect = false};
    struct traffic *t = mem_zalloc(1, sizeof(*t));
    struct traffic_retry retry = {0};
    struct bench_hosts hosts = {.count = 3};

    t->options = &o;
    t->on_fatal = keep;
    t->arg = &told;
    traffic_lost(t, &retry, &hosts, "gone");
    cr_assert_str_eq(told, "gone");
    cr_assert_eq(retry.at_us, 0);
    cr_assert_eq(t->counts.connections_lost, 1);
    mem_free(t);
}

Test(traffic, attempts_go_around_the_hosts_ever_slower)
{
    struct bench_options o = {.reconnect = true};
    struct traffic *t = mem_zalloc(1, sizeof(*t));
    struct traffic_retry retry = {0};
    struct bench_hosts hosts = {.count = 2};
    uint64_t now_us = bench_now_us();

    t->options = &o;
    traffic_lost(t, &retry, &hosts, "gone");
    cr_assert_eq(retry.host, 1);
    cr_assert_geq(retry.at_us, now_us);
    cr_assert_eq(retry.backoff_ms, TRAFFIC_BACKOFF_MIN_MS);
    cr_assert(traffic_retry_due(&retry, retry.at_us));
    cr_assert_eq(retry.at_us, 0);
    cr_assert_not(traffic_retry_due(&retry, UINT64_MAX));
    traffic_lost(t, &retry, &hosts, "gone");
    cr_assert_eq(retry.host, 0);
    cr_assert_geq(retry.at_us, now_us + UINT64_C(20) * BENCH_US_PER_MS);
    cr_assert_not(traffic_retry_due(&retry, now_us));
    cr_assert_eq(retry.backoff_ms, 40);
    for (now_us = 0; now_us < 10; now_us++) {
        traffic_lost(t, &retry, &hosts, "gone");
    }
    cr_assert_eq(retry.backoff_ms, TRAFFIC_BACKOFF_MAX_MS);
    mem_free(t);
}
