/* Registration and delivery, the same for every runtime: rooms take ranges of
 * frame kinds, and hear of links and turns in the order they registered. */
#include "shard/env.h"

#include "base/check.h"

static bool
env_hears(const struct env_handler *handler, const struct link_peer *peer)
{
    return handler->on_link != NULL &&
           (handler->hears_guests || peer->node < LINK_GUEST_FIRST);
}

void
env_register(struct env *env, const struct env_handler *handler)
{
    ASSERT(env->handlers_count < ENV_HANDLERS_MAX);
    ASSERT(handler->kind_first <= handler->kind_limit);
    ASSERT(handler->kind_limit <= FRAME_KIND_LIMIT);
    ASSERT_IMPLIES(handler->kind_first < handler->kind_limit,
                   handler->on_frame != NULL);
    for (size_t i = 0; i < env->handlers_count; i++) {
        const struct env_handler *h = &env->handlers[i];

        /* Two rooms that both want a kind: one would never see its frames. */
        ASSERT(handler->kind_first >= h->kind_limit ||
               h->kind_first >= handler->kind_limit);
    }
    env->handlers[env->handlers_count++] = *handler;
    for (size_t i = 0; i < env->links_count; i++) {
        if (env_hears(handler, &env->links[i])) {
            handler->on_link(handler->arg, LINK_UP, &env->links[i]);
        }
    }
}

/* Keep the table of live links, for handlers that are registered later. */
static void
env_note_link(struct env *env, enum link_event event,
              const struct link_peer *peer)
{
    size_t i = 0;

    while (i < env->links_count && env->links[i].node != peer->node) {
        i++;
    }
    if (event == LINK_UP) {
        ASSERT(i < QR_NODES_MAX);
        env->links[i] = *peer;
        env->links_count = MAX(env->links_count, i + 1);
    } else if (event != LINK_SILENT && i < env->links_count) {
        env->links[i] = env->links[--env->links_count];
    }
}

const struct env_handler *
env_handler(const struct env *env, uint16_t kind)
{
    for (size_t i = 0; i < env->handlers_count; i++) {
        const struct env_handler *h = &env->handlers[i];

        if (kind >= h->kind_first && kind < h->kind_limit) {
            return h;
        }
    }
    return NULL;
}

void
env_link_event(struct env *env, enum link_event event,
               const struct link_peer *peer)
{
    /* One that registers meanwhile hears of it by registering. */
    size_t count = env->handlers_count;

    env_note_link(env, event, peer);
    for (size_t i = 0; i < count; i++) {
        const struct env_handler *h = &env->handlers[i];

        if (env_hears(h, peer)) {
            h->on_link(h->arg, event, peer);
        }
    }
}

void
env_run_turn(struct env *env)
{
    for (size_t i = 0; i < env->handlers_count; i++) {
        const struct env_handler *h = &env->handlers[i];

        if (h->on_turn != NULL) {
            h->on_turn(h->arg);
        }
    }
}
