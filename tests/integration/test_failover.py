"""What becomes of queues, consumers and connections when a node dies, and how
a node catches up."""
import os
import time

from cluster import ClusterTest, wait_for


class FailoverTest(ClusterTest):
    """One node dies; clients of the others hardly notice."""

    def tearDown(self):
        down = [n for n in self.cluster.numbers
                if n not in self.cluster.processes]
        if down:
            self.cluster.start(*down)

    def led_by(self, n, **options):
        """A queue that node N leads."""
        name = self.name()
        options.setdefault("durable", True)
        self.channel(n).queue_declare(name, **options)
        self.cluster.await_leader(name)
        wait_for(lambda: self.cluster.run_ctl(
            n, "transfer_leadership", name, f"n{n}").returncode == 0,
            f"n{n} leads")
        return name

    def test_clients_of_other_nodes_are_not_disturbed(self):
        name = self.led_by(1)
        publisher, consumer = self.channel(2), self.channel(3)
        publisher.confirm_delivery()
        got = []
        consumer.basic_qos(prefetch_count=10)
        consumer.basic_consume(name, lambda ch, m, _p, body: (
            got.append((body, m.redelivered)), ch.basic_ack(m.delivery_tag)))
        for i in range(300):
            if i == 150:
                self.cluster.kill(1)
            publisher.basic_publish("", name, b"%d" % i)  # until confirmed
            if i % 10 == 0:
                consumer.connection.process_data_events(0)
        wait_for(lambda: consumer.connection.process_data_events(0.02) or
                 len({body for body, _ in got}) == 300, "all")
        first = [body for body, redelivered in got if not redelivered]
        self.assertEqual([b"%d" % i for i in range(300)], first,
                         "once each and in order")
        self.assertTrue(publisher.is_open and consumer.is_open)

    def test_what_a_dead_nodes_consumer_held_returns(self):
        name = self.led_by(2)
        publisher = self.channel(2)
        publisher.confirm_delivery()
        for i in range(10):
            publisher.basic_publish("", name, b"%d" % i)
        held = []
        dying = self.channel(3)
        dying.basic_consume(name, lambda _c, m, _p, body: held.append(body))
        wait_for(lambda: dying.connection.process_data_events(0.02) or
                 len(held) == 10, "it holds all")
        self.cluster.kill(3)
        other, got = self.channel(1), []
        other.basic_consume(name, lambda _c, m, _p, body: got.append(
            (body, m.redelivered)))
        start = time.monotonic()
        wait_for(lambda: other.connection.process_data_events(0.02) or
                 len(got) == 10, "they return", 10)
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual([(b"%d" % i, True) for i in range(10)], got)

    def test_exclusive_queue_goes_with_the_node_of_its_owner(self):  # G2.23
        name = self.name()
        self.channel(3).queue_declare(name, exclusive=True)
        self.assertIsNotNone(self.cluster.queue(name, at=1))
        self.cluster.kill(3)
        wait_for(lambda: self.cluster.queue(name, at=1) is None, "it is gone",
                 10)

    def test_auto_delete_queue_goes_with_its_last_consumers_node(self):
        name = self.name()
        channel = self.channel(2)
        channel.queue_declare(name, auto_delete=True)
        channel.basic_consume(name, lambda *_: None)
        self.cluster.kill(2)
        wait_for(lambda: self.cluster.queue(name, at=1) is None, "it is gone",
                 10)

    def test_transient_queue_outlives_its_leader(self):  # G2.39
        name = self.led_by(1, durable=False)
        channel = self.channel(2)
        channel.confirm_delivery()
        for i in range(20):
            channel.basic_publish("", name, b"%d" % i)
        self.cluster.kill(1)
        self.cluster.await_leader(name, among=(2, 3))
        self.assertEqual([b"%d" % i for i in range(20)], wait_for(
            lambda: self.bodies(channel, name), "all are there"))

    def test_declare_while_a_node_is_down(self):
        self.cluster.kill(3)
        name = self.name()
        start = time.monotonic()
        channel = self.channel(1)
        channel.confirm_delivery()
        channel.queue_declare(name, durable=True)
        channel.basic_publish("", name, b"x")
        self.assertLess(time.monotonic() - start, 8)
        self.cluster.start(3)
        wait_for(lambda: len(self.cluster.queue(name, "online", at=3)
                             ["online"]) == 3, "the third replica is there")

    def test_deleted_while_a_node_was_down(self):
        names = [self.name(f"-{i}") for i in range(5)]
        channel = self.channel(1)
        for name in names:
            channel.queue_declare(name, durable=True)
            self.cluster.await_leader(name)
        self.cluster.kill(3)
        for name in names:
            channel.queue_delete(name)
        self.cluster.start(3)
        for n in (1, 2, 3):
            listed = {r["name"] for r in self.cluster.ctl(n, "list_queues")}
            self.assertFalse(listed & set(names))
        # The names are free again, on all nodes.
        for name in names:
            self.channel(3).queue_declare(name, durable=True)
            self.assertEqual([], self.bodies(self.channel(2), name))

    def test_many_queues_get_new_leaders(self):
        channel = self.channel(2)
        names = [self.name(f"-{i}") for i in range(80)]
        for name in names:
            channel.queue_declare(name, durable=True)
        channel.confirm_delivery()
        victim = 1
        start = time.monotonic()
        self.cluster.kill(victim)
        for name in names:
            channel.basic_publish("", name, name.encode())
        took = time.monotonic() - start
        for name in names:
            self.assertEqual(name.encode(), self.get(self.channel_of_3(),
                                                     name)[2])
        self.assertLess(took, 30)

    def test_an_idle_queue_confirms_at_once_with_a_node_down(self):
        channel = self.channel(2)
        names = [self.name(f"-{i}") for i in range(10)]
        for name in names:
            channel.queue_declare(name, durable=True)
        channel.confirm_delivery()
        self.cluster.kill(3)
        for name in names:
            channel.basic_publish("", name, b"x")
        channel.connection.sleep(3)
        took = []
        for name in names * 2:
            start = time.monotonic()
            channel.basic_publish("", name, b"x")
            took.append(time.monotonic() - start)
        # Not a heartbeat interval, which is 0.5 s.
        self.assertLess(sorted(took)[len(took) // 2], 0.2, took)

    def channel_of_3(self):
        if not hasattr(self, "third"):
            self.third = self.channel(3)
        return self.third


class CatchUpTest(ClusterTest):
    """A node that was away gets what it missed, by log or by snapshot."""

    tearDown = FailoverTest.tearDown

    # Small, so that little is much.
    SETTINGS = {"store.segment_size": 1048576}
    BODY = 32768
    COUNT = 1500  # 48 MiB, well above what is kept as log

    def numbered(self, i):
        return b"%06d" % i + os.urandom(1024) * (self.BODY // 1024)

    def test_by_snapshot(self):
        name = self.name()
        channel = self.channel(1)
        channel.queue_declare(name, durable=True)
        leader = self.cluster.await_leader(name)
        away = self.cluster.followers(name)[0]
        self.cluster.kill(away)
        here = [n for n in (1, 2, 3) if n != away]
        channel = self.channel(here[0])
        channel.confirm_delivery()
        kept = {}
        for i in range(self.COUNT):
            body = self.numbered(i)
            channel.basic_publish("", name, body)
            # Most are consumed, so that the log can be cut.
            if i % 50 == 0:
                kept[i] = body
                continue
            if i % 50 == 49:
                self.drain(name, here[1], kept)
        self.drain(name, here[1], kept)
        wait_for(lambda: max(r["snapshot"] or 0 for r in self.replicas(name))
                 > 0, "a snapshot was taken")
        self.cluster.start(away)
        wait_for(lambda: len({r["applied"] for r in self.replicas(name)}) == 1
                 and all(r["lag"] == 0 for r in self.replicas(name)),
                 "it has caught up")
        # Now it must do without the one that led.
        self.cluster.kill(leader)
        other = [n for n in here if n != leader][0]
        self.cluster.run_ctl(other, "transfer_leadership", name, f"n{away}")
        got = {}
        reader = self.channel(away)
        wait_for(lambda: got.update(
            (int(b[:6]), b) for b in self.bodies(reader, name))
            or len(got) >= len(kept), "what was kept")
        self.assertEqual(sorted(kept), sorted(got))
        self.assertTrue(kept == got, "bodies differ")

    def replicas(self, name):
        return [r for r in self.cluster.ctl(self.cluster.any(),
                                            "quorum_status", name)["replicas"]
                if isinstance(r.get("applied"), int)]

    def drain(self, name, n, kept):
        """Take all but what is in KEPT."""
        if not hasattr(self, "drainer"):
            self.drainer = self.channel(n)
        held = []
        while True:
            method, _, body = self.drainer.basic_get(name)
            if method is None:
                break
            if int(body[:6]) in kept:
                held.append(method.delivery_tag)
            else:
                self.drainer.basic_ack(method.delivery_tag)
        for tag in held:
            self.drainer.basic_nack(tag)

    def test_disk_is_given_back(self):
        name = self.name()
        channel = self.channel(1)
        channel.confirm_delivery()
        channel.queue_declare(name, durable=True)
        for i in range(self.COUNT):
            channel.basic_publish("", name, self.numbered(i))
            if i % 10 == 9:
                self.drain(name, 2, {})
        self.drain(name, 2, {})

        def sizes():
            out = []
            for n in (1, 2, 3):
                size = 0
                for folder, _, files in os.walk(self.cluster.data(n)):
                    for f in files:
                        try:
                            size += os.stat(os.path.join(folder, f)).st_size
                        except FileNotFoundError:
                            pass
                out.append(size >> 20)
            return out
        self.last_sizes = None

        def small():
            self.last_sizes = sizes()
            return max(self.last_sizes) < 40 and self.last_sizes
        try:
            wait_for(small, "less than 40 MiB a node, of 48 that passed", 10)
        except AssertionError:
            self.fail(f"MiB on disk, node by node: {self.last_sizes}")
