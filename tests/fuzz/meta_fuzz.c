/* The metadata machine: its commands, and its snapshots. Whatever the bytes,
 * the state is sound after them, and its snapshot can be restored. */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "machine/meta/meta_command.h"
#include "machine/meta/meta_state.h"

enum {
    NODES = 3,
    VERBS = 10
};

static struct meta_text
name_of(const char *const *names, uint64_t pick)
{
    const char *name = names[pick % 4];

    return meta_text(name, strlen(name));
}

static const char *const VHOSTS[] = {"/", "v", "/", "w"};
static const char *const QUEUES[] = {"a", "b", "c", "d"};
static const char *const EXCHANGES[] = {"amq.topic", "x", "y", "amq.direct"};
static const char *const KEYS[] = {"a.#", "a.b", "", "#.*"};

static void
put_node(struct buf *b, qr_node_id id, uint32_t boot)
{
    char name[2] = {(char)('0' + id), '\0'};
    struct meta_node node = {
        .id = id, .name = meta_text(name, 1), .boot = boot};

    memset(node.uuid.bytes, (int)id, sizeof(node.uuid.bytes));
    meta_put_node_up(b, 1, 1, &node);
}

static void
put_queue(struct buf *b, struct rng *r)
{
    struct meta_queue_declare d = {.vhost = name_of(VHOSTS, rng_u64(r)),
                                   .name = name_of(QUEUES, rng_u64(r)),
                                   .is_durable = rng_chance(r, 500000),
                                   .nodes = {1, 2, 3},
                                   .nodes_count = NODES};

    if (rng_chance(r, 300000)) {
        d.owner = (struct meta_owner){1, 1, rng_below(r, 3)};
    }
    meta_put_queue_declare(b, 1, 1, &d);
}

static void
put_binding(struct buf *b, struct rng *r)
{
    struct meta_binding binding = {.vhost = name_of(VHOSTS, rng_u64(r)),
                                   .source = name_of(EXCHANGES, rng_u64(r)),
                                   .to_exchange = rng_chance(r, 300000),
                                   .key = name_of(KEYS, rng_u64(r))};

    binding.destination = binding.to_exchange ? name_of(EXCHANGES, rng_u64(r))
                                              : name_of(QUEUES, rng_u64(r));
    if (rng_chance(r, 800000)) {
        meta_put_bind(b, 1, 1, &binding);
    } else {
        meta_put_unbind(b, 1, 1, &binding);
    }
}

static void
put_exchange(struct buf *b, struct rng *r)
{
    struct meta_exchange x = {.vhost = name_of(VHOSTS, rng_u64(r)),
                              .name = name_of(EXCHANGES, rng_u64(r)),
                              .type = (enum meta_exchange_type)rng_between(
                                  r, META_DIRECT, META_HEADERS),
                              .is_auto_delete = rng_chance(r, 500000)};

    meta_put_exchange_declare(b, 1, 1, &x);
}

static void
put_user(struct buf *b, struct rng *r)
{
    struct meta_user user = {.name = name_of(QUEUES, rng_u64(r))};
    struct meta_permission p = {.vhost = name_of(VHOSTS, rng_u64(r)),
                                .user = user.name};

    meta_put_user_add(b, 1, 1, &user);
    meta_put_permission_set(b, 1, 1, &p);
}

static void
put_end(struct buf *b, struct rng *r)
{
    struct meta_queue_delete del = {.vhost = name_of(VHOSTS, rng_u64(r)),
                                    .name = name_of(QUEUES, rng_u64(r))};
    struct meta_owner owner = {1, 1, rng_below(r, 3)};

    if (rng_chance(r, 500000)) {
        meta_put_queue_delete(b, 1, 1, &del);
    } else {
        meta_put_connection_gone(b, 1, 1, &owner);
    }
}

/* A row of commands that fit one another. */
static void
put_commands(struct buf *b, struct rng *r)
{
    uint64_t count = rng_below(r, 20);

    for (qr_node_id id = 1; id <= NODES; id++) {
        put_node(b, id, 1);
    }
    for (size_t i = 0; i < 2; i++) {
        struct meta_vhost vhost = {.name = name_of(VHOSTS, i)};

        meta_put_vhost_add(b, 1, 1, &vhost);
    }
    for (uint64_t i = 0; i < count; i++) {
        switch (rng_below(r, VERBS)) {
        case 0:
            put_end(b, r);
            break;
        case 1:
            put_exchange(b, r);
            break;
        case 2:
            put_user(b, r);
            break;
        case 3:
            put_node(b, (qr_node_id)rng_between(r, 1, NODES), 2);
            break;
        case 4:
        case 5:
        case 6:
            put_queue(b, r);
            break;
        default:
            put_binding(b, r);
            break;
        }
    }
}

/* What M is, restored, is M. */
static void
check_round_trip(struct meta_machine *m)
{
    struct meta_machine *other = meta_machine_new(NULL);
    struct buf a;
    struct buf b;
    int rv = 0;

    buf_init(&a);
    buf_init(&b);
    meta_check(m);
    meta_machine_snapshot(m, &a);
    rv = meta_machine_restore(other, 1, a.data, a.size);
    ASSERT(rv == 0);
    meta_machine_snapshot(other, &b);
    ASSERT(a.size == b.size);
    ASSERT(memcmp(a.data, b.data, a.size) == 0);
    buf_deinit(&a);
    buf_deinit(&b);
    meta_machine_free(&other);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct meta_machine *m = meta_machine_new(NULL);

    /* The first byte tells whether the rest is commands or a snapshot. */
    if (size > 0 && data[0] % 2 == 0) {
        meta_machine_apply(m, 1, 1000, data + 1, size - 1);
    } else if (size > 0) {
        if (meta_machine_restore(m, 1, data + 1, size - 1) != 0) {
            ASSERT(meta_applied(m) == 0);
        }
    }
    check_round_trip(m);
    meta_machine_free(&m);
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct meta_machine *m = NULL;
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    if (rng_chance(r, 500000)) {
        buf_put_u8(&b, 0);
        put_commands(&b, r);
    } else {
        m = meta_machine_new(NULL);
        put_commands(&b, r);
        meta_machine_apply(m, 1, 1000, b.data, b.size);
        buf_clear(&b);
        buf_put_u8(&b, 1);
        meta_machine_snapshot(m, &b);
        meta_machine_free(&m);
    }
    size = b.size <= capacity ? b.size : 0;
    if (size > 0) {
        memcpy(at, b.data, size);
    }
    buf_deinit(&b);
    return size;
}
