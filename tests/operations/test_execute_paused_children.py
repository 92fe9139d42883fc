"""Rows in which an operation is paused haven't failed: their process is paused with it, whatever on_error says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TVPausedError
from tests import states
from tests.scenes import Calls
from tests.tables import begin, column, index

ID = "nightly"
POLICIES = ("stop", "continue", "null")
CODE = """
from pathlib import Path

from tablevault_like import Result, TableVault
from tablevault_like.model import Pause
from tablevault_like.process.run import LOCAL_RUNS
from tests.workers import note_call


def names():
    yield from ["a", "b", "c"]


def make(name, vault_dir):
    note_call(f"make {name}")
    TableVault(vault_dir).execute_instance("inner", version=name)
    return f"{name} is made"


def make_batch(name, vault_dir):
    return name.iloc[:, 0].map(lambda each: make(each, vault_dir)).to_frame("made")


def make_all(vault_dir):
    for name in names():
        yield make(name, vault_dir)


def make_frame(words, vault_dir):
    return words["name"].map(lambda each: make(each, vault_dir)).to_frame("made")


def numbers():
    yield from range(3)


def work(number, process_id, folder):
    note_call(f"work {process_id} {number}")
    pausing = Path(folder, "pauses")
    if number == 1 and pausing.exists() and f".{pausing.read_text()}" in process_id:
        # Somebody else asks for it, while this row is under way.
        LOCAL_RUNS[process_id].ask_to_pause(Pause("bob asked for it", is_by_caller=False))
        pausing.unlink()
    return number
"""


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    made = TableVault(tmp_path / "vault", "ada", create=True)
    arguments = {"number": "<<self.number[index]>>", "process_id": "~PROCESS_ID~", "folder": str(tmp_path)}
    builders = {
        "index": index("number", function="numbers"),
        "work": column("done", function="work", arguments=arguments),
    }
    for version in "abc":
        begin(made, "inner", builders, code=CODE if version == "a" else None, version=version)
    (tmp_path / "pauses").write_text("make.1.")
    return made


def start(vault: TableVault, function: str = "make", **fields: object) -> None:
    given: dict[str, object] = {"name": "<<self.name[index]>>"} if function not in ("make_all", "make_frame") else {}
    if function == "make_frame":
        given = {"words": "<<self.{name}>>"}
    make = column("made", function=function, arguments={**given, "vault_dir": vault.db_dir}, **fields)
    begin(vault, "outer", {"index": index("name", function="names"), "make": make})


def assert_paused(vault: TableVault, process_id: str, child_id: str) -> None:
    process, child = vault.get_process(process_id), vault.get_process(child_id)
    assert (process.state, process.paused_on_request) == (State.PAUSED, True)
    assert process.pause_reason == f"'{child_id}', which its code called, is paused"
    assert process.error is None
    assert (child.state, child.pause_reason) == (State.PAUSED, "bob asked for it")


def finish(vault: TableVault, calls: Calls, process_id: str, child_id: str) -> None:
    """Go on with the parent: its child goes on with it, and no row of that is made twice."""
    assert vault.execute_instance("outer", process_id=process_id) == process_id
    assert vault.get_dataframe("outer")["made"].tolist() == ["a is made", "b is made", "c is made"]
    assert vault.get_process(child_id).state is State.COMPLETED
    worked = Counter({name: times for name, times in calls().items() if name.startswith("work ")})
    assert sorted(worked.values()) == [1] * 9
    assert vault.get_errors(process_id).empty
    states.assert_sound(Path(vault.db_dir))


@pytest.mark.parametrize("on_error", POLICIES)
class TestARowWhoseChildIsPaused:
    def test_pauses_its_process(self, vault: TableVault, calls: Calls, on_error: str) -> None:
        start(vault, on_error=on_error)

        with pytest.raises(TVPausedError, match=f"Process '{ID}' was paused: '{ID}.make.1.1', which") as caught:
            vault.execute_instance("outer", process_id=ID)

        assert caught.value.process_id == ID
        assert isinstance(caught.value.__cause__, TVPausedError)
        assert caught.value.__cause__.process_id == f"{ID}.make.1.1"
        assert_paused(vault, ID, f"{ID}.make.1.1")
        assert TableVault(vault.db_dir, restart=True).restarted == {}
        finish(vault, calls, ID, f"{ID}.make.1.1")
        assert [calls()[f"make {name}"] for name in "abc"] == [1, 2, 1]

    def test_counts_neither_as_done_nor_as_failed(self, vault: TableVault, on_error: str) -> None:
        start(vault, on_error=on_error)

        with pytest.raises(TVPausedError):
            vault.execute_instance("outer", process_id=ID)

        step = next(step for step in vault.get_process(ID).steps if step.name == "make")
        assert (step.rows_done, step.rows_failed, step.rows_skipped, step.rows_total) == (1, 0, 0, 3)
        assert vault.get_errors(ID).empty
        assert vault.get_errors(ID, missing=True)["row"].tolist() == [1, 2]

    def test_keeps_a_process_that_nobody_named(self, vault: TableVault, calls: Calls, on_error: str) -> None:
        start(vault, on_error=on_error)

        with pytest.raises(TVPausedError) as caught:
            vault.execute_instance("outer")

        process_id = caught.value.process_id
        assert process_id is not None
        assert_paused(vault, process_id, f"{process_id}.make.1.1")
        finish(vault, calls, process_id, f"{process_id}.make.1.1")

    def test_is_not_called_again_by_retries(self, vault: TableVault, calls: Calls, on_error: str) -> None:
        start(vault, on_error=on_error, retries={"attempts": 3, "wait": 0.01})

        with pytest.raises(TVPausedError):
            vault.execute_instance("outer", process_id=ID)

        assert calls()["make b"] == 1
        assert_paused(vault, ID, f"{ID}.make.1.1")

    def test_in_a_batch(self, vault: TableVault, calls: Calls, on_error: str) -> None:
        start(vault, "make_batch", on_error=on_error, return_type="batch", batch_size=1)

        with pytest.raises(TVPausedError):
            vault.execute_instance("outer", process_id=ID)

        assert_paused(vault, ID, f"{ID}.make.1.1")
        finish(vault, calls, ID, f"{ID}.make.1.1")


@pytest.mark.parametrize(("function", "return_type"), [("make_all", "generator"), ("make_frame", "dataframe")])
@pytest.mark.parametrize("process_id", [ID, None])
def test_a_call_that_makes_all_rows_pauses_its_process(
    vault: TableVault, calls: Calls, tmp_path: Path, function: str, return_type: str, process_id: str | None
) -> None:
    (tmp_path / "pauses").write_text("make.all.2")
    start(vault, function, return_type=return_type)

    with pytest.raises(TVPausedError) as caught:
        vault.execute_instance("outer", process_id=process_id)

    known = caught.value.process_id
    assert known is not None
    assert_paused(vault, known, f"{known}.make.all.2")
    finish(vault, calls, known, f"{known}.make.all.2")


def test_the_price_of_attempts_before_is_counted(vault: TableVault, tmp_path: Path, calls: Calls) -> None:
    code = CODE + "\n\nclass Busy(Exception):\n    cost = 2.5\n    tokens = 7\n\n\n"
    code += "def make_dear(name, vault_dir):\n    path = Path(vault_dir).parent / f'asked {name}'\n"
    code += "    if not path.exists():\n        path.touch()\n        raise Busy\n    return make(name, vault_dir)\n"
    vault.create_code_module("work", text=code)
    given = {"name": "<<self.name[index]>>", "vault_dir": vault.db_dir}
    make = column("made", function="make_dear", arguments=given, on_error="null", retries={"attempts": 2, "wait": 0.01})
    begin(vault, "outer", {"index": index("name", function="names"), "make": make})

    with pytest.raises(TVPausedError):
        vault.execute_instance("outer", process_id=ID)

    assert (vault.get_process(ID).cost, vault.get_process(ID).tokens) == (5.0, 14)
    finish(vault, calls, ID, f"{ID}.make.1.1")
    assert (vault.get_process(ID).cost, vault.get_process(ID).tokens) == (7.5, 21)


@pytest.mark.parametrize("on_error", POLICIES)
def test_a_pause_comes_before_a_failure(vault: TableVault, tmp_path: Path, calls: Calls, on_error: str) -> None:
    """What was paused is to be gone on with. The row that failed meanwhile is as its builder wants it."""
    (tmp_path / "pauses").write_text("make.0.")
    code = (
        CODE
        + """

from tests.workers import wait_until

def fail_once(name, vault_dir):
    failed = Path(vault_dir).parent / "failed"
    if name == "b" and not failed.exists():
        failed.touch()
        raise ConnectionError("no answer")
    wait_until(failed.exists)
    return make(name, vault_dir)
"""
    )
    vault.create_code_module("work", text=code)
    start(vault, "fail_once", on_error=on_error, n_threads=2)

    with pytest.raises(TVPausedError):
        vault.execute_instance("outer", process_id=ID)

    assert_paused(vault, ID, f"{ID}.make.0.1")
    assert vault.get_errors(ID)["row"].tolist() == [1]
    vault.execute_instance("outer", process_id=ID)
    made = vault.get_dataframe("outer")["made"]
    assert made.fillna("nothing").tolist() == [
        "a is made",
        "nothing" if on_error == "null" else "b is made",
        "c is made",
    ]
    states.assert_sound(Path(vault.db_dir))


def test_a_grandchild_pauses_all_above_it(vault: TableVault, tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "pauses").write_text("call.0.1.make.1.")
    start(vault, on_error="null")
    code = "from tablevault_like import TableVault\n\n\ndef one():\n    yield 'x'\n\n\n"
    code += "def call(vault_dir):\n    return TableVault(vault_dir).execute_instance('outer')\n"
    vault.create_code_module("top", text=code)
    call = column("called", function="call", arguments={"vault_dir": vault.db_dir}, on_error="null")
    named = {"index": index("x", function="one"), "call": call}
    begin(vault, "top", {name: text.replace("code_module: work", "code_module: top") for name, text in named.items()})

    with pytest.raises(TVPausedError):
        vault.execute_instance("top", process_id=ID)

    child = f"{ID}.call.0.1"
    assert vault.get_process(ID).pause_reason == f"'{child}', which its code called, is paused"
    assert_paused(vault, child, f"{child}.make.1.1")
    assert vault.execute_instance("top", process_id=ID) == ID
    assert vault.get_dataframe("outer")["made"].tolist() == ["a is made", "b is made", "c is made"]
    states.assert_sound(Path(vault.db_dir))
