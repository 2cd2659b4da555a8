/* The inside of listeners, for net.c. */
#ifndef NET_LISTENER_INTERNAL_H
#define NET_LISTENER_INTERNAL_H

#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "net/listener.h"

struct listener {
    unsigned magic;
    struct net *net;
    struct list entry; /* in net->listeners */
    bool is_pipe;
    bool closing;
    listener_accept_cb on_accept;
    listener_close_cb on_close;
    void *arg;
    void *close_arg;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
};

/* Close the handle; the listener is freed when that is done. Idempotent. */
void listener_begin_close(struct listener *l);

#endif
