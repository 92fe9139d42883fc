"""``background=True``: a worker of its own that outlives the caller, and tells at once what can be told at once."""

from __future__ import annotations

import dataclasses
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tablevault_like import State, TableVault
from tablevault_like.background import _report
from tablevault_like.errors import TableReferenceError, TVArgumentError, TVBuilderError, TVLockError, TVProcessError
from tests import tasks
from tests.tables import Background, begin, column, index, write_code
from tests.workers import Workers, wait_until

# The rows wait for a file each, so that the test says how far it comes.
CODE = """
import time
from pathlib import Path

def rows(folder):
    print("the first row is coming")
    for number in range(3):
        while not Path(folder, f"row {number}").exists():
            time.sleep(0.005)
        if Path(folder, "fail").exists():
            raise ConnectionError("nobody answers")
        yield number
"""

# Tells, in its worker, that the signal has become a request to stop: the row in flight must not end before that.
TELLS_OF_REQUESTS = """
    from tablevault_like.engines.base import Stop
    request = Stop.request
    Stop.request = lambda stop: (request(stop), Path(folder, "requested").touch())
"""


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[TableVault]:
    vault = TableVault(tmp_path / "vault", "ada", create=True)
    begin(vault, "numbers", {"index": index("n", arguments={"folder": str(tmp_path)})}, code=CODE)
    yield vault
    for process_id in vault.get_active_processes():
        vault.stop_process(process_id, force=True)


def ended(vault: TableVault, process_id: str) -> bool:
    return process_id not in vault.get_active_processes()


class TestInTheBackground:
    def test_it_returns_when_it_is_under_way(self, vault: TableVault, tmp_path: Path) -> None:
        assert vault.execute_instance("numbers", process_id="p", background=True) == "p"
        process = vault.get_active_processes()["p"]
        assert (process.state, process.is_alive, process.author) == (State.RUNNING, True, "ada")
        assert process.pid != os.getpid()
        for number in range(3):
            (tmp_path / f"row {number}").touch()
        wait_until(lambda: ended(vault, "p"))
        assert vault.get_process_completion("p")
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2]
        assert "the first row is coming" in Path(vault.db_dir, "metadata/processes/p/output.log").read_text()

    def test_without_an_id_it_makes_one(self, vault: TableVault, tmp_path: Path) -> None:
        for number in range(3):
            (tmp_path / f"row {number}").touch()
        process_id = vault.execute_instance("numbers", background=True)
        wait_until(lambda: ended(vault, process_id))
        process = vault.get_process(process_id)
        assert (process.state, process.is_named) == (State.COMPLETED, False)

    def test_what_user_code_raises_pauses_it_and_is_in_the_record_and_the_log(
        self, vault: TableVault, tmp_path: Path
    ) -> None:
        (tmp_path / "fail").touch()
        (tmp_path / "row 0").touch()
        vault.execute_instance("numbers", process_id="p", background=True)
        wait_until(lambda: vault.get_process("p").status == "paused")
        error = vault.get_process("p").error
        assert error is not None
        assert (error.type, error.message.splitlines()[0]) == ("ConnectionError", "nobody answers")
        log = Path(vault.db_dir, "metadata/processes/p/output.log")
        wait_until(lambda: "ConnectionError: nobody answers" in log.read_text())
        # And may be resumed in the foreground.
        (tmp_path / "fail").unlink()
        for number in range(3):
            (tmp_path / f"row {number}").touch()
        vault.execute_instance("numbers", process_id="p")
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2]

    def test_a_paused_process_goes_on_there(self, vault: TableVault, tmp_path: Path) -> None:
        (tmp_path / "fail").touch()
        (tmp_path / "row 0").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("numbers", process_id="p")
        (tmp_path / "fail").unlink()
        vault.execute_instance("numbers", process_id="p", background=True)
        assert vault.get_process("p").is_alive
        for number in range(3):
            (tmp_path / f"row {number}").touch()
        wait_until(lambda: ended(vault, "p"))
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2]
        assert vault.execute_instance("numbers", process_id="p", background=True) == "p"

    def test_ctrl_c_ends_a_worker_that_has_not_begun(self, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*_: object, **__: object) -> bool:
            raise KeyboardInterrupt

        monkeypatch.setattr("tablevault_like.background._is_under_way", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            vault.execute_instance("numbers", process_id="p", background=True)
        assert caught.value.__notes__ == ["The worker of process 'p' was told to end."]

    def test_a_second_worker_is_refused(self, vault: TableVault, tmp_path: Path) -> None:
        vault.execute_instance("numbers", process_id="p", background=True)
        for background in (True, False):
            with pytest.raises(TVProcessError, match="A living worker is at process 'p'") as caught:
                vault.execute_instance("numbers", process_id="p", background=background)
            assert caught.value.process_id == "p"
        for number in range(3):
            (tmp_path / f"row {number}").touch()
        wait_until(lambda: ended(vault, "p"))

    def test_what_fails_at_once_is_no_error_of_the_call(self, vault: TableVault) -> None:
        write_code(vault, "def rows(folder): raise ConnectionError('nobody answers')")
        assert vault.execute_instance("numbers", process_id="p", background=True) == "p"
        process_id = vault.execute_instance("numbers", process_id="p", background=True)
        wait_until(lambda: vault.get_process(process_id).status == "paused")

    @pytest.mark.parametrize("years", [-40, 40])
    def test_whatever_the_clocks_say(self, vault: TableVault, monkeypatch: pytest.MonkeyPatch, years: int) -> None:
        def now() -> float:
            return time.time() + years * 365 * 86_400.0

        vault._journal = dataclasses.replace(vault._journal, now=now)
        # Nobody looks before it has failed and is reverted.
        monkeypatch.setattr(subprocess.Popen, "poll", subprocess.Popen.wait)
        write_code(vault, "def rows(folder): raise ConnectionError('nobody answers')")
        process_id = vault.execute_instance("numbers", background=True)
        wait_until(lambda: ended(vault, process_id))
        assert vault.get_process(process_id).state is State.REVERTED

    def test_sigterm_pauses_it(self, vault: TableVault, tmp_path: Path) -> None:
        write_code(vault, CODE.replace("def rows(folder):", f"def rows(folder):{TELLS_OF_REQUESTS}"))
        (tmp_path / "row 0").touch()
        vault.execute_instance("numbers", process_id="p", background=True)
        wait_until(lambda: vault.get_process("p").rows_done == 1)
        pid = vault.get_process("p").pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: (tmp_path / "requested").exists())
        (tmp_path / "row 1").touch()
        wait_until(lambda: vault.get_process("p").status == "paused")
        assert vault.get_process("p").rows_done == 2

    def test_a_killed_one_is_shown_as_interrupted(self, vault: TableVault, tmp_path: Path) -> None:
        (tmp_path / "row 0").touch()
        vault.execute_instance("numbers", process_id="p", background=True)
        wait_until(lambda: vault.get_process("p").rows_done == 1)
        pid = vault.get_process("p").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not vault.get_process("p").is_alive)
        assert vault.get_process("p").status == "interrupted"
        wait_until(lambda: not psutil.pid_exists(pid))  # it leaves no zombie
        for number in range(3):
            (tmp_path / f"row {number}").touch()
        assert TableVault(vault.db_dir, restart=True).restarted["p"].state is State.COMPLETED


class TestWhatCanBeToldAtOnce:
    def test_is_raised_by_the_call(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"There is no table 'number'\. Did you mean 'numbers'"):
            vault.execute_instance("number", background=True)

    def test_with_the_place_in_the_file(self, vault: TableVault) -> None:
        vault.create_builder_file("numbers", "more", text=column("more", function="nothing", arguments={"x": 1}))
        with pytest.raises(TVBuilderError, match=r"more\.yaml:6:18: .*has no function 'nothing'") as caught:
            vault.execute_instance("numbers", background=True)
        assert caught.value.location is not None
        assert (caught.value.location.line, caught.value.location.column) == (6, 18)
        vault.create_builder_file("numbers", "more", text=column("more", function="rows", arguments={"x": "<<a.b"}))
        with pytest.raises(TableReferenceError, match=r"more\.yaml:9:6: "):
            vault.execute_instance("numbers", background=True)

    def test_so_are_locks(self, vault: TableVault) -> None:
        vault.execute_instance("numbers", process_id="p", background=True)
        hasty = TableVault(vault.db_dir, "bob", lock_timeout=0)
        with pytest.raises(TVLockError, match="held by process 'p'") as caught:
            hasty.execute_instance("numbers", background=True)
        assert (caught.value.resource, caught.value.holder) == ("numbers/TEMP_base", "p")
        vault.stop_process("p", force=True)
        assert vault.get_table_instances("numbers", include_temp=True) == ["TEMP_base"]

    def test_and_what_identifies_the_work(self, vault: TableVault) -> None:
        vault.create_table("other", process_id="p")
        with pytest.raises(TVArgumentError, match="'p' was started by create_table"):
            vault.execute_instance("numbers", process_id="p", background=True)


CALLER = """
import fcntl, sys, termios
from tablevault_like import TableVault

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
TableVault(sys.argv[1], "ada").execute_instance("numbers", process_id="p", background=True)
print("under way", flush=True)
sys.stdin.read()
"""


class TestTheWorkerOutlives:
    def finish(self, vault: TableVault, folder: Path) -> None:
        for number in range(3):
            (folder / f"row {number}").touch()
        assert vault.wait("p", 30).state is State.COMPLETED
        assert vault.get_dataframe("numbers")["n"].tolist() == [0, 1, 2]

    @pytest.mark.parametrize("way", ["hang up", "kill"])
    def test_its_caller_and_its_terminal(self, vault: TableVault, tmp_path: Path, way: str) -> None:
        terminal, its_end = pty.openpty()
        command = [sys.executable, "-c", CALLER, vault.db_dir]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        with subprocess.Popen(
            command, stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True, env=environment
        ) as caller:
            os.close(its_end)
            said = b""
            while b"under way" not in said:
                said += os.read(terminal, 1000)
            if way == "kill":
                os.killpg(caller.pid, signal.SIGKILL)
            os.close(terminal)  # to all who have it, this is a hang-up
            assert caller.wait(30) == (-signal.SIGHUP if way == "hang up" else -signal.SIGKILL)

        assert vault.get_process("p").is_alive
        self.finish(vault, tmp_path)

    def test_a_hang_up_that_is_sent_to_it(self, vault: TableVault, tmp_path: Path) -> None:
        vault.execute_instance("numbers", process_id="p", background=True)
        pid = vault.get_process("p").pid
        assert pid is not None
        os.kill(pid, signal.SIGHUP)

        assert os.getsid(pid) == pid
        self.finish(vault, tmp_path)


def test_it_can_be_watched_and_stopped_from_another_interpreter(
    vault: TableVault, tmp_path: Path, workers: Workers
) -> None:
    (tmp_path / "row 0").touch()
    vault.execute_instance("numbers", process_id="p", background=True)
    waiting = Background(vault.wait, "p")
    wait_until(lambda: vault.get_process("p").rows_done == 1)
    assert vault.get_dataframe("numbers", "TEMP_base", columns=["n"])["n"].tolist() == [0]

    workers.start(tasks.stop, Path(vault.db_dir), "p", True, True).result()

    assert waiting.result().state is State.MATERIALIZED
    assert vault.get_dataframe("numbers")["n"].tolist() == [0]


def test_other_programs_that_it_starts_find_an_environment_like_the_callers(vault: TableVault, tmp_path: Path) -> None:
    write_code(vault, "import os\ndef rows(folder): yield os.environ.get('PYTHONPATH', 'none')")
    vault.create_builder_file("numbers", text=index("n", arguments={"folder": ""}), builder_name="numbers_index")
    vault.execute_instance("numbers", process_id="p", background=True)
    vault.wait("p", 30)

    assert vault.get_dataframe("numbers")["n"].tolist() == [os.environ.get("PYTHONPATH", "none")]


def test_an_error_of_any_length_is_told_at_once(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is longer than a pipe holds, while nobody reads."""
    for number in range(300):
        vault.create_builder_file("numbers", f"more{number}", text=column("x" * 200, function="rows"))

    with pytest.raises(TVBuilderError):
        vault.execute_instance("numbers", process_id="p", background=True)

    long = TVArgumentError("ü" * 1_000_000)
    assert len(_report(long).encode()) < 2**15


def test_what_is_refused_leaves_no_folder_behind(vault: TableVault, vault_dir: Path) -> None:
    for process_id in (None, "p"):
        with pytest.raises(TVArgumentError):
            vault.execute_instance("number", process_id=process_id, background=True)
    folder = Path(vault.db_dir, "metadata/processes")
    wait_until(lambda: not any(folder.iterdir()))
