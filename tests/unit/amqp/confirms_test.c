/* Confirms: together where they can be, and none twice. */
#include "amqp/confirms.h"
#include "base/buf.h"
#include "base/rng.h"
#include "lib/harness.h"

enum {
    TAGS = 2000
};

/* What the client makes of it. */
struct client {
    bool is_known[TAGS + 1];
    bool is_ok[TAGS + 1];
    uint64_t published;
    size_t told;
    struct buf lines;
};

static void
client_hear(void *arg, uint64_t tag, bool multiple, bool is_ok)
{
    struct client *c = arg;

    c->told++;
    cr_assert_leq(tag, c->published);
    cr_assert_not(c->is_known[tag], "tag %d twice", (int)tag);
    for (uint64_t t = multiple ? 1 : tag; t <= tag; t++) {
        if (!c->is_known[t]) {
            c->is_known[t] = true;
            c->is_ok[t] = is_ok;
        }
    }
    buf_putf(&c->lines, "%s%d%s ", is_ok ? "+" : "-", (int)tag,
             multiple ? "m" : "");
}

static void
expect_lines(struct client *c, const char *expected)
{
    buf_put_u8(&c->lines, 0);
    cr_assert_str_eq((const char *)c->lines.data, expected);
    buf_clear(&c->lines);
}

static void
publish(struct confirms *c, struct client *client, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(confirms_add(c), ++client->published);
    }
}

Test(confirms, are_told_together)
{
    struct confirms c;
    static struct client client;

    confirms_init(&c);
    buf_init(&client.lines);
    publish(&c, &client, 10);
    confirms_settle(&c, 1, false, true);
    confirms_settle(&c, 2, false, true);
    confirms_settle(&c, 3, false, true);
    confirms_settle(&c, 5, false, true);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "+3m +5 ");
    confirms_settle(&c, 4, false, true);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "+4 ");
    confirms_settle(&c, 9, true, true);
    cr_assert_eq(c.pending, 1);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "+9m ");
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "");
    confirms_deinit(&c);
    buf_deinit(&client.lines);
}

Test(confirms, refusals_come_before_what_covers_them)
{
    struct confirms c;
    static struct client client;

    confirms_init(&c);
    buf_init(&client.lines);
    publish(&c, &client, 4);
    confirms_settle(&c, 3, true, true);
    confirms_settle(&c, 4, false, false);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "-4 +3m ");
    publish(&c, &client, 3);
    confirms_settle(&c, 6, false, false);
    confirms_settle(&c, 5, false, true);
    confirms_settle(&c, 7, false, true);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "-6 +7m ");
    cr_assert_eq(c.pending, 0);
    confirms_deinit(&c);
    buf_deinit(&client.lines);
}

Test(confirms, of_tags_that_are_not_pending_are_skipped)
{
    struct confirms c;
    static struct client client;

    confirms_init(&c);
    buf_init(&client.lines);
    publish(&c, &client, 2);
    confirms_settle(&c, 3, false, true);
    confirms_settle(&c, 1, false, true);
    confirms_settle(&c, 1, false, false);
    confirms_settle(&c, 0, false, true);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "+1 ");
    confirms_settle(&c, 1, false, true);
    confirms_tell(&c, client_hear, &client);
    expect_lines(&client, "");
    cr_assert_eq(c.pending, 1);
    confirms_deinit(&c);
    buf_deinit(&client.lines);
}

Test(confirms, settle_every_tag_once_in_any_order)
{
    struct confirms c;
    static struct client client;
    static int8_t truth[TAGS + 1]; /* 0 pending, 1 ok, -1 refused */
    struct rng rng;

    rng_init(&rng, 65);
    confirms_init(&c);
    buf_init(&client.lines);
    for (int step = 0; step < 20000; step++) {
        uint64_t tag = 0;
        bool is_ok = rng_below(&rng, 5) != 0;
        bool multiple = rng_below(&rng, 8) == 0;

        if (client.published < TAGS && rng_below(&rng, 3) == 0) {
            publish(&c, &client, 1);
            continue;
        }
        if (rng_below(&rng, 4) == 0 || client.published == 0) {
            confirms_tell(&c, client_hear, &client);
            buf_clear(&client.lines);
            continue;
        }
        tag = client.published - rng_below(&rng, MIN(client.published, 20));
        confirms_settle(&c, tag, multiple, is_ok);
        for (uint64_t t = multiple ? 1 : tag; t <= tag; t++) {
            truth[t] = truth[t] != 0 ? truth[t] : is_ok ? 1 : -1;
        }
    }
    confirms_settle(&c, TAGS, true, true);
    confirms_tell(&c, client_hear, &client);
    cr_assert_eq(client.published, TAGS);
    for (size_t t = 1; t <= TAGS; t++) {
        cr_assert(client.is_known[t]);
        cr_assert_eq(client.is_ok[t], truth[t] >= 0, "tag %zu", t);
    }
    cr_assert_lt(client.told, TAGS * 4 / 5);
    cr_assert_eq(c.pending, 0);
    confirms_deinit(&c);
    buf_deinit(&client.lines);
}
