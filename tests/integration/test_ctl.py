"""quoratectl: every command, what it says, its exit codes, and that it never
hangs. Exit codes are sysexits.h's, as rabbitmqctl's: 0 good, 64 wrong usage, 65
the data are wrong, 67 no such user, 69 unavailable, 70 refused, 75 try
later."""
import csv
import io
import json
import os
import subprocess
import sys
import time
import unittest

from cluster import QUORATECTL, Cluster, ClusterTest, quoratectl, wait_for


class CtlTest(ClusterTest):
    """Happy paths and the main error of each command."""

    def run_on(self, n, *words, **options):
        return self.cluster.run_ctl(n, *words, **options)

    def good(self, *words, n=1, **options):
        out = self.run_on(n, *words, **options)
        self.assertEqual((0, ""), (out.returncode, out.stderr), words)
        return out.stdout

    def bad(self, code, said, *words, n=1):
        out = self.run_on(n, *words)
        self.assertEqual((code, f"Error: {said}\n"),
                         (out.returncode, out.stderr), words)

    def rows(self, *words, n=1):
        return self.cluster.ctl(n, *words)

    def declare(self, suffix="", messages=0, **options):
        name = self.name(suffix)
        channel = self.channel(1)
        channel.confirm_delivery()
        options.setdefault("durable", True)
        channel.queue_declare(name, **options)
        for i in range(messages):
            channel.basic_publish("", name, b"%d" % i)
        self.cluster.await_leader(name)
        return name

    # Help, usage

    def test_help(self):
        out = quoratectl("help")
        self.assertEqual(0, out.returncode)
        for word in ("list_queues", "quorum_status", "transfer_leadership",
                     "add_user", "cluster_status", "--timeout", "--format"):
            self.assertIn(word, out.stdout)
        for command in ("list_queues", "set_permissions", "stop"):
            out = quoratectl("help", command)
            self.assertEqual(0, out.returncode)
            self.assertIn(command, out.stdout)
        self.assertEqual(64, quoratectl("help", "frob").returncode)

    def test_usage(self):
        self.assertEqual(quoratectl("help").stdout, quoratectl().stdout)
        self.bad(64, "there is no command 'lst_queues': did you mean "
                 "'list_queues'?", "lst_queues")
        for words in (("add_user",), ("add_user", "a", "b", "c"),
                      ("list_users", "x"), ("set_permissions", "a", "b"),
                      ("list_queues", "--frob"), ("--timeout", "x", "ping"),
                      ("--format", "xml", "ping"),
                      ("list_users", "--if-empty")):
            out = self.run_on(1, *words)
            self.assertEqual(64, out.returncode, words)
            self.assertTrue(out.stderr.startswith("Error: "), out.stderr)

    # Nodes

    def test_ping_version_status_environment(self):
        self.assertIn("Ping succeeded", self.good("ping"))
        self.assertRegex(self.good("version"), r"^\d+\.\d+\.\d+\n$")
        for n in (1, 2, 3):
            status = self.rows("status", n=n)["status"]
            self.assertEqual((f"n{n}", "running"),
                             (status["node"], status["state"]))
            environment = self.rows("environment", n=n)["environment"]
            self.assertEqual(f"127.0.0.1:{self.cluster.port(n)}",
                             environment["listeners.tcp.default"])
            self.assertEqual("(hidden)", environment["default_pass"])

    def test_another_node(self):
        for n in (1, 2, 3):
            for other in (1, 2, 3):
                status = self.rows("-n", f"n{other}", "status", n=n)["status"]
                self.assertEqual(f"n{other}", status["node"])
        self.bad(69, "the cluster has no node 'n9'. See 'quoratectl "
                 "cluster_status' for the names of its nodes", "-n", "n9",
                 "status")

    def test_cluster_status(self):
        answers = []
        for n in (1, 2, 3):
            answer = self.rows("cluster_status", n=n)
            self.assertEqual("integration", answer["cluster"]["cluster_name"])
            answers.append(([(row["node"], row["state"], row["address"])
                             for row in answer["nodes"]],
                            answer["cluster"]["metadata_leader"]))
        self.assertEqual(
            [(f"n{n}", "running", f"127.0.0.1:{self.cluster.peer_port(n)}")
             for n in (1, 2, 3)], answers[0][0])
        self.assertEqual(1, len({str(a) for a in answers}))
        self.assertRegex(self.good("cluster_status"),
                         r"(?m)^n2 +2 +127\.0\.0\.1:\d+ +running ")

    # Queues

    def test_list_queues(self):
        name = self.declare(messages=5)
        channel = self.channel(2)
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume(name, lambda *_: None)
        columns = ("messages", "messages_ready", "messages_unacknowledged",
                   "consumers", "leader", "members", "online", "durable",
                   "auto_delete", "exclusive", "arguments", "state", "type",
                   "vhost", "message_bytes")
        row = wait_for(lambda: (r := self.cluster.queue(name, *columns))
                       and r["messages_unacknowledged"] == 2 and r,
                       "two are held")
        self.assertEqual(
            (5, 3, 2, 1, True, False, False, "running", "quorum", "/"),
            (row["messages"], row["messages_ready"],
             row["messages_unacknowledged"], row["consumers"], row["durable"],
             row["auto_delete"], row["exclusive"], row["state"], row["type"],
             row["vhost"]))
        # As stored: properties, exchange and routing key are in it.
        self.assertTrue(5 <= row["message_bytes"] <= 5 * 100, row)
        self.assertEqual(["n1", "n2", "n3"], sorted(row["members"]))
        self.assertEqual(["n1", "n2", "n3"], sorted(row["online"]))
        self.assertIn(row["leader"], row["members"])
        for n in (2, 3):
            self.assertEqual(row, self.cluster.queue(name, *columns, at=n))

    def test_formats(self):
        name = self.declare(messages=1)
        columns = ("name", "messages", "leader")
        leader = f"n{self.cluster.leader(name)}"
        table = self.good("list_queues", *columns).splitlines()
        self.assertEqual("name\tmessages\tleader",
                         [line for line in table if "messages" in line][0])
        self.assertIn(f"{name}\t1\t{leader}", table)
        self.assertIn(f"{name}\t1\t{leader}",
                      self.good("-s", "list_queues", *columns).splitlines())
        self.assertNotIn("messages", self.good("-s", "list_queues", *columns))
        self.assertNotIn("Listing", self.good("-q", "list_queues", *columns))
        text = self.good("--format", "csv", "list_queues", *columns)
        self.assertIn({"name": name, "messages": "1", "leader": leader},
                      list(csv.DictReader(io.StringIO(text))))
        text = self.good("--formatter", "json", "list_queues", *columns)
        self.assertIn({"name": name, "messages": 1, "leader": leader},
                      json.loads(text))
        text = self.good("--format", "pretty_table", "list_queues", *columns)
        self.assertRegex(text, rf"{name} +1 +{leader}")

    def test_unknown_column(self):
        out = self.run_on(1, "list_queues", "name", "frob")
        self.assertEqual(64, out.returncode)
        self.assertTrue(out.stderr.startswith(
            "Error: list_queues has no column 'frob'; it has: name vhost"))

    def test_quorum_status(self):
        name = self.declare(messages=3)
        for n in (1, 2, 3):
            rows = self.rows("quorum_status", name, n=n)["replicas"]
            self.assertEqual(["n1", "n2", "n3"],
                             sorted(r["node"] for r in rows))
            self.assertEqual(1, sum(r["state"] == "leader" for r in rows))
            for row in rows:
                self.assertEqual(
                    {"node", "role", "state", "term", "last", "stored",
                     "applied", "commit", "snapshot", "lag", "damaged"},
                    set(row))
                self.assertEqual("voter", row["role"])
                self.assertGreaterEqual(row["last"], row["stored"])
                self.assertGreaterEqual(row["stored"], row["applied"])
        self.bad(65, "Queue 'absent' in vhost '/' does not exist. See "
                 "'quoratectl list_queues -p /'", "quorum_status", "absent")

    def test_transfer_leadership(self):
        name = self.declare(messages=3)
        for n in (1, 2, 3, 2):
            self.good("transfer_leadership", name, f"n{n}", n=3)
            self.assertEqual(n, self.cluster.leader(name))
        self.good("transfer_leadership", name, "n2")  # it leads already
        self.bad(69, "the cluster has no node 'n9'. See 'quoratectl "
                 "cluster_status' for the names of its nodes",
                 "transfer_leadership", name, "n9")
        self.assertEqual(65, self.run_on(1, "transfer_leadership", "absent",
                                         "n1").returncode)
        self.assertEqual(3, self.cluster.queue(name, "messages")["messages"])

    def test_purge_and_delete(self):
        name = self.declare(messages=4)
        self.bad(65, f"queue '{name}' is not empty: 4 messages",
                 "delete_queue", "--if-empty", name)
        self.assertIn("4", self.good("purge_queue", name, n=2))
        self.assertEqual(0, self.cluster.queue(name, "messages")["messages"])
        channel = self.channel(3)
        channel.basic_consume(name, lambda *_: None)
        self.bad(65, f"queue '{name}' is in use: 1 consumers", "delete_queue",
                 "-u", name)
        self.good("delete_queue", name, n=3)
        self.assertIsNone(self.cluster.queue(name))
        for command in ("delete_queue", "purge_queue"):
            self.bad(65, f"Queue '{name}' in vhost '/' does not exist. See "
                     "'quoratectl list_queues -p /'", command, name)

    def test_exchanges_and_bindings(self):
        channel = self.channel(1)
        channel.exchange_declare(self.name(), "topic", durable=True)
        queue = self.declare("-q")
        channel.queue_bind(queue, self.name(), "a.*", arguments={"k": 1})
        for n in (1, 2, 3):
            self.assertIn({"name": self.name(), "type": "topic"},
                          self.rows("list_exchanges", n=n))
            self.assertIn({"name": self.name(), "durable": True,
                           "auto_delete": False, "internal": False},
                          self.rows("list_exchanges", "name", "durable",
                                    "auto_delete", "internal", n=n))
            found = [r for r in self.rows("list_bindings", n=n)
                     if r["source_name"] == self.name()]
            self.assertEqual(1, len(found))
            self.assertEqual(
                ("exchange", queue, "queue", "a.*", {"k": 1}),
                (found[0]["source_kind"], found[0]["destination_name"],
                 found[0]["destination_kind"], found[0]["routing_key"],
                 found[0]["arguments"]))

    # Clients

    def test_connections_channels_consumers(self):
        name = self.declare(messages=1)
        connection = self.connect(2)
        channel = connection.channel()
        channel.basic_qos(prefetch_count=7)
        tag = channel.basic_consume(name, lambda *_: None,
                                    consumer_tag="the-tag")
        port = connection._impl._transport._sock.getsockname()[1]
        for n in (1, 2, 3):
            found = wait_for(
                lambda: [r for r in self.rows("list_connections", n=n)
                         if r["peer_port"] == port], "the connection")
            self.assertEqual(
                ("guest", "127.0.0.1", "running"),
                (found[0]["user"], found[0]["peer_host"], found[0]["state"]))
            found = [r for r in self.rows("list_consumers", n=n)
                     if r["queue_name"] == name]
            self.assertEqual([(tag, True, 7, True)], [
                (r["consumer_tag"], r["ack_required"], r["prefetch_count"],
                 r["active"]) for r in found])
            found = [r for r in self.rows(
                "list_channels", "connection", "number", "user",
                "consumer_count", "prefetch_count", n=n)
                if r["consumer_count"] == 1]
            self.assertTrue(found)
        connection.close()
        wait_for(lambda: not [r for r in self.rows("list_connections")
                              if r["peer_port"] == port], "it is gone", 5)

    # Users, virtual hosts, permissions, policies

    def test_users(self):
        self.good("add_user", "u1", "pw")
        self.assertIn({"user": "u1", "tags": []},
                      self.rows("list_users", n=3))
        self.bad(70, "User 'u1' already exists", "add_user", "u1", "pw")
        self.good("authenticate_user", "u1", "pw", n=2)
        self.bad(65, "user 'u1' - invalid credentials", "authenticate_user",
                 "u1", "wrong")
        self.good("change_password", "u1", "new")
        self.good("authenticate_user", "u1", "new", n=3)
        self.assertEqual(65, self.run_on(1, "authenticate_user", "u1",
                                         "pw").returncode)
        self.good("set_user_tags", "u1", "monitoring", "policymaker", n=2)
        self.assertIn({"user": "u1", "tags": ["monitoring", "policymaker"]},
                      self.rows("list_users"))
        self.good("set_user_tags", "u1")
        self.assertIn({"user": "u1", "tags": []}, self.rows("list_users"))
        self.good("delete_user", "u1")
        for words in (("delete_user", "u1"), ("change_password", "u1", "x"),
                      ("set_user_tags", "u1", "t"),
                      ("set_permissions", "u1", "", "", "")):
            self.bad(67, "User 'u1' does not exist", *words)

    def test_password_from_standard_input(self):
        self.good("add_user", "piped", stdin="secret word\n")
        self.good("authenticate_user", "piped", "secret word")
        self.good("delete_user", "piped")

    def test_permissions(self):
        self.good("add_user", "u2", "pw")
        self.good("set_permissions", "-p", "/", "u2", "^a", "", ".*")
        want = {"user": "u2", "configure": "^a", "write": "", "read": ".*"}
        self.assertIn(want, self.rows("list_permissions", n=2))
        self.assertEqual(
            [{"vhost": "/", "configure": "^a", "write": "", "read": ".*"}],
            self.rows("list_user_permissions", "u2", n=3))
        self.good("clear_permissions", "u2")
        self.assertEqual([], self.rows("list_user_permissions", "u2"))
        self.bad(65, "Virtual host 'nowhere' does not exist",
                 "set_permissions", "-p", "nowhere", "u2", "", "", "")
        out = self.run_on(1, "set_permissions", "u2", "[", ".*", ".*")
        self.assertEqual(65, out.returncode)
        self.assertIn("is not a regular expression", out.stderr)
        self.good("delete_user", "u2")

    def test_vhosts(self):
        self.good("add_vhost", "v1", "--description", "for tests", "--tags",
                  "a,b")
        self.assertIn("v1", [r["name"] for r in self.rows("list_vhosts", n=3)])
        self.assertIn({"name": "v1", "description": "for tests"},
                      self.rows("list_vhosts", "name", "description"))
        self.bad(70, "Virtual host 'v1' already exists", "add_vhost", "v1")
        self.assertEqual([], self.rows("list_queues", "-p", "v1"))
        self.assertIn("amq.topic", [r["name"] for r in self.rows(
            "list_exchanges", "-p", "v1")])
        self.good("delete_vhost", "v1", n=2)
        self.bad(65, "Virtual host 'v1' does not exist", "delete_vhost", "v1")
        out = self.run_on(1, "list_queues", "-p", "v1")
        self.assertEqual(65, out.returncode)

    def test_policies(self):  # articles: G1.35, G2.41 - G2.45
        self.good("set_policy", "ha-all", "^lqz",
                  '{"ha-mode":"all","ha-sync-mode":"automatic"}')
        row = {"vhost": "/", "name": "ha-all", "pattern": "^lqz",
               "apply-to": "all", "priority": 0}
        found = self.rows("list_policies", n=3)
        definition = found[0].pop("definition")
        if isinstance(definition, str):
            definition = json.loads(definition)
        self.assertEqual({"ha-mode": "all", "ha-sync-mode": "automatic"},
                         definition)
        self.assertEqual([row], found)
        self.good("set_policy", "--priority", "3", "--apply-to", "queues",
                  "ha-all", "^", '{"ha-mode":"all"}', n=2)
        self.assertEqual((3, "queues", "^"), tuple(
            self.rows("list_policies")[0][k]
            for k in ("priority", "apply-to", "pattern")))
        for words in (("p", "^", "no json"), ("p", "[", "{}")):
            self.assertEqual(65, self.run_on(1, "set_policy",
                                             *words).returncode)
        self.good("clear_policy", "ha-all")
        self.bad(65, "Policy 'ha-all' does not exist", "clear_policy",
                 "ha-all")

    def test_socket_from_the_configuration_and_the_environment(self):
        out = quoratectl("--config", self.cluster.config(2), "--format",
                         "json", "status")
        self.assertEqual("n2", json.loads(out.stdout)["status"]["node"])
        out = quoratectl("--format", "json", "status", env=dict(
            os.environ, QUORATE_SOCKET=self.cluster.socket(3)))
        self.assertEqual("n3", json.loads(out.stdout)["status"]["node"])


class CtlDeadlineTest(unittest.TestCase):
    """Nodes that do not answer."""

    COMMANDS = (("list_queues", "name", "messages", "leader"),
                ("cluster_status",), ("quorum_status", "q"),
                ("list_connections",), ("list_channels",),
                ("list_consumers",), ("list_users",), ("status",),
                ("add_user", "late", "pw"), ("purge_queue", "q"),
                ("transfer_leadership", "q", "n1"))

    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        channel = self.cluster.connect(1).channel()
        channel.queue_declare("q", durable=True)
        self.cluster.await_leader("q")

    def run_all(self, n, seconds=3):
        """Exit codes of all commands, none of which may take long."""
        codes = {}
        for words in self.COMMANDS:
            start = time.monotonic()
            out = self.cluster.run_ctl(n, "-t", str(seconds), *words,
                                       timeout=seconds + 10)
            took = time.monotonic() - start
            self.assertLess(took, seconds + 1.5, words)
            codes[words[0]] = out.returncode
            if out.returncode != 0:
                self.assertTrue(out.stderr.startswith("Error: "),
                                (words, out))
        return codes

    def test_one_node_down(self):
        self.cluster.kill(3)
        wait_for(lambda: self.cluster.leader("q", at=1) in (1, 2), "a leader")
        codes = self.run_all(1)
        for name in ("list_queues", "cluster_status", "quorum_status",
                     "list_users", "status", "add_user", "purge_queue"):
            self.assertEqual(0, codes[name], name)
        out = self.cluster.run_ctl(1, "-n", "n3", "-t", "3", "status")
        self.assertNotEqual(0, out.returncode)
        self.assertIn("n3", out.stderr)

    def test_one_node_stands_still(self):
        self.cluster.pause(3)
        codes = self.run_all(1)
        print(f"    {codes}", file=sys.stderr)
        self.assertEqual(0, codes["list_users"])
        out = self.cluster.run_ctl(3, "-t", "2", "status")
        self.assertNotEqual(0, out.returncode)

    def test_no_majority(self):
        self.cluster.kill(2, 3)
        codes = self.run_all(1)
        print(f"    {codes}", file=sys.stderr)
        for name in ("status", "cluster_status"):
            self.assertEqual(0, codes[name], name)
        self.assertNotEqual(0, codes["add_user"])
        self.assertNotEqual(0, codes["purge_queue"])

    def test_stop(self):
        self.assertEqual(0, self.cluster.run_ctl(2, "stop").returncode)
        self.assertEqual(0, self.cluster.reap(2))
        self.assertEqual(0, self.cluster.run_ctl(1, "-n", "n3",
                                                 "stop").returncode)
        self.assertEqual(0, self.cluster.reap(3))
        self.assertNotEqual(0, self.cluster.run_ctl(2, "ping").returncode)

    def test_default_deadline(self):
        self.cluster.pause(1)
        start = time.monotonic()
        out = subprocess.run(
            [QUORATECTL, "--socket", self.cluster.socket(1), "list_queues"],
            capture_output=True, text=True, timeout=20, check=False)
        self.assertNotEqual(0, out.returncode)
        self.assertLess(time.monotonic() - start, 13)
