"""Passwords, keys and the cluster's secret: in no log, in no process list, in
no environment, and in no core of a node that has used them all."""
import base64
import os
import re
import shutil
import subprocess
import unittest

import pika

from cluster import QUORATECTL, QUORATED, Cluster, wait_for
from test_tls import Authority, context

DEFAULT_PASS = "the-default-user-s-word-4711"
USER_PASS = "a-word-by-standard-input-4712"
ARGUMENT_PASS = "a-word-on-the-command-line-4713"
WRONG_PASS = "a-word-that-is-wrong-4714"
NOBODY = 65534
KEY_PASS = "the-word-of-a-private-key-4715"


def private_bytes(path, password=None):
    """What of the private key at PATH nobody may find: the numbers, in the
    order of bytes of files and of this machine's words."""
    words = ["openssl", "pkey", "-in", path, "-text", "-noout"]
    if password:
        words += ["-passin", "pass:" + password]
    text = subprocess.run(words, check=True, capture_output=True,
                          text=True).stdout
    out = []
    for name in "priv", "privateExponent", "prime1", "prime2":
        found = re.search(rf"^{name}:\n((?:    [0-9a-f:]+\n)+)", text, re.M)
        if found:
            number = bytes.fromhex(re.sub(r"[\s:]", "", found.group(1)))
            number = number.lstrip(b"\0")
            out += [number[:24], number[::-1][:24]]
    return out


def pem_lines(path):
    """The middle of the file at PATH, as text and as bytes."""
    with open(path) as f:
        lines = [line.strip() for line in f if "-----" not in line]
    return [lines[1].encode(), base64.b64decode("".join(lines))[-40:]]


class SecretsTest(unittest.TestCase):
    """Two nodes that have used every secret there is."""

    def setUp(self):
        self.authority = Authority()
        self.addCleanup(self.authority.close)
        self.authority.issue("node", "server", "127.0.0.1")
        self.authority.issue("client", "app")
        self.lock_key()
        self.cluster = Cluster(nodes=2, settings={
            "default_user": "boss", "default_pass": DEFAULT_PASS})
        self.addCleanup(self.cluster.close)
        self.port = self.cluster.ports.base + 5
        self.cluster.write_config(
            1, **{"listeners__ssl__default": f"127.0.0.1:{self.port}",
                  "ssl_options__cacertfile": self.authority.path("ca.pem"),
                  "ssl_options__certfile": self.authority.path("server.pem"),
                  "ssl_options__keyfile": self.authority.path("server.key"),
                  "ssl_options__password": KEY_PASS,
                  "log__console__level": "debug"})
        self.cluster.start()

    def lock_key(self):
        """server.key gets a password. On P-256: of RSA keys OpenSSL keeps the
        factors in ordinary memory, see docs/operations/tls.md."""
        key = self.authority.path("server.key")
        csr = self.authority.path("server.csr")
        os.remove(key)
        for words in (
                ["genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-aes-128-cbc", "-pass",
                 "pass:" + KEY_PASS, "-out", key],
                ["req", "-new", "-key", key, "-passin", "pass:" + KEY_PASS,
                 "-subj", "/CN=server", "-addext",
                 "subjectAltName=DNS:localhost", "-out", csr],
                ["x509", "-req", "-in", csr, "-CA",
                 self.authority.path("ca.pem"), "-CAkey",
                 self.authority.path("ca.key"), "-copy_extensions", "copyall",
                 "-days", "30", "-out", self.authority.path("new.pem")]):
            subprocess.run(["openssl", *words], check=True,
                           capture_output=True)
        os.chmod(key, 0o400)
        os.replace(self.authority.path("new.pem"),
                   self.authority.path("server.pem"))

    def login(self, user, password, tls):
        options = pika.SSLOptions(context(self.authority), "localhost") \
            if tls else None
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", self.port if tls else self.cluster.port(1),
            ssl_options=options,
            credentials=pika.PlainCredentials(user, password)))
        connection.channel()
        return connection

    def use_them(self):
        """Every way that a password takes into a node."""
        ctl = self.cluster.run_ctl
        self.assertEqual(0, ctl(1, "add_user", "joe",
                                stdin=USER_PASS + "\n").returncode)
        self.assertEqual(0, ctl(1, "add_user", "jim",
                                ARGUMENT_PASS).returncode)
        for user in "joe", "jim":
            ctl(1, "set_permissions", user, ".*", ".*", ".*")
        self.assertEqual(0, ctl(1, "authenticate_user", "joe",
                                stdin=USER_PASS + "\n").returncode)
        kept = []
        for tls in False, True:
            kept += [self.login("boss", DEFAULT_PASS, tls),
                     self.login("joe", USER_PASS, tls),
                     self.login("jim", ARGUMENT_PASS, tls)]
            with self.assertRaises(pika.exceptions.AMQPError):
                self.login("joe", WRONG_PASS, tls)
        return kept

    def core(self, n):
        """The memory of node N, as a core has it."""
        prefix = self.cluster.path("core")
        out = subprocess.run(["gcore", "-o", prefix,
                              str(self.cluster.pid(n))], check=False,
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(0, out.returncode, out.stderr)
        path = f"{prefix}.{self.cluster.pid(n)}"
        with open(path, "rb") as f:
            data = f.read()
        os.remove(path)
        return data

    def check(self, where, data, secrets):
        for name, secret in secrets:
            self.assertFalse(secret in data, f"{name} is in {where}")

    def test_nothing_is_left_lying_about(self):
        with open(self.cluster.secret, "rb") as f:
            cluster_secret = f.read().strip()
        key = self.authority.path("server.key")
        secrets = [("the cluster's secret", cluster_secret),
                   ("the default password", DEFAULT_PASS.encode()),
                   ("a password", USER_PASS.encode()),
                   ("a password of a command line", ARGUMENT_PASS.encode()),
                   ("a wrong password", WRONG_PASS.encode()),
                   ("the key's password", KEY_PASS.encode())]
        secrets += [("a line of the key's file", s) for s in pem_lines(key)]
        secrets += [("the private key", s)
                    for s in private_bytes(key, KEY_PASS)]
        self.assertEqual(6 + 2 + 2, len(secrets))
        kept = self.use_them()
        pid = self.cluster.pid(1)
        for n in 1, 2:
            self.check(f"the log of n{n}", self.cluster.log(n).encode(),
                       secrets)
        for name in "cmdline", "environ":
            with open(f"/proc/{pid}/{name}", "rb") as f:
                self.check(name, f.read(), secrets)
        environment = self.cluster.run_ctl(1, "environment").stdout
        self.check("environment", environment.encode(), secrets)
        self.assertIn("(hidden)", environment)
        if os.geteuid() != 0 or shutil.which("gcore") is None:
            self.skipTest("NOT TESTED: cores, for want of root or of gcore")
        core = self.core(1)
        # It is a whole core: what is no secret is there.
        self.assertIn(b"quorate", core)
        self.assertIn(self.authority.path("server.pem").encode(), core)
        self.check("a core of n1", core, secrets)
        self.check("a core of n2", self.core(2), secrets[:6])
        for connection in kept:
            connection.close()

    def test_a_password_leaves_the_process_list(self):
        # The node does not answer: quoratectl waits for it.
        self.cluster.pause(1)
        process = subprocess.Popen(
            [QUORATECTL, "--socket", self.cluster.socket(1), "-t", "5",
             "add_user", "jane", ARGUMENT_PASS], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            def line():
                with open(f"/proc/{process.pid}/cmdline", "rb") as f:
                    return f.read()
            wait_for(lambda: b"jane\0xxxx" in line(), "overwritten", 3)
            self.assertNotIn(ARGUMENT_PASS.encode(), line())
        finally:
            self.cluster.resume(1)
            self.assertEqual(0, process.wait(20))


class DumpTest(unittest.TestCase):
    """What the kernel makes of a process that may not be dumped."""

    def owner(self, core_dumps):
        """Of /proc/PID/environ of a node that another user runs."""
        cluster = Cluster(nodes=1, settings={
            "node.core_dumps": core_dumps, "cluster.secret_file": ""})
        self.addCleanup(cluster.close)
        program = cluster.path("quorated")
        shutil.copy(QUORATED, program)
        os.chmod(cluster.dir, 0o755)
        os.mkdir(cluster.data(1))
        os.chown(cluster.data(1), NOBODY, NOBODY)
        with open(cluster.path("n1.log"), "w") as log:
            cluster.processes[1] = subprocess.Popen(
                [program, "--config", cluster.config(1)], cwd=cluster.data(1),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=NOBODY,
                group=NOBODY, extra_groups=[])
        cluster.await_serving(1)
        return os.stat(f"/proc/{cluster.pid(1)}/environ").st_uid

    def test_no_core_unless_asked_for(self):
        if os.geteuid() != 0:
            self.skipTest("NOT TESTED, for want of root")
        self.assertEqual(0, self.owner("false"))
        self.assertEqual(NOBODY, self.owner("true"))


if __name__ == "__main__":
    unittest.main()
