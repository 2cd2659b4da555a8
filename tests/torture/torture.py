"""Real nodes under every fault: SIGKILL, SIGSTOP, power cuts, partitions,
loss and delay, full disks, disks lost, rolled back and rotten; with real
clients, and a checker that keeps what each of them saw. Prints counts and a
verdict per contract (docs/testing.md); exits 0 when all held.

Needs root, and leaves nothing behind, however it ends."""
import argparse
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import faults
import report
import sandbox
from hosts import AMQP_PORT, BUILD, CLIENTS, Hosts, WIRE
from verdict import Calm, Verdict

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
KEEP = os.path.join(TOP, "build/logs/torture")
# I11: then a cluster that is left alone is not coming back.
WHOLE_S = 60
DRAIN_S = 120
# I12: the store's promise for a node without backlog.
DISK_BOUND = 256 << 20
MEMORY_BOUND = 256 << 20
# I9: then a replica that is nobody's is not going away.
LEFT_S = 30
SKIPPED = 77
PREFIX = "quorate-torture-"
SETTINGS = {
    "store.segment_size": 1 << 20,
    "store.cache_size": 8 << 20,
    "loopback_users": "none",
}
FAN = 0  # the number of the fanout exchange; a queue's own is its number
QUEUES = {1: "work-1", 2: "work-2", 3: "backlog", 4: "polled", 5: "fan-1",
          6: "fan-2"}
MEASURED = (1, 2)  # those whose unavailability is measured


def specification(options, addresses):
    """Who publishes and consumes what."""
    publishers = [("", QUEUES[q], q) for q in (3, 3, 4)]
    publishers += [("torture-fan", "", FAN)] * 2
    # Those that measure, one at each node: whatever node can serve, does.
    pinned = [(n, ("", QUEUES[q], q)) for n in range(len(addresses))
              for q in MEASURED]
    rate = options.rate / (len(publishers) + len(pinned))
    workers, targets = [], {}
    for i, (node, to) in enumerate([(None, to) for to in publishers] + pinned,
                                   1):
        worker = {"kind": "publisher", "name": f"publisher-{i}", "id": i,
                  "to": to, "rate": rate, "size_max": 65536}
        if node is not None:
            worker["node"] = node
        workers.append(worker)
        targets[i] = [to[2]] if to[2] != FAN else [5, 6]

    def consumer(queue, number, **changes):
        workers.append(dict(
            {"kind": "consumer", "name": f"consumer-{queue}-{number}",
             "queue": queue, "from": [queue] if queue < 5 else [FAN],
             "prefetch": [1, 10, 50, 200], "returns": 0.05, "lives_s": 40,
             "away_s": 0, "patience": 0.3}, **changes))
    for queue in (1, 2, 5, 6):
        consumer(queue, 1)
        consumer(queue, 2)
    consumer(3, 1, prefetch=[200], patience=0.9, returns=0.3, away_s=30)
    consumer(4, 1, kind="getter", name="getter-4-1", pause_s=0.02)
    for i in (1, 2, 3):
        workers.append({"kind": "churn", "name": f"churn-{i}", "pause_s": 0.2})
    return {"nodes": addresses, "port": AMQP_PORT, "seed": options.seed,
            "queues": QUEUES, "workers": workers}, targets


class Run:
    """One run; what faults may use is public."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.random = random.Random(options.seed)
        self.start = time.monotonic()
        self.findings = []
        self.calm = []
        self.calm_since = None
        self.quiet_since = float("inf")
        self.rounds = []    # dicts: kinds, begin, healed, whole, what
        self.deck = []      # kinds of faults that have not been yet
        self.is_drained = False
        self.copies = {}    # node: its id when its data were copied
        self.clients = []
        self.may_end = set()  # nodes that a fault lets end in an orderly way
        # Of five nodes, all have a replica of a queue, or three have.
        self.replicas = self.random.choice((3, options.nodes))
        self.rotten = self.random.randrange(options.nodes) + 1
        self.hosts = Hosts(folder, options.nodes, options.seed, dict(
            SETTINGS, **{"quorum_queue.initial_cluster_size": self.replicas}),
            self.random.choice((1, 2)))
        self.facts = {}

    def say(self, text):
        at = time.monotonic()
        print(f"{at - self.start:8.1f}  {text}", flush=True)

    def found(self, contract, text):
        self.say(f"{contract}: {text}")
        self.findings.append((contract, f"{time.monotonic():.3f} {text}"))

    # What faults use

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while True:
            self.watch()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.25))

    def watch(self):
        """Nodes do not end by themselves."""
        for n, process in list(self.hosts.processes.items()):
            if process.poll() is not None:
                last = self.hosts.log(n).strip().splitlines()[-1:]
                text = f"n{n} has ended by itself with " \
                    f"{process.returncode}: {last}"
                if n in self.may_end and process.returncode >= 0:
                    self.say(text)
                else:
                    self.found("up", text)
                del self.hosts.processes[n]

    def stop(self, n):
        """In an orderly way; how long it takes is bounded."""
        self.watch()
        if n not in self.hosts.processes:
            return
        # Another fault may have paused it, and who is paused obeys nobody.
        self.hosts.resume(n)
        try:
            code = self.hosts.stop(n)
        except subprocess.TimeoutExpired:
            self.found("I13", f"n{n} does not stop when told to")
            self.hosts.kill(n)
            return
        if code != 0 and n not in self.may_end:
            self.found("up", f"n{n} ended with {code} when told to stop")

    def leader_of_some(self):
        rows = self.list_queues()
        led = [row["leader"] for row in rows
               if row["leader"] and row["name"] in QUEUES.values()]
        return int(self.random.choice(led)[1:]) if led else None

    def node_id(self, n):
        """The cluster's number for node N, or None."""
        for asked in self.hosts.running():
            status = self.hosts.try_ctl(asked, "cluster_status")
            for row in status["nodes"] if status else ():
                if row["node"] == f"n{n}":
                    return row["id"]
        return None

    def keep_copy(self, n, node_id):
        """Of the data of N, which does not run."""
        copy = self.hosts.path(f"old{n}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.hosts.data(n), copy)
        self.copies[n] = node_id

    def has_copy(self, n, node_id):
        """Whether there is one of this very node, which has not been replaced
        since."""
        return node_id is not None and self.copies.get(n) == node_id

    def put_copy_back(self, n):
        shutil.copytree(self.hosts.path(f"old{n}"), self.hosts.data(n))

    def list_queues(self, *columns):
        for n in self.hosts.running():
            rows = self.hosts.try_ctl(n, "list_queues", "name", "leader",
                                      "members", "online", *columns)
            if rows is not None:
                return rows
        return []

    # The cluster

    def lacks(self, goals):
        """What keeps the cluster from being whole, or None. GOALS keeps, per
        queue, what every replica must have applied."""
        running = self.hosts.running()
        if len(running) < self.options.nodes:
            return f"only {running} run"
        for n in running:
            status = self.hosts.try_ctl(n, "cluster_status")
            if status is None:
                return f"n{n} answers no operator"
            away = [row["node"] for row in status["nodes"]
                    if row["state"] != "running"]
            if away or len(status["nodes"]) != self.options.nodes:
                return f"n{n} sees {away or status['nodes']}"
        rows = {row["name"]: row for row in self.list_queues()}
        for queue in QUEUES.values():
            what = self.queue_lacks(queue, rows.get(queue), goals)
            if what:
                return what
        return None

    def queue_lacks(self, queue, row, goals):
        if row is None:
            return f"'{queue}' is not there"
        if not row["leader"]:
            return f"'{queue}' has no leader"
        if len(row["members"]) != self.replicas or \
                set(row["online"]) != set(row["members"]):
            return f"'{queue}': members {row['members']}, {row['online']} on"
        status = self.hosts.try_ctl(self.hosts.running()[0], "quorum_status",
                                    queue)
        if status is None:
            return f"no status of '{queue}'"
        replicas = status["replicas"]
        if any(not isinstance(r.get("applied"), int) or r["role"] != "voter"
               for r in replicas):
            return f"'{queue}': {replicas}"
        goal = goals.setdefault(queue, max(r["commit"] for r in replicas))
        behind = [r["node"] for r in replicas if r["applied"] < goal]
        return f"'{queue}': {behind} behind {goal}" if behind else None

    def await_whole(self, deadline_s=WHOLE_S):
        """Seconds until the cluster is whole; None: it was not."""
        start = time.monotonic()
        goals = {}
        while True:
            self.watch()
            what = self.lacks(goals)
            now = time.monotonic()
            if what is None:
                self.calm_since = now
                return now - start
            if now - start > deadline_s:
                self.found("I11", f"not whole {deadline_s} s after the last "
                           f"fault: {what}")
                return None
            time.sleep(0.1)

    def disturb(self):
        """Calm ends now."""
        if self.calm_since is not None:
            self.calm.append((self.calm_since, time.monotonic()))
        self.calm_since = None

    # Clients

    def start_clients(self):
        spec, self.targets = specification(
            self.options, [self.hosts.host(n) for n in self.hosts.numbers])
        self.events = os.path.join(self.folder, "events")
        os.makedirs(self.events)
        connect = [*self.hosts.prefix(CLIENTS), "/usr/bin/python3",
                   os.path.join(HERE, "clients.py")]
        # A process for those who publish, one for the rest.
        groups = [[w for w in spec["workers"] if w["kind"] == "publisher"],
                  [w for w in spec["workers"] if w["kind"] != "publisher"]]
        for i, workers in enumerate(groups):
            path = os.path.join(self.folder, f"clients-{i}.json")
            with open(path, "w") as f:
                json.dump(dict(spec, workers=workers), f)
            with open(os.path.join(self.folder, f"clients-{i}.log"),
                      "w") as log:
                self.clients.append(subprocess.Popen(
                    [*connect, path, self.events], stdin=subprocess.PIPE,
                    stdout=log, stderr=log, text=True,
                    start_new_session=True))  # control-C is not for them

    def tell_clients(self, word):
        for client in self.clients:
            client.stdin.write(word + "\n")
            client.stdin.flush()

    def declare(self):
        """The queues, from the clients' host."""
        script = ("import pika, sys, json\n"
                  "c = pika.BlockingConnection(pika.ConnectionParameters("
                  "sys.argv[1], int(sys.argv[2])))\n"
                  "ch = c.channel()\n"
                  "ch.exchange_declare('torture-fan', 'fanout', durable=True)\n"
                  "for q, name in json.loads(sys.argv[3]).items():\n"
                  "    ch.queue_declare(name, durable=True)\n"
                  "    if name.startswith('fan-'):\n"
                  "        ch.queue_bind(name, 'torture-fan')\n"
                  "c.close()\n")
        self.hosts.within(CLIENTS, "/usr/bin/python3", "-c", script,
                          self.hosts.host(1), str(AMQP_PORT),
                          json.dumps(QUEUES))

    # The course of it

    def kinds(self):
        """Kinds of faults that are on, and why others are off."""
        on, off = [], {}
        for name, kind in faults.KINDS.items():
            if self.options.only and name not in self.options.only:
                continue
            if kind.nodes_min > self.options.nodes:
                off[name] = f"needs {kind.nodes_min} nodes"
            elif kind.needs_disks and not self.hosts.has_disks:
                off[name] = f"no loop devices: {self.hosts.why_no_disks}"
            elif kind.why_off and not self.options.only:
                off[name] = kind.why_off
            else:
                on.append(kind)
        return on, off

    def choose(self, on):
        """One fault, or two at once; each kind has been once before chance
        decides."""
        def pick(kinds):
            return self.random.choices(kinds, [k.weight for k in kinds])[0]
        first = self.deck.pop() if self.deck else pick(on)
        chosen = [first]
        others = [k for k in on if not k.alone and k is not first]
        if not first.alone and others and self.random.random() < 0.35:
            chosen.append(pick(others))
        return [kind(self) for kind in chosen]

    def round(self, on):
        """One round of faults; False: the cluster did not come back."""
        chosen = self.choose(on)
        self.disturb()
        row = {"kinds": [f.name for f in chosen], "begin": time.monotonic()}
        self.rounds.append(row)
        row["what"] = "; ".join(f"{f.name}: {f.begin()}" for f in chosen)
        self.say(row["what"])
        for fault in chosen:
            fault.hold()
        for fault in reversed(chosen):
            fault.end()
        row["healed"] = time.monotonic()
        recovery = self.await_whole()
        row["whole"] = time.monotonic()
        if recovery is None:
            return False
        row["recovery"] = recovery
        for fault in chosen:
            fault.whole()
        self.say(f"    whole {recovery:.2f} s after the end")
        self.sleep(self.random.uniform(1.0, 5.0))
        return True

    def torture(self):
        on, off = self.kinds()
        self.say(f"{self.hosts.settings['node.shards']} shards, "
                 f"{self.replicas} replicas of a queue; file systems of "
                 "their own: " + (self.hosts.why_no_disks or "yes"))
        self.say("faults: " + ", ".join(kind.name for kind in on))
        for name, why in off.items():
            self.say(f"off: {name}: {why}")
        self.facts["faults_on"] = [kind.name for kind in on]
        self.facts["faults_off"] = off
        self.deck = self.random.sample(on, len(on))
        if not on:
            raise RuntimeError("no fault is on; --list names them")
        self.hosts.start()
        self.declare()
        self.start_clients()
        if self.await_whole() is None:
            return
        self.sleep(3)
        end = time.monotonic() + 60 * self.options.minutes
        while time.monotonic() < end:
            if not self.round(on):
                break
        self.drain()

    def drain(self):
        """Publishing ends; what is confirmed must arrive; then all is at
        rest."""
        self.quiet_since = time.monotonic()
        self.tell_clients("quiet")
        self.say("all healed; publishers stop, consumers drain")
        end = time.monotonic() + DRAIN_S
        left = None
        empty = 0
        while empty < 5 and time.monotonic() < end:
            self.sleep(0.5)
            left = {row["name"]: row["messages"]
                    for row in self.list_queues("messages")
                    if row["name"] in QUEUES.values()}
            done = len(left) == len(QUEUES) and not any(left.values())
            empty = empty + 1 if done else 0
        self.is_drained = empty >= 5
        if not self.is_drained:
            self.found("I11", f"not drained within {DRAIN_S} s: {left}")

    def left_over(self):
        """What nodes have of queues that are not theirs, or the other way
        about; {}: nothing."""
        rows = [self.hosts.try_ctl(n, "list_queues", "name", "members")
                for n in self.hosts.numbers]
        if any(row is None for row in rows):
            return {"nodes": "do not answer"}
        views = [sorted(map(str, row)) for row in rows]
        if any(view != views[0] for view in views):
            return {"nodes": f"know different queues: {views}"}
        wrong = {}
        for n in self.hosts.numbers:
            status = self.hosts.try_ctl(n, "status")
            has = status and status["status"]["queue_replicas"]
            due = sum(f"n{n}" in row["members"] for row in rows[0])
            if has != due:
                wrong[f"n{n}"] = f"has {has} replicas, not {due}"
        return wrong

    def rest(self):
        """I9, I12, and an orderly end."""
        end = time.monotonic() + LEFT_S
        while self.is_drained and self.left_over():
            if time.monotonic() > end:
                self.found("I9", f"after {LEFT_S} s of rest: "
                           f"{self.left_over()}")
                break
            self.sleep(1)
        disk, memory = {}, {}
        self.sleep(5)
        for n in self.hosts.running():
            disk[f"n{n}"] = self.hosts.used_bytes(n)
            memory[f"n{n}"] = self.hosts.memory_bytes(n)
        self.facts.update(disk_bytes=disk, memory_bytes=memory,
                          packets=self.hosts.wire.counts())
        for n, size in disk.items():
            if size > DISK_BOUND:
                self.found("I12", f"{n} keeps {size >> 20} MiB at rest")
        for n, size in memory.items():
            if size > MEMORY_BOUND:
                self.found("I12", f"{n} has {size >> 20} MiB of memory")
        for n in self.hosts.running():
            self.stop(n)

    def stop_clients(self):
        self.quiet_since = min(self.quiet_since, time.monotonic())
        for client in self.clients:
            try:
                client.stdin.write("stop\n")
                client.stdin.flush()
            except OSError:
                self.found("test", "a process of clients had ended")
        for client in self.clients:
            try:
                client.wait(60)
            except subprocess.TimeoutExpired:
                self.found("test", "a process of clients does not end")
                client.kill()

    def finish(self):
        """The report of it all."""
        self.disturb()
        verdict = Verdict(self.events, self.targets, Calm(self.calm),
                          MEASURED, self.is_drained)
        verdict.findings = self.findings + verdict.findings
        return report.make(self, verdict)


def course(options, folder):
    run = Run(options, folder)
    try:
        run.torture()
    except KeyboardInterrupt:
        run.say("interrupted: the verdict is on what was done so far")
    except (AssertionError, RuntimeError, OSError) as error:
        # Whatever it is about, what clients saw is judged.
        run.found("test", f"{type(error).__name__}: {error}")
    run.say("stopping clients")
    run.stop_clients()
    run.rest()
    result = run.finish()
    report.show(result)
    kept = report.keep(result, run, KEEP)
    if kept:
        print(f"kept: {kept}")
    return 1 if result["findings"] else 0


def parse():
    parser = argparse.ArgumentParser(
        prog="tests/torture/run.sh", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30,
                        help="of faults (default: %(default)s)")
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3)
    parser.add_argument("--seed", type=int,
                        default=int.from_bytes(os.urandom(3), "big"),
                        help="of the choice of faults (default: random)")
    parser.add_argument("--only", metavar="FAULT,...", default="",
                        help="these kinds of faults")
    parser.add_argument("--rate", type=float, default=200,
                        help="messages a second, all publishers together "
                        "(default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the report here")
    parser.add_argument("--keep", action="store_true",
                        help="keep logs and events in any case")
    parser.add_argument("--list", action="store_true",
                        help="name the kinds of faults")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    for name in options.only:
        if name not in faults.KINDS:
            parser.error(f"no fault '{name}'; --list names them")
    return options


def sweep():
    """Remove directories of runs that were killed."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(),
                                         PREFIX + "[0-9]*-*")):
        pid = os.path.basename(folder)[len(PREFIX):].split("-")[0]
        if not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(folder, ignore_errors=True)


def main():
    options = parse()
    if options.list:
        for name, kind in faults.KINDS.items():
            print(f"{name:18} {kind.why_off and 'off: ' + kind.why_off}")
        return 0
    why = sandbox.missing()
    if why:
        print(f"tests/torture: SKIPPED: {why}", file=sys.stderr)
        return SKIPPED
    if not os.access(WIRE, os.X_OK):
        sys.exit(f"tests/torture: {BUILD} is not built; set QUORATE_BUILD to "
                 "a build directory")
    print(f"tests/torture: {options.nodes} nodes, {options.minutes:g} minutes, "
          f"--seed {options.seed}", flush=True)
    sweep()
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
    try:
        return sandbox.inside(lambda: course(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
