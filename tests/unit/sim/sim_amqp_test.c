/* A session with a simulated node: from the header to channels, a login that
 * is refused, a node that falls silent, a request that is not answered. */
#include <stdio.h>
#include <string.h>

#include "lib/harness.h"
#include "sim/sim_amqp.h"
#include "sim/sim_env.h"
#include "sim/sim_front.h"
#include "sim/sim_node.h"

enum {
    US = 1000000,
    WAIT_MS = 10000
};

struct rig {
    struct sim *sim;
    struct sim_node *node;
    struct sim_amqp *session;
    unsigned opened;
    unsigned down;
    unsigned code;
    enum amqp_method_id answered;
    char violation[256];
};

static const qr_node_id ids[] = {1};

static void
on_open(void *arg)
{
    ((struct rig *)arg)->opened++;
}

static void
on_answer(void *arg, unsigned channel, const struct amqp_method *m)
{
    (void)channel;
    ((struct rig *)arg)->answered = m->id;
}

static void
on_message(void *arg, const struct sim_amqp_message *message)
{
    (void)arg;
    (void)message;
}

static void
on_confirm(void *arg, unsigned channel, uint64_t tag, bool multiple, bool is_ok)
{
    (void)arg;
    (void)channel;
    (void)tag;
    (void)multiple;
    (void)is_ok;
}

static void
on_cancel(void *arg, unsigned channel, const char *tag)
{
    (void)arg;
    (void)channel;
    (void)tag;
}

static void
on_channel_closed(void *arg, unsigned channel, unsigned code,
                  enum amqp_method_id refused)
{
    (void)channel;
    (void)refused;
    ((struct rig *)arg)->code = code;
}

static void
on_down(void *arg, unsigned code)
{
    ((struct rig *)arg)->down++;
    ((struct rig *)arg)->code = code;
}

static void
on_violation(void *arg, const char *text)
{
    struct rig *r = arg;

    (void)snprintf(r->violation, sizeof(r->violation), "%s", text);
}

/* Let MS pass; the session ticks as a client's does. */
static void
pass(struct rig *r, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 100) {
        sim_run(r->sim, sim_now_us(r->sim) + 100000);
        sim_amqp_tick(r->session);
    }
}

static void
rig_init(struct rig *r)
{
    struct sim_node_config config = {.id = 1,
                                     .shards = 1,
                                     .nodes = ids,
                                     .nodes_count = 1,
                                     .disk_delay_us = 200};
    struct sim_amqp_events events = {.arg = r,
                                     .on_open = on_open,
                                     .on_answer = on_answer,
                                     .on_message = on_message,
                                     .on_confirm = on_confirm,
                                     .on_cancel = on_cancel,
                                     .on_channel_closed = on_channel_closed,
                                     .on_down = on_down,
                                     .on_violation = on_violation};

    memset(r, 0, sizeof(*r));
    config.sim = r->sim = sim_new(5);
    r->node = sim_node_new(&config);
    (void)sim_node_start(r->node);
    r->session = sim_amqp_new(&events);
    for (int ms = 0;
         ms < WAIT_MS && !sim_front_is_ready(sim_node_front(r->node, 0));
         ms++) {
        sim_run(r->sim, sim_now_us(r->sim) + 1000);
    }
    cr_assert(sim_front_is_ready(sim_node_front(r->node, 0)));
}

static void
rig_open(struct rig *r, const char *password)
{
    struct sim_amqp_config config = {.sim = r->sim,
                                     .user = SIM_NODE_USER,
                                     .password = password,
                                     .frame_max = 4096,
                                     .heartbeat_s = 1,
                                     .first_channel = 7,
                                     .delay_min_us = 100,
                                     .delay_max_us = 200,
                                     .chop_per_million = 500000,
                                     .window = 512};

    sim_amqp_open(r->session, &config, sim_node_front(r->node, 0),
                  sim_env(r->sim, 1, 0));
}

static void
rig_deinit(struct rig *r)
{
    if (sim_node_is_up(r->node)) {
        sim_node_crash(r->node, false);
    }
    sim_node_free(&r->node);
    sim_amqp_free(&r->session);
    sim_free(&r->sim);
}

static void
ask_open(struct rig *r, unsigned channel)
{
    struct amqp_method m = {.id = AMQP_channel_open};

    m.channel_open.reserved_1 = amqp_text("");
    sim_amqp_ask(r->session, channel, &m);
}

Test(sim_amqp, it_opens_and_stays_open_by_heartbeats)
{
    struct rig r;

    rig_init(&r);
    rig_open(&r, SIM_NODE_PASSWORD);
    pass(&r, 1000);
    cr_assert_eq(r.opened, 1);
    ask_open(&r, 2);
    cr_assert(sim_amqp_is_asking(r.session, 2));
    pass(&r, 10000);
    cr_assert_eq(r.answered, AMQP_channel_open_ok);
    cr_assert(sim_amqp_channel_is_open(r.session, 2));
    cr_assert_eq(r.down, 0);
    sim_amqp_close(r.session);
    pass(&r, 1000);
    cr_assert(sim_amqp_is_away(r.session));
    cr_assert_eq(sim_front_connections(sim_node_front(r.node, 0)), 0);
    cr_assert_str_eq(r.violation, "");
    rig_deinit(&r);
}

Test(sim_amqp, a_wrong_password_is_refused)
{
    struct rig r;

    rig_init(&r);
    rig_open(&r, "not this");
    pass(&r, 1000);
    cr_assert_eq(r.opened, 0);
    cr_assert_eq(r.down, 1);
    cr_assert_eq(r.code, 403);
    rig_deinit(&r);
}

Test(sim_amqp, an_error_closes_its_channel)
{
    struct rig r;
    struct amqp_method m = {.id = AMQP_queue_declare};

    rig_init(&r);
    rig_open(&r, SIM_NODE_PASSWORD);
    pass(&r, 1000);
    ask_open(&r, 0);
    pass(&r, 100);
    m.queue_declare.queue = amqp_text("nobody declares this");
    m.queue_declare.passive = true;
    sim_amqp_ask(r.session, 0, &m);
    pass(&r, 1000);
    cr_assert_eq(r.code, 404);
    cr_assert(!sim_amqp_channel_is_open(r.session, 0));
    cr_assert(sim_amqp_is_open(r.session));
    rig_deinit(&r);
}

Test(sim_amqp, a_node_without_power_is_missed)
{
    struct rig r;

    rig_init(&r);
    rig_open(&r, SIM_NODE_PASSWORD);
    pass(&r, 1000);
    sim_node_crash(r.node, true);
    pass(&r, 1000);
    cr_assert_eq(r.down, 0, "nobody said a word");
    pass(&r, 2000);
    cr_assert_eq(r.down, 1);
    rig_deinit(&r);
}

/* A client that stalls is not answered by its own doing. */
Test(sim_amqp, who_is_not_answered_says_I13)
{
    struct rig r;
    struct amqp_method m = {.id = AMQP_channel_flow_ok};

    rig_init(&r);
    rig_open(&r, SIM_NODE_PASSWORD);
    pass(&r, 1000);
    ask_open(&r, 0);
    pass(&r, 100);
    sim_amqp_ask(r.session, 0, &m); /* wants no answer, and gets none */
    pass(&r, SIM_AMQP_ANSWER_US / 1000 - 1000);
    cr_assert_str_eq(r.violation, "");
    pass(&r, 2000);
    cr_assert(strncmp(r.violation, "I13", 3) == 0, "%s", r.violation);
    rig_deinit(&r);
}
