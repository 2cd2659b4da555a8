"""What a client that behaves badly costs, and what it does to one that behaves.

  flood.py [--seconds S] [--nodes N] [--at NODE] [--factor F] [KIND ...]

For each kind of hostile client: a fresh cluster, a client that behaves, at
node 1, where its queue has its leader, and is measured by itself first, then
beside the hostile one, at NODE (default: 1). It publishes with confirms and
consumes, 16 messages of 1 KiB at a time. Prints a table; fails if the memory of
any node grows by more than MEMORY_MAX, or the rate falls to less than a part of
1/F.
"""
import argparse
import multiprocessing
import os
import select
import socket
import struct
import sys
import time

from cluster import Cluster

MEMORY_MAX = 256 << 20
BATCH = 16
BODY = b"x" * 1024
END = b"\xce"


def rss(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def short(text):
    return bytes([len(text)]) + text


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + END


def method(channel, class_id, method_id, arguments=b""):
    return frame(1, channel,
                 struct.pack(">HH", class_id, method_id) + arguments)


def content(channel, body, size=None):
    size = len(body) if size is None else size
    return (frame(2, channel, struct.pack(">HHQH", 60, 0, size, 0)) +
            (frame(3, channel, body) if body else b""))


def publish(channel, queue, body, size=None):
    return (method(channel, 60, 40, b"\0\0" + short(b"") + short(queue) +
                   b"\0") + content(channel, body, size))


def declare(channel, queue, bits=2):
    return method(channel, 50, 10, b"\0\0" + short(queue) + bytes([bits]) +
                  b"\0\0\0\0")


def channel_open(channel):
    return method(channel, 20, 10, short(b""))


def channel_close(channel):
    return method(channel, 20, 40, b"\0\0" + short(b"") + b"\0\0\0\0")


def confirm_select(channel):
    return method(channel, 85, 10, b"\0")


def consume(channel, queue, bits):
    return method(channel, 60, 20, b"\0\0" + short(queue) + short(b"") +
                  bytes([bits]) + b"\0\0\0\0")


HEADER = b"AMQP\0\0\x09\x01"
START_OK = method(0, 10, 11, b"\0\0\0\0" + short(b"PLAIN") +
                  struct.pack(">I", 12) + b"\0guest\0guest" + short(b"en_US"))
TUNE_OK = method(0, 10, 31, struct.pack(">HIH", 2047, 131072, 0))
OPEN = method(0, 10, 40, short(b"/") + short(b"") + b"\0")
CLOSE = method(0, 10, 50, b"\0\0" + short(b"") + b"\0\0\0\0")


class Client:
    """AMQP by hand: says what it is told to, in any order."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = b""
        self.socket.sendall(HEADER)
        self.expect(10, 10)
        self.socket.sendall(START_OK)
        self.expect(10, 30)
        self.socket.sendall(TUNE_OK + OPEN)
        self.expect(10, 41)

    def expect(self, class_id, method_id):
        """Read up to this method; its arguments."""
        while True:
            kind, payload = self.next()
            if kind == 1 and payload[:4] == struct.pack(">HH", class_id,
                                                        method_id):
                return payload[4:]

    def next(self):
        while True:
            if len(self.heard) >= 8:
                kind, _, size = struct.unpack(">BHI", self.heard[:7])
                if len(self.heard) >= size + 8:
                    payload = self.heard[7:7 + size]
                    self.heard = self.heard[8 + size:]
                    return kind, payload
            more = self.socket.recv(1 << 18)
            if not more:
                raise ConnectionError("closed")
            self.heard += more

    def say(self, *frames):
        self.socket.sendall(b"".join(frames))

    def drain(self):
        """Throw away what is there."""
        while select.select([self.socket], [], [], 0)[0]:
            if not self.socket.recv(1 << 18):
                raise ConnectionError("closed")


# The hostile ones. Each runs until it is ended.


def flood(port):
    """publishes, with confirms that it does not read"""
    client = Client(port)
    client.say(channel_open(1), confirm_select(1), declare(1, b"flood"))
    batch = publish(1, b"flood", BODY) * 64
    while True:
        client.say(batch)


def flood_channels(port):
    """the same on 200 channels"""
    client = Client(port)
    for i in range(1, 201):
        client.say(channel_open(i), confirm_select(i), declare(i, b"flood"))
    batch = b"".join(publish(i, b"flood", BODY) for i in range(1, 201))
    while True:
        client.say(batch)


def incomplete(port):
    """begins 16 MiB messages on 1,000 channels of 2 connections"""
    clients = [Client(port) for _ in range(2)]
    for client in clients:
        for i in range(1, 1001):
            client.say(channel_open(i), publish(i, b"none", b"", 16 << 20))
    part = b"x" * 4000
    for _ in range(20):
        for client in clients:
            try:
                client.say(*[frame(3, i, part) for i in range(1, 1001)])
            except OSError:
                pass
    while True:
        time.sleep(1)


def fill(port, queue, count):
    client = Client(port)
    client.say(channel_open(1), declare(1, queue), confirm_select(1))
    for _ in range(count // 256):
        client.say(publish(1, queue, BODY) * 256)
        client.drain()
    time.sleep(1)
    client.drain()
    return client


def never_reads(port):
    """consumes from a full queue by 20 consumers and reads nothing"""
    fill(port, b"full", 100000)
    clients = [Client(port) for _ in range(20)]
    for client in clients:
        client.say(channel_open(1), consume(1, b"full", 2))
    while True:
        time.sleep(1)


def never_acks(port):
    """consumes from a full queue by 20 consumers and acknowledges nothing"""
    fill(port, b"full", 100000)
    clients = [Client(port) for _ in range(20)]
    for client in clients:
        client.say(channel_open(1), consume(1, b"full", 0))
    while True:
        for client in clients:
            client.drain()
        time.sleep(0.01)


def answers(port):
    """asks for answers and reads none"""
    client = Client(port)
    client.say(channel_open(1), declare(1, b"asked"))
    batch = declare(1, b"asked", 1) * 1000
    while True:
        client.say(batch)


def channels(port):
    """opens and closes channels"""
    client = Client(port)
    batch = b"".join(channel_open(i) + channel_close(i)
                     for i in range(1, 501))
    while True:
        client.say(batch)
        client.drain()


def connections(port):
    """connects, logs in and leaves"""
    while True:
        client = Client(port)
        client.say(CLOSE)
        client.socket.close()


def queues(port):
    """declares and deletes queues"""
    client = Client(port)
    client.say(channel_open(1))
    i = 0
    while True:
        name = b"q%d" % (i % 100)
        i += 1
        client.say(declare(1, name), method(
            1, 50, 40, b"\0\0" + short(name) + b"\0"))
        client.drain()


def queues_stay(port):
    """declares queues, 2,000 of them, and publishes to each"""
    client = Client(port)
    client.say(channel_open(1))
    for i in range(2000):
        name = b"stay%d" % i
        client.say(declare(1, name), publish(1, name, BODY))
        client.drain()
    while True:
        time.sleep(1)


def logins(port):
    """logs in with wrong passwords"""
    wrong = START_OK.replace(b"\0guest\0guest", b"\0guest\0wrong")
    while True:
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(HEADER + wrong)
        while s.recv(4096):
            pass
        s.close()


KINDS = {f.__name__: f for f in (
    flood, flood_channels, incomplete, never_reads, never_acks, answers,
    channels, connections, queues, queues_stay, logins)}


def bystander(port, seconds, out):
    """A client that behaves: (messages a second, latencies in s, sorted)."""
    client = Client(port)
    client.say(channel_open(1), confirm_select(1), declare(1, b"work"),
               consume(1, b"work", 2))
    client.expect(60, 21)
    batch = publish(1, b"work", BODY) * BATCH
    latencies = []
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        begun = time.monotonic()
        client.say(batch)
        bodies = 0
        while bodies < BATCH:
            kind, _ = client.next()
            bodies += kind == 3
        latencies.append(time.monotonic() - begun)
    took = time.monotonic() - start
    out.put((len(latencies) * BATCH / took, sorted(latencies)))


def measure(port, seconds):
    out = multiprocessing.Queue()
    process = multiprocessing.Process(target=bystander,
                                      args=(port, seconds, out))
    process.start()
    try:
        return out.get(timeout=seconds + 60)
    finally:
        process.join(10)
        process.kill()


def guarded(kind, port):
    try:
        KINDS[kind](port)
    except OSError:
        pass  # closed, as it deserves
    time.sleep(3600)


def run(kind, args):
    cluster = Cluster(args.nodes, 1, {"log.console.level": "error"})
    hostile = None
    try:
        cluster.start()
        port = cluster.port(1)
        pids = [cluster.pid(n) for n in cluster.numbers]
        alone = measure(port, args.seconds)
        before = max(rss(pid) for pid in pids)
        hostile = multiprocessing.Process(target=guarded,
                                          args=(kind, cluster.port(args.at)))
        hostile.start()
        peak = 0
        time.sleep(4 if kind.startswith("never") else 1)
        out = multiprocessing.Queue()
        victim = multiprocessing.Process(target=bystander,
                                         args=(port, args.seconds, out))
        victim.start()
        end = time.monotonic() + args.seconds + 30
        beside = None
        while beside is None and time.monotonic() < end:
            peak = max(peak, *(rss(pid) for pid in pids))
            try:
                beside = out.get(timeout=0.1)
            except multiprocessing.queues.Empty:
                pass
        victim.kill()
        hostile.kill()
        hostile.join()
        hostile = None
        time.sleep(2)
        return alone, beside, before, peak, max(rss(pid) for pid in pids)
    finally:
        if hostile is not None:
            hostile.kill()
        cluster.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--at", type=int, default=1)
    parser.add_argument("--factor", type=float, default=5)
    parser.add_argument("kinds", nargs="*", metavar="KIND",
                        choices=[*KINDS, []])
    args = parser.parse_args()
    failed = []
    print(f"{'hostile client':15} {'alone/s':>8} {'beside/s':>8} "
          f"{'factor':>6} {'p50 ms':>13} {'p99 ms':>13} "
          f"{'MB before, peak, after':>23}")
    for kind in args.kinds or KINDS:
        alone, beside, before, peak, after = run(kind, args)
        if beside is None:
            beside = (0.001, [args.seconds])
        factor = alone[0] / beside[0]

        def at(result, part):
            return 1000 * result[1][int((len(result[1]) - 1) * part)]
        mb = [x / 1e6 for x in (before, peak, after)]
        print(f"{kind:15} {alone[0]:8.0f} {beside[0]:8.0f} {factor:6.1f} "
              f"{at(alone, .5):6.1f} {at(beside, .5):6.1f} "
              f"{at(alone, .99):6.1f} {at(beside, .99):6.1f} "
              f"{mb[0]:7.0f} {mb[1]:7.0f} {mb[2]:7.0f}", flush=True)
        if factor > args.factor or peak - before > MEMORY_MAX:
            failed.append(kind)
    if failed:
        sys.exit(f"flood.py: beyond a bound: {' '.join(failed)}")


if __name__ == "__main__":
    main()
