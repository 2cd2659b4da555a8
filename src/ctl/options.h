/* quoratectl's command line, by the table of commands (mgmt/command.def). */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "mgmt/command.h"

struct buf;
struct error;

enum output_format {
    FORMAT_TABLE,
    FORMAT_PRETTY_TABLE,
    FORMAT_CSV,
    FORMAT_JSON
};

/* Texts are those of argv. */
enum {
    OPTIONS_PASSWORD_SIZE = 1025 /* with the NUL */
};

struct ctl_options {
    enum command_id command;
    const char *values[OPTION_COUNT];   /* "" of a flag; NULL: absent */
    const char *args[COMMAND_ARGS_MAX]; /* borrowed from the command line */
    size_t args_count;
    char password[OPTIONS_PASSWORD_SIZE]; /* of options_hide_password() */
    enum output_format format;
    bool has_format; /* it was asked for */
    uint64_t timeout_ms;
};

/* Parse what follows the program's name. Options may stand anywhere before
 * "--"; no arguments at all, and --help or -h with or without a command, ask
 * for help. -QR_EINVAL: ERR says what is wrong and what is right. */
MUST_USE int options_parse(int argc, const char *const *argv,
                           struct ctl_options *out, struct error *err);
/* Append the request (mgmt/protocol.h), without its length, with PASSWORD as
 * the last argument unless it is NULL. */
void options_request(const struct ctl_options *o, const char *password,
                     struct buf *out);
/* Whether the command wants a password and has none. */
bool options_want_password(const struct ctl_options *o);
/* If one of ARGC words at ARGV, of which O was parsed, is a password: keep it
 * in O and overwrite it there, so that it is gone from the process list. Words
 * longer than a password may be stay: they are refused anyway. */
void options_hide_password(struct ctl_options *o, char *const *argv,
                           size_t argc);
/* Append the command's banner, its places filled in. */
void options_banner(const struct ctl_options *o, struct buf *out);

#endif
