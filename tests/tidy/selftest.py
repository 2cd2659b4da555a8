#!/usr/bin/env python3
"""Each tidy rule finds what it is for, and nothing in a clean tree.

A clean tree of a few files is made in a temporary directory. Every rule must
pass on it. Then, for each case below, some files are replaced by bad ones and
the named rule must complain about the named file, with the named words.
"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from rules import RULES, code, layers, text, tools  # noqa: E402,F401
from tree import Tree  # noqa: E402

ADD_C = '''/* Adding. */
#include "base/add.h"

#include "base/check.h"

int
add(int a, int b)
{
    int sum = a + b;

    ASSERT(a >= 0);
    ASSERT(b >= 0);
    return sum;
}
'''

CLEAN = {
    'src/LAYERS': 'base:\nrouting: base\nconsensus: base\n'
                  'broker: base routing\n',
    'src/base/add.c': ADD_C,
    'src/base/add.h': '''/* Adding. */
#ifndef BASE_ADD_H
#define BASE_ADD_H

/* The sum of a and b, neither negative. */
int add(int a, int b);

#endif
''',
    'src/base/check.h': '''/* Assertions. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#define ASSERT(cond) ((void)(cond))

#endif
''',
    'src/routing/route.c': '''/* Routing. */
#include "routing/route.h"

#include "base/add.h"

int
route(int a)
{
    static const int table[] = {1, 2};

    return add(a, table[0]);
}
''',
    'src/routing/route.h': '''/* Routing. */
#ifndef ROUTING_ROUTE_H
#define ROUTING_ROUTE_H

/* The route of a. */
int route(int a);

#endif
''',
    'tests/unit/base/add_test.c':
        '/* Adding. */\n#include "base/add.h"\n\n'
        'int (*const tested)(int a, int b) = add;\n',
    'tests/unit/routing/route_test.c':
        '/* Routing. */\n#include "routing/route.h"\n\n'
        'int (*const tested)(int a) = route;\n',
    'deploy/hello.sh': '#!/bin/bash\necho hello\n',
    '.clang-format': (HERE.parent.parent / '.clang-format').read_text(),
    '.clang-tidy': (HERE.parent.parent / '.clang-tidy').read_text(),
    'README.md': 'A tree.\n',
    'meson.build': '# Nothing.\n',
}


def c_file(body):
    return '/* Bad. */\n' + body


def function(lines):
    return c_file('void\nlong_one(int *a)\n{\n' + '    *a += 1;\n' * lines +
                  '}\n')


# (rule, {path: text}, path that the rule must name, words it must say).
CASES = [
    ('columns', {'src/base/add.c': ADD_C + '/* ' + 'x' * 78 + ' */\n'},
     'src/base/add.c', '84 columns'),
    ('columns', {'src/base/add.c': ADD_C + '\tint;\n'},
     'src/base/add.c', 'a tab'),
    ('columns', {'proto/x.proto': 'message M {} \n'},
     'proto/x.proto', 'trailing'),
    ('file-size', {'src/base/add.c': c_file('\n' * 800)},
     'src/base/add.c', '801 lines'),
    ('function-size', {'src/base/add.c': function(71)},
     'src/base/add.c', 'long_one has 71 lines'),
    ('nesting', {'src/base/add.c': c_file(
        'void\ndeep(int *a)\n{\n' + '    if (*a > 0) {\n' * 5 +
        '    *a = 0;\n' + '    }\n' * 5 + '}\n')},
     'src/base/add.c', 'deep nests 5 deep'),
    ('later', {'src/base/add.c': c_file('/* TO' 'DO: more */\n')},
     'src/base/add.c', 'do it'),
    ('narrative', {'src/base/add.c': 'int a;\n'}, 'src/base/add.c', 'open'),
    ('layers', {'src/base/add.c': c_file('#include "routing/route.h"\n')},
     'src/base/add.c', 'base may not include routing'),
    ('layers', {'src/base/add.c': c_file('#include <uv.h>\n')},
     'src/base/add.c', 'uv.h'),
    ('layers', {'src/routing/route.c': c_file('#include <time.h>\n')},
     'src/routing/route.c', 'is pure'),
    ('layers', {'src/routing/route.c': c_file('#include <raft.h>\n')},
     'src/routing/route.c', 'host.h'),
    ('layers', {'src/LAYERS': 'base: routing\nrouting:\nconsensus:\n'},
     'src/LAYERS', 'lowest first'),
    ('layers', {'src/other/a.c': c_file('')}, 'src/other/a.c', 'not in'),
    ('layers', {'src/LAYERS': 'base:\nrouting: base\nconsensus: base\n'
                              'broker: base consensus\n',
                'src/broker/a.c': c_file('#include "consensus/step.h"\n')},
     'src/broker/a.c', 'public headers'),
    ('layers', {'include/quorate/a.h': c_file('#include "base/add.h"\n')},
     'include/quorate/a.h', 'public header'),
    ('cycles', {'src/base/a.h': c_file('#include "base/b.h"\n'),
                'src/base/b.h': c_file('#include "base/a.h"\n')},
     'src/base/b.h', 'base/a.h -> base/b.h -> base/a.h'),
    ('importers', {'src/base/lone.h': c_file('')}, 'src/base/lone.h',
     'nobody'),
    ('importers', {'src/base/lone.h': c_file(''),
                   'src/base/lone.c': c_file('#include "base/lone.h"\n')},
     'src/base/lone.h', 'nobody'),
    ('banned', {'src/base/add.c': c_file('int\nf(void)\n{\n'
                                         '    return atoi("1");\n}\n')},
     'src/base/add.c', 'atoi: use'),
    ('banned', {'src/base/add.c': c_file('#include <assert.h>\n')},
     'src/base/add.c', 'base/check.h'),
    ('banned', {'src/base/add.h': c_file('static inline void\nf(void *p)\n'
                                         '{\n    free(p);\n}\n')},
     'src/base/add.h', 'free: use mem_free'),
    ('banned', {'tests/tidy/allow.txt': 'banned src/base/add.c free why\n'},
     'tests/tidy/allow.txt', 'excuses nothing'),
    ('documented', {'src/base/add.h': c_file('\nint add(int a,\n'
                                             '        int b);\n')},
     'src/base/add.h', 'add: say above'),
    ('documented', {'src/base/add.h': c_file(
        '\nstatic inline int\nf(int a)\n{\n    return a;\n}\n\n'
        'void g(void (*done)(int)) UNUSED;\n')},
     'src/base/add.h', 'g: say above'),
    ('tested', {'src/base/sub.c': c_file('int\nsub(int a)\n{\n'
                                         '    return a;\n}\n')},
     'src/base/sub.c', 'no test reaches it'),
    ('assertions', {'src/base/add.c': ADD_C.replace('ASSERT(b >= 0);', '')},
     'src/base', '1.00 assertions'),
    ('format', {'src/base/add.c': ADD_C.replace('int a', 'int  a')},
     'src/base/add.c', 'clang-format -i'),
    ('self-contained', {'src/base/add.h': c_file(
        '/* The size of a. */\nint add(size_t a);\n')},
     'src/base/add.h', 'size_t'),
    ('clang-tidy', {'src/base/add.c': ADD_C.replace(
        'return', 'if (a == b) return b;\n    return')},
     'src/base/add.c', 'inside braces'),
    ('cppcheck', {'src/base/add.c': c_file(
        'int\nf(void)\n{\n    int a[2] = {0, 0};\n\n    return a[2];\n}\n')},
     'src/base/add.c', 'out of bounds'),
    ('codespell', {'src/base/add.c': c_file('/* reci' 'eve */\n')},
     'src/base/add.c', 'receive'),
    ('globals', {'src/base/add.c': ADD_C + 'static int calls;\n\n'
                 'int *\ncount(void)\n{\n    return &calls;\n}\n'},
     'src/base/add.c', 'calls is mutable'),
    ('globals', {'src/base/add.c': c_file(
        'int *\ncount(void)\n{\n    static _Thread_local int here = 3;\n\n'
        '    return &here;\n}\n')},
     'src/base/add.c', 'here is mutable'),
    ('scripts', {'deploy/hello.sh': 'if true; do\n'}, 'deploy/hello.sh',
     'syntax error'),
    ('scripts', {'tests/a.py': 'def f(:\n'}, 'tests/a.py', 'invalid'),
]


def build(root):
    """Compile the tree's sources; what meson would leave behind."""
    folder = root / 'build'
    folder.mkdir()
    commands = []
    for source in sorted((root / 'src').rglob('*.c')):
        output = f'{source.stem}.o'
        args = ['cc', '-std=c11', '-I../src', '-I../include', '-o', output,
                '-c', str(source)]
        # A bad snippet need not compile for the rules that only read it.
        subprocess.run(args, cwd=folder, check=False,
                       stderr=subprocess.DEVNULL)
        commands.append({'directory': str(folder), 'file': str(source),
                         'output': output, 'command': ' '.join(args)})
    (folder / 'compile_commands.json').write_text(json.dumps(commands))
    return folder


def findings(rule, changes):
    """What the rule says about the clean tree with these changes."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path, content in {**CLEAN, **changes}.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        return [str(f) for f in RULES[rule](Tree(root, build(root)))]


class TidyRules(unittest.TestCase):
    def test_every_rule_passes_on_the_clean_tree(self):
        for rule in RULES:
            with self.subTest(rule=rule):
                self.assertEqual(findings(rule, {}), [])

    def test_every_rule_has_a_case(self):
        self.assertEqual(set(RULES), {case[0] for case in CASES})

    def test_every_case_is_found(self):
        for rule, changes, path, words in CASES:
            with self.subTest(rule=rule, path=path, words=words):
                found = findings(rule, changes)
                self.assertTrue(
                    any(f.startswith(path + ':') and words in f
                        for f in found), found)

    def test_an_exception_is_honoured(self):
        changes = {
            'src/base/add.c': c_file('void\nf(void *p)\n{\n    free(p);\n}\n'),
            'tests/tidy/allow.txt':
                '# Why.\nbanned src/base/add.c free it is the place\n',
        }
        self.assertEqual(findings('banned', changes), [])

    def test_a_family_of_prototypes_shares_a_contract(self):
        changes = {'src/base/add.h': c_file(
            '\n/* Make and unmake. */\nvoid f(void);\nvoid g(int a,\n'
            '       int b);\nvoid h(void);\n')}
        self.assertEqual(findings('documented', changes), [])

    def test_a_test_may_reach_a_file_through_its_room(self):
        changes = {
            'src/base/add.c': ADD_C.replace('= a + b', '= sub(a, -b)'),
            'src/base/sub.c': c_file('int\nsub(int a)\n{\n'
                                     '    return a;\n}\n'),
        }
        self.assertEqual(findings('tested', changes), [])

    def test_initializers_are_no_nesting(self):
        body = 'struct x a = {{{{{0}}}}};\n    a = (struct x){{{{{0}}}}};\n'
        self.assertEqual(text.nesting_of(body), 0)

    def test_70_lines_are_allowed(self):
        self.assertEqual(
            findings('function-size', {'src/base/add.c': function(70)}), [])


if __name__ == '__main__':
    unittest.main()
