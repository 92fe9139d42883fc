"""A vault comes out of its archive as it was, with what was under way, whatever was done with it meanwhile."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault, compress_vault, decompress_vault, delete_vault
from tablevault_like.archive import databases
from tablevault_like.archive.progress import Progress, Stage
from tablevault_like.archive.spool import Spool
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TVFileError
from tests import states
from tests.library import BUILDERS, CALLS, WORDS
from tests.scenes import Calls
from tests.tables import Background, write
from tests.workers import PATIENCE, Action, Fault, Worker, Workers

PLACED = "after tablevault_like.operations.execute:ExecuteInstance.execute"


def execute(vault_dir: Path, process_id: str) -> str:
    """Execute the library's table: the task of a worker."""
    return TableVault(vault_dir, "bob", lock_timeout=20).execute_instance("words", process_id=process_id)


def compared(vault_dir: Path) -> states.State:
    """Return a vault without what an archive doesn't have."""
    return states.without(
        states.state(vault_dir), ".*/worker.lock", ".*-journal", ".*/rows.sqlite", "metadata/trash/.*"
    )


def restored(vault_dir: Path, **options: object) -> TableVault:
    """Return a vault that was restored from the archive of another one, beside it."""
    archive = compress_vault(vault_dir, vault_dir.with_name("an.tar.xz"), preset=0, **options)  # type: ignore[arg-type]
    return TableVault(decompress_vault(vault_dir.with_name("copy"), archive), "bob")


def test_a_paused_process_is_resumed_to_the_same_instance(paused: TableVault, calls: Calls, copy_dir: Path) -> None:
    copy = restored(copy_dir)
    assert states.differences(compared(Path(copy.db_dir)), compared(copy_dir)) == []
    recorded = paused.get_dataframe("words", "TEMP_base")["page"].notna()
    missing = [word for word, is_recorded in zip(WORDS, recorded, strict=True) if not is_recorded]
    before = calls()

    copy.execute_instance("words", process_id="p")

    assert sorted(calls() - before) == sorted(
        [*(f"page {word}" for word in missing), *(f"shout {word}" for word in WORDS)]
    )
    paused.execute_instance("words", process_id="p")
    assert copy.get_table_instances("words") == paused.get_table_instances("words")
    pd.testing.assert_frame_equal(
        copy.get_dataframe("words", full_artifact_path=False), paused.get_dataframe("words", full_artifact_path=False)
    )
    states.assert_sound(Path(copy.db_dir))


def test_what_is_unfinished_is_told(paused: TableVault, copy_dir: Path, tmp_path: Path) -> None:
    made = decompress_vault(tmp_path / "copy", compress_vault(copy_dir))
    assert made.unfinished == ("p",)
    assert os.fspath(made) == str(tmp_path / "copy")


def test_the_same_vault_gives_the_same_archive(paused: TableVault, copy_dir: Path, tmp_path: Path) -> None:
    one, two = compress_vault(copy_dir), compress_vault(copy_dir, tmp_path / "two.tar.xz")
    assert one.path == tmp_path / "vault.tar.xz"
    assert one.path.read_bytes() == two.path.read_bytes()
    (tmp_path / "elsewhere").mkdir()
    decompress_vault(tmp_path / "elsewhere" / "vault", two)
    three = compress_vault(tmp_path / "elsewhere" / "vault")
    assert three.path.read_bytes() == one.path.read_bytes()


def test_members_are_files_and_folders_that_belong_to_nobody(sound: Path) -> None:
    with tarfile.open(sound) as archive:
        found = archive.getmembers()
    assert all(member.isreg() or member.isdir() for member in found)
    assert {(each.uid, each.gid, each.uname, each.gname) for each in found} == {(0, 0, "", "")}
    assert len({member.name for member in found}) == len(found)
    names = [each.name for each in found]
    assert not [name for name in names if name.endswith(("worker.lock", "-journal"))]
    assert all(str(Path(name).parent) in (".", *names[:at]) for at, name in enumerate(names))


@pytest.mark.skipif(shutil.which("xz") is None, reason="tar unpacks .xz with the program xz")
def test_any_tar_can_unpack_it(sound: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "xf", sound, "-C", tmp_path], check=True)
    assert TableVault(tmp_path / "vault").get_process("p").status == "paused"


@pytest.fixture
def waiting(copy_dir: Path, workers: Workers) -> Callable[[str], Worker]:
    """Return what starts a worker that executes the table, and waits at a point."""

    def start(point: str) -> Worker:
        worker = workers.start(execute, copy_dir, "p", faults=[Fault(point, Action.WAIT)])
        worker.arrive()
        return worker

    return start


@pytest.mark.parametrize("point", ["word 2", "shout dog", "page dog", "length", PLACED])
def test_a_process_under_way_is_archived_and_goes_on(
    point: str, waiting: Callable[[str], Worker], copy_dir: Path
) -> None:
    worker = waiting(point)

    copy = restored(copy_dir)

    assert TableVault(copy_dir).get_process("p").status == "running"
    assert copy.get_process("p").status == "interrupted"
    worker.go()
    worker.result()
    copy.execute_instance("words", process_id="p")
    original = TableVault(copy_dir)
    assert copy.get_table_instances("words") == original.get_table_instances("words")
    pd.testing.assert_frame_equal(
        copy.get_dataframe("words", full_artifact_path=False), original.get_dataframe("words", full_artifact_path=False)
    )
    states.assert_sound(copy_dir)
    states.assert_sound(Path(copy.db_dir))


def test_what_is_placed_and_not_published_is_not_made_again(
    waiting: Callable[[str], Worker], copy_dir: Path, calls: Calls
) -> None:
    worker = waiting(PLACED)
    copy = restored(copy_dir)
    assert sum(calls().values()) == len(CALLS)
    copy.execute_instance("words", process_id="p")
    assert sum(calls().values()) == len(CALLS)
    worker.kill()


def test_a_dead_process_of_a_copy_is_reverted(waiting: Callable[[str], Worker], copy_dir: Path, made: str) -> None:
    waiting("shout dog")
    copy = restored(copy_dir)
    copy.stop_process("p")
    assert copy.get_table_instances("words", include_temp=True) == [made, "TEMP_base"]
    states.assert_sound(Path(copy.db_dir))


class Meddler:
    """Does something to a vault at the moment that a stage begins."""

    def __init__(self, stage: Stage, deed: Callable[[], object]) -> None:
        self.stages: list[Stage] = []
        self._stage, self._deed = stage, deed

    def __call__(self, progress: Progress) -> None:
        if not self.stages or self.stages[-1] is not progress.stage:
            self.stages.append(progress.stage)
            if progress.stage is self._stage and self.stages.count(self._stage) == 1:
                self._deed()


def test_what_is_deleted_meanwhile_is_archived_all_the_same(copy_dir: Path, made: str) -> None:
    vault = TableVault(copy_dir, "ada")
    before = vault.get_dataframe("words", made, full_artifact_path=False)
    copy = restored(copy_dir, observer=Meddler(Stage.PACKING, lambda: vault.delete_table("words")))
    assert vault.get_table_instances() == ["scores"]
    pd.testing.assert_frame_equal(copy.get_dataframe("words", made, full_artifact_path=False), before)


@pytest.mark.parametrize("deed", ["rename", "delete instance"])
def test_what_is_moved_meanwhile_is_found(copy_dir: Path, made: str, deed: str) -> None:
    vault = TableVault(copy_dir, "ada")

    def move() -> None:
        if deed == "rename":
            vault.rename_table("terms", "words")
            assert (copy_dir / "terms" / made).is_dir()
        else:
            vault.delete_instance(made, "words")
            assert not (copy_dir / "words" / made).exists()

    copy = restored(copy_dir, observer=Meddler(Stage.PACKING, move))
    assert copy.get_table_instances("words") == [made]
    states.assert_whole(Path(copy.db_dir) / "words" / made)


def test_what_is_gone_for_good_meanwhile_lets_it_begin_anew(copy_dir: Path, made: str) -> None:
    vault = TableVault(copy_dir, "ada")

    def destroy() -> None:
        vault.delete_instance(made, "words")
        for path in (copy_dir / "metadata" / "trash").iterdir():
            shutil.rmtree(path)

    meddler = Meddler(Stage.PACKING, destroy)
    copy = restored(copy_dir, observer=meddler)
    assert copy.get_table_instances("words", include_temp=True) == ["TEMP_base"]
    assert meddler.stages == [Stage.COLLECTING, Stage.PACKING] * 2


def test_what_is_made_after_its_moment_is_not_in_it(copy_dir: Path, calls: Calls) -> None:
    vault = TableVault(copy_dir, "ada")
    copy = restored(copy_dir, observer=Meddler(Stage.PACKING, lambda: vault.execute_instance("words")))
    assert len(vault.get_table_instances("words")) == 2
    assert len(copy.get_table_instances("words", include_temp=True)) == 2
    assert copy.get_builders_list("words") == ["length", "page", "shout", "words_index"]
    states.assert_sound(Path(copy.db_dir))


def test_a_file_that_vanishes_under_an_editor_is_told(
    copy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Spool.add_file

    def add_file(self: Spool, name: str, source: Path) -> None:
        if source.name == "mood.yaml":
            source.unlink(missing_ok=True)
        original(self, name, source)

    (copy_dir / "words" / "TEMP_base" / "builders" / "mood.yaml").write_text("x")
    monkeypatch.setattr(Spool, "add_file", add_file)
    # The first round removes it; there it is put back, so that the second one meets it again.
    monkeypatch.setattr(Spool, "begin", _putting_back(copy_dir, Spool.begin))

    made = compress_vault(copy_dir)

    (left,) = made.left_out
    assert str(left) == "words/TEMP_base/builders/mood.yaml: it vanished while it was read"
    decompress_vault(tmp_path / "copy", made)


def _putting_back(vault_dir: Path, original: Callable[[Spool], None]) -> Callable[[Spool], None]:
    def begin(self: Spool) -> None:
        (vault_dir / "words" / "TEMP_base" / "builders" / "mood.yaml").write_text("x")
        original(self)

    return begin


def test_an_edit_between_the_rounds_is_taken_over(copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builders = copy_dir / "words" / "TEMP_base" / "builders"
    begun: list[int] = []
    original = Spool.begin

    def begin(self: Spool) -> None:
        begun.append(1)
        if len(begun) == 2:
            (builders / "shout.yaml").write_text("edited")
            (builders / "page.yaml").unlink()
            (builders / "page.yaml").mkdir()
            (builders / "length.yaml").unlink()
            shutil.rmtree(copy_dir / "code_functions" / "package")
            (copy_dir / "code_functions" / "package").write_text("now a file")
        original(self)

    (copy_dir / "code_functions" / "package").mkdir()
    (copy_dir / "code_functions" / "package" / "inner.py").write_text("")
    old = builders.stat().st_mtime - 100
    for path in (*builders.iterdir(), copy_dir / "code_functions" / "tools.py"):
        os.utime(path, (old, old))
    monkeypatch.setattr(Spool, "begin", begin)
    copy = Path(restored(copy_dir).db_dir)
    found = copy / "words" / "TEMP_base" / "builders"
    assert (found / "shout.yaml").read_text() == "edited"
    assert (found / "page.yaml").is_dir()
    assert not (found / "length.yaml").exists()
    assert (copy / "code_functions" / "package").read_text() == "now a file"


def test_what_is_no_part_of_the_vault_is_left_out_and_told(copy_dir: Path) -> None:
    (copy_dir / "notes.txt").write_text("mine")
    (copy_dir / "words" / "drawings").mkdir()
    (copy_dir / "metadata" / "old").mkdir()
    (copy_dir / "code_functions" / "link.py").symlink_to("/etc/passwd")
    (copy_dir / "code_functions" / "__pycache__").mkdir()
    os.mkfifo(copy_dir / "words" / "TEMP_base" / "artifacts" / "pipe")
    TableVault(copy_dir, "ada").delete_table("scores")

    made = compress_vault(copy_dir)

    no_part, no_file = "it is no part of the vault", "it is neither a regular file nor a folder"
    assert {each.name: each.why for each in made.left_out} == {
        "notes.txt": no_part,
        "words/drawings": no_part,
        "metadata/old": no_part,
        "code_functions/link.py": no_file,
        "words/TEMP_base/artifacts/pipe": no_file,
        "metadata/trash": "the trash holds a thing that was deleted",
    }
    decompress_vault(copy_dir.with_name("copy"), made)
    states.assert_sound(copy_dir.with_name("copy"))


def test_nothing_of_a_vault_is_left_out(paused: TableVault, copy_dir: Path) -> None:
    write(paused, "names", pd.DataFrame({"n": [1]}))
    paused.rename_table("people", "names")
    assert compress_vault(copy_dir).left_out == ()


NAMES = [
    "a b",
    "Ä" * 100,
    "日本" * 40,
    "new\nline",
    "-rf",
    "x" * 255,
    "*",
    "a\\b",
    "é",
    "e\u0301",
    "A.txt",
    "a.txt",
    "\udcff",
]


def test_names_of_any_kind_survive(copy_dir: Path) -> None:
    artifacts = copy_dir / "words" / "TEMP_base" / "artifacts"
    for name in NAMES:
        (artifacts / name).write_text(ascii(name))
    deep = artifacts.joinpath(*["folder"] * 40)
    deep.mkdir(parents=True)
    (deep / "empty").touch()

    copy = Path(restored(copy_dir).db_dir)

    assert states.differences(compared(copy), compared(copy_dir)) == []


def test_whoever_may_only_read_can_archive(paused: TableVault, copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Catalog) -> None:
        raise TVFileError("not yours")

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "transaction", refuse)
        patch.setattr(databases, "may_write", lambda path: False)
        archive = compress_vault(copy_dir, preset=0)
    copy = decompress_vault(copy_dir.with_name("copy"), archive)
    assert states.differences(compared(copy.path), compared(copy_dir)) == []


def test_permissions_are_kept_and_never_widened(copy_dir: Path, tmp_path: Path) -> None:
    copy_dir.chmod(0o700)
    (copy_dir / "code_functions" / "tools.py").chmod(0o777)
    old = os.umask(0o027)
    try:
        archive = compress_vault(copy_dir).path
        copy = decompress_vault(tmp_path / "copy", archive).path
    finally:
        os.umask(old)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert stat.S_IMODE((copy / "code_functions" / "tools.py").stat().st_mode) == 0o750
    for path in copy.rglob("*"):
        assert path.stat().st_mode & 0o027 == 0, path
    (instance,) = (path for path in (copy / "words").iterdir() if path.name.startswith("base_"))
    assert all(path.stat().st_mode & 0o222 == 0 for path in instance.rglob("*") if path.is_file())


def test_progress_is_told_in_order(copy_dir: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    made = compress_vault(copy_dir, observer=told.append)
    assert [each.stage for each in told[:2]] == [Stage.COLLECTING, Stage.PACKING]
    assert (told[-1].done, told[-1].total) == (made.total, made.total)
    told.clear()
    decompress_vault(tmp_path / "copy", made, observer=told.append)
    assert list(dict.fromkeys(each.stage for each in told)) == [Stage.UNPACKING, Stage.CHECKING]
    for stage in (Stage.UNPACKING, Stage.CHECKING):
        done = [each.done for each in told if each.stage is stage]
        assert done == sorted(done)


def test_an_observer_that_fails_is_left_alone(copy_dir: Path) -> None:
    calls: list[Progress] = []

    def fail(progress: Progress) -> None:
        calls.append(progress)
        raise ValueError("no screen")

    assert compress_vault(copy_dir, observer=fail).files > 0
    assert len(calls) == 1


def test_equal_artifacts_take_their_space_once_and_are_shown(copy_dir: Path, calls: Calls) -> None:
    vault = TableVault(copy_dir, "ada")
    vault.execute_instance("words")
    first, second = vault.get_table_instances("words")
    archive = compress_vault(copy_dir)
    with tarfile.open(archive) as members:
        assert not [name for name in members.getnames() if name.startswith("vault/words/artifacts")]

    copy = decompress_vault(copy_dir.with_name("copy"), archive).path

    for folder in (copy_dir, copy):
        one, two, shown = (
            folder / "words" / name for name in (f"{first}/artifacts", f"{second}/artifacts", "artifacts")
        )
        is_shared = (one / "ape.txt").samefile(two / "ape.txt")
        assert is_shared == (copy_dir / "words" / first / "artifacts" / "ape.txt").samefile(
            copy_dir / "words" / second / "artifacts" / "ape.txt"
        )
        assert sorted(path.name for path in shown.iterdir()) == sorted(f"{word}.txt" for word in WORDS)
    states.assert_sound(copy)


def test_a_commit_that_was_cut_short_is_rolled_back(paused: TableVault, copy_dir: Path) -> None:
    rows = copy_dir / "metadata" / "processes" / "p" / "rows.sqlite"
    before = paused.get_dataframe("words", "TEMP_base", full_artifact_path=False)
    code = f"""
import os, signal, sqlite3
db = sqlite3.connect({str(rows)!r}, isolation_level=None)
db.execute("PRAGMA journal_mode = PERSIST")
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE rows SET value = 'broken'")
for number in range(200):
    db.execute("INSERT INTO codes (fingerprint) VALUES (?)", (str(number) * 4000,))
os.kill(os.getpid(), signal.SIGKILL)
"""
    size = rows.stat().st_size
    subprocess.run([sys.executable, "-c", code])
    assert rows.stat().st_size > size, "nothing was written before the end"

    copy = restored(copy_dir)

    pd.testing.assert_frame_equal(copy.get_dataframe("words", "TEMP_base", full_artifact_path=False), before)


def test_every_archive_of_a_busy_vault_is_sound(copy_dir: Path, calls: Calls) -> None:
    """Others create, execute, rename and delete; what was under way in an archive is reverted, resumed or left."""
    begun, over = threading.Event(), threading.Event()
    worker = Background(_keep_busy, copy_dir, begun, over)
    try:
        assert begun.wait(PATIENCE)
        for _ in range(8):
            copy = Path(restored(copy_dir).db_dir)
            TableVault(copy, "bob", restart=True)
            states.assert_sound(copy)
            delete_vault(copy)
            copy_dir.with_name("an.tar.xz").unlink()
    finally:
        over.set()
        worker.result()
    states.assert_sound(copy_dir)


def _keep_busy(vault_dir: Path, begun: threading.Event, over: threading.Event) -> None:
    vault, number = TableVault(vault_dir, "eve"), 0
    while not over.is_set():
        number += 1
        vault.create_table("busy")
        builders = {("busy_index" if name == "words_index" else name): text for name, text in BUILDERS.items()}
        vault.create_instance("busy", builders=builders)
        begun.set()
        vault.execute_instance("busy", process_id=f"busy-{number}" if number % 2 else None)
        vault.rename_table("done", "busy")
        vault.delete_table("done")
