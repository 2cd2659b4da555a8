/* What the streams of a loop share.
 *
 * The read block. libuv asks for room just before it reads and reports at
 * once, so all streams without leftovers can read into the same block, each
 * behind what somebody still refers to. An idle connection then costs no read
 * buffer, and a block that nobody refers to any more starts over. */
#include "net/net.h"

#include <signal.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/listener_internal.h"
#include "net/stream_internal.h"

/* Writing to a connection that the other end has closed is an error like any
 * other here, not a reason for the process to die. A handler that somebody
 * else has installed stays. */
static void
net_ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 &&
        action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

struct net *
net_new(uv_loop_t *loop, net_wake_cb wake, void *arg)
{
    struct net *net = mem_zalloc(1, sizeof(*net));

    net_ignore_sigpipe();
    net->magic = NET_MAGIC;
    net->loop = loop;
    net->wake = wake;
    net->wake_arg = arg;
    list_init(&net->streams);
    list_init(&net->dirty);
    list_init(&net->ready);
    list_init(&net->listeners);
    net_share_init(&net->wire);
    net_share_init(&net->plain);
    return net;
}

void
net_free(struct net **netp)
{
    struct net *net = *netp;

    if (net == NULL) {
        return;
    }
    OBJ_CHECK(net, NET_MAGIC);
    ASSERT(list_is_empty(&net->streams));
    ASSERT(list_is_empty(&net->listeners));
    *netp = NULL;
    net_share_deinit(&net->wire);
    net_share_deinit(&net->plain);
    mem_free(net->stage);
    for (size_t i = 0; i < net->spare_count; i++) {
        block_unref(net->spare[i]);
    }
    net->magic = 0;
    mem_free(net);
}

uv_loop_t *
net_loop(const struct net *net)
{
    OBJ_CHECK(net, NET_MAGIC);
    return net->loop;
}

size_t
net_streams(const struct net *net)
{
    OBJ_CHECK(net, NET_MAGIC);
    return net->streams_count;
}

void
net_wake(struct net *net)
{
    if (net->wake != NULL) {
        net->wake(net->wake_arg);
    }
}

/* Move everything on FROM to the empty list TO. */
static void
net_take_list(struct list *from, struct list *to)
{
    struct list *entry = NULL;

    list_init(to);
    while ((entry = list_pop_front(from)) != NULL) {
        list_push_back(to, entry);
    }
}

void
net_flush(struct net *net)
{
    struct list batch;
    struct list *entry = NULL;

    OBJ_CHECK(net, NET_MAGIC);
    /* Callbacks may put streams on the lists again: those wait for the next
     * call, or this one might never end. A stream that closes meanwhile
     * leaves the batch. */
    net_take_list(&net->ready, &batch);
    while ((entry = list_pop_front(&batch)) != NULL) {
        stream_redeliver(list_entry(entry, struct stream, ready_entry));
    }
    net_take_list(&net->dirty, &batch);
    while ((entry = list_pop_front(&batch)) != NULL) {
        struct stream *s = list_entry(entry, struct stream, dirty_entry);

        s->transport->flush(s);
    }
}

void
net_close_all(struct net *net)
{
    struct list *it = NULL;
    struct list *tmp = NULL;

    OBJ_CHECK(net, NET_MAGIC);
    net->closing = true;
    list_foreach_safe (it, tmp, &net->listeners) {
        struct listener *l = list_entry(it, struct listener, entry);

        listener_begin_close(l);
    }
    list_foreach_safe (it, tmp, &net->streams) {
        stream_close(list_entry(it, struct stream, entry));
    }
}

struct block *
net_spare_take(struct net *net)
{
    if (net->spare_count > 0) {
        return net->spare[--net->spare_count];
    }
    return block_new(NET_OUT_BLOCK_SIZE);
}

void
net_spare_put(struct net *net, struct block *block)
{
    if (net->spare_count < NET_SPARE_MAX &&
        atomic_load_explicit(&block->refs, memory_order_acquire) == 1) {
        net->spare[net->spare_count++] = block;
        return;
    }
    block_unref(block);
}
