/* A client's bytes, and a whole node behind them: connection, broker, queue
 * group, store.
 *
 *   0        1
 *   +--------+---------------------------------+
 *   | flags  | what the client sends           |
 *   +--------+---------------------------------+
 *
 * Flags: bits 0-5 times 16: bytes of a read, 0 for all at once; bit 6 the
 * client is lost when its bytes are out, instead of being waited for. */
#include <string.h>

#include "amqp/connection.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/slice.h"
#include "fuzz/client.h"
#include "fuzz/fuzz.h"
#include "fuzz/world.h"

enum {
    READ_MASK = 63,
    READ_UNIT = 16,
    LOST = 64,
    METHODS_MAX = 24,
    PASS_MS = 5, /* longer than a commit takes */
    TURNS_MAX = 400,
    REST_MS = 1000
};

struct socket {
    struct world *world;
    bool is_reading;
    bool is_closed;
    bool wants_turn;
    size_t written;
};

static void
on_write(void *arg, const void *data, size_t size)
{
    struct socket *s = arg;

    ASSERT(!s->is_closed);
    ASSERT(data != NULL);
    s->written += size;
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
    ((struct socket *)arg)->is_reading = on;
}

static void
on_close(void *arg, bool flush)
{
    (void)flush;
    ((struct socket *)arg)->is_closed = true;
}

static void
on_want_turn(void *arg)
{
    ((struct socket *)arg)->wants_turn = true;
}

static void
on_deadline(void *arg, uint64_t at_ms)
{
    (void)arg;
    (void)at_ms;
}

static uint64_t
on_now(void *arg)
{
    return sim_now_us(((struct socket *)arg)->world->sim) / 1000;
}

static void
pass(struct amqp_connection *c, struct socket *s)
{
    world_pass(s->world, PASS_MS);
    while (s->wants_turn) {
        s->wants_turn = false;
        amqp_connection_turn(c);
        amqp_connection_writable(c, 0);
    }
}

/* All of the bytes, READ at a time, as far as they are wanted. */
static void
feed(struct amqp_connection *c, struct socket *s, const uint8_t *data,
     size_t size, size_t read)
{
    size_t start = 0;
    size_t end = 0;

    for (unsigned i = 0; i < TURNS_MAX && !s->is_closed; i++) {
        struct slice bytes;

        if (s->is_reading && start < size) {
            end = read == 0 ? size : MIN(size, MAX(end, start) + read);
            bytes = slice_copy(data + start, end - start);
            start += amqp_connection_input(c, &bytes);
            ASSERT(start <= end);
            slice_unref(&bytes);
            if (end == size) {
                pass(c, s);
                if (s->is_reading) {
                    break;
                }
            }
        }
        pass(c, s);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct amqp_config config = {.heartbeat_s = 0};
    static const struct amqp_peer peer = {
        .name = "fuzz", .host = "fuzz", .is_loopback = true};
    static struct world w;
    struct socket s = {.world = &w, .is_reading = true};
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
    struct amqp_connection *c = NULL;

    if (size == 0) {
        return 0;
    }
    world_reset(&w);
    c = amqp_connection_new(&config, world_broker(&w), &peer, &transport);
    feed(c, &s, data + 1, size - 1, (size_t)(data[0] & READ_MASK) * READ_UNIT);
    if ((data[0] & LOST) == 0) {
        pass(c, &s);
    }
    amqp_connection_free(&c);
    world_pass(&w, REST_MS);
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    buf_put_u8(&b, (uint8_t)rng_below(r, 128));
    client_put_handshake(&b);
    for (uint64_t n = rng_below(r, METHODS_MAX); n > 0; n--) {
        client_put_random(r, &b);
    }
    size = MIN(b.size, capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
