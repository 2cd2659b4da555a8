/* The Unix socket that quoratectl talks to (docs/formats/ctl.md), mode 0600:
 * only this process's user and root get through (SO_PEERCRED). On shard 0.
 *
 * It listens from the node's first moment. Until the node belongs to a cluster
 * there is no mgmt, and it answers `ping`, `version`, `stop` and
 * `await_startup` by itself; anything else is told what the node waits for. */
#ifndef DAEMON_CTL_LISTENER_H
#define DAEMON_CTL_LISTENER_H

#include "base/check.h"

struct ctl_listener;
struct env;
struct error;
struct mgmt;
struct net;

enum {
    /* One more closes the oldest that is idle, or is closed if none is. */
    CTL_LISTENER_CLIENTS_MAX = 64,
    CTL_LISTENER_IDLE_MS = 10000, /* for a request to be complete */
    CTL_LISTENER_FLUSH_MS = 5000  /* for a last response to be taken */
};

/* Texts and rooms are borrowed until ctl_listener_free(). */
struct ctl_listener_config {
    struct env *env;
    struct net *net;
    const char *path;
    const char *node_name;
    const char *data_dir;
    void (*stop)(void *arg); /* begin the node's orderly stop */
    /* What a node that is of no cluster yet waits for. */
    const char *(*waits_for)(void *arg);
    void *arg;
};

/* Bind and listen. -QR_EEXIST: another node has the socket; -QR_EIO,
 * -QR_ETOOBIG. */
MUST_USE int ctl_listener_start(const struct ctl_listener_config *config,
                                struct ctl_listener **out, struct error *err);
/* The node is formed: requests go to MGMT (borrowed) from now on. NULL: mgmt
 * is about to be freed; requests under way are abandoned. */
void ctl_listener_serve(struct ctl_listener *l, struct mgmt *mgmt);
/* Accept no more and remove the socket's path. Idempotent. */
void ctl_listener_stop(struct ctl_listener *l);
/* Free *L (nulled), when its streams have closed (net_close_all). */
void ctl_listener_free(struct ctl_listener **l);

#endif
