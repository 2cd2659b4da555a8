/* The end of a process that found itself wrong.
 *
 * One line goes to the standard error with a single write, so that it is whole
 * even when several threads fail at once, and then the process aborts: the
 * core and the replica set hold all else there is to know. No lock, no heap
 * and no stream is touched, for any of them may be what broke. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CHECK_LINE_SIZE = 512
};

void
check_failed(const char *file, int line, const char *what)
{
    char text[CHECK_LINE_SIZE];
    int size = snprintf(text, sizeof(text), "%s:%d: check failed: %s\n", file,
                        line, what);

    if (size > 0) {
        size_t count = MIN((size_t)size, sizeof(text) - 1);
        ssize_t written = write(STDERR_FILENO, text, count);

        (void)written; /* there is nothing left to do about it */
    }
    abort();
}
