/* See starts.h. */
#include "peer/starts.h"

#include <string.h>

#include "base/check.h"

void
starts_push(struct starts *s, uint64_t process)
{
    ASSERT(process != 0);
    ASSERT(s->count <= STARTS_MAX);
    memmove(&s->process[1], &s->process[0],
            (STARTS_MAX - 1) * sizeof(s->process[0]));
    s->process[0] = process;
    s->boot++;
    if (s->count < STARTS_MAX) {
        s->count++;
    }
}

bool
starts_is_rolled_back(const struct starts *s, const struct start_seen *seen)
{
    uint32_t back;

    if (seen->boot == 0) {
        return false;
    }
    if (s->boot < seen->boot) {
        return true;
    }
    back = s->boot - seen->boot;
    return back < s->count && seen->process != 0 &&
           s->process[back] != seen->process;
}

void
starts_see(struct start_seen *seen, uint32_t boot, uint64_t process)
{
    if (boot > seen->boot) {
        seen->boot = boot;
        seen->process = process;
    } else if (boot == seen->boot && seen->process == 0) {
        seen->process = process;
    }
}
