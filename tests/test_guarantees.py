"""The fourteen guarantees of the design, each shown once, through ``TableVault`` and real workers.

The library (``tests.library``) has a table ``words``, whose builders make, shout, write and measure six words. What
hundreds of cases of each guarantee do is elsewhere; here is what each of them means.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import dill
import pandas as pd
import pytest

from tablevault_like import State, TableVault, tv_errors
from tablevault_like.errors import (
    TableReferenceError,
    TableVaultError,
    TVArgumentError,
    TVArtifactError,
    TVBuilderError,
    TVFileError,
    TVLockError,
    TVPausedError,
    TVProcessError,
    TVRowsError,
    TVTableError,
    TVTimeoutError,
)
from tablevault_like.layout import Layout
from tablevault_like.locks import WorkerLock
from tablevault_like.storage import tables
from tests import library, states
from tests.library import CALLS, WORDS
from tests.scenes import Calls, calls, copy_dir, library_dir, made, workers
from tests.tables import Background, begin, column, gates, index, write, write_code
from tests.workers import Action, Fault, Trouble, Workers, pass_point, wait_until

__all__ = ["calls", "copy_dir", "library_dir", "made", "workers"]

PLACED = "after tablevault_like.operations.execute:ExecuteInstance.execute"


def execute(vault_dir: Path, process_id: str) -> str:
    """Execute the library's table: the task of a worker."""
    return TableVault(vault_dir, "bob", lock_timeout=20).execute_instance("words", process_id=process_id)


def killed(workers: Workers, vault_dir: Path, point: str, column: str, rows: int, process_id: str = "p") -> None:
    """Let a worker execute the table ``words``, and kill it at a point, when so many rows of a column are recorded."""
    worker = workers.start(execute, vault_dir, process_id, faults=[Fault(point, Action.WAIT)])
    worker.arrive()
    vault = TableVault(vault_dir)
    wait_until(lambda: vault.get_dataframe("words", "TEMP_base")[column].count() == rows)
    worker.kill()


def test_guarantee_01_atomic(copy_dir: Path, made: str, workers: Workers) -> None:
    """An operation's effects become visible in one catalog transaction, or not at all."""
    vault = TableVault(copy_dir, "ada")
    before = vault.get_dataframe("words", made)
    killed(workers, copy_dir, PLACED, "length", 6)
    # All of it is made and lies in its place, and nobody sees it.
    assert vault.get_table_instances("words", include_temp=True) == [made, "TEMP_base"]
    pd.testing.assert_frame_equal(vault.get_dataframe("words", made), before)
    # The commit shows all of it: the new instance in, the temporary one out, the process ended, its locks free.
    vault.execute_instance("words", process_id="p")
    assert len(vault.get_table_instances("words", include_temp=True)) == 2
    assert "TEMP_base" not in vault.get_table_instances("words", include_temp=True)
    assert vault.get_active_processes() == {}
    states.assert_sound(copy_dir)


def write_and_wait(vault_dir: Path) -> None:
    """Do something, and tell the test the moment that it is done: the task of a worker."""
    vault = TableVault(vault_dir, "bob")
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [1, 2]}), "papers")
    vault.create_code_module("late", text="NUMBER = 1")
    pass_point("done")


def test_guarantee_02_durable(copy_dir: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a call returns, its effects survive SIGKILL and power loss."""
    with pytest.raises(Trouble, match="-9"):
        workers.start(write_and_wait, copy_dir, faults=[Fault("done", Action.KILL)]).result()
    vault = TableVault(copy_dir, "ada")
    assert vault.get_dataframe("papers")["n"].tolist() == [1, 2]
    assert vault.get_code_module_str("late") == "NUMBER = 1"

    # Power can't be cut here. What would have survived is what was synced: every file, and every folder that names one.
    synced: set[tuple[int, int]] = set()
    original = os.fsync

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    vault.execute_instance("words", process_id="p")
    instance = copy_dir / "words" / vault.get_table_instances("words")[-1]
    for path in (instance, *instance.rglob("*"), instance.parent):
        found = path.stat()
        assert (found.st_dev, found.st_ino) in synced, path


def test_guarantee_03_every_row_counts(copy_dir: Path, workers: Workers, calls: Calls) -> None:
    """A row that is shown as done is committed and synced: what SIGKILL costs is the rows inside their function."""
    vault = TableVault(copy_dir, "ada")
    worker = workers.start(execute, copy_dir, "p", faults=[Fault("shout dog", Action.WAIT)])
    worker.arrive()
    wait_until(lambda: vault.get_process("p").rows_done == 3)
    worker.kill()
    process = vault.get_process("p")
    assert (process.status, process.rows_done, process.rows_total) == ("interrupted", 3, 6)
    assert vault.get_dataframe("words", "TEMP_base")["shout"].tolist()[:3] == ["APE", "BEE", "CAT"]
    vault.execute_instance("words", process_id="p")
    assert [calls()[f"shout {word}"] for word in WORDS] == [1, 1, 1, 2, 1, 1]


def test_guarantee_04_recorded_once(vault: TableVault, workers: Workers, tmp_path: Path, calls: Calls) -> None:
    """A row has at most one result. Its function runs again only if its worker died first, under the same ROW_KEY."""
    code = """
from tests.workers import note_call, pass_point

def rows():
    yield from ["ant", "bee", "cat"]

def charge(word, key):
    note_call(key)
    pass_point(f"charge {word}")
    return key
"""
    charge = column("key", function="charge", arguments={"word": "<<self.word[index]>>", "key": "~ROW_KEY~"})
    begin(vault, "words", {"index": index("word"), "charge": charge}, code=code)
    killed(workers, Path(vault.db_dir), "charge bee", "key", 1)
    vault.execute_instance("words", process_id="p")
    assert calls() == {"p:charge:0": 1, "p:charge:1": 2, "p:charge:2": 1}
    assert vault.get_dataframe("words")["key"].tolist() == ["p:charge:0", "p:charge:1", "p:charge:2"]


@pytest.mark.parametrize(
    ("point", "column", "rows", "calls_twice"),
    [
        ("word 4", "word", 4, ["word 4"]),
        ("length", "word", 6, ["length"]),
        ("page eel", "page", 5, ["page eel"]),
        ("shout cat", "shout", 2, ["shout cat"]),
        (PLACED, "shout", 6, []),
    ],
)
def test_guarantee_05_resume(
    copy_dir: Path,
    tmp_path: Path,
    workers: Workers,
    calls: Calls,
    point: str,
    column: str,
    rows: int,
    calls_twice: list[str],
) -> None:
    """The same id runs nothing again that is recorded, and ends in the same instance as an undisturbed run."""
    undisturbed = TableVault(shutil.copytree(copy_dir, tmp_path / "undisturbed"), "ada")
    undisturbed.execute_instance("words", process_id="p")
    vault = TableVault(copy_dir, "ada")
    before = calls()
    killed(workers, copy_dir, point, column, rows)
    vault.execute_instance("words", process_id="p")
    again = calls() - before
    assert set(again) == set(CALLS)
    assert [call for call, times in again.items() if times > 1] == calls_twice
    assert content(vault, "words") == content(undisturbed, "words")
    states.assert_sound(copy_dir)


def test_guarantee_06_revert(copy_dir: Path, workers: Workers) -> None:
    """Afterwards the vault is what it was, but for the history and the frame that is left for debugging."""
    vault = TableVault(copy_dir, "ada")
    before = states.state(copy_dir)
    killed(workers, copy_dir, "shout dog", "shout", 3)
    assert states.state(copy_dir) != before
    vault.stop_process("p")
    assert vault.get_process("p").state is State.REVERTED
    assert vault.get_dataframe("words", "TEMP_base")["shout"].tolist() == ["APE", "BEE", "CAT", pd.NA, pd.NA, pd.NA]
    assert states.without_partial_frames(states.state(copy_dir)) == before
    states.assert_sound(copy_dir)
    # It never needs to read a checkpoint: here there is none that could be read.
    killed(workers, copy_dir, "shout dog", "shout", 3, "q")
    (copy_dir / "metadata/processes/q/rows.sqlite").write_bytes(b"damaged")
    (copy_dir / "metadata/processes/q/pinned/plan.json").write_text("damaged")
    vault.stop_process("q")
    assert states.without_partial_frames(states.state(copy_dir)) == before


def test_guarantee_07_pause_holds(copy_dir: Path, made: str, workers: Workers) -> None:
    """A paused process keeps its locks, whatever happens to its worker, until it is resumed or stopped."""
    with pytest.raises(Trouble, match="fire"):
        workers.start(execute, copy_dir, "p", faults=[Fault("shout dog", Action.FAIL)]).result()
    hasty = TableVault(copy_dir, "eve", lock_timeout=0)
    process = hasty.get_process("p")
    assert (process.state, process.is_alive) == (State.PAUSED, False)
    assert process.locks == ("words/TEMP_base (exclusive)", f"words/{made} (shared)")
    for call in (
        lambda: hasty.execute_instance("words"),
        lambda: hasty.delete_instance("TEMP_base", "words"),
        lambda: hasty.delete_instance(made, "words"),
        lambda: hasty.delete_table("words"),
    ):
        with pytest.raises(TVLockError, match="held by process 'p'"):
            call()
    hasty.stop_process("p")
    hasty.delete_table("words")


CRITICAL = """
import os

def rows(folder):
    path = os.path.join(folder, "inside")
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL)  # fails if anybody else is inside
    yield 1
    os.close(descriptor)
    os.unlink(path)
"""


def hammer(vault_dir: Path, text: str, times: int) -> int:
    """Execute one table again and again, and rename another to and fro: the task of a worker."""
    vault = TableVault(vault_dir, f"worker {os.getpid()}", lock_timeout=20)
    executed = 0
    for _ in range(times):
        # Somebody else may have done it already.
        with suppress(TVArgumentError):
            vault.create_instance("shared", builders={"shared_index": text})
        with suppress(TVArgumentError):
            vault.execute_instance("shared")
            executed += 1
        for new, old in (("left", "right"), ("right", "left")):
            with suppress(TVArgumentError):
                vault.rename_table(new, old)
    return executed


def test_guarantee_08_exclusion(vault: TableVault, tmp_path: Path, workers: Workers) -> None:
    """Two unrelated processes never hold conflicting locks, and waiting for locks never deadlocks."""
    write_code(vault, CRITICAL)
    vault.create_table("shared")
    vault.create_table("left")
    text = index("n", arguments={"folder": str(tmp_path)})
    found = [workers.start(hammer, Path(vault.db_dir), text, 5) for _ in range(3)]
    executed = sum(worker.result() for worker in found)
    assert executed == len(vault.get_table_instances("shared")) > 0
    assert not (tmp_path / "inside").exists()
    assert vault.get_active_processes() == {}
    states.assert_sound(Path(vault.db_dir))


def test_guarantee_09_liveness(copy_dir: Path, workers: Workers) -> None:
    """The kernel says whether a worker lives: no pid, no age of a file, no clock. A dead one that nobody named goes."""
    vault = TableVault(copy_dir, "ada", lock_timeout=0)
    worker = workers.start(execute, copy_dir, "p", faults=[Fault("shout dog", Action.WAIT)])
    worker.arrive()
    lock = copy_dir / "metadata/processes/p/worker.lock"
    with worker.suspended():
        os.utime(lock, (0, 0))
        lock.write_text(json.dumps({"host": "nowhere", "boot": "", "pid": 2**22 + 1, "started": 0.0}))
        assert vault.get_process("p").is_alive
        with pytest.raises(TVProcessError, match="A living worker is at process 'p'"):
            vault.execute_instance("words", process_id="p")
    worker.kill()
    lock.write_text(json.dumps({"host": "nowhere", "boot": "", "pid": os.getpid(), "started": 0.0}))
    assert not vault.get_process("p").is_alive

    # One that is resumed is alive again, in this interpreter too.
    waiting = library.CODE.replace("    return word.upper()", "    GATES['shout'].enter()\n    return word.upper()")
    write_code(vault, f"from tests.tables import GATES\n{waiting}", "tools")
    with gates("shout") as (gate,):
        running = Background(vault.execute_instance, "words", process_id="p", on_change="continue")
        gate.await_arrival()
        assert vault.get_process("p").is_alive
        for each in (vault, TableVault(copy_dir)):
            with pytest.raises(TVProcessError, match="A living worker is at process 'p'"):
                each.execute_instance("words", process_id="p", on_change="continue")
        gate.open()
        running.result()

    # One that nobody named is reverted by whoever needs what it holds.
    write_code(vault, library.CODE, "tools")
    vault.create_instance("words", copy=True)
    killed(workers, copy_dir, "shout dog", "shout", 3, "")
    (dead,) = vault.get_active_processes()
    vault.delete_instance("TEMP_base", "words")
    assert vault.get_process(dead).state is State.REVERTED
    states.assert_sound(copy_dir)


def test_guarantee_10_immutable(copy_dir: Path, made: str, calls: Calls) -> None:
    """A materialized instance never changes; every file of it has a recorded SHA-256."""
    vault = TableVault(copy_dir, "ada")
    folder = copy_dir / "words" / made
    manifest = (folder / "manifest.json").read_bytes()
    listed = {name: each["sha256"] for name, each in json.loads(manifest)["files"].items()}
    assert {**listed, "manifest.json": hashlib.sha256(manifest).hexdigest()} == hashes(folder)
    with closing(sqlite3.connect(copy_dir / "metadata/catalog.sqlite")) as db:
        recorded = db.execute("SELECT manifest_sha256 FROM instances WHERE instance_id = ?", (made,)).fetchone()
    assert recorded == (hashlib.sha256(manifest).hexdigest(),)
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o222 for path in folder.rglob("*") if path.is_file())

    before = hashes(folder)
    vault.execute_instance("words")
    write_code(vault, "LIMIT = 1", "tools")
    frame = vault.get_dataframe("words", made)
    frame["word"] = "x"
    vault.rename_table("terms", "words")
    assert hashes(copy_dir / "terms" / made) == before


def test_guarantee_11_readers_are_free(copy_dir: Path, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a materialized instance waits for no process; a reader whose file vanished looks once more."""
    vault = TableVault(copy_dir, "ada", lock_timeout=0)
    code = "from tests.tables import GATES\ndef rows():\n    GATES['middle'].enter()\n    yield 1\n"
    begin(vault, "numbers", {"index": index("n")}, code=code)
    with gates("middle") as (middle,):
        running = Background(vault.execute_instance, "numbers", process_id="p")
        middle.await_arrival()
        assert len(vault.get_dataframe("words", made)) == 6
        middle.open()
        running.result()
    # Somebody is in the middle of a change of the catalog.
    with closing(sqlite3.connect(copy_dir / "metadata/catalog.sqlite", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("DELETE FROM tables")
        assert len(vault.get_dataframe("words", made)) == 6
        assert vault.get_active_processes() == {}
        db.execute("ROLLBACK")

    # The newest instance is deleted after it was found, and before it is read.
    older = write(vault, "numbers", pd.DataFrame({"n": [1]}), "v2")
    newest = write(vault, "numbers", pd.DataFrame({"n": [2]}), "v2")
    original = tables.read_table
    deleted: list[str] = []

    def read_table(path: Path, **fields: Any) -> pd.DataFrame:
        if not deleted:
            deleted.append(TableVault(copy_dir, "bob").delete_instance(newest, "numbers"))
        return original(path, **fields)

    monkeypatch.setattr(tables, "read_table", read_table)
    assert vault.get_dataframe("numbers", version="v2").attrs["instance_id"] == older
    assert deleted


def test_guarantee_12_reading_runs_nothing(copy_dir: Path, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching, listing and inspecting never unpickle, and never import vault code."""
    vault = TableVault(copy_dir, "ada")
    write_code(vault, f"from pathlib import Path\nPath({str(copy_dir.parent / 'ran')!r}).touch()", "tools")
    with pytest.raises(TVBuilderError):
        vault.execute_instance("words")  # the module has lost its functions: that is found without running it
    assert not (copy_dir.parent / "ran").exists()

    def refuse(*arguments: object, **fields: object) -> None:
        raise AssertionError("something is unpickled")

    for module in (pickle, dill):
        for name in ("load", "loads", "Unpickler"):
            monkeypatch.setattr(module, name, refuse)
    before = set(sys.modules)
    for call in reading_calls(vault, made):
        call()
    assert not (copy_dir.parent / "ran").exists()
    assert not [name for name in set(sys.modules) - before if name.startswith("vault_code")]


def reading_calls(vault: TableVault, made: str) -> list[Callable[[], object]]:
    return [
        lambda: vault.get_dataframe("words"),
        lambda: vault.get_table_instances("words"),
        lambda: vault.get_descriptions(made, "words"),
        lambda: vault.get_builders_list("words"),
        lambda: vault.get_builder_str("words"),
        lambda: vault.get_code_modules_list(),
        lambda: vault.get_code_module_str("tools"),
        lambda: vault.get_artifact_folder("words"),
        lambda: vault.get_file_tree(),
        lambda: vault.get_active_processes(),
    ]


def test_guarantee_13_inside(vault: TableVault, tmp_path: Path) -> None:
    """No name, path or link reaches outside the vault."""
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(vault.db_dir)}
    vault.create_table("words")
    vault.create_instance("words")
    hostile = "../../outside"
    for call in (
        lambda: vault.create_table(hostile),
        lambda: vault.create_instance("words", hostile),
        lambda: vault.create_builder_file("words", hostile, text=index("n")),
        lambda: vault.create_code_module(hostile, text=""),
        lambda: vault.create_table("more", process_id=hostile),
        lambda: vault.get_dataframe("words", hostile),
        lambda: vault.get_builder_str("words", hostile),
        lambda: vault.get_code_module_str(hostile),
        lambda: vault.get_artifact_folder("words", hostile),
        lambda: vault.get_file_tree(hostile, "words"),
    ):
        with pytest.raises(TableVaultError):
            call()

    # An artifact that is a link, a cell that climbs out, a module that is a link.
    code = """
import os

def rows(folder, name):
    os.symlink({outside!r}, os.path.join(folder, "link.txt"))
    yield name
"""
    write_code(vault, code.format(outside=str(outside)))
    for name in ("link.txt", "../../../../outside.txt", str(outside)):
        arguments = {"folder": "~ARTIFACT_FOLDER~", "name": name}
        text = index("page", arguments=arguments, dtypes={"page": "artifact_string"})
        vault.create_builder_file("words", "words_index", text=text)
        with pytest.raises(TVArtifactError):
            vault.execute_instance("words")
    module = Path(vault.db_dir, "code_functions", "work.py")
    module.unlink()
    module.symlink_to(outside)
    with pytest.raises(TVBuilderError, match="link that leads out of the folder"):
        vault.execute_instance("words")
    module.unlink()
    write_code(vault, "def rows(): yield 1")
    builder = Path(vault.db_dir, "words/TEMP_base/builders/words_index.yaml")
    vault.create_builder_file("words", "words_index", text=index("n"))
    builder.rename(outside.with_suffix(".yaml"))
    builder.symlink_to(outside.with_suffix(".yaml"))
    for call in (lambda: vault.execute_instance("words"), lambda: vault.get_builder_str("words")):
        with pytest.raises(TableVaultError, match="link"):
            call()
    builder.unlink()
    outside.with_suffix(".yaml").rename(builder)
    folder = Path(vault.get_artifact_folder("words"))
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(TVFileError, match="link is a link, so it was not copied"):
        vault.execute_instance("words")
    (folder / "link").unlink()
    vault.execute_instance("words")
    vault.delete_table("words")
    assert outside.read_text() == "secret"
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(vault.db_dir)} == before


def test_guarantee_14_told(vault: TableVault) -> None:
    """Every error names what was wrong, where, and what to do next."""
    write(vault, "stories", pd.DataFrame({"text": ["one"]}))
    code = "def rows():\n    yield from [1, 2]\ndef halve(n):\n    return object() if n == 2 else n\n"
    halve = column("half", function="halve", arguments={"n": "<<self.n[index]>>"})
    begin(vault, "words", {"index": index("n"), "half": halve}, code=code)
    with pytest.raises(TVTableError):
        vault.execute_instance("words", process_id="p")
    hasty = TableVault(vault.db_dir, "bob", lock_timeout=0)
    vault.create_instance("stories")
    place = Path(vault.db_dir, "stories/TEMP_base/builders/stories_index.yaml")

    def executed(text: str) -> None:
        vault.create_builder_file("stories", "stories_index", text=text)
        vault.execute_instance("stories")

    wrong: dict[type[TableVaultError], tuple[Callable[[], object], list[str]]] = {
        TVArgumentError: (lambda: vault.get_dataframe("storys"), ["'storys'", "Did you mean 'stories'?"]),
        TVBuilderError: (lambda: executed(index("n", function="row")), [f"{place}:6:18", "'row'", "'rows'"]),
        TableReferenceError: (
            lambda: executed(index("n", arguments={"x": "<<stories.txt>>"})),
            [f"{place}:9:6", "'txt'", "Did you mean 'text'?", "^"],
        ),
        TVLockError: (
            lambda: hasty.delete_table("words"),
            [
                "'p'",
                "execute_instance by ada",
                "paused, 1 of 2 rows",
                "pid",
                "since",
                "Wait",
                "resume",
                "stop_process",
            ],
        ),
        TVProcessError: (lambda: vault.stop_process(vault.create_table("x")), ["has ended (completed)"]),
        TVTimeoutError: (
            lambda: waited(vault, "p"),
            ["Gave up waiting after 0 s", "'p'", "execute_instance by ada", "Wait again, longer", "stop_process('p'"],
        ),
        TVTableError: (
            lambda: vault.execute_instance("words", process_id="p"),
            ["Column 'half'", "builtins.object", "row 1 of the builder 'half'", "artifact_string", "call again"],
        ),
        TVArtifactError: (
            lambda: written(vault, pd.DataFrame({"page": ["none.txt"]})),
            ["row 0 of column 'page'", "'none.txt'"],
        ),
        TVFileError: (lambda: unreadable(vault), ["table.parquet", "Restore it from a backup"]),
        TVPausedError: (
            lambda: paused_meanwhile(vault),
            ["'q'", "bob asked for it", "same process_id", "stop_process"],
        ),
        TVRowsError: (
            lambda: some_fail(vault),
            ["1 of 2 rows", "builder 'half'", "row 1", "ValueError", "get_errors('r')", "call again"],
        ),
        tv_errors.TVCheckpointError: (lambda: damaged(vault, "p"), ["'p'", "rows.sqlite", "on_damage='recompute'"]),
    }
    kinds = {kind for kind in vars(tv_errors).values() if isinstance(kind, type) and issubclass(kind, TableVaultError)}
    assert wrong.keys() == kinds - {TableVaultError, tv_errors.FencedError, tv_errors._LocatedError}
    for kind, (call, parts) in wrong.items():
        with pytest.raises(kind) as caught:
            call()
        told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert [part for part in parts if part not in told] == [], told


def damaged(vault: TableVault, process_id: str) -> None:
    """Damage what a process has recorded, and go on with it."""
    Layout(Path(vault.db_dir)).process(process_id).rows.write_bytes(b"damaged")
    vault.execute_instance("words", process_id=process_id)


def written(vault: TableVault, frame: pd.DataFrame) -> None:
    vault.create_table("pages")
    vault.create_instance("pages", external_edit=True)
    vault.write_instance(frame, "pages", dtypes={"page": "artifact_string"})


def paused_meanwhile(vault: TableVault) -> None:
    """Execute rows, the first of which lets somebody else pause the process and hear of it."""
    code = (
        "from tablevault_like.process.run import LOCAL_RUNS\n"
        "import time\n"
        "from tablevault_like import TableVault\n"
        "def rows(place):\n"
        "    yield 1\n"
        "    TableVault(place, 'bob').pause_process('q')\n"
        "    while not LOCAL_RUNS['q'].stop.requested: time.sleep(0.01)\n"
        "    yield 2\n"
        "    yield 3\n"
    )
    begin(vault, "pauses", {"index": index("n", arguments={"place": vault.db_dir})}, code=code)
    vault.execute_instance("pauses", process_id="q")


def some_fail(vault: TableVault) -> None:
    code = "def rows():\n    yield from [1, 0]\ndef halve(n):\n    if not n: raise ValueError('none')\n    return n\n"
    halve = column("half", function="halve", arguments={"n": "<<self.n[index]>>"}, on_error="continue")
    begin(vault, "halves", {"index": index("n"), "half": halve}, code=code)
    vault.execute_instance("halves", process_id="r")


def waited(vault: TableVault, process_id: str) -> None:
    """Wait for a process while somebody is at it."""
    lock = WorkerLock(Layout(Path(vault.db_dir)).process(process_id).worker_lock)
    assert lock.acquire()
    try:
        vault.wait(process_id, timeout=0)
    finally:
        lock.release()


def unreadable(vault: TableVault) -> None:
    (made,) = vault.get_table_instances("stories")
    path = Path(vault.db_dir, "stories", made, "table.parquet")
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    vault.get_dataframe("stories")


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def content(vault: TableVault, table: str) -> dict[str, str]:
    """Return what the newest instance of a table is made of, without what tells when and where it was made."""
    newest = vault.get_table_instances(table)[-1]
    found = hashes(Path(vault.db_dir, table, newest))
    told = ("manifest.json", "description.yaml", "provenance/")
    return {name: each for name, each in found.items() if not name.startswith(told)}
