"""Two instances that are compared, through ``TableVault``: which ones, by which key, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import tables
from tablevault_like.typing import Column, DtypeChange
from tests import states
from tests.tables import begin, build, column, index, write

CODE = """
def rows():
    yield from [(1, "a"), (2, "b"), (3, "c")]


def shout(text, mark):
    return text.upper() + mark
"""
INDEX = index("id", "text", primary_key=["id"])


def shout(mark: str, **fields: object) -> str:
    return column("loud", function="shout", arguments={"text": "<<self.text[index]>>", "mark": mark}, **fields)


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, "ada", create=True)


def written(vault: TableVault, *frames: pd.DataFrame, table: str = "t") -> list[str]:
    return [write(vault, table, frame) for frame in frames]


def cells(found: Any) -> list[tuple[Any, ...]]:
    return [tuple(each) for each in found.cells.itertuples(index=False)]


class TestTwoInstances:
    def test_that_are_built_are_compared_by_their_primary_key(self, vault: TableVault) -> None:
        build(vault, "words", {"index": INDEX, "loud": shout("!")}, code=CODE)
        code = CODE.replace('(1, "a"), (2, "b")', '(4, "d"), (2, "bb")').replace("+ mark", "+ mark * 2")
        build(vault, "words", {"index": INDEX, "loud": shout("?", n_threads=2)}, code=code)
        old, new = vault.get_table_instances("words")

        found = vault.diff("words")

        assert found
        assert (found.table_name, found.old, found.new) == ("words", old, new)
        assert not found.schema
        assert (found.rows.key, found.rows.note) == (("id",), "")
        assert (found.rows.added.tolist(), found.rows.removed.tolist()) == ([4], [1])
        assert (found.rows.changed.tolist(), found.rows.changed_cells) == ([2, 3], {"text": 1, "loud": 2})
        assert cells(found) == [
            (2, "text", "b", "bb"),
            (2, "loud", "B!", "BB??"),
            (3, "loud", "C!", "C??"),
        ]
        assert found.builders == (
            'builder \'loud\': arguments.mark is now "?", it was "!"',
            "builder 'loud': n_threads is new: 2",
        )
        assert "--- a/work.py\n+++ b/work.py\n" in found.code
        assert "-    return text.upper() + mark\n+    return text.upper() + mark * 2\n" in found.code
        assert found.summary == ("1 row added, 1 row removed, 2 rows changed (3 cells), other builders, other code")

    def test_that_say_the_same_do_not_differ(self, vault: TableVault) -> None:
        for _ in range(2):
            build(vault, "words", {"index": INDEX, "loud": shout("!")}, code=CODE)

        found = vault.diff("words")

        assert not found
        assert found.summary == "no difference"
        assert found.to_frame().empty
        assert list(found.cells.columns) == ["key", "column", "old", "new"]

    def test_of_frames_are_compared_by_position_and_that_is_said(self, vault: TableVault) -> None:
        written(vault, pd.DataFrame({"n": [1, 2, 3]}), pd.DataFrame({"n": [1, 5]}))

        found = vault.diff("t")

        assert found.rows.key == ()
        assert found.rows.note == "rows are told by position, as no builder names a primary key"
        assert cells(found) == [(1, "n", 2, 5)]
        assert (found.rows.removed.tolist(), found.rows.added.tolist()) == ([2], [])
        assert (found.rows.old_count, found.rows.new_count) == (3, 2)

    def test_are_compared_by_another_key_if_one_is_given(self, vault: TableVault) -> None:
        written(vault, pd.DataFrame({"k": ["a", "b"], "n": [1, 2]}), pd.DataFrame({"k": ["b", "a"], "n": [2, 3]}))

        found = vault.diff("t", key=["k"])

        assert cells(found) == [("a", "n", 1, 3)]
        assert found.rows.is_reordered
        assert found.rows.key == ("k",)

    def test_have_keys_of_several_columns_as_tuples(self, vault: TableVault) -> None:
        frame = pd.DataFrame({"a": [1, 1], "b": ["x", "y"], "n": [1, 2]})
        written(vault, frame, frame.assign(n=[1, 3]), frame.assign(b=["x", "z"]))
        first, second, third = vault.get_table_instances("t")

        assert cells(vault.diff("t", first, second, key=["a", "b"])) == [((1, "y"), "n", 2, 3)]
        found = vault.diff("t", first, third, key=["a", "b"])
        assert (found.rows.added.tolist(), found.rows.removed.tolist()) == ([(1, "z")], [(1, "y")])

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            (["n"], "The key 'n' doesn't tell rows apart: row 1 of the new instance has the value of another row"),
            (["m"], "Not both instances have a column 'm'. Known: n."),
            ("n", r"key must be a list of column names, not 'n'. For one column, give \['n'\]"),
            ([], "key must be a list of column names, each of them once"),
        ],
    )
    def test_of_no_such_key_is_refused(self, vault: TableVault, key: Any, said: str) -> None:
        written(vault, pd.DataFrame({"n": [1, 2]}), pd.DataFrame({"n": [1, 1]}))

        with pytest.raises(TVArgumentError, match=said):
            vault.diff("t", key=key)

    def test_with_other_primary_keys_are_compared_by_position(self, vault: TableVault) -> None:
        build(vault, "words", {"index": INDEX}, code=CODE)
        build(vault, "words", {"index": index("id", "text", primary_key=["text"])})

        found = vault.diff("words")

        assert found.rows.note == "rows are told by position, as the primary key was 'id' and is now 'text'"
        assert len(found.builders) == 1

    def test_without_the_key_are_compared_by_position(self, vault: TableVault) -> None:
        build(vault, "words", {"index": INDEX}, code=CODE)
        write(vault, "words", pd.DataFrame({"text": ["a"]}))

        found = vault.diff("words")

        assert found.rows.note.endswith("has no column 'id' of the primary key")
        assert found.builders == ("builder 'words_index' was removed",)
        assert found.schema.removed == (Column("id", "Int64"),)


class TestColumns:
    def test_that_were_added_removed_and_changed_are_told(self, vault: TableVault) -> None:
        old = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.0, 2.0]})
        new = pd.DataFrame({"c": [1, 2], "a": pd.array([1, 2], "Int64"), "d": [True, False]})
        written(vault, old, new)

        found = vault.diff("t")

        assert [each.name for each in found.schema.added] == ["d"]
        assert [each.name for each in found.schema.removed] == ["b"]
        assert found.schema.changed == (DtypeChange("c", "float64", "int64"), DtypeChange("a", "int64", "Int64"))
        assert found.schema.is_reordered
        assert len(found.cells) == 0
        assert not found.rows
        assert found

    def test_may_be_chosen(self, vault: TableVault) -> None:
        written(vault, pd.DataFrame({"a": [1], "b": [1]}), pd.DataFrame({"a": [2], "b": [2], "c": [1]}))

        assert cells(vault.diff("t", columns=["a"])) == [(0, "a", 1, 2)]
        assert not vault.diff("t", columns=["a"]).schema
        assert vault.diff("t", columns=["c"]).schema.added
        with pytest.raises(TVArgumentError, match="Neither instance has a column 'x'"):
            vault.diff("t", columns=["x"])

    def test_of_any_values_are_compared(self, vault: TableVault) -> None:
        values = [[1, [2]], {"a": np.array([1.0, np.nan])}, (1, "x"), None, float("nan"), b"x"]
        old = pd.DataFrame({"o": pd.Series(values, dtype=object)})
        new = pd.DataFrame({"o": pd.Series([[1, [3]], *values[1:]], dtype=object)})
        written(vault, old, new)

        found = vault.diff("t")

        assert cells(found) == [(0, "o", [1, [2]], [1, [3]])]

    def test_without_any_rows_are_compared(self, vault: TableVault) -> None:
        written(vault, pd.DataFrame({"n": [1]}).head(0), pd.DataFrame({"n": [1]}))

        assert vault.diff("t").rows.added.tolist() == [0]


class TestArtifacts:
    CODE = """
    from pathlib import Path

    def rows():
        yield from ["a", "b"]

    def page(folder, name, text, prefix):
        Path(folder, prefix + name).write_text(text + name)
        return prefix + name
    """

    def build(self, vault: TableVault, text: str, prefix: str) -> None:
        arguments = {"folder": "~ARTIFACT_FOLDER~", "name": "<<self.name[index]>>", "text": text, "prefix": prefix}
        page = column("page", function="page", arguments=arguments, dtypes={"page": "artifact_string"})
        build(vault, "pages", {"index": index("name"), "page": page}, code=self.CODE)

    def test_are_equal_by_their_contents(self, vault: TableVault) -> None:
        self.build(vault, "text of ", "")
        self.build(vault, "text of ", "new_")

        assert len(vault.diff("pages").cells) == 0

    def test_of_other_contents_differ_under_the_same_name(self, vault: TableVault) -> None:
        self.build(vault, "text of ", "")
        self.build(vault, "more of ", "")

        assert cells(vault.diff("pages")) == [(0, "page", "a", "a"), (1, "page", "b", "b")]

    def test_of_a_damaged_manifest_are_not_compared(self, vault: TableVault) -> None:
        for text in ("a", "b"):
            self.build(vault, text, "")
        manifest = Path(vault.db_dir, "pages", vault.get_table_instances("pages")[0], "manifest.json")
        manifest.chmod(0o644)
        manifest.write_text("[]")

        with pytest.raises(TVFileError, match=r"manifest\.json is damaged .*artifacts can't be compared"):
            vault.diff("pages")


class TestWhichOnes:
    @pytest.fixture
    def ids(self, vault: TableVault) -> list[str]:
        return [write(vault, "t", pd.DataFrame({"n": [n]}), version) for n, version in enumerate(["", "", "short", ""])]

    def test_are_the_two_newest(self, vault: TableVault, ids: list[str]) -> None:
        found = vault.diff("t")

        assert (found.old, found.new) == (ids[2], ids[3])

    @pytest.mark.parametrize(
        ("a", "b", "wanted"),
        [
            (0, None, (0, 3)),
            (None, 1, (0, 1)),
            (1, 0, (1, 0)),
            ("short", "base", (2, 3)),
            ("base", None, (3, 3)),
        ],
    )
    def test_may_be_ids_and_versions(
        self, vault: TableVault, ids: list[str], a: Any, b: Any, wanted: tuple[int, int]
    ) -> None:
        named = [ids[each] if isinstance(each, int) else each or "" for each in (a, b)]

        found = vault.diff("t", *named)

        assert (found.old, found.new) == (ids[wanted[0]], ids[wanted[1]])

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (("long",), "Did you mean|Known"),
            (("TEMP_base",), "no instance 'TEMP_base'"),
            (("base_1_00000000-0000-0000-0000-000000000000",), "has no instance"),
        ],
    )
    def test_that_are_not_there_are_told(
        self, vault: TableVault, ids: list[str], names: tuple[str, ...], said: str
    ) -> None:
        with pytest.raises(TVArgumentError, match=said):
            vault.diff("t", *names)

    def test_need_to_be_two(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="There is no table 't'"):
            vault.diff("t")
        vault.create_table("t")
        with pytest.raises(TVArgumentError, match="has no materialized instances, so there is nothing to compare"):
            vault.diff("t")
        only = write(vault, "t", pd.DataFrame({"n": [1]}))
        with pytest.raises(TVArgumentError, match="has 1 materialized instance, so there is nothing to compare"):
            vault.diff("t")
        with pytest.raises(TVArgumentError, match="There is no instance of 't' before"):
            vault.diff("t", b=only)
        assert not vault.diff("t", only, only)

    def test_may_be_an_execution_that_is_paused(self, vault: TableVault) -> None:
        build(vault, "words", {"index": INDEX, "loud": shout("!")}, code=CODE)
        (old,) = vault.get_table_instances("words")
        code = CODE.replace("    return", "    if text == 'b':\n        raise ConnectionError\n    return")
        begin(vault, "words", {"index": INDEX, "loud": shout("?")}, code=code, origin_id=old)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        found = vault.diff("words", b="TEMP_base")

        assert (found.old, found.new) == (old, "TEMP_base")
        assert (1, "loud", "A!", "A?") in cells(found)
        assert found.builders == ('builder \'loud\': arguments.mark is now "?", it was "!"',)
        assert "+        raise ConnectionError\n" in found.code

    def test_may_be_one_that_has_not_begun(self, vault: TableVault) -> None:
        build(vault, "words", {"index": INDEX, "loud": shout("!")}, code=CODE)
        vault.create_instance("words", copy=True, builders={"loud": shout("?")})

        found = vault.diff("words", b="TEMP_base")

        assert found.rows.note == "TEMP_base has no frame yet, so columns, rows and cells aren't compared"
        assert (len(found.cells), len(found.builders), found.code) == (0, 1, "")
        assert not found.rows

    def test_may_be_of_a_table_that_was_renamed(self, vault: TableVault) -> None:
        for mark in ("!", "?"):
            build(vault, "words", {"index": INDEX, "loud": shout(mark)}, code=CODE)
        vault.rename_table("terms", "words")

        assert vault.diff("terms").rows.key == ("id",)


def test_inputs_are_compared(vault: TableVault) -> None:
    frame = pd.DataFrame({"n": [1]})
    old, new = written(vault, frame, frame, table="sources")
    papers = [write(vault, "papers", frame, dependencies=[("sources", each)]) for each in (old, new)]

    found = vault.diff("papers", *papers)

    assert found.inputs == (f"sources is now {new}, it was {old}",)
    assert found


def test_a_frame_tells_all_of_it(vault: TableVault) -> None:
    build(vault, "words", {"index": INDEX, "loud": shout("!")}, code=CODE)
    code = CODE.replace('(1, "a")', '(4, "d")')
    build(vault, "words", {"index": INDEX, "loud": shout("?")}, code=code)

    frame = vault.diff("words").to_frame()

    assert frame.columns.tolist() == ["what", "change", "key", "column", "old", "new"]
    assert frame["what"].drop_duplicates().tolist() == ["row", "cell", "builder", "code"]
    assert frame.loc[frame["what"] == "row", ["change", "key"]].to_numpy().tolist() == [["added", 4], ["removed", 1]]
    assert frame.loc[frame["what"] == "cell", "new"].tolist() == ["B?", "C?"]


def test_runs_no_code_of_the_vault(vault: TableVault, tmp_path: Path) -> None:
    for mark in ("!", "?"):
        build(vault, "words", {"index": INDEX, "loud": shout(mark)}, code=CODE)
    marker = tmp_path / "ran"
    vault.create_code_module("work", text=f"open({str(marker)!r}, 'w').close()\n" + CODE)
    vault.create_instance("words", copy=True)

    vault.diff("words")
    vault.diff("words", b="TEMP_base")

    assert not marker.exists()


def test_looks_again_where_a_table_is_renamed_meanwhile(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = written(vault, pd.DataFrame({"n": [1]}), pd.DataFrame({"n": [2]}))
    read, opened = tables.read_table, list[Path]()

    def late(path: Path, **fields: Any) -> pd.DataFrame:
        opened.append(path)
        if len(opened) == 1:
            vault.rename_table("renamed", "t")
        found: pd.DataFrame = read(path, **fields)
        return found

    monkeypatch.setattr(tables, "read_table", late)

    assert cells(vault.diff("t", old, new)) == [(0, "n", 1, 2)]


def test_changes_nothing(vault: TableVault) -> None:
    written(vault, pd.DataFrame({"n": [1]}), pd.DataFrame({"n": [2]}))
    before = states.state(Path(vault.db_dir))

    vault.diff("t")

    assert states.differences(states.state(Path(vault.db_dir)), before) == []
