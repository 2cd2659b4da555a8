/* The table of commands: what every row must hold to. */
#include "lib/harness.h"
#include "mgmt/command.h"

Test(command, every_name_is_found_again)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        enum command_id found = COMMAND_COUNT;

        cr_assert(command_find(command_row((enum command_id)i)->name, &found));
        cr_assert_eq((unsigned)found, i);
    }
}

Test(command, an_unknown_name_is_not_found)
{
    enum command_id found;

    cr_assert(!command_find("list_que", &found));
    cr_assert(!command_find("", &found));
}

Test(command, every_row_explains_itself)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        const struct command_row *row = command_row((enum command_id)i);

        cr_assert(row->summary[0] != '\0', "%s", row->name);
        cr_assert(row->args_min <= row->args_max, "%s", row->name);
        cr_assert(row->args_max <= COMMAND_ARGS_MAX, "%s", row->name);
        cr_assert((row->arguments[0] == '\0') == (row->args_max == 0), "%s",
                  row->name);
    }
}

Test(command, every_option_is_found_by_name_and_letter)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = option_row((enum command_option)i);
        enum command_option found = OPTION_COUNT;

        cr_assert(option_find(row->name, strlen(row->name), &found));
        cr_assert_eq((unsigned)found, i);
        if (row->letter != '\0') {
            cr_assert(option_find_letter(row->letter, &found));
            cr_assert_eq((unsigned)found, i);
        }
    }
}

Test(command, an_option_needs_its_whole_name)
{
    enum command_option found;

    cr_assert(!option_find("vhos", 4, &found));
    cr_assert(!option_find("vhosts", 6, &found));
    cr_assert(!option_find_letter('\0', &found));
    cr_assert(!option_find_letter('z', &found));
}

Test(command, global_options_go_with_every_command)
{
    const struct command_row *ping = command_row(COMMAND_ping);

    cr_assert(command_takes(ping, OPTION_NODE));
    cr_assert(!command_takes(ping, OPTION_VHOST));
    cr_assert(command_takes(command_row(COMMAND_list_queues), OPTION_VHOST));
}

Test(command, the_nearest_name_is_offered)
{
    cr_assert_str_eq(command_nearest("list_queue"), "list_queues");
    cr_assert_str_eq(command_nearest("ad_user"), "add_user");
    cr_assert(command_nearest("entirely_else") == NULL);
    cr_assert(command_nearest("a_name_that_is_longer_than_any_command_could_"
                              "ever_be_and_so_is_not_looked_at") == NULL);
}

Test(command, every_section_has_a_title_and_a_command)
{
    for (unsigned s = 0; s < SECTION_COUNT; s++) {
        bool has_command = false;

        cr_assert(command_section_title((enum command_section)s)[0] != '\0');
        for (unsigned i = 0; i < COMMAND_COUNT; i++) {
            has_command =
                has_command || command_row((enum command_id)i)->section ==
                                   (enum command_section)s;
        }
        cr_assert(has_command);
    }
}
