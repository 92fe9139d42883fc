"""The manifest of an instance: all that a catalog would need to know of it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from tablevault_like.errors import TVFileError
from tablevault_like.storage import files, manifests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.txt").write_text("a")
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    return tmp_path


def test_lists_every_file_but_itself(folder: Path) -> None:
    target = folder / "manifest.json"

    digest = manifests.write(folder, target, known={"table": "stories", "rows": 3})

    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    assert manifests.read(target) == {
        "format": 1,
        "table": "stories",
        "rows": 3,
        "files": {
            "artifacts/a.txt": {"sha256": hashlib.sha256(b"a").hexdigest(), "size": 1},
            "table.parquet": {"sha256": hashlib.sha256(b"PAR1").hexdigest(), "size": 4},
        },
    }


def test_reads_no_file_again_whose_sha256_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def sha256(file: object) -> str:
        read.append(file)
        return "0" * 64

    monkeypatch.setattr(files, "sha256", sha256)
    target = folder / "manifest.json"

    manifests.write(folder, target, known={}, digests={"artifacts/a.txt": "1" * 64})

    assert manifests.read(target)["files"] == {
        "artifacts/a.txt": {"sha256": "1" * 64, "size": 1},
        "table.parquet": {"sha256": "0" * 64, "size": 4},
    }
    assert len(read) == 1


def test_tells_the_contents_of_a_folder(folder: Path) -> None:
    manifests.write(folder, folder / "manifest.json", known={})

    assert manifests.contents(folder / "manifest.json", "artifacts") == {"a.txt": (hashlib.sha256(b"a").hexdigest(), 1)}


@pytest.mark.parametrize(
    "text", ["{}", '{"files": 1}', '{"files": {"artifacts/a": {}}}', '{"files": {"artifacts/a": 1}}']
)
def test_of_nonsense_has_no_contents(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(ValueError, match="a manifest has files"):
        manifests.contents(tmp_path / "manifest.json", "artifacts")


def test_makes_every_file_read_only(folder: Path) -> None:
    manifests.write(folder, folder / "manifest.json", known={})

    assert [path for _, path in files.regular_files(folder) if path.stat().st_mode & 0o222] == []


def test_is_not_written_over_another(folder: Path) -> None:
    manifests.write(folder, folder / "manifest.json", known={})

    with pytest.raises(FileExistsError):
        manifests.write(folder, folder / "manifest.json", known={})


def test_refuses_what_is_no_file(folder: Path) -> None:
    (folder / "link").symlink_to("table.parquet")

    with pytest.raises(TVFileError):
        manifests.write(folder, folder / "manifest.json", known={})


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_is_a_json_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(ValueError, match=r"manifest|Expect"):
        manifests.read(tmp_path / "manifest.json")


def test_what_cannot_be_protected_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, mode: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "fchmod", refuse)

    with pytest.raises(OSError, match=re.escape(str(folder / "artifacts" / "a.txt"))):
        manifests.write(folder, folder / "manifest.json", known={})
