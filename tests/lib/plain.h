/* The part of Criterion's interface that tests use, for builds in which
 * Criterion itself cannot start. Included by harness.h alone.
 *
 * A test with .signal or .exit_code runs in a child process; all others share
 * one. Assertions take an optional printf message, as Criterion's do.
 */
#ifndef TESTS_LIB_PLAIN_H
#define TESTS_LIB_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* What Test() and TestSuite() accept after the names. */
struct test_options {
    void (*init)(void);
    void (*fini)(void);
    const char *description;
    double timeout; /* seconds; 0: the runner's */
    int signal;     /* the signal that must end the test; 0: none */
    int exit_code;  /* the code that the test must exit with; 0: none */
    bool disabled;
    bool last; /* ends the macros' list, so that it is never empty */
};

struct test {
    const char *suite;
    const char *name;
    void (*run)(void);
    const struct test_options *options;
    struct test *next;
};

struct test_suite {
    const char *name;
    const struct test_options *options;
    struct test_suite *next;
};

/* Add to the runner's lists; called by constructors. Borrowed for ever. */
void test_register(struct test *t);

/* The same for the options of a whole suite. */
void test_register_suite(struct test_suite *s);

/* Fail the running test unless `ok`; a fatal failure leaves it at once.
 * `format` as in printf, "" for no message. */
void test_check(const char *file, int line, bool fatal, const char *text,
                bool ok, const char *format, ...);

/* Fail the running test and leave it. */
_Noreturn void test_abandon(const char *file, int line, const char *format,
                            ...);

/* Returns p. The compiler cannot see that an object's address is not NULL, so
 * a comparison that is always true draws no warning. */
const void *test_pointer(const void *p);

#define Test(...)      TEST_DEFINE_(__VA_ARGS__, .last = true)
#define TestSuite(...) TEST_SUITE_(__VA_ARGS__, .last = true)

#define TEST_DEFINE_(suite_, name_, ...)                                  \
    static void suite_##_##name_##_body(void);                            \
    __attribute__((constructor)) static void suite_##_##name_##_add(void) \
    {                                                                     \
        static const struct test_options options = {__VA_ARGS__};         \
        static struct test t = {#suite_, #name_, suite_##_##name_##_body, \
                                &options, NULL};                          \
        test_register(&t);                                                \
    }                                                                     \
    static void suite_##_##name_##_body(void)

#define TEST_SUITE_(suite_, ...)                                      \
    __attribute__((constructor)) static void suite_##_suite_add(void) \
    {                                                                 \
        static const struct test_options options = {__VA_ARGS__};     \
        static struct test_suite s = {#suite_, &options, NULL};       \
        test_register_suite(&s);                                      \
    }                                                                 \
    extern int suite_##_suite_declared

/* Of a variadic list: the first is an operand, the rest a message. */
#define TEST_FIRST_(...)       TEST_FIRST_OF_(__VA_ARGS__, 0)
#define TEST_FIRST_OF_(x, ...) x
#define TEST_REST_(...)        TEST_REST_OF_(__VA_ARGS__, "")
#define TEST_REST_OF_(x, ...)  __VA_ARGS__

#define TEST_THAT_(fatal, text, ok, ...) \
    test_check(__FILE__, __LINE__, fatal, text, ok, TEST_REST_(__VA_ARGS__))

#define TEST_OP_(fatal, a, op, ...)                \
    TEST_THAT_(fatal, #a " " #op " " #__VA_ARGS__, \
               ((a)op(TEST_FIRST_(__VA_ARGS__))), __VA_ARGS__)
#define TEST_IF_(fatal, ...) \
    TEST_THAT_(fatal, #__VA_ARGS__, (TEST_FIRST_(__VA_ARGS__)), __VA_ARGS__)
#define TEST_NOT_(fatal, ...)                                           \
    TEST_THAT_(fatal, "not " #__VA_ARGS__, !(TEST_FIRST_(__VA_ARGS__)), \
               __VA_ARGS__)
#define TEST_PTR_(fatal, op, ...)                   \
    TEST_THAT_(fatal, #__VA_ARGS__ " " #op " NULL", \
               (test_pointer(TEST_FIRST_(__VA_ARGS__)) op NULL), __VA_ARGS__)
#define TEST_STR_(fatal, a, op, ...)                            \
    TEST_THAT_(fatal, #a " " #op " " #__VA_ARGS__ " (strings)", \
               (strcmp((a), (TEST_FIRST_(__VA_ARGS__))) op 0), __VA_ARGS__)
#define TEST_MEM_(fatal, a, b, op, ...)                               \
    TEST_THAT_(fatal, #a " " #op " " #b " (bytes: " #__VA_ARGS__ ")", \
               (memcmp((a), (b), (TEST_FIRST_(__VA_ARGS__))) op 0),   \
               __VA_ARGS__)

#define cr_log_info(...) ((void)printf(__VA_ARGS__))
#define cr_fatal(...)    test_abandon(__FILE__, __LINE__, "" __VA_ARGS__)
#define cr_fail(...) \
    test_check(__FILE__, __LINE__, false, "failed", false, "" __VA_ARGS__)

#define cr_assert_fail(...)          cr_fatal(__VA_ARGS__)
#define cr_assert(...)               TEST_IF_(true, __VA_ARGS__)
#define cr_assert_not(...)           TEST_NOT_(true, __VA_ARGS__)
#define cr_assert_null(...)          TEST_PTR_(true, ==, __VA_ARGS__)
#define cr_assert_not_null(...)      TEST_PTR_(true, !=, __VA_ARGS__)
#define cr_assert_eq(a, ...)         TEST_OP_(true, a, ==, __VA_ARGS__)
#define cr_assert_neq(a, ...)        TEST_OP_(true, a, !=, __VA_ARGS__)
#define cr_assert_lt(a, ...)         TEST_OP_(true, a, <, __VA_ARGS__)
#define cr_assert_leq(a, ...)        TEST_OP_(true, a, <=, __VA_ARGS__)
#define cr_assert_gt(a, ...)         TEST_OP_(true, a, >, __VA_ARGS__)
#define cr_assert_geq(a, ...)        TEST_OP_(true, a, >=, __VA_ARGS__)
#define cr_assert_str_eq(a, ...)     TEST_STR_(true, a, ==, __VA_ARGS__)
#define cr_assert_str_neq(a, ...)    TEST_STR_(true, a, !=, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, ...)  TEST_MEM_(true, a, b, ==, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, ...) TEST_MEM_(true, a, b, !=, __VA_ARGS__)

#define cr_expect_fail(...)          cr_fail(__VA_ARGS__)
#define cr_expect(...)               TEST_IF_(false, __VA_ARGS__)
#define cr_expect_not(...)           TEST_NOT_(false, __VA_ARGS__)
#define cr_expect_null(...)          TEST_PTR_(false, ==, __VA_ARGS__)
#define cr_expect_not_null(...)      TEST_PTR_(false, !=, __VA_ARGS__)
#define cr_expect_eq(a, ...)         TEST_OP_(false, a, ==, __VA_ARGS__)
#define cr_expect_neq(a, ...)        TEST_OP_(false, a, !=, __VA_ARGS__)
#define cr_expect_lt(a, ...)         TEST_OP_(false, a, <, __VA_ARGS__)
#define cr_expect_leq(a, ...)        TEST_OP_(false, a, <=, __VA_ARGS__)
#define cr_expect_gt(a, ...)         TEST_OP_(false, a, >, __VA_ARGS__)
#define cr_expect_geq(a, ...)        TEST_OP_(false, a, >=, __VA_ARGS__)
#define cr_expect_str_eq(a, ...)     TEST_STR_(false, a, ==, __VA_ARGS__)
#define cr_expect_str_neq(a, ...)    TEST_STR_(false, a, !=, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, ...)  TEST_MEM_(false, a, b, ==, __VA_ARGS__)
#define cr_expect_arr_neq(a, b, ...) TEST_MEM_(false, a, b, !=, __VA_ARGS__)

#endif
