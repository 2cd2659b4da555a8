/* See options.h. */
#include "ctl/options.h"

#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "mgmt/protocol.h"

/* What is being parsed. */
struct parse {
    int argc;
    const char *const *argv;
    int next;
    struct ctl_options *o;
    bool has_command;
    bool wants_help;
    struct error *err;
};

/* The value of OPTION, INLINE if it is not NULL, else the next word. */
static int
take_option(struct parse *p, enum command_option option, const char *inline_)
{
    const struct option_row *row = option_row(option);
    const char *value = inline_;

    if (row->value == NULL) {
        if (inline_ != NULL) {
            return error_set(p->err, QR_EINVAL, "--%s takes no value",
                             row->name);
        }
        value = "";
    } else if (value == NULL) {
        if (p->next == p->argc) {
            return error_set(p->err, QR_EINVAL, "--%s needs a value: --%s %s",
                             row->name, row->name, row->value);
        }
        value = p->argv[p->next++];
    }
    p->o->values[option] = value;
    return 0;
}

static int
take_long(struct parse *p, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t size = equals == NULL ? strlen(word) : (size_t)(equals - word);
    enum command_option option;

    if (strcmp(word, "--help") == 0) {
        p->wants_help = true;
        return 0;
    }
    if (!option_find(word + 2, size - 2, &option)) {
        return error_set(p->err, QR_EINVAL,
                         "there is no option '%.*s': see 'quoratectl help'",
                         (int)size, word);
    }
    return take_option(p, option, equals == NULL ? NULL : equals + 1);
}

/* "-qs", "-p/", "-p /". */
static int
take_letters(struct parse *p, const char *word)
{
    for (const char *at = word + 1; *at != '\0'; at++) {
        enum command_option option;
        int rv;

        if (*at == 'h') {
            p->wants_help = true;
            continue;
        }
        if (!option_find_letter(*at, &option)) {
            return error_set(p->err, QR_EINVAL,
                             "there is no option '-%c': see 'quoratectl help'",
                             *at);
        }
        if (option_row(option)->value != NULL && at[1] != '\0') {
            return take_option(p, option, at + 1);
        }
        rv = take_option(p, option, NULL);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int
unknown_command(struct parse *p, const char *word)
{
    const char *nearest = command_nearest(word);

    if (nearest == NULL) {
        return error_set(p->err, QR_EINVAL,
                         "there is no command '%s': see 'quoratectl help'",
                         word);
    }
    return error_set(p->err, QR_EINVAL,
                     "there is no command '%s': did you mean '%s'?", word,
                     nearest);
}

static int
take_word(struct parse *p, const char *word)
{
    if (!p->has_command) {
        if (!command_find(word, &p->o->command)) {
            return unknown_command(p, word);
        }
        p->has_command = true;
        return 0;
    }
    if (p->o->args_count == COMMAND_ARGS_MAX) {
        return error_set(p->err, QR_EINVAL, "more than %d arguments",
                         (int)COMMAND_ARGS_MAX);
    }
    p->o->args[p->o->args_count++] = word;
    return 0;
}

static int
take_all(struct parse *p)
{
    bool only_words = false;

    while (p->next < p->argc) {
        const char *word = p->argv[p->next++];
        int rv;

        if (only_words || word[0] != '-' || word[1] == '\0') {
            rv = take_word(p, word);
        } else if (strcmp(word, "--") == 0) {
            only_words = true;
            rv = 0;
        } else if (word[1] == '-') {
            rv = take_long(p, word);
        } else {
            rv = take_letters(p, word);
        }
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

static int
check_format(struct parse *p)
{
    static const char *const names[] = {"table", "pretty_table", "csv", "json"};
    const char *name = p->o->values[OPTION_FORMAT];

    name = name == NULL ? p->o->values[OPTION_FORMATTER] : name;
    p->o->has_format = name != NULL;
    if (name == NULL) {
        return 0;
    }
    for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            p->o->format = (enum output_format)i;
            return 0;
        }
    }
    return error_set(p->err, QR_EINVAL,
                     "format '%s' is not one of table, pretty_table, csv, json",
                     name);
}

static int
check_command(struct parse *p)
{
    const struct command_row *row = command_row(p->o->command);

    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if (p->o->values[i] != NULL &&
            !command_takes(row, (enum command_option)i)) {
            return error_set(
                p->err, QR_EINVAL,
                "%s does not take --%s: see 'quoratectl help %s'", row->name,
                option_row((enum command_option)i)->name, row->name);
        }
    }
    if (p->o->args_count < row->args_min || p->o->args_count > row->args_max) {
        return error_set(p->err, QR_EINVAL,
                         "%s has %zu arguments; it takes: %s %s", row->name,
                         p->o->args_count, row->name, row->arguments);
    }
    return 0;
}

static int
check_timeout(struct parse *p)
{
    const char *text = p->o->values[OPTION_TIMEOUT];

    p->o->timeout_ms = REQUEST_TIMEOUT_MS;
    if (text != NULL && timeout_parse(text, &p->o->timeout_ms) != 0) {
        return error_set(p->err, QR_EINVAL,
                         "timeout '%s' is no number of seconds from 0.001 to "
                         "%d, nor 'infinity'",
                         text, REQUEST_TIMEOUT_MS_MAX / 1000);
    }
    return 0;
}

/* "help COMMAND" for "COMMAND --help"; "help" for nothing at all. */
static void
make_help(struct parse *p)
{
    if (p->has_command && p->o->command != COMMAND_help) {
        p->o->args[0] = command_row(p->o->command)->name;
        p->o->args_count = 1;
    }
    p->o->command = COMMAND_help;
    p->o->values[OPTION_VHOST] = NULL;
}

int
options_parse(int argc, const char *const *argv, struct ctl_options *out,
              struct error *err)
{
    struct ctl_options o = {.command = COMMAND_help, .format = FORMAT_TABLE};
    struct parse p = {.argc = argc, .argv = argv, .o = &o, .err = err};
    int rv = take_all(&p);

    if (rv == 0 && (p.wants_help || !p.has_command)) {
        make_help(&p);
    }
    if (rv == 0 && !p.wants_help) {
        rv = check_command(&p);
    }
    if (rv == 0) {
        rv = check_format(&p);
    }
    if (rv == 0) {
        rv = check_timeout(&p);
    }
    if (rv == 0) {
        *out = o;
    }
    return rv;
}

/* Whether the daemon is told of OPTION; the rest is this program's own. */
static bool
is_sent(enum command_option option)
{
    return option == OPTION_NODE || option == OPTION_TIMEOUT ||
           !option_row(option)->is_global;
}

void
options_request(const struct ctl_options *o, const char *password,
                struct buf *out)
{
    request_put_command(out, o->command);
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        enum command_option option = (enum command_option)i;

        if (o->values[i] != NULL && is_sent(option)) {
            request_put_option(
                out, option,
                option_row(option)->value == NULL ? NULL : o->values[i]);
        }
    }
    request_put_end(out);
    for (size_t i = 0; i < o->args_count; i++) {
        request_put_argument(out, o->args[i]);
    }
    if (password != NULL) {
        request_put_argument(out, password);
    }
}

static bool
takes_password(const struct ctl_options *o)
{
    return o->command == COMMAND_add_user ||
           o->command == COMMAND_change_password ||
           o->command == COMMAND_authenticate_user;
}

bool
options_want_password(const struct ctl_options *o)
{
    return takes_password(o) && o->args_count == 1;
}

void
options_hide_password(struct ctl_options *o, char *const *argv, size_t argc)
{
    for (size_t i = 0; takes_password(o) && i < argc; i++) {
        if (o->args_count > 1 && argv[i] == o->args[1]) {
            size_t size = strlen(argv[i]);

            if (size >= sizeof(o->password)) {
                return;
            }
            memcpy(o->password, argv[i], size + 1);
            o->args[1] = o->password;
            memset(argv[i], 'x', size);
            return;
        }
    }
}

static void
put_place(const struct ctl_options *o, char place, struct buf *out)
{
    const char *vhost = o->values[OPTION_VHOST];
    const char *node = o->values[OPTION_NODE];

    if (place >= '1' && place <= '9') {
        size_t i = (size_t)(place - '1');

        buf_put_text(out, i < o->args_count ? o->args[i] : "");
    } else if (place == 'v') {
        buf_put_text(out, vhost == NULL ? "/" : vhost);
    } else if (place == 'n') {
        buf_put_text(out, node == NULL ? "the local node" : "node ");
        buf_put_text(out, node == NULL ? "" : node);
    } else if (place == '*') {
        for (size_t i = 1; i < o->args_count; i++) {
            buf_put_text(out, i > 1 ? ", " : "");
            buf_put_text(out, o->args[i]);
        }
    }
}

void
options_banner(const struct ctl_options *o, struct buf *out)
{
    const char *at = command_row(o->command)->banner;

    while (*at != '\0') {
        if (at[0] == '%' && at[1] != '\0') {
            put_place(o, at[1], out);
            at += 2;
        } else {
            buf_put_u8(out, (uint8_t)*at++);
        }
    }
}
