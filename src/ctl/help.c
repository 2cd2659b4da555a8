/* See help.h. */
#include "ctl/help.h"

#include <quorate/version.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

enum {
    LEFT_WIDTH = 26, /* of the column of names */
    TEXT_WIDTH = 78
};

static void
put_blanks(struct buf *out, size_t count)
{
    while (count-- > 0) {
        buf_put_u8(out, ' ');
    }
}

/* "  NAME   text", the text on the next line when NAME is long. */
static void
put_entry(struct buf *out, const char *name, size_t size, const char *text)
{
    size_t column = 2 + size;

    put_blanks(out, 2);
    buf_put(out, name, size);
    if (column + 2 > LEFT_WIDTH) {
        buf_put_text(out, "\n");
        column = 0;
    }
    put_blanks(out, LEFT_WIDTH - column);
    buf_put_wrapped(out, text, LEFT_WIDTH, TEXT_WIDTH);
}

static void
put_option_name(struct buf *out, const struct option_row *row)
{
    if (row->letter != '\0') {
        buf_putf(out, "-%c, ", row->letter);
    }
    buf_putf(out, "--%s", row->name);
    if (row->value != NULL) {
        buf_putf(out, " %s", row->value);
    }
}

static void
put_option(struct buf *out, enum command_option option)
{
    const struct option_row *row = option_row(option);
    struct buf name;

    buf_init(&name);
    put_option_name(&name, row);
    put_entry(out, (const char *)name.data, name.size, row->help);
    buf_deinit(&name);
}

static void
put_options(struct buf *out, const struct command_row *command)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        enum command_option option = (enum command_option)i;
        bool is_own = command != NULL && (command->options & (1U << i)) != 0;

        if (command == NULL ? option_row(option)->is_global : is_own) {
            put_option(out, option);
        }
    }
}

void
help_overview(struct buf *out)
{
    buf_put_text(out, "quoratectl " QR_VERSION_STRING
                      ": look after a Quorate cluster\n\n"
                      "  quoratectl [OPTION ...] COMMAND [ARGUMENT ...]\n"
                      "  quoratectl --version\n");
    for (unsigned s = 0; s < SECTION_COUNT; s++) {
        buf_putf(out, "\n%s:\n",
                 command_section_title((enum command_section)s));
        for (unsigned i = 0; i < COMMAND_COUNT; i++) {
            const struct command_row *row = command_row((enum command_id)i);

            if (row->section == (enum command_section)s) {
                put_entry(out, row->name, strlen(row->name), row->summary);
            }
        }
    }
    buf_put_text(out, "\nOptions of every command:\n");
    put_options(out, NULL);
    buf_put_text(out, "\n'quoratectl help COMMAND' explains one command.\n");
}

void
help_command(enum command_id command, struct buf *out)
{
    const struct command_row *row = command_row(command);

    buf_putf(out, "quoratectl %s%s%s\n\n  ", row->name,
             row->arguments[0] == '\0' ? "" : " ", row->arguments);
    buf_put_wrapped(out, row->summary, 2, TEXT_WIDTH);
    if (row->more[0] != '\0') {
        buf_put_text(out, "\n  ");
        buf_put_wrapped(out, row->more, 2, TEXT_WIDTH);
    }
    if (row->options != 0) {
        buf_put_text(out, "\nOptions:\n");
        put_options(out, row);
    }
    buf_put_text(out, "\nOptions of every command:\n");
    put_options(out, NULL);
}

/* ---- the manual page ---- */

/* TEXT for man(7). */
static void
put_man(struct buf *out, const char *text)
{
    text_put_man(out, text, strlen(text));
}

static void
put_man_options(struct buf *out, const struct command_row *command)
{
    struct buf name;

    buf_init(&name);
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = option_row((enum command_option)i);
        bool is_own = command != NULL && (command->options & (1U << i)) != 0;

        if (command == NULL ? !row->is_global : !is_own) {
            continue;
        }
        buf_clear(&name);
        put_option_name(&name, row);
        buf_put_u8(&name, 0);
        buf_put_text(out, ".TP\n.B ");
        put_man(out, (const char *)name.data);
        buf_put_text(out, "\n");
        put_man(out, row->help);
        buf_put_text(out, "\n");
    }
    buf_deinit(&name);
}

static void
put_man_command(struct buf *out, const struct command_row *row)
{
    buf_putf(out, ".TP\n.B %s", row->name);
    if (row->arguments[0] != '\0') {
        buf_put_text(out, " ");
        put_man(out, row->arguments);
    }
    buf_put_text(out, "\n");
    put_man(out, row->summary);
    buf_put_text(out, ".\n");
    if (row->more[0] != '\0') {
        put_man(out, row->more);
        buf_put_text(out, "\n");
    }
    if (row->options != 0) {
        buf_put_text(out, ".RS\n");
        put_man_options(out, row);
        buf_put_text(out, ".RE\n");
    }
}

void
help_manual(struct buf *out)
{
    buf_put_text(out,
                 ".TH QUORATECTL 1 \"\" \"Quorate " QR_VERSION_STRING "\"\n"
                 ".SH NAME\nquoratectl \\- look after a Quorate cluster\n"
                 ".SH SYNOPSIS\n.B quoratectl\n"
                 "[\\fIOPTION\\fR ...] \\fICOMMAND\\fR [\\fIARGUMENT\\fR ...]\n"
                 ".SH DESCRIPTION\n"
                 "Talks to a node on this machine over a Unix socket that only "
                 "the node's user and root can open; with\n.B \\-n\n"
                 "that node passes the command on to another. Listings ask "
                 "all nodes; one that does not answer in time is named on "
                 "standard error, and the rest is shown.\n"
                 ".SH OPTIONS\n");
    put_man_options(out, NULL);
    buf_put_text(out, ".SH COMMANDS\n");
    for (unsigned s = 0; s < SECTION_COUNT; s++) {
        buf_putf(out, ".SS %s\n",
                 command_section_title((enum command_section)s));
        for (unsigned i = 0; i < COMMAND_COUNT; i++) {
            const struct command_row *row = command_row((enum command_id)i);

            if (row->section == (enum command_section)s) {
                put_man_command(out, row);
            }
        }
    }
    buf_put_text(out,
                 ".SH EXIT STATUS\n"
                 "0 done; 64 the command line is wrong; 65 what it names is "
                 "not there, or is refused; 67 no such user; 69 a node or a "
                 "majority cannot be reached; 70 it exists already, or "
                 "anything else; 75 no answer in time.\n"
                 ".SH ENVIRONMENT\n.TP\n.B QUORATE_SOCKET\n"
                 "the node's socket, unless \\-\\-socket or \\-\\-config is "
                 "given\n"
                 ".SH SEE ALSO\n.BR quorated (1)\n");
}
