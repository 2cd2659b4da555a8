/* Calls under way: one place for deadlines, for callers that went away, and
 * for answers that are known at once but may only be told later. All deadlines
 * are equally long, so a list in order of start is in order of deadline. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "broker/broker_priv.h"
#include "broker/queue_client.h"
#include "shard/env.h"

static void
arm(struct broker *b)
{
    struct call_ref *first;

    if (list_is_empty(&b->calls)) {
        return;
    }
    first = list_entry(b->calls.next, struct call_ref, link);
    timers_start(&b->env->timers, &b->calls_timer, first->deadline_ms);
}

static void
tell(struct call_ref *ref, const struct broker_reply *reply)
{
    struct broker_call *call = ref->call;

    list_remove(&ref->link);
    ref->call = NULL;
    if (call != NULL) {
        ASSERT(call->impl == ref);
        call->impl = NULL;
        call->done(call, reply);
    }
}

/* Nobody answered REF in time. */
static void
tell_late(struct broker *b, struct call_ref *ref)
{
    struct broker_reply reply = {0};
    struct queue_client *client =
        ref->group == 0 ? NULL : map_get(&b->clients, ref->group);

    broker_fault_set(&reply.fault, BROKER_INTERNAL,
                     "failed to perform operation due to timeout: no majority "
                     "of the replicas answered within %d ms",
                     (int)BROKER_CALL_TIMEOUT_MS);
    if (client != NULL) {
        queue_client_explain(client, &reply.fault);
    }
    tell(ref, &reply);
}

static void
on_timer(void *arg)
{
    struct broker *b = arg;
    uint64_t now = b->env->ops->now_ms(b->env);

    OBJ_CHECK(b, BROKER_MAGIC);
    while (!list_is_empty(&b->calls)) {
        struct call_ref *first =
            list_entry(b->calls.next, struct call_ref, link);

        if (first->deadline_ms > now) {
            break;
        }
        tell_late(b, first);
    }
    arm(b);
}

void
broker_fault_set(struct broker_fault *fault, enum broker_fault_kind kind,
                 const char *fmt, ...)
{
    va_list ap;

    fault->kind = kind;
    va_start(ap, fmt);
    (void)vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
    va_end(ap);
}

void
broker_call_abandon(struct broker_call *call)
{
    struct call_ref *ref = call->impl;

    if (ref != NULL) {
        ASSERT(ref->call == call);
        ref->call = NULL;
        call->impl = NULL;
    }
}

struct call_ref *
call_begin(struct broker *b, struct broker_call *call)
{
    struct call_ref *ref = mem_zalloc(1, sizeof(*ref));
    bool was_empty = list_is_empty(&b->calls);

    list_init(&ref->link);
    ref->call = call;
    if (call != NULL) {
        ASSERT(call->impl == NULL);
        call->impl = ref;
        ref->deadline_ms = b->env->ops->now_ms(b->env) + BROKER_CALL_TIMEOUT_MS;
        list_push_back(&b->calls, &ref->link);
        if (was_empty) {
            arm(b);
        }
    }
    return ref;
}

void
call_end(struct call_ref **ref, const struct broker_reply *reply)
{
    struct call_ref *r = *ref;

    *ref = NULL;
    if (r != NULL) {
        tell(r, reply);
        mem_free(r);
    }
}

void
call_end_fault(struct call_ref **ref, enum broker_fault_kind kind,
               const char *fmt, ...)
{
    struct broker_reply reply = {0};
    va_list ap;

    reply.fault.kind = kind;
    va_start(ap, fmt);
    (void)vsnprintf(reply.fault.text, sizeof(reply.fault.text), fmt, ap);
    va_end(ap);
    call_end(ref, &reply);
}

struct broker_call *
call_release(struct call_ref **ref)
{
    struct broker_call *call = (*ref)->call;

    if (call != NULL) {
        broker_call_abandon(call);
    }
    list_remove(&(*ref)->link);
    mem_free(*ref);
    *ref = NULL;
    return call;
}

void
call_end_soon(struct broker *b, struct broker_call *call,
              const struct broker_reply *reply)
{
    struct call_ref *ref;

    if (call == NULL) {
        return;
    }
    ref = call_begin(b, call);
    ref->reply = *reply;
    list_remove(&ref->link);
    list_push_back(&b->calls_ended, &ref->link);
    b->env->ops->wake(b->env);
}

void
call_fail_soon(struct broker *b, struct broker_call *call,
               const struct broker_fault *fault)
{
    struct broker_reply reply = {0};

    ASSERT(fault->kind != BROKER_OK);
    reply.fault = *fault;
    call_end_soon(b, call, &reply);
}

void
calls_run(struct broker *b)
{
    struct list *it;

    while ((it = list_pop_front(&b->calls_ended)) != NULL) {
        struct call_ref *ref = list_entry(it, struct call_ref, link);

        call_end(&ref, &ref->reply);
    }
}

void
calls_init(struct broker *b)
{
    list_init(&b->calls);
    list_init(&b->calls_ended);
    timer_init(&b->calls_timer, on_timer, b);
}

void
calls_deinit(struct broker *b)
{
    struct list *it;

    timers_stop(&b->env->timers, &b->calls_timer);
    while ((it = list_pop_front(&b->calls)) != NULL) {
        struct call_ref *ref = list_entry(it, struct call_ref, link);

        if (ref->call != NULL) {
            broker_call_abandon(ref->call);
        }
    }
    while ((it = list_pop_front(&b->calls_ended)) != NULL) {
        struct call_ref *ref = list_entry(it, struct call_ref, link);

        if (ref->call != NULL) {
            broker_call_abandon(ref->call);
        }
        mem_free(ref);
    }
}
