"""Rules about the text of files and the size of functions."""

import re

from rules import rule
from tree import TEXT_SUFFIXES, TOP_FOLDERS, Finding

COLUMNS_MAX = 80
FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
NESTING_MAX = 4
LATER = re.compile(r'\b(TO' r'DO|FIX' r'ME|XX' r'X|HA' r'CK)\b')


@rule('columns')
def columns(tree):
    """Lines have at most 80 columns, no tabs, no trailing blanks."""
    for source in tree.files(TOP_FOLDERS, TEXT_SUFFIXES):
        for number, line in enumerate(source.lines, 1):
            if len(line) > COLUMNS_MAX:
                yield Finding(source.path, number,
                              f'{len(line)} columns, {COLUMNS_MAX} allowed')
            if '\t' in line:
                yield Finding(source.path, number, 'a tab: use spaces')
            if line != line.rstrip():
                yield Finding(source.path, number, 'trailing blanks')


@rule('file-size')
def file_size(tree):
    """Files have at most 800 lines."""
    for source in tree.files(TOP_FOLDERS, TEXT_SUFFIXES):
        if len(source.lines) > FILE_LINES_MAX:
            yield Finding(source.path, FILE_LINES_MAX + 1,
                          f'{len(source.lines)} lines, {FILE_LINES_MAX} '
                          'allowed: split it along a seam')


@rule('function-size')
def function_size(tree):
    """Function bodies have at most 70 lines."""
    for source in tree.files(('src', 'include', 'tests')):
        for function in source.functions:
            if function.length > FUNCTION_LINES_MAX:
                yield Finding(source.path, function.first,
                              f'{function.name} has {function.length} lines, '
                              f'{FUNCTION_LINES_MAX} allowed')


def nesting_of(body):
    """How deep blocks lie in blocks; braces of initializers do not count."""
    depth, deepest, stack = 0, 0, []
    for m in re.finditer(r'[{}]', body):
        if m.group(0) == '}':
            depth -= stack.pop() if stack else 0
            continue
        before = body[:m.start()].rstrip()
        block = before.endswith((')', ':', ';', '{', '}')) or \
            re.search(r'\b(else|do)$', before) is not None
        # A compound literal's brace follows its type: (struct x){...}.
        if re.search(r'\((struct|union|enum) \w+( ?\*)?( ?\[\w*\])?\)$',
                     before):
            block = False
        # What is within an initializer is one, too.
        block = block and stack[-1:] != [0]
        stack.append(1 if block else 0)
        depth += stack[-1]
        deepest = max(deepest, depth)
    return deepest


@rule('nesting')
def nesting(tree):
    """Blocks are nested at most 4 deep."""
    for source in tree.files(('src', 'include', 'tests')):
        for function in source.functions:
            deepest = nesting_of(function.body)
            if deepest > NESTING_MAX:
                yield Finding(source.path, function.first,
                              f'{function.name} nests {deepest} deep, '
                              f'{NESTING_MAX} allowed: ifs rise to the '
                              'caller, loops sink')


@rule('later')
def later(tree):
    """Nothing is left for later in the code: do it or open an issue."""
    for source in tree.files(TOP_FOLDERS, TEXT_SUFFIXES):
        for number, line in enumerate(source.lines, 1):
            m = LATER.search(line)
            if m:
                yield Finding(source.path, number,
                              f'{m.group(1)}: do it, or make it an issue')


@rule('narrative')
def narrative(tree):
    """Every C file opens with a comment that says what it is."""
    for source in tree.files(('src', 'include', 'tests'), ('.c', '.h')):
        if not source.text.startswith(('/*', '//')):
            yield Finding(source.path, 1, 'open with a comment that says '
                          'what this file does and what can fail')
