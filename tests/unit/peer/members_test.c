/* Who may link with whom: members of a cluster, blank nodes, old copies. */
#include <string.h>

#include "base/error.h"
#include "lib/harness.h"
#include "peer/peers.h"
#include "peers_helper.h"

static struct helper_world world;

/* Nodes 1 and 2, of one cluster, with starts of their own; not yet started. */
static struct helper_world *
members(void)
{
    struct helper_world *w = &world;

    helper_init(w);
    for (qr_node_id id = 1; id <= 3; id++) {
        memset(w->nodes[id].identity.cluster.bytes, 0xaa, 16);
        w->nodes[id].identity.starts = (struct starts){
            .boot = 5, .count = 2, .process = {id * 100 + 5, id * 100 + 4}};
    }
    return w;
}

static void
know(struct helper_world *w, qr_node_id at, qr_node_id node, uint32_t boot,
     uint64_t process)
{
    struct start_seen seen = {.boot = boot, .process = process};

    peers_known(w->nodes[at].peers, node, &w->nodes[node].identity.uuid, &seen);
}

Test(members, refuse_an_old_copy_and_say_so)
{
    struct helper_world *w = members();

    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    know(w, 1, 2, 6, 206);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, w->nodes[2].rolled_back > 0);
    cr_expect(helper_logged(w, 1,
                            "this is its start 5, and node n1 has seen "
                            "start 6"));
    cr_expect_eq(w->nodes[2].removed, 0);
    cr_expect(!helper_is_up(w, 1, 2));
    helper_deinit(w);
}

Test(members, refuse_another_process_of_the_same_start)
{
    struct helper_world *w = members();

    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    know(w, 1, 2, 5, 999);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, w->nodes[2].rolled_back > 0);
    helper_deinit(w);
}

Test(members, take_a_later_start_that_knows_the_one_seen)
{
    struct helper_world *w = members();

    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    know(w, 1, 2, 4, 204);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    /* The metadata, which came later, knew more. */
    know(w, 1, 2, 9, 209);
    HELPER_UNTIL(w, w->nodes[2].rolled_back > 0);
    helper_deinit(w);
}

Test(members, are_remembered_before_they_are_linked)
{
    struct helper_world *w = members();

    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    cr_expect_eq(starts_book_find(&w->nodes[1].met, 2).process, 205);
    cr_expect_eq(starts_book_find(&w->nodes[2].met, 1).process, 105);
    helper_deinit(w);
}

/* Node FORGETFUL of 1 and 2 cannot: there is no link, at neither end. */
static void
expect_no_link(qr_node_id forgetful)
{
    struct helper_world *w = members();
    qr_node_id other = forgetful == 1 ? 2 : 1;

    w->nodes[forgetful].is_forgetful = true;
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    HELPER_UNTIL(w, w->nodes[forgetful].met.count > 0);
    for (unsigned i = 0; i < 20; i++) {
        memset(&w->nodes[forgetful].met, 0, sizeof(struct starts_book));
        memset(&w->nodes[other].met, 0, sizeof(struct starts_book));
        helper_turn(w);
        cr_expect(!helper_is_up(w, forgetful, other));
    }
    helper_deinit(w);
}

Test(members, who_cannot_be_remembered_are_not_linked)
{
    expect_no_link(1);
    expect_no_link(2);
}

Test(members, keep_the_first_of_two_processes_of_one_node)
{
    struct helper_world *w = members();

    w->nodes[3].identity = w->nodes[2].identity; /* a copy, started once more */
    starts_push(&w->nodes[3].identity.starts, 206);
    for (qr_node_id id = 1; id <= 3; id++) {
        helper_start(w, id);
    }
    helper_add(w, 1, 2);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2));
    helper_add(w, 3, 1);
    HELPER_UNTIL(w, helper_logged(w, 1,
                                  "two run on copies of one data "
                                  "directory"));
    cr_expect(helper_is_up(w, 1, 2));
    cr_expect_eq(w->nodes[3].rolled_back, 0);
    helper_deinit(w);
}

Test(members, keep_the_first_though_the_second_is_the_senior)
{
    struct helper_world *w = members();

    w->nodes[1].identity = w->nodes[2].identity; /* of node 2, seen by 3 */
    starts_push(&w->nodes[1].identity.starts, 206);
    for (qr_node_id id = 1; id <= 3; id++) {
        helper_start(w, id);
    }
    helper_add(w, 3, 2);
    HELPER_UNTIL(w, helper_is_up(w, 3, 2));
    helper_add(w, 1, 3);
    HELPER_UNTIL(w, helper_logged(w, 3,
                                  "two run on copies of one data "
                                  "directory"));
    cr_expect(helper_is_up(w, 3, 2));
    cr_expect_eq(w->nodes[2].rolled_back, 0);
    helper_deinit(w);
}

Test(members, tell_a_node_that_it_was_removed)
{
    struct helper_world *w = members();

    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    peers_remove(w->nodes[1].peers, 2);
    HELPER_UNTIL(w, w->nodes[2].removed > 0);
    cr_expect_not_null(strstr(w->nodes[2].unwelcome, "(id 2) was removed"));
    helper_deinit(w);
}

Test(members, believe_only_their_own_cluster_about_themselves)
{
    struct helper_world *w = members();

    memset(&w->nodes[2].identity.cluster, 0, 16);
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    know(w, 1, 2, 6, 206);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_logged(w, 2, "runs on an old copy"));
    cr_expect_eq(w->nodes[2].rolled_back, 0);
    helper_deinit(w);
}

Test(members, let_in_a_member_that_joined_while_they_were_away)
{
    struct helper_world *w = members();

    helper_start(w, 1);
    helper_start(w, 3);
    helper_add(w, 3, 1); /* 1 knows of no node 3 */
    HELPER_UNTIL(w, helper_is_up(w, 1, 3) && helper_is_up(w, 3, 1));
    helper_deinit(w);
}

Test(members, take_a_successor_at_an_old_address_for_what_it_is)
{
    struct helper_world *w = members();

    strcpy(w->nodes[3].identity.node_name, "n2");
    helper_start(w, 1);
    helper_start(w, 3);
    cr_assert_eq(peers_add(w->nodes[1].peers, 2, "n2", "127.0.0.1",
                           w->nodes[3].port, &(struct error){{0}}),
                 0);
    HELPER_UNTIL(w, helper_is_up(w, 1, 3));
    cr_expect(!helper_is_up(w, 1, 2));
    helper_deinit(w);
}

Test(members, take_a_blank_node_for_a_guest_without_a_say)
{
    struct helper_world *w = members();

    memset(&w->nodes[2].identity.cluster, 0, 16);
    w->nodes[2].identity.uuid.bytes[0] = 0xee; /* another disk */
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    peers_known(w->nodes[1].peers, 2, &w->nodes[1].identity.uuid,
                &(struct start_seen){0, 0});
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, w->nodes[1].guests_up > 0 && helper_is_up(w, 2, 1));
    cr_expect(!helper_is_up(w, 1, 2));
    cr_expect_geq(w->nodes[1].guest, LINK_GUEST_FIRST);
    cr_assert(helper_send(w, 2, 1, FRAME_CALL, 1, 10));
    for (int i = 0; i < 20; i++) {
        helper_turn(w);
    }
    cr_expect_eq(w->nodes[1].frames[FRAME_CALL], 0);
    helper_deinit(w);
}
