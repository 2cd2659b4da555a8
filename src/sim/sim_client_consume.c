/* Consuming: the setup of the first channel step by step, deliveries, and the
 * many ways to settle them. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_client_priv.h"
#include "sim/sim_front.h"

enum {
    PREFETCH_MIN = 1,
    PREFETCH_MAX = 64
};

/* Steps of the setup, in order; those that do not apply count as done. */
enum step {
    STEP_DECLARE = 1,
    STEP_DIRECT = 2,
    STEP_FANOUT = 4,
    STEP_QOS = 8,
    STEP_CONSUME = 16,
    STEP_OTHER = 32,
    STEP_THROUGH = 64
};

/* ---- who consumes ---- */

static bool
sub_is_over(const struct sim_consumer *consumer)
{
    const struct sub *sub = consumer->arg;
    const struct sim_amqp *s = sub->client->amqp;

    return !sim_front_holds(sim_amqp_wire(s), sim_amqp_number(s, sub->channel),
                            sub->tag, sub == &sub->client->subs[SUB_GET]);
}

static void
sub_begin(struct sim_client *c, enum client_sub which, unsigned channel,
          unsigned queue)
{
    struct sub *sub = &c->subs[which];

    ASSERT(sub->state == SUB_NONE);
    memset(sub, 0, sizeof(*sub));
    sub->client = c;
    sub->channel = channel;
    sub->state = SUB_ASKED;
    sub->seen.queue = queue;
    sub->seen.client = c->config.number;
    sub->seen.is_over = sub_is_over;
    sub->seen.arg = sub;
    sim_consumer_init(&sub->seen);
}

/* Nothing more comes, and nothing is held. */
static void
sub_end(struct sub *sub)
{
    if (sub->state != SUB_NONE) {
        sim_check_detach(sub->client->config.check, &sub->seen);
        sim_consumer_deinit(&sub->seen);
        sub->state = SUB_NONE;
    }
}

void
client_begin_get(struct sim_client *c)
{
    struct sub *sub = &c->subs[SUB_GET];

    sub_begin(c, SUB_GET, CHANNEL_ADMIN, client_own(c));
    (void)snprintf(sub->tag, sizeof(sub->tag), "%s", c->queue);
    sub->state = SUB_ON;
}

/* ---- what is held ---- */

static struct ring *
held_of(struct sub *sub)
{
    return &sub->client->held[sub->channel];
}

/* Forget what is settled at either end. */
static void
held_trim(struct ring *held)
{
    while (held->count > 0 &&
           ((struct held *)ring_at(held, held->count - 1))->message == 0) {
        ring_pop_back(held);
    }
    while (held->count > 0 && ((struct held *)ring_at(held, 0))->message == 0) {
        ring_pop_front(held);
    }
}

static bool
sub_holds(struct sub *sub)
{
    const struct ring *held = held_of(sub);

    for (size_t i = 0; i < held->count; i++) {
        const struct held *h = ring_at(held, i);

        if (h->sub == sub && h->message != 0) {
            return true;
        }
    }
    return false;
}

/* What SUB holds is with the queue again, or gone with it. */
static void
sub_release(struct sub *sub)
{
    struct ring *held = held_of(sub);

    for (size_t i = 0; i < held->count; i++) {
        struct held *h = ring_at(held, i);

        if (h->sub == sub && h->message != 0) {
            sim_check_release(sub->client->config.check, &sub->seen,
                              h->message);
            h->message = 0;
        }
    }
    held_trim(held);
}

size_t
client_held(const struct sim_client *c)
{
    size_t count = 0;

    for (size_t i = 0; i < SIM_AMQP_CHANNELS; i++) {
        count += c->held[i].count;
    }
    return count;
}

/* A cancelled consumer that holds nothing any more makes room. */
static void
reap(struct sim_client *c)
{
    for (size_t i = 0; i < SUBS; i++) {
        struct sub *sub = &c->subs[i];

        if (sub->state == SUB_CANCELLED && !sub_holds(sub)) {
            sub_end(sub);
        }
    }
}

void
client_drop_channel(struct sim_client *c, unsigned channel)
{
    for (size_t i = 0; i < SUBS; i++) {
        struct sub *sub = &c->subs[i];

        if (sub->state != SUB_NONE && sub->channel == channel) {
            sub_release(sub);
            sub_end(sub);
        }
    }
    ring_clear(&c->held[channel]);
    if (channel == CHANNEL_CONSUME) {
        c->done = 0;
        c->is_recovering = c->is_closing = false;
    }
}

/* ---- setup ---- */

static void
ask_declare(struct sim_client *c)
{
    unsigned own = client_own(c);
    struct amqp_method m = {.id = AMQP_queue_declare};

    m.queue_declare.queue = amqp_text(c->queue);
    m.queue_declare.durable = !client_is_among(c, own, c->config.transient);
    m.queue_declare.auto_delete =
        client_is_among(c, own, c->config.auto_delete);
    client_request_change(c, CHANNEL_CONSUME, &c->config.check->queues[own],
                          own, true);
    sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
}

static void
ask_bind(struct sim_client *c, const char *exchange, struct sim_register *r)
{
    struct amqp_method m = {.id = AMQP_queue_bind};

    m.queue_bind.queue = amqp_text(c->queue);
    m.queue_bind.exchange = amqp_text(exchange);
    m.queue_bind.routing_key = amqp_text(c->queue);
    client_request_change(c, CHANNEL_CONSUME, r, client_own(c), true);
    sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
}

static void
ask_qos(struct sim_client *c, uint32_t prefetch)
{
    struct amqp_method m = {.id = AMQP_basic_qos};

    m.basic_qos.prefetch_count = (uint16_t)prefetch;
    sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
}

static void
ask_consume(struct sim_client *c, enum client_sub which, unsigned queue)
{
    struct amqp_method m = {.id = AMQP_basic_consume};
    struct sub *sub = &c->subs[which];
    bool is_lossy = client_is_lossy(c, queue);
    char name[SIM_CLIENT_NAME_SIZE];

    sub_begin(c, which, CHANNEL_CONSUME, queue);
    (void)snprintf(sub->tag, sizeof(sub->tag), "t%llu",
                   (unsigned long long)++c->tags);
    (void)snprintf(name, sizeof(name), "q%u", queue);
    sub->seen.prefetch = c->prefetch;
    sub->seen.is_exclusive =
        which == SUB_OWN && is_lossy && rng_chance(client_rng(c), 300000);
    sub->is_no_ack = is_lossy && rng_chance(client_rng(c), 200000);
    if (sub->is_no_ack) {
        sub->seen.prefetch = 0;
    }
    m.basic_consume.queue = amqp_text(name);
    m.basic_consume.consumer_tag = amqp_text(sub->tag);
    m.basic_consume.exclusive = sub->seen.is_exclusive;
    m.basic_consume.no_ack = sub->is_no_ack;
    sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
}

static void
setup_step(struct sim_client *c)
{
    struct sim_check *check = c->config.check;
    unsigned own = client_own(c);
    unsigned all = c->config.queues + c->config.lossy;

    if ((c->done & STEP_DECLARE) == 0) {
        ask_declare(c);
    } else if ((c->done & STEP_DIRECT) == 0) {
        ask_bind(c, "amq.direct", &check->direct[own]);
    } else if ((c->done & STEP_FANOUT) == 0 && !client_is_lossy(c, own)) {
        ask_bind(c, "amq.fanout", &check->fanout[own]);
    } else if ((c->done & STEP_THROUGH) == 0 && !client_is_lossy(c, own)) {
        client_ask_through(c, CHANNEL_CONSUME, true);
    } else if ((c->done & STEP_QOS) == 0) {
        c->prefetch = c->is_settling_down
                          ? (uint32_t)PREFETCH_MAX
                          : (uint32_t)rng_between(client_rng(c), PREFETCH_MIN,
                                                  PREFETCH_MAX);
        ask_qos(c, c->prefetch);
    } else if ((c->done & STEP_CONSUME) == 0 &&
               c->subs[SUB_OWN].state == SUB_NONE) {
        ask_consume(c, SUB_OWN, own);
    } else if ((c->done & STEP_OTHER) == 0 && c->consumes_other &&
               c->subs[SUB_OTHER].state == SUB_NONE) {
        ask_consume(c, SUB_OTHER, (own + 1) % all);
    }
}

void
client_setup(struct sim_client *c)
{
    reap(c);
    if (!c->is_idle && sim_amqp_channel_is_open(c->amqp, CHANNEL_CONSUME) &&
        !sim_amqp_is_asking(c->amqp, CHANNEL_CONSUME)) {
        setup_step(c);
    }
}

static void
consume_answer(struct sim_client *c)
{
    const struct sim_amqp *s = c->amqp;
    bool is_own = c->subs[SUB_OWN].state == SUB_ASKED;
    struct sub *sub = &c->subs[is_own ? SUB_OWN : SUB_OTHER];

    ASSERT(sub->state == SUB_ASKED);
    sub->state = SUB_ON;
    sub->seen.group = sim_front_group(
        sim_amqp_wire(s), sim_amqp_number(s, sub->channel), sub->tag);
    sim_check_attach(c->config.check, &sub->seen);
    c->done |= is_own ? STEP_CONSUME : STEP_OTHER;
}

static void
cancel_answer(struct sim_client *c)
{
    struct sub *sub = &c->subs[SUB_OWN];

    if (sub->state == SUB_CANCELLING) {
        sub->state = SUB_CANCELLED;
        sim_check_detach(c->config.check, &sub->seen);
        reap(c);
    }
    c->done &= ~(unsigned)STEP_CONSUME;
}

void
client_setup_answer(struct sim_client *c, const struct amqp_method *m)
{
    unsigned bound = (c->done & STEP_DIRECT) == 0 ? STEP_DIRECT : STEP_FANOUT;

    client_request_done(c, CHANNEL_CONSUME);
    switch ((uint32_t)m->id) {
    case AMQP_channel_open_ok:
        c->done = 0;
        c->consumes_other = rng_chance(client_rng(c), 200000);
        break;
    case AMQP_queue_declare_ok:
        c->done |= STEP_DECLARE;
        break;
    case AMQP_queue_bind_ok:
        c->done |= bound;
        break;
    case AMQP_exchange_bind_ok:
        c->done |= STEP_THROUGH;
        break;
    case AMQP_basic_qos_ok:
        c->done |= STEP_QOS;
        break;
    case AMQP_basic_consume_ok:
        consume_answer(c);
        break;
    case AMQP_basic_cancel_ok:
        cancel_answer(c);
        break;
    case AMQP_channel_close_ok:
        c->is_closing = false; /* opened again at a tick */
        return;
    case AMQP_basic_recover_ok:
        c->is_recovering = false;
        break;
    default:
        break;
    }
    client_setup(c);
}

void
client_cancel(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_basic_cancel};
    struct sub *sub = &c->subs[SUB_OWN];

    if (sub->state == SUB_ON && sub->channel == CHANNEL_CONSUME &&
        !sim_amqp_is_asking(c->amqp, CHANNEL_CONSUME)) {
        sub->state = SUB_CANCELLING;
        /* Another may be attached before the answer is here. */
        sim_check_detach(c->config.check, &sub->seen);
        m.basic_cancel.consumer_tag = amqp_text(sub->tag);
        sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
    }
}

/* The queue is gone, or cannot be reached: it may be declared again. */
void
client_on_cancel(struct sim_client *c, const char *tag)
{
    for (size_t i = 0; i < SUBS; i++) {
        struct sub *sub = &c->subs[i];

        if (i != SUB_GET && sub->state != SUB_NONE &&
            strcmp(sub->tag, tag) == 0) {
            sub_release(sub);
            sim_check_detach(c->config.check, &sub->seen);
            if (sub->state == SUB_CANCELLING) {
                sub->state = SUB_CANCELLED; /* cancel-ok comes, too */
            } else {
                sub_end(sub);
            }
            c->done &=
                i == SUB_OWN ? (unsigned)STEP_QOS : ~(unsigned)STEP_OTHER;
        }
    }
}

/* ---- deliveries ---- */

/* The consumer that M is for, or NULL. */
static struct sub *
find_sub(struct sim_client *c, const struct sim_amqp_message *m)
{
    for (size_t i = 0; i < SUBS; i++) {
        struct sub *sub = &c->subs[i];
        bool is_it = m->id == AMQP_basic_get_ok
                         ? i == SUB_GET
                         : i != SUB_GET && strcmp(sub->tag, m->owner) == 0;

        if (is_it && sub->state != SUB_NONE) {
            return sub;
        }
    }
    return NULL;
}

void
client_on_message(struct sim_client *c, const struct sim_amqp_message *m)
{
    struct sim_check *check = c->config.check;
    struct sub *sub = find_sub(c, m);
    struct sim_delivery d = {.id = m->number,
                             .is_redelivered = m->is_redelivered,
                             .count = m->count,
                             .body = m->body,
                             .size = m->size};
    struct held *held;

    sim_trace(c->config.sim, c->node,
              "client %u gets %llu of q%u for '%s'%s, tag %llu, count %llu",
              c->config.number, (unsigned long long)m->number,
              sub == NULL ? 99 : sub->seen.queue, m->owner,
              m->is_redelivered ? " again" : "", (unsigned long long)m->tag,
              (unsigned long long)m->count);
    if (c->is_closing && m->id == AMQP_basic_deliver) {
        return;
    }
    if (sub == NULL || sub->state == SUB_ASKED || sub->state == SUB_CANCELLED) {
        sim_check_violate(check,
                          "I4: client %u got message %llu for '%s', which "
                          "does not consume",
                          c->config.number, (unsigned long long)m->number,
                          m->owner);
        return;
    }
    if ((sub->channel == CHANNEL_CONSUME && c->is_recovering) ||
        sub_is_over(&sub->seen)) {
        sim_check_late(check, &sub->seen, &d);
        return;
    }
    sim_check_deliver(check, &sub->seen, &d);
    if (check->violation[0] != '\0') {
        return;
    }
    if (sub->is_no_ack) {
        sim_check_ack(check, &sub->seen, m->number);
        return;
    }
    held = ring_push_back(held_of(sub));
    *held = (struct held){m->tag, m->number, sub};
}

/* ---- settling ---- */

enum outcome {
    OUTCOME_ACK,
    OUTCOME_DISCARD,
    OUTCOME_REQUEUE
};

static void
settle_one(struct sim_client *c, struct held *h, enum outcome outcome)
{
    if (outcome == OUTCOME_REQUEUE) {
        sim_check_requeue(c->config.check, &h->sub->seen, h->message);
    } else {
        sim_check_ack(c->config.check, &h->sub->seen, h->message);
    }
    h->message = 0;
}

static void
send_settle(struct sim_client *c, unsigned channel, uint64_t tag,
            bool is_multiple, enum outcome outcome)
{
    struct amqp_method m = {.id = AMQP_basic_nack};

    sim_trace(c->config.sim, c->node, "client %u %s %llu%s", c->config.number,
              outcome == OUTCOME_ACK       ? "acks"
              : outcome == OUTCOME_REQUEUE ? "returns"
                                           : "discards",
              (unsigned long long)tag, is_multiple ? " and before" : "");
    if (outcome == OUTCOME_ACK) {
        m.id = AMQP_basic_ack;
        m.basic_ack.delivery_tag = tag;
        m.basic_ack.multiple = is_multiple;
    } else if (!is_multiple && rng_chance(client_rng(c), 500000)) {
        m.id = AMQP_basic_reject;
        m.basic_reject.delivery_tag = tag;
        m.basic_reject.requeue = outcome == OUTCOME_REQUEUE;
    } else {
        m.basic_nack.delivery_tag = tag;
        m.basic_nack.multiple = is_multiple;
        m.basic_nack.requeue = outcome == OUTCOME_REQUEUE;
    }
    sim_amqp_tell(c->amqp, channel, &m);
}

static enum outcome
pick_outcome(struct sim_client *c)
{
    uint64_t roll = rng_below(client_rng(c), 100);

    if (c->is_settling_down || roll < 90) {
        return OUTCOME_ACK;
    }
    return roll < 97 ? OUTCOME_REQUEUE : OUTCOME_DISCARD;
}

/* One of the held, or with IS_MULTIPLE all up to it. */
static void
settle_at(struct sim_client *c, unsigned channel, size_t at, bool is_multiple)
{
    struct ring *held = &c->held[channel];
    enum outcome outcome = pick_outcome(c);
    struct held *h = ring_at(held, at);
    uint64_t tag = h->tag;

    if (h->message == 0) {
        return;
    }
    for (size_t i = is_multiple ? 0 : at; i <= at; i++) {
        h = ring_at(held, i);
        if (h->message != 0) {
            settle_one(c, h, outcome);
        }
    }
    send_settle(c, channel, tag, is_multiple, outcome);
    held_trim(held);
}

/* Everything on the consuming channel back to its queues. */
static void
recover(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_basic_recover};
    struct ring *held = &c->held[CHANNEL_CONSUME];

    if (sim_amqp_is_asking(c->amqp, CHANNEL_CONSUME)) {
        return;
    }
    m.basic_recover.requeue = true;
    for (size_t i = 0; i < held->count; i++) {
        struct held *h = ring_at(held, i);

        if (h->message != 0) {
            settle_one(c, h, OUTCOME_REQUEUE);
        }
    }
    held_trim(held);
    c->is_recovering = true;
    sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
}

static void
settle_some(struct sim_client *c, unsigned channel)
{
    struct ring *held = &c->held[channel];
    struct rng *rng = client_rng(c);
    uint64_t count = rng_below(rng, held->count + 1);

    if (c->is_settling_down && held->count > 0) {
        settle_at(c, channel, held->count - 1, true);
        return;
    }
    count = c->temper.is_slow ? MIN(count, 1U) : count;
    for (uint64_t i = 0; i < count && held->count > 0; i++) {
        bool is_multiple = rng_chance(rng, 200000);

        settle_at(c, channel, rng_below(rng, held->count), is_multiple);
    }
}

/* channel.close: what is held goes back when the node hears of it, and what is
 * on the way counts for nothing. */
static void
client_close_consuming(struct sim_client *c)
{
    struct amqp_method m = {.id = AMQP_channel_close};

    if (sim_amqp_channel_is_open(c->amqp, CHANNEL_CONSUME) &&
        !sim_amqp_is_asking(c->amqp, CHANNEL_CONSUME)) {
        client_drop_channel(c, CHANNEL_CONSUME);
        m.channel_close.reply_code = 200;
        m.channel_close.reply_text = amqp_text("done");
        c->is_closing = true;
        sim_amqp_ask(c->amqp, CHANNEL_CONSUME, &m);
    }
}

void
client_settle(struct sim_client *c)
{
    if (c->temper.never_settles) {
        return;
    }
    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        if (sim_amqp_channel_is_open(c->amqp, i)) {
            settle_some(c, i);
        }
    }
    if (!c->is_settling_down && rng_chance(client_rng(c), 2000)) {
        recover(c);
    }
    if (!c->is_settling_down && rng_chance(client_rng(c), 2000)) {
        client_cancel(c);
    }
    if (!c->is_settling_down && rng_chance(client_rng(c), 1000)) {
        client_close_consuming(c);
    }
}
