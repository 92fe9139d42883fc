"""``scripts/demo.py``: it holds what it says, in time, and leaves nothing behind, however it ends."""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psutil
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPT = CHECKOUT / "scripts" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def started(temporary: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo, with ``temporary`` for temporary folders."""
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, text=True, cwd=temporary
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_worker(process: subprocess.Popen[str]) -> psutil.Process:
    """Read what the demo prints up to the start of its first worker, and return that."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"with the pid (\d+)", line):
            return psutil.Process(int(found[1]))
    raise AssertionError("no worker was started")


def spent() -> float:
    """Return the seconds of CPU that were spent by those whom this interpreter started, and by theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_holds_what_it_says(tmp_path: Path) -> None:
    temporary, kept = tmp_path / "temporary", tmp_path / "kept"
    temporary.mkdir()
    before = spent()
    with started(temporary, "--keep", str(kept)) as process:
        printed, _ = process.communicate()

    assert process.returncode == 0, printed
    assert spent() - before < 60  # on a machine that does nothing else; here others may be at work
    assert re.findall(r"^(\d)\. ", printed, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    assert len(re.findall(r"-> (\d+) rows .* called once, \d+ called twice$", printed, re.MULTILINE)) == 2
    assert (kept / "vault" / ".tablevault").is_file()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as process:
        worker = first_worker(process)
        process.send_signal(number)
        process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert not worker.is_running()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_does_not_outlive_a_demo_that_is_killed(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        worker = first_worker(process)
        process.kill()
        worker.wait(timeout=30)


def test_a_claim_that_is_false_ends_the_demo(demo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    narrator = demo.Narrator()
    narrator.claim("one is one", True)

    with pytest.raises(SystemExit, match="isn't: one is two") as caught:
        narrator.claim("one is two", False)

    assert isinstance(caught.value.code, str)  # which makes the exit status 1
    assert capsys.readouterr().out == "\n    -> one is one\n"


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with started(tmp_path, "--keep", str(tmp_path)) as process:
        process.communicate()

    assert process.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
