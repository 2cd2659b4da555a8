/* Tags settle nearly in order, so a byte per tag in a ring, from the oldest
 * unsettled on, is both small and quick. */
#include "amqp/confirms.h"

enum confirm_state {
    CONFIRM_PENDING,
    CONFIRM_OK,
    CONFIRM_REFUSED,
    CONFIRM_TOLD
};

void
confirms_init(struct confirms *c)
{
    *c = (struct confirms){.next = 1, .base = 1};
    ring_init(&c->states, sizeof(uint8_t));
    ring_init(&c->fresh, sizeof(uint64_t));
}

void
confirms_deinit(struct confirms *c)
{
    ring_deinit(&c->states);
    ring_deinit(&c->fresh);
}

uint64_t
confirms_add(struct confirms *c)
{
    ASSERT(c->states.count == c->next - c->base);
    *(uint8_t *)ring_push_back(&c->states) = CONFIRM_PENDING;
    c->pending++;
    return c->next++;
}

static uint8_t *
confirms_at(const struct confirms *c, uint64_t tag)
{
    return ring_at(&c->states, (size_t)(tag - c->base));
}

static void
confirms_settle_one(struct confirms *c, uint64_t tag, bool is_ok)
{
    uint8_t *state = confirms_at(c, tag);

    if (*state == CONFIRM_PENDING) {
        *state = is_ok ? CONFIRM_OK : CONFIRM_REFUSED;
        *(uint64_t *)ring_push_back(&c->fresh) = tag;
        c->pending--;
    }
}

void
confirms_settle(struct confirms *c, uint64_t tag, bool multiple, bool is_ok)
{
    uint64_t first = tag;

    if (tag < c->base || tag >= c->next) {
        return;
    }
    if (multiple) {
        /* What an earlier one covered is not gone through again. */
        first = MAX(c->base, c->covered + 1);
        c->covered = MAX(c->covered, tag);
    }
    for (uint64_t t = first; t <= tag; t++) {
        confirms_settle_one(c, t, is_ok);
    }
}

/* Drop the settled tags at the front; tell them, refusals one by one, the
 * others together. */
static void
confirms_tell_front(struct confirms *c, confirms_cb cb, void *arg)
{
    uint64_t last = 0;
    uint64_t count = 0;

    while (c->states.count > 0) {
        uint8_t state = *confirms_at(c, c->base);

        if (state == CONFIRM_PENDING) {
            break;
        }
        if (state == CONFIRM_REFUSED) {
            cb(arg, c->base, false, false);
        } else if (state == CONFIRM_OK) {
            last = c->base;
            count++;
        }
        ring_pop_front(&c->states);
        c->base++;
    }
    if (count > 0) {
        cb(arg, last, count > 1, true);
    }
}

void
confirms_tell(struct confirms *c, confirms_cb cb, void *arg)
{
    if (c->fresh.count == 0) {
        return;
    }
    confirms_tell_front(c, cb, arg);
    for (size_t i = 0; i < c->fresh.count; i++) {
        uint64_t tag = *(uint64_t *)ring_at(&c->fresh, i);
        uint8_t *state = NULL;

        if (tag < c->base) {
            continue;
        }
        state = confirms_at(c, tag);
        cb(arg, tag, false, *state == CONFIRM_OK);
        *state = CONFIRM_TOLD;
    }
    ring_clear(&c->fresh);
}
