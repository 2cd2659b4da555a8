/* Whom a node links with. Links themselves are tested in tests/unit/peer; here
 * it is which ones are made, on a loop that is not run. */
#include <stdio.h>
#include <uv.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/identity.h"
#include "daemon/node_links.h"
#include "daemon/plan.h"
#include "lib/harness.h"
#include "machine/meta/meta_command.h"
#include "net/net.h"
#include "peer/peers.h"

struct rig {
    uv_loop_t loop;
    struct net *net;
    struct logger log;
    struct config config;
    struct plan plan;
    struct identity identity;
    struct node_links links;
    struct meta_machine *meta;
};

static void
on_link(void *arg, enum link_event event, const struct link_peer *peer,
        struct link_gauge *gauge)
{
    (void)arg;
    (void)event;
    (void)peer;
    (void)gauge;
}

/* Node n1 of a configuration of three, blank. */
static void
rig_init(struct rig *r)
{
    struct peers_identity self = {.node = 0};
    struct peers_events events = {.on_link = on_link};
    struct secret secret;
    struct peers_proof proof = {.secret = &secret};

    memset(r, 0, sizeof(*r));
    config_init(&r->config);
    r->plan.count = 3;
    for (size_t i = 0; i < 3; i++) {
        r->plan.members[i].id = (qr_node_id)(i + 1);
        (void)snprintf(r->plan.members[i].name, QR_NAME_SIZE_MAX, "n%zu",
                       i + 1);
        strcpy(r->plan.nodes[i].host, "127.0.0.1");
        r->plan.nodes[i].port = 1;
    }
    memset(&r->identity.uuid, 1, sizeof(r->identity.uuid));
    r->links = (struct node_links){.config = &r->config,
                                   .plan = &r->plan,
                                   .identity = &r->identity,
                                   .log = &r->log};
    cr_assert_eq(uv_loop_init(&r->loop), 0);
    r->net = net_new(&r->loop, NULL, NULL);
    cr_assert_eq(secret_derive("0123456789abcdef", 16, &secret, NULL), 0);
    node_links_identity(&r->links, &self);
    r->links.peers = peers_new(r->net, &r->log, &self, &proof, NULL, &events);
    r->meta = meta_machine_new(NULL);
}

static void
on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void
rig_deinit(struct rig *r)
{
    bool is_closed = false;

    peers_close(r->links.peers, on_closed, &is_closed);
    while (!is_closed) {
        (void)uv_run(&r->loop, UV_RUN_ONCE);
    }
    peers_free(&r->links.peers);
    net_free(&r->net);
    (void)uv_run(&r->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&r->loop), 0);
    meta_machine_free(&r->meta);
    config_deinit(&r->config);
}

Test(node_links, say_who_the_node_is)
{
    struct peers_identity self;
    struct rig r;

    rig_init(&r);
    node_links_identity(&r.links, &self);
    cr_expect_str_eq(self.node_name, "n1");
    cr_expect_eq(self.node, 1, "its place in the configuration");
    r.identity.node = 7;
    memset(&r.identity.cluster.id, 3, sizeof(struct uuid));
    node_links_formed(&r.links);
    cr_expect_eq(peers_identity(r.links.peers)->node, 7);
    cr_expect(uuid_is_equal(&peers_identity(r.links.peers)->cluster,
                            &r.identity.cluster.id));
    rig_deinit(&r);
}

Test(node_links, none_are_made_without_a_secret)
{
    struct rig r;
    struct node_links none;
    int socket = -1;

    rig_init(&r);
    none = r.links;
    none.peers = NULL;
    cr_expect_eq(node_links_start(&none, &socket, NULL), 0);
    node_links_formed(&none);
    node_links_follow(&none, r.meta);
    rig_deinit(&r);
}

Test(node_links, begin_with_the_configuration_and_follow_the_metadata)
{
    struct meta_node node = {.boot = 1, .process = 5};
    struct error err = {{0}};
    struct rig r;
    struct buf b;
    int socket = -1;

    rig_init(&r);
    cr_expect_eq(node_links_start(&r.links, &socket, &err), 0, "%s", err.text);
    r.identity.node = 1;
    buf_init(&b);
    for (unsigned i = 1; i <= 4; i++) {
        static const char *const names[] = {"n1", "n2", "n3", "elsewhere"};

        node.id = i;
        node.name = meta_text(names[i - 1], strlen(names[i - 1]));
        node.address = meta_text(i == 4 ? "nonsense" : "h:9", i == 4 ? 8 : 3);
        memset(&node.uuid, (int)i, sizeof(node.uuid));
        meta_put_node_up(&b, 0, 0, &node);
    }
    meta_put_node_remove(&b, 0, 0, 2);
    meta_machine_apply(r.meta, 1, 1, b.data, b.size);
    node_links_follow(&r.links, r.meta);
    node_links_follow(&r.links, r.meta);
    /* A removed id is refused for good: adding it again changes nothing. */
    cr_expect_eq(peers_add(r.links.peers, 2, "n2", "127.0.0.1", 1, &err), 0);
    cr_expect(!peers_link(r.links.peers, 2, NULL));
    buf_deinit(&b);
    rig_deinit(&r);
}

/* What a node has met it still knows after its own restart. */
Test(node_links, begin_with_the_starts_that_were_met)
{
    struct start_seen seen = {.boot = 6, .process = 66};
    struct cluster *c = NULL;
    struct error err = {{0}};
    struct start_seen known;
    struct rig r;
    int socket = -1;

    rig_init(&r);
    c = &r.identity.cluster;
    r.identity.node = 1;
    memset(&c->id, 3, sizeof(c->id));
    for (size_t i = 0; i < 3; i++) {
        c->members[i] = r.plan.members[i];
        memset(&c->members[i].uuid, (int)(i + 1), sizeof(struct uuid));
    }
    c->members_count = 3;
    cr_assert(starts_book_see(&r.identity.met, 2, &seen));
    cr_expect_eq(node_links_start(&r.links, &socket, &err), 0, "%s", err.text);
    known = peers_seen(r.links.peers, 2);
    cr_expect_eq(known.boot, 6);
    cr_expect_eq(known.process, 66);
    cr_expect_eq(peers_seen(r.links.peers, 3).boot, 0);
    rig_deinit(&r);
}
