"""Reading while others change the vault: it waits for nobody, and looks again when a file has vanished."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault_like import TableVault
from tablevault_like.builders import partial
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import tables
from tests.tables import Background, begin, column, gates, index
from tests.workers import wait_until


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    found = TableVault(vault_dir, create=True)
    write(found, 1)
    return found


def write(vault: TableVault, value: int) -> str:
    if "numbers" not in vault.get_table_instances():
        vault.create_table("numbers")
    vault.create_instance("numbers", external_edit=True)
    vault.write_instance(pd.DataFrame({"number": [value]}), "numbers")
    return vault.get_table_instances("numbers")[-1]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[Path]]:
    """Return what makes something happen right before a table is read, and tells what was read."""

    def prepare(change: Callable[[], object]) -> list[Path]:
        read, original = list[Path](), tables.read_table

        def read_table(path: Path, **fields: Any) -> pd.DataFrame:
            read.append(path)
            if len(read) == 1:
                change()
            return original(path, **fields)

        monkeypatch.setattr(tables, "read_table", read_table)
        return read

    return prepare


class TestAFileThatVanishes:
    def test_is_looked_for_again(self, vault: TableVault, meanwhile: Any) -> None:
        """The table's folder follows a rename, and another table takes its name."""

        def change() -> None:
            vault.rename_table("old", "numbers")
            write(vault, 2)

        read = meanwhile(change)

        assert vault.get_dataframe("numbers")["number"].tolist() == [2]
        assert [path.parts[-3] for path in read] == ["numbers", "numbers"]

    def test_of_what_was_deleted_is_told_as_that(self, vault: TableVault, meanwhile: Any) -> None:
        (instance,) = vault.get_table_instances("numbers")
        meanwhile(lambda: vault.delete_instance(instance, "numbers"))

        with pytest.raises(TVArgumentError, match=f"has no instance '{instance}'"):
            vault.get_dataframe("numbers", instance)

    def test_of_a_table_that_was_deleted_too(self, vault: TableVault, meanwhile: Any) -> None:
        meanwhile(lambda: vault.delete_table("numbers"))

        with pytest.raises(TVArgumentError, match="There is no table 'numbers'"):
            vault.get_dataframe("numbers")

    def test_for_good_is_corruption_and_is_reported(self, vault: TableVault, vault_dir: Path) -> None:
        (path,) = vault_dir.glob("numbers/*/table.parquet")
        path.unlink()

        with pytest.raises(TVFileError, match=r"its file .*table\.parquet is missing\. Restore it") as caught:
            vault.get_dataframe("numbers")

        assert caught.value.path == str(path)

    def test_is_not_a_file_that_is_damaged(self, vault: TableVault, vault_dir: Path, meanwhile: Any) -> None:
        (path,) = vault_dir.glob("numbers/*/table.parquet")
        path.chmod(0o600)
        path.write_bytes(b"PAR1 no more")
        read = meanwhile(lambda: None)

        with pytest.raises(TVFileError, match=r"can't be read"):
            vault.get_dataframe("numbers")
        assert len(read) == 1


def test_a_new_instance_is_not_half_read(vault: TableVault, meanwhile: Any) -> None:
    """What was found first is what is read: an instance never changes."""
    first = vault.get_table_instances("numbers")[0]
    meanwhile(lambda: write(vault, 2))

    frame = vault.get_dataframe("numbers")

    assert (frame["number"].tolist(), frame.attrs["instance_id"]) == ([1], first)
    assert vault.get_dataframe("numbers")["number"].tolist() == [2]


class TestPartOfAFrame:
    @pytest.fixture
    def vault(self, vault_dir: Path) -> TableVault:
        vault = TableVault(vault_dir, create=True)
        vault.create_table("papers")
        vault.create_instance("papers", external_edit=True)
        folder = Path(vault.get_artifact_folder("papers"))
        for name in ("a.txt", "b.txt"):
            (folder / name).write_text(name)
        frame = pd.DataFrame(
            {
                "year": [2019, 2020, 2021, 2022],
                "page": ["a.txt", None, "b.txt", "a.txt"],
                "kind": pd.Categorical(["x", "y", "x", None], categories=["y", "x"], ordered=True),
                "more": pd.Series([1, "x", None, (1, 2)], dtype=object),
            }
        )
        vault.write_instance(frame, "papers", dtypes={"page": "artifact_string"})
        return vault

    def test_is_what_the_whole_frame_has(self, vault: TableVault) -> None:
        whole = vault.get_dataframe("papers")

        part = vault.get_dataframe("papers", columns=["page", "year"], filters=[("year", ">", 2019)], rows=2)

        pd.testing.assert_frame_equal(part, whole.loc[[1, 2], ["page", "year"]])
        assert part.attrs == whole.attrs
        assert part["page"].tolist()[1] == f"{vault.get_artifact_folder('papers', is_temp=False)}/b.txt"
        assert vault.get_dataframe("papers", columns=[]).shape == (4, 0)
        assert vault.get_dataframe("papers", filters=[("page", "==", "a.txt")], columns=["year"])["year"].tolist() == [
            2019,
            2022,
        ]

    @pytest.mark.parametrize("op", ["==", "!=", "in", "not in"])
    def test_is_found_by_the_path_or_by_the_name_of_an_artifact(self, vault: TableVault, op: str) -> None:
        folder = vault.get_artifact_folder("papers", is_temp=False)
        expected = {"==": [2019, 2022], "!=": [2021], "in": [2019, 2022], "not in": [2020, 2021]}[op]
        for name in (f"{folder}/a.txt", "a.txt"):
            filters = [("page", op, [name, "c.txt"] if "in" in op else name)]
            assert vault.get_dataframe("papers", filters=filters)["year"].tolist() == expected
            assert vault.to_arrow("papers", filters=[filters])["year"].to_pylist() == expected
            batches = vault.iter_batches("papers", filters=filters)
            assert [year for batch in batches for year in batch["year"]] == expected

    def test_is_not_found_by_a_path_that_is_not_shown(self, vault: TableVault) -> None:
        """That of another folder, or where names are shown, that of this one."""
        folder = vault.get_artifact_folder("papers", is_temp=False)

        assert len(vault.get_dataframe("papers", filters=[("page", "==", "/elsewhere/artifacts/a.txt")])) == 0
        assert len(vault.get_dataframe("papers", filters=[("page", "==", f"{folder}/")])) == 0
        wanted = [("page", "==", f"{folder}/a.txt")]
        assert len(vault.get_dataframe("papers", filters=wanted, full_artifact_path=False)) == 0
        assert vault.get_dataframe("papers", filters=[("more", "==", f"{folder}/x")]).empty

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"columns": "year"}, r"For one column, give \['year'\]"),
            ({"columns": ["year", "year"]}, "different column names"),
            ({"columns": [1]}, "different column names"),
            ({"columns": 1}, "not int"),
            ({"columns": ["yeer"]}, "no column 'yeer'. Did you mean 'year'"),
            ({"filters": [("yeer", "==", 1)]}, "no column 'yeer'. Did you mean 'year'"),
            ({"filters": [("year", "~", 1)]}, "unknown op"),
            ({"filters": [("year", "==", "x")]}, "Give a number"),
            ({"rows": -1}, "rows must be"),
            ({"rows": "1"}, "rows must be"),
        ],
    )
    def test_that_cannot_be_had_is_refused_by_all_who_read(
        self, vault: TableVault, fields: dict[str, Any], message: str
    ) -> None:
        for read in (vault.get_dataframe, vault.to_arrow, vault.iter_batches):
            with pytest.raises(TVArgumentError, match=message):
                read("papers", **fields)

    def test_comes_as_arrow(self, vault: TableVault) -> None:
        table = vault.to_arrow("papers", filters=[("year", "in", [2021, 2022])])

        folder = vault.get_artifact_folder("papers", is_temp=False)
        assert table.column("page").to_pylist() == [f"{folder}/b.txt", f"{folder}/a.txt"]
        assert table.column("kind").to_pylist() == ["x", None]
        assert table.schema.field("kind").type.ordered
        assert table.column("kind").combine_chunks().dictionary.to_pylist() == ["y", "x"]
        assert table.schema.field("more").metadata == {b"encoding": b"json"}
        assert table.schema.metadata[b"table_name"] == b"papers"
        assert table.schema.metadata[b"instance_id"].decode() == vault.get_table_instances("papers")[0]
        assert vault.to_arrow("papers", full_artifact_path=False)["page"].to_pylist() == [
            "a.txt",
            None,
            "b.txt",
            "a.txt",
        ]

    def test_comes_as_arrow_that_pandas_takes_for_the_same(self, vault: TableVault) -> None:
        columns = ["year", "page", "kind"]
        frame = vault.get_dataframe("papers", columns=columns)

        pd.testing.assert_frame_equal(vault.to_arrow("papers", columns=columns).to_pandas(), frame)

    def test_comes_in_batches(self, vault: TableVault) -> None:
        whole = vault.get_dataframe("papers")

        batches = list(vault.iter_batches("papers", batch_size=3))

        assert [len(batch) for batch in batches] == [3, 1]
        assert [batch.attrs for batch in batches] == [whole.attrs] * 2
        pd.testing.assert_frame_equal(pd.concat(batches), whole)
        assert list(vault.iter_batches("papers", filters=[("year", ">", 3000)])) == []
        assert [
            each["year"].tolist() for each in vault.iter_batches("papers", rows=3, columns=["year"], batch_size=2)
        ] == [
            [2019, 2020],
            [2021],
        ]

    @pytest.mark.parametrize("size", [0, -1, 2.0, True, "3"])
    def test_comes_in_no_batches_of_no_size(self, vault: TableVault, size: Any) -> None:
        with pytest.raises(TVArgumentError, match="batch_size must be a number of rows, 1 or more"):
            vault.iter_batches("papers", batch_size=size)

    def test_batches_are_of_one_instance_whatever_becomes_of_it(self, vault: TableVault) -> None:
        batches = vault.iter_batches("papers", batch_size=1, columns=["year"])
        vault.rename_table("texts", "papers")
        first = next(batches)
        vault.delete_table("texts")
        vault.prune(dry_run=False)

        assert [int(batch["year"].iloc[0]) for batch in (first, *batches)] == [2019, 2020, 2021, 2022]

    def test_a_damaged_file_is_told_by_all_who_read(self, vault: TableVault, vault_dir: Path) -> None:
        (path,) = vault_dir.glob("papers/*/table.parquet")
        path.chmod(0o600)
        raw = bytearray(path.read_bytes())
        raw[4:200] = bytes(196)
        path.write_bytes(raw)
        for read in (vault.get_dataframe, vault.to_arrow, lambda table: list(vault.iter_batches(table))):
            with pytest.raises(TVFileError, match=r"table\.parquet can't be read"):
                read("papers")


class TestHowMuchOfAFileIsRead:
    """By the bytes that are taken from it. A row group of the table here is a twentieth of its file."""

    @pytest.fixture
    def taken(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
        """Count the bytes of every read of a table's file."""
        taken = list[int]()

        class Counted(io.FileIO):
            def read(self, size: int | None = -1, /) -> bytes:
                found = super().read(size)
                assert found is not None
                taken.append(len(found))
                return found

        with monkeypatch.context() as patched:
            patched.setattr(pa, "OSFile", lambda path, *mode: pa.PythonFile(Counted(path), "r"))
            yield taken

    @pytest.fixture
    def vault(self, vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> TableVault:
        vault = TableVault(vault_dir, create=True)
        vault.create_table("noise")
        vault.create_instance("noise", external_edit=True)
        seeded = np.random.default_rng(1)
        frame = pd.DataFrame({"n": range(20_000), "text": [text.hex() for text in map(seeded.bytes, [150] * 20_000)]})
        monkeypatch.setattr(tables, "_ROW_GROUP_ROWS", 1_000)
        vault.write_instance(frame, "noise")
        return vault

    @pytest.fixture
    def size(self, vault: TableVault, vault_dir: Path) -> int:
        (path,) = vault_dir.glob("noise/*/table.parquet")
        return path.stat().st_size

    def test_is_all_for_the_whole_frame(self, vault: TableVault, size: int, taken: list[int]) -> None:
        assert len(vault.get_dataframe("noise")) == 20_000
        assert size * 0.9 < sum(taken) < size * 1.1

    @pytest.mark.parametrize(
        "read",
        [
            lambda vault: vault.get_dataframe("noise", rows=5),
            lambda vault: vault.get_dataframe("noise", rows=5, filters=[("n", ">=", 0)]),
            lambda vault: vault.to_arrow("noise", rows=5),
            lambda vault: next(vault.iter_batches("noise", batch_size=5)),
            lambda vault: next(vault.iter_batches("noise", rows=5)),
            lambda vault: next(vault.iter_batches("noise", batch_size=5, filters=[("n", ">=", 0)])),
        ],
        ids=["rows", "filtered rows", "rows in Arrow", "a batch", "rows in batches", "a filtered batch"],
    )
    def test_is_a_row_group_for_five_rows(
        self, vault: TableVault, size: int, taken: list[int], read: Callable[[TableVault], Any]
    ) -> None:
        assert len(read(vault)) == 5
        assert 0 < sum(taken) < size * 0.1

    def test_is_what_the_batches_hold_and_a_row_group_at_most_ahead(
        self, vault: TableVault, size: int, taken: list[int]
    ) -> None:
        for number, batch in enumerate(vault.iter_batches("noise", batch_size=2_000), start=1):
            assert len(batch) == 2_000
            assert sum(taken) < size * (number / 10 + 0.1)
        assert sum(taken) > size * 0.9

    def test_is_a_column_for_one_column(self, vault: TableVault, size: int, taken: list[int]) -> None:
        assert len(vault.get_dataframe("noise", columns=["n"])) == 20_000
        assert sum(taken) < size * 0.3


CODE = """
from pathlib import Path
from tests.tables import GATES

def rows():
    yield from range(6)

def page(n, folder):
    if n == 3:
        GATES["row"].enter()
    if n == 4:
        raise ConnectionError("nobody answers")
    Path(folder, f"{n}.txt").write_text("x")
    return f"{n}.txt"
"""


class TestAPartialFrame:
    """What an execution has done by now, of a running, a paused and a reverted process."""

    @pytest.fixture
    def vault(self, vault_dir: Path) -> TableVault:
        vault = TableVault(vault_dir, create=True)
        arguments = {"n": "<<self.n[index]>>", "folder": "~ARTIFACT_FOLDER~"}
        page = column("page", function="page", arguments=arguments, dtypes={"page": "artifact_string"})
        begin(vault, "pages", {"index": index("n"), "page": page}, code=CODE)
        return vault

    def assert_readable(self, vault: TableVault) -> None:
        whole = vault.get_dataframe("pages", "TEMP_base")
        assert whole["n"].tolist() == list(range(6))
        assert whole["page"].notna().tolist() == [True, True, True, False, False, False]
        for condition, expected in (
            (("page", "!=", None), [0, 1, 2]),
            (("page", "==", None), [3, 4, 5]),
            (("n", ">", 3), [4, 5]),
            (("page", "==", "1.txt"), [1]),
            (("page", "==", whole["page"][1]), [1]),
        ):
            part = vault.get_dataframe("pages", "TEMP_base", columns=["page"], filters=[condition])
            pd.testing.assert_frame_equal(part, whole.loc[expected, ["page"]])
            assert vault.to_arrow("pages", "TEMP_base", filters=[condition])["n"].to_pylist() == expected
        assert [len(batch) for batch in vault.iter_batches("pages", "TEMP_base", batch_size=4)] == [4, 2]
        with pytest.raises(TVArgumentError, match=r"no column 'pag'\. Did you mean 'page'"):
            vault.get_dataframe("pages", "TEMP_base", columns=["pag"])

    def test_of_a_running_one_then_of_a_paused_one(self, vault: TableVault) -> None:
        with gates("row") as (row,):
            running = Background(vault.execute_instance, "pages", process_id="p")
            row.await_arrival()
            wait_until(lambda: vault.get_dataframe("pages", "TEMP_base")["page"].notna().sum() == 3)
            self.assert_readable(vault)
            assert Path(vault.get_dataframe("pages", "TEMP_base")["page"][0]).read_text() == "x"
            row.open()
            with pytest.raises(ConnectionError):
                running.result()
        found = vault.get_dataframe("pages", "TEMP_base", filters=[("page", "!=", None)], full_artifact_path=False)
        assert found["page"].tolist() == [f"{n}.txt" for n in range(4)]

    def test_of_a_reverted_one(self, vault: TableVault) -> None:
        with gates("row") as (row,):
            row.open()
            with pytest.raises(ConnectionError):
                vault.execute_instance("pages")

        found = vault.get_dataframe("pages", "TEMP_base", columns=["n"], filters=[("page", "!=", None)])
        assert found["n"].tolist() == [0, 1, 2, 3]

    def test_is_read_while_rows_are_recorded_and_disturbs_nobody(self, vault_dir: Path) -> None:
        """It only ever grows, from one look to the next, until the instance is there."""
        vault = TableVault(vault_dir, create=True)
        code = "def rows(): yield from range(20_000)\ndef double(n): return 2 * n"
        double = column("twice", function="double", arguments={"n": "<<self.n[index]>>"}, n_threads=2)
        begin(vault, "numbers", {"index": index("n"), "twice": double}, code=code)
        running = Background(vault.execute_instance, "numbers", process_id="p")
        seen = [0]
        wait_until(lambda: bool(vault.get_active_processes() or vault.get_table_instances("numbers")))
        while True:
            try:
                frame = vault.get_dataframe("numbers", "TEMP_base", columns=["n", "twice"], filters=[("n", ">=", 10)])
            except TVArgumentError:  # not yet, or no more
                if vault.get_table_instances("numbers"):
                    break
                continue
            assert frame.index.tolist() == frame["n"].tolist() == list(range(10, 10 + len(frame)))
            done = frame[frame["twice"].notna()]
            assert (done["twice"] == 2 * done["n"]).all()
            seen.append(len(frame) + len(done))
        running.result()

        assert seen == sorted(seen)
        assert len(vault.get_dataframe("numbers", filters=[("twice", ">=", 39_000)])) == 500

    def test_has_no_cells_of_rows_that_it_has_not_read(self, vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The index grows, and another builder passes what was read of it, while the frame is being read."""
        vault = TableVault(vault_dir, create=True)
        code = """
        from tests.tables import GATES

        def rows():
            for n in range(4):
                if n == 2:
                    GATES["index"].enter()
                yield n

        def double(n):
            if n == 3:
                GATES["column"].enter()
            return 2 * n
        """
        double = column("twice", function="double", arguments={"n": "<<self.n[index]>>"})
        begin(vault, "numbers", {"index": index("n"), "twice": double}, code=code)
        with gates("index", "column") as (index_gate, column_gate):
            running = Background(vault.execute_instance, "numbers", process_id="p")
            index_gate.await_arrival()
            wait_until(lambda: len(vault.get_dataframe("numbers", "TEMP_base")) == 2)
            original = partial._columns

            def late(folder: Any, builder: Any, store: Any, *, rows: int | None) -> Any:
                if builder.name == "twice":
                    index_gate.open()
                    column_gate.await_arrival()
                    wait_until(lambda: vault.get_process("p").rows_done == 3)
                return original(folder, builder, store, rows=rows)

            monkeypatch.setattr(partial, "_columns", late)
            frame = vault.get_dataframe("numbers", "TEMP_base")
            column_gate.open()
            running.result()

        assert (frame["n"].tolist(), frame["twice"].tolist()) == ([0, 1], [0, 2])
