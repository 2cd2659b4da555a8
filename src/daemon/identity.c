/* See identity.h. The file is a few `key value` lines:
 *
 *   version 1
 *   uuid UUID
 *   boot N
 *   shards N
 *   cluster UUID            (when formed)
 *   member ID UUID NAME     (one a node, when formed)
 */
#include "daemon/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
    WORDS_MAX = 4
};

static int
io_error(struct error *err, const char *path)
{
    return error_set(err, QR_EIO, "%s: %s", path, strerrordesc_np(errno));
}

/* ---- text ---- */

void
identity_put_cluster(struct buf *out, const struct identity *id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(&id->cluster, text);
    buf_putf(out, "cluster %s\n", text);
    for (size_t i = 0; i < id->members_count; i++) {
        const struct identity_member *m = &id->members[i];

        uuid_format(&m->uuid, text);
        buf_putf(out, "member %u %s %s\n", m->id, text, m->name);
    }
}

/* Cut LINE at blanks into at most WORDS_MAX words; the last takes the rest. */
static size_t
split(char *line, char *words[WORDS_MAX])
{
    size_t count = 0;

    while (*line != '\0' && count < WORDS_MAX) {
        words[count++] = line;
        if (count == WORDS_MAX) {
            break;
        }
        line += strcspn(line, " ");
        if (*line == ' ') {
            *line++ = '\0';
        }
    }
    return count;
}

static int
parse_member(struct identity *id, char *words[WORDS_MAX], size_t count)
{
    struct identity_member *m = &id->members[id->members_count];
    uint64_t number;

    if (count != 4 || id->members_count == IDENTITY_MEMBERS_MAX ||
        strlen(words[3]) > QR_NAME_SIZE_MAX ||
        parse_u64(words[1], strlen(words[1]), 1, UINT16_MAX, &number) != 0 ||
        uuid_parse(words[2], &m->uuid) != 0) {
        return -QR_EFORMAT;
    }
    m->id = (qr_node_id)number;
    memcpy(m->name, words[3], strlen(words[3]) + 1);
    id->members_count++;
    return 0;
}

static int
parse_line(struct identity *id, char *line)
{
    char *words[WORDS_MAX];
    size_t count = split(line, words);
    uint64_t number;

    if (count == 0) {
        return 0;
    }
    if (strcmp(words[0], "member") == 0) {
        return parse_member(id, words, count);
    }
    if (count != 2) {
        return -QR_EFORMAT;
    }
    if (strcmp(words[0], "uuid") == 0) {
        return uuid_parse(words[1], &id->uuid);
    }
    if (strcmp(words[0], "cluster") == 0) {
        return uuid_parse(words[1], &id->cluster);
    }
    if (strcmp(words[0], "boot") == 0) {
        int rv =
            parse_u64(words[1], strlen(words[1]), 0, UINT32_MAX - 1, &number);

        id->boot = rv == 0 ? (uint32_t)number : id->boot;
        return rv;
    }
    if (strcmp(words[0], "shards") == 0) {
        int rv =
            parse_u64(words[1], strlen(words[1]), 1, QR_SHARDS_MAX, &number);

        id->shards = rv == 0 ? (uint16_t)number : id->shards;
        return rv;
    }
    return strcmp(words[0], "version") == 0 && strcmp(words[1], "1") == 0
               ? 0
               : -QR_EFORMAT;
}

static int
parse(struct identity *id, const char *text, size_t size, struct error *err)
{
    char line[512];
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

int
identity_get_cluster(struct identity *id, const char *text, size_t size,
                     struct error *err)
{
    struct identity copy = *id;
    int rv;

    copy.members_count = 0;
    rv = parse(&copy, text, size, err);
    if (rv != 0) {
        return rv;
    }
    if (uuid_is_nil(&copy.cluster) || copy.members_count == 0) {
        return error_set(err, QR_EFORMAT, "no cluster in it");
    }
    id->cluster = copy.cluster;
    memcpy(id->members, copy.members, sizeof(id->members));
    id->members_count = copy.members_count;
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
    buf_putf(&out, "version 1\nuuid %s\nboot %u\n", text, id->boot);
    if (id->shards != 0) {
        buf_putf(&out, "shards %u\n", id->shards);
    }
    if (!uuid_is_nil(&id->cluster)) {
        identity_put_cluster(&out, id);
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

int
identity_open(const char *dir, struct identity *out, int *lock,
              struct error *err)
{
    char path[PATH_SIZE];
    struct identity id = {0};
    uint8_t random[16];
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
        if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
            rv = io_error(err, "getrandom");
        } else {
            id.uuid = uuid_from_random(random);
            rv = 0;
        }
    }
    id.boot++;
    if (rv == 0) {
        rv = identity_save(dir, &id, err);
    }
    if (rv != 0) {
        (void)close(*lock);
        return rv;
    }
    *out = id;
    return 0;
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
