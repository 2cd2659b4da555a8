/* The identity file: made once, kept, locked, refused when damaged. */
#include <fcntl.h>
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
    cr_assert_eq(first.boot, 1);
    cr_assert(uuid_is_nil(&first.cluster));
    cr_assert_eq(identity_open(r.dir, &second, &lock, &err), 0);
    (void)close(lock);
    cr_assert_eq(second.boot, 2);
    cr_assert(uuid_is_equal(&first.uuid, &second.uuid));
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
    memset(&id.cluster, 7, sizeof(id.cluster));
    id.members_count = 2;
    for (uint8_t i = 0; i < 2; i++) {
        id.members[i].id = i + 1U;
        memset(&id.members[i].uuid, i + 1, sizeof(struct uuid));
        (void)snprintf(id.members[i].name, sizeof(id.members[i].name),
                       "node %u", i);
    }
    cr_assert_eq(identity_save(r.dir, &id, &err), 0);
    (void)close(lock);
    cr_assert_eq(identity_open(r.dir, &back, &lock, &err), 0, "%s", err.text);
    (void)close(lock);
    cr_assert(uuid_is_equal(&back.cluster, &id.cluster));
    cr_assert_eq(back.members_count, 2);
    cr_assert_str_eq(back.members[1].name, "node 1");
    cr_assert(uuid_is_equal(&back.members[1].uuid, &id.members[1].uuid));
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
        "version 2\n",  "uuid nonsense\n",   "boot many\n", "strange 1\n",
        "member 1 x\n", "boot 4294967295\n", "shards 0\n",  "shards 65\n"};

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

Test(identity, takes_a_cluster_from_text_or_nothing)
{
    struct identity id = {0};
    struct error err;
    const char *none = "version 1\n";

    cr_assert_eq(identity_get_cluster(&id, none, strlen(none), &err),
                 -QR_EFORMAT);
    cr_assert_eq(id.members_count, 0);
}
