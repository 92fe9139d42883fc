"""A vault is restored where nothing is, as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tablevault_like import TableVault, decompress_vault
from tablevault_like.archive import labels, unpacking
from tablevault_like.archive.progress import Progress
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.tapes.members import Member
from tests import states
from tests.archive.tapes import Tape
from tests.scenes import Calls
from tests.workers import Action, Fault, Workers


def test_an_archive_written_anew_is_restored(tape: Tape, place: Path) -> None:
    made = decompress_vault(place / "vault", tape.write(place / "a.tar.xz"))
    assert TableVault(made).get_process("p").status == "paused"


@pytest.mark.parametrize("given", ["vault", "file", "full", "link to a file", "inside of a vault"])
def test_what_is_there_stays(given: str, sound: Path, place: Path) -> None:
    target = place / "vault"
    if given == "vault":
        decompress_vault(target, sound)
    elif given == "file":
        target.write_text("precious")
    elif given == "full":
        target.mkdir()
        (target / "precious").touch()
    elif given == "link to a file":
        (place / "precious").touch()
        target.symlink_to(place / "precious")
    else:
        decompress_vault(place / "outer", sound)
        target = place / "outer" / "inner"
    everything = sorted(place.rglob("*"))
    with pytest.raises(TVArgumentError, match=r"[Cc]hoose (another|a) place"):
        decompress_vault(target, sound)
    assert sorted(place.rglob("*")) == everything


def test_an_empty_folder_may_be_there(sound: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "vault").mkdir()
    monkeypatch.chdir(place / "vault")
    decompress_vault(".", sound)
    assert TableVault(place / "vault").get_table_instances() == ["words", "scores"]


def test_folders_above_it_are_made(sound: Path, place: Path) -> None:
    decompress_vault(place / "a" / "b" / "vault", sound)
    assert [path.name for path in (place / "a" / "b").iterdir()] == ["vault"]


def test_by_default_the_archive_lies_beside_it(sound: Path, place: Path) -> None:
    (place / "v.tar.xz").write_bytes(sound.read_bytes())
    assert decompress_vault(place / "v").files > 0
    with pytest.raises(TVArgumentError, match=r"There is no archive .*/w.tar.xz"):
        decompress_vault(place / "w")
    assert not (place / "w").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_an_archive_is_a_file(kind: str, place: Path) -> None:
    archive = place / "a"
    archive.mkdir() if kind == "folder" else os.mkfifo(archive)
    with pytest.raises(TVArgumentError, match="is not a regular file"):
        decompress_vault(place / "vault", archive)


@pytest.mark.parametrize("fields", [{"max_bytes": -1}, {"max_bytes": True}, {"max_bytes": 1.5}, {"archive": 3}])
def test_wrong_arguments_are_told(fields: dict[str, Any], sound: Path, place: Path) -> None:
    with pytest.raises(TVArgumentError, match="must be a"):
        decompress_vault(place / "vault", **{"archive": sound, **fields})


def test_what_appears_at_its_place_meanwhile_stays(sound: Path, place: Path) -> None:
    def put(progress: Progress) -> None:
        (place / "vault").mkdir(exist_ok=True)
        (place / "vault" / "precious").touch()

    with pytest.raises(TVArgumentError, match="Something was put at"):
        decompress_vault(place / "vault", sound, observer=put)
    assert [path.name for path in place.rglob("*")] == ["vault", "precious"]


def test_a_full_disk_leaves_nothing(sound: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: object, path: Path, member: Member, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpacking._Unpacking, "_write", write)
    with pytest.raises(TVFileError, match=r"No vault can be restored at .*: No space left on device"):
        decompress_vault(place / "vault", sound)
    assert list(place.iterdir()) == []


def test_an_interrupt_leaves_nothing(sound: Path, place: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decompress_vault(place / "vault", sound, observer=interrupt)
    assert list(place.iterdir()) == []


def decompress(target: Path, archive: Path) -> None:
    """Restore a vault: the task of a worker."""
    decompress_vault(target, archive)


def test_what_a_killed_worker_left_is_removed_by_the_next(
    sound: Path, place: Path, workers: Workers, calls: Calls
) -> None:
    target = place / "vault"
    point = "before tablevault_like.archive.unpacking:_take_place"
    workers.run(decompress, target, sound, faults=[Fault(point, Action.KILL)])
    (left,) = place.iterdir()
    assert left.name.startswith(".vault.")
    assert left.name.endswith(".restoring")
    other = workers.start(decompress, target, sound, faults=[Fault(point, Action.WAIT)])
    other.arrive()
    assert not left.exists()
    decompress_vault(target, sound)
    assert len(list(place.iterdir())) == 2
    other.go()
    with pytest.raises(TVArgumentError, match="Something was put at"):
        other.result()
    assert list(place.iterdir()) == [target]
    TableVault(target).execute_instance("words", process_id="p")
    states.assert_sound(target)


def test_all_of_it_is_on_the_disk_before_it_is_named(sound: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    fsync, rename = os.fsync, Path.rename

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(self: Path, target: Path) -> Path:
        if target == place / "vault":
            assert all(path.stat().st_ino in synced for path in (self, *self.rglob("*")))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", checked)
    decompress_vault(place / "vault", sound)
    assert place.stat().st_ino in synced


@example("my vault")
@given(st.text(min_size=1, max_size=50))
def test_a_label_survives(name: str) -> None:
    label = labels.Label(name, 1, 2, 3)
    assert labels.Label.from_json(label.to_json()) == label
