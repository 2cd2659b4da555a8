/* Users who may connect from this machine alone, as RabbitMQ's
 * loopback_users: "guest", whose password everybody knows. */
#ifndef AUTH_LOOPBACK_H
#define AUTH_LOOPBACK_H

#include <stdbool.h>
#include <stddef.h>

/* Whether ADDRESS, NUL-terminated and without a port, is of the loopback
 * interface: 127.0.0.0/8, ::1, or the former mapped into IPv6. */
bool loopback_is_address(const char *address);
/* Whether USER may connect from ADDRESS when USERS (COUNT names,
 * NUL-terminated) are confined to loopback. */
bool loopback_allows(const char *const *users, size_t count, const char *user,
                     size_t user_size, const char *address);

#endif
