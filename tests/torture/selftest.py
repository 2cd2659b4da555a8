"""The verdict bites: each way to break a contract, made up, is found, and a
run without fault has no findings. Needs no nodes and no root."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import events  # noqa: E402
from verdict import CONFIRM_CALM_S, Calm, Verdict  # noqa: E402

ALL_CALM = [(0.0, 1000.0)]


class VerdictTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def worker(self, name, *rows):
        """ROWS: (time, kind, number of the message, tag, flag) to or from
        queue 1, all of publisher 1 and its first connection."""
        path = os.path.join(self.folder.name, name + ".events")
        with open(path, "wb") as f:
            for at, kind, number, tag, flag in rows:
                f.write(events.RECORD.pack(at, kind, flag, 1, 1, 1, number,
                                           tag))

    def publish(self, *numbers):
        rows = [(1.0, events.CONNECTED, 0, 0, 0)]
        for n in numbers:
            rows.append((2.0 + n, events.PUBLISHED, n, 0, 0))
            rows.append((2.5 + n, events.CONFIRMED, n, 0, 0))
        self.worker("publisher", *rows, (900.0, events.CLOSED, 0, 0, 0))

    def consume(self, name, *rows):
        self.worker(name, (1.0, events.CONNECTED, 0, 0, 0), *rows,
                    (900.0, events.CLOSED, 0, 0, 0))

    def found(self, calm=None, is_drained=False):
        verdict = Verdict(self.folder.name, {1: [1]},
                          Calm(ALL_CALM if calm is None else calm), (1,),
                          is_drained)
        return [contract for contract, _ in verdict.findings]

    def test_nothing_wrong(self):
        self.publish(1, 2)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0),
                     (10.1, events.DELIVERED, 2, 2, 0),
                     (10.2, events.ACKED, 1, 1, 0),
                     (10.2, events.RETURNED, 2, 2, 0),
                     (10.3, events.DELIVERED, 2, 3, 1),
                     (10.4, events.ACKED, 2, 3, 0))
        self.assertEqual([], self.found(is_drained=True))

    def test_confirmed_and_lost(self):
        self.publish(1, 2)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0),
                     (10.2, events.ACKED, 1, 1, 0))
        self.assertEqual(["I1"], self.found())

    def test_lost_in_a_fault_is_lost(self):
        self.publish(1)
        self.assertEqual(["I1"], self.found(calm=[]))

    def test_delivered_and_lost_before_its_acknowledgement(self):
        self.publish(1, 2)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0),
                     (10.1, events.DELIVERED, 2, 2, 0),
                     (10.2, events.RETURNED, 1, 1, 0))
        self.assertEqual(["I1"], self.found(calm=[], is_drained=True))
        # They may be in the queue still.
        self.assertEqual([], self.found(calm=[]))

    def test_unconfirmed_may_be_lost(self):
        self.worker("publisher", (1.0, events.CONNECTED, 0, 0, 0),
                    (2.0, events.PUBLISHED, 1, 0, 0),
                    (3.0, events.CLOSED, 0, 0, 0))
        self.assertEqual([], self.found())

    def test_never_published(self):
        self.publish(1)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0),
                     (10.1, events.DELIVERED, 9, 2, 0))
        self.assertEqual(["I2"], self.found())

    def test_after_its_acknowledgement(self):
        self.publish(1)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0),
                     (10.2, events.ACKED, 1, 1, 0))
        self.consume("b", (20.0, events.DELIVERED, 1, 1, 1))
        self.assertEqual(["I2"], self.found())
        # It may have been under way when the fault came.
        self.assertEqual([], self.found(calm=[(0.0, 11.0)]))

    def test_out_of_order(self):
        self.publish(1, 2)
        self.consume("a", (10.0, events.DELIVERED, 2, 1, 0),
                     (10.1, events.DELIVERED, 1, 2, 0))
        self.assertEqual(["I3"], self.found(calm=[]))

    def test_what_was_returned_has_no_order(self):
        self.publish(1, 2)
        self.consume("a", (10.0, events.DELIVERED, 2, 1, 0),
                     (10.1, events.DELIVERED, 1, 2, 1))
        self.assertEqual([], self.found())

    def test_twice_and_not_marked(self):
        self.publish(1)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0),
                     (10.1, events.RETURNED, 1, 1, 0))
        self.consume("b", (10.2, events.DELIVERED, 1, 1, 0))
        self.assertEqual(["I4"], self.found(calm=[]))

    def test_with_two_consumers(self):
        self.publish(1)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 0))
        self.consume("b", (20.0, events.DELIVERED, 1, 1, 1))
        self.assertEqual(["I4"], self.found())
        # The first may have been taken for dead.
        self.assertEqual([], self.found(calm=[(0.0, 15.0)]))

    def test_counted_and_not_marked(self):
        self.publish(1)
        self.consume("a", (10.0, events.DELIVERED, 1, 1, 2))
        self.assertEqual(["I4"], self.found())

    def test_a_confirm_waited_for_too_long(self):
        self.worker("publisher", (1.0, events.CONNECTED, 0, 0, 0),
                    (2.0, events.PUBLISHED, 1, 0, 0),
                    (3.0 + CONFIRM_CALM_S, events.CLOSED, 0, 0, 0))
        self.assertEqual(["I13"], self.found())
        self.assertEqual([], self.found(calm=[(0.0, 10.0)]))

    def test_what_workers_find(self):
        self.publish()
        with open(os.path.join(self.folder.name, "a.findings"), "w") as f:
            f.write("10.0 I5 too many\n10.0 I6@5.000 not there\n"
                    "10.0 info so many\n")
        self.assertEqual(["I5", "I6"], self.found())
        self.assertEqual(["I5"], self.found(calm=[(0.0, 7.0)]))

    def test_bodies(self):
        body = events.make_body((1, 2, 3), 4, 500)
        self.assertEqual(((1, 2, 3), 4), events.parse_body(body))
        for i in (0, 4, 21, 400):
            broken = bytearray(body)
            broken[i] ^= 1
            parsed = events.parse_body(bytes(broken))
            self.assertNotEqual(((1, 2, 3), 4), parsed)
        self.assertIsNone(events.parse_body(body[:-1]))
        self.assertIsNone(events.parse_body(b"x"))


if __name__ == "__main__":
    unittest.main()
