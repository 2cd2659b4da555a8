"""The project's files as the tidy rules see them."""

import bisect
import re
from functools import cached_property
from pathlib import Path

C_SUFFIXES = ('.c', '.h', '.def')
TEXT_SUFFIXES = C_SUFFIXES + ('.proto', '.py', '.sh', '.build')
TOP_FOLDERS = ('src', 'include', 'proto', 'tests', 'deploy', 'docs')


class Finding:
    """One violation: where, and what to do about it."""

    def __init__(self, path, line, text):
        self.path, self.line, self.text = str(path), line, text

    def __str__(self):
        return f'{self.path}:{self.line}: {self.text}'


def blank(match):
    """The matched text with everything but its line ends made spaces."""
    return re.sub(r'[^\n]', ' ', match.group(0))


TOKENS = re.compile(
    r'''//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' ''',
    re.S | re.X)
DIRECTIVES = re.compile(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.M)


class Function:
    """A definition: its name, its body, and the lines that it covers."""

    def __init__(self, name, head, first, last, body):
        self.name, self.head, self.body = name, head, body
        self.first, self.last = first, last

    @property
    def length(self):
        return self.last - self.first - 1


class Source:
    """One file. `code` is its text with comments and literals blanked,
    `plain` the same without preprocessor lines."""

    def __init__(self, root, path):
        self.root = root
        self.path = path.relative_to(root)
        self.name = str(self.path)
        self.text = path.read_text(encoding='utf-8', errors='replace')

    @cached_property
    def lines(self):
        return self.text.splitlines()

    @cached_property
    def code(self):
        return TOKENS.sub(blank, self.text)

    @cached_property
    def plain(self):
        return DIRECTIVES.sub(blank, self.code)

    @cached_property
    def line_starts(self):
        return [0] + [m.end() for m in re.finditer('\n', self.text)]

    def line_of(self, offset):
        return bisect.bisect_right(self.line_starts, offset)

    @cached_property
    def includes(self):
        """Pairs of line and name, for "name" and for <name>."""
        found = []
        for number, line in enumerate(self.lines, 1):
            m = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
            if m:
                found.append((number, m.group(1)))
        return found

    @cached_property
    def functions(self):
        """Definitions, found by clang-format's shape: braces in column 1."""
        found = []
        for m in re.finditer(r'^\{\n(.*?)^\}', self.plain, re.M | re.S):
            head = self.plain[:m.start()]
            start = max(head.rfind(';'), head.rfind('\n}'),
                        head.rfind('\n\n')) + 1
            head = ' '.join(head[start:].split())
            name = re.search(r'(\w+) ?\(', head)
            found.append(Function(
                name.group(1) if name else '?', head,
                self.line_of(m.start()), self.line_of(m.end() - 1),
                m.group(1)))
        return found

    @property
    def room(self):
        """The folder below src/ ("machine/queue"), or None."""
        if self.path.parts[0] != 'src' or len(self.path.parts) < 3:
            return None
        return '/'.join(self.path.parts[1:-1])


class Tree:
    """A project checkout, and the build directory of it, if any."""

    def __init__(self, root, build=None):
        self.root = Path(root).resolve()
        self.build = Path(build).resolve() if build else None
        self.sources = {}
        self.notes = []

    def note(self, text):
        """Print something with the result that is no violation."""
        self.notes.append(text)

    def files(self, folders, suffixes=C_SUFFIXES):
        """Sources below the folders, sorted by path."""
        found = []
        for folder in folders:
            for path in sorted((self.root / folder).rglob('*')):
                if path.suffix in suffixes and path.is_file():
                    if path not in self.sources:
                        self.sources[path] = Source(self.root, path)
                    found.append(self.sources[path])
        return found

    @cached_property
    def allowed(self):
        """tests/tidy/allow.txt: {(rule, path, name): line number}."""
        path = self.root / 'tests/tidy/allow.txt'
        entries = {}
        if path.exists():
            for number, line in enumerate(path.read_text().splitlines(), 1):
                fields = line.split(None, 3)
                if not fields or fields[0].startswith('#'):
                    continue
                if len(fields) != 4:
                    raise SystemExit(
                        f'{path}:{number}: expected "rule path name reason"')
                entries[tuple(fields[:3])] = number
        return entries

    @cached_property
    def used(self):
        return set()

    def allow(self, rule, path, name):
        """True if allow.txt excuses it; remembers that it was needed."""
        key = (rule, str(path), name)
        if key in self.allowed:
            self.used.add(key)
            return True
        return False

    def stale(self, rule):
        """Entries of the rule that excuse nothing any more."""
        for key, number in self.allowed.items():
            if key[0] == rule and key not in self.used:
                yield Finding('tests/tidy/allow.txt', number,
                              f'"{" ".join(key)}" excuses nothing: remove it')
