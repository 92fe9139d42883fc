"""What people see of what the monitor tells: whatever a function was called with, and times as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.monitor.words import moment
from tests.monitor.counting import seen
from tests.tables import begin, builder, column, index

CODE = """
import pandas as pd

def rows():
    yield from [("ape", "", None), ("bee", "x", 1.5)]

def copy(note):
    return note

def count(frame):
    return pd.DataFrame({"count": [len(frame)] * len(frame)})

def total(numbers):
    return len(numbers)
"""
BUILDERS = {
    "index": index("name", "note", "number", primary_key="name", dtypes={"number": "Float64"}),
    "copy": column("copied", function="copy", arguments={"note": "<<self.note[index]>>"}),
    "count": builder(
        "ColumnBuilder",
        "count",
        python_function="count",
        return_type="dataframe",
        arguments={"frame": "<<self.{name, number}>>"},
    ),
    "total": column("total", function="total", arguments={"numbers": [1, None, "<<self.number[index]>>"]}),
}


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    vault = TableVault(vault_dir, "ada", create=True)
    begin(vault, "beasts", BUILDERS, code=CODE)
    vault.execute_instance("beasts", process_id="p")
    return vault


def facts(text: str) -> dict[str, str]:
    """Return the lines of a text that have a name and a value."""
    parts = (line.split("  ", 1) for line in text.splitlines())
    return {name: rest[0].strip() for name, *rest in parts if rest}


def test_a_frame_that_a_function_was_called_with_is_shown(vault: TableVault) -> None:
    text = seen(vault.why("beasts", "ape", "count"))

    assert "name  number" in text
    assert "ape    <NA>" in text
    assert "bee     1.5" in text


def test_a_list_that_a_function_was_called_with_is_shown(vault: TableVault) -> None:
    assert facts(seen(vault.why("beasts", "ape", "total")))["numbers"] == "[1, null, null]"


def test_an_empty_text_is_told_from_none_at_all(vault: TableVault) -> None:
    why = facts(seen(vault.why("beasts", "ape", "copied")))
    row = facts(seen(vault.inspect("beasts", row="ape", builder="copy")))

    assert (why["value"], why["note"]) == ("''", "''")
    assert (row["input note"], row["output copied"]) == ("''", "''")


def test_missing_inputs_are_shown(vault: TableVault, vault_dir: Path) -> None:
    begin(vault, "more", {**BUILDERS, "copy": column("copied", function="copy", arguments={"note": None})})
    vault.execute_instance("more")

    assert facts(seen(vault.why("more", "ape", "copied")))["note"] == "<NA>"


def test_nothing_is_cut_off_on_a_narrow_terminal(vault: TableVault) -> None:
    begin(vault, "beasts", BUILDERS, origin_id=vault.get_table_instances("beasts")[0])
    (source,) = vault.get_table_instances("beasts")
    vault.execute_instance("beasts")

    begin(vault, "beasts", BUILDERS, origin_id=source)

    for record in (vault.inspect("beasts", row=0), vault.why("beasts", 0, "copied"), vault.plan("beasts")):
        text = seen(record, width=40)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 40
        assert source in "".join(text.split())
    inspected = vault.inspect("beasts")
    assert inspected.facts["manifest_sha256"] in "".join(seen(inspected, width=40).split())


def test_sources_stand_apart_from_steps(vault: TableVault) -> None:
    begin(vault, "beasts", BUILDERS, origin_id=vault.get_table_instances("beasts")[0])
    vault.execute_instance("beasts")

    assert "\n\nmade from  beasts/" in "\n".join(map(str.rstrip, seen(vault.inspect("beasts")).splitlines()))


def test_times_are_dates_and_not_seconds(vault: TableVault) -> None:
    process, instance = vault.inspect(process_id="p"), vault.inspect("beasts")
    assert process.process is not None

    assert facts(seen(instance))["materialized_at"] == moment(instance.facts["materialized_at"])
    assert facts(seen(instance))["created_at"] == moment(instance.facts["created_at"])
    paused = vault.inspect(vault.create_table("others"))
    assert facts(seen(paused))["ended_at"] == moment(paused.facts["ended_at"])
    assert isinstance(paused.facts["ended_at"], float)
