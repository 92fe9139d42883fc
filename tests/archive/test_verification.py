"""A vault whose files, checksums or catalog aren't right never comes out of an archive."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import decompress_vault
from tests.archive.tapes import Tape, add, refused


def in_catalog(sql: str) -> Callable[[Tape], object]:
    return lambda tape: tape.edit_database("metadata/catalog.sqlite", lambda db: db.executescript(sql))


def in_rows(sql: str) -> Callable[[Tape], object]:
    return lambda tape: tape.edit_database("p/rows.sqlite", lambda db: db.executescript(sql))


def to(end: str, content: bytes) -> Callable[[Tape], object]:
    return lambda tape: tape.set_content(tape.find(end), content)


def without(part: str) -> Callable[[Tape], object]:
    return lambda tape: setattr(tape, "items", [item for item in tape.items if part not in item.name])


def of_instance(name: str, content: bytes | None) -> Callable[[Tape], object]:
    """Add a file to the materialized instance, replace it, or remove it."""

    def change(tape: Tape) -> None:
        folder = tape.find("manifest.json").name.removesuffix("manifest.json").partition("/")[2]
        tape.items = [item for item in tape.items if not item.name.endswith(f"/{folder}{name}")]
        if content is not None:
            tape.add(folder + name, content)

    return change


VAULTS: dict[str, tuple[Callable[[Tape], object], str]] = {
    "no marker": (without(".tablevault"), "it holds no vault"),
    "a marker of something else": (to(".tablevault", b"0.1\n"), "its vault has the format '0.1'"),
    "a marker of a later format": (to(".tablevault", b"tablevault_like 99\n"), "has the format 'tablevault_like 99'"),
    "no catalog": (without("catalog.sqlite"), "its vault has no catalog"),
    "a catalog that is none": (to("catalog.sqlite", b"SELECT" * 2000), "its catalog is damaged"),
    "an empty catalog": (to("catalog.sqlite", b""), "its catalog"),
    "a catalog of something else": (in_catalog("PRAGMA application_id = 1"), "is not one of tablevault_like's"),
    "a later catalog": (in_catalog("PRAGMA user_version = 99"), "its catalog can't be read .*version 99"),
    "a catalog that lacks a table": (in_catalog("DROP TABLE waiters; DROP TABLE tables"), "its catalog"),
    "a trigger in the catalog": (
        in_catalog("CREATE TRIGGER evil AFTER INSERT ON tables BEGIN DELETE FROM instances; END"),
        "holds the trigger evil",
    ),
    "a view in the catalog": (in_catalog("CREATE VIEW evil AS SELECT 1"), "holds the view evil"),
    "a row that refers to nothing": (
        in_catalog("INSERT INTO lineage (instance, source_table_id, source_id) VALUES (999, 999, 'x')"),
        "refers to nothing",
    ),
    "a table whose folder leads up": (
        in_catalog("UPDATE tables SET folder = '../x' WHERE name = 'words'"),
        "which no table can have",
    ),
    "a table whose folder is absolute": (
        in_catalog("UPDATE tables SET next_folder = '/tmp'"),
        "which no table can have",
    ),
    "an instance whose id leads up": (
        in_catalog(
            "UPDATE instances SET instance_id = '../x' WHERE status = 'temporary' AND version = 'base'"
            " AND number IN (SELECT max(number) FROM instances)"
        ),
        "which can't be",
    ),
    "a version that leads up": (in_catalog("UPDATE instances SET version = '../x'"), "its catalog is wrong"),
    "a process that does what nobody knows": (
        in_catalog("UPDATE processes SET operation = 'evil' WHERE process_id = 'p'"),
        "does 'evil', which this release can't",
    ),
    "a process whose arguments lead up": (
        in_catalog(
            'UPDATE processes SET operation = \'create_instance\', arguments = \'{"table_name": "words", "version":'
            " \"../x\"}' WHERE process_id = 'p'"
        ),
        "can't be resumed",
    ),
    "a process whose arguments are none": (
        in_catalog("UPDATE processes SET arguments = '[1' WHERE process_id = 'p'"),
        "its catalog can't be read",
    ),
    "a journal beside the catalog": (add("metadata/catalog.sqlite-journal", b"x"), "is no part of a vault"),
    "a journal beside the rows": (add("metadata/processes/p/rows.sqlite-wal", b"x"), "is no part of a vault"),
    "a worker lock": (add("metadata/processes/p/worker.lock", b"{}"), "is no part of an archive"),
    "something in the trash": (add("metadata/trash/x", b"x"), "is no part of a vault"),
    "something in the vault": (add("evil", b"x"), "'evil' is no part of a vault"),
    "something beside the catalog": (add("metadata/evil", b"x"), "'metadata/evil' is no part of a vault"),
    "something in a table": (add("words/evil", b"x"), "'words/evil' is no part of a vault"),
    "an instance that isn't there": (add("words/TEMP_evil", kind=tarfile.DIRTYPE), "'words/TEMP_evil' is no part"),
    "rows that are none": (to("p/rows.sqlite", b"x" * 4096), "the row store .* is damaged"),
    "a trigger in the rows": (
        in_rows("CREATE TRIGGER evil AFTER INSERT ON rows BEGIN DELETE FROM rows; END"),
        "holds the trigger evil",
    ),
    "a file more in an instance": (of_instance("artifacts/evil", b"x"), "which its manifest doesn't have"),
    "a file less in an instance": (of_instance("artifacts/ape.txt", None), "lacks the file 'artifacts/ape.txt'"),
    "another file in an instance": (of_instance("artifacts/ape.txt", b"bed"), "isn't what its manifest says"),
    "another manifest": (of_instance("manifest.json", b"{}"), "isn't the one that its catalog knows"),
    "no manifest": (of_instance("manifest.json", None), "has no manifest"),
}


@pytest.mark.parametrize(("change", "message"), VAULTS.values(), ids=VAULTS)
def test_a_vault_that_isnt_sound_is_refused(
    change: Callable[[Tape], object], message: str, tape: Tape, place: Path
) -> None:
    change(tape)
    tape.relabel()
    refused(tape.write(place / "a.tar.xz"), message)


def test_a_file_whose_content_was_changed_is_refused(tape: Tape, place: Path) -> None:
    item = tape.find("code_functions/tools.py")
    item.content = item.content.swapcase()
    refused(tape.write(place / "a.tar.xz"), "tools.py' isn't what it was when it was archived")


def test_a_file_without_a_checksum_is_refused(tape: Tape, place: Path) -> None:
    tape.find("code_functions/tools.py").info.pax_headers = {}
    refused(tape.write(place / "a.tar.xz"), "tools.py' isn't what it was when it was archived")


def test_nothing_of_it_is_run(tape: Tape, place: Path) -> None:
    tape.set_content(tape.find("code_functions/tools.py"), b"open('/tmp/tablevault_ran', 'w')")
    tape.relabel()
    decompress_vault(place / "vault", tape.write(place / "a.tar.xz"))
    assert not Path("/tmp/tablevault_ran").exists()


def test_special_permissions_are_not_given(tape: Tape, place: Path) -> None:
    tape.find("code_functions/tools.py").info.mode = 0o6777
    tape.find("vault/code_functions").info.mode = 0o3000
    made = decompress_vault(place / "vault", tape.write(place / "a.tar.xz")).path
    assert stat.S_IMODE((made / "code_functions" / "tools.py").stat().st_mode) & 0o7022 == 0
    assert stat.S_IMODE((made / "code_functions").stat().st_mode) == 0o700
