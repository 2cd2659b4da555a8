/* The socket of quoratectl: framing, one request at a time, deadlines, and what
 * it answers before the node belongs to a cluster. The mgmt behind it is a
 * fake, below. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "daemon/ctl_listener.h"
#include "lib/harness.h"
#include "mgmt/mgmt.h"
#include "mgmt/protocol.h"
#include "net/net.h"
#include "shard/env.h"

static const char *
waits_for(void *arg)
{
    (void)arg;
    return "it waits";
}

enum {
    TURNS_MAX = 2000,
    QUIET_TURNS = 20
};

/* ---- a mgmt that keeps the last request ---- */

struct mgmt {
    struct buf request;
    struct mgmt_call *call; /* under way */
    unsigned requests;
    unsigned abandoned;
};

void
mgmt_request(struct mgmt *m, const void *data, size_t size,
             struct mgmt_call *call)
{
    buf_clear(&m->request);
    buf_put(&m->request, data, size);
    m->call = call;
    m->requests++;
    call->impl = m;
}

void
mgmt_call_abandon(struct mgmt_call *call)
{
    struct mgmt *m = call->impl;

    if (m != NULL) {
        m->abandoned++;
        m->call = NULL;
        call->impl = NULL;
    }
}

static void
mgmt_answer(struct mgmt *m, enum exit_code code, const char *text)
{
    struct mgmt_call *call = m->call;
    struct buf json;

    buf_init(&json);
    buf_put_text(&json, text);
    m->call = NULL;
    call->impl = NULL;
    call->done(call, (uint8_t)code, &json);
    buf_deinit(&json);
}

/* ---- a loop with a listener on it ---- */

static uv_loop_t loop;
static uv_idle_t idle;
static uv_check_t check;
static struct env env;
static struct net *net;
static struct ctl_listener *listener;
static struct mgmt fake;
static uint64_t ahead_ms; /* of the loop's clock */
static unsigned stops;
static char dir[64];
static char path[96];

static void
on_idle(uv_idle_t *handle)
{
    (void)handle;
}

static void
net_wake_up(void *arg)
{
    (void)arg;
    (void)uv_idle_start(&idle, on_idle);
}

static uint64_t
now_ms(struct env *e)
{
    (void)e;
    return uv_now(&loop) + ahead_ms;
}

static void
on_check(uv_check_t *handle)
{
    (void)handle;
    (void)uv_idle_stop(&idle);
    (void)timers_run(&env.timers, now_ms(&env), 100);
    net_flush(net);
}

static void
on_stop(void *arg)
{
    (void)arg;
    stops++;
}

static void
setup(void)
{
    static const struct env_ops ops = {.now_ms = now_ms};
    struct ctl_listener_config config = {.data_dir = "data",
                                         .waits_for = waits_for,
                                         .env = &env,
                                         .path = path,
                                         .node_name = "n1",
                                         .stop = on_stop};
    struct error err = {""};

    (void)snprintf(dir, sizeof(dir), "/tmp/ctl-test-XXXXXX");
    cr_assert(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/ctl.sock", dir);
    cr_assert_eq(uv_loop_init(&loop), 0);
    net = net_new(&loop, net_wake_up, NULL);
    timers_init(&env.timers);
    env.ops = &ops;
    ahead_ms = 0;
    stops = 0;
    memset(&fake, 0, sizeof(fake));
    buf_init(&fake.request);
    (void)uv_idle_init(&loop, &idle);
    (void)uv_check_init(&loop, &check);
    (void)uv_check_start(&check, on_check);
    config.net = net;
    cr_assert_eq(ctl_listener_start(&config, &listener, &err), 0, "%s",
                 err.text);
}

static void
turns(unsigned count)
{
    while (count-- > 0) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static void
teardown(void)
{
    ctl_listener_stop(listener);
    ctl_listener_stop(listener);
    net_close_all(net);
    turns(QUIET_TURNS);
    ctl_listener_free(&listener);
    uv_close((uv_handle_t *)&idle, NULL);
    uv_close((uv_handle_t *)&check, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    net_free(&net);
    cr_assert_eq(uv_loop_close(&loop), 0);
    timers_deinit(&env.timers);
    buf_deinit(&fake.request);
    cr_expect_neq(access(path, F_OK), 0, "the socket is left behind");
    (void)rmdir(dir);
}

TestSuite(ctl_listener, .init = setup, .fini = teardown);

/* ---- a client ---- */

static int
client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void
say(int fd, const char *words, size_t size)
{
    uint8_t length[4];

    put_u32le(length, (uint32_t)size);
    cr_assert_eq(write(fd, length, 4), 4);
    cr_assert_eq(write(fd, words, size), (ssize_t)size);
}

#define SAY(fd, words) say((fd), "" words, sizeof(words))

static bool
is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

/* Let the loop turn until FD has something. */
static void
await_bytes(int fd)
{
    for (unsigned i = 0; i < TURNS_MAX && !is_readable(fd); i++) {
        turns(1);
    }
    cr_assert(is_readable(fd), "nothing came");
}

/* The next response; its JSON with a NUL to TEXT. */
static uint8_t
hear(int fd, char *text, size_t text_size)
{
    uint8_t header[RESPONSE_HEADER_SIZE];
    size_t size = 0;
    uint8_t code = 255;

    await_bytes(fd);
    cr_assert_eq(read(fd, header, sizeof(header)), RESPONSE_HEADER_SIZE);
    cr_assert_eq(response_decode_header(header, &size, &code), 0);
    cr_assert_lt(size, text_size);
    cr_assert_eq(read(fd, text, size), (ssize_t)size);
    text[size] = '\0';
    return code;
}

static void
expect_closed(int fd)
{
    char byte;

    await_bytes(fd);
    cr_assert_leq(read(fd, &byte, 1), 0);
    (void)close(fd);
}

Test(ctl_listener, only_its_owner_may_open_the_socket)
{
    struct stat st;

    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(ctl_listener, a_request_reaches_mgmt_and_its_response_the_client)
{
    char text[256];
    int fd = client();

    ctl_listener_serve(listener, &fake);
    SAY(fd, "ping\0--");
    for (unsigned i = 0; i < TURNS_MAX && fake.call == NULL; i++) {
        turns(1);
    }
    cr_assert_eq(fake.request.size, 8);
    cr_assert_eq(memcmp(fake.request.data, "ping\0--", 8), 0);
    mgmt_answer(&fake, EXIT_CODE_DATA, "{\"error\":\"x\"}");
    cr_assert_eq(hear(fd, text, sizeof(text)), 65);
    cr_assert_str_eq(text, "{\"error\":\"x\"}");
    (void)close(fd);
}

Test(ctl_listener, requests_of_a_client_run_one_after_the_other)
{
    char text[256];
    int fd = client();

    ctl_listener_serve(listener, &fake);
    SAY(fd, "ping\0--");
    SAY(fd, "version\0--");
    turns(QUIET_TURNS);
    cr_assert_eq(fake.requests, 1);
    mgmt_answer(&fake, EXIT_CODE_OK, "{\"text\":\"1\"}");
    cr_assert_eq(hear(fd, text, sizeof(text)), 0);
    for (unsigned i = 0; i < TURNS_MAX && fake.requests < 2; i++) {
        turns(1);
    }
    cr_assert_eq(memcmp(fake.request.data, "version", 8), 0);
    mgmt_answer(&fake, EXIT_CODE_OK, "{\"text\":\"2\"}");
    cr_assert_eq(hear(fd, text, sizeof(text)), 0);
    cr_assert_str_eq(text, "{\"text\":\"2\"}");
    (void)close(fd);
}

Test(ctl_listener, a_request_may_come_in_pieces)
{
    int fd = client();

    ctl_listener_serve(listener, &fake);
    cr_assert_eq(write(fd, "\10\0", 2), 2);
    turns(QUIET_TURNS);
    cr_assert_eq(write(fd, "\0\0ping", 6), 6);
    turns(QUIET_TURNS);
    cr_assert_eq(fake.requests, 0);
    cr_assert_eq(write(fd, "\0--", 4), 4);
    turns(QUIET_TURNS);
    cr_assert_eq(fake.requests, 1);
    mgmt_answer(&fake, EXIT_CODE_OK, "{\"text\":\"\"}");
    (void)close(fd);
}

Test(ctl_listener, what_is_too_large_is_refused_and_closed)
{
    uint8_t length[4];
    char text[256];
    int fd = client();

    ctl_listener_serve(listener, &fake);
    put_u32le(length, REQUEST_SIZE_MAX + 1);
    cr_assert_eq(write(fd, length, 4), 4);
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_USAGE);
    expect_closed(fd);
    cr_assert_eq(fake.requests, 0);
}

Test(ctl_listener, a_client_that_says_nothing_is_closed)
{
    int fd = client();

    turns(QUIET_TURNS);
    ahead_ms += CTL_LISTENER_IDLE_MS - 1000;
    turns(QUIET_TURNS);
    cr_assert(!is_readable(fd));
    ahead_ms += 2000;
    expect_closed(fd);
}

Test(ctl_listener, a_request_that_runs_is_not_idle)
{
    int fd = client();

    ctl_listener_serve(listener, &fake);
    SAY(fd, "ping\0--");
    turns(QUIET_TURNS);
    ahead_ms += 10 * CTL_LISTENER_IDLE_MS;
    turns(QUIET_TURNS);
    cr_assert(!is_readable(fd));
    cr_assert(fake.call != NULL);
    (void)close(fd);
}

Test(ctl_listener, one_more_client_closes_the_oldest_that_is_idle)
{
    int fds[CTL_LISTENER_CLIENTS_MAX + 1];

    for (size_t i = 0; i <= CTL_LISTENER_CLIENTS_MAX; i++) {
        fds[i] = client();
        turns(3);
    }
    expect_closed(fds[0]);
    for (size_t i = 1; i <= CTL_LISTENER_CLIENTS_MAX; i++) {
        cr_assert(!is_readable(fds[i]));
        (void)close(fds[i]);
    }
}

Test(ctl_listener, one_more_client_is_closed_when_all_are_served)
{
    int fds[CTL_LISTENER_CLIENTS_MAX + 1];

    ctl_listener_serve(listener, &fake);
    for (size_t i = 0; i <= CTL_LISTENER_CLIENTS_MAX; i++) {
        fds[i] = client();
        SAY(fds[i], "ping\0--");
        turns(QUIET_TURNS);
    }
    expect_closed(fds[CTL_LISTENER_CLIENTS_MAX]);
    for (size_t i = 0; i < CTL_LISTENER_CLIENTS_MAX; i++) {
        cr_assert(!is_readable(fds[i]));
        (void)close(fds[i]);
    }
}

Test(ctl_listener, when_mgmt_goes_its_requests_are_abandoned)
{
    int fd = client();

    ctl_listener_serve(listener, &fake);
    SAY(fd, "ping\0--");
    turns(QUIET_TURNS);
    cr_assert(fake.call != NULL);
    ctl_listener_serve(listener, NULL);
    cr_assert_eq(fake.abandoned, 1);
    expect_closed(fd);
}

Test(ctl_listener, a_node_without_a_cluster_says_what_it_waits_for)
{
    char text[512];
    int fd = client();

    SAY(fd, "list_queues\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_UNAVAILABLE);
    cr_assert(strstr(text, "(data directory data) is not part of a cluster "
                           "yet: it waits; see its log") != NULL);
    SAY(fd, "ping\0--node=n2\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_UNAVAILABLE);
    SAY(fd, "ping\0--node=n1\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_OK);
    SAY(fd, "version\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_OK);
    SAY(fd, "nonsense\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_USAGE);
    SAY(fd, "ping\0--timeout=x\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_USAGE);
    cr_assert_eq(stops, 0);
    SAY(fd, "stop\0--");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_OK);
    cr_assert_eq(stops, 1);
    (void)close(fd);
}

Test(ctl_listener, await_startup_waits_for_the_cluster)
{
    char text[256];
    int fd = client();

    SAY(fd, "await_startup\0--timeout=60\0--");
    turns(QUIET_TURNS);
    ahead_ms += 30000;
    turns(QUIET_TURNS);
    cr_assert(!is_readable(fd));
    ctl_listener_serve(listener, &fake);
    ahead_ms += 1000;
    turns(QUIET_TURNS);
    cr_assert_eq(fake.requests, 1);
    cr_assert_eq(memcmp(fake.request.data, "await_startup", 14), 0);
    mgmt_answer(&fake, EXIT_CODE_OK, "{\"text\":\"\"}");
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_OK);
    (void)close(fd);
}

Test(ctl_listener, await_startup_ends_with_its_timeout)
{
    char text[256];
    int fd = client();

    SAY(fd, "await_startup\0--timeout=2\0--");
    turns(QUIET_TURNS);
    ahead_ms += 3000;
    cr_assert_eq(hear(fd, text, sizeof(text)), EXIT_CODE_TIMEOUT);
    (void)close(fd);
}

Test(ctl_listener, a_second_node_cannot_take_the_socket)
{
    struct ctl_listener_config config = {.data_dir = "data",
                                         .waits_for = waits_for,
                                         .env = &env,
                                         .net = net,
                                         .path = path,
                                         .node_name = "n2"};
    struct ctl_listener *second = NULL;
    struct error err = {""};

    cr_assert_eq(ctl_listener_start(&config, &second, &err), -QR_EEXIST);
    cr_assert(second == NULL);
    cr_assert(strstr(err.text, "socket for quoratectl") != NULL);
}
