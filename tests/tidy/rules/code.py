"""Rules about what code says: calls, documentation, assertions, tests."""

import re
from collections import defaultdict

from rules import rule
from tree import Finding

ALLOCATE = 'mem_alloc and its family (base/mem.h)'
CLOCK = "the env's clock, so that the simulator owns time"
RANDOM = 'base/rng.h, or the env for what must not be guessed'
PARSE = 'a parser that reports errors'
FORMAT = 'snprintf with the size'
WAIT = 'a timer of the loop'

BANNED = {
    'malloc': ALLOCATE, 'calloc': ALLOCATE, 'realloc': ALLOCATE,
    'reallocarray': ALLOCATE, 'strdup': ALLOCATE, 'strndup': ALLOCATE,
    'asprintf': ALLOCATE, 'vasprintf': ALLOCATE, 'getline': ALLOCATE,
    'free': 'mem_free (base/mem.h)',
    'alloca': 'a pool or an arena',
    'strcpy': 'memcpy or snprintf with the size', 'stpcpy': FORMAT,
    'strcat': FORMAT, 'strncpy': 'memcpy or snprintf', 'strncat': FORMAT,
    'sprintf': FORMAT, 'vsprintf': 'vsnprintf with the size',
    'gets': 'fgets', 'strtok': 'strchr and a slice',
    'atoi': PARSE, 'atol': PARSE, 'atoll': PARSE, 'atof': PARSE,
    'scanf': PARSE, 'sscanf': PARSE, 'fscanf': PARSE,
    'rand': RANDOM, 'srand': RANDOM, 'random': RANDOM, 'srandom': RANDOM,
    'drand48': RANDOM, 'getrandom': RANDOM, 'RAND_bytes': RANDOM,
    'time': CLOCK, 'gettimeofday': CLOCK, 'clock_gettime': CLOCK,
    'clock': CLOCK,
    'localtime': 'gmtime_r', 'gmtime': 'gmtime_r', 'ctime': 'strftime',
    'sleep': WAIT, 'usleep': WAIT, 'nanosleep': WAIT,
    'abort': 'ASSERT or UNREACHABLE (base/check.h)',
    'assert': 'ASSERT (base/check.h)',
    'exit': 'an error returned to main',
    'system': 'posix_spawn with a list of arguments', 'popen': 'posix_spawn',
    'setjmp': 'an error return', 'longjmp': 'an error return',
    'strerror': 'strerror_r, or uv_strerror_r',
    'signal': 'sigaction, or uv_signal',
    'printf': 'base/log.h, or the program that owns stdout',
}
BANNED_HEADERS = {'assert.h': 'base/check.h', 'alloca.h': 'a pool'}
CALL = re.compile(r'(?<![\w.])(?<!->)(' + '|'.join(BANNED) + r')\s*\(')
PRINTING_ROOMS = {'daemon', 'ctl', 'bench', 'sim'}

DENSITY_MIN = 1.5
DENSE_ROOMS = ('base', 'store', 'machine', 'consensus')
# What each counts: OBJ_CHECK is a pointer and its magic.
ASSERTS = {'ASSERT': 1, 'ASSERT_IMPLIES': 1, 'UNREACHABLE': 1, 'OBJ_CHECK': 2}
ASSERTING = re.compile(r'\b(' + '|'.join(ASSERTS) + r')\s*\(')
# Getters and the like have nothing to assert that their type does not say.
TRIVIAL_LINES = 3


@rule('banned')
def banned(tree):
    """No call that has a safer or testable replacement."""
    for source in tree.files(('src', 'include')):
        for m in CALL.finditer(source.plain):
            name = m.group(1)
            if name == 'printf' and source.room in PRINTING_ROOMS:
                continue
            if not tree.allow('banned', source.path, name):
                yield Finding(source.path, source.line_of(m.start()),
                              f'{name}: use {BANNED[name]}')
        for line, name in source.includes:
            if name in BANNED_HEADERS:
                yield Finding(source.path, line, f'<{name}>: use '
                              f'{BANNED_HEADERS[name]}')
    yield from tree.stale('banned')


def declarations(source):
    """(offset, text) of what ends in ; at the outermost level."""
    depth, start = 0, 0
    for m in re.finditer(r'[{};]', source.plain):
        mark = m.group(0)
        if mark == '{':
            if re.search(r'extern\s+$', source.plain[start:m.start()]):
                start = m.end()
                continue
            depth += 1
        elif mark == '}':
            depth = max(depth - 1, 0)
            if depth == 0 and re.search(r'\)\s*\{', source.plain[start:]):
                head = source.plain[start:m.end()]
                if re.match(r'[^={]*\)\s*\{', head):
                    start = m.end()
        elif depth == 0:
            yield start, source.plain[start:m.start()]
            start = m.end()


def is_prototype(text):
    """A declaration of a function that others can call."""
    text = re.sub(r'__attribute__\s*\(\(.*?\)\)', ' ', text, flags=re.S)
    text = ' '.join(text.split())
    if not text.endswith(')') and not re.search(r'\)\s*[A-Z_]+(\(.*\))?$',
                                                text):
        return False
    if re.match(r'(static|typedef|_Static_assert|static_assert)\b', text):
        return False
    return '{' not in text and '=' not in text and \
        not re.search(r'\(\s*\*', text.split('(', 1)[0] + '(') and \
        re.match(r'[^(]*\w[ *]+\w+ ?\(', text) is not None


@rule('documented')
def documented(tree):
    """Every prototype in a header has its contract above it."""
    for source in tree.files(('src', 'include'), ('.h',)):
        contract_ends = 0
        for offset, text in declarations(source):
            if not is_prototype(text):
                continue
            end = source.line_of(offset + len(text))
            line = source.line_of(offset + len(text) - len(text.lstrip()))
            above = source.lines[line - 2].rstrip() if line > 1 else ''
            # A family may share one: prototypes below it without a gap.
            if above.endswith('*/') or contract_ends == line - 1:
                contract_ends = end
                continue
            name = re.search(r'(\w+) ?\(', text).group(1)
            yield Finding(source.path, line, f'{name}: say above it what '
                          'it does, who owns what, which errors')


def defined(source):
    """Names of the functions that a source file offers to others."""
    return {f.name for f in source.functions
            if not re.match(r'static\b', f.head)}


def words_of(source):
    return set(re.findall(r'\w+', source.plain))


def reach(sources, words):
    """Those of a room's sources that tests which say these words call, and
    those that these call in turn."""
    direct = {source for source in sources if defined(source) & words}
    through = set()
    called = set().union(*map(words_of, direct))
    grown = True
    while grown:
        grown = False
        for source in sources:
            if source not in direct | through and defined(source) & called:
                grown = True
                through.add(source)
                called |= words_of(source)
    return direct, through


@rule('tested')
def tested(tree):
    """Every source file is called by tests, at least by way of its room."""
    words = set()
    # The simulator is a test, too.
    for test in tree.files(('tests/unit', 'tests/fuzz', 'tests/lib',
                            'src/sim'), ('.c', '.h')):
        words |= words_of(test)
    rooms = defaultdict(list)
    for source in tree.files(('src',), ('.c',)):
        if source.room != 'sim' and source.path.name != 'main.c':
            rooms[source.room].append(source)
    for room, sources in sorted(rooms.items()):
        direct, through = reach(sources, words)
        tree.note(f'{room:14} {len(sources):3} files, {len(direct):3} called '
                  f'by tests, {len(through):3} by way of these')
        for source in sources:
            if source not in direct | through and \
                    not tree.allow('tested', source.path, '*'):
                yield Finding(source.path, 1, 'no test reaches it: write '
                              f'tests/unit/{room}/{source.path.stem}_test.c')
    yield from tree.stale('tested')


@rule('assertions')
def assertions(tree):
    """base, store, machine and consensus assert 1.5 times a function."""
    functions, asserts = defaultdict(int), defaultdict(int)
    for source in tree.files(('src',)):
        top = (source.room or '').split('/')[0]
        for function in source.functions:
            count = sum(ASSERTS[m.group(1)]
                        for m in ASSERTING.finditer(function.body))
            # One that asserts all the same shall not lower the density.
            functions[top] += 1 if function.length > TRIVIAL_LINES else 0
            asserts[top] += count
    for room in sorted(functions):
        density = asserts[room] / max(functions[room], 1)
        tree.note(f'{room:10} {functions[room]:5} functions '
                  f'{asserts[room]:5} assertions {density:6.2f} each')
        if room in DENSE_ROOMS and density < DENSITY_MIN:
            yield Finding(f'src/{room}', 1, f'{density:.2f} assertions a '
                          f'function, {DENSITY_MIN} wanted')
