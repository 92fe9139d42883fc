"""A run that starts anew under its id is killed wherever it changes something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.model import State
from tests import states, tasks
from tests.library import WORDS
from tests.operations.rerunning import ID, made_by, vault
from tests.workers import GROUND, Action, Fault, Workers

__all__ = ["vault"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_complete", [True, False], ids=["completed", "paused"])
@pytest.mark.parametrize("then", ["rerun", "auto"])
def test_wherever_a_rerun_is_killed_nothing_is_lost(
    vault: TableVault, copy_dir: Path, workers: Workers, is_complete: bool, then: str, is_full: bool
) -> None:
    """Kill it at its first call that changes a file or the catalog, at its second, ... to the last."""
    vault.execute_instance("words", process_id=ID, **({} if is_complete else {"until": "page"}))  # type: ignore[arg-type]
    original = Path(shutil.copytree(copy_dir, copy_dir.with_name("original")))
    known = vault.get_table_instances("words")
    number = 1 if is_full else 3
    while True:
        shutil.rmtree(copy_dir)
        shutil.copytree(original, copy_dir)
        worker = workers.run(
            tasks.execute_with, copy_dir, ID, {"existing": "rerun"}, faults=[Fault(GROUND, Action.KILL, number)]
        )
        if worker.end() == 0:
            break
        assert worker.end() == -9
        vault = TableVault(copy_dir, "ada")
        assert set(known) <= set(vault.get_table_instances("words"))

        vault.execute_instance("words", process_id=ID, existing=then)
        TableVault(copy_dir, restart=True)

        assert vault.get_process(ID).state is State.COMPLETED
        assert len(made_by(vault, ID)) == 1
        if is_complete:
            archived = [each for each in states.processes(copy_dir) if each.startswith(f"{ID}~")]
            assert sum(len(made_by(vault, each)) for each in archived) >= (then == "rerun")
        assert vault.get_dataframe("words")["shout"].tolist() == [word.upper() for word in WORDS]
        temporary = set(vault.get_table_instances("words", include_temp=True)) - set(vault.get_table_instances("words"))
        if then == "rerun":
            assert not temporary
            states.assert_sound(copy_dir)
        number += 1 if is_full else 41
    assert number > 41
