/* See environment.h. */
#include "daemon/environment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "daemon/config.h"

enum {
    VALUE_SIZE = 640,
    KEY_SIZE = 320
};

typedef void (*row_cb)(void *arg, const char *key, const char *value);

static void
put_text(row_cb row, void *arg, const char *key, const char *value)
{
    row(arg, key, value);
}

static void
put_secret(row_cb row, void *arg, const char *key, const char *value)
{
    row(arg, key, value[0] == '\0' ? "" : "(hidden)");
}

static void
put_number(row_cb row, void *arg, const char *key, uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    row(arg, key, text);
}

static void
put_bool(row_cb row, void *arg, const char *key, bool value)
{
    row(arg, key, value ? "true" : "false");
}

static void
put_level(row_cb row, void *arg, const char *key, enum log_level value)
{
    row(arg, key, log_level_name(value));
}

static void
put_list(row_cb row, void *arg, const char *key, const struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        char name[KEY_SIZE];

        (void)snprintf(name, sizeof(name), "%s.%s", key, list->names[i]);
        row(arg, name, list->values[i]);
    }
}

void
environment_each(const struct config *config, row_cb row, void *arg)
{
    /* The types of config.def's rows name the functions above. */
#define TEXT(value)   put_text(row, arg, key, (value))
#define SECRET(value) put_secret(row, arg, key, (value))
#define NUMBER(value) put_number(row, arg, key, (value))
#define BOOL(value)   put_bool(row, arg, key, (value))
#define LEVEL(value)  put_level(row, arg, key, (value))
#define FLAG(value)   put_list(row, arg, key, &(value))
#define LIST(value)   put_list(row, arg, key, &(value))
#define CONFIG(name, member, type, def, least, most, help) \
    do {                                                   \
        const char *key = (name);                          \
        type(config->member);                              \
    } while (0);
#include "daemon/config.def"
#undef CONFIG
#undef TEXT
#undef SECRET
#undef NUMBER
#undef BOOL
#undef LEVEL
#undef FLAG
#undef LIST
}

void
environment_process(row_cb row, void *arg)
{
    struct rusage usage;
    struct rlimit files;
    struct utsname os;
    size_t memory = 0;
    char text[VALUE_SIZE];

    put_number(row, arg, "pid", (uint64_t)getpid());
    if (uv_resident_set_memory(&memory) == 0) {
        put_number(row, arg, "memory_bytes", memory);
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        (void)snprintf(
            text, sizeof(text), "%ld.%03ld",
            (long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec),
            (long)((usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000 %
                   1000));
        row(arg, "cpu_s", text);
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        put_number(row, arg, "files_max", files.rlim_cur);
    }
    if (uname(&os) == 0) {
        (void)snprintf(text, sizeof(text), "%s %s %s", os.sysname, os.release,
                       os.machine);
        row(arg, "os", text);
    }
}
