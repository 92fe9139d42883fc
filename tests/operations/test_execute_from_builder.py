"""Executions that begin again with a builder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVArtifactError, TVBuilderError
from tests import states
from tests.library import BUILDERS, CALLS, CODE, WORDS
from tests.operations.echoing import ECHO, ECHO_CODE, ECHOES, ID, INDEX, PAGES, SHOUTS, counted, start, vault
from tests.scenes import Calls
from tests.workers import STRUCK, Action, Fault, Workers

__all__ = ["vault"]


class TestFromABuilderOfANewInstance:
    def test_takes_what_comes_before_from_the_origin(self, vault: TableVault, calls: Calls) -> None:
        vault.delete_builder_file("page", "words")
        vault.execute_instance("words", process_id=ID, from_builder="shout")

        # What neither comes before nor after it is made as ever: it is never to be reused.
        assert calls() == counted(SHOUTS, ECHOES, ["length"])
        assert vault.get_dataframe("words")["echo"].tolist() == [word.upper() * 2 for word in WORDS]
        assert vault.get_dataframe("words")["word"].tolist() == WORDS
        index = vault.get_process(ID).steps[0]
        assert (index.name, index.rows_done, index.rows_reused) == ("words_index", len(WORDS), len(WORDS))
        states.assert_sound(Path(vault.db_dir))

    def test_takes_it_even_where_it_has_changed(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words")
        before = calls()
        vault.create_code_module("tools", text=CODE.replace("word.upper()", "word.title()") + ECHO_CODE)
        vault.create_instance("words", copy=True)

        vault.execute_instance("words", from_builder="echo")

        assert calls() - before == counted(ECHOES, PAGES, ["length"])
        frame = vault.get_dataframe("words")
        assert frame["shout"].tolist() == [word.upper() for word in WORDS]
        # What was taken over is known for what it is: the next instance makes it as the builder says now.
        vault.create_instance("words", copy=True)
        vault.create_builder_file("words", "shout", text=BUILDERS["shout"].replace("reuse: never", "reuse: auto"))
        vault.execute_instance("words")
        assert vault.get_dataframe("words")["shout"].tolist() == [word.title() for word in WORDS]

    def test_takes_frames_and_artifacts_over(self, vault: TableVault, calls: Calls) -> None:
        text = ECHO.replace("<<self.word[index]>>", "<<self.length[index]>>")
        text = text.replace("<<self.shout[index]>>", "<<self.page[index]>>")
        vault.create_builder_file("words", "echo", text=text)
        vault.delete_builder_file("shout", "words")

        vault.execute_instance("words", from_builder="echo")

        assert calls() == Counter({"echo 3": 6})
        frame = vault.get_dataframe("words")
        assert [Path(page).read_text() for page in frame["page"]] == [word * 3 for word in WORDS]
        assert frame["length"].tolist() == [3] * 6
        states.assert_sound(Path(vault.db_dir))

    def test_takes_a_primary_key_and_what_the_next_instance_can_reuse(self, vault: TableVault, calls: Calls) -> None:
        vault.create_builder_file("words", "shout", text=BUILDERS["shout"].replace("reuse: never", "reuse: auto"))
        vault.execute_instance("words")
        vault.create_instance("words", copy=True)
        vault.execute_instance("words", from_builder="echo")
        before = calls()

        vault.create_instance("words", copy=True)
        vault.execute_instance("words")

        assert calls() - before == counted(INDEX, PAGES, ["length"])

    def test_refuses_artifacts_that_were_changed(self, vault: TableVault, calls: Calls, made: str) -> None:
        text = ECHO.replace("<<self.shout[index]>>", "<<self.page[index]>>")
        vault.create_builder_file("words", "echo", text=text)
        page = Path(vault.db_dir, "words", made, "artifacts", "bee.txt")
        page.chmod(0o644)
        page.write_text("something else")

        with pytest.raises(TVArtifactError, match=r"'page' is to be taken over .* artifact 'bee\.txt' was changed"):
            vault.execute_instance("words", from_builder="echo")

        assert "echo ant" not in calls()

    def test_of_the_index_makes_all_anew(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", from_builder="words_index")

        assert calls() == counted(CALLS, ECHOES)

    def test_goes_on_after_a_failure_however_it_is_called(
        self, vault: TableVault, calls: Calls, workers: Workers
    ) -> None:
        vault.execute_instance("words")
        vault.create_instance("words", copy=True)
        before = calls()
        start(vault, workers, {"from_builder": "echo"}, Fault("echo dog", Action.FAIL))

        vault.execute_instance("words", process_id=ID)

        assert calls() - before == counted(ECHOES, ["echo dog", STRUCK], PAGES, ["length"])

    @pytest.mark.parametrize("nth", [1, 4, 8])
    def test_killed_while_it_takes_over_goes_on(
        self, vault: TableVault, calls: Calls, workers: Workers, nth: int
    ) -> None:
        text = ECHO.replace("<<self.shout[index]>>", "<<self.page[index]>>")
        vault.create_builder_file("words", "echo", text=text)
        fault = Fault("before tablevault_like.storage.files:replace", Action.KILL, nth)
        start(vault, workers, {"from_builder": "echo"}, fault)

        vault.execute_instance("words", process_id=ID, from_builder="echo")

        assert calls()["page dog"] == 0
        frame = vault.get_dataframe("words")
        assert [Path(page).read_text() for page in frame["page"]] == [word * 3 for word in WORDS]
        states.assert_sound(Path(vault.db_dir))


class TestFromABuilderIsRefused:
    def test_without_an_origin(self, vault: TableVault, calls: Calls) -> None:
        vault.create_instance("words", "other", builders={**BUILDERS, "echo": ECHO})

        with pytest.raises(
            TVBuilderError, match=r"from_builder='echo' takes over .* has none\. Create it with an origin"
        ):
            vault.execute_instance("words", "other", from_builder="echo")

        assert calls() == Counter()
        assert vault.get_active_processes() == {}

    def test_where_the_origin_lacks_a_column(self, vault: TableVault) -> None:
        vault.create_builder_file("words", "loud", text=ECHO.replace("[echo]", "[loud]"))
        vault.create_builder_file("words", "echo", text=ECHO.replace("self.shout", "self.loud"))

        with pytest.raises(TVBuilderError, match=r"no column 'loud', which 'loud' makes\. .*from_builder='loud'"):
            vault.execute_instance("words", from_builder="echo")

    def test_where_the_origin_has_a_column_as_a_later_builder_left_it(self, vault: TableVault) -> None:
        text = BUILDERS["shout"].replace("changed_columns: [shout]", "changed_columns: [word]")
        vault.create_builder_file("words", "shout", text=text)
        vault.delete_builder_file("echo", "words")

        with pytest.raises(
            TVBuilderError, match=r"the column 'word' as 'shout' left it, and no longer as 'words_index'"
        ):
            vault.execute_instance("words", from_builder="shout")

    def test_where_the_origin_is_partial(self, vault: TableVault) -> None:
        vault.execute_instance("words", process_id=ID, until="shout")
        vault.stop_process(ID, materialize=True)
        vault.create_instance("words", copy=True)

        with pytest.raises(TVBuilderError, match="is partial: rows of it may be missing"):
            vault.execute_instance("words", from_builder="echo")

    @pytest.mark.parametrize("has_begun", [False, True])
    def test_together_with_force_execute(self, vault: TableVault, has_begun: bool) -> None:
        if has_begun:
            vault.execute_instance("words", force_execute=True, process_id=ID, until="words_index")

        with pytest.raises(TVArgumentError, match="Leave out one of them"):
            vault.execute_instance("words", force_execute=True, process_id=ID, from_builder="shout")


class TestFromABuilderOfAPausedProcess:
    @pytest.fixture(autouse=True)
    def paused(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, until="page")
        vault.execute_instance("words", process_id=ID, until="echo")
        assert calls() == counted(INDEX, SHOUTS, PAGES, ECHOES)

    def test_forgets_it_and_what_rests_on_it(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, from_builder="shout")

        assert calls() == counted(INDEX, SHOUTS * 2, PAGES, ECHOES * 2, ["length"])
        states.assert_sound(Path(vault.db_dir))

    def test_forgets_once(self, vault: TableVault, calls: Calls, workers: Workers) -> None:
        start(vault, workers, {"from_builder": "shout"}, Fault("echo dog", Action.FAIL))

        vault.execute_instance("words", process_id=ID, from_builder="shout")

        assert calls() == counted(INDEX, SHOUTS * 2, PAGES, ECHOES * 2, ["echo dog", "length", STRUCK])

    def test_forgets_again_when_somebody_has_gone_on_without_it(self, vault: TableVault, calls: Calls) -> None:
        vault.execute_instance("words", process_id=ID, from_builder="echo", until="echo")
        vault.execute_instance("words", process_id=ID, from_builder="echo", until="echo")
        assert calls()["echo dog"] == 2
        vault.execute_instance("words", process_id=ID, until="echo")
        assert calls()["echo dog"] == 2

        vault.execute_instance("words", process_id=ID, from_builder="echo", until="echo")

        assert calls() == counted(INDEX, SHOUTS, PAGES, ECHOES * 3)

    def test_takes_back_that_its_stage_was_reached(self, vault: TableVault, workers: Workers) -> None:
        start(vault, workers, {"from_builder": "shout"}, Fault("shout dog", Action.FAIL))

        assert vault.get_process(ID).completed_through is None

    @pytest.mark.parametrize("nth", [8, 10, 12])
    def test_killed_while_it_forgets_it_forgets_all_the_same(
        self, vault: TableVault, calls: Calls, workers: Workers, nth: int
    ) -> None:
        fault = Fault("ground call", Action.KILL, nth)
        start(vault, workers, {"from_builder": "page"}, fault)

        vault.execute_instance("words", process_id=ID, from_builder="page")

        pages = Counter({call: count for call, count in calls().items() if call.startswith("page")})
        assert pages == counted(PAGES * 2)
        states.assert_sound(Path(vault.db_dir))

    def test_goes_together_with_changed_builders(self, vault: TableVault, calls: Calls) -> None:
        vault.create_code_module("tools", text=CODE.replace("word.upper()", "word.title()") + ECHO_CODE)

        vault.execute_instance("words", process_id=ID, from_builder="shout", on_change="continue")

        assert calls() == counted(INDEX, SHOUTS * 2, PAGES, ECHOES * 2, ["length"])
        assert vault.get_dataframe("words")["shout"].tolist() == [word.title() for word in WORDS]


def test_what_is_taken_over_is_made_when_it_is_to_be_recomputed(
    vault: TableVault, calls: Calls, workers: Workers
) -> None:
    start(vault, workers, {"from_builder": "echo"}, Fault("echo dog", Action.FAIL))
    assert calls()["shout dog"] == 0
    vault.create_code_module("tools", text=CODE.replace("word.upper()", "word.title()") + ECHO_CODE)

    vault.execute_instance("words", process_id=ID, from_builder="echo", on_change="recompute")

    assert calls()["shout dog"] == 1
    assert vault.get_dataframe("words")["shout"].tolist() == [word.title() for word in WORDS]
