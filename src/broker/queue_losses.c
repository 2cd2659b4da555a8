/* What of a queue has rotted on every node that had it.
 *
 * The host asks all members for an entry that is damaged, and says when all
 * have answered that they do not have it. The leader then commits SET_ASIDE:
 * from there on the messages of that entry are lost by decision of the group,
 * the same on every replica, and those behind them are delivered. A member that
 * cannot be asked may have them: until it answers, or is removed from the
 * cluster, nothing is set aside.
 *
 * What was set aside the log does without from the next snapshot on. It is
 * taken at once: an entry that is in no snapshot is applied again after a
 * start, and nobody could. */
#include <quorate/error.h>
#include <quorate/host.h>

#include "base/log.h"
#include "broker/queue_group_priv.h"
#include "machine/queue/queue_command.h"
#include "shard/env.h"

/* What is missing, applied here, and not proposed by us: into OUT. */
static void
choose(const struct queue_group *g, struct ranges *out)
{
    struct qr_group_status status;
    qr_index at = 1;

    qr_group_status(g->raft, &status);
    while (out->count < QUEUE_RANGES_MAX) {
        at = qr_group_missing_next(g->raft, at);
        if (at == 0 || at > status.applied) {
            return;
        }
        if (!ranges_has(&g->asides, at)) {
            ranges_add(out, at, at);
        }
        at++;
    }
}

void
queue_group_set_aside(struct queue_group *g)
{
    struct env *env = g->broker->env;
    struct ranges entries;
    struct slice piece;
    struct buf command;
    int rv;

    OBJ_CHECK(g, GROUP_MAGIC);
    g->must_set_aside = false;
    if (!g->standing.is_leader) {
        return; /* whoever comes to lead looks for itself */
    }
    ranges_init(&entries);
    choose(g, &entries);
    if (entries.count > 0) {
        buf_init(&command);
        queue_put_set_aside(&command, &entries);
        piece = slice_copy(command.data, command.size);
        buf_deinit(&command);
        rv = qr_group_propose(g->raft, &piece, 1);
        slice_unref(&piece);
        for (size_t i = 0; rv == 0 && i < entries.count; i++) {
            ranges_add(&g->asides, entries.items[i].first,
                       entries.items[i].last);
        }
        /* More than one command holds, or no room for it now: once more. */
        if (rv == -QR_EBUSY || entries.count == QUEUE_RANGES_MAX) {
            g->must_set_aside = true;
            timers_start(&env->timers, &g->retry,
                         env->ops->now_ms(env) + OUTBOX_UNREADABLE_MS);
        }
    }
    ranges_deinit(&entries);
}

/* Name the queue and what LOSS says. */
static void
say(struct queue_group *g, const struct queue_loss *loss, uint64_t lost)
{
    const struct broker *b = g->broker;
    const struct meta_queue *queue = meta_queue_by_group(b->meta, g->id);
    struct meta_text name = queue == NULL ? meta_text("", 0) : queue->name;
    struct meta_text vhost = queue == NULL ? meta_text("", 0) : queue->vhost;

    log_error(
        b->log, "queue",
        "queue '%.*s' in vhost '%.*s' (group %llu): %llu messages of "
        "entries %llu to %llu of its log have rotted on every node and "
        "are lost%s; those behind them are delivered. 'quoratectl "
        "quorum_status %.*s' says what is missing: have it published again",
        (int)name.size, name.data, (int)vhost.size, vhost.data,
        (unsigned long long)g->id, (unsigned long long)lost,
        (unsigned long long)loss->first, (unsigned long long)loss->last,
        loss->is_unknown ? ", with commands of which nobody knows what "
                           "they were"
                         : "",
        (int)name.size, name.data);
}

void
queue_group_note_losses(struct queue_group *g, uint64_t losses, uint64_t lost)
{
    struct queue_counts now;
    const struct queue_loss *items;
    size_t count;

    queue_machine_counts(g->machine, &now);
    if (now.losses == losses && now.lost == lost) {
        return;
    }
    count = queue_machine_losses(g->machine, &items);
    if (count > 0 && (now.lost > lost || items[count - 1].is_unknown)) {
        say(g, &items[count - 1], now.lost - lost);
    }
    if (g->raft != NULL) { /* else it is being opened */
        qr_group_snapshot(g->raft);
    }
    queue_group_dirty(g); /* deliveries that waited for it */
}
