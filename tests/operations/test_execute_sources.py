"""Long sources: what the log says of them, where they go on, what ``checkpoint()`` waits for."""

from __future__ import annotations

import logging
import os
import re
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import TableVault, checkpoint
from tablevault_like.errors import TVArgumentError, TVProcessError, TVTableError
from tablevault_like.layout import Layout
from tests import tasks
from tests.scenes import Calls, Scene
from tests.states import assert_sound
from tests.tables import begin, column, index, write_code
from tests.workers import Action, Fault, Workers, wait_until

# The source has as many values as the file ``length`` says; it fails at the one in the file ``fail``.
CODE = """
from pathlib import Path

from tablevault_like import Row, checkpoint
from tests.workers import note_call, pass_point

HERE = Path({folder!r})


def pages(start=0):
    note_call(f"from {{start}}")
    for number in range(start, int((HERE / "length").read_text())):
        note_call(f"page {{number}}")
        if (HERE / "fail").exists() and (HERE / "fail").read_text() == str(number):
            raise ConnectionError("nobody answers")
        pass_point(f"page {{number}}")
        yield number


def told(start):
    yield from pages(start)
    return int((HERE / "length").read_text())
"""
BEGIN = "No checkpoint found, starting from beginning"
END = "Processing complete, removing checkpoint"


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


@pytest.fixture
def scene(vault: TableVault, tmp_path: Path, workers: Workers) -> Scene:
    return Scene(tmp_path / "vault", workers)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "tablevault_like")
    return caplog


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of checkpoints, and forget it."""
    words = ("checkpoint", "Checkpoint")
    found = [record.getMessage() for record in caplog.records if any(word in record.getMessage() for word in words)]
    assert all(record.levelno == logging.INFO for record in caplog.records if record.getMessage() in found)
    caplog.clear()
    return found


def crawl(vault: TableVault, *, length: int, resumes: bool = True, function: str = "pages", **fields: Any) -> None:
    folder = Path(vault.db_dir).parent
    (folder / "length").write_text(str(length))
    arguments = {"start": "~RESUME_FROM~"} if resumes else {}
    text = index("n", function=function, arguments=arguments, **fields)
    begin(vault, "crawl", {"index": text}, code=CODE.format(folder=str(folder)))


def numbers(vault: TableVault) -> list[int]:
    return [int(number) for number in vault.get_dataframe("crawl")["n"]]


class TestTheLog:
    def test_says_how_far_it_is_at_every_checkpoint(self, vault: TableVault, said: pytest.LogCaptureFixture) -> None:
        crawl(vault, length=3500)
        vault.execute_instance("crawl")
        assert lines(said) == [
            BEGIN,
            *(f"Checkpoint saved: offset={count}, processed={count}" for count in (1000, 2000, 3000)),
            END,
        ]

    @pytest.mark.parametrize("resumes", [True, False])
    def test_says_where_it_stopped_and_where_it_goes_on(
        self, vault: TableVault, said: pytest.LogCaptureFixture, tmp_path: Path, resumes: bool
    ) -> None:
        crawl(vault, length=10, resumes=resumes, checkpoint_every=3)
        (tmp_path / "fail").write_text("7")
        with pytest.raises(ConnectionError):
            vault.execute_instance("crawl", process_id="p")
        assert lines(said) == [
            BEGIN,
            "Checkpoint saved: offset=3, processed=3",
            "Checkpoint saved: offset=6, processed=6",
            "Checkpoint saved: offset=7, processed=7",
        ]
        (tmp_path / "fail").unlink()
        vault.execute_instance("crawl", process_id="p")
        assert lines(said) == [
            "Resuming from checkpoint: offset=7",
            "Checkpoint saved: offset=9, processed=9",
            END,
        ]
        assert numbers(vault) == [*range(10)]

    def test_tells_only_of_what_is_on_the_disk(
        self, vault: TableVault, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts = []
        path = Layout(Path(vault.db_dir)).process("p").rows

        class Looking(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.getMessage().startswith("Checkpoint saved"):
                    import sqlite3
                    from contextlib import closing

                    with closing(sqlite3.connect(path)) as store:
                        counts.append(store.execute("SELECT count(*) FROM results").fetchone()[0])

        looking = Looking()
        logging.getLogger("tablevault_like").addHandler(looking)
        try:
            crawl(vault, length=10, checkpoint_every=4)
            vault.execute_instance("crawl", process_id="p")
        finally:
            logging.getLogger("tablevault_like").removeHandler(looking)
        assert counts == [4, 8]

    def test_of_an_empty_source_has_a_beginning_and_an_end(
        self, vault: TableVault, said: pytest.LogCaptureFixture
    ) -> None:
        crawl(vault, length=0)
        vault.execute_instance("crawl")
        assert lines(said) == [BEGIN, END]

    def test_of_a_column_is_the_same(self, vault: TableVault, said: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        code = f"{CODE.format(folder=str(tmp_path))}\ndef rows(): yield from range(5)"
        (tmp_path / "length").write_text("5")
        more = column("more", function="pages", return_type="generator", checkpoint_every=2, arguments={})
        begin(vault, "crawl", {"index": index("n"), "more": more}, code=code)
        vault.execute_instance("crawl")
        assert lines(said)[2:] == [
            BEGIN,
            "Checkpoint saved: offset=2, processed=2",
            "Checkpoint saved: offset=4, processed=4",
            END,
        ]


class TestASignal:
    @pytest.mark.parametrize("action", [Action.INTERRUPT, Action.TERMINATE])
    def test_saves_a_checkpoint(self, scene: Scene, calls: Calls, action: Action) -> None:
        crawl(scene.vault, length=1_000_000, checkpoint_every=1_000_000)
        log = scene.vault_dir.parent / "log"
        scene.workers.run(tasks.execute_and_log, scene.vault_dir, "crawl", "p", log, faults=[Fault("page 12", action)])
        done = scene.recorded("p", "crawl_index")
        assert 12 <= done < 1_000_000
        assert f"Checkpoint saved: offset={done}, processed={done}" in log.read_text().splitlines()
        (scene.vault_dir.parent / "length").write_text(str(done + 2))
        scene.vault.execute_instance("crawl", process_id="p")
        assert calls()[f"from {done}"] == 1
        assert numbers(scene.vault) == [*range(done + 2)]

    def test_that_kills_loses_nothing_that_was_told(self, scene: Scene, calls: Calls) -> None:
        crawl(scene.vault, length=20, checkpoint_every=5)
        worker = scene.workers.start(
            tasks.execute, scene.vault_dir, "crawl", "p", faults=[Fault("page 12", Action.WAIT)]
        )
        assert worker.arrive() == "page 12"
        wait_until(lambda: scene.recorded("p", "crawl_index") == 12)
        worker.kill()
        scene.vault.execute_instance("crawl", process_id="p")
        assert calls()["from 12"] == 1
        assert [calls()[f"page {number}"] for number in range(20)] == [1] * 12 + [2] + [1] * 7
        assert numbers(scene.vault) == [*range(20)]
        assert_sound(scene.vault_dir)
        assert not Layout(scene.vault_dir).process("p").rows.exists()


class TestTheExample:
    def test_is_killed_and_goes_on_in_its_source(self, scene: Scene, calls: Calls) -> None:
        example = Path(__file__).parents[2] / "builders_examples" / "stream"
        scene.vault.create_code_module(copy_dir=str(example / "code_functions"))
        scene.vault.create_table("definitions")
        scene.vault.create_instance("definitions")
        scene.vault.create_builder_file("definitions", copy_dir=str(example / "definitions"))
        log = scene.vault_dir.parent / "log"
        recording = Fault("after tablevault_like.storage.rows:RowStore.record", Action.KILL, nth=4)
        scene.workers.run(tasks.execute_and_log, scene.vault_dir, "definitions", "p", log, faults=[recording])
        done = scene.recorded("p", "definitions_index")
        assert done > 0
        scene.workers.run(tasks.execute_and_log, scene.vault_dir, "definitions", "p", log)
        told = log.read_text().splitlines()
        assert told.count(BEGIN) == told.count(END) == 1
        assert told.count(f"Resuming from checkpoint: offset={done}") == 1
        assert any(re.fullmatch("Checkpoint saved: offset=[246]000, processed=[246]000", line) for line in told)
        frame = scene.vault.get_dataframe("definitions")
        assert not frame.duplicated().any()
        scene.vault.create_instance("definitions", copy=True)
        scene.vault.execute_instance("definitions")
        pd.testing.assert_frame_equal(scene.vault.get_dataframe("definitions"), frame)


class TestStartAt:
    def test_begins_elsewhere(self, vault: TableVault, said: pytest.LogCaptureFixture, calls: Calls) -> None:
        crawl(vault, length=10, checkpoint_every=2)
        vault.execute_instance("crawl", start_at={"crawl_index": 5})
        assert numbers(vault) == [5, 6, 7, 8, 9]
        assert calls()["from 5"] == 1
        assert lines(said) == [
            "No checkpoint found, starting from offset=5",
            "Checkpoint saved: offset=7, processed=2",
            "Checkpoint saved: offset=9, processed=4",
            END,
        ]

    @pytest.mark.parametrize("resumes", [True, False])
    def test_is_where_a_resume_counts_from(
        self, vault: TableVault, calls: Calls, tmp_path: Path, said: pytest.LogCaptureFixture, resumes: bool
    ) -> None:
        crawl(vault, length=10, resumes=resumes)
        (tmp_path / "fail").write_text("8")
        with pytest.raises(ConnectionError) as caught:
            vault.execute_instance("crawl", process_id="p", start_at={"crawl_index": 5})
        assert "row 3 of" in caught.value.__notes__[0]
        (tmp_path / "fail").unlink()
        lines(said)
        vault.execute_instance("crawl", process_id="p", start_at={"crawl_index": 5})
        assert lines(said)[0] == "Resuming from checkpoint: offset=8"
        assert numbers(vault) == [5, 6, 7, 8, 9]
        assert calls()["from 8"] == (1 if resumes else 0)

    def test_that_fails_before_it_is_reached_fails_in_the_first_row(self, vault: TableVault, tmp_path: Path) -> None:
        crawl(vault, length=10, resumes=False)
        (tmp_path / "fail").write_text("2")
        with pytest.raises(ConnectionError) as caught:
            vault.execute_instance("crawl", start_at={"crawl_index": 5})
        assert "row 0 of" in caught.value.__notes__[0]

    def test_identifies_the_work(self, vault: TableVault, tmp_path: Path) -> None:
        crawl(vault, length=10)
        (tmp_path / "fail").write_text("8")
        with pytest.raises(ConnectionError):
            vault.execute_instance("crawl", process_id="p", start_at={"crawl_index": 5})
        with pytest.raises(TVArgumentError, match=r"start_at\['crawl_index'\]: 5 then, missing now"):
            vault.execute_instance("crawl", process_id="p")
        assert vault.get_process("p").arguments["start_at"] == {"crawl_index": 5}
        (tmp_path / "fail").unlink()
        assert str(TableVault(vault.db_dir, restart=True).restarted["p"]) == "completed"
        assert numbers(vault) == [5, 6, 7, 8, 9]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"crawl": 3}, "start_at names 'crawl', and there is no such builder. Did you mean 'crawl_index'?"),
            ({"more": 3}, "'more' is a ColumnBuilder whose return_type is generator"),
            ({"crawl_index": -1}, "must map names of builders to offsets from 0, not {'crawl_index': -1}"),
            ({"crawl_index": "3"}, "must map names of builders to offsets from 0"),
            ({"crawl_index": True}, "must map names of builders to offsets from 0"),
            (["crawl_index"], "start_at must"),
        ],
    )
    def test_is_refused_for_what_has_no_source(self, vault: TableVault, given: Any, message: str) -> None:
        crawl(vault, length=3)
        vault.create_builder_file(
            "crawl", "more", text=column("more", function="pages", return_type="generator", arguments={})
        )
        with pytest.raises(TVArgumentError) as caught:
            vault.execute_instance("crawl", start_at=given)
        assert message in str(caught.value)

    def test_runs_in_the_background_too(self, vault: TableVault) -> None:
        crawl(vault, length=6)
        vault.execute_instance("crawl", process_id="p", start_at={"crawl_index": 4}, background=True)
        assert vault.wait("p", 40).status == "completed"
        assert numbers(vault) == [4, 5]


class TestASourceThatIsTooShort:
    @pytest.mark.parametrize("resumes", [True, False])
    @pytest.mark.parametrize(("length", "start"), [(0, 1), (7, 8), (7, 100), (6, 7)])
    def test_for_where_it_is_to_begin_is_an_error_with_both_numbers(
        self, vault: TableVault, resumes: bool, length: int, start: int
    ) -> None:
        crawl(vault, length=length, resumes=resumes)
        with pytest.raises(TVTableError, match=f"ended after {length} values, but start_at is {start}"):
            vault.execute_instance("crawl", start_at={"crawl_index": start})

    @pytest.mark.parametrize("resumes", [True, False])
    def test_may_end_just_there(self, vault: TableVault, resumes: bool) -> None:
        crawl(vault, length=7, resumes=resumes)
        vault.execute_instance("crawl", start_at={"crawl_index": 7})
        assert numbers(vault) == []

    @pytest.mark.parametrize(("resumes", "function"), [(False, "pages"), (True, "told"), (True, "pages")])
    def test_for_what_is_recorded_is_an_error_with_both_numbers(
        self, vault: TableVault, tmp_path: Path, resumes: bool, function: str
    ) -> None:
        crawl(vault, length=10, resumes=resumes, function=function)
        (tmp_path / "fail").write_text("8")
        with pytest.raises(ConnectionError):
            vault.execute_instance("crawl", process_id="p")
        (tmp_path / "length").write_text("6")
        with pytest.raises(TVTableError, match="ended after 6 values, but the checkpoint is at 8"):
            vault.execute_instance("crawl", process_id="p")
        assert vault.get_process("p").rows_done == 8
        (tmp_path / "length").write_text("8")
        vault.execute_instance("crawl", process_id="p")
        assert numbers(vault) == [*range(8)]

    def test_is_asked_for_one_value_only_if_it_is_as_long_as_what_is_recorded(
        self, vault: TableVault, calls: Calls, tmp_path: Path
    ) -> None:
        crawl(vault, length=10)
        (tmp_path / "fail").write_text("8")
        with pytest.raises(ConnectionError):
            vault.execute_instance("crawl", process_id="p")
        (tmp_path / "length").write_text("8")
        before = calls()

        vault.execute_instance("crawl", process_id="p")

        assert calls() - before == {"from 8": 1, "from 7": 1, "page 7": 1}
        assert numbers(vault) == [*range(8)]


class TestCheckpoint:
    def test_does_nothing_where_no_builder_runs(self) -> None:
        checkpoint()

    def test_waits_until_all_that_was_yielded_is_recorded(
        self, vault: TableVault, said: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        rows = Layout(Path(vault.db_dir)).process("p").rows
        code = f"""
import sqlite3
from contextlib import closing
from tablevault_like import checkpoint
def recorded():
    with closing(sqlite3.connect({str(rows)!r})) as store:
        return store.execute("SELECT count(*) FROM results WHERE status = 'done'").fetchone()[0]
def pages():
    for number in range(50):
        checkpoint()
        yield (number, recorded())
"""
        begin(vault, "crawl", {"index": index("n", "seen", function="pages")}, code=code)
        vault.execute_instance("crawl", process_id="p")
        frame = vault.get_dataframe("crawl")
        assert frame["seen"].tolist() == frame["n"].tolist()
        assert lines(said)[1:3] == [
            "Checkpoint saved: offset=0, processed=0",
            "Checkpoint saved: offset=1, processed=1",
        ]

    @pytest.mark.parametrize("return_type", ["row-wise", "batch"])
    def test_waits_for_all_calls_that_have_returned(self, vault: TableVault, return_type: str) -> None:
        rows = Layout(Path(vault.db_dir)).process("p").rows
        code = f"""
import sqlite3
from contextlib import closing
from tablevault_like import checkpoint
def rows(): yield from range(12)
def recorded():
    with closing(sqlite3.connect({str(rows)!r})) as store:
        return store.execute("SELECT count(*) FROM results WHERE builder = 'seen'").fetchone()[0]
def look(n):
    checkpoint()
    return recorded()
def look_many(rows):
    return [look(n) for n in rows["n"]]
"""
        more = {"return_type": "batch", "batch_size": 3} if return_type == "batch" else {}
        seen = column("seen", function="look_many" if more else "look", arguments={"n": "<<self.n[index]>>"}, **more)
        begin(vault, "crawl", {"index": index("n"), "seen": seen}, code=code)
        vault.execute_instance("crawl", process_id="p")
        seen_by = vault.get_dataframe("crawl")["seen"].tolist()
        assert seen_by == ([number // 3 * 3 for number in range(12)] if more else [*range(12)])

    def test_may_be_called_by_several_threads(self, vault: TableVault) -> None:
        code = """
from tablevault_like import checkpoint
def rows(): yield from range(40)
def look(n):
    checkpoint()
    return n
"""
        seen = column("seen", function="look", n_threads=4, arguments={"n": "<<self.n[index]>>"})
        begin(vault, "crawl", {"index": index("n"), "seen": seen}, code=code)
        vault.execute_instance("crawl")
        assert vault.get_dataframe("crawl")["seen"].tolist() == [*range(40)]

    def test_is_quiet_in_a_function_that_gives_all_at_once(self, vault: TableVault) -> None:
        code = """
import pandas as pd
from tablevault_like import checkpoint
def rows(): yield from range(3)
def whole():
    checkpoint()
    return pd.DataFrame({"m": [1, 2, 3]})
"""
        builders = {"index": index("n"), "m": column("m", function="whole", return_type="dataframe", arguments={})}
        begin(vault, "crawl", builders, code=code)
        vault.execute_instance("crawl")
        assert vault.get_dataframe("crawl")["m"].tolist() == [1, 2, 3]

    def test_survives_what_is_risky(self, scene: Scene, calls: Calls) -> None:
        code = """
import os, signal
from tablevault_like import checkpoint
from tests.workers import note_call
def pages(start):
    for number in range(start, 10):
        note_call(f"page {number}")
        if number == 6 and start == 0:
            checkpoint()
            os.kill(os.getpid(), signal.SIGKILL)
        yield number
"""
        begin(
            scene.vault,
            "crawl",
            {"index": index("n", function="pages", arguments={"start": "~RESUME_FROM~"})},
            code=code,
        )
        scene.workers.run(tasks.execute, scene.vault_dir, "crawl", "p")
        assert scene.recorded("p", "crawl_index") == 6
        scene.vault.execute_instance("crawl", process_id="p")
        assert [calls()[f"page {number}"] for number in range(10)] == [1] * 6 + [2] + [1] * 3

    def test_after_a_value_that_is_refused_does_not_return(self, vault: TableVault, calls: Calls) -> None:
        code = """
from tablevault_like import checkpoint
from tests.workers import note_call
def pages():
    yield 1
    yield "no number"
    try:
        checkpoint()
    except Exception as error:
        note_call(type(error).__name__)
        raise
    note_call("risky")
    yield 3
"""
        begin(vault, "crawl", {"index": index("n", function="pages", dtypes={"n": "Int64"})}, code=code)
        with pytest.raises(TVTableError, match="no number"):
            vault.execute_instance("crawl")
        assert calls() in ({"TVProcessError": 1}, {})

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_is_refused_in_a_fork(self, vault: TableVault) -> None:
        code = """
import os
from tablevault_like import checkpoint
from tablevault_like.errors import TVProcessError
def pages():
    child = os.fork()
    if not child:
        try:
            checkpoint()
        except TVProcessError:
            os._exit(7)
        os._exit(1)
    yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
        begin(vault, "crawl", {"index": index("n", function="pages")}, code=code)
        vault.execute_instance("crawl")
        assert numbers(vault) == [7]


def test_a_pause_saves_a_checkpoint(vault: TableVault, said: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    crawl(vault, length=1_000_000, checkpoint_every=1_000_000)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            vault.execute_instance("crawl", process_id="p")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: bool(vault.get_active_processes()) and vault.get_process("p").rows_done > 0)
    vault.pause_process("p")
    thread.join(40)
    assert isinstance(failed[0], TVProcessError)
    done = vault.get_process("p").rows_done
    assert lines(said)[-1] == f"Checkpoint saved: offset={done}, processed={done}"
    (tmp_path / "length").write_text(str(done + 2))
    vault.execute_instance("crawl", process_id="p")
    assert len(numbers(vault)) == done + 2
    write_code(vault, "")
