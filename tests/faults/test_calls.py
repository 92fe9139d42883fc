"""The tracer sees each system call that changes a file below its root, by whatever means the file is named."""

from __future__ import annotations

import os
import runpy
import signal
from pathlib import Path

import pytest

from tests.faults import injection, tracing
from tests.workers import Workers


def change(root: Path) -> None:
    with (root / "a").open("wb", buffering=0) as file:
        file.write(b"1")
        os.utime(file.fileno(), (1, 1))
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    os.rename("a", "b", src_dir_fd=folder, dst_dir_fd=folder)
    os.close(folder)
    (root.parent / "elsewhere").touch()


def seen(root: Path) -> list[str]:
    return [str(call) for call in injection.run(lambda: change(root), root).calls]


@pytest.mark.usefixtures("traced")
def test_a_file_is_named_by_a_path_a_folder_or_itself(tmp_path: Path, workers: Workers) -> None:
    (tmp_path / "root").mkdir()

    found = workers.start(seen, tmp_path / "root").result()

    assert found == ["openat a", "write a", "utimensat a", "close a", "renameat a", "close root"]


def fail_to_look(root: Path) -> str | None:
    """Let whoever looks at a call raise, and tell whether the fork that stood there was left standing."""

    def look() -> None:
        raise InterruptedError

    try:
        injection.run(lambda: change(root), root, at=1, deed=injection.Act(look, kills=False))
    except InterruptedError:
        try:
            os.waitpid(-1, os.WNOHANG | 0x40000000)  # __WALL
        except ChildProcessError:
            return None
        return "somebody is left"
    return "nothing was raised"


@pytest.mark.usefixtures("traced")
def test_a_fork_that_cannot_be_followed_is_ended(tmp_path: Path, workers: Workers) -> None:
    (tmp_path / "root").mkdir()

    assert workers.start(fail_to_look, tmp_path / "root").result() is None


def leave(root: Path) -> str:
    file = (root / "a").open("wb", buffering=0)
    assert not file.closed
    return "done"  # and closes the file


def interrupt_at_last(root: Path) -> tuple[list[str], object, list[str]]:
    outcome = injection.run(lambda: leave(root), root, at=2, deed=injection.Signal(signal.SIGINT))
    return [str(call) for call in outcome.calls], outcome.ending.value, outcome.ending.raised


USER_CODE = """
from tablevault_like.storage import files


def own(path):
    path.touch()


def passed_through(path):
    try:
        files.write_file(path, b"")
    finally:
        path.exists()
"""


@pytest.mark.parametrize(("name", "is_users"), [("own", True), ("passed_through", False)])
def test_an_error_of_user_code_is_told_from_one_that_only_came_through_it(
    tmp_path: Path, workers: Workers, name: str, is_users: bool
) -> None:
    (tmp_path / "code_functions").mkdir()
    (tmp_path / "code_functions" / "tools.py").write_text(USER_CODE)

    ending = workers.start(call_user_code, tmp_path, name).result()

    assert "OSError" in ending.raised
    assert ending.is_of_user_code is is_users


def call_user_code(folder: Path, name: str) -> tracing.Ending:
    function = runpy.run_path(str(folder / "code_functions" / "tools.py"))[name]
    return tracing.aside(lambda: function(folder / "missing" / "file"))


@pytest.mark.usefixtures("traced")
def test_a_signal_at_the_very_last_call_interrupts_nobody(tmp_path: Path, workers: Workers) -> None:
    (tmp_path / "root").mkdir()

    found = workers.start(interrupt_at_last, tmp_path / "root").result()

    assert found == (["openat a", "close a"], "done", [])
