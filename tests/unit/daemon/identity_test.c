/* The identity file: made once, kept, locked, refused when damaged. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "daemon/identity.h"
#include "lib/harness.h"

struct rig {
    char top[64];
    char dir[96];
};

static void
rig_init(struct rig *r)
{
    strcpy(r->top, "/tmp/quorate-identity-XXXXXX");
    cr_assert_not_null(mkdtemp(r->top));
    (void)snprintf(r->dir, sizeof(r->dir), "%s/a/b", r->top);
}

static void
rig_deinit(struct rig *r)
{
    static const char *const names[] = {"/a/b/identity", "/a/b/lock", "/a/b",
                                        "/a", ""};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[160];

        (void)snprintf(path, sizeof(path), "%s%s", r->top, names[i]);
        (void)remove(path);
    }
}

static void
put_file(struct rig *r, const char *text)
{
    char path[160];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/identity", r->dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

Test(identity, is_made_once_and_counts_starts)
{
    struct identity first;
    struct identity second;
    struct error err;
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &first, &lock, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert_eq(first.starts.boot, 1);
    cr_assert(uuid_is_nil(&first.cluster.id));
    cr_assert_eq(identity_open(r.dir, &second, &lock, &err), 0);
    (void)close(lock);
    cr_assert_eq(second.starts.boot, 2);
    cr_assert(uuid_is_equal(&first.uuid, &second.uuid));
    cr_assert_eq(second.starts.count, 2);
    cr_assert_eq(second.starts.process[1], first.starts.process[0]);
    cr_assert_neq(second.starts.process[0], first.starts.process[0]);
    rig_deinit(&r);
}

Test(identity, of_a_directory_in_use_is_refused)
{
    struct identity id;
    struct error err;
    struct rig r;
    int lock;
    int again;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    cr_assert_eq(identity_open(r.dir, &id, &again, &err), -QR_EBUSY);
    cr_assert_not_null(strstr(err.text, "another quorated uses"));
    (void)close(lock);
    rig_deinit(&r);
}

Test(identity, keeps_its_cluster)
{
    struct identity id;
    struct identity back;
    struct error err;
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    memset(&id.cluster.id, 7, sizeof(id.cluster.id));
    id.node = 2;
    id.cluster.has_founders = true;
    id.cluster.members_count = 2;
    for (uint8_t i = 0; i < 2; i++) {
        struct cluster_member *m = &id.cluster.members[i];

        m->id = i + 1U;
        memset(&m->uuid, i + 1, sizeof(struct uuid));
        (void)snprintf(m->name, sizeof(m->name), "node %u", i);
        (void)snprintf(m->address, sizeof(m->address), "host%u:5", i);
    }
    cr_assert_eq(identity_save(r.dir, &id, &err), 0);
    (void)close(lock);
    cr_assert_eq(identity_open(r.dir, &back, &lock, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert_eq(back.node, 2);
    cr_assert(back.cluster.has_founders);
    cr_assert(uuid_is_equal(&back.cluster.id, &id.cluster.id));
    cr_assert_eq(back.cluster.members_count, 2);
    cr_assert_str_eq(back.cluster.members[1].name, "node 1");
    cr_assert_str_eq(back.cluster.members[1].address, "host1:5");
    cr_assert(uuid_is_equal(&back.cluster.members[1].uuid,
                            &id.cluster.members[1].uuid));
    rig_deinit(&r);
}

Test(identity, keeps_the_starts_of_others)
{
    struct start_seen seen = {.boot = 6, .process = 0xabcdef0123456789};
    struct identity id;
    struct identity back;
    struct error err = {{0}};
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    for (uint32_t node = 1; node <= STARTS_BOOK_MAX; node++) {
        cr_assert(starts_book_see(&id.met, node, &seen));
    }
    cr_assert_eq(identity_save(r.dir, &id, &err), 0);
    (void)close(lock);
    cr_assert_eq(identity_open(r.dir, &back, &lock, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert_eq(back.met.count, STARTS_BOOK_MAX);
    cr_assert_eq(starts_book_find(&back.met, 2).boot, seen.boot);
    cr_assert_eq(starts_book_find(&back.met, 2).process, seen.process);
    cr_assert_eq(back.met.items[0].node, 1, "in their order");
    rig_deinit(&r);
}

Test(identity, keeps_the_number_of_shards)
{
    struct identity id;
    struct error err = {{0}};
    struct rig r;
    int lock;

    rig_init(&r);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
        (void)close(lock);
        cr_assert_eq(id.shards, i == 0 ? 0 : 2);
        cr_assert_eq(identity_shards(r.dir, &id, 2, &err), 0, "%s", err.text);
        cr_assert_eq(id.shards, 2);
    }
    cr_assert_eq(identity_shards(r.dir, &id, 1, &err), -QR_EINVAL);
    cr_assert(strstr(err.text, "node.shards = 1") != NULL, "%s", err.text);
    rig_deinit(&r);
}

Test(identity, that_is_not_understood_is_refused)
{
    static const char *const bad[] = {
        "version 2\n",
        "uuid nonsense\n",
        "start many 0000000000000001\n",
        "strange 1\n",
        "member 1 x\n",
        "start 4294967295 0000000000000001\n",
        "start 1 1\n",
        "start 1 0000000000000000\n",
        "start 1 000000000000000x\n",
        "start 3 0000000000000001\nstart 1 0000000000000002\n",
        "met 2 1\n",
        "met 0 1 0000000000000001\n",
        "met 65536 1 0000000000000001\n",
        "met 2 0 0000000000000001\n",
        "met 2 1 000000000000001\n",
        "met 2 1 0000000000000001\nmet 2 1 0000000000000001\n",
        "node 0\n",
        "shards 0\n",
        "shards 65\n"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct identity id;
        struct error err;
        struct rig r;
        int lock;

        rig_init(&r);
        cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
        (void)close(lock);
        put_file(&r, bad[i]);
        cr_assert_eq(identity_open(r.dir, &id, &lock, &err), -QR_EFORMAT, "%s",
                     bad[i]);
        cr_assert_not_null(strstr(err.text, "not understood"));
        rig_deinit(&r);
    }
}

/* What a data directory has, beside its lock. */
static void
put_data(struct rig *r)
{
    char path[160];

    put_file(r, "version 3\nuuid 16fd2706-8baf-433b-82eb-8c7fada847da\n");
    (void)snprintf(path, sizeof(path), "%s/shard-0", r->dir);
    cr_assert_eq(mkdir(path, 0700), 0);
}

static bool
has(const struct rig *r, const char *name)
{
    char path[200];

    (void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    return access(path, F_OK) == 0;
}

static void
clean(const struct rig *r)
{
    char command[160];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", r->top);
    /* Tests have one thread. NOLINTNEXTLINE(cert-env33-c) */
    cr_assert_eq(system(command), 0);
}

Test(identity, set_aside_leaves_a_blank_directory_and_keeps_three)
{
    static const char *const names[] = {"set-aside-1", "set-aside-2",
                                        "set-aside-3", "set-aside-4",
                                        "set-aside-5"};
    struct identity id;
    struct identity next;
    struct error err = {{0}};
    char path[200];
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    (void)close(lock);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        put_data(&r);
        cr_assert_eq(identity_set_aside(r.dir, path, sizeof(path), &err), 0,
                     "%s", err.text);
        cr_assert_not_null(strstr(path, names[i]));
        cr_assert(has(&r, names[i]));
        cr_assert_not(has(&r, "identity"));
        cr_assert_not(has(&r, "shard-0"));
        cr_assert(has(&r, "lock"));
    }
    cr_assert_not(has(&r, names[0]));
    cr_assert_not(has(&r, names[1]));
    cr_assert(has(&r, "set-aside-3/identity"));
    cr_assert(has(&r, "set-aside-3/shard-0"));
    cr_assert_eq(identity_open(r.dir, &next, &lock, &err), 0);
    (void)close(lock);
    cr_assert_eq(next.starts.boot, 1);
    cr_assert_not(uuid_is_equal(&next.uuid, &id.uuid));
    clean(&r);
}

Test(identity, does_not_build_on_logs_that_have_none)
{
    struct identity id;
    struct error err = {{0}};
    char path[200];
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    (void)close(lock);
    put_data(&r);
    cr_assert_eq(identity_set_aside(r.dir, path, sizeof(path), &err), 0);
    put_data(&r);
    (void)snprintf(path, sizeof(path), "%s/identity", r.dir);
    cr_assert_eq(unlink(path), 0); /* the power failed in between */
    (void)snprintf(path, sizeof(path), "%s/shard-0", r.dir);
    cr_assert_eq(rmdir(path), 0); /* this one was moved already */
    (void)snprintf(path, sizeof(path), "%s/shard-1", r.dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert(has(&r, "set-aside-2/shard-1"));
    cr_assert_not(has(&r, "shard-1"));
    cr_assert_eq(id.starts.boot, 1);
    clean(&r);
}

Test(identity, of_a_blank_directory_can_be_another)
{
    struct identity id;
    struct identity next;
    struct error err = {{0}};
    struct uuid uuid;
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    cr_assert_eq(identity_shards(r.dir, &id, 2, &err), 0);
    uuid = id.uuid;
    cr_assert_eq(identity_renew(r.dir, &id, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert_not(uuid_is_equal(&uuid, &id.uuid));
    cr_assert_eq(identity_open(r.dir, &next, &lock, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert(uuid_is_equal(&next.uuid, &id.uuid));
    cr_assert_eq(next.starts.boot, 1, "a new node has not started before");
    cr_assert_eq(next.met.count, 0);
    cr_assert_eq(next.shards, 0);
    rig_deinit(&r);
}

Test(identity, of_a_directory_with_data_stays)
{
    struct identity id;
    struct error err = {{0}};
    char path[160];
    struct uuid uuid;
    struct rig r;
    int lock;

    rig_init(&r);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    uuid = id.uuid;
    id.node = 3;
    cr_assert_eq(identity_renew(r.dir, &id, &err), -QR_ESTALE);
    id.node = 0;
    memset(&id.cluster.id, 7, sizeof(id.cluster.id));
    cr_assert_eq(identity_renew(r.dir, &id, &err), -QR_ESTALE);
    memset(&id.cluster.id, 0, sizeof(id.cluster.id));
    (void)snprintf(path, sizeof(path), "%s/shard-3", r.dir);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(identity_renew(r.dir, &id, &err), -QR_ESTALE);
    cr_assert_not_null(strstr(err.text, r.dir));
    cr_assert(uuid_is_equal(&uuid, &id.uuid));
    (void)close(lock);
    cr_assert_eq(identity_open(r.dir, &id, &lock, &err), 0);
    (void)close(lock);
    cr_assert(uuid_is_equal(&uuid, &id.uuid));
    clean(&r);
}
