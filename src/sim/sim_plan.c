/* See sim_plan.h. Swarm testing (Groce et al., 2012): a plan that has some
 * kinds of faults and lacks others finds more than one that has a bit of all,
 * so the seed first picks the kinds, then their rates. */
#include "sim/sim_plan.h"

#include <inttypes.h>
#include <quorate/error.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "broker/joining.h"
#include "broker/nodes.h"

enum {
    US = 1000000,
    FIRST_US = 3 * US, /* a cluster forms in peace */
    WEIGHT_MAX = 16,
    DISK_US_MAX = 5000,
    SLOW_DISK_US_MAX = 400000,
    DELAY_US_MAX = 20000,
    LOSS_MAX = 50000, /* per million */
    FLAP_US_MAX = 3 * US,
    RECOVERY_CHANGES_MAX = 12,
    LONG_EXTRA_S = 20,
    PAUSE_US_MAX = 5 * US,
    FORGET_US_MIN = JOIN_LOST_MS * 1000 / 2,
    STRESS_DISK_US_MIN = 2000,
    STRESS_DISK_US_MAX = 20000,
    STRESS_FRAMES = 16
};

/* Whom a fault may befall. */
enum target {
    NOBODY,
    ANY_NODE,
    FRAIL_NODE
};

static const struct {
    const char *name;
    enum target target;
    const char *a; /* names of the parameters, NULL: none */
    const char *b;
} kinds[] = {
    [SIM_WEATHER] = {"weather", NOBODY, "delay_us", "loss_per_million"},
    [SIM_DUPLICATES] = {"duplicates", NOBODY, "frames", NULL},
    [SIM_CRASH] = {"crash", ANY_NODE, NULL, NULL},
    [SIM_POWER] = {"power", ANY_NODE, NULL, NULL},
    [SIM_POWER_ALL] = {"power_all", NOBODY, "first", "apart_us"},
    [SIM_RECOVERY] = {"recovery", ANY_NODE, "changes", "after_us"},
    [SIM_HALVES] = {"halves", NOBODY, "side", NULL},
    [SIM_ONE_WAY] = {"one_way", NOBODY, "side", NULL},
    [SIM_RING] = {"ring", NOBODY, "first", NULL},
    [SIM_FLAP] = {"flap", NOBODY, "side", "period_us"},
    [SIM_PAUSE] = {"pause", ANY_NODE, NULL, NULL},
    [SIM_SLOW_DISK] = {"slow_disk", ANY_NODE, "delay_us", NULL},
    [SIM_CLOCK] = {"clock", ANY_NODE, "forward_ms", "back_ms"},
    [SIM_TRANSFER] = {"transfer", ANY_NODE, "pick", NULL},
    [SIM_FULL_DISK] = {"full_disk", ANY_NODE, "room", NULL},
    [SIM_ROT] = {"rot", FRAIL_NODE, "bits", NULL},
    [SIM_DISK_LOST] = {"disk_lost", FRAIL_NODE, NULL, NULL},
    [SIM_ROLL_BACK] = {"roll_back", FRAIL_NODE, NULL, NULL},
    [SIM_FORGET] = {"forget", FRAIL_NODE, "by", NULL},
    [SIM_STOP] = {"stop", ANY_NODE, NULL, NULL},
    [SIM_SPOIL] = {"spoil", FRAIL_NODE, "sectors", NULL},
};

const char *
sim_fault_name(enum sim_fault_kind kind)
{
    ASSERT(kind < SIM_FAULT_KINDS);
    return kinds[kind].name;
}

/* ---- making ---- */

/* Short and long ones alike: from a thousandth of MOST to MOST. */
static uint64_t
some_time(struct rng *rng, uint64_t most_us)
{
    uint64_t limit = MAX(most_us >> rng_below(rng, 11), (uint64_t)2000);

    return rng_between(rng, limit / 2, limit);
}

/* Some nodes, not all and not none where there are several. */
static uint64_t
some_side(struct rng *rng, uint64_t nodes)
{
    uint64_t all = (UINT64_C(1) << nodes) - 1;

    return nodes < 2 ? 1 : rng_between(rng, 1, all - 1);
}

static void
pick_parameters(struct rng *rng, uint64_t nodes, struct sim_fault *f)
{
    switch (f->kind) {
    case SIM_WEATHER:
        f->a = some_time(rng, DELAY_US_MAX);
        f->b = rng_chance(rng, 300000) ? 0 : some_time(rng, LOSS_MAX);
        break;
    case SIM_DUPLICATES:
        f->a = rng_between(rng, 1, 16);
        break;
    case SIM_POWER_ALL:
        f->a = rng_between(rng, 0, nodes - 1);
        f->b = rng_chance(rng, 500000) ? 0 : some_time(rng, US);
        break;
    case SIM_RECOVERY:
        f->a = rng_below(rng, RECOVERY_CHANGES_MAX);
        f->b = some_time(rng, US);
        break;
    case SIM_HALVES:
    case SIM_ONE_WAY:
        f->a = some_side(rng, nodes);
        break;
    case SIM_RING:
        f->a = rng_between(rng, 1, 5);
        break;
    case SIM_FLAP:
        f->a = some_side(rng, nodes);
        f->b = some_time(rng, FLAP_US_MAX);
        break;
    case SIM_PAUSE:
        f->for_us = MIN(f->for_us, (uint64_t)PAUSE_US_MAX);
        break;
    case SIM_SLOW_DISK:
        f->a = some_time(rng, SLOW_DISK_US_MAX);
        break;
    case SIM_CLOCK:
        f->a = rng_chance(rng, 500000) ? some_time(rng, 1000ULL * US) : 0;
        f->b = f->a == 0 ? some_time(rng, 1000ULL * US) : 0;
        break;
    case SIM_TRANSFER:
        f->a = rng_below(rng, 1000);
        f->for_us = 0;
        break;
    case SIM_FULL_DISK:
        f->a = rng_chance(rng, 500000) ? 0 : some_time(rng, 1 << 20);
        break;
    case SIM_FORGET:
        f->a = rng_below(rng, nodes);
        f->for_us += FORGET_US_MIN;
        break;
    case SIM_ROT:
    case SIM_SPOIL:
        f->a = rng_between(rng, 1, 8);
        f->for_us = 0;
        break;
    case SIM_CRASH:
    case SIM_POWER:
    case SIM_DISK_LOST:
    case SIM_ROLL_BACK:
    case SIM_STOP:
    case SIM_FAULT_KINDS:
    default:
        break;
    }
}

static struct sim_fault *
fault_add(struct sim_plan *p, enum sim_fault_kind kind, uint64_t at_us,
          uint64_t for_us)
{
    struct sim_fault *f = &p->faults[p->faults_count++];

    memset(f, 0, sizeof(*f));
    f->number = (uint32_t)p->faults_count;
    f->kind = kind;
    f->at_us = at_us;
    f->for_us = for_us;
    return f;
}

/* Which kinds there are, and how often; returns the sum. */
static uint64_t
pick_weights(struct rng *rng, uint64_t weights[SIM_FAULT_KINDS])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        uint64_t weight = rng_between(rng, 1, WEIGHT_MAX);

        weights[i] = rng_chance(rng, 500000) ? weight : 0;
        sum += weights[i];
    }
    return sum;
}

static enum sim_fault_kind
pick_kind(struct rng *rng, const uint64_t weights[SIM_FAULT_KINDS],
          uint64_t sum)
{
    uint64_t left = rng_below(rng, sum);
    size_t i = 0;

    while (left >= weights[i]) {
        left -= weights[i];
        i++;
        ASSERT(i < SIM_FAULT_KINDS);
    }
    return (enum sim_fault_kind)i;
}

/* Faults of kinds that have WEIGHTS, whose sum is SUM, one every EVERY_US, of
 * up to LENGTH_US, until the plan's end. */
static void
add_faults(struct sim_plan *p, struct rng *rng,
           const uint64_t weights[SIM_FAULT_KINDS], uint64_t sum,
           uint64_t every_us, uint64_t length_us)
{
    uint64_t at = FIRST_US;

    while (sum > 0 && at < p->end_us &&
           p->faults_count < SIM_PLAN_FAULTS_MAX - 1) {
        enum sim_fault_kind kind = pick_kind(rng, weights, sum);
        struct sim_fault *f = fault_add(p, kind, at, some_time(rng, length_us));

        f->node = (uint32_t)rng_between(rng, 1, p->nodes);
        f->node = kinds[kind].target == NOBODY       ? 0
                  : kinds[kind].target == FRAIL_NODE ? (uint32_t)p->frail
                                                     : f->node;
        pick_parameters(rng, p->nodes, f);
        at += 1 + rng_below(rng, 2 * every_us);
    }
}

/* What is written is long under way, and often lost; leaders are made and
 * deposed all the time. */
static void
make_stress(struct sim_plan *p, struct rng *rng)
{
    static const uint64_t weights[SIM_FAULT_KINDS] = {
        [SIM_WEATHER] = 2,   [SIM_CRASH] = 4,    [SIM_POWER] = 16,
        [SIM_POWER_ALL] = 8, [SIM_RECOVERY] = 2, [SIM_HALVES] = 8,
        [SIM_ONE_WAY] = 4,   [SIM_PAUSE] = 2,    [SIM_SLOW_DISK] = 4,
        [SIM_TRANSFER] = 6};
    uint64_t every_us = rng_between(rng, US / 50, US / 8);
    uint64_t length_us = some_time(rng, 2ULL * US);
    uint64_t sum = 0;

    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        sum += weights[i];
    }
    p->disk_us = rng_between(rng, STRESS_DISK_US_MIN, STRESS_DISK_US_MAX);
    fault_add(p, SIM_DUPLICATES, FIRST_US, p->end_us)->a = STRESS_FRAMES;
    add_faults(p, rng, weights, sum, every_us, length_us);
}

static void
make_faults(struct sim_plan *p, struct rng *rng)
{
    uint64_t weights[SIM_FAULT_KINDS];
    uint64_t sum = pick_weights(rng, weights);
    /* Now and then a storm: elections upon elections, starts upon starts. */
    uint64_t every_us = rng_chance(rng, 200000)
                            ? rng_between(rng, US / 50, US / 10)
                            : rng_between(rng, US / 10, 2ULL * US);
    uint64_t length_us = some_time(rng, 16ULL * US);
    bool has_long = rng_chance(rng, 120000) && p->nodes > 1;

    add_faults(p, rng, weights, sum, every_us, length_us);
    if (has_long) { /* nodes are given up */
        struct sim_fault *f =
            fault_add(p, SIM_HALVES, p->end_us,
                      (uint64_t)NODES_LOST_MS * 1000 +
                          rng_below(rng, (uint64_t)LONG_EXTRA_S * US));

        f->a = some_side(rng, p->nodes);
        p->end_us += f->for_us;
    }
}

void
sim_plan_make(struct sim_plan *p, const struct sim_wishes *wishes)
{
    static const uint64_t sizes[] = {1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 7};
    uint64_t size;
    struct rng rng;

    ASSERT(wishes->seconds > 0);
    rng_init(&rng, wishes->seed ^ 0x5175);
    memset(p, 0, sizeof(*p));
    p->seed = wishes->seed;
    size = sizes[rng_below(&rng, ARRAY_COUNT(sizes))];
    p->nodes = wishes->nodes != 0 ? wishes->nodes : size;
    size = rng_between(&rng, 1, SIM_PLAN_SHARDS_MAX);
    p->shards = wishes->shards != 0 ? wishes->shards : size;
    size = rng_between(&rng, 2, SIM_PLAN_CLIENTS_MAX);
    p->clients = wishes->clients != 0 ? wishes->clients : size;
    p->busy = wishes->is_busy || wishes->is_stress ? 1 : 0;
    p->end_us = wishes->seconds * US;
    p->disk_us = rng_between(&rng, 100, DISK_US_MAX);
    p->snapshot_bytes = rng_between(&rng, 4 << 10, 256 << 10);
    p->snapshot_entries = rng_between(&rng, 20, 2000);
    p->frail = rng_between(&rng, 1, p->nodes);
    if (wishes->is_stress) {
        make_stress(p, &rng);
    } else {
        make_faults(p, &rng);
    }
}

/* ---- printing ---- */

static void
print_time(struct buf *out, const char *key, uint64_t us)
{
    buf_putf(out, " %s=%" PRIu64 ".%06" PRIu64, key, us / US, us % US);
}

void
sim_fault_print(const struct sim_fault *f, struct buf *out)
{
    buf_putf(out, "%" PRIu32 " %s", f->number, sim_fault_name(f->kind));
    print_time(out, "at", f->at_us);
    if (f->for_us > 0) {
        print_time(out, "for", f->for_us);
    }
    if (kinds[f->kind].target != NOBODY) {
        buf_putf(out, " node=%" PRIu32, f->node);
    }
    if (kinds[f->kind].a != NULL) {
        buf_putf(out, " %s=%" PRIu64, kinds[f->kind].a, f->a);
    }
    if (kinds[f->kind].b != NULL) {
        buf_putf(out, " %s=%" PRIu64, kinds[f->kind].b, f->b);
    }
}

void
sim_plan_print(const struct sim_plan *p, struct buf *out)
{
    buf_putf(out,
             "seed=%" PRIu64 " nodes=%" PRIu64 " shards=%" PRIu64
             " clients=%" PRIu64,
             p->seed, p->nodes, p->shards, p->clients);
    if (p->busy != 0) {
        buf_putf(out, " busy=%" PRIu64, p->busy);
    }
    print_time(out, "end", p->end_us);
    print_time(out, "disk", p->disk_us);
    buf_putf(out,
             " snapshot_bytes=%" PRIu64 " snapshot_entries=%" PRIu64
             " frail=%" PRIu64 "\n",
             p->snapshot_bytes, p->snapshot_entries, p->frail);
    for (size_t i = 0; i < p->faults_count; i++) {
        sim_fault_print(&p->faults[i], out);
        buf_putf(out, "\n");
    }
}

void
sim_plan_list(const struct sim_plan *p, struct buf *out)
{
    for (size_t i = 0; i < p->faults_count; i++) {
        uint32_t first = p->faults[i].number;

        while (i + 1 < p->faults_count &&
               p->faults[i + 1].number == p->faults[i].number + 1) {
            i++;
        }
        buf_putf(out, "%s%" PRIu32, out->size == 0 ? "" : ",", first);
        if (p->faults[i].number != first) {
            buf_putf(out, "-%" PRIu32, p->faults[i].number);
        }
    }
}

/* ---- reading ---- */

/* What is left of a text. */
struct rest {
    const char *at;
    size_t size;
};

/* Take what comes before the next SEPARATOR, or all. */
static struct rest
take(struct rest *r, char separator)
{
    const char *end = memchr(r->at, separator, r->size);
    struct rest word = {r->at, end == NULL ? r->size : (size_t)(end - r->at)};
    size_t used = word.size + (end == NULL ? 0 : 1);

    r->at += used;
    r->size -= used;
    return word;
}

static bool
get_number(struct rest word, uint64_t most, uint64_t *out)
{
    return parse_u64(word.at, word.size, 0, most, out) == 0;
}

/* Seconds with six digits after the point. */
static bool
get_time(struct rest word, uint64_t *out)
{
    struct rest seconds = take(&word, '.');
    uint64_t s;
    uint64_t us;

    if (word.size != 6 || !get_number(seconds, 1000000, &s) ||
        !get_number(word, US - 1, &us)) {
        return false;
    }
    *out = s * US + us;
    return true;
}

static bool
is_word(struct rest word, const char *name)
{
    return name != NULL && text_equal(word.at, word.size, name);
}

static bool
set_head(struct sim_plan *p, struct rest key, struct rest value)
{
    if (is_word(key, "seed")) {
        return get_number(value, UINT64_MAX, &p->seed);
    }
    if (is_word(key, "nodes")) {
        return get_number(value, SIM_PLAN_NODES_MAX, &p->nodes);
    }
    if (is_word(key, "shards")) {
        return get_number(value, SIM_PLAN_SHARDS_MAX, &p->shards);
    }
    if (is_word(key, "clients")) {
        return get_number(value, SIM_PLAN_CLIENTS_MAX, &p->clients);
    }
    if (is_word(key, "busy")) {
        return get_number(value, 1, &p->busy);
    }
    if (is_word(key, "end")) {
        return get_time(value, &p->end_us);
    }
    if (is_word(key, "disk")) {
        return get_time(value, &p->disk_us);
    }
    if (is_word(key, "frail")) {
        return get_number(value, SIM_PLAN_NODES_MAX, &p->frail);
    }
    if (is_word(key, "snapshot_bytes")) {
        return get_number(value, UINT32_MAX, &p->snapshot_bytes);
    }
    return is_word(key, "snapshot_entries") &&
           get_number(value, UINT32_MAX, &p->snapshot_entries);
}

static bool
get_head(struct sim_plan *p, struct rest line)
{
    while (line.size > 0) {
        struct rest value = take(&line, ' ');
        struct rest key = take(&value, '=');

        if (!set_head(p, key, value)) {
            return false;
        }
    }
    return p->nodes > 0 && p->shards > 0 && p->clients > 0 && p->disk_us > 0;
}

static bool
set_fault(const struct sim_plan *p, struct sim_fault *f, struct rest key,
          struct rest value)
{
    uint64_t node;

    if (is_word(key, "at")) {
        return get_time(value, &f->at_us);
    }
    if (is_word(key, "for")) {
        return get_time(value, &f->for_us);
    }
    if (is_word(key, kinds[f->kind].a)) {
        return get_number(value, UINT64_MAX, &f->a);
    }
    if (is_word(key, kinds[f->kind].b)) {
        return get_number(value, UINT64_MAX, &f->b);
    }
    if (!is_word(key, "node") || kinds[f->kind].target == NOBODY ||
        !get_number(value, p->nodes, &node) || node == 0) {
        return false;
    }
    f->node = (uint32_t)node;
    return true;
}

static bool
get_kind(struct rest word, enum sim_fault_kind *out)
{
    for (size_t i = 0; i < SIM_FAULT_KINDS; i++) {
        if (is_word(word, kinds[i].name)) {
            *out = (enum sim_fault_kind)i;
            return true;
        }
    }
    return false;
}

static bool
get_fault(struct sim_plan *p, struct rest line)
{
    struct rest word = take(&line, ' ');
    enum sim_fault_kind kind;
    struct sim_fault *f;
    uint64_t number;

    if (p->faults_count == SIM_PLAN_FAULTS_MAX ||
        !get_number(word, UINT32_MAX, &number) ||
        !get_kind(take(&line, ' '), &kind)) {
        return false;
    }
    f = fault_add(p, kind, 0, 0);
    f->number = (uint32_t)number;
    while (line.size > 0) {
        struct rest value = take(&line, ' ');
        struct rest key = take(&value, '=');

        if (!set_fault(p, f, key, value)) {
            return false;
        }
    }
    return f->node != 0 || kinds[kind].target == NOBODY;
}

int
sim_plan_parse(const char *text, size_t size, struct sim_plan *out,
               struct error *err)
{
    struct rest rest = {text, size};
    struct sim_plan *p = mem_zalloc(1, sizeof(*p));
    unsigned line = 0;
    bool is_good = true;

    while (rest.size > 0 && is_good) {
        struct rest words = take(&rest, '\n');

        is_good = line == 0 ? get_head(p, words) : get_fault(p, words);
        line++;
    }
    if (is_good && line > 0) {
        *out = *p;
    }
    mem_free(p);
    return is_good && line > 0
               ? 0
               : error_set(err, QR_EFORMAT,
                           "line %u is none that --print-plan prints", line);
}

static bool
is_listed(const char *list, uint32_t number, bool *is_good)
{
    struct rest rest = {list, strlen(list)};
    bool found = false;

    *is_good = true;
    while (rest.size > 0) {
        struct rest last = take(&rest, ',');
        struct rest first = take(&last, '-');
        uint64_t low = 0;
        uint64_t high = 0;

        *is_good = *is_good && get_number(first, UINT32_MAX, &low);
        high = low;
        if (last.size > 0) {
            *is_good = *is_good && get_number(last, UINT32_MAX, &high);
        }
        found = found || (number >= low && number <= high);
    }
    return found;
}

int
sim_plan_select(struct sim_plan *p, const char *list, bool is_only)
{
    size_t kept = 0;
    bool is_good;

    (void)is_listed(list, 0, &is_good);
    if (!is_good) {
        return -QR_EFORMAT;
    }
    for (size_t i = 0; i < p->faults_count; i++) {
        if (is_listed(list, p->faults[i].number, &is_good) == is_only) {
            p->faults[kept++] = p->faults[i];
        }
    }
    p->faults_count = kept;
    return 0;
}

int
sim_plan_switch_off(struct sim_plan *p, const char *name)
{
    struct rest word = {name, strlen(name)};
    enum sim_fault_kind kind;
    size_t kept = 0;

    if (!get_kind(word, &kind)) {
        return -QR_ENOENT;
    }
    for (size_t i = 0; i < p->faults_count; i++) {
        if (p->faults[i].kind != kind) {
            p->faults[kept++] = p->faults[i];
        }
    }
    p->faults_count = kept;
    return 0;
}
