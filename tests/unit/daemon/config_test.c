/* The configuration: every key, and every way to get one wrong. */
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "daemon/config.h"
#include "lib/harness.h"

static int
parse(struct config *c, const char *text, struct error *err)
{
    error_clear(err);
    return config_parse(c, "f.conf", text, strlen(text), err);
}

Test(config, has_rabbitmq_s_defaults)
{
    struct config c;

    config_init(&c);
    cr_assert_eq(c.tcp_listeners.count, 1);
    cr_assert_str_eq(c.tcp_listeners.values[0], "5672");
    cr_assert_eq(c.heartbeat_s, 60);
    cr_assert_eq(c.frame_max, 131072);
    cr_assert_eq(c.channel_max, 2047);
    cr_assert_str_eq(c.default_user, "guest");
    cr_assert(config_has_flag(&c.loopback_users, "guest"));
    cr_assert(config_has_flag(&c.default_user_tags, "administrator"));
    cr_assert_eq(c.nodes.count, 0);
    config_deinit(&c);
}

Test(config, reads_every_type_of_value)
{
    struct config c;
    struct error err;

    config_init(&c);
    cr_assert_eq(parse(&c,
                       "# a comment\n"
                       "\n"
                       "  heartbeat =  30 \r\n"
                       "cluster_name = a name with = in it\n"
                       "log.console = false\n"
                       "log.console.level = warning\n"
                       "loopback_users.guest = false\n"
                       "listeners.tcp.default = 127.0.0.1:5673\n"
                       "listeners.tcp.2 = 5674",
                       &err),
                 0, "%s", err.text);
    cr_assert_eq(c.heartbeat_s, 30);
    cr_assert_str_eq(c.cluster_name, "a name with = in it");
    cr_assert_not(c.log_console);
    cr_assert_eq(c.log_level, LOG_WARNING);
    cr_assert_not(config_has_flag(&c.loopback_users, "guest"));
    cr_assert_eq(c.tcp_listeners.count, 2);
    cr_assert_str_eq(c.tcp_listeners.values[1], "5674");
    config_deinit(&c);
}

Test(config, names_file_line_key_and_what_is_allowed)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"\nhartbeat = 3\n",
         "f.conf:2: hartbeat = 3: there is no such key; `quorated --help` "
         "lists them all"},
        {"heartbeat = soon", "f.conf:1: heartbeat = soon: a number from 0 to "
                             "65535 is allowed"},
        {"heartbeat = 65536", "f.conf:1: heartbeat = 65536: a number from 0 "
                              "to 65535 is allowed"},
        {"frame_max = 4095", "f.conf:1: frame_max = 4095: a number from 4096 "
                             "to 16777216 is allowed"},
        {"log.console = maybe",
         "f.conf:1: log.console = maybe: true or false is allowed"},
        {"log.console.level = loud",
         "f.conf:1: log.console.level = loud: debug, info, warning, error, "
         "critical or none is allowed"},
        {"default_user =",
         "f.conf:1: default_user = : 0 bytes; 1 to 255 are allowed"},
        {"loopback_users.guest = 3",
         "f.conf:1: loopback_users.guest = 3: true or false is allowed"},
        {"loopback_users = guest",
         "f.conf:1: loopback_users = guest: `none`, or KEY.NAME = true"},
        {"just words", "f.conf:1: 'just words': a line is `key = value`, or "
                       "begins with #"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config c;
        struct error err;

        config_init(&c);
        cr_assert_lt(parse(&c, cases[i].text, &err), 0, "%s", cases[i].text);
        cr_assert_str_eq(err.text, cases[i].says);
        config_deinit(&c);
    }
}

Test(config, holds_as_many_of_a_list_as_it_may_and_no_more)
{
    struct config c;
    struct error err;
    struct buf text;

    config_init(&c);
    buf_init(&text);
    for (int i = 0; i < CONFIG_LIST_MAX; i++) {
        buf_putf(&text, "listeners.tcp.%d = %d\n", i, 6000 + i);
    }
    cr_assert_eq(config_parse(&c, "f", (char *)text.data, text.size, &err), 0);
    cr_assert_eq(c.tcp_listeners.count, CONFIG_LIST_MAX);
    buf_putf(&text, "listeners.tcp.more = 7000\n");
    cr_assert_lt(config_parse(&c, "f", (char *)text.data, text.size, &err), 0);
    buf_deinit(&text);
    config_deinit(&c);
}

Test(config, takes_none_for_an_empty_list)
{
    struct config c;
    struct error err;

    config_init(&c);
    cr_assert_eq(parse(&c, "listeners.tcp = none\nloopback_users = none", &err),
                 0, "%s", err.text);
    cr_assert_eq(c.tcp_listeners.count, 0);
    cr_assert_not(config_has_flag(&c.loopback_users, "guest"));
    config_deinit(&c);
}

Test(config, joins_flags_that_are_set)
{
    struct config c;
    struct error err;
    char *flags;

    config_init(&c);
    cr_assert_eq(parse(&c,
                       "default_user_tags.administrator = true\n"
                       "default_user_tags.monitoring = true\n"
                       "default_user_tags.other = false\n",
                       &err),
                 0);
    flags = config_flags(&c.default_user_tags);
    cr_assert_str_eq(flags, "administrator,monitoring");
    mem_free(flags);
    config_deinit(&c);
}

Test(config, says_which_file_it_cannot_read)
{
    struct config c;
    struct error err;

    config_init(&c);
    error_clear(&err);
    cr_assert_eq(config_load(&c, "/nonexistent/q.conf", &err), -QR_EIO);
    cr_assert_not_null(strstr(err.text, "/nonexistent/q.conf"));
    config_deinit(&c);
}

Test(config, describes_every_key)
{
    struct buf out;

    buf_init(&out);
    config_describe(&out);
    buf_put_u8(&out, 0);
    cr_assert_not_null(strstr((char *)out.data, "listeners.tcp.NAME (5672)"));
    cr_assert_not_null(strstr((char *)out.data, "log.console.level (info)"));
    buf_deinit(&out);
}
