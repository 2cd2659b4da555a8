/* Policies and runtime parameters: kept and listed here, acted on elsewhere. */
#include "base/check.h"
#include "base/mem.h"
#include "machine/meta/meta_apply.h"
#include "machine/meta/meta_state.h"

/* A policy's place in its vhost's map: u8 operator, name. An operator's and a
 * user's policy may have one name. */
struct meta_policy_key {
    uint8_t bytes[1 + QR_NAME_SIZE_MAX];
    size_t size;
};

static struct meta_policy_key
meta_policy_key(bool is_operator, struct meta_text name)
{
    struct meta_policy_key key = {{is_operator ? 1 : 0}, 1 + name.size};

    ASSERT(name.size <= QR_NAME_SIZE_MAX);
    if (name.size > 0) {
        memcpy(key.bytes + 1, name.data, name.size);
    }
    return key;
}

static struct meta_policy_record *
meta_policy_get(const struct meta_vhost_record *vhost, bool is_operator,
                struct meta_text name)
{
    struct meta_policy_key key;

    if (name.size > QR_NAME_SIZE_MAX) {
        return NULL;
    }
    key = meta_policy_key(is_operator, name);
    return strmap_get(&vhost->policies, key.bytes, key.size);
}

static struct meta_policy_record *
meta_policy_create(struct meta_machine *m, struct meta_vhost_record *vhost,
                   const struct meta_policy *spec)
{
    struct meta_policy_key key = meta_policy_key(spec->is_operator, spec->name);
    struct meta_policy_record *policy = mem_zalloc(1, sizeof(*policy));

    ASSERT(vhost->magic == META_VHOST_MAGIC);
    ASSERT(spec->name.size > 0);
    policy->magic = META_POLICY_MAGIC;
    policy->pub.vhost = vhost->pub.name;
    policy->pub.name = meta_text_dup(spec->name);
    policy->pub.is_operator = spec->is_operator;
    policy->pub.pattern = meta_text("", 0);
    policy->pub.apply_to = meta_text("", 0);
    policy->pub.definition = meta_text("", 0);
    (void)strmap_put(&vhost->policies, key.bytes, key.size, policy);
    m->policies_count++;
    return policy;
}

struct meta_policy_record *
meta_policy_set(struct meta_machine *m, struct meta_vhost_record *vhost,
                const struct meta_policy *spec)
{
    struct meta_policy_record *policy =
        meta_policy_get(vhost, spec->is_operator, spec->name);

    if (policy == NULL) {
        policy = meta_policy_create(m, vhost, spec);
    }
    ASSERT(policy->magic == META_POLICY_MAGIC);
    meta_text_set(&policy->pub.pattern, spec->pattern);
    meta_text_set(&policy->pub.apply_to, spec->apply_to);
    meta_text_set(&policy->pub.definition, spec->definition);
    policy->pub.priority = spec->priority;
    return policy;
}

void
meta_policy_drop(struct meta_machine *m, struct meta_vhost_record *vhost,
                 struct meta_policy_record *policy)
{
    struct meta_policy_key key =
        meta_policy_key(policy->pub.is_operator, policy->pub.name);
    void *was = NULL;

    OBJ_CHECK(policy, META_POLICY_MAGIC);
    was = strmap_remove(&vhost->policies, key.bytes, key.size);
    ASSERT(was == policy);
    ASSERT(m->policies_count > 0);
    m->policies_count--;
    meta_text_drop(&policy->pub.name);
    meta_text_drop(&policy->pub.pattern);
    meta_text_drop(&policy->pub.apply_to);
    meta_text_drop(&policy->pub.definition);
    policy->magic = 0;
    mem_free(policy);
}

enum meta_status
meta_apply_policy_set(struct meta_machine *m, const Meta__Command *c,
                      struct meta_outcome *out)
{
    struct meta_policy spec = {
        .name = meta_field(&c->policy_set->name),
        .pattern = meta_field(&c->policy_set->pattern),
        .apply_to = meta_field(&c->policy_set->apply_to),
        .definition = meta_field(&c->policy_set->definition),
        .priority = c->policy_set->priority,
        .is_operator = c->policy_set->is_operator,
    };
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&c->policy_set->vhost));

    ASSERT(c->of_case == META__COMMAND__OF_POLICY_SET);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_is_name(spec.name) || spec.pattern.size > META_PATTERN_SIZE_MAX ||
        spec.apply_to.size > QR_NAME_SIZE_MAX ||
        spec.definition.size > META_TEXT_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    if (m->policies_count >= META_POLICIES_MAX &&
        meta_policy_get(vhost, spec.is_operator, spec.name) == NULL) {
        return META_LIMIT;
    }
    (void)meta_policy_set(m, vhost, &spec);
    return META_OK;
}

enum meta_status
meta_apply_policy_clear(struct meta_machine *m, const Meta__Command *c,
                        struct meta_outcome *out)
{
    struct meta_vhost_record *vhost =
        meta_vhost_get(m, meta_field(&c->policy_clear->vhost));
    struct meta_policy_record *policy = NULL;

    ASSERT(c->of_case == META__COMMAND__OF_POLICY_CLEAR);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (vhost == NULL) {
        return META_NO_VHOST;
    }
    policy = meta_policy_get(vhost, c->policy_clear->is_operator,
                             meta_field(&c->policy_clear->name));
    if (policy == NULL) {
        return META_NOT_FOUND;
    }
    meta_policy_drop(m, vhost, policy);
    return META_OK;
}

const struct meta_policy *
meta_policy(const struct meta_machine *m, const struct meta_vhost *vhost,
            bool is_operator, const char *name, size_t size)
{
    struct meta_policy_record *policy = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    policy = meta_policy_get(meta_vhost_of(vhost), is_operator,
                             meta_text(name, size));
    return policy != NULL ? &policy->pub : NULL;
}

/* A parameter's place in the map: component, vhost and name, each with a byte
 * of its size before it; so they sort by component, then vhost. */
struct meta_parameter_key {
    uint8_t bytes[3 * (1 + QR_NAME_SIZE_MAX)];
    size_t size;
};

static void
meta_parameter_key_add(struct meta_parameter_key *key, struct meta_text text)
{
    ASSERT(text.size <= QR_NAME_SIZE_MAX);
    key->bytes[key->size++] = (uint8_t)text.size;
    if (text.size > 0) {
        memcpy(key->bytes + key->size, text.data, text.size);
    }
    key->size += text.size;
}

static struct meta_parameter_key
meta_parameter_key(const struct meta_parameter *parameter)
{
    struct meta_parameter_key key = {{0}, 0};

    meta_parameter_key_add(&key, parameter->component);
    meta_parameter_key_add(&key, parameter->vhost);
    meta_parameter_key_add(&key, parameter->name);
    return key;
}

static struct meta_parameter_record *
meta_parameter_get(const struct meta_machine *m,
                   const struct meta_parameter *like)
{
    struct meta_parameter_key key;

    if (like->component.size > QR_NAME_SIZE_MAX ||
        like->vhost.size > QR_NAME_SIZE_MAX ||
        like->name.size > QR_NAME_SIZE_MAX) {
        return NULL;
    }
    key = meta_parameter_key(like);
    return strmap_get(&m->parameters, key.bytes, key.size);
}

struct meta_parameter_record *
meta_parameter_set(struct meta_machine *m, const struct meta_parameter *spec)
{
    struct meta_parameter_record *p = meta_parameter_get(m, spec);
    struct meta_parameter_key key;

    if (p == NULL) {
        p = mem_zalloc(1, sizeof(*p));
        p->magic = META_PARAMETER_MAGIC;
        p->pub.vhost = meta_text_dup(spec->vhost);
        p->pub.component = meta_text_dup(spec->component);
        p->pub.name = meta_text_dup(spec->name);
        p->pub.value = meta_text("", 0);
        key = meta_parameter_key(spec);
        (void)strmap_put(&m->parameters, key.bytes, key.size, p);
    }
    ASSERT(p->magic == META_PARAMETER_MAGIC);
    meta_text_set(&p->pub.value, spec->value);
    return p;
}

void
meta_parameter_drop(struct meta_machine *m,
                    struct meta_parameter_record *parameter)
{
    struct meta_parameter_key key = meta_parameter_key(&parameter->pub);
    void *was = NULL;

    OBJ_CHECK(parameter, META_PARAMETER_MAGIC);
    was = strmap_remove(&m->parameters, key.bytes, key.size);
    ASSERT(was == parameter);
    meta_text_drop(&parameter->pub.vhost);
    meta_text_drop(&parameter->pub.component);
    meta_text_drop(&parameter->pub.name);
    meta_text_drop(&parameter->pub.value);
    parameter->magic = 0;
    mem_free(parameter);
}

void
meta_parameters_drop_vhost(struct meta_machine *m, struct meta_text vhost)
{
    void **values = NULL;
    size_t count = m->parameters.count;

    if (count == 0) {
        return;
    }
    values = strmap_values_sorted(&m->parameters);
    for (size_t i = 0; i < count; i++) {
        struct meta_parameter_record *parameter = values[i];

        if (meta_text_is(parameter->pub.vhost, vhost)) {
            meta_parameter_drop(m, parameter);
        }
    }
    mem_free(values);
}

enum meta_status
meta_apply_parameter_set(struct meta_machine *m, const Meta__Command *c,
                         struct meta_outcome *out)
{
    struct meta_parameter spec = {
        .vhost = meta_field(&c->parameter_set->vhost),
        .component = meta_field(&c->parameter_set->component),
        .name = meta_field(&c->parameter_set->name),
        .value = meta_field(&c->parameter_set->value),
    };

    ASSERT(c->of_case == META__COMMAND__OF_PARAMETER_SET);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (!meta_is_name(spec.component) || !meta_is_name(spec.name) ||
        spec.value.size > META_TEXT_SIZE_MAX) {
        return META_MALFORMED;
    }
    if (spec.vhost.size > 0 && meta_vhost_get(m, spec.vhost) == NULL) {
        return META_NO_VHOST;
    }
    if (m->parameters.count >= META_PARAMETERS_MAX &&
        meta_parameter_get(m, &spec) == NULL) {
        return META_LIMIT;
    }
    (void)meta_parameter_set(m, &spec);
    return META_OK;
}

enum meta_status
meta_apply_parameter_clear(struct meta_machine *m, const Meta__Command *c,
                           struct meta_outcome *out)
{
    struct meta_parameter like = {
        .vhost = meta_field(&c->parameter_clear->vhost),
        .component = meta_field(&c->parameter_clear->component),
        .name = meta_field(&c->parameter_clear->name),
    };
    struct meta_parameter_record *parameter = meta_parameter_get(m, &like);

    ASSERT(c->of_case == META__COMMAND__OF_PARAMETER_CLEAR);
    ASSERT(m->magic == META_MACHINE_MAGIC);
    (void)out;
    if (parameter == NULL) {
        return META_NOT_FOUND;
    }
    meta_parameter_drop(m, parameter);
    return META_OK;
}

const struct meta_parameter *
meta_parameter(const struct meta_machine *m, const struct meta_parameter *key)
{
    struct meta_parameter_record *parameter = NULL;

    OBJ_CHECK(m, META_MACHINE_MAGIC);
    parameter = meta_parameter_get(m, key);
    return parameter != NULL ? &parameter->pub : NULL;
}
