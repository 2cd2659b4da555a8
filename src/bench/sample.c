/* A process that is gone ends the sampling of all: half a sum misleads. The
 * last values that were read are kept by the caller. */
#include "bench/sample.h"

#include <fcntl.h>
#include <inttypes.h>
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "bench/clock.h"
#include "bench/options.h"

enum {
    FILE_SIZE_MAX = 2048, /* of what is read of a file in /proc */
    PATH_SIZE = 64,
    /* Fields of stat, counted from 3, the first after the name. */
    STAT_UTIME = 14 - 3,
    STAT_STIME = 15 - 3,
    STAT_RSS = 24 - 3,
    /* Fields of the machine's line, after "cpu  ". */
    MACHINE_IDLE = 3,
    MACHINE_IOWAIT = 4,
    MACHINE_FIELDS = 7 /* user to softirq */
};

/* Field INDEX of the blank-separated ones at TEXT. */
static int
field(const char *text, size_t size, size_t index, uint64_t *out)
{
    const char *end = text + size;
    const char *at = text;
    const char *stop = NULL;

    for (;;) {
        stop = memchr(at, ' ', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        if (index == 0) {
            return parse_u64(at, (size_t)(stop - at), 0, UINT64_MAX, out);
        }
        if (stop == end) {
            return -QR_EFORMAT;
        }
        at = stop + 1;
        index--;
    }
}

int
sample_parse_stat(const char *text, size_t size, uint64_t ticks,
                  uint64_t page_size, struct sample *out)
{
    /* The name is in parentheses and may hold some itself. */
    const char *name_end = memrchr(text, ')', size);
    uint64_t user = 0;
    uint64_t system = 0;
    uint64_t pages = 0;
    const char *at = NULL;
    size_t left = 0;

    ASSERT(ticks > 0);
    if (name_end == NULL || (size_t)(name_end - text) + 2 > size) {
        return -QR_EFORMAT;
    }
    at = name_end + 2;
    left = size - (size_t)(at - text);
    if (field(at, left, STAT_UTIME, &user) != 0 ||
        field(at, left, STAT_STIME, &system) != 0 ||
        field(at, left, STAT_RSS, &pages) != 0) {
        return -QR_EFORMAT;
    }
    out->cpu_us = (user + system) * BENCH_US_PER_S / ticks;
    out->resident = pages * page_size;
    return 0;
}

/* The number in the line that begins with NAME. */
static int
line_value(const char *text, size_t size, const char *name, uint64_t *out)
{
    const char *end = text + size;
    const char *at = text;
    const char *stop = NULL;
    size_t name_size = strlen(name);

    while (at < end) {
        stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        if ((size_t)(stop - at) > name_size &&
            memcmp(at, name, name_size) == 0) {
            return parse_u64(at + name_size, (size_t)(stop - at) - name_size, 0,
                             UINT64_MAX, out);
        }
        at = stop + 1;
    }
    return -QR_EFORMAT;
}

int
sample_parse_io(const char *text, size_t size, struct sample *out)
{
    uint64_t written = 0;
    uint64_t calls = 0;

    /* Alone "write_bytes: " would also be found in "cancelled_write_bytes: "
     * if it were not for the begin of the line. */
    if (line_value(text, size, "write_bytes: ", &written) != 0 ||
        line_value(text, size, "syscw: ", &calls) != 0) {
        return -QR_EFORMAT;
    }
    out->written = written;
    out->write_calls = calls;
    out->has_io = true;
    return 0;
}

int
sample_parse_machine(const char *text, size_t size, uint64_t ticks,
                     uint64_t *out)
{
    static const char begin[] = "cpu  ";
    size_t begin_size = sizeof(begin) - 1;
    const char *end = memchr(text, '\n', size);
    uint64_t sum = 0;
    uint64_t value = 0;
    size_t i = 0;

    ASSERT(ticks > 0);
    if (end == NULL || (size_t)(end - text) < begin_size ||
        memcmp(text, begin, begin_size) != 0) {
        return -QR_EFORMAT;
    }
    text += begin_size;
    for (i = 0; i < MACHINE_FIELDS; i++) {
        if (field(text, (size_t)(end - text), i, &value) != 0) {
            return -QR_EFORMAT;
        }
        sum += i == MACHINE_IDLE || i == MACHINE_IOWAIT ? 0 : value;
    }
    *out = sum * BENCH_US_PER_S / ticks;
    return 0;
}

/* Up to FILE_SIZE_MAX bytes of the file at PATH. */
static int
read_path(const char *path, char *out, size_t *size)
{
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return -QR_ENOENT;
    }
    got = read(fd, out, FILE_SIZE_MAX);
    (void)close(fd);
    if (got <= 0) {
        return -QR_ENOENT;
    }
    *size = (size_t)got;
    return 0;
}

/* The same of /proc/PID/NAME. */
static int
read_file(uint32_t pid, const char *name, char *out, size_t *size)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/%s", pid, name);
    return read_path(path, out, size);
}

static int
take_one(uint32_t pid, struct sample *out)
{
    char text[FILE_SIZE_MAX];
    size_t size = 0;
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);

    *out = (struct sample){0};
    if (read_file(pid, "stat", text, &size) != 0 ||
        sample_parse_stat(text, size, ticks, page_size, out) != 0) {
        return -QR_ENOENT;
    }
    /* Another user's cannot be read. */
    out->has_io = read_file(pid, "io", text, &size) == 0 &&
                  sample_parse_io(text, size, out) == 0;
    return 0;
}

int
sample_take(const struct bench_pids *pids, struct sample *out,
            struct error *err)
{
    struct sample sum = {.has_io = pids->count > 0};
    struct sample one = {0};
    unsigned i = 0;

    for (i = 0; i < pids->count; i++) {
        if (take_one(pids->list[i], &one) != 0) {
            return error_set(err, QR_ENOENT,
                             "--pids: there is no process %" PRIu32,
                             pids->list[i]);
        }
        sum.cpu_us += one.cpu_us;
        sum.resident += one.resident;
        sum.written += one.written;
        sum.write_calls += one.write_calls;
        sum.has_io = sum.has_io && one.has_io;
    }
    *out = sum;
    return 0;
}

uint64_t
sample_machine_cpu_us(void)
{
    char text[FILE_SIZE_MAX];
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t spent = 0;
    size_t size = 0;

    if (read_path("/proc/stat", text, &size) != 0 ||
        sample_parse_machine(text, size, ticks, &spent) != 0) {
        return 0;
    }
    return spent;
}

uint64_t
sample_own_cpu_us(void)
{
    struct rusage use = {0};

    if (getrusage(RUSAGE_SELF, &use) != 0) {
        return 0;
    }
    return ((uint64_t)use.ru_utime.tv_sec + (uint64_t)use.ru_stime.tv_sec) *
               BENCH_US_PER_S +
           (uint64_t)use.ru_utime.tv_usec + (uint64_t)use.ru_stime.tv_usec;
}
