/* quorate-sim: whole clusters of real nodes in one thread, on virtual time,
 * from one seed; docs/testing.md. Exit code 0: no contract was broken. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/text.h"
#include "sim/sim_world.h"

enum {
    SEEDS_MAX = 1000000,
    SECONDS_MAX = 100000,
    SECONDS_DEFAULT = 20
};

struct options {
    struct sim_world_config world;
    uint64_t seeds;
    bool is_quiet;
    bool is_twice;
};

static const char usage[] =
    "usage: quorate-sim [--seed N] [--seeds COUNT] [options]\n"
    "\n"
    "Runs a cluster with simulated disks, links, clock and clients, breaks\n"
    "it in every way that the seed picks, and checks that no confirmed\n"
    "message is lost, none is invented, replicas are equal, and that it\n"
    "recovers. The same seed gives the same run.\n"
    "\n"
    "      --seed N      first seed (1)\n"
    "      --seeds N     how many, one after the other (1)\n"
    "      --seconds N   virtual seconds under faults (20)\n"
    "      --nodes N     1 to 5; 0: the seed picks\n"
    "      --shards N    1 or 2; 0: the seed picks\n"
    "      --clients N   0: the seed picks\n"
    "      --trace       the nodes' logs, on standard error\n"
    "      --twice       run each seed twice and compare the traces\n"
    "  -q, --quiet       only failures and the sum\n"
    "  -h, --help        print this\n";

static bool
number(const char *text, uint64_t most, uint64_t *out)
{
    if (parse_u64(text, strlen(text), 0, most, out) != 0) {
        (void)fprintf(stderr,
                      "quorate-sim: '%s': a number from 0 to %" PRIu64 "\n",
                      text, most);
        return false;
    }
    return true;
}

static bool
set_number(struct options *o, int c, const char *text)
{
    uint64_t v = 0;
    uint64_t most = c == 's'   ? UINT64_MAX
                    : c == 'n' ? SEEDS_MAX
                    : c == 't' ? SECONDS_MAX
                               : 12;

    if (!number(text, most, &v)) {
        return false;
    }
    switch (c) {
    case 's':
        o->world.seed = v;
        break;
    case 'n':
        o->seeds = v;
        break;
    case 't':
        o->world.seconds = (uint32_t)v;
        break;
    case 'N':
        o->world.nodes = (uint32_t)v;
        break;
    case 'S':
        o->world.shards = (uint32_t)v;
        break;
    default:
        o->world.clients = (uint32_t)v;
        break;
    }
    return true;
}

/* 0 to go on, or an exit code with 256 added. */
static int
parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 't'},
        {"nodes", required_argument, NULL, 'N'},
        {"shards", required_argument, NULL, 'S'},
        {"clients", required_argument, NULL, 'C'},
        {"trace", no_argument, NULL, 'T'},
        {"twice", no_argument, NULL, '2'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    /* There are no threads. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((c = getopt_long(argc, argv, "qh", longs, NULL)) != -1) {
        switch (c) {
        case 'T':
            o->world.is_verbose = true;
            break;
        case '2':
            o->is_twice = true;
            break;
        case 'q':
            o->is_quiet = true;
            break;
        case 'h':
            (void)fputs(usage, stdout);
            return 256;
        case '?':
            return 256 + 2;
        default:
            if (!set_number(o, c, optarg)) {
                return 256 + 2;
            }
            break;
        }
    }
    return 0;
}

static void
print(const struct options *o, const struct sim_world_result *r)
{
    (void)printf(
        "seed %" PRIu64 ": %s trace %016" PRIx64
        " virtual %.1f s, published %" PRIu64 ", confirmed %" PRIu64
        ", delivered %" PRIu64 " (%" PRIu64 " again), crashes %" PRIu64
        " (%" PRIu64 " power), partitions %" PRIu64 ", pauses %" PRIu64
        ", transfers %" PRIu64 ", given up %" PRIu64 ", frames %" PRIu64
        " (%" PRIu64 " lost), compared %" PRIu64 ", settled in %.1f s\n",
        o->world.seed, r->violation[0] == '\0' ? "good" : "BROKEN", r->trace,
        (double)r->virtual_us / 1e6, r->published, r->confirmed, r->delivered,
        r->redelivered, r->crashes, r->power_cuts, r->partitions, r->pauses,
        r->transfers, r->given_up, r->frames, r->frames_lost, r->comparisons,
        (double)r->recovered_us / 1e6);
    if (r->violation[0] != '\0') {
        (void)printf("seed %" PRIu64 ": %s\n", o->world.seed, r->violation);
    }
}

static int
run_one(const struct options *o)
{
    struct sim_world_result result;
    struct sim_world_result again;
    bool is_bad;

    sim_world_run(&o->world, &result);
    is_bad = result.violation[0] != '\0';
    if (o->is_twice) {
        sim_world_run(&o->world, &again);
        if (again.trace != result.trace) {
            (void)printf("seed %" PRIu64 ": two runs differ\n", o->world.seed);
            is_bad = true;
        }
    }
    if (is_bad || !o->is_quiet) {
        print(o, &result);
    }
    (void)fflush(stdout);
    return is_bad ? 1 : 0;
}

/* Each seed in a process of its own, so that one that fails an assertion does
 * not hide the next. */
static int
run_forked(const struct options *o)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        _exit(run_one(o));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        (void)fprintf(stderr, "quorate-sim: cannot fork\n");
        return 1;
    }
    if (WIFEXITED(status)) {
        return WEXITSTATUS(status);
    }
    (void)printf("seed %" PRIu64 ": died of signal %d\n", o->world.seed,
                 WTERMSIG(status));
    return 1;
}

int
main(int argc, char **argv)
{
    struct options o = {.world = {.seed = 1, .seconds = SECONDS_DEFAULT},
                        .seeds = 1};
    uint64_t failed = 0;
    int rv = parse(argc, argv, &o);

    if (rv != 0) {
        return rv - 256;
    }
    if (o.seeds == 1) {
        return run_one(&o);
    }
    for (uint64_t i = 0; i < o.seeds; i++) {
        (void)fflush(stdout);
        failed += run_forked(&o) != 0 ? 1 : 0;
        o.world.seed++;
    }
    (void)printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", o.seeds, failed);
    return failed == 0 ? 0 : 1;
}
