"""The report of a run: JSON for programs, a table for people."""
import collections
import json
import os
import shutil
import subprocess
import time

from verdict import CONTRACTS

FINDINGS_SHOWN = 40
# Contracts that only these kinds of faults put to the test.
TRIED_BY = {"I8": ("disk-lost", "disk-old"), "I10": ("rot",)}


def commit():
    here = os.path.dirname(os.path.abspath(__file__))
    out = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"],
                         capture_output=True, text=True, check=False)
    return out.stdout.strip() or "unknown"


def by_kind(run, verdict):
    """{kind: figures}: how often, recovery, unavailability. Rounds with two
    kinds at once have a line of their own."""
    rows = collections.defaultdict(lambda: {
        "count": 0, "recovery_max_s": 0.0, "unconfirmed_max_s": 0.0})
    for r in run.rounds:
        gap, _ = verdict.longest_gap(r["begin"], r.get("whole", r["begin"]))
        r["unconfirmed"] = gap
        row = rows[r["kinds"][0] if len(r["kinds"]) == 1 else "two at once"]
        row["count"] += 1
        row["recovery_max_s"] = round(max(
            row["recovery_max_s"], r.get("recovery", 0.0)), 2)
        row["unconfirmed_max_s"] = round(max(
            row["unconfirmed_max_s"], gap), 2)
    return dict(rows)


def contracts(verdict, injected):
    """{contract: findings, or None when nothing tried it}."""
    return {name: None if not any(kind in injected for kind in
                                  TRIED_BY.get(name, injected))
            else sum(c == name for c, _ in verdict.findings)
            for name in CONTRACTS}


def make(run, verdict):
    seconds = time.monotonic() - run.start
    recoveries = sorted(r["recovery"] for r in run.rounds if "recovery" in r)
    injected = collections.Counter(
        kind for r in run.rounds for kind in r["kinds"])
    calm_gap = max((verdict.longest_gap(a, min(b, run.quiet_since))
                    for a, b in run.calm if a < run.quiet_since),
                   default=(0.0, None))
    return {
        "commit": commit(),
        "seed": run.options.seed,
        "nodes": run.options.nodes,
        "seconds": round(seconds, 1),
        "rounds": len(run.rounds),
        "counts": dict(verdict.counts),
        "injected": dict(injected),
        "faults": by_kind(run, verdict),
        "recovery_s": {
            "median": recoveries and round(
                recoveries[len(recoveries) // 2], 2),
            "max": recoveries and round(recoveries[-1], 2)},
        "calm_unconfirmed_max_s": round(calm_gap[0], 2),
        "contracts": contracts(verdict, injected),
        "findings": [f"{c}: {text}" for c, text in verdict.findings],
        "notes": verdict.notes,
        **run.facts,
    }


def show(result):
    print(f"\n{result['nodes']} nodes, {result['seconds']:.0f} s, "
          f"{result['rounds']} rounds of faults, seed {result['seed']}, "
          f"commit {result['commit']}\n")
    print(f"{'round':18} {'times':>5} {'recovery max':>13} "
          f"{'unconfirmed max':>16}")
    for kind, row in sorted(result["faults"].items()):
        print(f"{kind:18} {row['count']:5} {row['recovery_max_s']:11.2f} s "
              f"{row['unconfirmed_max_s']:14.2f} s")
    print(f"{'calm':18} {'':5} {'':13} "
          f"{result['calm_unconfirmed_max_s']:14.2f} s\n")
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(
        result["injected"].items())) + "\n")
    for name, count in result["counts"].items():
        print(f"{name:18} {count:9}")
    for name in ("disk_bytes", "memory_bytes"):
        sizes = [f"{n} {size / (1 << 20):.0f}"
                 for n, size in result.get(name, {}).items() if size]
        print(f"{name[:-6] + ' at rest, MiB':18} {', '.join(sizes)}")
    print()
    for name, text in CONTRACTS.items():
        count = result["contracts"][name]
        if count or name not in ("test", "up"):
            word = {None: "untried", 0: "held"}.get(count, "BROKEN")
            print(f"{name:5} {word:7} {text}")
    for text in result["findings"][:FINDINGS_SHOWN]:
        print(f"  {text}")
    excused = [text for text in result["notes"]
               if not text.startswith("info")]
    if excused:
        print(f"{len(excused)} that faults excuse:")
    for text in excused[:FINDINGS_SHOWN]:
        print(f"  {text}")
    print(f"\n{'FAILED' if result['findings'] else 'passed'}: "
          f"--nodes {result['nodes']} --seed {result['seed']}")


def keep(result, run, folder):
    """Write the report; keep what explains a failure. Where, or None."""
    if run.options.json:
        with open(run.options.json, "w") as f:
            json.dump(result, f, indent=1)
    if not result["findings"] and not run.options.keep:
        return None
    kept = os.path.join(folder, f"{run.options.nodes}-{run.options.seed}")
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept)
    for name in os.listdir(run.folder):
        if name.endswith(".log") or name in ("events", "rotten"):
            source = os.path.join(run.folder, name)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy
            copy(source, os.path.join(kept, name))
    with open(os.path.join(kept, "report.json"), "w") as f:
        json.dump(dict(result, course=run.rounds, started=run.start), f,
                  indent=1)
    return kept
