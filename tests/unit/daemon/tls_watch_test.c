/* Certificates that change, and that come to their end; on a clock and a pool
 * that the test holds. */
#include <quorate/error.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/tls_watch.h"
#include "lib/harness.h"
#include "net/tls_store.h"
#include "shard/env.h"
#include "unit/net/pki.h"

enum {
    INTERVAL_MS = 1000
};

static struct env env;
static struct logger logger;
static struct buf lines;
static uint64_t clock_ms;
static uint64_t wall_ahead_s;
static struct work *pool;
static struct pki pki;
static struct tls_store *store;
static struct tls_watch *watch;

static uint64_t
now_ms(struct env *e)
{
    (void)e;
    return clock_ms;
}

static uint64_t
wall_ms(struct env *e)
{
    struct timespec now;

    (void)e;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec + wall_ahead_s) * 1000;
}

static void
on_work(struct env *e, struct work *work)
{
    (void)e;
    cr_assert_null(pool);
    pool = work;
}

static void
on_line(void *arg, enum log_level level, const char *category, const char *text)
{
    (void)arg;
    buf_putf(&lines, "%s %s: %s\n", log_level_name(level), category, text);
}

/* Whether TEXT was logged since the last time. */
static bool
logged(const char *text)
{
    bool found = false;

    buf_put_u8(&lines, 0);
    found = strstr((const char *)lines.data, text) != NULL;
    lines.size--;
    return found;
}

static void
setup(void)
{
    static const struct env_ops ops = {
        .now_ms = now_ms, .wall_ms = wall_ms, .work = on_work};
    static const struct pki_request request = {.name = "n1"};
    struct tls_config config = {.prefix = "ssl_options", .tls13 = true};
    struct tls_watch_config watched = {
        .env = &env, .interval_ms = INTERVAL_MS, .warning_days = 30};
    char pem[PKI_PATH_SIZE];
    char key[PKI_PATH_SIZE];
    struct error err = {""};

    pki_init(&pki);
    pki_issue(&pki, &request);
    buf_init(&lines);
    clock_ms = 1;
    wall_ahead_s = 0;
    pool = NULL;
    logger = (struct logger){on_line, NULL, LOG_DEBUG};
    timers_init(&env.timers);
    env.ops = &ops;
    env.log = &logger;
    config.certfile = pki_path(&pki, "n1", ".pem", pem);
    config.keyfile = pki_path(&pki, "n1", ".key", key);
    cr_assert_eq(tls_store_new(&config, &store, &err), 0, "%s", err.text);
    watched.stores[0] = store;
    watch = tls_watch_new(&watched);
}

static void
teardown(void)
{
    tls_watch_stop(watch);
    tls_watch_free(&watch);
    tls_store_free(&store);
    timers_deinit(&env.timers);
    buf_deinit(&lines);
    pki_deinit(&pki);
}

TestSuite(tls_watch, .init = setup, .fini = teardown);

/* COUNT looks at the files. */
static void
look(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        clock_ms += INTERVAL_MS;
        (void)timers_run(&env.timers, clock_ms, 10);
    }
}

static void
run_pool(void)
{
    struct work *work = pool;

    cr_assert_not_null(work);
    pool = NULL;
    work->run(work);
    work->done(work);
}

Test(tls_watch, leaves_alone_what_does_not_change)
{
    look(10);
    cr_expect_null(pool);
    cr_expect_eq(lines.size, 0);
}

Test(tls_watch, reads_new_files_once_they_have_settled)
{
    static const struct pki_request again = {.name = "n1",
                                             .ends_s = 50 * PKI_DAY_S};
    struct tls_validity before;
    struct tls_validity after;

    look(1);
    tls_store_validity_mt(store, &before);
    pki_issue(&pki, &again);
    look(1);
    cr_expect_null(pool);
    look(1);
    run_pool();
    cr_expect(logged("info tls: loaded certificates of ssl_options: CN=n1 is "
                     "good until"));
    tls_store_validity_mt(store, &after);
    cr_expect_lt(after.ends, before.ends);
    look(3);
    cr_expect_null(pool);
}

Test(tls_watch, refuses_new_files_that_are_bad_and_says_so_once)
{
    static const struct pki_request expired = {
        .name = "n1", .begins_s = -PKI_DAY_S, .ends_s = -60};
    struct tls_validity before;
    struct tls_validity after;

    look(1);
    tls_store_validity_mt(store, &before);
    pki_issue(&pki, &expired);
    look(2);
    run_pool();
    cr_expect(logged("error tls: new certificates are refused, the old ones "
                     "stay: ssl_options.certfile"));
    tls_store_validity_mt(store, &after);
    cr_expect_eq(after.ends, before.ends);
    look(5);
    cr_expect_null(pool);
}

Test(tls_watch, reads_on_demand_and_tells_how_it_went)
{
    uint64_t first = tls_watch_reload(watch);
    uint64_t second = 0;
    uint64_t third = 0;
    const char *text = NULL;
    char path[PKI_PATH_SIZE];
    int result = 1;

    cr_expect(!tls_watch_reloaded(watch, first, &result, &text));
    second = tls_watch_reload(watch); /* while the first runs */
    third = tls_watch_reload(watch);
    run_pool();
    cr_expect(tls_watch_reloaded(watch, first, &result, &text));
    cr_expect_eq(result, 0);
    cr_expect_not_null(strstr(text, "ssl_options: CN=n1 is good until"));
    cr_expect(!tls_watch_reloaded(watch, second, &result, &text));
    cr_assert_eq(unlink(pki_path(&pki, "n1", ".key", path)), 0);
    run_pool();
    cr_expect(tls_watch_reloaded(watch, second, &result, &text));
    cr_expect(tls_watch_reloaded(watch, third, &result, &text));
    cr_expect_eq(result, -QR_ENOENT);
    cr_expect_not_null(strstr(text, "refused"), "%s", text);
    cr_expect_null(pool);
}

static void
on_row(void *arg, const char *name, const char *value)
{
    buf_putf(arg, "%s=%s;", name, value);
}

Test(tls_watch, warns_each_day_before_the_end_and_after_it)
{
    struct buf rows;

    look(1);
    cr_expect(!logged("expires"));
    wall_ahead_s = 75 * (uint64_t)PKI_DAY_S;
    look(1);
    cr_expect(logged("warning tls: ssl_options.certfile: a certificate expires "
                     "at "));
    cr_expect(logged(", in 24 days") || logged(", in 25 days"));
    buf_clear(&lines);
    look(5);
    cr_expect_eq(lines.size, 0);
    wall_ahead_s += 30 * (uint64_t)PKI_DAY_S;
    look(1);
    cr_expect(logged("error tls: ssl_options.certfile: a certificate EXPIRED"));
    buf_init(&rows);
    tls_watch_describe(watch, on_row, &rows);
    buf_put_u8(&rows, 0);
    cr_expect_not_null(strstr((const char *)rows.data,
                              "ssl_options.certfile=CN=n1 EXPIRED at "));
    buf_deinit(&rows);
}
