/* Log lines are formatted on the stack of whoever logs and handed to the
 * node's sink. A line longer than the limit is cut and ends in "...". */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const LOG_NAMES[] = {"debug", "info",     "warning",
                                        "error", "critical", "none"};

_Static_assert(ARRAY_COUNT(LOG_NAMES) == LOG_NONE + 1, "one name a level");

/* Clients choose names that are logged: none of them may begin a line of its
 * own, or drive a terminal. */
static void
log_make_line(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
}

void
log_at(const struct logger *logger, enum log_level level, const char *category,
       const char *fmt, ...)
{
    char text[LOG_LINE_SIZE];
    va_list args;
    int size = 0;

    ASSERT(level < LOG_NONE);
    ASSERT(category != NULL);
    if (logger == NULL || logger->sink == NULL || level < logger->level) {
        return;
    }
    va_start(args, fmt);
    size = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ASSERT(size >= 0);
    if ((size_t)size >= sizeof(text)) {
        memcpy(text + sizeof(text) - 4, "...", 4);
    }
    log_make_line(text);
    logger->sink(logger->arg, level, category, text);
}

const char *
log_level_name(enum log_level level)
{
    ASSERT((size_t)level < ARRAY_COUNT(LOG_NAMES));
    return LOG_NAMES[level];
}

bool
log_level_parse(const char *name, enum log_level *out)
{
    ASSERT(name != NULL);
    ASSERT(out != NULL);
    for (size_t i = 0; i < ARRAY_COUNT(LOG_NAMES); i++) {
        if (strcmp(name, LOG_NAMES[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}
