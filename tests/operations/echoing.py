"""The library with one more builder, which reads what another one of its columns holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests import tasks
from tests.library import CALLS, CODE, WORDS
from tests.scenes import Calls
from tests.workers import Action, Fault, Workers

ID = "nightly"
INDEX = [call for call in CALLS if call.startswith("word ")]
SHOUTS = [call for call in CALLS if call.startswith("shout")]
PAGES = [call for call in CALLS if call.startswith("page")]
ECHOES = [f"echo {word}" for word in WORDS]

ECHO = """
builder_type: ColumnBuilder
changed_columns: [echo]
python_function: echo
code_module: tools
is_custom: true
arguments: {word: "<<self.word[index]>>", loud: "<<self.shout[index]>>"}
return_type: row-wise
"""
ECHO_CODE = """

def echo(word, loud):
    note_call(f"echo {word}")
    pass_point(f"echo {word}")
    return loud + loud
"""


@pytest.fixture
def vault(copy_dir: Path, calls: Calls) -> TableVault:
    """Return the library, with a builder that reads what ``shout`` makes."""
    vault = TableVault(copy_dir, "ada", lock_timeout=0.05)
    vault.create_code_module("tools", text=CODE + ECHO_CODE)
    vault.create_builder_file("words", "echo", text=ECHO)
    return vault


def counted(*calls: list[str]) -> Counter[str]:
    return Counter(call for each in calls for call in each)


def start(vault: TableVault, workers: Workers, arguments: dict[str, str], fault: Fault) -> None:
    """Execute the instance in a worker that meets a fault."""
    worker = workers.run(tasks.execute_with, Path(vault.db_dir), ID, arguments, faults=[fault])
    assert worker.end() == (-9 if fault.action is Action.KILL else 1), f"it never came to {fault}"
