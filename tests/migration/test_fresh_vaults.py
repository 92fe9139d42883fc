"""Vaults that TableVault 0.1.1 makes now are brought over, and say what it says of them.

For this an interpreter is needed that has ``tablevault==0.1.1``. ``scripts/test`` makes an environment with it, and
names it in ``TABLEVAULT_01_PYTHON``; without that variable these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.migration import migrate
from tests.migration import make_vaults
from tests.states import assert_sound

VARIABLE = "TABLEVAULT_01_PYTHON"

READ = """
import json, sys
from tablevault.core import TableVault

vault = TableVault(sys.argv[1], "reader")
found = {}
for table in vault.get_table_instances():
    for instance_id in vault.get_table_instances(table, ""):
        frame = vault.get_dataframe(table, instance_id, full_artifact_path=False)[0]
        texts = frame.astype(object).where(frame.notna(), None)
        found[table + "/" + instance_id] = [
            {column: str(dtype) for column, dtype in frame.dtypes.items()},
            [[None if cell is None or cell == "" else str(cell) for cell in row] for row in texts.values.tolist()],
        ]
json.dump(found, sys.stdout)
"""

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test"


def test_the_variable_is_the_one_that_the_script_sets() -> None:
    assert f"export {VARIABLE}\n" in SCRIPT.read_text()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of vaults that 0.1.1 has just made."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([os.environ[VARIABLE], make_vaults.__file__, str(folder)], check=True, timeout=50)
    return folder


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"needs {VARIABLE}")
@pytest.mark.parametrize("make", make_vaults.VAULTS, ids=lambda make: make.__name__)
def test_it_is_brought_over_and_says_the_same(fresh: Path, tmp_path: Path, make: object) -> None:
    name = getattr(make, "__name__", "")
    migrate(fresh / name, tmp_path / "new")
    asked = subprocess.run(
        [os.environ[VARIABLE], "-c", READ, str(fresh / name)], check=True, capture_output=True, timeout=50
    )

    assert_sound(tmp_path / "new")
    vault = TableVault(tmp_path / "new")
    said = json.loads(asked.stdout)
    if name == "strange":  # under other names
        assert len(said) == 1
        return
    assert said.keys() == {f"{table}/{each}" for table in vault.get_table_instances() for each in _ids(vault, table)}
    for instance, (dtypes, rows) in said.items():
        table, _, instance_id = instance.partition("/")
        _compare(vault, table, instance_id, dtypes, rows)


def _ids(vault: TableVault, table: str) -> list[str]:
    return vault.get_table_instances(table)


def _compare(
    vault: TableVault, table: str, instance_id: str, dtypes: dict[str, str], rows: list[list[str | None]]
) -> None:
    frame = vault.get_dataframe(table, instance_id, full_artifact_path=False)
    found = {column: str(dtype) for column, dtype in frame.dtypes.items()}
    assert found == {column: dtype.replace("artifact_string", "string") for column, dtype in dtypes.items()}
    texts = frame.astype(object).where(frame.notna(), None)
    for row, wanted in zip(texts.to_numpy().tolist(), rows, strict=True):
        for column, cell, old in zip(dtypes, row, wanted, strict=True):
            if dtypes[column] == "artifact_string" and cell is None:
                continue  # its file is gone
            if old is None and cell in ("NA", "None"):
                continue  # 0.1 reads such text as missing
            assert (None if cell is None else str(cell)) == old, (table, instance_id, column)
