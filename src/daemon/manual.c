/* See manual.h. */
#include "daemon/manual.h"

#include <quorate/version.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

struct row {
    const char *key;
    const char *type;
    const char *value;
    const char *help;
};

static const struct row rows[] = {
#define SECRET ""
#define TEXT   ""
#define NUMBER ""
#define BOOL   ""
#define LEVEL  ""
#define FLAG   ".NAME"
#define LIST   ".NAME"
#define CONFIG(key, member, type, def, least, most, help) \
    {key, type, def, help},
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

/* TEXT for man(7). */
static void
put_man(struct buf *out, const char *text)
{
    text_put_man(out, text, strlen(text));
}

static void
put_row(struct buf *out, const struct row *row)
{
    buf_put_text(out, ".TP\n.B ");
    put_man(out, row->key);
    put_man(out, row->type);
    buf_put_text(out, "\n");
    put_man(out, row->help);
    if (row->value[0] != '\0') {
        buf_put_text(out, ".\nDefault: ");
        put_man(out, row->value);
    }
    buf_put_text(out, ".\n");
}

void
manual_describe(struct buf *out)
{
    buf_put_text(
        out,
        ".TH QUORATED 1 \"\" \"Quorate " QR_VERSION_STRING "\"\n"
        ".SH NAME\nquorated \\- a replicated message broker for AMQP "
        "0\\-9\\-1\n"
        ".SH SYNOPSIS\n.B quorated\n[\\fB\\-\\-config\\fR \\fIFILE\\fR] "
        "[\\fB\\-\\-check\\-config\\fR]\n"
        ".SH DESCRIPTION\n"
        "Applications speak AMQP 0\\-9\\-1 to it, as they do to RabbitMQ. "
        "Every "
        "queue is a Raft group on the disks of several nodes; a confirmed "
        "message is on a majority of them. Without a configuration it is a "
        "single node that keeps its data in ./quorate\\-data.\n"
        ".SH OPTIONS\n"
        ".TP\n.B \\-c, \\-\\-config FILE\nread the configuration from FILE\n"
        ".TP\n.B \\-\\-check\\-config\ncheck the configuration, say what is "
        "wrong, and stop\n"
        ".TP\n.B \\-V, \\-\\-version\nprint the version\n"
        ".TP\n.B \\-h, \\-\\-help\nexplain the options and the keys\n"
        ".SH SIGNALS\nSIGTERM and SIGINT stop the node in an orderly way: its "
        "clients get 320 CONNECTION_FORCED.\n"
        ".SH CONFIGURATION\n"
        "Lines of \"key = value\"; a line that begins with # is a comment. An "
        "unknown key or a value that is not allowed stops the start, and says "
        "in which line and what is allowed.\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        put_row(out, &rows[i]);
    }
    buf_put_text(out, ".SH EXIT STATUS\n0 stopped as asked; 1 it could not "
                      "start, or its disk failed; 2 wrong options or a wrong "
                      "configuration.\n"
                      ".SH SEE ALSO\n.BR quoratectl (1)\n");
}
