"""Strangers at the doors of a node: many connections that say nothing, or say
it a byte at a time. Others are served meanwhile, each stranger costs little
memory, and is gone at its deadline."""
import os
import resource
import select
import socket
import struct
import threading
import time

from cluster import ClusterTest, wait_for

STRANGERS = 1000
MEMORY_MAX = 64 * 1024  # of one that is not authenticated
HANDSHAKE_S = 4


def rss(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def start_ok(size):
    """A start-ok frame with SIZE bytes of payload, its last byte missing."""
    rest = size - 4 - 4
    head = struct.pack(">BHIHH", 1, 0, size, 10, 11)
    key = b"\x01kS" + struct.pack(">I", rest - 7)
    return head + struct.pack(">I", rest) + key + b"x" * (rest - 7)


class Crowd:
    """Connections to one address, each with bytes that it says slowly."""

    def __init__(self, family, address, count, says):
        self.members = []
        for i in range(count):
            s = socket.socket(family)
            s.connect(address)
            s.setblocking(False)
            at_once, slowly = says[i % len(says)]
            if at_once:
                s.send(at_once)
            self.members.append([s, slowly])

    def say(self):
        """Each says one more byte, if it has one."""
        for member in self.members:
            s, rest = member
            try:
                if rest:
                    s.send(rest[:1])
                    member[1] = rest[1:]
            except OSError:
                pass

    def left(self):
        """How many the node has not closed."""
        poll = select.poll()
        by_fd = {}
        for s, _ in self.members:
            by_fd[s.fileno()] = s
            poll.register(s, select.POLLIN | select.POLLHUP)
        gone = 0
        for fd, _ in poll.poll(0):
            try:
                while by_fd[fd].recv(65536):
                    pass
                gone += 1
            except BlockingIOError:
                pass
            except OSError:
                gone += 1
        return len(self.members) - gone

    def close(self):
        for s, _ in self.members:
            s.close()


class HostileTest(ClusterTest):
    """Slow and silent strangers at each of a node's doors."""

    SETTINGS = {"handshake_timeout": HANDSHAKE_S * 1000}

    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        want = min(hard, max(soft, 4 * STRANGERS))
        resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
        super().setUpClass()

    def work(self, stop, latencies):
        """A client that behaves, with a new connection now and then."""
        while not stop.is_set():
            connection = self.cluster.connect(1)
            channel = connection.channel()
            channel.queue_declare("work", durable=True)
            channel.confirm_delivery()
            for _ in range(50):
                start = time.monotonic()
                channel.basic_publish("", "work", b"x")
                latencies.append(time.monotonic() - start)
            connection.close()

    def crowd_passes(self, crowd, before, count, deadline_s):
        """CROWD is gone after DEADLINE_S, and cost what it may."""
        stop = threading.Event()
        latencies = []
        worker = threading.Thread(target=self.work, args=(stop, latencies))
        worker.start()
        peak = 0
        start = time.monotonic()
        try:
            while time.monotonic() - start < deadline_s / 2:
                crowd.say()
                peak = max(peak, rss(self.cluster.pid(1)))
                time.sleep(0.05)
            held = crowd.left()
            wait_for(lambda: crowd.left() == 0, "strangers are closed",
                     deadline_s=deadline_s + 3)
        finally:
            stop.set()
            worker.join()
            crowd.close()
        latencies.sort()
        each = (peak - before) // count
        print(f"    {count} strangers: {each} bytes each, gone after "
              f"{time.monotonic() - start:.1f} s; meanwhile {len(latencies)} "
              f"confirms, p99 {latencies[len(latencies) * 99 // 100]:.4f} s")
        self.assertGreater(len(latencies), 50)
        self.assertLess(latencies[len(latencies) * 99 // 100], 1)
        self.assertLess(each, MEMORY_MAX)
        return held

    def test_clients_a_byte_at_a_time(self):
        header = b"AMQP\0\0\x09\x01"
        says = [(b"", b""), (b"", header), (header, start_ok(400)),
                (header + start_ok(8180), b"x"),
                (header + start_ok(4000)[:3900], b"xxxxxxxxx")]
        self.cluster.connect(1).close()
        before = rss(self.cluster.pid(1))
        crowd = Crowd(socket.AF_INET, ("127.0.0.1", self.cluster.port(1)),
                      STRANGERS, says)
        held = self.crowd_passes(crowd, before, STRANGERS, HANDSHAKE_S)
        self.assertEqual(STRANGERS, held, "none goes before its time")

    def test_links_a_byte_at_a_time(self):
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 100
        before = rss(self.cluster.pid(1))
        crowd = Crowd(socket.AF_INET, ("127.0.0.1", self.cluster.peer_port(1)),
                      300, [(b"", b""), (hello, b"x" * 50), (b"", hello)])
        # More than may be: the oldest made room.
        self.crowd_passes(crowd, before, 128, 5)
        log = self.cluster.log(1)
        self.assertNotIn("is silent", log)
        self.assertIn("the oldest is closed", log)

    def test_operators_are_served_beside_idle_ones(self):
        before = rss(self.cluster.pid(1))
        crowd = Crowd(socket.AF_UNIX, self.cluster.socket(1), 100,
                      [(b"", b""), (b"\xff\xff\0\0", b"x" * 50)])
        out = self.cluster.run_ctl(1, "status")
        self.assertEqual(0, out.returncode, out.stderr)
        self.crowd_passes(crowd, before, 100, 10)
