"""A load on one queue, and the account of it: what was confirmed, what was
delivered, how often, and whether it was marked as redelivered.

Publishers keep a window of unconfirmed messages and publish what was not
confirmed again, as a new attempt; consumers acknowledge. Both go on through
another node when theirs fails. check() tells what must hold."""
import collections
import threading
import time

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from cluster import Timeout, wait_for

WINDOW = 100


def quiet_close(connection):
    try:
        connection.close()
    except Exception:  # It is broken already, or its node is.
        pass


class Worker(threading.Thread):
    """Does work(connection) on one node after another until told to stop."""

    def __init__(self, cluster, nodes):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.nodes = nodes
        self.stopping = threading.Event()
        self.reconnects = -1

    def run(self):
        attempt = 0
        while not self.stopping.is_set():
            node = self.nodes[attempt % len(self.nodes)]
            attempt += 1
            connection = None
            try:
                connection = self.cluster.connect(
                    node, heartbeat=4, socket_timeout=2, stack_timeout=4,
                    blocked_connection_timeout=20)
                self.reconnects += 1
                self.work(connection)
            except (pika.exceptions.AMQPError, OSError,
                    AMQPConnectorStackTimeout):
                time.sleep(0.05)
            finally:
                if connection is not None:
                    quiet_close(connection)


class Publisher(Worker):
    """Messages are "NAME.NUMBER.ATTEMPT"."""

    def __init__(self, cluster, queue, name, nodes, limit=None):
        super().__init__(cluster, nodes)
        self.queue = queue
        self.label = name
        self.limit = limit
        self.sent = set()        # (number, attempt)
        self.confirmed = set()   # (number, attempt)
        self.done = set()        # numbers
        self.next = 0
        self.attempts = collections.Counter()
        self.longest = 0.0
        self.last = None

    def work(self, connection):
        # The channel beneath BlockingChannel takes confirms one by one.
        channel = connection.channel()
        tags = {}
        state = {"tag": 0}

        def confirm(frame):
            method = frame.method
            which = [t for t in tags if t <= method.delivery_tag] \
                if method.multiple else [method.delivery_tag]
            now = time.monotonic()
            if self.last is not None:
                self.longest = max(self.longest, now - self.last)
            self.last = now
            for tag in which:
                number, attempt = tags.pop(tag)
                if isinstance(method, pika.spec.Basic.Ack):
                    self.confirmed.add((number, attempt))
                    self.done.add(number)
                else:
                    again.append(number)

        again = sorted(n for n in range(self.next) if n not in self.done)
        impl = channel._impl
        impl.confirm_delivery(ack_nack_callback=confirm)
        while not self.stopping.is_set():
            while len(tags) < WINDOW:
                if again:
                    number = again.pop(0)
                elif self.limit is None or self.next < self.limit:
                    number = self.next
                    self.next += 1
                else:
                    break
                self.attempts[number] += 1
                key = (number, self.attempts[number])
                state["tag"] += 1
                tags[state["tag"]] = key
                self.sent.add(key)
                impl.basic_publish(
                    "", self.queue,
                    b"%s.%d.%d" % (self.label.encode(), *key),
                    pika.BasicProperties(delivery_mode=2))
            connection.process_data_events(0.02)
            if not tags and self.limit is not None and not again:
                return


class Consumer(Worker):
    """Acknowledges all; remembers (body, redelivered) in order."""

    def __init__(self, cluster, queue, nodes, prefetch=50):
        super().__init__(cluster, nodes)
        self.queue = queue
        self.prefetch = prefetch
        self.deliveries = []

    def work(self, connection):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=self.prefetch)

        def deliver(ch, method, _properties, body):
            self.deliveries.append((body, method.redelivered))
            ch.basic_ack(method.delivery_tag)
        channel.basic_consume(self.queue, deliver)
        while not self.stopping.is_set():
            connection.process_data_events(0.05)


class Load:
    """Publishers and consumers on one durable queue."""

    def __init__(self, cluster, queue, publishers=2, consumers=2):
        self.cluster = cluster
        self.queue = queue
        nodes = list(cluster.numbers)

        def from_node(i):
            return nodes[i % len(nodes):] + nodes[:i % len(nodes)]
        self.publishers = [Publisher(cluster, queue, f"p{i}", from_node(i))
                           for i in range(publishers)]
        self.consumers = [Consumer(cluster, queue, from_node(i + 1))
                          for i in range(consumers)]

    def start(self):
        connection = self.cluster.connect(self.cluster.any())
        connection.channel().queue_declare(self.queue, durable=True)
        connection.close()
        for worker in self.publishers + self.consumers:
            worker.start()
        self.await_progress(100)

    def confirmed(self):
        return sum(len(p.confirmed) for p in self.publishers)

    def await_progress(self, count, deadline_s=30):
        """Wait until COUNT more are confirmed."""
        before = self.confirmed()
        wait_for(lambda: self.confirmed() >= before + count,
                 f"{count} more confirms", deadline_s)

    def stop_publishing(self):
        for p in self.publishers:
            p.stopping.set()
        for p in self.publishers:
            p.join(30)

    def finish(self, deadline_s=40):
        """Stop publishing, wait until all that was confirmed has come, and
        stop; returns the findings that must not be."""
        self.stop_publishing()
        want = {b"%s.%d.%d" % (p.label.encode(), *key)
                for p in self.publishers for key in p.confirmed}
        try:
            wait_for(lambda: want <= self.delivered(), "all confirmed came",
                     deadline_s, 0.1)
            wait_for(lambda: self.cluster.queue(self.queue, "messages")
                     ["messages"] == 0, "the queue is empty", deadline_s)
        except Timeout:
            pass
        for c in self.consumers:
            c.stopping.set()
        for c in self.consumers:
            c.join(30)
        return self.check(want)

    def delivered(self):
        return {body for c in self.consumers for body, _ in list(c.deliveries)}

    def check(self, want):
        findings = []
        sent = {b"%s.%d.%d" % (p.label.encode(), *key)
                for p in self.publishers for key in p.sent}
        counts = collections.Counter()
        plain = collections.Counter()  # deliveries not marked as redelivered
        for c in self.consumers:
            for body, redelivered in c.deliveries:
                counts[body] += 1
                plain[body] += not redelivered
        lost = sorted(want - set(counts))
        invented = sorted(set(counts) - sent)
        unmarked = sorted(b for b, n in plain.items() if n > 1)
        if lost:
            findings.append(f"{len(lost)} of {len(want)} confirmed messages "
                            f"are lost: {lost[:5]}")
        if invented:
            findings.append(f"{len(invented)} were never published: "
                            f"{invented[:5]}")
        if unmarked:
            findings.append(f"{len(unmarked)} came twice and not marked as "
                            f"redelivered: {unmarked[:5]}")
        alive = [w for w in self.publishers + self.consumers if w.is_alive()]
        if alive:
            findings.append(f"{len(alive)} workers hang")
        self.summary = (
            f"sent {len(sent)}, confirmed {len(want)}, delivered "
            f"{sum(counts.values())}, of them "
            f"{sum(n - 1 for n in counts.values())} again; longest gap between "
            f"confirms {max(p.longest for p in self.publishers):.2f} s")
        return findings
