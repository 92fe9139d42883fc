"""The options that steer an execution, and the command that pauses one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tablevault_like import State, TableVault
from tests.cli.conftest import Tvl
from tests.states import state
from tests.workers import wait_until

RUN = ("execute", "words", "--db-dir=vault", "--process-id=run")


class TestStages:
    def test_pause_with_exit_code_0_and_tell_how_to_go_on(self, tvl: Tvl, vault: TableVault) -> None:
        said = tvl(*RUN, "--until=words_index")

        last = said.out.splitlines()[-1]
        assert last == (
            "Process 'run' is paused: the stage 'words_index' is reached. To go on: tvl execute words "
            "--process-id run --db-dir vault"
        )
        assert "shouting" not in said.out
        assert "complete" in tvl("ps", "run", "--db-dir=vault").out
        shown = tvl("ps", "run", "--db-dir=vault", "--json").json
        assert (shown["status"], shown["completed_through"]) == ("paused", "words_index")
        assert tvl("wait", "run", "--db-dir=vault").out.startswith("Process 'run' is paused.")
        assert tvl("restart", "--db-dir=vault").out == "There was nothing to restart.\n"
        assert "shouting ape" in tvl(*RUN).out
        assert vault.get_process_completion("run")

    def test_are_told_in_json(self, tvl: Tvl, vault: TableVault) -> None:
        document = tvl("execute", "words", "--db-dir=vault", "--until=shout", "--json").json

        assert (document["state"], document["completed_through"]) == ("PAUSED", "shout")
        assert document["pause_reason"] == "the stage 'shout' is reached"
        assert document["instance_id"] is None
        assert vault.get_process(document["process_id"]).is_named

    def test_that_are_no_builder_are_refused_in_options(self, tvl: Tvl, vault: TableVault) -> None:
        said = tvl(*RUN, "--until=shuot", code=4)

        assert "`--until shuot`: words/TEMP_base has no builder of that name. Did you mean 'shout'?" in said.err

    def test_begin_again_with_a_builder(self, tvl: Tvl, vault: TableVault) -> None:
        assert "`--copy`" in tvl(*RUN, "--from-builder=shout", code=4).err
        tvl(*RUN, "--until=shout")

        said = tvl(*RUN, "--from-builder=shout")

        assert said.out.count("shouting ape") == 1
        assert vault.get_process_completion("run")


class TestBudgets:
    def test_that_are_used_up_are_no_failure(self, tvl: Tvl, vault: TableVault) -> None:
        said = tvl(*RUN, "--budget", "rows=4", "--budget", "seconds=3600.5")

        assert "is paused: the budget of this call is used up (4 of 4 rows). To go on: tvl execute" in said.out
        assert vault.get_process("run").arguments["budget"] == {"seconds": 3600.5, "rows": 4.0}
        tvl("wait", "run", "--db-dir=vault", code=6)

    @pytest.mark.parametrize(("limit", "code"), [("rows", 2), ("rows=many", 2), ("money=3", 3), ("rows=0.5", 3)])
    def test_that_are_none_are_refused(self, tvl: Tvl, vault: TableVault, limit: str, code: int) -> None:
        tvl(*RUN, "--budget", limit, code=code)

        assert vault.get_active_processes() == {}


class TestARunThatIsThereAlready:
    def test_is_refused_where_that_is_said(self, tvl: Tvl, vault: TableVault) -> None:
        tvl(*RUN)

        said = tvl(*RUN, "--existing=error", code=6)

        assert "`--existing auto` to have what it made, or with `--existing rerun`" in said.err

    @pytest.mark.parametrize("option", ["--force", "--existing=rerun"])
    def test_is_made_anew(self, tvl: Tvl, vault: TableVault, option: str) -> None:
        tvl(*RUN)

        said = tvl(*RUN, option)

        assert said.out.count("shouting ape") == 1
        assert "had completed before" not in said.out
        assert said.out.splitlines()[-1].startswith("Materialized words/")
        assert len(vault.get_table_instances("words")) == 2
        assert tvl(*RUN).out.startswith("Process 'run' had completed before; nothing was done.")
        assert "'run' is another run now" in tvl("ps", "run~1", "--db-dir=vault").out

    def test_without_an_id_all_rows_are_computed(self, tvl: Tvl, vault: TableVault) -> None:
        for option, times in (("", 1), ("", 0), ("--force-execute", 1), ("--force", 1)):
            said = tvl("execute", "words", "--db-dir=vault", *filter(None, [option]))
            assert said.out.count("shouting ape") == times
            vault.create_instance("words", copy=True)

    @pytest.mark.parametrize("existing", ["error", "rerun"])
    def test_is_nobody_s_without_an_id(self, tvl: Tvl, vault: TableVault, existing: str) -> None:
        said = tvl("execute", "words", "--db-dir=vault", f"--existing={existing}", code=3)

        assert f"`--existing {existing}` is about the run that a `--process-id` has already" in said.err

    @pytest.mark.parametrize("option", ["--force", "--force-execute"])
    def test_cannot_be_made_anew_from_a_builder_and_as_a_whole(self, tvl: Tvl, vault: TableVault, option: str) -> None:
        said = tvl("execute", "words", "--db-dir=vault", option, "--from-builder=shout", code=2)

        assert f"{option} makes all rows anew, --from-builder those of some" in " ".join(
            said.err.replace("│", "").split()
        )

    def test_cannot_be_both(self, tvl: Tvl, vault: TableVault) -> None:
        assert "--force is --existing rerun" in tvl(*RUN, "--force", "--existing=error", code=2).err


class TestSample:
    def test_shows_the_first_rows_and_keeps_nothing(self, tvl: Tvl, vault: TableVault) -> None:
        was = state(Path(vault.db_dir))

        said = tvl("execute", "words", "--db-dir=vault", "--sample=2")

        assert said.out.count("shouting") == 2
        assert "The first 2 rows:" in said.out
        assert state(Path(vault.db_dir)) == was

    def test_is_that_of_a_plan_in_json(self, tvl: Tvl, vault: TableVault) -> None:
        executed = tvl("execute", "words", "--db-dir=vault", "--sample=2", "--json").json
        planned = tvl("plan", "words", "--db-dir=vault", "--sample=2", "--json").json

        assert executed == planned
        assert executed["sample"] == [{"word": "ape", "shout": "APE"}, {"word": "bee", "shout": "BEE"}]
        assert vault.get_table_instances("words") == []

    def test_is_of_the_stage_that_is_asked_for(self, tvl: Tvl, vault: TableVault) -> None:
        document = tvl("execute", "words", "--db-dir=vault", "--sample=1", "--until=words_index", "--json").json

        assert document["sample"] == [{"word": "ape"}]

    @pytest.mark.parametrize("option", ["--background", "--resumable"])
    def test_cannot_be_gone_on_with(self, tvl: Tvl, vault: TableVault, option: str) -> None:
        assert "--sample keeps nothing" in tvl("execute", "words", "--sample=2", option, code=2).err

    def test_tells_what_a_function_raises(self, tvl: Tvl, vault: TableVault, folder: Path) -> None:
        (folder / "fail bee").touch()

        assert "nobody answers" in tvl("execute", "words", "--db-dir=vault", "--sample=2", code=10).err


class TestAPlan:
    """It takes the options of the run that it is of."""

    def test_of_a_stage_and_a_budget(self, tvl: Tvl, vault: TableVault) -> None:
        options = ("--until=shout", "--budget", "rows=4")
        planned = tvl("plan", *RUN[1:], *options, "--json").json
        said = tvl(*RUN, *options)

        assert said.out.count("shouting") <= 1
        assert planned["action"] == "start"
        assert [each["builder"] for each in planned["builders"]] == ["words_index", "shout"]

    @pytest.mark.parametrize("option", ["--force", "--existing=rerun"])
    def test_of_a_rerun(self, tvl: Tvl, vault: TableVault, option: str) -> None:
        tvl(*RUN)

        assert tvl("plan", *RUN[1:], "--json").json["action"] == "reuse"
        assert "there is nothing to do" in tvl("plan", *RUN[1:]).out
        planned = tvl("plan", *RUN[1:], option, "--json").json
        said = tvl(*RUN, option)

        assert (planned["action"], said.out.count("shouting")) == ("rerun", 3)

    def test_of_what_is_refused(self, tvl: Tvl, vault: TableVault) -> None:
        tvl(*RUN)

        said = " ".join(tvl("plan", *RUN[1:], "--existing=error").out.split())

        assert "It would be refused: There is a run of that id already" in said
        assert "`--existing auto` to have what it made" in said

    def test_of_all_rows_anew(self, tvl: Tvl, vault: TableVault) -> None:
        tvl(*RUN)
        vault.create_instance("words", copy=True)

        for option, made in ((), 0), (("--force",), 3), (("--force-execute",), 3), (("--from-builder=shout",), 3):
            planned = tvl("plan", "words", "--db-dir=vault", *option, "--json").json
            assert planned["builders"][1]["to_run"] == made

    def test_of_a_source_that_begins_elsewhere(self, tvl: Tvl, vault: TableVault) -> None:
        start = "--start-at=words_index=1"

        planned = tvl("plan", "words", "--db-dir=vault", start, "--json").json
        sample = tvl("execute", "words", "--db-dir=vault", start, "--sample=1", "--json").json["sample"]

        assert planned["builders"][0]["offset"] == 1
        assert sample == [{"word": "bee", "shout": "BEE"}]

    @pytest.mark.parametrize(
        "wrong", [("--force", "--existing=error"), ("--budget", "rows"), ("--start-at", "words_index")]
    )
    def test_of_what_makes_no_sense_is_refused_as_the_run_is(
        self, tvl: Tvl, vault: TableVault, wrong: tuple[str, ...]
    ) -> None:
        told = [tvl(command, *RUN[1:], *wrong, code=2).err.splitlines()[2:] for command in ("plan", "execute")]

        assert told[0] == told[1]


class TestPause:
    def test_of_a_living_worker(
        self, tvl: Tvl, vault: TableVault, folder: Path, shell: Callable[..., subprocess.Popen[str]]
    ) -> None:
        (folder / "wait bee").touch()
        running = shell(*RUN)
        wait_until(lambda: (folder / "waits").exists())

        said = tvl("pause", "run", "--db-dir=vault")

        assert said.out == (
            "Process 'run' pauses as soon as the calls under way have returned: `tvl wait run` tells when.\n"
        )
        wait_until(lambda: (folder / "told").exists())
        (folder / "wait bee").unlink()
        _, told = running.communicate(timeout=40)
        assert running.returncode == 6
        assert "Process 'run' was paused: " in told
        record = vault.get_process("run")
        assert (record.state, record.paused_on_request, record.rows_done) == (State.PAUSED, True, 2)
        tvl(*RUN)

    def test_of_a_paused_one(self, tvl: Tvl, vault: TableVault, folder: Path) -> None:
        (folder / "fail bee").touch()
        tvl(*RUN, code=10)

        said = tvl("pause", "run", "--db-dir=vault")
        document = tvl("pause", "run", "--db-dir=vault", "--json").json

        assert said.out.splitlines() == [
            "Process 'run' is paused.",
            "  To go on: tvl execute words --process-id run --db-dir vault",
        ]
        assert (document["status"], document["paused_on_request"]) == ("paused", True)

    def test_of_what_has_ended_is_an_error(self, tvl: Tvl, vault: TableVault) -> None:
        tvl(*RUN)

        assert "so there is nothing to pause" in tvl("pause", "run", "--db-dir=vault", code=6).err
        assert "There is no process" in tvl("pause", "rum", "--db-dir=vault", code=3).err
