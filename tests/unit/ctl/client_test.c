/* The exchange with a node, over a pair of sockets whose other end is here:
 * what the node would say is there before it is asked. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "ctl/client.h"
#include "lib/harness.h"
#include "mgmt/protocol.h"

struct pair {
    int ours;
    int theirs;
    struct client_response response;
    struct error err;
};

static void
pair_init(struct pair *p)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    p->ours = fds[0];
    p->theirs = fds[1];
    p->response.code = 0;
    buf_init(&p->response.json);
    error_clear(&p->err);
}

static void
pair_deinit(struct pair *p)
{
    (void)close(p->ours);
    if (p->theirs >= 0) {
        (void)close(p->theirs);
    }
    buf_deinit(&p->response.json);
}

/* The node says SIZE bytes at DATA. */
static void
say(struct pair *p, const void *data, size_t size)
{
    cr_assert_eq(write(p->theirs, data, size), (ssize_t)size);
}

static void
say_header(struct pair *p, size_t size, enum exit_code code)
{
    uint8_t header[RESPONSE_HEADER_SIZE];

    response_encode_header(header, size, code);
    say(p, header, sizeof(header));
}

static void
hang_up(struct pair *p)
{
    (void)shutdown(p->theirs, SHUT_WR);
}

static int
exchange(struct pair *p, const char *request, size_t size, uint64_t wait_ms)
{
    struct client_request r = {.data = request, .size = size};

    return client_exchange(p->ours, &r, wait_ms, &p->response, &p->err);
}

Test(client, a_response_and_its_code_arrive)
{
    uint8_t heard[16];
    struct pair p;

    pair_init(&p);
    say_header(&p, 13, EXIT_CODE_DATA);
    say(&p, "{\"error\":\"x\"}", 13);
    cr_assert_eq(exchange(&p, "ping", 5, 60000), 0);
    cr_assert_eq(p.response.code, 65);
    cr_assert_eq(p.response.json.size, 13);
    cr_assert_eq(read(p.theirs, heard, sizeof(heard)), 9);
    cr_assert_eq(memcmp(heard, "\5\0\0\0ping", 9), 0);
    pair_deinit(&p);
}

Test(client, a_node_that_says_nothing_is_given_up)
{
    struct pair p;

    pair_init(&p);
    cr_assert_eq(exchange(&p, "ping", 5, 1), -QR_ETIMEOUT);
    cr_assert(strstr(p.err.text, "within 1 ms") != NULL);
    pair_deinit(&p);
}

Test(client, a_response_cut_short_is_an_error)
{
    struct pair p;

    pair_init(&p);
    hang_up(&p);
    cr_assert_eq(exchange(&p, "ping", 5, 60000), -QR_EIO);
    pair_deinit(&p);
    pair_init(&p);
    say_header(&p, 100, EXIT_CODE_OK);
    say(&p, "{", 1);
    hang_up(&p);
    cr_assert_eq(exchange(&p, "ping", 5, 60000), -QR_EIO);
    cr_assert(strstr(p.err.text, "ended the connection") != NULL);
    pair_deinit(&p);
}

Test(client, a_response_of_something_else_is_an_error)
{
    struct pair p;

    pair_init(&p);
    say(&p, "HTTP/1.1 400", 12);
    cr_assert_eq(exchange(&p, "ping", 5, 60000), -QR_ETOOBIG);
    pair_deinit(&p);
    pair_init(&p);
    say(&p, "\0\0\0\0\0", 5);
    cr_assert_eq(exchange(&p, "ping", 5, 60000), -QR_EFORMAT);
    pair_deinit(&p);
}

Test(client, a_request_has_a_largest_size)
{
    static char request[REQUEST_SIZE_MAX + 1];
    struct pair p;

    pair_init(&p);
    cr_assert_eq(exchange(&p, request, sizeof(request), 60000), -QR_ETOOBIG);
    pair_deinit(&p);
}

Test(client, where_nobody_listens_is_said)
{
    struct client_request r = {.data = "ping", .size = 5, .timeout_ms = 1};
    struct pair p;

    pair_init(&p);
    cr_assert_eq(client_run("/nonexistent/ctl.sock", &r, &p.response, &p.err),
                 -QR_EIO);
    cr_assert(strstr(p.err.text, "/nonexistent/ctl.sock") != NULL);
    cr_assert(strstr(p.err.text, "QUORATE_SOCKET") != NULL);
    r.await = true; /* in the end, though it waits for a node to start */
    cr_assert_eq(client_run("/nonexistent/ctl.sock", &r, &p.response, &p.err),
                 -QR_EIO);
    pair_deinit(&p);
}

/* The socket that TEXT, a configuration, means. */
static int
config_path(const char *text, char out[SOCKET_PATH_SIZE])
{
    struct error err;

    error_clear(&err);
    return client_config_path(text, strlen(text), out, &err);
}

Test(client, the_configuration_says_where_the_socket_is)
{
    char path[SOCKET_PATH_SIZE];

    cr_assert_eq(config_path("", path), 0);
    cr_assert_str_eq(path, "./quorate-data/ctl.sock");
    cr_assert_eq(
        config_path("# node.data_dir = /no\nnode.data_dir=/a b \n", path), 0);
    cr_assert_str_eq(path, "/a b/ctl.sock");
    cr_assert_eq(config_path("node.data_dir = /a\n\tnode.socket =\t/s\r\n"
                             "node.sockets = /x",
                             path),
                 0);
    cr_assert_str_eq(path, "/s");
    cr_assert_eq(config_path("node.socket = \nnode.data_dir = /b", path), 0);
    cr_assert_str_eq(path, "/b/ctl.sock");
}

Test(client, a_socket_path_has_a_largest_size)
{
    char longest[SOCKET_PATH_SIZE + 1];
    char path[SOCKET_PATH_SIZE];
    struct error err;

    memset(longest, 'a', sizeof(longest));
    longest[SOCKET_PATH_SIZE - 1] = '\0';
    cr_assert_eq(client_socket_path(longest, NULL, path, &err), 0);
    cr_assert_str_eq(path, longest);
    longest[SOCKET_PATH_SIZE - 1] = 'a';
    longest[SOCKET_PATH_SIZE] = '\0';
    cr_assert_eq(client_socket_path(longest, NULL, path, &err), -QR_EINVAL);
    cr_assert_eq(client_socket_path("", NULL, path, &err), -QR_EINVAL);
}

Test(client, the_environment_comes_after_the_command_line)
{
    char path[SOCKET_PATH_SIZE];
    struct error err;

    cr_assert_eq(setenv("QUORATE_SOCKET", "/from/environment", 1), 0);
    cr_assert_eq(client_socket_path(NULL, NULL, path, &err), 0);
    cr_assert_str_eq(path, "/from/environment");
    cr_assert_eq(client_socket_path("/given", NULL, path, &err), 0);
    cr_assert_str_eq(path, "/given");
    cr_assert_eq(unsetenv("QUORATE_SOCKET"), 0);
    cr_assert_eq(client_socket_path(NULL, NULL, path, &err), 0);
    cr_assert_str_eq(path, "./quorate-data/ctl.sock");
    cr_assert_eq(client_socket_path(NULL, "/nonexistent.conf", path, &err),
                 -QR_EIO);
}
