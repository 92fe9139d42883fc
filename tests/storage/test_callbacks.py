"""Signals that arrive while SQLite calls a function of ours, or while a store is saved."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tablevault_like.model import RowStatus
from tablevault_like.process.interrupts import Interrupts
from tablevault_like.storage import rows, sums
from tablevault_like.storage.row_damage import row_store_damage, salvage
from tablevault_like.storage.row_reader import RowReader, RowRecord
from tablevault_like.storage.rows import DoneRow, RowStore
from tests.storage.earlier import without_checksums

COUNT = 30


class TooLateError(Exception):
    pass


def too_late(number: int, frame: FrameType | None) -> None:
    raise TooLateError


@contextmanager
def handler_of_others() -> Iterator[None]:
    previous = signal.signal(signal.SIGTERM, too_late)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def no_handler() -> Iterator[None]:
    yield


HANDLERS: list[Any] = [
    pytest.param(no_handler, signal.SIGINT, KeyboardInterrupt, id="Python's"),
    pytest.param(Interrupts, signal.SIGINT, KeyboardInterrupt, id="ours"),
    pytest.param(Interrupts, signal.SIGTERM, SystemExit, id="ours, of SIGTERM"),
    pytest.param(handler_of_others, signal.SIGTERM, TooLateError, id="somebody else's"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows.sqlite"
    with RowStore.create(path, epoch=1) as store:
        store.record("b", [RowRecord(row, RowStatus.FAILED, error="{}", cost=0.5) for row in range(COUNT)])
        store.set_input_hash("b", b"hash")
    return path


def done(row: int) -> DoneRow:
    return row, f"[{row}]", 1, 0.5, None, 0


def signalling(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, at: int) -> list[int]:
    """Let a signal arrive in the call of ``sums.<name>`` that is number ``at``, and return the list of all calls."""
    calls: list[int] = []
    whole: Callable[..., Any] = getattr(sums, name)

    def call(*args: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == at:
            signal.raise_signal(number)
        return whole(*args)

    monkeypatch.setattr(sums, name, call)
    return calls


@pytest.mark.parametrize(("handler", "number", "expected"), HANDLERS)
def test_a_signal_in_a_checksum_that_sqlite_asks_for_is_raised_and_nothing_is_recorded(
    handler: Any, number: int, expected: type[BaseException], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RowStore.open(path) as store:
        store.claim(2)
        with monkeypatch.context() as during:
            # Rows that are done have theirs from Python: only what is asked for is counted.
            calls = signalling(during, "row_sum", number, at=3)
            with handler(), pytest.raises(expected) as caught:
                store.record("b", (), done=[done(row) for row in range(COUNT)])
        assert len(calls) == 3
        if expected is SystemExit:
            assert caught.value.code == 128 + number  # type: ignore[attr-defined]

        assert (store.counts("b").done, store.counts("b").failed) == (0, COUNT)
        store.record("b", (), done=[done(row) for row in range(COUNT)])
        assert store.counts("b").done == COUNT
    assert row_store_damage(path) == []


def saved(path: Path) -> None:
    salvage(path, epoch=2, builders=["b"])


def opened(path: Path) -> None:
    RowStore.open(path).close()


@pytest.mark.parametrize("way", [opened, saved])
@pytest.mark.parametrize(("handler", "number", "expected"), HANDLERS)
def test_a_signal_while_a_store_gets_checksums_leaves_it_as_it_is(
    way: Callable[[Path], None],
    handler: Any,
    number: int,
    expected: type[BaseException],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_checksums(path)

    with monkeypatch.context() as during:
        calls = signalling(during, "row_sum", number, at=3)
        with handler(), pytest.raises(expected):
            way(path)
    assert len(calls) == 3

    with RowReader.open(path) as reader:
        assert reader.counts("b").failed == COUNT
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (3,)
    way(path)
    assert row_store_damage(path) == []
    with RowReader.open(path) as reader:
        assert reader.counts("b").failed == COUNT


@pytest.mark.parametrize(("handler", "number", "expected"), HANDLERS)
def test_a_signal_while_damage_is_looked_for_is_no_damage(
    handler: Any, number: int, expected: type[BaseException], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = signalling(monkeypatch, "is_row", number, at=3)

    with handler(), pytest.raises(expected):
        row_store_damage(path)
    assert len(calls) == 3


@pytest.mark.parametrize("way", [row_store_damage, saved])
@pytest.mark.parametrize(("handler", "number", "expected"), HANDLERS)
def test_a_signal_while_sqlite_asks_for_a_text_is_raised(
    way: Callable[[Path], Any],
    handler: Any,
    number: int,
    expected: type[BaseException],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tablevault_like.storage import row_damage

    before, count = path.read_bytes(), 0

    def text(value: bytes) -> str:
        nonlocal count
        count += 1
        if count == 3:
            signal.raise_signal(number)
        return value.decode()

    monkeypatch.setattr(row_damage, "_text", text)
    with handler(), pytest.raises(expected):
        way(path)

    assert count == 3
    assert path.read_bytes() == before


def test_every_function_that_sqlite_calls_is_carried() -> None:
    """A new one would have to tell interrupts from its own errors, too: see the tests above."""
    found = [
        (each.name, line.strip())
        for each in sorted(Path(rows.__file__).parent.glob("*.py"))
        for line in each.read_text().splitlines()
        if ".create_function(" in line or ".create_aggregate(" in line or ".create_collation(" in line
    ]
    assert [name for name, _ in found] == ["rows.py"]
    assert "callbacks.carried(" in found[0][1]
