/* What processes of this machine have spent, from /proc. */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct bench_pids;
struct error;

/* Of one process or several together. */
struct sample {
    uint64_t cpu_us;      /* user and system */
    uint64_t resident;    /* bytes */
    uint64_t written;     /* bytes that went to storage */
    uint64_t write_calls; /* write() and its like, sockets included */
    bool has_io;          /* `written` and `write_calls` could be read */
};

/* CPU time out of the SIZE bytes of /proc/PID/stat, of TICKS a second (see
 * proc(5)). -QR_EFORMAT. */
MUST_USE int sample_parse_stat(const char *text, size_t size, uint64_t ticks,
                               uint64_t page_size, struct sample *out);
/* Bytes and calls out of /proc/PID/io. -QR_EFORMAT. */
MUST_USE int sample_parse_io(const char *text, size_t size, struct sample *out);
/* The sum for PIDS. -QR_ENOENT: one of them is not there, ERR says which.
 * Another user's /proc/PID/io cannot be read: has_io is false then. */
MUST_USE int sample_take(const struct bench_pids *pids, struct sample *out,
                         struct error *err);
/* What the whole machine has spent, in microseconds of CPU, out of the SIZE
 * bytes of /proc/stat, of TICKS a second. -QR_EFORMAT. */
MUST_USE int sample_parse_machine(const char *text, size_t size, uint64_t ticks,
                                  uint64_t *out);
/* The same for this machine now; 0 if it cannot be read. */
uint64_t sample_machine_cpu_us(void);
/* What this process has spent, in microseconds of CPU. */
uint64_t sample_own_cpu_us(void);

#endif
