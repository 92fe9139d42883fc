"""How long rows take, by what earlier runs took."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.model import StepRecord
from tablevault_like.monitor import durations
from tablevault_like.storage import tables
from tests.tables import begin, column, index

CODE = "def rows():\n    yield from range(4)\n\ndef double(n):\n    return n * 2\n"
DOUBLE = column("double", function="double", arguments={"n": "<<self.n[index]>>"})


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    """Return a vault in which four numbers were doubled, in one thread."""
    vault = TableVault(vault_dir, "ada", create=True)
    begin(vault, "numbers", {"index": index("n"), "double": DOUBLE}, code=CODE)
    vault.execute_instance("numbers")
    return vault


def seconds(vault: TableVault, text: str) -> float | None:
    (made,) = vault.get_table_instances("numbers")
    if "TEMP_base" not in vault.get_table_instances("numbers", include_temp=True):
        vault.create_instance("numbers", origin_id=made)
    vault.create_builder_file("numbers", "double", text=text)
    return vault.plan("numbers", force_execute=True).builder("double").seconds


def test_the_seconds_of_rows_are_shared_by_threads(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "_seconds_a_row", lambda made, builder: 3.0)

    assert seconds(vault, DOUBLE) == 12
    assert seconds(vault, DOUBLE + "n_threads: 4\n") == 3
    # Another recipe, but the same builder.
    assert (
        seconds(vault, DOUBLE.replace("double\narguments", "rows\narguments").replace("[index]>>", "[index]>>!")) == 12
    )


def test_without_them_the_time_of_the_step_counts(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "_seconds_a_row", lambda made, builder: None)
    now = time.time()
    step = StepRecord("double", True, now, now + 10, 4, 2, 0, 0)
    monkeypatch.setattr(durations, "_lasted", lambda each: 10.0 if each.name == step.name else 1.0)

    assert seconds(vault, DOUBLE) == 10


def test_seconds_are_read_from_provenance(vault: TableVault) -> None:
    (instance,) = vault.get_table_instances("numbers")
    path = Path(vault.db_dir, "numbers", instance, "provenance", "double.parquet")
    path.chmod(0o600)
    frame = tables.read_table(path)
    taken = pd.DataFrame({"seconds": [1.0, 2.0, 9.0, None], "attempts": [1, 2, 0, 1]})
    known = frame[[name for name in ("input_hash", "code") if name in frame]]
    path.unlink()
    tables.write_table(path, pd.concat([known, taken], axis="columns").convert_dtypes())

    # A row that was reused took no time here, and of the last one none is on record.
    assert seconds(vault, DOUBLE) == 1.5 * 4
