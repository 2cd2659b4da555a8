/* The daemon's configuration: `key = value` lines, RabbitMQ's names where
 * RabbitMQ has the thing. The keys are rows of config.def. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/log.h"

struct buf;
struct error;

enum {
    CONFIG_LIST_MAX = 16,
    CONFIG_SECRET_SIZE = 1024, /* with the NUL */
    CONFIG_LINE_SIZE_MAX = 8192,
    CONFIG_LINES_MAX = 10000,
    CONFIG_FILE_SIZE_MAX = 1 << 20
};

/* Values of `key.NAME = value` keys. A first assignment in a file replaces the
 * default. */
struct config_list {
    char *names[CONFIG_LIST_MAX];
    char *values[CONFIG_LIST_MAX];
    size_t count;
    bool is_default;
};

/* One member a row; texts are NUL-terminated and owned, secrets in secret
 * memory. */
struct config {
#define TEXT                                              char *
#define SECRET                                            char *
#define NUMBER                                            uint64_t
#define BOOL                                              bool
#define LEVEL                                             enum log_level
#define FLAG                                              struct config_list
#define LIST                                              struct config_list
#define CONFIG(key, member, type, def, least, most, help) type member;
#include "daemon/config.def"
#undef CONFIG
#undef TEXT
#undef SECRET
#undef NUMBER
#undef BOOL
#undef LEVEL
#undef FLAG
#undef LIST
};

/* The defaults. */
void config_init(struct config *c);
void config_deinit(struct config *c);
/* Set from the file at PATH. Stops at the first fault: -QR_EINVAL, and ERR
 * names file, line, key, what was read and what is allowed. -QR_EIO. */
MUST_USE int config_load(struct config *c, const char *path, struct error *err);
/* The same from SIZE bytes at TEXT, called NAME in messages. */
MUST_USE int config_parse(struct config *c, const char *name, const char *text,
                          size_t size, struct error *err);
/* "guest,other": names whose flag is set. Caller frees. */
char *config_flags(const struct config_list *list);
/* Whether NAME's flag is set. */
bool config_has_flag(const struct config_list *list, const char *name);
/* A line for each key with default and help, for --help and the man page. */
void config_describe(struct buf *out);

#endif
