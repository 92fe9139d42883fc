"""Tables in a few lines: what a test says about a builder, and nothing else.

``index`` and ``column`` return the text of a builder file whose function is in the code module ``work``. User code that
is to wait for the test, in the same interpreter, passes a gate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import dedent
from typing import Any

import pandas as pd
import yaml

from tablevault_like import TableVault

MODULE = "work"
PATIENCE = 40.0
"""How many seconds anything may take before a test fails."""


def builder(kind: str, *columns: str, **fields: object) -> str:
    """Return the text of a builder file."""
    written = {"builder_type": kind, "changed_columns": list(columns), "code_module": MODULE, "is_custom": True}
    return yaml.safe_dump({**written, **fields}, sort_keys=False, allow_unicode=True)


def index(*columns: str, function: str = "rows", **fields: object) -> str:
    """Return the text of an IndexBuilder whose function yields the rows."""
    return builder("IndexBuilder", *columns, python_function=function, **{"return_type": "generator", **fields})


def column(*columns: str, function: str, **fields: object) -> str:
    """Return the text of a ColumnBuilder whose function is called once a row."""
    return builder("ColumnBuilder", *columns, python_function=function, **{"return_type": "row-wise", **fields})


def write_code(vault: TableVault, code: str, module: str = MODULE) -> None:
    vault.create_code_module(module, text=dedent(code))


def begin(
    vault: TableVault, table: str, builders: Mapping[str, str], *, code: str | None = None, **fields: Any
) -> None:
    """Create a temporary instance with these builder files; the table too, if it isn't there.

    The builder ``index`` gets the name that it needs.
    """
    if code is not None:
        write_code(vault, code)
    if table not in vault.get_table_instances():
        vault.create_table(table)
    named = {f"{table}_index" if name == "index" else name: text for name, text in builders.items()}
    vault.create_instance(table, builders=named, **fields)


def build(
    vault: TableVault, table: str, builders: Mapping[str, str], *, code: str | None = None, **fields: Any
) -> pd.DataFrame:
    """Create an instance, execute it, and return its frame."""
    begin(vault, table, builders, code=code, **fields)
    vault.execute_instance(table, fields.get("version", ""))
    return vault.get_dataframe(table, version=fields.get("version", ""))


def write(vault: TableVault, table: str, frame: pd.DataFrame, version: str = "", **fields: Any) -> str:
    """Write a frame as an instance, and return the instance's id; the table is made if it isn't there."""
    if table not in vault.get_table_instances():
        vault.create_table(table)
    vault.create_instance(table, version, external_edit=True)
    vault.write_instance(frame, table, version, **fields)
    return vault.get_table_instances(table, version)[-1]


class Gate:
    """A place in user code at which it waits until the test opens it."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self._is_open = threading.Event()

    def enter(self) -> None:
        """Wait. Called by user code."""
        self._arrived.release()
        assert self._is_open.wait(PATIENCE), "the test never opened the gate"

    def await_arrival(self) -> None:
        """Wait until somebody waits here."""
        assert self._arrived.acquire(timeout=PATIENCE), "nobody came to the gate"

    def open(self) -> None:
        self._is_open.set()


GATES: dict[str, Gate] = {}
"""The gates of the test that runs, by name: ``from tests.tables import GATES``."""

GATED_ROWS = """
from tests.tables import GATES

def rows():
    yield 1
    GATES["row"].enter()
    yield 2
"""
"""A code module whose generator waits at the gate ``row`` between its two rows."""


@contextmanager
def gates(*names: str) -> Iterator[tuple[Gate, ...]]:
    """Put gates up. In the end all are open, whatever happened."""
    made = {name: Gate() for name in names}
    GATES.update(made)
    try:
        yield tuple(made.values())
    finally:
        for gate in made.values():
            gate.open()
        for name in names:
            del GATES[name]


class Background:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[..., Any], *arguments: Any, **fields: Any) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call, arguments, fields), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[..., Any], arguments: tuple[Any, ...], fields: dict[str, Any]) -> None:
        try:
            self._result = call(*arguments, **fields)
        except BaseException as error:  # raised again where somebody waits for it
            self._error = error

    def result(self) -> Any:
        """Wait for the end of the call, and return or raise what it did."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call doesn't end"
        if self._error is not None:
            raise self._error
        return self._result


def notes(error: BaseException) -> list[str]:
    """Return the notes of an error: where it was, and what became of the process."""
    return list(getattr(error, "__notes__", []))
