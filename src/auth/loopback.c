/* Addresses are parsed, not compared as text: ::1 has many spellings. */
#include "auth/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"

bool
loopback_is_address(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;

    ASSERT(address != NULL);
    if (inet_pton(AF_INET, address, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    if (inet_pton(AF_INET6, address, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6) ||
               (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == IN_LOOPBACKNET);
    }
    return false;
}

bool
loopback_allows(const char *const *users, size_t count, const char *user,
                size_t user_size, const char *address)
{
    ASSERT(users != NULL || count == 0);
    for (size_t i = 0; i < count; i++) {
        if (text_equal(user, user_size, users[i])) {
            return loopback_is_address(address);
        }
    }
    return true;
}
