"""The states of a process, and which may follow which: as drawn, and no other."""

from __future__ import annotations

import itertools
import re

import pytest

from tablevault_like.model import ENDED_STATES, State
from tablevault_like.process import state
from tablevault_like.process.state import TRANSITIONS, check_transition


def drawn() -> set[tuple[State, State]]:
    """Return the transitions that the module's docstring draws."""
    found = set[tuple[State, State]]()
    for line in (state.__doc__ or "").splitlines():
        if line.startswith("    "):
            stages = [[State(name) for name in re.split(r"\s*\|\s*", part.strip())] for part in line.split("->")]
            for before, after in itertools.pairwise(stages):
                found.update(itertools.product(before, after))
    return found


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_what_is_drawn_is_allowed_and_nothing_else(before: State, after: State) -> None:
    if (before, after) in drawn():
        check_transition(before, after)
    else:
        with pytest.raises(RuntimeError, match=f"can't go from {before} to {after}"):
            check_transition(before, after)


def test_all_states_are_drawn() -> None:
    assert TRANSITIONS.keys() == set(State) == {each for pair in drawn() for each in pair}
    assert {each for each, after in TRANSITIONS.items() if not after} == ENDED_STATES
