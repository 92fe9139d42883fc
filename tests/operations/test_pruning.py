"""What is pruned, what never is, and why: instances, the trash, and what processes have left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like import State, TableVault
from tablevault_like.errors import TVArgumentError, TVLockError
from tablevault_like.operations import pruning
from tablevault_like.operations.prunable import Pruning
from tablevault_like.operations.pruning import Prune
from tablevault_like.operations.trash import Removed
from tests import states, tasks
from tests.tables import begin, column, index, write
from tests.workers import Action, Fault, Workers

PRUNE = "tablevault_like.operations.pruning:Prune"
CODE = """
import os


def rows():
    yield from [1, 2]


def shout(n):
    if n == 2 and os.path.exists("service_is_down"):
        raise ConnectionError
    return str(n)
"""


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, "ada", create=True, lock_timeout=0.3)


def filled(vault: TableVault, count: int, table: str = "stories", version: str = "", **fields: Any) -> list[str]:
    """Write instances of a table, and return their ids, oldest first."""
    return [write(vault, table, pd.DataFrame({"n": range(number + 1)}), version, **fields) for number in range(count)]


def test_what_is_raised_when_it_was_done_says_so(vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(vault, 2)

    def refuse(*_: object) -> Pruning:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output") as caught:
        patch.setattr(pruning, "look", refuse)
        vault.prune(keep=1, dry_run=False, process_id="nightly")

    assert caught.value.__notes__ == ["The operation had completed: process 'nightly' is done."]
    assert vault.get_process("nightly").state is State.COMPLETED
    assert len(there(vault)) == 1


def going(found: Pruning) -> list[str | None]:
    return [each.instance_id for each in found.going]


def why(found: Pruning, instance_id: str) -> str:
    (reason,) = [each.why for each in found.things if each.instance_id == instance_id]
    return reason


def there(vault: TableVault, table: str = "stories") -> list[str]:
    """Return the instances of a table that the catalog knows; they are those that have a folder."""
    known = vault.get_table_instances(table)
    folders = {path.name for path in Path(vault.db_dir, table).iterdir() if path.is_dir()}
    assert {name for name in folders if not name.startswith("TEMP_") and name != "artifacts"} == set(known)
    return known


class TestOldInstances:
    def test_go_beyond_the_newest_of_their_version(self, vault: TableVault) -> None:
        base = filled(vault, 4)
        short = filled(vault, 3, version="short")
        other = filled(vault, 2, table="papers")

        found = vault.prune(keep=2, dry_run=False)

        assert set(going(found)) == {*base[:2], short[0]}
        assert there(vault) == [*base[2:], *short[1:]]
        assert there(vault, "papers") == other
        states.assert_sound(Path(vault.db_dir))
        assert vault.get_process(found.process_id or "").state is State.COMPLETED

    def test_are_only_told_unless_that_is_to_be_done(self, vault: TableVault) -> None:
        made = filled(vault, 3)
        before = states.state(Path(vault.db_dir))

        found = vault.prune(keep=1)

        assert states.differences(states.state(Path(vault.db_dir)), before) == []
        assert (going(found), found.process_id) == ([made[1], made[0]], None)
        assert why(found, made[0]) == "there are 2 newer ones of its version"
        assert why(found, made[2]) == "it is the newest active instance of version 'base'"
        files = [path for each in made[:2] for path in Path(vault.db_dir, "stories", each).rglob("*") if path.is_file()]
        assert found.freed == found.size == sum(path.stat().st_size for path in files) > 0

    def test_stay_where_keep_is_not_given(self, vault: TableVault) -> None:
        made = filled(vault, 3)

        found = vault.prune(older_than=0, dry_run=False)

        assert there(vault) == made
        assert why(found, made[0]) == "instances only go where keep= says how many of them stay"

    def test_stay_if_they_are_young(self, vault: TableVault) -> None:
        made = filled(vault, 4)
        with closing(sqlite3.connect(Path(vault.db_dir, "metadata/catalog.sqlite"))) as db, db:
            db.execute(
                "UPDATE instances SET materialized_at = materialized_at - 7200 WHERE instance_id = ?", (made[1],)
            )

        found = vault.prune(1, timedelta(hours=1), dry_run=False)

        assert going(found) == [made[1]]
        assert there(vault) == [made[0], *made[2:]]
        assert why(found, made[0]) == "it is too young"

    def test_are_still_on_record(self, vault: TableVault) -> None:
        made = filled(vault, 2)
        vault.set_description("the first", "stories", made[0])

        process_id = vault.prune(keep=1, dry_run=False).process_id

        (record,) = vault.get_trash(include_pruned=True)
        assert (record.removed, record.table_name, record.instance_id) == (Removed.INSTANCE, "stories", made[0])
        assert (record.description, record.rows, record.pruned_by, record.pruned_in) == (
            "the first",
            1,
            "ada",
            process_id,
        )
        assert vault.get_trash() == []
        with pytest.raises(TVArgumentError, match="has no instance"):
            vault.get_dataframe("stories", made[0])

    def test_that_are_pinned_stay(self, vault: TableVault) -> None:
        made = filled(vault, 3)
        vault.pin("stories", made[0])

        found = vault.prune(keep=1, dry_run=False)

        assert there(vault) == [made[0], made[2]]
        assert why(found, made[0]) == "ada has pinned it"
        vault.unpin("stories", made[0])
        vault.prune(keep=1, dry_run=False)
        assert there(vault) == [made[2]]

    def test_that_readers_get_stay(self, vault: TableVault) -> None:
        """The newest active one, and the newest complete one where that is a partial one, whatever keep says."""
        begin(
            vault,
            "words",
            {"index": index("n"), "s": column("s", function="shout", arguments={"n": "<<self.n[index]>>"})},
            code=CODE,
        )
        complete = self._executed(vault)
        partial = [self._stopped(vault, number) for number in range(2)]

        found = vault.prune(keep=1, dry_run=False)

        assert vault.get_table_instances("words") == [complete, partial[1]]
        assert why(found, complete) == "it is the newest active instance of version 'base' that is complete"
        assert vault.get_dataframe("words", successful_only=True).attrs["instance_id"] == complete
        states.assert_sound(Path(vault.db_dir))

    def _executed(self, vault: TableVault) -> str:
        vault.execute_instance("words")
        return vault.get_table_instances("words")[-1]

    def _stopped(self, vault: TableVault, number: int) -> str:
        builder = column("s", function="shout", arguments={"n": "<<self.n[index]>>"}, reuse="never")
        vault.create_instance("words", copy=True, builders={"s": builder})
        Path("service_is_down").touch()
        try:
            with pytest.raises(ConnectionError):
                vault.execute_instance("words", process_id=f"p{number}", force_execute=True)
        finally:
            Path("service_is_down").unlink()
        vault.stop_process(f"p{number}", materialize=True)
        return vault.get_table_instances("words")[-1]

    def test_that_are_not_active_go(self, vault: TableVault) -> None:
        vault.create_table("services", has_side_effects=True)
        begin(vault, "services", {"index": index("n")}, code=CODE)
        vault.execute_instance("services")
        vault.create_instance("services", copy=True)
        vault.execute_instance("services")
        old, new = vault.get_table_instances("services")

        found = vault.prune(keep=1, dry_run=False)

        assert (going(found), vault.get_table_instances("services")) == ([old], [new])

    def test_that_others_were_made_from_stay(self, vault: TableVault) -> None:
        sources = filled(vault, 3)
        (paper,) = filled(vault, 1, table="papers", dependencies=[("stories", sources[0])])

        found = vault.prune(keep=1, dry_run=False)

        assert there(vault) == [sources[0], sources[2]]
        assert why(found, sources[0]) == f"papers/{paper} was made from it"

    def test_go_together_with_all_that_was_made_from_them(self, vault: TableVault) -> None:
        sources = filled(vault, 2)
        papers = filled(vault, 1, table="papers", dependencies=[("stories", sources[0])])
        papers += filled(vault, 1, table="papers", dependencies=[("stories", sources[1])])

        assert set(going(vault.prune(keep=1))) == {sources[0], papers[0]}
        vault.pin("papers", papers[0])
        assert going(vault.prune(keep=1)) == []
        vault.unpin("papers", papers[0])
        vault.prune(keep=1, dry_run=False)

        assert (there(vault), there(vault, "papers")) == ([sources[1]], [papers[1]])

    def test_that_the_next_one_began_with_go(self, vault: TableVault) -> None:
        """What was taken over from an origin is in the instance itself."""
        begin(vault, "words", {"index": index("n")}, code=CODE)
        for _ in range(3):
            vault.execute_instance("words")
            vault.create_instance("words", copy=True)
        made = vault.get_table_instances("words")

        found = vault.prune(keep=1, dry_run=False)

        assert vault.get_table_instances("words") == [made[2]]
        assert set(going(found)) == set(made[:2])
        assert vault.get_descriptions(made[2], "words")["origin"] is not None

    def test_that_a_temporary_one_begins_with_stay(self, vault: TableVault) -> None:
        made = filled(vault, 3)
        vault.create_instance("stories", "next", origin_id=made[0])

        found = vault.prune(keep=1)

        assert going(found) == [made[1]]
        assert why(found, made[0]) == "stories/TEMP_next begins with its rows"

    def test_that_a_paused_process_reads_stay(self, vault: TableVault, tmp_path: Path) -> None:
        made = filled(vault, 2)
        builder = column("s", function="fail", arguments={"n": "<<stories.n[n::<<self.n[index]>>]>>"})
        rows = index("n", arguments={})
        code = CODE + "\n\ndef fail(n):\n    raise ConnectionError\n"
        begin(vault, "words", {"index": rows, "s": builder}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        filled(vault, 1)

        found = vault.prune(keep=1, dry_run=False)

        assert why(found, made[1]) == "process 'p' (execute_instance, paused) uses it"
        assert set(there(vault)) == {made[1], vault.get_table_instances("stories")[-1]}
        vault.stop_process("p")
        vault.prune(keep=1, dry_run=False)
        assert len(there(vault)) == 1

    def test_are_waited_for_by_whoever_wants_to_pin_them(self, vault: TableVault, workers: Workers) -> None:
        made = filled(vault, 2)
        fault = Fault(f"after {PRUNE}.execute", Action.WAIT)
        worker = workers.start(tasks.prune_instances, Path(vault.db_dir), 1, "p", faults=[fault])
        worker.arrive()

        assert len(vault.get_dataframe("stories", made[0])) == 1
        with pytest.raises(TVLockError, match="is held by process 'p'"):
            vault.pin("stories", made[0])
        with pytest.raises(TVLockError, match="is held by process 'p'"):
            vault.create_instance("stories", origin_id=made[0])
        worker.go()
        worker.result()
        assert there(vault) == [made[1]]

    def test_stay_if_they_are_wanted_by_the_time_that_it_is_done(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The one that was to stay is deleted while the pruning is under way."""
        made = filled(vault, 2)
        publish = Prune.publish

        def late(self: Prune, run: Any, db: Any) -> None:
            db.execute(
                "UPDATE instances SET status = 'deleted', active = 0, deleted_at = 1 WHERE instance_id = ?", (made[1],)
            )
            publish(self, run, db)

        monkeypatch.setattr(Prune, "publish", late)
        found = vault.prune(keep=1, dry_run=False)

        assert found.going == ()
        assert vault.get_table_instances("stories") == [made[0]]
        assert len(vault.get_dataframe("stories")) == 1

    def test_of_a_renamed_table_go(self, vault: TableVault) -> None:
        made = filled(vault, 2)
        vault.rename_table("tales", "stories")

        vault.prune(keep=1, dry_run=False)

        assert there(vault, "tales") == [made[1]]

    def test_share_their_artifacts_to_the_last(self, vault: TableVault) -> None:
        code = """
        from pathlib import Path

        def rows():
            yield "a"

        def page(folder, name):
            Path(folder, name).write_text("x" * 5000)
            return name
        """
        arguments = {"folder": "~ARTIFACT_FOLDER~", "name": "<<self.name[index]>>"}
        page = column("page", function="page", arguments=arguments, dtypes={"page": "artifact_string"})
        begin(vault, "pages", {"index": index("name"), "page": page}, code=code)
        vault.execute_instance("pages")
        vault.create_instance("pages", copy=True)
        vault.execute_instance("pages")
        new = vault.get_table_instances("pages")[-1]

        found = vault.prune(keep=1, dry_run=False)

        (old,) = found.going
        assert old.size - 5000 == old.freed > 0
        assert Path(str(vault.get_dataframe("pages", new)["page"].iat[0])).stat().st_size == 5000
        states.assert_sound(Path(vault.db_dir))

    @pytest.mark.parametrize("keep", [0, -1, 1.5, True, "3"])
    @pytest.mark.parametrize("dry_run", [True, False])
    def test_to_no_number_are_refused(self, vault: TableVault, keep: Any, dry_run: bool) -> None:
        filled(vault, 2)

        with pytest.raises(TVArgumentError, match="keep must be a number of instances, 1 or more, or None to keep all"):
            vault.prune(keep, dry_run=dry_run)
        assert len(there(vault)) == 2


class TestWhatProcessesLeave:
    def test_goes_when_they_have_ended(self, vault: TableVault) -> None:
        begin(vault, "words", {"index": index("n")}, code=CODE)
        vault.execute_instance("words", process_id="p", background=True)
        vault.wait("p", 30)
        log = Path(vault.db_dir, "metadata/processes/p/output.log")
        assert log.is_file()

        (found,) = vault.prune().going
        assert (found.kind, found.name, found.process_id, found.why) == (
            Removed.PROCESS,
            "p",
            "p",
            "the process has ended",
        )
        assert vault.prune(older_than=3600).going == ()
        pruned = vault.prune(dry_run=False)

        assert [each.name for each in pruned.going] == ["p"]
        assert not log.parent.exists()
        assert vault.get_process("p").state is State.COMPLETED
        assert vault.execute_instance("words", process_id="p") == "p"  # it is still known to be done
        assert vault.prune().going == ()

    def test_stays_before_they_have_ended(self, vault: TableVault, tmp_path: Path) -> None:
        code = f"""
            from pathlib import Path
            from tablevault_like import TableVault

            def look():
                found = TableVault({str(vault.db_dir)!r}).prune()
                Path({str(tmp_path / "seen")!r}).write_text(repr([(each.name, each.why) for each in found.staying]))
                yield 1
        """
        begin(vault, "words", {"index": index("n", function="look")}, code=code)

        vault.execute_instance("words", process_id="p")

        assert (tmp_path / "seen").read_text() == repr([("p", "the process hasn't ended")])

    def test_stays_while_they_are_paused(self, vault: TableVault) -> None:
        begin(
            vault, "words", {"index": index("n", function="fail")}, code="def fail():\n    yield 1\n    raise OSError\n"
        )
        with pytest.raises(OSError):
            vault.execute_instance("words", process_id="p")

        found = vault.prune(keep=1, dry_run=False)

        assert [(each.name, each.why) for each in found.staying] == [("p", "the process is paused")]
        assert Path(vault.db_dir, "metadata/processes/p/rows.sqlite").is_file()
        assert found.going == ()

    def test_by_name_only_is_nothing(self, vault: TableVault) -> None:
        """The folder by which an id can be claimed again."""
        vault.create_table("words", process_id="p")

        assert vault.prune().things == ()


class TestPinning:
    def test_is_told(self, vault: TableVault) -> None:
        made = filled(vault, 1)[0]
        assert vault.get_descriptions(made, "stories")["pinned_by"] is None

        vault.pin("stories", made)
        TableVault(vault.db_dir, "bob").pin("stories", made)

        described = vault.get_descriptions(made, "stories")
        assert described["pinned_by"] == "ada"
        assert str(described["pinned"]).endswith("Z")
        TableVault(vault.db_dir, "bob").unpin("stories", made)
        vault.unpin("stories", made)
        assert vault.get_descriptions(made, "stories")["pinned_by"] is None

    def test_does_not_keep_from_deleting(self, vault: TableVault) -> None:
        made = filled(vault, 1)[0]
        vault.pin("stories", made)

        vault.delete_instance(made, "stories")

        assert vault.get_table_instances("stories") == []

    @pytest.mark.parametrize("call", [TableVault.pin, TableVault.unpin])
    def test_of_what_is_not_there_or_not_done_is_refused(self, vault: TableVault, call: Callable[..., str]) -> None:
        made = filled(vault, 1)[0]
        vault.create_instance("stories")

        with pytest.raises(TVArgumentError, match="is a temporary instance, which no pruning takes anyway"):
            call(vault, "stories", "TEMP_base")
        with pytest.raises(TVArgumentError, match="Did you mean"):
            call(vault, "stories", made[:-1])
        with pytest.raises(TVArgumentError, match="There is no table 'storys'"):
            call(vault, "storys", made)

    def test_is_a_process(self, vault: TableVault) -> None:
        made = filled(vault, 1)[0]

        assert vault.pin("stories", made, process_id="p") == "p"
        assert vault.pin("stories", made, "p") == "p"
        assert vault.get_process("p").operation == "pin"


def test_a_frame_tells_all_of_it(vault: TableVault) -> None:
    made = filled(vault, 2)

    frame = vault.prune(keep=1).to_frame()

    assert frame["goes"].tolist() == [False, True]
    assert frame["instance_id"].tolist() == [made[1], made[0]]
    assert frame["kind"].tolist() == ["instance", "instance"]
    assert frame.dtypes.astype(str).to_dict()["size"] == "int64"
    assert len(TableVault(vault.db_dir).prune(keep=2).to_frame()) == 2
    assert TableVault(Path(vault.db_dir).parent / "new", create=True).prune().to_frame().empty
