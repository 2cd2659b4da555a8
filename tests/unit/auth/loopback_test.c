/* Which addresses are of this machine, and for whom it matters. */
#include "auth/loopback.h"
#include "lib/harness.h"

Test(loopback, addresses_in_every_spelling)
{
    cr_assert(loopback_is_address("127.0.0.1"));
    cr_assert(loopback_is_address("127.255.0.9"));
    cr_assert(loopback_is_address("::1"));
    cr_assert(loopback_is_address("0:0:0:0:0:0:0:1"));
    cr_assert(loopback_is_address("::ffff:127.0.0.1"));
    cr_assert(!loopback_is_address("128.0.0.1"));
    cr_assert(!loopback_is_address("10.127.0.1"));
    cr_assert(!loopback_is_address("::ffff:10.0.0.1"));
    cr_assert(!loopback_is_address("::2"));
    cr_assert(!loopback_is_address("localhost"), "a name is no address");
    cr_assert(!loopback_is_address("127.0.0.1:5672"));
    cr_assert(!loopback_is_address(""));
}

Test(loopback, confines_the_users_it_lists)
{
    static const char *const users[] = {"guest", "root"};

    cr_assert(loopback_allows(users, 2, "guest", 5, "127.0.0.1"));
    cr_assert(!loopback_allows(users, 2, "guest", 5, "10.0.0.1"));
    cr_assert(!loopback_allows(users, 2, "root", 4, "10.0.0.1"));
    cr_assert(loopback_allows(users, 2, "guests", 6, "10.0.0.1"));
    cr_assert(loopback_allows(users, 2, "gues", 4, "10.0.0.1"));
    cr_assert(loopback_allows(NULL, 0, "guest", 5, "10.0.0.1"));
}
