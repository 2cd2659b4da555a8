/* Reads configuration files. One table (config.def) says what there is; the
 * rest is a line splitter and a parser for each type. Every message has the
 * form FILE:LINE: KEY = VALUE: what is allowed. */
#include "daemon/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"

enum key_type {
    KEY_TEXT,
    KEY_SECRET,
    KEY_NUMBER,
    KEY_BOOL,
    KEY_LEVEL,
    KEY_FLAG,
    KEY_LIST
};

struct key {
    const char *name;
    enum key_type type;
    size_t offset;
    const char *initial;
    uint64_t least;
    uint64_t most;
    const char *help;
};

static const struct key keys[] = {
#define CONFIG(key, member, type, def, least, most, help) \
    {key, KEY_##type, offsetof(struct config, member), def, least, most, help},
#include "daemon/config.def"
#undef CONFIG
};

/* Where a value stands, for messages. */
struct place {
    const char *file;
    unsigned line;
    const char *key;
    const char *value;
};

static void *
member(struct config *c, const struct key *key)
{
    return (char *)c + key->offset;
}

static void
list_clear(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->names[i]);
        mem_free(list->values[i]);
    }
    list->count = 0;
}

/* What may be shown of AT's value: a key need not be known, nor spelt right,
 * for its value to be a password. */
static const char *
shown(const struct place *at)
{
    return strcasestr(at->key, "pass") != NULL ? "(hidden)" : at->value;
}

static int
refuse(const struct place *at, struct error *err, const char *allowed)
{
    return error_set(err, QR_EINVAL, "%s:%u: %s = %s: %s", at->file, at->line,
                     at->key, shown(at), allowed);
}

static int
list_set(struct config_list *list, const char *name, const struct place *at,
         struct error *err)
{
    size_t i = 0;

    if (list->is_default) {
        list_clear(list);
        list->is_default = false;
    }
    while (i < list->count && strcmp(list->names[i], name) != 0) {
        i++;
    }
    if (i == CONFIG_LIST_MAX) {
        return refuse(at, err, "there are 16 of these already, the most");
    }
    if (i < list->count) {
        mem_free(list->names[i]);
        mem_free(list->values[i]);
    } else {
        list->count++;
    }
    list->names[i] = mem_strdup(name);
    list->values[i] = mem_strdup(at->value);
    return 0;
}

static int
set_text(struct config *c, const struct key *key, const struct place *at,
         struct error *err)
{
    char **text = member(c, key);
    size_t size = strlen(at->value);

    if (size < key->least || size > key->most) {
        return error_set(err, QR_EINVAL,
                         "%s:%u: %s = %s: %zu bytes; %llu to %llu are allowed",
                         at->file, at->line, at->key, shown(at), size,
                         (unsigned long long)key->least,
                         (unsigned long long)key->most);
    }
    if (key->type == KEY_SECRET) {
        if (*text == NULL) {
            *text = mem_secret_alloc(CONFIG_SECRET_SIZE);
        }
        ASSERT(size < CONFIG_SECRET_SIZE);
        memcpy(*text, at->value, size + 1);
        return 0;
    }
    mem_free(*text);
    *text = mem_strdup(at->value);
    return 0;
}

static int
set_number(struct config *c, const struct key *key, const struct place *at,
           struct error *err)
{
    uint64_t *number = member(c, key);

    if (parse_u64(at->value, strlen(at->value), key->least, key->most,
                  number) != 0) {
        return error_set(err, QR_EINVAL,
                         "%s:%u: %s = %s: a number from %llu to %llu is "
                         "allowed",
                         at->file, at->line, at->key, at->value,
                         (unsigned long long)key->least,
                         (unsigned long long)key->most);
    }
    return 0;
}

static int
set_flag(struct config *c, const struct key *key, const char *name,
         const struct place *at, struct error *err)
{
    struct config_list *list = member(c, key);
    bool ignored;

    if (name == NULL) { /* loopback_users = none */
        if (strcmp(at->value, "none") != 0) {
            return refuse(at, err, "`none`, or KEY.NAME = true");
        }
        list_clear(list);
        list->is_default = false;
        return 0;
    }
    if (parse_bool(at->value, strlen(at->value), &ignored) != 0) {
        return refuse(at, err, "true or false is allowed");
    }
    return list_set(list, name, at, err);
}

/* Set KEY; NAME is what follows its dot, or NULL. */
static int
set(struct config *c, const struct key *key, const char *name,
    const struct place *at, struct error *err)
{
    size_t size = strlen(at->value);

    switch (key->type) {
    case KEY_TEXT:
    case KEY_SECRET:
        return set_text(c, key, at, err);
    case KEY_NUMBER:
        return set_number(c, key, at, err);
    case KEY_BOOL:
        if (parse_bool(at->value, size, member(c, key)) != 0) {
            return refuse(at, err, "true or false is allowed");
        }
        return 0;
    case KEY_LEVEL:
        if (!log_level_parse(at->value, member(c, key))) {
            return refuse(at, err,
                          "debug, info, warning, error, critical or none is "
                          "allowed");
        }
        return 0;
    case KEY_FLAG:
        return set_flag(c, key, name, at, err);
    case KEY_LIST:
        if (name == NULL && strcmp(at->value, "none") == 0) {
            list_clear(member(c, key));
            ((struct config_list *)member(c, key))->is_default = false;
            return 0;
        }
        return list_set(member(c, key), name == NULL ? "default" : name, at,
                        err);
    }
    UNREACHABLE("a key without a type");
}

void
config_init(struct config *c)
{
    struct place at = {.file = "built-in defaults"};
    struct error err;

    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const struct key *key = &keys[i];
        bool is_list = key->type == KEY_FLAG || key->type == KEY_LIST;
        int rv = 0;

        at.key = key->name;
        at.value = key->type == KEY_FLAG ? "true" : key->initial;
        if (!is_list) {
            rv = set(c, key, NULL, &at, &err);
        } else if (key->initial[0] != '\0') {
            rv = set(c, key, key->type == KEY_FLAG ? key->initial : "default",
                     &at, &err);
        }
        ASSERT(rv == 0);
        if (is_list) {
            ((struct config_list *)member(c, key))->is_default = true;
        }
    }
}

void
config_deinit(struct config *c)
{
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const struct key *key = &keys[i];

        if (key->type == KEY_TEXT) {
            mem_free(*(char **)member(c, key));
        } else if (key->type == KEY_SECRET) {
            mem_secret_free(*(char **)member(c, key), CONFIG_SECRET_SIZE);
        } else if (key->type == KEY_FLAG || key->type == KEY_LIST) {
            list_clear(member(c, key));
        }
    }
    memset(c, 0, sizeof(*c));
}

/* Keys of RabbitMQ's that mean nothing here, and what to do instead. */
static const struct {
    const char *key; /* or its beginning, up to a dot */
    const char *instead;
} elsewhere[] = {
    {"ssl_options.cert", "give the file's name in ssl_options.certfile"},
    {"ssl_options.cacerts", "give the file's name in ssl_options.cacertfile"},
    {"ssl_options.key", "give the file's name in ssl_options.keyfile"},
    {"ssl_options.dh", "keys are agreed on elliptic curves only; leave it out"},
    {"ssl_options.dhfile",
     "keys are agreed on elliptic curves only; leave it out"},
    {"ssl_options.psk_identity",
     "clients prove themselves by passwords and certificates only; leave it "
     "out"},
    {"ssl_options.crl_check",
     "revocation lists are not read; give certificates short lives, leave it "
     "out"},
    {"ssl_options.crl_cache",
     "revocation lists are not read; give certificates short lives, leave it "
     "out"},
    {"ssl_options.log_level",
     "log.console.level is for TLS, too; leave it out"},
    {"ssl_options.log_alert", "alerts are logged always; leave it out"},
    {"ssl_options.bypass_pem_cache", "files are read when they have changed "
                                     "(tls.watch_interval); leave it out"},
    {"ssl_options.verify_fun", "verify_peer is all there is; leave it out"},
    {"ssl_options.sni", "one certificate serves all names; leave it out"},
    {"ssl_options.eccs", "OpenSSL's own curves are used; leave it out"},
    {"num_acceptors.ssl", "every shard accepts; leave it out"},
};

static const char *
find_elsewhere(const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(elsewhere); i++) {
        size_t size = strlen(elsewhere[i].key);

        if (strncmp(key, elsewhere[i].key, size) == 0 &&
            (key[size] == '\0' || key[size] == '.')) {
            return elsewhere[i].instead;
        }
    }
    return "there is no such key; `quorated --help` lists them all";
}

/* The row for KEY; *NAME is the part after a list key's dot, or NULL. */
static const struct key *
find_key(const char *text, const char **name)
{
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        size_t size = strlen(keys[i].name);
        bool has_names = keys[i].type == KEY_FLAG || keys[i].type == KEY_LIST;

        *name = NULL;
        if (strcmp(text, keys[i].name) == 0) {
            return &keys[i];
        }
        if (has_names && strncmp(text, keys[i].name, size) == 0 &&
            text[size] == '.' && text[size + 1] != '\0') {
            *name = text + size + 1;
            return &keys[i];
        }
    }
    return NULL;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cut blanks off both ends, in place. */
static char *
trim(char *text)
{
    size_t size;

    while (is_blank(*text)) {
        text++;
    }
    size = strlen(text);
    while (size > 0 && is_blank(text[size - 1])) {
        text[--size] = '\0';
    }
    return text;
}

static int
parse_line(struct config *c, const char *file, unsigned number, char *line,
           struct error *err)
{
    struct place at = {.file = file, .line = number};
    const struct key *key;
    const char *name;
    char *equals;

    line = trim(line);
    if (line[0] == '\0' || line[0] == '#') {
        return 0;
    }
    equals = strchr(line, '=');
    if (equals == NULL) {
        return error_set(err, QR_EINVAL,
                         "%s:%u: '%s': a line is `key = value`, or begins "
                         "with #",
                         file, number, line);
    }
    *equals = '\0';
    at.key = trim(line);
    at.value = trim(equals + 1);
    key = find_key(at.key, &name);
    if (key == NULL) {
        return refuse(&at, err, find_elsewhere(at.key));
    }
    return set(c, key, name, &at, err);
}

int
config_parse(struct config *c, const char *name, const char *text, size_t size,
             struct error *err)
{
    char line[CONFIG_LINE_SIZE_MAX];
    unsigned number = 0;
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - text) - at;
        int rv;

        number++;
        if (length >= sizeof(line) || number > CONFIG_LINES_MAX ||
            memchr(text + at, '\0', length) != NULL) {
            return error_set(err, QR_EINVAL,
                             "%s:%u: a file has up to %d lines of up to %d "
                             "characters of text",
                             name, number, (int)CONFIG_LINES_MAX,
                             (int)CONFIG_LINE_SIZE_MAX - 1);
        }
        memcpy(line, text + at, length);
        line[length] = '\0';
        rv = parse_line(c, name, number, line, err);
        mem_wipe(line, sizeof(line)); /* it may have been a password */
        if (rv != 0) {
            return rv;
        }
        at += length + 1;
    }
    return 0;
}

int
config_load(struct config *c, const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct buf text;
    ssize_t n = -1;
    int rv;

    if (fd < 0) {
        return error_set(err, QR_EIO, "%s: %s", path, strerrordesc_np(errno));
    }
    buf_init(&text);
    /* Once, for what is left behind when it grows is not overwritten. */
    buf_reserve(&text, CONFIG_FILE_SIZE_MAX + 4096 + 1);
    do {
        n = read(fd, text.data + text.size, 4096);
        text.size += n > 0 ? (size_t)n : 0;
    } while (n > 0 && text.size <= CONFIG_FILE_SIZE_MAX);
    (void)close(fd);
    if (n < 0) {
        rv = error_set(err, QR_EIO, "%s: %s", path, strerrordesc_np(errno));
    } else if (text.size > CONFIG_FILE_SIZE_MAX) {
        rv = error_set(err, QR_EINVAL, "%s: more than %d bytes", path,
                       (int)CONFIG_FILE_SIZE_MAX);
    } else {
        rv = config_parse(c, path, (const char *)text.data, text.size, err);
    }
    if (text.size > 0) {
        mem_wipe(text.data, text.size);
    }
    buf_deinit(&text);
    return rv;
}

bool
config_has_flag(const struct config_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return strcmp(list->values[i], "true") == 0;
        }
    }
    return false;
}

char *
config_flags(const struct config_list *list)
{
    struct buf out;

    buf_init(&out);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->values[i], "true") == 0) {
            buf_putf(&out, "%s%s", out.size > 0 ? "," : "", list->names[i]);
        }
    }
    buf_put_u8(&out, 0);
    return (char *)out.data; /* buffers are mem_alloc'ed */
}

void
config_describe(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const struct key *key = &keys[i];

        buf_putf(out, "  %s%s (%s)\n      ", key->name,
                 key->type == KEY_FLAG || key->type == KEY_LIST ? ".NAME" : "",
                 key->initial[0] == '\0' ? "none" : key->initial);
        buf_put_wrapped(out, key->help, 6, 79);
    }
}
