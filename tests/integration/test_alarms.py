"""Memory and disk alarms: publishers are blocked and told so, consumers go on,
and operators see why."""
import time

import pika

from cluster import ClusterTest, wait_for


class AlarmTest(ClusterTest):
    """A node above its memory limit; nodes without disk."""

    STARTED = False

    def setUp(self):
        self.cluster.start()
        self.addCleanup(self.stop)

    def stop(self):
        for n in self.cluster.numbers:
            self.cluster.stop(n)
            self.cluster.write_config(n)

    def restart(self, n, **changes):
        """Node N with other settings."""
        self.cluster.stop(n)
        self.cluster.write_config(n, **changes)
        self.cluster.start(n)

    def blocked(self, n):
        out = self.cluster.run_ctl(n, "status")
        self.assertEqual(0, out.returncode, out.stderr)
        for line in out.stdout.splitlines():
            words = line.split(None, 1)
            if words[0] == "publishers_blocked":
                return words[1]
        return None

    def alarms(self, n):
        out = self.cluster.run_ctl(n, "alarms", "--silent").stdout
        return [line.split() for line in out.splitlines()]

    def test_memory(self):
        """One node's memory blocks publishers of another node."""
        told = []
        publisher = self.cluster.connect(1, blocked_connection_timeout=None)
        publisher.add_on_connection_blocked_callback(
            lambda _, frame: told.append(frame.method.reason))
        publisher.add_on_connection_unblocked_callback(
            lambda _, frame: told.append("unblocked"))
        out = publisher.channel()
        out.queue_declare("work", durable=True)
        for i in range(10):
            out.basic_publish("", "work", b"%d" % i)
        self.restart(3, vm_memory_high_watermark__absolute="1MiB")
        wait_for(lambda: self.blocked(1) == "low on memory (n3)",
                 "node 1 knows")
        publisher.process_data_events(0.2)
        self.assertEqual(["low on memory (n3)"], told)
        # Not read from now on; what it sends waits.
        out.basic_publish("", "work", b"10")
        consumer = self.cluster.connect(1).channel()
        seen = []
        for _ in range(10):
            seen.append(self.get(consumer, "work")[2])
        self.assertEqual([b"%d" % i for i in range(10)], seen)
        time.sleep(0.3)
        self.assertEqual(0, consumer.queue_declare(
            "work", passive=True).method.message_count)
        self.assertEqual([["n3", "memory"]], self.alarms(2))
        self.assertEqual(69, self.cluster.run_ctl(2, "check_alarms").returncode)
        states = self.cluster.run_ctl(2, "list_connections", "state").stdout
        self.assertIn("blocked", states)
        # A connection that comes now is blocked when it publishes.
        late = self.cluster.connect(2)
        late_told = []
        late.add_on_connection_blocked_callback(
            lambda _, frame: late_told.append(frame.method.reason))
        late.channel().basic_publish("", "work", b"11")
        wait_for(lambda: late.process_data_events(0.05) or late_told,
                 "the late one is told")
        self.restart(3)
        wait_for(lambda: self.blocked(1) == "no", "the alarm ends")
        wait_for(lambda: publisher.process_data_events(0.05) or
                 told[-1] == "unblocked", "the publisher is told")
        self.assertEqual(0, self.cluster.run_ctl(2, "check_alarms").returncode)
        got = {self.get(consumer, "work")[2] for _ in range(2)}
        self.assertEqual({b"10", b"11"}, got)

    def test_disk(self):
        """One node without disk blocks nobody, two of three do."""
        self.restart(1, disk_free_limit__absolute="1000TiB")
        channel = self.cluster.connect(1).channel()
        channel.queue_declare("disk", durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", "disk", b"x",
                              pika.BasicProperties(delivery_mode=2))
        self.assertEqual([["n1", "disk"]], self.alarms(2))
        self.assertEqual("no", self.blocked(2))
        self.restart(2, disk_free_limit__absolute="1000TiB")
        wait_for(lambda: self.blocked(3) == "low on disk (n1, n2)",
                 "publishers are blocked")
        # One that publishes is not read; others are.
        consumer = self.cluster.connect(3).channel()
        self.assertEqual(b"x", self.get(consumer, "disk")[2])
        self.restart(2)
        wait_for(lambda: self.blocked(3) == "no", "publishers go on")
        self.restart(1)
