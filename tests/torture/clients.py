"""The clients of a torture run: one process with several workers, each on
connections of its own, from one node to the next when theirs fails.

  clients.py SPECIFICATION EVENTS_FOLDER

The specification is JSON: {"nodes": [addresses], "port", "seed", "queues":
{number: name}, "workers": [{"kind", "name", ...}]}. Words on standard input:
`hold` and no consumer settles anything until `go`; `quiet` ends publishing;
`stop`, or the input's end, ends all. What each worker does and sees goes to
its file (events.py)."""
import json
import os
import random
import sys
import threading
import time

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

import events

BROKEN = (pika.exceptions.AMQPError, AMQPConnectorStackTimeout, OSError)
HEARTBEAT_S = 4
# I13: a request that is neither answered nor ended by its connection's end.
ANSWER_S = 60
WINDOW = 200


def quiet_close(connection):
    try:
        connection.close()
    except Exception:  # It is broken already, or its node is.
        pass


class Worker(threading.Thread):
    """Does work(connection) on one node after another until told to stop."""

    def __init__(self, run, spec):
        super().__init__(daemon=True, name=spec["name"])
        self.run_spec = run
        self.spec = spec
        self.random = random.Random(f"{run['seed']}/{spec['name']}")
        self.record = events.Recorder(run["folder"], spec["name"])
        self.nodes = list(range(len(run["nodes"])))
        self.random.shuffle(self.nodes)
        if "node" in spec:
            self.nodes = [spec["node"]]
        self.stopping = threading.Event()
        self.quiet = threading.Event()
        self.holding = threading.Event()
        self.since = None  # The start of what is waited for, and its name.
        self.connection = None
        self.node = None

    def connect(self, node):
        # A connection is tried but for so long: this limit is the client's.
        return pika.BlockingConnection(pika.ConnectionParameters(
            self.run_spec["nodes"][node], self.run_spec["port"],
            heartbeat=HEARTBEAT_S, socket_timeout=2, stack_timeout=5,
            blocked_connection_timeout=300))

    def call(self, what, function, *arguments, **named):
        """FUNCTION(...), watched: it must end within ANSWER_S."""
        self.since = (time.monotonic(), what)
        try:
            return function(*arguments, **named)
        finally:
            self.since = None

    def ended(self):
        return self.stopping.is_set()

    def run(self):
        attempt = 0
        while not self.ended():
            self.node = self.nodes[attempt % len(self.nodes)]
            attempt += 1
            try:
                self.connection = self.connect(self.node)
            except BROKEN:
                time.sleep(0.1)
                continue
            self.record.add(events.CONNECTED, tag=self.node)
            try:
                self.work(self.connection)
            except BROKEN as error:
                self.failed(error)
                time.sleep(0.05)
            except Exception as error:
                # The traceback goes to the log of this process.
                self.record.finding("test", f"worker: {error!r}")
                raise
            finally:
                self.record.add(events.CLOSED, tag=self.node)
                quiet_close(self.connection)
                self.connection = None
            self.away()
        self.record.close()

    def away(self):
        """Between two connections."""

    def failed(self, error):
        """What a worker has to say to the end of its connection."""

    def vanish(self):
        """As a client does whose machine dies: not a word."""
        self.connection._impl._transport.abort()


class Publisher(Worker):
    """Publishes with confirms to an exchange, "" with a queue's name, or a
    fanout exchange; never the same message twice."""

    def __init__(self, run, spec):
        super().__init__(run, spec)
        self.epoch = 0
        self.number = 0

    def ended(self):
        return self.stopping.is_set() or self.quiet.is_set()

    def size(self):
        dice = self.random.random()
        if dice < 0.6:
            return self.random.randrange(512)
        if dice < 0.95:
            return self.random.randrange(512, 8192)
        return self.random.randrange(8192, self.spec["size_max"])

    def work(self, connection):
        self.epoch += 1
        channel = self.call("channel", connection.channel)
        unconfirmed = {}
        state = {"tag": 0, "oldest": 1}

        def confirm(frame):
            method = frame.method
            last = method.delivery_tag
            first = state["oldest"] if method.multiple else last
            kind = events.CONFIRMED if isinstance(
                method, pika.spec.Basic.Ack) else events.REFUSED
            for tag in range(first, last + 1):
                message = unconfirmed.pop(tag, None)
                if message is not None:
                    self.record.add(kind, message=message)
            while state["oldest"] <= state["tag"] and \
                    state["oldest"] not in unconfirmed:
                state["oldest"] += 1

        # The channel beneath BlockingChannel takes confirms one by one.
        impl = channel._impl
        impl.confirm_delivery(ack_nack_callback=confirm)
        exchange, key, number = self.spec["to"]
        due = time.monotonic()
        while not self.ended():
            now = time.monotonic()
            due = max(due, now - 0.5)
            while due <= now and len(unconfirmed) < WINDOW:
                due += self.random.expovariate(self.spec["rate"])
                self.number += 1
                state["tag"] += 1
                message = (self.spec["id"], self.epoch, self.number)
                unconfirmed[state["tag"]] = message
                body = events.make_body(message, number, self.size())
                self.record.add(events.PUBLISHED, message=message)
                impl.basic_publish(exchange, key, body,
                                   pika.BasicProperties(delivery_mode=2))
            connection.process_data_events(0.02)
        end = time.monotonic() + ANSWER_S
        while unconfirmed and time.monotonic() < end:
            connection.process_data_events(0.1)


class Consumer(Worker):
    """Acknowledges most, one by one or several; returns some; holds some for
    a time; vanishes now and then."""

    leaves = False  # of its own will

    def work(self, connection):
        self.leaves = False
        channel = self.call("channel", connection.channel)
        prefetch = self.random.choice(self.spec["prefetch"])
        self.call("qos", channel.basic_qos, prefetch_count=prefetch)
        held = {}  # delivery tag: message
        queue = self.spec["queue"]
        name = self.run_spec["queues"][str(queue)]

        def deliver(_channel, method, properties, body):
            self.delivered(queue, method, properties, body, held)
            if len(held) > prefetch:
                self.record.finding(
                    "I5", f"{len(held)} held of '{name}', prefetch {prefetch}")

        self.call("consume", channel.basic_consume, name, deliver)
        self.record.add(events.CONSUMING, queue=queue)
        ends = time.monotonic() + self.random.expovariate(
            1 / self.spec["lives_s"])
        while not self.stopping.is_set():
            self.call("events", connection.process_data_events, 0.05)
            if self.holding.is_set() or \
                    self.random.random() < self.spec["patience"]:
                continue
            self.settle(channel, held, queue)
            if time.monotonic() > ends:
                if self.random.random() < 0.5:
                    self.vanish()
                else:
                    quiet_close(connection)
                self.leaves = True
                return

    def away(self):
        """Leave the queue to others, or to itself. Its connection has ended,
        and that is recorded: what it sent last may not have arrived."""
        if self.leaves and self.spec["away_s"] > 0 and \
                not self.quiet.is_set():
            self.quiet.wait(self.random.uniform(0, self.spec["away_s"]))

    def delivered(self, queue, method, properties, body, held):
        parsed = events.parse_body(body)
        if parsed is None:
            self.record.finding("I2", f"a body that nobody published: "
                                f"{body[:40]!r}, {len(body)} bytes")
            return
        message, exchange = parsed
        if exchange not in self.spec["from"]:
            self.record.finding("I2", f"{message} was published to exchange "
                                f"{exchange}, not for this queue")
        count = (properties.headers or {}).get("x-delivery-count", 0)
        self.record.add(events.DELIVERED,
                        int(method.redelivered) | min(count, 100) << 1,
                        queue, message, method.delivery_tag)
        held[method.delivery_tag] = message

    def settle(self, channel, held, queue):
        tags = sorted(held)
        if not tags:
            return
        multiple = self.random.random() < 0.3
        kind = events.ACKED
        settled = tags
        if multiple:
            last = self.random.choice(tags)
            settled = [tag for tag in tags if tag <= last]
        elif self.random.random() < self.spec["returns"]:
            settled = [self.random.choice(tags)]
            kind = events.RETURNED
        # Recorded first: another may have what is returned before this one
        # goes on.
        for tag in settled:
            self.record.add(kind, queue=queue, message=held.pop(tag), tag=tag)
        if kind == events.RETURNED:
            channel.basic_nack(settled[0], requeue=True)
        elif multiple:
            channel.basic_ack(settled[-1], multiple=True)
        else:
            for tag in settled:
                channel.basic_ack(tag)


class Getter(Consumer):
    """Takes with basic.get."""

    def work(self, connection):
        channel = self.call("channel", connection.channel)
        queue = self.spec["queue"]
        name = self.run_spec["queues"][str(queue)]
        held = {}
        while not self.stopping.is_set():
            if self.holding.is_set():
                self.call("events", connection.process_data_events, 0.1)
                continue
            method, properties, body = self.call(
                "get", channel.basic_get, name)
            if method is not None:
                self.delivered(queue, method, properties, body, held)
            if method is None or len(held) > 5:
                self.settle(channel, held, queue)
                self.call("events", connection.process_data_events,
                          self.spec["pause_s"])


def watch(workers):
    """Find requests that nobody answers, and end their connections."""
    for worker in workers:
        since = worker.since
        if since is None or time.monotonic() - since[0] < ANSWER_S:
            continue
        worker.record.finding("I13", f"{since[1]} at node {worker.node + 1}: "
                              f"no answer for {ANSWER_S} s")
        worker.since = None
        try:
            worker.vanish()
        except Exception:  # It has ended meanwhile.
            pass


def obey(worker, word):
    if word == "quiet":
        worker.quiet.set()
    elif word == "hold":
        worker.holding.set()
    elif word == "go":
        worker.holding.clear()


def make(run, spec):
    from churn import Churn  # It needs Worker.
    kinds = {"publisher": Publisher, "consumer": Consumer, "getter": Getter,
             "churn": Churn}
    return kinds[spec["kind"]](run, spec)


def main():
    with open(sys.argv[1]) as f:
        run = json.load(f)
    run["folder"] = sys.argv[2]
    workers = [make(run, spec) for spec in run["workers"]]
    for worker in workers:
        worker.start()
    words = []

    def listen():
        for line in sys.stdin:
            words.append(line.strip())
        words.append("stop")
    threading.Thread(target=listen, daemon=True).start()
    while "stop" not in words:
        time.sleep(0.2)
        watch(workers)
        while words and words[0] != "stop":
            word = words.pop(0)
            for worker in workers:
                obey(worker, word)
    for worker in workers:
        worker.stopping.set()
    end = time.monotonic() + 30
    for worker in workers:
        worker.join(max(0.1, end - time.monotonic()))
    for worker in workers:
        if worker.is_alive():
            worker.record.finding("I13", f"{worker.name} has not ended, at: "
                                  f"{worker.since}")
            worker.record.file.flush()
    # Threads that hang keep no process from ending.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.modules["clients"] = sys.modules["__main__"]
    main()
