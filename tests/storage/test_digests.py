from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVTableError
from tablevault_like.storage.digests import digest
from tablevault_like.storage.values import decode, encode
from tests.storage.exact import anything, texts


@given(anything, anything)
def test_digests_differ_where_values_or_types_do(one: Any, other: Any) -> None:
    assert digest(one) == digest(decode(encode(one)))
    if sorted(encode(one)) != sorted(encode(other)):  # more than the order of a dict's keys
        assert digest(one) != digest(other)


@given(st.dictionaries(texts, anything, max_size=5))
def test_the_order_of_keys_does_not_count_in_a_digest(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))

    assert digest([value]) == digest([turned])


def test_what_a_digest_tells_apart() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    floats = ("float64", "float32", "Float64")
    many = [f"category {number}" for number in range(300)]
    different = [
        (),
        (None,),
        (None, None),
        (1,),
        (1.0,),
        (True,),
        ("1",),
        (b"1",),
        ("a", "b"),
        ("a,b",),
        ('a","b',),
        ([1, 2],),
        ((1, 2),),
        ({1, 2},),
        ([[1], 2],),
        ([1, [2]],),
        ({"a": 1},),
        ({"a": "1"},),
        (Decimal("1.0"),),
        (Decimal("1.00"),),
        (np.int64(1),),
        (np.int32(1),),
        (np.array([1, 2]),),
        (np.array([[1, 2]]),),
        (np.array([1, 2], dtype="i4"),),
        (frame,),
        (frame.astype({"a": "Int64"}),),
        (frame.rename(columns={"a": "c"}),),
        (frame[["b", "a"]],),
        (frame.iloc[::-1],),
        (frame.assign(a=[1, 3]),),
        (frame["a"],),
        (pd.concat([frame] * 100, ignore_index=True),),
        (pd.concat([frame] * 100, ignore_index=True).assign(a=0),),
        (pd.DataFrame({"a": [[1], [2]]}),),
        (pd.DataFrame({"a": [[1], [2.0]]}),),
        *((pd.Series([zero] * rows, dtype=dtype),) for zero in (0.0, -0.0) for rows in (3, 300) for dtype in floats),
        *((pd.Series([pd.NA] * rows, dtype="Float64"),) for rows in (3, 300)),
        *(
            (pd.Series(pd.Categorical(["a"] * rows, [*names, "a"], ordered=ordered)),)
            for rows in (3, 300)
            for names in (many, [*many[:150], "other", *many[151:]])
            for ordered in (True, False)
        ),
    ]

    assert len({digest(*each) for each in different}) == len(different)
    assert digest(frame) == digest(frame.copy())
    assert all(len(digest(*each)) == 16 for each in different)


def test_a_value_that_contains_itself_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append({"a": cycle})

    with pytest.raises(TVTableError, match="contains itself"):
        digest(cycle)


def test_neither_numpy_nor_pandas_is_imported_for_plain_values() -> None:
    code = (
        "import sys; from tablevault_like.storage.digests import digest; digest(1, [(2, b'3')], {'a': {4}});"
        "assert not {'numpy', 'pandas', 'pyarrow'} & set(sys.modules)"
    )

    _run_python(code)


def test_a_digest_does_not_depend_on_the_interpreter() -> None:
    code = (
        "import sys; from tablevault_like.storage.digests import digest;"
        "sys.stdout.write(digest({'a': {1, 'b', (2,)}, 'c': frozenset('xyz')}, 'text', 1.5).hex())"
    )

    found = {_run_python(code, PYTHONHASHSEED=seed) for seed in ("1", "2")}

    assert found == {digest({"a": {1, "b", (2,)}, "c": frozenset("xyz")}, "text", 1.5).hex()}


def _run_python(code: str, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout
