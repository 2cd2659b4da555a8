/* See tls_watch.h.
 *
 *   timer --files changed--+
 *   SIGHUP ----------------+--> asked > begun? --> pool: read --> done: log
 *   quoratectl reload_tls -+          ^______________________________|
 */
#include "daemon/tls_watch.h"

#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timer.h"
#include "net/tls_cert.h"
#include "net/tls_store.h"
#include "shard/env.h"

enum {
    WATCH_MAGIC = 0x77617463,
    DAY_S = 86400,
    TICK_MS = 60000, /* when files are not looked at */
    LINE_SIZE = 512,
    NAME_SIZE = 64
};

struct tls_watch {
    unsigned magic;
    struct tls_watch_config config;
    struct timer timer;
    struct work work;
    bool is_running; /* the work */
    bool is_stopped;
    int64_t now_s; /* for the work */
    uint64_t asked;
    uint64_t begun;
    uint64_t done;
    int results[TLS_WATCH_STORES]; /* of the last reload */
    struct error errors[TLS_WATCH_STORES];
    int result;
    char text[TLS_WATCH_TEXT_SIZE];
    int64_t warned_day;
};

static int64_t
wall_s(const struct tls_watch *w)
{
    struct env *env = w->config.env;

    return (int64_t)(env->ops->wall_ms(env) / 1000);
}

/* "CN=n1 is good until 2027-01-01T00:00:00Z (41 days)". */
static void
describe(const struct tls_watch *w, size_t i, char out[LINE_SIZE])
{
    struct tls_validity v;
    char ends[TLS_TIME_SIZE];
    int64_t now = wall_s(w);

    tls_store_validity_mt(w->config.stores[i], &v);
    tls_time_text(v.ends, ends);
    if (now >= v.ends) {
        (void)snprintf(out, LINE_SIZE, "%s EXPIRED at %s", v.subject, ends);
    } else {
        (void)snprintf(out, LINE_SIZE, "%s is good until %s (%lld days)",
                       v.subject, ends, (long long)((v.ends - now) / DAY_S));
    }
}

/* Warn of WHAT, which ends at ENDS, if that is soon. */
static void
warn_of(const struct tls_watch *w, size_t i, const char *what, int64_t ends)
{
    const struct logger *log = w->config.env->log;
    const char *prefix = tls_store_prefix(w->config.stores[i]);
    int64_t left = ends - wall_s(w);
    char text[TLS_TIME_SIZE];

    if (ends == 0 || left >= (int64_t)w->config.warning_days * DAY_S) {
        return;
    }
    tls_time_text(ends, text);
    if (left <= 0) {
        log_error(log, "tls",
                  "%s.%s: a certificate EXPIRED at %s; put a new one in its "
                  "place, the node reads it by itself",
                  prefix, what, text);
    } else {
        log_warning(log, "tls",
                    "%s.%s: a certificate expires at %s, in %lld days; put a "
                    "new one in its place, the node reads it by itself",
                    prefix, what, text, (long long)(left / DAY_S));
    }
}

/* Once a day, and when something was loaded. */
static void
warn(struct tls_watch *w)
{
    w->warned_day = wall_s(w) / DAY_S;
    for (size_t i = 0; i < TLS_WATCH_STORES; i++) {
        struct tls_validity v;

        if (w->config.stores[i] != NULL) {
            tls_store_validity_mt(w->config.stores[i], &v);
            warn_of(w, i, "certfile", v.ends);
            warn_of(w, i, "cacertfile", v.authority_ends);
        }
    }
}

static void
run(struct work *work)
{
    struct tls_watch *w = CONTAINER_OF(work, struct tls_watch, work);

    for (size_t i = 0; i < TLS_WATCH_STORES; i++) {
        error_clear(&w->errors[i]);
        w->results[i] = 0;
        if (w->config.stores[i] != NULL) {
            w->results[i] = tls_store_reload_mt(w->config.stores[i], w->now_s,
                                                &w->errors[i]);
        }
    }
}

/* Say how it went, in the log and for whoever asked. */
static void
report(struct tls_watch *w)
{
    const struct logger *log = w->config.env->log;
    size_t at = 0;

    w->result = 0;
    w->text[0] = '\0';
    for (size_t i = 0; i < TLS_WATCH_STORES; i++) {
        char line[LINE_SIZE];

        if (w->config.stores[i] == NULL) {
            continue;
        }
        if (w->results[i] == 0) {
            const char *prefix = tls_store_prefix(w->config.stores[i]);

            describe(w, i, line);
            log_info(log, "tls", "loaded certificates of %s: %s", prefix, line);
            at +=
                (size_t)snprintf(w->text + at, sizeof(w->text) - at, "%s%s: %s",
                                 at > 0 ? "\n" : "", prefix, line);
        } else {
            w->result = w->results[i];
            log_error(log, "tls",
                      "new certificates are refused, the old ones stay: %s",
                      w->errors[i].text);
            at += (size_t)snprintf(w->text + at, sizeof(w->text) - at,
                                   "%srefused, the old ones stay: %s",
                                   at > 0 ? "\n" : "", w->errors[i].text);
        }
        at = MIN(at, sizeof(w->text) - 1);
    }
}

static void
begin(struct tls_watch *w)
{
    if (w->is_running || w->is_stopped || w->begun == w->asked) {
        return;
    }
    w->is_running = true;
    w->begun = w->asked;
    w->now_s = wall_s(w);
    w->config.env->ops->work(w->config.env, &w->work);
}

static void
on_done(struct work *work)
{
    struct tls_watch *w = CONTAINER_OF(work, struct tls_watch, work);

    OBJ_CHECK(w, WATCH_MAGIC);
    w->is_running = false;
    w->done = w->begun;
    report(w);
    warn(w);
    begin(w);
}

uint64_t
tls_watch_reload(struct tls_watch *w)
{
    OBJ_CHECK(w, WATCH_MAGIC);
    w->asked++;
    begin(w);
    return w->asked;
}

bool
tls_watch_reloaded(const struct tls_watch *w, uint64_t number, int *result,
                   const char **text)
{
    OBJ_CHECK(w, WATCH_MAGIC);
    if (w->done < number) {
        return false;
    }
    *result = w->result;
    *text = w->text;
    return true;
}

static void
on_timer(void *arg)
{
    struct tls_watch *w = arg;
    struct env *env = w->config.env;
    uint64_t pause = w->config.interval_ms;
    bool is_changed = false;

    OBJ_CHECK(w, WATCH_MAGIC);
    for (size_t i = 0; pause > 0 && i < TLS_WATCH_STORES; i++) {
        if (w->config.stores[i] != NULL &&
            tls_store_is_changed_mt(w->config.stores[i])) {
            is_changed = true;
        }
    }
    if (is_changed) {
        (void)tls_watch_reload(w);
    }
    if (wall_s(w) / DAY_S != w->warned_day) {
        warn(w);
    }
    timers_start(&env->timers, &w->timer,
                 env->ops->now_ms(env) + (pause > 0 ? pause : TICK_MS));
}

struct tls_watch *
tls_watch_new(const struct tls_watch_config *config)
{
    struct tls_watch *w = mem_zalloc(1, sizeof(*w));
    struct env *env = config->env;

    w->magic = WATCH_MAGIC;
    w->config = *config;
    w->work.run = run;
    w->work.done = on_done;
    timer_init(&w->timer, on_timer, w);
    /* The first look, which warns, too, comes at once. */
    timers_start(&env->timers, &w->timer, env->ops->now_ms(env));
    return w;
}

void
tls_watch_stop(struct tls_watch *w)
{
    OBJ_CHECK(w, WATCH_MAGIC);
    w->is_stopped = true;
    timers_stop(&w->config.env->timers, &w->timer);
}

void
tls_watch_free(struct tls_watch **watch)
{
    struct tls_watch *w = *watch;

    if (w == NULL) {
        return;
    }
    OBJ_CHECK(w, WATCH_MAGIC);
    ASSERT(!w->is_running);
    *watch = NULL;
    w->magic = 0;
    mem_free(w);
}

void
tls_watch_describe(const struct tls_watch *w, tls_watch_row_cb row, void *arg)
{
    OBJ_CHECK(w, WATCH_MAGIC);
    for (size_t i = 0; i < TLS_WATCH_STORES; i++) {
        char name[NAME_SIZE];
        char line[LINE_SIZE];

        if (w->config.stores[i] != NULL) {
            (void)snprintf(name, sizeof(name), "%s.certfile",
                           tls_store_prefix(w->config.stores[i]));
            describe(w, i, line);
            row(arg, name, line);
        }
    }
}
