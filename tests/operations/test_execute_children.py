"""Operations inside user code: children of the process, under its locks, found done when their row runs again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TVArgumentError, TVLockError, TVProcessError
from tests.scenes import Calls
from tests.tables import Background, begin, build, column, gates, index, write
from tests.workers import wait_until

CODE = """
from pathlib import Path

import pandas as pd

from tablevault_like import TableVault
from tests.workers import note_call

def rows():
    yield from ["ant", "bee", "cat"]

def describe(word, vault_dir, folder, parent_id=None):
    vault = TableVault(vault_dir, parent_id=parent_id)
    note_call(f"describe {word}")
    made = vault.create_table(f"about_{word}")
    vault.create_instance(f"about_{word}", external_edit=True)
    vault.write_instance(pd.DataFrame({"word": [word]}), f"about_{word}")
    if word == "bee" and Path(folder, "fail").exists():
        raise ConnectionError("nobody answers")
    return made
"""


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


def describe(vault: TableVault, **more: object) -> str:
    arguments = {"word": "<<self.word[index]>>", "vault_dir": vault.db_dir, "folder": str(Path(vault.db_dir).parent)}
    return column("child", function="describe", arguments={**arguments, **more})


class TestChildren:
    def test_have_ids_made_of_parent_builder_and_row(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("word"), "about": describe(vault)}, code=CODE)
        vault.execute_instance("words", process_id="p")
        assert vault.get_dataframe("words")["child"].tolist() == ["p.about.0.1", "p.about.1.1", "p.about.2.1"]
        for number in (1, 2, 3):
            child = vault.get_process(f"p.about.2.{number}")
            assert (child.parent_id, child.state) == ("p", State.COMPLETED)
        assert vault.get_dataframe("about_cat")["word"].tolist() == ["cat"]

    def test_in_several_threads_too(self, vault: TableVault) -> None:
        builders = {"index": index("word"), "about": describe(vault) + "n_threads: 3\n"}
        begin(vault, "words", builders, code=CODE)
        vault.execute_instance("words", process_id="p")
        assert vault.get_dataframe("words")["child"].tolist() == ["p.about.0.1", "p.about.1.1", "p.about.2.1"]

    def test_may_name_their_parent_instead(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("word"), "about": describe(vault, parent_id="~PROCESS_ID~")}, code=CODE)
        vault.execute_instance("words", process_id="p")
        child = vault.get_dataframe("words")["child"].tolist()[0]
        assert vault.get_process(child).parent_id == "p"

    def test_of_a_row_that_runs_again_are_found_done(self, vault: TableVault, calls: Calls, tmp_path: Path) -> None:
        begin(vault, "words", {"index": index("word"), "about": describe(vault)}, code=CODE)
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        assert vault.get_process_completion("p.about.1.3")
        made = vault.get_table_instances("about_bee")
        (tmp_path / "fail").unlink()
        vault.execute_instance("words", process_id="p")
        assert calls() == {"describe ant": 1, "describe bee": 2, "describe cat": 1}
        assert vault.get_table_instances("about_bee") == made
        assert len(made) == 1

    def test_that_completed_stay_when_the_parent_is_reverted(self, vault: TableVault, tmp_path: Path) -> None:
        begin(vault, "words", {"index": index("word"), "about": describe(vault)}, code=CODE)
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words")
        assert vault.get_table_instances() == ["words", "about_ant", "about_bee"]
        assert vault.get_active_processes() == {}

    def test_that_fail_are_reverted_and_their_error_is_user_codes(self, vault: TableVault) -> None:
        code = f"""{CODE}
def wrong(vault_dir):
    TableVault(vault_dir).create_table("words")
"""
        wrong = column("wrong", function="wrong", arguments={"vault_dir": vault.db_dir})
        begin(vault, "words", {"index": index("word"), "wrong": wrong}, code=code)
        with pytest.raises(TVArgumentError, match="There is a table 'words' already"):
            vault.execute_instance("words", process_id="p")
        # Named, and raised by user code: paused, whatever class the error is of.
        assert vault.get_process("p").status == "paused"

    def test_of_generators_frames_and_modules_are_counted_from_their_call(self, vault: TableVault) -> None:
        code = """
import pandas as pd
from tablevault_like import TableVault

def rows(vault_dir):
    vault = TableVault(vault_dir)
    yield vault.create_table("a")
    yield vault.create_table("b")

def whole(vault_dir):
    return pd.DataFrame({"frame": [TableVault(vault_dir).create_table("c")] * 2})
"""
        arguments = {"vault_dir": vault.db_dir}
        builders = {
            "index": index("made", arguments=arguments),
            "frame": column("frame", function="whole", return_type="dataframe", arguments=arguments),
        }
        begin(vault, "words", builders, code=code)
        vault.execute_instance("words", process_id="p")
        frame = vault.get_dataframe("words")
        assert frame["made"].tolist() == ["p.words_index.all.1", "p.words_index.all.2"]
        assert frame["frame"].tolist() == ["p.frame.all.1"] * 2

    def test_of_children_name_them_all(self, vault: TableVault) -> None:
        code = """
from tablevault_like import TableVault

def outer(vault_dir):
    yield TableVault(vault_dir).execute_instance("inner")

def inner(vault_dir):
    yield TableVault(vault_dir).create_table("made")
"""
        arguments = {"vault_dir": vault.db_dir}
        begin(vault, "inner", {"index": index("made", function="inner", arguments=arguments)}, code=code)
        begin(vault, "outer", {"index": index("ran", function="outer", arguments=arguments)})
        vault.execute_instance("outer", process_id="p")
        assert vault.get_dataframe("outer")["ran"].tolist() == ["p.outer_index.all.1"]
        assert vault.get_dataframe("inner")["made"].tolist() == ["p.outer_index.all.1.inner_index.all.1"]
        assert vault.get_process("p.outer_index.all.1.inner_index.all.1").parent_id == "p.outer_index.all.1"


class TestChildrenInTheBackground:
    def test_are_children_too(self, vault: TableVault) -> None:
        code = """
from tablevault_like import TableVault

def rows(vault_dir):
    vault = TableVault(vault_dir)
    vault.create_table("inner")
    vault.create_instance("inner")
    yield vault.execute_instance("inner", background=True)
"""
        begin(vault, "words", {"index": index("made", arguments={"vault_dir": vault.db_dir})}, code=code)
        vault.execute_instance("words", process_id="p")
        assert vault.get_dataframe("words")["made"].tolist() == ["p.words_index.all.3"]
        assert vault.get_process("p.words_index.all.3").parent_id == "p"
        wait_until(lambda: vault.get_process_completion("p.words_index.all.3"))
        assert vault.get_dataframe("inner")["id"].tolist() == [1, 2, 3]


class TestLocks:
    def test_of_ancestors_are_shared(self, vault: TableVault) -> None:
        """A child may change what its parent has locked: here, the input that the parent has pinned stays readable."""
        write(vault, "stories", pd.DataFrame({"text": ["one"]}))
        code = """
from tablevault_like import TableVault

def rows():
    yield 1

def again(vault_dir, text):
    vault = TableVault(vault_dir, lock_timeout=0)
    vault.create_builder_file("words", "more")
    (old,) = vault.get_table_instances("stories")
    vault.delete_instance(old, "stories")
    return text
"""
        again = column(
            "text", function="again", arguments={"vault_dir": vault.db_dir, "text": "<<stories.text[index]>>"}
        )
        frame = build(vault, "words", {"index": index("n"), "again": again}, code=code)
        assert frame["text"].tolist() == ["one"]
        assert vault.get_table_instances("stories") == []

    def test_exclude_unrelated_processes_all_the_while(self, vault: TableVault) -> None:
        code = """
from tablevault_like import TableVault
from tests.tables import GATES

def rows(vault_dir):
    yield TableVault(vault_dir).create_table("inside")
    GATES["after"].enter()
"""
        begin(vault, "words", {"index": index("made", arguments={"vault_dir": vault.db_dir})}, code=code)
        hasty = TableVault(vault.db_dir, "bob", lock_timeout=0)
        with gates("after") as (after,):
            running = Background(vault.execute_instance, "words", process_id="p")
            after.await_arrival()
            with pytest.raises(TVLockError, match="held by process 'p'"):
                hasty.delete_table("words")
            hasty.delete_table("inside")
            after.open()
            running.result()


class TestOtherVaults:
    def test_are_not_concerned(self, vault: TableVault, tmp_path: Path) -> None:
        """An operation on another vault is nobody's child."""
        other = TableVault(tmp_path / "other", "ada", create=True)
        code = "from tablevault_like import TableVault\ndef rows(other): yield TableVault(other).create_table('made')"
        frame = build(vault, "words", {"index": index("made", arguments={"other": other.db_dir})}, code=code)
        process = other.get_process(frame["made"].tolist()[0])
        assert process.parent_id is None
        assert not process.process_id.endswith(".1")


class TestAParent:
    def test_that_is_paused_takes_no_new_children(self, vault: TableVault, tmp_path: Path) -> None:
        begin(vault, "words", {"index": index("word"), "about": describe(vault)}, code=CODE)
        (tmp_path / "fail").touch()
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        with pytest.raises(TVProcessError, match="The parent process 'p' is paused"):
            TableVault(vault.db_dir, parent_id="p").create_table("late")
        assert "late" not in vault.get_table_instances()

    def test_must_be_known(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="no process 'nobody'"):
            TableVault(vault.db_dir, parent_id="nobody").create_table("late")


MEDDLING = """
from tablevault_like import TableVault

def rows():
    yield from ["ant", "bee", "cat"]

def execute(vault):
    vault.execute_instance("words")

def delete_temporary(vault):
    vault.delete_instance("TEMP_base", "words")

def rename(vault):
    vault.rename_table("terms", "words")

def delete_table(vault):
    vault.delete_table("words")

def create_builder(vault):
    vault.create_builder_file("words", "more")

def meddle(word, what, vault_dir):
    globals()[what](TableVault(vault_dir))
    return word
"""


class TestWhatAnExecutionMakes:
    """A child shares its parent's locks, but it can't take away what its parent makes."""

    def begin(self, vault: TableVault, what: str) -> None:
        arguments = {"word": "<<self.word[index]>>", "what": what, "vault_dir": vault.db_dir}
        builders = {"index": index("word"), "about": column("child", function="meddle", arguments=arguments)}
        begin(vault, "words", builders, code=MEDDLING)

    @pytest.mark.parametrize("what", ["execute", "delete_temporary", "rename", "delete_table"])
    def test_is_not_for_its_children_to_change(self, vault: TableVault, what: str) -> None:
        self.begin(vault, what)

        with pytest.raises(
            TVLockError, match=r"an ancestor of this process, 'p' \(execute_instance\), makes words"
        ) as caught:
            vault.execute_instance("words", process_id="p")

        assert caught.value.holder == "p"
        assert vault.get_process("p").state is State.PAUSED
        vault.stop_process("p")
        assert vault.get_table_instances("words", include_temp=True) == ["TEMP_base"]

    def test_may_get_other_builders_from_them(self, vault: TableVault) -> None:
        self.begin(vault, "create_builder")

        vault.execute_instance("words")

        assert vault.get_dataframe("words")["child"].tolist() == ["ant", "bee", "cat"]
