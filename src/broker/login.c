/* Passwords: a slow hash on the pool, or a recent yes from the cache. A user
 * that does not exist costs as much time as one that does. Passwords are wiped
 * as soon as they have been looked at. */
#include <string.h>

#include "auth/credential.h"
#include "auth/password.h"
#include "base/mem.h"
#include "broker/broker_priv.h"
#include "shard/env.h"

enum {
    LOGINS_MAX = 1024 /* that wait for their hash; more are refused */
};

struct login {
    struct credential_cache *cache;
    size_t waiting;
};

/* One login on its way. */
struct attempt {
    struct work work;
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
    b->env->ops->random(b->env, key, sizeof(key));
    b->login->cache = credential_cache_new(key, 0, 0);
    mem_wipe(key, sizeof(key));
}

void
login_deinit(struct broker *b)
{
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

static void
attempt_done(struct work *w)
{
    struct attempt *a = CONTAINER_OF(w, struct attempt, work);
    struct broker *b = a->broker;
    struct credential credential = attempt_credential(a);
    struct broker_reply reply = {0};

    b->login->waiting--;
    if (a->result == 0) {
        credential_remember(b->login->cache, a->epoch,
                            b->env->ops->now_ms(b->env), &credential);
        call_end(&a->call, &reply);
    } else {
        call_end_fault(&a->call, BROKER_ACCESS_REFUSED,
                       "user '%.*s' - invalid credentials", (int)a->user_size,
                       a->user);
    }
    mem_wipe(a, sizeof(*a));
    mem_free(a);
}

static void
start_attempt(struct broker *b, const struct credential *credential,
              struct broker_call *call)
{
    const struct meta_user *user =
        meta_user(b->meta, credential->user, credential->user_size);
    struct attempt *a = mem_zalloc(1, sizeof(*a));

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
    b->login->waiting++;
    b->env->ops->work(b->env, &a->work);
}

void
broker_authenticate_external(struct broker *b, struct meta_text user,
                             bool is_loopback, struct broker_call *call)
{
    struct broker_fault fault = {.kind = BROKER_OK};
    struct broker_reply ok = {0};

    OBJ_CHECK(b, BROKER_MAGIC);
    if (user.size > QR_NAME_SIZE_MAX ||
        meta_user(b->meta, user.data, user.size) == NULL) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user '%.*s' - there is no such user",
                         (int)MIN(user.size, (size_t)QR_NAME_SIZE_MAX),
                         user.data);
    } else if (!is_loopback &&
               broker_is_loopback_user(b, user.data, user.size)) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user '%.*s' can only connect via localhost",
                         (int)user.size, user.data);
    }
    if (fault.kind != BROKER_OK) {
        call_fail_soon(b, call, &fault);
    } else {
        call_end_soon(b, call, &ok);
    }
}

void
broker_authenticate(struct broker *b, struct meta_text user,
                    struct meta_text password, bool is_loopback,
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
    } else if (!is_loopback &&
               broker_is_loopback_user(b, user.data, user.size)) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "user '%.*s' can only connect via localhost",
                         (int)user.size, user.data);
    } else if (b->login->waiting >= LOGINS_MAX) {
        broker_fault_set(&fault, BROKER_ACCESS_REFUSED,
                         "more than %d logins wait on this shard",
                         (int)LOGINS_MAX);
    }
    if (fault.kind != BROKER_OK) {
        call_fail_soon(b, call, &fault);
    } else if (credential_is_known(b->login->cache, b->env->ops->now_ms(b->env),
                                   &credential)) {
        call_end_soon(b, call, &ok);
    } else {
        start_attempt(b, &credential, call);
    }
}
