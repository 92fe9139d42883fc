"""docs/runs.md: whatever it says can be done with a run has a test that is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import held

PAGE = held.CHECKOUT / "docs" / "runs.md"


def rows() -> Iterator[tuple[str, list[str]]]:
    """Yield what each row is about, with the tests that hold it."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| |"):
            what, _, _, tests = held.cells(line)
            yield what, held.named(tests)


@pytest.mark.parametrize("test", sorted({test for _, tests in rows() for test in tests}))
def test_every_test_that_is_named_is_there(test: str) -> None:
    held.check(PAGE, test)


def test_every_row_has_a_test() -> None:
    found = list(rows())

    assert len(found) > 30
    assert [what for what, tests in found if not tests] == []
