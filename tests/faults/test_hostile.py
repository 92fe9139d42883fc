"""Files and texts that nobody should write into a vault: reading runs nothing, and ends in bounded time and memory."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tablevault_like import TableVault
from tablevault_like.cli import app
from tests import library
from tests.faults import hostile, tally, tracing
from tests.faults.tally import Row
from tests.scenes import Calls
from tests.workers import Workers

SEED = 17


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(900)
def test_files_that_nobody_should_write(
    library_dir: Path, tmp_path: Path, scratch: Path, workers: Workers, *, is_full: bool
) -> None:
    """No file is ever run or unpickled by reading, and none brings down whoever reads it."""
    source = tmp_path / "source"
    shutil.copytree(library_dir, source)
    count = 1_500 if is_full else 70
    tried, violations = workers.start(try_files, source, scratch, count).result(patience=900.0)
    tally.add(Row.HOSTILE, tried, violations)
    assert tried == count
    assert violations == []


def try_files(source: Path, scratch: Path, count: int) -> tuple[int, Sequence[str]]:
    """Try some of the cases. In a worker that may fork."""
    import duckdb  # noqa: F401 - so that no fork has to import it
    import pyarrow.dataset  # noqa: F401

    made, ran = (source / "made").read_text(), scratch / "ran"
    assert tracing.aside(lambda: hostile.pause(source / "vault", made)).returned
    every = list(hostile.cases(source / "vault", made, ran))
    violations = []
    for case in random.Random(SEED).sample(every, count):
        violations += hostile.tried(case, source, scratch / "trial", made, ran)
    return count, violations


def test_pickles_are_seen_to_run_where_they_are_decoded(tmp_path: Path) -> None:
    """The test of the test."""
    import pickle

    pickle.loads(hostile.pickled(tmp_path / "ran"))

    assert (tmp_path / "ran").exists()


TITLE = "\x1b]0;evil\x07\x1b[2J\rspoofed\x08\u202e\x9b31m"
"""What a terminal would obey."""


@pytest.mark.parametrize(
    "words",
    [
        *("ls", "tree", "describe papers", "describe", "ps", "history", "trash", "inspect nightly"),
        *("quickcheck", "errors nightly", "show scores", "report nightly"),
    ],
)
def test_a_terminal_obeys_no_text_of_a_vault(words: str, copy_dir: Path, calls: Calls) -> None:
    vault = TableVault(copy_dir, TITLE)
    vault.create_table("papers", description=TITLE)
    vault.create_table("drafts", description=TITLE)
    vault.delete_table("drafts")
    vault.write_instance(pd.DataFrame({TITLE.replace("\x1b", ""): [TITLE]}), "scores")
    code = library.CODE.replace("return word.upper()", f"raise ValueError({TITLE!r})")
    vault.create_code_module("tools", text=code)
    with pytest.raises(ValueError, match="evil"):
        vault.execute_instance("words", process_id="nightly")

    done = CliRunner().invoke(app, ["--db-dir", str(copy_dir), *words.split()])

    assert done.exit_code != 2, done.output  # it is a command
    assert not set("\x1b\x07\r\x08\x9b") & set(done.output), done.output
    assert "evil" in done.output or words in ("tree", "describe"), done.output
