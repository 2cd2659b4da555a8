"""The node as a service: its unit, what a supervisor is told, and who may come
from elsewhere."""
import os
import shutil
import socket
import subprocess
import sys
import unittest

from cluster import TOP, Cluster
from test_tls import Authority


class SystemdTest(unittest.TestCase):
    """The unit, and what a supervisor is told."""

    def test_the_unit_is_hardened(self):
        script = os.path.join(TOP, "deploy/systemd/check.sh")
        out = subprocess.run([script], capture_output=True, text=True,
                             check=False)
        if out.returncode == 77:
            self.skipTest(out.stderr)
        self.assertEqual(0, out.returncode, out.stdout + out.stderr)

    def test_a_supervisor_is_told(self):
        cluster = Cluster(nodes=1)
        self.addCleanup(cluster.close)
        path = cluster.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(30)
            os.environ["NOTIFY_SOCKET"] = path
            self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
            cluster.launch(1)
            self.assertEqual(b"READY=1\nSTATUS=AMQP clients are served",
                             s.recv(200))
            # It is: no waiting.
            cluster.connect(1).close()
            cluster.signal(1, 15)
            self.assertEqual(b"STOPPING=1", s.recv(200))
            self.assertEqual(0, cluster.reap(1))


class LoopbackTest(unittest.TestCase):
    """guest, from this machine and from another."""

    def test_guest_comes_from_this_machine_only(self):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            self.skipTest("NOT TESTED, for want of root or of ip")
        name = f"quorate-{os.getpid()}"
        link = f"q{os.getpid()}"

        def ip(*words):
            subprocess.run(["ip", *words], check=True, capture_output=True)
        try:
            ip("netns", "add", name)
            self.addCleanup(ip, "netns", "del", name)
            ip("link", "add", link, "type", "veth", "peer", "name", "far",
               "netns", name)
            ip("addr", "add", "198.51.100.1/30", "dev", link)
            ip("link", "set", link, "up")
            ip("-n", name, "addr", "add", "198.51.100.2/30", "dev", "far")
            ip("-n", name, "link", "set", "far", "up")
            ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.skipTest(f"NOT TESTED: no network namespace: {error.stderr}")
        authority = Authority()
        self.addCleanup(authority.close)
        authority.issue("node", "server", "198.51.100.1")
        cluster = Cluster(nodes=1)
        self.addCleanup(cluster.close)
        plain, tls = cluster.ports.base + 4, cluster.ports.base + 5
        cluster.write_config(
            1, **{"listeners__tcp__far": f"198.51.100.1:{plain}",
                  "listeners__ssl__far": f"198.51.100.1:{tls}",
                  "ssl_options__certfile": authority.path("server.pem"),
                  "ssl_options__keyfile": authority.path("server.key")})
        cluster.start()
        cluster.ctl(1, "add_user", "joe", "a-word-of-joe-s")
        cluster.ctl(1, "set_permissions", "joe", ".*", ".*", ".*")
        script = """
import pika, ssl, sys
port, user, password, ca = sys.argv[1:]
options = pika.SSLOptions(ssl.create_default_context(cafile=ca)) \\
    if ca else None
try:
    pika.BlockingConnection(pika.ConnectionParameters(
        "198.51.100.1", int(port), ssl_options=options, socket_timeout=5,
        credentials=pika.PlainCredentials(user, password)))
    print("in")
except pika.exceptions.ProbableAuthenticationError as error:
    print("refused", error)
"""

        def login(*words):
            return subprocess.run(
                ["ip", "netns", "exec", name, sys.executable, "-c", script,
                 *words], capture_output=True, text=True, check=False,
                timeout=30)
        for port, ca in (plain, ""), (tls, authority.path("ca.pem")):
            with self.subTest(port=port):
                out = login(str(port), "guest", "guest", ca)
                self.assertIn("refused", out.stdout, out.stderr)
                out = login(str(port), "joe", "a-word-of-joe-s", ca)
                self.assertIn("in\n", out.stdout, out.stderr)
        self.assertEqual(2, cluster.log(1).count(
            "user 'guest' can only connect via localhost"))
        cluster.connect(1).close()  # from here it may


if __name__ == "__main__":
    unittest.main()
