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

    return s;
}

Test(sim_check, a_good_run_breaks_nothing)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t first = 0;
    uint64_t id;

    sim_check_init(&c);
    sim_check_attach(&c, &a);
    id = sim_check_publish(&c, 1, 7);
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    sim_check_confirm(&c, id);
    cr_assert_eq(sim_check_outstanding(&c, &first), 1);
    cr_assert_eq(first, id);
    sim_check_deliver(&c, &a, id, false);
    sim_check_release(&c, id, 0);
    sim_check_deliver(&c, &a, id, true);
    sim_check_ack(&c, id, 0);
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    sim_check_detach(&c, &a);
    sim_check_detach(&c, &a);
    cr_assert_str_eq(c.violation, "");
    sim_check_deinit(&c);
}

Test(sim_check, a_confirmed_message_is_outstanding_at_each_of_its_queues)
{
    struct sim_check c;
    uint64_t first = 0;
    uint64_t id;

    sim_check_init(&c);
    id = sim_check_publish(&c, 3, 1);
    sim_check_confirm(&c, id);
    sim_check_ack(&c, id, 0);
    cr_assert_eq(sim_check_outstanding(&c, &first), 1);
    c.lossy = 2;
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    c.lossy = 0;
    sim_check_unsure(&c, id);
    cr_assert_eq(sim_check_outstanding(&c, &first), 0);
    sim_check_deinit(&c);
}

Test(sim_check, a_second_confirm_is_reported)
{
    struct sim_check c;
    uint64_t id;

    sim_check_init(&c);
    id = sim_check_publish(&c, 1, 1);
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
    sim_check_deliver(&c, &a, 1, false);
    cr_assert(says(&c, "I2"));
    c.violation[0] = '\0';
    sim_check_deliver(&c, &a, sim_check_publish(&c, 1, 1), false);
    cr_assert(says(&c, "I2"), "it was for another queue");
    sim_check_deinit(&c);
}

Test(sim_check, a_publisher_out_of_order_is_I3)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);

    sim_check_init(&c);
    sim_check_attach(&c, &a);
    for (uint32_t i = 0; i < 4; i++) {
        (void)sim_check_publish(&c, 1, i % 2);
    }
    sim_check_deliver(&c, &a, 2, false);
    sim_check_deliver(&c, &a, 1, false);
    cr_assert_str_eq(c.violation, "", "of another publisher");
    sim_check_deliver(&c, &a, 4, false);
    sim_check_release(&c, 2, 0);
    sim_check_deliver(&c, &a, 2, true);
    cr_assert_str_eq(c.violation, "", "returned");
    (void)sim_check_publish(&c, 1, 0);
    sim_check_deliver(&c, &a, 5, false);
    sim_check_deliver(&c, &a, 3, false);
    cr_assert(says(&c, "I3"));
    sim_check_detach(&c, &a);
    sim_check_deinit(&c);
}

Test(sim_check, a_second_delivery_that_does_not_say_so_is_I4)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    uint64_t id;

    sim_check_init(&c);
    id = sim_check_publish(&c, 1, 1);
    sim_check_deliver(&c, &a, id, false);
    sim_check_release(&c, id, 0);
    sim_check_deliver(&c, &a, id, false);
    cr_assert(says(&c, "I4"));
    sim_check_deinit(&c);
}

Test(sim_check, a_message_at_two_consumers_is_I4)
{
    struct sim_check c;
    struct sim_consumer a = consumer(0, 1);
    struct sim_consumer b = consumer(0, 2);
    uint64_t id;

    sim_check_init(&c);
    id = sim_check_publish(&c, 1, 1);
    sim_check_deliver(&c, &a, id, false);
    sim_check_deliver(&c, &b, id, true);
    cr_assert(says(&c, "I4"));
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
    sim_check_detach(&c, &a);
    sim_check_detach(&c, &b);
    sim_check_detach(&c, &later);
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
