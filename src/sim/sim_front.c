/* See sim_front.h. A connection that has something to say at the end of the
 * turn is in `dirty`; the turn hook serves those, gives what they wrote to the
 * kernels, and closes those that have ended. */
#include "sim/sim_front.h"

#include <stdio.h>
#include <string.h>

#include "amqp/channel.h"
#include "amqp/connection.h"
#include "amqp/connection_priv.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/timer.h"
#include "broker/queue_client.h"
#include "shard/env.h"
#include "sim/sim_wire.h"
#include "store/store.h"

enum {
    FRONT_MAGIC = 0x73696672,
    CONN_MAGIC = 0x7369636e,
    AMQP_PORT = 5672,
    PORT_FIRST = 40000,
    PORT_COUNT = 20000,
    REASON_SIZE = 128
};

struct sim_front {
    unsigned magic;
    struct meta_route route;
    struct sim_front_config config;
    struct amqp_config amqp;
    struct list conns;
    struct list dirty;
    size_t conns_count;
    struct timer watch;
    bool is_memory_short;
    bool is_disk_short;
    bool is_stopped;
    uint64_t accepted;
    char blocked[REASON_SIZE]; /* why publishers are held up, or "" */
};

struct conn {
    unsigned magic;
    struct sim_front *front;
    struct sim_wire *wire;
    struct amqp_connection *amqp; /* NULL: not accepted yet */
    struct timer timer;
    struct list link;
    struct list dirty;
    bool is_reading;
    bool is_ending; /* to be closed when the turn ends */
    bool is_flushing;
};

static struct conn *
conn_of(void *arg)
{
    struct conn *conn = arg;

    OBJ_CHECK(conn, CONN_MAGIC);
    return conn;
}

static void
conn_dirty(struct conn *conn)
{
    struct env *env = conn->front->config.env;

    if (!list_is_linked(&conn->dirty)) {
        list_push_back(&conn->front->dirty, &conn->dirty);
        env->ops->wake(env);
    }
}

/* ---- the transport ---- */

static void
conn_write(void *arg, const void *data, size_t size)
{
    struct conn *conn = conn_of(arg);

    sim_wire_write(conn->wire, SIM_WIRE_SERVER, data, size);
    conn_dirty(conn);
}

static void
conn_write_slice(void *arg, struct slice *slice)
{
    conn_write(arg, slice->data, slice->size);
    slice_unref(slice);
}

static void
conn_read(void *arg, bool on)
{
    struct conn *conn = conn_of(arg);

    conn->is_reading = on;
    if (on) {
        sim_wire_poke(conn->wire, SIM_WIRE_SERVER);
    }
}

static void
conn_close(void *arg, bool flush)
{
    struct conn *conn = conn_of(arg);

    conn->is_ending = true;
    conn->is_flushing = flush;
    conn_dirty(conn);
}

static void
conn_want_turn(void *arg)
{
    conn_dirty(conn_of(arg));
}

static void
conn_deadline(void *arg, uint64_t at_ms)
{
    struct conn *conn = conn_of(arg);
    struct timers *timers = &conn->front->config.env->timers;

    if (at_ms == UINT64_MAX) {
        timers_stop(timers, &conn->timer);
    } else {
        timers_start(timers, &conn->timer, at_ms);
    }
}

static uint64_t
conn_now_ms(void *arg)
{
    struct env *env = conn_of(arg)->front->config.env;

    return env->ops->now_ms(env);
}

static void
conn_tick(void *arg)
{
    struct conn *conn = conn_of(arg);

    amqp_connection_tick(conn->amqp, conn_now_ms(conn));
}

/* ---- connections ---- */

/* Leave the broker and go; the wire's end is the caller's to close. */
static void
conn_free(struct conn *conn)
{
    struct sim_front *f = conn->front;

    if (conn->amqp != NULL) {
        amqp_connection_free(&conn->amqp);
    }
    timers_stop(&f->config.env->timers, &conn->timer);
    list_remove(&conn->link);
    list_remove(&conn->dirty);
    f->conns_count--;
    conn->magic = 0;
    mem_free(conn);
}

static void
conn_end(struct conn *conn, enum sim_wire_end how)
{
    struct sim_wire *w = conn->wire;

    conn_free(conn);
    sim_wire_close(w, SIM_WIRE_SERVER, how);
}

static void
conn_accept(struct conn *conn)
{
    struct sim_front *f = conn->front;
    struct env *env = f->config.env;
    char name[64];
    struct amqp_transport transport = {
        .arg = conn,
        .write = conn_write,
        .write_slice = conn_write_slice,
        .read = conn_read,
        .close = conn_close,
        .want_turn = conn_want_turn,
        .deadline = conn_deadline,
        .now_ms = conn_now_ms,
    };
    struct amqp_peer peer = {
        .name = name,
        .host = "10.0.1.1",
        .port = (uint16_t)(PORT_FIRST + f->accepted++ % PORT_COUNT),
        .own_port = AMQP_PORT,
        .is_loopback = true, /* guest may come from nowhere else */
        .wall_ms = env->ops->wall_ms(env),
    };

    (void)snprintf(name, sizeof(name), "10.0.1.1:%u -> 10.0.0.%u:%u", peer.port,
                   env->node, peer.own_port);
    conn->amqp =
        amqp_connection_new(&f->amqp, f->config.broker, &peer, &transport);
    conn->is_reading = true;
    if (f->blocked[0] != '\0') {
        amqp_connection_block(conn->amqp, f->blocked);
    }
}

static void
conn_on_data(void *arg)
{
    struct conn *conn = conn_of(arg);
    const uint8_t *data;
    struct slice bytes;
    size_t size = 0;

    if (conn->amqp == NULL) {
        conn_accept(conn);
    }
    data = sim_wire_peek(conn->wire, SIM_WIRE_SERVER, &size);
    if (!conn->is_reading || conn->is_ending || size == 0 ||
        size < amqp_connection_need(conn->amqp)) {
        return;
    }
    bytes = slice_copy(data, size);
    size = amqp_connection_input(conn->amqp, &bytes);
    slice_unref(&bytes);
    sim_wire_consume(conn->wire, SIM_WIRE_SERVER, size);
    sim_wire_need(conn->wire, SIM_WIRE_SERVER,
                  amqp_connection_need(conn->amqp));
}

static void
conn_on_drained(void *arg)
{
    struct conn *conn = conn_of(arg);

    if (conn->amqp != NULL && !conn->is_ending) {
        amqp_connection_writable(conn->amqp, 0);
    }
}

static void
conn_on_closed(void *arg)
{
    conn_end(conn_of(arg), SIM_WIRE_RESET);
}

static void
conn_turn(struct conn *conn)
{
    amqp_connection_turn(conn->amqp);
    if (conn->is_ending) {
        conn_end(conn, conn->is_flushing ? SIM_WIRE_FLUSH : SIM_WIRE_RESET);
    } else if (sim_wire_flush(conn->wire, SIM_WIRE_SERVER)) {
        amqp_connection_writable(conn->amqp, 0);
    }
}

static void
front_on_turn(void *arg)
{
    struct sim_front *f = arg;
    struct list *entry = NULL;

    OBJ_CHECK(f, FRONT_MAGIC);
    while ((entry = list_pop_front(&f->dirty)) != NULL) {
        conn_turn(list_entry(entry, struct conn, dirty));
    }
}

/* ---- alarms ---- */

static void
front_on_alarm(void *arg, const char *reason)
{
    struct sim_front *f = arg;
    struct list *it = NULL;

    OBJ_CHECK(f, FRONT_MAGIC);
    (void)snprintf(f->blocked, sizeof(f->blocked), "%s",
                   reason != NULL ? reason : "");
    list_foreach (it, &f->conns) {
        struct conn *conn = list_entry(it, struct conn, link);

        if (conn->amqp != NULL) {
            amqp_connection_block(conn->amqp, reason);
        }
    }
}

static void
front_watch(void *arg)
{
    struct sim_front *f = arg;
    struct env *env = f->config.env;
    uint32_t chance = f->is_memory_short ? SIM_FRONT_STILL_PER_MILLION
                                         : SIM_FRONT_SHORT_PER_MILLION;
    bool is_disk = store_space(f->config.store) != STORE_SPACE_OK;
    bool is_memory = f->config.rng != NULL && rng_chance(f->config.rng, chance);

    OBJ_CHECK(f, FRONT_MAGIC);
    /* Only what changed: tests set alarms of their own. */
    if (is_memory != f->is_memory_short) {
        broker_alarm_set(f->config.broker, BROKER_ALARM_MEMORY, is_memory);
    }
    if (is_disk != f->is_disk_short) {
        broker_alarm_set(f->config.broker, BROKER_ALARM_DISK, is_disk);
    }
    f->is_memory_short = is_memory;
    f->is_disk_short = is_disk;
    timers_start(&env->timers, &f->watch,
                 env->ops->now_ms(env) + SIM_FRONT_WATCH_MS);
}

/* ---- the front end ---- */

struct sim_front *
sim_front_new(const struct sim_front_config *config)
{
    struct sim_front *f = mem_zalloc(1, sizeof(*f));
    struct env_handler handler = {.arg = f, .on_turn = front_on_turn};

    f->magic = FRONT_MAGIC;
    f->config = *config;
    f->amqp.log = config->log;
    f->amqp.heartbeat_s = config->heartbeat_s;
    list_init(&f->conns);
    list_init(&f->dirty);
    meta_route_init(&f->route);
    env_register(config->env, &handler);
    timer_init(&f->watch, front_watch, f);
    front_watch(f);
    broker_on_alarm(config->broker, front_on_alarm, f);
    return f;
}

void
sim_front_free(struct sim_front **front, bool is_silent)
{
    struct sim_front *f = *front;

    OBJ_CHECK(f, FRONT_MAGIC);
    broker_on_alarm(f->config.broker, NULL, NULL);
    timers_stop(&f->config.env->timers, &f->watch);
    while (!list_is_empty(&f->conns)) {
        struct conn *conn = list_entry(f->conns.next, struct conn, link);
        struct sim_wire *w = conn->wire;

        conn_free(conn);
        sim_wire_node_died(w, is_silent);
    }
    meta_route_deinit(&f->route);
    f->magic = 0;
    mem_free(f);
    *front = NULL;
}

bool
sim_front_is_ready(const struct sim_front *f)
{
    OBJ_CHECK(f, FRONT_MAGIC);
    return broker_is_ready(f->config.broker) && !f->is_stopped &&
           f->conns_count < SIM_FRONT_CONNECTIONS_MAX;
}

void
sim_front_connect(struct sim_front *f, struct sim_wire *w)
{
    struct conn *conn = mem_zalloc(1, sizeof(*conn));
    struct sim_wire_events events = {.arg = conn,
                                     .on_data = conn_on_data,
                                     .on_drained = conn_on_drained,
                                     .on_closed = conn_on_closed};

    OBJ_CHECK(f, FRONT_MAGIC);
    conn->magic = CONN_MAGIC;
    conn->front = f;
    conn->wire = w;
    timer_init(&conn->timer, conn_tick, conn);
    list_init(&conn->dirty);
    list_push_back(&f->conns, &conn->link);
    f->conns_count++;
    sim_wire_attach(w, SIM_WIRE_SERVER, &events);
    sim_wire_poke(w, SIM_WIRE_SERVER);
}

void
sim_front_stop(struct sim_front *f)
{
    struct list *it = NULL;
    struct list *next = NULL;

    OBJ_CHECK(f, FRONT_MAGIC);
    f->is_stopped = true;
    list_foreach_safe (it, next, &f->conns) {
        struct conn *conn = list_entry(it, struct conn, link);

        if (conn->amqp != NULL) {
            amqp_connection_shutdown(conn->amqp);
        } else {
            conn_end(conn, SIM_WIRE_RESET);
        }
    }
}

size_t
sim_front_connections(const struct sim_front *f)
{
    OBJ_CHECK(f, FRONT_MAGIC);
    return f->conns_count;
}

/* ---- what the node knows ---- */

/* The connection at the server's end of W while it has not failed. */
static struct amqp_connection *
front_amqp(const struct sim_wire *w)
{
    struct conn *conn = NULL;

    if (w == NULL || sim_wire_is_closed(w, SIM_WIRE_SERVER)) {
        return NULL;
    }
    conn = conn_of(sim_wire_arg(w, SIM_WIRE_SERVER));
    return conn->amqp == NULL || conn->amqp->state >= AMQP_CLOSING ? NULL
                                                                   : conn->amqp;
}

uint64_t
sim_front_connection_id(const struct sim_wire *w)
{
    const struct amqp_connection *c = front_amqp(w);

    return c == NULL || !c->is_registered ? 0 : c->bc.id;
}

/* The attached member of LIST named TAG, or NULL. */
static const struct amqp_consumer *
front_find(const struct list *list, const char *tag)
{
    struct list *it = NULL;

    list_foreach (it, list) {
        const struct amqp_consumer *consumer =
            list_entry(it, struct amqp_consumer, link);

        if (consumer->name_size == strlen(tag) &&
            memcmp(consumer->name, tag, consumer->name_size) == 0 &&
            broker_consumer_is_attached(&consumer->bc)) {
            return consumer;
        }
    }
    return NULL;
}

static const struct amqp_consumer *
front_consumer(const struct sim_wire *w, uint16_t channel, const char *tag,
               bool is_get)
{
    const struct amqp_connection *c = front_amqp(w);
    const struct amqp_channel *ch =
        c == NULL ? NULL : map_get(&c->channels, channel);
    const struct amqp_consumer *consumer = NULL;

    if (ch == NULL || ch->is_closing) {
        return NULL;
    }
    consumer = front_find(is_get ? &ch->holders : &ch->consumers, tag);
    return consumer != NULL ? consumer : front_find(&ch->leaving, tag);
}

bool
sim_front_holds(const struct sim_wire *w, uint16_t channel, const char *tag,
                bool is_get)
{
    return front_consumer(w, channel, tag, is_get) != NULL;
}

qr_group_id
sim_front_group(const struct sim_wire *w, uint16_t channel, const char *tag)
{
    const struct amqp_consumer *consumer =
        front_consumer(w, channel, tag, false);
    const struct consumer_impl *impl =
        consumer == NULL ? NULL : consumer->bc.impl;

    return impl == NULL || impl->queue == NULL
               ? 0
               : queue_client_group(impl->queue);
}

/* The number in a queue's name, or 16. */
static unsigned
front_queue_number(const struct meta_queue *queue)
{
    unsigned number = 0;

    if (queue->name.size < 2 || queue->name.size > 3 ||
        queue->name.data[0] != 'q') {
        return 16;
    }
    for (size_t i = 1; i < queue->name.size; i++) {
        number = number * 10 + (unsigned)(queue->name.data[i] - '0');
    }
    return MIN(number, 16U);
}

uint16_t
sim_front_reach(const struct sim_wire *w, const char *exchange, const char *key)
{
    struct conn *conn = NULL;
    struct meta_machine *meta = NULL;
    const struct meta_vhost *vhost = NULL;
    const struct meta_exchange *x = NULL;
    uint32_t mask = 0;

    if (w == NULL || sim_wire_is_closed(w, SIM_WIRE_SERVER)) {
        return 0;
    }
    conn = conn_of(sim_wire_arg(w, SIM_WIRE_SERVER));
    meta = broker_meta(conn->front->config.broker);
    vhost = meta_vhost(meta, "/", 1);
    x = vhost == NULL ? NULL
                      : meta_exchange(meta, vhost, exchange, strlen(exchange));
    if (x == NULL) {
        return 0;
    }
    if (meta_route(meta, x, key, strlen(key), &conn->front->route) != 0) {
        return 0;
    }
    for (size_t i = 0; i < conn->front->route.count; i++) {
        mask |= 1U << front_queue_number(conn->front->route.queues[i]);
    }
    return (uint16_t)mask;
}
