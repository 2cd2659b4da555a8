/* The intrusive list. */
#include "base/list.h"
#include "base/rng.h"
#include "lib/harness.h"

struct item {
    int value;
    struct list link;
};

/* The values of LIST as decimal digits, first to last. */
static unsigned
digits(struct list *head)
{
    struct list *it = NULL;
    unsigned number = 0;

    list_foreach (it, head) {
        const struct item *i = list_entry(it, struct item, link);

        number = number * 10 + (unsigned)i->value;
    }
    return number;
}

Test(list, is_empty_at_first)
{
    struct list head;

    list_init(&head);
    cr_assert(list_is_empty(&head));
    cr_assert_null(list_pop_front(&head));
}

Test(list, keeps_order_at_both_ends_and_between)
{
    struct item a = {.value = 1};
    struct item b = {.value = 2};
    struct item c = {.value = 3};
    struct list head;

    list_init(&head);
    list_push_back(&head, &b.link);
    list_push_front(&head, &a.link);
    list_push_back(&head, &c.link);
    cr_assert_eq(digits(&head), 123);
    list_remove(&b.link);
    cr_assert_eq(digits(&head), 13);
    list_insert_before(&a.link, &b.link);
    cr_assert_eq(digits(&head), 213);
    cr_assert_eq(list_pop_front(&head), &b.link);
    cr_assert_eq(digits(&head), 13);
}

Test(list, removes_twice_harmlessly)
{
    struct item a = {.value = 1};
    struct item b = {.value = 2};
    struct list head;

    list_init(&head);
    list_push_back(&head, &a.link);
    list_push_back(&head, &b.link);
    cr_assert(list_is_linked(&a.link));
    list_remove(&a.link);
    cr_assert(!list_is_linked(&a.link));
    list_remove(&a.link);
    cr_assert_eq(digits(&head), 2);
}

Test(list, may_lose_the_entry_at_hand_in_a_safe_loop)
{
    struct item items[9];
    struct list head;
    struct list *it = NULL;
    struct list *next = NULL;

    list_init(&head);
    for (int i = 0; i < 9; i++) {
        items[i].value = i + 1;
        list_push_back(&head, &items[i].link);
    }
    list_foreach_safe (it, next, &head) {
        if (list_entry(it, struct item, link)->value % 2 == 0) {
            list_remove(it);
        }
    }
    cr_assert_eq(digits(&head), 13579);
}
