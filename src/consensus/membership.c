/* Changes of members, one at a time, and moving the leadership.
 *
 * The public calls check and note what is wanted; the turn hook does it, since
 * they may come from within a machine's callback. The rules (thesis 4, and
 * what the library needs):
 *
 *   - no change before an entry of the leader's own term is committed (a
 *     serving leader has one), nor while another is not yet committed;
 *   - one server for each change, the others in the order they had: swapping
 *     two made false acknowledgements in 99 of 888 runs;
 *   - a new member is a learner (the library's STANDBY) first, and is made a
 *     voter when it has caught up;
 *   - a leader never removes itself: it transfers the leadership first;
 *   - an id is never used again, so that removal is final. */
#include <quorate/error.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "consensus/internal.h"

static const struct raft_server *
server_find(const struct qr_group *g, qr_replica_id id)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n; i++) {
        if (c->servers[i].id == id) {
            return &c->servers[i];
        }
    }
    return NULL;
}

/* Whether a change or a transfer may be asked for. */
static int
check_free(const struct qr_group *g)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_serving || g->is_leaving) {
        return -QR_ENOTLEADER;
    }
    if (g->intent != INTENT_NONE ||
        g->raft.configuration_uncommitted_index != 0 ||
        raft_transferee(&g->raft) != 0 ||
        g->raft.leader_state.promotee_id != 0) {
        return -QR_EBUSY;
    }
    return 0;
}

static void
intend(struct qr_group *g, enum intent intent, qr_replica_id replica)
{
    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(g->intent == INTENT_NONE);
    g->intent = intent;
    g->intent_replica = replica;
    host_attend(g);
}

int
qr_group_transfer(struct qr_group *g, qr_node_id node)
{
    const struct raft_configuration *c;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    rv = check_free(g);
    if (rv != 0) {
        return rv;
    }
    c = &g->raft.configuration;
    for (unsigned i = 0; i < c->n; i++) {
        if (qr_replica_node(c->servers[i].id) == node &&
            c->servers[i].role == RAFT_VOTER && c->servers[i].id != g->self) {
            intend(g, INTENT_TRANSFER, c->servers[i].id);
            return 0;
        }
    }
    return -QR_ENOENT;
}

int
qr_group_add(struct qr_group *g, qr_replica_id replica)
{
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (qr_replica_node(replica) == 0) {
        return -QR_EINVAL;
    }
    rv = check_free(g);
    if (rv != 0) {
        return rv;
    }
    if (server_find(g, replica) != NULL) {
        return -QR_EEXIST;
    }
    if (g->raft.configuration.n >= QR_MEMBERS_MAX) {
        return -QR_EINVAL;
    }
    intend(g, INTENT_ADD, replica);
    return 0;
}

int
qr_group_promote(struct qr_group *g, qr_replica_id replica)
{
    const struct raft_server *s;
    int status = RAFT_CATCH_UP_NONE;
    raft_index match = 0;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    rv = check_free(g);
    if (rv != 0) {
        return rv;
    }
    s = server_find(g, replica);
    if (s == NULL) {
        return -QR_ENOENT;
    }
    if (s->role == RAFT_VOTER) {
        return -QR_EEXIST;
    }
    rv = raft_catch_up(&g->raft, replica, &status);
    ASSERT(rv == 0);
    rv = raft_match_index(&g->raft, replica, &match);
    ASSERT(rv == 0);
    /* The library counts rounds only while entries flow: of an idle group a
     * learner that has everything would never finish one. */
    if (status == RAFT_CATCH_UP_FINISHED || match == g->last) {
        intend(g, INTENT_PROMOTE, replica);
        return 0;
    }
    intend(g, INTENT_CATCH_UP, replica);
    return -QR_EBUSY;
}

/* Whether a majority of the voters without REPLICA can be reached: otherwise
 * its removal could not commit, and nothing after it. */
static bool
keeps_quorum(const struct qr_group *g, qr_replica_id replica)
{
    const struct raft_configuration *c = &g->raft.configuration;
    struct env *env = g->host->env;
    unsigned voters = 0;
    unsigned able = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    for (unsigned i = 0; i < c->n; i++) {
        qr_replica_id id = c->servers[i].id;

        if (id == replica || c->servers[i].role != RAFT_VOTER) {
            continue;
        }
        voters++;
        able +=
            id == g->self || (env->ops->is_linked(env, qr_replica_node(id)) &&
                              !lost_is_known(g, id));
    }
    return 2 * able > voters;
}

int
qr_group_remove(struct qr_group *g, qr_replica_id replica)
{
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    rv = check_free(g);
    if (rv != 0) {
        return rv;
    }
    if (replica == g->self) {
        return -QR_EINVAL;
    }
    if (server_find(g, replica) == NULL) {
        return -QR_ENOENT;
    }
    if (!keeps_quorum(g, replica)) {
        return -QR_ENOQUORUM;
    }
    intend(g, INTENT_REMOVE, replica);
    return 0;
}

/* ---- doing it ---- */

static void
add_server(struct raft_configuration *c, qr_replica_id id, int role)
{
    char address[ADDRESS_SIZE];
    int rv;

    host_address(id, address);
    rv = raft_configuration_add(c, id, address, role);
    ASSERT(rv == 0);
}

/* The configuration after INTENT, in the order of the one before. */
static void
configuration_after(const struct qr_group *g, enum intent intent,
                    qr_replica_id replica, struct raft_configuration *out)
{
    const struct raft_configuration *c = &g->raft.configuration;

    OBJ_CHECK(g, GROUP_MAGIC);
    raft_configuration_init(out);
    for (unsigned i = 0; i < c->n; i++) {
        const struct raft_server *s = &c->servers[i];
        int role = s->role;

        if (s->id == replica && intent == INTENT_REMOVE) {
            continue;
        }
        if (s->id == replica && intent == INTENT_PROMOTE) {
            role = RAFT_VOTER;
        }
        add_server(out, s->id, role);
    }
    if (intent == INTENT_ADD) {
        add_server(out, replica, RAFT_STANDBY);
    }
}

static void
submit_change(struct qr_group *g, enum intent intent, qr_replica_id replica)
{
    struct raft_configuration c;
    struct raft_buffer b;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    configuration_after(g, intent, replica, &c);
    rv = raft_configuration_encode(&c, &b);
    ASSERT(rv == 0);
    raft_configuration_close(&c);
    g->host->bodies[0] = slice_copy(b.base, b.len);
    raft_free(b.base);
    g->host->entries[0].type = RAFT_CHANGE;
    /* It may have become impossible meanwhile; the owner sees no change. */
    rv = replica_submit(g, 1);
    ASSERT(rv == 0 || rv == RAFT_CANTCHANGE || rv == RAFT_NOTLEADER);
}

/* CATCH_UP is for a server that exists and no other is busy with. */
static void
catch_up(struct qr_group *g, qr_replica_id replica)
{
    struct raft_event event = {.type = RAFT_CATCH_UP};
    int status = RAFT_CATCH_UP_NONE;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (raft_catch_up(&g->raft, replica, &status) != 0 ||
        status == RAFT_CATCH_UP_RUNNING ||
        g->raft.leader_state.promotee_id != 0) {
        return;
    }
    event.catch_up.server_id = replica;
    rv = replica_step(g, &event, NULL);
    ASSERT(rv == 0);
}

/* TRANSFER works when the target has everything; otherwise the library waits
 * for it, for one election time-out, and refuses proposals meanwhile. */
static void
transfer(struct qr_group *g, qr_replica_id replica)
{
    struct raft_event event = {.type = RAFT_TRANSFER};
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    event.transfer.server_id = replica;
    rv = replica_step(g, &event, NULL);
    ASSERT(rv == 0 || rv == RAFT_NOTLEADER || rv == RAFT_BADID);
}

void
membership_act(struct qr_group *g)
{
    enum intent intent = g->intent;
    qr_replica_id replica = g->intent_replica;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (intent == INTENT_NONE) {
        return;
    }
    g->intent = INTENT_NONE;
    if (!g->is_serving) {
        return;
    }
    switch (intent) {
    case INTENT_TRANSFER:
        transfer(g, replica);
        break;
    case INTENT_CATCH_UP:
        catch_up(g, replica);
        break;
    case INTENT_ADD:
    case INTENT_PROMOTE:
    case INTENT_REMOVE:
        submit_change(g, intent, replica);
        break;
    case INTENT_NONE:
    default:
        break;
    }
    replica_settle(g);
}

/* A voter that is linked and has all that we have; 0: there is none. *LINKED:
 * how many other voters are. */
static qr_replica_id
equal_voter(const struct qr_group *g, unsigned *linked)
{
    const struct raft_configuration *c = &g->raft.configuration;
    struct env *env = g->host->env;
    qr_replica_id found = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    *linked = 0;
    for (unsigned i = 0; i < c->n; i++) {
        qr_replica_id id = c->servers[i].id;
        raft_index match = 0;

        if (id == g->self || c->servers[i].role != RAFT_VOTER ||
            !env->ops->is_linked(env, qr_replica_node(id))) {
            continue;
        }
        (*linked)++;
        if (raft_match_index(&g->raft, id, &match) == 0 && match == g->last) {
            found = id;
        }
    }
    return found;
}

bool
membership_hand_on(struct qr_group *g, qr_replica_id heir)
{
    raft_index match = 0;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(heir != g->self);
    if (check_free(g) != 0 || raft_match_index(&g->raft, heir, &match) != 0 ||
        match != g->last) {
        return false;
    }
    intend(g, INTENT_TRANSFER, heir);
    return true;
}

void
membership_yield(struct qr_group *g)
{
    const struct raft_configuration *c = &g->raft.configuration;
    unsigned voters = 0;
    unsigned linked;
    qr_replica_id heir;

    OBJ_CHECK(g, GROUP_MAGIC);
    ASSERT(replica_is_leader(g));
    if (raft_transferee(&g->raft) != 0) {
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        voters += c->servers[i].role == RAFT_VOTER;
    }
    heir = equal_voter(g, &linked);
    if (heir != 0) {
        transfer(g, heir);
        replica_settle(g);
    } else if (2 * linked > voters) {
        /* They can do without us and our log, which nobody else has. */
        g->must_restart = true;
        replica_stop(g);
        host_await(g, g->last_batch);
    }
}

/* A replica that was removed does not get the entry that says so: the leader
 * stops replicating to it at once. Tell it when it speaks. Only a serving
 * leader whose configuration is committed knows; the term tells the receiver
 * whether that is the last word. */
void
membership_disown(struct qr_group *g, qr_replica_id replica)
{
    Raft__Notice n = RAFT__NOTICE__INIT;

    OBJ_CHECK(g, GROUP_MAGIC);
    if (!g->is_serving || g->raft.configuration_uncommitted_index != 0 ||
        server_find(g, replica) != NULL) {
        return;
    }
    n.reason = RAFT__NOTICE__REASON__REMOVED;
    n.group = g->id;
    n.replica = replica;
    n.term = raft_current_term(&g->raft);
    host_notice(g->host, qr_replica_node(replica), &n);
}
