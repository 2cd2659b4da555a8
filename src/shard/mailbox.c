/* A locked vector that the receiver swaps for an empty one.
 *
 * Waking costs a system call, so a sender does it only when the receiver has
 * said that it waits. The receiver says so first and looks for mail after; the
 * sender puts mail in first and looks whether it sleeps after. Both are
 * sequentially consistent, so at least one of them sees the other. */
#include "shard/mailbox.h"

#include "base/check.h"
#include "base/mem.h"
#include "peer/frame.h"

void
mailbox_init(struct mailbox *box, uv_async_t *wake, const size_t *window)
{
    int rv = uv_mutex_init(&box->lock);

    ASSERT(rv == 0);
    ring_init(&box->mails, sizeof(struct mail));
    box->closed = false;
    box->wake = wake;
    atomic_init(&box->asleep, false);
    atomic_init(&box->count, 0);
    link_gauge_init(&box->gauge, window);
}

void
mail_drop(struct mail *mail)
{
    frame_free(&mail->frame);
    mem_free(mail->news);
    mail->news = NULL;
}

void
mail_drop_all(struct ring *mails)
{
    while (mails->count > 0) {
        mail_drop(ring_at(mails, 0));
        ring_pop_front(mails);
    }
}

void
mailbox_deinit(struct mailbox *box)
{
    mail_drop_all(&box->mails);
    ring_deinit(&box->mails);
    uv_mutex_destroy(&box->lock);
}

void
mailbox_push_mt(struct mailbox *box, struct ring *mails, size_t limit)
{
    uv_mutex_lock(&box->lock);
    if (box->closed) {
        uv_mutex_unlock(&box->lock);
        mail_drop_all(mails);
        return;
    }
    while (mails->count > 0 && box->mails.count < limit) {
        struct mail *to = ring_push_back(&box->mails);

        *to = *(struct mail *)ring_at(mails, 0);
        ring_pop_front(mails);
    }
    atomic_store(&box->count, box->mails.count);
    /* Under the lock, because the receiver's loop may close right after it. */
    if (atomic_exchange(&box->asleep, false)) {
        int rv = uv_async_send(box->wake);

        ASSERT(rv == 0);
    }
    uv_mutex_unlock(&box->lock);
}

void
mailbox_take(struct mailbox *box, struct ring *mails)
{
    struct ring empty = *mails;

    ASSERT(mails->count == 0);
    if (atomic_load(&box->count) == 0) {
        return;
    }
    uv_mutex_lock(&box->lock);
    *mails = box->mails;
    box->mails = empty;
    atomic_store(&box->count, 0);
    uv_mutex_unlock(&box->lock);
}

bool
mailbox_sleep(struct mailbox *box)
{
    atomic_store(&box->asleep, true);
    if (atomic_load(&box->count) > 0) {
        atomic_store(&box->asleep, false);
        return false;
    }
    return true;
}

void
mailbox_awake(struct mailbox *box)
{
    atomic_store(&box->asleep, false);
}

void
mailbox_close(struct mailbox *box)
{
    struct ring left;

    ring_init(&left, sizeof(struct mail));
    uv_mutex_lock(&box->lock);
    box->closed = true;
    left = box->mails;
    ring_init(&box->mails, sizeof(struct mail));
    atomic_store(&box->count, 0);
    uv_mutex_unlock(&box->lock);
    mail_drop_all(&left);
    ring_deinit(&left);
}
