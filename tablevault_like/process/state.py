"""The states of a process, and which may follow which.

::

    CREATED -> RUNNING -> COMPLETED
               RUNNING -> PAUSED -> RUNNING
    CREATED | RUNNING | PAUSED -> REVERTING -> REVERTED
    CREATED | RUNNING | PAUSED -> STOPPING  -> REVERTED | MATERIALIZED

A crash is not a state: it is a live state whose worker is dead. CREATED means that the inputs aren't kept yet, so
there is nothing to resume.
"""

from __future__ import annotations

from tablevault_like.model import State

TRANSITIONS: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.RUNNING, State.REVERTING, State.STOPPING}),
    State.RUNNING: frozenset({State.COMPLETED, State.PAUSED, State.REVERTING, State.STOPPING}),
    State.PAUSED: frozenset({State.RUNNING, State.REVERTING, State.STOPPING}),
    State.REVERTING: frozenset({State.REVERTED}),
    State.STOPPING: frozenset({State.REVERTED, State.MATERIALIZED}),
    State.REVERTED: frozenset(),
    State.MATERIALIZED: frozenset(),
    State.COMPLETED: frozenset(),
}


def check_transition(before: State, after: State) -> None:
    """Raise RuntimeError unless ``after`` may follow ``before``. It would be a mistake of ours, not of the caller."""
    if after not in TRANSITIONS[before]:
        raise RuntimeError(f"a process can't go from {before} to {after}")
