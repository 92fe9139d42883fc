from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVBuilderError
from tablevault_like.functions.fingerprint import Fingerprint, difference, fingerprint
from tablevault_like.functions.modules import Loader

SCORING = '''\
"""Rates texts."""
from __future__ import annotations
import os, re
import numpy as np
import helpers
from helpers import tidy as clean_up, shorten
from pipeline import steps

LIMIT = 10
SCALE, OFFSET = 2, 3
UNUSED = 1
TABLE = {"a": 1}
TABLE["b"] = 2

def logged(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

class Score:
    """A score."""
    best = LIMIT
    def __init__(self, value=OFFSET):
        self.value = value
    def grow(self):
        return Score(_double(self.value))

def _double(number):
    return number * 2

def _unused(text):
    return text

@logged
def unrelated(text):
    return _unused(text)

@logged
def rate(text: str, scale=SCALE) -> Score:
    """Rate one text."""
    # The longer the better.
    words = [word for word in clean_up(text).split() if word]
    shorten = len(words)  # hides the import
    def inner(count):
        return helpers.count(count)
    return Score(inner(shorten) * scale + TABLE["a"]).grow() if re.match("x", text) else steps.first.run(text)

def main():
    rate("x")

if __name__ == "__main__":
    main()
'''
HELPERS = """\
import unicodedata
WORDS = 5
def tidy(text):
    return unicodedata.normalize("NFC", text)
def count(number):
    return min(number, WORDS)
def shorten(text):
    return text[:WORDS]
def spare():
    return 1
"""
STEPS = "from . import second\nfrom .second import go as run\ndef other(): ...\n"
VAULT = {
    "scoring": SCORING,
    "helpers": HELPERS,
    "pipeline/__init__": "VERSION = 1\n",
    "pipeline/steps/__init__": "from . import first\n",
    "pipeline/steps/first": STEPS,
    "pipeline/steps/second": "from ...helpers import tidy\ndef go(text):\n    return tidy(text)\ndef stay(): ...\n",
    "alone": "def rate(text):\n    return text\n",
}


def write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def made(texts: dict[str, str], module: str = "scoring", function: str = "rate") -> Fingerprint:
    with tempfile.TemporaryDirectory() as folder:
        return fingerprint(write(Path(folder), texts), module, function)


def edited(module: str, old: str, new: str) -> dict[str, str]:
    assert old in VAULT[module]
    return VAULT | {module: VAULT[module].replace(old, new)}


class TestEdits:
    """A vault of several modules, edited in one place."""

    @pytest.mark.parametrize(
        ("module", "old", "new"),
        [
            ("scoring", "# The longer the better.", "# The shorter the better."),
            ("scoring", '"""Rate one text."""', '"""Rate a text, or two."""'),
            ("scoring", '    """Rate one text."""\n', ""),
            ("scoring", '"""A score."""', '"""What a text is worth."""'),
            ("scoring", '"""Rates texts."""\n', '"""Rates."""\n\n\n'),
            ("scoring", "LIMIT = 10", "\n\n\nLIMIT   =   10  # at most"),
            ("scoring", "if word]", "if (word)\n    ]"),
            ("scoring", '"x"', "'x'"),
            ("scoring", "UNUSED = 1", "UNUSED = 2"),
            ("scoring", "UNUSED = 1", ""),
            ("scoring", "    return text\n", "    return text.strip()\n"),
            ("scoring", "_unused(text)\n\n", "_unused(text) + 'x'\n\n"),
            ("scoring", "import os, re", "import sys, re"),
            ("scoring", "import numpy as np\n", ""),
            ("scoring", "from helpers import tidy as clean_up, shorten", "from helpers import tidy as clean_up"),
            ("scoring", '    rate("x")', '    rate("y")'),
            ("scoring", "    main()\n", "    main(1)\n"),
            ("helpers", "def spare():\n    return 1", "def spare():\n    return 2"),
            ("helpers", "return text[:WORDS]", "return text[WORDS:]"),
            ("helpers", "def tidy", "def new():\n    tidy('')\n\n\ndef tidy"),
            ("pipeline/steps/first", "other()", "another()"),
            ("pipeline/steps/second", "stay()", "stay(x)"),
            ("pipeline/__init__", "VERSION = 1", "VERSION = 2"),
            ("alone", "return text", "return text.strip()"),
        ],
    )
    def test_without_meaning_for_the_function_keeps_the_digest(self, module: str, old: str, new: str) -> None:
        assert made(edited(module, old, new)) == made(VAULT)

    @pytest.mark.parametrize(
        ("module", "old", "new", "changed"),
        [
            ("scoring", "if word]", "if len(word)]", "scoring.rate changed"),
            ("scoring", "text: str, scale", "text: str, *, scale", "scoring.rate changed"),
            ("scoring", "LIMIT = 10", "LIMIT = 11", "scoring.LIMIT changed"),
            ("scoring", "LIMIT = 10", "LIMIT = 10.0", "scoring.LIMIT changed"),
            ("scoring", "2, 3", "2, 4", "scoring.OFFSET changed"),
            ("scoring", '{"a": 1}', '{"a": 2}', "scoring.TABLE changed"),
            ("scoring", 'TABLE["b"] = 2', 'TABLE["a"] = 2', "scoring.<top level> changed"),
            ("scoring", "Score(_double(self.value))", "Score(self.value)", "scoring._double is no longer used"),
            ("scoring", "number * 2", "number * 3", "scoring._double changed"),
            (
                "scoring",
                "return function(*args, **kwargs)",
                "return str(function(*args, **kwargs))",
                "scoring.logged changed",
            ),
            ("scoring", "@logged\ndef rate", "def rate", "scoring.logged is no longer used"),
            ("scoring", "import os, re", "import os, regex as re", "scoring.re changed"),
            ("scoring", "from __future__ import annotations\n", "", "scoring.annotations is no longer used"),
            ("scoring", "import tidy as", "import count as", "scoring.clean_up changed"),
            ("helpers", '"NFC"', '"NFD"', "helpers.tidy changed"),
            ("helpers", "WORDS = 5", "WORDS = 6", "helpers.WORDS changed"),
            ("helpers", "WORDS = 5", "WORDS = 5\nWORDS += 1", "helpers.WORDS changed"),
            ("helpers", "import unicodedata", "import unicodedata2 as unicodedata", "helpers.unicodedata changed"),
            (
                "pipeline/steps/first",
                "import go as run",
                "import stay as run",
                "pipeline.steps.second.stay is used now",
            ),
            (
                "pipeline/steps/second",
                "return tidy(text)",
                "return tidy(text) + 'x'",
                "pipeline.steps.second.go changed",
            ),
        ],
    )
    def test_with_meaning_changes_the_digest_and_is_told(self, module: str, old: str, new: str, changed: str) -> None:
        before, after = made(VAULT), made(edited(module, old, new))
        assert after.digest != before.digest
        assert changed in difference(before, after)

    def test_parts_are_what_the_function_uses(self) -> None:
        assert sorted(made(VAULT).parts) == [
            "helpers.WORDS",
            "helpers.count",
            "helpers.tidy",
            "helpers.unicodedata",
            "pipeline.steps.first",
            "pipeline.steps.first.run",
            "pipeline.steps.second.go",
            "pipeline.steps.second.tidy",
            "scoring.<top level>",
            "scoring.LIMIT",
            "scoring.OFFSET",
            "scoring.SCALE",
            "scoring.Score",
            "scoring.TABLE",
            "scoring._double",
            "scoring.annotations",
            "scoring.clean_up",
            "scoring.helpers",
            "scoring.logged",
            "scoring.rate",
            "scoring.re",
            "scoring.steps",
        ]

    def test_the_digest_is_the_same_under_every_version_of_python(self) -> None:
        assert made(VAULT).digest == "a1e1848b9d1fd29151b53f915e34ad3a"

    def test_equal_fingerprints_have_no_difference(self) -> None:
        assert difference(made(VAULT), made(VAULT)) == []

    def test_another_function_with_the_same_text_differs(self) -> None:
        one = made({"scoring": "def a(): ...\ndef b(): ...\n"}, function="a")
        assert difference(one, made({"scoring": "def a(): ...\ndef b(): ...\n"}, function="b")) == [
            "scoring.a is no longer used",
            "scoring.b is used now",
        ]

    def test_the_folder_does_not_count(self, tmp_path: Path) -> None:
        first, second = write(tmp_path / "a", VAULT), write(tmp_path / "b" / "c", VAULT)
        assert fingerprint(first, "scoring", "rate") == fingerprint(second, "scoring", "scoring.rate")


# Each case: a module, and two edits of it of which rate() depends on one and not on the other.
SCOPES = {
    "a parameter hides a function": ("def text(): return {}\ndef rate(text): return text", None),
    "a local variable hides a function": ("def text(): return {}\ndef rate():\n    text = 1\n    return text", None),
    "a comprehension's variable hides only inside": (
        "def x(): return {}\ndef rate(): return [x for x in (1, 2)], x()",
        "",
    ),
    "its first iterable is outside": ("x = [{}]\ndef rate(): return [x for x in x]", ""),
    "a lambda's parameter hides": ("def x(): return {}\ndef rate(): return lambda x: x", None),
    "an except clause hides": (
        "def e(): return {}\ndef rate():\n    try: ...\n    except OSError as e: print(e)",
        None,
    ),
    "a match pattern hides": ("def e(): return {}\ndef rate(v):\n    match v:\n        case [e, *_]: print(e)", None),
    "a walrus in a comprehension binds outside": (
        "def w(): return {}\ndef rate(): return [w := i for i in 'x'], w",
        None,
    ),
    "an inner function's variable does not hide outside": (
        "def x(): return {}\ndef rate():\n    def inner():\n        x = 1\n    return x()",
        "",
    ),
    "an outer function's variable hides inside": (
        "def x(): return {}\ndef rate():\n    x = 1\n    def inner(): return x\n    return inner",
        None,
    ),
    "a class's variable does not hide in methods": (
        "def x(): return {}\nclass A:\n    x = 1\n    def get(self): return x()\ndef rate(): return A().get()",
        "",
    ),
    "a class in a function hides nothing there": (
        "def x(): return {}\ndef rate():\n    class A:\n        x = 1\n    return x()",
        "",
    ),
    "global": ("def set_it():\n    global x\n    x = {}\ndef rate(): return x", ""),
    "a global of an inner scope": ("x = {}\ndef rate():\n    global x\n    x += 1", ""),
    "a default": ("x = {}\ndef rate(y=x): ...", ""),
    "a keyword default": ("x = {}\ndef rate(*, y=x): ...", ""),
    "an annotation": ("x = {}\ndef rate(y: x): ...", ""),
    "a base class": ("class A:\n    x = {}\nclass B(A): ...\ndef rate(): return B()", ""),
    "a decorator of a method": (
        "def d(f): return {}\nclass B:\n    @d\n    def x(self): ...\ndef rate(): return B()",
        "",
    ),
    "an f-string": ("x = {}\ndef rate(): return f'{{x}}'", ""),
    "a function passed as a value": ("def x(): return {}\ndef rate(): return map(x, '')", ""),
    "a function behind an if": ("if rate:\n    def x(): return {}\nelse:\n    x = 1\ndef rate(): return x()", ""),
    "a name bound twice": ("x = {}\nx = 2\ndef rate(): return x", ""),
    "recursion": ("def x(n): return {} or rate(n)\ndef rate(n): return x(n)", ""),
    "an attribute of the same name": ("def x(): return {}\ndef rate(a): return a.x", None),
    "a keyword argument of the same name": ("def x(): return {}\ndef rate(a): return a(x=1)", None),
    "deep sums": ("y = {}\ndef rate(x): return " + "x + " * 800 + "y", ""),
}


@pytest.mark.parametrize("case", SCOPES)
def test_names_are_followed_as_python_does(case: str) -> None:
    text, depends = SCOPES[case]
    one, two = made({"scoring": text.format(1)}), made({"scoring": text.format(2)})
    assert (one.digest != two.digest) == (depends is not None)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
@pytest.mark.parametrize(
    ("text", "depends"),
    [
        ("type X = {}\ndef rate(a: X): ...", True),
        ("type X[T] = {}\ndef rate(a: X): ...", True),
        ("type X = {}\ndef rate(a: Y): ...", False),
        ("def T(): return {}\ndef rate[T](a): return T", False),
        ("def T(): return {}\nclass A[T]:\n    def f(self): return T\ndef rate(a): return A", False),
        ("B = {}\ndef rate[T: B](a): return T", True),
    ],
)
def test_names_of_types_are_followed(text: str, depends: bool) -> None:
    one, two = made({"scoring": text.replace("{}", "1")}), made({"scoring": text.replace("{}", "2")})
    assert (one.digest != two.digest) == depends


# As above, for what is run while modules are imported: "{}" is what is edited, and whether rate() depends on it.
AT_IMPORT = {
    "a registry that is filled by a decorator": (
        "R = {{}}\ndef register(f): R[f.__name__] = f\n@register\ndef one(): return {}\ndef rate(k): return R[k]()",
        True,
    ),
    "a registry that is filled by a class": (
        (
            "class R:\n    all = []\n    @classmethod\n    def add(cls, f): cls.all.append(f)\n"
            "@R.add\ndef one(): return {}\ndef rate(): return R.all"
        ),
        True,
    ),
    "a decorator that is shared": (
        (
            "import functools\nSEEN = 1\ndef timed(f): return f if SEEN else f\n"
            "@timed\ndef other(): return {}\n@timed\ndef rate(): ..."
        ),
        False,
    ),
    "a decorator that logs": (
        (
            "import logging\nlogger = logging.getLogger(__name__)\ndef timed(f):\n    logger.info(f)\n    return f\n"
            "@timed\ndef other(): return {}\n@timed\ndef rate(): logger.info('')"
        ),
        False,
    ),
    "a decorator from elsewhere": (
        "import functools\n@functools.cache\ndef other(): return {}\n@functools.cache\ndef rate(): ...",
        False,
    ),
    "a call that fills a variable": ("C = {{}}\ndef fill(): C['a'] = {}\nfill()\ndef rate(): return C", True),
    "a call that fills another variable": (
        "C = {{}}\nD = {{}}\ndef fill(): C['a'] = {}\nfill()\ndef rate(): return D",
        False,
    ),
    "a method of a variable": ("C = {{}}\nC.update(a={})\ndef rate(): return C", True),
    "an argument of a call": ("import x\nC = {{}}\nx.fill(C, {})\ndef rate(): return C", True),
    "a loop": ("C = {{}}\nfor i in ({},): C[i] = i\ndef rate(): return C", True),
    "a loop over something else": ("C = {{}}\nD = {{}}\nfor i in ({},): C[i] = i\ndef rate(): return D", False),
    "an attribute of a class": ("class C:\n    x = 1\nC.x = {}\ndef rate(): return C.x", True),
    "an attribute of a class that a function sets": (
        "class C:\n    x = 1\ndef setup(): C.x = {}\nsetup()\ndef rate(): return C.x",
        True,
    ),
    "an attribute of a class that a function fills": (
        "class C:\n    x = []\ndef setup(): C.x.append({})\nsetup()\ndef rate(): return C.x",
        True,
    ),
    "an attribute of the function": ("def rate(): return rate.x\ndef setup(): rate.x = {}\nsetup()", True),
    "setattr": ("class C: ...\nsetattr(C, 'x', {})\ndef rate(): return C.x", True),
    "del": ("x = 1\ny = 2\nif {}: del x\ndef rate(): return x", True),
    "a seed": ("import random\nrandom.seed({})\ndef rate(): return random.random()", True),
    "a seed set by a function": (
        "import random\ndef seed(): random.seed({})\nseed()\ndef rate(): return random.random()",
        True,
    ),
    "a seed of something else": (
        "import numpy as np, random\nnp.random.seed({})\ndef rate(): return random.random()",
        False,
    ),
    "the environment": ("import os\nos.environ['A'] = '{}'\ndef rate(): return os.environ['A']", True),
    "an unused constant that a library computes": (
        "import numpy as np\nX = np.zeros({})\ndef rate(): return np.ones(1)",
        False,
    ),
    "subclasses with a hook": (
        (
            "class Base:\n    known = []\n    def __init_subclass__(cls): Base.known.append(cls)\n"
            "class One(Base):\n    x = {}\ndef rate(): return Base.known"
        ),
        True,
    ),
    "subclasses that are asked for": (
        "class Base: ...\nclass One(Base):\n    x = {}\ndef rate(): return Base.__subclasses__()",
        True,
    ),
    "subclasses with a metaclass": (
        (
            "K = []\nclass Meta(type):\n    def __init__(cls, *a): K.append(cls)\nclass Base(metaclass=Meta): ...\n"
            "class One(Base):\n    x = {}\ndef rate(): return K"
        ),
        True,
    ),
    "a sister class": (
        "import abc\nclass A(abc.ABC): ...\nclass B(A): ...\nclass C(A):\n    x = {}\ndef rate(): return B()",
        False,
    ),
    "what runs as a script": ("def rate(): ...\nif __name__ == '__main__':\n    rate({})", False),
    "a docstring": ("def rate():\n    '''{}'''\n    return 1", False),
    "a docstring that is read": ("def ask():\n    '''{}'''\ndef rate(): return ask.__doc__", True),
    "the module's docstring that is read": ("'''{}'''\ndef rate(): return __doc__", True),
    "a module's name that is looked up": ("def one(): return {}\ndef rate(k): return globals()[k]()", True),
    "exec": ("def one(): return {}\ndef rate(k): exec(k)", True),
    "sys.modules": ("import sys\ndef one(): return {}\ndef rate(k): return getattr(sys.modules[__name__], k)", True),
    "from sys import modules": (
        "from sys import modules\ndef one(): return {}\ndef rate(k): return getattr(modules[__name__], k)",
        True,
    ),
}


@pytest.mark.parametrize("case", AT_IMPORT)
def test_what_is_run_at_import_counts_if_it_may_matter(case: str) -> None:
    text, depends = AT_IMPORT[case]
    one, two = made({"scoring": text.format(1)}), made({"scoring": text.format(2)})
    assert (one.digest != two.digest) == depends


# As above, with the edit in helper.py.
ACROSS = {
    "getattr by text": ("import helper\ndef rate(k): return getattr(helper, k)", "def one(): return {}", True),
    "an attribute": ("import helper\ndef rate(): return helper.two()", "def one(): return {}\ndef two(): ...", False),
    "a module under another name": (
        "import helper\nh = helper\ndef rate(): return h.one()",
        "def one(): return {}",
        True,
    ),
    "an attribute that isn't there": ("import helper\ndef rate(): return helper.x", "def one(): return {}", True),
    "a module's file name": ("import helper\ndef rate(): return helper.__file__", "def one(): return {}", False),
    "a star": ("from helper import *\ndef rate(): return one()", "def one(): return {}", True),
    "another name of a star": (
        "from helper import *\ndef rate(): return two()",
        "def one(): return {}\ndef two(): ...",
        False,
    ),
    "an import in the function": (
        "def rate():\n    import helper\n    return helper.one()",
        "def one(): return {}",
        True,
    ),
    "another name of an import in the function": (
        "def rate():\n    from helper import two\n    return two()",
        "def one(): return {}\ndef two(): ...",
        False,
    ),
    "one of two imports": (
        "try:\n    from fast import one\nexcept ImportError:\n    from helper import one\ndef rate(): return one()",
        "def one(): return {}",
        True,
    ),
    "the same import twice": (
        "try:\n    from helper import two\nexcept ImportError:\n    from helper import two\ndef rate(): return two()",
        "def one(): return {}\ndef two(): ...",
        False,
    ),
    "import_module": (
        "import importlib\ndef rate(): return importlib.import_module('.helper', __package__)",
        "def one(): return {}",
        True,
    ),
    "import_module of a computed name": (
        "from importlib import import_module\ndef rate(k): return import_module('.' + k, __package__)",
        "def one(): return {}",
        True,
    ),
    "import_module from elsewhere": (
        "import importlib\ndef rate(): return importlib.import_module('json')",
        "def one(): return {}",
        False,
    ),
    "a seed in another module": (
        "import random, helper\ndef rate(): return random.random()",
        "import random\nrandom.seed({})",
        True,
    ),
    "a registry in another module": (
        "import helper\nR = {{}}\ndef rate(k): return R[k]()",
        "from scoring import R\ndef one(): return {}\nR['one'] = one",
        True,
    ),
    "a patch of another module's function": (
        "import helper\ndef clean(): ...\ndef rate(): return clean()",
        "import scoring\nscoring.clean = lambda: {}",
        True,
    ),
    "an imported constant under another name": ("from helper import A as B\ndef rate(): return B", "A = {}", True),
    "a circle of names that nobody binds": (
        "from helper import x\ndef rate(): return x",
        "from scoring import x\ny = {}",
        False,
    ),
    "a name of the module itself": ("import scoring\ndef rate(): return scoring.x\nx = 1", "y = {}", False),
}


@pytest.mark.parametrize("case", ACROSS)
def test_modules_are_followed(case: str) -> None:
    scoring, helper, depends = ACROSS[case]
    one, two = ({"scoring": scoring.replace("{{}}", "{}"), "helper": helper.format(number)} for number in (1, 2))
    assert (made(one).digest != made(two).digest) == depends


def test_a_module_that_imports_its_own_name_counts_as_a_whole() -> None:
    text = "import openai\ndef other(): return {}\ndef rate(): return openai.ask()"
    one, two = made({"openai": text.format(1)}, "openai"), made({"openai": text.format(2)}, "openai")
    assert one != two


# Ways to write a function {f} whose result depends on {k} and on {use}; ways to use one of this or the other module.
FORMS = [
    "def {f}():\n    return {k} + {use}",
    "{f} = lambda: {k} + {use}",
    "def {f}(value={k}):\n    return value + {use}",
    "{f}_table = {{'value': {k}}}\ndef {f}():\n    return {f}_table['value'] + {use}",
    "{f}_list = []\n{f}_list.append({k})\ndef {f}():\n    return sum({f}_list) + {use}",
    "class {f}_class:\n    value = {k}\n    def go(self):\n        return self.value + {use}\n{f} = {f}_class().go",
    "def {f}_set():\n    global {f}_value\n    {f}_value = {k}\n{f}_set()\ndef {f}():\n    return {f}_value + {use}",
    "def {f}_by(function):\n    return lambda: function() + {k}\n@{f}_by\ndef {f}():\n    return {use}",
    "def {f}_set():\n    {f}.value = {k}\ndef {f}():\n    return {f}.value + {use}\n{f}_set()",
    "try:\n    {f}_value = {k}\nexcept OSError:\n    raise\ndef {f}():\n    return {f}_value + {use}",
    "KNOWN['{f}'] = {k}\ndef {f}():\n    return KNOWN['{f}'] + {use}",
    "def {f}():\n    return {k} + {use}\nregister({f})",
]
USES = ["{f}()", "sum({f}() for _ in 'x')", "(lambda: {f}())()", "globals()['{f}']()", "REGISTERED.get('{f}', {f})()"]
USES_OF_OTHER = ["other.{f}()", "getattr(other, '{f}')()", "__import__('{m}').{f}()", "from_other({f!r})"]
HEADS = {
    module: f"import {other} as other\nKNOWN, REGISTERED = {{}}, {{}}\n"
    "def register(function): REGISTERED[function.__name__] = function\n"
    f"def from_other(name):\n    from {other} import KNOWN\n    return KNOWN.get(name, 0)\n"
    for module, other in (("first", "second"), ("second", "first"))
}


@given(st.data())
def test_no_edit_that_changes_a_result_keeps_the_digest(data: st.DataObject) -> None:
    """Compare with what really happens, for vaults of two modules that are made at random."""
    homes = [*data.draw(st.lists(st.sampled_from(list(HEADS)), min_size=2, max_size=6)), "first"]
    lines: dict[str, list[str]] = {module: [] for module in HEADS}
    for number, home in enumerate(homes):
        use = "0"
        if number:
            used = data.draw(st.integers(0, number - 1))
            ways = USES if homes[used] == home else USES_OF_OTHER
            use = data.draw(st.sampled_from(ways)).format(f=f"f{used}", m=homes[used])
        form = data.draw(st.sampled_from(FORMS)).replace("{k}", f"<{number}>")
        lines[home].append(form.format(f=f"f{number}", use=use))
    edit = data.draw(st.integers(0, len(homes) - 1))

    def vault(value: int) -> dict[str, str]:
        texts = {module: HEADS[module] + "\n".join(lines[module]) for module in HEADS}
        return {
            module: re.sub(r"<(\d+)>", lambda found: str(value if int(found[1]) == edit else 1), text)
            for module, text in texts.items()
        }

    name = f"f{len(homes) - 1}"
    if result(vault(1), name) != result(vault(2), name):
        assert made(vault(1), "first", name).digest != made(vault(2), "first", name).digest


def result(texts: dict[str, str], name: str) -> object:
    with tempfile.TemporaryDirectory() as folder, Loader(write(Path(folder), texts), label="test") as loader:
        return loader.function("first", name)()


class TestErrors:
    def test_unknown_module(self) -> None:
        with pytest.raises(TVBuilderError, match=r"no code module 'scorin'\. Did you mean 'scoring'"):
            made(VAULT, "scorin")

    def test_unknown_function(self) -> None:
        with pytest.raises(TVBuilderError, match=r"scoring\.py: .* no function 'rat'\. Did you mean 'rate'"):
            made(VAULT, "scoring", "rat")

    @pytest.mark.parametrize(
        "text",
        [
            "from somewhere import *",
            "from somewhere import rate",
            "import rate",
            "rate = make()",
            "globals()['rate'] = 1",
            "exec('def rate(): ...')",
            "def __getattr__(name): ...",
            "try:\n    def rate(): ...\nexcept: ...",
            "for rate in 'x': ...",
            "def make():\n    global rate\n    rate = 1",
        ],
    )
    def test_functions_that_may_be_there_are_believed(self, text: str) -> None:
        assert made({"scoring": text}).parts

    def test_a_syntax_error_in_a_used_module_has_its_place(self) -> None:
        with pytest.raises(TVBuilderError, match=r"helper\.py:2:\d+: This can't be read as Python"):
            made({"scoring": "import helper\ndef rate(): return helper.x()", "helper": "\nx = ("})


@given(
    parts=st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12")),
    others=st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12")),
)
def test_fingerprints_differ_exactly_when_there_is_a_difference_to_tell(
    parts: dict[str, str], others: dict[str, str]
) -> None:
    one, two = Fingerprint.of_parts("f", parts), Fingerprint.of_parts("f", dict(reversed(others.items())))
    assert (one.digest == two.digest) == (one == two) == (not difference(one, two))
