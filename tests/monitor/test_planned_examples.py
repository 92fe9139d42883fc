"""A plan comes true: on every example it foretells what the execution then does. Calls are counted."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVRowsError
from tablevault_like.typing import Action, Cause, Certainty, PlannedRun
from tests.monitor.counting import Calls, find, foretold, hold

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "builders_examples"
FOLDERS = re.findall(r"^\| `([a-z_]+/[a-z_]+)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
NAMES = sorted({folder.split("/")[0] for folder in FOLDERS})


class Example:
    """One of the examples in a vault of its own."""

    def __init__(self, name: str, vault: TableVault, calls: Calls) -> None:
        self.name = name
        self.calls = calls
        self.vault = vault
        self.folders = [folder for folder in FOLDERS if folder.startswith(f"{name}/")]

    @classmethod
    def create(cls, name: str, vault_dir: Path, calls: Calls) -> Self:
        vault = TableVault(vault_dir, "ada", create=True)
        code = EXAMPLES / name / "code_functions"
        if code.exists():
            vault.create_code_module(copy_dir=str(code))
        return cls(name, vault, calls)

    def begin(self, folder: str) -> tuple[str, str]:
        """Create a temporary instance with the builders of a folder, from the newest instance if there is one."""
        (file,) = (EXAMPLES / folder).glob("*_index.yaml")
        table = file.stem.removesuffix("_index")
        version = Path(folder).name.removeprefix(table).removeprefix("_") or "base"
        if table not in self.vault.get_table_instances():
            self.vault.create_table(table)
        made = self.vault.get_table_instances(table, version)
        # A row-wise IndexBuilder has the rows of the instance that it is made from.
        made = made or (self.vault.get_table_instances(table, "base") if folder.endswith("_loud") else [])
        self.vault.create_instance(table, version, origin_id=made[-1] if made else "")
        self.vault.create_builder_file(table, version=version, copy_dir=str(EXAMPLES / folder))
        return table, version

    def foretold(self, table: str, version: str, **how: Any) -> PlannedRun:
        """Plan, execute, and hold the plan to it. Planning calls nothing, and changes nothing."""
        return foretold(self.vault, table, self.calls, version, **how)

    def build(self) -> list[PlannedRun]:
        return [self.foretold(*self.begin(folder)) for folder in self.folders]


@pytest.fixture(scope="module", params=NAMES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return the name of an example, and a vault in which all of it was built: each table as it was foretold."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DEMO_SERVICE", raising=False)
        patch.chdir(CHECKOUT)
        plans = Example.create(request.param, folder / "vault", Calls(patch)).build()
    assert all(each.reused == 0 for plan in plans if plan.origin is None for each in plan.builders)
    return request.param, folder / "vault"


@pytest.fixture
def example(built: tuple[str, Path], vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    monkeypatch.delenv("DEMO_SERVICE", raising=False)
    monkeypatch.chdir(CHECKOUT)
    name, original = built
    shutil.copytree(original, vault_dir)
    return Example(name, TableVault(vault_dir, "ada"), Calls(monkeypatch))


def test_second_runs(example: Example) -> None:
    seen = [each for plan in example.build() for each in plan.builders]

    # Nothing has changed, so hardly anything is in doubt.
    assert {each.certainty for each in seen} <= {Certainty.EXACT, Certainty.EXPECTED, Certainty.UNKNOWN}
    unknown = {each.builder for each in seen if each.certainty is Certainty.UNKNOWN}
    assert unknown <= {"report_index"}  # what it reads was made anew


@pytest.mark.full
def test_forced_runs(example: Example) -> None:
    for folder in example.folders:
        plan = example.foretold(*example.begin(folder), force_execute=True)

        assert all(each.reused == 0 for each in plan.builders)


def test_changed_code(example: Example) -> None:
    for module in example.vault.get_code_modules_list():
        text = example.vault.get_code_module_str(module)
        # Every function does something more, and gives the same.
        signature = r"(?m)^(def \w+\((?:.*\n)*?.*\).*:\n(?:    \"\"\"(?:.|\n)*?\"\"\"\n)?)"
        changed = re.sub(signature, r"\1    2 + 3 and None\n", text)
        assert changed != text
        example.vault.create_code_module(module, text=changed)

    causes = {reason.cause for plan in example.build() for each in plan.builders for reason in each.reasons}

    expected = {Cause.ALWAYS, Cause.FUNCTION, Cause.SETTING, Cause.INPUT, Cause.NEW, Cause.UPSTREAM}
    if example.name in ("llm", "stream"):
        expected.add(Cause.ROWS)  # the service has a new address; and batches of an IndexBuilder are rows, too
    assert causes <= expected
    # The others have no columns that are made by code of their own.
    assert Cause.FUNCTION in causes or example.name in ("files", "llm", "shop")


def test_interrupted_runs(example: Example) -> None:
    """Each builder fails at its second call, one after the other, in one run that is resumed as often."""
    interruptions = 0
    for number, folder in enumerate(example.folders):
        table, version = example.begin(folder)
        # One that is called once only can't fail at its second call.
        plan = example.vault.plan(table, version, force_execute=True)
        failing = [
            each.builder
            for each in plan.builders
            if (each.calls is None or each.calls > 1) and on_error(folder, each.builder) != "null"
        ]
        interruptions += sum(interrupted(example, table, version, f"p{number}", builder) for builder in failing)
        if failing:
            assert interrupted(example, table, version, f"p{number}", "nobody") is False

    least = {"evaluation": 1, "files": 2, "llm": 2, "shop": 6, "stream": 2, "topics": 3}
    assert interruptions >= least[example.name]


def test_steered_runs(example: Example) -> None:
    """Each folder is run within budgets and in stages, then asked for again, and made anew from its last builder on."""
    pauses = []
    for number, folder in enumerate(example.folders):
        table, version = example.begin(folder)
        again = partial(foretold, example.vault, table, example.calls, version, f"p{number}", force_execute=True)
        last = example.vault.plan(table, version).builders[-1].builder

        parts = [again(budget={"rows": 3}), again(until=last)]
        pauses += [part.pause or "" for part in parts]
        done = again()

        assert parts[0].action is Action.START
        assert done.builder(last).calls == 0
        assert again().action is Action.REUSE
        assert "existing='error'" in (again(existing="error").refusal or "")
        anew = example.foretold(*example.begin(folder), from_builder=last)
        assert anew.builder(last).reused == 0
        assert anew.builder(last).calls != 0

    assert any("budget" in pause for pause in pauses)
    assert any("stage" in pause for pause in pauses)


@pytest.mark.full
def test_reruns(example: Example) -> None:
    for number, folder in enumerate(example.folders):
        table, version = example.begin(folder)
        again = partial(foretold, example.vault, table, example.calls, version, f"p{number}")
        again()

        for plan in (again(existing="rerun", budget={"rows": 3}), again(existing="rerun")):
            assert plan.action is Action.RERUN
            assert all(each.reused == 0 for each in plan.builders)


def on_error(folder: str, builder: str) -> str:
    """Return what becomes of rows of a builder that fail."""
    text = (EXAMPLES / folder / f"{builder}.yaml").read_text()
    found = re.search(r"^on_error: (\w+)", text, re.MULTILINE)
    return found[1] if found else "stop"


def interrupted(example: Example, table: str, version: str, process_id: str, builder: str) -> bool:
    """Go on with a run, as it is foretold up to a builder that fails at its second call. Tell whether it did."""
    vault, calls = example.vault, example.calls
    before = find(vault, process_id)
    calls.clear()
    calls.fail(builder, 2, until=1_000 if builder == "answer" else None)  # that one is tried again, and others go on
    plan = vault.plan(table, version, True, process_id)
    try:
        vault.execute_instance(table, version, True, process_id=process_id)
    except (ConnectionError, TVRowsError):
        failed = {step.name: step.rows_failed for step in vault.get_process(process_id).steps}
        assert failed[builder] >= 1
        found = vault.plan(table, version, True, process_id)
        assert (found.process_id, found.refusal, found.builder(builder).failed_before) == (
            process_id,
            None,
            failed[builder],
        )
        assert all(each.calls == 0 for each in found.builders[: [b.builder for b in found.builders].index(builder)])
        return True
    hold(plan, vault.get_process(process_id), calls, before=before)
    return False
