"""Queues that come and go: exclusive, auto-delete, transient, and durable ones
that are deleted and declared again under the same name at other nodes."""
import time

import pika

from clients import BROKEN, Worker, quiet_close

ACCESS_REFUSED = 403
NOT_FOUND = 404
# What a broker may say while it has no majority.
EXCUSES = (541, 506, 320)
# After this no call that was given up has effect any more.
GRAVE_S = 90


class Unknown(Exception):
    """A call failed for its connection: nobody knows whether it had effect."""


def reason(error):
    if isinstance(error, pika.exceptions.ConnectionClosedByBroker):
        return f"{error.reply_code} {error.reply_text[:60]}"
    return type(error).__name__


class Churn(Worker):
    """One worker owns its queues' names, so that it knows what must hold."""

    def __init__(self, run, spec):
        super().__init__(run, spec)
        self.others = {}      # node: connection
        self.generations = {}
        self.used = None      # What this round's names are made of.
        self.graves = []      # (when, name) of queues nobody will look at
        self.round = 0
        self.began = 0.0
        self.answers = []
        self.calls = 0
        self.trouble = {}

    def work(self, connection):
        # Its calls use a connection per node, all of them its own.
        quiet_close(connection)
        while not self.ended() and not self.quiet.is_set():
            self.round += 1
            self.used = None
            self.began = time.monotonic()
            act = self.random.choice((self.durable, self.durable,
                                      self.exclusive, self.auto_delete,
                                      self.alone, self.bindings))
            try:
                self.bury()
                act()
            except Unknown:
                self.taint()
                time.sleep(0.3)
            for _ in range(5):
                time.sleep(self.spec["pause_s"] / 5)
        for node in list(self.others):
            self.drop(node)
        self.record.finding("info", f"{self.round} rounds, {self.calls} "
                            f"calls, trouble: {self.trouble}")
        self.stopping.wait()

    # Names

    def own(self, what):
        """A name that only this worker uses, and none of whose calls may
        still have effect."""
        self.used = what
        return f"{self.name}-{what}.{self.generations.get(what, 0)}"

    def taint(self):
        """A call whose outcome is not known may have its effect later, so
        its name is not used again."""
        if self.used is not None:
            self.graves.append((time.monotonic() + GRAVE_S,
                                self.own(self.used)))
            self.generations[self.used] = \
                self.generations.get(self.used, 0) + 1

    def bury(self):
        """Delete what was given up a while ago."""
        while self.graves and self.graves[0][0] < time.monotonic():
            name = self.graves[0][1]
            self.at(self.some_node(), "queue_delete", name)
            self.at(self.some_node(), "exchange_delete", name + "-exchange")
            self.graves.pop(0)

    def soft(self, contract, text):
        """Found, and wrong unless there was a fault in this round."""
        self.record.finding(f"{contract}@{self.began:.3f}", text)

    # Calls

    def drop(self, node):
        connection = self.others.pop(node, None)
        if connection is not None:
            quiet_close(connection)

    def channel(self, node):
        connection = self.others.get(node)
        if connection is None or not connection.is_open:
            connection = self.connect(node)
            self.others[node] = connection
        self.connection = connection
        self.node = node
        return self.call("channel", connection.channel)

    def at(self, node, what, *arguments, **named):
        """Call the channel's method WHAT at NODE; the answer, or the number
        that the broker closes the channel with. Unknown when it is not
        known what became of it."""
        self.calls += 1
        try:
            channel = self.channel(node)
            answer = self.call(f"{what}{arguments}", getattr(channel, what),
                               *arguments, **named)
            self.call("close", channel.close)
            return answer
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code in EXCUSES:
                self.count(error.reply_text[:60])
                raise Unknown from error
            return error.reply_code
        except BROKEN as error:
            self.count(reason(error))
            self.drop(node)
            raise Unknown from error

    def count(self, what):
        self.trouble[what] = self.trouble.get(what, 0) + 1

    def some_node(self):
        return self.random.choice(self.nodes)

    def publish(self, node, queue, count):
        """Bodies that were confirmed, all."""
        bodies = [f"{queue}/{self.round}/{i}".encode() for i in range(count)]
        try:
            channel = self.channel(node)
            self.call("confirm.select", channel.confirm_delivery)
            for body in bodies:
                self.call("publish", channel.basic_publish, "", queue, body,
                          mandatory=True)
            self.call("close", channel.close)
        except pika.exceptions.UnroutableError:
            self.soft("I6", f"'{queue}' exists, and node {node + 1} does not "
                      "route to it")
            raise Unknown from None
        except pika.exceptions.NackError as error:
            self.count("nack")
            raise Unknown from error
        except BROKEN as error:
            self.count(reason(error))
            self.drop(node)
            raise Unknown from error
        return bodies

    def take(self, node, queue, count):
        """COUNT bodies, as far as they come within a few seconds."""
        bodies = []
        self.answers = []
        end = time.monotonic() + 5
        while len(bodies) < count and time.monotonic() < end:
            since = time.monotonic()
            answer = self.at(node, "basic_get", queue, auto_ack=True)
            body = answer[2] if isinstance(answer, tuple) else answer
            if not self.answers or body != self.answers[-1][0]:
                self.answers.append((body, round(time.monotonic() - since, 3)))
            if not isinstance(answer, tuple):
                break
            if body is None:
                time.sleep(0.05)
            else:
                bodies.append(body)
        return bodies

    def compare(self, name, node, got, bodies, count):
        """COUNT of BODIES were wanted, of a queue that had no others."""
        place = f"'{name}' at node {node + 1}: {self.answers} of {bodies}"
        if any(body not in bodies for body in got):
            self.record.finding("I2", f"not of this queue's: {place}")
        elif got != [body for body in bodies if body in got]:
            # What was taken for lost with its connection comes again.
            self.soft("I3", f"out of order: {place}")
        elif got != bodies[:count]:
            self.soft("I1", f"not within 5 s: {place}; then "
                      f"{self.take(node, name, len(bodies))}")

    def expect(self, contract, node, what, *arguments, code=None, **named):
        """The call ends well, or with CODE."""
        answer = self.at(node, what, *arguments, **named)
        got = answer if isinstance(answer, int) else None
        if got != code:
            self.record.finding(
                contract, f"{what}{arguments}{named} at node {node + 1}: "
                f"{got or 'ok'}, not {code or 'ok'} (round {self.round})")
            raise Unknown
        return answer

    # Rounds

    def durable(self):
        """Deleted and declared again, here and there, empty each time."""
        name = self.own(self.random.randrange(3))
        durable = self.random.random() < 0.7
        self.expect("I6", self.some_node(), "queue_delete", name)
        node = self.some_node()
        answer = self.expect("I6", node, "queue_declare", name,
                             durable=durable)
        if answer.method.message_count != 0:
            self.record.finding("I9", f"'{name}' is new and has "
                                f"{answer.method.message_count} messages")
        other = self.some_node()
        self.expect("I6", other, "queue_declare", name, passive=True)
        bodies = self.publish(self.some_node(), name, 3)
        other = self.some_node()
        self.compare(name, other, self.take(other, name, 2), bodies, 2)
        if self.random.random() < 0.5:
            self.expect("I6", self.some_node(), "queue_delete", name)
            self.expect("I6", self.some_node(), "queue_declare", name,
                        passive=True, code=NOT_FOUND)

    def exclusive(self):
        """Nobody else's, and gone with its connection."""
        node = self.some_node()
        answer = self.expect("I6", node, "queue_declare", "", exclusive=True)
        name = answer.method.queue
        connection = self.others[node]
        bodies = self.publish(node, name, 5)
        got = self.take(node, name, 5)
        if self.others.get(node) is not connection:
            raise Unknown  # The queue has gone with its connection.
        self.compare(name, node, got, bodies, 5)
        self.drop(node)
        self.gone(name)

    def auto_delete(self):
        name = f"{self.name}-auto-{self.round}"  # used once
        node = self.some_node()
        self.expect("I6", node, "queue_declare", name, auto_delete=True)
        try:
            channel = self.channel(node)
            tag = self.call("consume", channel.basic_consume, name,
                            lambda *_: None)
            self.call("cancel", channel.basic_cancel, tag)
        except BROKEN as error:
            self.count(reason(error))
            self.drop(node)
            raise Unknown from error
        self.gone(name)

    def alone(self):
        """An exclusive consumer has the queue for itself while it is there,
        and no longer."""
        name = self.own("alone")
        node, other = self.random.sample(self.nodes, 2)
        self.expect("I6", node, "queue_declare", name, durable=True)
        try:
            channel = self.channel(node)
            self.call("consume", channel.basic_consume, name,
                      lambda *_: None, exclusive=True)
        except BROKEN as error:
            self.count(reason(error))
            self.drop(node)
            raise Unknown from error
        answer = self.at(other, "basic_consume", name, lambda *_: None)
        if answer != ACCESS_REFUSED:
            self.soft("I5", f"'{name}' has an exclusive consumer at node "
                      f"{node + 1}, and another at node {other + 1}")
        self.drop(node)
        end = time.monotonic() + 10
        while self.at(other, "basic_consume", name,
                      lambda *_: None) == ACCESS_REFUSED:
            if time.monotonic() > end:
                self.soft("I5", f"'{name}' is refused at node {other + 1} "
                          "10 s after its exclusive consumer's end")
                return
            time.sleep(0.2)

    def gone(self, name):
        """It is not there any more, soon."""
        end = time.monotonic() + 10
        other = self.some_node()
        while True:
            answer = self.at(other, "queue_declare", name, passive=True)
            if isinstance(answer, int) and answer == NOT_FOUND:
                return
            if time.monotonic() > end:
                self.soft("I6", f"'{name}' is there 10 s after its end, at "
                          f"node {other + 1}")
                return
            time.sleep(0.2)

    def bindings(self):
        """What a bind-ok promised is routed by at every node."""
        name = self.own("bound")
        exchange = name + "-exchange"
        self.expect("I6", self.some_node(), "exchange_declare", exchange,
                    exchange_type="topic", durable=True)
        self.expect("I6", self.some_node(), "queue_declare", name,
                    durable=True)
        self.expect("I6", self.some_node(), "queue_purge", name)
        key = f"a.{self.round}.*"
        self.expect("I6", self.some_node(), "queue_bind", name, exchange, key)
        node = self.some_node()
        try:
            channel = self.channel(node)
            self.call("confirm.select", channel.confirm_delivery)
            self.call("publish", channel.basic_publish, exchange,
                      f"a.{self.round}.b", b"x", mandatory=True)
            self.call("close", channel.close)
        except pika.exceptions.UnroutableError:
            self.soft("I6", f"bound, and node {node + 1} does not route by "
                      f"'{key}'")
        except pika.exceptions.NackError as error:
            self.count("nack")
            raise Unknown from error
        except BROKEN as error:
            self.count(reason(error))
            self.drop(node)
            raise Unknown from error
        self.expect("I6", self.some_node(), "queue_unbind", name, exchange,
                    key)
