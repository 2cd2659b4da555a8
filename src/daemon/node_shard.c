/* See node_shard.h.
 *
 * Closing has an order of its own: front end and broker must live until the
 * streams have closed (their callbacks call into them), while the store must
 * be closed on the running loop, when its last write has completed. So the
 * host and the store go first, in node_shard_stop(), and the broker, which by
 * then gets no frame, timer or turn, goes last. */
#include "daemon/node_shard.h"

#include <quorate/host.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/amqp_listener.h"
#include "daemon/config.h"
#include "daemon/environment.h"
#include "daemon/node.h"
#include "daemon/notify.h"
#include "daemon/tls_watch.h"
#include "daemon/watch.h"
#include "mgmt/mgmt.h"
#include "net/listener.h"
#include "shard/env.h"
#include "shard/runtime.h"
#include "store/disk_real.h"
#include "store/store.h"

enum {
    NODE_SHARD_MAGIC = 0x6e736864,
    READY_TICK_MS = 10,
    DRAIN_TICK_MS = 20,
    CLOSE_TICK_MS = 1,
    PATH_SIZE = 4200,
    NAME_SIZE = 320
};

/* ---- store and host ---- */

static void
on_durable(void *arg, uint64_t batch)
{
    struct node_shard *s = arg;

    if (s->host != NULL) {
        qr_host_durable(s->host, batch);
    }
}

static void
on_failure(void *arg, const char *text)
{
    struct node_shard *s = arg;

    s->shared->on_failure_mt(s->shared->arg, text);
}

static uint64_t
now_ms(void *arg)
{
    const struct node_shard *s = arg;

    return s->env->ops->now_ms(s->env);
}

static void
on_damage(void *arg, const struct store_damage *damage)
{
    struct node_shard *s = arg;

    if (s->host != NULL) {
        qr_host_damaged(s->host, damage);
    }
}

static enum qr_unknown
on_unknown(void *arg, qr_group_id group, qr_node_id from)
{
    struct node_shard *s = arg;

    return broker_unknown_group(s->broker, group, from);
}

static void
on_deleted(void *arg, qr_group_id group)
{
    struct node_shard *s = arg;

    broker_deleted_group(s->broker, group);
}

static void
on_lost(void *arg, qr_group_id group, qr_replica_id replica)
{
    struct node_shard *s = arg;

    broker_lost_replica(s->broker, group, replica);
}

static void
on_missing(void *arg, qr_group_id group, qr_index index)
{
    struct node_shard *s = arg;

    broker_missing_entry(s->broker, group, index);
}

static void
on_unwelcome(void *arg, enum broker_unwelcome why, const char *text)
{
    const struct node_shared *shared = arg;

    shared->on_unwelcome_mt(shared->arg, why != BROKER_REMOVED, text);
}

static void
on_given_up(void *arg)
{
    const struct node_shared *shared = arg;

    shared->on_given_up_mt(shared->arg);
}

static void
on_nodes(void *arg)
{
    const struct node_shared *shared = arg;

    shared->on_nodes(shared->arg);
}

static int
open_store(struct node_shard *s, struct error *err)
{
    const struct config *c = s->shared->config;
    struct store_config config = {.log = s->env->log,
                                  .segment_size = c->segment_size,
                                  .cache_size = c->cache_size,
                                  .shard = s->env->shard,
                                  .on_durable = on_durable,
                                  .on_failure = on_failure,
                                  .on_damage = on_damage,
                                  .arg = s,
                                  .timers = &s->env->timers,
                                  .now_ms = now_ms,
                                  .scrub_rate = c->scrub_rate,
                                  .compact_rate = c->compact_rate};
    char path[PATH_SIZE];
    int rv;

    (void)snprintf(path, sizeof(path), "%s/shard-%u", c->data_dir,
                   s->env->shard);
    rv = disk_real_open(path, s->loop, &s->disk, err);
    if (rv != 0) {
        return error_wrap(err, rv, "%s", path);
    }
    config.disk = disk_real_disk(s->disk);
    memcpy(config.node_uuid, s->shared->identity->uuid.bytes,
           sizeof(config.node_uuid));
    rv = store_open(&config, &s->store, err);
    return error_wrap(err, rv, "%s", path);
}

static void
make_host(struct node_shard *s)
{
    struct qr_host_config config = {
        .env = s->env,
        .store = s->store,
        .election_timeout_ms = (uint32_t)s->shared->config->election_timeout_ms,
        .unknown = on_unknown,
        .deleted = on_deleted,
        .lost = on_lost,
        .missing = on_missing,
        .arg = s};

    s->host = qr_host_new(&config);
}

/* ---- broker and front ends ---- */

static int
make_broker(struct node_shard *s, struct error *err)
{
    const struct node_shared *shared = s->shared;
    const struct config *c = shared->config;
    struct broker_config config = {
        .env = s->env,
        .host = s->host,
        .cluster_name = c->cluster_name,
        .node_name = shared->node_name,
        .node_address = shared->node_address,
        .node_uuid = shared->identity->uuid,
        .node_process = shared->identity->starts.process[0],
        .default_user = c->default_user,
        .default_pass = c->default_pass,
        .default_vhost = c->default_vhost,
        .default_user_tags = shared->default_user_tags,
        .loopback_users = shared->loopback_users,
        .queue_replicas = (uint32_t)c->queue_replicas,
        .on_given_up = on_given_up,
        .on_unwelcome = on_unwelcome,
        .on_nodes = on_nodes,
        .initial_nodes = shared->initial_nodes,
        .initial_nodes_count = shared->initial_nodes_count,
        .founders = shared->founders};
    void *arg = NULL;

    /* Read only, though its callbacks take an argument that is not. */
    memcpy(&arg, &shared, sizeof(arg));
    config.arg = arg;

    s->broker = broker_new(&config);
    return broker_start(s->broker, err);
}

static void
ctl_stop(void *arg)
{
    const struct node_shard *s = arg;

    s->shared->stop(s->shared->arg);
}

static void
put_listeners(const char *kind, const struct config_list *list, mgmt_row_cb row,
              void *arg)
{
    for (size_t i = 0; i < list->count; i++) {
        char name[NAME_SIZE];

        (void)snprintf(name, sizeof(name), "listeners.%s.%s", kind,
                       list->names[i]);
        row(arg, name, list->values[i]);
    }
}

static void
ctl_status(void *arg, mgmt_row_cb row, void *row_arg)
{
    const struct node_shard *s = arg;
    const struct config *c = s->shared->config;

    put_listeners("tcp", &c->tcp_listeners, row, row_arg);
    put_listeners("ssl", &c->ssl_listeners, row, row_arg);
    if (s->shared->tls_watch != NULL) {
        tls_watch_describe(s->shared->tls_watch, row, row_arg);
    }
    row(row_arg, "data_dir", s->shared->config->data_dir);
    environment_process(row, row_arg);
    watch_status(s->watch, row, row_arg);
}

static void
ctl_environment(void *arg, mgmt_row_cb row, void *row_arg)
{
    const struct node_shard *s = arg;

    environment_each(s->shared->config, row, row_arg);
}

static uint64_t
ctl_reload_tls(void *arg)
{
    const struct node_shard *s = arg;

    return s->shared->tls_watch == NULL
               ? 0
               : tls_watch_reload(s->shared->tls_watch);
}

static bool
ctl_reloaded_tls(void *arg, uint64_t number, int *result, const char **text)
{
    const struct node_shard *s = arg;

    return tls_watch_reloaded(s->shared->tls_watch, number, result, text);
}

static bool
ctl_is_serving(void *arg)
{
    const struct node_shard *s = arg;

    return s->is_listening;
}

static void
make_mgmt(struct node_shard *s)
{
    struct mgmt_config config = {.env = s->env,
                                 .broker = s->broker,
                                 .node_name = s->shared->node_name,
                                 .arg = s,
                                 .is_serving = ctl_is_serving,
                                 .stop = ctl_stop,
                                 .status = ctl_status,
                                 .reload_tls = ctl_reload_tls,
                                 .reloaded_tls = ctl_reloaded_tls,
                                 .environment = ctl_environment};

    s->mgmt = mgmt_new(&config);
}

static void
make_front_end(struct node_shard *s)
{
    const struct config *c = s->shared->config;

    s->amqp_config.log = s->env->log;
    s->amqp_config.frame_max = (uint32_t)c->frame_max;
    s->amqp_config.channel_max = (uint16_t)c->channel_max;
    s->amqp_config.heartbeat_s = (uint16_t)c->heartbeat_s;
    s->amqp_config.handshake_timeout_ms = (uint32_t)c->handshake_timeout_ms;
    s->amqp_config.message_size_max = (uint32_t)c->max_message_size;
    s->amqp_config.mechanisms = s->shared->login.mechanisms;
    s->amqp = amqp_listener_new(s->env, s->net, s->broker, s->shared->gate,
                                &s->amqp_config);
}

static void
on_alarm(void *arg, const char *reason)
{
    struct node_shard *s = arg;

    amqp_listener_block(s->amqp, reason);
}

static void
make_watch(struct node_shard *s)
{
    struct watch_config config = {.env = s->env,
                                  .broker = s->broker,
                                  .store = s->store,
                                  .data_dir = s->shared->config->data_dir,
                                  .limits = s->shared->limits};

    broker_on_alarm(s->broker, on_alarm, s);
    s->watch = watch_new(&config);
}

static void
listen_all(struct node_shard *s)
{
    const struct node_shared *shared = s->shared;
    struct amqp_listener_tls tls = {
        .store = shared->tls,
        .login = shared->login.from,
        .handshake_ms = (uint32_t)shared->config->ssl_handshake_timeout_ms};
    struct error err = {{0}};

    for (size_t i = 0; i < shared->sockets_count; i++) {
        int fd;
        int rv = listener_dup(shared->sockets[i], &fd, &err);

        if (rv == 0) {
            rv = amqp_listener_listen(
                s->amqp, fd, i < shared->sockets_plain ? NULL : &tls, &err);
        }
        if (rv != 0) {
            s->shared->on_failure_mt(s->shared->arg, err.text);
            return;
        }
    }
    s->is_listening = true;
    if (s->env->shard == 0) {
        log_info(s->env->log, "node", "ready: AMQP clients are served");
        notify_supervisor("READY=1\nSTATUS=AMQP clients are served");
    }
}

static void
on_timer(void *arg)
{
    struct node_shard *s = arg;
    uint64_t now = s->env->ops->now_ms(s->env);

    OBJ_CHECK(s, NODE_SHARD_MAGIC);
    if (s->is_draining) {
        if (amqp_listener_clients(s->amqp) == 0 || now >= s->drain_end_ms) {
            s->on_drained(s);
            return;
        }
        timers_start(&s->env->timers, &s->timer, now + DRAIN_TICK_MS);
        return;
    }
    if (broker_is_ready(s->broker)) {
        listen_all(s);
        return;
    }
    timers_start(&s->env->timers, &s->timer, now + READY_TICK_MS);
}

int
node_shard_open(struct node_shard *s, struct error *err)
{
    int rv;

    s->magic = NODE_SHARD_MAGIC;
    timer_init(&s->timer, on_timer, s);
    rv = open_store(s, err);
    if (rv != 0) {
        return rv;
    }
    make_host(s);
    rv = make_broker(s, err);
    if (rv != 0) {
        return rv;
    }
    make_mgmt(s);
    make_front_end(s);
    make_watch(s);
    timers_start(&s->env->timers, &s->timer, s->env->ops->now_ms(s->env));
    return 0;
}

/* ---- the end ---- */

void
node_shard_drain(struct node_shard *s)
{
    OBJ_CHECK(s, NODE_SHARD_MAGIC);
    if (s->is_draining) {
        return;
    }
    s->is_draining = true;
    s->drain_end_ms = s->env->ops->now_ms(s->env) + NODE_DRAIN_MS;
    amqp_listener_stop(s->amqp);
    broker_shutdown(s->broker);
    timers_start(&s->env->timers, &s->timer,
                 s->env->ops->now_ms(s->env) + DRAIN_TICK_MS);
}

static void
on_closing(uv_timer_t *t)
{
    struct node_shard *s = t->data;

    if (!store_is_idle(s->store)) {
        return; /* the timer repeats */
    }
    (void)uv_timer_stop(t);
    uv_close((uv_handle_t *)t, NULL);
    store_close(&s->store);
    disk_real_close(&s->disk, NULL, NULL);
}

void
node_shard_stop(struct node_shard *s)
{
    if (s->magic == 0) {
        return; /* never opened */
    }
    timers_stop(&s->env->timers, &s->timer);
    watch_free(&s->watch);
    if (s->host != NULL) {
        qr_host_free(&s->host);
    }
    if (s->store != NULL) {
        (void)uv_timer_init(s->loop, &s->closing);
        s->closing.data = s;
        (void)uv_timer_start(&s->closing, on_closing, 0, CLOSE_TICK_MS);
    } else if (s->disk != NULL) {
        disk_real_close(&s->disk, NULL, NULL);
    }
}

void
node_shard_free(struct node_shard *s)
{
    if (s->magic == 0) {
        return;
    }
    if (s->broker != NULL) {
        broker_on_alarm(s->broker, NULL, NULL);
    }
    if (s->amqp != NULL) {
        amqp_listener_free(&s->amqp);
    }
    if (s->mgmt != NULL) {
        mgmt_free(&s->mgmt);
    }
    if (s->broker != NULL) {
        broker_free(&s->broker);
    }
    s->magic = 0;
}
