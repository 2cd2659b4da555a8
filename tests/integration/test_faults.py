"""Nodes that die, stop, come back, or should not come back, while clients
publish and consume: nothing that was confirmed is lost, nothing is invented,
and what comes twice is marked."""
import itertools
import os
import sys
import time
import unittest

from checker import Load
from cluster import Cluster, ClusterTest, wait_for

LONG = bool(os.environ.get("QUORATE_LONG"))


class FaultCase(ClusterTest):
    """What the classes below share; each has a cluster of its own."""

    def load(self, **options):
        load = Load(self.cluster, self.name(), **options)
        self.addCleanup(lambda: [
            w.stopping.set() for w in load.publishers + load.consumers])
        load.start()
        return load

    def assertSound(self, load):
        findings = load.finish()
        print("    " + load.summary, file=sys.stderr)
        self.assertEqual([], findings)

    def assertReplicasAgree(self, queue):
        """All three replicas end at the same place."""
        def agree():
            rows = self.cluster.ctl(self.cluster.any(), "quorum_status",
                                    queue)["replicas"]
            return (len(rows) == 3 and len({r["applied"] for r in rows}) == 1
                    and sorted(r["state"] for r in rows) ==
                    ["follower", "follower", "leader"])
        wait_for(agree, "replicas agree")


class KilledNodesTest(FaultCase):
    """One node at a time, then all."""

    def kill_and_start(self, pick, rounds=2):
        load = self.load()
        for _ in range(rounds):
            n = pick(load.queue)
            self.cluster.kill(n)
            load.await_progress(200)
            self.cluster.start(n)
            load.await_progress(200)
        self.assertSound(load)
        self.assertReplicasAgree(load.queue)

    def test_leader_killed(self):
        self.kill_and_start(self.cluster.await_leader)

    def test_follower_killed(self):
        self.kill_and_start(lambda q: self.cluster.followers(q)[0])

    def test_all_killed_at_once_and_started_in_every_order(self):
        load = self.load()
        for order in itertools.permutations(self.cluster.numbers):
            load.await_progress(100)
            self.cluster.kill(*self.cluster.numbers)
            for n in order:
                self.cluster.launch(n)
                time.sleep(0.15)
            for n in order:
                self.cluster.await_serving(n)
        load.await_progress(100)
        self.assertSound(load)
        self.assertReplicasAgree(load.queue)

    def test_one_alone_waits_and_says_for_whom(self):
        load = self.load(publishers=1, consumers=1)
        self.cluster.kill(*self.cluster.numbers)
        self.cluster.launch(2)
        wait_for(lambda: self.cluster.run_ctl(2, "ping").returncode == 0,
                 "it answers its operator")
        out = self.cluster.run_ctl(2, "-t", "2", "await_startup")
        self.assertNotEqual(0, out.returncode)
        self.cluster.start(1, 3)
        self.cluster.await_serving(2)
        load.await_progress(100)
        self.assertSound(load)


class TwoShardsKilledNodesTest(KilledNodesTest):
    """The same with two shards a node."""

    SHARDS = 2


class StoppedNodesTest(FaultCase):
    """SIGSTOP and orderly restarts."""

    def pause(self, pick):
        load = self.load()
        n = pick(load.queue)
        self.cluster.pause(n)
        # Longer than a link lives without a sign, and than an election.
        time.sleep(8)
        others = [i for i in self.cluster.numbers if i != n]
        led = wait_for(lambda: self.cluster.leader(load.queue, at=others[0]),
                       "the others have a leader")
        self.assertIn(led, others)
        load.await_progress(100)
        self.cluster.resume(n)
        self.cluster.await_serving(n)
        load.await_progress(200)
        self.assertSound(load)
        self.assertReplicasAgree(load.queue)

    def test_leader_stands_still(self):
        self.pause(self.cluster.await_leader)

    def test_follower_stands_still(self):
        self.pause(lambda q: self.cluster.followers(q)[1])

    def test_restarted_one_by_one_under_load(self):
        load = self.load()
        for n in self.cluster.numbers:
            self.assertEqual(0, self.cluster.stop(n))
            load.await_progress(100)
            self.cluster.start(n)
            load.await_progress(100)
        self.assertSound(load)
        self.assertReplicasAgree(load.queue)

    def test_leadership_moved_under_load(self):
        load = self.load()
        for n in (1, 2, 3, 1):
            out = self.cluster.run_ctl(2, "transfer_leadership", load.queue,
                                       f"n{n}")
            self.assertEqual(0, out.returncode, out.stderr)
            wait_for(lambda: self.cluster.leader(load.queue) == n,
                     f"n{n} leads")
            load.await_progress(100)
        self.assertSound(load)
        self.assertEqual(0, max(p.reconnects for p in load.publishers))

    def test_no_majority_no_confirms(self):
        load = self.load()
        lead = self.cluster.await_leader(load.queue)
        self.cluster.kill(*[n for n in self.cluster.numbers if n != lead])
        time.sleep(1)
        before = load.confirmed()
        time.sleep(2)
        self.assertEqual(before, load.confirmed())
        self.cluster.start(*[n for n in self.cluster.numbers if n != lead])
        load.await_progress(100)
        self.assertSound(load)


class TwoShardsStoppedNodesTest(StoppedNodesTest):
    """The same with two shards a node."""

    SHARDS = 2


class StrangersTest(unittest.TestCase):
    """Nodes that must not take part."""

    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.close)

    def test_another_secret(self):
        self.cluster.start()
        self.cluster.stop(3)
        other = self.cluster.path("other-secret")
        self.cluster.write_secret(other)
        self.cluster.write_config(3, **{"cluster__secret_file": other})
        os.rename(self.cluster.path("n3.log"), self.cluster.path("n3-old.log"))
        before = len(self.cluster.log(1))
        self.cluster.launch(3)

        def refused():
            mine = self.cluster.log(3)
            theirs = (self.cluster.log(1)[before:] + self.cluster.log(2))
            return "secret" in mine and "secret" in theirs and "n3" in theirs
        wait_for(refused, "both sides say so")
        lines = [line for line in self.cluster.log(3).splitlines()
                 if "secret" in line]
        # Which two secrets, by fingerprint, and what to do.
        self.assertRegex(lines[0], r"[0-9a-f]{8}.*[0-9a-f]{8}")
        self.assertIn("give both nodes the same secret file", lines[0])
        states = {row["node"]: row["state"] for row in
                  self.cluster.ctl(1, "cluster_status")["nodes"]}
        self.assertEqual("running", states["n2"])
        self.assertNotEqual("running", states["n3"])
        self.assertLess(len(lines), 20, "the log is flooded")
