/* The sending half of a link.
 *
 * Frames wait in a queue per class. The pump takes the first frame of the
 * highest class that has one, cuts it into full TLS records together with what
 * comes behind it, and stops when the stream holds enough: what has not been
 * encrypted can still be overtaken by a frame of a higher class. A frame that
 * has begun is finished, but in steps, so a large one never keeps the loop. */
#include <string.h>

#include "base/check.h"
#include "net/stream.h"
#include "peer/peers_internal.h"

/* Frames of the links' own kinds are few and not charged to anybody. */
static void
link_discharge(struct link *l, const struct frame *f)
{
    if (f->kind >= FRAME_RAFT_FIRST && l->peer != NULL) {
        link_gauge_discharge_mt(&l->peer->gauge, f->klass, frame_size(f));
    }
}

void
link_queue(struct link *l, struct frame **frame)
{
    struct frame *f = *frame;

    OBJ_CHECK(l, LINK_MAGIC);
    ASSERT(f->klass < FRAME_CLASS_COUNT);
    *frame = NULL;
    f->next = NULL;
    if (l->queue[f->klass] == NULL) {
        l->queue[f->klass] = f;
    } else {
        l->queue_last[f->klass]->next = f;
    }
    l->queue_last[f->klass] = f;
}

bool
link_has_output(const struct link *l)
{
    for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
        if (l->queue[i] != NULL) {
            return true;
        }
    }
    return l->out != NULL;
}

/* The next frame to send is in l->out; false if there is none. */
static bool
link_next(struct link *l)
{
    for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
        struct frame *f = l->queue[i];

        if (f != NULL) {
            l->queue[i] = f->next;
            f->next = NULL;
            frame_encode_header(f, l->out_header);
            l->out = f;
            l->out_part = 0;
            l->out_at = 0;
            return true;
        }
    }
    return false;
}

/* Part l->out_part of the frame, or NULL after the last. */
static const uint8_t *
link_part(const struct link *l, size_t *size)
{
    const struct frame *f = l->out;

    if (l->out_part == 0) {
        *size = FRAME_HEADER_SIZE;
        return l->out_header;
    }
    if (l->out_part == 1) {
        *size = f->head.size;
        return f->head.data;
    }
    *size = 0;
    if (l->out_part - 2 >= f->content_count) {
        return NULL;
    }
    *size = f->content[l->out_part - 2].size;
    return f->content[l->out_part - 2].data;
}

/* Encrypt what is staged. */
static bool
link_flush_stage(struct link *l)
{
    size_t size = l->staged;

    l->staged = 0;
    return size == 0 || tls_write(l->tls, l->stage, size) == 0;
}

/* Send at most a record of SIZE bytes at DATA; how many, in *DONE. */
static bool
link_send_bytes(struct link *l, const uint8_t *data, size_t size, size_t *done)
{
    if (l->staged == 0 && size >= TLS_RECORD_SIZE) {
        *done = TLS_RECORD_SIZE;
        return tls_write(l->tls, data, TLS_RECORD_SIZE) == 0;
    }
    *done = MIN(size, TLS_RECORD_SIZE - l->staged);
    memcpy(l->stage + l->staged, data, *done);
    l->staged += *done;
    return l->staged < TLS_RECORD_SIZE || link_flush_stage(l);
}

/* One step: some bytes of the frame under way, or its end. */
static bool
link_step(struct link *l)
{
    size_t size = 0;
    size_t done = 0;
    const uint8_t *part = link_part(l, &size);

    if (l->out_at < size) {
        if (!link_send_bytes(l, part + l->out_at, size - l->out_at, &done)) {
            return false;
        }
        l->out_at += done;
        return true;
    }
    l->out_at = 0;
    l->out_part++;
    if (l->out_part - 1 > l->out->content_count) {
        link_discharge(l, l->out);
        frame_free(&l->out);
    }
    return true;
}

void
link_pump(struct link *l)
{
    bool ok = true;
    bool any = false;

    OBJ_CHECK(l, LINK_MAGIC);
    if (l->state == LINK_CLOSED || l->state == LINK_TLS) {
        return;
    }
    while (ok && stream_backlog(l->stream) < LINK_BACKLOG_MAX &&
           (l->out != NULL || link_next(l))) {
        ok = link_step(l);
        any = true;
    }
    if (!ok || !link_flush_stage(l)) {
        peers_log(l->peers, LOG_ERROR, "link to node %s: encryption: %s",
                  l->other.node_name, tls_text(l->tls));
        link_close(l);
        return;
    }
    if (any) {
        l->sent_ms = peers_now(l->peers);
    }
}

void
link_drop_queues(struct link *l)
{
    if (l->out != NULL) {
        link_discharge(l, l->out);
        frame_free(&l->out);
    }
    for (unsigned i = 0; i < FRAME_CLASS_COUNT; i++) {
        while (l->queue[i] != NULL) {
            struct frame *f = l->queue[i];

            l->queue[i] = f->next;
            link_discharge(l, f);
            frame_free(&f);
        }
    }
    l->staged = 0;
}
