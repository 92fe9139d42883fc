import datetime
import decimal
import math
import threading
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault_like.references import cells as cells_module
from tablevault_like.references.cells import Cells, copied

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2024, 5, 6, 12, 30, 1, 250)
NANOSECOND = pd.Timestamp("2024-05-06 12:30:00.000000001")
FAR_AWAY = pd.Timestamp(np.datetime64("20000-01-01", "s"))


def series(values, dtype):
    return pd.Series(values, dtype=dtype)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (series([1, None, -(2**60)], "Int64"), [1, None, -(2**60)]),
        (series([1, 255], "uint8"), [1, 255]),
        (series([1.5, None], "Float64"), [1.5, None]),
        (series([1.5, None], "Float32"), [1.5, None]),
        (series([1.5, None, math.inf], "float64"), [1.5, None, math.inf]),
        (series([True, None], "boolean"), [True, None]),
        (series([True, False], "bool"), [True, False]),
        (series(["NA", "", None, "None", "a\r\n"], "string"), ["NA", "", None, "None", "a\r\n"]),
        (series(["x", None], pd.StringDtype("python")), ["x", None]),
        (series(["x", None], "str"), ["x", None]),
        (series([NOON, None], "datetime64[us]"), [NOON, None]),
        (series([NOON, None], "datetime64[ns]"), [NOON, None]),
        (series([NANOSECOND, NOON, None], "datetime64[ns]"), [NANOSECOND, NOON, None]),
        (series([NOON.replace(tzinfo=BERLIN), None], "datetime64[us, Europe/Berlin]"),
         [NOON.replace(tzinfo=BERLIN), None]),
        (series(np.array(["20000-01-01", "NaT"], "datetime64[s]"), None), [FAR_AWAY, None]),
        (series([np.int64(1), np.float32(2), np.timedelta64(3, "s"), np.str_("x")], "object"),
         [np.int64(1), np.float32(2), np.timedelta64(3, "s"), np.str_("x")]),
        (series([datetime.timedelta(1), None], "timedelta64[us]"), [datetime.timedelta(1), None]),
        (series([pd.Timedelta(1), pd.Timedelta(1000), None], "timedelta64[ns]"),
         [pd.Timedelta(1), datetime.timedelta(microseconds=1), None]),
        (series(["b", None, "a"], "category"), ["b", None, "a"]),
        (series([2, None, 1], "category"), [2, None, 1]),
        (series([datetime.date(2024, 1, 1), None], pd.ArrowDtype(pa.date32())), [datetime.date(2024, 1, 1), None]),
        (series([[1, None], None], pd.ArrowDtype(pa.list_(pa.int64()))), [[1, None], None]),
        (series([NANOSECOND, None], pd.ArrowDtype(pa.timestamp("ns"))), [NANOSECOND, None]),
        (series([decimal.Decimal("1.50"), None], pd.ArrowDtype(pa.decimal128(5, 2))), [decimal.Decimal("1.50"), None]),
        (series([[1], {"a": None}, None, pd.NA, pd.NaT, (1,), "x"], "object"),
         [[1], {"a": None}, None, None, None, (1,), "x"]),
        (series(pd.period_range("2024", periods=1, freq="D"), None), [pd.Period("2024-01-01")]),
        (series([], "Int64"), []),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pd.Series) else "",
)  # fmt: skip
@pytest.mark.parametrize("tolerated", [0, 64])
def test_cells_are_plain_objects(column, expected, tolerated):
    cells = Cells(column)
    cells._tolerated = tolerated  # 0: by the block, otherwise each by itself
    found = [cells.at(position) for position in range(len(expected))]
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))
    assert [cell for block in cells.blocks() for cell in block] == expected
    assert cells.take(np.arange(len(expected))) == expected


def test_nan_stays_nan_where_it_is_not_a_missing_value():
    masked = pd.arrays.FloatingArray(np.array([math.nan, 1.0]), np.array([False, True]))
    for column in (pd.Series(masked), pd.Series([math.nan, None], dtype=object)):
        first, second = Cells(column).take(np.arange(2))
        assert math.isnan(first)
        assert second is None


def test_there_is_nothing_beyond_the_ends():
    for length in (0, 3, 8192, 8193):
        cells = Cells(pd.Series(range(length), dtype="Int64"))
        for position in (-1, -length, length, length + 1, 10**9):
            assert cells.at(position) is None
        assert [cells.at(position) for position in range(length)] == list(range(length))
        assert cells.at(length) is None


def test_few_blocks_of_a_long_column_are_kept(monkeypatch):
    monkeypatch.setattr(cells_module, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(cells_module, "_BLOCKS_KEPT", 3)
    cells = Cells(pd.Series(range(6400), dtype="Int64"))
    assert [cells.at(position) for position in range(6400)] == list(range(6400))
    assert len(cells._blocks) == 3
    order = np.random.default_rng(5).permutation(6400).tolist()
    assert [cells.at(position) for position in order] == order
    assert len(cells._blocks) == 3


def test_blocks_of_long_texts_are_short():
    long = Cells(pd.Series(["x" * 100_000] * 100, dtype="string"))
    assert next(long.blocks()) == ["x" * 100_000] * len(next(long.blocks()))
    assert len(next(long.blocks())) <= 20
    short = Cells(pd.Series(["x"] * 10_000, dtype="string"))
    assert len(next(short.blocks())) == 8192


def test_reading_in_order_converts_blocks_and_reading_here_and_there_does_not(monkeypatch):
    converted = []
    plain = cells_module.plain

    def counting(array):
        converted.append(len(array))
        return plain(array)

    monkeypatch.setattr(cells_module, "plain", counting)
    cells = Cells(pd.Series(range(20_000), dtype="float64"))
    assert [cells.at(position) for position in range(0, 20_000, 1000)] == list(range(0, 20_000, 1000))
    assert set(converted) == {1}
    converted.clear()
    for position in range(8192):
        cells.at(position)
    assert converted.count(8192) == 1
    assert len(converted) < 200


def test_threads_read_the_same_cells(monkeypatch):
    monkeypatch.setattr(cells_module, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(cells_module, "_BLOCKS_KEPT", 2)
    column = pd.Series([f"cell {number}" for number in range(3000)], dtype="string")
    cells = Cells(column)
    expected = column.tolist()
    wrong = []

    def work(seed):
        for position in np.random.default_rng(seed).integers(0, 3000, 3000).tolist() + list(range(3000)):
            if cells.at(position) != expected[position]:
                wrong.append(position)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "value",
    [
        None, 1, 1.5, "x", b"x", True, NOON, NOON.date(), decimal.Decimal(1), uuid.UUID(int=1), pd.Timestamp(NOON),
    ],
)  # fmt: skip
def test_what_nobody_can_change_is_not_copied(value):
    assert copied(value) is value


def test_what_can_be_changed_is_copied_all_the_way():
    value = {"a": [1, [2], {"b": [3]}], "c": ([4], {5}), "d": np.array([6])}
    copy = copied(value)
    copy["a"][1].append("changed")
    copy["a"][2]["b"].append("changed")
    copy["c"][0].append("changed")
    copy["c"][1].add("changed")
    copy["d"][0] = 0
    assert str(value) == str({"a": [1, [2], {"b": [3]}], "c": ([4], {5}), "d": np.array([6])})


def test_frames_are_copied_when_they_are_written_to():
    frame = pd.DataFrame({"a": [1, 2]})
    for copy in (copied(frame), copied([frame])[0], copied((frame,))[0]):
        copy.loc[0, "a"] = 7
        copy["b"] = 1
    assert frame.to_dict("list") == {"a": [1, 2]}
