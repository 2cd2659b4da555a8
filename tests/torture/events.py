"""What clients saw: a file of records per worker, read again by the verdict.

Times are of CLOCK_MONOTONIC, which all processes of a machine share."""
import os
import struct
import time
import zlib

RECORD = struct.Struct("<dBBHHHII")
# time, kind, flag, queue, publisher, epoch, number, tag

CONNECTED, CLOSED, PUBLISHED, CONFIRMED, REFUSED, DELIVERED, ACKED, RETURNED, \
    CONSUMING = range(1, 10)

BODY = struct.Struct("<4sHHHII")
MAGIC = b"Quo!"


class Recorder:
    """Of one worker."""

    def __init__(self, folder, name):
        self.file = open(os.path.join(folder, name + ".events"), "wb",
                         buffering=1 << 16)
        self.findings = open(os.path.join(folder, name + ".findings"), "w",
                             buffering=1)

    def add(self, kind, flag=0, queue=0, message=(0, 0, 0), tag=0):
        self.file.write(RECORD.pack(time.monotonic(), kind, flag, queue,
                                    *message, tag))

    def finding(self, contract, text):
        self.findings.write(f"{time.monotonic():.3f} {contract} {text}\n")

    def close(self):
        self.file.close()
        self.findings.close()


def read(folder):
    """{worker: list of records}, {worker: list of lines of findings}."""
    records, findings = {}, {}
    for name in sorted(os.listdir(folder)):
        worker, _, kind = name.rpartition(".")
        path = os.path.join(folder, name)
        if kind == "events":
            with open(path, "rb") as f:
                data = f.read()
            whole = len(data) - len(data) % RECORD.size
            records[worker] = list(RECORD.iter_unpack(data[:whole]))
        elif kind == "findings":
            with open(path) as f:
                findings[worker] = f.read().splitlines()
    return records, findings


def make_body(message, exchange, size):
    """Of MESSAGE (publisher, epoch, number), for that exchange's number."""
    pad = bytes((message[2] + i) & 0xff for i in range(61))
    pad = (pad * (size // 61 + 1))[:size]
    return BODY.pack(MAGIC, *message[:2], exchange, message[2],
                     zlib.crc32(pad)) + pad


def parse_body(body):
    """(message, exchange), or None when it is not what was published."""
    if len(body) < BODY.size:
        return None
    magic, publisher, epoch, exchange, number, crc = BODY.unpack_from(body)
    if magic != MAGIC or zlib.crc32(body[BODY.size:]) != crc:
        return None
    return (publisher, epoch, number), exchange
