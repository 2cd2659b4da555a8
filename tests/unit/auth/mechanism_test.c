/* Names of mechanisms, both ways. */
#include "auth/mechanism.h"
#include "base/buf.h"
#include "lib/harness.h"

Test(mechanism, names_are_found_whole)
{
    cr_expect_eq(auth_mechanism_parse("PLAIN", 5), AUTH_PLAIN);
    cr_expect_eq(auth_mechanism_parse("AMQPLAIN", 8), AUTH_AMQPLAIN);
    cr_expect_eq(auth_mechanism_parse("EXTERNAL", 8), AUTH_EXTERNAL);
    cr_expect_eq(auth_mechanism_parse("EXTERNAL", 7), 0);
    cr_expect_eq(auth_mechanism_parse("plain", 5), 0);
    cr_expect_eq(auth_mechanism_parse("", 0), 0);
}

Test(mechanism, names_are_listed_with_blanks_between)
{
    struct buf out;

    buf_init(&out);
    auth_mechanism_names(AUTH_DEFAULT, &out);
    buf_put_u8(&out, 0);
    cr_expect_str_eq((const char *)out.data, "PLAIN AMQPLAIN");
    buf_clear(&out);
    auth_mechanism_names(AUTH_EXTERNAL, &out);
    buf_put_u8(&out, 0);
    cr_expect_str_eq((const char *)out.data, "EXTERNAL");
    buf_deinit(&out);
}
