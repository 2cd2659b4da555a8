/* Users and what each may do in which vhost. Passwords come as encoded
 * hashes; nothing here can tell one from another. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

struct meta_user_record *
meta_user_create(struct meta_machine *m, const struct meta_user *spec)
{
    struct meta_user_record *user = mem_zalloc(1, sizeof(*user));
    void *was = NULL;

    ASSERT(spec->name.size > 0);
    ASSERT(spec->name.size <= QR_NAME_SIZE_MAX);
    user->magic = META_USER_MAGIC;
    user->pub.name = meta_text_dup(spec->name);
    user->pub.password = meta_text_dup(spec->password);
    user->pub.tags = meta_text_dup(spec->tags);
    list_init(&user->permissions);
    was = strmap_put(&m->users, spec->name.data, spec->name.size, user);
    ASSERT(was == NULL);
    return user;
}

void
meta_user_drop(struct meta_machine *m, struct meta_user_record *user)
{
    struct list *it = NULL;
    struct list *next = NULL;
    void *was = NULL;

    OBJ_CHECK(user, META_USER_MAGIC);
    list_foreach_safe (it, next, &user->permissions) {
        meta_permission_drop(
            m, list_entry(it, struct meta_permission_record, by_user));
    }
    ASSERT(list_is_empty(&user->permissions));
    was = strmap_remove(&m->users, user->pub.name.data, user->pub.name.size);
    ASSERT(was == user);
    meta_tell_user(m, user->pub.name);
    meta_text_drop(&user->pub.name);
    meta_text_drop(&user->pub.password);
    meta_text_drop(&user->pub.tags);
    user->magic = 0;
    mem_free(user);
}

struct meta_permission_record *
meta_permission_create(struct meta_machine *m, struct meta_vhost_record *vhost,
                       struct meta_user_record *user,
                       const struct meta_permission *spec)
{
    struct meta_permission_record *p = mem_zalloc(1, sizeof(*p));
    void *was = NULL;

    ASSERT(vhost->magic == META_VHOST_MAGIC);
    ASSERT(user->magic == META_USER_MAGIC);
    p->magic = META_PERMISSION_MAGIC;
    p->vhost = vhost;
    p->pub.vhost = vhost->pub.name;
    p->pub.user = user->pub.name;
    p->pub.configure = meta_text_dup(spec->configure);
    p->pub.write = meta_text_dup(spec->write);
    p->pub.read = meta_text_dup(spec->read);
    list_push_back(&user->permissions, &p->by_user);
    was = strmap_put(&vhost->permissions, user->pub.name.data,
                     user->pub.name.size, p);
    ASSERT(was == NULL);
    m->permissions_count++;
    return p;
}

void
meta_permission_drop(struct meta_machine *m,
                     struct meta_permission_record *permission)
{
    void *was = NULL;

    OBJ_CHECK(permission, META_PERMISSION_MAGIC);
    ASSERT(m->permissions_count > 0);
    was = strmap_remove(&permission->vhost->permissions,
                        permission->pub.user.data, permission->pub.user.size);
    ASSERT(was == permission);
    list_remove(&permission->by_user);
    m->permissions_count--;
    meta_tell_user(m, permission->pub.user);
    meta_text_drop(&permission->pub.configure);
    meta_text_drop(&permission->pub.write);
    meta_text_drop(&permission->pub.read);
    permission->magic = 0;
    mem_free(permission);
}

enum meta_status
meta_apply_user_add(struct meta_machine *m, const Meta__Command *c,
                    struct meta_outcome *out)
{
    struct meta_user spec = {
        .name = meta_field(&c->user_add->name),
        .password = meta_field(&c->user_add->password),
        .tags = meta_field(&c->user_add->tags),
    };

    ASSERT(c->of_case == META__COMMAND__OF_USER_ADD);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_is_name(spec.name) || spec.password.size > META_TEXT_SIZE_MAX ||
        spec.tags.size > META_TEXT_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (meta_user_get(m, spec.name) != NULL) {
        return META_EXISTS;
    }
    if (m->users.count >= META_USERS_MAX) {
        return META_LIMIT;
    }
    meta_tell_user(m, meta_user_create(m, &spec)->pub.name);
    return META_OK;
}

enum meta_status
meta_apply_user_delete(struct meta_machine *m, const Meta__Command *c,
                       struct meta_outcome *out)
{
    struct meta_user_record *user =
        meta_user_get(m, meta_field(&c->user_delete->name));

    ASSERT(c->of_case == META__COMMAND__OF_USER_DELETE);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (user == NULL) {
        return META_NOT_FOUND;
    }
    meta_user_drop(m, user);
    return META_OK;
}

enum meta_status
meta_apply_user_password(struct meta_machine *m, const Meta__Command *c,
                         struct meta_outcome *out)
{
    struct meta_text password = meta_field(&c->user_password->password);
    struct meta_user_record *user =
        meta_user_get(m, meta_field(&c->user_password->name));

    ASSERT(c->of_case == META__COMMAND__OF_USER_PASSWORD);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (password.size > META_TEXT_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (user == NULL) {
        return META_NOT_FOUND;
    }
    meta_text_set(&user->pub.password, password);
    meta_tell_user(m, user->pub.name);
    return META_OK;
}

enum meta_status
meta_apply_user_tags(struct meta_machine *m, const Meta__Command *c,
                     struct meta_outcome *out)
{
    struct meta_text tags = meta_field(&c->user_tags->tags);
    struct meta_user_record *user =
        meta_user_get(m, meta_field(&c->user_tags->name));

    ASSERT(c->of_case == META__COMMAND__OF_USER_TAGS);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (tags.size > META_TEXT_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (user == NULL) {
        return META_NOT_FOUND;
    }
    meta_text_set(&user->pub.tags, tags);
    meta_tell_user(m, user->pub.name);
    return META_OK;
}

static struct meta_permission_record *
meta_permission_get(const struct meta_vhost_record *vhost,
                    struct meta_text user)
{
    return strmap_get(&vhost->permissions, user.data, user.size);
}

enum meta_status
meta_apply_permission_set(struct meta_machine *m, const Meta__Command *c,
                          struct meta_outcome *out)
{
    struct meta_permission spec = {
        .vhost = meta_field(&c->permission_set->vhost),
        .user = meta_field(&c->permission_set->user),
        .configure = meta_field(&c->permission_set->configure),
        .write = meta_field(&c->permission_set->write),
        .read = meta_field(&c->permission_set->read),
    };
    struct meta_vhost_record *vhost = meta_vhost_get(m, spec.vhost);
    struct meta_user_record *user = meta_user_get(m, spec.user);
    struct meta_permission_record *old = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_PERMISSION_SET);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (spec.configure.size > META_PATTERN_SIZE_MAX ||
        spec.write.size > META_PATTERN_SIZE_MAX ||
        spec.read.size > META_PATTERN_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    if (user == NULL) {
        return META_NOT_FOUND;
    }
    old = meta_permission_get(vhost, spec.user);
    if (old == NULL) {
        if (m->permissions_count >= META_PERMISSIONS_MAX) {
            return META_LIMIT;
        }
        (void)meta_permission_create(m, vhost, user, &spec);
    } else {
        meta_text_set(&old->pub.configure, spec.configure);
        meta_text_set(&old->pub.write, spec.write);
        meta_text_set(&old->pub.read, spec.read);
    }
    meta_tell_user(m, user->pub.name);
    return META_OK;
}

enum meta_status
meta_apply_permission_clear(struct meta_machine *m, const Meta__Command *c,
                            struct meta_outcome *out)
{
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&c->permission_clear->vhost));
    struct meta_permission_record *old = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_PERMISSION_CLEAR);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    old = meta_permission_get(vhost, meta_field(&c->permission_clear->user));
    if (old == NULL) {
        return META_NOT_FOUND;
    }
    meta_permission_drop(m, old);
    return META_OK;
}

const struct meta_user *
meta_user(const struct meta_machine *m, const char *name, size_t size)
{
    struct meta_user_record *user = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    user = meta_user_get(m, meta_text(name, size));
    return user != NULL ? &user->pub : NULL;
}

const struct meta_permission *
meta_permission(const struct meta_machine *m, const struct meta_vhost *vhost,
                const char *user, size_t size)
{
    struct meta_permission_record *permission = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    permission =
        meta_permission_get(meta_vhost_of(vhost), meta_text(user, size));
    return permission != NULL ? &permission->pub : NULL;
}
