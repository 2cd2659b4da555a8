/* Operators' requests against a whole node: whatever is asked, there is one
 * answer, in time, and it is JSON. */
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "fuzz/fuzz.h"
#include "fuzz/world.h"
#include "mgmt/json_check.h"
#include "mgmt/mgmt.h"
#include "mgmt/protocol.h"

enum {
    STEP_MS = 5,
    ANSWER_MS = REQUEST_TIMEOUT_MS_MAX + 1000
};

struct answer {
    struct mgmt_call call;
    bool is_done;
};

static void
on_done(struct mgmt_call *call, uint8_t code, struct buf *json)
{
    struct answer *a = call->arg;
    struct error err;
    int rv = json_check_object((const char *)json->data, json->size, &err);

    (void)code;
    ASSERT(!a->is_done);
    ASSERT(rv == 0);
    a->is_done = true;
}

static void
on_stop(void *arg)
{
    (void)arg;
}

static void
say_row(void *arg, mgmt_row_cb row, void *row_arg)
{
    (void)arg;
    row(row_arg, "a_key", "a \"value\"");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct mgmt_config config = {.node_name = "n1",
                                 .stop = on_stop,
                                 .status = say_row,
                                 .environment = say_row};
    struct answer a = {.call = {.done = on_done}};
    static struct mgmt *mgmt;

    if (world_is_used_up(&w)) {
        mgmt_free(&mgmt);
    }
    world_reset(&w);
    if (mgmt == NULL) {
        config.env = sim_env(w.sim, w.id, 0);
        config.broker = world_broker(&w);
        mgmt = mgmt_new(&config);
    }
    a.call.arg = &a;
    mgmt_request(mgmt, data, size, &a.call);
    for (uint64_t ms = 0; ms < ANSWER_MS && !a.is_done; ms += STEP_MS) {
        world_pass(&w, STEP_MS);
    }
    ASSERT(a.is_done);
    return 0;
}

static const char *const WORDS[] = {"/", "guest", "q",    ".*", "{\"a\":1}",
                                    "1", "all",   "name", "n1"};

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    enum command_id id = (enum command_id)rng_below(r, COMMAND_COUNT);
    const struct command_row *row = command_row(id);
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    request_put_command(&b, id);
    for (unsigned i = 0; i < OPTION_COUNT; i++) {
        enum command_option option = (enum command_option)i;

        if (command_takes(row, option) && rng_below(r, 3) == 0) {
            request_put_option(&b, option,
                               option_row(option)->value == NULL
                                   ? NULL
                                   : WORDS[rng_below(r, ARRAY_COUNT(WORDS))]);
        }
    }
    request_put_end(&b);
    for (size_t i = 0; i < row->args_min; i++) {
        request_put_argument(&b, WORDS[rng_below(r, ARRAY_COUNT(WORDS))]);
    }
    size = b.size;
    ASSERT(size <= capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
