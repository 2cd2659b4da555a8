/* The fake broker's publishers. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fake_broker_priv.h"

void
broker_publisher_open(struct broker *b, struct broker_publisher *outer)
{
    struct publisher *p = mem_zalloc(1, sizeof(*p));

    p->b = b;
    p->outer = outer;
    outer->impl = p;
    list_push_back(&b->publishers, &p->link);
    b->stats.publishers++;
}

void
broker_publisher_close(struct broker_publisher *outer)
{
    struct publisher *p = outer->impl;
    struct list *it = NULL;
    struct list *next = NULL;

    list_foreach_safe (it, next, &p->b->confirms) {
        struct confirm *c = list_entry(it, struct confirm, link);

        if (c->publisher == p) {
            list_remove(it);
            mem_free(c);
        }
    }
    p->b->stats.publishers--;
    list_remove(&p->link);
    mem_free(p);
    outer->impl = NULL;
}

void
fake_broker_congest(struct broker *b, bool is_congested)
{
    struct list *it = NULL;

    list_foreach (it, &b->publishers) {
        struct publisher *p = list_entry(it, struct publisher, link);

        p->outer->on_congestion(p->outer, is_congested);
    }
}

void
fake_queue_put(struct queue *q, const struct broker_message *from)
{
    struct message *m = mem_zalloc(1, sizeof(*m));
    struct block *block = block_new(from->body_size);
    size_t size = 0;

    fake_keep(m->exchange, from->exchange);
    fake_keep(m->key, from->key);
    m->properties = slice_ref(&from->properties);
    for (size_t i = 0; i < from->body_count; i++) {
        memcpy(block->data + size, from->body[i].data, from->body[i].size);
        size += from->body[i].size;
    }
    ASSERT(size == from->body_size);
    m->body = slice_of_block(block);
    list_push_back(&q->ready, &m->link);
}

static size_t
publish_route(struct broker *b, const struct broker_message *message)
{
    struct queue *q = NULL;
    struct list *it = NULL;
    size_t routed = 0;

    if (message->exchange.size == 0) {
        q = fake_queue_find(b, message->key);
        if (q != NULL) {
            fake_queue_put(q, message);
        }
        return q != NULL ? 1 : 0;
    }
    list_foreach (it, &b->bindings) {
        struct binding *binding = list_entry(it, struct binding, link);

        q = fake_queue_find(b, fake_text_of(binding->destination));
        if (fake_is_text(binding->source, message->exchange) && q != NULL) {
            fake_queue_put(q, message);
            routed++;
        }
    }
    return routed;
}

void
broker_publish(struct broker_publisher *outer,
               const struct broker_message *message, uint64_t tag,
               size_t *routed, struct broker_fault *f)
{
    struct publisher *p = outer->impl;
    struct broker *b = p->b;
    struct confirm *confirm = NULL;

    if (message->exchange.size > 0 &&
        fake_exchange_find(b, message->exchange) == NULL) {
        f->kind = BROKER_NOT_FOUND;
        (void)snprintf(f->text, sizeof(f->text),
                       "no exchange '%.*s' in vhost '/'",
                       (int)message->exchange.size, message->exchange.data);
        return;
    }
    f->kind = BROKER_OK;
    b->stats.published++;
    b->stats.last_body_pieces = message->body_count;
    *routed = publish_route(b, message);
    outer->route_steps = b->control.route_steps;
    if (tag != 0) {
        b->stats.confirms_wanted++;
        confirm = mem_zalloc(1, sizeof(*confirm));
        confirm->publisher = p;
        confirm->tag = tag;
        confirm->is_ok = !b->control.refuse_publishes;
        if (b->control.confirm_backwards) {
            list_push_front(&b->confirms, &confirm->link);
        } else {
            list_push_back(&b->confirms, &confirm->link);
        }
    }
}
