/* Calls: each ends once, by its answer, its deadline or its caller. */
#include "broker/broker_priv.h"
#include "lib/harness.h"
#include "sim/sim_env.h"

/* As much of a broker as calls need. */
struct rig {
    struct sim *sim;
    struct broker broker;
    struct broker_call call;
    unsigned told;
    struct broker_reply reply;
};

static void
on_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct rig *r = call->arg;

    r->told++;
    r->reply = *reply;
}

static void
rig_init(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->sim = sim_new(1);
    sim_start(r->sim, 1, 1, NULL);
    r->broker.magic = BROKER_MAGIC;
    r->broker.env = sim_env(r->sim, 1, 0);
    calls_init(&r->broker);
    r->call.done = on_done;
    r->call.arg = r;
}

static void
rig_deinit(struct rig *r)
{
    calls_deinit(&r->broker);
    sim_stop(r->sim, 1);
    sim_free(&r->sim);
}

Test(calls, tell_their_caller_once)
{
    struct broker_reply reply = {.messages = 7};
    struct call_ref *ref;
    struct rig r;

    rig_init(&r);
    ref = call_begin(&r.broker, &r.call);
    cr_assert_not_null(r.call.impl);
    call_end(&ref, &reply);
    cr_assert_null(ref);
    cr_assert_null(r.call.impl);
    cr_assert_eq(r.told, 1);
    cr_assert_eq(r.reply.messages, 7);
    rig_deinit(&r);
}

Test(calls, that_were_abandoned_tell_nobody)
{
    struct broker_reply reply = {0};
    struct call_ref *ref;
    struct rig r;

    rig_init(&r);
    ref = call_begin(&r.broker, &r.call);
    broker_call_abandon(&r.call);
    broker_call_abandon(&r.call);
    call_end(&ref, &reply);
    cr_assert_eq(r.told, 0);
    rig_deinit(&r);
}

Test(calls, end_soon_but_not_at_once)
{
    struct broker_reply reply = {.consumers = 3};
    struct rig r;

    rig_init(&r);
    call_end_soon(&r.broker, &r.call, &reply);
    cr_assert_eq(r.told, 0);
    calls_run(&r.broker);
    cr_assert_eq(r.told, 1);
    cr_assert_eq(r.reply.consumers, 3);
    rig_deinit(&r);
}

Test(calls, fail_at_their_deadline)
{
    struct broker_reply reply = {0};
    struct call_ref *ref;
    struct rig r;

    rig_init(&r);
    ref = call_begin(&r.broker, &r.call);
    sim_run(r.sim, (uint64_t)(BROKER_CALL_TIMEOUT_MS - 1) * 1000);
    cr_assert_eq(r.told, 0);
    sim_run(r.sim, (uint64_t)(BROKER_CALL_TIMEOUT_MS + 10) * 1000);
    cr_assert_eq(r.told, 1);
    cr_assert_eq(r.reply.fault.kind, BROKER_INTERNAL);
    call_end(&ref, &reply); /* the answer comes after all */
    cr_assert_eq(r.told, 1);
    rig_deinit(&r);
}

Test(calls, that_are_released_go_on_elsewhere)
{
    struct call_ref *ref;
    struct rig r;

    rig_init(&r);
    ref = call_begin(&r.broker, &r.call);
    cr_assert_eq(call_release(&ref), &r.call);
    cr_assert_null(ref);
    cr_assert_null(r.call.impl);
    ref = call_begin(&r.broker, &r.call);
    broker_call_abandon(&r.call);
    cr_assert_null(call_release(&ref));
    cr_assert_eq(r.told, 0);
    rig_deinit(&r);
}
