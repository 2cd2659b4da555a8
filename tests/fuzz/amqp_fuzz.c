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
#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/slice.h"
#include "fuzz/client.h"
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

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    buf_put_u8(&b, (uint8_t)rng_below(r, 64));
    client_put_handshake(&b);
    for (uint64_t n = rng_below(r, METHODS_MAX); n > 0; n--) {
        client_put_random(r, &b);
    }
    size = MIN(b.size, capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
