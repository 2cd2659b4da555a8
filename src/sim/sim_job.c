/* See sim_job.h. The child writes its result, as it is in memory, into a pipe;
 * another pipe catches what it says on standard error. */
#include "sim/sim_job.h"

#include <errno.h>
#include <poll.h>
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    JOBS_MAX = 64
};

static void
run_child(const struct sim_world_config *config, int result_fd, int text_fd)
{
    struct sim_world_result result;

    (void)alarm(SIM_JOB_SECONDS_MAX);
    (void)dup2(text_fd, STDERR_FILENO);
    if (config->trace_path != NULL &&
        freopen(config->trace_path, "w", stdout) == NULL) {
        (void)fprintf(stderr, "cannot write the trace\n");
        _exit(1);
    }
    /* What was traced before an assertion fails must not be lost. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    sim_world_run(config, &result);
    (void)fflush(stdout);
    _exit(write(result_fd, &result, sizeof(result)) == sizeof(result) ? 0 : 1);
}

int
sim_job_start(struct sim_job *j, const struct sim_world_config *config)
{
    int result_fds[2];
    int text_fds[2];

    memset(j, 0, sizeof(*j));
    if (pipe(result_fds) != 0) {
        return -QR_EIO;
    }
    if (pipe(text_fds) != 0) {
        goto close_result;
    }
    (void)fflush(stdout);
    j->child = fork();
    if (j->child == 0) {
        run_child(config, result_fds[1], text_fds[1]);
    }
    if (j->child < 0) {
        goto close_text;
    }
    (void)close(result_fds[1]);
    (void)close(text_fds[1]);
    j->result_fd = result_fds[0];
    j->text_fd = text_fds[0];
    return 0;

close_text:
    j->child = 0;
    (void)close(text_fds[0]);
    (void)close(text_fds[1]);
close_result:
    (void)close(result_fds[0]);
    (void)close(result_fds[1]);
    return -QR_EIO;
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
    ssize_t got = read(j->result_fd, (char *)&j->result + j->got,
                       sizeof(j->result) - j->got);

    j->got += got > 0 ? (size_t)got : 0;
    if (got <= 0) {
        (void)close(j->result_fd);
        j->result_fd = -1;
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

static void
bury(struct sim_job *j)
{
    int status = 0;

    while (waitpid(j->child, &status, 0) < 0 && errno == EINTR) {
    }
    j->child = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
        j->got == sizeof(j->result)) {
        return;
    }
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

size_t
sim_job_wait(struct sim_job *jobs, size_t count, int timeout_ms)
{
    struct pollfd fds[2 * JOBS_MAX];

    ASSERT(count <= JOBS_MAX);
    for (;;) {
        for (size_t i = 0; i < count; i++) {
            struct sim_job *j = &jobs[i];

            if (j->child != 0 && j->result_fd < 0 && j->text_fd < 0) {
                bury(j);
                return i;
            }
            fds[2 * i].fd = j->child != 0 ? j->result_fd : -1;
            fds[2 * i + 1].fd = j->child != 0 ? j->text_fd : -1;
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
    struct sim_job j;
    int rv = sim_job_start(&j, config);

    if (rv == 0) {
        (void)sim_job_wait(&j, 1, -1);
        *out = j.result;
    }
    return rv;
}
