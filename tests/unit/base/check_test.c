/* Assertions: they hold quietly and fail loudly. */
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "lib/harness.h"

Test(check, passes_what_holds)
{
    ASSERT(1 + 1 == 2);
    ASSERT_IMPLIES(true, true);
    ASSERT_IMPLIES(false, true);
    ASSERT_IMPLIES(false, false);
}

Test(check, stops_at_what_does_not_hold, .signal = SIGABRT)
{
    volatile int two = 2;

    ASSERT(two == 3);
}

Test(check, stops_when_an_implication_fails, .signal = SIGABRT)
{
    volatile bool yes = true;

    ASSERT_IMPLIES(yes, !yes);
}

Test(check, stops_where_nothing_should_come, .signal = SIGABRT)
{
    UNREACHABLE("this test came here");
}

Test(check, writes_one_line_that_names_the_place)
{
    int ends[2] = {-1, -1};
    char text[200] = {0};
    int status = 0;
    pid_t child = -1;

    cr_assert_eq(pipe(ends), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        check_failed("file.c", 42, "x > y");
    }
    (void)close(ends[1]);
    cr_assert_gt(read(ends[0], text, sizeof(text) - 1), 0);
    (void)close(ends[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGABRT);
    cr_assert_str_eq(text, "file.c:42: check failed: x > y\n");
}

struct thing {
    unsigned magic;
    int value;
};

enum {
    THING_MAGIC = 0x7819
};

Test(check, knows_an_object_by_its_magic)
{
    struct thing t = {THING_MAGIC, 1};

    OBJ_CHECK(&t, THING_MAGIC);
    cr_assert_eq(CONTAINER_OF(&t.value, struct thing, value), &t);
}

Test(check, stops_at_a_wrong_magic, .signal = SIGABRT)
{
    struct thing t = {0, 1};

    OBJ_CHECK(&t, THING_MAGIC);
}

Test(check, stops_at_no_object, .signal = SIGABRT)
{
    struct thing *volatile t = NULL;

    OBJ_CHECK(t, THING_MAGIC);
}

Test(check, counts_and_compares)
{
    int items[7] = {0};

    cr_assert_eq(ARRAY_COUNT(items), 7);
    cr_assert_eq(MIN(3, 4), 3);
    cr_assert_eq(MAX(3, 4), 4);
    cr_assert_eq(items[0], 0);
}
