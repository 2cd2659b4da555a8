"""TLS for clients and between nodes: real clients, real certificates, and
what a process leaves in its logs and its memory."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import pika

from cluster import TOP, Cluster, ClusterTest, close_quietly, wait_for

MAKE = os.path.join(TOP, "deploy/tls/make-certificates.sh")


def make(folder, *words, **env):
    """deploy/tls/make-certificates.sh in FOLDER."""
    out = subprocess.run([MAKE, folder, *words], capture_output=True,
                         text=True, check=False, env=dict(os.environ, **env))
    if out.returncode != 0:
        raise RuntimeError(out.stderr)


class Authority:
    """An authority in a directory of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="quorate-tls-")
        make(self.dir, "authority")

    def path(self, name):
        return os.path.join(self.dir, name)

    def issue(self, *words):
        make(self.dir, *words)

    def issue_expired(self, name):
        """Of client NAME: its certificate was good for a day in 2001."""
        self.issue("client", name)
        os.remove(self.path(name + ".pem"))
        with open(self.path("db"), "w"):
            pass
        with open(self.path("ca.cnf"), "w") as f:
            f.write(f"[ca]\ndefault_ca = x\n[x]\ndatabase = {self.dir}/db\n"
                    f"new_certs_dir = {self.dir}\nrand_serial = yes\n"
                    "default_md = sha256\npolicy = p\n"
                    "[p]\ncommonName = supplied\n")
        csr = self.path(name + ".csr")
        for words in (
                ["req", "-new", "-key", self.path(name + ".key"), "-subj",
                 f"/CN={name}", "-out", csr],
                ["ca", "-batch", "-config", self.path("ca.cnf"), "-cert",
                 self.path("ca.pem"), "-keyfile", self.path("ca.key"), "-in",
                 csr, "-notext", "-startdate", "20010101000000Z", "-enddate",
                 "20010102000000Z", "-out", self.path(name + ".pem")]):
            subprocess.run(["openssl", *words], check=True,
                           capture_output=True)

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def context(authority, certificate=None, version=None, of=None):
    """A client that trusts AUTHORITY and shows CERTIFICATE (of OF)."""
    c = ssl.create_default_context(cafile=authority.path("ca.pem"))
    if version is not None:
        c.minimum_version = c.maximum_version = version
    if certificate is not None:
        of = of or authority
        c.load_cert_chain(of.path(certificate + ".pem"),
                          of.path(certificate + ".key"))
    return c


class TlsTest(ClusterTest):
    """One node with TLS, which asks for certificates and does not insist."""

    NODES = 1
    STARTED = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority()
        cls.addClassCleanup(cls.authority.close)
        cls.authority.issue("node", "server", "127.0.0.1")
        cls.authority.issue("client", "app")
        cls.port = cls.cluster.ports.base + 5
        cls.cluster.write_config(
            1, **{"listeners__ssl__default": f"127.0.0.1:{cls.port}",
                  "ssl_options__cacertfile": cls.authority.path("ca.pem"),
                  "ssl_options__certfile": cls.authority.path("server.pem"),
                  "ssl_options__keyfile": cls.authority.path("server.key"),
                  "ssl_options__verify": "verify_peer",
                  "ssl_handshake_timeout": 1000,
                  "auth_mechanisms__1": "PLAIN",
                  "auth_mechanisms__2": "EXTERNAL",
                  "tls__watch_interval": 100})
        cls.cluster.start()

    def tls(self, certificate=None, version=None, of=None, **options):
        """A connection by TLS that is closed after the test."""
        options.setdefault("credentials",
                           pika.PlainCredentials("guest", "guest"))
        parameters = pika.ConnectionParameters(
            "127.0.0.1", self.port, socket_timeout=10, stack_timeout=15,
            ssl_options=pika.SSLOptions(
                context(self.authority, certificate, version, of),
                "localhost"), **options)
        connection = pika.BlockingConnection(parameters)
        self.addCleanup(close_quietly, connection)
        return connection

    def row(self, *columns):
        rows = self.cluster.ctl(1, "list_connections", *columns)
        self.assertEqual(1, len(rows), rows)
        return rows[0]

    def s_client(self, *words):
        """What openssl s_client says of a handshake."""
        return subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}",
             *words], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=10)

    def assertRefused(self, logged, *words, **options):
        before = len(self.cluster.log(1))
        with self.assertRaises((pika.exceptions.AMQPError, OSError)):
            self.tls(*words, **options)
        # A line a second, however many fail.
        wait_for(lambda: logged in self.cluster.log(1)[before:],
                 f"'{logged}' is logged", 5)
        time.sleep(1.1)

    def test_messages_by_each_version(self):
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            for certificate in None, "app":
                with self.subTest(version=version, certificate=certificate):
                    connection = self.tls(certificate, version)
                    channel = connection.channel()
                    channel.queue_declare("by-tls", durable=True)
                    channel.confirm_delivery()
                    bodies = [os.urandom(1 + i * 7919) for i in range(40)]
                    for body in bodies:
                        channel.basic_publish("", "by-tls", body)
                    self.assertEqual(bodies, self.bodies(channel, "by-tls"))
                    connection.close()

    def test_listing(self):
        self.tls("app", ssl.TLSVersion.TLSv1_3)
        row = self.row("user", "auth_mechanism", "ssl", "ssl_protocol",
                       "ssl_key_exchange", "ssl_cipher", "ssl_hash",
                       "peer_cert_subject", "peer_cert_issuer",
                       "peer_cert_validity")
        self.assertRegex(row.pop("peer_cert_issuer"), "^CN=Quorate authority ")
        self.assertRegex(row.pop("peer_cert_validity"),
                         r"^20\d\d-.*Z - 20\d\d-.*Z$")
        self.assertEqual(
            {"user": "guest", "auth_mechanism": "PLAIN", "ssl": True,
             "ssl_protocol": "tlsv1.3", "ssl_key_exchange": "any",
             "ssl_cipher": "aes_256_gcm", "ssl_hash": "aead",
             "peer_cert_subject": "CN=app"}, row)

    def test_external(self):
        self.cluster.ctl(1, "add_user", "CN=app", "not-used")
        self.cluster.ctl(1, "set_permissions", "CN=app", ".*", ".*", ".*")
        external = pika.credentials.ExternalCredentials()
        connection = self.tls("app", credentials=external)
        self.assertEqual({"user": "CN=app", "auth_mechanism": "EXTERNAL"},
                         self.row("user", "auth_mechanism"))
        connection.close()
        # Without a certificate it is not offered.
        with self.assertRaises(pika.exceptions.AuthenticationError):
            self.tls(credentials=external)
        self.cluster.ctl(1, "delete_user", "CN=app")
        with self.assertRaises(pika.exceptions.ProbableAuthenticationError):
            self.tls("app", credentials=external)

    def test_another_authority(self):
        other = Authority()
        self.addCleanup(other.close)
        other.issue("client", "app")
        self.assertRefused("certificate verify failed", "app", of=other)

    def test_expired(self):
        self.authority.issue_expired("late")
        self.assertRefused("certificate has expired", "late")

    def test_old_versions(self):
        for word in "-tls1", "-tls1_1":
            out = self.s_client(word, "-cipher", "DEFAULT@SECLEVEL=0")
            self.assertNotEqual(0, out.returncode)
            self.assertIn("alert protocol version", out.stderr)

    def test_weak_ciphers(self):
        for cipher in "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA":
            out = self.s_client("-tls1_2", "-cipher", cipher)
            self.assertNotEqual(0, out.returncode, cipher)
            self.assertIn("handshake failure", out.stderr)

    def test_no_renegotiation(self):
        with subprocess.Popen(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}",
                 "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True) as client:
            out, _ = client.communicate("R\n", timeout=10)
        self.assertIn("no renegotiation", out)

    def test_silence(self):
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            self.assertEqual(b"", s.recv(10))
        self.assertLess(0.9, time.monotonic() - start)
        self.assertGreater(5, time.monotonic() - start)

    def test_plain_bytes(self):
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(b"AMQP\0\0\x09\x01")
            self.assertNotIn(b"AMQP", s.recv(100))

    def test_plain_listener_is_plain(self):
        connection = self.cluster.connect(1)
        self.assertEqual({"ssl": False, "ssl_protocol": ""},
                         self.row("ssl", "ssl_protocol"))
        connection.close()

    def serial(self):
        """Of the certificate that new clients are shown."""
        c = context(self.authority)
        with socket.create_connection(("127.0.0.1", self.port), 10) as s, \
                c.wrap_socket(s, server_hostname="localhost") as t:
            return t.getpeercert()["serialNumber"]

    def test_new_certificates(self):
        connection = self.tls()
        channel = connection.channel()
        first = self.serial()
        self.authority.issue("node", "server", "127.0.0.1")  # by the watch
        wait_for(lambda: self.serial() != first, "a new certificate", 5)
        second = self.serial()
        shutil.copy(self.authority.path("server.pem"),
                    self.authority.path("good"))
        with open(self.authority.path("bad"), "w") as f:
            f.write("-----BEGIN CERTIFICATE-----\nnonsense\n")
        os.replace(self.authority.path("bad"), self.authority.path(
            "server.pem"))
        wait_for(lambda: "new certificates are refused, the old ones stay: "
                 "ssl_options.certfile" in self.cluster.log(1), "refused", 5)
        self.assertEqual(second, self.serial())
        out = self.cluster.run_ctl(1, "reload_tls")
        self.assertNotEqual(0, out.returncode)
        self.assertIn("the old ones stay", out.stdout + out.stderr)
        os.replace(self.authority.path("good"), self.authority.path(
            "server.pem"))
        out = self.cluster.run_ctl(1, "-q", "reload_tls")
        self.assertEqual(0, out.returncode, out.stderr)
        self.assertIn("ssl_options: CN=server is good until", out.stdout)
        before = self.cluster.log(1).count("loaded certificates")
        self.cluster.signal(1, signal.SIGHUP)
        wait_for(lambda: self.cluster.log(1).count("loaded certificates")
                 > before, "SIGHUP", 5)
        # Who was connected has noticed nothing.
        channel.queue_declare("still-here", exclusive=True)

    def test_status(self):
        status = self.cluster.ctl(1, "status")["status"]
        self.assertEqual(f"127.0.0.1:{self.port}",
                         status["listeners.ssl.default"])
        self.assertRegex(status["ssl_options.certfile"],
                         r"^CN=server is good until 20.*Z \(\d+ days\)$")


class LinkTlsTest(unittest.TestCase):
    """Three nodes that prove themselves by certificates."""

    def test_a_wrong_certificate_stays_outside(self):
        authority = Authority()
        self.addCleanup(authority.close)
        settings = {"cluster.secret_file": "",
                    "cluster.tls.cacertfile": authority.path("ca.pem"),
                    "tls.watch_interval": 100}
        cluster = Cluster(nodes=3, settings=settings)
        self.addCleanup(cluster.close)
        for n in 1, 2, 3:
            authority.issue("node", f"n{n}")
            cluster.write_config(
                n, cluster__tls__certfile=authority.path(f"n{n}.pem"),
                cluster__tls__keyfile=authority.path(f"n{n}.key"))
        authority.issue("node", "intruder")
        # n3 has a certificate of the authority, and of another name.
        cluster.write_config(
            3, cluster__tls__certfile=authority.path("n3.pem"),
            cluster__tls__keyfile=authority.path("n3.key"))
        cluster.start()
        with cluster.connect(1) as connection:
            channel = connection.channel()
            channel.queue_declare("q", durable=True)
            channel.confirm_delivery()
            channel.basic_publish("", "q", b"before")
        cluster.stop(3)
        for ending in ".pem", ".key":
            os.replace(authority.path("n3" + ending),
                       authority.path("n3-own" + ending))
            shutil.copy(authority.path("intruder" + ending),
                        authority.path("n3" + ending))
        cluster.launch(3)
        wait_for(lambda: "it says that it is node n3, but its certificate "
                 "(CN=intruder) lacks the subject alternative name n3"
                 in cluster.log(1), "n1 refuses it")
        wait_for(lambda: "refuses a link" in cluster.log(3), "n3 is told")
        state = {r["node"]: r["state"] for r in
                 cluster.ctl(1, "cluster_status")["nodes"]}
        self.assertEqual({"n1": "running", "n2": "running", "n3": "down"},
                         state)
        # The right one is noticed, and n3 comes back without a restart.
        for ending in ".key", ".pem":
            os.replace(authority.path("n3-own" + ending),
                       authority.path("n3" + ending))
        cluster.await_serving(3)
        with cluster.connect(3) as connection:
            method, _properties, body = connection.channel().basic_get("q")
            self.assertEqual(b"before", body)


if __name__ == "__main__":
    unittest.main()
