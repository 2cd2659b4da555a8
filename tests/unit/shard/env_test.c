/* Registration: who gets which frames, and in which order rooms are told. */
#include <signal.h>
#include <string.h>

#include "lib/harness.h"
#include "shard/env.h"

static char trace[64];

static void
note(char c)
{
    size_t size = strlen(trace);

    cr_assert_lt(size, sizeof(trace) - 1);
    trace[size] = c;
    trace[size + 1] = '\0';
}

static void
on_frame(void *arg, struct address from, struct frame **frame)
{
    (void)from;
    (void)frame;
    note(*(const char *)arg);
}

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer)
{
    cr_assert_eq(event, LINK_SILENT);
    cr_assert_eq(peer->node, 3);
    note(*(const char *)arg);
}

static void
on_turn(void *arg)
{
    note(*(const char *)arg);
}

static struct env_handler
handler(const char *name, uint16_t first, uint16_t limit)
{
    static char names[] = "abcdefghijkl";

    return (struct env_handler){.arg = strchr(names, name[0]),
                                .kind_first = first,
                                .kind_limit = limit,
                                .on_frame = on_frame,
                                .on_link = on_link,
                                .on_turn = on_turn};
}

Test(env, finds_the_handler_of_a_kind)
{
    struct env env = {.node = 1};
    struct env_handler a = handler("a", 16, 64);
    struct env_handler b = handler("b", 64, 128);

    env_register(&env, &a);
    env_register(&env, &b);
    cr_expect_null(env_handler(&env, 15));
    cr_expect_eq(env_handler(&env, 16)->arg, a.arg);
    cr_expect_eq(env_handler(&env, 63)->arg, a.arg);
    cr_expect_eq(env_handler(&env, 64)->arg, b.arg);
    cr_expect_null(env_handler(&env, 128));
}

Test(env, tells_rooms_in_the_order_they_registered)
{
    struct env env = {.node = 1};
    struct env_handler a = handler("a", 64, 128);
    struct env_handler b = handler("b", 16, 64);
    struct env_handler silent = {.arg = NULL};
    struct link_peer peer = {.node = 3};

    env_register(&env, &b);
    env_register(&env, &silent);
    env_register(&env, &a);
    trace[0] = '\0';
    env_run_turn(&env);
    env_link_event(&env, LINK_SILENT, &peer);
    cr_expect_str_eq(trace, "baba");
}

static struct env_handler late;

static void
on_link_register(void *arg, enum link_event event, const struct link_peer *peer)
{
    (void)peer;
    if (event == LINK_UP && late.on_link != NULL) {
        env_register(arg, &late);
        late.on_link = NULL;
    }
}

static int ups[8];
static int downs[8];

static void
on_link_count(void *arg, enum link_event event, const struct link_peer *peer)
{
    (void)arg;
    ups[peer->node] += event == LINK_UP;
    downs[peer->node] += event == LINK_DOWN;
}

Test(env, tells_late_rooms_of_the_links_that_are_up)
{
    struct env env = {.node = 1};
    struct env_handler first = {.arg = &env, .on_link = on_link_register};
    struct link_peer peers[] = {{.node = 2}, {.node = 3}, {.node = 4}};

    env_register(&env, &first);
    env_link_event(&env, LINK_UP, &peers[0]);
    env_link_event(&env, LINK_UP, &peers[1]);
    env_link_event(&env, LINK_SILENT, &peers[1]);
    env_link_event(&env, LINK_DOWN, &peers[0]);
    env_link_event(&env, LINK_REFUSED, &peers[0]);
    late = (struct env_handler){.on_link = on_link_count};
    env_link_event(&env, LINK_UP, &peers[2]); /* registers `late` */
    cr_expect_eq(ups[2], 0);
    cr_expect_eq(ups[3], 1);
    cr_expect_eq(ups[4], 1);
    env_link_event(&env, LINK_DOWN, &peers[1]);
    cr_expect_eq(downs[3], 1);
}

Test(env, takes_as_many_rooms_as_its_limit_says)
{
    struct env env = {.node = 1};
    struct env_handler none = {.arg = NULL};

    for (int i = 0; i < ENV_HANDLERS_MAX; i++) {
        env_register(&env, &none);
    }
    cr_expect_eq(env.handlers_count, ENV_HANDLERS_MAX);
}

Test(env, stops_at_one_room_more, .signal = SIGABRT)
{
    struct env env = {.node = 1};
    struct env_handler none = {.arg = NULL};

    for (int i = 0; i < ENV_HANDLERS_MAX + 1; i++) {
        env_register(&env, &none);
    }
}

Test(env, stops_when_two_rooms_want_a_kind, .signal = SIGABRT)
{
    struct env env = {.node = 1};
    struct env_handler a = handler("a", 16, 64);
    struct env_handler b = handler("b", 63, 65);

    env_register(&env, &a);
    env_register(&env, &b);
}

Test(env, spreads_groups_but_for_the_reserved)
{
    cr_expect_eq(env_shard_of(QR_GROUP_META, 4), 0);
    cr_expect_eq(env_shard_of(QR_GROUP_FIRST_QUEUE - 1, 4), 0);
    cr_expect_eq(env_shard_of(QR_GROUP_FIRST_QUEUE + 3, 4), 3);
    cr_expect_eq(env_shard_of(QR_GROUP_FIRST_QUEUE + 3, 1), 0);
}
