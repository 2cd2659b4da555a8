/* See identity.h. The file is a few `key value` lines:
 *
 *   version 3
 *   uuid UUID
 *   shards N
 *   node ID                 (when of a cluster)
 *   start NUMBER PROCESS    (one a start, newest first)
 *   met ID NUMBER PROCESS   (another node's newest start, one a node)
 *   cluster ...             (broker/cluster.h, when of a cluster)
 */
#include "daemon/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    PATH_SIZE = 4200,
    LINE_SIZE = 640,
    WORDS_MAX = 4,
    PROCESS_DIGITS = 16,
    NFTW_FILES = 16
};

static int
io_error(struct error *err, const char *path)
{
    return error_set(err, QR_EIO, "%s: %s", path, strerrordesc_np(errno));
}

/* ---- text ---- */

/* NUMBER PROCESS of a start. */
static int
parse_seen(const char *number, const char *process, struct start_seen *out)
{
    uint64_t boot;
    uint64_t value;
    char *end = NULL;

    if (parse_u64(number, strlen(number), 1, UINT32_MAX - 1, &boot) != 0 ||
        strlen(process) != PROCESS_DIGITS) {
        return -QR_EFORMAT;
    }
    errno = 0;
    value = strtoull(process, &end, 16);
    if (errno != 0 || *end != '\0') {
        return -QR_EFORMAT;
    }
    out->boot = (uint32_t)boot;
    out->process = value;
    return 0;
}

/* start NUMBER PROCESS: newest first, so each is one before the last. */
static int
parse_start(struct identity *id, const char *number, const char *process)
{
    struct starts *s = &id->starts;
    struct start_seen one;

    if (s->count == STARTS_MAX || parse_seen(number, process, &one) != 0 ||
        one.process == 0 || (s->count > 0 && one.boot + s->count != s->boot)) {
        return -QR_EFORMAT;
    }
    s->boot = s->count == 0 ? one.boot : s->boot;
    s->process[s->count++] = one.process;
    return 0;
}

/* met ID NUMBER PROCESS */
static int
parse_met(struct identity *id, char *const words[WORDS_MAX])
{
    struct start_seen one;
    uint64_t node;

    if (id->met.count == STARTS_BOOK_MAX ||
        parse_u64(words[1], strlen(words[1]), 1, UINT16_MAX, &node) != 0 ||
        parse_seen(words[2], words[3], &one) != 0) {
        return -QR_EFORMAT;
    }
    return starts_book_see(&id->met, (uint32_t)node, &one) ? 0 : -QR_EFORMAT;
}

static int
parse_pair(struct identity *id, const char *key, const char *value)
{
    uint64_t number;
    int rv;

    if (strcmp(key, "uuid") == 0) {
        return uuid_parse(value, &id->uuid);
    }
    if (strcmp(key, "node") == 0) {
        rv = parse_u64(value, strlen(value), 1, UINT16_MAX, &number);
        id->node = rv == 0 ? (qr_node_id)number : id->node;
        return rv;
    }
    if (strcmp(key, "shards") == 0) {
        rv = parse_u64(value, strlen(value), 1, QR_SHARDS_MAX, &number);
        id->shards = rv == 0 ? (uint16_t)number : id->shards;
        return rv;
    }
    return strcmp(key, "version") == 0 && strcmp(value, "3") == 0 ? 0
                                                                  : -QR_EFORMAT;
}

/* Cut LINE at blanks into WORDS. */
static size_t
split(char *line, char *words[WORDS_MAX])
{
    size_t count = 0;

    while (*line != '\0' && count < WORDS_MAX) {
        words[count++] = line;
        line += strcspn(line, " ");
        if (*line == ' ') {
            *line++ = '\0';
        }
    }
    return *line == '\0' ? count : 0;
}

static int
parse_line(struct identity *id, char *line)
{
    char *words[WORDS_MAX];
    size_t count;
    int rv;

    if (line[0] == '\0') {
        return 0;
    }
    rv = cluster_get_line(&id->cluster, line);
    if (rv != 0) {
        return rv < 0 ? rv : 0;
    }
    count = split(line, words);
    if (count == 3 && strcmp(words[0], "start") == 0) {
        return parse_start(id, words[1], words[2]);
    }
    if (count == 4 && strcmp(words[0], "met") == 0) {
        return parse_met(id, words);
    }
    return count == 2 ? parse_pair(id, words[0], words[1]) : -QR_EFORMAT;
}

static int
parse(struct identity *id, const char *text, size_t size, struct error *err)
{
    char line[LINE_SIZE];
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - text) - at;

        if (length >= sizeof(line)) {
            return error_set(err, QR_EFORMAT, "a line is too long");
        }
        memcpy(line, text + at, length);
        line[length] = '\0';
        if (parse_line(id, line) != 0) {
            memcpy(line, text + at, length);
            line[length] = '\0';
            return error_set(err, QR_EFORMAT, "not understood: '%s'", line);
        }
        at += length + 1;
    }
    return 0;
}

/* ---- files ---- */

static int
write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0) {
            return -QR_EIO;
        }
        data += n;
        size -= (size_t)n;
    }
    return fsync(fd) == 0 ? 0 : -QR_EIO;
}

static int
sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rv;

    if (fd < 0) {
        return -QR_EIO;
    }
    rv = fsync(fd) == 0 ? 0 : -QR_EIO;
    (void)close(fd);
    return rv;
}

int
identity_save(const char *dir, const struct identity *id, struct error *err)
{
    char path[PATH_SIZE];
    char fresh[PATH_SIZE];
    char text[UUID_TEXT_SIZE];
    struct buf out;
    int fd;
    int rv;

    (void)snprintf(path, sizeof(path), "%s/identity", dir);
    (void)snprintf(fresh, sizeof(fresh), "%s/identity.new", dir);
    buf_init(&out);
    uuid_format(&id->uuid, text);
    buf_putf(&out, "version 3\nuuid %s\n", text);
    for (uint32_t i = 0; i < id->starts.count; i++) {
        buf_putf(&out, "start %u %016llx\n", id->starts.boot - i,
                 (unsigned long long)id->starts.process[i]);
    }
    for (uint32_t i = 0; i < id->met.count; i++) {
        buf_putf(&out, "met %u %u %016llx\n", id->met.items[i].node,
                 id->met.items[i].seen.boot,
                 (unsigned long long)id->met.items[i].seen.process);
    }
    if (id->node != 0) {
        buf_putf(&out, "node %u\n", id->node);
    }
    if (id->shards != 0) {
        buf_putf(&out, "shards %u\n", id->shards);
    }
    if (!uuid_is_nil(&id->cluster.id)) {
        cluster_put(&out, &id->cluster);
    }
    fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        buf_deinit(&out);
        return io_error(err, fresh);
    }
    rv = write_all(fd, out.data, out.size);
    (void)close(fd);
    buf_deinit(&out);
    if (rv != 0 || rename(fresh, path) != 0 || sync_dir(dir) != 0) {
        return io_error(err, path);
    }
    return 0;
}

static int
load(const char *path, struct identity *out, struct error *err)
{
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    int rv;

    if (fd < 0 && errno == ENOENT) {
        return -QR_ENOENT;
    }
    if (fd < 0) {
        return io_error(err, path);
    }
    text = mem_alloc(IDENTITY_FILE_SIZE_MAX);
    n = read(fd, text, IDENTITY_FILE_SIZE_MAX);
    (void)close(fd);
    if (n < 0) {
        rv = io_error(err, path);
    } else {
        rv = error_wrap(err, parse(out, text, (size_t)n, err), "%s", path);
    }
    mem_free(text);
    return rv;
}

static int
lock_dir(const char *dir, int *lock, struct error *err)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s/lock", dir);
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0) {
        return io_error(err, path);
    }
    if (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        (void)close(*lock);
        return error_set(err, QR_EBUSY,
                         "%s: another quorated uses this data directory; stop "
                         "it, or set node.data_dir to another one",
                         dir);
    }
    return 0;
}

/* DIR and what leads to it. */
static int
make_dirs(const char *dir, struct error *err)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s", dir);
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(path, 0755) != 0 && errno != EEXIST) {
                return io_error(err, path);
            }
            *p = '/';
        }
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return io_error(err, path);
    }
    return 0;
}

/* Whether ENTRY of the data directory is what a node is made of. */
static bool
is_data(const char *entry)
{
    return strcmp(entry, "identity") == 0 || strncmp(entry, "shard-", 6) == 0;
}

/* Whether ENTRY of the data directory is the log of a shard. */
static bool
is_log(const char *entry)
{
    return is_data(entry) && strcmp(entry, "identity") != 0;
}

/* Whether DIR has logs, of any shard. In one that has no identity, they are of
 * what was being set aside when the power failed: nothing may be built on them.
 */
static bool
has_logs(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    bool has = false;

    /* One directory of its own: no thread shares it.
     * NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while (d != NULL && !has && (e = readdir(d)) != NULL) {
        has = is_log(e->d_name);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return has;
}

static int
make_uuid(struct uuid *out, struct error *err)
{
    uint8_t random[16];

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        return io_error(err, "getrandom");
    }
    *out = uuid_from_random(random);
    return 0;
}

/* A blank node's identity, in DIR; PATH is scratch. */
static int
make(const char *dir, struct identity *id, char *path, struct error *err)
{
    int rv = 0;

    if (has_logs(dir)) {
        rv = identity_set_aside(dir, path, PATH_SIZE, err);
    }
    return rv == 0 ? make_uuid(&id->uuid, err) : rv;
}

int
identity_renew(const char *dir, struct identity *id, struct error *err)
{
    struct identity fresh = {0};
    int rv;

    if (id->node != 0 || !uuid_is_nil(&id->cluster.id) || has_logs(dir)) {
        return error_set(err, QR_ESTALE,
                         "%s: it has data, and the cluster has removed the "
                         "node that it was of; start it with an empty data "
                         "directory",
                         dir);
    }
    rv = make_uuid(&fresh.uuid, err);
    if (rv == 0) {
        rv = identity_save(dir, &fresh, err);
    }
    if (rv == 0) {
        *id = fresh;
    }
    return rv;
}

int
identity_open(const char *dir, struct identity *out, int *lock,
              struct error *err)
{
    char path[PATH_SIZE];
    struct identity id = {0};
    uint64_t process = 0;
    int rv = make_dirs(dir, err);

    if (rv == 0) {
        rv = lock_dir(dir, lock, err);
    }
    if (rv != 0) {
        return rv;
    }
    (void)snprintf(path, sizeof(path), "%s/identity", dir);
    rv = load(path, &id, err);
    if (rv == -QR_ENOENT) {
        rv = make(dir, &id, path, err);
    }
    while (rv == 0 && process == 0) {
        if (getrandom(&process, sizeof(process), 0) != sizeof(process)) {
            rv = io_error(err, "getrandom");
        }
    }
    if (rv == 0) {
        starts_push(&id.starts, process);
        rv = identity_save(dir, &id, err);
    }
    if (rv != 0) {
        (void)close(*lock);
        return rv;
    }
    *out = id;
    return 0;
}

/* ---- setting aside ---- */

/* nftw() calls it for each file of a copy, deepest first. */
static int
delete_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* The numbers of the copies that DIR keeps: how many, and the least and the
 * greatest. */
static size_t
count_aside(const char *dir, uint64_t *least, uint64_t *greatest)
{
    static const char prefix[] = "set-aside-";
    DIR *d = opendir(dir);
    const struct dirent *e;
    size_t count = 0;

    *least = UINT64_MAX;
    *greatest = 0;
    /* One directory of its own: no thread shares it.
     * NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while (d != NULL && (e = readdir(d)) != NULL) {
        const char *number = e->d_name + sizeof(prefix) - 1;
        uint64_t n;

        if (strncmp(e->d_name, prefix, sizeof(prefix) - 1) == 0 &&
            parse_u64(number, strlen(number), 1, UINT32_MAX, &n) == 0) {
            count++;
            *least = MIN(*least, n);
            *greatest = MAX(*greatest, n);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return count;
}

/* Move what is_data() from DIR to TO, but the identity, which is moved before:
 * a crash in between leaves no node that takes itself for the old one. */
static int
move_logs(const char *dir, const char *to, struct error *err)
{
    DIR *d = opendir(dir);
    int target = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct dirent *e;
    int rv = d == NULL || target < 0 ? io_error(err, dir) : 0;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while (rv == 0 && d != NULL && (e = readdir(d)) != NULL) {
        if (is_data(e->d_name) &&
            renameat(dirfd(d), e->d_name, target, e->d_name) != 0) {
            rv = io_error(err, e->d_name);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    if (target >= 0) {
        (void)close(target);
    }
    return rv;
}

/* Make room for one more copy. */
static int
delete_oldest(const char *dir, uint64_t *greatest, struct error *err)
{
    char path[PATH_SIZE];
    uint64_t least;

    while (count_aside(dir, &least, greatest) >= IDENTITY_ASIDE_MAX) {
        (void)snprintf(path, sizeof(path), "%s/set-aside-%llu", dir,
                       (unsigned long long)least);
        /* No other thread runs yet.
         * NOLINTNEXTLINE(concurrency-mt-unsafe) */
        if (nftw(path, delete_one, NFTW_FILES, FTW_DEPTH | FTW_PHYS) != 0) {
            return io_error(err, path);
        }
    }
    return 0;
}

/* DIR/identity goes into PATH. */
static int
move_identity(const char *dir, const char *path, struct error *err)
{
    char from[PATH_SIZE];
    char to[PATH_SIZE];

    (void)snprintf(from, sizeof(from), "%s/identity", dir);
    (void)snprintf(to, sizeof(to), "%s/identity", path);
    if (rename(from, to) != 0 && errno != ENOENT) {
        return io_error(err, from);
    }
    return sync_dir(dir) == 0 ? 0 : io_error(err, dir);
}

int
identity_set_aside(const char *dir, char *path, size_t path_size,
                   struct error *err)
{
    uint64_t greatest = 0;
    int rv = delete_oldest(dir, &greatest, err);

    if (rv != 0) {
        return rv;
    }
    (void)snprintf(path, path_size, "%s/set-aside-%llu", dir,
                   (unsigned long long)greatest + 1);
    if (mkdir(path, 0700) != 0) {
        return io_error(err, path);
    }
    rv = move_identity(dir, path, err);
    if (rv == 0) {
        rv = move_logs(dir, path, err);
    }
    if (rv == 0 && (sync_dir(path) != 0 || sync_dir(dir) != 0)) {
        rv = io_error(err, dir);
    }
    return rv;
}

int
identity_shards(const char *dir, struct identity *id, uint16_t shards,
                struct error *err)
{
    if (id->shards == 0) {
        id->shards = shards;
        return identity_save(dir, id, err);
    }
    if (id->shards != shards) {
        return error_set(err, QR_EINVAL,
                         "node.shards = %u: the data in %s are of %u; the "
                         "number of shards may not change once there are data",
                         shards, dir, id->shards);
    }
    return 0;
}
