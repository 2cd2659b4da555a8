/* The cable between the hosts of a torture run. Each host is a network
 * namespace with a TUN device; this program holds the other ends and carries
 * each packet to the host with its destination's address. On its way a packet
 * may be lost, doubled, delayed or overtaken, in each direction apart. So what
 * `tc netem` does works on every kernel that has TUN, and a cut is a cut: no
 * error, no reset, only silence.
 *
 *   torture-wire SEED NAME=ADDRESS=NETNS_FILE ...
 *
 * It makes the device `wire0` in every namespace; whoever started it gives
 * them their addresses. Commands come line by line on standard input, each is
 * answered by a line on standard output, and at its end the cable is gone:
 *
 *   path FROM TO CUT DELAY_US JITTER_US LOSS DOUBLE OVERTAKE
 *       CUT is 0 or 1; the last three are packets in a million
 *   count
 *       packets: carried, cut, lost, doubled, overtaken, dropped (no room) */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"

enum {
    HOSTS_MAX = 16,
    NAME_SIZE = 16,
    /* The devices' MTU may be no more. */
    PACKET_MAX = 9216,
    /* Packets on their way; more are dropped, as by a switch. */
    FLYING_MAX = 8192,
    /* Packets read from one host before the others have their turn. */
    BURST_MAX = 64,
    LINE_MAX_SIZE = 256,
    DELAY_MAX_US = 10 * 1000 * 1000,
    IPV4_HEADER = 20,
    IPV4_DESTINATION = 16
};

/* One direction between two hosts. */
struct path {
    uint32_t is_cut;
    uint32_t delay_us;
    uint32_t jitter_us;
    uint32_t loss;
    uint32_t twice;
    uint32_t overtake;
};

struct host {
    char name[NAME_SIZE];
    struct in_addr address;
    int fd;
};

struct packet {
    struct heap_node due; /* microseconds */
    struct list link;     /* in wire.spare */
    int to;
    size_t size;
    unsigned char bytes[PACKET_MAX];
};

struct counts {
    unsigned long carried;
    unsigned long cut;
    unsigned long lost;
    unsigned long doubled;
    unsigned long overtaken;
    unsigned long dropped;
};

struct wire {
    struct host hosts[HOSTS_MAX];
    int host_count;
    struct path paths[HOSTS_MAX][HOSTS_MAX];
    struct rng rng;
    struct heap flying;
    struct list spare;
    struct packet *pool;
    struct counts counts;
    char line[LINE_MAX_SIZE];
    size_t line_size;
};

static NORETURN void
fail(const char *what, const char *name)
{
    fprintf(stderr, "torture-wire: %s: %s: %s\n", name, what, strerror(errno));
    exit(1);
}

static uint64_t
now_us(void)
{
    struct timespec t;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* A TUN device of the namespace that the thread is in. */
static int
open_tun(const char *name)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        fail("/dev/net/tun", name);
    }
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    memcpy(request.ifr_name, "wire0", sizeof("wire0"));
    if (ioctl(fd, TUNSETIFF, &request) != 0) {
        fail("TUNSETIFF", name);
    }
    return fd;
}

/* Add the host of NAME=ADDRESS=NETNS_FILE; changes ARGUMENT. */
static void
add_host(struct wire *w, char *argument)
{
    char *save = NULL;
    const char *name = strtok_r(argument, "=", &save);
    const char *address = strtok_r(NULL, "=", &save);
    const char *netns = strtok_r(NULL, "=", &save);
    if (netns == NULL || strlen(name) >= NAME_SIZE ||
        w->host_count == HOSTS_MAX) {
        errno = EINVAL;
        fail("not NAME=ADDRESS=NETNS_FILE", argument);
    }
    struct host *h = &w->hosts[w->host_count++];
    memcpy(h->name, name, strlen(name) + 1);
    if (inet_pton(AF_INET, address, &h->address) != 1) {
        errno = EINVAL;
        fail("not an address", address);
    }
    int fd = open(netns, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) {
        fail("namespace", netns);
    }
    close(fd);
    h->fd = open_tun(name);
}

static int
host_by_name(const struct wire *w, const char *name)
{
    for (int i = 0; i < w->host_count; i++) {
        if (strcmp(w->hosts[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* The host that a packet is for; -1: none, or it is no IPv4. */
static int
destination(const struct wire *w, const unsigned char *bytes, size_t size)
{
    if (size < IPV4_HEADER || bytes[0] >> 4 != 4) {
        return -1;
    }
    struct in_addr to;
    memcpy(&to, bytes + IPV4_DESTINATION, sizeof(to));
    for (int i = 0; i < w->host_count; i++) {
        if (w->hosts[i].address.s_addr == to.s_addr) {
            return i;
        }
    }
    return -1;
}

static void
deliver(struct wire *w, const struct packet *p)
{
    if (write(w->hosts[p->to].fd, p->bytes, p->size) == (ssize_t)p->size) {
        w->counts.carried++;
    } else {
        w->counts.dropped++;
    }
}

/* A packet that is not on its way; NULL: all are. */
static struct packet *
take_spare(struct wire *w)
{
    struct list *entry = list_pop_front(&w->spare);
    if (entry == NULL) {
        w->counts.dropped++;
        return NULL;
    }
    return CONTAINER_OF(entry, struct packet, link);
}

/* Let P go now, or when its path says. Takes P. */
static void
send_on(struct wire *w, const struct path *path, struct packet *p)
{
    uint64_t delay = path->delay_us;
    if (path->jitter_us > 0) {
        delay += rng_below(&w->rng, path->jitter_us);
    }
    if (delay > 0 && rng_chance(&w->rng, path->overtake)) {
        w->counts.overtaken++;
        delay = 0;
    }
    if (delay == 0) {
        deliver(w, p);
        list_push_back(&w->spare, &p->link);
        return;
    }
    heap_insert(&w->flying, &p->due, now_us() + delay);
}

/* P has come from host FROM. Takes P. */
static void
carry(struct wire *w, int from, struct packet *p)
{
    int to = destination(w, p->bytes, p->size);
    const struct path *path = to < 0 ? NULL : &w->paths[from][to];
    if (path == NULL) {
        w->counts.dropped++;
    } else if (path->is_cut != 0) {
        w->counts.cut++;
    } else if (rng_chance(&w->rng, path->loss)) {
        w->counts.lost++;
    } else {
        p->to = to;
        if (rng_chance(&w->rng, path->twice)) {
            struct packet *copy = take_spare(w);
            if (copy != NULL) {
                w->counts.doubled++;
                copy->to = to;
                copy->size = p->size;
                memcpy(copy->bytes, p->bytes, p->size);
                send_on(w, path, copy);
            }
        }
        send_on(w, path, p);
        return;
    }
    list_push_back(&w->spare, &p->link);
}

static void
read_host(struct wire *w, int from)
{
    for (int i = 0; i < BURST_MAX; i++) {
        struct packet *p = take_spare(w);
        if (p == NULL) {
            /* Nobody's: the host's own queue overflows. */
            return;
        }
        ssize_t n = read(w->hosts[from].fd, p->bytes, sizeof(p->bytes));
        if (n <= 0) {
            list_push_back(&w->spare, &p->link);
            return;
        }
        p->size = (size_t)n;
        carry(w, from, p);
    }
}

static void
land(struct wire *w)
{
    uint64_t now = now_us();
    struct heap_node *node;
    while ((node = heap_min(&w->flying)) != NULL && node->key <= now) {
        heap_remove(&w->flying, node);
        struct packet *p = CONTAINER_OF(node, struct packet, due);
        deliver(w, p);
        list_push_back(&w->spare, &p->link);
    }
}

/* The path command; what is wrong with it, or NULL. */
static const char *
set_path(struct wire *w, const char *line)
{
    char from[NAME_SIZE];
    char to[NAME_SIZE];
    struct path p;
    if (sscanf(line, "path %15s %15s %u %u %u %u %u %u", from, to, &p.is_cut,
               &p.delay_us, &p.jitter_us, &p.loss, &p.twice,
               &p.overtake) != 8) {
        return "six numbers are needed";
    }
    int a = host_by_name(w, from);
    int b = host_by_name(w, to);
    if (a < 0 || b < 0) {
        return "no such host";
    }
    if (p.delay_us > DELAY_MAX_US || p.jitter_us > DELAY_MAX_US) {
        return "ten seconds at most";
    }
    w->paths[a][b] = p;
    return NULL;
}

static void
command(struct wire *w, const char *line)
{
    if (strcmp(line, "count") == 0) {
        const struct counts *c = &w->counts;
        printf("%lu %lu %lu %lu %lu %lu\n", c->carried, c->cut, c->lost,
               c->doubled, c->overtaken, c->dropped);
    } else {
        const char *wrong = strncmp(line, "path ", 5) == 0 ? set_path(w, line)
                                                           : "no such command";
        if (wrong == NULL) {
            puts("ok");
        } else {
            printf("%s: %s\n", line, wrong);
        }
    }
    fflush(stdout);
}

/* What has come on standard input; false at its end. */
static bool
read_commands(struct wire *w)
{
    ssize_t n = read(STDIN_FILENO, w->line + w->line_size,
                     sizeof(w->line) - w->line_size - 1);
    if (n <= 0) {
        return false;
    }
    w->line_size += (size_t)n;
    w->line[w->line_size] = '\0';
    char *end;
    while ((end = strchr(w->line, '\n')) != NULL) {
        *end = '\0';
        command(w, w->line);
        size_t used = (size_t)(end + 1 - w->line);
        w->line_size -= used;
        memmove(w->line, end + 1, w->line_size + 1);
    }
    return w->line_size < sizeof(w->line) - 1;
}

/* How long to wait for packets, at most. */
static struct timespec
patience(const struct wire *w)
{
    const struct heap_node *node = heap_min(&w->flying);
    uint64_t now = now_us();
    uint64_t us = 1000000;
    if (node != NULL) {
        us = node->key <= now ? 0 : MIN(us, node->key - now);
    }
    return (struct timespec){.tv_sec = (time_t)(us / 1000000),
                             .tv_nsec = (long)(us % 1000000) * 1000};
}

static void
run(struct wire *w)
{
    for (;;) {
        struct pollfd fds[HOSTS_MAX + 1];
        for (int i = 0; i < w->host_count; i++) {
            fds[i] = (struct pollfd){.fd = w->hosts[i].fd, .events = POLLIN};
        }
        fds[w->host_count] =
            (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
        struct timespec wait = patience(w);
        if (ppoll(fds, (nfds_t)w->host_count + 1, &wait, NULL) < 0) {
            fail("ppoll", "poll");
        }
        if (fds[w->host_count].revents != 0 && !read_commands(w)) {
            return;
        }
        for (int i = 0; i < w->host_count; i++) {
            if (fds[i].revents != 0) {
                read_host(w, i);
            }
        }
        land(w);
    }
}

int
main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: torture-wire SEED NAME=ADDRESS=NETNS_FILE ...\n", stderr);
        return 2;
    }
    struct wire *w = mem_zalloc(1, sizeof(*w));
    rng_init(&w->rng, strtoull(argv[1], NULL, 10));
    heap_init(&w->flying);
    list_init(&w->spare);
    w->pool = mem_zalloc(FLYING_MAX, sizeof(*w->pool));
    for (int i = 0; i < FLYING_MAX; i++) {
        list_push_back(&w->spare, &w->pool[i].link);
    }
    for (int i = 2; i < argc; i++) {
        add_host(w, argv[i]);
    }
    puts("ready");
    fflush(stdout);
    run(w);
    heap_deinit(&w->flying);
    mem_free(w->pool);
    mem_free(w);
    return 0;
}
