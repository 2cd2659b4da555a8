/* Plans: the seed makes them, they can be printed and read again, and parts of
 * them taken away. */
#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "lib/harness.h"
#include "sim/sim_plan.h"

static struct sim_plan *
plan(uint64_t seed)
{
    struct sim_wishes wishes = {.seed = seed, .seconds = 20};
    struct sim_plan *p = mem_zalloc(1, sizeof(*p));

    sim_plan_make(p, &wishes);
    return p;
}

static void
print(const struct sim_plan *p, struct buf *out)
{
    buf_init(out);
    sim_plan_print(p, out);
}

/* A seed whose plan has many faults. */
static struct sim_plan *
rich(void)
{
    uint64_t seed = 1;
    struct sim_plan *p = plan(seed);

    while (p->faults_count < 20) {
        mem_free(p);
        p = plan(++seed);
        cr_assert_lt(seed, 100);
    }
    return p;
}

Test(sim_plan, what_is_printed_can_be_read)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim_plan *p = plan(seed);
        struct sim_plan *again = mem_zalloc(1, sizeof(*again));
        struct error err = {{0}};
        struct buf a;
        struct buf b;

        print(p, &a);
        cr_assert_eq(sim_plan_parse((const char *)a.data, a.size, again, &err),
                     0, "%s", err.text);
        print(again, &b);
        cr_assert_eq(a.size, b.size);
        cr_assert_eq(memcmp(a.data, b.data, a.size), 0);
        cr_assert_eq(again->faults_count, p->faults_count);
        buf_deinit(&a);
        buf_deinit(&b);
        mem_free(p);
        mem_free(again);
    }
}

Test(sim_plan, of_stress_is_busy_and_can_be_read)
{
    struct sim_wishes wishes = {.seed = 3, .seconds = 20, .is_stress = true};
    struct sim_plan *p = mem_zalloc(1, sizeof(*p));
    struct sim_plan *again = mem_zalloc(1, sizeof(*again));
    struct error err = {{0}};
    struct buf text;

    sim_plan_make(p, &wishes);
    cr_expect_eq(p->busy, 1);
    cr_expect_gt(p->faults_count, 50);
    cr_expect_eq(p->faults[0].kind, SIM_DUPLICATES);
    for (size_t i = 0; i < p->faults_count; i++) {
        cr_expect_neq(p->faults[i].kind, SIM_DISK_LOST);
    }
    print(p, &text);
    cr_expect_eq(
        sim_plan_parse((const char *)text.data, text.size, again, &err), 0,
        "%s", err.text);
    cr_expect_eq(memcmp(p, again, sizeof(*p)), 0);
    buf_deinit(&text);
    mem_free(p);
    mem_free(again);
}

Test(sim_plan, every_kind_is_in_some_plan)
{
    uint64_t seen[SIM_FAULT_KINDS] = {0};

    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim_plan *p = plan(seed);

        for (size_t i = 0; i < p->faults_count; i++) {
            cr_assert_leq(p->faults[i].node, p->nodes);
            cr_assert_leq(p->faults[i].at_us, p->end_us);
            seen[p->faults[i].kind]++;
        }
        mem_free(p);
    }
    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        cr_assert_gt(seen[i], 0, "%s", sim_fault_name((enum sim_fault_kind)i));
    }
}

Test(sim_plan, wishes_are_granted)
{
    struct sim_wishes wishes = {
        .seed = 3, .nodes = 7, .shards = 1, .clients = 4, .seconds = 5};
    struct sim_plan *p = mem_zalloc(1, sizeof(*p));

    sim_plan_make(p, &wishes);
    cr_assert_eq(p->nodes, 7);
    cr_assert_eq(p->shards, 1);
    cr_assert_eq(p->clients, 4);
    cr_assert_geq(p->end_us, 5000000);
    mem_free(p);
}

Test(sim_plan, faults_are_taken_away_by_number)
{
    struct sim_plan *p = rich();
    size_t count = p->faults_count;
    struct buf list;

    cr_assert_eq(sim_plan_select(p, "3,7-9", false), 0);
    cr_assert_eq(p->faults_count, count - 4);
    cr_assert_eq(p->faults[2].number, 4);
    cr_assert_eq(sim_plan_select(p, "1,2,4-6,8,12", true), 0);
    cr_assert_eq(p->faults_count, 6);
    buf_init(&list);
    sim_plan_list(p, &list);
    cr_assert_eq(list.size, strlen("1-2,4-6,12"));
    cr_assert_eq(memcmp(list.data, "1-2,4-6,12", list.size), 0);
    buf_deinit(&list);
    cr_assert_eq(sim_plan_select(p, "0", true), 0);
    cr_assert_eq(p->faults_count, 0);
    mem_free(p);
}

Test(sim_plan, lists_that_are_none_are_refused)
{
    static const char *const lists[] = {"x", "1,y", "1-z", "-", "3,,4"};
    struct sim_plan *p = rich();
    size_t count = p->faults_count;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        cr_assert_eq(sim_plan_select(p, lists[i], false), -QR_EFORMAT, "%s",
                     lists[i]);
    }
    cr_assert_eq(p->faults_count, count);
    mem_free(p);
}

Test(sim_plan, a_kind_can_be_switched_off)
{
    struct sim_plan *p = rich();
    enum sim_fault_kind kind = p->faults[0].kind;

    cr_assert_eq(sim_plan_switch_off(p, sim_fault_name(kind)), 0);
    for (size_t i = 0; i < p->faults_count; i++) {
        cr_assert_neq(p->faults[i].kind, kind);
    }
    cr_assert_eq(sim_plan_switch_off(p, "earthquake"), -QR_ENOENT);
    mem_free(p);
}

Test(sim_plan, text_that_is_no_plan_is_refused_by_line)
{
#define HEAD "seed=1 nodes=3 shards=1 clients=2 end=9.000000 disk=0.000100\n"
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {
        {"", "line 0"},
        {"seed=x\n", "line 1"},
        {"seed=1 nodes=8\n", "line 1"},
        {"seed=1\n", "line 1"},
        {HEAD "1 crash at=1 node=1\n", "line 2"},
        {HEAD "1 crash at=1.000000\n", "line 2"},
        {HEAD "1 crash at=1.000000 node=4\n", "line 2"},
        {HEAD "1 crash at=1.000000 node=1\n2 quake at=1.000000\n", "line 3"},
        {HEAD "1 halves at=1.000000 node=1\n", "line 2"},
        {HEAD "1 crash at=1.000000 node=1 side=3\n", "line 2"},
    };
    struct sim_plan *p = mem_zalloc(1, sizeof(*p));

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error err = {{0}};

        cr_assert_eq(sim_plan_parse(bad[i].text, strlen(bad[i].text), p, &err),
                     -QR_EFORMAT, "%s", bad[i].text);
        cr_assert_not_null(strstr(err.text, bad[i].why), "%s", err.text);
        cr_assert_eq(p->nodes, 0, "not touched");
    }
    mem_free(p);
}
