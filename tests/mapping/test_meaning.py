"""What counts as a change of a function, and what doesn't."""

from __future__ import annotations

import enum
import functools
import linecache
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tablevault_like.mapping.meaning import recipe_of

BEFORE = '''
import json, re, threading
from collections import Counter
from functools import lru_cache, partial, wraps

PROMPT = "first"
OPTIONS = {"temperature": 0, "stop": ["a"]}
UNUSED = 1
PATTERN = re.compile("a+")
SEEN = []
CACHE = {}
COUNT = Counter()
LOCK = threading.Lock()
LAST = None
client = None


def get_client():
    global client
    if client is None:
        client = threading.Lock()
    return client


def clean(text):
    """Clean it."""
    return text.strip()  # of spaces


def logged(function):
    @wraps(function)
    def wrapped(row):
        COUNT["calls"] += 1
        return function(row)
    return wrapped


class Scorer:
    scale = 2
    model_name = "small"

    def __init__(self, prompt):
        self.prompt = prompt
        self.calls = 0
        self.seen = []

    def score(self, row):
        self.calls += 1
        self.seen.append(row)
        return clean(self.prompt) * self.scale


scorer = Scorer("first")


@lru_cache
def known(text):
    return text + "!"


def ask(row, n=1):
    global LAST
    LAST = row
    SEEN.append(row)
    CACHE[str(row)] = 1
    get_client()
    with LOCK:
        return PROMPT, OPTIONS, PATTERN.sub("", clean(row["text"])), known("a"), scorer.score(row), n


@logged
def decorated(row):
    return clean(row["text"])


score = scorer.score
closed = (lambda prompt: lambda row: prompt + row["text"])("first")
partly = partial(ask, n=2)
'''

MEANT = [
    ('PROMPT = "first"', 'PROMPT = "second"', "ask"),
    ('"temperature": 0', '"temperature": 1', "ask"),
    ('compile("a+")', 'compile("b+")', "ask"),
    ("text.strip()", "text.lower()", "ask"),
    ("text.strip()", "text.lower()", "decorated"),
    ("text.strip()", "text.lower()", "score"),
    ("n=1", "n=3", "ask"),
    ("n=2", "n=3", "partly"),
    ('text + "!"', 'text + "?"', "ask"),
    ('Scorer("first")', 'Scorer("second")', "score"),
    ('Scorer("first")', 'Scorer("second")', "ask"),
    ("scale = 2", "scale = 3", "score"),
    ('model_name = "small"', 'model_name = "large"', "score"),
    ("* self.scale", "+ str(self.scale)", "score"),
    (')("first")', ')("second")', "closed"),
    ('prompt + row["text"]', 'row["text"] + prompt', "closed"),
    ("return function(row)", "return function(row), 1", "decorated"),
]

NOT_MEANT = [
    ('"""Clean it."""', '"""Make it clean."""', "ask"),
    ("# of spaces", "# of all spaces", "ask"),
    ("UNUSED = 1", "UNUSED = 2", "ask"),
    ("SEEN = []", "SEEN = [1]", "ask"),
    ("CACHE = {}", "CACHE = {'a': 1}", "ask"),
    ("LAST = None", "LAST = {'id': 1}", "ask"),
    ("client = None", "client = threading.Lock()", "ask"),
    ("COUNT = Counter()", "COUNT = Counter(a=1)", "decorated"),
    ("self.calls = 0", "self.calls = 0\n", "score"),
    ("import json, re, threading", "import json, re, threading\n\n\n", "ask"),
]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[[str], types.ModuleType]]:
    """Return what makes a module of the user's, with its source in a file."""
    made: list[types.ModuleType] = []

    def written(text: str) -> types.ModuleType:
        path = tmp_path / f"scripts_{len(made)}" / "script.py"
        path.parent.mkdir()
        path.write_text(text)
        module = types.ModuleType("script")
        module.__file__ = str(path)
        sys.modules["script"] = module
        made.append(module)
        exec(compile(text, str(path), "exec"), vars(module))
        return module

    yield written
    sys.modules.pop("script", None)
    linecache.clearcache()


def _source_less(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "<nowhere>", "exec"), names)
    return names


class TestChanges:
    @pytest.mark.parametrize(("old", "new", "name"), MEANT, ids=lambda part: part.strip()[:20])
    def test_that_are_meant(self, written: Any, old: str, new: str, name: str) -> None:
        assert BEFORE.count(old) == 1
        before = recipe_of(getattr(written(BEFORE), name))

        assert recipe_of(getattr(written(BEFORE.replace(old, new)), name)) != before

    @pytest.mark.parametrize(("old", "new", "name"), NOT_MEANT, ids=lambda part: part.strip()[:20])
    def test_that_are_not(self, written: Any, old: str, new: str, name: str) -> None:
        assert BEFORE.count(old) == 1
        before = recipe_of(getattr(written(BEFORE), name))

        assert recipe_of(getattr(written(BEFORE.replace(old, new)), name)) == before

    @pytest.mark.parametrize(("old", "new", "name"), MEANT, ids=lambda part: part.strip()[:20])
    def test_that_are_meant_without_a_source(self, old: str, new: str, name: str) -> None:
        before = recipe_of(_source_less(BEFORE)[name])

        assert recipe_of(_source_less(BEFORE.replace(old, new))[name]) != before

    @pytest.mark.parametrize("name", ["ask", "decorated", "score", "closed", "partly"])
    def test_using_a_function_is_none(self, written: Any, name: str) -> None:
        module = written(BEFORE)
        function = getattr(module, name)
        before = recipe_of(function)

        function({"id": 1, "text": " a "})

        assert recipe_of(function) == before
        source_less = _source_less(BEFORE)[name]
        before = recipe_of(source_less)
        source_less({"id": 1, "text": " a "})
        assert recipe_of(source_less) == before

    def test_a_source_that_was_edited_since_is_not_believed(self, written: Any) -> None:
        module = written(BEFORE)
        before = recipe_of(module.clean)
        path = Path(module.__file__)
        path.write_text(BEFORE.replace("text.strip()", "text.lower()"))
        linecache.checkcache()

        edited = recipe_of(module.clean)

        assert edited != recipe_of(written(BEFORE.replace("text.strip()", "text.lower()")).clean)
        assert before == recipe_of(written(BEFORE).clean)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Settings:
    prompt: str
    extra: object = None


def closing(value: object) -> Callable[[object], object]:
    return lambda row: (value, row)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        ("a", b"a"),
        (1, True),
        ([1, 2], [2, 1]),
        ({"a": [1]}, {"a": [2]}),
        ({1, 2}, {1, 3}),
        (Color.RED, Color.BLUE),
        (Settings("a"), Settings("b")),
        (Settings("a", Settings("b")), Settings("a", Settings("c"))),
        (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
        (np.array([1, 2]), np.array([1, 3])),
        (functools.partial(len, "a"), functools.partial(len, "b")),
        (len, max),
        (closing(1), closing(2)),
        ([closing(1)], [closing(2)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_are_closed_over_count(one: object, other: object) -> None:
    assert recipe_of(closing(one)) == recipe_of(closing(one))
    assert recipe_of(closing(one)) != recipe_of(closing(other))
    assert recipe_of(len, version=one) != recipe_of(len, version=other)


def test_a_value_that_holds_itself() -> None:
    one: list[object] = [1]
    one.append(one)

    assert recipe_of(closing(one)) == recipe_of(closing(one)) != recipe_of(closing([1, 2]))


def test_objects_of_others_count_by_their_class() -> None:
    assert recipe_of(closing(threading.Event())) == recipe_of(closing(threading.Event()))
    assert recipe_of(closing(threading.Event())) != recipe_of(closing(threading.Barrier(2)))


def test_functions_that_call_each_other() -> None:
    def even(row: int) -> bool:
        return row == 0 or odd(row - 1)

    def odd(row: int) -> bool:
        return row != 0 and even(row - 1)

    assert recipe_of(even) == recipe_of(even) != recipe_of(odd)


def test_a_module_of_the_users_own_counts_by_what_is_used_of_it(written: Any) -> None:
    def using(text: str) -> str:
        own = written(text)
        names: dict[str, Any] = {"own": own, "__name__": "__main__"}
        exec("def ask(row):\n    return own.clean(row)\n", names)
        return recipe_of(names["ask"])

    assert using(BEFORE) == using(BEFORE.replace("UNUSED = 1", "UNUSED = 2"))
    assert using(BEFORE) != using(BEFORE.replace("text.strip()", "text.lower()"))


def test_is_the_same_in_another_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        BEFORE
        + textwrap.dedent("""
            from tablevault_like.mapping.meaning import recipe_of
            WORDS = {"one", "two", "three", "four"}
            print(recipe_of(lambda row: row in WORDS), *map(recipe_of, (ask, decorated, score, closed, partly)))
            """)
    )
    printed = [
        subprocess.run(
            [sys.executable, script],
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert printed[0] == printed[1]
    assert len({*printed[0].split()}) == 6
