/* Logins that come in floods: who waits, and for whom. */
#include "broker/broker.h"
#include "broker/login.h"
#include "lib/harness.h"
#include "sim/sim_node.h"

enum {
    TICK_US = 1000,
    WAIT_US = 20000000
};

struct login {
    struct broker_call call;
    struct broker_origin from;
    bool is_done;
    enum broker_fault_kind kind;
    char text[512];
    size_t order; /* the how manieth to end */
};

static const qr_node_id nodes[] = {1};
static struct sim *sim;
static struct sim_node *node;
static struct broker *broker;
static struct login flood[LOGIN_WAITING_MAX + LOGIN_RUNNING_MAX + 1];
static size_t ended;

static void
on_end(struct broker_call *call, const struct broker_reply *reply)
{
    struct login *l = call->arg;

    cr_assert_not(l->is_done);
    l->is_done = true;
    l->kind = reply->fault.kind;
    l->order = ++ended;
    (void)snprintf(l->text, sizeof(l->text), "%s", reply->fault.text);
}

static void
setup(void)
{
    struct sim_node_config config = {.id = 1,
                                     .shards = 1,
                                     .nodes = nodes,
                                     .nodes_count = 1,
                                     .disk_delay_us = 200};

    ended = 0;
    memset(flood, 0, sizeof(flood));
    sim = sim_new(1);
    config.sim = sim;
    node = sim_node_new(&config);
    sim_node_start(node);
    broker = sim_node_broker(node, 0);
    for (int i = 0; i < 100 && !broker_is_ready(broker); i++) {
        sim_run(sim, sim_now_us(sim) + 100000);
    }
    cr_assert(broker_is_ready(broker));
}

static void
teardown(void)
{
    sim_node_crash(node, false);
    sim_node_free(&node);
    sim_free(&sim);
}

TestSuite(login, .init = setup, .fini = teardown);

static void
login(struct login *l, const char *host, const char *password)
{
    l->call.done = on_end;
    l->call.arg = l;
    l->from = (struct broker_origin){.host = host, .is_loopback = true};
    broker_authenticate(broker, meta_text(SIM_NODE_USER, strlen(SIM_NODE_USER)),
                        meta_text(password, strlen(password)), &l->from,
                        &l->call);
    cr_assert_not(l->is_done); /* never within the call */
}

static void
await(const struct login *l)
{
    uint64_t end = sim_now_us(sim) + WAIT_US;

    while (!l->is_done && sim_now_us(sim) < end) {
        sim_run(sim, sim_now_us(sim) + TICK_US);
    }
    cr_assert(l->is_done);
}

Test(login, an_address_that_floods_waits_behind_itself)
{
    struct login good = {.order = 0};

    for (size_t i = 0; i < 500; i++) {
        login(&flood[i], "192.0.2.1", "");
    }
    login(&good, "192.0.2.2", SIM_NODE_PASSWORD);
    await(&good);
    cr_expect_eq(good.kind, BROKER_OK, "%s", good.text);
    cr_expect_leq(good.order, 2 * LOGIN_RUNNING_MAX + 1);
    await(&flood[499]);
    cr_expect_eq(flood[499].kind, BROKER_ACCESS_REFUSED);
    cr_expect_eq(ended, 501);
}

Test(login, one_address_is_served_in_order)
{
    for (size_t i = 0; i < 20; i++) {
        login(&flood[i], "192.0.2.1", "");
    }
    await(&flood[19]);
    for (size_t i = 0; i + LOGIN_RUNNING_MAX < 20; i++) {
        cr_expect_lt(flood[i].order, flood[i + LOGIN_RUNNING_MAX].order);
    }
}

Test(login, the_longest_queue_makes_room)
{
    const size_t last = LOGIN_WAITING_MAX + LOGIN_RUNNING_MAX;
    struct login good = {.order = 0};

    for (size_t i = 0; i < last; i++) {
        login(&flood[i], "192.0.2.1", "");
    }
    login(&good, "192.0.2.2", SIM_NODE_PASSWORD);
    await(&flood[last - 1]);
    cr_expect_str_eq(flood[last - 1].text,
                     "more than 1024 logins wait on this shard");
    await(&good);
    cr_expect_eq(good.kind, BROKER_OK, "%s", good.text);
    await(&flood[last - 2]);
}

Test(login, one_address_too_many_is_refused_itself)
{
    const size_t last = LOGIN_WAITING_MAX + LOGIN_RUNNING_MAX;

    for (size_t i = 0; i <= last; i++) {
        login(&flood[i], "192.0.2.1", "");
    }
    await(&flood[last]);
    cr_expect_eq(flood[last].order, 1);
    cr_expect_str_eq(flood[last].text,
                     "more than 1024 logins wait on this shard");
    await(&flood[last - 1]);
}

Test(login, a_client_that_left_is_forgotten)
{
    for (size_t i = 0; i < 10; i++) {
        login(&flood[i], "192.0.2.1", "");
    }
    broker_call_abandon(&flood[8].call);
    await(&flood[9]);
    cr_expect_not(flood[8].is_done);
}

Test(login, a_stop_leaves_nobody_waiting)
{
    for (size_t i = 0; i < 10; i++) {
        login(&flood[i], "192.0.2.1", "");
    }
    for (size_t i = 0; i < 10; i++) {
        broker_call_abandon(&flood[i].call);
    }
    /* Those in the pool end, no others begin; leaks are the sanitizer's. */
    broker_shutdown(broker);
    sim_run(sim, sim_now_us(sim) + 100000);
    cr_expect_eq(ended, 0);
}

Test(login, certificates_need_a_user)
{
    struct login l = {.order = 0};
    struct login other = {.order = 0};
    struct login far = {.order = 0};
    struct broker_origin local = {"127.0.0.1", true};
    struct broker_origin remote = {"192.0.2.1", false};

    l.call = (struct broker_call){.done = on_end, .arg = &l};
    broker_authenticate_external(
        broker, meta_text(SIM_NODE_USER, strlen(SIM_NODE_USER)), &local,
        &l.call);
    await(&l);
    cr_expect_eq(l.kind, BROKER_OK);
    other.call = (struct broker_call){.done = on_end, .arg = &other};
    broker_authenticate_external(broker, meta_text("CN=app", 6), &local,
                                 &other.call);
    await(&other);
    cr_expect_eq(other.kind, BROKER_ACCESS_REFUSED);
    cr_expect_str_eq(other.text, "user 'CN=app' - there is no such user");
    far.call = (struct broker_call){.done = on_end, .arg = &far};
    broker_authenticate_external(broker, meta_text("guest", 5), &remote,
                                 &far.call);
    await(&far);
    cr_expect_eq(far.kind, BROKER_ACCESS_REFUSED);
    cr_expect_str_eq(far.text, "user 'guest' can only connect via localhost");
}

Test(login, a_network_of_ipv6_is_one_source)
{
    char a[LOGIN_SOURCE_SIZE];
    char b[LOGIN_SOURCE_SIZE];

    login_source("2001:db8:1:2:3:4:5:6", a);
    login_source("2001:db8:1:2::7", b);
    cr_expect_str_eq(a, "2001:db8:1:2::");
    cr_expect_str_eq(b, a);
    login_source("192.0.2.1", a);
    cr_expect_str_eq(a, "192.0.2.1");
    login_source("", a);
    cr_expect_str_eq(a, "");
}
