/* Assertions. They stay on in every build: a broker that has lost its bearings
 * stops and lets its replica set absorb it, rather than guess. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stddef.h>

#define MUST_USE     __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define NORETURN     __attribute__((noreturn))
#define UNUSED       __attribute__((unused))
#define LIKELY(x)    __builtin_expect(!!(x), 1)
#define UNLIKELY(x)  __builtin_expect(!!(x), 0)

/* Stop the process with file, line and the condition or text. */
NORETURN void check_failed(const char *file, int line, const char *what);

/* COND holds, or this program has a bug. One condition each. */
#define ASSERT(cond)                                 \
    do {                                             \
        if (UNLIKELY(!(cond))) {                     \
            check_failed(__FILE__, __LINE__, #cond); \
        }                                            \
    } while (0)

/* If A then B. */
#define ASSERT_IMPLIES(a, b)                                     \
    do {                                                         \
        if (UNLIKELY((a) && !(b))) {                             \
            check_failed(__FILE__, __LINE__, #a " implies " #b); \
        }                                                        \
    } while (0)

/* This line is never reached. */
#define UNREACHABLE(why) check_failed(__FILE__, __LINE__, why)

/* P points at a live object whose first member is `unsigned magic`. */
#define OBJ_CHECK(p, m)            \
    do {                           \
        ASSERT((p) != NULL);       \
        ASSERT((p)->magic == (m)); \
    } while (0)

/* Elements of a true array. */
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The object of TYPE whose MEMBER is at PTR. */
#define CONTAINER_OF(ptr, type, member) \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* <sys/param.h>, which <uv.h> includes, has them too. */
#ifndef MIN
#    define MIN(a, b) ((a) < (b) ? (a) : (b))
#endif
#ifndef MAX
#    define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif

#endif
