from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.builtin.table_generation import (
    create_artifact_table_from_folder,
    create_data_table_from_csv,
    create_data_table_from_jsonl,
    create_data_table_from_list,
    create_data_table_from_parquet,
    create_data_table_from_table,
    create_paper_table_from_folder,
)
from tablevault_like.functions.file_arguments import file_arguments

FRAME = pd.DataFrame({"id": range(10)}, index=range(100, 110))


class TestFromTable:
    def test_all_rows_are_a_copy_with_new_positions(self) -> None:
        frame = create_data_table_from_table(FRAME)
        assert list(frame.index) == list(frame["id"]) == list(range(10))
        frame.loc[0, "id"] = -1
        assert FRAME["id"].iloc[0] == 0

    @pytest.mark.parametrize(("nrows", "expected"), [(3, [0, 1, 2]), (0, []), (20, list(range(10)))])
    def test_the_first_rows(self, nrows: int, expected: list[int]) -> None:
        assert list(create_data_table_from_table(FRAME, nrows)["id"]) == expected

    def test_a_sample_has_no_row_twice_and_a_seed_repeats_it(self) -> None:
        first, again = (create_data_table_from_table(FRAME, 5, random_sample=True, seed=1) for _ in range(2))
        other = create_data_table_from_table(FRAME, 5, random_sample=True, seed=2)
        assert first.equals(again)
        assert not first.equals(other)
        assert first["id"].is_unique
        assert list(first.index) == list(range(5))

    def test_a_sample_larger_than_the_table_is_refused(self) -> None:
        with pytest.raises(TVArgumentError, match="11 rows can't be taken from a table of 10"):
            create_data_table_from_table(FRAME, 11, random_sample=True)

    def test_negative_numbers_are_refused(self) -> None:
        with pytest.raises(TVArgumentError, match="can't be negative"):
            create_data_table_from_table(FRAME, -1)


class TestFromCsv:
    def read(self, folder: Path, text: str, **options: object) -> pd.DataFrame:
        path = folder / "table.csv"
        path.write_bytes(text.encode())
        return create_data_table_from_csv(str(path), **options)  # type: ignore[arg-type]

    def test_words_for_nothing_stay_text_and_empty_fields_are_missing(self, tmp_path: Path) -> None:
        frame = self.read(tmp_path, "a,b\nNA,1\nNone,\nnan,3\n,4\n")
        assert frame["a"].iloc[:3].to_list() == ["NA", "None", "nan"]
        assert frame["a"].isna().to_list() == [False, False, False, True]
        assert frame["b"].dtype == "Int64"
        assert frame["b"].isna().to_list() == [False, True, False, False]

    def test_missing_values_can_be_named(self, tmp_path: Path) -> None:
        frame = self.read(tmp_path, "a,b\nNA,1\nx,NA\n", missing_values=["NA"])
        assert frame["a"].isna().to_list() == frame["b"].isna().to_list()[::-1] == [True, False]

    def test_numbers_booleans_and_text_get_nullable_dtypes(self, tmp_path: Path) -> None:
        frame = self.read(tmp_path, "i,f,b,s\n1,0.1,True,x\n2,1e300,False,y\n")
        assert [str(dtype) for dtype in frame.dtypes] == ["Int64", "Float64", "boolean", "string"]
        assert frame["f"].to_list() == [0.1, 1e300]

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
    def test_numbers_are_read_exactly(self, numbers: list[float]) -> None:
        with TemporaryDirectory() as folder:
            lines = "".join(f"{number!r}\n" for number in numbers)
            assert self.read(Path(folder), f"f\n0.5\n{lines}")["f"].to_list() == [0.5, *numbers]

    def test_dtypes_keep_zeros_in_front(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "zip\n00501\n", dtypes={"zip": "string"})["zip"].to_list() == ["00501"]

    def test_line_ends_inside_fields_and_wide_characters_stay(self, tmp_path: Path) -> None:
        frame = self.read(tmp_path, '\ufeffa,b\r\n"one\r\ntwo\nthree",ä€😀\r\n')
        assert frame.to_dict("list") == {"a": ["one\r\ntwo\nthree"], "b": ["ä€😀"]}

    def test_separator_encoding_and_compression(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv.gz"
        path.write_bytes(gzip.compress("a;b\nä;2\n".encode("latin-1")))
        frame = create_data_table_from_csv(str(path), separator=";", encoding="latin-1")
        assert frame.to_dict("list") == {"a": ["ä"], "b": [2]}

    def test_rows_with_too_many_fields_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TVArgumentError, match="more fields than its first line has columns"):
            self.read(tmp_path, "a,b\n1,2,3\n4,5,6\n")


class TestFromList:
    def test_the_column_is_named_as_in_tablevault_or_as_told(self) -> None:
        assert create_data_table_from_list([1, 2]).to_dict("list") == {"temp_name": [1, 2]}
        assert list(create_data_table_from_list([1], column="id").columns) == ["id"]

    @pytest.mark.parametrize(
        ("vals", "dtype"),
        [
            ([1, None, -(2**63)], "Int64"),
            ([0.5, None], "Float64"),
            ([True, None], "boolean"),
            (["NA", "", None], "string"),
            ([1, True], "object"),
            ([1, 2.5], "object"),
            ([2**63], "object"),
            ([[1], [1, 2], None], "object"),
            ([(1, 2), (3, 4)], "object"),
            ([date(2020, 1, 1)], "object"),
            ([None], "object"),
            ([], "object"),
        ],
    )
    def test_values_keep_their_types(self, vals: list[object], dtype: str) -> None:
        column = create_data_table_from_list(vals)["temp_name"]
        assert str(column.dtype) == dtype
        kept = [None if value is pd.NA else value for value in column.to_list()]
        assert kept == vals
        assert [type(value) for value in kept if value is not None] == [
            type(value) for value in vals if value is not None
        ]

    def test_nan_is_not_a_missing_value(self) -> None:
        column = create_data_table_from_list([math.nan, None])["temp_name"]
        assert math.isnan(column[0])
        assert column[1] is None


class TestFromParquet:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        frame = pd.DataFrame(
            {
                "i": pd.array([1, None], dtype="Int64"),
                "s": ["NA", None],
                "l": [[1, 2], []],
                "d": [{"a": [1.5]}, {"a": []}],
                "t": pd.to_datetime(["2020-01-01", "2021-01-01"]),
            }
        )
        frame.to_parquet(tmp_path / "table.parquet")
        return str(tmp_path / "table.parquet")

    def test_values_and_nullable_dtypes(self, path: str) -> None:
        frame = create_data_table_from_parquet(path)
        assert str(frame["i"].dtype) == "Int64"
        assert frame["s"].to_list()[0] == "NA"
        assert frame["s"].isna().to_list() == [False, True]
        assert frame["t"].to_list() == [pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01")]
        assert frame["l"].to_list() == [[1, 2], []]
        assert frame["d"].to_list() == [{"a": [1.5]}, {"a": []}]

    def test_columns_in_the_order_asked_for(self, path: str) -> None:
        assert list(create_data_table_from_parquet(path, columns=["s", "i"]).columns) == ["s", "i"]

    def test_a_named_index_becomes_a_column(self, tmp_path: Path) -> None:
        path = tmp_path / "table.parquet"
        pd.DataFrame({"v": [1, 2]}, index=pd.Index(["a", "b"], name="key")).to_parquet(path)
        frame = create_data_table_from_parquet(str(path))
        assert frame["key"].to_list() == ["a", "b"]
        assert list(frame.index) == [0, 1]


class TestFromJsonl:
    def read(self, folder: Path, text: str) -> pd.DataFrame:
        path = folder / "table.jsonl"
        path.write_bytes(text.encode())
        return create_data_table_from_jsonl(str(path))

    def test_keys_become_columns_and_types_stay(self, tmp_path: Path) -> None:
        lines = '\ufeff{"id": 1, "when": "2020-01-01", "tags": ["x"]}\r\n\n{"id": 2, "big": 123456789012345678901}\n'
        frame = self.read(tmp_path, lines)
        assert list(frame.columns) == ["id", "when", "tags", "big"]
        assert str(frame["id"].dtype) == "Int64"
        assert frame["when"].iloc[0] == "2020-01-01"
        assert frame["tags"].to_list() == [["x"], None]
        assert frame["big"].to_list() == [None, 123456789012345678901]

    def test_a_line_separator_in_a_string_ends_no_line(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, '{"a": "x\u2028y\x85z"}\n')["a"].to_list() == ["x\u2028y\x85z"]

    def test_rows_without_keys_count(self, tmp_path: Path) -> None:
        assert len(self.read(tmp_path, "{}\n{}\n")) == 2
        assert len(self.read(tmp_path, "")) == 0

    @pytest.mark.parametrize(("line", "reason"), [("{", "is not JSON"), ("[1]", "is not a JSON object")])
    def test_other_lines_are_refused_by_number(self, tmp_path: Path, line: str, reason: str) -> None:
        with pytest.raises(TVArgumentError, match=rf"table\.jsonl:3: This line {reason}"):
            self.read(tmp_path, '{"a": 1}\n\n' + line)


class TestFromFolders:
    @pytest.fixture
    def papers(self, tmp_path: Path) -> Path:
        folder = tmp_path / "papers"
        (folder / "inner").mkdir(parents=True)
        for name in ("b.pdf", "a.pdf", "notes.txt", ".hidden.pdf", "inner/c.pdf"):
            (folder / name).write_text(name)
        return folder

    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> Path:
        (tmp_path / "artifacts").mkdir()
        return tmp_path / "artifacts"

    def test_papers(self, papers: Path, artifacts: Path) -> None:
        frame = create_paper_table_from_folder(str(papers), 1, str(artifacts))
        assert frame.to_dict("list") == {
            "file_name": ["a", "b"],
            "artifact_name": ["a.pdf", "b.pdf"],
            "original_path": [str(papers / "a.pdf"), str(papers / "b.pdf")],
        }
        assert {path.name: path.read_text() for path in artifacts.iterdir()} == {"a.pdf": "a.pdf", "b.pdf": "b.pdf"}

    def test_copies_of_papers_are_numbered(self, papers: Path, artifacts: Path) -> None:
        frame = create_paper_table_from_folder(str(papers), 2, str(artifacts), extension=".txt")
        assert frame["file_name"].to_list() == ["notes_0", "notes_1"]
        assert sorted(path.name for path in artifacts.iterdir()) == ["notes_0.txt", "notes_1.txt"]

    def test_running_again_replaces_the_copies(self, papers: Path, artifacts: Path) -> None:
        first, again = (create_paper_table_from_folder(str(papers), 1, str(artifacts)) for _ in range(2))
        assert first.equals(again)

    def test_artifacts_of_one_folder(self, papers: Path, artifacts: Path) -> None:
        frame = create_artifact_table_from_folder(str(papers), str(artifacts))
        assert frame["artifact_name"].to_list() == frame["file_name"].to_list() == ["a.pdf", "b.pdf", "notes.txt"]

    def test_artifacts_of_folders_inside(self, papers: Path, artifacts: Path) -> None:
        frame = create_artifact_table_from_folder(str(papers), str(artifacts), ".pdf", recursive=True)
        assert frame["artifact_name"].to_list() == ["a.pdf", "b.pdf", "inner/c.pdf"]
        assert frame["file_name"].to_list() == ["a.pdf", "b.pdf", "c.pdf"]
        assert (artifacts / "inner" / "c.pdf").read_text() == "inner/c.pdf"

    def test_an_empty_folder_makes_a_table_without_rows(self, tmp_path: Path, artifacts: Path) -> None:
        (tmp_path / "empty").mkdir()
        frame = create_artifact_table_from_folder(str(tmp_path / "empty"), str(artifacts))
        assert list(frame.columns) == ["file_name", "artifact_name", "original_path"]
        assert len(frame) == 0

    def test_a_link_to_a_file_in_the_folder_is_taken_as_that_file(self, papers: Path, artifacts: Path) -> None:
        (papers / "z.pdf").symlink_to("inner/c.pdf")
        (papers / "again").symlink_to("inner")

        frame = create_artifact_table_from_folder(str(papers), str(artifacts), ".pdf", recursive=True)

        assert frame["artifact_name"].to_list() == ["a.pdf", "b.pdf", "inner/c.pdf", "z.pdf"]
        assert (artifacts / "z.pdf").read_text() == "inner/c.pdf"
        assert not (artifacts / "z.pdf").is_symlink()

    def test_so_it_is_where_the_folder_is_reached_through_a_link(
        self, papers: Path, artifacts: Path, tmp_path: Path
    ) -> None:
        (papers / "z.pdf").symlink_to("a.pdf")
        (tmp_path / "alias").symlink_to(papers)

        frame = create_paper_table_from_folder(str(tmp_path / "alias"), 1, str(artifacts))

        assert frame["file_name"].to_list() == ["a", "b", "z"]

    @pytest.mark.parametrize("make", [create_artifact_table_from_folder, create_paper_table_from_folder])
    @pytest.mark.parametrize(
        ("end", "message"),
        [
            ("../secret.pdf", r"inner\.pdf is a link that leads out of the folder, to .*/secret\.pdf"),
            ("../missing.pdf", r"inner\.pdf is a link that leads out of the folder"),
            ("missing.pdf", r"inner\.pdf is a link to .*/papers/missing\.pdf, which isn't there"),
            ("inner.pdf", r"inner\.pdf is a link to .*, which isn't there"),
        ],
        ids=["file", "nothing", "nothing inside", "itself"],
    )
    def test_links_that_lead_outside_or_nowhere_are_refused(
        self, papers: Path, artifacts: Path, make: Callable[..., object], end: str, message: str
    ) -> None:
        (papers.parent / "secret.pdf").write_text("secret")
        (papers / "inner.pdf").symlink_to(end)
        options = {"copies": 1} if make is create_paper_table_from_folder else {}

        with pytest.raises(TVArgumentError, match=message):
            make(str(papers), artifact_folder=str(artifacts), **options)
        assert list(artifacts.iterdir()) == []

    def test_a_link_to_a_folder_outside_is_refused_where_folders_inside_are_taken(
        self, papers: Path, artifacts: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (papers / "away").symlink_to(tmp_path / "outside")

        assert len(create_artifact_table_from_folder(str(papers), str(artifacts), ".pdf")) == 2
        with pytest.raises(TVArgumentError, match="away is a link that leads out of the folder"):
            create_artifact_table_from_folder(str(papers), str(artifacts), ".pdf", recursive=True)

    def test_links_that_would_not_be_taken_may_lead_anywhere(self, papers: Path, artifacts: Path) -> None:
        for name in (".link.pdf", "link.html"):
            (papers / name).symlink_to("/nowhere")

        assert len(create_artifact_table_from_folder(str(papers), str(artifacts), ".pdf", recursive=True)) == 3

    def test_missing_folders_and_no_copies_are_refused(self, papers: Path, artifacts: Path) -> None:
        with pytest.raises(TVArgumentError, match=r"The folder .* isn't there"):
            create_paper_table_from_folder(str(papers), 1, str(artifacts / "missing"))
        with pytest.raises(TVArgumentError, match=r"The folder .* isn't there"):
            create_artifact_table_from_folder(str(papers / "missing"), str(artifacts))
        with pytest.raises(TVArgumentError, match="at least 1"):
            create_paper_table_from_folder(str(papers), 0, str(artifacts))


class TestErrors:
    """Whatever can't be read is told with its path, and as an error of this library."""

    @pytest.mark.parametrize(
        "read", [create_data_table_from_csv, create_data_table_from_parquet, create_data_table_from_jsonl]
    )
    def test_files_that_are_not_there(
        self, read: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(TVArgumentError, match=rf"'rows\.txt' isn't there, looked for from {tmp_path}\."):
            read("rows.txt")
        with pytest.raises(TVArgumentError, match="is a folder, not a file"):
            read(str(tmp_path))

    @pytest.mark.parametrize(
        ("read", "content", "options", "message"),
        [
            (create_data_table_from_csv, b"", {}, "as CSV: No columns"),
            (create_data_table_from_csv, b'a,b\n"1,2\n', {}, "as CSV: .*EOF inside string"),
            (create_data_table_from_csv, b"a\n\xff\n", {}, "as CSV: .*can't decode byte"),
            (create_data_table_from_csv, b"a\nx\n", {"encoding": "utf-99"}, "as CSV: unknown encoding: utf-99"),
            (create_data_table_from_csv, b"a\nx\n", {"dtypes": {"a": "Int8"}}, "as CSV: .*'x'"),
            (create_data_table_from_csv, b"a\nx\n", {"dtypes": {"a": "Integer"}}, "as CSV: .*'Integer'"),
            (create_data_table_from_parquet, b"PAR1 it is not", {}, "as Parquet: "),
            (create_data_table_from_jsonl, b"\xff\n", {}, "as text in utf-8-sig: .*can't decode byte"),
        ],
    )
    def test_files_that_are_something_else(
        self, read: Callable[..., object], content: bytes, options: dict[str, object], message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "rows.txt"
        path.write_bytes(content)
        with pytest.raises(TVArgumentError, match=rf"rows\.txt can't be read {message}"):
            read(str(path), **options)

    def test_a_compressed_file_that_is_none(self, tmp_path: Path) -> None:
        for name in ("rows.csv.gz", "rows.csv.zip"):
            (tmp_path / name).write_bytes(b"a\n1\n")
            with pytest.raises(TVArgumentError, match=rf"{name} can't be read as CSV"):
                create_data_table_from_csv(str(tmp_path / name))

    def test_unknown_columns_name_the_nearest(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.parquet"
        pd.DataFrame({"name": ["a"], "score": [1]}).to_parquet(path)
        assert list(create_data_table_from_parquet(str(path), columns="score")) == ["score"]
        with pytest.raises(TVArgumentError, match=r"no column 'scores'\. Did you mean 'score'\?"):
            create_data_table_from_parquet(str(path), columns=["scores"])

    @pytest.mark.parametrize("vals", ["abc", b"abc", {"a": 1}])
    def test_a_single_value_is_no_list(self, vals: object) -> None:
        with pytest.raises(TVArgumentError, match="vals must be a list of values"):
            create_data_table_from_list(vals)  # type: ignore[arg-type]

    def test_folders_that_are_files(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(TVArgumentError, match="is a file, not a folder"):
            create_artifact_table_from_folder(str(tmp_path / "file"), str(tmp_path))


@pytest.mark.parametrize(
    ("reader", "paths"),
    [
        (create_data_table_from_csv, ("csv_file_path",)),
        (create_data_table_from_parquet, ("parquet_file_path",)),
        (create_data_table_from_jsonl, ("jsonl_file_path",)),
        (create_paper_table_from_folder, ("folder_dir",)),
        (create_artifact_table_from_folder, ("folder_dir",)),
        (create_data_table_from_list, ()),
        (create_data_table_from_table, ()),
    ],
)
def test_arguments_that_are_paths_are_declared(reader: Callable[..., object], paths: tuple[str, ...]) -> None:
    assert file_arguments(reader) == paths
