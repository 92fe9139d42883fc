"""A pruning of instances that is interrupted: all of it happens, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError
from tests import states, tasks
from tests.operations.test_pruning import PRUNE, filled, going, there
from tests.workers import Action, Fault, Workers


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, "ada", create=True, lock_timeout=0.3)


POINTS = [f"{when} {PRUNE}.{method}" for when in ("before", "after") for method in ("execute", "publish")]


class TestAnInterruptedPruning:
    @pytest.fixture
    def made(self, vault: TableVault) -> list[str]:
        made = filled(vault, 3)
        vault.create_table("drafts")
        vault.delete_table("drafts")
        return made

    @pytest.mark.parametrize("point", POINTS)
    def test_is_reverted_where_nobody_named_it(
        self, vault: TableVault, made: list[str], workers: Workers, point: str
    ) -> None:
        before = states.state(Path(vault.db_dir))
        workers.run(tasks.prune_instances, Path(vault.db_dir), 1, "", faults=[Fault(point, Action.FAIL)])

        assert states.differences(states.state(Path(vault.db_dir)), before) == []
        assert there(vault) == made

    @pytest.mark.parametrize("point", POINTS)
    def test_is_continued_after_a_kill(self, vault: TableVault, made: list[str], workers: Workers, point: str) -> None:
        workers.run(tasks.prune_instances, Path(vault.db_dir), 1, "p", faults=[Fault(point, Action.KILL)])
        assert there(vault) == made
        filled(vault, 1)

        found = vault.prune(1, dry_run=False, process_id="p")

        assert set(going(found)) == {*made[:2], None}
        assert there(vault) == [made[2], vault.get_table_instances("stories")[-1]]
        states.assert_sound(Path(vault.db_dir))
        assert vault.prune(1, dry_run=False, process_id="p") == vault.prune(1, dry_run=False, process_id="p")

    @pytest.mark.parametrize("point", POINTS)
    def test_gives_all_back_when_it_is_stopped(
        self, vault: TableVault, made: list[str], workers: Workers, point: str
    ) -> None:
        before = states.state(Path(vault.db_dir))
        workers.run(tasks.prune_instances, Path(vault.db_dir), 1, "p", faults=[Fault(point, Action.KILL)])

        vault.stop_process("p")

        assert states.differences(states.state(Path(vault.db_dir)), before) == []

    @pytest.mark.parametrize("name", ["Endings.finish", "Endings.sweep"])
    def test_has_pruned_if_it_was_killed_after_its_commit(
        self, vault: TableVault, made: list[str], workers: Workers, name: str
    ) -> None:
        point = f"before tablevault_like.process.endings:{name}"
        workers.run(tasks.prune_instances, Path(vault.db_dir), 1, "p", faults=[Fault(point, Action.KILL)])
        assert vault.get_table_instances("stories") == [made[2]]

        restarted = TableVault(vault.db_dir, "ada", restart=True)
        restarted.prune(dry_run=False)

        assert there(vault) == [made[2]]
        assert vault.get_trash() == []
        states.assert_sound(Path(vault.db_dir))

    def test_with_other_arguments_is_refused(self, vault: TableVault, made: list[str], workers: Workers) -> None:
        fault = Fault(f"after {PRUNE}.execute", Action.KILL)
        workers.run(tasks.prune_instances, Path(vault.db_dir), 1, "p", faults=[fault])

        with pytest.raises(TVArgumentError, match="keep_newest: 1 then, 2 now"):
            vault.prune(2, dry_run=False, process_id="p")
