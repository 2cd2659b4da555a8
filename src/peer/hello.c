/* Hello, Welcome, Refuse: proto/peer.proto in frames. */
#include "peer/hello.h"

#include <quorate/error.h>
#include <quorate/version.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "peer.pb-c.h"
#include "peer/frame.h"

_Static_assert((int)REFUSAL_VERSION == PEER__REFUSE__REASON__VERSION, "proto");
_Static_assert((int)REFUSAL_CLUSTER == PEER__REFUSE__REASON__CLUSTER, "proto");
_Static_assert((int)REFUSAL_NODE == PEER__REFUSE__REASON__NODE, "proto");
_Static_assert((int)REFUSAL_STRANGER == PEER__REFUSE__REASON__STRANGER,
               "proto");
_Static_assert((int)REFUSAL_DUPLICATE == PEER__REFUSE__REASON__DUPLICATE,
               "proto");
_Static_assert((int)REFUSAL_MALFORMED == PEER__REFUSE__REASON__MALFORMED,
               "proto");
_Static_assert((int)REFUSAL_REMOVED == PEER__REFUSE__REASON__REMOVED, "proto");
_Static_assert((int)REFUSAL_ROLLED_BACK == PEER__REFUSE__REASON__ROLLED_BACK,
               "proto");

/* A control frame of KIND with MESSAGE as head. */
static struct frame *
hello_pack(uint16_t kind, const ProtobufCMessage *message)
{
    struct frame *f = frame_new(FRAME_CONTROL, kind);
    size_t size = protobuf_c_message_get_packed_size(message);

    if (size > 0) {
        struct block *block = block_new(size);

        (void)protobuf_c_message_pack(message, block->data);
        f->head = slice_of_block(block);
    }
    return f;
}

static uint32_t
hello_protocol_min(const struct peers_identity *id)
{
    return id->protocol_min > 0 ? id->protocol_min
                                : (uint32_t)QR_PEER_PROTOCOL_MIN;
}

static uint32_t
hello_protocol_max(const struct peers_identity *id)
{
    return id->protocol_max > 0 ? id->protocol_max
                                : (uint32_t)QR_PEER_PROTOCOL_MAX;
}

struct frame *
hello_frame(const struct peers_identity *self)
{
    struct peers_identity copy = *self; /* protobuf-c's fields are not const */
    Peer__Hello hello;

    peer__hello__init(&hello);
    hello.protocol_min = hello_protocol_min(self);
    hello.protocol_max = hello_protocol_max(self);
    if (!uuid_is_nil(&copy.cluster)) {
        hello.cluster.data = copy.cluster.bytes;
        hello.cluster.len = sizeof(copy.cluster.bytes);
    }
    hello.uuid.data = copy.uuid.bytes;
    hello.uuid.len = sizeof(copy.uuid.bytes);
    hello.cluster_name = copy.cluster_name;
    hello.node_name = copy.node_name;
    hello.node = copy.node;
    hello.boot = copy.starts.boot;
    hello.starts = copy.starts.process;
    hello.n_starts = copy.starts.count;
    hello.shards = copy.shards;
    return hello_pack(HELLO_HELLO, &hello.base);
}

struct frame *
hello_welcome_frame(uint32_t protocol)
{
    Peer__Welcome welcome;

    peer__welcome__init(&welcome);
    welcome.protocol = protocol;
    return hello_pack(HELLO_WELCOME, &welcome.base);
}

struct frame *
hello_refuse_frame(enum refusal reason, const char *text)
{
    Peer__Refuse refuse;
    char copy[HELLO_TEXT_SIZE];

    peer__refuse__init(&refuse);
    (void)snprintf(copy, sizeof(copy), "%s", text);
    refuse.reason = (Peer__Refuse__Reason)reason;
    refuse.text = copy;
    return hello_pack(HELLO_REFUSE, &refuse.base);
}

struct frame *
hello_ping_frame(void)
{
    return frame_new(FRAME_CONTROL, HELLO_PING);
}

/* Text from the other end, fit for a log. */
static void
hello_text(char *dst, size_t dst_size, const char *src)
{
    size_t i = 0;

    for (; i < dst_size - 1 && src[i] != '\0'; i++) {
        dst[i] = src[i];
        if (src[i] < 0x20 || src[i] >= 0x7f) {
            dst[i] = '?';
        }
    }
    dst[i] = '\0';
}

/* A UUID field: 16 bytes, or none for nil. */
static bool
hello_uuid(const ProtobufCBinaryData *field, struct uuid *out)
{
    if (field->len == 0) {
        memset(out, 0, sizeof(*out));
        return true;
    }
    if (field->len != sizeof(out->bytes)) {
        return false;
    }
    memcpy(out->bytes, field->data, sizeof(out->bytes));
    return true;
}

int
hello_decode(const struct frame *frame, struct peers_identity *out)
{
    struct peers_identity id = {.node = 0};
    Peer__Hello *hello = NULL;
    bool ok = frame->head.size <= PEERS_HELLO_SIZE_MAX;

    if (ok) {
        hello = peer__hello__unpack(NULL, frame->head.size, frame->head.data);
    }
    if (hello == NULL) {
        return -QR_EFORMAT;
    }
    ok = hello_uuid(&hello->cluster, &id.cluster) &&
         hello_uuid(&hello->uuid, &id.uuid) && !uuid_is_nil(&id.uuid);
    ok = ok && strlen(hello->cluster_name) <= QR_NAME_SIZE_MAX &&
         strlen(hello->node_name) <= QR_NAME_SIZE_MAX;
    ok = ok && hello->shards >= 1 && hello->shards <= QR_SHARDS_MAX;
    ok = ok && hello->protocol_min >= 1 &&
         hello->protocol_min <= hello->protocol_max &&
         hello->n_starts <= STARTS_MAX;
    if (ok) {
        hello_text(id.cluster_name, sizeof(id.cluster_name),
                   hello->cluster_name);
        hello_text(id.node_name, sizeof(id.node_name), hello->node_name);
        id.node = hello->node;
        id.starts.boot = hello->boot;
        id.starts.count = (uint32_t)hello->n_starts;
        if (hello->n_starts > 0) { /* else there is no array */
            memcpy(id.starts.process, hello->starts,
                   hello->n_starts * sizeof(hello->starts[0]));
        }
        id.shards = (uint16_t)hello->shards;
        id.protocol_min = hello->protocol_min;
        id.protocol_max = hello->protocol_max;
        *out = id;
    }
    peer__hello__free_unpacked(hello, NULL);
    return ok ? 0 : -QR_EFORMAT;
}

int
hello_decode_welcome(const struct frame *frame, uint32_t *out)
{
    Peer__Welcome *welcome = NULL;

    if (frame->head.size <= PEERS_HELLO_SIZE_MAX) {
        welcome =
            peer__welcome__unpack(NULL, frame->head.size, frame->head.data);
    }
    if (welcome == NULL) {
        return -QR_EFORMAT;
    }
    *out = welcome->protocol;
    peer__welcome__free_unpacked(welcome, NULL);
    return 0;
}

int
hello_decode_refuse(const struct frame *frame, enum refusal *reason,
                    char text[HELLO_TEXT_SIZE])
{
    Peer__Refuse *refuse = NULL;

    if (frame->head.size <= PEERS_HELLO_SIZE_MAX) {
        refuse = peer__refuse__unpack(NULL, frame->head.size, frame->head.data);
    }
    if (refuse == NULL) {
        return -QR_EFORMAT;
    }
    /* A reason of a later version is still a refusal; its text says why. */
    *reason = (int)refuse->reason > REFUSAL_NONE &&
                      (int)refuse->reason <= REFUSAL_ROLLED_BACK
                  ? (enum refusal)refuse->reason
                  : REFUSAL_STRANGER;
    hello_text(text, HELLO_TEXT_SIZE, refuse->text);
    peer__refuse__free_unpacked(refuse, NULL);
    return 0;
}

static enum refusal
hello_check_cluster(const struct peers_identity *self,
                    const struct peers_identity *other, struct error *err)
{
    char a[UUID_TEXT_SIZE];
    char b[UUID_TEXT_SIZE];
    bool both = !uuid_is_nil(&self->cluster) && !uuid_is_nil(&other->cluster);

    if (both && uuid_is_equal(&self->cluster, &other->cluster)) {
        return REFUSAL_NONE;
    }
    if (both) {
        uuid_format(&self->cluster, a);
        uuid_format(&other->cluster, b);
        (void)error_set(err, QR_ECONFLICT,
                        "node %s is of cluster %s, node %s of cluster %s; to "
                        "move a node to another cluster, start it with an "
                        "empty data directory",
                        self->node_name, a, other->node_name, b);
        return REFUSAL_CLUSTER;
    }
    if (self->cluster_name[0] != '\0' && other->cluster_name[0] != '\0' &&
        strcmp(self->cluster_name, other->cluster_name) != 0) {
        (void)error_set(err, QR_ECONFLICT,
                        "node %s is of cluster \"%s\", node %s of cluster "
                        "\"%s\"; set the same cluster_name for both",
                        self->node_name, self->cluster_name, other->node_name,
                        other->cluster_name);
        return REFUSAL_CLUSTER;
    }
    return REFUSAL_NONE;
}

enum refusal
hello_check(const struct peers_identity *self,
            const struct peers_identity *other, struct error *err)
{
    if (hello_protocol_min(self) > hello_protocol_max(other) ||
        hello_protocol_min(other) > hello_protocol_max(self)) {
        (void)error_set(err, QR_EVERSION,
                        "node %s speaks link protocol %u to %u, node %s %u to "
                        "%u; upgrade the older node",
                        self->node_name, hello_protocol_min(self),
                        hello_protocol_max(self), other->node_name,
                        hello_protocol_min(other), hello_protocol_max(other));
        return REFUSAL_VERSION;
    }
    if (uuid_is_equal(&self->uuid, &other->uuid)) {
        (void)error_set(err, QR_ECONFLICT,
                        "nodes %s and %s have the same UUID; one's data "
                        "directory is a copy of the other's: start it with an "
                        "empty one",
                        self->node_name, other->node_name);
        return REFUSAL_NODE;
    }
    if (self->node != 0 && self->node == other->node) {
        (void)error_set(err, QR_ECONFLICT,
                        "nodes %s and %s both have node id %u; give each node "
                        "its own",
                        self->node_name, other->node_name, self->node);
        return REFUSAL_NODE;
    }
    return hello_check_cluster(self, other, err);
}

uint32_t
hello_protocol(const struct peers_identity *self,
               const struct peers_identity *other)
{
    return MIN(hello_protocol_max(self), hello_protocol_max(other));
}

bool
hello_is_senior(const struct peers_identity *self,
                const struct peers_identity *other)
{
    if (self->node != 0 && other->node != 0) {
        return self->node < other->node;
    }
    return memcmp(self->uuid.bytes, other->uuid.bytes,
                  sizeof(self->uuid.bytes)) < 0;
}
