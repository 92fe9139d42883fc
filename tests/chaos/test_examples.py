"""The builder files of ``builders_examples`` survive being killed: the fast ones here, all of them with ``--full``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.test_examples import CHECKOUT, EXAMPLES, FOLDERS, add, build

FAST = ("topics/analysis", "evaluation/answers", "files/letters", "shop/phrases_loud", "stream/points")
NEEDED = {"llm/reviews": ["llm/services"], "shop/phrases_loud": ["shop/phrases"]}
"""What is to be built before; of other folders, all that come before them in the README."""


@pytest.fixture
def vault(vault_dir: Path, monkeypatch: pytest.MonkeyPatch) -> TableVault:
    """Return an empty vault, in the folder from which the examples are executed."""
    monkeypatch.delenv("DEMO_SERVICE", raising=False)
    monkeypatch.chdir(CHECKOUT)
    return TableVault(vault_dir, "ada", create=True)


def origin_of(vault: TableVault, folder: str) -> str:
    """Return what the instance of a folder is made from, if it is made from another."""
    return vault.get_table_instances("phrases")[0] if folder == "shop/phrases_loud" else ""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "folder", [folder if folder in FAST else pytest.param(folder, marks=pytest.mark.full) for folder in FOLDERS]
)
def test_an_example_survives_being_killed(vault: TableVault, folder: str, is_full: bool) -> None:
    example = folder.split("/")[0]
    code = EXAMPLES / example / "code_functions"
    if code.exists():
        vault.create_code_module(copy_dir=code)
    earlier = [each for each in FOLDERS if each.startswith(f"{example}/")]
    for each in NEEDED.get(folder, earlier[: earlier.index(folder)]):
        build(vault, each, origin_id=origin_of(vault, each))
    table, version = add(vault, folder, origin_id=origin_of(vault, folder))

    report = vault.chaos(table, version=version, sample=3, kills=10 if is_full else 2, seed=5, progress=False)

    assert report.violations == ()
    assert report.kills == report.wanted
    assert all(builder.recorded == 0 for builder in report.builders)
