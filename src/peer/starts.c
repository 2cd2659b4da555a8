/* See starts.h. */
#include "peer/starts.h"

#include <string.h>

#include "base/check.h"
#include "base/mutation.h"

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

    if (seen->boot == 0 || MUTATION(reuse_id)) {
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

/* The place of NODE in B, or the count. */
static uint32_t
book_place(const struct starts_book *b, uint32_t node)
{
    uint32_t i = 0;

    ASSERT(b->count <= STARTS_BOOK_MAX);
    while (i < b->count && b->items[i].node != node) {
        i++;
    }
    return i;
}

struct start_seen
starts_book_find(const struct starts_book *b, uint32_t node)
{
    uint32_t i = book_place(b, node);

    return i < b->count ? b->items[i].seen : (struct start_seen){.boot = 0};
}

bool
starts_book_see(struct starts_book *b, uint32_t node,
                const struct start_seen *seen)
{
    struct start_seen was = starts_book_find(b, node);
    struct start_seen now = was;
    uint32_t i = book_place(b, node);

    ASSERT(node != 0);
    starts_see(&now, seen->boot, seen->process);
    if (now.boot == was.boot && now.process == was.process) {
        return false;
    }
    if (i == STARTS_BOOK_MAX) {
        i = 0;
    }
    if (i < b->count) {
        memmove(&b->items[i], &b->items[i + 1],
                (b->count - i - 1) * sizeof(b->items[0]));
        b->count--;
    }
    b->items[b->count].node = node;
    b->items[b->count].seen = now;
    b->count++;
    return true;
}
