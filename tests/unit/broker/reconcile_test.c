/* What the reconciler decides, group by group. */
#include "broker/reconcile.h"
#include "lib/harness.h"

enum {
    A = 1,
    B = 2,
    C = 3,
    D = 4
};

/* Voters A, B and C of incarnation 1, led by A, as the metadata have them; all
 * nodes are up. */
struct rig {
    struct reconcile_view view;
    struct meta_member told[QR_MEMBERS_MAX];
};

static void
put(struct rig *r, size_t i, qr_replica_id id, enum qr_role role)
{
    r->view.members[i] =
        (struct reconcile_member){.member = {id, role}, .is_up = true};
    r->told[i] =
        (struct meta_member){.replica = id, .is_voter = role == QR_ROLE_VOTER};
}

static struct rig
three(void)
{
    struct rig r = {.view = {.members_count = 3,
                             .self = qr_replica(A, 1),
                             .wanted = 3,
                             .voters_max = 7,
                             .candidates = {A, B, C},
                             .candidates_count = 3,
                             .incarnation = 2,
                             .is_told = true,
                             .told_count = 3}};

    for (qr_node_id n = A; n <= C; n++) {
        put(&r, n - 1, qr_replica(n, 1), QR_ROLE_VOTER);
    }
    return r;
}

static void
expect(struct rig *r, enum reconcile_kind kind, qr_replica_id replica)
{
    struct reconcile_step step;

    r->view.told = r->told;
    step = reconcile_next(&r->view);
    cr_expect_eq(step.kind, kind);
    cr_expect_eq(step.replica, replica);
}

Test(reconcile, leaves_a_whole_group_alone)
{
    struct rig r = three();

    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, leaves_a_member_that_is_down_alone)
{
    struct rig r = three();

    r.view.candidates_count = 2;
    r.view.members[2].is_up = false;
    expect(&r, RECONCILE_NOTHING, 0);
    r.view.candidates[2] = D;
    r.view.candidates_count = 3;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, removes_what_is_on_a_removed_node_first)
{
    struct rig r = three();

    r.view.members[1].is_gone = true;
    expect(&r, RECONCILE_REMOVE, qr_replica(B, 1));
    r.view.wanted = 5;
    expect(&r, RECONCILE_REMOVE, qr_replica(B, 1));
}

Test(reconcile, replaces_a_lost_replica_by_the_next_incarnation)
{
    struct rig r = three();

    r.view.members[2].is_lost = true;
    expect(&r, RECONCILE_REMOVE, qr_replica(C, 1));
    r.view.members_count = 2;
    expect(&r, RECONCILE_TELL, 0);
    r.view.told_count = 2;
    r.view.incarnation = 3;
    expect(&r, RECONCILE_ADD, qr_replica(C, 3));
}

Test(reconcile, never_removes_the_leader)
{
    struct rig r = three();

    r.view.members[0].is_gone = true;
    r.view.members[0].is_lost = true;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, tells_the_metadata_before_it_goes_on)
{
    struct rig r = three();

    r.view.members_count = 4;
    put(&r, 3, qr_replica(D, 2), QR_ROLE_LEARNER);
    expect(&r, RECONCILE_TELL, 0);
    r.view.told_count = 4;
    expect(&r, RECONCILE_PROMOTE, qr_replica(D, 2));
    r.view.members[3].member.role = QR_ROLE_VOTER;
    expect(&r, RECONCILE_TELL, 0);
    r.told[3].is_voter = true;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, removes_an_incarnation_that_is_over)
{
    struct rig r = three();

    r.view.incarnation = 4;
    r.view.members_count = 4;
    put(&r, 3, qr_replica(D, 3), QR_ROLE_LEARNER);
    expect(&r, RECONCILE_REMOVE, qr_replica(D, 3));
}

Test(reconcile, promotes_one_whose_node_is_up)
{
    struct rig r = three();

    put(&r, 2, qr_replica(C, 1), QR_ROLE_LEARNER);
    r.view.members[2].is_up = false;
    expect(&r, RECONCILE_NOTHING, 0);
    r.view.members[2].is_up = true;
    expect(&r, RECONCILE_PROMOTE, qr_replica(C, 1));
}

Test(reconcile, promotes_no_more_than_may_vote)
{
    struct rig r = three();

    put(&r, 2, qr_replica(C, 1), QR_ROLE_LEARNER);
    r.view.voters_max = 2;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, adds_on_the_first_node_that_has_none)
{
    struct rig r = three();

    r.view.members_count = 2;
    r.view.told_count = 2;
    r.view.candidates[2] = D;
    expect(&r, RECONCILE_ADD, qr_replica(D, 2));
}

Test(reconcile, waits_while_too_few_nodes_are_up)
{
    struct rig r = three();

    r.view.members_count = 2;
    r.view.told_count = 2;
    r.view.candidates_count = 2;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, keeps_to_the_most_members_of_a_group)
{
    struct rig r = three();

    for (qr_node_id n = D; n <= QR_MEMBERS_MAX; n++) {
        put(&r, n - 1, qr_replica(n, 1), QR_ROLE_VOTER);
    }
    r.view.members_count = QR_MEMBERS_MAX;
    r.view.told_count = QR_MEMBERS_MAX;
    r.view.wanted = 9;
    r.view.candidates[0] = 9;
    r.view.candidates_count = 1;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, needs_nobody_to_tell_for_the_metadata_themselves)
{
    struct rig r = three();

    r.view.is_told = false;
    r.view.told_count = 0;
    r.view.incarnation = 1;
    r.view.wanted = 4;
    r.view.candidates[3] = D;
    r.view.candidates_count = 4;
    expect(&r, RECONCILE_ADD, qr_replica(D, 1));
}

/* The same, of the metadata. */
static struct rig
metadata(void)
{
    struct rig r = three();

    r.view.is_told = false;
    r.view.told_count = 0;
    r.view.incarnation = 1;
    r.view.is_metadata = true;
    return r;
}

Test(reconcile, renews_the_node_that_lost_its_metadata)
{
    struct rig r = metadata();

    r.view.members[1].is_lost = true;
    expect(&r, RECONCILE_RENEW, qr_replica(B, 1));
    put(&r, 1, qr_replica(B, 1), QR_ROLE_LEARNER);
    r.view.members[1].is_lost = true;
    expect(&r, RECONCILE_RENEW, qr_replica(B, 1));
}

Test(reconcile, makes_the_group_whole_before_it_renews_a_node)
{
    struct rig r = metadata();

    r.view.members[1].is_lost = true;
    r.view.wanted = 4;
    r.view.candidates[3] = D;
    r.view.candidates_count = 4;
    expect(&r, RECONCILE_ADD, qr_replica(D, 1));
    r.view.members_count = 4;
    put(&r, 3, qr_replica(D, 1), QR_ROLE_LEARNER);
    expect(&r, RECONCILE_PROMOTE, qr_replica(D, 1));
    put(&r, 3, qr_replica(D, 1), QR_ROLE_VOTER);
    expect(&r, RECONCILE_RENEW, qr_replica(B, 1));
}

Test(reconcile, renews_no_node_that_is_down)
{
    struct rig r = metadata();

    r.view.members[1].is_lost = true;
    r.view.members[1].is_up = false;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, renews_nobody_without_a_majority_that_remembers)
{
    struct rig r = metadata();

    r.view.members[1].is_lost = true;
    r.view.members[2].is_lost = true;
    expect(&r, RECONCILE_NOTHING, 0);
    r.view.members[2].is_lost = false;
    r.view.members[2].is_up = false;
    expect(&r, RECONCILE_NOTHING, 0);
    r.view.members_count = 2; /* of two, both are needed */
    r.view.wanted = 2;
    expect(&r, RECONCILE_NOTHING, 0);
}

Test(reconcile, renews_after_what_is_on_removed_nodes_has_gone)
{
    struct rig r = metadata();

    r.view.members[1].is_lost = true;
    r.view.members[1].is_gone = true;
    expect(&r, RECONCILE_REMOVE, qr_replica(B, 1));
}
