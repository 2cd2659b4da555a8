/* The configuration in effect, as rows; and the manual page. */
#include "base/buf.h"
#include "daemon/config.h"
#include "daemon/environment.h"
#include "daemon/manual.h"
#include "lib/harness.h"

static void
put_row(void *arg, const char *key, const char *value)
{
    buf_putf(arg, "%s=%s;", key, value);
}

static bool
has(const struct buf *text, const char *what)
{
    return memmem(text->data, text->size, what, strlen(what)) != NULL;
}

Test(environment, every_key_is_a_row_and_secrets_are_hidden)
{
    static const char file[] = "default_pass = swordfish\n"
                               "listeners.tcp.a = 5673\n"
                               "listeners.tcp.b = 5674\n"
                               "log.console.level = debug\n"
                               "log.console = false\n";
    struct config config;
    struct error *none = NULL;
    struct buf text;

    config_init(&config);
    buf_init(&text);
    cr_assert_eq(config_parse(&config, "file", file, sizeof(file) - 1, none),
                 0);
    environment_each(&config, put_row, &text);
    cr_assert(has(&text, "listeners.tcp.a=5673;"));
    cr_assert(has(&text, "listeners.tcp.b=5674;"));
    cr_assert(has(&text, "log.console.level=debug;"));
    cr_assert(has(&text, "log.console=false;"));
    cr_assert(has(&text, "heartbeat=60;"));
    cr_assert(has(&text, "loopback_users.guest=true;"));
    cr_assert(has(&text, "default_pass=(hidden);"));
    cr_assert(!has(&text, "swordfish"));
    config_deinit(&config);
    buf_deinit(&text);
}

Test(environment, the_process_has_a_pid_and_memory)
{
    struct buf text;

    buf_init(&text);
    environment_process(put_row, &text);
    cr_assert(has(&text, "pid="));
    cr_assert(has(&text, "memory_bytes="));
    buf_deinit(&text);
}

Test(manual, every_key_is_in_the_page)
{
    static const char *const keys[] = {
#define CONFIG(key, member, type, def, least, most, help) key,
#include "daemon/config.def"
#undef CONFIG
    };
    struct buf text;

    buf_init(&text);
    manual_describe(&text);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        cr_assert(has(&text, keys[i]), "%s", keys[i]);
    }
    cr_assert_eq(memcmp(text.data, ".TH QUORATED 1 ", 15), 0);
    buf_deinit(&text);
}
