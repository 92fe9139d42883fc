"""A vault that can't be written to: all of it can be read, and what would change it says where and what to do."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tablevault_like import TableVault
from tablevault_like.cli import app
from tests import states
from tests.faults import mounts, tally, tracing
from tests.faults.injection import Kill
from tests.faults.tally import Row
from tests.faults.tracing import Ending
from tests.faults.trials import ID, Bench
from tests.library import ATTEMPTS
from tests.workers import Workers


class Why(StrEnum):
    """What keeps a vault from being written to."""

    MOUNT = "its file system is mounted read-only"
    PERMISSIONS = "nobody may write to it"
    OWNER = "it is somebody else's"


_SOMEBODY_ELSE = 12_345
_TOLD = {Why.MOUNT: "is mounted read-only", Why.PERMISSIONS: "may not be", Why.OWNER: "may not be"}
EACH_WAY = pytest.mark.parametrize("why", Why, ids=lambda why: why.name.lower())


@contextmanager
def protected(folder: Path, why: Why) -> Iterator[None]:
    """Let nothing be written below a folder, by an ordinary user."""
    there = [folder, *folder.rglob("*")]
    if why is Why.PERMISSIONS:
        for path in there:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
    elif why is Why.OWNER:
        for path in there:
            os.chown(path, _SOMEBODY_ELSE, _SOMEBODY_ELSE)
    mounted: AbstractContextManager[None] = mounts.read_only(folder) if why is Why.MOUNT else _nothing()
    with mounted:
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def as_ordinary_user(function: Callable[[], object]) -> Ending:
    """Run a function in a fork that has given up being root."""

    def run() -> object:
        mounts.become_ordinary()
        return function()

    return tracing.aside(run)


def bench_apart(library_dir: Path, folder: Path, operation: str, *, is_named: bool) -> Bench:
    """Return an operation on a copy of the library, in a worker with mounts of its own."""
    mounts.set_apart()
    folder.mkdir(exist_ok=True)
    bench = Bench(library_dir, folder / "vault", operation, is_named)
    bench.refresh()
    return bench


def read_all(vault_dir: Path, made: str) -> list[object]:
    """Read the library in every way."""
    vault = TableVault(vault_dir, "eve")
    frame = vault.get_dataframe("words", instance_id=made)
    return [
        frame["shout"].tolist(),
        [Path(page).read_text() for page in frame["page"]],
        vault.to_arrow("words", instance_id=made).num_rows,
        vault.get_table_instances("words", include_temp=True),
        vault.get_descriptions(table_name="words"),
        sorted(vault.get_active_processes()),
        len(vault.get_process_history()),
        len(vault.quickcheck()),
        vault.get_builders_list(instance_id=made, table_name="words"),
        vault.get_code_modules_list(),
        vault.get_trash(),
    ]


def change(library_dir: Path, folder: Path, operation: str, why: Why) -> list[str]:
    """Try an operation on a vault that can't be written to, and return what is wrong."""
    bench = bench_apart(library_dir, folder, operation, is_named=False)
    wrong = list[str]()
    before = states.state(bench.vault_dir)
    with protected(bench.vault_dir, why):
        for is_named in (False, True):
            tried = Bench(library_dir, bench.vault_dir, operation, is_named)
            tried.__dict__.update(made=bench.made, source=bench.source)
            ending = as_ordinary_user(tried.attempt_here)
            said = (ending.error or "").rpartition("TVFileError: ")[2]
            if ending.returned or "TVFileError" not in ending.raised or _TOLD[why] not in said:
                wrong.append(f"{tried}: {ending.error or 'it succeeded'}")
        after = states.state(bench.vault_dir)
    found, wanted = states.without_modes(after), states.without_modes(before)
    return wrong + states.differences(found, wanted)


@pytest.fixture
def mounted() -> None:
    reason = mounts.missing()
    if reason is not None:
        tally.skip(Row.READ_ONLY, reason)


@pytest.mark.parametrize("number", range(len(ATTEMPTS)), ids=[attempt.operation for attempt in ATTEMPTS])
@pytest.mark.fault(Row.READ_ONLY)
@pytest.mark.usefixtures("mounted")
def test_what_would_change_it_is_refused_in_words(
    number: int, library_dir: Path, scratch: Path, workers: Workers, is_full: bool
) -> None:
    operation, ways = ATTEMPTS[number].operation, list(Why)
    for why in ways if is_full else [ways[number % len(ways)]]:
        wrong = workers.start(change, library_dir, scratch / why.name, operation, why).result()
        tally.add(Row.READ_ONLY, 2, wrong)
        assert wrong == [], why


def read(library_dir: Path, folder: Path, why: Why) -> tuple[object, object]:
    bench = bench_apart(library_dir, folder, "execute_instance", is_named=True)
    before = read_all(bench.vault_dir, bench.made)
    with protected(bench.vault_dir, why):
        return before, as_ordinary_user(lambda: read_all(bench.vault_dir, bench.made)).value_or_raise()


@EACH_WAY
@pytest.mark.fault(Row.READ_ONLY)
@pytest.mark.usefixtures("mounted")
def test_all_of_it_can_be_read(why: Why, library_dir: Path, scratch: Path, workers: Workers) -> None:
    before, found = workers.start(read, library_dir, scratch / "place", why).result()
    tally.add(Row.READ_ONLY, 1, [] if found == before else [why])
    assert found == before


def look_at_a_dead_process(library_dir: Path, folder: Path, why: Why) -> tuple[str, Ending, Ending, object]:
    """Kill a named execution half-way. Return how it is shown, and how stopping and restarting it ended."""
    bench = bench_apart(library_dir, folder, "execute_instance", is_named=True)
    calls = bench.count_calls()
    bench.refresh()
    assert bench.attempt(calls // 2, Kill()).struck

    def shown() -> str:
        return TableVault(bench.vault_dir, "eve").get_process(ID).status

    def stop() -> None:
        TableVault(bench.vault_dir, "eve").stop_process(ID)

    def restart() -> list[str]:
        return [str(each) for each in TableVault(bench.vault_dir, "eve", restart=True).restarted.values()]

    # Its owner has looked since: who may only read can't undo a commit in which it died.
    tracing.aside(shown).value_or_raise()
    with protected(bench.vault_dir, why):
        endings = (as_ordinary_user(shown).value_or_raise(), as_ordinary_user(stop), as_ordinary_user(restart))
    return (*endings, bench.settle().value_or_raise())


@EACH_WAY
@pytest.mark.fault(Row.READ_ONLY)
@pytest.mark.usefixtures("mounted", "traced")
def test_a_dead_process_is_shown_and_waits(why: Why, library_dir: Path, scratch: Path, workers: Workers) -> None:
    found = workers.start(look_at_a_dead_process, library_dir, scratch / "place", why).result()
    shown, stopped, restarted, later = found
    tally.add(Row.READ_ONLY, 3, [])
    assert shown == "interrupted"
    assert "TVFileError" in stopped.raised
    assert _TOLD[why] in (stopped.error or "")
    assert _TOLD[why] in restarted.value_or_raise()[0]
    assert later == [ID]


def read_half_a_commit(library_dir: Path, folder: Path) -> tuple[Ending, object]:
    """Kill a worker while it writes the catalog."""
    bench = bench_apart(library_dir, folder, "delete_table", is_named=False)
    calls = bench.attempt().calls
    places = [at for at, call in enumerate(calls, 1) if str(call) == "pwrite64 catalog.sqlite"]
    bench.refresh()
    assert bench.attempt(places[1], Kill()).struck
    copy = folder / "copy"
    with protected(bench.vault_dir, Why.MOUNT):
        ending = as_ordinary_user(lambda: TableVault(bench.vault_dir, "eve").get_table_instances())
        shutil.copytree(bench.vault_dir, copy)
    return ending, tracing.aside(lambda: read_all(copy, bench.made)[0]).value_or_raise()


@pytest.mark.fault(Row.READ_ONLY)
@pytest.mark.usefixtures("mounted", "traced")
def test_half_a_commit_is_told_and_a_copy_can_be_read(library_dir: Path, scratch: Path, workers: Workers) -> None:
    ending, words = workers.start(read_half_a_commit, library_dir, scratch / "place").result()
    tally.add(Row.READ_ONLY, 1, [])
    assert "TVFileError" in ending.raised
    assert "A worker died in the middle of a change of the catalog" in (ending.error or "")
    assert words == ["APE", "BEE", "CAT", "DOG", "EEL", "FOX"]


READING = (
    "ls",
    "ls words",
    "tree",
    "ps",
    "history",
    "show words",
    "describe words",
    "inspect words",
    "errors words",
    "report words",
    "quickcheck",
    "trash",
    "plan words",
    "restart",
)
CHANGING = (
    "create-table papers",
    "rename-table scores points",
    "delete-table scores",
    "create-instance scores --version second",
    "execute words",
    "execute words --process-id nightly",
    "delete-code-module tools",
    "describe words --description loud",
)


def type_commands(library_dir: Path, folder: Path, commands: list[str]) -> dict[str, tuple[int, str]]:
    """Return the exit code of each command on a read-only vault, and what it said."""
    bench = bench_apart(library_dir, folder, "create_table", is_named=False)

    def typed(command: str) -> tuple[int, str]:
        said = CliRunner().invoke(app, [*command.split(), "--db-dir", str(bench.vault_dir)])
        return said.exit_code, said.output + said.stderr

    with protected(bench.vault_dir, Why.MOUNT):
        return {each: as_ordinary_user(lambda each=each: typed(each)).value_or_raise() for each in commands}  # type: ignore[misc]


@pytest.mark.fault(Row.READ_ONLY)
@pytest.mark.usefixtures("mounted")
def test_every_command_that_reads_works_and_every_other_says_why_not(
    library_dir: Path, scratch: Path, workers: Workers
) -> None:
    found = workers.start(type_commands, library_dir, scratch / "place", [*READING, *CHANGING]).result()
    failed = {command: said for command, (code, said) in found.items() if command in READING and code != 0}
    other = {
        command: (code, said)
        for command, (code, said) in found.items()
        if command in CHANGING and (code != 8 or "is mounted read-only" not in said or "Traceback" in said)
    }
    tally.add(Row.READ_ONLY, len(found), [*failed, *other])
    assert failed == {}
    assert other == {}
