/* See ctl_listener.h. A client sends one request at a time:
 *
 *   reading --complete--> running --response--> reading ...
 *      |  CTL_LISTENER_IDLE_MS, or not a request: closed
 *
 * While a request runs nothing is read, so a client cannot pile up work; the
 * request's own deadline ends it, whether the client still waits or not. */
#include "daemon/ctl_listener.h"

#include <quorate/version.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/timer.h"
#include "mgmt/mgmt.h"
#include "mgmt/protocol.h"
#include "net/listener.h"
#include "net/stream.h"
#include "shard/env.h"

enum {
    LISTENER_MAGIC = 0x63746c6c,
    CLIENT_MAGIC = 0x63746c63,
    LENGTH_SIZE = 4,
    AWAIT_TICK_MS = 50
};

struct ctl_listener {
    unsigned magic;
    struct ctl_listener_config config;
    struct mgmt *mgmt; /* NULL: not formed yet */
    struct listener *socket;
    struct list clients;
    size_t clients_count;
};

struct ctl_client {
    unsigned magic;
    struct ctl_listener *listener;
    struct stream *stream;
    struct list link;
    struct timer timer; /* reading: until idle; awaiting: until the next look */
    struct mgmt_call call;
    bool is_running;
    struct buf await; /* an await_startup that waits for mgmt */
    uint64_t await_until_ms;
};

static struct ctl_client *
client_of(void *arg)
{
    struct ctl_client *c = arg;

    OBJ_CHECK(c, CLIENT_MAGIC);
    return c;
}

static uint64_t
now_ms(const struct ctl_listener *l)
{
    return l->config.env->ops->now_ms(l->config.env);
}

static void
start_timer(struct ctl_client *c, uint64_t after_ms)
{
    struct ctl_listener *l = c->listener;

    timers_start(&l->config.env->timers, &c->timer, now_ms(l) + after_ms);
}

/* ---- responses ---- */

static void
respond(struct ctl_client *c, uint8_t code, const struct buf *json)
{
    uint8_t header[RESPONSE_HEADER_SIZE];
    struct slice body = slice_copy(json->data, json->size);

    c->is_running = false;
    response_encode_header(header, json->size, (enum exit_code)code);
    stream_write(c->stream, header, sizeof(header));
    stream_write_slice(c->stream, &body);
    start_timer(c, CTL_LISTENER_IDLE_MS);
    stream_read_start(c->stream);
}

/* Respond with one member, "text" or "error". */
static void
respond_text(struct ctl_client *c, enum exit_code code, const char *text)
{
    struct json j;
    struct buf json;

    buf_init(&json);
    json_init(&j, &json);
    json_object_begin(&j);
    json_key(&j, code == EXIT_CODE_OK ? "text" : "error");
    json_text(&j, text);
    json_object_end(&j);
    respond(c, (uint8_t)code, &json);
    buf_deinit(&json);
}

static void
call_done(struct mgmt_call *call, uint8_t code, struct buf *json)
{
    respond(client_of(call->arg), code, json);
}

/* ---- before there is a cluster ---- */

/* The node is of no cluster yet: which node, what it waits for, and ADVICE. */
static void
respond_waiting(struct ctl_client *c, enum exit_code code, const char *advice)
{
    const struct ctl_listener_config *config = &c->listener->config;
    struct buf text;

    buf_init(&text);
    buf_putf(&text,
             "node %s (data directory %s) is not part of a cluster yet: %s; %s",
             config->node_name, config->data_dir,
             config->waits_for(config->arg), advice);
    buf_put_u8(&text, 0);
    respond_text(c, code, (const char *)text.data);
    buf_deinit(&text);
}

static void
run_unformed(struct ctl_client *c, const void *data, size_t size)
{
    struct ctl_listener *l = c->listener;
    struct request request;
    uint64_t timeout_ms = 0;
    struct error err;

    error_clear(&err);
    if (request_decode(data, size, &request, &err) != 0 ||
        request_timeout(&request, &timeout_ms, &err) != 0) {
        respond_text(c, EXIT_CODE_USAGE, err.text);
        return;
    }
    if (request.options[OPTION_NODE] == NULL ||
        strcmp(request.options[OPTION_NODE], l->config.node_name) == 0) {
        if (request.command == COMMAND_ping) {
            respond_text(c, EXIT_CODE_OK, "Ping succeeded");
            return;
        }
        if (request.command == COMMAND_version) {
            respond_text(c, EXIT_CODE_OK, QR_VERSION_STRING);
            return;
        }
        if (request.command == COMMAND_stop) {
            l->config.stop(l->config.arg);
            respond_text(c, EXIT_CODE_OK, "The node is stopping");
            return;
        }
        if (request.command == COMMAND_await_startup) {
            buf_put(&c->await, data, size);
            c->await_until_ms = now_ms(l) + timeout_ms;
            start_timer(c, AWAIT_TICK_MS);
            return;
        }
    }
    respond_waiting(c, EXIT_CODE_UNAVAILABLE,
                    "see its log; 'quoratectl await_startup' waits");
}

static void
await_tick(struct ctl_client *c)
{
    struct ctl_listener *l = c->listener;

    if (l->mgmt != NULL) {
        mgmt_request(l->mgmt, c->await.data, c->await.size, &c->call);
        buf_clear(&c->await);
    } else if (now_ms(l) >= c->await_until_ms) {
        buf_clear(&c->await);
        respond_waiting(c, EXIT_CODE_TIMEOUT,
                        "see its log; wait longer with -t");
    } else {
        start_timer(c, AWAIT_TICK_MS);
    }
}

/* ---- clients ---- */

static void
on_timer(void *arg)
{
    struct ctl_client *c = client_of(arg);

    if (c->await.size > 0) {
        await_tick(c);
    } else {
        stream_close(c->stream);
    }
}

static void
run_request(struct ctl_client *c, const uint8_t *data, size_t size)
{
    struct ctl_listener *l = c->listener;

    c->is_running = true;
    timers_stop(&l->config.env->timers, &c->timer);
    stream_read_stop(c->stream);
    if (l->mgmt != NULL) {
        mgmt_request(l->mgmt, data, size, &c->call);
    } else {
        run_unformed(c, data, size);
    }
}

static size_t
on_data(void *arg, const struct slice *bytes)
{
    struct ctl_client *c = client_of(arg);
    uint32_t size;

    if (c->is_running || bytes->size < LENGTH_SIZE) {
        return 0;
    }
    size = get_u32le(bytes->data);
    if (size > REQUEST_SIZE_MAX) {
        respond_text(c, EXIT_CODE_USAGE, "the request is too large");
        stream_shut(c->stream, CTL_LISTENER_FLUSH_MS);
        return bytes->size;
    }
    if (bytes->size < LENGTH_SIZE + (size_t)size) {
        stream_need(c->stream, LENGTH_SIZE + (size_t)size);
        return 0;
    }
    run_request(c, bytes->data + LENGTH_SIZE, size);
    slice_wipe(bytes, LENGTH_SIZE + (size_t)size); /* it may have a password */
    return LENGTH_SIZE + (size_t)size;
}

static void
on_close(void *arg, int reason, const char *text)
{
    struct ctl_client *c = client_of(arg);
    struct ctl_listener *l = c->listener;

    (void)reason;
    (void)text;
    mgmt_call_abandon(&c->call);
    timers_stop(&l->config.env->timers, &c->timer);
    list_remove(&c->link);
    l->clients_count--;
    buf_deinit(&c->await);
    c->magic = 0;
    mem_free(c);
}

/* Close the client that has been idle for the longest; false if all are being
 * served. */
static bool
make_room(struct ctl_listener *l)
{
    struct list *it;

    list_foreach (it, &l->clients) {
        struct ctl_client *c = list_entry(it, struct ctl_client, link);

        if (!c->is_running && !stream_is_closing(c->stream)) {
            stream_close(c->stream);
            return true;
        }
    }
    return false;
}

static void
on_accept(void *arg, struct stream *stream)
{
    struct ctl_listener *l = arg;
    struct stream_events events = {.on_data = on_data, .on_close = on_close};
    struct ctl_client *c;

    OBJ_CHECK(l, LISTENER_MAGIC);
    if (l->clients_count >= CTL_LISTENER_CLIENTS_MAX && !make_room(l)) {
        log_warning(l->config.env->log, "ctl",
                    "more than %d clients are being served: one is refused",
                    CTL_LISTENER_CLIENTS_MAX);
        stream_close(stream);
        return;
    }
    c = mem_zalloc(1, sizeof(*c));
    c->magic = CLIENT_MAGIC;
    c->listener = l;
    c->stream = stream;
    c->call.done = call_done;
    c->call.arg = c;
    buf_init(&c->await);
    timer_init(&c->timer, on_timer, c);
    list_push_back(&l->clients, &c->link);
    l->clients_count++;
    start_timer(c, CTL_LISTENER_IDLE_MS);
    events.arg = c;
    stream_start(stream, &events);
}

/* ---- life ---- */

int
ctl_listener_start(const struct ctl_listener_config *config,
                   struct ctl_listener **out, struct error *err)
{
    struct ctl_listener *l;
    int fd;
    int rv = listener_bind_unix(config->path, &fd, err);

    if (rv != 0) {
        return error_wrap(err, rv, "socket for quoratectl");
    }
    l = mem_zalloc(1, sizeof(*l));
    l->magic = LISTENER_MAGIC;
    l->config = *config;
    list_init(&l->clients);
    rv = listener_start(config->net, fd, on_accept, l, &l->socket, err);
    if (rv != 0) {
        (void)unlink(config->path);
        mem_free(l);
        return error_wrap(err, rv, "socket for quoratectl");
    }
    *out = l;
    return 0;
}

void
ctl_listener_serve(struct ctl_listener *l, struct mgmt *mgmt)
{
    struct list *it;

    OBJ_CHECK(l, LISTENER_MAGIC);
    l->mgmt = mgmt;
    if (mgmt != NULL) {
        return;
    }
    list_foreach (it, &l->clients) {
        struct ctl_client *c = list_entry(it, struct ctl_client, link);

        if (c->call.impl != NULL) {
            mgmt_call_abandon(&c->call);
            stream_close(c->stream);
        }
    }
}

void
ctl_listener_stop(struct ctl_listener *l)
{
    OBJ_CHECK(l, LISTENER_MAGIC);
    if (l->socket != NULL) {
        listener_close(&l->socket, NULL, NULL);
        (void)unlink(l->config.path);
    }
}

void
ctl_listener_free(struct ctl_listener **listener)
{
    struct ctl_listener *l = *listener;

    OBJ_CHECK(l, LISTENER_MAGIC);
    ASSERT(list_is_empty(&l->clients));
    *listener = NULL;
    l->magic = 0;
    mem_free(l);
}
