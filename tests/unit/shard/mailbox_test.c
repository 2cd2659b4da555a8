/* Mailboxes: nothing is lost or overtaken, nobody sleeps through mail. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "lib/harness.h"
#include "peer/frame.h"
#include "shard/mailbox.h"

enum {
    SENDERS = 3,
    MAILS = 20000
};

static const size_t window[FRAME_CLASS_COUNT] = {1000, 1000, 1000, 1000};

struct world {
    uv_loop_t loop;
    uv_async_t async;
    struct mailbox box;
};

static void
on_async(uv_async_t *async)
{
    (void)async;
}

static void
world_init(struct world *w)
{
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    cr_assert_eq(uv_async_init(&w->loop, &w->async, on_async), 0);
    mailbox_init(&w->box, &w->async, window);
}

static void
world_deinit(struct world *w)
{
    mailbox_close(&w->box);
    uv_close((uv_handle_t *)&w->async, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
    mailbox_deinit(&w->box);
}

/* Put a frame with ARG from NODE on MAILS. */
static void
add(struct ring *mails, qr_node_id node, uint64_t arg)
{
    struct mail mail = {.kind = MAIL_IN, .node = node};

    mail.frame = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);
    mail.frame->arg = arg;
    *(struct mail *)ring_push_back(mails) = mail;
}

struct sender {
    struct world *w;
    qr_node_id id;
};

static void
send_all(void *arg)
{
    struct sender *s = arg;
    struct ring mails;

    ring_init(&mails, sizeof(struct mail));
    for (uint64_t i = 1; i <= MAILS; i++) {
        add(&mails, s->id, i);
        if (i % ((uint64_t)s->id * 7) == 0 || i == MAILS) {
            mailbox_push_mt(&s->w->box, &mails, SIZE_MAX);
            cr_assert_eq(mails.count, 0);
        }
    }
    ring_deinit(&mails);
}

/* Take what there is; count it and check each sender's order. */
static size_t
receive(struct world *w, uint64_t *last)
{
    struct ring mails;
    size_t count = 0;

    ring_init(&mails, sizeof(struct mail));
    mailbox_take(&w->box, &mails);
    count = mails.count;
    for (size_t i = 0; i < count; i++) {
        const struct mail *m = ring_at(&mails, i);

        cr_assert_eq(m->frame->arg, last[m->node] + 1);
        last[m->node] = m->frame->arg;
    }
    mail_drop_all(&mails);
    ring_deinit(&mails);
    return count;
}

Test(mailbox, wakes_a_receiver_that_sleeps)
{
    struct world w;
    struct sender senders[SENDERS];
    uv_thread_t threads[SENDERS];
    uint64_t last[SENDERS + 1] = {0};
    size_t count = 0;

    world_init(&w);
    for (qr_node_id i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&w, i + 1};
        cr_assert_eq(uv_thread_create(&threads[i], send_all, &senders[i]), 0);
    }
    while (count < (size_t)SENDERS * MAILS) {
        if (mailbox_sleep(&w.box)) {
            uv_run(&w.loop, UV_RUN_ONCE); /* hangs if nobody wakes it */
        }
        mailbox_awake(&w.box);
        count += receive(&w, last);
    }
    for (int i = 0; i < SENDERS; i++) {
        uv_thread_join(&threads[i]);
    }
    world_deinit(&w);
}

Test(mailbox, does_not_let_it_sleep_when_there_is_mail)
{
    struct world w;
    struct ring mails;
    uint64_t last[2] = {0};

    world_init(&w);
    ring_init(&mails, sizeof(struct mail));
    cr_expect(mailbox_sleep(&w.box));
    mailbox_awake(&w.box);
    add(&mails, 1, 1);
    mailbox_push_mt(&w.box, &mails, SIZE_MAX);
    cr_expect(!mailbox_sleep(&w.box));
    cr_expect_eq(receive(&w, last), 1);
    cr_expect(mailbox_sleep(&w.box));
    ring_deinit(&mails);
    world_deinit(&w);
}

Test(mailbox, leaves_with_the_sender_what_passes_its_limit)
{
    struct world w;
    struct ring mails;
    uint64_t last[2] = {0};

    world_init(&w);
    ring_init(&mails, sizeof(struct mail));
    for (uint64_t i = 1; i <= 10; i++) {
        add(&mails, 1, i);
    }
    mailbox_push_mt(&w.box, &mails, 6);
    cr_expect_eq(mails.count, 4);
    cr_expect_eq(receive(&w, last), 6);
    mailbox_push_mt(&w.box, &mails, 6);
    cr_expect_eq(mails.count, 0);
    cr_expect_eq(receive(&w, last), 4);
    ring_deinit(&mails);
    world_deinit(&w);
}

Test(mailbox, drops_what_comes_after_its_close)
{
    struct world w;
    struct ring mails;
    struct mail news = {.kind = MAIL_LINK};

    world_init(&w);
    ring_init(&mails, sizeof(struct mail));
    news.news = mem_zalloc(1, sizeof(*news.news));
    *(struct mail *)ring_push_back(&mails) = news;
    add(&mails, 1, 1);
    mailbox_push_mt(&w.box, &mails, SIZE_MAX);
    mailbox_close(&w.box);
    add(&mails, 1, 2);
    mailbox_push_mt(&w.box, &mails, SIZE_MAX);
    cr_expect_eq(mails.count, 0);
    mailbox_take(&w.box, &mails);
    cr_expect_eq(mails.count, 0);
    ring_deinit(&mails);
    world_deinit(&w);
}

Test(mailbox, counts_bytes_by_class)
{
    struct link_gauge gauge;

    link_gauge_init(&gauge, window);
    cr_expect(link_gauge_charge_mt(&gauge, FRAME_CALL, 5000),
              "a large one when nothing waits");
    cr_expect(!link_gauge_charge_mt(&gauge, FRAME_CALL, 1));
    cr_expect(link_gauge_charge_mt(&gauge, FRAME_RAFT, 600));
    cr_expect(link_gauge_charge_mt(&gauge, FRAME_RAFT, 400));
    cr_expect(!link_gauge_charge_mt(&gauge, FRAME_RAFT, 1), "exactly full");
    link_gauge_add_mt(&gauge, FRAME_RAFT, 7);
    cr_expect_eq(gauge.waiting[FRAME_RAFT], 1007);
    link_gauge_discharge_mt(&gauge, FRAME_RAFT, 1007);
    link_gauge_discharge_mt(&gauge, FRAME_CALL, 5000);
    cr_expect_eq(gauge.waiting[FRAME_CALL], 0);
}
