"""Worker locks: who holds one is decided by the kernel, whatever happens to the worker, its file and its clock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tablevault_like import locks
from tablevault_like.locks import Worker, WorkerLock, is_held, read_worker
from tests.workers import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "process" / "worker.lock"


@pytest.fixture
def lock(path: Path) -> Iterator[WorkerLock]:
    found = WorkerLock(path)
    yield found
    found.release()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_CLAIM_SECONDS", 0.02)


HOLDER = """
import sys
from pathlib import Path
from tablevault_like.locks import WorkerLock

lock = WorkerLock(Path(sys.argv[1]))
assert lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return another interpreter that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class TestAWorkerLock:
    def test_is_held_until_it_is_released(self, lock: WorkerLock, path: Path) -> None:
        assert not is_held(path)

        assert lock.acquire()
        assert (lock.is_mine, is_held(path)) == (True, True)

        lock.release()
        lock.release()
        assert (lock.is_mine, is_held(path)) == (False, False)
        assert path.exists()

    def test_is_refused_to_a_second_claim_in_the_same_interpreter(self, lock: WorkerLock, path: Path) -> None:
        lock.acquire()
        refused = []

        def claim() -> None:
            other = WorkerLock(path)
            refused.append(not other.acquire())
            other.release()

        claim()
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join(PATIENCE)

        assert refused == [True, True]
        assert is_held(path)

    def test_is_released_by_another_thread_than_the_one_that_took_it(self, lock: WorkerLock, path: Path) -> None:
        thread = threading.Thread(target=lock.acquire)
        thread.start()
        thread.join(PATIENCE)

        assert is_held(path)
        lock.release()
        assert not is_held(path)

    def test_ends_with_its_worker_however_that_ends(
        self, holder: subprocess.Popen[str], lock: WorkerLock, path: Path
    ) -> None:
        assert is_held(path)
        assert not lock.acquire()

        holder.kill()
        holder.wait(PATIENCE)

        assert not is_held(path)
        assert lock.acquire()

    def test_of_a_file_that_was_taken_away_is_held_by_nobody(
        self, holder: subprocess.Popen[str], lock: WorkerLock, path: Path
    ) -> None:
        path.unlink()

        assert not is_held(path)
        assert lock.acquire()

    def test_makes_its_folder_again_when_that_was_swept_away(self, lock: WorkerLock, path: Path) -> None:
        lock.acquire()
        lock.release()
        path.unlink()
        path.parent.rmdir()

        assert lock.acquire()

    def test_makes_its_folder_again_when_that_is_swept_away_meanwhile(
        self, lock: WorkerLock, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What mkdir says of a folder that is there isn't true any more when somebody looks."""
        mkdir, swept = os.mkdir, 0

        def make(name: Any, *arguments: Any, **fields: Any) -> None:
            nonlocal swept
            try:
                mkdir(name, *arguments, **fields)
            except FileExistsError:
                if swept < 3:
                    swept += 1
                    time.sleep(0.03)
                    path.parent.rmdir()
                raise

        monkeypatch.setattr(os, "mkdir", make)

        assert lock.acquire()
        assert swept == 3

    def test_is_not_inherited_by_children(self, lock: WorkerLock, path: Path) -> None:
        lock.acquire()
        with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
            lock.release()
            assert not is_held(path)
            child.kill()

    def test_is_not_taken_for_held_by_those_who_ask(self, lock: WorkerLock, path: Path) -> None:
        """Two who ask at once don't see each other, and a claim waits until they have asked."""
        lock.acquire()
        lock.release()
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH)

        assert not is_held(path)
        timer = threading.Timer(0.05, os.close, (descriptor,))
        timer.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(locks, "_CLAIM_SECONDS", PATIENCE)
            assert lock.acquire()
        timer.join()


class TestTheWorker:
    def test_is_named_in_the_file(self, lock: WorkerLock, path: Path) -> None:
        lock.acquire()

        worker = read_worker(path)

        assert worker == Worker.this()
        assert worker is not None
        assert worker.pid == os.getpid()
        assert worker.find() == psutil.Process()

    def test_is_the_last_one(self, holder: subprocess.Popen[str], lock: WorkerLock, path: Path) -> None:
        found = read_worker(path)
        assert found is not None
        assert found.pid == holder.pid
        assert found.find() is not None

        holder.kill()
        holder.wait(PATIENCE)
        assert found.find() is None

        lock.acquire()
        assert read_worker(path) == Worker.this()

    def test_is_unknown_on_a_disk_that_is_full(
        self, lock: WorkerLock, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "pwrite", refuse)
        assert lock.acquire()
        assert is_held(path)
        assert read_worker(path) is None

    def test_is_written_over_the_last_one_because_the_disk_may_be_full(
        self, lock: WorkerLock, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert lock.acquire()
        lock.release()
        sizes = list[int]()
        write = os.pwrite

        def note(descriptor: int, text: bytes, at: int) -> int:
            sizes.append(os.fstat(descriptor).st_size)
            return write(descriptor, text, at)

        monkeypatch.setattr(os, "pwrite", note)
        assert lock.acquire()
        assert sizes == [path.stat().st_size]
        assert read_worker(path) == Worker.this()

    @pytest.mark.parametrize(
        "other", [{"host": "elsewhere"}, {"boot": "yesterday"}, {"started": 1.0}, {"pid": 2**22 + 1}]
    )
    def test_is_only_found_if_it_is_certain(self, other: dict[str, Any]) -> None:
        assert replace(Worker.this(), **other).find() is None

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"pid": 1})])
    def test_is_unknown_where_the_file_does_not_tell(self, path: Path, text: str) -> None:
        path.parent.mkdir()
        path.write_text(text)

        assert read_worker(path) is None
        assert read_worker(path.with_name("nothing")) is None
