"""Every file of an instance is held to its checksum; no damage makes a check fail."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.check import Kind, Severity
from tests.check.conftest import change, check, flip, overwrite, the_one

INSTANCE_FILES = ("table.parquet", "manifest.json", "description.yaml", "builders/shout.yaml", "artifacts/dog.txt")


def name(instance: Path, file: str) -> str:
    return f"words/{instance.name}/{file}"


@pytest.mark.parametrize("file", INSTANCE_FILES)
class TestAFileOfAnInstance:
    def test_of_which_a_bit_was_flipped_is_found(self, copy_dir: Path, instance: Path, file: str) -> None:
        flip(instance / file, 10)

        found = the_one(check(copy_dir), Kind.CORRUPTION, name(instance, file))

        assert (found.severity, found.table_name, found.instance_id) == (Severity.ERROR, "words", instance.name)
        assert f"delete_instance('{instance.name}', 'words')" in found.to_do or file == "manifest.json"

    def test_that_was_cut_short_is_found_without_reading_it(self, copy_dir: Path, instance: Path, file: str) -> None:
        overwrite(instance / file, lambda raw: raw.pop())

        found = the_one(check(copy_dir, contents=False), Kind.CORRUPTION, name(instance, file))

        assert file == "manifest.json" or "bytes instead of" in found.what

    def test_that_is_missing_is_found(self, copy_dir: Path, instance: Path, file: str) -> None:
        (instance / file).unlink()

        found = the_one(check(copy_dir, contents=False), Kind.CORRUPTION, name(instance, file))

        assert found.what == "It is missing."

    @pytest.mark.parametrize("kind", ["folder", "pipe", "link", "socket", "hanging link"])
    def test_in_whose_place_something_else_stands_is_found(
        self, copy_dir: Path, instance: Path, file: str, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = instance / file
        kept = path.rename(copy_dir.parent / "kept")
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "link":
                path.symlink_to(kept)
            case "hanging link":
                path.symlink_to("nothing")
            case "socket":
                monkeypatch.chdir(path.parent)
                with socket.socket(socket.AF_UNIX) as made:
                    made.bind(path.name)

        found = the_one(check(copy_dir), Kind.CORRUPTION, name(instance, file))

        assert "should be a file" in found.what


def test_swapped_files_are_found(copy_dir: Path, instance: Path) -> None:
    one, other, spare = (instance / "artifacts" / f"{each}.txt" for each in ("ape", "bee", "spare"))
    one.rename(spare)
    other.rename(one)
    spare.rename(other)

    report = check(copy_dir)

    assert [each.where for each in report if each.severity is Severity.ERROR] == [
        name(instance, "artifacts/ape.txt"),
        name(instance, "artifacts/bee.txt"),
    ]


def test_a_file_more_is_told_and_somebody_should_look(copy_dir: Path, instance: Path) -> None:
    (instance / "artifacts" / "extra").mkdir()
    (instance / "artifacts" / "extra" / "file.txt").touch()

    report = check(copy_dir, "words")

    found = the_one(report, Kind.UNKNOWN, name(instance, "artifacts/extra/file.txt"))
    assert found.severity is Severity.WARNING
    assert not report.ok


def test_an_instance_whose_folder_is_gone_is_told_once(copy_dir: Path, instance: Path) -> None:
    instance.rename(copy_dir.parent / "elsewhere")

    report = check(copy_dir)

    assert the_one(report, Kind.CORRUPTION, f"words/{instance.name}").what == "The folder of the instance is missing."


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "7",
        '{"files": []}',
        '{"files": {"../../x": {"sha256": "", "size": 0}}}',
        "[" * 100_000,
        "\xff",
        "",
    ],
    ids=["list", "null", "number", "files", "outside", "deep", "binary", "empty"],
)
def test_a_manifest_that_is_none_is_found_even_where_its_checksum_is_right(
    copy_dir: Path, instance: Path, text: str
) -> None:
    raw = text.encode("latin-1")
    overwrite(instance / "manifest.json", lambda old: old.__setitem__(slice(None), raw))
    change(
        copy_dir / "metadata/catalog.sqlite",
        "UPDATE instances SET manifest_sha256 = ? WHERE instance_id = ?",
        hashlib.sha256(raw).hexdigest(),
        instance.name,
    )

    assert "can't be read" in the_one(check(copy_dir), Kind.CORRUPTION, name(instance, "manifest.json")).what


@pytest.mark.parametrize(("column", "value"), [("rows", 7), ("created_at", 1.5), ("success", 0), ("external_edit", 1)])
def test_a_catalog_that_says_otherwise_is_found(copy_dir: Path, instance: Path, column: str, value: object) -> None:
    change(
        copy_dir / "metadata/catalog.sqlite",
        f"UPDATE instances SET {column} = ? WHERE instance_id = ?",
        value,
        instance.name,
    )

    assert f"differ in '{column}'" in the_one(check(copy_dir), Kind.CORRUPTION, name(instance, "manifest.json")).what


def test_columns_that_the_catalog_has_otherwise_are_found_in_the_table_too(copy_dir: Path, instance: Path) -> None:
    change(copy_dir / "metadata/catalog.sqlite", "UPDATE columns SET dtype = 'Int64' WHERE name = 'shout'")

    found = [each.where for each in check(copy_dir) if each.instance_id == instance.name]

    assert found == [name(instance, "manifest.json"), name(instance, "table.parquet")]


def test_what_may_not_be_read_is_told_as_not_checked(
    copy_dir: Path, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.open

    def refuse(path: object, *arguments: object, **fields: object) -> int:
        if path == "table.parquet" or str(path).endswith("table.parquet"):
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)

    report = check(copy_dir)

    found = the_one(report, Kind.UNCHECKED, name(instance, "table.parquet"))
    assert "Permission denied" in found.what
    assert not report.ok


class TestATemporaryInstance:
    def test_whose_folder_is_gone_is_found(self, copy_dir: Path) -> None:
        (copy_dir / "scores/TEMP_base").rename(copy_dir.parent / "elsewhere")

        found = the_one(check(copy_dir), Kind.CORRUPTION, "scores/TEMP_base")

        assert "delete_instance('TEMP_base', 'scores')" in found.to_do

    def test_with_a_builder_file_that_is_binary_is_told(self, copy_dir: Path) -> None:
        (copy_dir / "words/TEMP_base/builders/shout.yaml").write_bytes(b"\x00\xff\xfe")

        report = check(copy_dir)

        assert the_one(report, Kind.CORRUPTION, "words/TEMP_base/builders/shout.yaml").severity is Severity.WARNING

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.mkdir(), lambda path: path.symlink_to("x")])
    def test_with_something_else_for_a_builder_is_told(self, copy_dir: Path, make: Callable[[Path], None]) -> None:
        make(copy_dir / "words/TEMP_base/builders/more.yaml")

        the_one(check(copy_dir), Kind.CORRUPTION, "words/TEMP_base/builders/more.yaml")

    def test_that_is_edited_by_hand_is_sound(self, copy_dir: Path) -> None:
        (copy_dir / "words/TEMP_base/builders/more.yaml").write_text("not a builder yet")
        (copy_dir / "words/TEMP_base/artifacts/new.txt").touch()

        assert list(check(copy_dir)) == []


def test_the_way_on_leads_on(copy_dir: Path, instance: Path) -> None:
    flip(instance / "table.parquet", 10)

    TableVault(copy_dir).delete_instance(instance.name, "words")

    assert list(check(copy_dir)) == []


def test_random_damage_of_instances_is_always_found_and_never_breaks_the_check(
    copy_dir: Path, instance: Path, is_full: bool
) -> None:
    dice = random.Random(11)
    listed = sorted(json.loads((instance / "manifest.json").read_text())["files"])
    for _ in range(400 if is_full else 40):
        path = instance / dice.choice([*listed, "manifest.json"])
        before = path.read_bytes()
        match dice.randrange(3):
            case 0:
                flip(path, dice.randrange(1 << 30), dice.randrange(8))
            case 1:
                overwrite(path, lambda raw: raw.__delitem__(slice(dice.randrange(len(raw)), None)))
            case 2:
                overwrite(path, lambda raw: raw.__setitem__(slice(None), bytes(len(raw))))
        is_changed = path.read_bytes() != before

        assert check(copy_dir, "words").ok != is_changed, path
        path.write_bytes(before)
    assert check(copy_dir).ok
