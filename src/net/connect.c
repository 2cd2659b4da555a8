/* Connecting: resolve the name, try its addresses one after the other, all
 * within one deadline.
 *
 *   resolving --> trying address 1, 2, ... --> done (connected or not)
 *       |                 |                      ^
 *       +-----------------+---- deadline, cancel +
 *
 * The callback runs once, unless the attempt is cancelled. The attempt is freed
 * when its timer has closed and neither the resolver nor a connection request
 * refers to it any more. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/stream.h"
#include "net/stream_internal.h"

enum {
    CONNECT_MAGIC = 0x636f6e6e,
    CONNECT_ADDRESSES_MAX = 8 /* of one name that are tried */
};

struct stream_connect {
    unsigned magic;
    struct net *net;
    stream_connect_cb cb;
    void *arg;
    uv_getaddrinfo_t resolve;
    bool resolving;
    bool connecting;
    bool done; /* cb has run, or never will */
    bool timer_closed;
    uint32_t timeout_ms;
    uv_timer_t timer;
    uv_connect_t request;
    struct stream *stream; /* of the attempt under way */
    char *path;            /* of a Unix-domain socket, else NULL */
    struct sockaddr_storage addresses[CONNECT_ADDRESSES_MAX];
    size_t count;
    size_t next; /* address to try */
    int error;   /* what to report: refused only if all refused */
};

static void connect_try(struct stream_connect *c);

static void
connect_unref(struct stream_connect *c)
{
    if (c->timer_closed && !c->resolving && !c->connecting) {
        c->magic = 0;
        mem_free(c->path);
        mem_free(c);
    }
}

static void
connect_on_timer_closed(uv_handle_t *handle)
{
    struct stream_connect *c = handle->data;

    c->timer_closed = true;
    connect_unref(c);
}

/* Nothing more will be reported. */
static void
connect_end(struct stream_connect *c)
{
    OBJ_CHECK(c, CONNECT_MAGIC);
    ASSERT(!c->done);
    c->done = true;
    if (c->resolving) {
        (void)uv_cancel((uv_req_t *)&c->resolve);
    }
    if (c->stream != NULL) {
        stream_close(c->stream);
        c->stream = NULL;
    }
    uv_close((uv_handle_t *)&c->timer, connect_on_timer_closed);
}

/* Report that it failed with ERROR. */
static void
connect_fail(struct stream_connect *c, int error)
{
    connect_end(c);
    c->cb(c->arg, NULL, error);
}

/* Whether ERROR says more about this machine than about the other. */
static bool
connect_is_local(int error)
{
    return error == UV_EADDRNOTAVAIL || error == UV_ENETUNREACH ||
           error == UV_EAFNOSUPPORT;
}

/* An address failed with ERROR. An address family that this machine lacks
 * says nothing; otherwise refused is only what all addresses refuse. */
static void
connect_note(struct stream_connect *c, int error)
{
    if (c->error == 0 || connect_is_local(c->error) ||
        (c->error == UV_ECONNREFUSED && !connect_is_local(error))) {
        c->error = error;
    }
}

static void
connect_on_deadline(uv_timer_t *timer)
{
    struct stream_connect *c = timer->data;

    connect_note(c, UV_ETIMEDOUT);
    connect_fail(c, c->error);
}

static void
connect_on_connected(uv_connect_t *request, int status)
{
    struct stream_connect *c =
        CONTAINER_OF(request, struct stream_connect, request);
    struct stream *s = c->stream;

    OBJ_CHECK(c, CONNECT_MAGIC);
    c->connecting = false;
    if (c->done) {
        connect_unref(c);
        return;
    }
    c->stream = NULL;
    if (status == 0) {
        stream_connected(s);
        connect_end(c);
        c->cb(c->arg, s, 0);
        ASSERT(s->started || s->state == STREAM_CLOSING);
        return;
    }
    connect_note(c, status);
    stream_close(s);
    connect_try(c);
}

/* The next address, or the end. Addresses that fail at once are skipped. */
static void
connect_try(struct stream_connect *c)
{
    while (c->next < c->count) {
        const struct sockaddr *addr =
            (const struct sockaddr *)&c->addresses[c->next++];
        int rv = 0;

        c->stream = stream_new(c->net, false);
        rv = uv_tcp_connect(&c->request, &c->stream->uv.tcp, addr,
                            connect_on_connected);
        if (rv == 0) {
            c->connecting = true;
            return;
        }
        connect_note(c, rv);
        stream_close(c->stream);
        c->stream = NULL;
    }
    connect_fail(c, c->error);
}

static void
connect_on_resolved(uv_getaddrinfo_t *request, int status,
                    struct addrinfo *list)
{
    struct stream_connect *c =
        CONTAINER_OF(request, struct stream_connect, resolve);

    OBJ_CHECK(c, CONNECT_MAGIC);
    c->resolving = false;
    for (struct addrinfo *a = list;
         a != NULL && c->count < CONNECT_ADDRESSES_MAX; a = a->ai_next) {
        ASSERT(a->ai_addrlen <= sizeof(c->addresses[0]));
        memcpy(&c->addresses[c->count++], a->ai_addr, a->ai_addrlen);
    }
    uv_freeaddrinfo(list);
    if (c->done) {
        connect_unref(c);
        return;
    }
    c->error = status == 0 && c->count == 0 ? UV_EADDRNOTAVAIL : status;
    connect_try(c);
}

/* HOST as what needs no resolver: a path or a numeric address; or false. */
static bool
connect_parse(struct stream_connect *c, const char *host, uint16_t port)
{
    struct sockaddr_storage *addr = &c->addresses[0];

    if (host[0] == '/') {
        c->path = mem_strdup(host);
        return true;
    }
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)addr) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)addr) != 0) {
        return false;
    }
    c->count = 1;
    return true;
}

/* Without a resolver an attempt might fail at once, but callbacks run later. */
static void
connect_on_started(uv_timer_t *timer)
{
    struct stream_connect *c = timer->data;

    (void)uv_timer_start(&c->timer, connect_on_deadline, c->timeout_ms, 0);
    if (c->path != NULL) {
        c->stream = stream_new(c->net, true);
        c->connecting = true; /* reports its errors by the callback */
        uv_pipe_connect(&c->request, &c->stream->uv.pipe, c->path,
                        connect_on_connected);
        return;
    }
    connect_try(c);
}

struct stream_connect *
stream_connect(struct net *net, const char *host, uint16_t port,
               uint32_t timeout_ms, stream_connect_cb cb, void *arg)
{
    struct stream_connect *c = mem_zalloc(1, sizeof(*c));
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV};
    char service[8];
    int rv = 0;

    OBJ_CHECK(net, NET_MAGIC);
    c->magic = CONNECT_MAGIC;
    c->net = net;
    c->cb = cb;
    c->arg = arg;
    c->timeout_ms = timeout_ms;
    rv = uv_timer_init(net->loop, &c->timer);
    ASSERT(rv == 0);
    c->timer.data = c;
    if (connect_parse(c, host, port)) {
        (void)uv_timer_start(&c->timer, connect_on_started, 0, 0);
        return c;
    }
    (void)snprintf(service, sizeof(service), "%u", port);
    rv = uv_getaddrinfo(net->loop, &c->resolve, connect_on_resolved, host,
                        service, &hints);
    c->resolving = rv == 0;
    c->error = rv;
    /* What fails here is reported by the timer: a callback runs later. */
    (void)uv_timer_start(&c->timer, connect_on_deadline,
                         rv == 0 ? timeout_ms : 0, 0);
    return c;
}

void
stream_connect_cancel(struct stream_connect *c)
{
    OBJ_CHECK(c, CONNECT_MAGIC);
    connect_end(c);
}
