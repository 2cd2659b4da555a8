/* Structured log lines. The sink is a table entry, so that libraries never
 * touch a file descriptor and the simulator keeps its own trace. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/check.h"

/* Levels, named as RabbitMQ's log.console.level names them. */
enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARNING,
    LOG_ERROR,
    LOG_CRITICAL,
    LOG_NONE
};

typedef void (*log_sink_cb)(void *arg, enum log_level level,
                            const char *category, const char *text);

/* Shared by all that log for one node; lines below `level` are dropped before
 * they are formatted. Written by its owner before threads start. */
struct logger {
    log_sink_cb sink;
    void *arg;
    enum log_level level;
};

enum {
    LOG_LINE_SIZE = 1024
};

/* Format a line and hand it to the sink, in this call; what exceeds
 * LOG_LINE_SIZE with its NUL is cut, and "..." says so. LOGGER NULL drops it.
 * CATEGORY such as "connection", "peer", "queue". */
void log_at(const struct logger *logger, enum log_level level,
            const char *category, const char *fmt, ...) PRINTF(4, 5);

#define log_debug(l, cat, ...)   log_at((l), LOG_DEBUG, (cat), __VA_ARGS__)
#define log_info(l, cat, ...)    log_at((l), LOG_INFO, (cat), __VA_ARGS__)
#define log_warning(l, cat, ...) log_at((l), LOG_WARNING, (cat), __VA_ARGS__)
#define log_error(l, cat, ...)   log_at((l), LOG_ERROR, (cat), __VA_ARGS__)

/* The name of LEVEL, such as "info". Static. */
const char *log_level_name(enum log_level level);
/* The level called NAME ("debug" ... "critical", "none"); false if unknown. */
bool log_level_parse(const char *name, enum log_level *out);

#endif
