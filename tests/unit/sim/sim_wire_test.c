/* Virtual sockets: bytes arrive in order, late, and no more than the other end
 * takes; ends close in each of their ways. */
#include <string.h>

#include "base/list.h"
#include "lib/harness.h"
#include "sim/sim_env.h"
#include "sim/sim_wire.h"

struct party {
    struct sim *sim;
    struct list wires;
    struct sim_wire *wire;
    unsigned data;
    unsigned drained;
    unsigned closed;
};

static void
on_data(void *arg)
{
    ((struct party *)arg)->data++;
}

static void
on_drained(void *arg)
{
    ((struct party *)arg)->drained++;
}

static void
on_closed(void *arg)
{
    ((struct party *)arg)->closed++;
}

/* A wire whose two ends tell the same party, on a node that is up. */
static void
begin(struct party *p, uint32_t chop)
{
    struct sim_wire_events events = {.arg = p,
                                     .on_data = on_data,
                                     .on_drained = on_drained,
                                     .on_closed = on_closed};
    struct sim_wire_config config = {.delay_min_us = 100,
                                     .delay_max_us = 100,
                                     .chop_per_million = chop,
                                     .window = 8};

    memset(p, 0, sizeof(*p));
    list_init(&p->wires);
    p->sim = sim_new(1);
    sim_start(p->sim, 1, 1, NULL);
    config.sim = p->sim;
    config.env = sim_env(p->sim, 1, 0);
    p->wire = sim_wire_new(&config, &p->wires);
    sim_wire_attach(p->wire, SIM_WIRE_CLIENT, &events);
    sim_wire_attach(p->wire, SIM_WIRE_SERVER, &events);
}

static void
finish(struct party *p)
{
    sim_wires_free(&p->wires);
    sim_free(&p->sim);
}

static size_t
readable(const struct party *p, enum sim_wire_side side)
{
    size_t size = 0;

    (void)sim_wire_peek(p->wire, side, &size);
    return size;
}

Test(sim_wire, bytes_arrive_after_the_delay)
{
    struct party p;
    size_t size = 0;

    begin(&p, 0);
    sim_wire_write(p.wire, SIM_WIRE_CLIENT, "abc", 3);
    cr_assert(sim_wire_flush(p.wire, SIM_WIRE_CLIENT));
    sim_run(p.sim, 99);
    cr_assert_eq(readable(&p, SIM_WIRE_SERVER), 0);
    sim_run(p.sim, 100);
    cr_assert_eq(p.data, 1);
    cr_assert(memcmp(sim_wire_peek(p.wire, SIM_WIRE_SERVER, &size), "abc", 3) ==
              0);
    cr_assert_eq(size, 3);
    finish(&p);
}

Test(sim_wire, a_reader_that_does_not_read_stops_its_writer)
{
    struct party p;

    begin(&p, 0);
    sim_wire_write(p.wire, SIM_WIRE_CLIENT, "0123456789", 10);
    cr_assert(!sim_wire_flush(p.wire, SIM_WIRE_CLIENT));
    cr_assert_eq(sim_wire_backlog(p.wire, SIM_WIRE_CLIENT), 2);
    sim_run(p.sim, 1000);
    cr_assert_eq(readable(&p, SIM_WIRE_SERVER), 8);
    sim_wire_consume(p.wire, SIM_WIRE_SERVER, 5);
    sim_run(p.sim, 2000);
    cr_assert_eq(p.drained, 1);
    cr_assert_eq(readable(&p, SIM_WIRE_SERVER), 5);
    cr_assert_eq(sim_wire_backlog(p.wire, SIM_WIRE_CLIENT), 0);
    finish(&p);
}

Test(sim_wire, a_reader_that_needs_more_than_the_window_gets_it)
{
    struct party p;

    begin(&p, 0);
    sim_wire_write(p.wire, SIM_WIRE_SERVER, "0123456789", 10);
    (void)sim_wire_flush(p.wire, SIM_WIRE_SERVER);
    sim_wire_need(p.wire, SIM_WIRE_CLIENT, 10);
    sim_run(p.sim, 1000);
    cr_assert_eq(readable(&p, SIM_WIRE_CLIENT), 10);
    finish(&p);
}

Test(sim_wire, chopped_bytes_arrive_all_the_same)
{
    struct party p;
    const uint8_t *data;
    size_t size = 0;

    begin(&p, 1000000);
    sim_wire_write(p.wire, SIM_WIRE_CLIENT, "01234567", 8);
    (void)sim_wire_flush(p.wire, SIM_WIRE_CLIENT);
    sim_run(p.sim, 10000);
    data = sim_wire_peek(p.wire, SIM_WIRE_SERVER, &size);
    cr_assert_eq(size, 8);
    cr_assert(memcmp(data, "01234567", 8) == 0);
    cr_assert_gt(p.data, 1);
    finish(&p);
}

Test(sim_wire, the_last_words_come_before_the_end)
{
    struct party p;

    begin(&p, 0);
    sim_wire_write(p.wire, SIM_WIRE_SERVER, "0123456789", 10);
    sim_wire_close(p.wire, SIM_WIRE_SERVER, SIM_WIRE_FLUSH);
    sim_run(p.sim, 100);
    cr_assert_eq(readable(&p, SIM_WIRE_CLIENT), 10);
    cr_assert_eq(p.closed, 0);
    sim_run(p.sim, 1000);
    cr_assert_eq(p.closed, 1);
    sim_wire_close(p.wire, SIM_WIRE_CLIENT, SIM_WIRE_RESET);
    cr_assert(list_is_empty(&p.wires));
    finish(&p);
}

Test(sim_wire, a_silent_end_is_not_heard_of)
{
    struct party p;

    begin(&p, 0);
    sim_wire_close(p.wire, SIM_WIRE_CLIENT, SIM_WIRE_SILENT);
    sim_wire_write(p.wire, SIM_WIRE_SERVER, "0123456789", 10);
    (void)sim_wire_flush(p.wire, SIM_WIRE_SERVER);
    sim_run(p.sim, 10000);
    cr_assert_eq(p.closed, 0);
    cr_assert_eq(sim_wire_backlog(p.wire, SIM_WIRE_SERVER), 2);
    sim_wire_close(p.wire, SIM_WIRE_SERVER, SIM_WIRE_RESET);
    finish(&p);
}

Test(sim_wire, a_node_that_dies_forgets_what_was_under_way)
{
    struct party p;

    begin(&p, 0);
    sim_wire_write(p.wire, SIM_WIRE_CLIENT, "abc", 3);
    (void)sim_wire_flush(p.wire, SIM_WIRE_CLIENT);
    sim_stop(p.sim, 1);
    sim_wire_node_died(p.wire, false);
    sim_run(p.sim, 1000);
    cr_assert_eq(p.data, 0);
    cr_assert_eq(p.closed, 1);
    cr_assert(sim_wire_is_closed(p.wire, SIM_WIRE_SERVER));
    sim_wire_close(p.wire, SIM_WIRE_CLIENT, SIM_WIRE_RESET);
    cr_assert(list_is_empty(&p.wires));
    finish(&p);
}
