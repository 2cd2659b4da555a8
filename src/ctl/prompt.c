/* See prompt.h. A signal while the echo is off would leave the terminal mute:
 * the echo is turned off for the one read only, and ISIG is off with it, so
 * that Ctrl-C ends the line instead of the program. */
#include "ctl/prompt.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"

enum {
    INTERRUPT = 3 /* what Ctrl-C sends */
};

/* Up to the end of the line, which is not kept. */
static int
read_line(int fd, char out[PROMPT_SIZE])
{
    size_t size = 0;

    for (;;) {
        char c = '\0';
        ssize_t n = read(fd, &c, 1);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 || c == INTERRUPT) {
            return -QR_EIO;
        }
        if (n == 0 || c == '\n') {
            break;
        }
        if (size == PROMPT_SIZE - 1) {
            return -QR_ETOOBIG;
        }
        out[size++] = c;
    }
    if (size > 0 && out[size - 1] == '\r') {
        size--;
    }
    out[size] = '\0';
    return size == 0 ? -QR_EINVAL : 0;
}

static int
read_unseen(int fd, const char *text, char out[PROMPT_SIZE])
{
    struct termios saved;
    struct termios quiet;
    int rv;

    if (tcgetattr(fd, &saved) != 0) {
        return -QR_EIO;
    }
    quiet = saved;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    if (tcsetattr(fd, TCSAFLUSH, &quiet) != 0) {
        return -QR_EIO;
    }
    (void)!write(STDERR_FILENO, text, strlen(text));
    rv = read_line(fd, out);
    (void)tcsetattr(fd, TCSAFLUSH, &saved);
    (void)!write(STDERR_FILENO, "\n", 1);
    return rv;
}

int
prompt_password(int fd, const char *text, char out[PROMPT_SIZE],
                struct error *err)
{
    int rv = isatty(fd) == 1 ? read_unseen(fd, text, out) : read_line(fd, out);

    switch (-rv) {
    case 0:
        return 0;
    case QR_EINVAL:
        return error_set(err, QR_EINVAL,
                         "the password may not be empty: give it as an "
                         "argument, or on standard input");
    case QR_ETOOBIG:
        return error_set(err, QR_ETOOBIG, "the password has more than %d bytes",
                         (int)PROMPT_SIZE - 2);
    default:
        return error_set(err, QR_EIO,
                         "the password cannot be read from standard input");
    }
}
