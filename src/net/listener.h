/* Listening sockets. Binding is apart from listening, because it happens once,
 * at the start, where its errors can be told to a person, while every shard
 * accepts from the same socket through a descriptor of its own. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct error;
struct listener;
struct net;
struct stream;

enum {
    LISTENER_BACKLOG = 1024,
    LISTENER_PATH_SIZE = 108 /* sun_path, with the NUL */
};

/* A connection came; STREAM is not started: stream_start() it or
 * stream_close() it before returning. */
typedef void (*listener_accept_cb)(void *arg, struct stream *stream);
typedef void (*listener_close_cb)(void *arg);

/* Bind PORT (0: any) of HOST: a name or numeric address; "" or "::" is every
 * address, IPv4 and IPv6. *FD is a bound socket that the caller owns. Blocks
 * for name resolution: at start only. -QR_EIO, or -QR_EINVAL for a host that
 * does not resolve. */
MUST_USE int listener_bind_tcp(const char *host, uint16_t port, int *fd,
                               struct error *err);

/* Bind a Unix-domain socket at PATH with mode 0600. A socket left there by a
 * process that is gone is replaced; one that answers, or a file that is not a
 * socket, is an error: -QR_EEXIST. Else -QR_EIO, -QR_ETOOBIG. */
MUST_USE int listener_bind_unix(const char *path, int *fd, struct error *err);

/* The port that FD is bound to, 0 if none. */
uint16_t listener_fd_port(int fd);

/* Another descriptor of the same socket, for another shard. */
MUST_USE int listener_dup(int fd, int *out, struct error *err);

/* Accept from FD on NET's loop. Takes FD, also on failure. Connections to a
 * Unix-domain socket by any user but this process's and root are closed
 * (SO_PEERCRED). -QR_EIO. */
MUST_USE int listener_start(struct net *net, int fd, listener_accept_cb cb,
                            void *arg, struct listener **out,
                            struct error *err);

/* Stop accepting and free *LISTENER (nulled) on a later turn, after CB (may be
 * NULL). A Unix-domain socket's path is left to whoever bound it. */
void listener_close(struct listener **listener, listener_close_cb cb,
                    void *arg);

#endif
