from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tablevault_like import TableVault
from tablevault_like.cli import app


@pytest.fixture
def complete(vault: TableVault) -> object:
    """Return what gives the words that bash would offer at the end of a line."""

    def offered(line: str) -> list[str]:
        count = len(line.split()) - (not line.endswith(" "))
        environment = {"_TVL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(count)}
        result = CliRunner().invoke(app, [], env=environment, prog_name="tvl")
        assert result.exit_code == 0, result
        return result.stdout.split()

    return offered


OFFERED = {
    "tvl sho": ["show"],
    "tvl --db-dir vault ls ": ["words", "papers"],
    "tvl --db-dir vault ls w": ["words"],
    "tvl --db-dir vault delete-instance words T": ["TEMP_base"],
    "tvl --db-dir vault show words --instance ": ["TEMP_base"],
    "tvl --db-dir vault show words --builder s": ["shout"],
    "tvl --db-dir vault delete-builder-file words ": ["shout", "words_index"],
    "tvl --db-dir vault show --code ": ["tools"],
    "tvl --db-dir vault stop ": ["p1"],
    "tvl --db-dir nowhere ls ": [],
    "tvl ls ": [],
    "tvl --db-dir vault delete-instance nothing ": [],
}


@pytest.mark.parametrize(("line", "words"), OFFERED.items())
def test_what_a_shell_offers(
    complete: object, vault: TableVault, monkeypatch: pytest.MonkeyPatch, line: str, words: list[str]
) -> None:
    assert callable(complete)
    vault.create_table("papers")
    monkeypatch.setattr(TableVault, "get_active_processes", lambda _: {"p1": None})

    assert complete(line) == words
