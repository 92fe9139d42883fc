from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tablevault_like.functions import canonical
from tablevault_like.functions.canonical import digest

SYNTAX = '''
"""Every piece of Python 3.11's syntax whose trees differ between versions, or might."""
import a.b as c, d
from . import e as f
from ..g import *
type_ = -1, +2.5e-3, 1_000_000_000_000_000_000_000, 0x1F, 3j, 1e999, b"\\xff", "\\ud800", ..., None, True
strings = f"", f"{c:}", f"{c!r:>{d}}", f"{c=}", f"{c = !s}", f"{{}}{c}", "x" f"y{c}z" "w", f"{c:a{d}b}", u"old"
fs = f"""{
c}""", rf"\\d{c}", f"{'nested'}", f"{lambda_(x)!a}", f"{c:%Y-%m}", f"{c}" f"{d}"
x: int
(y): int = 1
x, *z = *y, 1
a[1:2, ..., ::3] = a[*y]
del a[0], b.c
assert x, "text"
async def g(p, /, q: int = 1, *args: *Ts, k, l=2, **kw) -> None:
    global x
    async with a as b, c: pass
    async for i in (await j async for j in k if j if not k): yield i
    else: ...
    return [*a, *b], {**c, "d": 1}, {1, 2}, {k: v for k, v in z}
@d.e(1)(2)
class C(B, metaclass=M, **kw):
    "doc"
    x = 1
    def m(self):
        nonlocal_ = super().m
        def n():
            nonlocal nonlocal_
            return (nonlocal_ := 1)
        return lambda *a, b=1, **k: (yield)
match a:
    case 1 | -1.5 | "s" | None | True | d.e: pass
    case [x, *_, {"k": v, **rest}] if x: pass
    case C(1, y=[_]) as z: pass
    case (_ as w): pass
try: raise E from None
except* (A, B) as e: pass
else: pass
finally: pass
while not a < b <= c is not d in e: break
else: continue_
for i in range(3): continue
with (open(a) as f, open(b)): pass
a @= b; a //= b; a **= ~b; a = b if c else d and e or f; a = b @ c << d & e ^ f | g
if a: pass
elif b: pass
else: pass
'''

LATER_SYNTAX = '''
"""What Python 3.12 added."""
type Pair[T: (int, str), *Ts, **P] = dict[T, tuple[*Ts]]
def first[T: int](items: list[T]) -> T: return items[0]
class Box[T](Base[T]):
    async def get[S](self, other: S) -> T | S: ...
f"{a["k"]} {f"{b!r:>{width + 1}}"} {'\\n'.join(c)}"
f"{
    a  # layout
}"
'''


def of(text: str, *, docstrings: bool = False) -> str:
    return digest([ast.parse(text)], docstrings=docstrings)


def test_is_the_same_under_every_version_of_python() -> None:
    assert of(SYNTAX) == "34d673fcb63adf012a58700393c2a8d6"
    assert of(SYNTAX, docstrings=True) == "8de5046f2fa837460af589ebd4ee040e"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
def test_is_the_same_under_every_version_that_knows_its_syntax() -> None:
    assert of(LATER_SYNTAX) == "070dcbea79055f7e0d602a681f786860"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="syntax of Python 3.14")
def test_parentheses_that_may_be_left_out_do_not_count() -> None:
    assert of("try: a\nexcept A, B: b") == of("try: a\nexcept (A, B): b")
    assert of("x = t'{a}'") != of("x = f'{a}'")


@pytest.mark.parametrize("path", sorted(Path(canonical.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_layout_and_comments_do_not_count(path: Path) -> None:
    text = path.read_text()
    assert of(text) == of(ast.unparse(ast.parse(text)))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("def f():\n    'doc'\n    return 1", "def f(): return 1"),
        ("class A:\n    'doc'\n    x = 1\n    'about x'", "class A:\n    x = 1"),
        ("def f(): pass", "def f(): ..."),
        ("def f(): 'doc'", "def f(): pass"),
        ("x = 'ab'", "x = 'a' \"b\""),
        ("x = f'{a}b'", "x = f'{a}' 'b'"),
        ("x = f'{a:}'", "x = f'{a}'"),
        ("x = 'a'", "x = u'a'"),
        ("x = 1_000", "x = 1000"),
        ("x = 0x10", "x = 16"),
        ("x = (1, 2)", "x = 1, 2"),
        ("x = 1  # type: int", "x = 1"),
    ],
)
def test_what_means_the_same_is_the_same(one: str, two: str) -> None:
    assert of(one) == of(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 1", "x = '1'"),
        ("x = 'a'", "x = b'a'"),
        ("x = None", "x = 'None'"),
        ("x = None", "x = ..."),
        ("x = 0.0", "x = -0.0"),
        ("x = 1j", "x = 1"),
        ("x = ['ab', 'c']", "x = ['a', 'bc']"),
        ("x = [[], 1]", "x = [[1]]"),
        ("x = {**a}", "x = {None: a}"),
        ("def f(*, a, b=1): 0", "def f(*, a=1, b): 0"),
        ("x = f'{a}'", "x = '{a}'"),
        ("x = f'{a!r}'", "x = f'{a}'"),
        ("x = f'{a:b}'", "x = f'{a}b'"),
        ("x = a, b", "x = b, a"),
        ("(x): int = 1", "x: int = 1"),
        ("from . import a", "from .. import a"),
        ("from a import b", "from b import a"),
        ("def f(): return 1", "async def f(): return 1"),
        ("[x for x in y]", "[x async for x in y]"),
        ("if a: b()\nelse: c()", "if a: b(); c()"),
        ("if a: b()\nc()", "if a: b(); c()"),
        ("def f(a, /, b): 0", "def f(a, b, /): 0"),
        ("a < b < c", "a < b and b < c"),
        ("x = lambda: 0", "x = lambda: 1"),
        ("match a:\n    case None: b", "match a:\n    case False: b"),
        ("x = '\\ud800'", "x = '?'"),
    ],
)
def test_what_means_something_else_differs(one: str, two: str) -> None:
    assert of(one) != of(two)


def test_docstrings_count_when_asked_for() -> None:
    one, two = "def f():\n    'one'", "def f():\n    'two'"
    assert of(one) == of(two)
    assert of(one, docstrings=True) != of(two, docstrings=True)


def test_a_list_of_nodes_differs_from_another_order() -> None:
    one, two = ast.parse("a = 1\nb = 2").body
    assert digest([one, two]) != digest([two, one])
    assert digest([one]) != digest([])
