/* The inside of streams, shared by stream.c, stream_out.c, connect.c, net.c
 * and listener.c. Nobody outside this room includes it. */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "base/ring.h"
#include "base/slice.h"
#include "net/net.h"
#include "net/stream.h"

enum {
    NET_MAGIC = 0x6e657420,
    STREAM_MAGIC = 0x73747265,
    NET_SPARE_MAX = 64 /* free blocks for small writes that a net keeps */
};

struct net {
    unsigned magic;
    uv_loop_t *loop;
    net_wake_cb wake;
    void *wake_arg;
    struct list streams;   /* all of them */
    struct list dirty;     /* have something to write */
    struct list ready;     /* have unread bytes to be given again */
    struct list listeners; /* all of them */
    size_t streams_count;
    struct block *shared; /* what streams without leftovers read into */
    size_t shared_used;   /* bytes at its start that somebody may refer to */
    struct list left;     /* streams with unread bytes in `shared` */
    struct block *spare[NET_SPARE_MAX];
    size_t spare_count;
    bool closing;
};

enum stream_state {
    STREAM_OPEN,
    STREAM_SHUTTING, /* writes what is queued, discards what it reads */
    STREAM_CLOSING   /* uv_close() called */
};

/* How bytes pass between the socket and the stream's two ends. The plain one
 * passes them as they are; one for TLS would keep a codec in between. */
struct stream_transport {
    /* BYTES are all that is unread from the socket; how many are done with. */
    size_t (*received)(struct stream *s, const struct slice *bytes);
    /* Write what is queued, as far as the kernel takes it. */
    void (*flush)(struct stream *s);
};

struct stream {
    unsigned magic;
    enum stream_state state;
    struct net *net;
    struct list entry;       /* in net->streams */
    struct list dirty_entry; /* in net->dirty, or self-linked */
    struct list ready_entry; /* in net->ready, or self-linked */
    struct list left_entry;  /* in net->left, or self-linked */
    const struct stream_transport *transport;
    struct stream_events events;
    bool started;
    bool reading; /* the owner wants bytes */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_timer_t timer; /* of stream_shut */
    unsigned handles; /* that still have to close */
    bool has_timer;
    bool fin_sent; /* uv_shutdown() called */
    bool ended;    /* the peer's end has been read */
    int reason;
    const char *reason_text;

    /* Unread bytes: [in_start, in_end) of in_block, NULL if there are none. */
    struct block *in_block;
    bool in_own; /* the block is not one that streams share */
    size_t in_start;
    size_t in_end;
    size_t need;

    /* Queued bytes: slices in `out`, then [out_from, out_fill) of out_block. */
    struct ring out;
    size_t out_first_done; /* bytes of the first slice that are written */
    struct block *out_block;
    size_t out_from;
    size_t out_fill;
    size_t backlog;
    size_t inflight; /* bytes that uv_write() has been given */
    size_t drain_low;
    size_t drain_high;
    bool was_high;
    uv_write_t write;
    uv_shutdown_t shutdown;

    uint64_t bytes_in;
    uint64_t bytes_out;
    char peer_host[STREAM_ADDRESS_SIZE];
    char own_host[STREAM_ADDRESS_SIZE];
    char name[STREAM_ADDRESS_SIZE * 2 + 24];
    uint16_t peer_port;
    uint16_t own_port;
};

/* A stream on NET whose handle is initialised for TCP or a Unix-domain socket
 * (IS_PIPE) and not connected. */
struct stream *stream_new(struct net *net, bool is_pipe);

/* The handle is connected: set options, find the addresses. */
void stream_connected(struct stream *s);

/* stream_close() with a REASON for on_close and its TEXT (static). */
void stream_fail(struct stream *s, int reason, const char *text);

/* Give the unread bytes to the owner again. */
void stream_redeliver(struct stream *s);

/* The plain transport's flush (stream_out.c). */
void stream_out_flush(struct stream *s);
/* Drop all that is queued; when the stream is freed. */
void stream_out_deinit(struct stream *s);
/* Something was queued: on the dirty list with it. */
void stream_out_mark(struct stream *s);

/* The shared block is about to be another: S's unread bytes go to a block of
 * their own, so that they do not hold on to all of it for as long as S waits
 * for the rest of a frame. */
void stream_in_leave(struct stream *s);

/* Put the streams' out blocks back for reuse, or take one. */
struct block *net_spare_take(struct net *net);
void net_spare_put(struct net *net, struct block *block);
/* Tell the owner that net_flush() is needed. */
void net_wake(struct net *net);

#endif
