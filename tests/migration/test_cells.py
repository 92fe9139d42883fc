"""CSV files and dtypes of 0.1 become frames."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVFileError
from tablevault_like.migration.cells import OldFrame, read_frame
from tablevault_like.migration.old import OldInstance
from tests.migration.old_vaults import instance_id


def read(folder: Path, table: str | bytes, dtypes: object) -> OldFrame:
    (folder / "table.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    (folder / "dtypes.json").write_text(dtypes if isinstance(dtypes, str) else json.dumps(dtypes))
    return read_frame(OldInstance("a", instance_id(), folder))


READ = {
    "Int64": ("1,,-9223372036854775808,NaN,2.0", [1, None, -(2**63), None, 2]),
    "UInt64": ("18446744073709551615,0", [2**64 - 1, 0]),
    "Float64": ("0.1,,inf,-1e-300,<NA>,7", [0.1, None, float("inf"), -1e-300, None, 7.0]),
    "boolean": ("True,False,,NA", [True, False, None, None]),
    "string": ("1,,None,nan", ["1", None, "None", "nan"]),
    "object": ("[1],,x", ["[1]", None, "x"]),
    "category": ("b,,a,b", ["b", None, "a", "b"]),
    "artifact_string": ("a/b.txt,", ["a/b.txt", None]),
    "datetime64[ns]": (
        "2024-01-02 03:04:05.000000006,,2024-01-02,NaT",
        [pd.Timestamp("2024-01-02 03:04:05.000000006"), None, pd.Timestamp(2024, 1, 2), None],
    ),
    "timedelta64[ns]": ("1 days 02:00:00,", [pd.Timedelta(hours=26), None]),
}


@pytest.mark.parametrize("dtype", READ)
def test_a_column_keeps_its_dtype_and_values(tmp_path: Path, dtype: str) -> None:
    cells, values = READ[dtype]

    found = read(tmp_path, "c\n" + "\n".join(cell or '""' for cell in cells.split(",")), {"c": dtype})

    assert found.dtypes == {"c": dtype}
    column = found.frame["c"].astype(object)
    assert column.where(column.notna(), None).tolist() == values


@pytest.mark.parametrize(
    ("old", "new"), [("int64", "Int64"), ("uint8", "UInt8"), ("float32", "Float64"), ("str", "string")]
)
def test_dtypes_that_0_1_replaces_are_replaced(tmp_path: Path, old: str, new: str) -> None:
    assert read(tmp_path, "c\n1\n", {"c": old}).dtypes == {"c": new}


@pytest.mark.parametrize("dtype", ["Int8", "boolean", "datetime64[ns]", "Period[D]", "interval", "no such dtype"])
def test_what_does_not_fit_its_dtype_stays_text_and_is_told(tmp_path: Path, dtype: str) -> None:
    found = read(tmp_path, "c\n300 or so\n", {"c": dtype})

    assert found.frame["c"].tolist() == ["300 or so"]
    assert found.dtypes == {"c": "string"}
    assert found.notes[0].startswith(f"column 'c' can't be of dtype {dtype!r}, so it is text now: ")


def test_a_column_without_a_dtype_is_text_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, "c,d\n1,2\n", {"d": "Int64"})

    assert found.dtypes == {"c": "string", "d": "Int64"}
    assert found.notes == ("column 'c' has no dtype in dtypes.json, so it is text",)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_dtypes_that_are_damaged_are_told(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, "c\n1\n", text)

    assert found.frame["c"].tolist() == ["1"]
    assert found.notes


@pytest.mark.parametrize("text", ["\n", ""])
def test_a_frame_without_columns_is_empty(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text, {}).frame.shape == (0, 0)


@pytest.mark.parametrize("table", [b"a\n\xff\n", b'a,b\n1\n1,2,3\n"'])
def test_what_is_no_csv_is_refused(tmp_path: Path, table: bytes) -> None:
    with pytest.raises(TVFileError, match="can't be read as CSV"):
        read(tmp_path, table, {})


def test_a_link_in_the_place_of_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.csv").write_text("a\n1\n")
    (tmp_path / "table.csv").symlink_to(tmp_path / "elsewhere.csv")

    with pytest.raises(TVFileError, match=r"table\.csv is missing"):
        read_frame(OldInstance("a", instance_id(), tmp_path))


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


def test_a_lone_carriage_return_is_text(tmp_path: Path) -> None:
    """Python wrote it without quotes until 3.13."""
    found = read(tmp_path, "a,b\n,\r\np,x\ry\n", {"a": "string", "b": "string"})

    assert found.frame["b"].tolist() == ["\r", "x\ry"]


@given(rows=st.lists(st.tuples(_TEXT, _TEXT), max_size=6))
def test_any_text_that_pandas_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["a", "b"])
    writer.writerows(rows)

    found = read(tmp_path_factory.mktemp("cells"), written.getvalue(), {"a": "string", "b": "string"})

    for place, name in enumerate(["a", "b"]):
        column = found.frame[name].astype(object)
        # Nothing tells an empty text from a missing one in CSV.
        assert column.where(column.notna(), "").tolist() == [row[place] for row in rows]
