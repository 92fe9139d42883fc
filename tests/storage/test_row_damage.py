from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import tablevault_like
from tablevault_like.errors import TVCheckpointError, TVFileError
from tablevault_like.model import RowStatus
from tablevault_like.storage import room, row_files, sums
from tablevault_like.storage.row_damage import row_store_damage, salvage
from tablevault_like.storage.row_reader import RowReader, RowRecord
from tablevault_like.storage.rows import RowStore
from tests.storage.earlier import without_checksums

BUILDERS = ("index", "text", "price")
POINTS = 120
CODE = 5
"""Where the code is in a row."""
Rows = dict[tuple[str, int], tuple[Any, ...]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with rows of every kind, on many pages, some of them too large for one."""
    folder = tmp_path_factory.mktemp("original") / "process"
    folder.mkdir()
    path = folder / "rows.sqlite"
    with RowStore.create(path, epoch=3) as store:
        code = store.code_number("f" * 32)
        store.record("index", (), done=[(row, f'["name {row}"]', 1, 0.001 * row, None, code) for row in range(150)])
        store.record("index", [RowRecord(151, RowStatus.SKIPPED, error='{"type":"E"}', inputs='{"x":1}')])
        store.record("text", (), done=[(row, f'["{"é" * row * 9}"]', 2, 0.5, b"h" * 16, code) for row in range(60)])
        store.record("text", [RowRecord(60, RowStatus.FAILED, None, error='{"type":"E"}', cost=1.0)])
        store.record("text", [RowRecord(60, RowStatus.DONE, "[7]", 1, 1.0, b"i" * 16, code, cost=0.5, tokens=3)])
        store.record("price", [RowRecord(row, RowStatus.DONE, f"[{row}]", cost=row / 8) for row in range(40)])
        store.set_input_hash("text", b"all of it")
        store.add_price("price", cost=2.0, tokens=9)
        store.record_files({"frames/whole.parquet": "0a" * 32})
        store.forget("price", [39])
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "process"
    folder.mkdir()
    (folder / "rows.sqlite").write_bytes(original.read_bytes())
    return folder / "rows.sqlite"


def content(path: Path) -> dict[str, list[Any]] | None:
    """Return all that the tables of a store hold, None if SQLite can't read it."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            db.text_factory = bytes
            found = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
            tables = [name.decode() for kind, name, _ in found if kind == b"table"]
            return {"schema": found, **{each: db.execute(f"SELECT * FROM {each}").fetchall() for each in tables}}
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def rows_of(path: Path) -> Rows:
    found: Rows = {}
    with closing(sqlite3.connect(path)) as db:
        names = dict(db.execute("SELECT id, name FROM builders").fetchall())
        for number, row, *rest in db.execute("SELECT * FROM rows"):
            found[names[number], row] = tuple(rest[:-1])
    return found


def change(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, parameters)


def test_a_sound_store_has_no_damage(path: Path) -> None:
    assert row_store_damage(path) == []


def test_a_flipped_bit_that_changes_anything_is_found_and_only_what_it_hit_is_lost(path: Path) -> None:
    before, whole, sound = content(path), path.read_bytes(), rows_of(path)
    rng = random.Random(1)
    found = lost = 0
    for _ in range(POINTS):
        at = rng.randrange(len(whole))
        path.write_bytes(flipped(whole, at, rng.randrange(8)))
        damaged = row_store_damage(path)
        assert damaged or content(path) == before, f"byte {at}"
        if damaged:
            found += 1
            salvage(path, epoch=4, builders=BUILDERS)
            saved = rows_of(path)
            assert saved.items() <= sound.items(), f"byte {at}"
            lost += len(sound) - len(saved)
            assert row_store_damage(path) == []
            assert len(list(path.parent.glob("rows.sqlite.damaged-*"))) == 1
            remove_others(path)
    assert found > POINTS / 4
    assert lost / found < 3


@pytest.mark.parametrize("size", [0, 1, 100, 512])
def test_what_is_left_of_a_truncated_store_is_saved(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])

    assert row_store_damage(path)
    assert salvage(path, epoch=4, builders=BUILDERS).kept == {}
    assert row_store_damage(path) == []


def test_each_truncation_leaves_the_rows_that_come_before_it(path: Path) -> None:
    whole, sound = path.read_bytes(), rows_of(path)
    counts = []
    for size in range(512, len(whole), 512 * 5):
        path.write_bytes(whole[:size])
        assert row_store_damage(path), size
        salvage(path, epoch=4, builders=BUILDERS)
        saved = rows_of(path)
        assert saved.items() <= sound.items()
        counts.append(len(saved))
        remove_others(path)
    assert counts[-1] > 100
    assert counts[len(counts) // 2] > 50


def test_a_page_of_zeros_costs_the_rows_that_were_on_it(path: Path) -> None:
    whole, sound = path.read_bytes(), rows_of(path)
    pages = len(whole) // 4096
    lost, codes_lost = [], 0
    for page in range(pages):
        path.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
        if not row_store_damage(path):
            continue  # nothing was on it
        salvage(path, epoch=4, builders=BUILDERS)
        saved = rows_of(path)
        if saved.get(("index", 0), (None,) * 6)[CODE] == 0:
            codes_lost += 1
            assert {each: without_code(row) for each, row in saved.items()} == {
                each: without_code(row) for each, row in sound.items()
            }
        else:
            assert saved.items() <= sound.items()
        lost.append(len(sound) - len(saved))
        remove_others(path)
    assert codes_lost == 1
    assert len(lost) >= pages - 2
    # Neither the header, nor the names of the builders, nor the root of the tree: all of them are found without.
    assert lost.count(0) >= 4
    assert sum(lost) < 1.2 * len(sound)


def test_rows_that_were_swapped_are_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        first, second = db.execute("SELECT value, sum FROM rows WHERE builder = 1 AND row IN (3, 4)").fetchall()
        db.execute("UPDATE rows SET value = ?, sum = ? WHERE builder = 1 AND row = 3", second)
        db.execute("UPDATE rows SET value = ?, sum = ? WHERE builder = 1 AND row = 4", first)

    (damage,) = row_store_damage(path)

    assert (damage.builder, damage.rows) == ("index", (3, 4))
    salvage(path, epoch=4, builders=BUILDERS)
    with RowReader.open(path) as reader:
        assert reader.counts("index").done == 148


COLUMNS = [
    ("status", 3),
    ("value", '["name 7"]'),
    ("attempts", 9),
    ("seconds", 1.5),
    ("input_hash", b"x"),
    ("code", 4),
    ("error", "E"),
    ("cost", 0.5),
    ("tokens", 1),
    ("inputs", "{}"),
    ("sum", 1),
]


@pytest.mark.parametrize(("column", "value"), COLUMNS)
def test_no_column_of_a_row_can_change_unnoticed(path: Path, column: str, value: object) -> None:
    change(path, f"UPDATE rows SET {column} = ? WHERE builder = 1 AND row = 8", value)

    (damage,) = row_store_damage(path)

    assert (damage.builder, damage.rows) == ("index", (8,))
    assert str(damage) == f"{path}: row 8 of the builder 'index' isn't what was recorded"


def test_every_column_is_tried(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(rows)")]
    assert names == ["builder", "row", *(name for name, _ in COLUMNS)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 9 WHERE key = 'epoch'",
        "UPDATE meta SET value = 9 WHERE key = 'process'",
        "DELETE FROM meta WHERE key = 'process'",
        "DELETE FROM meta WHERE key = 'schema'",
        "UPDATE builders SET name = 'texts' WHERE name = 'text'",
        "UPDATE builders SET call_hash = x'00' WHERE name = 'text'",
        "UPDATE builders SET cost = 7 WHERE name = 'text'",
        "UPDATE codes SET fingerprint = 'g'",
        "UPDATE files SET path = 'frames/other.parquet'",
        "UPDATE files SET sha256 = x'00'",
        "UPDATE rows SET builder = 9 WHERE builder = 1 AND row = 1",
        "UPDATE rows SET row = 999 WHERE builder = 1 AND row = 1",
        "DROP VIEW results",
        "ALTER TABLE files RENAME COLUMN path TO name",
    ],
)
def test_no_other_record_can_change_unnoticed(path: Path, statement: str) -> None:
    change(path, statement)

    assert row_store_damage(path)
    salvage(path, epoch=4, builders=BUILDERS)
    assert row_store_damage(path) == []
    with RowReader.open(path) as reader:
        assert sum(reader.counts(name).done for name in BUILDERS) >= 149 + 61 + 38


def test_the_store_of_another_process_is_found_and_none_of_it_is_kept(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    path.parent.rename(other)

    (damage,) = row_store_damage(other / "rows.sqlite")

    assert damage.what == "it belongs to another process"
    assert salvage(other / "rows.sqlite", epoch=4, builders=BUILDERS).kept == {}


def test_a_store_that_is_gone_is_made_anew(path: Path) -> None:
    path.unlink()

    (damage,) = row_store_damage(path)

    assert damage.what == "the file is missing"
    assert salvage(path, epoch=4, builders=BUILDERS).path is None
    assert row_store_damage(path) == []


def test_what_is_saved_is_all_that_was_recorded(path: Path) -> None:
    sound = rows_of(path)
    with RowReader.open(path) as reader:
        before = reader.input_hash("text"), reader.codes(), reader.files(), reader.counts("price")

    found = salvage(path, epoch=4, builders=BUILDERS)

    assert found.kept == {"index": 151, "text": 61, "price": 39}
    assert rows_of(path) == sound
    with RowReader.open(path) as reader:
        assert (reader.input_hash("text"), reader.codes(), reader.files(), reader.counts("price")) == before
    with RowStore.open(path) as store:
        store.claim(5)
        store.record("price", [RowRecord(39, RowStatus.DONE, "[39]")])
        assert store.counts("price").done == 40


def test_rows_that_were_forgotten_are_not_found_again(path: Path) -> None:
    with RowStore.open(path) as store:
        store.claim(4)
        store.forget("index")
        store.forget("text", range(0, 60, 2))
    content = path.read_bytes()
    path.write_bytes(bytes(4096) + content[4096:])

    found = salvage(path, epoch=5, builders=BUILDERS)

    assert found.kept == {"text": 31, "price": 39}


def test_a_row_that_is_damaged_is_told_when_it_is_read(path: Path) -> None:
    change(path, "UPDATE rows SET value = '[\"other\"]' WHERE builder = 1 AND row IN (2, 5)")

    with RowReader.open(path) as reader:
        with pytest.raises(TVCheckpointError, match=r"2 rows \(2, 5\) of the builder 'index'") as caught:
            list(reader.cells("index"))
        assert (caught.value.process_id, caught.value.builder, caught.value.rows) == ("process", "index", (2, 5))
        assert caught.value.path == str(path)
        assert "on_damage='recompute'" in str(caught.value)
        with pytest.raises(TVCheckpointError, match="row 2 of the builder 'index'"):
            reader.row("index", 2)
        assert reader.row("index", 3) is not None


def test_a_position_that_is_no_number_any_more_is_told(path: Path) -> None:
    change(path, "UPDATE rows SET row = ? WHERE builder = 1 AND row = 2", "x" * 64)

    (damage,) = row_store_damage(path)
    assert damage.what == "rows of the builder 'index' aren't what was recorded"
    with RowReader.open(path) as reader, pytest.raises(TVCheckpointError, match="rows of the builder 'index' aren't"):
        list(reader.cells("index"))
    assert salvage(path, epoch=4, builders=BUILDERS).kept == {"index": 150, "text": 61, "price": 39}


@pytest.mark.parametrize(
    ("column", "damaged"), [("attempts", []), ("seconds", []), ("cost", [(61,)]), ("tokens", [(61,)])]
)
def test_what_is_left_of_a_damaged_row_that_is_recorded_again_is_told(
    path: Path, column: str, damaged: list[tuple[int]]
) -> None:
    with RowStore.open(path) as store:
        store.claim(4)
        store.record("text", [RowRecord(61, RowStatus.FAILED, error="{}")])
        change(path, f"UPDATE rows SET {column} = CAST(x'fffe' AS TEXT) WHERE builder = 2 AND row = 61")

        store.record("text", (), done=[(61, "[1]", 1, 0.5, None, 1)])

        assert store.counts("text").done == 62
    assert [damage.rows for damage in row_store_damage(path)] == damaged


def test_an_epoch_that_was_changed_shuts_nobody_out_for_good(path: Path) -> None:
    change(path, "UPDATE meta SET value = 99 WHERE key = 'epoch'")

    with RowStore.open(path) as store, pytest.raises(TVCheckpointError, match="its epoch isn't what was recorded"):
        store.claim(4)


def test_a_text_that_is_no_text_any_more_is_told(path: Path) -> None:
    change(path, "UPDATE rows SET value = CAST(x'fffe' AS TEXT) WHERE builder = 1 AND row = 2")

    with RowReader.open(path) as reader, pytest.raises(TVCheckpointError):
        list(reader.cells("index"))
    assert row_store_damage(path)[0].rows == (2,)


def test_a_newer_format_says_which_release_reads_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = path.with_name("newer.sqlite")
    with monkeypatch.context() as later:
        later.setattr(row_files, "SCHEMA_VERSION", 5)
        later.setattr(row_files, "__version__", "7.0")
        RowStore.create(newer, epoch=1).close()
    before = newer.read_bytes()

    for opened in (RowStore.open, RowReader.open, row_files.refuse_unknown):
        with pytest.raises(TVFileError, match=r"newer version of tablevault_like, 7\.0 \(.* stays as it is"):
            opened(newer)
    assert newer.read_bytes() == before


def test_a_newer_format_that_names_no_release_is_told_all_the_same(path: Path) -> None:
    change(path, "UPDATE meta SET value = 5, sum = ? WHERE key = 'schema_version'", sums.sum_of("schema_version", 5))
    change(path, "DELETE FROM meta WHERE key = 'release'")

    with pytest.raises(TVFileError, match=r"newer version of tablevault_like \(its format is 5"):
        RowStore.open(path)


def test_what_is_damaged_is_of_no_unknown_format(path: Path) -> None:
    row_files.refuse_unknown(path)
    change(path, "UPDATE meta SET value = 'x' WHERE key = 'schema_version'")
    row_files.refuse_unknown(path)
    path.write_bytes(b"nothing of SQLite's" * 100)
    row_files.refuse_unknown(path)
    path.unlink()
    row_files.refuse_unknown(path)


@pytest.mark.parametrize(("has_room", "way"), [(True, "Check that its folder exists"), (False, "The disk is full")])
def test_what_can_not_be_opened_for_want_of_room_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, has_room: bool, way: str
) -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    monkeypatch.setattr(room, "_has_room", lambda folder: has_room)

    with pytest.raises(TVFileError, match=way), row_files.told(path):
        raise error


def test_a_store_says_which_release_has_made_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'release'").fetchall() == [
            (f"tablevault_like {tablevault_like.__version__}",)
        ]
    change(path, "UPDATE meta SET value = 'tablevault_like 7.0' WHERE key = 'release'")
    assert [str(damage) for damage in row_store_damage(path)] == [f"{path}: its 'release' isn't what was recorded"]


def test_what_a_store_without_checksums_holds_is_saved_as_it_is_read(path: Path) -> None:
    sound = rows_of(path)
    without_checksums(path)

    assert row_store_damage(path) == []
    salvage(path, epoch=4, builders=BUILDERS)

    assert rows_of(path) == sound


def test_a_row_that_a_store_without_checksums_can_not_have_written_is_told_once_there_are(path: Path) -> None:
    without_checksums(path)
    change(path, "UPDATE rows SET attempts = 'many' WHERE builder = 1 AND row = 8")
    change(path, "UPDATE rows SET value = CAST(x'fffe' AS TEXT) WHERE builder = 1 AND row = 9")
    change(path, "UPDATE rows SET builder = 9 WHERE builder = 1 AND row = 10")

    with pytest.raises(TVCheckpointError):
        RowStore.open(path)

    change(path, "UPDATE rows SET value = '[9]' WHERE builder = 1 AND row = 9")
    RowStore.open(path).close()
    assert [damage.rows for damage in row_store_damage(path)] == [(8,), (10,)]


def without_code(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[:CODE] + row[CODE + 1 :]


def flipped(content: bytes, at: int, bit: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def remove_others(path: Path) -> None:
    for each in path.parent.iterdir():
        if each != path:
            each.unlink()
