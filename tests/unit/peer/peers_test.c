/* Links between nodes: real TLS over loopback, several nodes on one loop. */
#include <quorate/error.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "lib/harness.h"
#include "net/listener.h"
#include "net/net.h"
#include "net/stream.h"
#include "peer/peers.h"
#include "peers_helper.h"

static struct helper_world world;

/* Nodes 1 and 2, which both know and dial each other, linked. */
static struct helper_world *
pair(void)
{
    struct helper_world *w = &world;

    helper_init(w);
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    return w;
}

Test(peers, link_both_ways_once)
{
    struct helper_world *w = pair();
    struct link_peer peer;

    for (int i = 0; i < 20; i++) { /* the second connection is refused */
        helper_turn(w);
    }
    cr_expect_eq(helper_count(w, 1, 2, LINK_UP), 1);
    cr_expect_eq(helper_count(w, 2, 1, LINK_UP), 1);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 0);
    cr_expect_eq(helper_count(w, 2, 1, LINK_DOWN), 0);
    cr_assert(peers_link(w->nodes[1].peers, 2, &peer));
    cr_expect_eq(peer.node, 2);
    cr_expect_eq(peer.boot, 1);
    cr_expect_eq(peer.shards, 1);
    cr_expect(uuid_is_equal(&peer.uuid, &w->nodes[2].identity.uuid));
    cr_expect(helper_logged(w, 1, "link to node n2"));
    helper_deinit(w);
}

Test(peers, link_though_only_one_can_dial)
{
    for (qr_node_id dialler = 1; dialler <= 2; dialler++) {
        struct helper_world *w = &world;
        struct error err;
        qr_node_id other = 3 - dialler;

        helper_init(w);
        helper_start(w, 1);
        helper_start(w, 2);
        helper_add(w, dialler, other);
        /* A port at which nobody answers, as behind a firewall. */
        cr_assert_eq(peers_add(w->nodes[other].peers, dialler,
                               dialler == 1 ? "n1" : "n2", "127.0.0.1", 1,
                               &err),
                     0);
        HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
        helper_deinit(w);
    }
}

Test(peers, carry_frames_in_order_within_each_class)
{
    struct helper_world *w = pair();
    uint64_t total = 0;

    for (uint64_t i = 1; i <= 500; i++) {
        for (unsigned k = 0; k < FRAME_CLASS_COUNT; k++) {
            size_t size = (size_t)(i * 37 % 3000) * (k > 0);

            cr_assert(helper_send(w, 1, 2, (enum frame_class)k, i, size));
            cr_assert(helper_send(w, 2, 1, (enum frame_class)k, i, size));
            total += size;
        }
        if (i % 50 == 0) {
            helper_turn(w);
        }
    }
    HELPER_UNTIL(w, w->nodes[1].frames[FRAME_STREAM] == 500 &&
                        w->nodes[2].frames[FRAME_STREAM] == 500);
    for (unsigned k = 0; k < FRAME_CLASS_COUNT; k++) {
        cr_expect_eq(w->nodes[1].frames[k], 500);
        cr_expect_eq(w->nodes[2].frames[k], 500);
        cr_expect_eq(w->nodes[1].gauge[2]->waiting[k], 0);
    }
    cr_expect_eq(w->nodes[1].bytes, total);
    cr_expect_eq(w->nodes[2].bytes, total);
    helper_deinit(w);
}

Test(peers, carry_the_largest_frame)
{
    struct helper_world *w = pair();

    cr_assert(helper_send(w, 1, 2, FRAME_CALL, 1,
                          FRAME_SIZE_MAX - FRAME_HEADER_SIZE));
    cr_assert(helper_send(w, 1, 2, FRAME_CALL, 2, 10));
    HELPER_UNTIL(w, w->nodes[2].frames[FRAME_CALL] == 2);
    cr_expect_eq(w->nodes[2].bytes, FRAME_SIZE_MAX - FRAME_HEADER_SIZE + 10);
    helper_deinit(w);
}

Test(peers, let_control_overtake_bulk_that_waits)
{
    struct helper_world *w = pair();
    size_t control = HELPER_EVENTS_MAX;

    for (uint64_t i = 1; i <= 7; i++) {
        cr_assert(helper_send(w, 1, 2, FRAME_STREAM, i, 1 << 20));
    }
    helper_turn(w); /* the first has begun */
    cr_assert(helper_send(w, 1, 2, FRAME_CONTROL, 1, 10));
    HELPER_UNTIL(w, w->nodes[2].frames[FRAME_STREAM] == 7 &&
                        w->nodes[2].frames[FRAME_CONTROL] == 1);
    for (size_t i = 0; i < w->nodes[2].order_count; i++) {
        if (w->nodes[2].order[i] == FRAME_CONTROL) {
            control = i;
        }
    }
    cr_expect_leq(control, 2);
    helper_deinit(w);
}

Test(peers, refuse_what_passes_a_window)
{
    struct helper_world *w = pair();
    struct link_gauge *gauge = w->nodes[1].gauge[2];

    cr_assert(helper_send(w, 1, 2, FRAME_STREAM, 1, 8 << 20),
              "one that is larger than the window, when nothing waits");
    cr_assert(!helper_send(w, 1, 2, FRAME_STREAM, 2, 1));
    cr_assert(helper_send(w, 1, 2, FRAME_CALL, 1, 1), "each class has its own");
    HELPER_UNTIL(w, w->nodes[2].frames[FRAME_STREAM] == 1);
    cr_expect_eq(gauge->waiting[FRAME_STREAM], 0);
    cr_assert(helper_send(w, 1, 2, FRAME_STREAM, 3, 1));
    HELPER_UNTIL(w, w->nodes[2].frames[FRAME_STREAM] == 2);
    helper_deinit(w);
}

Test(peers, tell_at_once_that_a_process_is_dead)
{
    struct helper_world *w = pair();
    uint64_t start = uv_now(&w->loop);

    helper_stop(w, 2);
    HELPER_UNTIL(w, helper_count(w, 1, 2, LINK_REFUSED) == 1);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 1);
    cr_expect_lt(uv_now(&w->loop) - start, 1000);
    for (int i = 0; i < 20; i++) {
        helper_turn(w);
    }
    cr_expect_eq(helper_count(w, 1, 2, LINK_REFUSED), 1, "told once");
    helper_deinit(w);
}

Test(peers, link_again_after_a_restart)
{
    struct helper_world *w = pair();
    struct link_peer peer;

    for (uint32_t boot = 2; boot <= 4; boot++) {
        helper_stop(w, 2);
        w->nodes[2].identity.starts.boot = boot;
        helper_start(w, 2);
        helper_add(w, 2, 1);
        HELPER_UNTIL(w, helper_count(w, 1, 2, LINK_UP) == boot);
        HELPER_UNTIL(w, helper_is_up(w, 2, 1));
        cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), boot - 1);
        cr_assert(peers_link(w->nodes[1].peers, 2, &peer));
        cr_expect_eq(peer.boot, boot);
        cr_assert(helper_send(w, 1, 2, FRAME_CALL, 1, 100));
        HELPER_UNTIL(w, w->nodes[2].frames[FRAME_CALL] == boot - 1);
    }
    helper_deinit(w);
}

Test(peers, drop_what_was_meant_for_an_earlier_epoch)
{
    struct helper_world *w = pair();
    uint64_t old = w->nodes[1].epoch[2];
    struct frame *f = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);

    cr_assert(helper_send(w, 1, 2, FRAME_CALL, 1, 6 << 20));
    helper_stop(w, 2);
    helper_start(w, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_count(w, 1, 2, LINK_UP) == 2);
    cr_expect_eq(w->nodes[1].gauge[2]->waiting[FRAME_CALL], 0);
    cr_assert(
        link_gauge_charge_mt(w->nodes[1].gauge[2], FRAME_CALL, frame_size(f)));
    peers_send(w->nodes[1].peers, 2, old, &f);
    cr_expect_null(f);
    cr_expect_eq(w->nodes[1].gauge[2]->waiting[FRAME_CALL], 0);
    cr_assert(helper_send(w, 1, 2, FRAME_CALL, 2, 10));
    HELPER_UNTIL(w, w->nodes[2].frames[FRAME_CALL] == 1);
    cr_expect_eq(w->nodes[2].last_arg[FRAME_CALL], 2);
    helper_deinit(w);
}

/* Nodes 1 and 2 are started, know each other, and cannot agree: LOG1 and LOG2
 * appear, and no link. */
static void
check_refused(struct helper_world *w, const char *log1, const char *log2)
{
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_logged(w, 1, log1) && helper_logged(w, 2, log2));
    for (int i = 0; i < 20; i++) {
        helper_turn(w);
    }
    cr_expect_eq(helper_count(w, 1, 2, LINK_UP), 0);
    cr_expect_eq(helper_count(w, 2, 1, LINK_UP), 0);
    helper_deinit(w);
}

Test(peers, refuse_another_secret_and_say_so_on_both_sides)
{
    struct helper_world *w = &world;
    struct error err;
    char log1[256];
    char log2[256];

    helper_init(w);
    cr_assert_eq(
        secret_derive("another secret: long", 20, &w->nodes[2].secret, &err),
        0);
    snprintf(log1, sizeof(log1),
             "has another cluster secret: the fingerprint of its secret is "
             "%.8s, of this node's %.8s; give both",
             w->nodes[2].secret.fingerprint, w->nodes[1].secret.fingerprint);
    snprintf(log2, sizeof(log2),
             "has another cluster secret: the fingerprint of its secret is "
             "%.8s, of this node's %.8s; give both",
             w->nodes[1].secret.fingerprint, w->nodes[2].secret.fingerprint);
    check_refused(w, log1, log2);
    cr_expect(helper_logged(w, 1, "node n2 at 127.0.0.1"));
    cr_expect(helper_logged(w, 2, "node n1 at 127.0.0.1"));
}

Test(peers, name_both_secrets_whoever_dials)
{
    for (qr_node_id dialler = 1; dialler <= 2; dialler++) {
        struct helper_world *w = &world;
        struct error err;
        qr_node_id other = 3 - dialler;

        helper_init(w);
        cr_assert_eq(secret_derive("another secret: long", 20,
                                   &w->nodes[2].secret, &err),
                     0);
        helper_start(w, 1);
        helper_start(w, 2);
        helper_add(w, dialler, other);
        HELPER_UNTIL(w,
                     helper_logged(w, 1, w->nodes[2].secret.fingerprint) &&
                         helper_logged(w, 2, w->nodes[1].secret.fingerprint));
        helper_deinit(w);
    }
}

Test(peers, refuse_another_cluster)
{
    struct helper_world *w = &world;

    helper_init(w);
    memset(w->nodes[1].identity.cluster.bytes, 0xaa, 16);
    memset(w->nodes[2].identity.cluster.bytes, 0xbb, 16);
    check_refused(w, "of cluster aaaaaaaa-", "of cluster bbbbbbbb-");
}

Test(peers, refuse_another_cluster_name)
{
    struct helper_world *w = &world;

    helper_init(w);
    strcpy(w->nodes[2].identity.cluster_name, "other");
    check_refused(w, "set the same cluster_name", "set the same cluster_name");
}

Test(peers, link_a_blank_node_with_one_of_a_cluster)
{
    struct helper_world *w = &world;
    struct start_seen never = {.boot = 0};
    struct peers_identity known;

    helper_init(w);
    memset(w->nodes[1].identity.cluster.bytes, 0xaa, 16);
    w->nodes[2].identity.node = 0;
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    peers_known(w->nodes[1].peers, 2, &w->nodes[2].identity.uuid, &never);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    known = *peers_identity(w->nodes[2].peers);
    known.node = 2;
    known.cluster = w->nodes[1].identity.cluster;
    peers_set_identity(w->nodes[2].peers, &known);
    cr_expect_eq(peers_identity(w->nodes[2].peers)->node, 2);
    cr_expect(helper_is_up(w, 1, 2), "links stay");
    helper_deinit(w);
}

Test(peers, refuse_a_version_without_common_protocol)
{
    struct helper_world *w = &world;

    helper_init(w);
    w->nodes[2].identity.protocol_min = 7;
    w->nodes[2].identity.protocol_max = 9;
    check_refused(w, "upgrade the older node", "upgrade the older node");
}

Test(peers, link_with_a_newer_version_that_knows_the_older)
{
    struct helper_world *w = &world;

    helper_init(w);
    w->nodes[2].identity.protocol_min = 1;
    w->nodes[2].identity.protocol_max = 9;
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    helper_deinit(w);
}

Test(peers, refuse_a_copy_of_their_own_data_directory)
{
    struct helper_world *w = &world;

    helper_init(w);
    w->nodes[2].identity.uuid = w->nodes[1].identity.uuid;
    check_refused(w, "the same UUID", "the same UUID");
}

Test(peers, refuse_their_own_id)
{
    struct helper_world *w = &world;

    helper_init(w);
    w->nodes[2].identity.node = 1;
    for (qr_node_id id = 1; id <= 2; id++) { /* blank nodes have none */
        memset(w->nodes[id].identity.cluster.bytes, 0xaa, 16);
    }
    check_refused(w, "both have node id 1", "both have node id 1");
}

Test(peers, refuse_an_id_that_another_node_holds)
{
    struct helper_world *w = pair();

    /* Node 3 claims to be node 2, name and all. */
    w->nodes[3].identity.node = 2;
    strcpy(w->nodes[3].identity.node_name, "n2");
    helper_start(w, 3);
    helper_add(w, 3, 1);
    HELPER_UNTIL(w,
                 helper_logged(w, 3, "another node with id 2 is linked") &&
                     helper_logged(w, 1, "another node with id 2 is linked"));
    cr_expect(helper_is_up(w, 1, 2));
    cr_expect_eq(helper_count(w, 3, 1, LINK_UP), 0);
    helper_deinit(w);
}

Test(peers, refuse_a_stranger)
{
    struct helper_world *w = &world;

    helper_init(w);
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_logged(w, 1, "does not know a node n2") &&
                        helper_logged(w, 2, "does not know a node n2"));
    cr_expect_eq(helper_count(w, 2, 1, LINK_UP), 0);
    helper_deinit(w);
}

Test(peers, notice_that_another_node_answers)
{
    struct helper_world *w = &world;
    struct error err;

    helper_init(w);
    helper_start(w, 1);
    helper_start(w, 3);
    cr_assert_eq(peers_add(w->nodes[1].peers, 2, "n2", "127.0.0.1",
                           w->nodes[3].port, &err),
                 0);
    HELPER_UNTIL(w, helper_logged(w, 1, "does not know a node n3"));
    helper_deinit(w);
}

/* A node that stops reading and writing without closing anything. */
static void
freeze(struct helper_world *w, qr_node_id id)
{
    w->nodes[id].limits.heartbeat_ms = 1000000;
    w->nodes[id].limits.silent_ms = 2000000;
    w->nodes[id].limits.dead_ms = 3000000;
}

Test(peers, suspect_and_then_drop_a_silent_peer)
{
    struct helper_world *w = &world;

    helper_init(w);
    freeze(w, 2);
    w->nodes[1].limits.heartbeat_ms = 20;
    w->nodes[1].limits.silent_ms = 100;
    w->nodes[1].limits.dead_ms = 300;
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    HELPER_UNTIL(w, helper_count(w, 1, 2, LINK_SILENT) == 1);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 0);
    HELPER_UNTIL(w, helper_count(w, 1, 2, LINK_DOWN) == 1);
    cr_expect_eq(helper_count(w, 1, 2, LINK_SILENT), 1);
    HELPER_UNTIL(w, helper_count(w, 1, 2, LINK_UP) == 2);
    helper_deinit(w);
}

Test(peers, keep_an_idle_link_with_heartbeats)
{
    struct helper_world *w = &world;
    uint64_t start = 0;

    helper_init(w);
    for (qr_node_id id = 1; id <= 2; id++) {
        w->nodes[id].limits.heartbeat_ms = 20;
        w->nodes[id].limits.silent_ms = 200;
        w->nodes[id].limits.dead_ms = 400;
        helper_start(w, id);
    }
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    start = uv_now(&w->loop);
    HELPER_UNTIL(w, uv_now(&w->loop) - start > 800);
    cr_expect_eq(helper_count(w, 1, 2, LINK_SILENT), 0);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 0);
    helper_deinit(w);
}

Test(peers, do_not_call_a_peer_silent_that_they_do_not_read)
{
    struct helper_world *w = &world;
    uint64_t start = 0;

    helper_init(w);
    w->nodes[1].limits.heartbeat_ms = 20;
    w->nodes[1].limits.silent_ms = 100;
    w->nodes[1].limits.dead_ms = 200;
    w->nodes[2].limits.heartbeat_ms = 20;
    helper_start(w, 1);
    helper_start(w, 2);
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    peers_pause(w->nodes[1].peers, true);
    cr_assert(helper_send(w, 2, 1, FRAME_CALL, 1, 10));
    start = uv_now(&w->loop);
    HELPER_UNTIL(w, uv_now(&w->loop) - start > 500);
    cr_expect_eq(w->nodes[1].frames[FRAME_CALL], 0);
    cr_expect_eq(helper_count(w, 1, 2, LINK_SILENT), 0);
    peers_pause(w->nodes[1].peers, false);
    HELPER_UNTIL(w, w->nodes[1].frames[FRAME_CALL] == 1);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 0);
    helper_deinit(w);
}

Test(peers, do_not_call_a_peer_silent_after_their_own_stall)
{
    struct helper_world *w = &world;
    uint64_t end = 0;

    helper_init(w);
    for (qr_node_id id = 1; id <= 2; id++) {
        w->nodes[id].limits.heartbeat_ms = 20;
        w->nodes[id].limits.silent_ms = 100;
        w->nodes[id].limits.dead_ms = 200;
        helper_start(w, id);
    }
    helper_add(w, 1, 2);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    end = uv_hrtime() + (uint64_t)400 * 1000000;
    while (uv_hrtime() < end) {
        /* the whole process does not get to run, as it seems to its links */
    }
    for (int i = 0; i < 50; i++) {
        helper_turn(w);
    }
    cr_expect_eq(helper_count(w, 1, 2, LINK_SILENT), 0);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 0);
    helper_deinit(w);
}

Test(peers, forget_a_peer_that_is_removed)
{
    struct helper_world *w = pair();

    peers_remove(w->nodes[1].peers, 2);
    peers_remove(w->nodes[1].peers, 77);
    cr_expect_eq(helper_count(w, 1, 2, LINK_DOWN), 1);
    HELPER_UNTIL(w, helper_logged(w, 2, "was removed from the cluster"));
    cr_expect(!helper_is_up(w, 1, 2));
    helper_add(w, 1, 2); /* ids are never used again */
    for (int i = 0; i < 20; i++) {
        helper_turn(w);
    }
    cr_expect(!helper_is_up(w, 1, 2));
    helper_deinit(w);
}

Test(peers, refuse_what_cannot_be_a_peer)
{
    struct helper_world *w = &world;
    struct error err;
    char host[PEERS_HOST_SIZE + 1];

    helper_init(w);
    helper_start(w, 1);
    memset(host, 'x', sizeof(host));
    host[PEERS_HOST_SIZE] = '\0';
    cr_expect_eq(peers_add(w->nodes[1].peers, 0, "n", "h", 1, &err),
                 -QR_EINVAL);
    cr_expect_eq(peers_add(w->nodes[1].peers, 2, "n", host, 1, &err),
                 -QR_EINVAL);
    for (qr_node_id id = 2; id < 2 + PEERS_KNOWN_MAX; id++) {
        cr_assert_eq(
            peers_add(w->nodes[1].peers, id, "n", "127.0.0.1", 1, &err), 0);
    }
    cr_expect_eq(peers_add(w->nodes[1].peers, 2 + PEERS_KNOWN_MAX, "n",
                           "127.0.0.1", 1, &err),
                 -QR_EBUSY);
    helper_deinit(w);
}

Test(peers, link_three_nodes)
{
    struct helper_world *w = &world;

    helper_init(w);
    for (qr_node_id id = 1; id <= 3; id++) {
        helper_start(w, id);
    }
    for (qr_node_id a = 1; a <= 3; a++) {
        for (qr_node_id b = 1; b <= 3; b++) {
            if (a != b) {
                helper_add(w, a, b);
            }
        }
    }
    for (qr_node_id a = 1; a <= 3; a++) {
        for (qr_node_id b = 1; b <= 3; b++) {
            HELPER_UNTIL(w, a == b || helper_is_up(w, a, b));
        }
    }
    helper_deinit(w);
}

/* Something that connects and is no node. */
struct intruder {
    struct stream *stream;
    const void *say;
    size_t say_size;
    bool closed;
    size_t heard;
};

static size_t
intruder_on_data(void *arg, const struct slice *bytes)
{
    struct intruder *i = arg;

    i->heard += bytes->size;
    return bytes->size;
}

static void
intruder_on_close(void *arg, int reason, const char *text)
{
    struct intruder *i = arg;

    (void)reason;
    (void)text;
    i->closed = true;
}

static void
intruder_on_connect(void *arg, struct stream *s, int error)
{
    struct intruder *i = arg;
    struct stream_events events = {
        .arg = i, .on_data = intruder_on_data, .on_close = intruder_on_close};

    cr_assert_eq(error, 0);
    i->stream = s;
    stream_start(s, &events);
    stream_write(s, i->say, i->say_size);
}

Test(peers, close_on_who_does_not_speak_tls)
{
    struct helper_world *w = &world;
    struct intruder i = {.say = "GET / HTTP/1.1\r\n\r\n", .say_size = 18};

    helper_init(w);
    helper_start(w, 1);
    stream_connect(w->nodes[1].net, "127.0.0.1", w->nodes[1].port, 1000,
                   intruder_on_connect, &i);
    HELPER_UNTIL(w, i.closed);
    cr_expect(helper_logged(w, 1, "TLS handshake with node"));
    helper_deinit(w);
}

Test(peers, close_on_who_says_nothing)
{
    struct helper_world *w = &world;
    struct intruder i = {.say = "", .say_size = 0};

    helper_init(w);
    w->nodes[1].limits.handshake_ms = 100;
    helper_start(w, 1);
    stream_connect(w->nodes[1].net, "127.0.0.1", w->nodes[1].port, 1000,
                   intruder_on_connect, &i);
    HELPER_UNTIL(w, i.closed);
    cr_expect(helper_logged(w, 1, "no handshake within 100 ms"));
    helper_deinit(w);
}

/* As many as may wait hold on and say nothing. */
Test(peers, let_a_peer_in_whoever_else_is_at_the_door)
{
    static struct intruder crowd[PEERS_ACCEPTED_MAX];
    struct helper_world *w = &world;
    struct error err;
    size_t count = 0;

    helper_init(w);
    w->nodes[1].limits.handshake_ms = 60000;
    helper_start(w, 1);
    helper_start(w, 2);
    for (size_t i = 0; i < PEERS_ACCEPTED_MAX; i++) {
        crowd[i] = (struct intruder){.say = "", .say_size = 0};
        stream_connect(w->nodes[2].net, "127.0.0.1", w->nodes[1].port, 1000,
                       intruder_on_connect, &crowd[i]);
        HELPER_UNTIL(w, crowd[i].stream != NULL);
    }
    /* Only node 2 can dial. */
    cr_assert_eq(peers_add(w->nodes[1].peers, 2, "n2", "127.0.0.1", 1, &err),
                 0);
    helper_add(w, 2, 1);
    HELPER_UNTIL(w, helper_is_up(w, 1, 2) && helper_is_up(w, 2, 1));
    for (size_t i = 0; i < PEERS_ACCEPTED_MAX; i++) {
        count += crowd[i].closed ? 1 : 0;
    }
    cr_expect_geq(count, 1);
    cr_expect_leq(count, 4, "but for the peer's, nobody had to go");
    helper_deinit(w);
}
