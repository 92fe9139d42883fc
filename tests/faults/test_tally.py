"""The table of what the fault tests have tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import tally
from tests.faults.tally import Row


def test_adds_up_what_was_tried_and_tells_what_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, page = tmp_path / "tally", tmp_path / "page.md"
    monkeypatch.setenv(tally.VARIABLE, str(path))
    tally.add(Row.KILL, 1_200, [])
    tally.add(Row.KILL, 34, ["a violation"])
    with pytest.raises(pytest.skip.Exception, match="no loop devices"):
        tally.skip(Row.POWER_REAL, "no loop devices")
    page.write_text("# Reliability\n<!-- the table -->\nan earlier one\n<!-- the end of the table -->\nThe rest.\n")

    assert tally.main(str(path), str(page)) == 1

    text = page.read_text()
    assert f"| {Row.KILL} | 1,234 | 1 |" in text
    assert f"| {Row.POWER_REAL} | not run: no loop devices | - |" in text
    assert f"| {Row.PID} | not run: no test of it was chosen | - |" in text
    assert text.startswith("# Reliability\n")
    assert text.endswith("\nThe rest.\n")
    assert "an earlier one" not in text


def test_tells_what_has_found_which_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, page = tmp_path / "tally", tmp_path / "page.md"
    monkeypatch.setenv(tally.VARIABLE, str(path))
    tally.add(Row.MISTAKES, 1, [])
    tally.find("No file is synced", "a kill", 1_200)
    page.write_text("<!-- the table --><!-- the end of the table -->")

    assert tally.main(str(path), str(page)) == 0

    assert f"| {Row.MISTAKES} | 1 | 0 |" in page.read_text()
    assert "| No file is synced | a kill | 1,200 |" in page.read_text()


def test_is_put_into_the_page_again_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- the table --><!-- the end of the table -->")
    tally.put(page, "one\n")
    first = page.read_text()
    tally.put(page, "one\n")
    assert page.read_text() == first
