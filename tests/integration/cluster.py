"""Clusters of real nodes for tests.

A Cluster has its own ports, its own temporary directory and its own
processes: several may run at once. Everything that waits has a deadline.
close() ends every process by its pid and removes the directory; the logs of a
cluster whose test failed are kept.
"""
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import pika

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get("QUORATE_BUILD", os.path.join(TOP, "build/release"))
QUORATED = os.path.join(BUILD, "src/quorated")
QUORATECTL = os.path.join(BUILD, "src/quoratectl")
KEEP = os.environ.get("QUORATE_LOGS", os.path.join(TOP,
                                                   "build/logs/integration"))
DEADLINE_S = 30

# Below the ports that the kernel hands out to clients.
PORT_BASE = 15000
PORT_STEP = 20
PORT_BLOCKS = 500


class Timeout(AssertionError):
    """A condition did not come true in time."""


def wait_for(condition, what, deadline_s=DEADLINE_S, pause_s=0.02):
    """What CONDITION returns, once that is true; WHAT names it in the error.
    An exception of CONDITION counts as false."""
    end = time.monotonic() + deadline_s
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (RuntimeError, OSError, KeyError, IndexError,
                pika.exceptions.AMQPError) as error:
            last = error
        if time.monotonic() > end:
            raise Timeout(f"{what}: not after {deadline_s} s; last: {last!r}")
        time.sleep(pause_s)


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Ports:
    """A block of ports that no other test of this machine uses: a lock on a
    file says whose it is, for as long as the process lives."""

    def __init__(self):
        folder = os.path.join(tempfile.gettempdir(),
                              f"quorate-test-ports.{os.getuid()}")
        os.makedirs(folder, exist_ok=True)
        for block in range(PORT_BLOCKS):
            lock = open(os.path.join(folder, str(block)), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                continue
            self.base = PORT_BASE + block * PORT_STEP
            if all(is_free(self.base + i) for i in range(PORT_STEP)):
                self.lock = lock
                return
            lock.close()
        raise RuntimeError("no block of ports is free")

    def close(self):
        self.lock.close()


def quoratectl(*words, timeout=40, stdin=None, env=None):
    """Run quoratectl; never raises for its exit code."""
    return subprocess.run([QUORATECTL, *words], capture_output=True, text=True,
                          timeout=timeout, check=False, input=stdin, env=env)


class Cluster:
    """Nodes n1, n2, ... on loopback. Nodes are named by their numbers."""

    def __init__(self, nodes=3, shards=1, settings=None):
        self.numbers = range(1, nodes + 1)
        self.settings = {"node.shards": shards, "log.console.level": "info"}
        self.settings.update(settings or {})
        self.settle()
        self.secret = os.path.join(self.dir, "secret")
        self.write_secret(self.secret)
        self.processes = {}
        self.has_failed = False
        for n in self.numbers:
            self.write_config(n)

    # Where it is: tests/torture has hosts of their own instead.

    def settle(self):
        """Take ports and a directory."""
        self.ports = Ports()
        self.dir = tempfile.mkdtemp(prefix="quorate-int-")

    def unsettle(self):
        self.ports.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def host(self, _n):
        return "127.0.0.1"

    def command(self, n):
        """What starts node N."""
        return [QUORATED, "--config", self.config(n)]

    # Files

    @staticmethod
    def write_secret(path):
        with open(path, "w") as f:
            f.write(secrets.token_hex(32))
        os.chmod(path, 0o400)

    def port(self, n):
        return self.ports.base + n - 1

    def peer_port(self, n):
        return self.ports.base + PORT_STEP // 2 + n - 1

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def data(self, n):
        return self.path(f"n{n}")

    def config(self, n):
        return self.path(f"n{n}.conf")

    def socket(self, n):
        return self.path(f"n{n}", "ctl.sock")

    def log(self, n):
        with open(self.path(f"n{n}.log"), errors="replace") as f:
            return f.read()

    def write_config(self, n, **changes):
        """The configuration of node N; CHANGES are keys with their dots as
        double underscores."""
        keys = {
            "node.name": f"n{n}",
            "node.data_dir": self.data(n),
            "listeners.tcp.default": f"{self.host(n)}:{self.port(n)}",
            "cluster_name": "integration",
            "cluster.secret_file": self.secret,
        }
        if len(self.numbers) > 1:
            for i in self.numbers:
                keys[f"cluster_formation.classic_config.nodes.{i}"] = \
                    f"n{i}@{self.host(i)}:{self.peer_port(i)}"
        keys.update(self.settings)
        keys.update({k.replace("__", "."): v for k, v in changes.items()})
        with open(self.config(n), "w") as f:
            for key, value in keys.items():
                f.write(f"{key} = {value}\n")

    # Processes

    def launch(self, n):
        """Start node N without waiting for it."""
        if n in self.processes:
            raise RuntimeError(f"n{n} runs already")
        with open(self.path(f"n{n}.log"), "a") as log:
            self.processes[n] = subprocess.Popen(
                self.command(n), cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    def start(self, *numbers, deadline_s=DEADLINE_S):
        """Start these nodes, or all, and wait until they serve."""
        numbers = numbers or tuple(self.numbers)
        for n in numbers:
            self.launch(n)
        for n in numbers:
            self.await_serving(n, deadline_s)

    def await_serving(self, n, deadline_s=DEADLINE_S):
        def serves():
            process = self.processes[n]
            if process.poll() is not None:
                raise AssertionError(f"n{n} has stopped with "
                                     f"{process.returncode}: "
                                     f"{self.log(n)[-500:]}")
            return self.run_ctl(n, "-q", "await_startup", "-t",
                                "5").returncode == 0
        wait_for(serves, f"n{n} serves", deadline_s, 0.05)
        # await_startup may be answered a moment before the port listens.
        wait_for(lambda: socket.create_connection(
            (self.host(n), self.port(n)), 1).close() is None,
            f"n{n} accepts AMQP clients", deadline_s)

    def pid(self, n):
        return self.processes[n].pid

    def signal(self, n, number):
        self.processes[n].send_signal(number)

    def kill(self, *numbers):
        """SIGKILL, all at once, and reap."""
        for n in numbers:
            self.signal(n, signal.SIGKILL)
        for n in numbers:
            self.reap(n)

    def reap(self, n, deadline_s=DEADLINE_S):
        """Wait for the end of node N's process; its exit code."""
        code = self.processes[n].wait(deadline_s)
        del self.processes[n]
        return code

    def stop(self, n, deadline_s=DEADLINE_S):
        """SIGTERM; the exit code."""
        self.signal(n, signal.SIGTERM)
        return self.reap(n, deadline_s)

    def pause(self, n):
        self.signal(n, signal.SIGSTOP)

    def resume(self, n):
        self.signal(n, signal.SIGCONT)

    def running(self):
        return [n for n, p in self.processes.items() if p.poll() is None]

    def close(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(DEADLINE_S)
        self.processes = {}
        self.unsettle()

    def keep_logs(self, name):
        """Copy the nodes' logs to where a person finds them."""
        os.makedirs(KEEP, exist_ok=True)
        for n in self.numbers:
            if os.path.exists(self.path(f"n{n}.log")):
                kept = os.path.join(KEEP, f"{name}-n{n}.log")
                shutil.copy(self.path(f"n{n}.log"), kept)
                print(f"    log kept: {kept}", file=sys.stderr)

    # Operators

    def run_ctl(self, n, *words, **options):
        """quoratectl at node N."""
        return quoratectl("--socket", self.socket(n), *words, **options)

    def ctl(self, n, *words):
        """What quoratectl at node N answers, from JSON; RuntimeError when it
        fails."""
        out = self.run_ctl(n, "--format", "json", *words)
        if out.returncode != 0:
            raise RuntimeError(f"quoratectl {' '.join(words)}: "
                               f"{out.stderr.strip() or out.stdout.strip()}")
        return json.loads(out.stdout) if out.stdout.strip() else None

    def any(self):
        """A node that runs."""
        return self.running()[0]

    def queue(self, name, *columns, at=None):
        """The row of queue NAME in list_queues, or None."""
        rows = self.ctl(at or self.any(), "list_queues", "name", *columns)
        for row in rows:
            if row["name"] == name:
                return row
        return None

    def leader(self, name, at=None):
        """The number of the node that leads queue NAME, or None."""
        row = self.queue(name, "leader", at=at)
        node = row and row["leader"]
        return int(node[1:]) if node else None

    def await_leader(self, name, at=None, among=None):
        among = among or self.running()

        def led():
            n = self.leader(name, at or self.any())
            return n if n in among else None
        return wait_for(led, f"queue '{name}' has a leader among {among}")

    def followers(self, name):
        leader = self.await_leader(name)
        return [n for n in self.numbers if n != leader]

    # Clients

    def parameters(self, n, user="guest", password="guest", **options):
        options.setdefault("blocked_connection_timeout", 30)
        options.setdefault("socket_timeout", 10)
        options.setdefault("stack_timeout", 15)
        return pika.ConnectionParameters(
            self.host(n), self.port(n),
            credentials=pika.PlainCredentials(user, password), **options)

    def connect(self, n, **options):
        return pika.BlockingConnection(self.parameters(n, **options))


class ClusterTest(unittest.TestCase):
    """Tests that share one running cluster, self.cluster."""

    NODES = 3
    SHARDS = 1
    SETTINGS = {}
    STARTED = True

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.NODES, cls.SHARDS, cls.SETTINGS)
        cls.addClassCleanup(cls.clean)
        if cls.STARTED:
            try:
                cls.cluster.start()
            except BaseException:
                cls.cluster.has_failed = True
                raise

    @classmethod
    def clean(cls):
        for n, process in cls.cluster.processes.items():
            code = process.poll()
            if code is not None:
                print(f"    n{n} had stopped by itself: {code}",
                      file=sys.stderr)
                cls.cluster.has_failed = True
        if cls.cluster.has_failed:
            cls.cluster.keep_logs(cls.__name__)
        cls.cluster.close()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        start = time.monotonic()
        super().run(result)
        print(f"    {time.monotonic() - start:.1f} s", file=sys.stderr)
        if len(result.failures) + len(result.errors) > before:
            self.cluster.has_failed = True

    def connect(self, n=1, **options):
        """A connection that is closed after the test."""
        connection = self.cluster.connect(n, **options)
        self.addCleanup(close_quietly, connection)
        return connection

    def channel(self, n=1, **options):
        return self.connect(n, **options).channel()

    def name(self, suffix=""):
        """A name for this test's queue or exchange."""
        return self.id().split(".")[-1] + suffix

    def assertChannelClosed(self, code, text, call, *args, **kwargs):
        """CALL makes the broker close the channel with this code and text."""
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as raised:
            call(*args, **kwargs)
        self.assertEqual((code, text), (raised.exception.reply_code,
                                        raised.exception.reply_text))

    def assertConnectionClosed(self, code, text, call, *args, **kwargs):
        """CALL makes the broker close the connection with these."""
        with self.assertRaises(
                pika.exceptions.ConnectionClosedByBroker) as raised:
            call(*args, **kwargs)
        self.assertEqual((code, text), (raised.exception.reply_code,
                                        raised.exception.reply_text))

    def get(self, channel, queue, auto_ack=True, deadline_s=5):
        """The next message: (method, properties, body)."""
        def got():
            method, properties, body = channel.basic_get(queue, auto_ack)
            return method and (method, properties, body)
        return wait_for(got, f"a message in '{queue}'", deadline_s)

    def bodies(self, channel, queue):
        """Bodies of all that is ready in QUEUE, taken out of it."""
        out = []
        while True:
            method, _properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return out
            out.append(body)


def close_quietly(connection):
    try:
        if connection.is_open:
            connection.close()
    except Exception:  # The test has its verdict already.
        pass
