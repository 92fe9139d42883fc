from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.model import State
from tests import states, tasks
from tests.operations.code_sources import tree, write, write_sources
from tests.workers import GROUND, Action, Fault, Trouble, Workers


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, "ada", create=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "sources")


@pytest.fixture
def changed(vault: TableVault, sources: Path) -> Path:
    """Let a package be there, and return another one that shares some of its files and lacks others."""
    vault.create_code_module(copy_dir=sources / "pipeline")
    for name in ("late.py", "words.txt", "steps/shout.py", ".hidden", "__pycache__/clean.pyc"):
        (sources / "pipeline" / name).unlink()
    files = {"clean.py": "x = 1", "more/__init__.py": "", "more/deep.py": "", "other.py": ""}
    return write(sources / "pipeline", files)


@pytest.mark.parametrize("process_id", ["nightly", ""], ids=["named", "unnamed"])
@pytest.mark.parametrize("action", [Action.KILL, Action.FAIL], ids=lambda action: action.name)
@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_what_is_interrupted_is_undone_or_finished(
    workers: Workers, vault: TableVault, vault_dir: Path, changed: Path, process_id: str, action: Action, what: str
) -> None:
    code = vault_dir / "code_functions"
    ends = tree(code), {f"pipeline/{name}": text for name, text in tree(changed).items()} if what == "replaced" else {}
    kept = vault_dir.with_name("kept")
    shutil.copytree(vault_dir, kept)
    seen = set()
    for nth in range(1, 400, 7):
        shutil.rmtree(vault_dir)
        shutil.copytree(kept, vault_dir)
        task = (tasks.write_package, changed) if what == "replaced" else (tasks.delete_module, "pipeline")
        worker = workers.start(task[0], vault_dir, task[1], process_id, faults=[Fault(GROUND, action, nth)])
        try:
            worker.result()
        except (Trouble, TVFileError):
            pass
        else:
            break
        again = TableVault(vault_dir, "bob")
        active = again.get_active_processes()
        if process_id and active:
            again.stop_process(process_id)
        elif active:
            again = TableVault(vault_dir, "bob", restart=True)
        assert again.get_active_processes() == {}
        assert tree(code) in ends, f"at call {nth}"
        assert not any(not any(each.iterdir()) for each in code.rglob("*") if each.is_dir())
        # A worker that dies before it has recorded anything, or after all is done, may leave its own folder.
        assert [name for name in states.litter(vault_dir) if not name.startswith("metadata/processes/")] == []
        seen.add(ends.index(tree(code)))
    else:
        raise AssertionError("it never came to its end")
    assert 0 in seen
    assert nth > 20


@pytest.mark.parametrize("nth", [20, 30, 40, 50, 60])
def test_the_same_id_finishes_what_was_interrupted(
    workers: Workers, vault: TableVault, vault_dir: Path, changed: Path, nth: int
) -> None:
    fault = Fault(GROUND, Action.KILL, nth)
    with pytest.raises(Trouble):
        workers.start(tasks.write_package, vault_dir, changed, "nightly", faults=[fault]).result()

    vault.create_code_module(copy_dir=changed, process_id="nightly")

    assert tree(vault_dir / "code_functions" / "pipeline") == tree(changed)
    assert vault.get_process("nightly").state is State.COMPLETED
    states.assert_sound(vault_dir)


def test_another_package_under_the_same_id_is_refused(vault: TableVault, sources: Path, workers: Workers) -> None:
    fault = Fault(GROUND, Action.KILL, 30)
    with pytest.raises(Trouble):
        workers.start(tasks.write_package, Path(vault.db_dir), sources / "pipeline", "p", faults=[fault]).result()
    (sources / "pipeline" / "late.py").write_text("MARK = '?'\n")

    with pytest.raises(TVArgumentError, match=r"packages\['pipeline'\]\['late\.py'\]"):
        vault.create_code_module(copy_dir=sources / "pipeline", process_id="p")
