/* See sim_job.h. Plans and results go as they are in memory: the child is a
 * fork of this process. A pipe catches what it says on standard error. */
#include "sim/sim_job.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <quorate/error.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    JOBS_MAX = 64,
    HEAP_KEPT = 256 << 20,
    HEAP_STEP = 4 << 20
};

/* The next plan, from FD; false: there is none. */
static bool
read_plan(int fd, struct sim_plan *plan)
{
    size_t got = 0;

    while (got < sizeof(*plan)) {
        ssize_t more = read(fd, (char *)plan + got, sizeof(*plan) - got);

        if (more <= 0) {
            return false;
        }
        got += (size_t)more;
    }
    return true;
}

static bool
send_all(int fd, const void *data, size_t size)
{
    size_t sent = 0;

    while (sent < size) {
        ssize_t more =
            send(fd, (const char *)data + sent, size - sent, MSG_NOSIGNAL);

        if (more <= 0) {
            return false;
        }
        sent += (size_t)more;
    }
    return true;
}

/* What a run frees is there for the next. */
static void
keep_heap(void)
{
    static const int options[][2] = {{M_MMAP_THRESHOLD, HEAP_KEPT},
                                     {M_TRIM_THRESHOLD, HEAP_KEPT},
                                     {M_TOP_PAD, HEAP_STEP}};

    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        /* There is one thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
        (void)mallopt(options[i][0], options[i][1]);
    }
}

static void
run_child(const struct sim_world_config *config, int run_fd, int text_fd)
{
    struct sim_world_config next = *config;
    struct sim_plan *plan = mem_dup(config->plan, sizeof(*plan));
    struct sim_world_result result;

    next.plan = plan;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    keep_heap();
    (void)dup2(text_fd, STDERR_FILENO);
    if (config->trace_path != NULL &&
        freopen(config->trace_path, "w", stdout) == NULL) {
        (void)fprintf(stderr, "cannot write the trace\n");
        _exit(1);
    }
    /* What was traced before an assertion fails must not be lost. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    do {
        (void)alarm(SIM_JOB_SECONDS_MAX);
        sim_world_run(&next, &result);
        (void)alarm(0);
        (void)fflush(stdout);
    } while (send_all(run_fd, &result, sizeof(result)) &&
             read_plan(run_fd, plan));
    _exit(0);
}

static int
start_child(struct sim_job *j, const struct sim_world_config *config)
{
    int run_fds[2];
    int text_fds[2];

    ASSERT(j->child == 0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, run_fds) != 0) {
        return -QR_EIO;
    }
    if (pipe(text_fds) != 0) {
        goto close_run;
    }
    (void)fflush(stdout);
    j->child = fork();
    if (j->child == 0) {
        (void)close(run_fds[0]);
        run_child(config, run_fds[1], text_fds[1]);
    }
    if (j->child < 0) {
        goto close_text;
    }
    (void)close(run_fds[1]);
    (void)close(text_fds[1]);
    j->run_fd = run_fds[0];
    j->text_fd = text_fds[0];
    j->runs = 0;
    return 0;

close_text:
    j->child = 0;
    (void)close(text_fds[0]);
    (void)close(text_fds[1]);
close_run:
    (void)close(run_fds[0]);
    (void)close(run_fds[1]);
    return -QR_EIO;
}

int
sim_job_start(struct sim_job *j, const struct sim_world_config *config)
{
    int rv = 0;

    ASSERT(!j->is_running);
    if (j->child != 0 &&
        !send_all(j->run_fd, config->plan, sizeof(*config->plan))) {
        sim_job_stop(j);
    }
    if (j->child == 0) {
        rv = start_child(j, config);
    }
    if (rv == 0) {
        j->got = 0;
        j->text_size = 0;
        j->has_died = false;
        j->is_running = true;
        j->runs++;
    }
    return rv;
}

/* Keep the end of what it says. */
static void
read_text(struct sim_job *j)
{
    char more[SIM_JOB_TEXT_SIZE / 2];
    ssize_t got = read(j->text_fd, more, sizeof(more));
    size_t size = got > 0 ? (size_t)got : 0;

    if (j->text_size + size > sizeof(j->text)) {
        size_t gone = j->text_size + size - sizeof(j->text);

        j->text_size -= gone;
        memmove(j->text, j->text + gone, j->text_size);
    }
    memcpy(j->text + j->text_size, more, size);
    j->text_size += size;
    if (got <= 0) {
        (void)close(j->text_fd);
        j->text_fd = -1;
    }
}

static void
read_result(struct sim_job *j)
{
    ssize_t got = read(j->run_fd, (char *)&j->result + j->got,
                       sizeof(j->result) - j->got);

    j->got += got > 0 ? (size_t)got : 0;
    if (got <= 0) {
        (void)close(j->run_fd);
        j->run_fd = -1;
    }
}

/* The last line that it said, without the path that led to the source. */
static void
put_last_line(const struct sim_job *j, char *out, size_t size)
{
    size_t end = j->text_size;
    size_t start;

    while (end > 0 && j->text[end - 1] == '\n') {
        end--;
    }
    start = end;
    while (start > 0 && j->text[start - 1] != '\n') {
        start--;
    }
    while (end - start > 3 && memcmp(j->text + start, "../", 3) == 0) {
        start += 3;
    }
    (void)snprintf(out, size, "%.*s", (int)(end - start), j->text + start);
}

/* Close what is still open, and wait for its end. */
static int
bury(struct sim_job *j)
{
    int status = 0;

    ASSERT(j->child != 0);
    if (j->run_fd >= 0) {
        (void)close(j->run_fd);
    }
    if (j->text_fd >= 0) {
        (void)close(j->text_fd);
    }
    while (waitpid(j->child, &status, 0) < 0 && errno == EINTR) {
    }
    j->child = 0;
    return status;
}

/* It ended without a result. */
static void
fill_death(struct sim_job *j)
{
    int status = bury(j);

    j->has_died = true;
    memset(&j->result, 0, sizeof(j->result));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        (void)snprintf(j->result.violation, sizeof(j->result.violation),
                       "stuck: it ran for %d s", SIM_JOB_SECONDS_MAX);
        return;
    }
    put_last_line(j, j->result.violation, sizeof(j->result.violation));
    if (j->result.violation[0] == '\0') {
        (void)snprintf(j->result.violation, sizeof(j->result.violation),
                       "died: of signal %d",
                       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }
}

/* Whether the run of J is over. */
static bool
is_done(struct sim_job *j)
{
    if (!j->is_running) {
        return false;
    }
    if (j->got < sizeof(j->result)) {
        if (j->run_fd >= 0 || j->text_fd >= 0) {
            return false;
        }
        fill_death(j);
    }
    j->is_running = false;
    return true;
}

void
sim_job_stop(struct sim_job *j)
{
    ASSERT(!j->is_running);
    if (j->child != 0) {
        /* Later children have our end of it, too: to close it is no end. */
        (void)shutdown(j->run_fd, SHUT_RDWR);
        (void)bury(j);
    }
}

size_t
sim_job_wait(struct sim_job *jobs, size_t count, int timeout_ms)
{
    struct pollfd fds[2 * JOBS_MAX];

    ASSERT(count <= JOBS_MAX);
    for (;;) {
        for (size_t i = 0; i < count; i++) {
            struct sim_job *j = &jobs[i];

            if (is_done(j)) {
                return i;
            }
            fds[2 * i].fd = j->is_running ? j->run_fd : -1;
            fds[2 * i + 1].fd = j->is_running ? j->text_fd : -1;
            fds[2 * i].events = fds[2 * i + 1].events = POLLIN;
            fds[2 * i].revents = fds[2 * i + 1].revents = 0;
        }
        if (poll(fds, (nfds_t)(2 * count), timeout_ms) == 0) {
            return count;
        }
        for (size_t i = 0; i < count; i++) {
            if (fds[2 * i].revents != 0) {
                read_result(&jobs[i]);
            }
            if (fds[2 * i + 1].revents != 0) {
                read_text(&jobs[i]);
            }
        }
    }
}

int
sim_job_run(const struct sim_world_config *config, struct sim_world_result *out)
{
    struct sim_job j = {0};
    int rv = sim_job_start(&j, config);

    if (rv == 0) {
        (void)sim_job_wait(&j, 1, -1);
        *out = j.result;
        sim_job_stop(&j);
    }
    return rv;
}
