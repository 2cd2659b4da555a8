/* Bytes that wait for whoever reads them.
 *
 * What comes goes behind the leftovers if there is room there, so that the
 * reader sees contiguous bytes. Otherwise the leftovers, at most one unfinished
 * frame, are copied to where there is: a block that all streams of a loop
 * share, or one of the stream's own when the reader said it needs many. */
#include <string.h>

#include "base/check.h"
#include "net/net.h"
#include "net/stream_internal.h"

void
stream_in_init(struct stream_in *in)
{
    *in = (struct stream_in){.block = NULL};
    list_init(&in->left_entry);
}

void
net_share_init(struct net_share *share)
{
    *share = (struct net_share){.block = NULL};
    list_init(&share->left);
}

void
net_share_deinit(struct net_share *share)
{
    ASSERT(list_is_empty(&share->left));
    block_unref(share->block);
    share->block = NULL;
}

void
stream_in_drop(struct stream_in *in)
{
    list_remove(&in->left_entry);
    block_unref(in->block);
    in->block = NULL;
    in->start = 0;
    in->end = 0;
}

/* The shared block is about to be another: what is unread goes to a block of
 * its own, so that it does not hold on to all of that one for as long as the
 * reader waits for the rest of a frame. */
static void
stream_in_leave(struct stream_in *in)
{
    size_t unread = stream_in_size(in);
    struct block *own = block_new(MAX(in->need, unread));

    ASSERT(unread > 0);
    memcpy(own->data, in->block->data + in->start, unread);
    stream_in_drop(in);
    in->block = own;
    in->is_own = true;
    in->end = unread;
}

/* A fresh block unless the present one has SIZE bytes of room. */
static void
share_room(struct net_share *share, size_t size)
{
    struct block *b = share->block;
    struct list *entry = NULL;

    if (b != NULL &&
        atomic_load_explicit(&b->refs, memory_order_acquire) == 1) {
        share->used = 0; /* nobody refers to anything in it */
    }
    if (b == NULL || b->size - share->used < size) {
        while ((entry = list_pop_front(&share->left)) != NULL) {
            stream_in_leave(list_entry(entry, struct stream_in, left_entry));
        }
        block_unref(b);
        share->block = block_new(NET_READ_BLOCK_SIZE);
        share->used = 0;
    }
}

/* Move the leftovers to a place with room for WANT bytes in all. */
static void
stream_in_move(struct stream_in *in, struct net_share *share, size_t want)
{
    struct block *block = NULL;
    size_t at = 0;
    size_t unread = stream_in_size(in);
    bool is_own = want > NET_READ_BLOCK_SIZE / 2;

    /* They are on their way already. */
    list_remove(&in->left_entry);
    if (is_own) {
        block = block_new(want + NET_READ_ROOM_MIN);
    } else {
        share_room(share, want);
        block = block_ref(share->block);
        at = share->used;
    }
    if (in->block != NULL) {
        memcpy(block->data + at, in->block->data + in->start, unread);
    }
    block_unref(in->block);
    in->is_own = is_own;
    in->block = block;
    in->start = at;
    in->end = at + unread;
}

/* Whether one may write behind the leftovers: in a block of their own; in the
 * shared one only if they are the last thing in it. */
static bool
stream_in_is_last(const struct stream_in *in, const struct net_share *share)
{
    return in->is_own || (in->block == share->block && in->end == share->used);
}

uint8_t *
stream_in_room(struct stream_in *in, struct net_share *share, size_t size,
               size_t *room)
{
    size_t want = MAX(in->need, stream_in_size(in) + size);

    if (in->block == NULL || !stream_in_is_last(in, share) ||
        in->block->size - in->start < want) {
        stream_in_move(in, share, want);
    }
    *room = in->block->size - in->end;
    return in->block->data + in->end;
}

void
stream_in_grow(struct stream_in *in, struct net_share *share, size_t size)
{
    ASSERT(size <= in->block->size - in->end);
    in->end += size;
    /* It stays where it is: nobody else may write over it. */
    if (in->block == share->block) {
        share->used = in->end;
    }
}

void
stream_in_use(struct stream_in *in, struct net_share *share, size_t used)
{
    ASSERT(used <= stream_in_size(in));
    in->start += used;
    if (stream_in_size(in) == 0) {
        stream_in_drop(in);
    } else if (in->block == share->block && !list_is_linked(&in->left_entry)) {
        list_push_back(&share->left, &in->left_entry);
    }
}

struct slice
stream_in_slice(const struct stream_in *in)
{
    if (in->block == NULL) {
        return slice_empty();
    }
    return (struct slice){.block = in->block,
                          .data = in->block->data + in->start,
                          .size = stream_in_size(in)};
}
