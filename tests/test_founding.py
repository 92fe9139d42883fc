"""A vault is founded as a whole or not at all, and never where it would do harm."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault, founding
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TVArgumentError, TVFileError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.locks import WorkerLock
from tablevault_like.storage import files
from tests import states, tasks
from tests.scenes import calls, copy_dir, library_dir, made, workers
from tests.workers import Action, Fault, Workers, wait_until

__all__ = ["calls", "copy_dir", "library_dir", "made", "workers"]


def found(vault_dir: Path, replace: bool = False) -> None:
    """Make a vault: the task of a worker."""
    TableVault(vault_dir, "ada", create=True, replace=replace)


class TestAVaultThatIsMade:
    @pytest.mark.parametrize("function", ["make_directory", "write_file", "sync_tree"])
    def test_is_not_there_when_the_disk_refuses(
        self, vault_dir: Path, function: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(path: Path, *_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files, function, failing)

        with pytest.raises(TVFileError, match=r"No vault can be created at .*: No space left on device"):
            found(vault_dir)

        assert list(vault_dir.parent.iterdir()) == []

    @pytest.mark.parametrize("point", ["before {}:fill", "after {}:fill"])
    def test_leaves_what_the_next_removes_if_its_worker_is_killed(
        self, vault_dir: Path, workers: Workers, point: str
    ) -> None:
        fault = Fault(point.format(founding.__name__), Action.KILL)

        assert workers.run(found, vault_dir, faults=[fault]).end() == -signal.SIGKILL

        (left,) = beside(vault_dir)
        assert re.fullmatch(r"\.vault\.[0-9a-f]{32}\.creating", left)
        found(vault_dir)
        assert beside(vault_dir) == {"vault"}
        states.assert_sound(vault_dir)

    def test_is_open_to_whom_the_umask_lets_in(self, vault_dir: Path) -> None:
        before = os.umask(0o027)
        try:
            found(vault_dir)
        finally:
            os.umask(before)
        assert stat.S_IMODE(vault_dir.stat().st_mode) == 0o750

    def test_never_takes_the_place_of_one_that_was_made_meanwhile(self, vault_dir: Path, workers: Workers) -> None:
        worker = workers.start(found, vault_dir, faults=[Fault(f"after {founding.__name__}:fill", Action.WAIT)])
        worker.arrive()
        found(vault_dir)
        TableVault(vault_dir).create_table("precious")

        worker.go()

        with pytest.raises(TVArgumentError, match=r"There is a vault at .* already"):
            worker.result()
        assert beside(vault_dir) == {"vault"}
        assert TableVault(vault_dir).get_table_instances() == ["precious"]
        states.assert_sound(vault_dir)


class TestAVaultThatIsReplaced:
    def test_is_not_in_use(self, copy_dir: Path, workers: Workers) -> None:
        worker = workers.start(tasks.execute, copy_dir, "words", "p", faults=[Fault("shout dog", Action.WAIT)])
        worker.arrive()

        with pytest.raises(
            TVProcessError, match=r"in use, so it was not replaced: process 'p' .*stop it first"
        ) as error:
            found(copy_dir, replace=True)

        assert error.value.process_id == "p"
        worker.go()
        worker.result()
        found(copy_dir, replace=True)
        assert TableVault(copy_dir).get_table_instances() == []

    def test_has_nobody_who_waits_for_a_lock_in_it(self, copy_dir: Path, workers: Workers) -> None:
        vault = TableVault(copy_dir, "ada")
        holder = workers.start(tasks.execute, copy_dir, "words", "z", faults=[Fault("shout dog", Action.WAIT)])
        holder.arrive()
        waiter = workers.start(tasks.delete_words, copy_dir, "waits")
        wait_until(lambda: "waits" in vault.get_active_processes())
        holder.kill()

        with pytest.raises(TVProcessError, match="process 'waits'"):
            found(copy_dir, replace=True)

        waiter.kill()
        found(copy_dir, replace=True)

    def test_may_have_been_left_by_its_workers(self, copy_dir: Path, workers: Workers) -> None:
        workers.run(tasks.execute, copy_dir, "words", "p", faults=[Fault("shout dog", Action.KILL)])

        found(copy_dir, replace=True)

        states.assert_sound(copy_dir)


def beside(vault_dir: Path) -> set[str]:
    return {path.name for path in vault_dir.parent.iterdir()} - {"calls"}


class TestUse:
    """``check_unused``: who counts as being at work in a vault."""

    def test_is_seen_before_it_is_recorded(self, copy_dir: Path) -> None:
        lock = WorkerLock(Layout(copy_dir).process("early").worker_lock)
        assert lock.acquire()
        with pytest.raises(TVProcessError, match=r"so it was not moved: process 'early'. Wait for it"):
            check_unused(copy_dir)
        lock.release()
        check_unused(copy_dir)

    def test_is_not_seen_in_what_lies_there(self, copy_dir: Path) -> None:
        processes = Layout(copy_dir).processes
        (processes / "notes.txt").write_text("mine")
        (processes / "dead").mkdir()
        check_unused(copy_dir)


def check_unused(vault_dir: Path) -> None:
    layout = Layout(vault_dir)
    with Catalog(layout.catalog).snapshot() as db:
        founding.check_unused(layout, db, wanted="moved")


INSIDE: dict[str, Callable[[Path], Path]] = {
    "in its folder": lambda vault_dir: vault_dir / "inner",
    "deep in it": lambda vault_dir: vault_dir / "metadata" / "a" / "b",
    "through a link": lambda vault_dir: linked(vault_dir) / "inner",
}


def linked(vault_dir: Path) -> Path:
    link = vault_dir.with_name("link")
    link.symlink_to(vault_dir)
    return link


@pytest.mark.parametrize("place", INSIDE.values(), ids=INSIDE)
def test_nothing_is_put_in_a_vault(vault_dir: Path, place: Callable[[Path], Path]) -> None:
    found(vault_dir)
    inside = place(vault_dir)

    with pytest.raises(TVArgumentError) as told:
        founding.check_outside(inside, what="archives")

    assert str(told.value) == (
        f"{inside} lies in the vault {vault_dir}, and a vault doesn't hold archives. Choose a place outside of it."
    )


def test_a_vault_is_not_inside_of_itself(vault_dir: Path) -> None:
    found(vault_dir)
    founding.check_outside(vault_dir)
    founding.check_outside(vault_dir.with_name("beside"))
