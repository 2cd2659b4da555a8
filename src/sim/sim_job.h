/* Runs in another process, so that what fails an assertion, or never ends, is
 * a result like another. The process stays for the next run, as long as its
 * runs end by themselves: to start one, with fresh memory, costs a fifth of
 * what a run does. */
#ifndef SIM_SIM_JOB_H
#define SIM_SIM_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "sim/sim_world.h"

enum {
    SIM_JOB_SECONDS_MAX = 300, /* of real time; then it counts as stuck */
    SIM_JOB_TEXT_SIZE = 1024   /* what it says on standard error, the end of */
};

/* Zeroed before its first start. */
struct sim_job {
    pid_t child; /* 0: there is none */
    bool is_running;
    uint64_t runs; /* of this child */
    bool has_died; /* in the last run */
    int run_fd;    /* plans go, results come */
    int text_fd;
    size_t got; /* bytes of the result */
    struct sim_world_result result;
    size_t text_size;
    char text[SIM_JOB_TEXT_SIZE];
};

/* Start a run of CONFIG, which is borrowed for this call, and says the same of
 * traces as for the runs of this job before. -QR_EIO: no more processes or
 * files. */
MUST_USE int sim_job_start(struct sim_job *j,
                           const struct sim_world_config *config);
/* Wait until one of the COUNT jobs has come to its end, or TIMEOUT_MS have
 * passed (-1: for ever), and return its index, or COUNT. Those that do not run
 * are not waited for. Its result is complete then: for one that died, the
 * violation says of what, where an assertion failed as "FILE:LINE: TEXT". */
size_t sim_job_wait(struct sim_job *jobs, size_t count, int timeout_ms);
/* Its process, if any, which is not running, ends. */
void sim_job_stop(struct sim_job *j);
/* Start, and wait, in a process of its own. */
MUST_USE int sim_job_run(const struct sim_world_config *config,
                         struct sim_world_result *out);

#endif
