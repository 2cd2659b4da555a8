"""Rules that run a tool: compilers, formatters, analysers."""

import hashlib
import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

from rules import rule
from rules.layers import headers_by_name
from tree import Finding

JOBS = int(os.environ.get('TIDY_JOBS', '2'))
SHELL_FOLDERS = ('deploy', 'tests', '.ci')
NOTES_MAX = 3
# What an analyser needs of a compile command. Warnings are the compilers'
# business, and each compiler knows others.
KEPT = re.compile(r'-(I|isystem|D|U|std=|include)')


def run(command, cwd, stdin=None):
    """(exit code, all output)."""
    done = subprocess.run(command, cwd=cwd, input=stdin, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          errors='replace', check=False)
    return done.returncode, done.stdout


def in_parallel(function, items):
    with ThreadPoolExecutor(JOBS) as pool:
        for findings in pool.map(function, items):
            yield from findings


def gcc_style(tree, output):
    """Findings from lines of the form path:line:column: error: text, with
    the first of the notes below each."""
    found, notes = [], 0
    for line in output.splitlines():
        m = re.match(r'(.+?):(\d+):(?:\d+:)? (?:fatal )?(\w+): (.*)', line)
        if m and m.group(3) in ('error', 'warning'):
            path = os.path.relpath(os.path.join(tree.root, m.group(1)),
                                   tree.root)
            found.append(Finding(path, int(m.group(2)), m.group(4)))
            notes = 0
        elif m and m.group(3) == 'note' and found and notes < NOTES_MAX:
            found[-1].text += f'; {m.group(4)}'
            notes += 1
    return found


def commands(tree):
    """{absolute source path: compile arguments without -c, -o, source}."""
    path = tree.build / 'compile_commands.json'
    if not path.exists():
        raise SystemExit(f'{path} is missing: give --build a meson build')
    found = {}
    for entry in json.loads(path.read_text()):
        source = os.path.normpath(
            os.path.join(entry['directory'], entry['file']))
        found[source] = {
            'args': shlex.split(entry['command']),
            'output': os.path.join(entry['directory'], entry['output']),
        }
    return found


def kept_args(tree, args):
    """-I, -isystem, -D, -U and -std, with absolute folders."""
    kept = []
    for arg in args:
        m = re.match(r'(-I|-isystem)(.+)', arg)
        if m:
            folder = os.path.normpath(os.path.join(tree.build, m.group(2)))
            kept.append(m.group(1) + folder)
        elif KEPT.match(arg) and 'FORTIFY' not in arg:
            kept.append(arg)
    return kept


@rule('format')
def clang_format(tree):
    """clang-format 14 would change nothing."""
    sources = tree.files(('src', 'include', 'tests', 'docs'), ('.c', '.h'))
    batches = [sources[i::JOBS] for i in range(JOBS)]

    def check(batch):
        code, output = run(['clang-format', '--dry-run', '-Werror',
                            *[source.name for source in batch]], tree.root)
        seen = set()
        for finding in gcc_style(tree, output) if code != 0 else ():
            if finding.path not in seen:
                seen.add(finding.path)
                finding.text = f'run: clang-format -i {finding.path}'
                yield finding

    yield from in_parallel(check, [batch for batch in batches if batch])


@rule('self-contained')
def self_contained(tree):
    """Every header compiles alone, with all warnings as errors."""
    args = {}
    for path, command in commands(tree).items():
        if path.startswith(f'{tree.root}/src/'):
            args.update(dict.fromkeys(kept_args(tree, command['args'])))
    flags = ['-Wall', '-Wextra', '-Wpedantic', '-Wstrict-prototypes',
             '-Wconversion', '-Werror', '-fsyntax-only', '-x', 'c', '-']

    def check(source):
        code, output = run(['gcc', *args, *flags], tree.root,
                           f'#include "{tree.root}/{source.path}"\n'
                           'extern int not_empty;\n')
        if code != 0:
            found = gcc_style(tree, output)
            yield found[0] if found else Finding(source.path, 1, output)

    yield from in_parallel(check, tree.files(('src', 'include'), ('.h',)))


def needed_headers(headers, source, seen):
    """Adds to seen every header of ours that the source includes."""
    for _, name in source.includes:
        if name in headers and name not in seen:
            seen.add(name)
            needed_headers(headers, headers[name], seen)


def tidy_key(tree, headers, source, args, config):
    """A name for everything that clang-tidy's answer depends on."""
    key = hashlib.sha256(config.encode())
    key.update('\0'.join(args).encode())
    key.update(source.text.encode())
    seen = set()
    needed_headers(headers, source, seen)
    for name in sorted(seen):
        key.update(headers[name].text.encode())
    for proto in sorted((tree.root / 'proto').glob('*.proto')):
        key.update(proto.read_bytes())
    return key.hexdigest()


@rule('clang-tidy')
def clang_tidy(tree):
    """clang-tidy 14 finds nothing. Unchanged files are not checked again."""
    cache = tree.build / 'clang-tidy-cache'
    cache.mkdir(exist_ok=True)
    config = (tree.root / '.clang-tidy').read_text() + \
        run(['clang-tidy', '--version'], tree.root)[1]
    known = commands(tree)
    headers = headers_by_name(tree)
    used = set()

    def check(source):
        command = known.get(f'{tree.root}/{source.path}')
        if command is None:
            yield Finding(source.path, 1, 'no meson.build lists this file')
            return
        args = kept_args(tree, command['args'])
        key = cache / tidy_key(tree, headers, source, args, config)
        used.add(key)
        if key.exists():
            return
        code, output = run(['clang-tidy', '--quiet',
                            f'{tree.root}/{source.path}', '--', *args],
                           tree.root)
        found = gcc_style(tree, output)
        if code == 0 and not found:
            key.touch()
        elif found:
            yield from found
        else:
            yield Finding(source.path, 1, output.strip()[-300:])

    yield from unique(in_parallel(check, tree.files(('src',), ('.c',))))
    for key in set(cache.iterdir()) - used:
        key.unlink()


def unique(findings):
    """Each once: a header's are reported with every file that includes it."""
    seen = set()
    for finding in findings:
        if str(finding) not in seen:
            seen.add(str(finding))
            yield finding


@rule('cppcheck')
def cppcheck(tree):
    """cppcheck 2.10 finds nothing."""
    state = tree.build / 'cppcheck-cache'
    state.mkdir(exist_ok=True)
    suppressions = tree.root / 'tests/tidy/cppcheck.txt'
    code, output = run([
        'cppcheck', '--quiet', '--enable=warning,performance,portability',
        '--error-exitcode=1', '--inline-suppr', '--std=c11',
        f'-j{JOBS}', f'--cppcheck-build-dir={state}',
        '--template={file}:{line}:{column}: error: {message} [{id}]',
        '-D_GNU_SOURCE', '-Isrc', '-Iinclude',
        *([f'--suppressions-list={suppressions}']
          if suppressions.exists() else []),
        'src', 'include'], tree.root)
    found = list(unique(gcc_style(tree, output)))
    if code != 0 and not found:
        found = [Finding('src', 1, output.strip()[-300:])]
    yield from found


@rule('codespell')
def codespell(tree):
    """No misspelt word that codespell knows."""
    words = tree.root / 'tests/tidy/words.txt'
    folders = ('src', 'include', 'proto', 'tests', 'deploy', 'docs',
               'README.md', 'meson.build')
    code, output = run([
        'codespell', *(['-I', str(words)] if words.exists() else []),
        '--skip', '*.pyc,*.pem,*.crt,tests/tidy/words.txt,'
                  'tests/fuzz/corpus',
        *[f for f in folders if (tree.root / f).exists()]], tree.root)
    for line in output.splitlines():
        m = re.match(r'(.+?):(\d+): (.*)', line)
        if code != 0 and m:
            yield Finding(m.group(1), int(m.group(2)), m.group(3))


@rule('globals')
def globals_(tree):
    """No mutable state at file scope, nor static in a function."""
    for path, command in sorted(commands(tree).items()):
        if not path.startswith(f'{tree.root}/src/'):
            continue
        if not os.path.exists(command['output']):
            raise SystemExit(f'{command["output"]} is missing: compile first')
        name = os.path.relpath(path, tree.root)
        _, output = run(['nm', '-f', 'sysv', command['output']], tree.root)
        for line in output.splitlines():
            fields = [field.strip() for field in line.split('|')]
            if len(fields) != 7 or fields[3] == 'SECTION':
                continue
            symbol, section = fields[0].split('.')[0], fields[6]
            if re.match(r'\.(t?bss|t?data)(?!\.rel\.ro)', section) and \
                    not tree.allow('globals', name, symbol):
                yield Finding(name, 1, f'{symbol} is mutable file-scope '
                              'state: make it const, or part of an object')
    yield from tree.stale('globals')


@rule('scripts')
def scripts(tree):
    """Shell and Python scripts parse."""
    for folder in SHELL_FOLDERS:
        for path in sorted((tree.root / folder).rglob('*')):
            if not path.is_file() or path.suffix in ('.c', '.h'):
                continue
            name = path.relative_to(tree.root)
            with path.open('rb') as stream:
                first = stream.readline(80)
            if path.suffix == '.sh' or re.match(rb'#!.*\bbash', first):
                code, output = run(['bash', '-n', str(path)], tree.root)
                if code != 0:
                    yield Finding(name, 1, output.strip())
            if path.suffix == '.py' or re.match(rb'#!.*\bpython', first):
                try:
                    compile(path.read_text(), str(name), 'exec')
                except SyntaxError as error:
                    yield Finding(name, error.lineno or 1, str(error))
