/* See client.h. */
#include "ctl/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "mgmt/protocol.h"

enum {
    PIECE_SIZE = 64 << 10 /* read at once */
};

static const char default_path[] = "./quorate-data/ctl.sock";

/* ---- time ---- */

static uint64_t
now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* For poll(): what is left of the time, a day at most. */
static int
left_ms(uint64_t deadline)
{
    uint64_t now = now_ms();

    return deadline > now ? (int)MIN(deadline - now, 86400000) : 0;
}

/* Wait until FD is ready for EVENTS. -QR_ETIMEOUT. */
static int
wait_for(int fd, short events, uint64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};
    int rv;

    do {
        rv = poll(&p, 1, left_ms(deadline));
    } while (rv < 0 && errno == EINTR);
    return rv > 0 ? 0 : -QR_ETIMEOUT;
}

/* ---- where ---- */

static int
copy_path(const char *path, size_t size, char out[SOCKET_PATH_SIZE],
          struct error *err)
{
    if (size == 0 || size >= SOCKET_PATH_SIZE) {
        return error_set(err, QR_EINVAL,
                         "the socket's path '%.*s' has %zu bytes; 1 to %d are "
                         "allowed: use a shorter one, or one relative to the "
                         "current directory",
                         (int)MIN(size, 200), path, size, SOCKET_PATH_SIZE - 1);
    }
    memcpy(out, path, size);
    out[size] = '\0';
    return 0;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Whether the SIZE bytes of LINE are "KEY = value"; *VALUE is within it. */
static bool
line_value(const char *line, size_t size, const char *key, const char **value,
           size_t *value_size)
{
    size_t key_size = strlen(key);
    size_t at = 0;

    while (at < size && is_blank(line[at])) {
        at++;
    }
    if (size - at <= key_size || memcmp(line + at, key, key_size) != 0) {
        return false;
    }
    at += key_size;
    while (at < size && is_blank(line[at])) {
        at++;
    }
    if (at == size || line[at] != '=') {
        return false;
    }
    at++;
    while (at < size && is_blank(line[at])) {
        at++;
    }
    while (size > at && is_blank(line[size - 1])) {
        size--;
    }
    *value = line + at;
    *value_size = size - at;
    return true;
}

int
client_config_path(const char *text, size_t size, char out[SOCKET_PATH_SIZE],
                   struct error *err)
{
    const char *dir = "./quorate-data";
    size_t dir_size = strlen(dir);
    const char *path = NULL;
    size_t path_size = 0;
    char joined[PIECE_SIZE / 8];
    int joined_size;

    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - text) - at;

        if (!line_value(text + at, length, "node.socket", &path, &path_size)) {
            (void)line_value(text + at, length, "node.data_dir", &dir,
                             &dir_size);
        }
        at += length + 1;
    }
    if (path_size > 0) {
        return copy_path(path, path_size, out, err);
    }
    joined_size = snprintf(joined, sizeof(joined), "%.*s/ctl.sock",
                           (int)MIN(dir_size, 4096), dir);
    return copy_path(joined, (size_t)joined_size, out, err);
}

static int
read_file(const char *path, struct buf *out, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;

    if (fd < 0) {
        return error_set(err, QR_EIO, "configuration %s cannot be opened: %s",
                         path, strerrorname_np(errno));
    }
    while (n > 0 && out->size < CONFIG_TEXT_SIZE_MAX) {
        n = read(fd, buf_extend(out, PIECE_SIZE), PIECE_SIZE);
        out->size -= PIECE_SIZE - (n > 0 ? (size_t)n : 0);
    }
    (void)close(fd);
    if (n != 0) {
        return error_set(err, QR_EIO,
                         "configuration %s cannot be read, or has more than %d "
                         "bytes",
                         path, CONFIG_TEXT_SIZE_MAX);
    }
    return 0;
}

int
client_socket_path(const char *explicit_path, const char *config,
                   char out[SOCKET_PATH_SIZE], struct error *err)
{
    const char *path = explicit_path;
    struct buf text;
    int rv;

    if (path == NULL && config == NULL) {
        path = secure_getenv("QUORATE_SOCKET");
        if (path == NULL || *path == '\0') {
            path = default_path;
        }
    }
    if (path != NULL) {
        return copy_path(path, strlen(path), out, err);
    }
    buf_init(&text);
    rv = read_file(config, &text, err);
    if (rv == 0) {
        rv = client_config_path((const char *)text.data, text.size, out, err);
    }
    buf_deinit(&text);
    return rv;
}

/* ---- the exchange ---- */

static int
send_all(int fd, const uint8_t *data, size_t size, uint64_t deadline)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            data += n;
            size -= (size_t)n;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLOUT, deadline) != 0) {
                return -QR_ETIMEOUT;
            }
        } else if (errno != EINTR) {
            return -QR_EIO;
        }
    }
    return 0;
}

/* Exactly SIZE bytes. -QR_ECLOSED when the node ends the connection first. */
static int
receive_all(int fd, uint8_t *data, size_t size, uint64_t deadline)
{
    while (size > 0) {
        ssize_t n = recv(fd, data, size, MSG_DONTWAIT);

        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else if (n == 0) {
            return -QR_ECLOSED;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLIN, deadline) != 0) {
                return -QR_ETIMEOUT;
            }
        } else if (errno != EINTR) {
            return -QR_EIO;
        }
    }
    return 0;
}

static int
receive_response(int fd, uint64_t deadline, struct client_response *response)
{
    uint8_t header[RESPONSE_HEADER_SIZE];
    size_t size = 0;
    int rv = receive_all(fd, header, sizeof(header), deadline);

    if (rv == 0) {
        rv = response_decode_header(header, &size, &response->code);
    }
    while (rv == 0 && size > 0) {
        size_t piece = MIN(size, (size_t)PIECE_SIZE);

        rv = receive_all(fd, buf_extend(&response->json, piece), piece,
                         deadline);
        size -= piece;
    }
    return rv;
}

/* RV of an exchange, with its reason in ERR. */
static int
explain(int rv, uint64_t wait_ms, struct error *err)
{
    switch (-rv) {
    case 0:
        return 0;
    case QR_ETIMEOUT:
        return error_set(err, QR_ETIMEOUT,
                         "the node did not answer within %llu ms. A change "
                         "that was asked for may still happen. Wait longer "
                         "with -t",
                         (unsigned long long)wait_ms);
    case QR_EFORMAT:
    case QR_ETOOBIG:
        return error_set(err, -rv,
                         "what answers there is no quorated of this version");
    default:
        return error_set(err, QR_EIO,
                         "the node ended the connection before it answered. "
                         "It may have stopped: see its log");
    }
}

int
client_exchange(int fd, const struct client_request *request, uint64_t wait_ms,
                struct client_response *response, struct error *err)
{
    uint64_t deadline = now_ms() + wait_ms;
    uint8_t length[4];
    int rv;

    if (request->size > REQUEST_SIZE_MAX) {
        return error_set(err, QR_ETOOBIG,
                         "the command line has %zu bytes; %d are allowed",
                         request->size, (int)REQUEST_SIZE_MAX);
    }
    put_u32le(length, (uint32_t)request->size);
    rv = send_all(fd, length, sizeof(length), deadline);
    if (rv == 0) {
        rv = send_all(fd, request->data, request->size, deadline);
    }
    if (rv == 0) {
        rv = receive_response(fd, deadline, response);
    }
    return explain(rv, wait_ms, err);
}

/* Connect to PATH. -errno. */
static int
try_connect(const char *path, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rv;

    if (fd < 0) {
        return -errno;
    }
    ASSERT(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    do {
        rv = connect(fd, (const struct sockaddr *)&address, sizeof(address));
    } while (rv != 0 && errno == EINTR);
    if (rv != 0) {
        rv = -errno;
        (void)close(fd);
        return rv;
    }
    *out = fd;
    return 0;
}

static int
connect_error(const char *path, int why, struct error *err)
{
    if (why == EACCES || why == EPERM) {
        return error_set(err, QR_EACCESS,
                         "socket %s: only the user that runs quorated, and "
                         "root, may use it: try 'sudo -u USER quoratectl ...'",
                         path);
    }
    return error_set(err, QR_EIO,
                     "no node answers at socket %s (%s). Is quorated running? "
                     "If its data are elsewhere, use --socket DATA_DIR/ctl.sock"
                     " or --config FILE, or set QUORATE_SOCKET",
                     path, strerrorname_np(why));
}

/* One attempt: connect, which may take until DEADLINE, and exchange. */
static int
run_once(const char *path, const struct client_request *request,
         uint64_t deadline, struct client_response *response, struct error *err)
{
    int fd = -1;
    int rv = try_connect(path, &fd);

    while (request->await && (rv == -ENOENT || rv == -ECONNREFUSED) &&
           now_ms() < deadline) {
        (void)poll(NULL, 0, CLIENT_RETRY_MS);
        rv = try_connect(path, &fd);
    }
    if (rv != 0) {
        return connect_error(path, -rv, err);
    }
    rv = client_exchange(fd, request, request->timeout_ms + CLIENT_GRACE_MS,
                         response, err);
    (void)close(fd);
    return rv;
}

int
client_run(const char *path, const struct client_request *request,
           struct client_response *response, struct error *err)
{
    uint64_t deadline = now_ms() + request->timeout_ms;
    int rv = run_once(path, request, deadline, response, err);

    /* A node that joins a cluster starts again within its process. */
    while (request->await && rv == -QR_EIO && now_ms() < deadline) {
        buf_clear(&response->json);
        (void)poll(NULL, 0, CLIENT_RETRY_MS);
        rv = run_once(path, request, deadline, response, err);
    }
    return rv;
}
