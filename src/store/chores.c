/* Once every STORE_SEAL_DELAY_MS while there is something to do:
 *
 * - Seal. If nothing was written since the last look, an empty batch follows
 *   the last one, unless that is such a seal: rot in what is then the last but
 *   one can be told from a torn tail. (Rot of both cannot.)
 * - Space. Whether another segment could be made; if there was no space for
 *   one, it is tried again.
 * - Scrubbing and compaction, which walk.c does at their rates.
 *
 * The timer sleeps while the store is at rest and healthy. */
#include "store/chores.h"

#include "store/batch.h"
#include "store/segment.h"
#include "store/store_impl.h"
#include "store/walk.h"

static uint64_t
now_of(const struct store *s)
{
    ASSERT(s->config.timers != NULL);
    return s->config.now_ms(s->config.arg);
}

static bool
is_at_rest(const struct store *s)
{
    return s->gather == NULL && list_is_empty(&s->closed) && !s->is_writing;
}

static void
seal(struct store *s)
{
    struct record r = {.type = RECORD_SEAL};

    ASSERT(is_at_rest(s));
    s->seal_batch = batch_add(s, &r, NULL, 0).batch;
    s->flush_upto = s->batch_next;
    batch_write_next(s);
}

static bool
needs_seal(const struct store *s)
{
    return s->durable > 0 && s->seal_batch != s->durable &&
           store_space(s) != STORE_SPACE_FULL;
}

static void
check_space(struct store *s, uint64_t now)
{
    uint64_t free_bytes;

    OBJ_CHECK(s, STORE_MAGIC);
    if (now < s->space_check_ms) {
        return;
    }
    s->space_check_ms = now + STORE_SPACE_CHECK_MS;
    free_bytes = s->disk->ops->free_bytes(s->disk);
    s->is_low = free_bytes < s->config.segment_size;
    segment_retry(s);
}

static void
on_chores(void *arg)
{
    struct store *s = arg;
    uint64_t now = now_of(s);
    bool again;

    OBJ_CHECK(s, STORE_MAGIC);
    if (s->has_failed) {
        return;
    }
    check_space(s, now);
    again = s->is_short || s->is_low;
    if (needs_seal(s)) {
        if (is_at_rest(s) && s->rest_batch == s->durable) {
            seal(s);
        } else {
            again = true;
        }
    }
    s->rest_batch = s->durable;
    if (again) {
        timers_start(s->config.timers, &s->chore_timer,
                     now + STORE_SEAL_DELAY_MS);
    }
    walk_wake(s);
}

void
chores_wake(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    if (s->config.timers != NULL && !timer_is_running(&s->chore_timer)) {
        timers_start(s->config.timers, &s->chore_timer,
                     now_of(s) + STORE_SEAL_DELAY_MS);
    }
}

void
chores_start(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    ASSERT_IMPLIES(s->config.timers != NULL, s->config.now_ms != NULL);
    timer_init(&s->chore_timer, on_chores, s);
    walk_start(s);
    chores_wake(s);
}

void
chores_stop(struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    if (s->config.timers != NULL && s->walk != NULL) {
        timers_stop(s->config.timers, &s->chore_timer);
    }
    walk_stop(s);
}

enum store_space
store_space(const struct store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    if (!s->is_short) {
        return s->is_low && segment_room(s) < s->config.segment_size
                   ? STORE_SPACE_LOW
                   : STORE_SPACE_OK;
    }
    return segment_room(s) < s->config.segment_size / 2 ? STORE_SPACE_FULL
                                                        : STORE_SPACE_LOW;
}
