from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import FencedError, TVFileError
from tablevault_like.model import RowStatus
from tablevault_like.storage import patience, row_files
from tablevault_like.storage.row_reader import Counts, RowReader, RowRecord
from tablevault_like.storage.rows import RowStore
from tablevault_like.storage.sums import sum_of
from tests.scenes import cut_off_a_commit
from tests.workers import Workers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[RowStore]:
    with RowStore.create(path, epoch=1) as store:
        yield store


def done(index: int, cells: str = "[1]", **fields: Any) -> RowRecord:
    return RowRecord(index, RowStatus.DONE, cells, **fields)


def failed(index: int, **fields: Any) -> RowRecord:
    return RowRecord(index, RowStatus.FAILED, error='{"type":"E"}', **fields)


def cells_of(store: RowReader, builder: str = "b") -> dict[int, str]:
    return {index: text for batch in store.cells(builder) for index, text in batch}


def test_what_is_recorded_is_read_by_position(store: RowStore) -> None:
    store.record("b", [done(30, "[30]"), failed(2), done(1, "[1]"), RowRecord(4, RowStatus.SKIPPED)])
    store.record("b", [done(20, '["é"]')])
    store.record("other", [done(5)])

    assert store.recorded("b").tolist() == [1, 20, 30]
    assert store.recorded("b", RowStatus.SKIPPED).tolist() == [4]
    assert store.counts("b") == Counts(done=3, failed=1, skipped=1)
    assert cells_of(store) == {1: "[1]", 20: '["é"]', 30: "[30]"}
    assert store.failures("b") == [failed(2)]
    assert store.recorded("other").tolist() == [5]


def test_a_builder_without_results_has_none(store: RowStore) -> None:
    assert store.is_empty()
    assert store.recorded("b").tolist() == []
    assert store.counts("b") == Counts()
    assert cells_of(store) == {}
    assert store.failures("b") == []


@pytest.mark.timeout(600)
@given(
    indexes=st.lists(st.integers(0, 60), unique=True, max_size=40),
    batch_size=st.integers(1, 10),
)
def test_cells_come_in_order_however_they_are_divided(
    indexes: list[int], batch_size: int, tmp_path_factory: Any
) -> None:
    with RowStore.create(tmp_path_factory.mktemp("rows") / "rows.sqlite", epoch=1) as store:
        store.record("b", [done(index, f"[{index}]") for index in indexes])

        batches = list(store.cells("b", batch_size=batch_size))

    assert [row for batch in batches for row in batch] == [(index, f"[{index}]") for index in sorted(indexes)]
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_rows_recorded_while_cells_are_read_are_not_lost(store: RowStore) -> None:
    store.record("b", [done(index) for index in range(4)])
    reading = store.cells("b", batch_size=2)
    found = next(reading)
    store.record("b", [done(9)])

    assert [index for index, _ in found + [row for batch in reading for row in batch]] == [0, 1, 2, 3, 9]


def test_a_row_that_is_done_is_never_changed(store: RowStore) -> None:
    store.record("b", [done(1, "[1]", attempts=1, seconds=0.5, input_hash=b"a" * 16, code=1)])
    store.record("b", [done(1, "[2]"), failed(1), RowRecord(1, RowStatus.SKIPPED), done(2)])

    assert cells_of(store) == {1: "[1]", 2: "[1]"}
    assert store.counts("b") == Counts(done=2)


def test_a_row_that_failed_is_replaced_and_its_attempts_add_up(store: RowStore, path: Path) -> None:
    store.record("b", [failed(1, attempts=2, seconds=1.0)])
    store.record("b", [failed(1, seconds=2.0, input_hash=b"h", code=3)])

    assert store.failures("b") == [failed(1, attempts=3, seconds=2.0, input_hash=b"h", code=3)]

    store.record("b", [done(1, "[5]")])

    assert store.failures("b") == []
    assert fetch(path, "SELECT status, attempts, value, error FROM rows") == [(1, 4, "[5]", None)]


def test_what_is_forgotten_can_be_recorded_anew(store: RowStore) -> None:
    store.record("b", [done(index) for index in range(5)])
    store.record("other", [done(0)])

    store.set_input_hash("b", b"hash")

    store.forget("b", [0, 3])
    assert store.recorded("b").tolist() == [1, 2, 4]
    assert store.input_hash("b") == b"hash"

    store.forget("b")
    assert store.recorded("b").tolist() == []
    assert store.input_hash("b") is None
    assert store.recorded("other").tolist() == [0]

    store.record("b", [done(3, "[9]")])
    assert cells_of(store) == {3: "[9]"}


def test_a_fingerprint_keeps_its_number(store: RowStore, path: Path) -> None:
    assert [store.code_number(name) for name in ("aa", "bb", "aa")] == [1, 2, 1]
    store.close()

    with RowStore.open(path) as again:
        again.claim(2)
        assert again.code_number("bb") == 2
        assert again.codes() == {1: "aa", 2: "bb"}


def test_what_could_not_be_recorded_leaves_nothing_behind(store: RowStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.record("new", [done(1), RowRecord(2, RowStatus.DONE, attempts=None)])  # type: ignore[arg-type]

    store.record("other", [done(3)])
    store.record("new", [done(4)])

    assert store.recorded("other").tolist() == [3]
    assert store.recorded("new").tolist() == [4]


def test_anyone_can_read_the_results_with_sqlite(store: RowStore, path: Path) -> None:
    number = store.code_number("aa")
    store.record("b", [done(1, '["x"]', seconds=0.25, code=number), failed(2), RowRecord(3, RowStatus.SKIPPED)])

    found = fetch(path, "SELECT builder, row, status, value, attempts, seconds, error, code FROM results")

    assert found == [
        ("b", 1, "done", '["x"]', 1, 0.25, None, "aa"),
        ("b", 2, "failed", None, 1, 0.0, '{"type":"E"}', None),
        ("b", 3, "skipped", None, 1, 0.0, None, None),
    ]


def fetch(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_a_later_claim_shuts_out_the_earlier_worker(store: RowStore, path: Path) -> None:
    store.record("b", [done(1)])
    with RowStore.open(path) as later:
        later.claim(2)

        for write in (
            lambda: store.record("b", [done(2)]),
            lambda: store.record("new", []),
            lambda: store.forget("b"),
            lambda: store.code_number("aa"),
            lambda: store.claim(1),
        ):
            with pytest.raises(FencedError, match="epoch 2"):
                write()

        assert later.recorded("b").tolist() == [1]
        assert later.codes() == {}
        later.record("b", [done(2)])
        assert later.recorded("b").tolist() == [1, 2]


def test_the_same_claim_can_be_made_again(store: RowStore, path: Path) -> None:
    with RowStore.open(path) as again:
        again.claim(1)
        again.record("b", [done(1)])

    assert store.recorded("b").tolist() == [1]


def test_nothing_is_written_without_a_claim(store: RowStore, path: Path) -> None:
    with RowStore.open(path) as unclaimed, pytest.raises(RuntimeError, match="claimed"):
        unclaimed.record("b", [done(1)])

    assert store.is_empty()


def test_what_was_recorded_survives_sigkill(path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    worker.wait()

    assert worker.returncode == -signal.SIGKILL
    assert worker.stdout is not None
    with worker.stdout as output:
        acknowledged = int(output.read())
    with RowStore.open(path) as store:
        assert store.recorded("b").tolist() == list(range(acknowledged))


KILLED = """
import os, signal, sys
from pathlib import Path
from tablevault_like.model import RowStatus
from tablevault_like.storage.row_reader import RowReader, RowRecord
from tablevault_like.storage.rows import RowStore

class Killing(list):
    def __iter__(self):
        os.kill(os.getpid(), signal.SIGKILL)

store = RowStore.create(Path(sys.argv[1]), epoch=1)
store.record("b", [RowRecord(index, RowStatus.DONE, "[1]") for index in range(50)])
os.write(1, b"50")
store.record("b", Killing())
"""


def test_a_commit_that_was_cut_off_is_undone_by_the_next_worker(store: RowStore, path: Path, workers: Workers) -> None:
    store.record("b", [done(index) for index in range(5_000)])
    cut_off_a_commit(workers, path)

    with RowStore.open(path) as again:
        assert set(cells_of(again).values()) == {"[1]"}


def test_a_commit_that_was_cut_off_is_undone_by_who_reads(store: RowStore, path: Path, workers: Workers) -> None:
    store.record("b", [done(index) for index in range(5_000)])
    cut_off_a_commit(workers, path)

    with RowReader.open(path) as reader:
        assert set(cells_of(reader).values()) == {"[1]"}


def test_a_commit_that_is_cut_off_while_it_is_read_is_undone(store: RowStore, path: Path, workers: Workers) -> None:
    store.record("b", [done(index) for index in range(5_000)])

    with RowReader.open(path) as reader:
        batches = reader.cells("b", batch_size=2_000)
        first = next(batches)
        cut_off_a_commit(workers, path)
        rest = list(batches)

    assert [len(first), *map(len, rest)] == [2_000, 2_000, 1_000]
    assert {cells for batch in (first, *rest) for _, cells in batch} == {"[1]"}


def test_a_row_store_is_opened_durably_whatever_another_tool_set(store: RowStore, path: Path) -> None:
    store.close()
    fetch(path, "PRAGMA journal_mode = WAL")

    with RowStore.open(path) as again:
        again.claim(1)
        again.record("b", [done(1)])

    assert fetch(path, "PRAGMA journal_mode") == [("delete",)]


@pytest.mark.parametrize("statements", [["BEGIN EXCLUSIVE"], ["BEGIN IMMEDIATE"], ["BEGIN", "SELECT * FROM rows"]])
def test_a_busy_file_is_waited_out_and_logged(
    store: RowStore,
    path: Path,
    statements: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(patience, "LOG_EVERY", 0.0)
    store.record("b", [done(1)])
    waited: list[float] = []

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)

        def while_busy(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 2:
                other.execute("ROLLBACK")

        store.while_busy = while_busy
        store.record("b", [done(2)])

    assert len(waited) == 2
    assert waited == sorted(waited)
    assert store.recorded("b").tolist() == [1, 2]
    assert "kept busy" in caplog.text


@pytest.mark.parametrize("statements", [["BEGIN EXCLUSIVE"], ["BEGIN", "SELECT * FROM rows"]])
def test_who_waits_for_a_busy_file_can_give_up(store: RowStore, path: Path, statements: list[str]) -> None:
    store.record("b", [done(1)])

    def give_up(seconds: float) -> None:
        raise KeyboardInterrupt

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)
        store.while_busy = give_up
        with pytest.raises(KeyboardInterrupt):
            store.record("b", [done(2)])
        other.execute("ROLLBACK")

    assert store.recorded("b").tolist() == [1]
    store.record("b", [done(2)])
    assert store.recorded("b").tolist() == [1, 2]


def test_a_reader_gives_up_on_a_file_that_stays_busy(
    store: RowStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_files, "READ_SECONDS", 0.01)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TVFileError, match="busy"):
            RowReader.open(path)


def test_a_reader_does_not_hold_up_the_writer(store: RowStore, path: Path) -> None:
    store.record("b", [done(index) for index in range(10)])

    def refuse(seconds: float) -> None:
        raise AssertionError("the writer had to wait")

    store.while_busy = refuse
    with RowReader.open(path) as reader:
        for batch in reader.cells("b", batch_size=2):
            store.record("other", [done(batch[0][0])])

    assert store.recorded("other").tolist() == [0, 2, 4, 6, 8]


def test_a_reader_writes_nothing(store: RowStore, path: Path) -> None:
    with RowReader.open(path) as reader:
        assert not hasattr(reader, "record")
        assert reader.is_empty()
        store.record("b", [done(1)])
        assert reader.counts("b") == Counts(done=1)
        with pytest.raises(TVFileError):
            reader._fetch("DELETE FROM rows")


def test_a_missing_file_is_told_and_not_made(path: Path) -> None:
    for opened in (RowStore.open, RowReader.open):
        with pytest.raises(TVFileError, match="missing"):
            opened(path)
    assert not path.exists()


def test_an_existing_file_is_not_made_again(store: RowStore, path: Path) -> None:
    store.record("b", [done(1)])

    with pytest.raises(FileExistsError):
        RowStore.create(path, epoch=5)

    assert store.recorded("b").tolist() == [1]


def test_a_file_whose_maker_died_is_made_by_the_next_worker(path: Path) -> None:
    path.touch()

    with RowStore.open(path) as store:
        store.claim(3)
        store.record("b", [done(1)])
        assert store.recorded("b").tolist() == [1]


@pytest.mark.parametrize("name", ["a?b#c%20d", "a'b\"c", "räume", "a\nb"])
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()

    with RowStore.create(folder / "rows.sqlite", epoch=1) as store:
        store.record("b", [done(1)])
    with RowReader.open(folder / "rows.sqlite") as reader:
        assert reader.recorded("b").tolist() == [1]

    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    path.write_bytes(b"not a database, and long enough to be looked at" * 50)

    for opened in (RowStore.open, RowReader.open):
        with pytest.raises(TVFileError, match="damaged") as caught:
            opened(path)
        assert str(path) in str(caught.value)


def test_damaged_pages_are_told(store: RowStore, path: Path) -> None:
    store.record("b", [done(index, f'["{"x" * 100}"]') for index in range(2_000)])
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 6 :] = b"\xff" * (len(content) - 4096 * 6)
    path.write_bytes(content)

    with RowStore.open(path) as again, pytest.raises(TVFileError, match="damaged"):
        cells_of(again)


def test_another_programs_database_is_told(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")

    with pytest.raises(TVFileError, match="damaged"):
        RowStore.open(path)


def test_a_newer_format_is_told(store: RowStore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(
            "UPDATE meta SET value = 99, sum = ? WHERE key = 'schema_version'", (sum_of("schema_version", 99),)
        )

    for opened in (RowStore.open, RowReader.open):
        with pytest.raises(TVFileError, match="newer version"):
            opened(path)


def as_of_format_3(path: Path) -> None:
    """Make of a store one that an earlier version has written."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TABLE files")
        other.execute("DELETE FROM meta WHERE key IN ('process', 'schema')")
        for table in ("rows", "builders", "codes", "meta"):
            other.execute(f"ALTER TABLE {table} DROP COLUMN sum")
        other.execute("UPDATE meta SET value = 3 WHERE key = 'schema_version'")


def as_of_format_2(path: Path) -> None:
    """Make of a store one that a still earlier version has written."""
    as_of_format_3(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP VIEW results")
        for column in ("cost", "tokens", "inputs"):
            other.execute(f"ALTER TABLE rows DROP COLUMN {column}")
        for column in ("cost", "tokens"):
            other.execute(f"ALTER TABLE builders DROP COLUMN {column}")
        other.execute("CREATE VIEW results AS SELECT * FROM rows")
        other.execute("UPDATE meta SET value = 2 WHERE key = 'schema_version'")


@pytest.mark.parametrize("as_of", [as_of_format_2, as_of_format_3])
def test_an_older_format_is_read_as_it_is_and_goes_on(
    store: RowStore, path: Path, as_of: Callable[[Path], None]
) -> None:
    store.record("b", [done(1, "[1]"), failed(2)])
    store.close()
    as_of(path)
    before = path.read_bytes()

    with RowReader.open(path) as reader:
        assert cells_of(reader) == {1: "[1]"}
        assert reader.failures("b") == [failed(2)]
        assert reader.counts("b") == Counts(done=1, failed=1)
    assert path.read_bytes() == before

    with RowStore.open(path) as again:
        again.claim(2)
        again.record("b", [done(2, "[2]", cost=0.5, tokens=7)])
        assert again.counts("b") == Counts(done=2, cost=0.5, tokens=7)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT row, attempts, cost FROM results").fetchall() == [(1, 1, None), (2, 2, 0.5)]


def test_a_format_that_is_too_old_is_told(store: RowStore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE meta SET value = 1, sum = ? WHERE key = 'schema_version'", (sum_of("schema_version", 1),))

    for opened in (RowStore.open, RowReader.open):
        with pytest.raises(TVFileError, match="an older version"):
            opened(path)


def test_costs_add_up_over_attempts(store: RowStore) -> None:
    store.record("b", [failed(0, cost=0.25, tokens=3, inputs='{"a":1}'), failed(1), done(2)])
    store.record("b", [done(0, cost=0.5), RowRecord(1, RowStatus.SKIPPED, cost=1.0, tokens=1, error="E")])

    assert store.counts("b") == Counts(done=2, skipped=1, cost=1.75, tokens=4)
    assert store.failures("b") == []
    (skipped,) = store.failures("b", RowStatus.SKIPPED)
    assert (skipped.index, skipped.attempts, skipped.cost, skipped.tokens) == (1, 2, 1.0, 1)
    with closing(sqlite3.connect(store.path)) as other:
        assert other.execute("SELECT row, cost, tokens, inputs FROM results").fetchall() == [
            (0, 0.75, 3, None),
            (1, 1.0, 1, None),
            (2, None, None, None),
        ]


@pytest.mark.parametrize(
    "before",
    [
        None,
        failed(1, attempts=2, seconds=1.0, inputs='{"a":1}'),
        failed(1, cost=0.25, tokens=3),
        RowRecord(1, RowStatus.SKIPPED, error="E"),
        done(1, "[5]", code=7),
    ],
    ids=["nothing", "failed", "failed at a price", "skipped", "done"],
)
def test_a_row_at_no_price_is_recorded_as_any_other(store: RowStore, before: RowRecord | None) -> None:
    for builder in ("b", "other"):
        store.record(builder, [] if before is None else [before])

    store.record("b", [done(1, "[1]", attempts=2, seconds=0.5, input_hash=b"h", code=3)])
    store.record("other", [failed(2)], done=[(1, "[1]", 2, 0.5, b"h", 3)])

    assert store.row("other", 1) == store.row("b", 1)
    assert store.counts("other") == replace(store.counts("b"), failed=1)


def test_cells_are_read_of_the_rows_that_hold_a_text(store: RowStore) -> None:
    store.record("b", [done(index, f'["{"{" * (index % 3 == 1)}é"]') for index in range(9)])

    assert [*store.cells("b", holding="{", batch_size=2)] == [[(1, '["{é"]'), (4, '["{é"]')], [(7, '["{é"]')]]
    assert [*store.cells("b", holding="é", batch_size=9)] == [*store.cells("b", batch_size=9)]
    assert [*store.cells("b", holding="[")] != []
    assert [*store.cells("b", holding="~")] == []


def test_another_thread_is_refused(store: RowStore) -> None:
    caught: list[BaseException] = []

    def write() -> None:
        try:
            store.record("b", [done(1)])
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()

    assert len(caught) == 1
    assert store.is_empty()
