/* A list. It exists so that the three kinds of exchange look alike. */
#include "routing/fanout.h"

#include "base/check.h"

void
fanout_init(struct fanout *f)
{
    ASSERT(f != NULL);
    list_init(&f->entries);
    f->count = 0;
}

void
fanout_deinit(struct fanout *f)
{
    ASSERT(f->count == 0);
    ASSERT(list_is_empty(&f->entries));
}

void
fanout_add(struct fanout *f, struct route_entry *entry)
{
    ASSERT(entry != NULL);
    entry->home = f;
    list_push_back(&f->entries, &entry->link);
    f->count++;
}

void
fanout_remove(struct fanout *f, struct route_entry *entry)
{
    ASSERT(entry->home == f);
    ASSERT(f->count > 0);
    list_remove(&entry->link);
    entry->home = NULL;
    f->count--;
}

void
fanout_match(const struct fanout *f, route_cb *cb, void *arg)
{
    struct list *it = NULL;

    ASSERT(cb != NULL);
    list_foreach (it, &f->entries) {
        cb(arg, list_entry(it, struct route_entry, link));
    }
}
