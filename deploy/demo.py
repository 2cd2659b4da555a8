#!/usr/bin/env python3
"""Quorate's job, shown with an ordinary client (pika).

Publishes persistent messages with confirms to a durable queue through n2,
consumes them with acknowledgements through n3, and kills the queue's leader
with SIGKILL in the middle. At the end every confirmed message must have been
delivered: exit code 0, or 1 with the numbers that are missing.

QUORATE_BIN, QUORATE_CONF and QUORATE_DATA are deploy/cluster.sh's;
QUORATE_PORTS are the AMQP ports of n1, n2 and n3 (5672,5673,5674).
"""
import json
import os
import subprocess
import sys
import threading
import time

import pika

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.environ.get("QUORATE_DATA", os.path.join(HERE, "quorate-data"))
PORTS = dict(zip(("n1", "n2", "n3"), map(int, os.environ.get(
    "QUORATE_PORTS", "5672,5673,5674").split(","))))
COUNT = 10000
WINDOW = 256
QUEUE = "quickstart"
DEADLINE_S = 120


def ctl(node, *words):
    """Output of quoratectl as JSON, asked of a node that runs."""
    binary = os.environ.get("QUORATE_BIN",
                            os.path.join(HERE, "build/release/src"))
    socket = os.path.join(DATA, node, "ctl.sock")
    command = [os.path.join(binary, "quoratectl"), "--socket", socket,
               "--format", "json", *words]
    out = subprocess.run(command, capture_output=True, text=True, timeout=30,
                         check=False)
    if out.returncode != 0:
        raise RuntimeError(out.stderr.strip() or out.stdout.strip())
    return json.loads(out.stdout)


def leader(node):
    for row in ctl(node, "list_queues", "name", "leader"):
        if row["name"] == QUEUE:
            return row["leader"]
    return None


def cluster(*words):
    subprocess.run([os.path.join(HERE, "deploy/cluster.sh"), *words],
                   check=True, timeout=60)


def parameters(node):
    return pika.ConnectionParameters("127.0.0.1", PORTS[node],
                                     heartbeat=30,
                                     blocked_connection_timeout=30)


class Publisher(threading.Thread):
    """Keeps WINDOW messages unconfirmed; goes on through another node when
    its own dies, and publishes what was not confirmed again."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.nodes = [node] + [n for n in PORTS if n != node]
        self.confirmed = set()
        self.next = 0
        self.again = []
        self.tags = {}
        self.last = None
        self.stall = 0.0
        self.stall_at = 0
        self.killing = False  # from then on gaps count
        self.half = threading.Event()
        self.done = threading.Event()

    def run(self):
        attempt = 0
        while not self.done.is_set():
            node = self.nodes[attempt % len(self.nodes)]
            attempt += 1
            try:
                self.connect(node)
            except pika.exceptions.AMQPError:
                pass
            self.again = sorted(set(self.again) | set(self.tags.values()))
            self.tags = {}
            time.sleep(0.05)

    def connect(self, node):
        connection = pika.SelectConnection(
            parameters(node),
            on_open_callback=lambda c: c.channel(on_open_callback=self.opened))
        connection.add_on_close_callback(lambda c, _why: c.ioloop.stop())
        connection.add_on_open_error_callback(lambda c, _why: c.ioloop.stop())
        self.connection = connection
        connection.ioloop.start()

    def opened(self, channel):
        self.channel = channel
        self.tag = 0
        channel.confirm_delivery(self.on_confirm)
        self.fill()

    def fill(self):
        while len(self.tags) < WINDOW and (self.again or self.next < COUNT):
            if self.again:
                number = self.again.pop(0)
            else:
                number = self.next
                self.next += 1
            self.tag += 1
            self.tags[self.tag] = number
            self.channel.basic_publish(
                "", QUEUE, b"%d" % number,
                pika.BasicProperties(delivery_mode=2))
        if not self.tags:
            self.done.set()
            self.connection.close()

    def on_confirm(self, frame):
        now = time.monotonic()
        if self.killing and now - self.last > self.stall:
            self.stall = now - self.last
            self.stall_at = len(self.confirmed)
        self.last = now
        method = frame.method
        if method.multiple:
            tags = [t for t in self.tags if t <= method.delivery_tag]
        else:
            tags = [method.delivery_tag]
        for tag in tags:
            number = self.tags.pop(tag)
            if isinstance(method, pika.spec.Basic.Ack):
                self.confirmed.add(number)
            else:
                self.again.append(number)
        if len(self.confirmed) >= COUNT // 2:
            self.half.set()
        self.fill()


class Consumer(threading.Thread):
    """Consumes and acknowledges until told to stop."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.nodes = [node] + [n for n in PORTS if n != node]
        self.seen = {}
        self.stopping = threading.Event()

    def run(self):
        attempt = 0
        while not self.stopping.is_set():
            node = self.nodes[attempt % len(self.nodes)]
            attempt += 1
            try:
                self.consume(node)
            except pika.exceptions.AMQPError:
                time.sleep(0.05)

    def consume(self, node):
        connection = pika.BlockingConnection(parameters(node))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=200)
        for method, _properties, body in channel.consume(
                QUEUE, inactivity_timeout=0.2):
            if method is not None:
                number = int(body)
                self.seen[number] = self.seen.get(number, 0) + 1
                channel.basic_ack(method.delivery_tag)
            elif self.stopping.is_set():
                break
        connection.close()


def main():
    with pika.BlockingConnection(parameters("n1")) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_purge(QUEUE)
    before = leader("n2")
    print(f"queue '{QUEUE}' is led by {before}; publishing {COUNT} messages "
          "through n2, consuming through n3")
    consumer = Consumer("n3")
    publisher = Publisher("n2")
    start = time.monotonic()
    consumer.start()
    publisher.start()
    if not publisher.half.wait(DEADLINE_S):
        sys.exit("demo: nothing is confirmed; see quorate-data/*.log")
    publisher.killing = True
    cluster("kill", before[1:])
    print(f"killed {before} with SIGKILL after "
          f"{len(publisher.confirmed)} confirms")
    if not publisher.done.wait(DEADLINE_S):
        sys.exit(f"demo: only {len(publisher.confirmed)} of {COUNT} confirmed")
    took = time.monotonic() - start
    end = time.monotonic() + DEADLINE_S
    while (publisher.confirmed - set(consumer.seen)
           and time.monotonic() < end):
        time.sleep(0.05)
    consumer.stopping.set()
    consumer.join(10)
    survivor = "n2" if before != "n2" else "n3"
    after = leader(survivor)
    missing = sorted(publisher.confirmed - set(consumer.seen))
    twice = sum(1 for n in consumer.seen.values() if n > 1)
    print(f"led by {before} before and by {after} after")
    print(f"publishing stalled for {publisher.stall * 1000:.0f} ms "
          f"(longest gap between confirms since, after {publisher.stall_at} of "
          "them)")
    print(f"{len(publisher.confirmed)} messages confirmed in {took:.1f} s, "
          f"{len(publisher.confirmed) - len(missing)} of them delivered, "
          f"{twice} more than once")
    cluster("start", before[1:])
    print(f"{before} is back")
    if missing:
        sys.exit(f"LOST: {missing[:20]}")


if __name__ == "__main__":
    main()
