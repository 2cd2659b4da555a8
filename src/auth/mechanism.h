/* SASL mechanisms that connections may be offered. */
#ifndef AUTH_MECHANISM_H
#define AUTH_MECHANISM_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* Bits. */
enum auth_mechanism {
    AUTH_PLAIN = 1,
    AUTH_AMQPLAIN = 2,
    AUTH_EXTERNAL = 4, /* the client's certificate says who it is */
    AUTH_DEFAULT = AUTH_PLAIN | AUTH_AMQPLAIN
};

/* The mechanism called NAME (SIZE bytes, as in "PLAIN"); 0: none. */
unsigned auth_mechanism_parse(const char *name, size_t size);
/* Append the names of MECHANISMS, separated by blanks, the default ones
 * first. */
void auth_mechanism_names(unsigned mechanisms, struct buf *out);

#endif
