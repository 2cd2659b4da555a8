/* What the streams of one event loop share: the block that they read into and
 * the list of those that have something to write. One per shard; everything
 * in this room runs on the loop's thread.
 *
 * Writes are only queued. net_flush() hands them to the kernel, once a turn,
 * so that all a turn produced for a socket leaves in one writev. */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct block;
struct net;

enum {
    NET_READ_BLOCK_SIZE = 64 << 10, /* shared by the loop's streams */
    NET_READ_ROOM_MIN = 8 << 10,    /* less left: a new block */
    NET_OUT_BLOCK_SIZE = 16 << 10   /* small writes are copied into these */
};

/* Called when a stream has something to write and the loop may be about to
 * sleep: the owner makes sure that net_flush() runs soon. */
typedef void (*net_wake_cb)(void *arg);

/* A net on LOOP (borrowed until net_free). WAKE may be NULL if the owner calls
 * net_flush() each turn anyway. Has the process ignore SIGPIPE, unless it has
 * a handler. */
struct net *net_new(uv_loop_t *loop, net_wake_cb wake, void *arg);

/* Free *NET, nulled. All its streams and listeners have closed. */
void net_free(struct net **net);

/* The loop that NET is on. */
uv_loop_t *net_loop(const struct net *net);

/* Write what the streams have queued. */
void net_flush(struct net *net);

/* Begin to close every stream at once, with nothing flushed, and every
 * listener; their on_close callbacks run later, on the loop. */
void net_close_all(struct net *net);

/* Open streams, of all listeners. */
size_t net_streams(const struct net *net);

#endif
