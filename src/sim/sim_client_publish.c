/* Publishing: where to, with what, and what comes of it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_client_priv.h"
#include "sim/sim_front.h"

enum {
    OUT_MAX = 128,
    FLOOD_OUT_MAX = 1500,
    FLOOD_BACKLOG_MAX = 512 << 10,
    PUBLISHED_MAX = 60000 /* in a run: what consumers can drain at its end */
};

static struct publishing *
publishing_of(struct sim_client *c, unsigned channel)
{
    ASSERT(channel == CHANNEL_PUBLISH || channel == CHANNEL_FLOOD);
    return &c->publishing[channel == CHANNEL_PUBLISH ? 0 : 1];
}

/* ---- setup ---- */

void
client_publish_setup(struct sim_client *c, unsigned channel)
{
    struct publishing *p = publishing_of(c, channel);
    struct amqp_method m = {.id = AMQP_confirm_select};

    if (sim_amqp_channel_is_open(c->amqp, channel) && !p->is_confirming &&
        !sim_amqp_is_asking(c->amqp, channel) && channel == CHANNEL_PUBLISH) {
        sim_amqp_ask(c->amqp, channel, &m);
    }
}

void
client_publish_answer(struct sim_client *c, unsigned channel,
                      const struct amqp_method *m)
{
    struct publishing *p = publishing_of(c, channel);
    struct amqp_method select = {.id = AMQP_confirm_select};

    if (m->id == AMQP_channel_open_ok) {
        p->publisher = ++c->config.check->publishers;
        p->tag_first = 1;
        if (channel == CHANNEL_PUBLISH || rng_chance(client_rng(c), 700000)) {
            sim_amqp_ask(c->amqp, channel, &select);
        }
    } else if (m->id == AMQP_confirm_select_ok) {
        p->is_confirming = true;
        p->tag_first = 1;
        p->publisher = ++c->config.check->publishers;
    }
}

void
client_publish_drop(struct sim_client *c, unsigned channel)
{
    struct publishing *p = publishing_of(c, channel);

    ring_clear(&p->out);
    p->is_confirming = false;
    p->tag_first = 1;
}

/* ---- where to ---- */

/* Where a message goes. */
struct aim {
    const char *exchange;
    char key[SIM_CLIENT_NAME_SIZE];
    uint16_t queues;           /* that it may reach */
    uint16_t sure;             /* of them, those it must */
    bool may_end;              /* the way, before the message is routed */
    struct sim_register *look; /* what being routed says, or NULL */
    unsigned number;
};

static uint16_t
bit_if(bool is_so, unsigned number)
{
    return (uint16_t)(is_so ? 1U << number : 0U);
}

static void
aim_at_all(struct sim_client *c, struct aim *aim)
{
    const struct sim_check *check = c->config.check;

    aim->exchange = "amq.fanout";
    aim->queues = (uint16_t)((1U << c->config.queues) - 1);
    for (unsigned i = 0; i < c->config.queues; i++) {
        aim->sure |= bit_if(sim_register_is_sure(&check->fanout[i]), i);
    }
}

static void
aim_at_topic(struct sim_client *c, struct aim *aim)
{
    aim->exchange = "amq.topic";
    aim->number = (unsigned)rng_below(client_rng(c), c->config.queues);
    aim->queues = bit_if(true, aim->number);
    aim->look = &c->config.check->topic[aim->number];
    (void)snprintf(aim->key, sizeof(aim->key), "k.q%u", aim->number);
}

/* By amq.topic, and amq.direct, which is bound to that, to a queue: the binding
 * between the two is what is looked at, once that of the queue is sure. */
static void
aim_through(struct sim_client *c, struct aim *aim)
{
    struct sim_check *check = c->config.check;
    unsigned q = (unsigned)rng_below(client_rng(c), c->config.queues);
    bool is_bound = sim_register_is_sure(&check->direct[q]);

    aim->exchange = "amq.topic";
    aim->number = q;
    aim->queues = bit_if(true, q);
    aim->sure = bit_if(is_bound && sim_register_is_sure(&check->through[q]), q);
    aim->look = is_bound ? &check->through[q] : NULL;
    aim->may_end = client_through_may_end(q);
    (void)snprintf(aim->key, sizeof(aim->key), "q%u", q);
}

static void
aim_at_one(struct sim_client *c, struct aim *aim)
{
    struct sim_check *check = c->config.check;
    unsigned all = c->config.queues + c->config.lossy;
    unsigned q = (unsigned)rng_below(client_rng(c), all);
    bool is_direct = rng_chance(client_rng(c), 500000);
    struct sim_register *r = is_direct ? &check->direct[q] : &check->queues[q];

    aim->number = q;
    aim->queues = bit_if(true, q);
    aim->exchange = is_direct ? "amq.direct" : "";
    (void)snprintf(aim->key, sizeof(aim->key), "q%u", q);
    if (!client_is_lossy(c, q)) {
        aim->sure = bit_if(sim_register_is_sure(r), q);
        aim->look = r;
    } else if (!is_direct && (check->vague & aim->queues) == 0) {
        aim->look = r;
    }
}

/* What clients were told of, the node must know (I6): when nothing has kept
 * nodes apart for a while. A node that is cut off may route by what it knew
 * (docs/testing.md); then nobody can be sure. A way that somebody may ask to
 * end is there now, but need not be when the message is routed: what becomes
 * of that, aim->look alone judges. */
static void
check_aim(struct sim_client *c, struct aim *aim)
{
    uint16_t known = aim->sure == 0 ? 0
                                    : sim_front_reach(sim_amqp_wire(c->amqp),
                                                      aim->exchange, aim->key);

    if ((aim->sure & ~known) != 0 && sim_is_calm(c->config.sim) &&
        sim_front_connection_id(sim_amqp_wire(c->amqp)) != 0) {
        sim_check_violate(c->config.check,
                          "I6: node %u does not know the way by '%s' to queues "
                          "%x, of which clients were told",
                          c->node, aim->exchange, aim->sure & ~known);
    }
    aim->sure = aim->may_end ? 0 : aim->sure & known;
}

static void
take_aim(struct sim_client *c, struct aim *aim)
{
    uint64_t roll = rng_below(client_rng(c), 100);

    if (c->has_private && roll < 5) {
        (void)snprintf(aim->key, sizeof(aim->key), "%s", c->private);
        aim->exchange = "";
    } else if (roll < 15) {
        aim_at_all(c, aim);
    } else if (roll < 22) {
        aim_at_topic(c, aim);
    } else if (roll < 30) {
        aim_through(c, aim);
    } else {
        aim_at_one(c, aim);
    }
    check_aim(c, aim);
}

/* ---- with what ---- */

static size_t
take_size(struct sim_client *c)
{
    struct rng *rng = client_rng(c);
    uint64_t roll = rng_below(rng, 100);

    if (roll < 3) {
        return 0;
    }
    if (roll < 13) {
        return rng_below(rng, 8);
    }
    if (roll == 13 && rng_chance(rng, 300000)) {
        return rng_below(rng, SIM_BODY_MAX);
    }
    return rng_below(rng, c->config.body_size_max);
}

static void
remember(struct sim_client *c, struct publishing *p, const struct aim *aim,
         uint64_t id, bool is_mandatory)
{
    struct published *out = NULL;

    if (p->is_confirming) {
        out = ring_push_back(&p->out);
        *out = (struct published){.id = id,
                                  .sent_us = client_now(c),
                                  .look = is_mandatory ? aim->look : NULL,
                                  .look_number = aim->number,
                                  .is_mandatory = is_mandatory};
    }
}

static void
publish_one(struct sim_client *c, unsigned channel)
{
    struct publishing *p = publishing_of(c, channel);
    struct amqp_method m = {.id = AMQP_basic_publish};
    bool is_mandatory = rng_chance(client_rng(c), 300000);
    size_t size = take_size(c);
    struct aim aim = {.exchange = ""};
    uint64_t id;

    take_aim(c, &aim);
    m.basic_publish.exchange = amqp_text(aim.exchange);
    m.basic_publish.routing_key = amqp_text(aim.key);
    m.basic_publish.mandatory = is_mandatory;
    id = sim_check_publish(c->config.check, aim.queues, aim.sure, p->publisher,
                           size);
    remember(c, p, &aim, id, is_mandatory);
    sim_amqp_publish(c->amqp, channel, &m, id,
                     sim_check_body(c->config.check, id), size);
}

void
client_publish(struct sim_client *c)
{
    unsigned channel = rng_chance(client_rng(c), 800000)
                           ? (unsigned)CHANNEL_PUBLISH
                           : (unsigned)CHANNEL_FLOOD;
    struct publishing *p = publishing_of(c, channel);
    size_t out_max = c->temper.floods ? FLOOD_OUT_MAX : OUT_MAX;
    uint64_t count = rng_below(client_rng(c), c->temper.floods ? 60 : 8);

    if (!sim_amqp_channel_is_open(c->amqp, channel) ||
        sim_amqp_is_asking(c->amqp, channel) || sim_amqp_is_blocked(c->amqp)) {
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (p->out.count >= out_max ||
            c->config.check->messages.count >= PUBLISHED_MAX ||
            sim_amqp_backlog(c->amqp) > FLOOD_BACKLOG_MAX) {
            return;
        }
        publish_one(c, channel);
    }
}

/* ---- what comes of it ---- */

static void
confirm_one(struct sim_client *c, struct published *out, bool is_ok)
{
    uint64_t interval[2] = {out->sent_us, client_now(c)};

    if (out->id == 0) {
        return;
    }
    if (is_ok && !out->is_returned) {
        sim_check_confirm(c->config.check, out->id);
    }
    if (is_ok && out->look != NULL && sim_is_calm(c->config.sim)) {
        sim_check_look(c->config.check, out->look, !out->is_returned, interval,
                       "the way to queue", out->look_number);
    }
    out->id = 0;
}

void
client_on_confirm(struct sim_client *c, unsigned channel, uint64_t tag,
                  bool multiple, bool is_ok)
{
    struct publishing *p = publishing_of(c, channel);
    uint64_t first = multiple ? p->tag_first : tag;

    if (tag < p->tag_first || tag - p->tag_first >= p->out.count) {
        if (!multiple) {
            sim_check_violate(c->config.check,
                              "AMQP: client %u got a confirm for tag %llu, "
                              "which is not under way",
                              c->config.number, (unsigned long long)tag);
        }
        return;
    }
    for (uint64_t t = first; t <= tag; t++) {
        confirm_one(c, ring_at(&p->out, (size_t)(t - p->tag_first)), is_ok);
    }
    while (p->out.count > 0 &&
           ((struct published *)ring_at(&p->out, 0))->id == 0) {
        ring_pop_front(&p->out);
        p->tag_first++;
    }
}

void
client_on_return(struct sim_client *c, const struct sim_amqp_message *m)
{
    struct publishing *p = publishing_of(c, m->channel);

    sim_check_return(c->config.check, m->number);
    for (size_t i = 0; i < p->out.count; i++) {
        struct published *out = ring_at(&p->out, i);

        if (out->id == m->number) {
            out->is_returned = true;
            if (!out->is_mandatory) {
                sim_check_violate(c->config.check,
                                  "AMQP: message %llu came back and was not "
                                  "mandatory",
                                  (unsigned long long)m->number);
            }
            return;
        }
    }
}
