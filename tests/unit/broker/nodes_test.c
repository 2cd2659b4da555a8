/* What is known of nodes: links, starts, and when a start counts as dead. */
#include "broker/nodes.h"
#include "lib/harness.h"

static struct link_peer
peer(qr_node_id node, uint32_t boot)
{
    struct link_peer p = {.node = node, .boot = boot};

    return p;
}

Test(nodes, a_first_link_declares_earlier_starts_dead)
{
    struct nodes n;
    struct link_peer p = peer(2, 5);
    struct node_state *s;

    nodes_init(&n);
    s = nodes_link_event(&n, LINK_UP, &p, 100);
    cr_assert_not_null(s);
    cr_assert_eq(s->boot, 5);
    cr_assert_eq(s->boot_dead, 4);
    cr_assert(s->is_linked);
}

Test(nodes, the_same_start_coming_back_is_no_death)
{
    struct nodes n;
    struct link_peer p = peer(2, 5);

    nodes_init(&n);
    (void)nodes_link_event(&n, LINK_UP, &p, 100);
    cr_assert_null(nodes_link_event(&n, LINK_DOWN, &p, 200));
    cr_assert_null(nodes_link_event(&n, LINK_UP, &p, 300));
    cr_assert_eq(nodes_get(&n, 2)->boot_dead, 4);
}

Test(nodes, a_refused_link_is_the_death_of_that_start)
{
    struct nodes n;
    struct link_peer p = peer(2, 5);
    struct node_state *s;

    nodes_init(&n);
    (void)nodes_link_event(&n, LINK_UP, &p, 100);
    (void)nodes_link_event(&n, LINK_DOWN, &p, 200);
    s = nodes_link_event(&n, LINK_REFUSED, &p, 210);
    cr_assert_not_null(s);
    cr_assert_eq(s->boot_dead, 5);
    cr_assert_null(nodes_link_event(&n, LINK_REFUSED, &p, 220));
}

Test(nodes, a_refused_link_that_never_was_is_no_death)
{
    struct nodes n;
    struct link_peer p = peer(2, 0);

    nodes_init(&n);
    cr_assert_null(nodes_link_event(&n, LINK_REFUSED, &p, 100));
}

Test(nodes, a_lost_node_expires_at_its_time_and_once)
{
    struct nodes n;
    struct link_peer p = peer(2, 1);

    nodes_init(&n);
    (void)nodes_link_event(&n, LINK_UP, &p, 100);
    (void)nodes_link_event(&n, LINK_DOWN, &p, 1000);
    cr_assert_null(nodes_expire(&n, 1000 + NODES_LOST_MS - 1));
    cr_assert_not_null(nodes_expire(&n, 1000 + NODES_LOST_MS));
    cr_assert_null(nodes_expire(&n, 1000 + 2 * NODES_LOST_MS));
    cr_assert_eq(nodes_get(&n, 2)->boot_dead, 1);
}

Test(nodes, silence_alone_does_not_unlink)
{
    struct nodes n;
    struct link_peer p = peer(2, 1);

    nodes_init(&n);
    (void)nodes_link_event(&n, LINK_UP, &p, 100);
    (void)nodes_link_event(&n, LINK_SILENT, &p, 200);
    cr_assert(nodes_get(&n, 2)->is_linked);
    cr_assert_null(nodes_expire(&n, 200 + 2 * NODES_LOST_MS));
}

Test(nodes, the_table_holds_its_limit_and_no_more)
{
    struct nodes n;

    nodes_init(&n);
    for (qr_node_id i = 1; i <= NODES_MAX; i++) {
        cr_assert_not_null(nodes_get(&n, i));
    }
    cr_assert_null(nodes_get(&n, NODES_MAX + 1));
    cr_assert_not_null(nodes_get(&n, NODES_MAX));
}

Test(nodes, that_were_removed_are_dead_for_good_and_make_room)
{
    struct nodes n;
    struct link_peer p = peer(2, 7);

    nodes_init(&n);
    for (qr_node_id i = 1; i <= NODES_MAX; i++) {
        cr_assert_not_null(nodes_get(&n, i));
    }
    cr_assert_not_null(nodes_removed(&n, 2));
    cr_assert_null(nodes_removed(&n, 2), "no news");
    cr_assert(nodes_is_dead(&n, 2, 7));
    cr_assert_null(nodes_link_event(&n, LINK_UP, &p, 100));
    cr_assert(nodes_is_dead(&n, 2, 7));
    cr_assert_not_null(nodes_get(&n, NODES_MAX + 1));
    cr_assert_null(nodes_get(&n, NODES_MAX + 2));
}
