/* See cluster.h. */
#include "unit/mgmt/cluster.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "lib/harness.h"
#include "mgmt/protocol.h"
#include "shard/env.h"

enum {
    SEED = 7,
    DISK_DELAY_US = 200,
    STEP_MS = 1,
    READY_MS = 30000,
    DONE_MS = 90000
};

static void
drop_line(void *arg, enum log_level level, const char *category,
          const char *text)
{
    (void)arg;
    (void)level;
    (void)category;
    (void)text;
}

static void
count_stop(void *arg)
{
    struct cluster *c = arg;

    c->stops++;
}

static void
say_row(void *arg, mgmt_row_cb row, void *row_arg)
{
    (void)arg;
    row(row_arg, "a_key", "a \"value\"");
}

void
cluster_pass(struct cluster *c, uint64_t ms)
{
    sim_run(c->sim, sim_now_us(c->sim) + ms * 1000);
}

void
cluster_start(struct cluster *c, size_t i)
{
    static const char *const names[] = {"n1", "n2", "n3"};

    sim_node_start(c->nodes[i]);
    for (uint16_t s = 0; s < c->shards; s++) {
        struct mgmt_config config = {.env = sim_env(c->sim, c->ids[i], s),
                                     .broker = sim_node_broker(c->nodes[i], s),
                                     .node_name = names[i],
                                     .arg = c,
                                     .stop = count_stop,
                                     .status = say_row,
                                     .environment = say_row};

        c->mgmts[i][s] = mgmt_new(&config);
    }
}

void
cluster_kill(struct cluster *c, size_t i)
{
    for (uint16_t s = 0; s < c->shards; s++) {
        mgmt_free(&c->mgmts[i][s]);
    }
    sim_node_crash(c->nodes[i], false);
}

static bool
is_ready(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        for (uint16_t s = 0; s < c->shards; s++) {
            struct broker *b = sim_node_broker(c->nodes[i], s);

            if (!broker_is_ready(b) ||
                meta_user(broker_meta(b), "guest", 5) == NULL) {
                return false;
            }
        }
    }
    return true;
}

void
cluster_init(struct cluster *c, size_t count, uint16_t shards)
{
    memset(c, 0, sizeof(*c));
    ASSERT(count <= CLUSTER_NODES_MAX);
    ASSERT(shards <= CLUSTER_SHARDS_MAX);
    c->sim = sim_new(SEED);
    c->log.sink = drop_line;
    c->log.level = LOG_NONE;
    c->count = count;
    c->shards = shards;
    for (size_t i = 0; i < count; i++) {
        c->ids[i] = (qr_node_id)(i + 1);
    }
    for (size_t i = 0; i < count; i++) {
        struct sim_node_config config = {.sim = c->sim,
                                         .log = &c->log,
                                         .id = c->ids[i],
                                         .shards = shards,
                                         .nodes = c->ids,
                                         .nodes_count = count,
                                         .disk_delay_us = DISK_DELAY_US};

        c->nodes[i] = sim_node_new(&config);
        cluster_start(c, i);
    }
    for (unsigned ms = 0; ms < READY_MS && !is_ready(c); ms += STEP_MS) {
        cluster_pass(c, STEP_MS);
    }
    cr_assert(is_ready(c), "the nodes do not become ready");
}

void
cluster_deinit(struct cluster *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (sim_node_is_up(c->nodes[i])) {
            cluster_kill(c, i);
        }
        sim_node_free(&c->nodes[i]);
    }
    sim_free(&c->sim);
}

static void
on_done(struct mgmt_call *call, uint8_t code, struct buf *json)
{
    struct response *r = call->arg;

    cr_assert(!r->is_done, "a response came twice");
    r->is_done = true;
    r->code = code;
    buf_put(&r->json, json->data, json->size);
    buf_put_u8(&r->json, 0);
}

void
cluster_send(struct cluster *c, size_t i, const char *line,
             struct response *out)
{
    struct buf request;

    memset(out, 0, sizeof(*out));
    out->call.done = on_done;
    out->call.arg = out;
    buf_init(&out->json);
    buf_init(&request);
    buf_put_text(&request, line);
    buf_put_u8(&request, 0);
    for (size_t k = 0; k < request.size; k++) {
        if (request.data[k] == ' ') {
            request.data[k] = 0;
        }
    }
    mgmt_request(c->mgmts[i][0], request.data, request.size, &out->call);
    cr_assert(!out->is_done, "a response came within the request");
    buf_deinit(&request);
}

void
cluster_run(struct cluster *c, size_t i, const char *line, struct response *out)
{
    cluster_send(c, i, line, out);
    for (unsigned ms = 0; ms < DONE_MS && !out->is_done; ms += STEP_MS) {
        cluster_pass(c, STEP_MS);
    }
    cr_assert(out->is_done, "no response to '%s'", line);
}

void
response_deinit(struct response *r)
{
    buf_deinit(&r->json);
}

bool
cluster_says(struct cluster *c, size_t i, const char *line, uint8_t code,
             const char *text)
{
    struct response r;
    bool is_said;

    cluster_run(c, i, line, &r);
    is_said = r.code == code && strstr((const char *)r.json.data, text) != NULL;
    if (!is_said) {
        (void)fprintf(stderr, "%s: %u %s\n", line, r.code,
                      (const char *)r.json.data);
    }
    response_deinit(&r);
    return is_said;
}

/* ---- clients ---- */

void
cluster_connect(struct cluster *c, size_t i, uint16_t shard,
                struct broker_connection *out)
{
    struct broker_fault fault;

    memset(out, 0, sizeof(*out));
    (void)snprintf(out->name, sizeof(out->name), "127.0.0.1:%u -> server",
                   4000 + shard);
    (void)snprintf(out->peer_host, sizeof(out->peer_host), "127.0.0.1");
    out->peer_port = (uint16_t)(4000 + shard);
    (void)snprintf(out->user, sizeof(out->user), "guest");
    (void)snprintf(out->vhost, sizeof(out->vhost), "/");
    out->protocol = "AMQP 0-9-1";
    out->state = "running";
    list_init(&out->link);
    list_init(&out->channels);
    broker_connection_open(sim_node_broker(c->nodes[i], shard), out, &fault);
    cr_assert(fault.kind == BROKER_OK, "%s", fault.text);
}

struct wait {
    struct broker_call call;
    bool is_done;
    enum broker_fault_kind kind;
};

static void
wait_done(struct broker_call *call, const struct broker_reply *reply)
{
    struct wait *w = CONTAINER_OF(call, struct wait, call);

    w->is_done = true;
    w->kind = reply->fault.kind;
}

void
cluster_declare(struct cluster *c, size_t i, uint16_t shard, const char *name)
{
    struct broker *b = sim_node_broker(c->nodes[i], shard);
    struct broker_connection connection;
    struct broker_queue_spec spec = {.name = meta_text(name, strlen(name)),
                                     .arguments = meta_text("", 0),
                                     .is_durable = true};
    struct wait w = {.call = {.done = wait_done}};

    cluster_connect(c, i, shard, &connection);
    broker_queue_declare(b, &connection, &spec, &w.call);
    for (unsigned ms = 0; ms < DONE_MS && !w.is_done; ms += STEP_MS) {
        cluster_pass(c, STEP_MS);
    }
    cr_assert(w.is_done && w.kind == BROKER_OK, "queue %s", name);
    broker_connection_closed(b, &connection);
}

struct publishing {
    struct broker_publisher publisher;
    uint64_t confirmed;
};

static void
on_confirm(struct broker_publisher *p, uint64_t tag, bool multiple, bool is_ok)
{
    struct publishing *publishing = p->arg;

    (void)multiple;
    cr_assert(is_ok);
    publishing->confirmed = MAX(publishing->confirmed, tag);
}

static void
on_congestion(struct broker_publisher *p, bool is_congested)
{
    (void)p;
    (void)is_congested;
}

void
cluster_publish(struct cluster *c, size_t i, uint16_t shard, const char *name,
                unsigned count)
{
    struct broker *b = sim_node_broker(c->nodes[i], shard);
    struct broker_connection connection;
    struct publishing p = {.publisher = {.connection = &connection,
                                         .on_confirm = on_confirm,
                                         .on_congestion = on_congestion}};
    struct slice body = slice_borrow("0123456789", 10);
    struct broker_message message = {.exchange = meta_text("", 0),
                                     .key = meta_text(name, strlen(name)),
                                     .properties = slice_empty(),
                                     .body = &body,
                                     .body_count = 1,
                                     .body_size = body.size};

    cluster_connect(c, i, shard, &connection);
    p.publisher.arg = &p;
    broker_publisher_open(b, &p.publisher);
    for (unsigned k = 1; k <= count; k++) {
        struct broker_fault fault = {.kind = BROKER_OK};
        size_t routed = 0;

        broker_publish(&p.publisher, &message, k, &routed, &fault);
        cr_assert(routed == 1);
    }
    for (unsigned ms = 0; ms < DONE_MS && p.confirmed < count; ms += STEP_MS) {
        cluster_pass(c, STEP_MS);
    }
    cr_assert(p.confirmed == count);
    broker_publisher_close(&p.publisher);
    broker_connection_closed(b, &connection);
}
