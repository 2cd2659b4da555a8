/* See record.h. Each kind of record is a table of its members, so that
 * writing and reading cannot differ. A record is a blob: whoever knows fewer
 * members than the writer skips the rest, whoever knows more reads zeros. */
#include "mgmt/record.h"

#include <string.h>

#include "base/check.h"

enum member_kind {
    MEMBER_U64,
    MEMBER_U32,
    MEMBER_TEXT
};

struct member {
    enum member_kind kind;
    size_t offset;
};

#define U64(type, name)                         \
    {                                           \
        MEMBER_U64, offsetof(struct type, name) \
    }
#define U32(type, name)                         \
    {                                           \
        MEMBER_U32, offsetof(struct type, name) \
    }
#define TEXT(type, name)                         \
    {                                            \
        MEMBER_TEXT, offsetof(struct type, name) \
    }

static const struct member replica_members[] = {
    U64(replica_record, group),
    U32(replica_record, leader),
    U64(replica_record, is_leader),
    U64(replica_record, is_voter),
    TEXT(replica_record, state),
    U64(replica_record, term),
    U64(replica_record, last),
    U64(replica_record, stored),
    U64(replica_record, committed),
    U64(replica_record, applied),
    U64(replica_record, snapshot),
    U64(replica_record, ready),
    U64(replica_record, unsettled),
    U64(replica_record, ready_bytes),
    U64(replica_record, unsettled_bytes),
    U64(replica_record, consumers),
    U64(replica_record, damaged),
    U64(replica_record, blocked),
    U64(replica_record, lost),
    TEXT(replica_record, losses),
};

static const struct member loss_members[] = {
    U64(loss_record, first),    U64(loss_record, last),
    U64(loss_record, messages), U64(loss_record, bytes),
    U64(loss_record, time_ms),  U64(loss_record, is_unknown),
};

static const struct member consumer_members[] = {
    U64(consumer_record, group),        U64(consumer_record, session),
    U64(consumer_record, consumer),     TEXT(consumer_record, tag),
    U64(consumer_record, credit),       U64(consumer_record, is_no_ack),
    U64(consumer_record, is_exclusive), U64(consumer_record, is_cancelled),
    U64(consumer_record, unsettled),
};

static const struct member connection_members[] = {
    U64(connection_record, id),
    TEXT(connection_record, name),
    TEXT(connection_record, peer_host),
    U64(connection_record, peer_port),
    U64(connection_record, port),
    TEXT(connection_record, user),
    TEXT(connection_record, vhost),
    TEXT(connection_record, protocol),
    TEXT(connection_record, state),
    TEXT(connection_record, client),
    U64(connection_record, channels),
    U64(connection_record, connected_ms),
    U64(connection_record, bytes_received),
    U64(connection_record, bytes_sent),
    TEXT(connection_record, mechanism),
    U64(connection_record, is_tls),
    TEXT(connection_record, tls_protocol),
    TEXT(connection_record, tls_key_exchange),
    TEXT(connection_record, tls_cipher),
    TEXT(connection_record, tls_hash),
    TEXT(connection_record, tls_subject),
    TEXT(connection_record, tls_issuer),
    TEXT(connection_record, tls_validity),
};

static const struct member channel_members[] = {
    U64(channel_record, connection),  TEXT(channel_record, connection_name),
    TEXT(channel_record, user),       TEXT(channel_record, vhost),
    U64(channel_record, number),      U64(channel_record, is_confirming),
    U64(channel_record, prefetch),    U64(channel_record, consumers),
    U64(channel_record, unconfirmed), U64(channel_record, unacknowledged),
};

static const struct member node_members[] = {
    TEXT(node_record, version),     U64(node_record, boot),
    U64(node_record, shards),       U64(node_record, uptime_ms),
    U64(node_record, is_ready),     U64(node_record, meta_term),
    U64(node_record, meta_leader),  U64(node_record, meta_last),
    U64(node_record, meta_stored),  U64(node_record, meta_committed),
    U64(node_record, meta_applied), U64(node_record, meta_snapshot),
    TEXT(node_record, meta_state),  U64(node_record, meta_blocked),
};

static size_t
varint_size(uint64_t v)
{
    size_t size = 1;

    while (v >= 0x80) {
        v >>= 7;
        size++;
    }
    return size;
}

static const struct meta_text *
text_at(const void *record, const struct member *m)
{
    return (const void *)((const char *)record + m->offset);
}

static uint64_t
number_at(const void *record, const struct member *m)
{
    const char *at = (const char *)record + m->offset;
    uint64_t value;
    uint32_t small;

    if (m->kind == MEMBER_U32) {
        memcpy(&small, at, sizeof(small));
        return small;
    }
    memcpy(&value, at, sizeof(value));
    return value;
}

static void
put(struct buf *b, const struct member *members, size_t count,
    const void *record)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        if (members[i].kind == MEMBER_TEXT) {
            size_t text = text_at(record, &members[i])->size;

            size += varint_size(text) + text;
        } else {
            size += varint_size(number_at(record, &members[i]));
        }
    }
    buf_put_varint(b, size);
    for (size_t i = 0; i < count; i++) {
        if (members[i].kind == MEMBER_TEXT) {
            const struct meta_text *text = text_at(record, &members[i]);

            buf_put_blob(b, text->data, text->size);
        } else {
            buf_put_varint(b, number_at(record, &members[i]));
        }
    }
}

static void
get_member(struct cursor *c, const struct member *m, void *record)
{
    char *at = (char *)record + m->offset;
    struct meta_text text;
    uint64_t value;
    uint32_t small;

    if (m->kind == MEMBER_TEXT) {
        text.data = (const char *)cursor_blob(c, &text.size);
        if (text.data == NULL) {
            text.data = "";
        }
        memcpy(at, &text, sizeof(text));
        return;
    }
    value = cursor_varint(c);
    if (m->kind == MEMBER_U64) {
        memcpy(at, &value, sizeof(value));
        return;
    }
    if (value > UINT32_MAX) {
        cursor_fail(c);
    }
    small = (uint32_t)value;
    memcpy(at, &small, sizeof(small));
}

static bool
get(struct cursor *c, const struct member *members, size_t count, void *record)
{
    const uint8_t *at;
    struct cursor inner;
    size_t size;

    if (cursor_left(c) == 0) {
        return false;
    }
    at = cursor_blob(c, &size);
    if (at == NULL) {
        return false;
    }
    cursor_init(&inner, at, size);
    for (size_t i = 0; i < count; i++) {
        if (cursor_left(&inner) == 0 && members[i].kind == MEMBER_TEXT) {
            struct meta_text none = {.data = "", .size = 0};

            memcpy((char *)record + members[i].offset, &none, sizeof(none));
        } else if (cursor_left(&inner) > 0) {
            get_member(&inner, &members[i], record);
        }
    }
    if (inner.bad) {
        cursor_fail(c);
    }
    return !inner.bad;
}

void
record_put_replica(struct buf *b, const struct replica_record *record)
{
    put(b, replica_members, ARRAY_COUNT(replica_members), record);
}

void
record_put_loss(struct buf *b, const struct loss_record *record)
{
    put(b, loss_members, ARRAY_COUNT(loss_members), record);
}

void
record_put_consumer(struct buf *b, const struct consumer_record *record)
{
    put(b, consumer_members, ARRAY_COUNT(consumer_members), record);
}

void
record_put_connection(struct buf *b, const struct connection_record *record)
{
    put(b, connection_members, ARRAY_COUNT(connection_members), record);
}

void
record_put_channel(struct buf *b, const struct channel_record *record)
{
    put(b, channel_members, ARRAY_COUNT(channel_members), record);
}

void
record_put_node(struct buf *b, const struct node_record *record)
{
    put(b, node_members, ARRAY_COUNT(node_members), record);
}

bool
record_get_replica(struct cursor *c, struct replica_record *out)
{
    memset(out, 0, sizeof(*out));
    return get(c, replica_members, ARRAY_COUNT(replica_members), out);
}

bool
record_get_loss(struct cursor *c, struct loss_record *out)
{
    memset(out, 0, sizeof(*out));
    return get(c, loss_members, ARRAY_COUNT(loss_members), out);
}

bool
record_get_consumer(struct cursor *c, struct consumer_record *out)
{
    memset(out, 0, sizeof(*out));
    return get(c, consumer_members, ARRAY_COUNT(consumer_members), out);
}

bool
record_get_connection(struct cursor *c, struct connection_record *out)
{
    memset(out, 0, sizeof(*out));
    return get(c, connection_members, ARRAY_COUNT(connection_members), out);
}

bool
record_get_channel(struct cursor *c, struct channel_record *out)
{
    memset(out, 0, sizeof(*out));
    return get(c, channel_members, ARRAY_COUNT(channel_members), out);
}

bool
record_get_node(struct cursor *c, struct node_record *out)
{
    memset(out, 0, sizeof(*out));
    return get(c, node_members, ARRAY_COUNT(node_members), out);
}
