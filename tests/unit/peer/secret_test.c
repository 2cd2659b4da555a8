/* The secret file: what is taken, what is refused, and what is told. */
#include <fcntl.h>
#include <quorate/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "lib/harness.h"
#include "peer/secret.h"

/* Write TEXT to a new file with MODE and load it as a secret. */
static int
load(const char *text, mode_t mode, struct secret *out, struct error *err)
{
    char path[] = "/tmp/secret-test-XXXXXX";
    int fd = mkstemp(path);
    int rv = 0;

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
    error_clear(err);
    rv = secret_load(path, out, err);
    unlink(path);
    return rv;
}

Test(secret, reads_a_file_that_only_its_owner_can)
{
    struct secret a;
    struct secret b;
    struct error err;

    cr_expect_eq(load("0123456789abcdef\n", 0400, &a, &err), 0, "%s", err.text);
    cr_expect_eq(load("0123456789abcdef", 0600, &b, &err), 0, "%s", err.text);
    cr_expect_eq(memcmp(a.key, b.key, sizeof(a.key)), 0);
    /* printf 0123456789abcdef | sha256sum */
    cr_expect_str_eq(a.fingerprint, "9f9f5111");
    secret_wipe(&a);
    cr_expect_eq(a.key[0] | a.key[31], 0);
}

Test(secret, refuses_a_file_that_others_can_read)
{
    const mode_t modes[] = {0644, 0640, 0604, 0440, 0700, 0660};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct secret s;
        struct error err;

        cr_expect_eq(load("0123456789abcdef", modes[i], &s, &err), -QR_EACCESS);
        cr_expect_not_null(strstr(err.text, "chmod 0400 /tmp/secret-test"));
    }
}

Test(secret, refuses_one_too_short_or_too_long)
{
    struct secret s;
    struct error err;
    char text[SECRET_SIZE_MAX + 2];

    cr_expect_eq(load("0123456789abcde \n", 0400, &s, &err), -QR_EINVAL);
    cr_expect_not_null(strstr(err.text, "15 bytes"));
    cr_expect_not_null(strstr(err.text, "/tmp/secret-test"));
    memset(text, 'x', sizeof(text));
    text[SECRET_SIZE_MAX + 1] = '\0';
    cr_expect_eq(load(text, 0400, &s, &err), -QR_EINVAL);
    text[SECRET_SIZE_MAX] = '\0';
    cr_expect_eq(load(text, 0400, &s, &err), 0);
}

Test(secret, tells_what_to_do_when_there_is_none)
{
    struct secret s;
    struct error err;

    cr_expect_eq(secret_load("/tmp/no-such-secret", &s, &err), -QR_ENOENT);
    cr_expect_not_null(strstr(err.text, "openssl rand -hex 32"));
    cr_expect_eq(secret_load("/tmp", &s, &err), -QR_EACCESS);
    cr_expect_not_null(strstr(err.text, "not a plain file"));
}

Test(secret, gives_other_secrets_other_keys)
{
    struct secret a;
    struct secret b;
    struct error err;

    cr_assert_eq(secret_derive("0123456789abcdef", 16, &a, &err), 0);
    cr_assert_eq(secret_derive("0123456789abcdeg", 16, &b, &err), 0);
    cr_expect_neq(memcmp(a.key, b.key, sizeof(a.key)), 0);
    cr_expect_str_neq(a.fingerprint, b.fingerprint);
}
