/* What a supervisor hears. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/notify.h"
#include "lib/harness.h"

/* A supervisor at NAME, '@' for a NUL. */
static int
listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    memcpy(at.sun_path, name, strlen(name));
    if (name[0] == '@') {
        at.sun_path[0] = '\0';
    }
    cr_assert_eq(bind(fd, (struct sockaddr *)&at,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                  strlen(name))),
                 0);
    cr_assert_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void
expect(int fd, const char *want)
{
    char got[100] = "";
    ssize_t size = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

    cr_expect_eq(size, (ssize_t)strlen(want));
    cr_expect_str_eq(got, want);
}

Test(notify, reaches_a_socket_without_a_file)
{
    char name[64];
    int fd = -1;

    (void)snprintf(name, sizeof(name), "@quorate-notify-test-%d", getpid());
    fd = listen_at(name);
    notify_supervisor("READY=1\nSTATUS=x");
    expect(fd, "READY=1\nSTATUS=x");
    (void)close(fd);
    notify_supervisor("STOPPING=1"); /* nobody listens */
}

Test(notify, reaches_a_socket_with_a_file)
{
    char dir[] = "/tmp/quorate-notify-XXXXXX";
    char name[64];
    int fd = -1;

    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(name, sizeof(name), "%s/socket", dir);
    fd = listen_at(name);
    notify_supervisor("STOPPING=1");
    expect(fd, "STOPPING=1");
    (void)close(fd);
    (void)unlink(name);
    (void)rmdir(dir);
}

Test(notify, needs_no_supervisor)
{
    char longest[200];

    (void)unsetenv("NOTIFY_SOCKET");
    notify_supervisor("READY=1");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    cr_assert_eq(setenv("NOTIFY_SOCKET", longest, 1), 0);
    notify_supervisor("READY=1");
}
