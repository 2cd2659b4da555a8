/* See node.h. The shards' threads share what struct node_shared says; all else
 * here belongs to shard 0, which is the main thread. Frames of node_kind tell
 * the other shards to open when the cluster has formed, and to drain. */
#include "daemon/node.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/formation.h"
#include "daemon/address.h"
#include "daemon/amqp_listener.h"
#include "daemon/config.h"
#include "daemon/ctl_listener.h"
#include "daemon/identity.h"
#include "daemon/node_links.h"
#include "daemon/node_shard.h"
#include "daemon/notify.h"
#include "daemon/plan.h"
#include "daemon/tls_options.h"
#include "daemon/tls_watch.h"
#include "daemon/watch.h"
#include "net/listener.h"
#include "shard/env.h"
#include "shard/runtime.h"

enum node_kind {
    NODE_OPEN = FORMATION_KIND_LIMIT,
    NODE_DRAIN,
    NODE_DRAINED,
    NODE_KIND_LIMIT
};

enum {
    NODE_MAGIC = 0x6e6f6465,
    SOCKET_PATH_SIZE = 4200
};

struct node {
    unsigned magic;
    const struct config *config;
    const struct logger *log;
    struct plan plan;
    struct identity identity;
    int lock;
    int peer_socket; /* -1: none, or taken */
    struct amqp_gate gate;
    struct watch_limits limits;
    struct node_shared shared;
    struct cluster founders; /* for the shards; not changed while they run */
    struct runtime *runtime;
    struct formation *formation;
    struct ctl_listener *ctl;
    char ctl_path[SOCKET_PATH_SIZE];
    struct node_shard shards[QR_SHARDS_MAX];
    uint16_t drained; /* shards that have no client left */
    bool is_stopping;
    struct tls_store *cluster_tls; /* of the links; NULL: the secret is */
    uv_signal_t signals[3];
    _Atomic bool has_failed;
    _Atomic bool is_given_up;
    _Atomic bool unwelcome_claimed;
    _Atomic bool is_unwelcome;
    bool is_outdated; /* this and the next written before is_unwelcome */
    char unwelcome[NODE_SHARD_FAILURE_SIZE];
    bool has_joined; /* under another id than this start's */
    bool is_renewed; /* it is blank, and its UUID is of no use any more */
    char failure[NODE_SHARD_FAILURE_SIZE]; /* written before has_failed */
};

/* ---- stopping ---- */

static void
tell_shards(struct node *n, enum node_kind kind)
{
    struct env *env = runtime_env(n->runtime, 0);

    for (uint16_t i = 0; i < env->shards; i++) {
        struct frame *f = frame_new(FRAME_CONTROL, (uint16_t)kind);
        struct address to = {.node = env->node, .shard = i};

        (void)env->ops->post(env, to, &f);
    }
}

static void
stop(struct node *n, const char *why)
{
    OBJ_CHECK(n, NODE_MAGIC);
    if (n->is_stopping) {
        log_info(n->log, "node", "%s again: stopping at once", why);
        runtime_stop_mt(n->runtime);
        return;
    }
    n->is_stopping = true;
    log_info(n->log, "node", "%s: stopping", why);
    notify_supervisor("STOPPING=1");
    tell_shards(n, NODE_DRAIN);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    struct node *n = handle->data;

    if (number != SIGHUP) {
        stop(n, number == SIGTERM ? "SIGTERM" : "SIGINT");
    } else if (n->shared.tls_watch != NULL) {
        log_info(n->log, "node", "SIGHUP: reading the certificates again");
        (void)tls_watch_reload(n->shared.tls_watch);
    } else {
        log_info(n->log, "node", "SIGHUP: there are no certificates to read");
    }
}

static void
on_ctl_stop(void *arg)
{
    stop(arg, "quoratectl stop");
}

static const char *
on_ctl_waits_for(void *arg)
{
    const struct node *n = arg;

    return n->formation == NULL || formation_is_formed(n->formation)
               ? "it is starting"
               : formation_waits_for(n->formation);
}

static void
on_failure_mt(void *arg, const char *text)
{
    struct node *n = arg;
    bool expected = false;

    (void)snprintf(n->failure, sizeof(n->failure), "%s", text);
    if (atomic_compare_exchange_strong(&n->has_failed, &expected, true)) {
        log_error(n->log, "node",
                  "%s: stopping, since what was confirmed "
                  "must stay so",
                  text);
        runtime_stop_mt(n->runtime);
    }
}

static void
on_given_up_mt(void *arg)
{
    struct node *n = arg;
    bool expected = false;

    if (atomic_compare_exchange_strong(&n->is_given_up, &expected, true)) {
        log_warning(n->log, "node",
                    "the cluster gave this node up while it could not be "
                    "reached: starting again");
        runtime_stop_mt(n->runtime);
    }
}

static void
on_unwelcome_mt(void *arg, bool is_outdated, const char *text)
{
    struct node *n = arg;
    bool expected = false;

    /* Every shard may hear of it; one writes. */
    if (!atomic_compare_exchange_strong(&n->unwelcome_claimed, &expected,
                                        true)) {
        return;
    }
    (void)snprintf(n->unwelcome, sizeof(n->unwelcome), "%s", text);
    n->is_outdated = is_outdated;
    log_error(n->log, "cluster", "%s", text);
    atomic_store(&n->is_unwelcome, true);
    runtime_stop_mt(n->runtime);
}

/* ---- shards ---- */

static void
on_drained(struct node_shard *s)
{
    struct frame *f = frame_new(FRAME_CONTROL, NODE_DRAINED);
    struct address to = {.node = s->env->node, .shard = 0};

    (void)s->env->ops->post(s->env, to, &f);
}

static void
open_shard(struct node *n, struct env *env)
{
    struct node_shard *s = &n->shards[env->shard];
    struct error err = {{0}};

    if (s->magic != 0) {
        return;
    }
    s->shared = &n->shared;
    s->env = env;
    s->net = runtime_net_of(env);
    s->loop = runtime_loop_of(env);
    s->on_drained = on_drained;
    if (node_shard_open(s, &err) != 0) {
        on_failure_mt(n, err.text);
    } else if (env->shard == 0) {
        ctl_listener_serve(n->ctl, s->mgmt);
        formation_serve(n->formation, s->broker);
    }
}

static void
drain_shard(struct node *n, struct env *env)
{
    struct node_shard *s = &n->shards[env->shard];

    if (s->amqp != NULL) {
        node_shard_drain(s);
    } else {
        s->env = env;
        on_drained(s);
    }
}

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    struct env *env = arg;
    struct node *n = env->owner;

    OBJ_CHECK(n, NODE_MAGIC);
    if (from.node != env->node) {
        return;
    }
    switch ((int)(*frame)->kind) {
    case NODE_OPEN:
        open_shard(n, env);
        break;
    case NODE_DRAIN:
        drain_shard(n, env);
        break;
    case NODE_DRAINED:
        n->drained++;
        if (n->drained == env->shards) {
            runtime_stop_mt(n->runtime);
        }
        break;
    default:
        break;
    }
}

/* ---- starting ---- */

static struct node_links
links_of(struct node *n)
{
    return (struct node_links){
        .config = n->config,
        .plan = &n->plan,
        .identity = &n->identity,
        .log = n->log,
        .peers = n->runtime == NULL ? NULL : runtime_peers(n->runtime)};
}

/* The founders are the first members of the metadata's group. */
static void
share_founders(struct node *n)
{
    struct node_shared *s = &n->shared;
    const struct cluster *c = &n->identity.cluster;

    s->initial_nodes_count = c->has_founders ? c->members_count : 0;
    s->founders = c->has_founders ? &n->founders : NULL;
    n->founders = *c;
    for (size_t i = 0; i < s->initial_nodes_count; i++) {
        s->initial_nodes[i] = c->members[i].id;
    }
}

static int
on_formed(void *arg, qr_node_id id)
{
    struct node *n = arg;
    struct node_links links = links_of(n);
    struct error err = {{0}};

    n->identity.node = id;
    if (identity_save(n->config->data_dir, &n->identity, &err) != 0) {
        on_failure_mt(n, err.text);
        return -QR_EIO;
    }
    if (!n->identity.cluster.has_founders ||
        id != runtime_env(n->runtime, 0)->node) {
        n->has_joined = true; /* links and rooms have to know it by its id */
        runtime_stop_mt(n->runtime);
        return 0;
    }
    share_founders(n);
    node_links_formed(&links);
    tell_shards(n, NODE_OPEN);
    return 0;
}

static void
on_renew(void *arg)
{
    struct node *n = arg;

    n->is_renewed = true;
    runtime_stop_mt(n->runtime);
}

/* A node was met in a start that was not known. No power cut may make this one
 * forget it: who comes back as it was before that start has to be told. */
static bool
on_seen(void *arg, qr_node_id node, const struct start_seen *seen)
{
    struct node *n = arg;
    struct error err = {{0}};

    OBJ_CHECK(n, NODE_MAGIC);
    if (starts_book_see(&n->identity.met, node, seen) &&
        identity_save(n->config->data_dir, &n->identity, &err) != 0) {
        on_failure_mt(n, err.text);
        return false;
    }
    return true;
}

struct meeting {
    struct identity *identity;
    bool is_news;
};

/* What the metadata say of NODE's newest start. */
static bool
meet(void *arg, const struct meta_node *node)
{
    struct meeting *m = arg;
    struct start_seen seen = {.boot = node->boot, .process = node->process};

    if (!node->is_removed && node->id != m->identity->node &&
        starts_book_see(&m->identity->met, node->id, &seen)) {
        m->is_news = true;
    }
    return true;
}

static void
on_nodes(void *arg)
{
    struct node *n = arg;
    const struct meta_machine *meta = broker_meta(n->shards[0].broker);
    struct meeting m = {.identity = &n->identity};
    struct node_links links = links_of(n);
    struct error err = {{0}};

    OBJ_CHECK(n, NODE_MAGIC);
    m.is_news = cluster_follow(&n->identity.cluster, meta);
    meta_each_node(meta, meet, &m);
    if (m.is_news &&
        identity_save(n->config->data_dir, &n->identity, &err) != 0) {
        on_failure_mt(n, err.text);
        return;
    }
    node_links_follow(&links, meta);
}

static void
watch_signals(struct node *n, uv_loop_t *loop)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        (void)uv_signal_init(loop, &n->signals[i]);
        n->signals[i].data = n;
        (void)uv_signal_start(&n->signals[i], on_signal, numbers[i]);
    }
}

static int
start_ctl(struct node *n, struct env *env, struct error *err)
{
    struct ctl_listener_config config = {.env = env,
                                         .net = runtime_net_of(env),
                                         .path = n->ctl_path,
                                         .node_name = n->shared.node_name,
                                         .data_dir = n->config->data_dir,
                                         .stop = on_ctl_stop,
                                         .waits_for = on_ctl_waits_for,
                                         .arg = n};

    if (n->config->socket[0] != '\0') {
        (void)snprintf(n->ctl_path, sizeof(n->ctl_path), "%s",
                       n->config->socket);
    } else {
        (void)snprintf(n->ctl_path, sizeof(n->ctl_path), "%s/ctl.sock",
                       n->config->data_dir);
    }
    return ctl_listener_start(&config, &n->ctl, err);
}

static void
watch_tls(struct node *n, struct env *env)
{
    struct tls_watch_config config = {
        .env = env,
        .stores = {n->shared.tls, n->cluster_tls},
        .interval_ms = n->config->tls_watch_interval_ms,
        .warning_days = n->config->tls_expiry_warning_days};

    if (n->shared.tls != NULL || n->cluster_tls != NULL) {
        n->shared.tls_watch = tls_watch_new(&config);
    }
}

static int
start_shard_0(struct node *n, struct env *env, struct error *err)
{
    struct formation_config formation = {.env = env,
                                         .nodes = n->plan.members,
                                         .nodes_count = n->plan.count,
                                         .self = n->plan.self,
                                         .uuid = n->identity.uuid,
                                         .data_dir = n->config->data_dir,
                                         .cluster = &n->identity.cluster,
                                         .on_formed = on_formed,
                                         .on_renew = on_renew,
                                         .arg = n};
    struct node_links links = links_of(n);
    int rv = node_links_start(&links, &n->peer_socket, err);

    if (rv == 0) {
        rv = start_ctl(n, env, err);
    }
    if (rv != 0) {
        return rv;
    }
    watch_signals(n, runtime_loop_of(env));
    watch_tls(n, env);
    n->formation = formation_new(&formation);
    if (formation_is_formed(n->formation)) {
        tell_shards(n, NODE_OPEN);
    } else {
        formation_start(n->formation);
    }
    return 0;
}

static int
on_start(void *arg, struct env *env, struct error *err)
{
    struct node *n = arg;
    struct env_handler handler = {.arg = env,
                                  .kind_first = FORMATION_KIND_LIMIT,
                                  .kind_limit = NODE_KIND_LIMIT,
                                  .on_frame = on_frame};

    OBJ_CHECK(n, NODE_MAGIC);
    env->owner = n;
    env_register(env, &handler);
    return env->shard == 0 ? start_shard_0(n, env, err) : 0;
}

static void
on_stop(void *arg, struct env *env)
{
    struct node *n = arg;

    node_shard_stop(&n->shards[env->shard]);
    if (env->shard == 0) {
        formation_free(&n->formation);
        if (n->shared.tls_watch != NULL) {
            tls_watch_stop(n->shared.tls_watch);
        }
        if (n->ctl != NULL) {
            ctl_listener_stop(n->ctl);
        }
        for (size_t i = 0; i < ARRAY_COUNT(n->signals); i++) {
            if (n->signals[i].data != NULL) {
                uv_close((uv_handle_t *)&n->signals[i], NULL);
            }
        }
    }
}

static void
on_free(void *arg, struct env *env)
{
    struct node *n = arg;

    node_shard_free(&n->shards[env->shard]);
    if (env->shard == 0) {
        tls_watch_free(&n->shared.tls_watch);
        if (n->ctl != NULL) {
            ctl_listener_free(&n->ctl);
        }
    }
}

/* ---- putting it together ---- */

_Static_assert(NODE_SHARD_SOCKETS_MAX >= 2 * CONFIG_LIST_MAX,
               "room for all listeners");

/* Whether the addresses in LIST, of listeners.KIND, can be read. */
static int
check_addresses(const char *kind, const struct config_list *list,
                struct error *err)
{
    char host[ADDRESS_HOST_SIZE];
    uint16_t port;
    int rv = 0;

    for (size_t i = 0; rv == 0 && i < list->count; i++) {
        rv = address_parse(list->values[i], host, &port, err);
        rv = error_wrap(err, rv, "listeners.%s.%s", kind, list->names[i]);
    }
    return rv;
}

int
node_check(const struct config *config, struct error *err)
{
    struct tls_store *listeners = NULL;
    struct tls_store *cluster = NULL;
    struct login_options login;
    struct watch_limits limits;
    struct plan plan;
    int rv = plan_make(config, &plan, err);

    if (rv != 0) {
        return rv;
    }
    secret_wipe(&plan.secret);
    rv = check_addresses("tcp", &config->tcp_listeners, err);
    if (rv == 0) {
        rv = check_addresses("ssl", &config->ssl_listeners, err);
    }
    if (rv == 0) {
        rv = login_options_make(config, &login, err);
    }
    if (rv == 0) {
        rv = watch_limits_make(config, &limits, err);
    }
    if (rv == 0) {
        rv = tls_options_open(config, &listeners, &cluster, err);
    }
    tls_store_free(&listeners);
    tls_store_free(&cluster);
    return rv;
}

/* Bind the sockets of listeners.KIND. */
static int
bind_clients(struct node *n, const char *kind, const struct config_list *list,
             struct error *err)
{
    struct node_shared *s = &n->shared;
    char host[ADDRESS_HOST_SIZE];
    uint16_t port;
    int rv = 0;

    for (size_t i = 0; rv == 0 && i < list->count; i++) {
        rv = address_parse(list->values[i], host, &port, err);
        if (rv == 0) {
            rv = listener_bind_tcp(host, port, &s->sockets[s->sockets_count],
                                   err);
        }
        if (rv == 0) {
            s->sockets_count++;
        }
        rv = error_wrap(err, rv, "listeners.%s.%s = %s", kind, list->names[i],
                        list->values[i]);
    }
    return rv;
}

static int
bind_sockets(struct node *n, struct error *err)
{
    int rv = bind_clients(n, "tcp", &n->config->tcp_listeners, err);

    n->shared.sockets_plain = n->shared.sockets_count;
    if (rv == 0) {
        rv = bind_clients(n, "ssl", &n->config->ssl_listeners, err);
    }
    if (rv == 0 && (n->plan.has_secret || n->cluster_tls != NULL) &&
        n->plan.listen_port != 0) {
        rv = listener_bind_tcp(n->plan.listen_host, n->plan.listen_port,
                               &n->peer_socket, err);
        rv = error_wrap(err, rv, "cluster.listen = %s:%u", n->plan.listen_host,
                        n->plan.listen_port);
    }
    return rv;
}

static void
close_sockets(struct node *n)
{
    for (size_t i = 0; i < n->shared.sockets_count; i++) {
        (void)close(n->shared.sockets[i]);
    }
    if (n->peer_socket >= 0) {
        (void)close(n->peer_socket);
    }
    if (n->lock >= 0) {
        (void)close(n->lock);
    }
}

static void
share(struct node *n, const char *tags, const char *loopback)
{
    struct node_shared *s = &n->shared;

    s->config = n->config;
    s->identity = &n->identity;
    s->node_name = n->plan.members[n->plan.self].name;
    s->node_address = n->plan.members[n->plan.self].address;
    s->default_user_tags = tags;
    s->loopback_users = loopback;
    share_founders(n);
    n->gate.connections_max = (size_t)n->config->connection_max;
    n->gate.handshakes_max = (size_t)n->config->handshake_max;
    s->gate = &n->gate;
    s->limits = &n->limits;
    s->arg = n;
    s->stop = on_ctl_stop;
    s->on_failure_mt = on_failure_mt;
    s->on_given_up_mt = on_given_up_mt;
    s->on_unwelcome_mt = on_unwelcome_mt;
    s->on_nodes = on_nodes;
}

/* The descriptors that clients may take. */
static void
raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
}

/* No core, no debugger of this user's other processes, unless asked for. */
static void
forbid_dumps(const struct config *config)
{
    if (!config->core_dumps) {
        (void)prctl(PR_SET_DUMPABLE, 0);
    }
}

static int
run(struct node *n, struct error *err)
{
    struct runtime_config config = {.shards = (uint16_t)n->config->shards,
                                    .log = n->log,
                                    .events = {.arg = n,
                                               .on_start = on_start,
                                               .on_stop = on_stop,
                                               .on_free = on_free,
                                               .on_unwelcome = on_unwelcome_mt,
                                               .on_seen = on_seen}};
    struct node_links links = links_of(n); /* without peers yet */
    int rv;

    node_links_identity(&links, &config.identity);
    config.proof.secret = n->plan.has_secret ? &n->plan.secret : NULL;
    config.proof.tls = n->cluster_tls;
    config.proof.tls_name = n->config->cluster_tls_name;
    n->runtime = runtime_new(&config);
    secret_wipe(&n->plan.secret);
    rv = runtime_start(n->runtime, err);
    if (rv == 0) {
        runtime_run(n->runtime);
    }
    runtime_free(&n->runtime);
    if (rv == 0 && atomic_load(&n->has_failed)) {
        rv = error_set(err, QR_EIO, "%s", n->failure);
    }
    return rv;
}

/* Start again as another node. */
static int
renew(struct node *n, struct error *err)
{
    char uuids[2][UUID_TEXT_SIZE];
    int rv;

    uuid_format(&n->identity.uuid, uuids[0]);
    rv = identity_renew(n->config->data_dir, &n->identity, err);
    if (rv != 0) {
        return rv;
    }
    uuid_format(&n->identity.uuid, uuids[1]);
    log_warning(n->log, "cluster",
                "node %s was removed before it heard that it had joined: its "
                "blank data directory %s takes UUID %s in the place of %s",
                n->shared.node_name, n->config->data_dir, uuids[1], uuids[0]);
    return NODE_AGAIN;
}

/* What the end of a run means: stop, or start again, perhaps blank. */
static int
after_run(struct node *n, struct error *err)
{
    char path[SOCKET_PATH_SIZE];
    int rv;

    if (atomic_load(&n->is_unwelcome) && n->is_outdated) {
        rv = identity_set_aside(n->config->data_dir, path, sizeof(path), err);
        if (rv != 0) {
            return rv;
        }
        log_warning(n->log, "cluster",
                    "its data are set aside in %s; node %s starts again "
                    "blank, to join as a new node",
                    path, n->shared.node_name);
        return NODE_AGAIN;
    }
    if (atomic_load(&n->is_unwelcome)) {
        return error_set(err, QR_ESTALE, "%s (data directory: %s)",
                         n->unwelcome, n->config->data_dir);
    }
    if (n->is_renewed) {
        return renew(n, err);
    }
    return atomic_load(&n->is_given_up) || n->has_joined ? NODE_AGAIN : 0;
}

int
node_run(const struct config *config, const struct logger *log,
         struct error *err)
{
    struct node *n = mem_zalloc(1, sizeof(*n));
    char *tags = config_flags(&config->default_user_tags);
    char *loopback = config_flags(&config->loopback_users);
    int rv;

    n->magic = NODE_MAGIC;
    n->config = config;
    n->log = log;
    n->lock = -1;
    n->peer_socket = -1;
    raise_limits();
    forbid_dumps(config);
    rv = plan_make(config, &n->plan, err);
    if (rv == 0) {
        rv = watch_limits_make(config, &n->limits, err);
    }
    if (rv == 0) {
        rv = identity_open(config->data_dir, &n->identity, &n->lock, err);
        n->lock = rv == 0 ? n->lock : -1;
    }
    if (rv == 0) {
        rv = identity_shards(config->data_dir, &n->identity,
                             (uint16_t)config->shards, err);
    }
    if (rv == 0) {
        rv = login_options_make(config, &n->shared.login, err);
    }
    if (rv == 0) {
        rv = tls_options_open(config, &n->shared.tls, &n->cluster_tls, err);
    }
    if (rv == 0) {
        rv = bind_sockets(n, err);
    }
    if (rv == 0) {
        share(n, tags, loopback);
        rv = run(n, err);
    }
    if (rv == 0) {
        rv = after_run(n, err);
    }
    close_sockets(n);
    tls_store_free(&n->shared.tls);
    tls_store_free(&n->cluster_tls);
    mem_free(tags);
    mem_free(loopback);
    n->magic = 0;
    mem_free(n);
    return rv;
}
