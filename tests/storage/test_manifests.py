"""The manifest of an instance: all that a catalog would need to know of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tablevault_like.errors import TVFileError
from tablevault_like.storage import manifests


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
