/* The AMQP front end: what a client sends, from the protocol header on, cut
 * into reads anywhere, against a broker in memory.
 *
 *   0        1
 *   +--------+---------------------------------+
 *   | flags  | what the client sends           |
 *   +--------+---------------------------------+
 *
 * Flags: bits 0-3 bytes of a read, 0 for all at once; bit 4 the broker answers
 * late; bit 5 the socket takes nothing. */
#include <string.h>

#include "amqp/connection.h"
#include "amqp/content.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/slice.h"
#include "fuzz/fuzz.h"
#include "unit/amqp/fake_broker.h"

enum {
    READ_MASK = 15,
    LATE = 16,
    SLOW = 32,
    METHODS_MAX = 24
};

/* A socket: counts, and checks that nothing comes after the end. */
struct socket {
    size_t written;
    size_t backlog;
    uint64_t deadline_ms;
    bool is_slow;
    bool is_reading;
    bool is_closed;
    bool wants_turn;
};

static void
on_write(void *arg, const void *data, size_t size)
{
    struct socket *s = arg;

    ASSERT(!s->is_closed);
    ASSERT(data != NULL);
    s->written += size;
    s->backlog += s->is_slow ? size : 0;
}

static void
on_write_slice(void *arg, struct slice *slice)
{
    on_write(arg, slice->data, slice->size);
    slice_unref(slice);
}

static void
on_read(void *arg, bool on)
{
    struct socket *s = arg;

    ASSERT(s->is_reading != on);
    s->is_reading = on;
}

static void
on_close(void *arg, bool flush)
{
    struct socket *s = arg;

    (void)flush;
    ASSERT(!s->is_closed);
    s->is_closed = true;
}

static void
on_want_turn(void *arg)
{
    struct socket *s = arg;

    ASSERT(!s->wants_turn);
    s->wants_turn = true;
}

static void
on_deadline(void *arg, uint64_t at_ms)
{
    ((struct socket *)arg)->deadline_ms = at_ms;
}

static uint64_t
on_now(void *arg)
{
    (void)arg;
    return 1000;
}

static void
end_turn(struct amqp_connection *c, struct socket *s, struct broker *b)
{
    fake_broker_run(b);
    if (s->wants_turn) {
        s->wants_turn = false;
        amqp_connection_turn(c);
        amqp_connection_writable(c, s->backlog);
    }
}

/* Give the connection READ bytes more at a time. */
static void
feed(struct amqp_connection *c, struct socket *s, struct broker *b,
     const uint8_t *data, size_t size, size_t read)
{
    size_t start = 0;
    size_t end = 0;

    while (end < size && s->is_reading && !s->is_closed) {
        struct slice bytes;

        end = read == 0 ? size : MIN(size, end + read);
        /* A block of their own: a read past them is found. */
        bytes = slice_copy(data + start, end - start);
        start += amqp_connection_input(c, &bytes);
        ASSERT(start <= end);
        slice_unref(&bytes);
        end_turn(c, s, b);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct amqp_config config = {.heartbeat_s = 60};
    static const struct amqp_peer peer = {.name = "fuzz", .host = "fuzz"};
    struct socket s = {.is_reading = true};
    struct amqp_transport transport = {
        .arg = &s,
        .write = on_write,
        .write_slice = on_write_slice,
        .read = on_read,
        .close = on_close,
        .want_turn = on_want_turn,
        .deadline = on_deadline,
        .now_ms = on_now,
    };
    struct broker *b = fake_broker_new();
    struct amqp_connection *c =
        amqp_connection_new(&config, b, &peer, &transport);

    if (size > 0) {
        s.is_slow = (data[0] & SLOW) != 0;
        fake_broker_fill(b, "q", 3, 600);
        feed(c, &s, b, data + 1, size - 1, data[0] & READ_MASK);
        if ((data[0] & LATE) != 0) {
            fake_broker_control(b)->hold_calls = true;
        }
        feed(c, &s, b, data + 1, size - 1, 0); /* all of it once more */
        fake_broker_drop(b, "q");
        amqp_connection_tick(c, s.deadline_ms == UINT64_MAX ? 2000
                                                            : s.deadline_ms);
        end_turn(c, &s, b);
    }
    amqp_connection_free(&c);
    ASSERT(fake_broker_stats(b)->consumers == 0);
    ASSERT(fake_broker_stats(b)->publishers == 0);
    ASSERT(fake_broker_stats(b)->connections == 0);
    ASSERT(fake_broker_stats(b)->calls == 0);
    fake_broker_free(&b);
    return 0;
}

static void
put_method(struct buf *b, uint16_t channel, const struct amqp_method *m)
{
    size_t mark = amqp_frame_begin(b, AMQP_FRAME_METHOD, channel);

    amqp_method_encode(m, b);
    amqp_frame_end(b, mark);
}

static void
put_handshake(struct buf *b)
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

static void
put_random(struct rng *r, struct buf *b)
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

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    buf_put_u8(&b, (uint8_t)rng_below(r, 64));
    put_handshake(&b);
    for (uint64_t n = rng_below(r, METHODS_MAX); n > 0; n--) {
        put_random(r, &b);
    }
    size = MIN(b.size, capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
