"""docs/security.md: every rule names tests that are there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import held

PAGE = held.CHECKOUT / "docs" / "security.md"


def rules() -> Iterator[tuple[int, str, list[str]]]:
    """Yield the number of each rule, what it says, and the tests that hold it."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and line[2].isdigit():
            number, rule, tests = held.cells(line)
            yield int(number), rule, held.named(tests)


@pytest.mark.parametrize("test", sorted({test for _, _, tests in rules() for test in tests}))
def test_every_test_that_is_named_is_there(test: str) -> None:
    held.check(PAGE, test)


def test_every_rule_has_a_number_and_a_test() -> None:
    found = list(rules())

    assert len(found) > 12
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    assert [rule for _, rule, tests in found if not tests] == []
