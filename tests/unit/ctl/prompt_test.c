/* Passwords from standard input, here a pipe. */
#include <unistd.h>

#include "base/error.h"
#include "ctl/prompt.h"
#include "lib/harness.h"

/* What prompt_password() makes of SIZE bytes at INPUT and their end. */
static int
prompt(const void *input, size_t size, char out[PROMPT_SIZE])
{
    struct error err;
    int fds[2];
    int rv;

    error_clear(&err);
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], input, size), (ssize_t)size);
    (void)close(fds[1]);
    rv = prompt_password(fds[0], "Password: ", out, &err);
    (void)close(fds[0]);
    cr_assert((rv == 0) == (err.text[0] == '\0'));
    return rv;
}

Test(prompt, a_line_is_a_password)
{
    char out[PROMPT_SIZE];

    cr_assert_eq(prompt("secret\nnext\n", 12, out), 0);
    cr_assert_str_eq(out, "secret");
    cr_assert_eq(prompt("secret", 6, out), 0);
    cr_assert_str_eq(out, "secret");
    cr_assert_eq(prompt(" a b \r\n", 7, out), 0);
    cr_assert_str_eq(out, " a b ");
}

Test(prompt, an_empty_line_is_none)
{
    char out[PROMPT_SIZE];

    cr_assert_eq(prompt("", 0, out), -QR_EINVAL);
    cr_assert_eq(prompt("\n", 1, out), -QR_EINVAL);
    cr_assert_eq(prompt("\r\n", 2, out), -QR_EINVAL);
}

Test(prompt, a_password_has_a_largest_size)
{
    char input[PROMPT_SIZE + 1];
    char out[PROMPT_SIZE];

    memset(input, 'x', sizeof(input));
    cr_assert_eq(prompt(input, PROMPT_SIZE - 1, out), 0);
    cr_assert_eq(strlen(out), PROMPT_SIZE - 1);
    cr_assert_eq(prompt(input, PROMPT_SIZE, out), -QR_ETOOBIG);
}

Test(prompt, what_cannot_be_read_is_an_error)
{
    char out[PROMPT_SIZE];
    struct error err;

    cr_assert_eq(prompt_password(-1, "Password: ", out, &err), -QR_EIO);
    cr_assert_eq(prompt("\3", 1, out), -QR_EIO); /* Ctrl-C without a signal */
}
