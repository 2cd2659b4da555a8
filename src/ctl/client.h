/* One request to the node's Unix socket, and its response, within a deadline.
 * Plain blocking calls with poll(): this program does nothing else. */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"

struct error;

enum {
    SOCKET_PATH_SIZE = 108,        /* sun_path, with the NUL */
    CLIENT_GRACE_MS = 2000,        /* the node's own deadline comes first */
    CLIENT_RETRY_MS = 50,          /* while waiting for a node to start */
    CONFIG_TEXT_SIZE_MAX = 1 << 20 /* of a node's configuration file */
};

/* Where the socket is: EXPLICIT (may be NULL); else QUORATE_SOCKET; else what
 * the configuration file CONFIG (may be NULL) says; else the default.
 * -QR_EINVAL: a path too long; -QR_EIO: CONFIG cannot be read. */
MUST_USE int client_socket_path(const char *explicit_path, const char *config,
                                char out[SOCKET_PATH_SIZE], struct error *err);
/* The same from the SIZE bytes of a configuration at TEXT: node.socket, else
 * node.data_dir and "/ctl.sock", else the default. -QR_EINVAL. */
MUST_USE int client_config_path(const char *text, size_t size,
                                char out[SOCKET_PATH_SIZE], struct error *err);

struct client_request {
    const void *data; /* without its length */
    size_t size;
    uint64_t timeout_ms; /* the node's; the exchange has CLIENT_GRACE_MS more */
    bool await; /* keep trying while nothing answers at the socket, or what did
                   ends before it has answered */
};

/* The caller's: init and deinit `json`, to which the response is appended. */
struct client_response {
    uint8_t code;
    struct buf json;
};

/* Send REQUEST to the socket at PATH and wait for its response. -QR_ETIMEOUT;
 * -QR_EIO: no node there, or none of ours; -QR_EACCESS; -QR_EFORMAT,
 * -QR_ETOOBIG: no response of ours. */
MUST_USE int client_run(const char *path, const struct client_request *request,
                        struct client_response *response, struct error *err);

/* The same over FD, a connected socket, within WAIT_MS and no more. */
MUST_USE int client_exchange(int fd, const struct client_request *request,
                             uint64_t wait_ms, struct client_response *response,
                             struct error *err);

#endif
