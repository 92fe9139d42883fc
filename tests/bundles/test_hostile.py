"""Bundles that nobody should make: refused, with the name of the member, and nothing is left of them."""

from __future__ import annotations

import io
import json
import lzma
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import tables
from tests import states
from tests.bundles.pages import BUILDERS, CODE
from tests.bundles.tapes import LABEL, Tape, refused
from tests.tables import begin
from tests.workers import CALLS_VARIABLE


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the bundles of an instance and of a builder's results, to be read only."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CALLS_VARIABLE, str(folder / "calls"))
        vault = TableVault(folder / "vault", "ada", create=True)
        begin(vault, "pages", BUILDERS, code=CODE)
        vault.execute_instance("pages")
    whole, results = folder / "whole", folder / "results"
    vault.export_instance("pages", path=whole)
    vault.export_instance("pages", path=results, builder="page")
    return {"whole": whole, "results": results}


@pytest.fixture
def tape(bundles: dict[str, Path]) -> Tape:
    return Tape.read(bundles["whole"])


@pytest.fixture
def results(bundles: dict[str, Path]) -> Tape:
    return Tape.read(bundles["results"])


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> TableVault:
    """Return a vault in which nothing is ever changed: every test makes sure of that."""
    vault = TableVault(tmp_path_factory.mktemp("vault") / "vault", "bob", create=True)
    begin(vault, "pages", BUILDERS, code=CODE)
    return vault


@pytest.fixture
def fresh(tmp_path: Path) -> TableVault:
    """Return a vault of the test's own."""
    vault = TableVault(tmp_path / "vault", "bob", create=True)
    begin(vault, "pages", BUILDERS, code=CODE)
    return vault


def test_one_that_was_written_anew_is_imported(tape: Tape, results: Tape, fresh: TableVault, place: Path) -> None:
    tape.relist()
    fresh.import_instance(tape.write(place / "b"))
    results.relist()
    fresh.import_instance(results.write(place / "r"))

    assert len(fresh.get_table_instances("pages")) == 1
    states.assert_sound(Path(fresh.db_dir))


# --- members that are not what the label lists

RAW: dict[str, tuple[Callable[[Tape], object], str]] = {
    "a member more": (lambda tape: tape.add_raw("content/more", b"x"), "holds 'content/more', which its label"),
    "a member above": (lambda tape: tape.add_raw("../more", b"x"), r"holds '\.\./more'"),
    "an absolute member": (lambda tape: tape.add_raw("/etc/more", b"x"), "holds '/etc/more'"),
    "a member twice": (
        lambda tape: tape.add_raw("content/table.parquet", tape.members["table.parquet"]),
        "holds 'content/table.parquet', which its label doesn't list there",
    ),
    "a symbolic link": (
        lambda tape: tape.add_raw("content/link", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "'content/link' is a symbolic link",
    ),
    "a hard link": (
        lambda tape: tape.add_raw("content/link", kind=tarfile.LNKTYPE, linkname="/etc/passwd"),
        "'content/link' is a hard link",
    ),
    "a device": (lambda tape: tape.add_raw("content/null", kind=tarfile.CHRTYPE), "'content/null' is a device"),
    "a pipe": (lambda tape: tape.add_raw("content/pipe", kind=tarfile.FIFOTYPE), "'content/pipe' is a pipe"),
    "a folder": (lambda tape: tape.add_raw("content/dir", kind=tarfile.DIRTYPE), "holds 'content/dir'"),
    "a member is missing": (lambda tape: tape.members.pop("table.parquet"), "'table.parquet'"),
    "the last is missing": (lambda tape: tape.members.popitem(), "it lacks 'table.parquet'"),
    "another order": (
        lambda tape: tape.members.update({"builders/page.yaml": tape.members.pop("builders/page.yaml")}),
        "where its label lists 'builders/page.yaml'",
    ),
    "a wrong checksum": (
        lambda tape: tape.members.update({"code/work.py": tape.members["code/work.py"].replace(b"a", b"b")}),
        "'code/work.py' isn't what it was when it was exported: its checksum is wrong",
    ),
    "a larger member": (
        lambda tape: tape.members.update({"code/work.py": tape.members["code/work.py"] + b"x"}),
        "'code/work.py' has .* bytes, and its label says",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_members_that_the_label_does_not_list(name: str, tape: Tape, vault: TableVault, place: Path) -> None:
    change, message = RAW[name]
    change(tape)
    refused(vault, tape.write(place / "b"), message)


# --- labels

LISTS: dict[str, tuple[str, str]] = {
    "above": ("../x", r"'\.\./x' would lie outside"),
    "far above": ("artifacts/../../../x", "would lie outside"),
    "absolute": ("/x", "would lie outside"),
    "an empty part": ("artifacts//x", "would lie outside"),
    "a NUL": ("artifacts/a\0b", "would lie outside"),
    "no part of an instance": ("x", "'x' is no part of an instance"),
    "another folder": ("results/x", "'results/x' is no part of an instance"),
    "a file in place of a folder": ("artifacts", "'artifacts' is"),
    "deep": ("artifacts/" + "d/" * 120 + "x", "folders deep"),
    "long": ("artifacts/" + "x" * 300, "is too long a name"),
    "no Unicode": ("artifacts/\ud83d", "is a name that no file has"),
    "a folder that is a file": ("builders/page.yaml/x", "is in it twice|is no part"),
}


@pytest.mark.parametrize("name", LISTS)
def test_names_that_lead_elsewhere(name: str, tape: Tape, vault: TableVault, place: Path) -> None:
    path, message = LISTS[name]
    tape.set("artifacts/more", b"x")
    content = tape.members.pop("artifacts/more")
    tape.members = {**tape.members, path: content} if "\ud83d" not in path else tape.members
    tape.label["files"][-1]["name"] = path
    refused(vault, tape.write(place / "b"), message)


def label_with(change: Callable[[dict[str, Any]], object]) -> Callable[[Tape], object]:
    return lambda tape: change(tape.label)


LABELS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda label: label.update(tablevault_like_bundle=2), "is of format 2, and this release .* 1"),
    "no format": (lambda label: label.pop("tablevault_like_bundle"), "'tablevault_like_bundle'"),
    "no table": (lambda label: label.pop("table"), "'table'"),
    "a forbidden table": (lambda label: label["table"].update(name="artifacts"), "Forbidden Table Name: artifacts"),
    "a table elsewhere": (lambda label: label["table"].update(name="../x"), "table name '../x' is not allowed"),
    "a version elsewhere": (lambda label: label["instance"].update(version="../x"), "version '../x' is not allowed"),
    "an instance elsewhere": (
        lambda label: label["instance"].update(instance_id="base_1_../../x"),
        "names the instance 'base_1_../../x'",
    ),
    "a temporary instance": (
        lambda label: label["instance"].update(instance_id="TEMP_base"),
        "names the instance 'TEMP_base'",
    ),
    "another version": (lambda label: label["instance"].update(version="other"), "which can't be"),
    "no rows": (lambda label: label["instance"].update(rows=-1), "'instance.rows'"),
    "true rows": (lambda label: label["instance"].update(rows=True), "'instance.rows'"),
    "other rows": (lambda label: label["instance"].update(rows=7), "don't agree on 'rows'"),
    "other columns": (lambda label: label["instance"]["columns"].pop(), "doesn't tell the columns and rows"),
    "no success": (lambda label: label["instance"].update(success=False), "don't agree on 'success'"),
    "a strange time": (lambda label: label["instance"].update(created_at=float("nan")), "'instance.created_at'"),
    "a builder": (lambda label: label.update(builder="page"), "'builder'"),
    "a kind": (lambda label: label.update(kind="vault"), "'kind'"),
    "a file twice": (lambda label: label["files"].append(label["files"][1]), "lists .* twice"),
    "no manifest": (lambda label: label["files"].pop(0), "doesn't list 'manifest.json'"),
    "no files": (lambda label: label.update(files=[3]), "'files"),
    "a negative size": (lambda label: label["files"][1].update(size=-1), "'files.size'"),
    "a bomb": (lambda label: label["files"][1].update(size=1 << 60), "there is room for"),
    "no checksum": (lambda label: label["files"][1].update(sha256="x"), "has no checksum of"),
    "a talkative process": (lambda label: label.update(process={"x": "y" * (2 << 20)}), "too much about its process"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_are_not_sensible(name: str, tape: Tape, vault: TableVault, place: Path) -> None:
    change, message = LABELS[name]
    change(tape.label)
    refused(vault, tape.write(place / "b"), message)


def test_a_label_that_is_no_json(tape: Tape, vault: TableVault, place: Path) -> None:
    raw = tape.raw()
    for text in (b"{", b"[" * 100_000, b"3", b"\xff"):
        out = io.BytesIO()
        info = tarfile.TarInfo(LABEL)
        info.size = len(text)
        out.write(info.tobuf() + text + bytes(-len(text) % 512) + raw[512:])
        (place / "b").write_bytes(lzma.compress(out.getvalue(), preset=0))
        refused(vault, place / "b", f"its label {LABEL} (is damaged|says nothing sensible)")


def test_a_label_that_is_huge(vault: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch, tape: Tape) -> None:
    monkeypatch.setattr("tablevault_like.bundles.label.LONGEST", 1000)
    refused(vault, tape.write(place / "b"), "more than the 1,000 that one has")


# --- what is in the files

DAMAGED_JSON = (b"{", b"[]", b"3", b'{"format": 2}', b"[" * 50_000)

CONTENT: dict[str, tuple[Callable[[Tape], object], str]] = {
    "no table": (lambda tape: tape.drop("table.parquet"), "it lacks 'table.parquet'"),
    "a table that is none": (lambda tape: tape.set("table.parquet", b"PAR1"), "'table.parquet' can't be read"),
    "a pickled table": (
        lambda tape: tape.set("table.parquet", pickle.dumps(pd.DataFrame({"n": [1]}))),
        "'table.parquet' can't be read",
    ),
    "an unlisted file": (
        lambda tape: tape.set("artifacts/more", b"x", in_manifest=False),
        "'artifacts/more' is in it, and 'manifest.json' doesn't list it",
    ),
    "an artifact that no cell names": (
        lambda tape: tape.set("artifacts/more", b"x"),
        "the cells of 'table.parquet' and its artifacts don't match.*'more'",
    ),
    "an artifact that isn't there": (
        lambda tape: tape.drop("artifacts/dog.txt"),
        "don't match.*'dog.txt' doesn't exist",
    ),
    "a builder that is no YAML": (
        lambda tape: tape.set("builders/page.yaml", b"a: [b"),
        "'builders/page.yaml' is no builder file",
    ),
    "a builder that runs something": (
        lambda tape: tape.set("builders/page.yaml", b"!!python/object/apply:os.system ['touch ran']"),
        "'builders/page.yaml' is no builder file",
    ),
    "a builder of no form": (
        lambda tape: tape.set("builders/page.yaml", b"builder_type: X\n"),
        "'builders/page.yaml' is no builder file",
    ),
    "a builder of another kind of file": (
        lambda tape: tape.set("builders/page.py", b"import os\n"),
        "'builders/page.py' is no builder file",
    ),
    "a builder in a folder": (
        lambda tape: tape.set("builders/inner/page.yaml", b""),
        "'builders/inner.*' is no builder file",
    ),
    "a builder of a strange name": (
        lambda tape: tape.set("builders/a b.yaml", tape.members["builders/page.yaml"]),
        "'builders/a b.yaml' is no builder file",
    ),
    "provenance that leads elsewhere": (
        lambda tape: tape.edit(
            "provenance/builders.json", lambda told: told["builders"][1].update(name="../../../../../../etc/x")
        ),
        "'provenance/builders.json', or what it names, is damaged",
    ),
    "provenance that leads elsewhere, where something is": (
        lambda tape: tape.edit("provenance/builders.json", lambda told: rename(told, "page", "../provenance/page")),
        "'provenance/builders.json', or what it names, is damaged .*'../provenance/page' is not allowed",
    ),
    "provenance of other rows": (
        lambda tape: tape.set("provenance/page.parquet", shorter(tape.members["provenance/page.parquet"])),
        "'provenance/builders.json', or what it names, is damaged",
    ),
    "provenance of a strange hash": (
        lambda tape: tape.edit("provenance/builders.json", lambda told: told["builders"][1].update(input_hash="xyz")),
        "'provenance/builders.json', or what it names, is damaged",
    ),
    "a manifest that lists too much": (
        lambda tape: without_relisting(
            tape, "manifest.json", lambda told: told["files"].update(x={"sha256": "", "size": 0})
        ),
        "it lacks 'x', which 'manifest.json' lists",
    ),
    "a manifest that says otherwise": (
        lambda tape: without_relisting(
            tape, "manifest.json", lambda told: told["files"]["code/work.py"].update(sha256="0" * 64)
        ),
        "'code/work.py' isn't what 'manifest.json' says",
    ),
    "a manifest that is none": (
        lambda tape: without_relisting(tape, "manifest.json", lambda told: told.pop("files")),
        "'manifest.json' is damaged",
    ),
    "a manifest of another instance": (
        lambda tape: without_relisting(tape, "manifest.json", lambda told: told.update(instance="base_1_x")),
        "don't agree on 'instance'",
    ),
}


def rename(told: dict[str, Any], old: str, new: str) -> None:
    (builder,) = [each for each in told["builders"] if each["name"] == old]
    builder["name"] = new


def shorter(content: bytes) -> bytes:
    """Return a Parquet file with one row less."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        path.write_bytes(content)
        frame = tables.read_table(path).iloc[:-1].reset_index(drop=True)
        tables.write_table(path, frame)
        return path.read_bytes()


def without_relisting(tape: Tape, name: str, change: Callable[[Any], object]) -> None:
    """Change the manifest, and let only the label say so."""
    found = json.loads(tape.members[name])
    change(found)
    tape.members[name] = json.dumps(found).encode()
    tape.relist(in_manifest=False)


@pytest.mark.parametrize("name", CONTENT)
def test_files_that_no_instance_has(name: str, tape: Tape, vault: TableVault, place: Path) -> None:
    change, message = CONTENT[name]
    change(tape)
    refused(vault, tape.write(place / "b"), message)
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["provenance/plan.json", "provenance/builders.json", "manifest.json"])
def test_json_of_another_form(name: str, tape: Tape, vault: TableVault, place: Path) -> None:
    for text in DAMAGED_JSON:
        tape.members[name] = text
        tape.relist(in_manifest=name != "manifest.json") if name != "manifest.json" else relabel(tape)
        if (name, text) == ("provenance/builders.json", b'{"format": 2}'):
            continue  # what a later release has written is kept, and never read
        refused(vault, tape.write(place / "b"), f"'{name}'.* (is no plan|is damaged)")


def relabel(tape: Tape) -> None:
    import hashlib

    for each in tape.label["files"]:
        content = tape.members[each["name"]]
        each.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("cell", ["../table.parquet", "/etc/passwd", "a/../../x", "artifacts.txt/"])
def test_cells_that_lead_elsewhere(cell: str, tape: Tape, vault: TableVault, place: Path) -> None:
    path = place / "t.parquet"
    path.write_bytes(tape.members["table.parquet"])
    frame = tables.read_table(path)
    frame.loc[0, "page"] = cell
    tables.write_table(path, frame, {"page": "artifact_string"})
    tape.set("table.parquet", path.read_bytes())
    message = r"the cells of 'table.parquet' and its artifacts don't match \(The artifact name '.*' is not allowed"
    refused(vault, tape.write(place / "b"), message)


def test_results_without_provenance(results: Tape, vault: TableVault, place: Path) -> None:
    results.drop("provenance/builders.json")
    refused(vault, results.write(place / "b"), "it lacks 'provenance/builders.json'")


def test_results_without_their_builder(results: Tape, vault: TableVault, place: Path) -> None:
    results.drop("builders/page.yaml")
    refused(vault, results.write(place / "b"), "it lacks the builder file 'builders/page.yaml'")


# --- files that are no bundles, or parts of one


def test_no_part_of_a_bundle_is_one(tape: Tape, vault: TableVault, place: Path) -> None:
    whole = tape.write(place / "b").read_bytes()
    for length in {0, 1, 100, 5000, len(whole) // 2, len(whole) - 4, len(whole) - 1}:
        (place / "b").write_bytes(whole[:length])
        refused(vault, place / "b", "it is cut off|ends too early|is damaged|isn't compressed")
    (place / "b").write_bytes(whole + b"x")
    refused(vault, place / "b", "it goes on behind its end")


def test_a_flipped_bit_is_noticed(tape: Tape, vault: TableVault, place: Path) -> None:
    whole = tape.write(place / "b").read_bytes()
    for at in range(20, len(whole), len(whole) // 12):
        (place / "b").write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        refused(vault, place / "b", "Nothing was imported")


def test_an_archive_of_a_vault_is_none(vault: TableVault, place: Path, tmp_path: Path) -> None:
    from tablevault_like import compress_vault

    TableVault(tmp_path / "other", create=True)
    made = compress_vault(tmp_path / "other", place / "v.tar.xz")
    refused(vault, made.path, r"it is no bundle: its first member isn't .*decompress")


def test_a_bomb_is_cut_off(tape: Tape, vault: TableVault, place: Path) -> None:
    tape.members["code/work.py"] = bytes(200 << 20)
    refused(vault, tape.write(place / "b"), "'code/work.py' has 209,715,200 bytes, and its label says")


def test_max_bytes_refuses_less(tape: Tape, vault: TableVault, place: Path) -> None:
    refused(vault, tape.write(place / "b"), "more than the 100 that max_bytes= allows", max_bytes=100)
    with pytest.raises(TVArgumentError, match="max_bytes must be a number"):
        vault.import_instance(place / "b", max_bytes=-1)


def test_there_must_be_a_file(vault: TableVault, place: Path) -> None:
    with pytest.raises(TVArgumentError, match=r"There is no bundle .*/none"):
        vault.import_instance(place / "none")
    with pytest.raises(TVArgumentError, match="not a regular file"):
        vault.import_instance(place)
    os.mkfifo(place / "pipe")
    with pytest.raises(TVArgumentError, match="not a regular file"):
        vault.import_instance(place / "pipe")


@pytest.mark.parametrize("file", ["x.pth", "not a module.py", "class.py"])
def test_code_that_no_vault_can_have(file: str, tape: Tape, vault: TableVault, place: Path) -> None:
    tape.set(f"code/{file}", b"A = 1\n")
    before = states.state(Path(vault.db_dir))

    with pytest.raises(TVArgumentError, match="code module name"):
        vault.import_instance(tape.write(place / "b"), "other", with_code=True)

    assert states.state(Path(vault.db_dir)) == before


def test_a_damaged_instance_is_not_exported(tmp_path: Path, fresh: TableVault, place: Path, tape: Tape) -> None:
    tape.relist()
    fresh.import_instance(tape.write(place / "b"))
    folder = Path(fresh.db_dir, "pages", fresh.get_table_instances("pages")[0])
    for name in ("artifacts/dog.txt", "provenance/page.parquet", "table.parquet", "manifest.json"):
        content = (folder / name).read_bytes()
        (folder / name).chmod(0o644)
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        for builder in (None, "page"):
            with pytest.raises(TVFileError, match=f"{name} isn't what it was"):
                fresh.export_instance("pages", path=tmp_path / "out", builder=builder)
        (folder / name).write_bytes(content)
    (folder / "artifacts/dog.txt").unlink()
    with pytest.raises(TVFileError, match=r"dog\.txt is missing"):
        fresh.export_instance("pages", path=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
