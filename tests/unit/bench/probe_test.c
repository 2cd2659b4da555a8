/* Commands that answer, that do not, and that take too long. */
#include <quorate/error.h>

#include "base/error.h"
#include "bench/probe.h"
#include "lib/harness.h"

struct world {
    uv_loop_t loop;
    struct probe probe;
};

/* Run TEXT to its end; whether it gave a number, *VALUE. */
static bool
answers(const char *text, uint64_t *value)
{
    struct world w;
    struct error err;
    bool known = false;

    error_clear(&err);
    cr_assert_eq(uv_loop_init(&w.loop), 0);
    cr_assert_eq(probe_init(&w.probe, &w.loop, text, &err), 0, "%s", err.text);
    cr_assert_not(probe_is_asking(&w.probe));
    probe_ask(&w.probe);
    cr_assert(probe_is_asking(&w.probe));
    cr_assert_eq(uv_run(&w.loop, UV_RUN_DEFAULT), 0);
    cr_assert_not(probe_is_asking(&w.probe));
    known = probe_value(&w.probe, value);
    probe_deinit(&w.probe);
    cr_assert_eq(uv_loop_close(&w.loop), 0);
    return known;
}

Test(probe, a_number_is_an_answer)
{
    uint64_t value = 0;

    cr_assert(answers("n=echo 42", &value));
    cr_assert_eq(value, 42);
}

Test(probe, the_first_number_among_words_is)
{
    uint64_t value = 0;

    cr_assert(answers("n=echo  fdatasyncs: 7 x9 8", &value));
    cr_assert_eq(value, 7);
}

Test(probe, no_number_is_no_answer)
{
    uint64_t value = 5;

    cr_assert_not(answers("n=echo none", &value));
    cr_assert_eq(value, 5);
}

Test(probe, a_command_that_fails_gave_no_answer)
{
    uint64_t value = 0;

    cr_assert_not(answers("n=cat /nonexistent 3", &value));
    cr_assert_not(answers("n=/nonexistent/command", &value));
}

Test(probe, much_output_is_read_to_its_end)
{
    uint64_t value = 0;

    cr_assert(answers("n=seq 100000", &value));
    cr_assert_eq(value, 1);
}

Test(probe, a_command_that_takes_too_long_is_ended, .timeout = 30)
{
    uint64_t value = 0;

    cr_assert_not(answers("n=sleep 60", &value));
}

Test(probe, names_and_words_have_limits)
{
    uv_loop_t loop;
    struct probe p;
    struct error err;

    error_clear(&err);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(
        probe_init(&p, &loop,
                   "0123456789012345678901234567890123456789012345678901234567"
                   "890123=x",
                   &err),
        -QR_EINVAL);
    cr_assert_eq(probe_init(&p, &loop, "n=  ", &err), -QR_EINVAL);
    cr_assert_eq(
        probe_init(&p, &loop,
                   "n=1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 "
                   "9 0 1 2 3",
                   &err),
        -QR_EINVAL);
    cr_assert_not_null(strstr(err.text, "32 words"));
    cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(probe, digits_must_be_a_word)
{
    uint64_t value = 0;

    cr_assert(probe_parse(" 12\n", 4, &value));
    cr_assert_eq(value, 12);
    cr_assert_not(probe_parse("a1 1b", 5, &value));
    cr_assert_not(probe_parse("", 0, &value));
}
