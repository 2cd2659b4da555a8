"""Hosts for nodes: a network namespace each, joined by the cable of wire.c,
and a file system each, on a loop device, that can be filled or lose power."""
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys

from sandbox import command

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from cluster import BUILD, Cluster  # noqa: E402

WIRE = os.path.join(BUILD, "tests/torture/torture-wire")
CLIENTS = "clients"
PREFIX = "10.91.0."
CLIENTS_ADDRESS = PREFIX + "100"
AMQP_PORT = 5672
PEER_PORT = 25672
MTU = 9000
# Linux, include/uapi/linux/ext4.h: EXT4_IOC_SHUTDOWN, and the flag that says
# not even the journal is flushed: what a power cut does.
EXT4_SHUTDOWN = 0x8004587D
EXT4_NO_LOG_FLUSH = 2
DISK_MB = 512
# What stays free on a full disk.
FULL_LEAVES = 64 * 1024


class Path:
    """One direction of the cable between two hosts."""

    def __init__(self):
        self.is_cut = False
        self.weather = (0, 0, 0, 0, 0)

    def words(self):
        return (int(self.is_cut),) + self.weather


class Wire:
    """The cable. Weather is (delay us, jitter us, loss, doubled, overtaking:
    packets in a million)."""

    def __init__(self, hosts, seed):
        self.names = list(hosts)
        words = [f"{name}={address}=/run/netns/{name}"
                 for name, address in hosts.items()]
        self.process = subprocess.Popen(
            [WIRE, str(seed), *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
            start_new_session=True)  # control-C is not for it
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the cable does not work; see above")
        self.paths = {(a, b): Path() for a in hosts for b in hosts if a != b}

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def tell(self, pair):
        answer = self.ask(" ".join(
            ["path", *pair, *map(str, self.paths[pair].words())]))
        if answer != "ok":
            raise RuntimeError(f"cable: {answer}")

    def cut(self, pairs, is_cut=True):
        """Directed PAIRS of hosts' names."""
        for pair in pairs:
            self.paths[pair].is_cut = is_cut
            self.tell(pair)

    def weather(self, pairs, values):
        for pair in pairs:
            self.paths[pair].weather = values
            self.tell(pair)

    def mend(self):
        for pair, path in self.paths.items():
            if any(path.words()):
                self.paths[pair] = Path()
                self.tell(pair)

    def counts(self):
        names = ("carried", "cut", "lost", "doubled", "overtaken", "dropped")
        return dict(zip(names, map(int, self.ask("count").split())))


class Hosts(Cluster):
    """A Cluster whose nodes have hosts of their own."""

    def __init__(self, folder, nodes, seed, settings, shards):
        self.dir = folder
        self.has_disks = True
        self.why_no_disks = ""
        super().__init__(nodes, shards, settings)
        names = {f"n{n}": self.host(n) for n in self.numbers}
        names[CLIENTS] = CLIENTS_ADDRESS
        for name in names:
            command("ip", "netns", "add", name)
        self.wire = Wire(names, seed)
        for name, address in names.items():
            self.within(name, "ip", "link", "set", "lo", "up")
            self.within(name, "ip", "link", "set", "wire0", "mtu", str(MTU),
                        "txqueuelen", "2000", "up")
            self.within(name, "ip", "addr", "add", address + "/24", "dev",
                        "wire0")
        for n in self.numbers:
            self.make_disk(n)

    # What a Cluster asks for

    def settle(self):
        """Hosts have all ports to themselves."""

    def unsettle(self):
        """The sandbox takes all down."""

    def host(self, n):
        return f"{PREFIX}{n}"

    def port(self, n):
        return AMQP_PORT

    def peer_port(self, n):
        return PEER_PORT

    def command(self, n):
        return [*self.prefix(f"n{n}"), *super().command(n)]

    def data(self, n):
        return self.path(f"disk{n}", "data")

    def socket(self, n):
        return self.path(f"n{n}.sock")

    def write_config(self, n, **changes):
        super().write_config(n, node__socket=self.socket(n), **changes)

    def await_serving(self, n, deadline_s=60):
        """Its port is on another host; what await_startup says must do."""
        del deadline_s
        process = self.processes[n]
        out = self.run_ctl(n, "-q", "-t", "30", "await_startup")
        if out.returncode != 0:
            raise AssertionError(f"n{n} does not serve "
                                 f"({process.poll()}): {out.stderr}")

    # Namespaces

    @staticmethod
    def prefix(name):
        return ["nsenter", f"--net=/run/netns/{name}", "--"]

    def within(self, name, *words):
        return command(*self.prefix(name), *words)

    def unreachable(self, a, b, is_unreachable=True):
        """By routes: both sides are told, at once."""
        for x, y in ((a, b), (b, a)):
            self.within(f"n{x}", "ip", "route",
                        "add" if is_unreachable else "del", "unreachable",
                        self.host(y) + "/32")

    # Disks

    def image(self, n):
        return self.path(f"disk{n}.img")

    def mount_point(self, n):
        return self.path(f"disk{n}")

    def make_disk(self, n):
        os.makedirs(self.mount_point(n))
        if not self.has_disks:
            return
        try:
            with open(self.image(n), "wb") as f:
                f.truncate(DISK_MB << 20)
            command("mkfs.ext4", "-q", "-F", self.image(n))
            self.mount(n)
        except (RuntimeError, OSError) as error:
            self.has_disks = False
            self.why_no_disks = str(error)

    def mount(self, n):
        command("mount", "-o", "loop,noatime", self.image(n),
                self.mount_point(n))

    def break_disk(self, *numbers):
        """From now on all that these file systems are asked fails, and what
        was not synced is gone."""
        for n in numbers:
            fd = os.open(self.mount_point(n), os.O_RDONLY)
            try:
                fcntl.ioctl(fd, EXT4_SHUTDOWN,
                            struct.pack("I", EXT4_NO_LOG_FLUSH))
            finally:
                os.close(fd)

    def renew_disk(self, *numbers):
        """Mount what is left of these, whose processes are dead."""
        for n in numbers:
            command("umount", self.mount_point(n))
            self.mount(n)

    def cut_power(self, *numbers):
        """Of these nodes, whose processes are dead."""
        self.break_disk(*numbers)
        self.renew_disk(*numbers)

    def fill_disk(self, n):
        """All but FULL_LEAVES of what is free."""
        space = os.statvfs(self.mount_point(n))
        size = max(space.f_bavail * space.f_frsize - FULL_LEAVES, 4096)
        path = os.path.join(self.mount_point(n), "ballast")
        with open(path, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, size)
        return size

    def empty_disk(self, n):
        os.unlink(os.path.join(self.mount_point(n), "ballast"))

    def lose_data(self, n):
        shutil.rmtree(self.data(n))

    def used_bytes(self, n):
        """Blocks that the files of node N's data take."""
        size = 0
        for folder, _, files in os.walk(self.data(n)):
            for name in files:
                try:
                    size += os.lstat(os.path.join(folder,
                                                  name)).st_blocks * 512
                except FileNotFoundError:
                    pass
        return size

    def memory_bytes(self, n):
        """What node N's process has of the machine's memory."""
        with open(f"/proc/{self.pid(n)}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    # What an operator sees

    def try_ctl(self, n, *words):
        """ctl(), or None when it is not answered."""
        try:
            return self.ctl(n, "-t", "3", *words)
        except (RuntimeError, OSError, json.JSONDecodeError,
                subprocess.TimeoutExpired):
            return None
