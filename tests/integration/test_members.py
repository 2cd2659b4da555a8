"""Nodes that lose their disk, come back with an old one, join and leave: the
cluster makes itself whole, and nothing that was confirmed is lost."""
import os
import shutil
import unittest

from cluster import Cluster, ClusterTest, wait_for

MESSAGES = 200


class MembersCase(ClusterTest):
    """Each test has a cluster of its own: they change its members."""

    STARTED = False

    def setUp(self):
        self.cluster = Cluster(self.NODES, self.SHARDS, self.SETTINGS)
        self.addCleanup(self.end)
        self.cluster.start()

    def end(self):
        if self.cluster.has_failed:
            self.cluster.keep_logs(self.id().split(".")[-1])
        self.cluster.close()

    @classmethod
    def setUpClass(cls):
        pass

    def run(self, result=None):
        self.failed_before = len(result.failures) + len(result.errors)
        self.result = result
        unittest.TestCase.run(self, result)

    def doCleanups(self):
        cluster = getattr(self, "cluster", None)
        outcome = getattr(self, "_outcome", None)
        if cluster is not None and outcome is not None and not outcome.success:
            cluster.has_failed = True
        return super().doCleanups()

    def publish(self, queue, at=1, first=0, count=MESSAGES):
        """Confirmed messages FIRST ... in QUEUE."""
        connection = self.cluster.connect(at)
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True)
        for i in range(first, first + count):
            channel.basic_publish("", queue, str(i).encode())
        connection.close()

    def assertHolds(self, queue, count, at):
        """QUEUE has messages 0 to COUNT - 1, in order; they stay in it."""
        connection = self.cluster.connect(at)
        channel = connection.channel()
        got = []
        for _ in range(count):
            method, _properties, body = wait_for(
                lambda: self.got(channel, queue), f"a message of '{queue}'")
            got.append(int(body))
        self.assertEqual(list(range(count)), got)
        connection.close()

    @staticmethod
    def got(channel, queue):
        method, properties, body = channel.basic_get(queue)
        return method and (method, properties, body)

    def nodes(self, at):
        """The rows of cluster_status, by name."""
        rows = self.cluster.ctl(at, "cluster_status")["nodes"]
        return {row["node"]: row for row in rows}

    def await_whole(self, queue, at, replicas=3):
        """QUEUE has REPLICAS voters, all at the same place."""
        def whole():
            rows = self.cluster.ctl(at, "quorum_status", queue)["replicas"]
            return (len(rows) == replicas and
                    all(r["role"] == "voter" for r in rows) and
                    all(r["state"] in ("leader", "follower") for r in rows) and
                    len({r["applied"] for r in rows}) == 1)
        wait_for(whole, f"'{queue}' has {replicas} replicas", 60, 0.1)

        def metadata():
            return all(row["metadata"] in ("leader", "follower")
                       for row in self.nodes(at).values())
        wait_for(metadata, "all nodes vote on the metadata", 60, 0.1)

    def each_down_in_turn(self, queue, count, numbers):
        """With any one of NUMBERS down, QUEUE holds its COUNT messages."""
        for n in numbers:
            self.cluster.kill(n)
            other = next(i for i in numbers if i != n)
            self.cluster.await_leader(queue, at=other)
            self.assertHolds(queue, count, other)
            self.cluster.start(n)
            self.await_whole(queue, other)


class LostDiskTest(MembersCase):
    """The data directory is gone, or an old one."""

    def test_a_node_whose_disk_was_lost_becomes_whole_by_itself(self):
        queue = self.name()
        self.publish(queue)
        old = self.nodes(1)["n2"]["id"]
        self.cluster.kill(2)
        shutil.rmtree(self.cluster.data(2))
        self.publish(queue, at=1, first=MESSAGES)
        self.cluster.start(2)
        self.assertGreater(self.nodes(1)["n2"]["id"], old)
        self.await_whole(queue, 1)
        self.each_down_in_turn(queue, 2 * MESSAGES, (1, 2, 3))

    def test_each_node_in_turn_loses_its_disk(self):
        queue = self.name()
        for n in self.cluster.numbers:
            self.publish(queue, at=n, first=(n - 1) * MESSAGES)
            self.cluster.kill(n)
            shutil.rmtree(self.cluster.data(n))
            self.cluster.start(n)
            self.await_whole(queue, n)
        self.assertHolds(queue, 3 * MESSAGES, 1)
        self.assertEqual({4, 5, 6}, {r["id"] for r in self.nodes(1).values()})

    def test_a_node_on_an_old_copy_of_its_disk_is_recognised(self):
        queue = self.name()
        data = self.cluster.data(2)
        self.publish(queue)
        self.cluster.stop(2)
        shutil.copytree(data, data + ".old", symlinks=True,
                        ignore=shutil.ignore_patterns("ctl.sock"))
        self.cluster.start(2)
        self.publish(queue, at=2, first=MESSAGES)
        self.cluster.kill(2)
        shutil.rmtree(data)
        shutil.move(data + ".old", data)
        self.cluster.start(2)
        self.assertIn("runs on an old copy of its data", self.cluster.log(2))
        self.assertTrue(os.path.exists(os.path.join(data, "set-aside-1",
                                                    "identity")))
        self.await_whole(queue, 1)
        self.each_down_in_turn(queue, 2 * MESSAGES, (1, 2, 3))

    def test_await_startup_waits_for_a_node_that_joins(self):
        self.cluster.kill(3)
        shutil.rmtree(self.cluster.data(3))
        self.cluster.launch(3)
        out = self.cluster.run_ctl(3, "await_startup", "-t", "30")
        self.assertEqual(0, out.returncode, out.stderr)
        self.assertIn("Node 'n3' serves clients", out.stdout)

    def test_a_blank_node_does_not_take_a_running_nodes_name(self):
        self.cluster.write_config(
            2, node__data_dir=self.cluster.path("other"),
            listeners__tcp__default=f"127.0.0.1:{self.cluster.port(9)}",
            cluster__listen=f"127.0.0.1:{self.cluster.peer_port(9)}")
        first = self.cluster.processes.pop(2)
        self.cluster.launch(2)
        wait_for(lambda: "a running node of the cluster, n2" in
                 self.cluster.log(2), "it says who has its name")
        self.cluster.kill(2)
        self.cluster.processes[2] = first
        self.assertEqual("running", self.nodes(1)["n2"]["state"])

    def test_a_second_process_on_a_copy_of_a_data_directory_is_refused(self):
        queue = self.name()
        self.publish(queue)
        copy = self.cluster.path("copy")
        shutil.copytree(self.cluster.data(2), copy,
                        ignore=shutil.ignore_patterns("ctl.sock"))
        self.cluster.write_config(
            2, node__data_dir=copy,
            listeners__tcp__default=f"127.0.0.1:{self.cluster.port(9)}",
            cluster__listen=f"127.0.0.1:{self.cluster.peer_port(9)}")
        first = self.cluster.processes.pop(2)
        self.cluster.launch(2)
        wait_for(lambda: "two run on copies of one data directory" in
                 self.cluster.log(2), "it is told")
        self.cluster.kill(2)
        self.cluster.processes[2] = first
        self.publish(queue, at=2, first=MESSAGES)
        self.await_whole(queue, 2)
        self.assertHolds(queue, 2 * MESSAGES, 3)


class LeaveAndJoinTest(MembersCase):
    """forget_cluster_node, and nodes with new names."""

    def add_node(self, n):
        """A node that the others' configurations do not name."""
        self.cluster.numbers = range(1, n + 1)
        self.cluster.write_config(n)
        self.cluster.start(n)

    def test_a_node_that_is_needed_or_runs_is_not_forgotten(self):
        queue = self.name()
        self.publish(queue)
        out = self.cluster.run_ctl(1, "forget_cluster_node", "n2")
        self.assertEqual(65, out.returncode)
        self.assertIn("node 'n2' is running; stop it before", out.stderr)
        out = self.cluster.run_ctl(1, "forget_cluster_node", "n9")
        self.assertEqual(65, out.returncode)
        self.assertIn("no node 'n9'", out.stderr)
        self.cluster.kill(2, 3)
        out = self.cluster.run_ctl(1, "-t", "5", "forget_cluster_node", "n2")
        self.assertIn("would have no majority", out.stderr.replace(
            "has no majority", "would have no majority"))
        self.cluster.start(2, 3)
        self.assertHolds(queue, MESSAGES, 2)

    def test_a_forgotten_node_is_told_so_and_stops(self):
        queue = self.name()
        self.publish(queue)
        self.cluster.stop(2)
        out = self.cluster.run_ctl(1, "forget_cluster_node", "n2")
        self.assertEqual(0, out.returncode, out.stderr)
        self.assertEqual({"n1", "n3"}, set(self.nodes(1)))
        self.await_whole(queue, 1, replicas=2)
        self.cluster.launch(2)
        self.assertEqual(1, self.cluster.reap(2))
        self.assertIn("(id 2) was removed from the cluster",
                      self.cluster.log(2))
        # With an empty directory it is a new node.
        shutil.rmtree(self.cluster.data(2))
        self.cluster.start(2)
        self.await_whole(queue, 1)
        self.each_down_in_turn(queue, MESSAGES, (1, 2, 3))

    def test_a_blank_node_that_was_forgotten_joins_again_by_itself(self):
        """It was taken in, and removed again before it heard of it."""
        self.add_node(4)
        self.cluster.stop(4)
        out = self.cluster.run_ctl(1, "forget_cluster_node", "n4")
        self.assertEqual(0, out.returncode, out.stderr)
        # What its directory was before it heard that it had been taken in.
        data = self.cluster.data(4)
        identity = os.path.join(data, "identity")
        with open(identity, encoding="utf-8") as f:
            lines = [line for line in f if line.split()[0] in
                     ("version", "uuid", "start", "shards")]
        with open(identity, "w", encoding="utf-8") as f:
            f.writelines(lines)
        for name in os.listdir(data):
            if name.startswith("shard-"):
                shutil.rmtree(os.path.join(data, name))
        uuid = next(line for line in lines if line.startswith("uuid")).split()
        self.cluster.start(4)
        self.assertEqual(5, self.nodes(1)["n4"]["id"])
        self.assertIn(f"in the place of {uuid[1]}", self.cluster.log(4))

    def test_a_fourth_node_joins_and_takes_over(self):
        queue = self.name()
        self.publish(queue)
        self.add_node(4)
        self.assertEqual("running", self.nodes(1)["n4"]["state"])
        wait_for(lambda: self.nodes(1)["n4"]["role"] == "voter", "n4 votes")
        out = self.cluster.run_ctl(4, "join_cluster", "n1")
        self.assertEqual(0, out.returncode, out.stderr)
        out = self.cluster.run_ctl(4, "join_cluster", "m1")
        self.assertIn("Nodes join by themselves", out.stderr)
        self.cluster.stop(1)
        out = self.cluster.run_ctl(4, "forget_cluster_node", "n1")
        self.assertEqual(0, out.returncode, out.stderr)
        self.await_whole(queue, 4)
        self.each_down_in_turn(queue, MESSAGES, (2, 3, 4))

    def test_a_node_that_was_away_meets_new_nodes_only(self):
        """All the others were replaced while n3 was away: it is let in."""
        def await_voter(n, at):
            wait_for(lambda: self.nodes(at)[f"n{n}"]["role"] == "voter",
                     f"n{n} votes")
        for n in (4, 5):
            self.add_node(n)
            await_voter(n, 1)
        self.cluster.stop(3)
        for n in (1, 2, 4, 5):
            self.cluster.kill(n)
            shutil.rmtree(self.cluster.data(n))
            self.cluster.start(n)
            await_voter(n, n)
        self.cluster.start(3)
        self.assertEqual(["running"] * 5, [row["state"] for row in
                                           self.nodes(3).values()])


class TwoShardsLostDiskTest(MembersCase):
    """The same with two shards and many queues, under load."""

    SHARDS = 2

    def test_many_queues_become_whole(self):
        queues = [self.name(f"-{i}") for i in range(40)]
        for queue in queues:
            self.publish(queue, count=5)
        self.cluster.kill(3)
        shutil.rmtree(self.cluster.data(3))
        self.cluster.start(3)
        wait_for(lambda: self.cluster.ctl(1, "cluster_status")["cluster"]
                 ["queues_rebuilding"] == 0, "all queues are whole", 60)
        self.cluster.kill(1)
        for queue in queues:
            self.cluster.await_leader(queue, at=2)
            self.assertHolds(queue, 5, 2)
