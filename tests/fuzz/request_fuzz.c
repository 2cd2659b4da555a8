/* Requests on the socket of quoratectl, and records between nodes. */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/json.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "mgmt/json_check.h"
#include "mgmt/protocol.h"
#include "mgmt/record.h"
#include "mgmt/table_json.h"

/* Each text of R lies within the SIZE bytes at DATA and ends there. */
static void
check_request(const struct request *r, const char *data, size_t size)
{
    const struct command_row *row = command_row(r->command);

    ASSERT(r->args_count >= row->args_min);
    ASSERT(r->args_count <= row->args_max);
    for (size_t i = 0; i < r->args_count; i++) {
        ASSERT(r->args[i] > data);
        ASSERT(r->args[i] + strlen(r->args[i]) < data + size);
    }
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        if (r->options[i] != NULL) {
            ASSERT(command_takes(row, (enum command_option)i));
        }
    }
}

static void
feed_table(const uint8_t *data, size_t size)
{
    struct json j;
    struct buf out;

    buf_init(&out);
    json_init(&j, &out);
    table_json_put(&j, meta_text((const char *)data, size));
    ASSERT(json_is_complete(&j));
    buf_deinit(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct replica_record replica;
    struct node_record node;
    struct request request;
    struct error err;
    struct cursor c;
    uint64_t ms = 0;

    error_clear(&err);
    if (request_decode(data, size, &request, &err) == 0) {
        check_request(&request, (const char *)data, size);
        if (request_timeout(&request, &ms, &err) == 0) {
            ASSERT(ms > 0);
            ASSERT(ms <= REQUEST_TIMEOUT_MS_MAX);
        }
    }
    cursor_init(&c, data, size);
    while (record_get_replica(&c, &replica)) {
        ASSERT(replica.state.data != NULL);
    }
    cursor_init(&c, data, size);
    while (record_get_node(&c, &node)) {
        ASSERT(node.meta_state.data != NULL);
    }
    if (json_check_object((const char *)data, size, &err) == 0) {
        ASSERT(size >= sizeof("{\"\":0}") - 1); /* the smallest */
    }
    feed_table(data, size);
    return 0;
}

static void
seed_request(struct rng *r, struct buf *b)
{
    enum command_id id = (enum command_id)rng_below(r, COMMAND_COUNT);
    const struct command_row *row = command_row(id);

    request_put_command(b, id);
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        enum command_option option = (enum command_option)i;

        if (command_takes(row, option) && rng_below(r, 3) == 0) {
            request_put_option(
                b, option, option_row(option)->value == NULL ? NULL : "1.5");
        }
    }
    request_put_end(b);
    for (size_t i = 0; i < row->args_min; i++) {
        request_put_argument(b, "name");
    }
}

static void
seed_records(struct rng *r, struct buf *b)
{
    struct replica_record replica = {.state = {"leader", 6}};
    struct node_record node = {.version = {"0.1", 3}, .meta_state = {"x", 1}};

    replica.group = rng_u64(r);
    replica.last = rng_below(r, 1000);
    node.uptime_ms = rng_u64(r);
    if (rng_below(r, 2) == 0) {
        record_put_replica(b, &replica);
    } else {
        record_put_node(b, &node);
    }
}

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    static const char json[] =
        "{\"a\":[1,-2.5e3,true,null],\"b\":{\"\":\"x\"}}";
    static const char table[] = "\1aF\0\0\0\4\1bt\1\1cA\0\0\0\2bx";
    struct buf b;
    size_t size;

    buf_init(&b);
    switch (rng_below(r, 4)) {
    case 0:
        buf_put(&b, json, sizeof(json) - 1);
        break;
    case 1:
        buf_put(&b, table, sizeof(table) - 1);
        break;
    case 2:
        seed_records(r, &b);
        break;
    default:
        seed_request(r, &b);
        break;
    }
    size = b.size;
    ASSERT(size <= capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
