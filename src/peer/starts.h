/* Whether a data directory is an old copy, told by the starts of its node.
 *
 * Each start draws a random number, and the directory keeps those of the last
 * STARTS_MAX starts, from before anybody hears of them. Others remember the
 * newest start that they have seen. A directory that goes on from there knows
 * that start by its number; an older copy does not, however often it has been
 * started since. What they remember is a `starts_book`, which each node keeps
 * on its disk: a start is in it before anything that it says is listened to,
 * so that no promise outlives the knowledge of who gave it. Pure: for the
 * links' hello and for the simulator's. ADR 0004.
 */
#ifndef PEER_STARTS_H
#define PEER_STARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STARTS_MAX = 32,     /* further back nothing can be told */
    STARTS_BOOK_MAX = 16 /* nodes; the one heard of longest ago makes room */
};

/* The starts of one data directory. */
struct starts {
    uint32_t boot;                /* the number of this start, from 1 */
    uint32_t count;               /* of `process`; 0: nothing is known */
    uint64_t process[STARTS_MAX]; /* of start boot, boot - 1, ... */
};

/* A start that was seen; boot 0: none. */
struct start_seen {
    uint32_t boot;
    uint64_t process; /* 0: not known */
};

/* The newest starts of other nodes. */
struct starts_book {
    struct {
        uint32_t node; /* its id */
        struct start_seen seen;
    } items[STARTS_BOOK_MAX]; /* last the one that changed last */
    uint32_t count;
};

/* Count one more start, with the random number PROCESS (not 0). */
void starts_push(struct starts *s, uint64_t process);
/* Whether the directory of S does not know the start SEEN: it was copied
 * before that start, or another process runs on a copy of it. */
bool starts_is_rolled_back(const struct starts *s,
                           const struct start_seen *seen);
/* Make SEEN the newer of itself and S's present start. */
void starts_see(struct start_seen *seen, uint32_t boot, uint64_t process);
/* What B has of NODE; boot 0: nothing. */
struct start_seen starts_book_find(const struct starts_book *b, uint32_t node);
/* NODE was met, or heard of, in start SEEN. Whether that is news to B. */
bool starts_book_see(struct starts_book *b, uint32_t node,
                     const struct start_seen *seen);

#endif
