from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVRowsError
from tests.cli.conftest import SHOUT, Tvl


@pytest.fixture(autouse=True)
def at_the_vault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLEVAULT_DB_DIR", "vault")


@pytest.fixture
def paused(vault: TableVault, folder: Path) -> TableVault:
    """Return a vault in which the process ``p1`` is paused: one of three words isn't shouted."""
    vault.create_builder_file("words", "shout", text=SHOUT + "on_error: continue\nretries: {attempts: 2, wait: 0}\n")
    vault.create_builder_file(
        "words", "again", text=SHOUT.replace("[shout]", "[again]").replace("self.word[", "self.shout[")
    )
    (folder / "fail bee").touch()
    with pytest.raises(TVRowsError):
        vault.execute_instance("words", process_id="p1")
    return vault


@pytest.mark.usefixtures("paused")
class TestErrors:
    def test_are_told_a_line_each(self, tvl: Tvl) -> None:
        lines = tvl("errors", "p1").out.splitlines()

        assert lines[0].split() == ["BUILDER", "ROW", "STATUS", "ATTEMPTS", "TIME", "ERROR"]
        assert lines[1].split()[:4] == ["shout", "1", "failed", "2"]
        assert lines[1].endswith("ConnectionError: nobody answers")
        assert lines[2:] == ["", "1 row failed"]

    def test_in_full_have_tracebacks_and_inputs(self, tvl: Tvl) -> None:
        shown = tvl("errors", "p1", "--traceback").out

        assert '{"word":"bee"}' in shown
        assert 'raise ConnectionError("nobody answers")' in shown
        assert "1 row failed" in shown

    def test_as_json_are_records(self, tvl: Tvl) -> None:
        (found,) = tvl("errors", "p1", "--json").json

        assert (found["builder"], found["row"], found["status"], found["attempts"]) == ("shout", 1, "failed", 2)
        assert (found["key"], found["cost"], found["inputs"]) == (None, None, '{"word":"bee"}')
        assert found["traceback"].startswith("Traceback (most recent call last):\n")

    def test_show_rows_that_were_not_called_if_asked_for(self, tvl: Tvl) -> None:
        shown = tvl("errors", "p1", "--missing").out

        assert [line.split()[:3] for line in shown.splitlines()[2:5]] == [
            ["again", str(row), "missing"] for row in range(3)
        ]
        assert shown.endswith("1 row failed, 3 rows missing\n")

    def test_of_a_table_are_those_of_its_newest_instance(self, tvl: Tvl) -> None:
        tvl("stop", "p1", "--materialize")

        assert "ConnectionError: nobody answers" in tvl("errors", "words").out
        assert tvl("errors", "words", "--json").json == tvl("errors", "p1", "--json").json
        (instance,) = TableVault("vault").get_table_instances("words")
        assert len(tvl("errors", "words", "--instance", instance, "--json").json) == 1

    def test_none_is_said_in_words(self, tvl: Tvl) -> None:
        TableVault("vault").create_table("empty", process_id="made")

        assert tvl("errors", "made").out == "No row has failed.\n"
        assert tvl("errors", "made", "--json").json == []

    def test_a_name_may_be_said_to_be_a_process_or_a_table(self, tvl: Tvl) -> None:
        TableVault("vault").create_table("p1")

        assert "'p1' is a process and a table" in tvl("errors", "p1", code=3).err
        assert len(tvl("errors", "p1", "--process", "--json").json) == 1
        tvl("errors", "p1", "--table", code=3)
        tvl("errors", "p1", "--table", "--process", code=2)

    def test_an_unknown_name_is_told_with_the_nearest(self, tvl: Tvl) -> None:
        assert "Did you mean 'words'?" in tvl("errors", "word", code=3).err

    def test_the_message_of_an_execution_leads_here(self, tvl: Tvl) -> None:
        said = tvl("execute", "words", "--process-id", "p1", code=10)

        assert "1 of 3 rows of the builder 'shout' failed" in said.err
        assert "`tvl errors p1` has them all" in said.err

    def test_processes_are_shown_with_what_failed(self, tvl: Tvl) -> None:
        assert "  1 row failed\n" in tvl("ps").out
        found = tvl("ps", "p1", "--json").json
        assert (found["rows_failed"], found["rows_skipped"], found["cost"], found["tokens"]) == (1, 0, 0.0, 0)


def test_processes_are_shown_with_what_was_skipped_and_what_it_cost(vault: TableVault, folder: Path, tvl: Tvl) -> None:
    code = "from tablevault_like import Result\n" + vault.get_code_module_str("tools").replace(
        "return word.upper()", "return Result(word.upper(), cost=0.25, tokens=1000)"
    )
    vault.create_code_module("tools", text=code)
    vault.create_builder_file("words", "shout", text=SHOUT + "on_error: null\n")
    (folder / "fail bee").touch()

    lines = tvl("execute", "words", "--process-id", "p1").out.splitlines()

    heading = next(line for line in lines if line.startswith("STEP"))
    step = next(line for line in lines if line.startswith("shout "))
    assert heading.split()[-3:] == ["SKIPPED", "COST", "TOKENS"]
    assert step.split()[-3:] == ["1", "0.5", "2,000"]
    facts = dict(line.split(None, 1) for line in tvl("ps", "p1").out.splitlines() if len(line.split(None, 1)) == 2)
    assert (facts["skipped"], facts["cost"], facts["tokens"]) == ("1", "0.5", "2,000")
