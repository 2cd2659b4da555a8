/* See sim_client.h. This file has its life: connecting, ticking, going. What
 * it does on its channels is in the files beside it. */
#include "sim/sim_client.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "machine/meta/meta_machine.h"
#include "shard/env.h"
#include "sim/sim_client_priv.h"
#include "sim/sim_front.h"
#include "sim/sim_node.h"

enum {
    SETTLE_TICK_US = 40000,
    WORK_US_MIN = 100000, /* at a stretch */
    WORK_US_MAX = 1000000,
    REST_US_MAX = 15000000,
    START_US_MAX = 4000000, /* its first work begins before this */
    STALL_US_MAX = 6000000,
    CHANNEL_NUMBERS = 2000,
    DELAY_NEAR_US = 500, /* on the way to the node, at most */
    DELAY_FAR_US = 50000,
    PREFETCH_HASTY_MIN = 32 /* empties a queue fast enough */
};

unsigned
client_own(const struct sim_client *c)
{
    return c->config.number % (c->config.queues + c->config.lossy);
}

bool
client_is_lossy(const struct sim_client *c, unsigned number)
{
    return number >= c->config.queues;
}

bool
client_is_among(const struct sim_client *c, unsigned number, unsigned mask)
{
    return client_is_lossy(c, number) &&
           ((mask >> (number - c->config.queues)) & 1) != 0;
}

/* ---- what the session says ---- */

static struct sim_client *
client_of(void *arg)
{
    struct sim_client *c = arg;

    OBJ_CHECK(c, SIM_CLIENT_MAGIC);
    return c;
}

static void
open_channel(struct sim_client *c, unsigned channel)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    m.channel_open.reserved_1 = amqp_text("");
    sim_amqp_ask(c->amqp, channel, &m);
}

static void
on_open(void *arg)
{
    struct sim_client *c = client_of(arg);

    for (unsigned i = 0; i < SIM_AMQP_CHANNELS && !c->is_idle; i++) {
        open_channel(c, i);
    }
}

static void
on_answer(void *arg, unsigned channel, const struct amqp_method *m)
{
    struct sim_client *c = client_of(arg);

    switch ((enum client_channel)channel) {
    case CHANNEL_CONSUME:
        client_setup_answer(c, m);
        break;
    case CHANNEL_PUBLISH:
    case CHANNEL_FLOOD:
        client_publish_answer(c, channel, m);
        break;
    case CHANNEL_ADMIN:
        client_admin_answer(c, m);
        break;
    }
}

static void
on_message(void *arg, const struct sim_amqp_message *m)
{
    struct sim_client *c = client_of(arg);

    if (m->id == AMQP_basic_return) {
        client_on_return(c, m);
    } else {
        client_on_message(c, m);
    }
}

static void
on_confirm(void *arg, unsigned channel, uint64_t tag, bool multiple, bool is_ok)
{
    client_on_confirm(client_of(arg), channel, tag, multiple, is_ok);
}

static void
on_cancel(void *arg, unsigned channel, const char *tag)
{
    (void)channel;
    client_on_cancel(client_of(arg), tag);
}

static void
drop_channel(struct sim_client *c, unsigned channel, unsigned code)
{
    client_request_failed(c, channel, code);
    client_drop_channel(c, channel);
    if (channel == CHANNEL_PUBLISH || channel == CHANNEL_FLOOD) {
        client_publish_drop(c, channel);
    }
}

static void
on_channel_closed(void *arg, unsigned channel, unsigned code,
                  enum amqp_method_id refused)
{
    struct sim_client *c = client_of(arg);

    (void)refused;
    drop_channel(c, channel, code); /* and opened again at a tick */
}

static void
on_down(void *arg, unsigned code)
{
    struct sim_client *c = client_of(arg);

    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        drop_channel(c, i, code);
    }
    c->node = 0;
    c->id = 0;
    c->has_private = false;
    c->stalled_until_us = 0;
}

static void
on_violation(void *arg, const char *text)
{
    struct sim_client *c = client_of(arg);

    sim_check_violate(c->config.check, "%s: client %u on n%u", text,
                      c->config.number, c->node);
}

/* ---- connecting ---- */

static void
take_temper(struct sim_client *c)
{
    struct temper *t = &c->temper;

    memset(t, 0, sizeof(*t));
    if (c->is_settling_down) {
        return;
    }
    t->never_settles = rng_chance(client_rng(c), 30000);
    t->is_slow = rng_chance(client_rng(c), 100000);
    t->floods = rng_chance(client_rng(c), 60000);
    t->stalls = rng_chance(client_rng(c), 100000);
    t->leaves_per_million = rng_chance(client_rng(c), 300000) ? 20000 : 2000;
    t->errs_per_million = rng_chance(client_rng(c), 300000) ? 20000 : 1000;
}

static void
client_connect(struct sim_client *c)
{
    static const uint16_t firsts[] = {1, 7, CHANNEL_NUMBERS};
    struct rng *rng = client_rng(c);
    struct sim_node *node =
        c->config.nodes[rng_below(rng, c->config.nodes_count)];
    uint16_t shard = (uint16_t)rng_below(rng, c->config.shards);
    struct sim_front *front = sim_node_front(node, shard);
    struct sim_amqp_config session = {
        .sim = c->config.sim,
        .user = SIM_NODE_USER,
        .password = SIM_NODE_PASSWORD,
        .frame_max = rng_chance(rng, 300000) ? 4096 : 131072,
        .heartbeat_s = (uint16_t)rng_between(rng, 1, 4),
        .first_channel = firsts[rng_below(rng, ARRAY_COUNT(firsts))],
        .delay_min_us = 50,
        .delay_max_us = !c->is_settling_down && rng_chance(rng, 100000)
                            ? DELAY_FAR_US
                            : DELAY_NEAR_US,
        .chop_per_million = rng_chance(rng, 200000) ? 500000 : 5000,
        .window = rng_between(rng, 4 << 10, 128 << 10)};
    struct env *env;

    if (front == NULL || !sim_front_is_ready(front)) {
        return;
    }
    take_temper(c);
    c->is_hasty = c->is_settling_down;
    c->is_near = session.delay_max_us == DELAY_NEAR_US;
    c->node = sim_node_id(node);
    env = sim_env(c->config.sim, c->node, shard);
    c->id = env->node;
    c->boot = env->boot;
    sim_amqp_open(c->amqp, &session, front, env);
}

/* Go, in one of the ways that clients go. */
static void
client_leave(struct sim_client *c)
{
    uint64_t how = rng_below(client_rng(c), 3);

    if (how == 0) {
        sim_amqp_close(c->amqp);
    } else {
        sim_amqp_vanish(c->amqp, how == 1);
    }
}

/* ---- ticking ---- */

static void
client_stall(struct sim_client *c)
{
    c->stalled_until_us =
        client_now(c) + rng_between(client_rng(c), 1000, STALL_US_MAX);
    sim_amqp_read(c->amqp, false);
}

/* Have all that it needs for its work, again if it was refused. */
static void
client_prepare(struct sim_client *c)
{
    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        if (!sim_amqp_channel_is_open(c->amqp, i) &&
            !sim_amqp_is_asking(c->amqp, i)) {
            open_channel(c, i);
        }
    }
    client_setup(c);
    client_publish_setup(c, CHANNEL_PUBLISH);
    client_publish_setup(c, CHANNEL_FLOOD);
}

static void
client_act(struct sim_client *c)
{
    if (!c->is_idle) {
        client_prepare(c);
    }
    client_settle(c);
    if (c->is_idle) {
        return;
    }
    if (c->is_settling_down) {
        if (!c->is_hasty && sim_client_unconfirmed(c) == 0 &&
            client_held(c) == 0) {
            sim_amqp_close(c->amqp); /* and come back to drain quickly */
        }
        return;
    }
    if (c->is_resting) {
        return;
    }
    client_publish(c);
    client_admin(c);
    if (rng_chance(client_rng(c), c->temper.errs_per_million)) {
        client_err(c);
    }
    if (c->temper.stalls && rng_chance(client_rng(c), 20000)) {
        client_stall(c);
    }
    if (sim_amqp_is_open(c->amqp) &&
        rng_chance(client_rng(c), c->temper.leaves_per_million)) {
        client_leave(c);
    }
}

static void
client_turn(struct sim_client *c)
{
    if (sim_amqp_is_away(c->amqp)) {
        if (!c->is_idle) {
            client_connect(c);
        }
        return;
    }
    sim_amqp_tick(c->amqp);
    if (c->stalled_until_us > client_now(c) && !c->is_settling_down) {
        return;
    }
    if (c->stalled_until_us > 0) {
        c->stalled_until_us = 0;
        sim_amqp_read(c->amqp, true);
    }
    if (sim_amqp_is_open(c->amqp)) {
        client_act(c);
    }
}

/* Work and rest take turns: bursts find more than an even trickle does, and
 * rests let more time, with more faults, go by. */
static void
client_change_phase(struct sim_client *c)
{
    uint64_t length = rng_between(client_rng(c), WORK_US_MIN, WORK_US_MAX);

    if (client_now(c) >= c->phase_end_us && c->config.rest_factor > 0) {
        c->is_resting = !c->is_resting;
        length *= c->is_resting ? c->config.rest_factor : 1;
        c->phase_end_us = client_now(c) + MIN(length, (uint64_t)REST_US_MAX);
    }
}

static void on_tick(void *arg);

static void
schedule(struct sim_client *c)
{
    bool is_slow = c->is_resting && !c->is_settling_down;
    uint32_t tick_us =
        is_slow ? (uint32_t)SIM_CLIENT_TICK_US_MAX : c->config.tick_us;
    uint64_t delay = 1 + rng_below(client_rng(c), 2ULL * tick_us);

    sim_call(c->config.sim, NULL, delay, on_tick, c);
}

static void
on_tick(void *arg)
{
    struct sim_client *c = client_of(arg);

    client_change_phase(c);
    client_turn(c);
    schedule(c);
}

/* ---- life ---- */

static void
make_session(struct sim_client *c)
{
    struct sim_amqp_events events = {.arg = c,
                                     .on_open = on_open,
                                     .on_answer = on_answer,
                                     .on_message = on_message,
                                     .on_confirm = on_confirm,
                                     .on_cancel = on_cancel,
                                     .on_channel_closed = on_channel_closed,
                                     .on_down = on_down,
                                     .on_violation = on_violation};

    c->amqp = sim_amqp_new(&events);
}

struct sim_client *
sim_client_new(const struct sim_client_config *config)
{
    struct sim_client *c = mem_zalloc(1, sizeof(*c));

    ASSERT(config->tick_us <= SIM_CLIENT_TICK_US_MAX);
    c->magic = SIM_CLIENT_MAGIC;
    c->config = *config;
    c->is_resting = config->rest_factor > 0;
    c->phase_end_us = rng_below(client_rng(c), START_US_MAX);
    for (size_t i = 0; i < SIM_AMQP_CHANNELS; i++) {
        ring_init(&c->held[i], sizeof(struct held));
    }
    for (size_t i = 0; i < ARRAY_COUNT(c->publishing); i++) {
        ring_init(&c->publishing[i].out, sizeof(struct published));
    }
    (void)snprintf(c->queue, sizeof(c->queue), "q%u", client_own(c));
    make_session(c);
    schedule(c);
    return c;
}

void
sim_client_free(struct sim_client **client)
{
    struct sim_client *c = client_of(*client);

    for (unsigned i = 0; i < SIM_AMQP_CHANNELS; i++) {
        drop_channel(c, i, 0);
        ring_deinit(&c->held[i]);
    }
    for (size_t i = 0; i < ARRAY_COUNT(c->publishing); i++) {
        ring_deinit(&c->publishing[i].out);
    }
    sim_amqp_free(&c->amqp);
    c->magic = 0;
    mem_free(c);
    *client = NULL;
}

void
sim_client_settle_down(struct sim_client *c)
{
    c->is_settling_down = true;
    c->temper = (struct temper){.is_slow = false};
    /* Some stay: whoever comes back gets anew what was never sent to it. */
    c->is_hasty = c->is_near && c->prefetch >= PREFETCH_HASTY_MIN &&
                  rng_chance(client_rng(c), 500000);
    c->config.tick_us = MIN(c->config.tick_us, (uint32_t)SETTLE_TICK_US);
}

void
sim_client_rest(struct sim_client *c)
{
    ASSERT(c->is_settling_down);
    c->is_idle = true;
}

size_t
sim_client_unconfirmed(const struct sim_client *c)
{
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(c->publishing); i++) {
        count += c->publishing[i].out.count;
    }
    return count;
}

bool
sim_client_owns(const struct sim_client *c, const struct meta_owner *owner)
{
    /* A machine that has joined anew is another node, and a start of it counts
     * its connections from 1. */
    return owner->node == c->id && owner->boot == c->boot &&
           sim_front_connection_id(sim_amqp_wire(c->amqp)) == owner->connection;
}

void
sim_client_describe(const struct sim_client *c, struct buf *out)
{
    buf_putf(out,
             "client %u of %s on n%u: %zu unconfirmed, %zu held, setup %x, "
             "stalled %d; ",
             c->config.number, c->queue, c->node, sim_client_unconfirmed(c),
             client_held(c), c->done, c->stalled_until_us > 0);
    sim_amqp_describe(c->amqp, out);
    buf_put_text(out, "\n");
}
