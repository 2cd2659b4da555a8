#!/usr/bin/env python3
"""Makes a plan for quorate-sim in which figure 8 of the Raft paper happens.

usage: figure_8.py PROGRAM PLAN

Leader A is cut off, with entries that nobody else has. C is elected by B, and
nobody hears of its first entry. A comes back and is elected by B, spreads its
old entries, and loses its power before its own term's first entry is on its
disk. C, whose term is later than that of A's old entries, overwrites them. The
moments are those that a run shows in its trace, to the microsecond, so they are
looked up step by step, and anew for each program. PLAN is the first one of a
few dozen that PROGRAM fails with --mutation old_term and holds without. Exits 1
if there is none.
"""

import itertools
import re
import subprocess
import sys

SEEDS = 12
CUT_AT = 3.5
HEAD = ("seed=%d nodes=3 shards=1 clients=6 busy=1 end=%.6f disk=0.001000 "
        "snapshot_bytes=200000 snapshot_entries=2000 frail=1\n")


class Search:
    def __init__(self, program, path):
        self.program = program
        self.path = path

    def run(self, seed, end, faults, *options):
        """Whether the plan holds, and its trace: (time, node, what)."""
        with open(self.path, "w", encoding="ascii") as f:
            f.write(HEAD % (seed, end))
            for i, (kind, at, length, rest) in enumerate(
                    sorted(faults, key=lambda x: x[1]), 1):
                f.write("%d %s at=%.6f for=%.6f %s\n" %
                        (i, kind, at, length, rest))
        done = subprocess.run(
            [self.program, "--plan", self.path, "--no-shrink", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        lines = re.findall(r"^ +([\d.]+) n(\d) .*?(group .*)$",
                           done.stdout.decode(errors="replace"), re.M)
        return done.returncode == 0, [(float(t), int(n), what)
                                      for t, n, what in lines]

    def traced(self, seed, end, faults):
        return self.run(seed, end, faults, "--trace")[1]

    def try_group(self, seed, group, a):
        """Whether a plan was found that has A as the first leader."""
        leads = f"group {group}: leader, "
        alone = lambda node, since, until: (
            "halves", since, until - since, f"side={1 << (node - 1)}")
        trace = self.traced(seed, 12, [alone(a, CUT_AT, 11.5)])
        after = [x for x in trace if x[0] > CUT_AT]
        elected = [x for x in after if x[2].startswith(leads)]
        if not elected or elected[0][1] == a:
            return False
        c = elected[0][1]
        b = 6 - a - c
        voted = [x[0] for x in after if x[0] < elected[0][0] and x[1] == b and
                 x[2].startswith(f"group {group}: votes")]
        if not voted:
            return False
        mute = voted[-1] + 0.00001
        back = mute + 1.2
        cuts = lambda until: [
            alone(a, CUT_AT, back),
            ("one_way", mute, until - mute, f"side={1 << (c - 1)}"),
            alone(c, mute + 0.002, until)]
        trace = self.traced(seed, 14, cuts(15.0))
        asked = [x[0] for x in trace if x[0] > back and x[1] == a and
                 x[2].startswith(f"group {group}: asks")]
        for slow, dies in itertools.product((0.00001, 0.0005, 0.001),
                                            (0.006, 0.008, 0.015, 0.04)):
            if not asked:
                return False
            at = asked[0] + slow
            faults = cuts(at + dies) + [
                ("slow_disk", at, 0.3, f"node={a} delay_us=800000"),
                ("power", at + dies, 0.005, f"node={a}"),
                alone(b, at + dies, at + dies + 5)]
            plan = (seed, at + dies + 6, faults, "--quiet")
            if not self.run(*plan, "--mutation", "old_term")[0] and \
                    self.run(*plan)[0]:
                return True
        return False

    def find(self):
        for seed in range(1, SEEDS + 1):
            leaders = {}
            for at, node, what in self.traced(seed, 4, []):
                found = re.match(r"group (\d+): leader, ", what)
                if found and at < CUT_AT:
                    leaders[int(found[1])] = node
            for group, node in sorted(leaders.items()):
                if self.try_group(seed, group, node):
                    return True
        return False


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(0 if Search(sys.argv[1], sys.argv[2]).find() else 1)
