"""Executions whose worker is killed while they take rows over: nothing is called or counted twice, nothing is lost."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.storage.tables import read_table
from tests import states, tasks
from tests.scenes import Calls
from tests.tables import build, column, index, write, write_code
from tests.workers import CALLS_VARIABLE, GROUND, Action, Fault, Trouble, Workers

WORDS = ["ape", "bee", "cat", "dog", "eel", "fox"]

CODE = """
from pathlib import Path

import pandas as pd

from tests.workers import note_call, pass_point


def rows(names):
    for name in names["name"]:
        yield {"name": name}


def shout(word):
    note_call(f"shout {word}")
    pass_point(f"shout {word}")
    return word.upper()


def page(word, folder):
    note_call(f"page {word}")
    Path(folder, f"{word}.txt").write_text(word * 2)
    pass_point(f"page {word}")
    return f"{word}.txt"


def books(words, folder):
    note_call("books")
    for word in words["name"]:
        Path(folder, f"{word}.book").write_text(word * 3)
    pass_point("books")
    return pd.DataFrame({"book": words["name"] + ".book"})


def stream(words, folder):
    note_call("stream")
    for word in words["name"]:
        Path(folder, f"{word}.note").write_text(word * 4)
        pass_point(f"stream {word}")
        yield f"{word}.note"
"""

WORD = {"word": "<<self.name[index]>>"}
ALL = {"words": "<<self.{name}>>", "folder": "~ARTIFACT_FOLDER~"}
BUILDERS = {
    "index": index("name", function="rows", arguments={"names": "<<names.{name}>>"}, primary_key=["name"]),
    "shout": column("loud", function="shout", arguments=WORD),
    "page": column(
        "page",
        function="page",
        arguments={**WORD, "folder": "~ARTIFACT_FOLDER~"},
        dtypes={"page": "artifact_string"},
    ),
    "books": column(
        "book", function="books", arguments=ALL, return_type="dataframe", dtypes={"book": "artifact_string"}
    ),
    "stream": column(
        "note", function="stream", arguments=ALL, return_type="generator", dtypes={"note": "artifact_string"}
    ),
}
BLOCK = 2

RECORDER = "tablevault_like.builders.recording:Recorder.reuse"
TAKE_OVER = "tablevault_like.storage.artifacts:take_over"
KEEP = "tablevault_like.builders.wholes:_keep"
HASH = "tablevault_like.storage.rows:RowStore.set_input_hash"
MAP = "tablevault_like.engines.threads:ThreadEngine.map"
STEP = "tablevault_like.process.run:StepReport.finish"


@dataclass(frozen=True)
class Scene:
    """A vault whose table ``t`` is to be built again from an instance with all columns; ``end`` is a copy, built."""

    vault_dir: Path
    end: Path
    workers: Workers
    calls: Calls
    called: Counter[str]
    """The calls of an undisturbed execution."""

    @property
    def vault(self) -> TableVault:
        return TableVault(self.vault_dir, "ada", lock_timeout=1)

    def kill(self, point: str, nth: int = 1) -> bool:
        """Execute until the worker is killed at a point. Tell whether it came to it."""
        worker = self.workers.start(
            tasks.execute_in_blocks, self.vault_dir, "t", "p", BLOCK, faults=[Fault(point, Action.KILL, nth)]
        )
        try:
            worker.result()
        except Trouble:
            return True
        return False

    def assert_ended(self, before: Counter[str], called_twice: list[str] | None = None) -> None:
        """Hold the vault, in which ``p`` has ended, to the undisturbed one."""
        assert self.calls() - before == self.called + Counter(called_twice or [])
        assert counts(self.vault_dir) == counts(self.end)
        assert content(self.vault_dir) == content(self.end)
        states.assert_sound(self.vault_dir)


def counts(vault_dir: Path) -> dict[str, tuple[int, int, int | None]]:
    """Return how many rows each step of the process has done, and how many of them it has reused."""
    steps = TableVault(vault_dir).get_process("p").steps
    return {step.name: (step.rows_done, step.rows_reused, step.rows_total) for step in steps}


def content(vault_dir: Path) -> dict[str, Any]:
    """Return what the newest instance is made of, and what it was made with, but for how many seconds that took."""
    instance = vault_dir / "t" / TableVault(vault_dir).get_table_instances("t")[-1]
    told = ("manifest.json", "description.yaml")
    files = (path for path in instance.rglob("*") if path.is_file() and path.name not in told)
    return {str(path.relative_to(instance)): timeless(path) for path in files}


def timeless(path: Path) -> object:
    """Return the content of a file; of what each row took, what is the same in every run."""
    if path.parent.name != "provenance" or path.suffix != ".parquet":
        return path.read_bytes()
    return read_table(path).drop(columns="seconds").map(repr).to_dict("list")


@dataclass(frozen=True)
class Stage:
    """What the scenes of one kind are copied from: ``vault`` is to be executed, ``end`` was. ``called`` is by that."""

    folder: Path
    called: Counter[str]

    @classmethod
    def set(cls, made: Path, folder: Path, words: list[str]) -> Stage:
        vault = TableVault(shutil.copytree(made, folder / "vault"), "ada")
        if words != WORDS:
            write(vault, "names", pd.DataFrame({"name": words}))
        vault.create_instance("t", copy=True)
        shutil.copytree(vault.db_dir, folder / "end")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CALLS_VARIABLE, str(folder / "calls"))
            TableVault(folder / "end", "ada").execute_instance("t", process_id="p")
        called = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
        return cls(folder, Counter(called))

    def scene(self, tmp_path: Path, workers: Workers, calls: Calls) -> Scene:
        vault_dir = Path(shutil.copytree(self.folder / "vault", tmp_path / "vault"))
        return Scene(vault_dir, self.folder / "end", workers, calls, self.called)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a vault with an instance of the table."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CALLS_VARIABLE, str(folder / "calls"))
        vault = TableVault(folder / "vault", "ada", create=True)
        write(vault, "names", pd.DataFrame({"name": WORDS}))
        build(vault, "t", BUILDERS, code=CODE)
    return folder / "vault"


@pytest.fixture(scope="module")
def same_stage(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    found = Stage.set(made, tmp_path_factory.mktemp("same"), WORDS)
    every = dict.fromkeys(("books", "page", "shout", "stream"), (6, 6, 6))
    assert counts(found.folder / "end") == {"t_index": (6, 0, 6), **every, "materialize": (0, 0, None)}
    assert not found.called
    return found


@pytest.fixture(scope="module")
def changed_stage(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    found = Stage.set(made, tmp_path_factory.mktemp("changed"), ["ape", "gnu", "cat", "dog", "hen", "fox"])
    assert found.called == Counter(["shout gnu", "shout hen", "page gnu", "page hen", "books", "stream"])
    reused = {name: reused for name, (_, reused, _) in counts(found.folder / "end").items() if reused}
    assert reused == {"page": 4, "shout": 4}
    return found


@pytest.fixture
def same(same_stage: Stage, tmp_path: Path, workers: Workers, calls: Calls) -> Scene:
    """Return a scene in which nothing has changed."""
    return same_stage.scene(tmp_path, workers, calls)


@pytest.fixture
def changed(changed_stage: Stage, tmp_path: Path, workers: Workers, calls: Calls) -> Scene:
    """Return a scene in which two of six rows have changed."""
    return changed_stage.scene(tmp_path, workers, calls)


class TestNothingChanged:
    @pytest.mark.parametrize(
        ("point", "nth"),
        [
            (f"before {RECORDER}", 1),
            (f"after {RECORDER}", 2),
            (f"before {RECORDER}", 5),
            (f"after {RECORDER}", 6),
            (f"before {RECORDER}", 7),
            (f"after {RECORDER}", 7),
            (f"before {TAKE_OVER}", 2),
            (f"after {TAKE_OVER}", 2),
            (f"after {TAKE_OVER}", 5),
            (f"before {KEEP}", 1),
            (f"after {KEEP}", 1),
            (f"after {HASH}", 1),
            (f"after {HASH}", 2),
            (f"before {STEP}", 4),
        ],
    )
    def test_calls_nothing_and_counts_every_row_once(self, same: Scene, point: str, nth: int) -> None:
        before = same.calls()
        assert same.kill(point, nth)
        same.vault.execute_instance("t", process_id="p")
        same.assert_ended(before)

    @pytest.mark.full
    @pytest.mark.parametrize("point", [f"{when} {what}" for when in ("before", "after") for what in (RECORDER, HASH)])
    def test_wherever_it_is(self, same: Scene, point: str, tmp_path: Path) -> None:
        sweep(same, point, tmp_path)

    def test_is_killed_again_and_again(self, same: Scene) -> None:
        """Each claim comes one group further."""
        before = same.calls()
        killed = 0
        while same.kill(f"after {RECORDER}"):
            killed += 1
        assert killed == 7
        same.assert_ended(before)


class TestTwoRowsChanged:
    @pytest.mark.parametrize(
        ("point", "nth", "called_twice"),
        [
            (f"after {RECORDER}", 1, []),
            (f"before {RECORDER}", 2, []),
            (f"after {TAKE_OVER}", 3, []),
            (f"before {MAP}", 2, []),
            (f"before {MAP}", 3, []),
            ("shout gnu", 1, ["shout gnu"]),
            ("page gnu", 1, ["page gnu"]),
        ],
    )
    def test_calls_what_is_new(self, changed: Scene, point: str, nth: int, called_twice: list[str]) -> None:
        before = changed.calls()
        assert changed.kill(point, nth)
        changed.vault.execute_instance("t", process_id="p")
        changed.assert_ended(before, called_twice)

    @pytest.mark.full
    @pytest.mark.parametrize("first", range(1, 9))
    def test_at_whatever_call_that_changes_something(self, changed: Scene, tmp_path: Path, first: int) -> None:
        sweep(changed, GROUND, tmp_path, first=first, step=8)


def sweep(scene: Scene, point: str, tmp_path: Path, *, first: int = 1, step: int = 1) -> None:
    """Kill at a point when it is reached for the first time, then for the next, until it isn't reached any more."""
    kept = Path(shutil.copytree(scene.vault_dir, tmp_path / "kept"))
    for nth in range(first, 1000, step):
        shutil.rmtree(scene.vault_dir)
        shutil.copytree(kept, scene.vault_dir)
        before = scene.calls()
        if not scene.kill(point, nth):
            break
        scene.vault.execute_instance("t", process_id="p")
        TableVault(scene.vault_dir, "ada", restart=True)  # what was killed after its commit has litter left
        twice = sorted((scene.calls() - before - scene.called).elements())
        # Those that were inside of their function, or about to be recorded.
        assert len(twice) == len(set(twice)), nth
        assert len({name.split()[0] for name in twice}) <= 1, nth
        scene.assert_ended(before, twice)
    assert nth > first + step


class TestMeanwhile:
    def test_a_dead_worker_s_rows_are_told(self, same: Scene) -> None:
        assert same.kill(f"after {RECORDER}", 2)
        process = same.vault.get_process("p")
        assert (process.status, process.rows_done, process.rows_reused, process.rows_total) == ("interrupted", 4, 4, 6)
        frame = same.vault.get_dataframe("t", instance_id="TEMP_base")
        assert frame["page"].count() == 4
        assert frame["loud"].count() == 0

    def test_a_table_with_side_effects_goes_on_reusing(
        self, made: Path, tmp_path: Path, workers: Workers, calls: Calls
    ) -> None:
        """Its origin is inactive from the moment the execution starts, but for this process."""
        vault = TableVault(tmp_path / "vault", "ada", create=True)
        write_code(vault, CODE)
        write(vault, "names", pd.DataFrame({"name": WORDS}))
        vault.create_table("t", has_side_effects=True)
        build(vault, "t", BUILDERS)
        vault.create_instance("t", copy=True)
        end = Path(shutil.copytree(vault.db_dir, tmp_path / "end"))
        TableVault(end, "ada").execute_instance("t", process_id="p")
        scene = Scene(Path(vault.db_dir), end, workers, calls, Counter())
        before = calls()
        assert scene.kill(f"after {RECORDER}", 2)
        vault.execute_instance("t", process_id="p")
        scene.assert_ended(before)

    def test_restart_goes_on(self, same: Scene) -> None:
        before = same.calls()
        assert same.kill(f"after {TAKE_OVER}", 2)
        TableVault(same.vault_dir, "ada", restart=True)
        same.assert_ended(before)


class TestOtherEnds:
    def test_a_revert_leaves_nothing(self, changed: Scene) -> None:
        before = states.state(changed.vault_dir)
        assert changed.kill(f"after {RECORDER}", 3)
        changed.vault.stop_process("p")
        assert states.without_partial_frames(states.state(changed.vault_dir)) == before
        states.assert_sound(changed.vault_dir)

    def test_what_was_taken_over_can_be_kept_and_reused_again(self, changed: Scene) -> None:
        """The books, and four pages of six."""
        assert changed.kill(f"before {MAP}", 2)
        changed.vault.stop_process("p", materialize=True)
        states.assert_sound(changed.vault_dir)
        partial = changed.vault.get_dataframe("t", active_only=False)
        assert partial["page"].count() == 4
        assert partial["loud"].count() == 0
        before = changed.calls()
        changed.vault.create_instance("t", origin_id=partial.attrs["instance_id"])
        changed.vault.execute_instance("t", process_id="q")
        called = changed.calls() - before
        assert called == changed.called - Counter(["books"]) + Counter(
            f"shout {word}" for word in ("ape", "cat", "dog", "fox")
        )
        steps = changed.vault.get_process("q").steps
        assert {step.name: step.rows_reused for step in steps if step.rows_reused} == {"books": 6, "page": 4}
        states.assert_sound(changed.vault_dir)

    def test_what_was_never_kept_is_never_reused(self, changed: Scene) -> None:
        """Not even where it is recorded already what it would have been made of."""
        assert changed.kill(f"after {HASH}")
        changed.vault.stop_process("p", materialize=True)
        partial = changed.vault.get_dataframe("t", active_only=False)
        assert partial["book"].count() == 0
        before = changed.calls()
        changed.vault.create_instance("t", origin_id=partial.attrs["instance_id"])
        changed.vault.execute_instance("t", process_id="q")
        assert (changed.calls() - before)["books"] == 1
        assert changed.vault.get_dataframe("t", full_artifact_path=False)["book"].tolist() == [
            f"{word}.book" for word in ("ape", "gnu", "cat", "dog", "hen", "fox")
        ]
        states.assert_sound(changed.vault_dir)


class TestChangedMeanwhile:
    CHANGED = CODE.replace("word * 2", "word * 20")

    @pytest.mark.parametrize(
        ("on_change", "reused", "letters"), [("continue", 2, 60), ("recompute", 0, 60), ("keep", 6, 6)]
    )
    def test_code_counts_from_there_on(self, same: Scene, on_change: str, reused: int, letters: int) -> None:
        """Two pages are taken over when the worker is killed."""
        before = same.calls()
        assert same.kill(f"after {RECORDER}", 1)
        write_code(same.vault, self.CHANGED)
        same.vault.execute_instance("t", process_id="p", on_change=on_change)
        assert counts(same.vault_dir)["page"] == (6, reused, 6)
        assert (same.calls() - before).total() == 6 - reused
        pages = [len(Path(page).read_text()) for page in same.vault.get_dataframe("t")["page"]]
        assert pages == [6] * reused + [letters] * (6 - reused)
        states.assert_sound(same.vault_dir)

    def test_a_row_that_failed_counts_as_reused_when_it_is(self, same: Scene) -> None:
        """Its function failed with other code; with that of the origin it needn't be called at all."""
        fails = CODE.replace("return word.upper()", "raise OSError(word)")
        write_code(same.vault, fails)
        with pytest.raises(OSError, match="ape"):
            same.vault.execute_instance("t", process_id="p")
        write_code(same.vault, CODE)
        before = same.calls()
        with suppress(Trouble):
            same.workers.start(continue_, same.vault_dir, faults=[Fault(f"before {STEP}", Action.KILL)]).result()
        process = same.vault.get_process("p")
        assert (process.rows_done, process.rows_failed, process.rows_reused) == (6, 0, 6)
        same.vault.execute_instance("t", process_id="p", on_change="continue")
        assert not same.calls() - before
        assert counts(same.vault_dir) == counts(same.end)


def continue_(vault_dir: Path) -> None:
    """Go on with the new code: the task of a worker."""
    TableVault(vault_dir, "bob").execute_instance("t", process_id="p", on_change="continue")
