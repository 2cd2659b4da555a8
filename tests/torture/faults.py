"""Faults: what is done to the hosts, for how long, and how it is undone.

Each kind is a class with begin(), which returns what it did in words, and
end(), which undoes it. What is `alone` is not mixed with others: a fault that
takes a node's memory comes to a whole cluster, by itself, and the next waits
until the cluster is whole again; so does one that waits for nodes to serve."""
import os
import shutil
import signal
import time

from hosts import CLIENTS

KINDS = {}


def kind(name, **traits):
    def add(cls):
        cls.name = name
        for key, value in traits.items():
            setattr(cls, key, value)
        KINDS[name] = cls
        return cls
    return add


class Fault:
    """Of one kind; CONTEXT has hosts, random, queues."""
    name = ""
    weight = 1.0
    alone = False       # not mixed with others
    nodes_min = 3
    needs_disks = False
    why_off = ""        # what the product lacks for it
    hold_s = (3.0, 9.0)

    def __init__(self, context):
        self.context = context
        self.hosts = context.hosts
        self.random = context.random
        self.everyone = list(self.hosts.numbers)
        self.minority = (len(self.everyone) - 1) // 2

    def begin(self):
        raise NotImplementedError

    def end(self):
        raise NotImplementedError

    def whole(self):
        """The cluster is whole again: what must be so now."""

    def hold(self):
        """While it lasts."""
        self.context.sleep(self.random.uniform(*self.hold_s))

    # What kinds share

    def one(self):
        """A node; every other time one that leads some queue."""
        if self.random.random() < 0.5:
            led = self.context.leader_of_some()
            if led is not None:
                return led
        return self.random.choice(self.everyone)

    def some(self, count):
        return sorted(self.random.sample(self.everyone, count))

    def names(self, numbers):
        return " ".join(f"n{n}" for n in numbers)

    def kill(self, *numbers):
        self.context.watch()
        self.hosts.kill(*[n for n in numbers if n in self.hosts.processes])

    def launch(self, *numbers):
        for n in numbers:
            if n not in self.hosts.processes:
                self.hosts.launch(n)


# Processes


@kind("kill-one", weight=2.0)
class KillOne(Fault):
    def begin(self):
        self.victims = [self.one()]
        self.kill(*self.victims)
        return self.names(self.victims)

    def end(self):
        self.launch(*self.victims)


@kind("kill-long", hold_s=(25.0, 45.0), weight=0.5)
class KillLong(KillOne):
    """Away so long that the others' logs are cut meanwhile."""


@kind("kill-minority", nodes_min=5)
class KillMinority(KillOne):
    def begin(self):
        self.victims = self.some(self.minority)
        self.kill(*self.victims)
        return self.names(self.victims)


@kind("kill-all", hold_s=(0.0, 3.0))
class KillAll(KillOne):
    def begin(self):
        self.victims = self.some(len(self.everyone))
        self.kill(*self.victims)
        self.random.shuffle(self.victims)
        return self.names(self.victims)

    def end(self):
        for n in self.victims:
            self.launch(n)
            self.context.sleep(self.random.choice((0, 0.2, 2.0)))


@kind("storm")
class Storm(Fault):
    """Nodes die and start at random, whole or not."""

    def begin(self):
        return "nodes die and start at random"

    def hold(self):
        end = time.monotonic() + self.random.uniform(8, 15)
        while time.monotonic() < end:
            n = self.random.choice(self.everyone)
            if n in self.hosts.processes:
                self.kill(n)
            else:
                self.launch(n)
            self.context.sleep(self.random.choice((0.05, 0.3, 1.0, 2.5)))

    def end(self):
        self.launch(*self.everyone)


@kind("stop-one")
class StopOne(KillOne):
    """In an orderly way."""

    def begin(self):
        self.victims = [self.one()]
        self.context.stop(self.victims[0])
        return self.names(self.victims)


@kind("rolling-restart", alone=True, weight=0.7)
class RollingRestart(Fault):
    """And a copy of each node's data is kept, for disk-old."""

    def begin(self):
        self.ids = {n: self.context.node_id(n) for n in self.everyone}
        return "one after the other"

    def hold(self):
        for n in self.everyone:
            self.context.stop(n)
            self.context.keep_copy(n, self.ids[n])
            self.launch(n)
            self.hosts.await_serving(n)

    def end(self):
        """All run."""


@kind("pause-one", hold_s=(5.0, 12.0))
class PauseOne(Fault):
    """SIGSTOP, for longer than an election."""

    def begin(self):
        self.victims = [self.one()]
        return self.pause()

    def pause(self):
        for n in self.victims:
            if n in self.hosts.processes:
                self.hosts.pause(n)
        return self.names(self.victims)

    def end(self):
        for n in self.victims:
            if n in self.hosts.processes:
                self.hosts.signal(n, signal.SIGCONT)


@kind("pause-majority", hold_s=(3.0, 8.0), weight=0.7)
class PauseMajority(PauseOne):
    def begin(self):
        self.victims = self.some(len(self.everyone) - self.minority)
        return self.pause()


# The network


class Cut(Fault):
    """Pairs of hosts' names that hear nothing of each other."""

    def pairs(self):
        raise NotImplementedError

    def begin(self):
        what, self.cut = self.pairs()
        self.hosts.wire.cut(self.cut)
        return what

    def end(self):
        self.hosts.wire.cut(self.cut, False)


def both(left, right):
    """All directed pairs between nodes of LEFT and of RIGHT."""
    return [pair for a in left for b in right
            for pair in ((name(a), name(b)), (name(b), name(a)))]


def name(host):
    return host if isinstance(host, str) else f"n{host}"


@kind("cut-one")
class CutOne(Cut):
    """One node is alone; now and then its clients are cut off, too."""

    def pairs(self):
        n = self.one()
        others = [i for i in self.everyone if i != n]
        text = f"n{n}"
        if self.random.random() < 0.5:
            others.append(CLIENTS)
            text += " and from its clients"
        return text, both([n], others)


@kind("cut-halves")
class CutHalves(Cut):
    """In two, with clients on both sides or one; on three nodes the same as
    one alone, on five two and three."""

    def pairs(self):
        left = self.some(self.minority)
        right = [n for n in self.everyone if n not in left]
        text = f"{self.names(left)} from {self.names(right)}"
        side = self.random.choice((None, left, right))
        cut = both(left, right)
        if side is not None:
            cut += both(side, [CLIENTS])
            text += f", clients from {self.names(side)}"
        return text, cut


@kind("cut-all", hold_s=(3.0, 8.0), weight=0.7)
class CutAll(Cut):
    """Nobody hears anybody; clients reach all."""

    def pairs(self):
        cut = []
        for n in self.everyone:
            cut += both([n], [i for i in self.everyone if i > n])
        return "every node from every other", cut


@kind("cut-one-way", hold_s=(4.0, 12.0))
class CutOneWay(Cut):
    """A node hears the others and is not heard, or the other way about."""

    def pairs(self):
        n = self.one()
        others = [i for i in self.everyone if i != n]
        if self.random.random() < 0.5:
            return f"n{n} is not heard", [(name(n), name(o)) for o in others]
        return f"n{n} hears nothing", [(name(o), name(n)) for o in others]


@kind("cut-bridge")
class CutBridge(Cut):
    """Two see nothing of each other, and both see the rest."""

    def pairs(self):
        a, b = self.some(2)
        return f"n{a} from n{b}", both([a], [b])


@kind("cut-ring", nodes_min=5)
class CutRing(Cut):
    """Each node sees its two neighbours only."""

    def pairs(self):
        count = len(self.everyone)
        ring = self.some(count)
        self.random.shuffle(ring)
        cut = []
        for i in range(count):
            for j in range(i + 2, count):
                if (i, j) != (0, count - 1):
                    cut += both([ring[i]], [ring[j]])
        return self.names(ring), cut


@kind("cut-clients", weight=0.5)
class CutClients(Cut):
    def pairs(self):
        n = self.one()
        return f"clients from n{n}", both([n], [CLIENTS])


@kind("cut-flapping")
class CutFlapping(CutOne):
    """Cut and mended faster than anybody can settle."""

    def hold(self):
        end = time.monotonic() + self.random.uniform(8, 15)
        is_cut = True
        while time.monotonic() < end:
            self.context.sleep(self.random.choice((0.1, 0.4, 1.0, 2.0)))
            is_cut = not is_cut
            self.hosts.wire.cut(self.cut, is_cut)


@kind("unreachable", weight=0.7)
class Unreachable(Fault):
    """By routes: an error at once instead of silence."""

    def begin(self):
        n = self.one()
        self.pairs = [(n, i) for i in self.everyone if i != n]
        for pair in self.pairs:
            self.hosts.unreachable(*pair)
        return f"n{n}: no route to the others"

    def end(self):
        for pair in self.pairs:
            self.hosts.unreachable(*pair, False)


@kind("weather", hold_s=(8.0, 20.0))
class Weather(Fault):
    """Delay, jitter (so packets overtake), loss, packets twice; on all
    paths or those of one node."""

    def begin(self):
        pairs = list(self.hosts.wire.paths)
        where = "everywhere"
        if self.random.random() < 0.4:
            n = name(self.one())
            pairs = [pair for pair in pairs if n in pair]
            where = f"around {n}"
        dice = self.random.choice
        values = (dice((0, 1000, 10000, 40000)), dice((0, 1000, 20000)),
                  dice((1000, 10000, 50000)), dice((0, 0, 20000)),
                  dice((0, 0, 100000)))
        self.pairs = pairs
        self.hosts.wire.weather(pairs, values)
        return (f"{where}: delay {values[0] / 1000:g} ms + "
                f"{values[1] / 1000:g}, loss {values[2] / 1e4:g} %, twice "
                f"{values[3] / 1e4:g} %, overtaking {values[4] / 1e4:g} %")

    def end(self):
        self.hosts.wire.weather(self.pairs, (0, 0, 0, 0, 0))


# Disks


@kind("power-cut-one", needs_disks=True)
class PowerCutOne(KillOne):
    """What was not synced is gone."""

    def begin(self):
        self.victims = [self.one()]
        return self.cut_power()

    def cut_power(self):
        self.kill(*self.victims)
        self.hosts.cut_power(*self.victims)
        return self.names(self.victims)


@kind("power-cut-all", needs_disks=True, hold_s=(0.0, 1.0), weight=1.5)
class PowerCutAll(PowerCutOne):
    def begin(self):
        self.victims = list(self.everyone)
        return self.cut_power()


@kind("disk-dies", needs_disks=True)
class DiskDies(PowerCutOne):
    """Under a node that runs: reading, writing and syncing fail. It may end;
    it must not confirm what it could not sync."""

    def begin(self):
        self.victims = [self.one()]
        self.context.may_end.update(self.victims)
        self.hosts.break_disk(*self.victims)
        return self.names(self.victims)

    def end(self):
        self.kill(*self.victims)
        self.hosts.renew_disk(*self.victims)
        self.context.may_end.difference_update(self.victims)
        self.launch(*self.victims)


@kind("disk-full", needs_disks=True, alone=True,
      hold_s=(5.0, 15.0))
class DiskFull(Fault):
    """Of one node, or of all, while a backlog grows: publishers are made to
    wait sooner or later, consumers are not."""

    def begin(self):
        self.victims = self.everyone if self.random.random() < 0.3 \
            else [self.one()]
        for n in self.victims:
            self.hosts.fill_disk(n)
        return self.names(self.victims)

    def hold(self):
        self.context.tell_clients("hold")
        super().hold()
        self.context.tell_clients("go")
        super().hold()

    def end(self):
        for n in self.victims:
            self.hosts.empty_disk(n)


@kind("disk-lost", alone=True, hold_s=(0.0, 5.0))
class DiskLost(Fault):
    """A node comes back with an empty data directory."""

    def begin(self):
        self.victim = self.one()
        self.id = self.context.node_id(self.victim)
        self.kill(self.victim)
        self.hosts.lose_data(self.victim)
        return f"n{self.victim}"

    def end(self):
        self.launch(self.victim)

    def whole(self):
        """I8: it is another node than the one that it was."""
        now = self.context.node_id(self.victim)
        if now == self.id or now is None:
            self.context.found("I8", f"n{self.victim} lost its memory and is "
                               f"node {now} still")


@kind("disk-old", alone=True, hold_s=(5.0, 12.0))
class DiskOld(DiskLost):
    """A node comes back with a copy of its data, from some seconds ago or
    from many starts ago. It ran since: it may have voted and stored more than
    the copy knows."""

    def begin(self):
        self.victim = self.one()
        self.id = self.context.node_id(self.victim)
        if self.context.has_copy(self.victim, self.id) and \
                self.random.random() < 0.7:
            return f"n{self.victim}, from long ago"
        self.kill(self.victim)
        self.context.keep_copy(self.victim, self.id)
        self.launch(self.victim)
        self.hosts.await_serving(self.victim)
        return f"n{self.victim}"

    def end(self):
        self.kill(self.victim)
        self.hosts.lose_data(self.victim)
        self.context.put_copy_back(self.victim)
        self.launch(self.victim)


@kind("rot", alone=True, hold_s=(0.0, 3.0))
class Rot(Fault):
    """Bytes flip in the segments of one node while it is stopped. Always the
    same one: what has rotted and was not read yet must be whole elsewhere."""

    def begin(self):
        self.victim = self.context.rotten
        if self.random.random() < 0.5:
            self.context.stop(self.victim)
        else:
            self.kill(self.victim)
        count = self.random.choice((1, 20, 200))
        places = [self.flip() for _ in range(count)]
        # For whoever looks for the reason of a failure.
        shutil.rmtree(self.hosts.path("rotten"), ignore_errors=True)
        shutil.copytree(self.hosts.data(self.victim),
                        self.hosts.path("rotten"))
        places = list(filter(None, places))
        return f"n{self.victim}, {len(places)} bytes: {' '.join(places[:5])}"

    def segments(self):
        for folder, _, files in os.walk(self.hosts.data(self.victim)):
            for file in sorted(files):
                if file.startswith("segment-"):
                    yield os.path.join(folder, file)

    def flip(self):
        """One byte of what has been written; where."""
        path = self.random.choice(list(self.segments()))
        with open(path, "r+b") as f:
            written = len(f.read().rstrip(b"\0"))
            if written == 0:
                return ""
            at = self.random.randrange(written)
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes((byte ^ 1 << self.random.randrange(8),)))
        return f"{os.path.basename(path)}@{at}"

    def end(self):
        self.launch(self.victim)
