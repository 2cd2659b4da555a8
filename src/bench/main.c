/* quorate-bench: see option.def for what it can do and docs/bench.md for what
 * its figures mean. */
#include <quorate/version.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/run.h"

/* Print what OUT holds. */
static void
print(struct buf *out)
{
    (void)fwrite(out->data, 1, out->size, stdout);
    (void)fflush(stdout);
    buf_deinit(out);
}

/* A connection is a descriptor: take as many as are allowed. */
static void
raise_limit(void)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int
run(const struct bench_options *o)
{
    struct bench_result *result = mem_zalloc(1, sizeof(*result));
    struct buf out;
    int status = BENCH_CLEAN;

    buf_init(&out);
    raise_limit();
    status = bench_run(o, result);
    if (status == BENCH_FAILED) {
        (void)fprintf(stderr, "quorate-bench: %s\n", result->error.text);
    }
    if (result->has_figures) {
        if (o->json) {
            bench_report_json(o, result, &out);
        } else {
            bench_report_table(o, result, &out);
        }
    }
    print(&out);
    mem_free(result);
    return status;
}

int
main(int argc, char **argv)
{
    struct bench_options options;
    struct error err;
    struct buf out;

    error_clear(&err);
    buf_init(&out);
    if (bench_options_parse(argc, argv, &options, &err) != 0) {
        (void)fprintf(stderr, "quorate-bench: %s\n", err.text);
        return BENCH_USAGE;
    }
    if (options.help || options.man || options.version) {
        if (options.man) {
            bench_options_man(&out);
        } else if (options.help) {
            bench_options_help(&out);
        } else {
            buf_put_text(&out, "quorate-bench " QR_VERSION_STRING "\n");
        }
        print(&out);
        return BENCH_CLEAN;
    }
    return run(&options);
}
