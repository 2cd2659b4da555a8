"""Judges what the clients saw against the contracts of docs/testing.md.

A fault excuses what it must: while one lasts, and until the cluster is whole
again, calls may fail and a consumer may be taken for dead. Nothing excuses a
lost message, an invented one, wrong order, or a second delivery that is not
marked. `calm` is when no fault is on and the cluster is whole."""
import bisect
import collections

import events

# An acknowledgement on a connection that lives through so much calm is
# committed; so is the end of a connection that the client has seen.
SETTLED_S = 3.0
# I13, for confirms: so much calm, and still no answer.
CONFIRM_CALM_S = 20.0
CONTRACTS = {
    "I1": "confirmed messages are delivered",
    "I2": "nothing is invented, nothing comes after its acknowledgement",
    "I3": "order of each publishing channel",
    "I4": "one consumer at most; redelivered is marked",
    "I5": "prefetch; an exclusive consumer is alone",
    "I6": "metadata: what declare-ok promised is seen at every node",
    "I8": "a node without its memory comes back as a new one",
    "I9": "a deleted queue stays deleted",
    "I10": "a node with rot stays up and becomes whole",
    "I11": "whole again after each fault",
    "I12": "disk and memory at rest",
    "I13": "no client waits for ever",
    "up": "no node ends by itself",
    "test": "the test itself",
}


class Calm:
    """Intervals without faults."""

    def __init__(self, intervals):
        self.starts = [a for a, _ in intervals]
        self.ends = [b for _, b in intervals]

    def longest(self, start, end):
        """The longest part of [start, end] that is within one interval."""
        best = 0.0
        i = max(0, bisect.bisect_right(self.starts, start) - 1)
        while i < len(self.starts) and self.starts[i] < end:
            best = max(best, min(end, self.ends[i]) -
                       max(start, self.starts[i]))
            i += 1
        return best

    def within(self, start, end):
        """Whether [start, end] is calm throughout."""
        return self.longest(start, end) >= end - start - 1e-6


class Delivery:
    """Of one message of one queue to one worker's connection."""
    __slots__ = ("at", "worker", "life", "redelivered", "count", "settled",
                 "returned")

    def __init__(self, at, worker, life, flag):
        self.at = at
        self.worker = worker
        self.life = life
        self.redelivered = bool(flag & 1)
        self.count = flag >> 1
        self.settled = None
        self.returned = False


class Life:
    """Of one connection."""
    __slots__ = ("start", "end")

    def __init__(self, start):
        self.start = start
        self.end = float("inf")


class Verdict:
    """TARGETS: publisher: numbers of the queues that its messages go to.
    MEASURED: queues with a publisher at each node. IS_DRAINED: all queues
    were empty in the end."""

    def __init__(self, folder, targets, calm, measured, is_drained):
        self.records, findings = events.read(folder)
        self.targets = targets
        self.calm = calm
        self.is_drained = is_drained
        self.findings = []       # (contract, text)
        self.notes = []
        self.counts = collections.Counter()
        self.sent = {}           # message: (time, confirmed or None)
        self.confirms = {queue: [] for queue in measured}  # their times
        # (queue, message): [Delivery]
        self.deliveries = collections.defaultdict(list)
        self.heard(findings)
        self.publishers()
        self.consumers()
        self.judge()

    def found(self, contract, text):
        self.findings.append((contract, text))

    def some(self, contract, what, cases):
        """One finding for many cases of the same."""
        if cases:
            self.found(contract, f"{len(cases)} {what}: "
                       f"{', '.join(map(str, cases[:5]))}")

    # Reading

    def heard(self, findings):
        """What workers found themselves."""
        for worker, lines in findings.items():
            for line in lines:
                at, contract, text = line.split(" ", 2)
                contract, _, since = contract.partition("@")
                text = f"{at} {worker}: {text}"
                if contract == "info" or (since and not self.calm.within(
                        float(since), float(at))):
                    self.notes.append(f"{contract}: {text}")
                else:
                    self.found(contract, text)

    def publishers(self):
        waits = []
        for worker, records in self.records.items():
            open_ = {}
            for at, kind, _, _, *message, _ in records:
                message = tuple(message)
                if kind == events.PUBLISHED:
                    self.sent[message] = (at, None)
                    open_[message] = at
                    self.counts["published"] += 1
                elif kind == events.CONFIRMED:
                    self.sent[message] = (self.sent[message][0], at)
                    self.waited(waits, worker, open_.pop(message), at)
                    self.counts["confirmed"] += 1
                    for queue in self.targets[message[0]]:
                        if queue in self.confirms:
                            self.confirms[queue].append(at)
                elif kind == events.REFUSED:
                    open_.pop(message, None)
                    self.counts["refused"] += 1
                elif kind == events.CLOSED:
                    for since in open_.values():
                        self.waited(waits, worker, since, at)
                    open_ = {}
                    self.counts["connections"] += 1
        self.some("I13", f"confirms waited for through more than "
                  f"{CONFIRM_CALM_S:g} s of calm", waits)
        for times in self.confirms.values():
            times.sort()

    def waited(self, waits, worker, since, until):
        if until - since > CONFIRM_CALM_S and \
                self.calm.longest(since, until) > CONFIRM_CALM_S:
            waits.append(f"{worker} {until - since:.1f} s")

    def consumers(self):
        for worker, records in self.records.items():
            life = Life(0.0)
            held = {}
            for at, kind, flag, queue, *message, tag in records:
                message = tuple(message)
                if kind == events.CONNECTED:
                    life = Life(at)
                    held = {}
                elif kind == events.CLOSED:
                    life.end = at
                elif kind == events.DELIVERED:
                    d = Delivery(at, worker, life, flag)
                    held[tag] = d
                    self.deliveries[queue, message].append(d)
                    self.counts["delivered"] += 1
                    self.counts["redelivered"] += d.redelivered
                elif kind in (events.ACKED, events.RETURNED):
                    d = held.pop(tag)
                    d.settled = at
                    d.returned = kind == events.RETURNED
                    self.counts["returned" if d.returned else "acked"] += 1

    # Judging

    def judge(self):
        self.lost()
        self.invented()
        self.order()
        self.again()

    def lost(self):
        lost = collections.defaultdict(list)
        for message, (_, confirmed) in self.sent.items():
            if confirmed is None:
                continue
            for queue in self.targets[message[0]]:
                if (queue, message) not in self.deliveries:
                    lost[queue].append(f"{message} confirmed {confirmed:.3f}")
        for queue, cases in lost.items():
            self.counts["lost"] += len(cases)
            self.some("I1", f"confirmed messages of queue {queue} lost", cases)
        if self.is_drained:
            self.vanished()

    def vanished(self):
        """What was with a consumer that never acknowledged it is the queue's
        still, and an empty queue has none."""
        gone = []
        for (queue, message), those in self.deliveries.items():
            if all(d.settled is None or d.returned for d in those):
                last = max(those, key=lambda d: d.at)
                gone.append(f"{message} of queue {queue}, last with "
                            f"{last.worker} at {last.at:.3f}")
        self.counts["lost"] += len(gone)
        self.some("I1", "delivered, never acknowledged, and gone", gone)

    def invented(self):
        self.some("I2", "deliveries of what was never published", [
            f"{key}" for key in self.deliveries
            if key[1] not in self.sent or
            key[0] not in self.targets[key[1][0]]])

    def order(self):
        """Of first deliveries, within each connection that took them."""
        last = {}
        wrong = []
        first = []
        for (queue, message), those in self.deliveries.items():
            for d in those:
                if not d.redelivered:
                    first.append((d.at, queue, message, d.worker,
                                  id(d.life)))
        # Those of one connection were recorded in their order.
        first.sort(key=lambda f: f[0])
        for at, queue, message, worker, life in first:
            key = (life, queue, message[:2])
            if last.get(key, 0) > message[2]:
                wrong.append(f"{message} after {last[key]} in queue {queue} "
                             f"to {worker} at {at:.3f}")
            last[key] = message[2]
        self.some("I3", "out of order", wrong)

    def again(self):
        unmarked, after_ack, shared, miscounted = [], [], [], []
        for (queue, message), those in self.deliveries.items():
            those.sort(key=lambda d: d.at)
            # Workers' clocks are one, but a delivery is seen late: of those
            # not marked there is one, whichever was first.
            plain = [d for d in those if not d.redelivered]
            name = f"{message} of queue {queue}"
            if len(plain) > 1:
                unmarked.append(f"{name} to {plain[0].worker} and "
                                f"{plain[1].worker} at {plain[1].at:.3f}")
            for i, d in enumerate(those):
                for e in those[i + 1:]:
                    self.pair(name, d, e, after_ack, shared)
            if any(d.count > 0 and not d.redelivered for d in those):
                miscounted.append(name)
        self.some("I4", "came twice and not marked as redelivered", unmarked)
        self.some("I4", "had a delivery count and were not redelivered",
                  miscounted)
        self.some("I2", "came after their acknowledgement", after_ack)
        self.some("I4", "were with two consumers without a fault", shared)

    def pair(self, name, d, e, after_ack, shared):
        """D, and later E, of the same message."""
        if d.settled is not None and not d.returned:
            until = min(d.life.end, e.at)
            if self.calm.longest(d.settled, until) > SETTLED_S:
                after_ack.append(f"{name}, {d.worker} at {d.settled:.3f}, "
                                 f"then {e.worker} at {e.at:.3f}")
        held_until = min(d.life.end, d.settled or float("inf"))
        if e.at < held_until and self.calm.within(
                e.at - SETTLED_S, e.at + 0.001):
            shared.append(f"{name}, {d.worker} since {d.at:.3f}, and "
                          f"{e.worker} at {e.at:.3f}")

    # Figures

    def longest_gap(self, start, end):
        """(seconds, queue): the longest time in [start, end] in which nothing
        of a measured queue was confirmed, at any node."""
        worst = (0.0, None)
        for queue, times in self.confirms.items():
            i = bisect.bisect_left(times, start)
            j = bisect.bisect_right(times, end)
            points = [start] + times[i:j] + [end]
            gap = max(b - a for a, b in zip(points, points[1:]))
            worst = max(worst, (gap, queue))
        return worst
