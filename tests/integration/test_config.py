"""Configuration: what is said about a bad one, and the exit codes (0 good, 1
cannot run, 2 wrong usage or configuration)."""
import os
import shutil
import subprocess
import tempfile
import unittest

from cluster import QUORATECTL, QUORATED, Cluster, wait_for


def quorated(*words, cwd=None):
    return subprocess.run([QUORATED, *words], capture_output=True, text=True,
                          timeout=20, check=False, cwd=cwd,
                          stdin=subprocess.DEVNULL)


class ConfigTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="quorate-int-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.file = os.path.join(self.dir, "q.conf")

    def check(self, text, *more):
        with open(self.file, "w") as f:
            f.write(text)
        return quorated("--config", self.file, "--check-config", *more,
                        cwd=self.dir)

    def assertRefused(self, text, said):
        """--check-config and a start both refuse it, in the same words."""
        for out in (self.check(text),
                    quorated("--config", self.file, cwd=self.dir)):
            self.assertEqual((2, "", f"quorated: {said}\n"),
                             (out.returncode, out.stdout, out.stderr))

    def secret(self, mode, text="0123456789abcdef0123456789abcdef"):
        path = os.path.join(self.dir, "secret")
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def three(self, secret):
        return (f"cluster.secret_file = {secret}\n" if secret else "") + """\
cluster_formation.classic_config.nodes.1 = n1@127.0.0.1:1
cluster_formation.classic_config.nodes.2 = n2@127.0.0.1:2
cluster_formation.classic_config.nodes.3 = n3@127.0.0.1:3
"""

    def test_good(self):
        out = self.check("# a comment\n\nheartbeat = 30\n"
                         "listeners.tcp.default = 127.0.0.1:5679\n"
                         "loopback_users.guest = false\n"
                         "log.console.level = warning\n")
        self.assertEqual((0, f"{self.file}: good\n", ""),
                         (out.returncode, out.stdout, out.stderr))

    def test_none_is_good(self):
        out = quorated("--check-config", cwd=self.dir)
        self.assertEqual((0, "defaults: good\n"), (out.returncode, out.stdout))
        self.assertEqual([], os.listdir(self.dir))

    def test_examples_are_good(self):
        top = os.path.dirname(os.path.dirname(os.path.dirname(
            os.path.abspath(__file__))))
        folder = os.path.join(self.dir, "quorate-data")
        os.mkdir(folder)
        shutil.copy(self.secret(0o400), os.path.join(folder, "secret"))
        os.chmod(os.path.join(folder, "secret"), 0o400)
        for n in (1, 2, 3):
            out = quorated(
                "--config", os.path.join(top, f"deploy/three-node/n{n}.conf"),
                "--check-config", cwd=self.dir)
            self.assertEqual(0, out.returncode, out.stderr)

    def test_unknown_key(self):
        out = self.check("heartbeat = 30\nhartbeat = 30\n")
        self.assertEqual(2, out.returncode)
        self.assertRegex(out.stderr, rf"^quorated: {self.file}:2: hartbeat = "
                         "30: .*no such key.*")

    def test_bad_values(self):
        for key, value, allowed in (
                ("heartbeat", "x", "a number from 0 to 65535 is allowed"),
                ("heartbeat", "65536", "a number from 0 to 65535 is allowed"),
                ("heartbeat", "-1", "a number from 0 to 65535 is allowed"),
                ("frame_max", "4095",
                 "a number from 4096 to 16777216 is allowed"),
                ("log.console", "maybe", "true or false is allowed"),
                ("log.console.level", "loud", "debug, info, warning, error, "
                 "critical or none is allowed"),
                ("loopback_users.guest", "7", "true or false is allowed"),
                ("node.shards", "0", "a number from 1 to 64 is allowed")):
            with self.subTest(key=key, value=value):
                self.assertRefused(
                    f"\n\n{key} = {value}\n",
                    f"{self.file}:3: {key} = {value}: {allowed}")

    def test_no_such_file(self):
        out = quorated("--config", "/nowhere/q.conf")
        self.assertEqual(2, out.returncode)
        self.assertRegex(out.stderr, "^quorated: .*/nowhere/q.conf.*No such "
                         "file or directory")

    def test_not_a_line(self):
        out = self.check("heartbeat = 30\nwhat is this\n")
        self.assertEqual(2, out.returncode)
        self.assertIn(f"{self.file}:2: ", out.stderr)

    def test_missing_secret(self):
        for secret in (None, "/nowhere/secret"):
            out = self.check(self.three(secret))
            self.assertEqual(2, out.returncode)
            self.assertIn("cluster.secret_file", out.stderr)
        self.assertIn("/nowhere/secret", out.stderr)

    def test_readable_secret(self):  # articles: G1.29
        for mode in (0o644, 0o440, 0o404, 0o777):
            path = self.secret(mode)
            out = self.check(self.three(path))
            self.assertEqual(2, out.returncode, oct(mode))
            self.assertIn(path, out.stderr)
            self.assertIn("chmod 0400 " + path, out.stderr)
            os.remove(path)
        self.assertEqual(0, self.check(self.three(self.secret(0o400)))
                         .returncode)

    def test_short_secret(self):
        out = self.check(self.three(self.secret(0o400, "short")))
        self.assertEqual(2, out.returncode)
        self.assertIn("16", out.stderr)

    def test_node_that_is_not_in_its_list(self):
        out = self.check(self.three(self.secret(0o400)) + "node.name = n9\n")
        self.assertEqual(2, out.returncode)
        self.assertIn("n9", out.stderr)

    def test_usage(self):
        for words in (("--frob",), ("argument",), ("--config",)):
            out = quorated(*words)
            self.assertEqual(2, out.returncode, words)
            self.assertIn("--help", out.stderr)
        for word in ("--help", "--version", "--help-man"):
            out = quorated(word)
            self.assertEqual((0, ""), (out.returncode, out.stderr))
        self.assertIn("cluster.secret_file", quorated("--help").stdout)


class SingleNodeTest(unittest.TestCase):
    """A node by itself."""

    def setUp(self):
        self.cluster = Cluster(nodes=1)
        self.addCleanup(self.cluster.close)

    def test_port_in_use(self):
        self.cluster.start()
        with open(self.cluster.config(1)) as f:
            text = f.read()
        other = self.cluster.path("other.conf")
        with open(other, "w") as f:
            f.write(text.replace("node.data_dir = ", "node.data_dir = "
                                 + self.cluster.path("other") + "#").
                    replace("#" + self.cluster.data(1), ""))
        out = quorated("--config", other, cwd=self.cluster.dir)
        self.assertEqual(1, out.returncode)
        self.assertIn(f"127.0.0.1:{self.cluster.port(1)}", out.stderr)

    def test_data_directory_in_use(self):
        self.cluster.start()
        out = quorated("--config", self.cluster.config(1))
        self.assertEqual(1, out.returncode)
        self.assertIn(self.cluster.data(1), out.stderr)
        self.assertIn("another quorated uses this data directory", out.stderr)
        self.assertEqual(0, self.cluster.run_ctl(1, "ping").returncode)

    def test_durable_things_survive_and_others_do_not(self):
        self.cluster.start()
        channel = self.cluster.connect(1).channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.queue_declare("not-kept")
        channel.exchange_declare("kept-x", durable=True)
        channel.queue_bind("kept", "kept-x", "k")
        for i in range(10):
            channel.basic_publish("kept-x", "k", b"%d" % i)
        self.assertEqual(0, self.cluster.stop(1))
        self.cluster.start()
        channel = self.cluster.connect(1).channel()
        self.assertEqual(10, channel.queue_declare(
            "kept", passive=True).method.message_count)
        channel.basic_publish("kept-x", "k", b"10")
        wait_for(lambda: self.cluster.queue("kept", "messages")["messages"]
                 == 11, "bound as before")
        self.assertIsNone(self.cluster.queue("not-kept"))

    def test_stop_by_either_signal_or_command(self):
        self.cluster.start()
        self.assertEqual(0, self.cluster.stop(1))
        self.cluster.start()
        self.cluster.signal(1, 2)
        self.assertEqual(0, self.cluster.reap(1))
        self.cluster.start()
        self.assertEqual(0, self.cluster.run_ctl(1, "stop").returncode)
        self.assertEqual(0, self.cluster.reap(1))

    def test_shards_may_not_change(self):
        self.cluster.start()
        self.cluster.stop(1)
        self.cluster.write_config(1, node__shards=2)
        out = quorated("--config", self.cluster.config(1))
        self.assertNotEqual(0, out.returncode)
        self.assertIn("node.shards", out.stderr)

    def test_only_the_owner_can_open_the_socket(self):
        self.cluster.start()
        self.assertEqual(0o600, os.stat(self.cluster.socket(1)).st_mode
                         & 0o777)

    def test_no_node_no_hanging(self):
        out = subprocess.run(
            [QUORATECTL, "--socket", self.cluster.socket(1), "list_queues"],
            capture_output=True, text=True, timeout=15, check=False)
        self.assertNotEqual(0, out.returncode)
        self.assertIn(self.cluster.socket(1), out.stderr)
