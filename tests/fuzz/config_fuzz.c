/* Configuration files. An operator writes them, so what matters is that every
 * fault is told, in text that names the file, and that nothing is kept of it
 * beyond its bounds. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "daemon/address.h"
#include "daemon/config.h"
#include "fuzz/fuzz.h"

enum {
    LINES_MAX = 8
};

static void
check(const struct config *c)
{
    char host[ADDRESS_HOST_SIZE];
    struct error err;
    uint16_t port = 0;
    char *flags = config_flags(&c->loopback_users);

    ASSERT(c->tcp_listeners.count <= CONFIG_LIST_MAX);
    for (size_t i = 0; i < c->tcp_listeners.count; i++) {
        if (address_parse(c->tcp_listeners.values[i], host, &port, &err) == 0) {
            ASSERT(strlen(host) < sizeof(host));
        }
    }
    mem_free(flags);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct error err;

    config_init(&c);
    error_clear(&err);
    if (config_parse(&c, "a.conf", (const char *)data, size, &err) != 0) {
        ASSERT(strncmp(err.text, "a.conf:", 7) == 0);
    }
    check(&c);
    config_deinit(&c);
    return 0;
}

static const char *const LINES[] = {
#define CONFIG(key, member, type, def, least, most, help) key " = " def "\n",
#include "daemon/config.def"
#undef CONFIG
    "# a comment\n",
    "loopback_users.guest = false\n",
    "loopback_users = none\n",
    "listeners.tcp.local = 127.0.0.1:5672\n",
    "listeners.tcp.six = [::1]:5672\n",
};

size_t
fuzz_seed(struct rng *r, uint8_t *at, size_t capacity)
{
    struct buf b;
    size_t size = 0;

    buf_init(&b);
    for (uint64_t n = 1 + rng_below(r, LINES_MAX); n > 0; n--) {
        buf_put_text(&b, LINES[rng_below(r, ARRAY_COUNT(LINES))]);
    }
    size = b.size;
    ASSERT(size <= capacity);
    memcpy(at, b.data, size);
    buf_deinit(&b);
    return size;
}
