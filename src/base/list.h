/* Intrusive doubly linked list with a sentinel head. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void
list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool
list_is_empty(const struct list *l)
{
    return l->next == l;
}

/* Whether an entry that list_init() or list_remove() touched is on a list. */
static inline bool
list_is_linked(const struct list *entry)
{
    return entry->next != entry;
}

static inline void
list_insert_before(struct list *at, struct list *entry)
{
    entry->prev = at->prev;
    entry->next = at;
    at->prev->next = entry;
    at->prev = entry;
}

static inline void
list_push_back(struct list *head, struct list *entry)
{
    list_insert_before(head, entry);
}

static inline void
list_push_front(struct list *head, struct list *entry)
{
    list_insert_before(head->next, entry);
}

/* Unlink and leave ENTRY self-linked, so that a second call is harmless. */
static inline void
list_remove(struct list *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    list_init(entry);
}

/* First entry, unlinked, or NULL. */
static inline struct list *
list_pop_front(struct list *head)
{
    struct list *first = head->next;

    if (first == head) {
        return NULL;
    }
    list_remove(first);
    return first;
}

#define list_entry(ptr, type, member) CONTAINER_OF(ptr, type, member)

#define list_foreach(it, head) \
    for ((it) = (head)->next; (it) != (head); (it) = (it)->next)

#define list_foreach_safe(it, tmp, head)                          \
    for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head); \
         (it) = (tmp), (tmp) = (it)->next)

#endif
