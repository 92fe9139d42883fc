from __future__ import annotations

import collections
import datetime
import enum
import json
import os
import subprocess
import sys
import zoneinfo
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tablevault_like.errors import TVFileError, TVTableError
from tablevault_like.storage import values
from tablevault_like.storage.values import decode, decode_rows, encode, encode_cells
from tests.storage.exact import anything, same


@given(anything)
@example(-0.0)
@example(float("nan"))
@example({"~tuple": 1})
@example({"~dict": [["a", 1]]})
@example({1: "a", "1": "b", None: "d"})
@example(np.zeros((0, 3), "f4"))
@example(np.array([None, [1, 2], "a"], dtype=object))
@example(np.bytes_(b"a\0"))
@example(datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")))
def test_every_value_comes_back_with_its_type(value: Any) -> None:
    text = encode(value)

    assert same(decode(text), value)


@given(st.lists(anything, max_size=4))
def test_the_text_is_strict_json_that_utf8_can_hold(cells: list[Any]) -> None:
    text = encode_cells(cells)

    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert "\0" not in text.encode().decode()
    assert same(decode(text), cells)


@given(st.lists(st.lists(anything, max_size=3), max_size=5))
def test_rows_that_are_decoded_together_are_those_decoded_alone(rows: list[list[Any]]) -> None:
    found = decode_rows([encode_cells(row) for row in rows])

    assert same(found, rows)


class Color(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Thing:
    x: int = 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Color.RED, "subclass of str"),
        (Number.ONE, "subclass of int"),
        (Point(1, 2), "subclass of tuple"),
        (collections.OrderedDict(a=1), "subclass of dict"),
        (collections.defaultdict(list), "subclass of dict"),
        (Thing(), "test_values.Thing"),
        pytest.param(object(), "builtins.object", id="object"),
        (1j, "builtins.complex"),
        (bytearray(b"a"), "builtins.bytearray"),
        (range(3), "builtins.range"),
        (len, "builtin_function"),
        (int, "builtins.type"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
        (pd.Period("2024-01"), "Period"),
        (np.longdouble(1), "longdouble"),
        (np.zeros(1, dtype=[("a", "i4")]), "dtype"),
        (np.zeros(1, np.longdouble), "longdouble" if np.dtype("longdouble").itemsize == 8 else "float128"),
        ([1, {"a": (Thing(),)}], "test_values.Thing"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_would_not_come_back_exactly_is_refused(value: Any, told: str) -> None:
    with pytest.raises(TVTableError, match="artifact") as caught:
        encode(value)

    assert told in str(caught.value)


class Zone(datetime.tzinfo):
    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    def dst(self, when: datetime.datetime | None) -> None:
        return None

    def tzname(self, when: datetime.datetime | None) -> str:
        return "zero"


def test_a_zone_of_another_kind_is_refused() -> None:
    with pytest.raises(TVTableError, match=r"zone of type .*Zone.*zoneinfo"):
        encode(datetime.datetime(2024, 1, 1, tzinfo=Zone()))


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}, ["a", "é\udc80"]])
def test_a_lone_surrogate_is_refused(value: Any) -> None:
    with pytest.raises(TVTableError, match="surrogate"):
        encode(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append({"a": cycle})

    with pytest.raises(TVTableError, match="contains itself"):
        encode(cycle)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {1: v}, lambda v: {"~a": v}])
def test_what_may_be_encoded_can_be_decoded_however_deep(wrap: Any) -> None:
    value: Any = 1
    for _ in range(values.MAX_DEPTH):
        value = wrap(value)

    assert same(decode(encode(value)), value)
    with pytest.raises(TVTableError, match="nested deeper"):
        encode(wrap(value))


def test_a_refused_cell_is_told_with_its_column() -> None:
    with pytest.raises(TVTableError, match="Column 'b': ") as caught:
        encode_cells((1, object()), ["a", "b"])

    assert caught.value.column == "b"


def test_a_row_that_no_store_could_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_LENGTH", 100)

    with pytest.raises(TVTableError, match="artifact"):
        encode_cells(("a" * 100,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        "1]",
        "NaN",
        "[Infinity]",
        '{"~unknown":1}',
        '{"~bytes":"?"}',
        '{"~bytes":1}',
        '{"~date":"2024-13-01"}',
        '{"~decimal":"x"}',
        '{"~tuple":1}',
        '{"~dict":[1]}',
        '{"~dict":[[[1],2]]}',
        '{"~numpy":["O",1]}',
        '{"~numpy":["V8",1]}',
        '{"~array":["<f4",[1000000000000],""]}',
        '{"~array":["<f4",[2],"AAAA"]}',
        '{"~datetime":["2024-01-01T00:00:00","../../etc/passwd",0]}',
        "[" * 100_000,
    ],
)
def test_a_text_that_was_never_encoded_is_told(text: str) -> None:
    with pytest.raises(TVFileError, match="damaged"):
        decode(text)


def test_rows_that_run_into_one_another_are_told() -> None:
    with pytest.raises(TVFileError, match="damaged"):
        decode_rows(["[1],[2]", "[3]"])


def test_neither_numpy_nor_pandas_is_imported_for_plain_values() -> None:
    code = (
        "import sys; from tablevault_like.storage.values import *; decode(encode([1, (2, b'3')]));"
        "assert not {'numpy', 'pandas', 'pyarrow'} & set(sys.modules)"
    )

    _run_python(code)


def _run_python(code: str, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout
