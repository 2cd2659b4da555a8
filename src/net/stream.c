/* Streams: their life, and the reading half. */
#include "net/stream.h"

#include <netinet/in.h>
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/stream_internal.h"

static void
stream_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct stream *s = handle->data;
    size_t room = 0;

    (void)suggested;
    OBJ_CHECK(s, STREAM_MAGIC);
    buf->base =
        (char *)stream_in_room(&s->in, &s->net->wire, NET_READ_ROOM_MIN, &room);
    buf->len = room;
}

/* Offer all unread bytes. */
static void
stream_deliver(struct stream *s)
{
    struct slice bytes = stream_in_slice(&s->in);

    /* The callback may close or stop the stream, never free it. */
    stream_in_use(&s->in, &s->net->wire, s->transport->received(s, &bytes));
}

/* The peer has sent all it will. It may still read what is queued for it. */
static void
stream_on_end(struct stream *s)
{
    s->ended = true;
    s->transport->flush(s);
    if (s->state == STREAM_OPEN || s->wire->size == 0) {
        stream_fail(s, 0, "closed by the peer");
    }
}

static void
stream_on_read(uv_stream_t *handle, ssize_t size, const uv_buf_t *buf)
{
    struct stream *s = handle->data;

    (void)buf;
    OBJ_CHECK(s, STREAM_MAGIC);
    if (size > 0) {
        s->bytes_in += (uint64_t)size;
        stream_in_grow(&s->in, &s->net->wire, (size_t)size);
        stream_deliver(s);
        return;
    }
    stream_in_use(&s->in, &s->net->wire, 0);
    if (size == UV_EOF) {
        stream_on_end(s);
    } else if (size < 0) {
        stream_fail(s, -QR_EIO, uv_strerror((int)size));
    }
}

/* Whether there is anything that the owner has not consumed. */
static bool
stream_has_unread(const struct stream *s)
{
    return s->in.block != NULL || s->offered->block != NULL;
}

void
stream_redeliver(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state == STREAM_OPEN && s->reading && stream_has_unread(s)) {
        stream_deliver(s);
        net_wake(s->net);
    }
}

static size_t
stream_plain_received(struct stream *s, const struct slice *bytes)
{
    if (s->state != STREAM_OPEN) {
        return bytes->size; /* shutting: only its end is of interest */
    }
    s->in.need = 0;
    return s->events.on_data(s->events.arg, bytes);
}

static const struct stream_transport stream_plain = {
    .received = stream_plain_received,
    .flush = stream_out_flush,
};

struct stream *
stream_new(struct net *net, bool is_pipe)
{
    struct stream *s = mem_zalloc(1, sizeof(*s));
    int rv = 0;

    s->magic = STREAM_MAGIC;
    s->net = net;
    s->transport = &stream_plain;
    s->drain_low = STREAM_DRAIN_LOW;
    s->drain_high = STREAM_DRAIN_HIGH;
    s->handles = 1;
    stream_in_init(&s->in);
    s->offered = &s->in;
    s->wire = &s->out;
    stream_queue_init(&s->out);
    list_init(&s->dirty_entry);
    list_init(&s->ready_entry);
    list_push_back(&net->streams, &s->entry);
    net->streams_count++;
    if (is_pipe) {
        rv = uv_pipe_init(net->loop, &s->uv.pipe, 0);
    } else {
        rv = uv_tcp_init(net->loop, &s->uv.tcp);
    }
    ASSERT(rv == 0);
    s->uv.handle.data = s;
    return s;
}

static void
stream_format_address(const struct sockaddr_storage *addr, char *host,
                      uint16_t *port)
{
    const struct sockaddr_in6 *in6 = (const void *)addr;
    const struct sockaddr_in *in4 = (const void *)addr;

    if (addr->ss_family == AF_INET) {
        (void)uv_ip4_name(in4, host, STREAM_ADDRESS_SIZE);
        *port = ntohs(in4->sin_port);
    } else if (addr->ss_family == AF_INET6) {
        (void)uv_ip6_name(in6, host, STREAM_ADDRESS_SIZE);
        *port = ntohs(in6->sin6_port);
        /* IPv4 on a socket for both reads like IPv4. */
        if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.') != NULL) {
            memmove(host, host + 7, strlen(host + 7) + 1);
        }
    }
}

static void
stream_find_addresses(struct stream *s)
{
    struct sockaddr_storage addr;
    int size = sizeof(addr);

    if (uv_tcp_getpeername(&s->uv.tcp, (struct sockaddr *)&addr, &size) == 0) {
        stream_format_address(&addr, s->peer_host, &s->peer_port);
    }
    size = sizeof(addr);
    if (uv_tcp_getsockname(&s->uv.tcp, (struct sockaddr *)&addr, &size) == 0) {
        stream_format_address(&addr, s->own_host, &s->own_port);
    }
    (void)snprintf(s->name, sizeof(s->name), "%s:%u -> %s:%u", s->peer_host,
                   s->peer_port, s->own_host, s->own_port);
}

void
stream_connected(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->uv.handle.type != UV_TCP) {
        (void)snprintf(s->name, sizeof(s->name), "unix");
        return;
    }
    /* Turns batch writes already; Nagle's algorithm would only delay them. A
     * failure of either leaves a slower or less watchful connection. */
    (void)uv_tcp_nodelay(&s->uv.tcp, 1);
    (void)uv_tcp_keepalive(&s->uv.tcp, 1, STREAM_KEEPALIVE_S);
    stream_find_addresses(s);
}

void
stream_start(struct stream *s, const struct stream_events *events)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    ASSERT(!s->started);
    ASSERT(events->on_data != NULL);
    ASSERT(events->on_close != NULL);
    s->events = *events;
    s->started = true;
    stream_read_start(s);
    if (s->tls != NULL) {
        stream_tls_start(s);
    }
}

void
stream_need(struct stream *s, size_t size)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    s->offered->need = MIN(size, (size_t)STREAM_NEED_MAX);
}

void
stream_read_stop(struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state == STREAM_OPEN && s->reading) {
        (void)uv_read_stop(&s->uv.stream);
        s->reading = false;
        list_remove(&s->ready_entry);
    }
}

void
stream_read_start(struct stream *s)
{
    int rv = 0;

    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state != STREAM_OPEN || s->reading) {
        return;
    }
    s->reading = true;
    rv = uv_read_start(&s->uv.stream, stream_on_alloc, stream_on_read);
    if (rv != 0) {
        stream_fail(s, -QR_EIO, uv_strerror(rv));
        return;
    }
    if (stream_has_unread(s) && !list_is_linked(&s->ready_entry)) {
        list_push_back(&s->net->ready, &s->ready_entry);
        net_wake(s->net);
    }
}

bool
stream_is_reading(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->reading;
}

/* A handle of the stream has closed; with the last one, the stream has. */
static void
stream_on_handle_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;

    OBJ_CHECK(s, STREAM_MAGIC);
    s->handles--;
    if (s->handles > 0) {
        return;
    }
    list_remove(&s->entry);
    s->net->streams_count--;
    if (s->events.on_close != NULL) {
        s->events.on_close(s->events.arg, s->reason, s->reason_text);
    }
    stream_in_drop(&s->in);
    stream_queue_deinit(&s->out);
    stream_tls_free(&s->tls);
    s->magic = 0;
    mem_free(s);
}

void
stream_fail(struct stream *s, int reason, const char *text)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state == STREAM_CLOSING) {
        return;
    }
    s->state = STREAM_CLOSING;
    s->reading = false;
    s->reason = s->fault != 0 ? s->fault : reason;
    s->reason_text = s->fault != 0 ? s->fault_text : text;
    list_remove(&s->dirty_entry);
    list_remove(&s->ready_entry);
    uv_close(&s->uv.handle, stream_on_handle_closed);
    if (s->has_timer) {
        uv_close((uv_handle_t *)&s->timer, stream_on_handle_closed);
    }
}

void
stream_close(struct stream *s)
{
    stream_fail(s, 0, "closed");
}

static void
stream_on_shut_deadline(uv_timer_t *timer)
{
    struct stream *s = timer->data;

    if (s->wire->size > 0) {
        stream_fail(s, -QR_ETIMEOUT, "the peer did not take all that was sent");
    } else {
        stream_close(s);
    }
}

void
stream_shut(struct stream *s, uint32_t timeout_ms)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    if (s->state != STREAM_OPEN) {
        return;
    }
    /* Closing a socket with unread bytes resets the connection, and the reset
     * may overtake what was written. So read on, and throw it away. */
    stream_read_start(s);
    if (s->state != STREAM_OPEN) {
        return;
    }
    s->state = STREAM_SHUTTING;
    list_remove(&s->ready_entry);
    if (uv_timer_init(s->net->loop, &s->timer) == 0) {
        s->timer.data = s;
        s->has_timer = true;
        s->handles++;
        (void)uv_timer_start(&s->timer, stream_on_shut_deadline, timeout_ms, 0);
    }
    stream_out_mark(s);
}

bool
stream_is_closing(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->state != STREAM_OPEN;
}

const char *
stream_peer_host(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->peer_host;
}

uint16_t
stream_peer_port(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->peer_port;
}

const char *
stream_own_host(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->own_host;
}

uint16_t
stream_own_port(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->own_port;
}

const char *
stream_name(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->name;
}

uint64_t
stream_bytes_in(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->bytes_in;
}

uint64_t
stream_bytes_out(const struct stream *s)
{
    OBJ_CHECK(s, STREAM_MAGIC);
    return s->bytes_out;
}
