/* The plain runner of harness.h, for builds in which Criterion cannot start.
 *
 * Runs the registered tests in the order of their names, in this process, and
 * prints TAP. A fatal assertion leaves the test by longjmp, so what the test
 * holds leaks; the process is short-lived. Arguments select tests: each is a
 * part of "suite::name".
 */
#include "lib/harness.h"

#ifdef HARNESS_PLAIN

#    include <setjmp.h>
#    include <stdarg.h>
#    include <sys/wait.h>
#    include <unistd.h>

#    define TESTS_MAX        4096
#    define TEST_SECONDS_MAX 300

static struct test *tests;
static struct test_suite *suites;
static jmp_buf leave;
static bool failed;

void
test_register(struct test *t)
{
    t->next = tests;
    tests = t;
}

void
test_register_suite(struct test_suite *s)
{
    s->next = suites;
    suites = s;
}

static void
report(const char *file, int line, const char *text, const char *format,
       va_list args)
{
    fprintf(stderr, "%s:%d: %s", file, line, text);
    if (format[0] != '\0') {
        fprintf(stderr, ": ");
#    ifdef __clang__
#        pragma clang diagnostic push
#        pragma clang diagnostic ignored "-Wformat-nonliteral"
#    endif
        vfprintf(stderr, format, args);
#    ifdef __clang__
#        pragma clang diagnostic pop
#    endif
    }
    fprintf(stderr, "\n");
    failed = true;
}

const void *
test_pointer(const void *p)
{
    return p;
}

void
test_check(const char *file, int line, bool fatal, const char *text, bool ok,
           const char *format, ...)
{
    va_list args;

    if (ok) {
        return;
    }
    va_start(args, format);
    report(file, line, text, format, args);
    va_end(args);
    if (fatal) {
        longjmp(leave, 1);
    }
}

void
test_abandon(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    report(file, line, "failed", format, args);
    va_end(args);
    longjmp(leave, 1);
}

static const struct test_options *
suite_options(const char *name)
{
    static const struct test_options none;

    for (const struct test_suite *s = suites; s != NULL; s = s->next) {
        if (strcmp(s->name, name) == 0) {
            return s->options;
        }
    }
    return &none;
}

/* A function of its own: longjmp clobbers the locals of its setjmp. */
static void
run_phases(const struct test *t)
{
    const struct test_options *s = suite_options(t->suite);
    void (*init)(void) = t->options->init ? t->options->init : s->init;
    void (*fini)(void) = t->options->fini ? t->options->fini : s->fini;

    if (init != NULL) {
        init();
    }
    t->run();
    if (fini != NULL) {
        fini();
    }
}

static void
run_body(const struct test *t)
{
    failed = false;
    if (setjmp(leave) == 0) {
        run_phases(t);
    }
}

/* A test that must end its process gets one of its own. */
static void
run_child(const struct test *t)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        /* The signal is expected: no report of the sanitizer about it. */
        if (t->options->signal != 0) {
            signal(t->options->signal, SIG_DFL);
        }
        run_body(t);
        fflush(NULL);
        _exit(failed ? 1 : 0);
    }
    failed = child < 0 || waitpid(child, &status, 0) != child;
    if (failed) {
        perror("fork");
    } else if (t->options->signal != 0) {
        failed = !WIFSIGNALED(status) || WTERMSIG(status) != t->options->signal;
    } else {
        failed =
            !WIFEXITED(status) || WEXITSTATUS(status) != t->options->exit_code;
    }
}

static bool
selected(const struct test *t, int argc, char **argv)
{
    char name[512];

    if (t->options->disabled || suite_options(t->suite)->disabled) {
        return false;
    }
    snprintf(name, sizeof(name), "%s::%s", t->suite, t->name);
    for (int i = 1; i < argc; i++) {
        if (strstr(name, argv[i]) != NULL) {
            return true;
        }
    }
    return argc == 1;
}

static int
by_name(const void *a, const void *b)
{
    const struct test *const *x = a;
    const struct test *const *y = b;
    int order = strcmp((*x)->suite, (*y)->suite);

    return order != 0 ? order : strcmp((*x)->name, (*y)->name);
}

static bool
run_test(const struct test *t)
{
    const struct test_options *o = t->options;

    alarm(o->timeout > 0 ? (unsigned)o->timeout + 1 : TEST_SECONDS_MAX);
    if (o->signal != 0 || o->exit_code != 0) {
        run_child(t);
    } else {
        run_body(t);
    }
    alarm(0);
    return !failed;
}

int
main(int argc, char **argv)
{
    static struct test *sorted[TESTS_MAX];
    size_t count = 0;
    size_t failures = 0;

    for (struct test *t = tests; t != NULL; t = t->next) {
        if (count < TESTS_MAX && selected(t, argc, argv)) {
            sorted[count++] = t;
        }
    }
    qsort(sorted, count, sizeof(sorted[0]), by_name);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        bool ok = run_test(sorted[i]);

        failures += ok ? 0 : 1;
        printf("%s %zu %s::%s\n", ok ? "ok" : "not ok", i + 1, sorted[i]->suite,
               sorted[i]->name);
        fflush(stdout);
    }
    return failures == 0 ? 0 : 1;
}

#else

/* ISO C has no empty file. */
extern int harness_runner_is_unused;

#endif
