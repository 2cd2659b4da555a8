/* Passwords from standard input, so that they show neither on the screen nor
 * in the shell's history. */
#ifndef CTL_PROMPT_H
#define CTL_PROMPT_H

#include <stddef.h>

#include "base/check.h"

struct error;

enum {
    PROMPT_SIZE = 1026 /* a password of 1024 bytes, a line's end, a NUL */
};

/* Read one line from FD into OUT, without its end; when FD is a terminal, ask
 * for it there with TEXT and do not echo it. -QR_EINVAL: the line is empty;
 * -QR_ETOOBIG; -QR_EIO. Whoever calls wipes OUT. */
MUST_USE int prompt_password(int fd, const char *text, char out[PROMPT_SIZE],
                             struct error *err);

#endif
