"""A frame that was made elsewhere: the one that an id was given for is the one that is written under it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVArtifactError, TVLockError, TVProcessError
from tablevault_like.model import State
from tablevault_like.operations.write import WriteInstance
from tablevault_like.process.run import Run
from tests import states
from tests.workers import Action, Fault, Workers

ID = "nightly"
FRAME = pd.DataFrame({"name": ["ada", "bob"], "score": [1.5, float("nan")]})
ANOTHER = FRAME.assign(score=[1.5, 2.5])


@pytest.fixture
def vault(tmp_path: Path) -> TableVault:
    vault = TableVault(tmp_path / "vault", "ada", create=True)
    vault.create_table("scores")
    vault.create_instance("scores", external_edit=True)
    return vault


def write(
    vault_dir: Path,
    dtypes: dict[str, object] | None = None,
    dependencies: list[tuple[str, str]] | None = None,
    table: str = "scores",
    version: str = "base",
) -> str:
    return TableVault(vault_dir).write_instance(FRAME, table, version, dependencies, dtypes, process_id=ID)


def add(vault: TableVault, table: str, number: int, *, version: str = "base", process_id: str = "") -> str:
    """Write one more instance of a table, and return its id."""
    if table not in vault.get_table_instances():
        vault.create_table(table)
    vault.create_instance(table, version, external_edit=True)
    vault.write_instance(pd.DataFrame({"n": [number]}), table, version, process_id=process_id or None)
    return vault.get_table_instances(table, version)[-1]


class TestAnIdThatWasUsed:
    def test_takes_the_same_frame_again(self, vault: TableVault) -> None:
        assert vault.write_instance(FRAME, "scores", process_id=ID) == ID
        assert vault.write_instance(FRAME.copy(), "scores", process_id=ID) == ID
        assert vault.write_instance(None, "scores", process_id=ID) == ID
        assert len(vault.get_table_instances("scores")) == 1

    @pytest.mark.parametrize(
        "frame",
        [ANOTHER, FRAME.iloc[:1], FRAME.rename(columns={"score": "points"}), FRAME.astype({"score": "float32"})],
        ids=["value", "rows", "columns", "dtype"],
    )
    def test_refuses_another_frame(self, vault: TableVault, frame: pd.DataFrame) -> None:
        vault.write_instance(FRAME, "scores", process_id=ID)

        with pytest.raises(TVArgumentError, match=r"other work \(frame: '2 rows of name, score \[\w+\]' then, '"):
            vault.write_instance(frame, "scores", process_id=ID)

        pd.testing.assert_frame_equal(vault.get_dataframe("scores"), FRAME, check_dtype=False, check_names=False)


@pytest.mark.parametrize("process_id", ["", ID], ids=["unnamed", "named"])
def test_what_can_not_be_done_at_all_is_said_first(vault: TableVault, process_id: str) -> None:
    vault.create_instance("scores", "built")
    with pytest.raises(TVArgumentError, match="is made by builders"):
        vault.write_instance(FRAME, "scores", "built", dtypes={"name": "artifact_string"}, process_id=process_id)
    with pytest.raises(TVArgumentError, match="no table 'scors'"):
        vault.write_instance(
            FRAME, "scores", "base", [("scors", "base_1_x")], {"name": "artifact_string"}, process_id=process_id
        )


class TestWithoutTheFrame:
    """A call that goes on takes what isn't given from what was."""

    DTYPES: ClassVar[dict[str, object]] = {"name": "string", "score": "Float32"}

    @pytest.fixture
    def cut_short(self, vault: TableVault, workers: Workers) -> TableVault:
        source = add(vault, "sources", 1)
        point = "before tablevault_like.operations.write:WriteInstance.publish"
        faults = [Fault(point, Action.KILL)]
        worker = workers.run(write, Path(vault.db_dir), self.DTYPES, [("sources", source)], faults=faults)
        assert worker.end() == -9
        return vault

    def test_goes_on_with_the_dtypes_and_the_dependencies(self, cut_short: TableVault) -> None:
        assert cut_short.write_instance(None, "scores", process_id=ID) == ID

        (made,) = cut_short.get_table_instances("scores")
        assert cut_short.get_dataframe("scores").dtypes.astype(str).to_dict() == self.DTYPES
        assert cut_short.get_descriptions(made, "scores")["dependencies"] == [
            ["sources", cut_short.get_table_instances("sources")[0]]
        ]
        recorded = cut_short.get_process(ID).arguments
        assert recorded["dtypes"] == self.DTYPES
        assert recorded["dependencies"] == [["sources", cut_short.get_table_instances("sources")[0]]]
        # It has ended: the same call says so, and does nothing.
        assert cut_short.write_instance(None, "scores", process_id=ID) == ID
        assert len(cut_short.get_table_instances("scores")) == 1

    def test_takes_them_given_again(self, cut_short: TableVault) -> None:
        cut_short.write_instance(None, "scores", dtypes=self.DTYPES, process_id=ID)
        assert cut_short.get_dataframe("scores").dtypes.astype(str).to_dict() == self.DTYPES

    def test_refuses_others(self, cut_short: TableVault) -> None:
        another = add(cut_short, "sources", 2)
        with pytest.raises(TVArgumentError, match=r"other work \(dtypes\['name'\]: 'string' then, 'object' now"):
            cut_short.write_instance(None, "scores", dtypes={**self.DTYPES, "name": "object"}, process_id=ID)
        with pytest.raises(TVArgumentError, match=r"other work \(dependencies: .* then, .* now"):
            cut_short.write_instance(None, "scores", dependencies=[("sources", another)], process_id=ID)

    def test_but_with_the_frame_they_are_what_is_given(self, cut_short: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"other work \(dependencies: .*; dtypes\['name'\]: 'string' then"):
            cut_short.write_instance(FRAME, "scores", process_id=ID)

    def test_is_refused_where_none_was_kept(self, vault: TableVault) -> None:
        with pytest.raises(TVProcessError, match="no process of this id has kept one"):
            vault.write_instance(None, "scores", process_id=ID)


class TestADependencyWithoutAnId:
    @pytest.mark.parametrize("process_id", ["", ID], ids=["unnamed", "named"])
    def test_is_the_newest_active_instance(self, vault: TableVault, process_id: str) -> None:
        vault.create_table("sources", has_side_effects=True)
        add(vault, "sources", 1)
        newest = add(vault, "sources", 2, version="v2")
        add(vault, "others", 3)
        other = add(vault, "others", 4)

        vault.write_instance(
            FRAME, "scores", dependencies=[("sources", ""), ("others", other)], process_id=process_id or None
        )

        (made,) = vault.get_table_instances("scores")
        wanted = [["others", other], ["sources", newest]]
        assert vault.get_descriptions(made, "scores")["dependencies"] == wanted
        states.assert_sound(Path(vault.db_dir))

    def test_stays_the_one_that_it_was_when_the_process_began(self, vault: TableVault, workers: Workers) -> None:
        first = add(vault, "sources", 1)
        point = "before tablevault_like.operations.write:WriteInstance.execute"
        sources = [("sources", ""), ("sources", first)]
        worker = workers.run(write, Path(vault.db_dir), {}, sources, faults=[Fault(point, Action.KILL)])
        assert worker.end() == -9
        add(vault, "sources", 2)
        with pytest.raises(TVLockError, match=ID):
            TableVault(vault.db_dir, lock_timeout=0.05).delete_instance(first, "sources")

        vault.write_instance(None, "scores", process_id=ID)

        (made,) = vault.get_table_instances("scores")
        assert vault.get_descriptions(made, "scores")["dependencies"] == [["sources", first]]

    def test_that_changes_while_it_is_staged_is_the_newest_all_the_same(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(vault, "sources", 1)
        newest: list[str] = []
        stage = WriteInstance.stage

        def stage_and_add(operation: WriteInstance, run: Run) -> object:
            staged = stage(operation, run)
            if operation.table_name == "scores":
                newest.append(add(vault, "sources", 2))
            return staged

        monkeypatch.setattr(WriteInstance, "stage", stage_and_add)
        vault.write_instance(FRAME, "scores", dependencies=[("sources", "")])

        (made,) = vault.get_table_instances("scores")
        assert vault.get_descriptions(made, "scores")["dependencies"] == [["sources", newest[0]]]
        states.assert_sound(Path(vault.db_dir))

    def test_is_refused_where_there_is_none(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"Table 'scores' has no active materialized instance\. Execute or"):
            vault.write_instance(FRAME, "scores", dependencies=[("scores", "")])
        with pytest.raises(TVArgumentError, match="no table 'scors'"):
            vault.write_instance(FRAME, "scores", dependencies=[("scors", "")])


class TestSideEffects:
    @pytest.fixture
    def effects(self, vault: TableVault) -> TableVault:
        vault.create_table("effects", has_side_effects=True)
        add(vault, "effects", 1)
        return vault

    def active(self, vault: TableVault) -> list[object]:
        return [vault.get_descriptions(each, "effects")["active"] for each in vault.get_table_instances("effects")]

    @pytest.mark.parametrize("process_id", ["", ID], ids=["unnamed", "named"])
    def test_the_newest_instance_is_the_only_active_one(self, effects: TableVault, process_id: str) -> None:
        add(effects, "effects", 2, version="v2", process_id=process_id)
        assert self.active(effects) == [False, True]

    def test_others_are_inactive_while_it_is_written_and_active_again_after_a_revert(self, effects: TableVault) -> None:
        effects.create_instance("effects", "v2", external_edit=True)
        frame, dtypes = pd.DataFrame({"page": ["a.txt"]}), {"page": "artifact_string"}
        with pytest.raises(TVArtifactError):
            effects.write_instance(frame, "effects", "v2", dtypes=dtypes, process_id=ID)
        assert effects.get_process(ID).state is State.PAUSED
        assert self.active(effects) == [False]

        effects.stop_process(ID)

        assert self.active(effects) == [True]

    def test_a_write_that_fails_leaves_them_active(self, effects: TableVault) -> None:
        effects.create_instance("effects", "v2", external_edit=True)
        with pytest.raises(TVArtifactError):
            effects.write_instance(
                pd.DataFrame({"page": ["a.txt"]}), "effects", "v2", dtypes={"page": "artifact_string"}
            )
        assert self.active(effects) == [True]

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("step", ["execute", "publish"])
    def test_what_was_killed_is_the_same_when_it_went_on(
        self, effects: TableVault, workers: Workers, when: str, step: str
    ) -> None:
        effects.create_instance("effects", "v2", external_edit=True)
        fault = Fault(f"{when} tablevault_like.operations.write:WriteInstance.{step}", Action.KILL)
        assert workers.run(write, Path(effects.db_dir), {}, [], "effects", "v2", faults=[fault]).end() == -9

        effects.write_instance(None, "effects", "v2", process_id=ID)

        assert self.active(effects) == [False, True]
        states.assert_sound(Path(effects.db_dir))

    def test_one_that_was_published_meanwhile_is_inactive_as_well(self, effects: TableVault, workers: Workers) -> None:
        """The newest is the one that is true."""
        effects.create_instance("effects", "v2", external_edit=True)
        fault = Fault("after tablevault_like.operations.write:WriteInstance.execute", Action.KILL)
        assert workers.run(write, Path(effects.db_dir), {}, [], "effects", "v2", faults=[fault]).end() == -9
        add(effects, "effects", 3, version="v3")

        effects.write_instance(None, "effects", "v2", process_id=ID)

        assert self.active(effects) == [False, False, True]

    def test_of_a_table_without_them_all_stay_active(self, vault: TableVault) -> None:
        vault.create_table("effects")
        add(vault, "effects", 1)
        add(vault, "effects", 2, version="v2")
        assert self.active(vault) == [True, True]


class TestAWriteThatWasCutShort:
    @pytest.mark.parametrize("frame", [FRAME, None], ids=["with the frame", "without"])
    def test_goes_on(self, vault: TableVault, workers: Workers, frame: pd.DataFrame | None) -> None:
        point = "after tablevault_like.operations.write:WriteInstance.execute"
        worker = workers.run(write, Path(vault.db_dir), faults=[Fault(point, Action.KILL)])
        assert worker.end() == -9
        with pytest.raises(TVArgumentError, match="frame"):
            vault.write_instance(ANOTHER, "scores", process_id=ID)
        assert vault.get_process(ID).state is State.RUNNING

        assert vault.write_instance(frame, "scores", process_id=ID) == ID

        assert vault.get_dataframe("scores")["name"].tolist() == ["ada", "bob"]
        states.assert_sound(Path(vault.db_dir))

    def test_is_not_mended_by_another_frame(self, vault: TableVault) -> None:
        dtypes = {"name": "artifact_string"}
        with pytest.raises(TVArtifactError):
            vault.write_instance(FRAME, "scores", dtypes=dtypes, process_id=ID)
        assert vault.get_process(ID).state is State.PAUSED

        with pytest.raises(TVArgumentError, match="stop_process"):
            vault.write_instance(ANOTHER, "scores", dtypes=dtypes, process_id=ID)

        assert vault.get_process(ID).state is State.PAUSED
