/* PLAIN: RFC 4616's grammar, and who may be meant by it. */
#include <quorate/error.h>

#include "auth/plain.h"
#include "lib/harness.h"

/* Of a literal, with the NULs in it but not the one at its end. */
#define PARSE(literal, out) plain_parse(literal, sizeof(literal) - 1, out)

static void
check(const struct credential *c, const char *user, const char *password)
{
    cr_assert_eq(c->user_size, strlen(user));
    cr_assert_arr_eq(c->user, user, strlen(user));
    cr_assert_eq(c->password_size, strlen(password));
    cr_assert_arr_eq(c->password, password, strlen(password));
}

Test(plain, takes_user_and_password)
{
    struct credential c;

    cr_assert_eq(PARSE("\0guest\0secret", &c), 0);
    check(&c, "guest", "secret");
    cr_assert_eq(PARSE("\0guest\0", &c), 0);
    check(&c, "guest", "");
}

Test(plain, may_name_the_user_itself_and_nobody_else)
{
    struct credential c;

    cr_assert_eq(PARSE("guest\0guest\0pw", &c), 0);
    check(&c, "guest", "pw");
    cr_assert_eq(PARSE("admin\0guest\0pw", &c), -QR_EACCESS);
    cr_assert_eq(PARSE("gues\0guest\0pw", &c), -QR_EACCESS);
}

Test(plain, refuses_what_is_none)
{
    struct credential c;

    cr_assert_eq(plain_parse(NULL, 0, &c), -QR_EFORMAT);
    cr_assert_eq(PARSE("guest", &c), -QR_EFORMAT);
    cr_assert_eq(PARSE("\0", &c), -QR_EFORMAT);
    cr_assert_eq(PARSE("\0guest", &c), -QR_EFORMAT);
    cr_assert_eq(PARSE("\0\0pw", &c), -QR_EFORMAT);
    cr_assert_eq(PARSE("\0a\0b\0c", &c), -QR_EFORMAT);
}
