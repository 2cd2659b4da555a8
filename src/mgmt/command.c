/* See command.h. */
#include "mgmt/command.h"

#include <string.h>

#include "base/check.h"

enum {
    ARGS_MANY = COMMAND_ARGS_MAX,
    NAME_SIZE_MAX = 64, /* of a name that "did you mean" looks at */
    NEAR_MAX = 3        /* changes of one letter that still are near */
};

#define OPT(id) (1U << OPTION_##id)

static const struct option_row options[OPTION_COUNT] = {
#define OPTION(id, long_name, short_name, value, is_global, help) \
    {long_name, short_name, value, is_global, help},
#include "mgmt/command.def"
#undef OPTION
};

static const struct command_row commands[COMMAND_COUNT] = {
#define COMMAND(name, handler, section, least, most, options, arguments, \
                banner, summary, more)                                   \
    {#name,  SECTION_##section, least, most, options, arguments,         \
     banner, summary,           more},
#include "mgmt/command.def"
#undef COMMAND
};

_Static_assert((int)OPTION_COUNT <= 32, "options fit a mask");

const struct command_row *
command_row(enum command_id id)
{
    ASSERT((unsigned)id < COMMAND_COUNT);
    return &commands[id];
}

const struct option_row *
option_row(enum command_option id)
{
    ASSERT((unsigned)id < OPTION_COUNT);
    return &options[id];
}

bool
command_find(const char *name, enum command_id *out)
{
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            *out = (enum command_id)i;
            return true;
        }
    }
    return false;
}

bool
option_find(const char *name, size_t size, enum command_option *out)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if (strlen(options[i].name) == size &&
            memcmp(options[i].name, name, size) == 0) {
            *out = (enum command_option)i;
            return true;
        }
    }
    return false;
}

bool
option_find_letter(char letter, enum command_option *out)
{
    for (unsigned i = 0; i < OPTION_COUNT && letter != '\0'; i++) {
        if (options[i].letter == letter) {
            *out = (enum command_option)i;
            return true;
        }
    }
    return false;
}

bool
command_takes(const struct command_row *command, enum command_option option)
{
    return option_row(option)->is_global ||
           (command->options & (1U << option)) != 0;
}

const char *
command_section_title(enum command_section section)
{
    switch (section) {
    case SECTION_HELP:
        return "Help";
    case SECTION_NODES:
        return "Nodes";
    case SECTION_CLUSTER:
        return "Cluster and replication";
    case SECTION_QUEUES:
        return "Queues, exchanges, bindings";
    case SECTION_CLIENTS:
        return "Clients";
    case SECTION_USERS:
        return "Users";
    case SECTION_ACCESS:
        return "Access control";
    case SECTION_VHOSTS:
        return "Virtual hosts";
    case SECTION_POLICIES:
        return "Policies";
    case SECTION_COUNT:
        break;
    }
    UNREACHABLE("a section that is none");
}

/* Levenshtein's distance, one row of the table at a time. */
static size_t
distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t row[NAME_SIZE_MAX + 1];

    ASSERT(b_size <= NAME_SIZE_MAX);
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

            diagonal = row[j];
            row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

const char *
command_nearest(const char *name)
{
    size_t size = strlen(name);
    size_t best = NEAR_MAX + 1;
    const char *nearest = NULL;

    if (size > NAME_SIZE_MAX) {
        return NULL;
    }
    for (unsigned i = 0; i < COMMAND_COUNT; i++) {
        size_t d =
            distance(commands[i].name, strlen(commands[i].name), name, size);

        if (d < best) {
            best = d;
            nearest = commands[i].name;
        }
    }
    return nearest;
}
