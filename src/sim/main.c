/* quorate-sim: whole clusters of real nodes in one thread, on virtual time,
 * from one seed; docs/testing.md. Exit code 0: no contract was broken; 1: one
 * was; 2: the command line is wrong. */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/mutation.h"
#include "base/text.h"
#include "sim/sim_commit.h"
#include "sim/sim_job.h"
#include "sim/sim_shrink.h"
#include "sim/sim_total.h"

enum {
    SEEDS_MAX = 100000000,
    SECONDS_MAX = 100000,
    MINUTES_MAX = 100000,
    JOBS_MAX = 64,
    SECONDS_DEFAULT = 20,
    LISTS_MAX = 16,
    PATH_SIZE = 4096,
    EXIT_USAGE = 2,
    GO_ON = -1
};

/* What the plan that the seed makes is changed by, in the order given. */
struct list {
    int option;
    const char *text;
};

struct options {
    struct sim_wishes wishes;
    uint64_t seeds;
    uint64_t minutes;
    uint64_t jobs;
    uint64_t shrink_seconds;
    const char *plan_file;
    const char *keep;
    struct list lists[LISTS_MAX];
    size_t lists_count;
    bool prints_plan;
    bool is_traced;
    bool is_quiet;
    bool is_twice;
    bool goes_on;
    bool is_first;
};

static const char usage[] =
    "usage: quorate-sim [--seed N] [--seeds COUNT] [options]\n"
    "\n"
    "Runs a cluster with simulated disks, links, clock and clients, breaks\n"
    "it in every way that the seed picks, and checks the contracts of\n"
    "docs/testing.md. The same seed gives the same run. One that fails is\n"
    "made smaller, and printed with the command that replays it.\n"
    "\n"
    "      --seed N       first seed (1)\n"
    "      --seeds N      how many, each after the other (1)\n"
    "      --minutes N    as many as that takes; ends at the first failure\n"
    "      --jobs N       so many at once (1)\n"
    "      --first        end at the first failure, with --seeds too\n"
    "      --go-on        do not end at the first failure\n"
    "      --seconds N    virtual seconds under faults (20)\n"
    "      --nodes N      1 to 7; 0: the seed picks\n"
    "      --shards N     1 or 2; 0: the seed picks\n"
    "      --clients N    1 to 12; 0: the seed picks\n"
    "      --busy         clients never rest\n"
    "      --stress       nor do they, and elections, power cuts, slow disks\n"
    "      --plan FILE    this plan instead of a seed's\n"
    "      --without LIST leave these faults away, as in 3,7-9\n"
    "      --only LIST    leave all others away; 0 leaves none\n"
    "      --off KIND     leave away the faults of a kind\n"
    "      --print-plan   print the plan, and end\n"
    "      --trace        print what happens\n"
    "      --no-shrink    do not make a failure's plan smaller\n"
    "      --shrink N     make it smaller for at most N seconds (90)\n"
    "      --keep DIR     write a failure's plan and trace there\n"
    "      --mutation M   plant a known bug; 'list' prints them\n"
    "      --twice        run each seed twice and compare the traces\n"
    "  -q, --quiet        only failures and the sum\n"
    "  -h, --help         print this\n";

enum {
    OPTION_WITHOUT = 1000,
    OPTION_ONLY,
    OPTION_OFF,
    OPTION_NUMBERS /* from here on */
};

static uint64_t *
number_of(struct options *o, int option, uint64_t *most)
{
    struct {
        uint64_t *where;
        uint64_t most;
    } numbers[] = {
        {&o->wishes.seed, UINT64_MAX},
        {&o->seeds, SEEDS_MAX},
        {&o->minutes, MINUTES_MAX},
        {&o->jobs, JOBS_MAX},
        {&o->wishes.seconds, SECONDS_MAX},
        {&o->wishes.nodes, SIM_PLAN_NODES_MAX},
        {&o->wishes.shards, SIM_PLAN_SHARDS_MAX},
        {&o->wishes.clients, SIM_PLAN_CLIENTS_MAX},
        {&o->shrink_seconds, SECONDS_MAX},
    };
    size_t i = (size_t)(option - OPTION_NUMBERS);

    ASSERT(option >= OPTION_NUMBERS);
    ASSERT(i < ARRAY_COUNT(numbers));
    *most = numbers[i].most;
    return numbers[i].where;
}

static int
set_number(struct options *o, int option, const char *text)
{
    uint64_t most;
    uint64_t *where = number_of(o, option, &most);

    if (parse_u64(text, strlen(text), 0, most, where) == 0) {
        return GO_ON;
    }
    (void)fprintf(stderr, "quorate-sim: '%s': a number from 0 to %" PRIu64 "\n",
                  text, most);
    return EXIT_USAGE;
}

static int
set_list(struct options *o, int option, const char *text)
{
    if (o->lists_count == LISTS_MAX) {
        (void)fprintf(stderr, "quorate-sim: at most %d lists\n", LISTS_MAX);
        return EXIT_USAGE;
    }
    o->lists[o->lists_count].option = option;
    o->lists[o->lists_count++].text = text;
    return GO_ON;
}

static void
print(struct buf *b)
{
    (void)fwrite(b->data, 1, b->size, stdout);
    (void)fflush(stdout);
    buf_deinit(b);
}

static int
choose_mutation(const char *name)
{
    struct buf b;

    if (mutation_select(name)) {
        return GO_ON;
    }
    buf_init(&b);
    mutation_list(&b);
    print(&b);
    return strcmp(name, "list") == 0 ? 0 : EXIT_USAGE;
}

static int
set_option(struct options *o, int option, const char *text)
{
    switch (option) {
    case 'p':
        o->plan_file = text;
        return GO_ON;
    case 'k':
        o->keep = text;
        return GO_ON;
    case 'P':
        o->prints_plan = true;
        return GO_ON;
    case 'T':
        o->is_traced = true;
        return GO_ON;
    case 'n':
        o->shrink_seconds = 0;
        return GO_ON;
    case 'm':
        return choose_mutation(text);
    case 'f':
        o->is_first = true;
        return GO_ON;
    case 'b':
        o->wishes.is_busy = true;
        return GO_ON;
    case 's':
        o->wishes.is_stress = true;
        return GO_ON;
    case 'g':
        o->goes_on = true;
        return GO_ON;
    case '2':
        o->is_twice = true;
        return GO_ON;
    case 'q':
        o->is_quiet = true;
        return GO_ON;
    case 'h':
        (void)fputs(usage, stdout);
        return 0;
    case OPTION_WITHOUT:
    case OPTION_ONLY:
    case OPTION_OFF:
        return set_list(o, option, text);
    case '?':
        return EXIT_USAGE;
    default:
        return set_number(o, option, text);
    }
}

/* GO_ON, or an exit code. */
static int
parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"seed", required_argument, NULL, OPTION_NUMBERS},
        {"seeds", required_argument, NULL, OPTION_NUMBERS + 1},
        {"minutes", required_argument, NULL, OPTION_NUMBERS + 2},
        {"jobs", required_argument, NULL, OPTION_NUMBERS + 3},
        {"seconds", required_argument, NULL, OPTION_NUMBERS + 4},
        {"nodes", required_argument, NULL, OPTION_NUMBERS + 5},
        {"shards", required_argument, NULL, OPTION_NUMBERS + 6},
        {"clients", required_argument, NULL, OPTION_NUMBERS + 7},
        {"shrink", required_argument, NULL, OPTION_NUMBERS + 8},
        {"without", required_argument, NULL, OPTION_WITHOUT},
        {"only", required_argument, NULL, OPTION_ONLY},
        {"off", required_argument, NULL, OPTION_OFF},
        {"plan", required_argument, NULL, 'p'},
        {"keep", required_argument, NULL, 'k'},
        {"print-plan", no_argument, NULL, 'P'},
        {"trace", no_argument, NULL, 'T'},
        {"no-shrink", no_argument, NULL, 'n'},
        {"mutation", required_argument, NULL, 'm'},
        {"first", no_argument, NULL, 'f'},
        {"go-on", no_argument, NULL, 'g'},
        {"busy", no_argument, NULL, 'b'},
        {"stress", no_argument, NULL, 's'},
        {"twice", no_argument, NULL, '2'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int rv = GO_ON;
    int c;

    while (rv == GO_ON &&
           /* There are no threads. NOLINTNEXTLINE(concurrency-mt-unsafe) */
           (c = getopt_long(argc, argv, "qh", longs, NULL)) != -1) {
        rv = set_option(o, c, optarg);
    }
    if (rv == GO_ON && optind < argc) {
        (void)fprintf(stderr, "quorate-sim: '%s' is no option\n", argv[optind]);
        return EXIT_USAGE;
    }
    return rv;
}

/* ---- plans ---- */

static bool
read_plan(const char *path, struct sim_plan *plan)
{
    char *text = mem_zalloc(SIM_PLAN_TEXT_SIZE_MAX, 1);
    struct error err = {{0}};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, SIM_PLAN_TEXT_SIZE_MAX);
    bool is_good =
        got > 0 && sim_plan_parse(text, (size_t)got, plan, &err) == 0;

    if (got <= 0) {
        (void)error_set(&err, 1, "it cannot be read, or is empty");
    }
    if (!is_good) {
        (void)fprintf(stderr, "quorate-sim: plan '%s': %s\n", path, err.text);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    mem_free(text);
    return is_good;
}

static bool
apply_list(const struct list *l, struct sim_plan *plan)
{
    int rv = l->option == OPTION_OFF
                 ? sim_plan_switch_off(plan, l->text)
                 : sim_plan_select(plan, l->text, l->option == OPTION_ONLY);

    if (rv != 0) {
        (void)fprintf(stderr, "quorate-sim: '%s': %s\n", l->text,
                      l->option == OPTION_OFF
                          ? "no kind of faults (--print-plan shows them)"
                          : "numbers, as in 3,7-9");
    }
    return rv == 0;
}

static bool
make_plan(const struct options *o, struct sim_plan *plan)
{
    if (o->plan_file == NULL) {
        sim_plan_make(plan, &o->wishes);
    } else if (!read_plan(o->plan_file, plan)) {
        return false;
    }
    for (size_t i = 0; i < o->lists_count; i++) {
        if (!apply_list(&o->lists[i], plan)) {
            return false;
        }
    }
    return true;
}

static void
print_plan(const struct sim_plan *plan)
{
    struct buf b;

    buf_init(&b);
    sim_plan_print(plan, &b);
    print(&b);
}

/* ---- failures ---- */

/* The command that runs PLAN, which was made of O's by leaving things away. */
static void
put_command(const struct options *o, const struct sim_plan *plan,
            struct buf *out)
{
    struct sim_plan *full = mem_zalloc(1, sizeof(*full));
    struct buf list;

    buf_init(&list);
    sim_plan_list(plan, &list);
    if (o->plan_file != NULL || !make_plan(o, full) ||
        full->end_us != plan->end_us || full->shards != plan->shards) {
        buf_putf(out, "quorate-sim --plan FILE --trace (the plan above)");
    } else {
        buf_putf(out, "quorate-sim --seed %" PRIu64 " --seconds %" PRIu64,
                 plan->seed, o->wishes.seconds);
        if (full->clients != plan->clients || o->wishes.clients != 0) {
            buf_putf(out, " --clients %" PRIu64, plan->clients);
        }
        if (o->wishes.nodes != 0) {
            buf_putf(out, " --nodes %" PRIu64, o->wishes.nodes);
        }
        if (o->wishes.is_busy) {
            buf_putf(out, " --busy");
        }
        if (o->wishes.is_stress) {
            buf_putf(out, " --stress");
        }
        if (o->wishes.shards != 0) {
            buf_putf(out, " --shards %" PRIu64, o->wishes.shards);
        }
        buf_putf(out, " --only %.*s --trace",
                 list.size == 0 ? 1 : (int)list.size,
                 list.size == 0 ? "0" : (const char *)list.data);
    }
    buf_putf(out, "\n");
    buf_deinit(&list);
    mem_free(full);
}

/* Into the directory that was asked for. */
static void
keep(const struct options *o, const struct sim_plan *plan)
{
    struct sim_world_config config = {.plan = plan, .is_traced = true};
    struct sim_world_result result;
    char path[PATH_SIZE];
    struct buf b;
    int fd;

    (void)mkdir(o->keep, 0777);
    (void)snprintf(path, sizeof(path), "%s/seed-%" PRIu64 ".plan", o->keep,
                   plan->seed);
    buf_init(&b);
    sim_plan_print(plan, &b);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, b.data, b.size) != (ssize_t)b.size) {
        (void)fprintf(stderr, "quorate-sim: cannot write '%s'\n", path);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    buf_deinit(&b);
    (void)snprintf(path, sizeof(path), "%s/seed-%" PRIu64 ".trace", o->keep,
                   plan->seed);
    config.trace_path = path;
    if (sim_job_run(&config, &result) == 0) {
        (void)printf("seed %" PRIu64 ": the trace is in %s\n", plan->seed,
                     path);
    }
}

static void
report(const struct options *o, const struct sim_plan *plan,
       const struct sim_world_result *result)
{
    struct sim_shrink shrink = {.runs_max = SIM_SHRINK_RUNS_MAX,
                                .seconds_max = (uint32_t)o->shrink_seconds};
    struct sim_plan *small = mem_zalloc(1, sizeof(*small));
    struct buf b;

    buf_init(&b);
    *small = *plan;
    buf_putf(&b, "seed %" PRIu64 ": %s\nseed %" PRIu64 ": commit %s\n",
             plan->seed, result->violation, plan->seed, sim_commit());
    print(&b);
    if (o->shrink_seconds > 0) {
        sim_shrink(small, result, &shrink);
        buf_init(&b);
        buf_putf(&b,
                 "seed %" PRIu64 ": %zu of %zu faults, %" PRIu64 " of %" PRIu64
                 " clients are enough, found in %" PRIu32 " runs: %s\n",
                 plan->seed, small->faults_count, plan->faults_count,
                 small->clients, plan->clients, shrink.runs,
                 shrink.result.violation);
        sim_plan_print(small, &b);
        buf_putf(&b, "seed %" PRIu64 ": replay with ", plan->seed);
        put_command(o, small, &b);
        print(&b);
    }
    if (o->keep != NULL) {
        keep(o, small);
    }
    mem_free(small);
}

/* ---- runs ---- */

struct pool {
    const struct options *o;
    struct sim_job jobs[JOBS_MAX];
    struct sim_plan *plans[JOBS_MAX];
    uint64_t started;
    struct sim_total total;
    double start_s;
};

static double
now_s(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool
is_enough(const struct pool *p)
{
    if (p->total.failed > 0 &&
        (p->o->is_first || (p->o->minutes > 0 && !p->o->goes_on))) {
        return true;
    }
    return p->o->minutes > 0
               ? now_s() - p->start_s >= 60.0 * (double)p->o->minutes
               : p->started >= p->o->seeds;
}

static bool
start_next(struct pool *p, size_t i)
{
    struct options o = *p->o;
    struct sim_world_config config = {.plan = p->plans[i],
                                      .is_traced = o.is_traced};

    o.wishes.seed += p->started++;
    return make_plan(&o, p->plans[i]) &&
           sim_job_start(&p->jobs[i], &config) == 0;
}

/* What died in a process that had done other runs must die by itself, too. */
static void
confirm_death(struct sim_job *j, const struct sim_world_config *config)
{
    struct sim_world_result alone;

    if (!j->has_died || j->runs == 1 || sim_job_run(config, &alone) != 0) {
        return;
    }
    if (alone.violation[0] != '\0') {
        j->result = alone;
    } else {
        (void)printf("seed %" PRIu64 ": only after %" PRIu64
                     " others in its process\n",
                     config->plan->seed, j->runs - 1);
    }
}

static void
finish(struct pool *p, size_t i)
{
    const struct sim_plan *plan = p->plans[i];
    struct sim_world_result *r = &p->jobs[i].result;
    struct sim_world_config config = {.plan = plan};
    struct sim_world_result again;
    struct options o = *p->o;
    struct buf b;

    confirm_death(&p->jobs[i], &config);
    if (p->o->is_twice &&
        (sim_job_run(&config, &again) != 0 || again.trace != r->trace)) {
        (void)snprintf(r->violation, sizeof(r->violation),
                       "differs: two runs of one seed");
    }
    sim_total_add(&p->total, r);
    if (r->violation[0] != '\0' || !p->o->is_quiet) {
        buf_init(&b);
        sim_result_print(plan, r, &b);
        print(&b);
    }
    if (r->violation[0] != '\0') {
        o.wishes.seed = plan->seed;
        report(&o, plan, r);
    }
}

/* Keep as many going as there are jobs, until it is enough. */
static bool
run_pool(struct pool *p)
{
    size_t count = MAX(p->o->jobs, 1U);
    size_t running = 0;

    for (size_t i = 0; i < count; i++) {
        p->plans[i] = mem_zalloc(1, sizeof(*p->plans[i]));
        if (!is_enough(p)) {
            if (!start_next(p, i)) {
                return false;
            }
            running++;
        }
    }
    while (running > 0) {
        size_t i = sim_job_wait(p->jobs, count, -1);

        running--;
        finish(p, i);
        if (!is_enough(p)) {
            if (!start_next(p, i)) {
                return false;
            }
            running++;
        }
    }
    return true;
}

static int
run(const struct options *o)
{
    struct pool *p = mem_zalloc(1, sizeof(*p));
    bool is_good;
    struct buf b;

    p->o = o;
    p->start_s = now_s();
    is_good = run_pool(p);
    if (p->total.seeds > 1) {
        buf_init(&b);
        sim_total_print(&p->total, now_s() - p->start_s, &b);
        sim_total_print_keys(&p->total, now_s() - p->start_s, &b);
        print(&b);
    }
    is_good = is_good && p->total.failed == 0;
    for (size_t i = 0; i < JOBS_MAX; i++) {
        sim_job_stop(&p->jobs[i]);
        mem_free(p->plans[i]);
    }
    mem_free(p);
    return is_good ? 0 : 1;
}

int
main(int argc, char **argv)
{
    struct options o = {.wishes = {.seed = 1, .seconds = SECONDS_DEFAULT},
                        .seeds = 1,
                        .shrink_seconds = SIM_SHRINK_SECONDS_MAX};
    struct sim_plan *plan;
    int rv = parse(argc, argv, &o);

    if (rv != GO_ON) {
        return rv;
    }
    o.wishes.seconds = MAX(o.wishes.seconds, 1U);
    plan = mem_zalloc(1, sizeof(*plan));
    if (!make_plan(&o, plan)) {
        rv = EXIT_USAGE;
    } else if (o.prints_plan) {
        print_plan(plan);
        rv = 0;
    } else {
        rv = run(&o);
    }
    mem_free(plan);
    return rv;
}
