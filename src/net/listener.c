/* Binding and accepting.
 *
 * The socket is made by hand rather than by libuv: it is bound once, before
 * there are loops, and each shard accepts from a duplicate of it. SO_REUSEPORT
 * would balance better, but it would also let a second node start on the same
 * port by mistake and take half of the clients. */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "net/listener_internal.h"
#include "net/stream_internal.h"

enum {
    LISTENER_MAGIC = 0x6c697374
};

/* The text of ERRNO; strerror() is not safe among threads. */
static const char *
listener_errno(int number)
{
    return uv_strerror(uv_translate_sys_error(number));
}

/* A bound socket for ADDR, or -1 with errno. */
static int
listener_bind_address(const struct addrinfo *addr)
{
    int on = 1;
    int off = 0;
    int saved = 0;
    int fd = socket(addr->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    if (addr->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, addr->ai_addr, addr->ai_addrlen) != 0) {
        saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int
listener_bind_tcp(const char *host, uint16_t port, int *fd, struct error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    const char *node = host[0] == '\0' ? "::" : host;
    char service[8];
    int bound = -1;
    int rv = 0;

    (void)snprintf(service, sizeof(service), "%u", port);
    rv = getaddrinfo(node, service, &hints, &list);
    if (rv != 0) {
        return error_set(err, QR_EINVAL,
                         "listen on %s: %s; give an address or a name that "
                         "this machine resolves",
                         host, gai_strerror(rv));
    }
    bound = listener_bind_address(list);
    if (bound < 0 && errno == EAFNOSUPPORT && strcmp(node, "::") == 0) {
        freeaddrinfo(list);
        /* A machine without IPv6: every address is every IPv4 address. */
        return listener_bind_tcp("0.0.0.0", port, fd, err);
    }
    rv = errno;
    freeaddrinfo(list);
    if (bound < 0) {
        return error_set(err, QR_EIO, "listen on %s port %u: %s", node, port,
                         listener_errno(rv));
    }
    *fd = bound;
    return 0;
}

/* Whether a process answers at ADDR. */
static bool
listener_is_alive(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = false;

    if (fd >= 0) {
        alive = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
        (void)close(fd);
    }
    return alive;
}

/* Make way for a socket at ADDR. */
static int
listener_clear_path(const struct sockaddr_un *addr, struct error *err)
{
    struct stat st;

    if (lstat(addr->sun_path, &st) != 0) {
        return 0; /* nothing there, or bind() will say why not */
    }
    if (!S_ISSOCK(st.st_mode)) {
        return error_set(err, QR_EEXIST,
                         "listen on %s: there is a file that is not a socket; "
                         "move it away",
                         addr->sun_path);
    }
    if (listener_is_alive(addr)) {
        return error_set(err, QR_EEXIST,
                         "listen on %s: another process listens there; stop "
                         "it or choose another path",
                         addr->sun_path);
    }
    if (unlink(addr->sun_path) != 0) {
        return error_set(err, QR_EIO, "remove the old socket %s: %s",
                         addr->sun_path, listener_errno(errno));
    }
    return 0;
}

int
listener_bind_unix(const char *path, int *fd, struct error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int bound = -1;
    int rv = 0;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        return error_set(err, QR_ETOOBIG,
                         "listen on %s: the path of a socket has at most %zu "
                         "bytes",
                         path, sizeof(addr.sun_path) - 1);
    }
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    rv = listener_clear_path(&addr, err);
    if (rv != 0) {
        return rv;
    }
    bound = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* The mode of the descriptor becomes that of the file, less the umask: at
     * no time can others open it. */
    if (bound < 0 || fchmod(bound, 0600) != 0 ||
        bind(bound, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        chmod(path, 0600) != 0) {
        rv = errno;
        if (bound >= 0) {
            (void)close(bound);
        }
        return error_set(err, QR_EIO, "listen on %s: %s", path,
                         listener_errno(rv));
    }
    *fd = bound;
    return 0;
}

uint16_t
listener_fd_port(int fd)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &size) != 0) {
        return 0;
    }
    if (addr.ss_family == AF_INET) {
        return ntohs(
            ((const struct sockaddr_in *)(const void *)&addr)->sin_port);
    }
    if (addr.ss_family == AF_INET6) {
        return ntohs(
            ((const struct sockaddr_in6 *)(const void *)&addr)->sin6_port);
    }
    return 0;
}

int
listener_dup(int fd, int *out, struct error *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (copy < 0) {
        return error_set(err, QR_EIO, "duplicate a listening socket: %s",
                         listener_errno(errno));
    }
    *out = copy;
    return 0;
}

/* Whether the process at the other end of S is of this process's user. */
static bool
listener_is_own_user(struct stream *s)
{
    struct ucred cred;
    socklen_t size = sizeof(cred);
    uv_os_fd_t fd = -1;

    if (uv_fileno(&s->uv.handle, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0) {
        return false;
    }
    return cred.uid == geteuid() || cred.uid == 0;
}

static void
listener_on_connection(uv_stream_t *handle, int status)
{
    struct listener *l = handle->data;
    struct stream *s = NULL;

    OBJ_CHECK(l, LISTENER_MAGIC);
    /* An error here is one connection's that ended before it was accepted, or
     * want of descriptors: libuv then makes room by refusing it. */
    if (status != 0 || l->closing) {
        return;
    }
    s = stream_new(l->net, l->is_pipe);
    if (uv_accept(handle, &s->uv.stream) != 0) {
        stream_close(s);
        return;
    }
    if (l->is_pipe && !listener_is_own_user(s)) {
        stream_close(s);
        return;
    }
    stream_connected(s);
    l->on_accept(l->arg, s);
    ASSERT(s->started || s->state == STREAM_CLOSING);
}

static int
listener_open(struct listener *l, int fd)
{
    int rv = 0;

    if (l->is_pipe) {
        rv = uv_pipe_init(l->net->loop, &l->uv.pipe, 0);
        ASSERT(rv == 0);
        rv = uv_pipe_open(&l->uv.pipe, fd);
    } else {
        rv = uv_tcp_init(l->net->loop, &l->uv.tcp);
        ASSERT(rv == 0);
        rv = uv_tcp_open(&l->uv.tcp, fd);
    }
    if (rv != 0) {
        (void)close(fd);
        return rv;
    }
    return uv_listen(&l->uv.stream, LISTENER_BACKLOG, listener_on_connection);
}

int
listener_start(struct net *net, int fd, listener_accept_cb cb, void *arg,
               struct listener **out, struct error *err)
{
    struct listener *l = mem_zalloc(1, sizeof(*l));
    int domain = 0;
    socklen_t size = sizeof(domain);
    int rv = 0;

    OBJ_CHECK(net, NET_MAGIC);
    l->magic = LISTENER_MAGIC;
    l->net = net;
    l->on_accept = cb;
    l->arg = arg;
    l->is_pipe = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                 domain == AF_UNIX;
    list_push_back(&net->listeners, &l->entry);
    rv = listener_open(l, fd);
    l->uv.handle.data = l;
    if (rv != 0) {
        listener_begin_close(l);
        return error_set(err, QR_EIO, "listen: %s", uv_strerror(rv));
    }
    *out = l;
    return 0;
}

static void
listener_on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;

    OBJ_CHECK(l, LISTENER_MAGIC);
    list_remove(&l->entry);
    if (l->on_close != NULL) {
        l->on_close(l->close_arg);
    }
    l->magic = 0;
    mem_free(l);
}

void
listener_begin_close(struct listener *l)
{
    OBJ_CHECK(l, LISTENER_MAGIC);
    if (!l->closing) {
        l->closing = true;
        uv_close(&l->uv.handle, listener_on_closed);
    }
}

void
listener_close(struct listener **listener, listener_close_cb cb, void *arg)
{
    struct listener *l = *listener;

    OBJ_CHECK(l, LISTENER_MAGIC);
    ASSERT(!l->closing);
    *listener = NULL;
    l->on_close = cb;
    l->close_arg = arg;
    listener_begin_close(l);
}
