/* Permissions, as RabbitMQ checks and words them.
 *
 * Matching a regular expression for each message would cost more than routing
 * it, so outcomes are remembered in a small direct-mapped table, each with
 * the metadata index that it was found at: any change of metadata voids them
 * all. */
#include <string.h>

#include "auth/permission.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "shard/env.h"

enum {
    ACCESS_SLOTS = 1024,     /* power of two */
    ACCESS_KEY_SIZE_MAX = 96 /* longer ones are looked up each time */
};

struct access_slot {
    qr_index index;
    uint8_t size;
    bool is_allowed;
    uint8_t key[ACCESS_KEY_SIZE_MAX];
};

struct access {
    struct permission_cache *patterns;
    struct access_slot slots[ACCESS_SLOTS];
};

void
access_init(struct broker *b)
{
    b->access = mem_zalloc(1, sizeof(*b->access));
    b->access->patterns = permission_cache_new(0);
}

void
access_deinit(struct broker *b)
{
    permission_cache_free(&b->access->patterns);
    mem_free(b->access);
    b->access = NULL;
}

static const struct meta_text *
pattern_of(const struct meta_permission *p, enum broker_access access)
{
    switch (access) {
    case ACCESS_CONFIGURE:
        return &p->configure;
    case ACCESS_WRITE:
        return &p->write;
    case ACCESS_READ:
        return &p->read;
    }
    UNREACHABLE("an access that is none");
}

static bool
look_up(struct broker *b, const struct broker_connection *c,
        enum broker_access access, struct meta_text name)
{
    const struct meta_vhost *vhost =
        meta_vhost(b->meta, c->vhost, strlen(c->vhost));
    const struct meta_permission *permission;
    const struct meta_text *pattern;

    if (vhost == NULL) {
        return false;
    }
    permission = meta_permission(b->meta, vhost, c->user, strlen(c->user));
    if (permission == NULL) {
        return false;
    }
    pattern = pattern_of(permission, access);
    return permission_allows(b->access->patterns, pattern->data, pattern->size,
                             name.data, name.size);
}

/* Who wants to do what to which name, as bytes; 0 when too long. */
static size_t
make_key(const struct broker_connection *c, enum broker_access access,
         struct meta_text name, uint8_t key[ACCESS_KEY_SIZE_MAX])
{
    size_t user = strlen(c->user) + 1;
    size_t vhost = strlen(c->vhost) + 1;
    size_t size = 1 + user + vhost + name.size;

    if (size > ACCESS_KEY_SIZE_MAX) {
        return 0;
    }
    key[0] = (uint8_t)access;
    memcpy(key + 1, c->user, user);
    memcpy(key + 1 + user, c->vhost, vhost);
    if (name.size > 0) {
        memcpy(key + 1 + user + vhost, name.data, name.size);
    }
    return size;
}

/* FNV-1a. */
static uint32_t
hash(const uint8_t *key, size_t size)
{
    uint32_t h = 2166136261U;

    for (size_t i = 0; i < size; i++) {
        h = (h ^ key[i]) * 16777619U;
    }
    return h;
}

static bool
is_allowed(struct broker *b, const struct broker_connection *c,
           enum broker_access access, struct meta_text name)
{
    uint8_t key[ACCESS_KEY_SIZE_MAX];
    size_t size = make_key(c, access, name, key);
    qr_index index = meta_applied(b->meta);
    struct access_slot *slot;

    if (size == 0) {
        return look_up(b, c, access, name);
    }
    slot = &b->access->slots[hash(key, size) % ACCESS_SLOTS];
    if (slot->index != index || slot->size != size ||
        memcmp(slot->key, key, size) != 0) {
        slot->is_allowed = look_up(b, c, access, name);
        slot->index = index;
        slot->size = (uint8_t)size;
        memcpy(slot->key, key, size);
    }
    return slot->is_allowed;
}

bool
broker_is_allowed(struct broker *b, const struct broker_connection *c,
                  enum broker_access access, const char *kind,
                  struct meta_text name, struct broker_fault *fault)
{
    static const char *const words[] = {"configure", "write", "read"};

    if (is_allowed(b, c, access, name)) {
        return true;
    }
    broker_fault_set(fault, BROKER_ACCESS_REFUSED,
                     "%s access to %s '%.*s' in vhost '%s' refused for user "
                     "'%s'",
                     words[access], kind, name.size == 0 ? 11 : (int)name.size,
                     name.size == 0 ? "amq.default" : name.data, c->vhost,
                     c->user);
    return false;
}
