/* The small change of a run: stamps, silences, names, second attempts. */
#include "bench/traffic.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/check.h"
#include "bench/clock.h"

enum {
    SENT_BITS = 48,
    SEQUENCE_BITS = 40,
    WORD = 8
};

#define SENT_MASK     ((UINT64_C(1) << SENT_BITS) - 1)
#define SEQUENCE_MASK ((UINT64_C(1) << SEQUENCE_BITS) - 1)

void
traffic_stamp_put(uint8_t *at, const struct traffic_stamp *stamp)
{
    put_u64le(at,
              (stamp->sent_us & SENT_MASK) | (uint64_t)stamp->run << SENT_BITS);
    put_u64le(at + WORD, (stamp->sequence & SEQUENCE_MASK) |
                             (uint64_t)stamp->lane << SEQUENCE_BITS);
}

void
traffic_stamp_get(const uint8_t *at, struct traffic_stamp *out)
{
    uint64_t first = get_u64le(at);
    uint64_t second = get_u64le(at + WORD);

    *out = (struct traffic_stamp){
        .sent_us = first & SENT_MASK,
        .run = (uint16_t)(first >> SENT_BITS),
        .sequence = second & SEQUENCE_MASK,
        .lane = (uint32_t)(second >> SEQUENCE_BITS),
    };
}

uint64_t
traffic_stamp_age(const struct traffic_stamp *stamp, uint64_t now_us)
{
    uint64_t now = now_us & SENT_MASK;

    return now > stamp->sent_us ? now - stamp->sent_us : 0;
}

void
traffic_gap_note(struct traffic_gap *gap, uint64_t now_us, uint64_t from_us)
{
    uint64_t begin_us = MAX(gap->last_us, from_us);

    if (from_us > 0 && gap->last_us > 0 && now_us > begin_us &&
        now_us - begin_us > gap->longest_us) {
        gap->longest_us = now_us - begin_us;
        gap->longest_at_us = begin_us;
    }
    gap->last_us = now_us;
}

void
traffic_queue_name(const struct bench_options *o, uint32_t index, char *out)
{
    int size =
        snprintf(out, TRAFFIC_NAME_SIZE, "%s-%" PRIu32, o->prefix, index);

    ASSERT(size > 0);
    ASSERT(size < TRAFFIC_NAME_SIZE);
}

void
traffic_lost(struct traffic *t, struct traffic_retry *retry,
             const struct bench_hosts *hosts, const char *text)
{
    uint64_t wait_ms = retry->backoff_ms;

    t->counts.connections_lost++;
    if (!t->options->reconnect) {
        t->on_fatal(t->arg, text);
        return;
    }
    /* At once after it had worked: the wait would count as the broker's. */
    retry->at_us = bench_now_us() + wait_ms * BENCH_US_PER_MS;
    retry->backoff_ms = (uint32_t)MIN(MAX(wait_ms * 2, TRAFFIC_BACKOFF_MIN_MS),
                                      TRAFFIC_BACKOFF_MAX_MS);
    retry->host = (retry->host + 1) % hosts->count;
}

bool
traffic_retry_due(struct traffic_retry *retry, uint64_t now_us)
{
    if (retry->at_us == 0 || now_us < retry->at_us) {
        return false;
    }
    retry->at_us = 0;
    return true;
}
