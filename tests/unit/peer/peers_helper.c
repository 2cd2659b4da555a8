/* See peers_helper.h. */
#include "peers_helper.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"

static void
on_log(void *arg, enum log_level level, const char *category, const char *text)
{
    struct helper_node *n = arg;
    int size = snprintf(n->log + n->log_size, sizeof(n->log) - n->log_size,
                        "%s %s %s\n", log_level_name(level), category, text);

    cr_assert_lt((size_t)size, sizeof(n->log) - n->log_size, "log is full");
    n->log_size += (size_t)size;
}

static void
on_frame(void *arg, const struct link_peer *peer, struct frame **frame)
{
    struct helper_node *n = arg;
    struct frame *f = *frame;

    (void)peer;
    if (f->arg <= n->last_arg[f->klass]) {
        n->disorder = true;
    }
    n->last_arg[f->klass] = f->arg;
    n->frames[f->klass]++;
    n->bytes += frame_content_size(f);
    if (n->order_count < HELPER_EVENTS_MAX) {
        n->order[n->order_count++] = f->klass;
    }
    for (size_t i = 0; f->content_count > 0 && i < f->content[0].size;
         i += 997) {
        if (f->content[0].data[i] != (uint8_t)(f->arg + i)) {
            n->disorder = true;
        }
    }
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer,
        struct link_gauge *gauge)
{
    struct helper_node *n = arg;

    if (peer->node >= LINK_GUEST_FIRST) {
        n->guest = peer->node;
        n->guests_up += event == LINK_UP ? 1U : 0U;
        return;
    }
    cr_assert_lt(n->events_count, HELPER_EVENTS_MAX);
    cr_assert_leq(peer->node, HELPER_NODES_MAX);
    n->events[n->events_count] = event;
    n->event_nodes[n->events_count++] = peer->node;
    n->gauge[peer->node] = gauge;
    if (event == LINK_UP) {
        cr_assert_gt(peer->epoch, n->epoch[peer->node]);
        n->epoch[peer->node] = peer->epoch;
        memset(n->last_arg, 0, sizeof(n->last_arg));
    }
}

static void
on_unwelcome(void *arg, bool is_rolled_back, const char *text)
{
    struct helper_node *n = arg;

    n->rolled_back += is_rolled_back ? 1U : 0U;
    n->removed += is_rolled_back ? 0U : 1U;
    (void)snprintf(n->unwelcome, sizeof(n->unwelcome), "%s", text);
}

static bool
on_start(void *arg, qr_node_id node, const struct start_seen *seen)
{
    struct helper_node *n = arg;

    cr_assert(!helper_is_up(n->world, n->identity.node, node));
    cr_assert(starts_book_see(&n->met, node, seen));
    return !n->is_forgetful;
}

static void
on_deadline(uv_timer_t *timer)
{
    struct helper_world *w = timer->data;

    w->late = true;
}

void
helper_init(struct helper_world *w)
{
    struct error err;

    memset(w, 0, sizeof(*w));
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    cr_assert_eq(uv_timer_init(&w->loop, &w->deadline), 0);
    w->deadline.data = w;
    uv_timer_start(&w->deadline, on_deadline, HELPER_DEADLINE_MS, 0);
    for (qr_node_id id = 1; id <= HELPER_NODES_MAX; id++) {
        struct helper_node *n = &w->nodes[id];

        n->world = w;
        n->logger = (struct logger){on_log, n, LOG_DEBUG};
        n->identity.node = id;
        n->identity.starts.boot = 1;
        n->identity.shards = 1;
        memset(n->identity.uuid.bytes, (int)(0x10 + id), 16);
        snprintf(n->identity.node_name, sizeof(n->identity.node_name), "n%u",
                 id);
        snprintf(n->identity.cluster_name, sizeof(n->identity.cluster_name),
                 "test");
        cr_assert_eq(secret_derive("0123456789abcdef", 16, &n->secret, &err),
                     0);
        n->limits.dial_min_ms = 5;
        n->limits.dial_max_ms = 40;
        n->limits.heartbeat_ms = 100;
        n->limits.silent_ms = 1000;
        n->limits.dead_ms = 3000;
    }
}

void
helper_start(struct helper_world *w, qr_node_id id)
{
    struct helper_node *n = &w->nodes[id];
    struct peers_events events = {n, on_frame, on_link, on_unwelcome, on_start};
    struct peers_proof proof = {.secret = n->tls == NULL ? &n->secret : NULL,
                                .tls = n->tls,
                                .tls_name = n->tls_name};
    char name[16];
    struct error err;
    int fd = -1;

    snprintf(name, sizeof(name), "127.0.0.1");
    cr_assert_eq(listener_bind_tcp(name, n->port, &fd, &err), 0, "%s",
                 err.text);
    n->port = listener_fd_port(fd);
    n->net = net_new(&w->loop, NULL, NULL);
    n->peers = peers_new(n->net, &n->logger, &n->identity, &proof, &n->limits,
                         &events);
    cr_assert_eq(peers_listen(n->peers, fd, &err), 0, "%s", err.text);
    memset(n->epoch, 0, sizeof(n->epoch));
}

static void
on_closed(void *arg)
{
    bool *closed = arg;

    *closed = true;
}

void
helper_stop(struct helper_world *w, qr_node_id id)
{
    struct helper_node *n = &w->nodes[id];
    bool closed = false;

    if (n->peers == NULL) {
        return;
    }
    peers_close(n->peers, on_closed, &closed);
    net_close_all(n->net);
    HELPER_UNTIL(w, closed && net_streams(n->net) == 0);
    peers_free(&n->peers);
    net_free(&n->net);
}

void
helper_deinit(struct helper_world *w)
{
    for (qr_node_id id = 1; id <= HELPER_NODES_MAX; id++) {
        helper_stop(w, id);
        cr_expect(!w->nodes[id].disorder, "node %u: frames out of order", id);
    }
    uv_close((uv_handle_t *)&w->deadline, NULL);
    cr_assert_eq(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
}

void
helper_add(struct helper_world *w, qr_node_id from, qr_node_id to)
{
    struct error err;
    char name[16];

    snprintf(name, sizeof(name), "n%u", to);
    cr_assert_eq(peers_add(w->nodes[from].peers, to, name, "127.0.0.1",
                           w->nodes[to].port, &err),
                 0, "%s", err.text);
}

void
helper_turn(struct helper_world *w)
{
    for (qr_node_id id = 1; id <= HELPER_NODES_MAX; id++) {
        struct helper_node *n = &w->nodes[id];

        if (n->peers != NULL) {
            peers_flush(n->peers);
            net_flush(n->net);
        }
    }
    uv_run(&w->loop, UV_RUN_ONCE);
    cr_assert(!w->late, "deadline; logs:\n%s---\n%s---\n%s", w->nodes[1].log,
              w->nodes[2].log, w->nodes[3].log);
}

bool
helper_send(struct helper_world *w, qr_node_id from, qr_node_id to,
            enum frame_class klass, uint64_t arg, size_t size)
{
    struct helper_node *n = &w->nodes[from];
    struct frame *f = frame_new(klass, FRAME_BROKER_FIRST);

    f->arg = arg;
    if (size > 0) {
        struct block *b = block_new(size);

        for (size_t i = 0; i < size; i++) {
            b->data[i] = (uint8_t)(arg + i);
        }
        frame_add(f, slice_of_block(b));
    }
    if (!link_gauge_charge_mt(n->gauge[to], klass, frame_size(f))) {
        frame_free(&f);
        return false;
    }
    peers_send(n->peers, to, n->epoch[to], &f);
    cr_assert_null(f);
    return true;
}

bool
helper_is_up(const struct helper_world *w, qr_node_id from, qr_node_id to)
{
    const struct helper_node *n = &w->nodes[from];

    return n->peers != NULL && peers_link(n->peers, to, NULL);
}

size_t
helper_count(const struct helper_world *w, qr_node_id from, qr_node_id to,
             enum link_event event)
{
    const struct helper_node *n = &w->nodes[from];
    size_t count = 0;

    for (size_t i = 0; i < n->events_count; i++) {
        count += n->events[i] == event && n->event_nodes[i] == to;
    }
    return count;
}

bool
helper_logged(const struct helper_world *w, qr_node_id id, const char *part)
{
    return strstr(w->nodes[id].log, part) != NULL;
}
