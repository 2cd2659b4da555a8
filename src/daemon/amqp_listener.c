/* Sockets to the AMQP front end, and back.
 *
 * A connection that has something to say at the end of the turn is in `dirty`;
 * the turn hook serves those. What the socket has taken is told when the
 * stream's backlog has gone, after the shard's flush: that settles what
 * consumers without acknowledgements were sent, and so paces them.
 *
 * A client of a socket with TLS has no connection, and so nothing of AMQP's,
 * until its handshake is done. */
#include "daemon/amqp_listener.h"

#include <openssl/ssl.h>
#include <quorate/error.h>
#include <stdio.h>
#include <unistd.h>

#include "auth/loopback.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/timer.h"
#include "daemon/tls_facts.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/tls_store.h"
#include "shard/env.h"

enum {
    LISTENER_MAGIC = 0x2a3c0001,
    CLIENT_MAGIC = 0x2a3c0002,
    REASON_SIZE = 128,
    WHY_SIZE = 320
};

/* What clients come through. */
struct door {
    struct amqp_listener *listener;
    struct listener *socket;
    struct amqp_listener_tls tls;
    bool has_tls;
};

struct amqp_listener {
    unsigned magic;
    struct env *env;
    struct net *net;
    struct broker *broker;
    struct amqp_gate *gate;
    struct amqp_config config;
    struct door doors[AMQP_LISTENER_SOCKETS_MAX];
    size_t doors_count;
    struct list clients;
    size_t clients_count;
    struct list handshakes; /* client.handshake, the oldest first */
    struct list dirty;
    uint64_t said_ms; /* when a refusal was last told of */
    size_t unsaid;    /* refusals since */
    bool is_stopped;
    char blocked[REASON_SIZE]; /* why publishers are held up, or "" */
};

struct client {
    unsigned magic;
    struct amqp_listener *listener;
    struct stream *stream;
    struct amqp_connection *connection; /* NULL: during the TLS handshake */
    const struct door *door;
    struct tls_facts *facts; /* NULL: no TLS */
    struct timer timer;
    uint64_t since_ms;
    struct list handshake; /* listener->handshakes, until its vhost is open */
    struct list link;      /* listener->clients */
    struct list dirty;     /* listener->dirty, or self-linked */
};

static struct client *
client_of(void *arg)
{
    struct client *client = arg;

    OBJ_CHECK(client, CLIENT_MAGIC);
    return client;
}

static void
client_write(void *arg, const void *data, size_t size)
{
    stream_write(client_of(arg)->stream, data, size);
}

static void
client_write_slice(void *arg, struct slice *slice)
{
    stream_write_slice(client_of(arg)->stream, slice);
}

static void
client_read(void *arg, bool on)
{
    struct client *client = client_of(arg);

    if (on) {
        stream_read_start(client->stream);
    } else {
        stream_read_stop(client->stream);
    }
}

static void
client_close(void *arg, bool flush)
{
    struct client *client = client_of(arg);

    if (flush) {
        stream_shut(client->stream, AMQP_LISTENER_FLUSH_MS);
    } else {
        stream_close(client->stream);
    }
}

static void
client_want_turn(void *arg)
{
    struct client *client = client_of(arg);
    struct amqp_listener *l = client->listener;

    if (!list_is_linked(&client->dirty)) {
        list_push_back(&l->dirty, &client->dirty);
    }
    l->env->ops->wake(l->env);
}

static void
client_deadline(void *arg, uint64_t at_ms)
{
    struct client *client = client_of(arg);
    struct timers *timers = &client->listener->env->timers;

    if (at_ms == UINT64_MAX) {
        timers_stop(timers, &client->timer);
    } else {
        timers_start(timers, &client->timer, at_ms);
    }
}

static uint64_t
client_now_ms(void *arg)
{
    struct env *env = client_of(arg)->listener->env;

    return env->ops->now_ms(env);
}

/* WHY STREAM is closed; many may come at once, so not each has its line. */
static void
listener_say(struct amqp_listener *l, const struct stream *stream,
             const char *why)
{
    uint64_t now_ms = l->env->ops->now_ms(l->env);

    if (l->said_ms != 0 && now_ms - l->said_ms < AMQP_LISTENER_SAY_MS) {
        l->unsaid++;
        return;
    }
    log_warning(l->config.log, "connection",
                "closing AMQP connection %s: %s (%zu more like it)",
                stream_name(stream), why, l->unsaid);
    l->said_ms = now_ms;
    l->unsaid = 0;
}

/* A TLS handshake failed for TEXT. */
static void
client_complain(struct client *client, const char *text)
{
    char why[WHY_SIZE];

    (void)snprintf(why, sizeof(why), "TLS handshake failed: %s", text);
    listener_say(client->listener, client->stream, why);
}

static void
client_tick(void *arg)
{
    struct client *client = client_of(arg);

    if (client->connection == NULL) {
        client_complain(client, "not done in time");
        stream_close(client->stream);
        return;
    }
    amqp_connection_tick(client->connection, client_now_ms(client));
}

/* Its handshake is over, or it is. */
static void
client_leave_handshake(struct client *client)
{
    if (list_is_linked(&client->handshake)) {
        list_remove(&client->handshake);
        atomic_fetch_sub(&client->listener->gate->handshakes, 1);
    }
}

static size_t
client_on_data(void *arg, const struct slice *bytes)
{
    struct client *client = client_of(arg);
    /* Authentication pauses the input: what follows is not consumed yet. */
    bool is_private = amqp_connection_is_private(client->connection);
    size_t used = amqp_connection_input(client->connection, bytes);

    if (is_private) {
        slice_wipe(bytes, used);
    }
    if (amqp_connection_is_open(client->connection)) {
        client_leave_handshake(client);
    }
    if (!stream_is_closing(client->stream)) {
        stream_need(client->stream, amqp_connection_need(client->connection));
    }
    return used;
}

static void
client_on_drain(void *arg)
{
    struct client *client = client_of(arg);

    if (client->connection != NULL) {
        amqp_connection_writable(client->connection,
                                 stream_backlog(client->stream));
    }
}

static void
client_on_close(void *arg, int reason, const char *text)
{
    struct client *client = client_of(arg);
    struct amqp_listener *l = client->listener;

    if (client->connection == NULL && reason == -QR_EACCESS) {
        client_complain(client, text);
    } else if (reason != 0) {
        log_debug(l->config.log, "connection", "%s: %s",
                  stream_name(client->stream), text);
    }
    if (client->connection != NULL) {
        amqp_connection_free(&client->connection);
    }
    tls_facts_free(&client->facts);
    timers_stop(&l->env->timers, &client->timer);
    client_leave_handshake(client);
    list_remove(&client->link);
    list_remove(&client->dirty);
    l->clients_count--;
    atomic_fetch_sub(&l->gate->connections, 1);
    client->magic = 0;
    mem_free(client);
}

static void
client_connect(struct client *client)
{
    struct amqp_listener *l = client->listener;
    struct stream *stream = client->stream;
    struct amqp_transport transport = {
        .arg = client,
        .write = client_write,
        .write_slice = client_write_slice,
        .read = client_read,
        .close = client_close,
        .want_turn = client_want_turn,
        .deadline = client_deadline,
        .now_ms = client_now_ms,
    };
    struct amqp_peer peer = {
        .name = stream_name(stream),
        .host = stream_peer_host(stream),
        .port = stream_peer_port(stream),
        .own_port = stream_own_port(stream),
        /* As RabbitMQ decides it: by the address that was connected to. */
        .is_loopback = loopback_is_address(stream_own_host(stream)),
        .wall_ms = l->env->ops->wall_ms(l->env),
    };

    if (client->facts != NULL) {
        peer.tls = tls_facts_listed(client->facts);
        peer.certified_user = tls_facts_user(client->facts);
    }

    client->connection =
        amqp_connection_new(&l->config, l->broker, &peer, &transport);
    if (l->blocked[0] != '\0') {
        amqp_connection_block(client->connection, l->blocked);
    }
}

/* The TLS handshake is done: the client's AMQP begins, with its own time. */
static void
client_on_secure(void *arg)
{
    struct client *client = client_of(arg);
    struct tls *tls = stream_tls(client->stream);

    timers_stop(&client->listener->env->timers, &client->timer);
    client->facts = tls_facts_new(tls_ssl(tls), &client->door->tls.login);
    client_connect(client);
}

/* STREAM speaks TLS as its door says. */
static void
client_secure(struct client *client)
{
    const struct amqp_listener_tls *tls = &client->door->tls;
    SSL_CTX *ctx = tls_store_context_mt(tls->store);

    stream_secure(client->stream, ctx, true);
    SSL_CTX_free(ctx);
    client_deadline(client, client_now_ms(client) + tls->handshake_ms);
}

/* Close the slowest of the handshakes; false when none is slow. */
static bool
listener_make_room(struct amqp_listener *l)
{
    uint64_t now_ms = l->env->ops->now_ms(l->env);
    struct list *it = NULL;

    list_foreach (it, &l->handshakes) {
        struct client *client = list_entry(it, struct client, handshake);

        if (now_ms - client->since_ms < AMQP_LISTENER_GRACE_MS) {
            return false; /* the others are younger still */
        }
        if (client->connection == NULL ||
            !amqp_connection_is_authenticating(client->connection)) {
            listener_say(l, client->stream,
                         "handshake_max connections are in their handshake, "
                         "and it is the oldest");
            client_leave_handshake(client);
            stream_close(client->stream);
            return true;
        }
    }
    return false;
}

/* Why nobody is let in now; NULL: somebody is, and counted. */
static const char *
listener_refuses(struct amqp_listener *l)
{
    struct amqp_gate *gate = l->gate;

    if (l->is_stopped) {
        return "shutting down";
    }
    if (atomic_fetch_add(&gate->connections, 1) >= gate->connections_max) {
        atomic_fetch_sub(&gate->connections, 1);
        return "connection_max is reached";
    }
    if (atomic_fetch_add(&gate->handshakes, 1) >= gate->handshakes_max &&
        !listener_make_room(l)) {
        atomic_fetch_sub(&gate->handshakes, 1);
        atomic_fetch_sub(&gate->connections, 1);
        return "handshake_max connections are in their handshake";
    }
    return NULL;
}

static void
listener_on_accept(void *arg, struct stream *stream)
{
    const struct door *door = arg;
    struct amqp_listener *l = door->listener;
    struct client *client = NULL;
    const char *why = NULL;
    struct stream_events events = {
        .on_secure = client_on_secure,
        .on_data = client_on_data,
        .on_drain = client_on_drain,
        .on_close = client_on_close,
    };

    OBJ_CHECK(l, LISTENER_MAGIC);
    why = listener_refuses(l);
    if (why != NULL) {
        listener_say(l, stream, why);
        stream_close(stream);
        return;
    }
    client = mem_zalloc(1, sizeof(*client));
    client->magic = CLIENT_MAGIC;
    client->listener = l;
    client->stream = stream;
    client->door = door;
    client->since_ms = l->env->ops->now_ms(l->env);
    timer_init(&client->timer, client_tick, client);
    list_init(&client->dirty);
    list_push_back(&l->clients, &client->link);
    list_push_back(&l->handshakes, &client->handshake);
    l->clients_count++;
    events.arg = client;
    /* Tell of every emptied backlog, however small it was. */
    stream_set_drain(stream, 0, 1);
    if (door->has_tls) {
        client_secure(client);
    } else {
        client_connect(client);
    }
    stream_start(stream, &events);
}

static void
listener_on_turn(void *arg)
{
    struct amqp_listener *l = arg;
    struct list *entry = NULL;

    OBJ_CHECK(l, LISTENER_MAGIC);
    while ((entry = list_pop_front(&l->dirty)) != NULL) {
        struct client *client = list_entry(entry, struct client, dirty);

        amqp_connection_turn(client->connection);
        /* Nothing was written: there is no drain to wait for. */
        if (stream_backlog(client->stream) == 0) {
            amqp_connection_writable(client->connection, 0);
        }
    }
}

struct amqp_listener *
amqp_listener_new(struct env *env, struct net *net, struct broker *broker,
                  struct amqp_gate *gate, const struct amqp_config *config)
{
    struct amqp_listener *l = mem_zalloc(1, sizeof(*l));
    struct env_handler handler = {.arg = l, .on_turn = listener_on_turn};

    l->magic = LISTENER_MAGIC;
    l->env = env;
    l->net = net;
    l->broker = broker;
    l->gate = gate;
    l->config = *config;
    list_init(&l->clients);
    list_init(&l->handshakes);
    list_init(&l->dirty);
    env_register(env, &handler);
    return l;
}

int
amqp_listener_listen(struct amqp_listener *l, int fd,
                     const struct amqp_listener_tls *tls, struct error *err)
{
    struct door *door = NULL;
    int rv = 0;

    OBJ_CHECK(l, LISTENER_MAGIC);
    if (l->doors_count == AMQP_LISTENER_SOCKETS_MAX) {
        (void)close(fd);
        return error_set(err, QR_EBUSY, "more than %d AMQP listeners",
                         AMQP_LISTENER_SOCKETS_MAX);
    }
    door = &l->doors[l->doors_count];
    door->listener = l;
    door->has_tls = tls != NULL;
    if (tls != NULL) {
        door->tls = *tls;
    }
    rv = listener_start(l->net, fd, listener_on_accept, door, &door->socket,
                        err);
    if (rv == 0) {
        l->doors_count++;
    }
    return rv;
}

void
amqp_listener_stop(struct amqp_listener *l)
{
    struct list *it = NULL;
    struct list *next = NULL;

    OBJ_CHECK(l, LISTENER_MAGIC);
    l->is_stopped = true;
    while (l->doors_count > 0) {
        listener_close(&l->doors[--l->doors_count].socket, NULL, NULL);
    }
    list_foreach_safe (it, next, &l->clients) {
        struct client *client = list_entry(it, struct client, link);

        if (client->connection != NULL) {
            amqp_connection_shutdown(client->connection);
        } else {
            stream_close(client->stream);
        }
    }
}

size_t
amqp_listener_clients(const struct amqp_listener *l)
{
    OBJ_CHECK(l, LISTENER_MAGIC);
    return l->clients_count;
}

void
amqp_listener_block(struct amqp_listener *l, const char *reason)
{
    struct list *it = NULL;

    OBJ_CHECK(l, LISTENER_MAGIC);
    (void)snprintf(l->blocked, sizeof(l->blocked), "%s",
                   reason != NULL ? reason : "");
    list_foreach (it, &l->clients) {
        struct client *client = list_entry(it, struct client, link);

        if (client->connection != NULL) {
            amqp_connection_block(client->connection, reason);
        }
    }
}

void
amqp_listener_free(struct amqp_listener **listener)
{
    struct amqp_listener *l = *listener;

    OBJ_CHECK(l, LISTENER_MAGIC);
    ASSERT(l->clients_count == 0);
    l->magic = 0;
    mem_free(l);
    *listener = NULL;
}
