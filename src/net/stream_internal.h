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

/* A block that streams without leftovers of their own fill one after the other:
 * `used` bytes at its start may still be referred to. */
struct net_share {
    struct block *block;
    size_t used;
    struct list left; /* struct stream_in with unread bytes in `block` */
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
    struct net_share wire;  /* what sockets are read into */
    struct net_share plain; /* what is decrypted goes here */
    uint8_t *stage;         /* small pieces become one record here; or NULL */
    struct block *spare[NET_SPARE_MAX];
    size_t spare_count;
    bool closing;
};

enum stream_state {
    STREAM_OPEN,
    STREAM_SHUTTING, /* writes what is queued, discards what it reads */
    STREAM_CLOSING   /* uv_close() called */
};

/* Bytes that came and were not consumed: [start, end) of `block`, which is NULL
 * if there are none. */
struct stream_in {
    struct block *block;
    bool is_own; /* the block is not one that streams share */
    size_t start;
    size_t end;
    size_t need;
    struct list left_entry; /* in the share's `left`, or self-linked */
};

/* Bytes on their way out: slices, then [from, fill) of `block`, where small
 * writes are copied one behind the other. */
struct stream_queue {
    struct ring slices;
    size_t first_done; /* bytes of the first slice that are gone */
    struct block *block;
    size_t from;
    size_t fill;
    size_t size; /* of all */
};

/* How bytes pass between the socket and the stream's two ends: as they are
 * (stream.c), or by TLS (stream_tls.c). */
struct stream_transport {
    /* BYTES are all that is unread from the socket; how many are done with. */
    size_t (*received)(struct stream *s, const struct slice *bytes);
    /* Write what is queued, as far as the kernel takes it. */
    void (*flush)(struct stream *s);
};

struct stream_tls; /* stream_tls.c */

struct stream {
    unsigned magic;
    enum stream_state state;
    struct net *net;
    struct list entry;       /* in net->streams */
    struct list dirty_entry; /* in net->dirty, or self-linked */
    struct list ready_entry; /* in net->ready, or self-linked */
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

    struct stream_in in;       /* from the socket */
    struct stream_in *offered; /* what the owner sees: that, or decrypted */

    struct stream_queue out;   /* what the owner wrote */
    struct stream_queue *wire; /* for the socket: that, or encrypted */
    size_t sealed;             /* the owner's bytes that are in `wire` only */
    size_t inflight;           /* bytes that uv_write() has been given */
    size_t drain_low;
    size_t drain_high;
    bool was_high;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct stream_tls *tls; /* NULL: plain */
    int fault;              /* what on_close will say, whatever closes it */
    const char *fault_text;

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

/* stream_in.c */

/* Nothing is unread. */
void stream_in_init(struct stream_in *in);
/* No block yet. */
void net_share_init(struct net_share *share);
void net_share_deinit(struct net_share *share);

/* Room for SIZE bytes or more behind the unread ones, in SHARE or a block of
 * their own; *ROOM is how many. */
uint8_t *stream_in_room(struct stream_in *in, struct net_share *share,
                        size_t size, size_t *room);
/* SIZE bytes were put there. */
void stream_in_grow(struct stream_in *in, struct net_share *share, size_t size);
/* USED bytes have been consumed, the rest is for later. */
void stream_in_use(struct stream_in *in, struct net_share *share, size_t used);
/* Forget what is unread. */
void stream_in_drop(struct stream_in *in);
/* What is unread, borrowed. */
struct slice stream_in_slice(const struct stream_in *in);
static inline size_t
stream_in_size(const struct stream_in *in)
{
    return in->end - in->start;
}

/* stream_queue.c */

/* Nothing is queued. */
void stream_queue_init(struct stream_queue *q);
/* Drop all that is queued. */
void stream_queue_deinit(struct stream_queue *q);
/* As stream_reserve() and the like. */
uint8_t *stream_queue_reserve(struct stream_queue *q, struct net *net,
                              size_t size);
void stream_queue_commit(struct stream_queue *q, size_t size);
void stream_queue_write(struct stream_queue *q, struct net *net,
                        const void *data, size_t size);
/* Queue *SLICE (taken). */
void stream_queue_slice(struct stream_queue *q, struct slice *slice);
/* Small writes join the slices: from now on all that is queued is there. */
void stream_queue_seal(struct stream_queue *q);
/* SIZE bytes at the front are gone. */
void stream_queue_advance(struct stream_queue *q, size_t size);
/* The first pieces (sealed) in BUFS, STREAM_IOV_MAX of them; how many, and
 * their bytes in *SIZE. */
unsigned stream_queue_gather(const struct stream_queue *q, uv_buf_t *bufs,
                             size_t *size);
/* Nothing is queued: give the block of small writes back. */
void stream_queue_rest(struct stream_queue *q, struct net *net);

/* stream_out.c */

/* The plain transport's flush. */
void stream_out_flush(struct stream *s);
/* Hand `wire` to the kernel as far as it takes it; the rest waits in one
 * uv_write(). False when the stream is closing. */
bool stream_out_send(struct stream *s);
/* After a flush: tell who waits for the backlog to fall; end an orderly
 * close. */
void stream_out_settle(struct stream *s);
/* Something was queued: on the dirty list with it. */
void stream_out_mark(struct stream *s);

/* stream_tls.c */

/* The session is over and forgotten; NULL is fine. */
void stream_tls_free(struct stream_tls **tls);
/* The stream has its owner: the dialling end begins. */
void stream_tls_start(struct stream *s);

/* Put the streams' out blocks back for reuse, or take one. */
struct block *net_spare_take(struct net *net);
void net_spare_put(struct net *net, struct block *block);
/* Tell the owner that net_flush() is needed. */
void net_wake(struct net *net);

#endif
