/* Who is up; see nodes.h. */
#include "broker/nodes.h"

#include <string.h>

#include "base/check.h"

void
nodes_init(struct nodes *n)
{
    memset(n, 0, sizeof(*n));
}

struct node_state *
nodes_get(struct nodes *n, qr_node_id node)
{
    ASSERT(node != 0);
    for (size_t i = 0; i < n->count; i++) {
        if (n->items[i].node == node) {
            return &n->items[i];
        }
    }
    for (size_t i = 0; n->count == NODES_MAX && i < NODES_MAX; i++) {
        if (n->items[i].is_removed) {
            n->items[i] = (struct node_state){.node = node};
            return &n->items[i];
        }
    }
    if (n->count == NODES_MAX) {
        return NULL;
    }
    n->items[n->count].node = node;
    return &n->items[n->count++];
}

/* Starts of S's process up to BOOT are dead; says whether that is news. */
static bool
mark_dead(struct node_state *s, uint32_t boot)
{
    if (boot <= s->boot_dead) {
        return false;
    }
    s->boot_dead = boot;
    return true;
}

struct node_state *
nodes_known(struct nodes *n, qr_node_id node, uint32_t boot, uint64_t now_ms)
{
    struct node_state *s = nodes_get(n, node);

    if (s == NULL) {
        return NULL;
    }
    s->boot = MAX(s->boot, boot);
    if (!s->is_linked && s->lost_ms == 0) {
        s->lost_ms = MAX(now_ms, 1U);
    }
    return s->boot > 0 && mark_dead(s, s->boot - 1) ? s : NULL;
}

struct node_state *
nodes_removed(struct nodes *n, qr_node_id node)
{
    struct node_state *s = nodes_get(n, node);

    if (s == NULL) {
        return NULL;
    }
    s->is_removed = true;
    return mark_dead(s, UINT32_MAX) ? s : NULL;
}

bool
nodes_is_dead(const struct nodes *n, qr_node_id node, uint32_t boot)
{
    for (size_t i = 0; i < n->count; i++) {
        if (n->items[i].node == node) {
            return boot <= n->items[i].boot_dead;
        }
    }
    return false;
}

struct node_state *
nodes_link_event(struct nodes *n, enum link_event event,
                 const struct link_peer *peer, uint64_t now_ms)
{
    struct node_state *s = nodes_get(n, peer->node);
    bool is_news = false;

    if (s == NULL || s->is_removed) {
        return NULL;
    }
    switch (event) {
    case LINK_UP:
        s->is_linked = true;
        s->boot = MAX(s->boot, peer->boot);
        if (s->boot > 0 && s->boot_dead >= s->boot) {
            s->boot_dead = s->boot - 1;
        }
        is_news = s->boot > 0 && mark_dead(s, s->boot - 1);
        break;
    case LINK_DOWN:
    case LINK_SILENT:
        if (s->is_linked || s->lost_ms == 0) {
            s->lost_ms = now_ms;
        }
        s->is_linked = event == LINK_SILENT && s->is_linked;
        break;
    case LINK_REFUSED:
        s->is_linked = false;
        if (s->lost_ms == 0) {
            s->lost_ms = now_ms;
        }
        is_news = mark_dead(s, s->boot);
        break;
    }
    return is_news ? s : NULL;
}

struct node_state *
nodes_expire(struct nodes *n, uint64_t now_ms)
{
    for (size_t i = 0; i < n->count; i++) {
        struct node_state *s = &n->items[i];

        if (!s->is_linked && s->lost_ms != 0 &&
            now_ms - s->lost_ms >= NODES_LOST_MS && mark_dead(s, s->boot)) {
            return s;
        }
    }
    return NULL;
}
