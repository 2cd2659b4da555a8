/* Links and shards. The links live on shard 0; what they bring is mailed to
 * the shard it is for, shard 0 included, so that every shard sees a link's
 * events and frames in one order, at one point of its turn.
 *
 * A shard that does not keep up is not allowed to fill the memory: when a
 * mailbox is half full, links are not read until it is not. */
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/net.h"
#include "shard/runtime_internal.h"

static void
runtime_links_on_frame(void *arg, const struct link_peer *peer,
                       struct frame **frame)
{
    struct runtime *rt = arg;
    struct mail mail = {.kind = MAIL_IN, .node = peer->node};
    uint16_t to = (*frame)->to_shard;

    if (to == FRAME_TO_GROUP) {
        to = env_shard_of((*frame)->group, rt->shards_count);
    }
    if (to >= rt->shards_count) {
        log_warning(rt->log, "peer",
                    "node %u sent a frame for shard %u; this node has %u: "
                    "dropped",
                    peer->node, to, rt->shards_count);
        return;
    }
    mail.frame = *frame;
    *frame = NULL;
    link_gauge_add_mt(&rt->shards[to].box.gauge, mail.frame->klass,
                      frame_size(mail.frame));
    shard_mail(&rt->shards[0], &rt->shards[to], &mail);
}

static void
runtime_links_on_link(void *arg, enum link_event event,
                      const struct link_peer *peer, struct link_gauge *gauge)
{
    struct runtime *rt = arg;

    for (uint16_t i = 0; i < rt->shards_count; i++) {
        struct link_news *news = mem_zalloc(1, sizeof(*news));
        struct mail mail = {
            .kind = MAIL_LINK, .node = peer->node, .news = news};

        news->event = event;
        news->peer = *peer;
        news->gauge = gauge;
        shard_mail(&rt->shards[0], &rt->shards[i], &mail);
    }
}

static void
runtime_links_on_unwelcome(void *arg, bool is_rolled_back, const char *text)
{
    struct runtime *rt = arg;

    if (rt->events.on_unwelcome != NULL) {
        rt->events.on_unwelcome(rt->events.arg, is_rolled_back, text);
    }
}

static bool
runtime_links_on_start(void *arg, qr_node_id node,
                       const struct start_seen *seen)
{
    struct runtime *rt = arg;

    return rt->events.on_seen == NULL ||
           rt->events.on_seen(rt->events.arg, node, seen);
}

static void
runtime_links_on_crowd_timer(void *arg)
{
    (void)arg; /* each turn looks at the mailboxes */
}

void
runtime_links_init(struct runtime *rt, const struct peers_proof *proof)
{
    struct peers_events events = {.arg = rt,
                                  .on_frame = runtime_links_on_frame,
                                  .on_link = runtime_links_on_link,
                                  .on_unwelcome = runtime_links_on_unwelcome,
                                  .on_start = runtime_links_on_start};

    timer_init(&rt->crowd_timer, runtime_links_on_crowd_timer, rt);
    if (proof->secret != NULL || proof->tls != NULL) {
        rt->peers = peers_new(rt->shards[0].net, rt->log, &rt->identity, proof,
                              &rt->limits, &events);
    }
}

/* Whether a mailbox is so full that links should wait. */
static bool
runtime_links_is_crowded(const struct runtime *rt)
{
    for (uint16_t i = 0; i < rt->shards_count; i++) {
        const struct link_gauge *gauge = &rt->shards[i].box.gauge;

        for (unsigned klass = 0; klass < FRAME_CLASS_COUNT; klass++) {
            size_t waiting = atomic_load_explicit(&gauge->waiting[klass],
                                                  memory_order_relaxed);

            if (waiting > gauge->window[klass] / 2) {
                return true;
            }
        }
    }
    return false;
}

void
runtime_links_turn(struct runtime *rt)
{
    bool crowded = false;

    if (rt->peers == NULL) {
        return;
    }
    crowded = runtime_links_is_crowded(rt);
    if (crowded != rt->links_paused) {
        rt->links_paused = crowded;
        peers_pause(rt->peers, crowded);
    }
    if (crowded) { /* look again soon */
        struct env *env = &rt->shards[0].env;

        timers_start(&env->timers, &rt->crowd_timer,
                     env->ops->now_ms(env) + RUNTIME_CROWDED_MS);
    }
    peers_flush(rt->peers);
}

void
runtime_links_close(struct runtime *rt)
{
    if (rt->peers != NULL) {
        peers_close(rt->peers, NULL, NULL);
    }
}

void
runtime_links_deinit(struct runtime *rt)
{
    peers_free(&rt->peers);
}

struct link_view *
runtime_links_view(const struct shard *s, qr_node_id node)
{
    return map_get(&s->views, node);
}

void
runtime_links_news(struct shard *s, const struct link_news *news)
{
    struct link_view *view = runtime_links_view(s, news->peer.node);

    if (view == NULL) {
        view = mem_zalloc(1, sizeof(*view));
        (void)map_put(&s->views, news->peer.node, view);
    }
    view->gauge = news->gauge;
    if (news->event == LINK_UP) {
        view->up = true;
        view->epoch = news->peer.epoch;
    } else if (news->event == LINK_DOWN) {
        view->up = false;
    }
    env_link_event(&s->env, news->event, &news->peer);
}
