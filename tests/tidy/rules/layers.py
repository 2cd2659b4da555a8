"""Imports: who may include whom."""

import re

from rules import rule
from tree import Finding

# Rooms that may know libuv: threads, sockets, links, the real disk, programs.
UV_ROOMS = {'shard', 'net', 'peer', 'store', 'daemon', 'ctl', 'bench'}

# Rooms that are functions of their input, and what would break that.
PURE_ROOMS = {'machine/queue', 'machine/meta', 'routing'}
IMPURE = re.compile(
    r'(uv|time|threads|pthread|unistd|fcntl|poll|signal|stdio)\.h$'
    r'|(sys|openssl|netinet|arpa)/')

# Rooms that may know the raft library: the rest sees include/quorate.
RAFT_ROOMS = {'consensus'}
# Rooms that may include consensus/*.h; the broker has no back door.
CONSENSUS_ROOMS = {'consensus'}


def read_layers(path):
    """{room: rooms it may include}, and findings about the list itself."""
    allowed, findings = {}, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        room, _, below = line.partition(':')
        room = room.strip()
        for other in below.split():
            if other not in allowed:
                findings.append(Finding(
                    'src/LAYERS', number,
                    f'{room} may not sit above {other}, which is not yet '
                    'listed: lowest first'))
        allowed[room] = set(below.split()) | {room}
    return allowed, findings


def room_of(name, rooms):
    """The room of an included file, or None for what is not ours."""
    parts = name.split('/')[:-1]
    while parts:
        if '/'.join(parts) in rooms:
            return '/'.join(parts)
        parts.pop()
    return None


def check_include(source, line, name, allowed):
    me = source.room
    to = room_of(name, allowed)
    if to and to not in allowed[me]:
        yield Finding(source.path, line, f'{me} may not include {to} '
                      '(src/LAYERS): move the code, or hand the value in')
    if to == 'consensus' and me not in CONSENSUS_ROOMS:
        yield Finding(source.path, line, f'{me} may not include {name}: use '
                      'the public headers <quorate/...>')
    if name in ('uv.h',) and me not in UV_ROOMS:
        yield Finding(source.path, line, f'{me} may not include uv.h: take '
                      'the table of functions that the daemon passes')
    if re.match(r'raft(\.h|/)', name) and me not in RAFT_ROOMS:
        yield Finding(source.path, line, f'{me} may not include {name}: use '
                      '<quorate/host.h>')
    if me in PURE_ROOMS and IMPURE.search(name) and not to:
        yield Finding(source.path, line, f'{me} is pure and may not include '
                      f'{name}: let the command carry the outcome')


@rule('layers')
def layers(tree):
    """Includes run downwards, as src/LAYERS lists; libuv stays low."""
    allowed, findings = read_layers(tree.root / 'src/LAYERS')
    yield from findings
    for source in tree.files(('src',)):
        if source.room not in allowed:
            yield Finding(source.path, 1, 'its folder is not in src/LAYERS')
            continue
        for line, name in source.includes:
            yield from check_include(source, line, name, allowed)
    for source in tree.files(('include',)):
        for line, name in source.includes:
            if not name.startswith('quorate/') and '/' in name:
                yield Finding(source.path, line, f'a public header may not '
                              f'include {name}')


def headers_by_name(tree):
    """{name as written in an include: source}."""
    found = {}
    for folder in ('src', 'include', 'tests'):
        for source in tree.files((folder,), ('.h', '.def')):
            found[str(source.path.relative_to(folder))] = source
    return found


@rule('cycles')
def cycles(tree):
    """No header includes itself by way of others."""
    headers = headers_by_name(tree)
    state, stack = {}, []

    def visit(name):
        state[name] = 'open'
        stack.append(name)
        for line, to in headers[name].includes:
            if to not in headers:
                continue
            if state.get(to) == 'open':
                ring = stack[stack.index(to):] + [to]
                yield Finding(headers[name].path, line, 'includes itself: ' +
                              ' -> '.join(ring) +
                              '; forward-declare in one of them')
            elif to not in state:
                yield from visit(to)
        stack.pop()
        state[name] = 'done'

    for name in headers:
        if name not in state:
            yield from visit(name)


@rule('importers')
def importers(tree):
    """Every header is included by someone other than its own source file."""
    headers = headers_by_name(tree)
    wanted = set()
    for source in tree.files(('src', 'include', 'tests', 'docs')):
        own = source.path.with_suffix('.h')
        for _, name in source.includes:
            beside = source.path.parent / name
            path = headers[name].path if name in headers else beside
            if path != own:
                wanted.add(path)
    for source in headers.values():
        # The public headers are included by others' programs.
        if source.path not in wanted and source.path.parts[0] != 'include':
            if not tree.allow('importers', source.path, '*'):
                yield Finding(source.path, 1, 'nobody includes this: make '
                              'its contents static, or remove them')
    yield from tree.stale('importers')
