/* A byte stream on TCP or a Unix-domain socket, plain or by TLS.
 *
 *            stream_connect / accepted by a listener
 *                             |
 *                 +-----------v-----------+
 *                 |         open          |---- stream_close ----+
 *                 +--+-----------------+--+                      |
 *      peer ended or |                 | stream_shut      +------v------+
 *      an error      |          +------v------+  flushed, |   closing   |
 *                    |          |   shutting  +---------->|             |
 *                    |          +-------------+ deadline  +------+------+
 *                    +------------------------------------------->|
 *                                                            on_close
 *
 * Reading: bytes arrive in reference-counted blocks. on_data() sees all bytes
 * not consumed so far as one contiguous slice and says how many it consumed;
 * the rest comes again, in front of what follows. A part of the slice can be
 * kept with slice_sub(): nothing is copied. One block serves many small reads
 * of many streams, so whoever keeps a small part for long copies it.
 *
 * Writing: small writes are copied behind each other, large slices queued by
 * reference; net_flush() hands all to the kernel. Nothing is ever dropped: the
 * writer watches stream_backlog() and stops at its own limit; on_drain() tells
 * when the backlog has fallen from above `high` to `low` or below. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/slice.h"

struct error;
struct net;
struct ssl_ctx_st;
struct stream;
struct tls;

enum {
    STREAM_COPY_MAX = 512,         /* slices up to this are copied */
    STREAM_NEED_MAX = 64 << 20,    /* bytes that may wait unconsumed */
    STREAM_IOV_MAX = 64,           /* pieces in one writev */
    STREAM_ADDRESS_SIZE = 128,     /* of the texts below, with the NUL */
    STREAM_DRAIN_HIGH = 256 << 10, /* default thresholds of on_drain */
    STREAM_DRAIN_LOW = 64 << 10,
    STREAM_KEEPALIVE_S = 60,
    STREAM_TLS_WIRE_MAX = 64 << 10, /* encrypted bytes that wait for a socket */
    STREAM_TLS_ALERT_MS = 1000      /* to tell the peer why TLS failed */
};

/* The owner's callbacks; `arg` comes back in each. No callback runs within a
 * call of the owner into the stream, except on_data within itself. */
struct stream_events {
    void *arg;
    /* BYTES (borrowed; take parts with slice_sub) are all that is unread.
     * Returns how many were consumed, 0 to bytes->size. Not called after
     * stream_read_stop, stream_shut or stream_close. */
    size_t (*on_data)(void *arg, const struct slice *bytes);
    /* TLS: the handshake is done; what the peer proved is in stream_tls().
     * Before on_data. May be NULL. */
    void (*on_secure)(void *arg);
    /* The backlog fell to `low` after it was above `high`. May be NULL. */
    void (*on_drain)(void *arg);
    /* Last callback, exactly once; the stream is freed when it returns. REASON
     * is 0 for a close from here or an orderly end by the peer, else -QR_EIO,
     * -QR_ETIMEOUT when stream_shut's deadline passed, -QR_EACCESS when the TLS
     * handshake failed, or -QR_EFORMAT for bytes that are not TLS; TEXT says
     * more ("connection reset by peer"). */
    void (*on_close)(void *arg, int reason, const char *text);
};

/* Give STREAM its owner and start reading. EVENTS is copied. Call it within
 * the accept callback, or where stream_connect() said it was connected. */
void stream_start(struct stream *stream, const struct stream_events *events);

/* From its first byte on, STREAM speaks TLS in the way of CTX (referenced), as
 * the server or as the client. Before stream_start(). The owner reads and
 * writes plain bytes; its backlog counts those whose encrypted form the kernel
 * has not taken. What is read is decrypted as the owner takes it, and what is
 * written is encrypted STREAM_TLS_WIRE_MAX bytes ahead of the socket, so that
 * TLS adds no buffer that grows. There is no deadline here: an owner that sees
 * no on_secure in time closes. */
void stream_secure(struct stream *stream, struct ssl_ctx_st *ctx,
                   bool is_server);
/* The session, for what it proved; NULL if the stream is plain. */
struct tls *stream_tls(const struct stream *stream);

/* The owner's result of a connection attempt: STREAM, connected and not
 * started, or NULL with the negative errno-like uv code UV_ERROR (0 when
 * connected) such as UV_ECONNREFUSED. */
typedef void (*stream_connect_cb)(void *arg, struct stream *stream,
                                  int uv_error);

/* An attempt under way; cancel it or wait for its callback. */
struct stream_connect;

/* Connect to PORT of HOST (a name or a numeric address; IPv4 and IPv6), or to
 * the Unix-domain socket HOST if it begins with a slash, within TIMEOUT_MS.
 * CB runs exactly once, later, unless it is cancelled before. */
struct stream_connect *stream_connect(struct net *net, const char *host,
                                      uint16_t port, uint32_t timeout_ms,
                                      stream_connect_cb cb, void *arg);
/* CB does not run. Not after it has. */
void stream_connect_cancel(struct stream_connect *connect);

/* Bytes that on_data wants to see in all before it can consume more: makes
 * room for them at once. A hint, at most STREAM_NEED_MAX; for one frame. */
void stream_need(struct stream *stream, size_t size);

/* Stop and resume reading, for backpressure. What was read and not consumed is
 * given to on_data again after the start, on a later turn. Idempotent. */
void stream_read_stop(struct stream *stream);
void stream_read_start(struct stream *stream);
bool stream_is_reading(const struct stream *stream);

/* Queue SIZE bytes at DATA, copied. Ignored when shutting or closing. */
void stream_write(struct stream *stream, const void *data, size_t size);
/* Queue *SLICE; takes its reference. */
void stream_write_slice(struct stream *stream, struct slice *slice);
/* Room for up to SIZE bytes (at most NET_OUT_BLOCK_SIZE) to be written in
 * place; then say how many were. Nothing else may be queued in between. */
uint8_t *stream_reserve(struct stream *stream, size_t size);
void stream_commit(struct stream *stream, size_t size);

/* Bytes queued and not yet taken by the kernel. */
size_t stream_backlog(const struct stream *stream);
/* The thresholds of on_drain; LOW < HIGH. */
void stream_set_drain(struct stream *stream, size_t low, size_t high);

/* Orderly close: stop reading, write all that is queued, end the stream, close;
 * after TIMEOUT_MS close all the same. on_close follows. */
void stream_shut(struct stream *stream, uint32_t timeout_ms);
/* Close now; what is queued is dropped. on_close follows, later. */
void stream_close(struct stream *stream);
bool stream_is_closing(const struct stream *stream);

/* "192.0.2.1" or "::1", and the port; "" and 0 for a Unix-domain socket. */
const char *stream_peer_host(const struct stream *stream);
uint16_t stream_peer_port(const struct stream *stream);
const char *stream_own_host(const struct stream *stream);
uint16_t stream_own_port(const struct stream *stream);
/* "192.0.2.1:34567 -> 192.0.2.9:5672", as RabbitMQ names connections. */
const char *stream_name(const struct stream *stream);

/* Bytes received and sent so far. */
uint64_t stream_bytes_in(const struct stream *stream);
uint64_t stream_bytes_out(const struct stream *stream);

#endif
