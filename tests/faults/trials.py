"""One operation of the library (``tests.library``), tried again and again with a fault, and what comes of the vault.

To be used in a worker that forks for each trial (``tests.faults.tracing``). A vault is afterwards what it was, or
what an undisturbed attempt makes of it, and sound in any case; everything else is a violation.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from tablevault_like import TableVault
from tests import library, states
from tests.faults import injection, tracing
from tests.faults.calls import Call
from tests.faults.injection import Deed, Outcome
from tests.faults.tracing import Ending

ID = "nightly"
_NEVER = 1 << 30


class Next(StrEnum):
    """Who comes next, and what they want."""

    SAME = "the same call"
    RESTART = "restart"
    STOP = "stop"
    MATERIALIZE = "stop and materialize"
    RIVAL = "another process that needs the locks"


class End(StrEnum):
    """What a vault is after a trial."""

    UNCHANGED = "unchanged"
    DONE = "done"
    PARTIAL = "partial"


@dataclass(frozen=True)
class Violation:
    """What must not be."""

    trial: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.trial}, call {self.number}: {self.what}"


@dataclass(frozen=True)
class Bench:
    """Where an operation is tried: ``library_dir`` holds the vault that is copied to ``vault_dir``."""

    library_dir: Path
    vault_dir: Path
    operation: str
    is_named: bool

    def __str__(self) -> str:
        return f"{self.operation} ({'named' if self.is_named else 'unnamed'})"

    @property
    def process_id(self) -> str:
        return ID if self.is_named else ""

    @cached_property
    def made(self) -> str:
        """Return the id of the library's materialized instance."""
        return (self.library_dir / "made").read_text()

    @cached_property
    def before(self) -> states.State:
        """Return what the vault is at first."""
        self.refresh()
        return states.state(self.vault_dir)

    @cached_property
    def after(self) -> states.State:
        """Return what an undisturbed attempt makes of the vault."""
        self.refresh()
        tracing.aside(self.attempt_here).value_or_raise()
        states.assert_sound(self.vault_dir)
        return states.shape(self.vault_dir, known=self.made)

    @cached_property
    def known(self) -> frozenset[str]:
        """Return the ids of the processes that the vault has at first."""
        return frozenset(states.processes(self.source))

    @cached_property
    def rivals(self) -> tuple[states.State | None, states.State | None]:
        """Return what a rival makes of the vault, and of what an attempt makes of it; ``None`` if it is refused."""
        other = self.elsewhere(self.vault_dir.with_name(f"{self.vault_dir.name}.rival"))
        found = list[states.State | None]()
        for is_done in (False, True):
            other.refresh()
            if is_done:
                tracing.aside(other.attempt_here).value_or_raise()
            came = other.come(Next.RIVAL)
            found.append(states.shape(other.vault_dir, known=self.made) if came.returned else None)
        return found[0], found[1]

    def differences(self, wanted: states.State) -> list[str]:
        """Return how the shape of the vault differs from another. What is in the trash doesn't count."""
        found = states.shape(self.vault_dir, known=self.made)
        return states.differences(states.without_trash(found), states.without_trash(wanted))

    def elsewhere(self, vault_dir: Path) -> Bench:
        """Return the same bench for another copy, with all that is known of the operation."""
        other = Bench(self.library_dir, vault_dir, self.operation, self.is_named)
        known = ("made", "known", "source", "before", "after")
        other.__dict__.update({name: getattr(self, name) for name in known})
        return other

    @cached_property
    def source(self) -> Path:
        """Return the vault that is copied: the library, with what the operation needs besides."""
        self.prepare()
        return Path(shutil.copytree(self.vault_dir, self.vault_dir.with_name(f"{self.vault_dir.name}.source")))

    def prepare(self) -> None:
        """Copy the library, and add to it what the operation needs."""
        shutil.rmtree(self.vault_dir, ignore_errors=True)
        shutil.copytree(self.library_dir / "vault", self.vault_dir)
        attempt = library.BY_NAME[self.operation]
        prepared = tracing.aside(lambda: attempt.prepare(self.vault_dir, self.library_dir))
        assert prepared.returned, prepared.error

    def refresh(self) -> None:
        """Make the copy anew."""
        source = self.source
        shutil.rmtree(self.vault_dir, ignore_errors=True)
        shutil.copytree(source, self.vault_dir)

    def attempt(self, at: int | None = None, deed: Deed | None = None) -> Outcome:
        """Try the operation in a fork, with a fault at its ``at``-th call."""
        return injection.run(self.attempt_here, self.vault_dir, at=at, deed=deed)

    def calls(self, deed: Deed | None = None) -> list[Call]:
        """Return the calls that an undisturbed attempt makes; of these, those at which a deed may be done."""
        self.refresh()
        outcome = self.attempt(_NEVER, deed)
        outcome.ending.value_or_raise()
        return outcome.calls

    def count_calls(self, deed: Deed | None = None) -> int:
        return len(self.calls(deed))

    @property
    def nexts(self) -> tuple[Next, ...]:
        """Return who may come next, so that it makes a difference."""
        same = (Next.SAME,) if self.is_named else ()
        keep = (Next.MATERIALIZE,) if self.operation == "execute_instance" else ()
        return (*same, Next.RESTART, Next.STOP, *keep, Next.RIVAL)

    def come(self, then: Next) -> Ending:
        """Let somebody come, in a fork of their own."""
        return tracing.aside(lambda: self.come_here(then))

    def come_here(self, then: Next) -> object:
        """Let somebody come in this interpreter."""
        match then:
            case Next.SAME:
                return self.attempt_here()
            case Next.RESTART:
                return self.settle_here()
            case Next.STOP:
                return self._stop()
            case Next.MATERIALIZE:
                return self._stop(materialize=self.operation == "execute_instance")
            case Next.RIVAL:
                rival = library.BY_NAME[self.operation].rival or self.operation
                return library.attempt(self.vault_dir, rival, self.made, "")

    def settle(self) -> Ending:
        """Let the housekeeping be done that was cut short."""
        return tracing.aside(self.settle_here)

    def end(self, *, modes: bool = True) -> End | str:
        """Return what the vault is now, or what is wrong with it; on request whatever the permissions of files are."""
        if unsound := states.unsound(self.vault_dir):
            return "; ".join(unsound)

        def differences(found: states.State, wanted: states.State) -> list[str]:
            both = [states.without_trash(each) for each in (found, wanted)]
            return states.differences(*(both if modes else map(states.without_modes, both)))

        found = states.without_partial_frames(states.state(self.vault_dir))
        if not (different := differences(found, self.before)):
            return End.UNCHANGED
        if not (other := differences(states.shape(self.vault_dir, known=self.made), self.after)):
            return End.DONE
        return f"neither unchanged ({'; '.join(different[:3])}) nor done ({'; '.join(other[:3])})"

    def attempt_here(self) -> object:
        return library.attempt(self.vault_dir, self.operation, self.made, self.process_id)

    def settle_here(self) -> object:
        return sorted(TableVault(self.vault_dir, "ada", restart=True).restarted)

    def _stop(self, *, materialize: bool = False) -> object:
        vault = TableVault(self.vault_dir, "ada", lock_timeout=0.3)
        for process_id in vault.get_active_processes():
            vault.stop_process(process_id, materialize=materialize)
        return None


def everywhere(
    bench: Bench, deed: Deed, judge: Callable[[Bench, Outcome], str | None], *, first: int = 1, step: int = 1
) -> tuple[int, list[Violation]]:
    """Try the operation with the fault at its first call, the second, ... to the last.

    Returns how many were tried, and the violations: what ``judge`` says of each.
    """
    violations, tried, number = list[Violation](), 0, first
    _ = bench.before, bench.after
    while True:
        bench.refresh()
        outcome = bench.attempt(number, deed)
        if not outcome.struck:
            return tried, violations
        tried += 1
        if (said := judge(bench, outcome)) is not None:
            name = f"{bench}, {deed} at {outcome.calls[-1]}"
            violations.append(Violation(name, number, said))
        number += step
