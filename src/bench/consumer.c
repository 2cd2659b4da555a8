/* What comes is stamped, so a message tells how old it is and who sent it.
 * Acknowledgements are cumulative: one frame for many messages. */
#include "bench/consumer.h"

#include <stdio.h>

#include "amqp/frame.h"
#include "amqp/method.h"
#include "base/check.h"
#include "base/mem.h"
#include "bench/verify.h"

enum {
    CONSUMER_MAGIC = 0x636f6e73,
    NUMBER_SIZE = 16 /* of a consumer tag, with the NUL */
};

/* Lanes that end in one queue, at most. */
static uint32_t
lanes_per_queue(const struct traffic *t)
{
    return (uint32_t)((t->lanes + t->options->queues - 1) / t->options->queues);
}

static void
make_queues(struct consumer *c)
{
    const struct bench_options *o = c->traffic->options;
    uint64_t all = MAX(o->consumers, o->queues);
    uint64_t number = c->index;
    uint32_t i = 0;

    c->queues_count =
        (uint32_t)((all - c->index + o->consumers - 1) / o->consumers);
    ASSERT(c->queues_count > 0);
    c->queues = mem_zalloc(c->queues_count, sizeof(c->queues[0]));
    for (i = 0; i < c->queues_count; i++) {
        c->queues[i].number = (uint32_t)(number % o->queues);
        c->queues[i].ends =
            mem_zalloc(lanes_per_queue(c->traffic), sizeof(uint64_t));
        number += o->consumers;
    }
}

static void
get(struct consumer *c)
{
    struct amqp_method m = {.id = AMQP_basic_get};
    char name[TRAFFIC_NAME_SIZE];

    traffic_queue_name(c->traffic->options, c->queues[c->turn].number, name);
    m.basic_get.queue = amqp_text(name);
    m.basic_get.no_ack = c->traffic->options->ack_every == 0;
    client_send(&c->client, &m);
    c->is_getting = true;
}

static void
subscribe(struct consumer *c)
{
    struct amqp_method m = {.id = AMQP_basic_consume};
    char name[TRAFFIC_NAME_SIZE];
    char tag[NUMBER_SIZE];
    uint32_t i = 0;

    for (i = 0; i < c->queues_count; i++) {
        traffic_queue_name(c->traffic->options, c->queues[i].number, name);
        (void)snprintf(tag, sizeof(tag), "%u", i);
        m.basic_consume.queue = amqp_text(name);
        m.basic_consume.consumer_tag = amqp_text(tag);
        m.basic_consume.no_ack = c->traffic->options->ack_every == 0;
        client_send(&c->client, &m);
        c->answers++;
    }
}

static void
ready(struct consumer *c)
{
    c->is_ready = true;
    c->retry.backoff_ms = 0;
}

static void
on_open(void *arg)
{
    struct consumer *c = arg;
    const struct bench_options *o = c->traffic->options;
    struct amqp_method m = {.id = AMQP_basic_qos};

    OBJ_CHECK(c, CONSUMER_MAGIC);
    c->answers = 0;
    c->unacked = 0;
    c->last_tag = 0;
    c->is_getting = false;
    if (o->mode == BENCH_GET) {
        ready(c);
        get(c);
        return;
    }
    if (o->prefetch > 0 && o->ack_every > 0) {
        m.basic_qos.prefetch_count = (uint16_t)o->prefetch;
        client_send(&c->client, &m);
        c->answers++;
    }
    subscribe(c);
}

static void
on_method(void *arg, const struct amqp_method *m)
{
    struct consumer *c = arg;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    if (m->id == AMQP_basic_qos_ok || m->id == AMQP_basic_consume_ok) {
        ASSERT(c->answers > 0);
        c->answers--;
        if (c->answers == 0) {
            ready(c);
        }
    } else if (m->id == AMQP_basic_get_empty) {
        c->traffic->counts.get_empty++;
        c->is_getting = false;
        c->is_empty = true;
    } else if (m->id == AMQP_basic_cancel) {
        /* The broker ended a subscription; begin again elsewhere. */
        client_drop(&c->client);
        c->is_ready = false;
        traffic_lost(c->traffic, &c->retry, &c->traffic->options->consume_hosts,
                     "the broker cancelled a consumer");
    }
}

static void
on_down(void *arg, const char *text)
{
    struct consumer *c = arg;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    c->is_ready = false;
    c->unacked = 0;
    if (text != NULL) {
        traffic_lost(c->traffic, &c->retry, &c->traffic->options->consume_hosts,
                     text);
    }
}

void
consumer_ack(struct consumer *c)
{
    /* basic.ack of all up to a tag, in a frame of its own. */
    uint8_t frame[] = {AMQP_FRAME_METHOD,
                       0,
                       CLIENT_CHANNEL,
                       0,
                       0,
                       0,
                       13,
                       0,
                       60,
                       0,
                       80,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       1,
                       AMQP_FRAME_END};

    OBJ_CHECK(c, CONSUMER_MAGIC);
    if (c->unacked > 0 && client_is_open(&c->client)) {
        put_u64be(frame + 11, c->last_tag);
        client_send_bytes(&c->client, frame, sizeof(frame));
        c->unacked = 0;
        c->is_acked = true;
    }
}

/* A message of this run came for the first time: whether it is in order. */
static void
check_order(struct consumer *c, const struct client_message *m,
            const struct traffic_stamp *stamp)
{
    struct traffic *t = c->traffic;
    uint32_t wanted = t->options->mode == BENCH_GET ? c->turn : m->consumer;
    uint32_t at = wanted < c->queues_count ? wanted : 0;
    uint64_t *end =
        &c->queues[at].ends[stamp->lane / (uint32_t)t->options->queues];

    if (LIKELY(stamp->sequence >= *end)) {
        *end = stamp->sequence + 1;
    } else if (!m->is_redelivered &&
               !verify_was_sent_again(t->verify, stamp->lane,
                                      stamp->sequence)) {
        t->counts.out_of_order++;
    }
}

static void
check(struct consumer *c, const struct client_message *m,
      const struct traffic_stamp *stamp)
{
    struct traffic *t = c->traffic;

    switch (verify_arrived(t->verify, stamp->lane, stamp->sequence)) {
    case VERIFY_FIRST:
        check_order(c, m, stamp);
        break;
    case VERIFY_AGAIN:
        if (m->is_redelivered) {
            t->counts.duplicates_flagged++;
        } else {
            t->counts.duplicates_unflagged++;
        }
        break;
    case VERIFY_AGAIN_AFTER_SEND:
        t->counts.duplicates_after_send++;
        break;
    }
}

/* Whether STAMP is of this run; the first one of another process tells which
 * run it is. */
static bool
is_ours(struct traffic *t, const struct traffic_stamp *stamp)
{
    if (!t->run_is_known) {
        t->run = stamp->run;
        t->run_is_known = true;
    }
    return stamp->run == t->run && stamp->lane < t->lanes &&
           stamp->sequence < VERIFY_SEQUENCE_MAX;
}

static void
on_message(void *arg, const struct client_message *m)
{
    struct consumer *c = arg;
    struct traffic *t = c->traffic;
    uint64_t now_us = c->client.now_us;
    struct traffic_stamp stamp = {0};

    OBJ_CHECK(c, CONSUMER_MAGIC);
    t->counts.delivered++;
    t->counts.redelivered += m->is_redelivered;
    if (t->is_measuring) {
        t->deliver_first_us =
            t->deliver_first_us == 0 ? now_us : t->deliver_first_us;
        t->deliver_last_us = now_us;
    }
    traffic_gap_note(&c->gap, now_us, t->measure_us);
    traffic_gap_note(&t->deliver_gap, now_us, t->measure_us);
    t->worst_deliver_gap_us = MAX(t->worst_deliver_gap_us, c->gap.longest_us);
    if (m->head_size == sizeof(m->head)) {
        traffic_stamp_get(m->head, &stamp);
        if (!is_ours(t, &stamp)) {
            t->counts.foreign++;
        } else {
            if (t->is_measuring) {
                histogram_record(&t->deliver_latency,
                                 traffic_stamp_age(&stamp, now_us));
            }
            if (t->verify != NULL) {
                check(c, m, &stamp);
            }
        }
    }
    c->last_tag = m->tag;
    c->unacked += t->options->ack_every > 0;
    if (c->unacked >= t->options->ack_every && c->unacked > 0) {
        consumer_ack(c);
    }
    c->is_getting = false;
}

static void
on_turn(void *arg)
{
    struct consumer *c = arg;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    if (c->traffic->options->mode == BENCH_GET && !c->is_getting &&
        !c->is_empty) {
        c->turn = c->turn + 1 < c->queues_count ? c->turn + 1 : 0;
        get(c);
    }
}

void
consumer_init(struct consumer *c, struct traffic *t, uint32_t index)
{
    struct client_events events = {
        .arg = c,
        .on_open = on_open,
        .on_method = on_method,
        .on_message = on_message,
        .on_turn = on_turn,
        .on_down = on_down,
    };

    *c = (struct consumer){
        .magic = CONSUMER_MAGIC, .index = index, .traffic = t};
    c->retry.host = index % t->options->consume_hosts.count;
    make_queues(c);
    client_init(&c->client, &t->setup, &events);
}

void
consumer_deinit(struct consumer *c)
{
    uint32_t i = 0;

    OBJ_CHECK(c, CONSUMER_MAGIC);
    client_deinit(&c->client);
    for (i = 0; i < c->queues_count; i++) {
        mem_free(c->queues[i].ends);
    }
    mem_free(c->queues);
    c->magic = 0;
}

void
consumer_open(struct consumer *c)
{
    OBJ_CHECK(c, CONSUMER_MAGIC);
    client_open(&c->client,
                &c->traffic->options->consume_hosts.list[c->retry.host]);
}

bool
consumer_is_ready(const struct consumer *c)
{
    OBJ_CHECK(c, CONSUMER_MAGIC);
    return c->is_ready && client_is_open(&c->client);
}

void
consumer_tick(struct consumer *c, uint64_t now_us)
{
    OBJ_CHECK(c, CONSUMER_MAGIC);
    if (client_is_down(&c->client)) {
        if (traffic_retry_due(&c->retry, now_us)) {
            c->traffic->counts.reconnects++;
            consumer_open(c);
        }
        return;
    }
    client_tick(&c->client, now_us);
    if (!c->is_acked) {
        consumer_ack(c);
    }
    c->is_acked = false;
    if (c->is_empty && client_is_open(&c->client)) {
        c->is_empty = false;
        on_turn(c);
    }
}
