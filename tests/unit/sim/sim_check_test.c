/* The checker bites: each contract, broken on purpose, is reported by its
 * number, and what keeps to the contracts is not. */
#include <string.h>

#include "lib/harness.h"
#include "sim/sim_check.h"

static bool
says(const struct sim_check *c, const char *what)
{
    return strncmp(c->violation, what, strlen(what)) == 0;
}

static struct sim_consumer
consumer(unsigned queue, unsigned client)
{
    struct sim_consumer s = {
        .queue = queue, .client = client, .group = 16 + queue};

    sim_consumer_init(&s);
    return s;
}

/* Message ID of one byte arrives at TO, delivered COUNT times before. */
static void
deliver(struct sim_check *c, struct sim_consumer *to, uint64_t id,
        uint64_t count)
{
    struct sim_delivery d = {.id = id,
                             .is_redelivered = count > 0,
                             .count = count,
                             .body = sim_check_body(c, id),
                             .size = 1};

    sim_check_deliver(c, to, &d);
}

static uint64_t
publish(struct sim_check *c, uint16_t queues, uint32_t publisher)
{
    return sim_check_publish(c, queues, queues, publisher, 1);
}

static void
end(struct sim_check *c, struct sim_consumer *consumer)
{
    sim_check_detach(c, consumer);
    sim_consumer_deinit(consumer);
}

Test(sim_check, a_good_run_breaks_nothing)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t first = 0;
    uint64_t id;

    sim_check_init(&c);
    sim_check_attach(&c, &a);
    id = publish(&c, 1, 7);
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    sim_check_confirm(&c, id);
    cr_assert_eq(sim_check_outstanding(&c, &first), 1);
    cr_assert_eq(first, id);
    deliver(&c, &a, id, 0);
    sim_check_requeue(&c, &a, id);
    deliver(&c, &a, id, 1);
    sim_check_ack(&c, &a, id);
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    sim_check_detach(&c, &a);
    end(&c, &a);
    cr_assert_str_eq(c.violation, "");
    sim_check_deinit(&c);
}

Test(sim_check, a_confirmed_message_is_outstanding_at_each_of_its_queues)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t first = 0;
    uint64_t id;

    sim_check_init(&c);
    id = publish(&c, 3, 1);
    sim_check_confirm(&c, id);
    deliver(&c, &a, id, 0);
    sim_check_ack(&c, &a, id);
    cr_assert_eq(sim_check_outstanding(&c, &first), 1);
    c.lossy = 2;
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, nobody_misses_what_may_not_have_been_routed)
{
    struct sim_check c;
    uint64_t first = 0;

    sim_check_init(&c);
    sim_check_confirm(&c, sim_check_publish(&c, 3, 0, 1, 1));
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    sim_check_deinit(&c);
}

Test(sim_check, a_second_confirm_is_reported)
{
    struct sim_check c;
    uint64_t id;

    sim_check_init(&c);
    id = publish(&c, 1, 1);
    sim_check_confirm(&c, id);
    sim_check_confirm(&c, id);
    cr_assert(says(&c, "message 1 was confirmed twice"));
    sim_check_deinit(&c);
}

Test(sim_check, what_nobody_published_is_I2)
{
    struct sim_check c;
    struct sim_consumer a = consumer(1, 1);

    sim_check_init(&c);
    deliver(&c, &a, 1, 0);
    cr_assert(says(&c, "I2"));
    c.violation[0] = '\0';
    deliver(&c, &a, publish(&c, 1, 1), 0);
    cr_assert(says(&c, "I2"), "it was for another queue");
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, another_body_is_I2)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);

    sim_check_init(&c);
    deliver(&c, &a, sim_check_publish(&c, 1, 1, 1, 2), 0);
    cr_assert(says(&c, "I2"), "one byte of two");
    sim_check_release(&c, &a, 1);
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, a_message_that_came_back_and_is_delivered_is_I2)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t id;

    sim_check_init(&c);
    id = sim_check_publish(&c, 1, 0, 1, 1);
    sim_check_return(&c, id);
    cr_assert_str_eq(c.violation, "");
    deliver(&c, &a, id, 0);
    cr_assert(says(&c, "I2"));
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, a_message_that_comes_back_from_a_queue_that_is_there_is_I6)
{
    struct sim_check c;

    sim_check_init(&c);
    sim_check_return(&c, publish(&c, 1, 1));
    cr_assert(says(&c, "I6"));
    sim_check_deinit(&c);
}

/* Consumer A of prefetch 1 acknowledges message 1 and then gets message 2: the
 * first acknowledgement has been committed. */
static void
acknowledge_and_go_on(struct sim_check *c, struct sim_consumer *a)
{
    a->prefetch = 1;
    (void)publish(c, 1, 1);
    (void)publish(c, 1, 1);
    deliver(c, a, 1, 0);
    sim_check_ack(c, a, 1);
    deliver(c, a, 2, 0);
    cr_assert_str_eq(c->violation, "");
}

Test(sim_check, a_delivery_after_its_acknowledgement_was_committed_is_I2)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    struct sim_consumer b = consumer(0, 2);

    sim_check_init(&c);
    acknowledge_and_go_on(&c, &a);
    deliver(&c, &b, 1, 1);
    cr_assert(says(&c, "I2"));
    end(&c, &a);
    end(&c, &b);
    sim_check_deinit(&c);
}

Test(sim_check, an_acknowledgement_may_be_lost_before_it_is_committed)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    struct sim_consumer b = consumer(0, 2);

    sim_check_init(&c);
    acknowledge_and_go_on(&c, &a);
    sim_check_ack(&c, &a, 2);
    deliver(&c, &b, 2, 1);
    cr_assert_str_eq(c.violation, "");
    end(&c, &a);
    end(&c, &b);
    sim_check_deinit(&c);
}

Test(sim_check, a_publisher_out_of_order_is_I3)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);

    sim_check_init(&c);
    sim_check_attach(&c, &a);
    for (uint32_t i = 0; i < 4; i++) {
        (void)publish(&c, 1, i % 2);
    }
    deliver(&c, &a, 2, 0);
    deliver(&c, &a, 1, 0);
    cr_assert_str_eq(c.violation, "", "of another publisher");
    deliver(&c, &a, 4, 0);
    sim_check_requeue(&c, &a, 2);
    deliver(&c, &a, 2, 1);
    cr_assert_str_eq(c.violation, "", "returned");
    (void)publish(&c, 1, 0);
    deliver(&c, &a, 5, 0);
    deliver(&c, &a, 3, 0);
    cr_assert(says(&c, "I3"));
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, a_second_delivery_that_does_not_say_so_is_I4)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t id;

    sim_check_init(&c);
    id = publish(&c, 1, 1);
    deliver(&c, &a, id, 0);
    sim_check_release(&c, &a, id);
    deliver(&c, &a, id, 0);
    cr_assert(says(&c, "I4"));
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, a_count_that_forgets_deliveries_is_I4)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t id;

    sim_check_init(&c);
    id = publish(&c, 1, 1);
    for (uint64_t i = 0; i < 2; i++) {
        deliver(&c, &a, id, i);
        sim_check_requeue(&c, &a, id);
    }
    cr_assert_str_eq(c.violation, "");
    deliver(&c, &a, id, 1);
    cr_assert(says(&c, "I4"));
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, a_message_at_two_consumers_is_I4)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    struct sim_consumer b = consumer(0, 2);
    uint64_t id;

    sim_check_init(&c);
    id = publish(&c, 1, 1);
    deliver(&c, &a, id, 0);
    deliver(&c, &b, id, 1);
    cr_assert(says(&c, "I4"));
    end(&c, &a);
    end(&c, &b);
    sim_check_deinit(&c);
}

static bool
is_over(const struct sim_consumer *consumer)
{
    (void)consumer;
    return true;
}

Test(sim_check, a_consumer_that_its_node_has_let_go_of_holds_nothing)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    struct sim_consumer b = consumer(0, 2);
    uint64_t id;

    sim_check_init(&c);
    a.is_over = is_over;
    id = publish(&c, 1, 1);
    deliver(&c, &a, id, 0);
    deliver(&c, &b, id, 1);
    sim_check_release(&c, &a, id);
    cr_assert_str_eq(c.violation, "");
    cr_assert_eq(b.held, 1, "a's release is not b's");
    end(&c, &a);
    end(&c, &b);
    sim_check_deinit(&c);
}

Test(sim_check, more_than_the_prefetch_is_I5)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);

    sim_check_init(&c);
    a.prefetch = 2;
    for (uint64_t i = 0; i < 2; i++) {
        deliver(&c, &a, publish(&c, 1, 1), 0);
    }
    cr_assert_str_eq(c.violation, "");
    deliver(&c, &a, publish(&c, 1, 1), 0);
    cr_assert(says(&c, "I5"));
    end(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, an_exclusive_consumer_in_company_is_I5)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    struct sim_consumer b = consumer(0, 2);
    struct sim_consumer later = consumer(0, 3);

    sim_check_init(&c);
    a.is_exclusive = true;
    later.group = 99;
    sim_check_attach(&c, &a);
    sim_check_attach(&c, &later);
    cr_assert_str_eq(c.violation, "", "another queue of that name");
    sim_check_attach(&c, &b);
    cr_assert(says(&c, "I5"));
    end(&c, &a);
    end(&c, &b);
    end(&c, &later);
    sim_check_deinit(&c);
}

Test(sim_check, a_look_that_cannot_be_is_I6)
{
    static const uint64_t interval[2] = {10, 20};
    struct sim_check c;

    sim_check_init(&c);
    sim_check_look(&c, &c.queues[3], false, interval, "queue", 3);
    cr_assert_str_eq(c.violation, "");
    cr_assert_eq(c.looks, 1);
    sim_check_look(&c, &c.queues[3], true, interval, "queue", 3);
    cr_assert(says(&c, "I6"));
    sim_check_deinit(&c);
}

Test(sim_check, the_first_violation_is_kept)
{
    struct sim_check c;

    sim_check_init(&c);
    sim_check_violate(&c, "first %d", 1);
    sim_check_violate(&c, "second");
    cr_assert_str_eq(c.violation, "first 1");
    sim_check_deinit(&c);
}

Test(sim_check, the_trace_depends_on_order)
{
    struct sim_check a;
    struct sim_check b;

    sim_check_init(&a);
    sim_check_init(&b);
    sim_check_note(&a, 1);
    sim_check_note(&a, 2);
    sim_check_note(&b, 2);
    sim_check_note(&b, 1);
    cr_assert_neq(a.trace, b.trace);
    sim_check_deinit(&a);
    sim_check_deinit(&b);
}
