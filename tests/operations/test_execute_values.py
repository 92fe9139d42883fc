"""Values on their whole way: what a function returned is what ``get_dataframe`` and references give back."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVTableError
from tablevault_like.storage.columns import parse_dtype
from tests.scenes import Calls
from tests.tables import begin, build, column, index, notes, write_code

BERLIN = ZoneInfo("Europe/Berlin")
UTC = datetime.UTC

VALUES: dict[str, tuple[str, list[Any]]] = {
    "texts": ("string", ["NA", "", "None", "nan", "null", "<NA>", "NaN", None]),
    "line ends": ("string", ["a\r\nb", "a\rb", "a\nb\n", " \t ", "\x00\x1f\u2028", "é 😀"]),
    "integers": ("Int64", [0, None, 2**63 - 1, -(2**63)]),
    "big integers": ("object", [2**64, 1, None, -(10**40), 10**1000]),
    "floats": ("Float64", [1.5, None, float("nan"), float("inf"), -0.0, 5e-324]),
    "booleans": ("boolean", [True, None, False]),
    "mixed": ("object", [1, "1", None, 2.5, True, [1]]),
    "booleans and numbers": ("object", [True, 1, 0]),
    "lists": ("object", [[1, 2], [], None, [1, "a", None], [[1], [2.5]]]),
    "dicts": ("object", [{"a": 1}, {}, None, {"b": [1, {"c": (1, 2)}]}, {1: 2}, {"~tuple": 1}]),
    "tuples": ("object", [(1, 2), (), None, ((1,), "a")]),
    "sets": ("object", [{1, 2}, frozenset("ab"), None]),
    "dates": ("object", [datetime.date(2020, 1, 31), None]),
    "times": ("object", [datetime.time(1, 2, 3, 4), None]),
    "datetimes": ("datetime64[us]", [datetime.datetime(2020, 1, 1, 3, 4, 5, 6), None]),
    "years": ("datetime64[us]", [datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)]),
    "in a zone": (
        "datetime64[us, Europe/Berlin]",
        [datetime.datetime(2020, 1, 1, tzinfo=BERLIN), None, datetime.datetime(2020, 7, 1, tzinfo=BERLIN)],
    ),
    "in UTC": ("datetime64[us, UTC]", [datetime.datetime(2020, 1, 1, tzinfo=UTC)]),
    "in several zones": (
        "object",
        [datetime.datetime(2020, 1, 1, tzinfo=UTC), datetime.datetime(2020, 1, 1, tzinfo=BERLIN)],
    ),
    "with an offset": (
        "datetime64[us, UTC+05:30]",
        [datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=5.5)))],
    ),
    "lengths of time": ("timedelta64[us]", [datetime.timedelta(days=2, microseconds=3), None]),
    "nanoseconds": ("datetime64[ns]", [pd.Timestamp("2020-01-01 00:00:00.000000001"), pd.NaT]),
    "decimals": ("object", [Decimal("1.10"), None, Decimal("1E+5"), Decimal("NaN")]),
    "bytes": ("object", [b"ab\x00\xff", b"", None]),
    "uuids": ("object", [uuid.UUID(int=5), None]),
    "numpy integers": ("Int8", [np.int8(3), None]),
    "numpy floats": ("Float32", [np.float32(1.5), np.float32("nan")]),
    "numpy arrays": ("object", [np.array([1, 2]), np.array([3.5], "float32"), np.zeros((2, 2)), None]),
    "numpy strings": ("string", [np.str_("a"), "b"]),
    "of mixed types within": ("object", [{"k": [datetime.date(2020, 1, 1), {"x": (1, b"z", Decimal(1))}]}]),
    "nothing": ("object", [None, None]),
}

CODE = """
import pandas as pd
from tests.operations.test_execute_values import VALUES

def rows(kind):
    yield from enumerate(VALUES[kind][1])

def value(kind, row):
    return (VALUES[kind][1][row],)

def whole(kind):
    return pd.DataFrame({"frame": pd.Series(VALUES[kind][1], dtype=object)})

def echo(value):
    return (value,)
"""


@pytest.fixture
def vault(tmp_path: Path) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def is_same(value: object, found: object) -> bool:
    """Tell whether a value came back, as the plain Python object or as what pandas has for it."""
    if value is None or value is pd.NaT:
        return found is None or found is pd.NA or found is pd.NaT
    if isinstance(value, np.ndarray):
        return isinstance(found, np.ndarray) and value.dtype == found.dtype and np.array_equal(value, found)
    if value != value:
        return found != found and found is not pd.NA
    if isinstance(value, float) and str(value) != str(found):  # -0.0
        return False
    return type(value == found) in (bool, np.bool_) and bool(value == found) and same_types(value, found)


def same_types(value: object, found: object) -> bool:
    pandas_kin = {datetime.datetime: pd.Timestamp, datetime.timedelta: pd.Timedelta}
    if isinstance(value, np.generic):
        return type(found) in (type(value), type(value.item()))
    if isinstance(value, list | tuple) and isinstance(found, list | tuple):
        return type(value) is type(found) and all(map(same_types, value, found))
    if isinstance(value, dict) and isinstance(found, dict):
        return type(found) is dict and same_types(list(value.items()), list(found.items()))
    return type(found) in (type(value), pandas_kin.get(type(value)))


@pytest.mark.parametrize("kind", VALUES)
class TestWhatAFunctionReturned:
    def test_comes_back_by_every_way(self, vault: TableVault, kind: str) -> None:
        dtype, values = VALUES[kind]
        builders = {
            "index": index("row", "yielded", arguments={"kind": kind}),
            "a": column("returned", function="value", arguments={"kind": kind, "row": "<<self.row[index]>>"}),
            "b": column("frame", function="whole", return_type="dataframe", arguments={"kind": kind}),
            "c": column("referred", function="echo", arguments={"value": "<<self.yielded[index]>>"}),
        }
        frame = build(vault, "values", builders, code=CODE)
        for name in ("yielded", "returned", "frame", "referred"):
            assert all(map(is_same, values, frame[name].tolist())), (name, frame[name].tolist())
        assert str(frame["yielded"].dtype) == str(frame["returned"].dtype) == dtype
        assert str(frame["frame"].dtype) == "object"

    def test_comes_back_from_a_reference_to_another_table(self, vault: TableVault, kind: str) -> None:
        _, values = VALUES[kind]
        build(vault, "values", {"index": index("row", "value", arguments={"kind": kind})}, code=CODE)
        echo = column("echo", function="echo", arguments={"value": "<<values.value[row::<<self.row[index]>>]>>"})
        frame = build(vault, "copies", {"index": index("row", "same", arguments={"kind": kind}), "echo": echo})
        assert all(map(is_same, values, frame["echo"].tolist())), frame["echo"].tolist()


class TestDtypes:
    @pytest.mark.parametrize(
        ("dtype", "returned", "kept"),
        [
            ("Int8", [1, None, "3"], [1, pd.NA, 3]),
            ("int64", [1, 2.0, "3"], [1, 2, 3]),
            ("float32", [1, None, "2.5"], [1.0, float("nan"), 2.5]),
            ("string", [1, None, 2.5], ["1", pd.NA, "2.5"]),
            ("str", ["NA", "", "None"], ["NA", "", "None"]),
            ("boolean", [True, None, 0], [True, pd.NA, False]),
            ("category", ["a", None, "a"], None),
            ("object", [1, "a", (1, 2)], [1, "a", (1, 2)]),
            ("datetime64[s]", ["2020-01-31", None, datetime.datetime(2020, 2, 1)], None),
            ("datetime64[us, UTC]", ["2020-01-31T05:00Z", None, datetime.datetime(2020, 2, 1)], None),
            ("list<item: int64>[pyarrow]", [[1, 2], None, []], [[1, 2], None, []]),
        ],
    )
    def test_are_what_is_asked_for(
        self, vault: TableVault, dtype: str, returned: list[Any], kept: list[Any] | None
    ) -> None:
        code = f"import datetime\ndef rows():\n    yield from enumerate({returned!r})\ndef echo(x): return (x,)"
        builders = {
            "index": index("row", "a", dtypes={"a": dtype}),
            "b": column("b", function="echo", arguments={"x": "<<self.a[index]>>"}, dtypes={"b": dtype}),
        }
        frame = build(vault, "values", builders, code=code)
        assert all(kind == parse_dtype(dtype) or str(kind) == dtype for kind in frame.dtypes[1:])
        if kept is not None:
            pd.testing.assert_series_equal(frame["a"], pd.Series(kept, dtype=parse_dtype(dtype), name="a"))
        pd.testing.assert_series_equal(frame["a"], frame["b"], check_names=False)

    @pytest.mark.parametrize(
        ("dtype", "value", "message"),
        [
            ("Int8", 300, "Row 1 of column 'size' holds 300, which doesn't fit the dtype 'Int8'"),
            ("Int64", 1.5, "Row 1 of column 'size' holds 1.5, which doesn't fit the dtype 'Int64'"),
            ("Int64", "many", "Row 1 of column 'size' holds 'many', which doesn't fit the dtype 'Int64'"),
            ("int64", None, "Row 1 of column 'size' has no value, .* the dtype 'Int64' in 'dtypes'"),
            ("boolean", 2, "Row 1 of column 'size' holds 2, which doesn't fit the dtype 'boolean'"),
            ("timedelta64[us]", "soon", "Row 1 of column 'size' holds 'soon', which doesn't fit"),
        ],
    )
    @pytest.mark.parametrize("return_type", ["row-wise", "generator"])
    def test_that_a_value_does_not_fit_are_an_error_of_its_row(
        self, vault: TableVault, dtype: str, value: object, message: str, return_type: str
    ) -> None:
        first = "1 s" if dtype.startswith("time") else 1
        code = f"def rows(): yield from [{first!r}, {value!r}]\ndef size(n): return n\ndef sizes(): return rows()"
        given: dict[str, Any] = (
            {"function": "size", "arguments": {"n": "<<self.n[index]>>"}}
            if return_type == "row-wise"
            else {"function": "sizes", "return_type": return_type}
        )
        builders = {
            "index": index("n", dtypes={"n": "object"}),
            "size": column("size", dtypes={"size": dtype}, **given),
        }
        begin(vault, "values", builders, code=code)
        with pytest.raises(TVTableError, match=message) as caught:
            vault.execute_instance("values", process_id="p")
        assert (caught.value.column, caught.value.row) == ("size", 1)
        assert notes(caught.value)[0].startswith("This was in row 1 of the builder 'size'.")
        process = vault.get_process("p")
        assert (process.status, process.rows_done, process.rows_failed) == ("paused", 1, 1)


class TestWhatCannotBeKept:
    @pytest.mark.parametrize(
        "value",
        [
            "object()",
            "threading.Lock()",
            "(x for x in [])",
            "Colour.RED",
            "Text('a')",
            "{'deep': [Text('a')]}",
            "cyclic()",
            "'\\ud800'",
            "np.float128(1)",
            "lambda: 1",
        ],
    )
    def test_is_an_error_of_its_row_that_says_what_to_return(self, vault: TableVault, value: str) -> None:
        code = f"""
import enum
import threading
import numpy as np

class Colour(enum.IntEnum):
    RED = 1

class Text(str):
    pass

def cyclic():
    found = []
    found.append(found)
    return found

def rows():
    yield from [1, 2]

def bad(n):
    return n if n == 1 else {value}
"""
        bad = column("bad", function="bad", arguments={"n": "<<self.n[index]>>"})
        begin(vault, "values", {"index": index("n"), "bad": bad}, code=code)
        with pytest.raises(TVTableError, match="Column 'bad': ") as caught:
            vault.execute_instance("values", process_id="p")
        assert "row 1 of the builder 'bad'" in notes(caught.value)[0]
        assert "artifact_string" in str(caught.value) or "surrogate" in str(caught.value)
        assert vault.get_process("p").rows_done == 1
        # Once the function is mended, only the row that failed is computed.
        write_code(vault, "def rows(): yield 5\ndef bad(n): return n * 10")
        vault.execute_instance("values", process_id="p", on_change="continue")
        assert vault.get_dataframe("values")["bad"].tolist() == [1, 20]


class TestNothing:
    def test_computed_as_none_is_not_the_same_as_not_computed(self, vault: TableVault, calls: Calls) -> None:
        code = """
from tests.workers import note_call
from pathlib import Path

def rows(): yield from [0, 1, 2]

def maybe(n, marker):
    note_call(f"maybe {n}")
    if n == 1 and not Path(marker).exists():
        raise ConnectionError("nobody answers")
    return None
"""
        marker = Path(vault.db_dir).parent / "mended"
        maybe = column("maybe", function="maybe", arguments={"n": "<<self.n[index]>>", "marker": str(marker)})
        begin(vault, "values", {"index": index("n"), "maybe": maybe}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("values", process_id="p")
        process = vault.get_process("p")
        assert (process.rows_done, process.rows_failed, process.rows_total) == (1, 1, 3)
        marker.touch()
        vault.execute_instance("values", process_id="p")
        assert vault.get_dataframe("values")["maybe"].isna().all()
        assert calls() == {"maybe 0": 1, "maybe 1": 2, "maybe 2": 1}


class TestWrittenFrames:
    def test_keep_dtypes_and_values(self, vault: TableVault) -> None:
        frame = pd.DataFrame(
            {
                "nullable": pd.array([1, None], "Int16"),
                "category": pd.Categorical(["b", None], ["b", "a"], ordered=True),
                "zone": pd.DatetimeIndex([pd.Timestamp("2020-01-01"), pd.NaT]).tz_localize("Europe/Berlin"),
                "object": [(1, "NA"), {"a": [None]}],
                "text": ["", "NA"],
                "nan": [float("nan"), 1.0],
            }
        )
        vault.create_table("values")
        vault.create_instance("values", external_edit=True)
        vault.write_instance(frame, "values")
        found = vault.get_dataframe("values")
        pd.testing.assert_frame_equal(found, frame)
        assert found["object"].tolist() == frame["object"].tolist()
