/* How logins are paced. */
#ifndef BROKER_LOGIN_H
#define BROKER_LOGIN_H

enum {
    LOGIN_RUNNING_MAX = 2,    /* hashes of a shard at once, 16 MiB each */
    LOGIN_WAITING_MAX = 1024, /* logins of a shard that wait; 4 KiB each */
    LOGIN_SOURCE_SIZE = 64    /* of a source's name, with the NUL */
};

/* Whose logins those of HOST (an address) wait with: HOST's own, or those of
 * the first 64 bits of an IPv6 address. */
void login_source(const char *host, char out[LOGIN_SOURCE_SIZE]);

#endif
