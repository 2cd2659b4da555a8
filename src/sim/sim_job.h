/* One run in a process of its own, so that what fails an assertion, or never
 * ends, is a result like another. */
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

struct sim_job {
    pid_t child;
    int result_fd;
    int text_fd;
    size_t got; /* bytes of the result */
    struct sim_world_result result;
    size_t text_size;
    char text[SIM_JOB_TEXT_SIZE];
};

/* Start a run of CONFIG, which is borrowed for this call. -QR_EIO: no more
 * processes or files. */
MUST_USE int sim_job_start(struct sim_job *j,
                           const struct sim_world_config *config);
/* Wait until one of the COUNT jobs has come to its end, or TIMEOUT_MS have
 * passed (-1: for ever), and return its index, or COUNT. Those whose child is
 * 0 are not waited for. Its result is complete then: for one that died, the
 * violation says of what, where an assertion failed as "FILE:LINE: TEXT". */
size_t sim_job_wait(struct sim_job *jobs, size_t count, int timeout_ms);
/* Start, and wait. */
MUST_USE int sim_job_run(const struct sim_world_config *config,
                         struct sim_world_result *out);

#endif
