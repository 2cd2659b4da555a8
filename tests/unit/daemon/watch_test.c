/* The limits that configurations ask for. What is watched is seen with real
 * nodes, in tests/integration/test_alarms.py. */
#include <quorate/error.h>
#include <uv.h>

#include "base/error.h"
#include "daemon/config.h"
#include "daemon/watch.h"
#include "lib/harness.h"

static int
limits_of(const char *text, struct watch_limits *out, struct error *err)
{
    struct config c;
    int rv = 0;

    config_init(&c);
    rv = config_parse(&c, "f", text, strlen(text), err);
    cr_assert_eq(rv, 0, "%s", err->text);
    rv = watch_limits_make(&c, out, err);
    config_deinit(&c);
    return rv;
}

Test(watch, has_sensible_defaults)
{
    struct watch_limits limits;
    struct error err;

    cr_assert_eq(limits_of("", &limits, &err), 0);
    cr_assert_gt(limits.memory, 64 << 20);
    cr_assert_lt(limits.memory, uv_get_total_memory());
    cr_assert_eq(limits.disk_free, 256000000);
}

Test(watch, takes_what_is_set)
{
    struct watch_limits limits;
    struct error err;

    cr_assert_eq(limits_of("total_memory_available_override_value = 10GB\n"
                           "vm_memory_high_watermark.relative = 0.25\n"
                           "disk_free_limit.absolute = 4GiB\n",
                           &limits, &err),
                 0);
    cr_assert_eq(limits.memory, 2500000000);
    cr_assert_eq(limits.disk_free, (uint64_t)4 << 30);
    cr_assert_eq(limits_of("vm_memory_high_watermark.absolute = 800MB\n"
                           "disk_free_limit.absolute = 0\n",
                           &limits, &err),
                 0);
    cr_assert_eq(limits.memory, 800000000);
    cr_assert_eq(limits.disk_free, 0);
    cr_assert_eq(
        limits_of("vm_memory_high_watermark.relative = 0\n", &limits, &err), 0);
    cr_assert_eq(limits.memory, 0, "no limit");
}

Test(watch, refuses_what_is_no_limit)
{
    static const struct {
        const char *line;
        const char *text;
    } bad[] = {
        {"vm_memory_high_watermark.relative = 60",
         "vm_memory_high_watermark.relative = 60: a part of the memory is "
         "allowed, such as 0.6"},
        {"vm_memory_high_watermark.absolute = much",
         "vm_memory_high_watermark.absolute = much: bytes are allowed, with a "
         "unit or without: 512MiB, 2GB"},
        {"total_memory_available_override_value = 1.5G",
         "total_memory_available_override_value = 1.5G: bytes are allowed, "
         "with a unit or without: 512MiB, 2GB"},
        {"disk_free_limit.absolute = -1",
         "disk_free_limit.absolute = -1: bytes are allowed, with a unit or "
         "without: 512MiB, 2GB"},
    };
    struct watch_limits limits;
    struct error err;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        error_clear(&err);
        cr_assert_eq(limits_of(bad[i].line, &limits, &err), -QR_EINVAL);
        cr_assert_str_eq(err.text, bad[i].text);
    }
}
