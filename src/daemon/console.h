/* The log on standard error. */
#ifndef DAEMON_CONSOLE_H
#define DAEMON_CONSOLE_H

#include "base/log.h"

/* A sink for struct logger: one line, one write, from any thread:
 * "2026-11-21 02:06:01.123456+00:00 [info] <category> text". */
void console_sink_mt(void *arg, enum log_level level, const char *category,
                     const char *text);

#endif
