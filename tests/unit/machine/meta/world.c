/* See world.h. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "lib/harness.h"
#include "machine/meta/meta_state.h"

enum {
    SESSION = 77,
    CHECKED_QUEUES = 100 /* a larger state is not walked at each command */
};

static void
on_outcome(void *arg, const struct meta_outcome *outcome)
{
    struct world *w = arg;

    w->outcomes++;
    w->outcome = *outcome;
}

static void
event(struct world *w, const char *what, struct meta_text name)
{
    buf_putf(&w->events, "%s%s%.*s", w->events.size > 0 ? " " : "", what,
             (int)name.size, name.data);
}

static void
on_queue_created(void *arg, struct meta_queue *queue)
{
    struct world *w = arg;

    cr_assert_null(queue->user);
    cr_assert_eq(meta_queue_by_group(w->m, queue->group), queue);
    queue->user = w;
    event(w, "+", queue->name);
}

static void
on_queue_members(void *arg, struct meta_queue *queue)
{
    cr_assert_eq(queue->user, arg);
    event(arg, "=", queue->name);
}

static void
on_queue_gone(void *arg, struct meta_queue *queue)
{
    struct world *w = arg;

    cr_assert_eq(queue->user, arg);
    cr_assert_null(meta_queue_by_group(w->m, queue->group));
    event(arg, "-", queue->name);
}

static void
on_node(void *arg, const struct meta_node *node)
{
    char id[16];

    (void)snprintf(id, sizeof(id), "%u", node->id);
    event(arg, "node", text(id));
}

static void
on_vhost_gone(void *arg, const struct meta_vhost *vhost)
{
    event(arg, "vhost:", vhost->name);
}

static void
on_user(void *arg, const char *name, size_t size)
{
    event(arg, "user:", meta_text(name, size));
}

void
world_init(struct world *w)
{
    struct meta_events events = {.arg = w,
                                 .on_outcome = on_outcome,
                                 .on_queue_created = on_queue_created,
                                 .on_queue_members = on_queue_members,
                                 .on_queue_gone = on_queue_gone,
                                 .on_node = on_node,
                                 .on_vhost_gone = on_vhost_gone,
                                 .on_user = on_user};

    memset(w, 0, sizeof(*w));
    buf_init(&w->commands);
    buf_init(&w->events);
    w->m = meta_machine_new(&events);
    w->time_ms = 1000;
}

void
world_init_cluster(struct world *w)
{
    world_init(w);
    for (qr_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(world_node_up(w, id, 1), META_OK);
    }
    cr_assert_eq(world_vhost(w, "/"), META_OK);
    cr_assert_eq(world_user(w, "guest"), META_OK);
    (void)world_events(w);
}

void
world_deinit(struct world *w)
{
    meta_machine_free(&w->m);
    cr_assert_null(w->m);
    buf_deinit(&w->commands);
    buf_deinit(&w->events);
}

enum meta_status
world_apply(struct world *w)
{
    size_t before = w->outcomes;

    w->index++;
    w->time_ms++;
    meta_machine_apply(w->m, w->index, w->time_ms, w->commands.data,
                       w->commands.size);
    cr_assert_gt(w->outcomes, before);
    cr_assert_eq(w->outcome.index, w->index);
    cr_assert_eq(meta_applied(w->m), w->index);
    buf_clear(&w->commands);
    if (meta_queues_count(w->m) < CHECKED_QUEUES &&
        meta_exchanges_count(w->m) < CHECKED_QUEUES) {
        meta_check(w->m);
    }
    return w->outcome.status;
}

const char *
world_events(struct world *w)
{
    const char *events = NULL;

    buf_put_u8(&w->events, 0);
    events = (const char *)w->events.data;
    w->events.size = 0; /* the bytes stay until the next event */
    return events;
}

enum meta_status
world_node_up(struct world *w, qr_node_id id, uint32_t boot)
{
    char name[16];
    struct meta_node node = {.id = id, .boot = boot};

    (void)snprintf(name, sizeof(name), "n%u", id);
    node.name = text(name);
    node.address = text("127.0.0.1:25000");
    memset(node.uuid.bytes, (int)id, sizeof(node.uuid.bytes));
    meta_put_node_up(&w->commands, SESSION, w->index + 1, &node);
    return world_apply(w);
}

enum meta_status
world_vhost(struct world *w, const char *name)
{
    struct meta_vhost vhost = {.name = text(name)};

    meta_put_vhost_add(&w->commands, SESSION, w->index + 1, &vhost);
    return world_apply(w);
}

enum meta_status
world_user(struct world *w, const char *name)
{
    struct meta_user user = {.name = text(name), .password = text("hash")};

    meta_put_user_add(&w->commands, SESSION, w->index + 1, &user);
    return world_apply(w);
}

enum meta_status
world_exchange(struct world *w, const char *name, enum meta_exchange_type type,
               bool is_auto_delete)
{
    struct meta_exchange exchange = {.vhost = text("/"),
                                     .name = text(name),
                                     .type = type,
                                     .is_durable = true,
                                     .is_auto_delete = is_auto_delete};

    meta_put_exchange_declare(&w->commands, SESSION, w->index + 1, &exchange);
    return world_apply(w);
}

static enum meta_status
declare(struct world *w, struct meta_queue_declare *declare)
{
    declare->vhost = text("/");
    meta_put_queue_declare(&w->commands, SESSION, w->index + 1, declare);
    return world_apply(w);
}

enum meta_status
world_queue(struct world *w, const char *name)
{
    struct meta_queue_declare d = {.name = text(name),
                                   .is_durable = true,
                                   .nodes = {1, 2, 3},
                                   .nodes_count = 3,
                                   .stand = 2};

    return declare(w, &d);
}

enum meta_status
world_exclusive(struct world *w, const char *name, uint32_t boot,
                uint64_t connection)
{
    struct meta_queue_declare d = {.name = text(name),
                                   .owner = {1, boot, connection},
                                   .nodes = {1},
                                   .nodes_count = 1};

    return declare(w, &d);
}

enum meta_status
world_transient(struct world *w, const char *name, size_t count)
{
    struct meta_queue_declare d = {
        .name = text(name), .nodes = {1, 2, 3}, .nodes_count = count};

    return declare(w, &d);
}

static struct meta_binding
binding_of(const char *source, const char *destination, const char *key)
{
    return (struct meta_binding){.vhost = text("/"),
                                 .source = text(source),
                                 .destination = text(destination),
                                 .key = text(key)};
}

enum meta_status
world_bind(struct world *w, const char *source, const char *queue,
           const char *key)
{
    struct meta_binding binding = binding_of(source, queue, key);

    meta_put_bind(&w->commands, SESSION, w->index + 1, &binding);
    return world_apply(w);
}

enum meta_status
world_bind_exchange(struct world *w, const char *source,
                    const char *destination, const char *key)
{
    struct meta_binding binding = binding_of(source, destination, key);

    binding.to_exchange = true;
    meta_put_bind(&w->commands, SESSION, w->index + 1, &binding);
    return world_apply(w);
}

enum meta_status
world_unbind(struct world *w, const char *source, const char *queue,
             const char *key)
{
    struct meta_binding binding = binding_of(source, queue, key);

    meta_put_unbind(&w->commands, SESSION, w->index + 1, &binding);
    return world_apply(w);
}

enum meta_status
world_delete_queue(struct world *w, const char *name)
{
    struct meta_queue_delete del = {.vhost = text("/"), .name = text(name)};

    meta_put_queue_delete(&w->commands, SESSION, w->index + 1, &del);
    return world_apply(w);
}

const struct meta_vhost *
world_root(const struct world *w)
{
    const struct meta_vhost *vhost = meta_vhost(w->m, "/", 1);

    cr_assert_not_null(vhost);
    return vhost;
}

struct meta_queue *
world_find_queue(const struct world *w, const char *name)
{
    return meta_queue(w->m, world_root(w), name, strlen(name));
}

const struct meta_exchange *
world_find_exchange(const struct world *w, const char *name)
{
    return meta_exchange(w->m, world_root(w), name, strlen(name));
}

static int
by_name(const void *a, const void *b)
{
    const struct meta_queue *x = *(struct meta_queue *const *)a;
    const struct meta_queue *y = *(struct meta_queue *const *)b;

    return strcmp(x->name.data, y->name.data);
}

const char *
world_route(struct world *w, const char *exchange, const char *key)
{
    struct meta_route route;
    const struct meta_exchange *from = world_find_exchange(w, exchange);

    cr_assert_not_null(from);
    meta_route_init(&route);
    cr_assert_eq(meta_route(w->m, from, key, strlen(key), &route), 0);
    if (route.count > 0) {
        qsort(route.queues, route.count, sizeof(route.queues[0]), by_name);
    }
    buf_clear(&w->events);
    for (size_t i = 0; i < route.count; i++) {
        event(w, "", route.queues[i]->name);
    }
    meta_route_deinit(&route);
    return world_events(w);
}

void
world_check_snapshot(struct world *w)
{
    struct buf first;
    struct buf second;
    struct meta_machine *other = meta_machine_new(NULL);

    buf_init(&first);
    buf_init(&second);
    meta_machine_snapshot(w->m, &first);
    cr_assert_eq(meta_machine_restore(other, w->index, first.data, first.size),
                 0);
    cr_assert_eq(meta_applied(other), w->index);
    cr_assert_eq(meta_queues_count(other), meta_queues_count(w->m));
    cr_assert_eq(meta_exchanges_count(other), meta_exchanges_count(w->m));
    cr_assert_eq(meta_bindings_count(other), meta_bindings_count(w->m));
    meta_machine_snapshot(other, &second);
    cr_assert_eq(first.size, second.size);
    cr_assert_arr_eq(first.data, second.data, first.size);
    meta_machine_free(&other);
    buf_deinit(&first);
    buf_deinit(&second);
}
