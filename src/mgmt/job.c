/* One request: from its bytes to its response. See the drawing in
 * mgmt_priv.h. A job ends exactly once; after that its callbacks find it
 * finished and do nothing. Its caller is told from the shard's turn, never
 * from within a call of its own. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "mgmt/gather.h"
#include "mgmt/list_queues.h"
#include "mgmt/mgmt_priv.h"
#include "shard/env.h"

enum {
    FORWARD_MARGIN_MS = 200 /* what the other node has less than this one */
};

static const command_run runs[COMMAND_COUNT] = {
#define COMMAND(name, handler, section, least, most, options, arguments, \
                banner, summary, more)                                   \
    handler,
#include "mgmt/command.def"
#undef COMMAND
};

/* ---- the end ---- */

void
job_finish(struct job *job, enum exit_code code)
{
    struct mgmt *m = job->mgmt;

    OBJ_CHECK(job, JOB_MAGIC);
    ASSERT(!job->is_finished);
    job->is_finished = true;
    job->code = code;
    timers_stop(&m->env->timers, &job->timer);
    timers_stop(&m->env->timers, &job->poll);
    list_remove(&job->link);
    list_push_back(&m->finished, &job->link);
    m->env->ops->wake(m->env);
}

PRINTF(3, 0)
static void
put_message(struct job *job, const char *key, const char *fmt, va_list ap)
{
    char text[1024];

    (void)vsnprintf(text, sizeof(text), fmt, ap);
    buf_clear(&job->out);
    json_init(&job->json, &job->out);
    json_object_begin(&job->json);
    json_key(&job->json, key);
    json_text(&job->json, text);
    json_object_end(&job->json);
}

void
job_text(struct job *job, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_message(job, "text", fmt, ap);
    va_end(ap);
    job_finish(job, EXIT_CODE_OK);
}

void
job_fail(struct job *job, enum exit_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_message(job, "error", fmt, ap);
    va_end(ap);
    job_finish(job, code);
}

/* Whether the command names a user, in argument 0, that does not exist. */
static bool
is_user_missing(const struct job *job)
{
    enum command_section section = command_row(job->request.command)->section;
    struct meta_text user = job_arg_text(job, 0);

    return (section == SECTION_USERS || section == SECTION_ACCESS) &&
           meta_user(broker_meta(job->mgmt->broker), user.data, user.size) ==
               NULL;
}

static enum exit_code
fault_code(const struct job *job, enum broker_fault_kind kind)
{
    switch (kind) {
    case BROKER_OK:
        return EXIT_CODE_OK;
    case BROKER_NOT_FOUND:
        return is_user_missing(job) ? EXIT_CODE_NO_USER : EXIT_CODE_DATA;
    case BROKER_ACCESS_REFUSED:
    case BROKER_INVALID:
    case BROKER_PRECONDITION:
    case BROKER_LOCKED:
        return EXIT_CODE_DATA;
    case BROKER_NOT_ALLOWED:
    case BROKER_NOT_IMPLEMENTED:
        return EXIT_CODE_SOFTWARE;
    case BROKER_RESOURCE:
    case BROKER_INTERNAL:
        return EXIT_CODE_UNAVAILABLE;
    }
    UNREACHABLE("a fault that is none");
}

void
job_fault(struct job *job, const struct broker_fault *fault)
{
    job_fail(job, fault_code(job, fault->kind), "%s", fault->text);
}

void
job_free(struct job *job)
{
    struct mgmt *m = job->mgmt;

    OBJ_CHECK(job, JOB_MAGIC);
    timers_stop(&m->env->timers, &job->timer);
    timers_stop(&m->env->timers, &job->poll);
    gather_free(&job->gather);
    broker_call_abandon(&job->broker_call);
    list_remove(&job->link);
    m->jobs_count--;
    if (job->call != NULL) {
        job->call->impl = NULL;
    }
    queue_rows_free(&job->replicas);
    mem_wipe(job->bytes.data, job->bytes.size);
    buf_deinit(&job->bytes);
    buf_deinit(&job->out);
    job->magic = 0;
    mem_free(job);
}

void
job_tell(struct job *job)
{
    struct mgmt_call *call = job->call;
    struct buf out = job->out;
    enum exit_code code = job->code;

    ASSERT(job->is_finished);
    buf_init(&job->out);
    if (out.size >= RESPONSE_SIZE_MAX) {
        buf_clear(&out);
        buf_putf(&out,
                 "{\"error\":\"the response has more than %d bytes: ask for "
                 "fewer columns, or for one virtual host\"}",
                 (int)RESPONSE_SIZE_MAX);
        code = EXIT_CODE_UNAVAILABLE;
    }
    job_free(job);
    if (call != NULL) {
        call->done(call, (uint8_t)code, &out);
    }
    buf_deinit(&out);
}

/* ---- the start ---- */

static void
on_deadline(void *arg)
{
    struct job *job = arg;

    OBJ_CHECK(job, JOB_MAGIC);
    gather_free(&job->gather);
    broker_call_abandon(&job->broker_call);
    job_fail(job, EXIT_CODE_TIMEOUT,
             "%s was not done in time. A change that was asked for may still "
             "happen. See 'quoratectl cluster_status'; wait longer with -t",
             command_row(job->request.command)->name);
}

static void
forward_done(struct gather *g, void *arg)
{
    struct job *job = arg;
    const struct gather_target *t = &g->targets[0];
    uint8_t code;

    if (t->fault != NULL || t->bytes.size < 1) {
        job_fail(job, EXIT_CODE_UNAVAILABLE,
                 "node '%s' was asked by way of '%s', but %s. Is it running? "
                 "See 'quoratectl cluster_status'",
                 job->request.options[OPTION_NODE], job->mgmt->config.node_name,
                 t->fault != NULL ? t->fault : "its answer is empty");
        return;
    }
    code = t->bytes.data[0];
    buf_clear(&job->out);
    buf_put(&job->out, t->bytes.data + 1, t->bytes.size - 1);
    job_finish(job, (enum exit_code)code);
}

/* Whether JOB is for another node; then it is on its way there. */
static bool
forward(struct job *job)
{
    const char *name = job->request.options[OPTION_NODE];
    struct mgmt *m = job->mgmt;
    const struct meta_node *node;

    if (name == NULL || strcmp(name, m->config.node_name) == 0) {
        return false;
    }
    node = job_node(job, name);
    if (node == NULL) {
        return true;
    }
    if (node->id == m->env->node) {
        return false;
    }
    job->gather = gather_new(m, ASK_COMMAND, forward_done, job);
    gather_add(job->gather, node->id, 0);
    buf_put(&job->gather->question, job->bytes.data, job->bytes.size);
    gather_send(job->gather, job->deadline_ms - 1);
    return true;
}

static void
begin(struct job *job, const void *data, size_t size, uint64_t limit_ms)
{
    uint64_t timeout_ms = REQUEST_TIMEOUT_MS;
    struct error err;

    error_clear(&err);
    buf_put(&job->bytes, data, size);
    if (request_decode(job->bytes.data, job->bytes.size, &job->request, &err) !=
            0 ||
        request_timeout(&job->request, &timeout_ms, &err) != 0) {
        job_fail(job, EXIT_CODE_USAGE, "%s", err.text);
        return;
    }
    if (limit_ms != 0) { /* forwarded: answer before they give up */
        limit_ms -= MIN(limit_ms / 8, FORWARD_MARGIN_MS);
        timeout_ms = MIN(timeout_ms, MAX(limit_ms, 1));
    }
    job->deadline_ms = mgmt_now_ms(job->mgmt) + timeout_ms;
    timers_start(&job->mgmt->env->timers, &job->timer, job->deadline_ms);
    if (!forward(job)) {
        runs[job->request.command](job);
    }
}

void
mgmt_start(struct mgmt *m, const void *data, size_t size, uint64_t limit_ms,
           struct mgmt_call *call)
{
    struct job *job = mem_zalloc(1, sizeof(*job));

    ASSERT(call->impl == NULL);
    job->magic = JOB_MAGIC;
    job->mgmt = m;
    job->call = call;
    call->impl = job;
    buf_init(&job->bytes);
    buf_init(&job->out);
    map_init(&job->replicas);
    timer_init(&job->timer, on_deadline, job);
    timer_init(&job->poll, on_deadline, job);
    list_push_back(&m->jobs, &job->link);
    m->jobs_count++;
    if (m->jobs_count > MGMT_JOBS_MAX) {
        job_fail(job, EXIT_CODE_UNAVAILABLE,
                 "node '%s' works on %d requests: try again later",
                 m->config.node_name, (int)MGMT_JOBS_MAX);
        return;
    }
    begin(job, data, size, limit_ms);
}

void
mgmt_call_abandon(struct mgmt_call *call)
{
    struct job *job = call->impl;

    if (job != NULL) {
        OBJ_CHECK(job, JOB_MAGIC);
        job->call = NULL;
        call->impl = NULL;
        job_free(job);
    }
}

/* ---- what commands use ---- */

static void
on_broker_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct job *job = CONTAINER_OF(call, struct job, broker_call);

    OBJ_CHECK(job, JOB_MAGIC);
    if (reply->fault.kind != BROKER_OK) {
        job_fault(job, &reply->fault);
    } else {
        job->broker_done(job, reply);
    }
}

struct broker_call *
job_broker_call(struct job *job,
                void (*done)(struct job *job, const struct broker_reply *))
{
    OBJ_CHECK(job, JOB_MAGIC);
    job->broker_call.done = on_broker_done;
    job->broker_done = done;
    return &job->broker_call;
}

static void
simple_done(struct job *job, const struct broker_reply *reply)
{
    (void)reply;
    job_text(job, "%s", "");
}

struct broker_call *
job_simple_call(struct job *job)
{
    return job_broker_call(job, simple_done);
}

const char *
job_arg(const struct job *job, size_t i)
{
    return i < job->request.args_count ? job->request.args[i] : "";
}

struct meta_text
job_arg_text(const struct job *job, size_t i)
{
    const char *arg = job_arg(job, i);

    return meta_text(arg, strlen(arg));
}

bool
job_has(const struct job *job, enum command_option option)
{
    return job->request.options[option] != NULL;
}

struct meta_text
job_vhost_name(const struct job *job)
{
    const char *name = job->request.options[OPTION_VHOST];

    return name == NULL ? meta_text("/", 1) : meta_text(name, strlen(name));
}

const struct meta_vhost *
job_vhost(struct job *job)
{
    struct meta_text name = job_vhost_name(job);
    const struct meta_vhost *vhost =
        meta_vhost(broker_meta(job->mgmt->broker), name.data, name.size);

    if (vhost == NULL) {
        job_fail(job, EXIT_CODE_DATA,
                 "Virtual host '%s' does not exist. See 'quoratectl "
                 "list_vhosts'",
                 name.data);
    }
    return vhost;
}

struct meta_queue *
job_queue(struct job *job)
{
    const struct meta_vhost *vhost = job_vhost(job);
    struct meta_text name = job_arg_text(job, 0);
    struct meta_queue *queue;

    if (vhost == NULL) {
        return NULL;
    }
    queue =
        meta_queue(broker_meta(job->mgmt->broker), vhost, name.data, name.size);
    if (queue == NULL) {
        job_fail(job, EXIT_CODE_DATA,
                 "Queue '%s' in vhost '%s' does not exist. See 'quoratectl "
                 "list_queues -p %s'",
                 name.data, vhost->name.data, vhost->name.data);
    }
    return queue;
}

const struct meta_node *
job_node(struct job *job, const char *name)
{
    const struct meta_node *node =
        meta_node_named(broker_meta(job->mgmt->broker), name, strlen(name));

    if (node == NULL || node->is_removed) {
        job_fail(job, EXIT_CODE_UNAVAILABLE,
                 "the cluster has no node '%s'. See 'quoratectl "
                 "cluster_status' for the names of its nodes",
                 name);
        return NULL;
    }
    return node;
}

uint64_t
job_left(const struct job *job)
{
    uint64_t now = mgmt_now_ms(job->mgmt);

    return job->deadline_ms > now ? job->deadline_ms - now : 0;
}

void
job_poll(struct job *job, timer_cb cb, uint64_t ms)
{
    OBJ_CHECK(job, JOB_MAGIC);
    timer_init(&job->poll, cb, job);
    timers_start(&job->mgmt->env->timers, &job->poll,
                 mgmt_now_ms(job->mgmt) + ms);
}
