/* One table, option.def, says what there is. Defaults pass through the same
 * parsers as what was typed, so that the help cannot lie about them. */
#include "bench/options.h"

#include <inttypes.h>
#include <quorate/error.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"
#include "bench/clock.h"

#define MODE_HELP                                                      \
    "pubcon: publish and consume; publish; consume; get: publish and " \
    "basic.get; declare: --queues of them, on --connections; "         \
    "connections: open so many and hold them; churn: open and close"

enum {
    OPTION_NAME_MAX = 32,
    FRACTION_DIGITS = 6,
    PORT_DEFAULT = 5672,
    PID_MAX = 4194304,
    HELP_COLUMN = 26,
    HELP_WIDTH = 79
};

enum option_kind {
    KIND_SECTION,
    KIND_NUMBER,
    KIND_SECONDS,
    KIND_FLAG,
    KIND_TEXT,
    KIND_HOSTS,
    KIND_PIDS,
    KIND_MODE,
    KIND_PROBE
};

struct option_row {
    enum option_kind kind;
    const char *name; /* or a section's title */
    size_t offset;
    const char *value; /* default */
    uint64_t min;
    uint64_t max;
    const char *argument;
    const char *help;
};

/* The help's texts span lines on purpose. */
static const struct option_row rows[] = {
#define SECTION(title) {KIND_SECTION, title, 0, "", 0, 0, "", ""},
#define OPTION(name, kind, member, value, min, max, argument, help) \
    {KIND_##kind, name,  offsetof(struct bench_options, member),    \
     value,       (min), (max),                                     \
     argument,    help},
#include "bench/option.def"
#undef OPTION
#undef SECTION
};

static const char *const mode_names[] = {
    [BENCH_PUBCON] = "pubcon",   [BENCH_PUBLISH] = "publish",
    [BENCH_CONSUME] = "consume", [BENCH_GET] = "get",
    [BENCH_DECLARE] = "declare", [BENCH_CONNECTIONS] = "connections",
    [BENCH_CHURN] = "churn",
};

const char *
bench_mode_name(enum bench_mode mode)
{
    ASSERT(mode < ARRAY_COUNT(mode_names));
    return mode_names[mode];
}

/* Seconds with up to six digits after a point, to microseconds. */
static int
parse_seconds(const char *text, uint64_t max_s, uint64_t *out)
{
    const char *point = strchr(text, '.');
    size_t whole_size = point != NULL ? (size_t)(point - text) : strlen(text);
    uint64_t whole = 0;
    uint64_t fraction = 0;
    size_t digits = 0;

    if (parse_u64(text, whole_size, 0, max_s, &whole) != 0) {
        return -QR_EFORMAT;
    }
    if (point != NULL) {
        digits = strlen(point + 1);
        if (digits > FRACTION_DIGITS ||
            parse_u64(point + 1, digits, 0, BENCH_US_PER_S, &fraction) != 0) {
            return -QR_EFORMAT;
        }
        for (; digits < FRACTION_DIGITS; digits++) {
            fraction *= 10;
        }
    }
    *out = whole * BENCH_US_PER_S + fraction;
    return 0;
}

/* One of HOST, HOST:PORT, [ADDRESS]:PORT, a socket's path. */
static int
parse_host(const char *text, size_t size, struct bench_host *out)
{
    const char *colon = memrchr(text, ':', size);
    size_t name_size = colon != NULL ? (size_t)(colon - text) : size;
    uint64_t port = PORT_DEFAULT;

    if (colon != NULL &&
        parse_u64(colon + 1, size - name_size - 1, 1, UINT16_MAX, &port) != 0) {
        return -QR_EFORMAT;
    }
    if (name_size > 2 && text[0] == '[' && text[name_size - 1] == ']') {
        text++;
        name_size -= 2;
    }
    if (name_size == 0 || name_size >= BENCH_HOST_SIZE) {
        return -QR_EFORMAT;
    }
    memcpy(out->name, text, name_size);
    out->name[name_size] = 0;
    out->port = (uint16_t)port;
    return 0;
}

/* The part of a list at *AT up to a comma; false after the last. */
static bool
next_item(const char **at, const char **item, size_t *size)
{
    const char *end = NULL;

    if (*at == NULL) {
        return false;
    }
    end = strchrnul(*at, ',');
    *item = *at;
    *size = (size_t)(end - *at);
    *at = *end != 0 ? end + 1 : NULL;
    return true;
}

static int
set_hosts(struct bench_hosts *out, const struct option_row *row,
          const char *text, struct error *err)
{
    const char *at = text[0] != 0 ? text : NULL;
    const char *item = NULL;
    size_t size = 0;

    out->count = 0;
    while (next_item(&at, &item, &size)) {
        if (out->count == BENCH_HOSTS_MAX) {
            return error_set(err, QR_EINVAL, "--%s: more than %d hosts",
                             row->name, BENCH_HOSTS_MAX);
        }
        if (parse_host(item, size, &out->list[out->count]) != 0) {
            return error_set(err, QR_EINVAL,
                             "--%s: '%.*s' is not HOST:PORT; write for example "
                             "--%s 127.0.0.1:5672,127.0.0.1:5673",
                             row->name, (int)size, item, row->name);
        }
        out->count++;
    }
    return 0;
}

static int
set_pids(struct bench_pids *out, const struct option_row *row, const char *text,
         struct error *err)
{
    const char *at = text[0] != 0 ? text : NULL;
    const char *item = NULL;
    size_t size = 0;
    uint64_t pid = 0;

    out->count = 0;
    while (next_item(&at, &item, &size)) {
        if (out->count == BENCH_PIDS_MAX) {
            return error_set(err, QR_EINVAL, "--%s: more than %d processes",
                             row->name, BENCH_PIDS_MAX);
        }
        if (parse_u64(item, size, 1, PID_MAX, &pid) != 0) {
            return error_set(err, QR_EINVAL,
                             "--%s: '%.*s' is not a process id; write for "
                             "example --%s 4711,4712",
                             row->name, (int)size, item, row->name);
        }
        out->list[out->count] = (uint32_t)pid;
        out->count++;
    }
    return 0;
}

static int
set_mode(enum bench_mode *out, const char *text, struct error *err)
{
    size_t i = 0;

    for (i = 0; i < ARRAY_COUNT(mode_names); i++) {
        if (strcmp(mode_names[i], text) == 0) {
            *out = (enum bench_mode)i;
            return 0;
        }
    }
    return error_set(err, QR_EINVAL,
                     "--mode: '%s' is not one of pubcon, publish, consume, "
                     "get, declare, connections, churn",
                     text);
}

static int
set_probe(struct bench_probes *out, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');

    if (text[0] == 0) {
        return 0;
    }
    if (equals == NULL || equals == text || equals[1] == 0) {
        return error_set(err, QR_EINVAL, "--probe: '%s' is not NAME=COMMAND",
                         text);
    }
    if (out->count == BENCH_PROBES_MAX) {
        return error_set(err, QR_EINVAL, "--probe: more than %d",
                         BENCH_PROBES_MAX);
    }
    out->list[out->count] = text;
    out->count++;
    return 0;
}

static int
set_number(uint64_t *out, const struct option_row *row, const char *text,
           struct error *err)
{
    if (parse_u64(text, strlen(text), row->min, row->max, out) != 0) {
        return error_set(err, QR_EINVAL,
                         "--%s: '%s' is not a number from %" PRIu64
                         " to %" PRIu64,
                         row->name, text, row->min, row->max);
    }
    return 0;
}

static int
set_seconds(uint64_t *out, const struct option_row *row, const char *text,
            struct error *err)
{
    uint64_t us = 0;

    if (parse_seconds(text, row->max, &us) != 0 ||
        us < row->min * BENCH_US_PER_S || us > row->max * BENCH_US_PER_S) {
        return error_set(err, QR_EINVAL,
                         "--%s: '%s' is not a number of seconds from %" PRIu64
                         " to %" PRIu64 ", such as 2.5",
                         row->name, text, row->min, row->max);
    }
    *out = us;
    return 0;
}

static int
set_text(const char **out, const struct option_row *row, const char *text,
         struct error *err)
{
    size_t size = strlen(text);

    if (size < row->min || size > row->max) {
        return error_set(err, QR_EINVAL,
                         "--%s: %zu bytes, allowed are %" PRIu64 " to %" PRIu64,
                         row->name, size, row->min, row->max);
    }
    *out = text;
    return 0;
}

/* Give TEXT to the option of ROW. */
static int
set_option(struct bench_options *o, const struct option_row *row,
           const char *text, struct error *err)
{
    void *at = (char *)o + row->offset;

    switch (row->kind) {
    case KIND_NUMBER:
        return set_number(at, row, text, err);
    case KIND_SECONDS:
        return set_seconds(at, row, text, err);
    case KIND_FLAG:
        if (parse_bool(text, strlen(text), at) != 0) {
            return error_set(err, QR_EINVAL, "--%s: '%s' is not yes or no",
                             row->name, text);
        }
        return 0;
    case KIND_TEXT:
        return set_text(at, row, text, err);
    case KIND_HOSTS:
        return set_hosts(at, row, text, err);
    case KIND_PIDS:
        return set_pids(at, row, text, err);
    case KIND_MODE:
        return set_mode(at, text, err);
    case KIND_PROBE:
        return set_probe(at, text, err);
    case KIND_SECTION:
        break;
    }
    UNREACHABLE("a section has no value");
}

/* The row called SIZE bytes at NAME, or NULL. */
static const struct option_row *
find_row(const char *name, size_t size)
{
    size_t i = 0;

    for (i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].kind != KIND_SECTION &&
            text_equal(name, size, rows[i].name)) {
            return &rows[i];
        }
    }
    return NULL;
}

/* What was given on the command line and matters to defaults. */
struct given {
    bool duration;
    bool warmup;
};

/* One argument and perhaps the one after it; *AT is moved past them. */
static int
parse_one(struct bench_options *o, char **argv, int *at, struct given *given,
          struct error *err)
{
    const char *arg = argv[*at];
    const char *name = arg + 2;
    const char *value = NULL;
    const struct option_row *row = NULL;
    size_t size = 0;
    bool is_no = false;

    (*at)++;
    if (strncmp(arg, "--", 2) != 0) {
        return error_set(err, QR_EINVAL,
                         "'%s' is not an option; --help lists them", arg);
    }
    size = strcspn(name, "=");
    value = name[size] == '=' ? name + size + 1 : NULL;
    row = find_row(name, size);
    if (row == NULL && strncmp(name, "no-", 3) == 0 && value == NULL) {
        row = find_row(name + 3, size - 3);
        is_no = row != NULL && row->kind == KIND_FLAG;
        row = is_no ? row : NULL;
    }
    if (row == NULL) {
        return error_set(err, QR_EINVAL,
                         "there is no option '%s'; --help lists them", arg);
    }
    if (row->kind == KIND_FLAG && value == NULL) {
        value = is_no ? "no" : "yes";
    }
    if (value == NULL && argv[*at] == NULL) {
        return error_set(err, QR_EINVAL, "--%s wants %s after it", row->name,
                         row->argument);
    }
    if (value == NULL) {
        value = argv[*at];
        (*at)++;
    }
    given->duration |= strcmp(row->name, "duration") == 0;
    given->warmup |= strcmp(row->name, "warmup") == 0;
    return set_option(o, row, value, err);
}

/* What depends on several options. */
static int
check(struct bench_options *o, const struct given *given, struct error *err)
{
    if (o->ack_every > o->prefetch && o->prefetch > 0) {
        return error_set(err, QR_EINVAL,
                         "--ack-every %" PRIu64 " is more than --prefetch "
                         "%" PRIu64 ": the broker would wait for the consumer "
                         "and the consumer for the broker",
                         o->ack_every, o->prefetch);
    }
    if (o->mode == BENCH_PUBLISH || o->mode > BENCH_GET) {
        o->consumers = 0;
    }
    if (o->mode == BENCH_CONSUME || o->mode > BENCH_GET) {
        o->publishers = 0;
    }
    if (o->mode <= BENCH_GET && o->publishers + o->consumers == 0) {
        return error_set(err, QR_EINVAL,
                         "--publishers 0 and --consumers 0 leave nothing to "
                         "do");
    }
    if (o->size < BENCH_BODY_HEAD_SIZE) {
        o->verify = false;
    }
    if (o->count > 0 && !given->duration) {
        o->duration_us = (uint64_t)BENCH_DURATION_WITH_COUNT_S * BENCH_US_PER_S;
    }
    if ((o->count > 0 || o->mode == BENCH_CONSUME) && !given->warmup) {
        o->warmup_us = 0;
    }
    if (o->publish_hosts.count == 0) {
        o->publish_hosts = o->hosts;
    }
    if (o->consume_hosts.count == 0) {
        o->consume_hosts = o->hosts;
    }
    return o->hosts.count > 0
               ? 0
               : error_set(err, QR_EINVAL, "--hosts: none given");
}

int
bench_options_parse(int argc, char **argv, struct bench_options *out,
                    struct error *err)
{
    struct bench_options o = {0};
    struct given given = {0};
    size_t i = 0;
    int at = 1;
    int rv = 0;

    ASSERT(argc >= 1);
    for (i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].kind != KIND_SECTION) {
            rv = set_option(&o, &rows[i], rows[i].value, err);
            ASSERT(rv == 0);
        }
    }
    while (at < argc) {
        rv = parse_one(&o, argv, &at, &given, err);
        if (rv != 0) {
            return rv;
        }
    }
    rv = check(&o, &given, err);
    if (rv == 0) {
        *out = o;
    }
    return rv;
}

/* "--no-name" for a flag that is on, else "--name ARGUMENT". */
static void
put_name(struct buf *out, const struct option_row *row)
{
    bool is_on = row->kind == KIND_FLAG && strcmp(row->value, "yes") == 0;

    buf_putf(out, "--%s%s%s%s", is_on ? "[no-]" : "", row->name,
             row->argument[0] != 0 ? " " : "", row->argument);
}

/* The help text with its default. */
static void
put_help(struct buf *out, const struct option_row *row)
{
    buf_put_text(out, row->help);
    if (row->value[0] != 0 && row->kind != KIND_FLAG) {
        buf_putf(out, " (%s)", row->value);
    } else if (row->kind == KIND_FLAG && strcmp(row->value, "yes") == 0) {
        buf_put_text(out, " (yes)");
    }
}

void
bench_options_help(struct buf *out)
{
    struct buf text;
    size_t start = 0;
    size_t i = 0;

    buf_init(&text);
    buf_put_text(out, "usage: quorate-bench [--hosts HOST:PORT,...] [options]\n"
                      "\n"
                      "Load and latency against any AMQP 0-9-1 broker.\n");
    for (i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].kind == KIND_SECTION) {
            buf_putf(out, "\n%s:\n", rows[i].name);
            continue;
        }
        start = out->size;
        buf_put_text(out, "  ");
        put_name(out, &rows[i]);
        if (out->size - start + 2 > HELP_COLUMN) {
            buf_putf(out, "\n%*s", HELP_COLUMN, "");
        } else {
            buf_putf(out, "%*s", HELP_COLUMN - (int)(out->size - start), "");
        }
        buf_clear(&text);
        put_help(&text, &rows[i]);
        buf_put_u8(&text, 0);
        buf_put_wrapped(out, (const char *)text.data, HELP_COLUMN, HELP_WIDTH);
    }
    buf_put_text(out, "\n"
                      "Exit status: 0 clean; 1 confirmed messages were lost or "
                      "came twice without\n"
                      "the redelivered flag; 2 usage; 3 could not run.\n");
    buf_deinit(&text);
}

static void
put_man_row(struct buf *out, const struct option_row *row)
{
    struct buf text;

    buf_init(&text);
    put_name(&text, row);
    buf_put_text(out, ".TP\n.B ");
    text_put_man(out, (const char *)text.data, text.size);
    buf_clear(&text);
    put_help(&text, row);
    buf_put_u8(out, '\n');
    text_put_man(out, (const char *)text.data, text.size);
    buf_put_u8(out, '\n');
    buf_deinit(&text);
}

void
bench_options_man(struct buf *out)
{
    size_t i = 0;

    buf_put_text(
        out,
        ".TH QUORATE\\-BENCH 1\n"
        ".SH NAME\n"
        "quorate\\-bench \\- load and latency against any AMQP 0\\-9\\-1 "
        "broker\n"
        ".SH SYNOPSIS\n"
        ".B quorate\\-bench\n"
        "[\\fB\\-\\-hosts\\fP HOST:PORT,...] [options]\n"
        ".SH DESCRIPTION\n"
        "Publishes to and consumes from queues of a broker, measures rates, "
        "latencies and what the broker's processes spend, and checks that "
        "every confirmed message arrives.\n"
        ".SH OPTIONS\n");
    for (i = 0; i < ARRAY_COUNT(rows); i++) {
        if (rows[i].kind == KIND_SECTION) {
            buf_putf(out, ".SS %s\n", rows[i].name);
        } else {
            put_man_row(out, &rows[i]);
        }
    }
    buf_put_text(out,
                 ".SH EXIT STATUS\n"
                 "0: clean. 1: confirmed messages were lost, came twice "
                 "without the redelivered flag, or out of order. 2: usage. "
                 "3: could not run.\n"
                 ".SH SEE ALSO\n"
                 ".BR quorated (1),\n"
                 ".BR quoratectl (1)\n");
}
