/* See cluster.h. */
#include "broker/cluster.h"

#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/text.h"
#include "machine/meta/meta_machine.h"

enum {
    LINE_SIZE = 640,
    MEMBER_WORDS = 5
};

void
cluster_put_member(struct buf *out, const struct cluster_member *member)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(&member->uuid, text);
    buf_putf(out, "member %u %s %s %s\n", member->id, text,
             member->address[0] == '\0' ? "-" : member->address, member->name);
}

void
cluster_put(struct buf *out, const struct cluster *c)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(&c->id, text);
    buf_putf(out, "cluster %s\n", text);
    if (c->has_founders) {
        buf_putf(out, "founders\n");
    }
    for (size_t i = 0; i < c->members_count; i++) {
        cluster_put_member(out, &c->members[i]);
    }
}

/* Cut LINE at blanks into at most MEMBER_WORDS; the last takes the rest. */
static size_t
split(char *line, char *words[MEMBER_WORDS])
{
    size_t count = 0;

    while (*line != '\0' && count < MEMBER_WORDS) {
        words[count++] = line;
        if (count == MEMBER_WORDS) {
            break;
        }
        line += strcspn(line, " ");
        if (*line == ' ') {
            *line++ = '\0';
        }
    }
    return count;
}

static int
get_member(struct cluster *c, char *words[MEMBER_WORDS], size_t count)
{
    struct cluster_member *m = &c->members[c->members_count];
    uint64_t number;

    if (count != MEMBER_WORDS || c->members_count == CLUSTER_MEMBERS_MAX ||
        strlen(words[3]) >= CLUSTER_ADDRESS_SIZE ||
        strlen(words[4]) > QR_NAME_SIZE_MAX ||
        parse_u64(words[1], strlen(words[1]), 0, UINT16_MAX, &number) != 0 ||
        uuid_parse(words[2], &m->uuid) != 0) {
        return -QR_EFORMAT;
    }
    m->id = (qr_node_id)number;
    memcpy(m->address, words[3], strlen(words[3]) + 1);
    memcpy(m->name, words[4], strlen(words[4]) + 1);
    c->members_count++;
    return 1;
}

int
cluster_get_line(struct cluster *c, const char *line)
{
    char copy[LINE_SIZE];
    char *words[MEMBER_WORDS] = {NULL};
    size_t count;

    if (strlen(line) >= sizeof(copy)) {
        return -QR_EFORMAT;
    }
    memcpy(copy, line, strlen(line) + 1);
    count = split(copy, words);
    if (count == 0) {
        return 0;
    }
    if (strcmp(words[0], "member") == 0) {
        return get_member(c, words, count);
    }
    if (strcmp(words[0], "founders") == 0 && count == 1) {
        c->has_founders = true;
        return 1;
    }
    if (strcmp(words[0], "cluster") == 0 && count == 2) {
        return uuid_parse(words[1], &c->id) == 0 ? 1 : -QR_EFORMAT;
    }
    return 0;
}

int
cluster_get(struct cluster *out, const char *text, size_t size,
            struct error *err)
{
    struct cluster c = {.members_count = 0};
    char line[LINE_SIZE];
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - text) - at;

        if (length >= sizeof(line)) {
            return error_set(err, QR_EFORMAT, "a line is too long");
        }
        memcpy(line, text + at, length);
        line[length] = '\0';
        if (cluster_get_line(&c, line) != 1) {
            return error_set(err, QR_EFORMAT, "not understood: '%s'", line);
        }
        at += length + 1;
    }
    if (uuid_is_nil(&c.id) || c.members_count == 0) {
        return error_set(err, QR_EFORMAT, "no cluster in it");
    }
    *out = c;
    return 0;
}

const struct cluster_member *
cluster_by_uuid(const struct cluster *c, const struct uuid *uuid)
{
    for (size_t i = 0; i < c->members_count; i++) {
        if (uuid_is_equal(&c->members[i].uuid, uuid)) {
            return &c->members[i];
        }
    }
    return NULL;
}

const struct cluster_member *
cluster_by_name(const struct cluster *c, const char *name)
{
    for (size_t i = 0; i < c->members_count; i++) {
        if (strcmp(c->members[i].name, name) == 0) {
            return &c->members[i];
        }
    }
    return NULL;
}

static bool
collect(void *arg, const struct meta_node *node)
{
    struct cluster *c = arg;
    struct cluster_member *m = &c->members[c->members_count];

    if (node->is_removed || c->members_count == CLUSTER_MEMBERS_MAX) {
        return true;
    }
    memset(m, 0, sizeof(*m));
    m->id = node->id;
    m->uuid = node->uuid;
    (void)snprintf(m->name, sizeof(m->name), "%.*s", (int)node->name.size,
                   node->name.data);
    (void)snprintf(m->address, sizeof(m->address), "%.*s",
                   (int)node->address.size, node->address.data);
    c->members_count++;
    return true;
}

/* Whether A and B are the same node at the same place. An address that one of
 * them does not say is no difference. */
static bool
is_same(const struct cluster_member *a, const struct cluster_member *b)
{
    return a->id == b->id && uuid_is_equal(&a->uuid, &b->uuid) &&
           strcmp(a->name, b->name) == 0 && strcmp(a->address, b->address) == 0;
}

bool
cluster_follow(struct cluster *c, const struct meta_machine *m)
{
    struct cluster fresh = {.id = c->id};
    bool is_changed;

    meta_each_node(m, collect, &fresh);
    is_changed = fresh.members_count != c->members_count;
    for (size_t i = 0; !is_changed && i < fresh.members_count; i++) {
        const struct cluster_member *old =
            cluster_by_uuid(c, &fresh.members[i].uuid);

        is_changed = old == NULL || !is_same(old, &fresh.members[i]);
    }
    if (is_changed) {
        *c = fresh;
    }
    return is_changed;
}
