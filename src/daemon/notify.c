/* See notify.h. One datagram to a Unix-domain socket, whose name begins with
 * @ when it is not in the file system. */
#include "daemon/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"

void
notify_supervisor(const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = secure_getenv("NOTIFY_SOCKET");
    size_t size = path == NULL ? 0 : strlen(path);
    socklen_t to_size = 0;
    int fd = -1;

    ASSERT(state[0] != '\0');
    if (size == 0 || size >= sizeof(to.sun_path)) {
        return;
    }
    memcpy(to.sun_path, path, size);
    if (path[0] == '@') {
        to.sun_path[0] = '\0';
    }
    to_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                 (const struct sockaddr *)&to, to_size);
    (void)close(fd);
}
