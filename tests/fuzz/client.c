/* See client.h. */
#include "fuzz/client.h"

#include <string.h>

#include "amqp/content.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"

static void
put_method(struct buf *b, uint16_t channel, const struct amqp_method *m)
{
    size_t mark = amqp_frame_begin(b, AMQP_FRAME_METHOD, channel);

    amqp_method_encode(m, b);
    amqp_frame_end(b, mark);
}

void
client_put_handshake(struct buf *b)
{
    struct amqp_method m = {.id = AMQP_connection_start_ok};

    buf_put(b, "AMQP\0\0\x9\1", 8);
    m.connection_start_ok.client_properties = amqp_text("");
    m.connection_start_ok.mechanism = amqp_text("PLAIN");
    m.connection_start_ok.response = (struct amqp_text){"\0guest\0guest", 12};
    m.connection_start_ok.locale = amqp_text("en_US");
    put_method(b, 0, &m);
    m.id = AMQP_connection_tune_ok;
    m.connection_tune_ok.channel_max = 4;
    m.connection_tune_ok.frame_max = AMQP_FRAME_SIZE_MIN;
    m.connection_tune_ok.heartbeat = 60;
    put_method(b, 0, &m);
    m.id = AMQP_connection_open;
    m.connection_open.virtual_host = amqp_text("/");
    m.connection_open.reserved_1 = amqp_text("");
    m.connection_open.reserved_2 = false;
    put_method(b, 0, &m);
    m.id = AMQP_channel_open;
    m.channel_open.reserved_1 = amqp_text("");
    put_method(b, 1, &m);
    put_method(b, 2, &m);
}

/* Small numbers, few bits, and names that mean something. */
static void
seed_field(struct rng *r, const struct amqp_field *f, void *at)
{
    static const char *const names[] = {"", "q", "x", "t"};

    switch (f->type) {
    case AMQP_TYPE_octet:
        *(uint8_t *)at = (uint8_t)rng_below(r, 4);
        return;
    case AMQP_TYPE_short:
        *(uint16_t *)at = (uint16_t)rng_below(r, 4);
        return;
    case AMQP_TYPE_long:
        *(uint32_t *)at = 0;
        return;
    case AMQP_TYPE_longlong:
        *(uint64_t *)at = rng_below(r, 6);
        return;
    case AMQP_TYPE_bit:
        *(bool *)at = rng_below(r, 4) == 0;
        return;
    case AMQP_TYPE_shortstr:
    case AMQP_TYPE_longstr:
        *(struct amqp_text *)at =
            amqp_text(names[rng_below(r, ARRAY_COUNT(names))]);
        return;
    case AMQP_TYPE_table:
        *(struct amqp_text *)at =
            amqp_text(rng_below(r, 2) == 0 ? "" : "\1at\1\1bS\0\0\0\1");
        return;
    case AMQP_TYPE_END:
        break;
    }
    UNREACHABLE("the end is not a field");
}

static void
put_content(struct rng *r, struct buf *b, uint16_t channel)
{
    size_t body = (size_t)rng_below(r, 40);
    size_t mark = amqp_frame_begin(b, AMQP_FRAME_HEADER, channel);

    amqp_content_head(b, body);
    buf_put(b, rng_below(r, 2) == 0 ? "\0\0" : "\x10\0\2",
            2); /* the latter lacks its octet */
    amqp_frame_end(b, mark);
    while (body > 0) {
        size_t size = 1 + (size_t)rng_below(r, body);

        mark = amqp_frame_begin(b, AMQP_FRAME_BODY, channel);
        memset(buf_extend(b, size), 'b', size);
        amqp_frame_end(b, mark);
        body -= size;
    }
}

void
client_put_random(struct rng *r, struct buf *b)
{
    const struct amqp_method_spec *spec = NULL;
    struct amqp_method m;
    uint16_t channel = (uint16_t)(1 + rng_below(r, 2));

    do {
        spec = amqp_method_of_row((enum amqp_row)rng_below(r, AMQP_ROWS));
    } while (amqp_class_of(spec->id) < 40 || spec->who == AMQP_BY_SERVER);
    memset(&m, 0, sizeof(m));
    m.id = spec->id;
    for (const struct amqp_field *f = spec->fields; f->type != AMQP_TYPE_END;
         f++) {
        seed_field(r, f, (uint8_t *)&m + f->offset);
    }
    put_method(b, channel, &m);
    if (spec->flags == AMQP_IS_CONTENT) {
        put_content(r, b, channel);
    }
}
