/* Passwords: a slow hash on the pool, or a recent yes from the cache. A user
 * that does not exist costs as much time as one that does. Passwords are kept
 * in memory that core dumps leave out, and wiped as soon as they have been
 * looked at.
 *
 *   source 192.0.2.1: attempt, attempt, ... --+
 *   source 192.0.2.7: attempt ----------------+-- in turn --> pool (a few)
 *   source 2001:db8:1::: attempt, attempt ----+
 *
 * A hash takes 50 ms and 16 MiB, so few run at once and the others wait: those
 * of each address in a queue of their own, served in turn. Whoever floods the
 * node with logins waits behind himself; when all places are taken, the longest
 * queue gives up its last. */
#include "broker/login.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "auth/credential.h"
#include "auth/password.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "shard/env.h"

struct login {
    struct credential_cache *cache;
    struct list sources; /* with attempts that wait, the next one first */
    size_t waiting;      /* attempts, of all of them */
    size_t running;      /* on the pool */
};

/* Where attempts come from: an address, or the first half of an IPv6 one, of
 * which a single host may have as many as it likes. */
struct source {
    struct list link; /* login.sources */
    char name[LOGIN_SOURCE_SIZE];
    struct list attempts;
    size_t count;
};

/* One login on its way; in secret memory. */
struct attempt {
    struct work work;
    struct list link; /* source.attempts */
    struct broker *broker;
    struct call_ref *call;
    uint64_t epoch;
    char user[256];
    size_t user_size;
    char password[PASSWORD_SIZE_MAX];
    size_t password_size;
    char encoded[PASSWORD_ENCODED_SIZE_MAX];
    size_t encoded_size;
    int result;
};

void
login_init(struct broker *b)
{
    uint8_t key[CREDENTIAL_KEY_SIZE];

    b->login = mem_zalloc(1, sizeof(*b->login));
    list_init(&b->login->sources);
    b->env->ops->random(b->env, key, sizeof(key));
    b->login->cache = credential_cache_new(key, 0, 0);
    mem_wipe(key, sizeof(key));
}

/* A is over; nobody waits for it, or has been told. */
static void
attempt_free(struct attempt *a)
{
    mem_secret_free(a, sizeof(*a));
}

/* The attempt that is next in S, which is freed with its last one. */
static struct attempt *
source_take(struct login *l, struct source *s, bool first)
{
    struct list *entry = first ? s->attempts.next : s->attempts.prev;

    list_remove(entry);
    l->waiting--;
    s->count--;
    list_remove(&s->link);
    if (s->count > 0) {
        list_push_back(&l->sources, &s->link); /* the others first */
    } else {
        mem_free(s);
    }
    return list_entry(entry, struct attempt, link);
}

void
login_deinit(struct broker *b)
{
    struct login *l = b->login;

    while (!list_is_empty(&l->sources)) {
        struct attempt *a = source_take(
            l, list_entry(l->sources.next, struct source, link), true);

        call_end_fault(&a->call, BROKER_INTERNAL, "node is shutting down");
        attempt_free(a);
    }
    credential_cache_free(&b->login->cache);
    mem_free(b->login);
    b->login = NULL;
}

void
login_forget(struct broker *b, const char *name, size_t size)
{
    credential_forget(b->login->cache, name, size);
}

static struct credential
attempt_credential(const struct attempt *a)
{
    struct credential c = {.user = a->user,
                           .user_size = a->user_size,
                           .password = a->password,
                           .password_size = a->password_size};

    return c;
}

static void
run_attempt(struct work *w)
{
    struct attempt *a = CONTAINER_OF(w, struct attempt, work);

    a->result = password_verify(a->password, a->password_size, a->encoded,
                                a->encoded_size);
}

/* Let those run that may. */
static void
run_some(struct broker *b)
{
    struct login *l = b->login;

    while (l->running < LOGIN_RUNNING_MAX && !list_is_empty(&l->sources) &&
           !b->is_shutting_down) {
        struct attempt *a = source_take(
            l, list_entry(l->sources.next, struct source, link), true);

        l->running++;
        b->env->ops->work(b->env, &a->work);
    }
}

static void
attempt_done(struct work *w)
{
    struct attempt *a = CONTAINER_OF(w, struct attempt, work);
    struct broker *b = a->broker;
    struct credential credential = attempt_credential(a);
    struct broker_reply reply = {0};

    b->login->running--;
    run_some(b);
    if (a->result == 0) {
        credential_remember(b->login->cache, a->epoch,
                            b->env->ops->now_ms(b->env), &credential);
        call_end(&a->call, &reply);
    } else {
        call_end_fault(&a->call, BROKER_ACCESS_REFUSED,
                       "user '%.*s' - invalid credentials", (int)a->user_size,
                       a->user);
    }
    attempt_free(a);
}

void
login_source(const char *host, char out[LOGIN_SOURCE_SIZE])
{
    struct in6_addr in6;

    if (inet_pton(AF_INET6, host, &in6) == 1) {
        memset(in6.s6_addr + 8, 0, 8);
        (void)inet_ntop(AF_INET6, &in6, out, LOGIN_SOURCE_SIZE);
    } else {
        (void)snprintf(out, LOGIN_SOURCE_SIZE, "%s", host);
    }
}

/* The source called NAME, made if it is not there. */
static struct source *
find_source(struct login *l, const char *name)
{
    struct list *it = NULL;
    struct source *s = NULL;

    list_foreach (it, &l->sources) {
        s = list_entry(it, struct source, link);
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    s = mem_zalloc(1, sizeof(*s));
    list_init(&s->attempts);
    (void)snprintf(s->name, sizeof(s->name), "%s", name);
    list_push_back(&l->sources, &s->link);
    return s;
}

/* All places are taken: the longest queue gives up its last. */
static void
make_room(struct broker *b)
{
    struct login *l = b->login;
    struct broker_fault fault = {.kind = BROKER_OK};
    struct broker_call *call = NULL;
    struct source *longest = NULL;
    struct list *it = NULL;
    struct attempt *a = NULL;

    list_foreach (it, &l->sources) {
        struct source *s = list_entry(it, struct source, link);

        longest = longest == NULL || s->count > longest->count ? s : longest;
    }
    ASSERT(longest != NULL);
    a = source_take(l, longest, false);
    broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                     "more than %d logins wait on this shard",
                     (int)LOGIN_WAITING_MAX);
    call = call_release(&a->call);
    if (call != NULL) { /* it may be the one that is being started */
        call_fail_soon(b, call, &fault);
    }
    attempt_free(a);
}

static void
enqueue(struct broker *b, struct attempt *a, const char *host)
{
    struct login *l = b->login;
    char name[LOGIN_SOURCE_SIZE];
    struct source *s = NULL;

    login_source(host, name);
    s = find_source(l, name);
    list_push_back(&s->attempts, &a->link);
    s->count++;
    l->waiting++;
    if (l->waiting > LOGIN_WAITING_MAX) {
        make_room(b);
    }
    run_some(b);
}

static void
start_attempt(struct broker *b, const struct credential *credential,
              const char *host, struct broker_call *call)
{
    const struct meta_user *user =
        meta_user(b->meta, credential->user, credential->user_size);
    struct attempt *a = mem_secret_alloc(sizeof(*a));

    a->work.run = run_attempt;
    a->work.done = attempt_done;
    a->broker = b;
    a->call = call_begin(b, call);
    a->epoch = credential_epoch(b->login->cache);
    memcpy(a->user, credential->user, credential->user_size);
    a->user_size = credential->user_size;
    memcpy(a->password, credential->password, credential->password_size);
    a->password_size = credential->password_size;
    if (user != NULL && user->password.size < sizeof(a->encoded)) {
        memcpy(a->encoded, user->password.data, user->password.size);
        a->encoded_size = user->password.size;
    } else {
        a->encoded_size = strlen(password_decoy());
        memcpy(a->encoded, password_decoy(), a->encoded_size);
    }
    enqueue(b, a, host);
}

void
broker_authenticate_external(struct broker *b, struct meta_text user,
                             const struct broker_origin *from,
                             struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct broker_reply ok = {0};

    OBJ_CHECK(b, BROKER_MAGIC);
    if (!from->is_loopback &&
        broker_is_loopback_user(b, user.data, user.size)) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user '%.*s' can only connect via localhost",
                         (int)user.size, user.data);
    } else if (user.size > QR_NAME_SIZE_MAX ||
               meta_user(b->meta, user.data, user.size) == NULL) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user '%.*s' - there is no such user",
                         (int)MIN(user.size, (size_t)QR_NAME_SIZE_MAX),
                         user.data);
    }
    if (fault.kind != BROKER_OK) {
        call_fail_soon(b, call, &fault);
    } else {
        call_end_soon(b, call, &ok);
    }
}

void
broker_authenticate(struct broker *b, struct meta_text user,
                    struct meta_text password, const struct broker_origin *from,
                    struct broker_call *call)
{
    struct credential credential = {.user = user.data,
                                    .user_size = user.size,
                                    .password = password.data,
                                    .password_size = password.size};
    struct broker_fault fault = {.kind = BROKER_OK};
    struct broker_reply ok = {0};

    OBJ_CHECK(b, BROKER_MAGIC);
    if (user.size > QR_NAME_SIZE_MAX || password.size > PASSWORD_SIZE_MAX) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user name or password is too long");
    } else if (!from->is_loopback &&
               broker_is_loopback_user(b, user.data, user.size)) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user '%.*s' can only connect via localhost",
                         (int)user.size, user.data);
    }
    if (fault.kind != BROKER_OK) {
        call_fail_soon(b, call, &fault);
    } else if (credential_is_known(b->login->cache, b->env->ops->now_ms(b->env),
                                   &credential)) {
        call_end_soon(b, call, &ok);
    } else {
        start_attempt(b, &credential, from->host, call);
    }
}
