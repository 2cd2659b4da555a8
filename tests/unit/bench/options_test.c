/* What may be typed, and what is said when it may not. */
#include <quorate/error.h>

#include "base/buf.h"
#include "base/error.h"
#include "bench/options.h"
#include "lib/harness.h"

enum {
    ARGS_MAX = 8
};

/* Parse up to three arguments; NULL ends them. */
static int
parse(struct bench_options *o, struct error *err, const char *a, const char *b,
      const char *c)
{
    const char *given[] = {a, b, c};
    char *argv[ARGS_MAX] = {(char[]){"quorate-bench"}};
    char copies[3][ERROR_TEXT_SIZE];
    int argc = 1;
    size_t i = 0;

    error_clear(err);
    for (i = 0; i < 3 && given[i] != NULL; i++) {
        (void)snprintf(copies[i], sizeof(copies[i]), "%s", given[i]);
        argv[argc] = copies[i];
        argc++;
    }
    return bench_options_parse(argc, argv, o, err);
}

static void
refuses(const char *a, const char *b, const char *c, const char *because)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, a, b, c), -QR_EINVAL, "%s was accepted", a);
    cr_assert_not_null(strstr(err.text, because), "%s: '%s' lacks '%s'", a,
                       err.text, because);
}

Test(options, defaults_are_those_of_the_articles)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, NULL, NULL, NULL), 0, "%s", err.text);
    cr_assert_eq(o.mode, BENCH_PUBCON);
    cr_assert_eq(o.publishers, 1);
    cr_assert_eq(o.window, 256);
    cr_assert_eq(o.size, 1024);
    cr_assert_eq(o.duration_us, 10000000);
    cr_assert_eq(o.warmup_us, 2000000);
    cr_assert_eq(o.hosts.count, 1);
    cr_assert_str_eq(o.hosts.list[0].name, "127.0.0.1");
    cr_assert_eq(o.hosts.list[0].port, 5672);
    cr_assert_str_eq(o.publish_hosts.list[0].name, "127.0.0.1");
    cr_assert_str_eq(o.vhost, "/");
    cr_assert(o.verify);
    cr_assert_not(o.reconnect);
}

Test(options, hosts_are_names_addresses_and_paths)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--hosts=a:1,b,[::1]:65535", NULL, NULL), 0,
                 "%s", err.text);
    cr_assert_eq(o.hosts.count, 3);
    cr_assert_str_eq(o.hosts.list[1].name, "b");
    cr_assert_eq(o.hosts.list[1].port, 5672);
    cr_assert_str_eq(o.hosts.list[2].name, "::1");
    cr_assert_eq(o.hosts.list[2].port, 65535);
    cr_assert_eq(o.consume_hosts.count, 3);
}

Test(options, roles_have_hosts_of_their_own)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(
        parse(&o, &err, "--publish-hosts=x:1", "--consume-hosts=y:2", NULL), 0);
    cr_assert_str_eq(o.publish_hosts.list[0].name, "x");
    cr_assert_str_eq(o.consume_hosts.list[0].name, "y");
    cr_assert_eq(o.hosts.count, 1);
}

Test(options, hosts_have_a_limit)
{
    refuses("--hosts=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", NULL, NULL,
            "more than 16");
}

Test(options, bad_hosts_are_refused)
{
    refuses("--hosts=a:0", NULL, NULL, "'a:0' is not HOST:PORT");
    refuses("--hosts=a:65536", NULL, NULL, "HOST:PORT");
    refuses("--hosts=a,,b", NULL, NULL, "'' is not HOST:PORT");
    refuses("--hosts=", NULL, NULL, "none given");
}

Test(options, seconds_have_fractions)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--duration", "2.5", "--warmup=0.000001"), 0);
    cr_assert_eq(o.duration_us, 2500000);
    cr_assert_eq(o.warmup_us, 1);
    refuses("--duration=2.", NULL, NULL, "'2.' is not a number of seconds");
    refuses("--duration=1.0000001", NULL, NULL, "seconds");
    refuses("--duration=86400.1", NULL, NULL, "from 0 to 86400");
    refuses("--duration=-1", NULL, NULL, "seconds");
    refuses("--settle-timeout=0.5", NULL, NULL, "from 1 to 3600");
}

Test(options, numbers_have_limits)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--prefetch=65535", "--queues=60000", NULL),
                 0);
    refuses("--prefetch=65536", NULL, NULL, "from 0 to 65535");
    refuses("--queues=0", NULL, NULL, "from 1 to 60000");
    refuses("--rate=x", NULL, NULL, "--rate: 'x' is not a number");
}

Test(options, flags_can_be_set_and_unset)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--no-verify", "--quorum", "--no-durable"), 0);
    cr_assert_not(o.verify);
    cr_assert(o.quorum);
    cr_assert_not(o.durable);
    cr_assert_eq(parse(&o, &err, "--verify=no", "--delete=yes", NULL), 0);
    cr_assert_not(o.verify);
    cr_assert(o.delete_after);
    refuses("--verify=maybe", NULL, NULL, "is not yes or no");
    refuses("--no-hosts", NULL, NULL, "there is no option");
}

Test(options, unknown_words_are_refused)
{
    refuses("--bogus", NULL, NULL, "there is no option '--bogus'");
    refuses("bogus", NULL, NULL, "'bogus' is not an option");
    refuses("--label", NULL, NULL, "--label wants TEXT after it");
    refuses("--mode=x", NULL, NULL, "'x' is not one of pubcon");
    refuses("--prefix=", NULL, NULL, "0 bytes, allowed are 1 to 200");
}

Test(options, pids_are_numbers)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--pids=1,4194304", NULL, NULL), 0);
    cr_assert_eq(o.pids.count, 2);
    cr_assert_eq(o.pids.list[1], 4194304);
    refuses("--pids=0", NULL, NULL, "'0' is not a process id");
    refuses("--pids=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", NULL, NULL,
            "more than 16");
}

Test(options, probes_have_names_and_commands)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--probe=a=b c", "--probe", "d=e"), 0);
    cr_assert_eq(o.probes.count, 2);
    refuses("--probe=a", NULL, NULL, "NAME=COMMAND");
    refuses("--probe==a", NULL, NULL, "NAME=COMMAND");
    refuses("--probe=a=", NULL, NULL, "NAME=COMMAND");
}

Test(options, what_cannot_go_on_is_refused)
{
    refuses("--prefetch=10", "--ack-every=11", NULL, "would wait for");
    refuses("--publishers=0", "--consumers=0", NULL, "nothing to do");
}

Test(options, a_mode_has_the_roles_it_needs)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--mode=publish", NULL, NULL), 0);
    cr_assert_eq(o.consumers, 0);
    cr_assert_eq(parse(&o, &err, "--mode=consume", NULL, NULL), 0);
    cr_assert_eq(o.publishers, 0);
    cr_assert_eq(o.warmup_us, 0);
    cr_assert_eq(parse(&o, &err, "--mode=churn", NULL, NULL), 0);
    cr_assert_eq(o.publishers + o.consumers, 0);
    cr_assert_str_eq(bench_mode_name(o.mode), "churn");
}

Test(options, a_count_has_time_unless_told_otherwise)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--count=5", NULL, NULL), 0);
    cr_assert_eq(o.duration_us, 600000000);
    cr_assert_eq(o.warmup_us, 0);
    cr_assert_eq(parse(&o, &err, "--count=5", "--duration=3", "--warmup=1"), 0);
    cr_assert_eq(o.duration_us, 3000000);
    cr_assert_eq(o.warmup_us, 1000000);
}

Test(options, small_bodies_are_not_verified)
{
    struct bench_options o;
    struct error err;

    cr_assert_eq(parse(&o, &err, "--size=16", NULL, NULL), 0);
    cr_assert(o.verify);
    cr_assert_eq(parse(&o, &err, "--size=15", NULL, NULL), 0);
    cr_assert_not(o.verify);
}

Test(options, nothing_is_written_when_refused)
{
    struct bench_options o = {.queues = 77};
    struct error err;

    cr_assert_neq(parse(&o, &err, "--queues=5", "--bogus", NULL), 0);
    cr_assert_eq(o.queues, 77);
}

Test(options, the_help_fits_a_terminal_and_names_every_option)
{
    struct buf out;
    const char *at = NULL;
    const char *end = NULL;

    buf_init(&out);
    bench_options_help(&out);
    buf_put_u8(&out, 0);
    for (at = (const char *)out.data; *at != 0; at = end + 1) {
        end = strchr(at, '\n');
        cr_assert_not_null(end);
        cr_assert_leq(end - at, 80, "%.*s", (int)(end - at), at);
    }
    cr_assert_not_null(strstr((const char *)out.data, "--publish-hosts HOST"));
    cr_assert_not_null(strstr((const char *)out.data, "--[no-]verify"));
    cr_assert_not_null(strstr((const char *)out.data, "(256)"));
    buf_deinit(&out);
}

Test(options, the_manual_escapes_hyphens)
{
    struct buf out;

    buf_init(&out);
    bench_options_man(&out);
    buf_put_u8(&out, 0);
    cr_assert_eq(strncmp((const char *)out.data, ".TH QUORATE\\-BENCH 1", 20),
                 0);
    cr_assert_not_null(
        strstr((const char *)out.data, ".B \\-\\-publish\\-hosts"));
    buf_deinit(&out);
}
