"""What was made in another vault is told of as if it had been made here, and is said to come from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.bundles.packing import Exported
from tests.monitor.counting import seen
from tests.tables import begin, builder, column, index, write_code

CODE = """
import pandas as pd
from pathlib import Path
from tablevault_like import Result

def rows():
    yield from ["ape", "bee", "cat"]

def shout(word):
    return Result(word.upper(), cost=0.25, tokens=7)

def count(frame):
    return pd.DataFrame({"count": range(len(frame))})

def fail(word):
    if word == "bee":
        raise ConnectionError("nobody answers")
    return word
"""
BUILDERS = {
    "index": index("word", primary_key="word"),
    "shout": column("loud", function="shout", arguments={"word": "<<self.word[index]>>"}),
    "count": builder(
        "ColumnBuilder",
        "count",
        python_function="count",
        return_type="dataframe",
        arguments={"frame": "<<self.{word}>>"},
    ),
}
FAIL = column("late", function="fail", arguments={"word": "<<self.word[index]>>"}, on_error="null")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ada's vault, in which the process ``first`` has made ``words``, and bob's.

    Bob's, ``taken``, has reused what it has imported of ``shout`` and ``count``.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    here = TableVault(folder / "here", "ada", create=True)
    begin(here, "words", BUILDERS, code=CODE)
    here.execute_instance("words", process_id="first")
    taken = TableVault(folder / "taken", "bob", create=True)
    begin(taken, "words", BUILDERS, code=CODE)
    for name in ("shout", "count"):
        taken.import_instance(here.export_instance("words", path=folder / f"{name}.tar.xz", builder=name))
    taken.execute_instance("words", process_id="second")
    return folder


@pytest.fixture
def here(kept: Path, tmp_path: Path) -> TableVault:
    """Return ada's vault."""
    return TableVault(shutil.copytree(kept / "here", tmp_path / "here"), "ada")


@pytest.fixture
def there(tmp_path: Path) -> TableVault:
    """Return a vault of bob's in which there is nothing."""
    return TableVault(tmp_path / "there", "bob", create=True)


def newest(vault: TableVault) -> str:
    return vault.get_table_instances("words")[-1]


Export = Callable[..., Exported]


@pytest.fixture
def export(here: TableVault, tmp_path: Path) -> Export:
    (tmp_path / "bundles").mkdir()
    return lambda name="", builder=None: here.export_instance("words", name, path=tmp_path / "bundles", builder=builder)


class TestAnInstance:
    def test_is_inspected_with_the_steps_that_made_it(
        self, here: TableVault, there: TableVault, export: Export
    ) -> None:
        there.import_instance(export())

        found, made = there.inspect("words", row="bee"), here.inspect("words", row="bee")

        assert found.steps == made.steps
        for row, other in zip(found.rows, made.rows, strict=True):
            assert (row.status, row.output, row.code) == (other.status, other.output, other.code)
            assert (row.attempts, row.seconds, row.cost) == (other.attempts, other.seconds, other.cost)
        assert found.facts["imported_from"] == "here"
        assert found.facts["made_by"] == "process first of ada"
        assert "imported_from" not in made.facts
        assert "here" in seen(found)

    def test_is_reported_on_with_what_it_took(self, here: TableVault, there: TableVault, export: Export) -> None:
        process_id = there.import_instance(export())

        text, made = there.report("words"), here.report("words")

        for line in ("- **Rows made:** 9", "- **Rows reused:** 0", "- **Cost:** 0.75", "- **Tokens:** 21"):
            assert line in text.splitlines()
            assert line in made.splitlines()
        assert "- **Process:** first (execute\\_instance, completed), in the vault here\n" in text
        assert f"process {process_id} of bob" in text
        assert text[text.index("## Steps") :] == made[made.index("## Steps") :]

    def test_has_cells_that_were_made_there(self, here: TableVault, there: TableVault, export: Export) -> None:
        there.import_instance(export())

        cell, made = there.why("words", "bee", "loud"), here.why("words", "bee", "loud")

        assert (cell.process_id, cell.author, cell.made_at) == (made.process_id, made.author, made.made_at)
        assert (cell.process_id, cell.author) == ("first", "ada")
        assert (cell.vault, made.vault) == ("here", None)
        assert (cell.attempts, cell.cost, cell.tokens) == (1, 0.25, 7)
        assert "process first of ada in the vault here" in seen(cell)

    def test_is_what_cells_are_followed_to(self, there: TableVault, export: Export) -> None:
        there.import_instance(export(), with_code=True)
        source = newest(there)
        there.create_instance("words", copy=True)
        there.execute_instance("words")

        for name in ("loud", "count"):
            cell = there.why("words", "bee", name)
            assert (cell.made_in, cell.process_id, cell.vault) == (f"words/{source}", "first", "here")
            assert cell.reused_through == (f"words/{newest(there)}",)

    def test_has_cells_that_were_reused_there(self, here: TableVault, there: TableVault, export: Export) -> None:
        first = newest(here)
        begin(here, "words", BUILDERS, origin_id=first)
        here.execute_instance("words", process_id="second")
        second = newest(here)
        there.import_instance(export(second))

        alone = there.why("words", "bee", "loud")

        assert (alone.made_in, alone.process_id) == (f"words/{first}", None)
        assert alone.reused_through == (f"words/{second}",)
        assert "isn't in this vault" in (alone.inputs_missing or "")
        assert [row.status for row in there.inspect("words", row="bee").rows] == ["done", "reused", "reused"]

        there.import_instance(export(first))
        together = there.why("words", "bee", "loud", second)

        assert (together.made_in, together.process_id, together.vault) == (f"words/{first}", "first", "here")
        assert (together.inputs, together.cost) == ({"word": "bee"}, 0.25)

    def test_keeps_its_failures(self, here: TableVault, there: TableVault, export: Export) -> None:
        begin(here, "words", {**BUILDERS, "fail": FAIL})
        here.execute_instance("words", process_id="second")
        there.import_instance(export())

        assert "- **Rows failed:** 1\n" in there.report("words")
        assert "| fail | 1 | skipped | ConnectionError: nobody answers |" in there.report("words")
        assert (
            there.report("words")[there.report("words").index("## Steps") :]
            == (here.report("words")[here.report("words").index("## Steps") :])
        )

    def test_of_a_process_that_nothing_is_known_of(
        self, there: TableVault, export: Export, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tablevault_like.bundles.packing._Packing._process", lambda packing, process_id: None)
        there.import_instance(export())

        found, cell = there.inspect("words"), there.why("words", "bee", "loud")

        assert (found.facts["imported_from"], found.steps) == ("here", ())
        assert (cell.value, cell.vault, cell.process_id, cell.author) == ("BEE", "here", None, "ada")
        assert "in the vault here" in there.report("words")

    @pytest.mark.parametrize(
        "told",
        [
            {"process_id": 7, "steps": "x", "author": [], "ended_at": "now"},
            {"process_id": "p", "steps": [{"name": 1}, 5], "started_at": float("inf")},
            {"process_id": "p", "steps": [{"name": "shout", "rows_done": "three", "cost": None}]},
            {},
        ],
    )
    def test_whose_bundle_tells_nonsense_of_its_process(
        self, there: TableVault, export: Export, monkeypatch: pytest.MonkeyPatch, told: dict[str, object]
    ) -> None:
        monkeypatch.setattr("tablevault_like.bundles.packing._Packing._process", lambda packing, process_id: told)
        there.import_instance(export())

        assert there.inspect("words", row=0).steps == ()
        assert there.why("words", "bee", "loud").value == "BEE"
        assert "in the vault here" in there.report("words")


class TestResults:
    @pytest.fixture
    def taken(self, kept: Path, tmp_path: Path) -> TableVault:
        """Return the vault that has reused what was imported."""
        return TableVault(shutil.copytree(kept / "taken", tmp_path / "taken"), "bob")

    @pytest.mark.parametrize("name", ["loud", "count"])
    def test_are_told_as_made_there(self, here: TableVault, taken: TableVault, name: str) -> None:
        cell = taken.why("words", "bee", name)

        assert cell.made_in == f"words/{newest(here)}"
        assert cell.reused_through == (f"words/{newest(taken)}",)
        assert (cell.process_id, cell.author, cell.vault) == ("first", "ada", "here")
        assert cell.made_at == here.get_process("first").ended_at
        assert cell.inputs == here.why("words", "bee", name).inputs if name == "loud" else cell.inputs is not None
        assert cell.inputs_missing is None

    def test_are_told_of_in_a_report(self, taken: TableVault) -> None:
        text = taken.report("words")

        assert "- **Rows reused:** 6\n" in text
        assert "- 3 rows of shout: imported from the vault here, made by process first of ada\n" in text
        assert "- 3 rows of count: imported from the vault here, made by process first of ada\n" in text

    def test_are_followed_to_through_instances_that_reused_them(self, taken: TableVault) -> None:
        through = newest(taken)
        taken.create_instance("words", copy=True)
        taken.execute_instance("words")

        cell = taken.why("words", "bee", "loud")

        assert (cell.process_id, cell.vault) == ("first", "here")
        assert cell.reused_through == (f"words/{newest(taken)}", f"words/{through}")

    def test_come_after_the_origin(self, here: TableVault, there: TableVault, export: Export) -> None:
        begin(there, "words", {**BUILDERS, "index": index("word", primary_key="word", function="one")}, code=ONE)
        there.execute_instance("words", process_id="own")
        own = newest(there)
        write_code(there, CODE)
        begin(there, "words", BUILDERS, origin_id=own)
        there.import_instance(export(builder="shout"))
        there.execute_instance("words")

        ape, bee = (there.why("words", word, "loud") for word in ("ape", "bee"))

        assert (ape.process_id, ape.made_in, ape.vault) == ("own", f"words/{own}", None)
        assert (bee.process_id, bee.made_in, bee.vault) == ("first", f"words/{newest(here)}", "here")


ONE = CODE + "\n\ndef one():\n    yield 'ape'\n"
