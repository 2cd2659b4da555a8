/* See watch.h. */
#include "daemon/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/timer.h"
#include "broker/broker.h"
#include "daemon/config.h"
#include "shard/env.h"
#include "store/store.h"

enum {
    WATCH_MAGIC = 0x77617463,
    MILLION = 1000000,
    VALUE_SIZE = 64
};

struct watch {
    unsigned magic;
    struct watch_config config;
    struct timer timer;
    bool is_memory_short;
    bool is_disk_short;
};

/* ---- limits ---- */

static int
bad(struct error *err, const char *key, const char *value, const char *allowed)
{
    return error_set(err, QR_EINVAL, "%s = %s: %s", key, value, allowed);
}

static int
get_size(const char *key, const char *value, uint64_t *out, struct error *err)
{
    if (value[0] != '\0' && parse_size(value, strlen(value), out) != 0) {
        return bad(err, key, value,
                   "bytes are allowed, with a unit or without: 512MiB, 2GB");
    }
    return 0;
}

/* Bytes of memory that this process may use. */
static uint64_t
memory_total(uint64_t override)
{
    uint64_t machine = uv_get_total_memory();
    uint64_t group = uv_get_constrained_memory();

    if (override > 0) {
        return override;
    }
    return group > 0 && group < machine ? group : machine;
}

int
watch_limits_make(const struct config *config, struct watch_limits *out,
                  struct error *err)
{
    const char *relative = config->memory_relative;
    struct watch_limits limits = {0};
    uint64_t total = 0;
    uint32_t ratio = 0;

    if (parse_ratio(relative, strlen(relative), &ratio) != 0) {
        return bad(err, "vm_memory_high_watermark.relative", relative,
                   "a part of the memory is allowed, such as 0.6");
    }
    if (get_size("total_memory_available_override_value",
                 config->memory_override, &total, err) != 0 ||
        get_size("vm_memory_high_watermark.absolute", config->memory_absolute,
                 &limits.memory, err) != 0 ||
        get_size("disk_free_limit.absolute", config->disk_free_limit,
                 &limits.disk_free, err) != 0) {
        return -QR_EINVAL;
    }
    if (limits.memory == 0) {
        limits.memory = memory_total(total) / MILLION * ratio;
    }
    *out = limits;
    return 0;
}

/* ---- looking ---- */

static uint64_t
memory_used(void)
{
    size_t used = 0;

    return uv_resident_set_memory(&used) == 0 ? used : 0;
}

static uint64_t
disk_free(const char *path)
{
    struct statvfs fs;

    return statvfs(path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize
                                   : UINT64_MAX;
}

static void
look_at_memory(struct watch *w)
{
    uint64_t limit = w->config.limits->memory;
    uint64_t used = memory_used();

    if (limit == 0) {
        return;
    }
    if (used > limit && !w->is_memory_short) {
        mem_trim(); /* what is free is not used */
        used = memory_used();
    }
    if (used > limit) {
        w->is_memory_short = true;
    } else if (w->is_memory_short) {
        mem_trim();
        w->is_memory_short =
            memory_used() > limit - (limit >> WATCH_EASE_SHIFT);
    }
    broker_alarm_set(w->config.broker, BROKER_ALARM_MEMORY, w->is_memory_short);
}

static bool
is_disk_short(const struct watch *w)
{
    uint64_t limit = w->config.limits->disk_free;

    if (store_space(w->config.store) != STORE_SPACE_OK) {
        return true;
    }
    if (w->config.env->shard != 0) {
        return false;
    }
    limit += w->is_disk_short ? limit >> WATCH_EASE_SHIFT : 0;
    return disk_free(w->config.data_dir) < limit;
}

static void
on_timer(void *arg)
{
    struct watch *w = arg;
    struct env *env = w->config.env;

    OBJ_CHECK(w, WATCH_MAGIC);
    if (env->shard == 0) {
        look_at_memory(w);
    }
    w->is_disk_short = is_disk_short(w);
    broker_alarm_set(w->config.broker, BROKER_ALARM_DISK, w->is_disk_short);
    timers_start(&env->timers, &w->timer, env->ops->now_ms(env) + WATCH_MS);
}

struct watch *
watch_new(const struct watch_config *config)
{
    struct watch *w = mem_zalloc(1, sizeof(*w));

    w->magic = WATCH_MAGIC;
    w->config = *config;
    timer_init(&w->timer, on_timer, w);
    on_timer(w);
    return w;
}

void
watch_free(struct watch **watch)
{
    struct watch *w = *watch;

    if (w == NULL) {
        return;
    }
    OBJ_CHECK(w, WATCH_MAGIC);
    *watch = NULL;
    timers_stop(&w->config.env->timers, &w->timer);
    w->magic = 0;
    mem_free(w);
}

static void
put_number(mgmt_row_cb row, void *arg, const char *name, uint64_t number)
{
    char text[VALUE_SIZE];

    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    row(arg, name, text);
}

void
watch_status(const struct watch *w, mgmt_row_cb row, void *arg)
{
    static const char *const spaces[] = {"ok", "low", "full"};
    enum store_space space;

    OBJ_CHECK(w, WATCH_MAGIC);
    space = store_space(w->config.store);
    put_number(row, arg, "memory_limit_bytes", w->config.limits->memory);
    put_number(row, arg, "disk_free_bytes", disk_free(w->config.data_dir));
    put_number(row, arg, "disk_free_limit_bytes", w->config.limits->disk_free);
    row(arg, "store_space", spaces[space]);
}
