"""A frame that was made elsewhere: the one that an id was given for is the one that is written under it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVArtifactError
from tablevault_like.model import State
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


def write(vault_dir: Path) -> str:
    return TableVault(vault_dir).write_instance(FRAME, "scores", process_id=ID)


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
