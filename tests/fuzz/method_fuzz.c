/* AMQP's methods, content headers and field tables, each by itself: what is
 * accepted says the same when it is encoded and decoded again.
 *
 *   0        1
 *   +--------+------------------------------------+
 *   | what   | a payload: enum what               |
 *   +--------+------------------------------------+ */
#include <string.h>

#include "amqp/content.h"
#include "amqp/frame.h"
#include "amqp/limits.h"
#include "amqp/method.h"
#include "amqp/table.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"

enum what {
    WHAT_METHOD,
    WHAT_CONTENT,
    WHAT_TABLE,
    WHAT_FRAME,
    WHAT_COUNT
};

/* Walk a table that was found good: nothing in it may fail. */
static void
walk_table(struct amqp_text table)
{
    struct amqp_text open[AMQP_TABLE_DEPTH_MAX * 8];
    bool is_array[AMQP_TABLE_DEPTH_MAX * 8];
    size_t count = 0;

    open[count] = table;
    is_array[count++] = false;
    while (count > 0) {
        bool array = is_array[--count];
        struct amqp_value v;
        struct amqp_text key;
        struct cursor c;

        cursor_init(&c, open[count].data, open[count].size);
        while (array ? amqp_array_next(&c, &v)
                     : amqp_table_next(&c, &key, &v)) {
            if ((v.type == 'F' || v.type == 'A') && count < ARRAY_COUNT(open)) {
                open[count] = v.text;
                is_array[count++] = v.type == 'A';
            }
        }
        ASSERT(!c.bad);
        ASSERT(cursor_left(&c) == 0);
    }
}

static void
feed_table(struct amqp_text table)
{
    struct amqp_value v;

    if (amqp_table_check(table) == 0) {
        walk_table(table);
        (void)amqp_table_is_set(table, "t");
        (void)amqp_table_get(table, "x-match", &v);
    }
}

static void
feed_method(const uint8_t *data, size_t size)
{
    struct amqp_method m;
    struct amqp_method again;
    struct error err;
    struct buf first;
    struct buf second;

    if (amqp_method_decode(data, size, &m, &err) != 0) {
        return;
    }
    buf_init(&first);
    buf_init(&second);
    amqp_method_encode(&m, &first);
    ASSERT(amqp_method_decode(first.data, first.size, &again, &err) == 0);
    ASSERT(again.id == m.id);
    amqp_method_encode(&again, &second);
    ASSERT(first.size == second.size);
    ASSERT(memcmp(first.data, second.data, first.size) == 0);
    buf_deinit(&first);
    buf_deinit(&second);
}

static void
feed_content(const uint8_t *data, size_t size)
{
    struct amqp_content_header h;
    struct amqp_properties p;
    struct buf out;

    if (amqp_content_decode(data, size, &h) != 0) {
        return;
    }
    ASSERT(h.properties >= data);
    ASSERT(h.properties + h.properties_size <= data + size);
    ASSERT(amqp_properties_decode(h.properties, h.properties_size, &p) == 0);
    if ((p.flags & AMQP_HAS_headers) != 0) {
        walk_table(p.headers);
    }
    buf_init(&out);
    amqp_properties_encode(&p, &out);
    ASSERT(amqp_properties_decode(out.data, out.size, &p) == 0);
    buf_clear(&out);
    amqp_properties_put_count(h.properties, h.properties_size,
                              "x-delivery-count", 7, &out);
    ASSERT(amqp_properties_decode(out.data, out.size, &p) == 0);
    walk_table(p.headers);
    buf_deinit(&out);
}

static void
feed_frame(const uint8_t *data, size_t size)
{
    struct amqp_frame frame;
    size_t need = 0;
    int64_t taken =
        amqp_frame_decode(data, size, AMQP_FRAME_SIZE_MIN, &frame, &need);

    if (taken > 0) {
        ASSERT((size_t)taken <= size);
        ASSERT(frame.payload >= data);
        ASSERT(frame.payload + frame.size < data + taken);
        return;
    }
    if (taken == 0) {
        ASSERT(need > size);
        ASSERT(need <= AMQP_FRAME_SIZE_MIN);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch ((enum what)(data[0] % WHAT_COUNT)) {
    case WHAT_METHOD:
        feed_method(data + 1, size - 1);
        break;
    case WHAT_CONTENT:
        feed_content(data + 1, size - 1);
        break;
    case WHAT_TABLE:
        feed_table((struct amqp_text){(const char *)data + 1, size - 1});
        break;
    case WHAT_FRAME:
        feed_frame(data + 1, size - 1);
        break;
    case WHAT_COUNT:
        break;
    }
    return 0;
}

static void
put_table(struct rng *r, struct buf *b)
{
    amqp_table_put_text(b, "x-match", amqp_text("all"));
    amqp_table_put_int64(b, "n", (int64_t)rng_below(r, 1000));
    for (uint64_t depth = rng_below(r, 4); depth > 0; depth--) {
        size_t mark = amqp_table_begin(b, "sub");

        amqp_table_put_bool(b, "t", depth % 2 == 0);
        amqp_table_end(b, mark);
    }
}

static void
put_method(struct rng *r, struct buf *b)
{
    const struct amqp_method_spec *spec =
        amqp_method_of_row((enum amqp_row)rng_below(r, AMQP_ROWS));
    struct amqp_method m;
    struct buf table;

    buf_init(&table);
    put_table(r, &table);
    memset(&m, 0, sizeof(m));
    m.id = spec->id;
    for (const struct amqp_field *f = spec->fields; f->type != AMQP_TYPE_END;
         f++) {
        void *at = (uint8_t *)&m + f->offset;

        if (f->type == AMQP_TYPE_table) {
            *(struct amqp_text *)at =
                (struct amqp_text){(const char *)table.data, table.size};
        } else if (f->type == AMQP_TYPE_shortstr ||
                   f->type == AMQP_TYPE_longstr) {
            *(struct amqp_text *)at = amqp_text("name");
        }
    }
    amqp_method_encode(&m, b);
    buf_deinit(&table);
}

static void
put_content(struct rng *r, struct buf *b)
{
    struct amqp_properties p;
    struct buf table;

    buf_init(&table);
    put_table(r, &table);
    memset(&p, 0, sizeof(p));
    p.flags = (uint16_t)(rng_below(r, 1 << 14) << 2);
    p.content_type = amqp_text("text/plain");
    p.headers = (struct amqp_text){(const char *)table.data, table.size};
    p.content_encoding = amqp_text("x");
    p.correlation_id = amqp_text("1");
    p.reply_to = amqp_text("q");
    p.expiration = amqp_text("1000");
    p.message_id = amqp_text("m");
    p.type = amqp_text("t");
    p.user_id = amqp_text("guest");
    p.app_id = amqp_text("a");
    p.cluster_id = amqp_text("");
    amqp_content_head(b, rng_below(r, 4));
    amqp_properties_encode(&p, b);
    buf_deinit(&table);
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    uint64_t what = rng_below(r, WHAT_COUNT);
    struct buf b;
    size_t mark = 0;
    size_t size = 0;

    buf_init(&b);
    buf_put_u8(&b, (uint8_t)what);
    switch ((enum what)what) {
    case WHAT_METHOD:
        put_method(r, &b);
        break;
    case WHAT_CONTENT:
        put_content(r, &b);
        break;
    case WHAT_TABLE:
        put_table(r, &b);
        break;
    case WHAT_FRAME:
    case WHAT_COUNT:
        mark = amqp_frame_begin(&b, AMQP_FRAME_METHOD, 1);
        put_method(r, &b);
        amqp_frame_end(&b, mark);
        break;
    }
    size = b.size;
    ASSERT(size <= capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
