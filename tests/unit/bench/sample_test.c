/* /proc, as it is and as it could be. */
#include <quorate/error.h>
#include <unistd.h>

#include "base/error.h"
#include "bench/options.h"
#include "bench/sample.h"
#include "lib/harness.h"

static const char stat_text[] =
    "4711 (a) (b c) S 1 4711 4711 0 -1 4194560 100 0 5 0 250 150 0 0 20 0 4 0 "
    "12345 104857600 2560 18446744073709551615 1 1 0 0 0 0 0 0\n";

static const char io_text[] = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\n"
                              "read_bytes: 5\nwrite_bytes: 4096\n"
                              "cancelled_write_bytes: 7\n";

Test(sample, stat_gives_cpu_time_and_memory)
{
    struct sample s = {0};

    cr_assert_eq(sample_parse_stat(stat_text, strlen(stat_text), 100, 4096, &s),
                 0);
    cr_assert_eq(s.cpu_us, 4000000);
    cr_assert_eq(s.resident, UINT64_C(2560) * 4096);
}

Test(sample, stat_cut_short_is_refused)
{
    struct sample s = {0};
    size_t size = 0;

    /* Up to and without the field of resident memory. */
    for (size = 0; size < 90; size++) {
        cr_assert_eq(sample_parse_stat(stat_text, size, 100, 4096, &s),
                     -QR_EFORMAT, "%zu bytes", size);
    }
    cr_assert_eq(s.cpu_us, 0);
}

Test(sample, io_gives_bytes_and_calls)
{
    struct sample s = {0};

    cr_assert_eq(sample_parse_io(io_text, strlen(io_text), &s), 0);
    cr_assert_eq(s.written, 4096);
    cr_assert_eq(s.write_calls, 4);
    cr_assert(s.has_io);
}

Test(sample, io_without_a_line_is_refused)
{
    struct sample s = {0};

    cr_assert_eq(sample_parse_io("syscw: 4\n", 9, &s), -QR_EFORMAT);
    cr_assert_eq(sample_parse_io("write_bytes: 4\n", 15, &s), -QR_EFORMAT);
    cr_assert_not(s.has_io);
}

Test(sample, this_process_is_there_and_uses_memory)
{
    struct bench_pids pids = {.list = {(uint32_t)getpid()}, .count = 1};
    struct sample s = {0};
    struct error err;

    error_clear(&err);
    cr_assert_eq(sample_take(&pids, &s, &err), 0, "%s", err.text);
    cr_assert_gt(s.resident, 100000);
}

Test(sample, processes_are_added_up)
{
    uint32_t pid = (uint32_t)getpid();
    struct bench_pids one = {.list = {pid}, .count = 1};
    struct bench_pids two = {.list = {pid, pid}, .count = 2};
    struct sample a = {0};
    struct sample b = {0};
    struct error err;

    error_clear(&err);
    cr_assert_eq(sample_take(&one, &a, &err), 0, "%s", err.text);
    cr_assert_eq(sample_take(&two, &b, &err), 0, "%s", err.text);
    cr_assert_gt(b.resident, a.resident + a.resident / 2);
}

Test(sample, a_process_that_is_not_there_is_named)
{
    struct bench_pids pids = {.list = {4194304}, .count = 1};
    struct sample s = {.written = 7};
    struct error err;

    error_clear(&err);
    cr_assert_eq(sample_take(&pids, &s, &err), -QR_ENOENT);
    cr_assert_not_null(strstr(err.text, "4194304"));
    cr_assert_eq(s.written, 7);
}

Test(sample, the_machine_spends_all_but_idle_time)
{
    static const char text[] = "cpu  10 20 30 1000 2000 40 50 7 0 0\ncpu0 1\n";
    uint64_t spent = 0;

    cr_assert_eq(sample_parse_machine(text, strlen(text), 100, &spent), 0);
    cr_assert_eq(spent, 1500000);
}

Test(sample, a_machine_cut_short_is_refused)
{
    uint64_t spent = 3;

    cr_assert_eq(sample_parse_machine("cpu  1 2 3\n", 11, 100, &spent),
                 -QR_EFORMAT);
    cr_assert_eq(sample_parse_machine("cpu  1 2 3", 10, 100, &spent),
                 -QR_EFORMAT);
    cr_assert_eq(sample_parse_machine("cpu0 1 2 3\n", 11, 100, &spent),
                 -QR_EFORMAT);
    cr_assert_eq(spent, 3);
}

Test(sample, this_machine_has_spent_something)
{
    cr_assert_gt(sample_machine_cpu_us(), 0);
}

Test(sample, own_time_goes_forward)
{
    uint64_t before = sample_own_cpu_us();

    cr_assert_geq(sample_own_cpu_us(), before);
}
