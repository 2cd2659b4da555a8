/* Prefetch and settlement. */
#include <inttypes.h>

#include "amqp/channel.h"

void
amqp_qos(struct amqp_channel *ch, const struct amqp_method *m)
{
    if (m->basic_qos.prefetch_size != 0) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED, "prefetch_size!=0 (%u)",
                          m->basic_qos.prefetch_size);
        return;
    }
    /* Shared by the channel's consumers; no limit is no limit. */
    if (m->basic_qos.global && m->basic_qos.prefetch_count != 0) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED,
                          "basic.qos with global=true");
        return;
    }
    ch->listed.prefetch = m->basic_qos.prefetch_count;
    ch->is_nowait = false;
    amqp_channel_answer(ch, AMQP_basic_qos_ok);
}

struct settle {
    struct amqp_channel *ch;
    enum broker_outcome outcome;
};

static void
settle_run(void *arg, void *holder, uint64_t first, uint64_t last)
{
    const struct settle *settle = arg;

    amqp_consumer_settle(holder, first, last, settle->outcome);
}

static void
settle_tags(struct amqp_channel *ch, uint64_t tag, bool multiple,
            enum broker_outcome outcome)
{
    struct settle settle = {ch, outcome};

    if (!unacked_settle(&ch->unacked, tag, multiple, settle_run, &settle)) {
        amqp_channel_fail(ch, AMQP_PRECONDITION_FAILED,
                          "unknown delivery tag %" PRIu64, tag);
        return;
    }
    ch->listed.unacknowledged = ch->unacked.live;
}

void
amqp_ack(struct amqp_channel *ch, const struct amqp_method *m)
{
    settle_tags(ch, m->basic_ack.delivery_tag, m->basic_ack.multiple,
                BROKER_ACK);
}

void
amqp_nack(struct amqp_channel *ch, const struct amqp_method *m)
{
    settle_tags(ch, m->basic_nack.delivery_tag, m->basic_nack.multiple,
                m->basic_nack.requeue ? BROKER_REQUEUE : BROKER_DISCARD);
}

void
amqp_reject(struct amqp_channel *ch, const struct amqp_method *m)
{
    settle_tags(ch, m->basic_reject.delivery_tag, false,
                m->basic_reject.requeue ? BROKER_REQUEUE : BROKER_DISCARD);
}

/* All that is unsettled goes back to its queues. */
static bool
recover(struct amqp_channel *ch, bool requeue)
{
    if (!requeue) {
        amqp_channel_fail(ch, AMQP_NOT_IMPLEMENTED, "requeue=false");
        return false;
    }
    settle_tags(ch, 0, true, BROKER_REQUEUE);
    return true;
}

void
amqp_recover(struct amqp_channel *ch, const struct amqp_method *m)
{
    if (recover(ch, m->basic_recover.requeue)) {
        ch->is_nowait = false;
        amqp_channel_answer(ch, AMQP_basic_recover_ok);
    }
}

void
amqp_recover_async(struct amqp_channel *ch, const struct amqp_method *m)
{
    (void)recover(ch, m->basic_recover_async.requeue);
}
