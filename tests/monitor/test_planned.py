"""What a plan says of a run, and why; and that making one does nothing."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.catalog import Catalog, locks
from tablevault_like.errors import TVArgumentError, TVBuilderError, TVLockError, TVProcessError, message_of
from tablevault_like.functions import modules, unpickled
from tablevault_like.model import LockRequest, Resource
from tablevault_like.typing import Action, BuilderForecast, Cause, Certainty
from tests.monitor.counting import Calls, counted_calls, foretold, hold, seen
from tests.states import state
from tests.tables import Background, begin, builder, column, gates, index, write, write_code

__all__ = ["counted_calls"]

FROM_TABLE = {
    "builder_type": "IndexBuilder",
    "python_function": "create_data_table_from_table",
    "code_module": "table_generation",
    "is_custom": False,
    "return_type": "dataframe",
}


def copied(table: str, *columns: str, key: str = "id") -> str:
    """Return the text of an IndexBuilder that takes columns of another table."""
    names = ", ".join(columns)
    return builder(
        "IndexBuilder",
        *columns,
        **{k: v for k, v in FROM_TABLE.items() if k != "builder_type"},
        primary_key=key,
        arguments={"df": f"<<{table}.{{{names}}}>>"},
    )


CODE = """
LIMIT = 100

def clean(text):
    return text.strip()

def summary(text, prompt):
    return f"{prompt}: {clean(text)}"

def length(summary):
    return len(summary)

def whole(frame):
    return frame.assign(total=frame["size"].sum())[["total"]]
"""
PROMPT = "Be brief.\nSum up."


def summary(prompt: str) -> str:
    """Return the text of the builder of summaries."""
    return column("summary", function="summary", arguments={"text": "<<self.text[index]>>", "prompt": prompt})


SUMMARY = summary(PROMPT)
SIZE = column("size", function="length", arguments={"summary": "<<self.summary[index]>>"})
TOTAL = builder(
    "ColumnBuilder", "total", python_function="whole", return_type="dataframe", arguments={"frame": "<<self.{size}>>"}
)
TEXTS = pd.DataFrame({"id": ["a", "b", "c", "d"], "text": ["ant", "bee", "cat", "dog"]})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vault_dir = tmp_path_factory.mktemp("planned") / "vault"
    vault = TableVault(vault_dir, "ada", create=True)
    write_code(vault, CODE)
    make_texts(vault, TEXTS)
    return vault_dir


@pytest.fixture
def vault(original: Path, vault_dir: Path) -> TableVault:
    return TableVault(shutil.copytree(original, vault_dir), "ada")


def make_texts(vault: TableVault, frame: pd.DataFrame) -> None:
    """Make an instance of the table ``texts`` whose rows have a primary key."""
    if "source" not in vault.get_table_instances():
        vault.create_table("source")
        vault.create_table("texts")
    write(vault, "source", frame)
    vault.create_instance("texts", builders={"texts_index": copied("source", "id", "text")})
    vault.execute_instance("texts")


BUILDERS = {"index": copied("texts", "id", "text"), "summary": SUMMARY, "size": SIZE, "total": TOTAL}


def again(vault: TableVault, **changed: str) -> None:
    """Create the next instance of ``stories``, with some builders changed."""
    known = vault.get_table_instances("stories") if "stories" in vault.get_table_instances() else []
    begin(vault, "stories", {**BUILDERS, **changed}, origin_id=known[-1] if known else "")


def counts(each: BuilderForecast) -> tuple[int | None, int | None, int | None, Certainty]:
    return each.reused, each.to_run, each.calls, each.certainty


def causes(each: BuilderForecast) -> list[Cause]:
    return [reason.cause for reason in each.reasons]


EXACT = Certainty.EXACT


class TestReuse:
    def test_a_first_run(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        plan = foretold(vault, "stories", calls)

        assert plan.origin is None
        assert plan.certainty is EXACT
        assert [counts(each) for each in plan.builders] == [
            (0, 4, 1, EXACT),
            (0, 4, 4, EXACT),
            (0, 4, 4, EXACT),
            (0, 4, 1, EXACT),
        ]
        assert causes(plan.builder("stories_index")) == [Cause.ALWAYS]
        assert plan.builder("summary").reasons[0].text == "the instance has no origin"
        with pytest.raises(KeyError):
            plan.builder("summaries")

    def test_nothing_has_changed(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        again(vault)

        plan = foretold(vault, "stories", calls)

        assert [counts(each) for each in plan.builders[1:]] == [(4, 0, 0, EXACT)] * 3
        assert [each.reasons for each in plan.builders[1:]] == [()] * 3

    def test_a_changed_line_of_a_prompt(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        again(vault, summary=SUMMARY.replace("Sum up.", "Sum it up."))

        plan = foretold(vault, "stories", calls)

        summary, size, total = plan.builders[1:]
        assert counts(summary) == (0, 4, 4, EXACT)
        (reason,) = summary.reasons
        assert (reason.cause, reason.text) == (Cause.ARGUMENT, "the argument 'prompt' is another")
        assert reason.lines == ("-Sum up.", "+Sum it up.")
        assert (size.reused, size.to_run, size.to_run_at_least, size.certainty) == (0, 4, 0, Certainty.AT_MOST)
        assert causes(size) == [Cause.UPSTREAM]
        assert "summary" in size.reasons[0].text
        assert total.certainty is Certainty.AT_MOST

    def test_a_changed_helper(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        write_code(vault, CODE.replace("text.strip()", "text.strip().lower()").replace("LIMIT = 100", "LIMIT = 200"))
        again(vault)

        plan = foretold(vault, "stories", calls)

        assert [(each.cause, each.text) for each in plan.builder("summary").reasons] == [
            (Cause.FUNCTION, "work.clean changed")
        ]
        # What came out is the same, so nothing that reads it was made anew.
        assert calls.counts["size"] == 0
        assert plan.builder("size").certainty is Certainty.AT_MOST

    def test_changed_rows_of_an_input(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        (before,) = vault.get_table_instances("texts")
        make_texts(vault, pd.DataFrame({"id": ["a", "c", "d", "e"], "text": ["ant", "cow", "dog", "elk"]}))
        again(vault)

        plan = foretold(vault, "stories", calls)

        summary = plan.builder("summary")
        assert counts(summary) == (2, 2, 2, EXACT)
        texts = [reason.text for reason in summary.reasons if reason.cause is Cause.ROWS]
        assert texts == [
            "1 row has other inputs than in the origin: id=c",
            "1 row can't be had from the origin: id=e",
        ]
        (read,) = plan.inputs
        assert (read.table, read.read_by, read.instance_before) == ("texts", ("stories_index",), before)
        assert (read.rows_changed, read.rows_added, read.rows_removed) == (1, 1, 1)
        assert read.changed_keys == ("id=c", "id=e")
        assert read.is_another
        # One row is new, so it is made in any case; of the other one it depends on what comes out.
        size = plan.builder("size")
        assert (size.to_run, size.to_run_at_least, size.certainty) == (2, 1, Certainty.AT_MOST)

    def test_an_input_that_was_deleted(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        (before,) = vault.get_table_instances("texts")
        make_texts(vault, TEXTS)
        vault.delete_instance(before, "texts")
        again(vault)

        plan = foretold(vault, "stories", calls)

        (read,) = plan.inputs
        assert read.rows_changed is None
        assert "deleted" in read.change
        assert plan.builder("summary").reused == 4

    def test_an_origin_that_was_deleted(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        again(vault)
        (made,) = vault.get_table_instances("stories")
        vault.delete_instance(made, "stories")

        plan = foretold(vault, "stories", calls)

        assert plan.builder("summary").reasons[0].text == f"the origin {made} was deleted"

    @pytest.mark.parametrize("forced", [True, False])
    def test_settings(self, vault: TableVault, calls: Calls, forced: bool) -> None:
        again(vault)
        vault.execute_instance("stories")
        again(vault, summary=SUMMARY if forced else SUMMARY + "reuse: never\n")

        plan = foretold(vault, "stories", calls, force_execute=forced)

        assert counts(plan.builder("summary")) == (0, 4, 4, EXACT)
        assert causes(plan.builder("summary")) == [Cause.SETTING]

    def test_a_table_with_side_effects(self, vault: TableVault, calls: Calls) -> None:
        vault.create_table("stories", has_side_effects=True)
        again(vault)
        vault.execute_instance("stories")
        again(vault)

        assert foretold(vault, "stories", calls).builder("summary").reused == 4

    def test_artifacts_that_were_changed_since(self, vault: TableVault, calls: Calls) -> None:
        write_code(
            vault,
            CODE + "\nfrom pathlib import Path\ndef page(text, folder):\n    Path(folder, text).write_text(text)\n"
            "    return text\ndef read(page):\n    return Path(page).read_text()\n",
        )
        page = column(
            "page",
            function="page",
            arguments={"text": "<<self.text[index]>>", "folder": "~ARTIFACT_FOLDER~"},
            dtypes={"page": "artifact_string"},
        )
        read = column("content", function="read", arguments={"page": "<<self.page[index]>>"})
        again(vault, page=page, read=read)
        vault.execute_instance("stories")
        (made,) = vault.get_table_instances("stories")
        again(vault, page=page, read=read)
        assert vault.plan("stories").builder("page").reused == 4
        assert vault.plan("stories").builder("read").reused == 4
        damaged = Path(vault.get_artifact_folder("stories", made), "bee")
        damaged.chmod(0o600)
        damaged.write_text("wasp")

        plan = foretold(vault, "stories", calls)

        assert plan.builder("page").reused == 3
        assert plan.builder("read").to_run == 1

    def test_a_cell_that_may_change_the_type_of_others(self, vault: TableVault, calls: Calls) -> None:
        code = (
            CODE
            + "def number(text):\n    return 0.5 if text == 'eel' else 1\ndef double(number):\n    return number * 2\n"
        )
        write_code(vault, code)
        number = column("number", function="number", arguments={"text": "<<self.text[index]>>"})
        double = column("double", function="double", arguments={"number": "<<self.number[index]>>"})
        again(vault, number=number, double=double)
        vault.execute_instance("stories")
        make_texts(vault, TEXTS.replace("bee", "eel"))
        again(vault, number=number, double=double)

        plan = foretold(vault, "stories", calls)

        assert counts(plan.builder("number")) == (3, 1, 1, EXACT)
        # The integers become floats.
        assert calls.counts["double"] == 4
        assert plan.builder("double").to_run == 4


class TestFunctionsThatReadFiles:
    @pytest.mark.parametrize("is_changed", [True, False])
    def test_what_is_declared_is_read_from_the_source(
        self, vault: TableVault, calls: Calls, tmp_path: Path, is_changed: bool
    ) -> None:
        (tmp_path / "words").write_text("one")
        code = (
            "from pathlib import Path\nfrom tablevault_like.functions.file_arguments import reads_files\n"
            f"@reads_files('path')\ndef read(text, path={str(tmp_path / 'words')!r}):\n"
            "    return Path(path).read_text()\n"
        )
        write_code(vault, CODE + code)
        read = column("words", function="read", arguments={"text": "<<self.text[index]>>"})
        again(vault, read=read)
        vault.execute_instance("stories")
        again(vault, read=read)
        if is_changed:
            (tmp_path / "words").write_text("two")

        plan = foretold(vault, "stories", calls)

        assert plan.builder("read").reused == (0 if is_changed else 4)
        assert plan.builder("read").certainty is EXACT

    def test_what_can_not_be_read_from_the_source_is_not_known(self, vault: TableVault, calls: Calls) -> None:
        code = (
            "from tablevault_like.functions.file_arguments import reads_files\n"
            "names = ['text']\n@reads_files(*names)\ndef read(text):\n    return text\n"
        )
        write_code(vault, CODE + code)
        read = column("words", function="read", arguments={"text": "<<self.text[index]>>"})
        again(vault, read=read)
        vault.execute_instance("stories")
        again(vault, read=read)

        plan = foretold(vault, "stories", calls)

        each = plan.builder("read")
        assert (each.to_run, each.to_run_at_least, each.certainty) == (4, 0, Certainty.AT_MOST)
        assert Cause.FILES in causes(each)


class TestRowsThatAreNotKnown:
    CODE = "def rows(count):\n    yield from ((f'r{n}', n) for n in range(count))\ndef double(n):\n    return n * 2\n"
    INDEX = index("name", "n", arguments={"count": 3}, primary_key="name")
    DOUBLE = column("double", function="double", arguments={"n": "<<self.n[index]>>"})

    def begin(self, vault: TableVault, *, count: int = 3) -> None:
        known = vault.get_table_instances("numbers") if "numbers" in vault.get_table_instances() else []
        builders = {"index": self.INDEX.replace("count: 3", f"count: {count}"), "double": self.DOUBLE}
        begin(vault, "numbers", builders, code=self.CODE, origin_id=known[-1] if known else "")

    def test_of_an_index_that_has_never_run(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault)

        plan = vault.plan("numbers")

        first, double = plan.builders
        assert (first.rows, first.calls, first.certainty) == (None, 1, Certainty.UNKNOWN)
        assert (double.rows, double.reused, double.to_run, double.certainty) == (None, 0, None, Certainty.UNKNOWN)
        assert double.doubt == "how many rows there are is known when numbers_index has run"
        assert plan.seconds is None
        hold(plan, vault.get_process(vault.execute_instance("numbers")), calls)

    def test_of_an_index_with_the_recipe_and_the_inputs_that_it_had(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault)
        vault.execute_instance("numbers")
        self.begin(vault)

        plan = vault.plan("numbers")

        assert [(each.rows, each.certainty) for each in plan.builders] == [(3, Certainty.EXPECTED)] * 2
        assert (plan.builder("double").reused, plan.builder("double").to_run) == (3, 0)
        assert "numbers_index makes the rows that it made" in (plan.builder("double").doubt or "")
        calls.clear()
        hold(plan, vault.get_process(vault.execute_instance("numbers")), calls)

    def test_of_an_index_that_was_changed(self, vault: TableVault, calls: Calls) -> None:
        self.begin(vault)
        vault.execute_instance("numbers")
        self.begin(vault, count=5)

        plan = vault.plan("numbers")

        double = plan.builder("double")
        assert (double.rows, double.reused, double.to_run, double.certainty) == (None, None, None, Certainty.UNKNOWN)
        calls.clear()
        hold(plan, vault.get_process(vault.execute_instance("numbers")), calls)


class TestPausedProcesses:
    def pause(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        calls.fail("summary", 3)
        with pytest.raises(ConnectionError):
            vault.execute_instance("stories", process_id="p")
        calls.clear()

    def test_it_is_what_goes_on(self, vault: TableVault, calls: Calls) -> None:
        self.pause(vault, calls)

        plan = foretold(vault, "stories", calls, process_id="p")

        summary = plan.builder("summary")
        assert (plan.process_id, plan.action, plan.refusal) == ("p", Action.RESUME, None)
        assert (summary.recorded, summary.to_run, summary.failed_before) == (2, 2, 1)
        assert plan.builder("stories_index").calls == 0

    def test_a_change_that_would_be_refused(self, vault: TableVault, calls: Calls) -> None:
        self.pause(vault, calls)
        vault.create_builder_file("stories", "summary", text=SUMMARY.replace("Sum up.", "Sum it up."))

        plan = foretold(vault, "stories", calls, process_id="p")

        assert "arguments.prompt" in (plan.refusal or "")
        assert "on_change" in (plan.refusal or "")
        assert vault.plan("stories", process_id="p", on_change="keep").refusal is None
        with pytest.raises(TVArgumentError, match="on_change"):
            vault.plan("stories", on_change="whatever")

    @pytest.mark.parametrize(("on_change", "to_run"), [("continue", 2), ("recompute", 4), ("keep", 2)])
    def test_going_on_with_a_change(self, vault: TableVault, calls: Calls, on_change: str, to_run: int) -> None:
        self.pause(vault, calls)
        before = vault.get_process("p")
        vault.create_builder_file("stories", "summary", text=SUMMARY.replace("Sum up.", "Sum it up."))

        plan = vault.plan("stories", process_id="p", on_change=on_change)
        vault.execute_instance("stories", process_id="p", on_change=on_change)

        assert plan.refusal is None
        assert (plan.builder("summary").to_run, calls.counts["summary"]) == (to_run, to_run)
        if on_change != "recompute":
            hold(plan, vault.get_process("p"), calls, before=before)

    def test_one_that_runs_now(self, vault: TableVault, calls: Calls) -> None:
        code = CODE + "\nfrom tests.tables import GATES\ndef wait(text):\n    GATES['here'].enter()\n    return text\n"
        write_code(vault, code)
        again(vault, wait=column("waited", function="wait", arguments={"text": "<<self.text[index]>>"}))
        with gates("here") as (gate,):
            running = Background(vault.execute_instance, "stories", process_id="p")
            gate.await_arrival()

            plan = foretold(vault, "stories", calls, process_id="p")

            gate.open()
            running.result()
        assert (plan.process_id, plan.builder("wait").to_run) == ("p", 4)
        assert "A living worker is at process 'p'" in (plan.refusal or "")

    def test_one_that_holds_what_a_call_without_an_id_needs(self, vault: TableVault, calls: Calls) -> None:
        self.pause(vault, calls)

        plan = vault.plan("stories")

        assert (plan.process_id, plan.action, plan.builder("summary").to_run) == ("p", Action.RESUME, 2)
        with pytest.raises(TVLockError) as refused:
            TableVault(vault.db_dir, "ada", lock_timeout=0).execute_instance("stories")
        holder = message_of(refused.value).partition("is held by ")[2]
        assert (plan.refusal or "").endswith(holder)
        assert "resume the holder with its process_id" in holder

    def test_one_of_another_kind(self, vault: TableVault) -> None:
        again(vault)
        vault.create_table("more", process_id="another")
        resource = Resource.instance("stories", "TEMP_base")
        with Catalog(Path(vault.db_dir, "metadata", "catalog.sqlite")).transaction() as db:
            locks.grant(db, "another", [LockRequest.exclusive(resource)], claim_only=False, now=0)

        plan = vault.plan("stories")

        assert (plan.process_id, plan.action) == (None, Action.START)
        assert "held by process 'another' (create_table by ada" in (plan.refusal or "")


def test_what_can_not_be_planned(vault: TableVault) -> None:
    with pytest.raises(TVArgumentError, match="stories"):
        vault.plan("stories")
    vault.create_instance("source", external_edit=True)
    with pytest.raises(TVArgumentError, match="write_instance"):
        vault.plan("source")
    again(vault, summary=SUMMARY.replace("function: summary", "function: sumary"))
    with pytest.raises(TVBuilderError, match="Did you mean 'summary'"):
        vault.plan("stories")


class TestStages:
    def test_until_a_builder(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        plan = foretold(vault, "stories", calls, until="summary")

        assert [each.builder for each in plan.builders] == ["stories_index", "summary"]

    def test_from_a_builder_on(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        vault.execute_instance("stories")
        again(vault, summary=summary("Another prompt."))

        plan = foretold(vault, "stories", calls, from_builder="size")

        assert [counts(each) for each in plan.builders] == [
            (4, 0, 0, EXACT),
            (4, 0, 0, EXACT),
            (0, 4, 4, EXACT),
            (0, 4, 1, EXACT),
        ]
        assert causes(plan.builder("total")) == [Cause.SETTING]
        assert plan.refusal is None

    def test_from_a_builder_on_without_an_origin(self, vault: TableVault, calls: Calls) -> None:
        again(vault)

        plan = foretold(vault, "stories", calls, from_builder="size")

        assert "has none" in (plan.refusal or "")

    def test_from_a_builder_on_in_a_paused_process(self, vault: TableVault, calls: Calls) -> None:
        again(vault)
        calls.fail("size", 3)
        with pytest.raises(ConnectionError):
            vault.execute_instance("stories", process_id="p")

        plan = foretold(vault, "stories", calls, process_id="p", from_builder="summary")

        assert [(each.recorded, each.to_run) for each in plan.builders] == [(4, 0), (0, 4), (0, 4), (0, 4)]

    def test_what_is_no_stage(self, vault: TableVault) -> None:
        again(vault)

        with pytest.raises(TVBuilderError, match="Did you mean 'summary'"):
            vault.plan("stories", until="sumary")
        with pytest.raises(TVArgumentError, match="Leave out one"):
            vault.plan("stories", from_builder="size", force_execute=True)


class TestTime:
    def test_the_time_of_earlier_runs_counts(self, vault: TableVault) -> None:
        slow = CODE.replace('    return f"{prompt}', '    import time; time.sleep(0.02)\n    return f"{prompt}')
        write_code(vault, slow)
        again(vault)
        assert vault.plan("stories").builder("summary").seconds is None
        vault.execute_instance("stories")
        again(vault)

        plan = vault.plan("stories", force_execute=True)

        seconds = plan.builder("summary").seconds
        assert seconds is not None
        assert 0.08 <= seconds < 2
        assert plan.seconds is not None
        assert plan.seconds >= seconds
        assert vault.plan("stories").builder("summary").seconds == 0


class TestSample:
    def test_the_first_rows_are_made_and_nothing_else(self, vault: TableVault) -> None:
        again(vault)
        before = state(Path(vault.db_dir))

        plan = vault.plan("stories", sample=2)

        assert plan.sample["summary"].tolist() == ["Be brief.\nSum up.: ant", "Be brief.\nSum up.: bee"]
        assert plan.sample["total"].tolist() == [44, 44]
        assert state(Path(vault.db_dir)) == before

    def test_a_generator_is_asked_for_no_more(self, vault: TableVault) -> None:
        code = (
            "def rows():\n    yield 'a'\n    yield 'b'\n    raise RuntimeError('too far')\n"
            "def page(name, folder):\n    __import__('pathlib').Path(folder, name).touch()\n    return name\n"
        )
        arguments = {"name": "<<self.name[index]>>", "folder": "~ARTIFACT_FOLDER~"}
        page = column("page", function="page", arguments=arguments, dtypes={"page": "artifact_string"})
        begin(vault, "names", {"index": index("name"), "page": page}, code=code)

        assert vault.plan("names", sample=2).sample["page"].tolist() == ["a", "b"]
        with pytest.raises(RuntimeError, match="too far"):
            vault.plan("names", sample=3)

    def test_its_code_changes_nothing_in_the_vault(self, vault: TableVault) -> None:
        code = (
            "from tablevault_like import TableVault\n"
            f"def rows():\n    TableVault({vault.db_dir!r}).create_table('more')\n    yield 1\n"
        )
        begin(vault, "names", {"index": index("name")}, code=code)

        with pytest.raises(TVProcessError, match="create_table is refused"):
            vault.plan("names", sample=1)
        assert "more" not in vault.get_table_instances()

    @pytest.mark.parametrize("sample", [-1, 1.5, True, "2"])
    def test_what_is_no_number_of_rows(self, vault: TableVault, sample: object) -> None:
        again(vault)

        with pytest.raises(TVArgumentError, match="sample"):
            vault.plan("stories", sample=sample)  # type: ignore[arg-type]


def twice(times: int) -> Callable[[str], str]:
    def repeated(text: str) -> str:
        return text * times

    return repeated


def test_planning_runs_and_unpickles_nothing(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.create_code_module("given", function=twice(2))
    assert "pickled" in vault.get_code_module_str("given")
    given = column("double", function="repeated", arguments={"text": "<<self.text[index]>>"})
    given = given.replace("code_module: work", "code_module: given")
    again(vault, given=given)
    vault.execute_instance("stories")
    again(vault, given=given)

    def refuse(*arguments: object, **fields: object) -> None:
        raise AssertionError("reading runs nothing")

    monkeypatch.setattr(modules.Loader, "_load", refuse)
    monkeypatch.setattr(unpickled, "unpickled", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)

    plan = vault.plan("stories")

    assert plan.certainty is EXACT
    assert plan.builder("given").reused == 4


def test_a_plan_as_a_frame_and_for_people(vault: TableVault) -> None:
    again(vault)
    vault.execute_instance("stories")
    again(vault, summary=summary("Be brief.\nSum it up.\x1b[2J"))
    plan = vault.plan("stories", sample=1)

    frame = plan.to_frame()
    shown = seen(plan)

    assert frame["builder"].tolist() == ["stories_index", "summary", "size", "total"]
    assert frame["to_run"].tolist() == [4, 4, 4, 4]
    assert frame["certainty"].tolist() == ["exact", "exact", "at most", "at most"]
    assert "≤ 4" in shown
    assert "-Sum up." in shown
    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown
    assert "The first row:" in shown
