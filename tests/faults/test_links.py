"""Links to outside in the place of anything that a vault has: nothing outside is written, read or removed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tests.workers
from tablevault_like import TableVault
from tests import library, states
from tests.faults import injection, links, tally, tracing
from tests.faults.injection import Act
from tests.faults.links import PLACES, READINGS, Link
from tests.faults.tally import Row
from tests.library import ATTEMPTS
from tests.scenes import Calls
from tests.workers import Workers

SEED = 13


@pytest.fixture(scope="module")
def prepared(library_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what gives the folder with the vault on which an operation is tried."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "shared").mkdir()

    def of(operation: str) -> Path:
        place = folder / operation
        if not place.exists():
            shutil.copytree(library_dir, place)
            library.BY_NAME[operation].prepare(place / "vault", folder / "shared")
        return place

    return of


def chosen(found: Iterable[Any], *, is_full: bool, share: int) -> list[Any]:
    """Return all cases, or a part of them that is the same each time."""
    cases = list(found)
    return cases if is_full else random.Random(SEED).sample(cases, max(1, len(cases) // share))


def copied(source: Path, scratch: Path) -> Path:
    place = scratch / "trial"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place)
    return place


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(300)
def test_nothing_is_read_through_a_link(library_dir: Path, made: str, scratch: Path, *, is_full: bool) -> None:
    violations = []
    cases = chosen(((place, name) for place in PLACES for name in READINGS), is_full=is_full, share=5)
    for place, name in cases:
        trial = copied(library_dir, scratch)
        link = Link(trial / "vault", trial / "outside", place.format(made=made))
        link.put()
        violations += links.read(link, name, made, trial)
    tally.add(Row.HOSTILE, len(cases), violations)
    assert violations == []


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("calls")
def test_no_operation_goes_through_a_link(
    prepared: Callable[[str], Path], made: str, scratch: Path, *, is_full: bool
) -> None:
    violations = []
    every = ((each.operation, place, process_id) for each in ATTEMPTS for place in PLACES for process_id in ("", "p"))
    cases = chosen(every, is_full=is_full, share=8)
    for operation, place, process_id in cases:
        trial = copied(prepared(operation), scratch)
        link = Link(trial / "vault", trial / "outside", place.format(made=made).replace("nightly", process_id or "p"))
        link.put()
        violations += links.attempted(link, operation, made, process_id)
    tally.add(Row.HOSTILE, len(cases), violations)
    assert violations == []


@pytest.mark.parametrize("place", ["words", "code_functions", "metadata", "metadata/processes", "metadata/trash"])
def test_without_the_link_all_is_as_it_was(place: str, copy_dir: Path, tmp_path: Path) -> None:
    """What refuses over a link says which one it is, and changes nothing."""
    before = states.state(copy_dir)
    link = Link(copy_dir, tmp_path / "outside", place)
    link.put()
    operation = {"code_functions": "delete_code_module", "metadata/trash": "pin"}.get(place, "create_builder_file")
    problems = links.attempted(link, operation, "none", "")
    link.path.unlink()
    link.aside.rename(link.path)
    TableVault(copy_dir, "ada", restart=True)

    assert problems == []
    assert states.differences(states.state(copy_dir), before) == []


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(300)
def test_links_that_are_put_in_place_while_functions_run(
    library_dir: Path, made: str, scratch: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, *, is_full: bool
) -> None:
    violations = []
    cases = chosen(PLACES, is_full=is_full, share=4)
    for place in cases:
        trial = copied(library_dir, scratch)
        link = Link(trial / "vault", trial / "outside", place.format(made=made))
        left = len(library.CALLS)
        before: dict[str, Any] = {}

        def reach(_: str, link: Link = link, before: dict[str, Any] = before) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                link.put()
                before.update(link.found())

        monkeypatch.setattr(tests.workers, "pass_point", reach)
        said = links.result_of(partial(library.attempt, link.vault_dir, "execute_instance", made, "nightly"))
        assert before, said
        violations += links.differences(link, before, f"while functions run: {said}")
    tally.add(Row.HOSTILE, len(cases), violations)
    assert violations == []


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(900)
def test_links_that_are_put_in_place_between_the_look_and_the_call(
    prepared: Callable[[str], Path], scratch: Path, workers: Workers, *, is_full: bool
) -> None:
    """Before any system call that changes a file, when all that was looked at was as it should be."""
    operations = random.Random(SEED).choices([each.operation for each in ATTEMPTS], k=1_000 if is_full else 20)
    sources = [(operation, prepared(operation)) for operation in sorted(operations)]
    tried, violations = workers.start(swap, sources, scratch).result(patience=900.0)
    tally.add(Row.HOSTILE, tried, violations)
    assert tried > len(sources) * 0.9
    assert violations == []


def swap(sources: Sequence[tuple[str, Path]], scratch: Path) -> tuple[int, Sequence[str]]:
    """Try operations while somebody puts a link somewhere. In a worker that may fork."""
    chance, tried, violations, lengths = random.Random(SEED), 0, list[str](), dict[str, int]()
    for operation, source in sources:
        made = (source / "made").read_text()
        if operation not in lengths:
            lengths[operation] = _length(copied(source, scratch), operation, made)
        trial = copied(source, scratch)
        link = Link(trial / "vault", trial / "outside", chance.choice(PLACES).format(made=made))
        process_id, at, before = (
            chance.choice(["", "nightly"]),
            chance.randrange(lengths[operation]) + 1,
            dict[str, Any](),
        )

        def put(link: Link = link, before: dict[str, Any] = before) -> None:
            link.put()
            before.update(link.found())

        def attempt(
            link: Link = link, operation: str = operation, made: str = made, process_id: str = process_id
        ) -> object:
            return library.attempt(link.vault_dir, operation, made, process_id)

        outcome = injection.run(attempt, link.vault_dir, at=at, deed=Act(put, kills=False))
        if before:
            tried += 1
            violations += links.meddled(link, before, f"{operation}, at {at} ({outcome.calls[-1]})")
    return tried, violations


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("operation", ["create_code_module", "delete_table", "execute_instance", "import_instance"])
def test_recovery_goes_through_no_link(
    operation: str, prepared: Callable[[str], Path], scratch: Path, workers: Workers, *, is_full: bool
) -> None:
    trials = 100 if is_full else 4
    tried, violations = workers.start(recover, prepared(operation), scratch, operation, trials).result(patience=600.0)
    tally.add(Row.HOSTILE, tried, violations)
    assert tried > 0
    assert violations == []


def recover(source: Path, scratch: Path, operation: str, trials: int) -> tuple[int, Sequence[str]]:
    """Kill an operation somewhere, put a link somewhere, and let somebody come. In a worker that may fork."""
    made, chance, violations = (source / "made").read_text(), random.Random(SEED), list[str]()
    length = _length(copied(source, scratch), operation, made)
    for _ in range(trials):
        trial = copied(source, scratch)
        link = Link(trial / "vault", trial / "outside", chance.choice(PLACES).format(made=made))
        process_id, at, restarts = chance.choice(["", "nightly"]), chance.randrange(length) + 1, chance.random() < 0.5

        def attempt(link: Link = link, process_id: str = process_id) -> object:
            return library.attempt(link.vault_dir, operation, made, process_id)

        outcome = injection.run(attempt, link.vault_dir, at=at, deed=Act(link.put))
        if not outcome.struck:
            continue
        before = link.found()

        def come(link: Link = link, restarts: bool = restarts) -> None:
            vault = TableVault(link.vault_dir, "ada", lock_timeout=0.2, restart=restarts)
            for each in vault.get_active_processes():
                vault.stop_process(each)
            attempt(link)

        tracing.aside(come)
        violations += links.differences(link, before, f"{operation}, killed at {at} ({outcome.calls[-1]})")
    return trials, violations


def _length(trial: Path, operation: str, made: str) -> int:
    outcome = injection.run(lambda: library.attempt(trial / "vault", operation, made, "p"), trial / "vault")
    assert outcome.returned, outcome.ending.error
    return len(outcome.calls)
