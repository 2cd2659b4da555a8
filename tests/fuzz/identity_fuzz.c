/* The lines about a cluster, of identity files and FORM frames: what was
 * understood is written and read again the same. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "broker/cluster.h"
#include "fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cluster id = {.members_count = 0};
    struct cluster again = {.members_count = 0};
    struct error err;
    struct buf first;
    struct buf second;
    int rv = 0;

    error_clear(&err);
    if (cluster_get(&id, (const char *)data, size, &err) != 0) {
        ASSERT(id.members_count == 0);
        return 0;
    }
    ASSERT(id.members_count <= CLUSTER_MEMBERS_MAX);
    buf_init(&first);
    buf_init(&second);
    cluster_put(&first, &id);
    rv = cluster_get(&again, (const char *)first.data, first.size, &err);
    ASSERT(rv == 0);
    cluster_put(&second, &again);
    ASSERT(first.size == second.size);
    ASSERT(memcmp(first.data, second.data, first.size) == 0);
    buf_deinit(&first);
    buf_deinit(&second);
    return 0;
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct cluster id = {.members_count = 1 + (size_t)rng_below(r, 3)};
    struct buf b;
    size_t size = 0;

    memset(id.id.bytes, 7, sizeof(id.id.bytes));
    for (size_t i = 0; i < id.members_count; i++) {
        id.members[i].id = (qr_node_id)(i + 1);
        memset(id.members[i].uuid.bytes, (int)i, sizeof(struct uuid));
        (void)snprintf(id.members[i].name, sizeof(id.members[i].name), "n%zu",
                       i);
    }
    buf_init(&b);
    if (rng_below(r, 2) == 0) {
        buf_put_text(&b, "founders\n");
    }
    cluster_put(&b, &id);
    size = b.size;
    ASSERT(size <= capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
