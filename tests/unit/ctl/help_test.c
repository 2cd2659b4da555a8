/* Help and the manual page name every command and option. */
#include "base/buf.h"
#include "ctl/help.h"
#include "lib/harness.h"

static bool
has(const struct buf *text, const char *what)
{
    return memmem(text->data, text->size, what, strlen(what)) != NULL;
}

/* The longest line, in bytes. */
static size_t
width(const struct buf *text)
{
    size_t most = 0;
    size_t from = 0;

    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] == '\n') {
            most = i - from > most ? i - from : most;
            from = i + 1;
        }
    }
    return most;
}

Test(help, the_overview_names_every_command)
{
    struct buf text;

    buf_init(&text);
    help_overview(&text);
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        cr_assert(has(&text, command_row((enum command_id)i)->name));
    }
    for (unsigned i = 0; i < SECTION_COUNT; i++) {
        cr_assert(has(&text, command_section_title((enum command_section)i)));
    }
    cr_assert_leq(width(&text), 80);
    buf_deinit(&text);
}

Test(help, a_command_explains_its_own_options)
{
    struct buf text;

    buf_init(&text);
    help_command(COMMAND_delete_queue, &text);
    cr_assert(has(&text, "quoratectl delete_queue QUEUE"));
    cr_assert(has(&text, "-e, --if-empty"));
    cr_assert(has(&text, "-n, --node NODE"));
    cr_assert(!has(&text, "--apply-to"));
    buf_deinit(&text);
}

Test(help, lines_fit_a_terminal_and_end_without_blanks)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        struct buf text;

        buf_init(&text);
        help_command((enum command_id)i, &text);
        cr_assert_leq(width(&text), 80);
        cr_assert(!has(&text, " \n"));
        buf_deinit(&text);
    }
}

Test(help, the_manual_page_names_everything)
{
    struct buf text;

    buf_init(&text);
    help_manual(&text);
    cr_assert_eq(memcmp(text.data, ".TH QUORATECTL 1 ", 17), 0);
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        cr_assert(has(&text, command_row((enum command_id)i)->name));
    }
    cr_assert(has(&text, "\\-\\-apply\\-to KIND"));
    cr_assert(has(&text, ".SH EXIT STATUS"));
    buf_deinit(&text);
}
