/* Log lines: levels, limits, and the sink. */
#include "base/log.h"
#include "lib/harness.h"

/* What the sink saw. */
struct seen {
    unsigned count;
    enum log_level level;
    char category[20];
    char text[LOG_LINE_SIZE + 10];
};

static void
seen_sink(void *arg, enum log_level level, const char *category,
          const char *text)
{
    struct seen *s = arg;

    s->count++;
    s->level = level;
    (void)snprintf(s->category, sizeof(s->category), "%s", category);
    (void)snprintf(s->text, sizeof(s->text), "%s", text);
}

Test(log, hands_a_formatted_line_to_the_sink)
{
    struct seen s = {0};
    struct logger l = {seen_sink, &s, LOG_INFO};

    log_warning(&l, "queue", "queue %s has %d messages", "q", 3);
    cr_assert_eq(s.count, 1);
    cr_assert_eq(s.level, LOG_WARNING);
    cr_assert_str_eq(s.category, "queue");
    cr_assert_str_eq(s.text, "queue q has 3 messages");
}

Test(log, a_name_from_outside_makes_no_line_of_its_own)
{
    struct seen s = {0};
    struct logger l = {seen_sink, &s, LOG_INFO};

    log_info(&l, "connection", "user '%s'", "a\n[error]\x1b[2J\x7f\xc3\xa4");
    cr_assert_str_eq(s.text, "user 'a?[error]?[2J?\xc3\xa4'");
}

Test(log, drops_lines_below_its_level)
{
    struct seen s = {0};
    struct logger l = {seen_sink, &s, LOG_WARNING};

    log_debug(&l, "x", "no");
    log_info(&l, "x", "no");
    cr_assert_eq(s.count, 0);
    log_warning(&l, "x", "yes");
    log_error(&l, "x", "yes");
    log_at(&l, LOG_CRITICAL, "x", "yes");
    cr_assert_eq(s.count, 3);
    l.level = LOG_NONE;
    log_at(&l, LOG_CRITICAL, "x", "no");
    cr_assert_eq(s.count, 3);
}

Test(log, needs_no_logger_and_no_sink)
{
    struct logger l = {NULL, NULL, LOG_DEBUG};

    log_error(NULL, "x", "%d", 1);
    log_error(&l, "x", "%d", 1);
}

Test(log, cuts_a_long_line_and_shows_it)
{
    struct seen s = {0};
    struct logger l = {seen_sink, &s, LOG_DEBUG};

    log_info(&l, "x", "%0*d", LOG_LINE_SIZE - 1, 7);
    cr_assert_eq(strlen(s.text), LOG_LINE_SIZE - 1);
    cr_assert_eq(s.text[LOG_LINE_SIZE - 2], '7');
    log_info(&l, "x", "%0*d", LOG_LINE_SIZE, 7);
    cr_assert_eq(strlen(s.text), LOG_LINE_SIZE - 1);
    cr_assert_str_eq(s.text + LOG_LINE_SIZE - 5, "0...");
}

Test(log, has_no_line_at_level_none, .signal = SIGABRT)
{
    struct seen s = {0};
    struct logger l = {seen_sink, &s, LOG_DEBUG};

    log_at(&l, LOG_NONE, "x", "x");
}

Test(log, reads_the_names_it_writes)
{
    for (int i = LOG_DEBUG; i <= LOG_NONE; i++) {
        enum log_level level = LOG_DEBUG;

        cr_assert(log_level_parse(log_level_name((enum log_level)i), &level));
        cr_assert_eq((int)level, i);
    }
    cr_assert_str_eq(log_level_name(LOG_WARNING), "warning");
}

Test(log, refuses_other_names_and_writes_nothing)
{
    enum log_level level = LOG_ERROR;

    cr_assert(!log_level_parse("", &level));
    cr_assert(!log_level_parse("Info", &level));
    cr_assert(!log_level_parse("information", &level));
    cr_assert_eq(level, LOG_ERROR);
}
