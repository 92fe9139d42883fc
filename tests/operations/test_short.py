"""Operations that stage their files before they hold a lock, while somebody deletes what they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.errors import TVArgumentError
from tests import states
from tests.library import BY_NAME
from tests.scenes import Calls, LibraryScene
from tests.workers import Action, Fault, Workers


def test_a_copy_of_an_instance_that_is_deleted_meanwhile_says_that_it_is_gone(
    copy_dir: Path, made: str, workers: Workers, calls: Calls
) -> None:
    scene = LibraryScene(copy_dir, workers, made)
    point = "after tablevault_like.storage.places:builder_files"
    worker = scene.start("create_instance", "", Fault(point, Action.WAIT))
    assert worker.arrive() == point
    BY_NAME["delete_instance"].call(scene.vault, made, "")
    worker.go()

    with pytest.raises(TVArgumentError, match=made):
        worker.result()
    assert scene.vault.get_table_instances("words", include_temp=True) == ["TEMP_base"]
    states.assert_sound(copy_dir)
