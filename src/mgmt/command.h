/* The table of commands and options (command.def) as data: shared by
 * quoratectl, which parses and explains with it, and by the daemon, which
 * checks requests with it. Depends on nothing but base. */
#ifndef MGMT_COMMAND_H
#define MGMT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum command_option {
#define OPTION(id, long_name, short_name, value, is_global, help) OPTION_##id,
#include "mgmt/command.def"
#undef OPTION
    OPTION_COUNT
};

enum command_section {
    SECTION_HELP,
    SECTION_NODES,
    SECTION_CLUSTER,
    SECTION_QUEUES,
    SECTION_CLIENTS,
    SECTION_USERS,
    SECTION_ACCESS,
    SECTION_VHOSTS,
    SECTION_POLICIES,
    SECTION_COUNT
};

enum command_id {
#define COMMAND(name, handler, section, least, most, options, arguments, \
                banner, summary, more)                                   \
    COMMAND_##name,
#include "mgmt/command.def"
#undef COMMAND
    COMMAND_COUNT
};

enum {
    COMMAND_ARGS_MAX = 128 /* arguments of one command, columns among them */
};

struct option_row {
    const char *name;  /* "vhost" */
    char letter;       /* 'p', or NUL */
    const char *value; /* what follows it, or NULL: a flag */
    bool is_global;
    const char *help;
};

struct command_row {
    const char *name;
    enum command_section section;
    size_t args_min;
    size_t args_max;
    uint32_t options; /* bit of each enum command_option beside the globals */
    const char *arguments;
    const char *banner;
    const char *summary;
    const char *more;
};

/* The row of command ID, and of option ID. Static. */
const struct command_row *command_row(enum command_id id);
const struct option_row *option_row(enum command_option id);
/* The command called NAME; false if there is none. */
bool command_find(const char *name, enum command_id *out);
/* The option of SIZE bytes at NAME, without its dashes; false if none. */
bool option_find(const char *name, size_t size, enum command_option *out);
/* The option of one letter; false if none. */
bool option_find_letter(char letter, enum command_option *out);
/* Whether COMMAND takes OPTION. */
bool command_takes(const struct command_row *command,
                   enum command_option option);
/* A section's title, such as "Users". Static. */
const char *command_section_title(enum command_section section);
/* The command whose name is nearest to NAME, for "did you mean"; NULL when
 * none is near. */
const char *command_nearest(const char *name);

#endif
