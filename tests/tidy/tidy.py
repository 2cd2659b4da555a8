#!/usr/bin/env python3
"""Check the project's own rules.

usage: tidy.py [--root DIR] [--build DIR] RULE...
       tidy.py --list

Exits 0 if the rules hold, 1 with one line per violation otherwise. --build is
a compiled meson build directory, for the rules that need compile commands.
Exceptions, each with its reason, are in tests/tidy/allow.txt.
"""

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from rules import RULES, code, layers, text, tools  # noqa: E402,F401
from tree import Tree  # noqa: E402


def describe():
    for name, function in RULES.items():
        print(f'{name:15} {function.__doc__.splitlines()[0]}')


def main(argv):
    parser = argparse.ArgumentParser(
        usage='tidy.py [--root DIR] [--build DIR] RULE... | --list')
    parser.add_argument('--root', default=HERE.parent.parent)
    parser.add_argument('--build')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('rules', nargs='*', metavar='RULE')
    options = parser.parse_args(argv)
    if options.list:
        describe()
        return 0
    unknown = set(options.rules) - set(RULES)
    if unknown or not options.rules:
        parser.error(f'rules are: {" ".join(RULES)}')
    tree = Tree(options.root, options.build)
    count = 0
    for name in options.rules:
        for finding in RULES[name](tree):
            print(f'{finding} [{name}]')
            count += 1
    for note in tree.notes:
        print(note)
    return 1 if count else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
