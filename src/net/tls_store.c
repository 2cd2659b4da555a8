/* A context and the marks of the files it came from.
 *
 * The marks (inode, size, times) are taken before the files are read: a change
 * during the reading is then seen at the next look. */
#include "net/tls_store.h"

#include <openssl/ssl.h>
#include <quorate/error.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/tls_cert.h"

enum {
    STORE_MAGIC = 0x746c7374,
    STORE_FILES = 3
};

/* What tells one state of a file from another; all 0: there is none. */
struct mark {
    uint64_t device;
    uint64_t inode;
    int64_t size;
    int64_t seconds;
    int64_t nanoseconds;
};

struct tls_store {
    unsigned magic;
    struct tls_config config; /* texts owned */
    char *password;           /* in secret memory, or NULL */
    size_t password_size;
    uv_mutex_t lock; /* of what follows */
    SSL_CTX *ctx;
    struct tls_validity validity;
    struct mark loaded[STORE_FILES]; /* or refused */
    struct mark seen[STORE_FILES];   /* at the last look */
};

static void
take_marks(const struct tls_store *s, struct mark marks[STORE_FILES])
{
    const char *paths[STORE_FILES] = {s->config.certfile, s->config.keyfile,
                                      s->config.cacertfile};
    struct stat st;

    memset(marks, 0, sizeof(struct mark) * STORE_FILES);
    for (size_t i = 0; i < STORE_FILES; i++) {
        if (paths[i] != NULL && stat(paths[i], &st) == 0) {
            marks[i].device = st.st_dev;
            marks[i].inode = st.st_ino;
            marks[i].size = st.st_size;
            marks[i].seconds = st.st_mtim.tv_sec;
            marks[i].nanoseconds = st.st_mtim.tv_nsec;
        }
    }
}

static const char *
copy(const char *text)
{
    return text == NULL ? NULL : mem_strdup(text);
}

static void
drop(const char **text)
{
    char *owned = NULL;

    memcpy(&owned, text, sizeof(owned));
    mem_free(owned);
    *text = NULL;
}

static void
keep_config(struct tls_store *s, const struct tls_config *c)
{
    s->config = *c;
    s->config.prefix = copy(c->prefix);
    s->config.cacertfile = copy(c->cacertfile);
    s->config.certfile = copy(c->certfile);
    s->config.keyfile = copy(c->keyfile);
    s->config.ciphers = copy(c->ciphers);
    if (c->password != NULL) {
        s->password_size = strlen(c->password) + 1;
        s->password = mem_secret_alloc(s->password_size);
        memcpy(s->password, c->password, s->password_size);
    }
    s->config.password = s->password;
}

int
tls_store_new(const struct tls_config *config, struct tls_store **out,
              struct error *err)
{
    struct tls_store *s = mem_zalloc(1, sizeof(*s));
    int rv = 0;

    s->magic = STORE_MAGIC;
    keep_config(s, config);
    ASSERT(uv_mutex_init(&s->lock) == 0);
    take_marks(s, s->loaded);
    memcpy(s->seen, s->loaded, sizeof(s->seen));
    rv = tls_context_new(&s->config, &s->ctx, &s->validity, err);
    if (rv != 0) {
        tls_store_free(&s);
        return rv;
    }
    *out = s;
    return 0;
}

void
tls_store_free(struct tls_store **store)
{
    struct tls_store *s = *store;

    if (s == NULL) {
        return;
    }
    OBJ_CHECK(s, STORE_MAGIC);
    *store = NULL;
    SSL_CTX_free(s->ctx);
    uv_mutex_destroy(&s->lock);
    if (s->password != NULL) {
        mem_secret_free(s->password, s->password_size);
    }
    drop(&s->config.prefix);
    drop(&s->config.cacertfile);
    drop(&s->config.certfile);
    drop(&s->config.keyfile);
    drop(&s->config.ciphers);
    s->magic = 0;
    mem_free(s);
}

struct ssl_ctx_st *
tls_store_context_mt(struct tls_store *s)
{
    SSL_CTX *ctx = NULL;

    OBJ_CHECK(s, STORE_MAGIC);
    uv_mutex_lock(&s->lock);
    ctx = s->ctx;
    (void)SSL_CTX_up_ref(ctx);
    uv_mutex_unlock(&s->lock);
    return ctx;
}

/* Whether V is good at NOW_S. */
static int
check_time(const struct tls_store *s, const struct tls_validity *v,
           int64_t now_s, struct error *err)
{
    char text[TLS_TIME_SIZE];

    if (now_s >= v->ends) {
        tls_time_text(v->ends, text);
        return error_set(err, QR_EINVAL,
                         "%s.certfile: %s: a certificate in it expired at %s",
                         s->config.prefix, s->config.certfile, text);
    }
    if (now_s < v->begins) {
        tls_time_text(v->begins, text);
        return error_set(err, QR_EINVAL,
                         "%s.certfile: %s: a certificate in it is not valid "
                         "before %s; is the clock right?",
                         s->config.prefix, s->config.certfile, text);
    }
    return 0;
}

int
tls_store_reload_mt(struct tls_store *s, int64_t now_s, struct error *err)
{
    struct mark marks[STORE_FILES];
    struct tls_validity validity;
    SSL_CTX *ctx = NULL;
    int rv = 0;

    OBJ_CHECK(s, STORE_MAGIC);
    take_marks(s, marks);
    rv = tls_context_new(&s->config, &ctx, &validity, err);
    if (rv == 0) {
        rv = check_time(s, &validity, now_s, err);
    }
    uv_mutex_lock(&s->lock);
    memcpy(s->loaded, marks, sizeof(marks));
    memcpy(s->seen, marks, sizeof(marks));
    if (rv == 0) {
        SSL_CTX *old = s->ctx;

        s->ctx = ctx;
        s->validity = validity;
        ctx = old;
    }
    uv_mutex_unlock(&s->lock);
    SSL_CTX_free(ctx);
    return rv;
}

bool
tls_store_is_changed_mt(struct tls_store *s)
{
    struct mark marks[STORE_FILES];
    bool is_changed = false;

    OBJ_CHECK(s, STORE_MAGIC);
    take_marks(s, marks);
    uv_mutex_lock(&s->lock);
    is_changed = memcmp(marks, s->loaded, sizeof(marks)) != 0 &&
                 memcmp(marks, s->seen, sizeof(marks)) == 0;
    memcpy(s->seen, marks, sizeof(marks));
    uv_mutex_unlock(&s->lock);
    return is_changed;
}

void
tls_store_validity_mt(struct tls_store *s, struct tls_validity *out)
{
    OBJ_CHECK(s, STORE_MAGIC);
    uv_mutex_lock(&s->lock);
    *out = s->validity;
    uv_mutex_unlock(&s->lock);
}

const char *
tls_store_prefix(const struct tls_store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    return s->config.prefix;
}

bool
tls_store_verifies_peer(const struct tls_store *s)
{
    OBJ_CHECK(s, STORE_MAGIC);
    return s->config.verify_peer;
}
