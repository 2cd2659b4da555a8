/* Publishing in batches: the frames of a message are made once; each message
 * is two copies and a stamp. All that one turn of the loop publishes leaves
 * in one write. */
#include "bench/publisher.h"

#include <string.h>

#include "amqp/content.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/clock.h"
#include "bench/verify.h"

enum {
    PUBLISHER_MAGIC = 0x7075626c,
    PERSISTENT = 2,
    TRANSIENT = 1,
    BODY_SEED = 20,
    /* Tags from the oldest unconfirmed one on, in windows: brokers confirm
     * out of order. */
    PENDING_WINDOWS = 4
};

/* basic.publish to queue NAME and the content header, appended to HEADS. */
static void
make_head(struct buf *heads, const struct bench_options *o, const char *name)
{
    struct amqp_method m = {.id = AMQP_basic_publish};
    struct amqp_properties properties = {
        .flags = AMQP_HAS_delivery_mode,
        .delivery_mode = o->durable ? PERSISTENT : TRANSIENT,
    };
    size_t mark = amqp_frame_begin(heads, AMQP_FRAME_METHOD, CLIENT_CHANNEL);

    m.basic_publish.routing_key = amqp_text(name);
    m.basic_publish.exchange = amqp_text("");
    amqp_method_encode(&m, heads);
    amqp_frame_end(heads, mark);
    mark = amqp_frame_begin(heads, AMQP_FRAME_HEADER, CLIENT_CHANNEL);
    amqp_content_head(heads, o->size);
    amqp_properties_encode(&properties, heads);
    amqp_frame_end(heads, mark);
}

static void
make_lanes(struct publisher *p)
{
    const struct bench_options *o = p->traffic->options;
    uint32_t number = p->index;
    char name[TRAFFIC_NAME_SIZE];
    struct publisher_lane *lane = NULL;

    p->lanes_count =
        (uint32_t)((p->traffic->lanes - p->index + o->publishers - 1) /
                   o->publishers);
    ASSERT(p->lanes_count > 0);
    p->lanes = mem_zalloc(p->lanes_count, sizeof(p->lanes[0]));
    for (lane = p->lanes; lane < p->lanes + p->lanes_count; lane++) {
        ASSERT(number < p->traffic->lanes);
        lane->number = number;
        lane->head_at = p->heads.size;
        traffic_queue_name(o, (uint32_t)(number % o->queues), name);
        make_head(&p->heads, o, name);
        lane->head_size = p->heads.size - lane->head_at;
        number += (uint32_t)o->publishers;
    }
}

/* The body in frames of at most FRAME_MAX bytes, of noise. */
static void
make_body(struct publisher *p, size_t frame_max)
{
    size_t left = p->traffic->options->size;
    size_t size = 0;
    struct rng rng;

    rng_init(&rng, BODY_SEED);
    buf_clear(&p->body);
    while (left > 0) {
        size = MIN(left, frame_max - AMQP_FRAME_OVERHEAD);
        amqp_frame_head(&p->body, AMQP_FRAME_BODY, CLIENT_CHANNEL, size);
        rng_fill(&rng, buf_extend(&p->body, size), size);
        buf_put_u8(&p->body, AMQP_FRAME_END);
        left -= size;
    }
    p->body_frame = frame_max;
}

/* Forget the tags of the last connection. */
static void
reset_tags(struct publisher *p)
{
    memset(p->pending, 0, (p->pending_mask + 1) * sizeof(p->pending[0]));
    p->next_tag = 1;
    p->oldest_tag = 1;
    p->unconfirmed = 0;
}

static void
on_open(void *arg)
{
    struct publisher *p = arg;
    struct amqp_method m = {.id = AMQP_confirm_select};

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    reset_tags(p);
    if (p->body_frame != p->client.frame_max) {
        make_body(p, p->client.frame_max);
    }
    if (p->traffic->options->window > 0) {
        client_send(&p->client, &m);
    } else {
        p->is_ready = true;
    }
}

static void
on_method(void *arg, const struct amqp_method *m)
{
    struct publisher *p = arg;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    if (m->id == AMQP_confirm_select_ok) {
        p->is_ready = true;
        p->retry.backoff_ms = 0;
    }
}

/* Message M, whose confirm did not come, shall be published again. */
static void
send_again_later(struct publisher *p, const struct publisher_pending *m)
{
    *(struct publisher_pending *)ring_push_back(&p->again) = *m;
    if (p->traffic->verify != NULL) {
        verify_sent_again(p->traffic->verify, p->lanes[m->lane].number,
                          m->sequence);
    }
}

static void
on_down(void *arg, const char *text)
{
    struct publisher *p = arg;
    struct publisher_pending *m = NULL;
    struct ring later = p->again;
    uint64_t tag = 0;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    p->is_ready = false;
    if (text == NULL) {
        return;
    }
    /* In the order in which they were published: first those that were under
     * way, then those that had not come to be sent again. */
    ring_init(&p->again, sizeof(struct publisher_pending));
    for (tag = p->oldest_tag; tag < p->next_tag; tag++) {
        m = &p->pending[tag & p->pending_mask];
        if (m->stamp_us != 0) {
            send_again_later(p, m);
        }
    }
    for (; later.count > 0; ring_pop_front(&later)) {
        *(struct publisher_pending *)ring_push_back(&p->again) =
            *(struct publisher_pending *)ring_at(&later, 0);
    }
    ring_deinit(&later);
    reset_tags(p);
    traffic_lost(p->traffic, &p->retry, &p->traffic->options->publish_hosts,
                 text);
}

/* The confirm of message M came. */
static void
settle(struct publisher *p, struct publisher_pending *m, bool is_ack)
{
    struct traffic *t = p->traffic;
    uint64_t now_us = p->client.now_us;

    p->unconfirmed--;
    if (LIKELY(is_ack)) {
        t->counts.confirmed++;
        if (t->is_measuring) {
            histogram_record(&t->confirm_latency,
                             now_us > m->stamp_us ? now_us - m->stamp_us : 0);
        }
        if (t->verify != NULL) {
            verify_confirmed(t->verify, p->lanes[m->lane].number, m->sequence);
        }
    } else {
        t->counts.nacked++;
        p->is_refused = true;
        if (t->options->reconnect) {
            send_again_later(p, m);
        }
    }
    m->stamp_us = 0;
}

static void
on_confirm(void *arg, uint64_t tag, bool multiple, bool is_ack)
{
    struct publisher *p = arg;
    struct traffic *t = p->traffic;
    uint64_t now_us = p->client.now_us;
    uint64_t at = multiple ? p->oldest_tag : tag;
    uint64_t last = tag == 0 && multiple ? p->next_tag - 1 : tag;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    if (last >= p->next_tag || last < p->oldest_tag ||
        (!multiple && p->pending[tag & p->pending_mask].stamp_us == 0)) {
        t->counts.strange_confirms++;
        return;
    }
    for (; at <= last; at++) {
        if (p->pending[at & p->pending_mask].stamp_us != 0) {
            settle(p, &p->pending[at & p->pending_mask], is_ack);
        }
    }
    while (p->oldest_tag < p->next_tag &&
           p->pending[p->oldest_tag & p->pending_mask].stamp_us == 0) {
        p->oldest_tag++;
    }
    if (is_ack) {
        traffic_gap_note(&p->gap, now_us, t->measure_us);
        traffic_gap_note(&t->confirm_gap, now_us, t->measure_us);
        t->worst_confirm_gap_us =
            MAX(t->worst_confirm_gap_us, p->gap.longest_us);
        if (t->is_measuring) {
            t->confirm_first_us =
                t->confirm_first_us == 0 ? now_us : t->confirm_first_us;
            t->confirm_last_us = now_us;
        }
    }
}

static void
on_turn(void *arg)
{
    struct publisher *p = arg;

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    publisher_pump(p, p->client.now_us);
}

void
publisher_init(struct publisher *p, struct traffic *t, uint32_t index)
{
    struct client_events events = {
        .arg = p,
        .on_open = on_open,
        .on_method = on_method,
        .on_confirm = on_confirm,
        .on_turn = on_turn,
        .on_down = on_down,
    };
    uint64_t places = 1;

    *p = (struct publisher){
        .magic = PUBLISHER_MAGIC, .index = index, .traffic = t};
    while (places < t->options->window * PENDING_WINDOWS) {
        places *= 2;
    }
    p->pending_mask = places - 1;
    p->pending = mem_zalloc(places, sizeof(p->pending[0]));
    p->retry.host = index % t->options->publish_hosts.count;
    ring_init(&p->again, sizeof(struct publisher_pending));
    buf_init(&p->heads);
    buf_init(&p->body);
    make_lanes(p);
    client_init(&p->client, &t->setup, &events);
    reset_tags(p);
}

void
publisher_deinit(struct publisher *p)
{
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    client_deinit(&p->client);
    buf_deinit(&p->heads);
    buf_deinit(&p->body);
    ring_deinit(&p->again);
    mem_free(p->pending);
    mem_free(p->lanes);
    p->magic = 0;
}

void
publisher_open(struct publisher *p)
{
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    client_open(&p->client,
                &p->traffic->options->publish_hosts.list[p->retry.host]);
}

bool
publisher_is_ready(const struct publisher *p)
{
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    return p->is_ready && client_is_open(&p->client);
}

bool
publisher_is_settled(const struct publisher *p)
{
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    return p->unconfirmed == 0 && p->again.count == 0;
}

/* Put M on the wire, whose stamp tells when it counts from. */
static void
publish(struct publisher *p, const struct publisher_pending *m)
{
    struct traffic *t = p->traffic;
    const struct publisher_lane *lane = &p->lanes[m->lane];
    struct traffic_stamp stamp = {.sent_us = m->stamp_us,
                                  .sequence = m->sequence,
                                  .lane = lane->number,
                                  .run = t->run};

    if (t->options->size >= BENCH_BODY_HEAD_SIZE) {
        traffic_stamp_put(p->body.data + AMQP_FRAME_HEAD_SIZE, &stamp);
    }
    client_send_bytes(&p->client, p->heads.data + lane->head_at,
                      lane->head_size);
    client_send_bytes(&p->client, p->body.data, p->body.size);
    t->counts.published++;
    if (t->options->window > 0) {
        p->pending[p->next_tag & p->pending_mask] = *m;
        p->next_tag++;
        p->unconfirmed++;
    }
}

/* When the next new message is due by the pace of the run. */
static uint64_t
due_us(const struct publisher *p)
{
    const struct traffic *t = p->traffic;
    uint64_t number = p->paced * t->options->publishers + p->index;

    return t->pace_start_us + (uint64_t)((double)number * t->pace_us);
}

/* A new message, if one may be published at NOW_US. */
static bool
take_new(struct publisher *p, uint64_t now_us, struct publisher_pending *m)
{
    struct traffic *t = p->traffic;
    uint64_t due = 0;

    if (!t->may_publish || t->left == 0) {
        return false;
    }
    m->stamp_us = now_us;
    if (t->pace_us > 0) {
        due = due_us(p);
        if (due > now_us) {
            return false;
        }
        /* What waited for the broker counts from when it was due. */
        m->stamp_us = p->is_late ? due : now_us;
    }
    t->left--;
    p->paced++;
    m->lane = p->turn;
    m->sequence = p->lanes[p->turn].next;
    p->lanes[p->turn].next++;
    p->turn = p->turn + 1 < p->lanes_count ? p->turn + 1 : 0;
    return true;
}

/* The next message to publish: one again, or a new one. */
static bool
take(struct publisher *p, uint64_t now_us, struct publisher_pending *m)
{
    if (p->again.count > 0) {
        *m = *(struct publisher_pending *)ring_at(&p->again, 0);
        ring_pop_front(&p->again);
        p->traffic->counts.published_again++;
        return true;
    }
    return take_new(p, now_us, m);
}

/* Whether the window and the socket have room. */
static bool
has_room(const struct publisher *p)
{
    uint64_t window = p->traffic->options->window;

    return client_may_send(&p->client) &&
           (window == 0 || (p->unconfirmed < window &&
                            p->next_tag - p->oldest_tag <= p->pending_mask));
}

void
publisher_pump(struct publisher *p, uint64_t now_us)
{
    struct publisher_pending m = {0};

    OBJ_CHECK(p, PUBLISHER_MAGIC);
    if (!p->is_ready || p->is_refused || p->client.state != CLIENT_OPEN) {
        p->is_late = true;
        return;
    }
    while (has_room(p)) {
        if (!take(p, now_us, &m)) {
            p->is_late = false;
            return;
        }
        publish(p, &m);
    }
    p->is_late = true;
}

void
publisher_tick(struct publisher *p, uint64_t now_us)
{
    OBJ_CHECK(p, PUBLISHER_MAGIC);
    if (client_is_down(&p->client)) {
        if (traffic_retry_due(&p->retry, now_us)) {
            p->traffic->counts.reconnects++;
            publisher_open(p);
        }
        return;
    }
    client_tick(&p->client, now_us);
    p->is_refused = false;
    if (p->again.count > 0 || p->traffic->pace_us <= 0) {
        publisher_pump(p, now_us);
    }
}
