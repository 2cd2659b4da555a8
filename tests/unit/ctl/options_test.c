/* The command line. */
#include "base/buf.h"
#include "base/error.h"
#include "ctl/options.h"
#include "lib/harness.h"

/* Parse words, the last one NULL. */
static int
parse(const char *const *words, struct ctl_options *o, struct error *err)
{
    int count = 0;

    while (words[count] != NULL) {
        count++;
    }
    error_clear(err);
    return options_parse(count, words, o, err);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL}, &o, &err)

Test(options, a_command_and_its_arguments_are_found)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(PARSE("list_queues", "name", "messages"), 0);
    cr_assert_eq(o.command, COMMAND_list_queues);
    cr_assert_eq(o.args_count, 2);
    cr_assert_str_eq(o.args[1], "messages");
    cr_assert_eq(o.format, FORMAT_TABLE);
    cr_assert(!o.has_format);
    cr_assert_eq(o.timeout_ms, 10000);
}

Test(options, options_stand_anywhere_and_in_every_form)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(PARSE("-n", "n2", "list_queues", "-p/x", "name", "-qs",
                       "--timeout=1.5", "--format", "json"),
                 0);
    cr_assert_str_eq(o.values[OPTION_NODE], "n2");
    cr_assert_str_eq(o.values[OPTION_VHOST], "/x");
    cr_assert_str_eq(o.values[OPTION_QUIET], "");
    cr_assert_str_eq(o.values[OPTION_SILENT], "");
    cr_assert_eq(o.timeout_ms, 1500);
    cr_assert_eq(o.format, FORMAT_JSON);
    cr_assert_eq(o.args_count, 1);
}

Test(options, after_two_dashes_all_are_arguments)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(PARSE("delete_queue", "--", "--if-empty"), 0);
    cr_assert_str_eq(o.args[0], "--if-empty");
    cr_assert(o.values[OPTION_IF_EMPTY] == NULL);
    cr_assert_eq(PARSE("delete_queue", "-"), 0); /* a dash alone is a name */
}

Test(options, mistakes_are_named)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(PARSE("list_que"), -QR_EINVAL);
    cr_assert(strstr(err.text, "did you mean 'list_queues'") != NULL);
    cr_assert_eq(PARSE("utterly_unknown"), -QR_EINVAL);
    cr_assert_eq(PARSE("ping", "--nonsense"), -QR_EINVAL);
    cr_assert(strstr(err.text, "--nonsense") != NULL);
    cr_assert_eq(PARSE("ping", "-z"), -QR_EINVAL);
    cr_assert_eq(PARSE("ping", "-n"), -QR_EINVAL);
    cr_assert_eq(PARSE("ping", "--quiet=1"), -QR_EINVAL);
    cr_assert_eq(PARSE("ping", "-p", "/"), -QR_EINVAL);
    cr_assert(strstr(err.text, "--vhost") != NULL);
    cr_assert_eq(PARSE("ping", "x"), -QR_EINVAL);
    cr_assert_eq(PARSE("add_vhost"), -QR_EINVAL);
    cr_assert_eq(PARSE("ping", "--format", "xml"), -QR_EINVAL);
    cr_assert_eq(PARSE("ping", "-t", "soon"), -QR_EINVAL);
}

Test(options, both_names_of_the_format_work)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(PARSE("ping", "--formatter", "csv"), 0);
    cr_assert_eq(o.format, FORMAT_CSV);
    cr_assert_eq(PARSE("ping", "--formatter=pretty_table"), 0);
    cr_assert_eq(o.format, FORMAT_PRETTY_TABLE);
    cr_assert(o.has_format);
}

Test(options, nothing_and_help_ask_for_help)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(parse((const char *const[]){NULL}, &o, &err), 0);
    cr_assert_eq(o.command, COMMAND_help);
    cr_assert_eq(o.args_count, 0);
    cr_assert_eq(PARSE("--help"), 0);
    cr_assert_eq(o.command, COMMAND_help);
    cr_assert_eq(PARSE("delete_queue", "-h"), 0); /* though it lacks a name */
    cr_assert_eq(o.command, COMMAND_help);
    cr_assert_str_eq(o.args[0], "delete_queue");
    cr_assert_eq(PARSE("help", "ping"), 0);
    cr_assert_str_eq(o.args[0], "ping");
}

Test(options, too_many_arguments_are_refused)
{
    const char *words[COMMAND_ARGS_MAX + 3] = {"list_queues"};
    struct ctl_options o;
    struct error err;

    for (size_t i = 1; i <= COMMAND_ARGS_MAX; i++) {
        words[i] = "name";
    }
    cr_assert_eq(parse(words, &o, &err), 0);
    words[COMMAND_ARGS_MAX + 1] = "name";
    cr_assert_eq(parse(words, &o, &err), -QR_EINVAL);
}

Test(options, the_request_has_what_the_node_needs)
{
    static const char expected[] = "list_queues\0--node=n2\0--timeout=3\0"
                                   "--vhost=v\0--online\0--\0name";
    struct ctl_options o;
    struct error err;
    struct buf b;

    cr_assert_eq(PARSE("list_queues", "name", "-q", "-pv", "--online", "-nn2",
                       "-t3", "--socket", "/x", "--format=json"),
                 0);
    buf_init(&b);
    options_request(&o, NULL, &b);
    cr_assert_eq(b.size, sizeof(expected));
    cr_assert_eq(memcmp(b.data, expected, sizeof(expected)), 0);
    buf_deinit(&b);
}

Test(options, a_password_that_was_read_comes_last)
{
    static const char expected[] = "add_user\0--\0bob\0secret";
    struct ctl_options o;
    struct error err;
    struct buf b;

    cr_assert_eq(PARSE("add_user", "bob", "x"), 0);
    cr_assert(!options_want_password(&o));
    cr_assert_eq(PARSE("list_users"), 0);
    cr_assert(!options_want_password(&o));
    cr_assert_eq(PARSE("add_user", "bob"), 0);
    cr_assert(options_want_password(&o));
    buf_init(&b);
    options_request(&o, "secret", &b);
    cr_assert_eq(b.size, sizeof(expected));
    cr_assert_eq(memcmp(b.data, expected, sizeof(expected)), 0);
    buf_deinit(&b);
}

/* Whether the banner of what was parsed is EXPECTED. */
static bool
is_banner(const struct ctl_options *o, const char *expected)
{
    struct buf b;
    bool is_equal;

    buf_init(&b);
    options_banner(o, &b);
    buf_put_u8(&b, 0);
    is_equal = strcmp((const char *)b.data, expected) == 0;
    buf_deinit(&b);
    return is_equal;
}

Test(options, banners_are_rabbitmqctls)
{
    struct ctl_options o;
    struct error err;

    cr_assert_eq(PARSE("list_queues"), 0);
    cr_assert(is_banner(&o, "Listing queues for vhost / ..."));
    cr_assert_eq(PARSE("set_user_tags", "bob", "a", "b"), 0);
    cr_assert(is_banner(&o, "Setting tags for user \"bob\" to [a, b] ..."));
    cr_assert_eq(PARSE("set_permissions", "-p", "v", "bob", "1", "2", "3"), 0);
    cr_assert(is_banner(
        &o, "Setting permissions for user \"bob\" in vhost \"v\" ..."));
    cr_assert_eq(PARSE("status"), 0);
    cr_assert(is_banner(&o, "Status of the local node ..."));
    cr_assert_eq(PARSE("status", "-n", "n3"), 0);
    cr_assert(is_banner(&o, "Status of node n3 ..."));
}

Test(options, a_password_leaves_the_command_line)
{
    char words[][16] = {"add_user", "joe", "swordfish"};
    char *argv[] = {words[0], words[1], words[2]};
    struct ctl_options o;
    struct error err;

    cr_assert_eq(options_parse(3, (const char *const *)argv, &o, &err), 0);
    options_hide_password(&o, argv, 3);
    cr_expect_str_eq(words[2], "xxxxxxxxx");
    cr_expect_str_eq(o.args[1], "swordfish");
    cr_expect_str_eq(words[1], "joe");
}

Test(options, other_words_stay_on_the_command_line)
{
    char words[][16] = {"set_user_tags", "joe", "administrator"};
    char *argv[] = {words[0], words[1], words[2]};
    struct ctl_options o;
    struct error err;

    cr_assert_eq(options_parse(3, (const char *const *)argv, &o, &err), 0);
    options_hide_password(&o, argv, 3);
    cr_expect_str_eq(words[2], "administrator");
}
