/* See console.h. */
#include "daemon/console.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

void
console_sink_mt(void *arg, enum log_level level, const char *category,
                const char *text)
{
    char line[LOG_LINE_SIZE + 128];
    struct timespec now;
    struct tm utc;
    int size;

    (void)arg;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size = snprintf(line, sizeof(line),
                    "%04d-%02d-%02d %02d:%02d:%02d.%06ld+00:00 [%s] <%s> "
                    "%s\n",
                    utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                    utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000,
                    log_level_name(level), category, text);
    if (size > 0) {
        size_t n =
            (size_t)size < sizeof(line) ? (size_t)size : sizeof(line) - 1;

        line[n - 1] = '\n';
        (void)!write(STDERR_FILENO, line, n);
    }
}
