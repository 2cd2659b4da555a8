/* Which requests of which session were applied, so that one that was proposed
 * again, after a change of leader, takes effect once.
 *
 * A session is one shard of one start of one node; its requests are numbered
 * from 1 and may arrive in any order. What was applied is a set of ranges:
 * one range while nothing is lost. It ends with the start (the node starts
 * again) or with the node; and a number far behind the newest counts as
 * applied, so that the set is bounded. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_state.h"

/* As session_id() of machine/queue packs them. */
static qr_node_id
meta_session_node(uint64_t session)
{
    return (qr_node_id)(session >> 48);
}

static uint32_t
meta_session_boot(uint64_t session)
{
    return (uint32_t)(session >> 16);
}

struct meta_session_record *
meta_session_get(struct meta_machine *m, uint64_t session)
{
    struct meta_session_record *s = map_get(&m->sessions, session);

    ASSERT(m->magic == META_MACHINE_MAGIC);
    if (s == NULL) {
        s = mem_zalloc(1, sizeof(*s));
        s->magic = META_SESSION_MAGIC;
        ranges_init(&s->requests);
        (void)map_put(&m->sessions, session, s);
    }
    OBJ_CHECK(s, META_SESSION_MAGIC);
    return s;
}

static void
meta_session_free(struct meta_session_record *s)
{
    OBJ_CHECK(s, META_SESSION_MAGIC);
    ranges_deinit(&s->requests);
    s->magic = 0;
    mem_free(s);
}

enum meta_request_state
meta_session_note(struct meta_machine *m, uint64_t session, uint64_t request)
{
    const struct meta_node_record *node =
        meta_node_get(m, meta_session_node(session));
    struct meta_session_record *s = NULL;
    struct ranges *r = NULL;
    uint64_t newest = 0;

    ASSERT(m->magic == META_MACHINE_MAGIC);
    if (meta_session_node(session) == 0) {
        return META_REQUEST_NEW;
    }
    if (node != NULL &&
        (node->pub.is_removed || meta_session_boot(session) < node->pub.boot)) {
        return META_REQUEST_STALE;
    }
    if (map_get(&m->sessions, session) == NULL &&
        m->sessions.count >= META_SESSIONS_MAX) {
        return META_REQUEST_NEW;
    }
    s = meta_session_get(m, session);
    r = &s->requests;
    newest = r->count > 0 ? r->items[r->count - 1].last : 0;
    if (ranges_has(r, request) || (newest > META_REQUESTS_BACK &&
                                   request <= newest - META_REQUESTS_BACK)) {
        return META_REQUEST_APPLIED;
    }
    ranges_add(r, request, request);
    newest = r->items[r->count - 1].last;
    if (newest > META_REQUESTS_BACK &&
        r->items[0].first <= newest - META_REQUESTS_BACK) {
        ranges_remove(r, r->items[0].first, newest - META_REQUESTS_BACK);
    }
    ASSERT(r->count > 0);
    return META_REQUEST_NEW;
}

void
meta_session_drop(struct meta_machine *m, qr_node_id node, uint32_t boot)
{
    uint64_t *sessions = map_keys_sorted(&m->sessions);
    size_t count = m->sessions.count;

    ASSERT(node != 0);
    for (size_t i = 0; i < count; i++) {
        if (meta_session_node(sessions[i]) == node &&
            meta_session_boot(sessions[i]) < boot) {
            meta_session_free(map_remove(&m->sessions, sessions[i]));
        }
    }
    mem_free(sessions);
    ASSERT(m->sessions.count <= count);
}

void
meta_sessions_free(struct meta_machine *m)
{
    uint64_t session = 0;
    size_t pos = 0;
    struct meta_session_record *s = NULL;

    ASSERT(m->magic == META_MACHINE_MAGIC);
    map_foreach (&m->sessions, pos, session, s) {
        meta_session_free(s);
    }
    map_deinit(&m->sessions);
    ASSERT(m->sessions.count == 0);
}
