/* quoratectl: parse the command line, ask the node, show what it says. */
#include <quorate/version.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "ctl/client.h"
#include "ctl/help.h"
#include "ctl/options.h"
#include "ctl/output.h"
#include "ctl/prompt.h"
#include "mgmt/protocol.h"

static int
fail(int code, const struct error *err)
{
    (void)fprintf(stderr, "Error: %s\n", err->text);
    return code;
}

static int
exit_code_of(int rv)
{
    switch (-rv) {
    case QR_ETIMEOUT:
        return EXIT_CODE_TIMEOUT;
    case QR_EINVAL:
    case QR_ETOOBIG:
        return EXIT_CODE_USAGE;
    case QR_EFORMAT:
        return EXIT_CODE_SOFTWARE;
    default:
        return EXIT_CODE_UNAVAILABLE;
    }
}

/* Everything at once; false when standard output is gone. */
static bool
show(FILE *to, const struct buf *text)
{
    return text->size == 0 ||
           (fwrite(text->data, 1, text->size, to) == text->size &&
            fflush(to) == 0);
}

static int
run_help(const struct ctl_options *o)
{
    enum command_id command;
    struct error err;
    struct buf text;
    int code = EXIT_CODE_OK;

    error_clear(&err);
    buf_init(&text);
    if (o->values[OPTION_MAN] != NULL) {
        help_manual(&text);
    } else if (o->args_count == 0) {
        help_overview(&text);
    } else if (command_find(o->args[0], &command)) {
        help_command(command, &text);
    } else {
        (void)error_set(&err, QR_EINVAL,
                        "there is no command '%s': 'quoratectl help' lists "
                        "them",
                        o->args[0]);
        code = fail(EXIT_CODE_USAGE, &err);
    }
    if (!show(stdout, &text)) {
        code = EXIT_CODE_SOFTWARE;
    }
    buf_deinit(&text);
    return code;
}

static bool
is_silent(const struct ctl_options *o)
{
    return o->values[OPTION_SILENT] != NULL;
}

static void
show_banner(const struct ctl_options *o)
{
    const struct command_row *row = command_row(o->command);
    struct buf banner;

    if (is_silent(o) || o->values[OPTION_QUIET] != NULL ||
        o->format == FORMAT_JSON || o->format == FORMAT_CSV) {
        return;
    }
    buf_init(&banner);
    /* These look at queues or clients, and say how long that may take. */
    if (strncmp(row->name, "list_", 5) == 0 &&
        (row->section == SECTION_QUEUES || row->section == SECTION_CLIENTS)) {
        buf_putf(&banner, "Timeout: %.1f seconds ...\n",
                 (double)o->timeout_ms / 1000.0);
    }
    options_banner(o, &banner);
    if (banner.size > 0) {
        buf_put_text(&banner, "\n");
    }
    (void)show(stdout, &banner);
    buf_deinit(&banner);
}

static int
show_response(const struct ctl_options *o,
              const struct client_response *response)
{
    struct output_style style = {
        .format = o->format,
        .has_format = o->has_format,
        .has_headers =
            !is_silent(o) && o->values[OPTION_NO_TABLE_HEADERS] == NULL};
    struct error err;
    struct buf out;
    struct buf errors;
    int result = response->code;
    int rv;

    error_clear(&err);
    buf_init(&out);
    buf_init(&errors);
    rv = output_format(&style, (const char *)response->json.data,
                       response->json.size, &out, &errors, &err);
    if (rv != 0) {
        result = fail(exit_code_of(rv), &err);
    }
    if (!show(stdout, &out) && result == EXIT_CODE_OK) {
        result = EXIT_CODE_SOFTWARE;
    }
    (void)show(stderr, &errors);
    buf_deinit(&out);
    buf_deinit(&errors);
    return result;
}

static int
send_request(const struct ctl_options *o, const char *path,
             const char *password)
{
    struct client_request request = {.timeout_ms = o->timeout_ms,
                                     .await =
                                         o->command == COMMAND_await_startup};
    struct client_response response = {0};
    struct error err;
    struct buf bytes;
    int rv;

    error_clear(&err);
    buf_init(&bytes);
    buf_init(&response.json);
    options_request(o, password, &bytes);
    request.data = bytes.data;
    request.size = bytes.size;
    rv = client_run(path, &request, &response, &err);
    mem_wipe(bytes.data, bytes.size);
    rv = rv == 0 ? show_response(o, &response) : fail(exit_code_of(rv), &err);
    buf_deinit(&bytes);
    buf_deinit(&response.json);
    return rv;
}

static int
run_command(const struct ctl_options *o)
{
    char path[SOCKET_PATH_SIZE];
    char password[PROMPT_SIZE];
    bool has_prompted = false;
    struct error err;
    int rv;

    error_clear(&err);
    rv = client_socket_path(o->values[OPTION_SOCKET], o->values[OPTION_CONFIG],
                            path, &err);
    if (rv == 0 && options_want_password(o)) {
        rv = prompt_password(STDIN_FILENO, "Password: ", password, &err);
        if (rv == -QR_EINVAL) {
            return fail(EXIT_CODE_DATA, &err);
        }
        has_prompted = true;
    }
    if (rv != 0) {
        return fail(exit_code_of(rv), &err);
    }
    show_banner(o);
    rv = send_request(o, path, has_prompted ? password : NULL);
    mem_wipe(password, sizeof(password));
    return rv;
}

int
main(int argc, char **argv)
{
    struct ctl_options o;
    struct error err;

    error_clear(&err);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return printf("quoratectl %s\n", QR_VERSION_STRING) < 0
                   ? EXIT_CODE_SOFTWARE
                   : EXIT_CODE_OK;
    }
    if (options_parse(argc - 1, (const char *const *)(argv + 1), &o, &err) !=
        0) {
        return fail(EXIT_CODE_USAGE, &err);
    }
    options_hide_password(&o, argv + 1, (size_t)argc - 1);
    return o.command == COMMAND_help ? run_help(&o) : run_command(&o);
}
