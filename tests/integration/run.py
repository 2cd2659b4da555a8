"""Runs the integration tests: each class of tests in a process of its own,
several at once, because most of them wait most of the time.

  tests/integration/run.sh                 all but the long ones
  tests/integration/run.sh --long          all
  tests/integration/run.sh FaultTest ...   classes or class.test
  tests/integration/run.sh --list          names of the classes
"""
import argparse
import ast
import concurrent.futures
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
# Of one class; a test that hangs is a test that fails.
DEADLINE_S = 240
LONG_DEADLINE_S = 1800


def classes():
    """(module, class, line of its docstring) of every class of tests."""
    for name in sorted(os.listdir(HERE)):
        if not name.startswith("test_") or not name.endswith(".py"):
            continue
        with open(os.path.join(HERE, name)) as f:
            tree = ast.parse(f.read())
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Test"):
                yield name[:-3], node.name


def run(target, long):
    """(target, passed, seconds, output) of one class, or test."""
    start = time.monotonic()
    env = dict(os.environ, QUORATE_LONG="1" if long else "")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::ResourceWarning", "-m", "unittest",
         "-v", target],
        cwd=HERE, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        output, _ = process.communicate(
            timeout=LONG_DEADLINE_S if long else DEADLINE_S)
    except subprocess.TimeoutExpired:
        # As control-C does, so that it cleans up behind itself.
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        output += "\nrun.py: took too long\n"
    return (target, process.returncode == 0, time.monotonic() - start, output)


def select(names):
    """Targets for unittest that NAMES, or none for all, stand for."""
    known = list(classes())
    if not names:
        return [f"{module}.{name}" for module, name in known]
    targets = []
    for want in names:
        first, _, rest = want.partition(".")
        found = [f"{module}.{name}" + (f".{rest}" if rest else "")
                 for module, name in known if first in (name, module)]
        if not found:
            sys.exit(f"run.py: '{want}': no such class; --list names them")
        targets += found
    return targets


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true",
                        help="the long ones, too")
    parser.add_argument("--list", action="store_true",
                        help="only name the classes")
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="the output of what passed, too")
    parser.add_argument("-j", "--jobs", type=int,
                        default=int(os.environ.get("JOBS", 3)),
                        help="classes at once (default: %(default)s)")
    parser.add_argument("names", nargs="*", metavar="CLASS[.TEST]")
    options = parser.parse_args()
    targets = select(options.names)
    if options.list:
        print("\n".join(targets))
        return 0
    build = os.environ.get("QUORATE_BUILD", os.path.join(TOP, "build/release"))
    for program in ("quorated", "quoratectl"):
        if not os.access(os.path.join(build, "src", program), os.X_OK):
            sys.exit(f"run.py: {build}/src/{program} is not built; set "
                     "QUORATE_BUILD to a build directory")
    start = time.monotonic()
    failed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(run, t, options.long) for t in targets]
        for job in concurrent.futures.as_completed(jobs):
            target, passed, seconds, output = job.result()
            print(f"{'passed' if passed else 'FAILED'} {seconds:6.1f} s  "
                  f"{target}", flush=True)
            if not passed:
                failed.append(target)
            if not passed or options.verbose:
                print("    " + output.replace("\n", "\n    "), flush=True)
    print(f"{len(targets) - len(failed)} of {len(targets)} passed in "
          f"{time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
