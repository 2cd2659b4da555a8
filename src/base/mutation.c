/* See mutation.h. Written once, before anything runs. */
#include "base/mutation.h"

#include <string.h>

#include "base/check.h"

#ifdef QUORATE_MUTATIONS

enum mutation mutation_chosen = MUTATION_none;

static const struct {
    const char *name;
    const char *what;
} mutations[] = {{"none", ""},
#    define MUTATION_ROW(name, what) {#    name, what},
                 EACH_MUTATION(MUTATION_ROW)
#    undef MUTATION_ROW
};

bool
mutation_select(const char *name)
{
    ASSERT(name != NULL);
    for (size_t i = 1; i < ARRAY_COUNT(mutations); i++) {
        if (strcmp(mutations[i].name, name) == 0) {
            mutation_chosen = (enum mutation)i;
            return true;
        }
    }
    return false;
}

void
mutation_list(struct buf *out)
{
    ASSERT(out != NULL);
    for (size_t i = 1; i < ARRAY_COUNT(mutations); i++) {
        buf_putf(out, "%s: %s\n", mutations[i].name, mutations[i].what);
    }
}

#else

bool
mutation_select(const char *name)
{
    ASSERT(name != NULL);
    return false;
}

void
mutation_list(struct buf *out)
{
    ASSERT(out != NULL);
    buf_putf(out, "none: this build has no mutations\n");
}

#endif
