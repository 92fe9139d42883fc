"""An id that is used again: nothing that an earlier process of that id has left behind is taken for the new one's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import State, TableVault
from tests import states, tasks
from tests.scenes import Calls
from tests.tables import begin, column, index, write_code
from tests.workers import Action, Fault, Workers

ID = "nightly"
SWEEP = Fault("before tablevault_like.process.endings:Endings.sweep", Action.KILL)
CODE = """
import pandas as pd

from tests.workers import note_call


def keys():
    note_call("keys")
    return pd.DataFrame({"key": [1, 2, 3]})


def check(key):
    note_call(f"check {key}")
    if key == 2:
        raise ConnectionError("nobody answers")
    return key
"""
MENDED = CODE.replace("[1, 2, 3]", "[4, 5]")


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    made = TableVault(tmp_path / "vault", "ada", create=True)
    check = column("checked", function="check", arguments={"key": "<<self.key[index]>>"})
    begin(made, "numbers", {"index": index("key", function="keys", return_type="dataframe"), "check": check}, code=CODE)
    return made


def fail(vault: TableVault) -> None:
    with pytest.raises(ConnectionError):
        vault.execute_instance("numbers", process_id=ID)


def stop(vault: TableVault, workers: Workers) -> None:
    """Revert the process by a worker that is killed before it has removed what is left of it."""
    assert workers.run(tasks.stop, Path(vault.db_dir), ID, faults=[SWEEP]).end() == -9


def rerun(vault: TableVault, workers: Workers) -> None:
    """The same, by one that was about to make it anew."""
    arguments = (Path(vault.db_dir), ID, {"existing": "rerun"}, "numbers")
    assert workers.run(tasks.execute_with, *arguments, faults=[SWEEP]).end() == -9


@pytest.mark.parametrize("end", [stop, rerun])
@pytest.mark.parametrize("existing", ["auto", "rerun"])
def test_frames_that_a_killed_worker_has_left_are_made_anew(
    vault: TableVault, calls: Calls, workers: Workers, end: Callable[[TableVault, Workers], None], existing: str
) -> None:
    fail(vault)
    end(vault, workers)
    assert vault.get_process(ID).state is State.REVERTED
    write_code(vault, MENDED)

    vault.execute_instance("numbers", process_id=ID, existing=existing)

    assert vault.get_dataframe("numbers")["key"].tolist() == [4, 5]
    assert calls()["keys"] == 2
    states.assert_sound(Path(vault.db_dir))
