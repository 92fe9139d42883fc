"""Look at the processes that haven't ended: who has left them, who waits for them, and what they have kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.check import damage
from tablevault_like.check.databases import CHECK_AGAIN, Unreadable, reading
from tablevault_like.check.facts import Facts, KnownProcess
from tablevault_like.check.findings import About, Finding, Kind, told
from tablevault_like.check.looking import FOLDER, IS_LINK, MISSING, PUT_IT_THERE, kind_of, links
from tablevault_like.check.tables import place_of
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import State
from tablevault_like.operations.importing import ImportInstance
from tablevault_like.process.operation import REGISTRY, rebuild
from tablevault_like.process.run import instance_id_of
from tablevault_like.process.runner import MAXIMUM_DEATHS


def find_in_states(facts: Facts) -> Iterator[Finding]:
    """Yield the processes that don't go on by themselves, and the waiters that nobody is behind any more."""
    for process in facts.live.values():
        if process.is_alive:
            continue
        is_child = process.parent_id in facts.live
        if process.state in (State.STOPPING, State.REVERTING):
            yield _finding(
                facts,
                process,
                Kind.UNFINISHED,
                f"Its worker died while the process was {process.state.lower()}.",
                f"Whoever needs what it holds finishes that; so do stop_process({process.process_id!r}) and "
                "check(repair=True).",
                mended=None if is_child else "It was finished.",
            )
        elif process.state is State.CREATED:
            yield _finding(
                facts,
                process,
                Kind.STALE,
                "Its worker died before its inputs were kept, so there is nothing to resume.",
                f"Revert it with stop_process({process.process_id!r}), or check(repair=True).",
                mended=None if is_child else "It was reverted.",
            )
        else:
            yield from _find_left(facts, process, is_child=is_child)
    for waiter in facts.waiters:
        if not waiter.is_alive:
            about = About(facts.layout.root, process_id=waiter.process_id)
            yield about.finding(
                Kind.UNFINISHED,
                facts.layout.process(waiter.process_id).folder,
                "Its worker died while the process waited for its locks.",
                "Nobody waits for it. It is forgotten when the vault is next restarted, or by check(repair=True).",
                mended="It was forgotten.",
            )


def _find_left(facts: Facts, process: KnownProcess, *, is_child: bool) -> Iterator[Finding]:
    """Yield what is to be told of a process that is paused, or was interrupted."""
    process_id = process.process_id
    waiting = [
        waiter.process_id
        for waiter in facts.waiters
        if waiter.is_alive
        and process_id not in facts.family(waiter.process_id)
        and any(
            held.process_id == process_id and held.request.conflicts_with(request)
            for held in facts.locks
            for request in waiter.requests
        )
    ]
    status = "paused" if process.state is State.PAUSED else "interrupted"
    again = f"Call {process.operation} again with process_id={process_id!r} to go on; or stop_process({process_id!r})."
    if process.state is State.RUNNING and process.deaths + 1 >= MAXIMUM_DEATHS:
        yield _finding(
            facts,
            process,
            Kind.STUCK,
            f"Its worker has died {process.deaths + 1} times in a row, so no restart starts it again.",
            f"Look at what it does when it dies. {again}",
        )
    elif process.state is State.RUNNING and not process.named and not is_child:
        yield _finding(
            facts,
            process,
            Kind.STALE,
            "Its worker died, and nobody named it.",
            f"Whoever needs what it holds reverts it; restart=True goes on with it; stop_process({process_id!r}) and "
            "check(repair=True) revert it.",
            mended="It was reverted.",
        )
    if waiting:
        names = ", ".join(map(repr, waiting[:5])) + (", ..." if len(waiting) > 5 else "")
        yield _finding(facts, process, Kind.STUCK, f"It is {status}, and holds locks that {names} waits for.", again)


@dataclass(frozen=True)
class ProcessCheck:
    """Looks at the folder of one process that hasn't ended."""

    facts: Facts
    process: KnownProcess

    def find(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        place = self._place
        kind = kind_of(place.folder)
        if kind == MISSING and self.process.state is State.CREATED:
            return
        if kind != FOLDER:
            yield self._lost(place.folder, f"The folder of the process is {kind}: what it has recorded is lost.")
            return
        if (kind := kind_of(place.worker_lock)) not in ("a file", MISSING):
            yield self._lost(place.worker_lock, f"There is {kind} where the worker's lock should be.")
        # What functions put beside their artifacts is theirs, until it is looked at when the instance is put together.
        linked = [path for path in self._links() if path != place.worker_lock]
        for path in linked:
            yield _finding(self.facts, self.process, Kind.CORRUPTION, IS_LINK, PUT_IT_THERE, path=path)
        if self.process.state is State.CREATED:
            return
        found = (
            damage.process_damage(place, finished=self.process.finished, artifact_folder=self._artifact_folder)
            if self._has_checkpoint
            else []
        )
        for each in found:
            if not any(each.path.is_relative_to(path) for path in linked):
                yield self._lost(each.path, damage.sentence(each.what))
        if self._has_checkpoint and not found:
            yield from self._find_in_epoch()
        if self.process.operation == "write_instance":
            yield from self._find_in_frame()
        if self.process.operation == ImportInstance.name:
            yield from self._find_in_bundle()

    @property
    def _place(self) -> ProcessLayout:
        return self.facts.layout.process(self.process.process_id)

    def _links(self) -> Iterator[Path]:
        place, instance_id = self._place, self._instance_id
        artifacts = () if instance_id is None else (place.staged_instance(instance_id).artifacts,)
        return links(place.folder, besides=(place.bundle, *artifacts))

    @property
    def _has_checkpoint(self) -> bool:
        operation = REGISTRY[self.process.operation]
        return operation.keeps_inputs and self.process.state in (State.RUNNING, State.PAUSED)

    @property
    def _artifact_folder(self) -> Path | None:
        """Where the artifacts of an execution are, None while its worker may be changing them."""
        instance_id = self._instance_id
        if self.process.is_alive or instance_id is None:
            return None
        staged = self._place.staged_instance(instance_id)
        table = self.facts.by_name.get(self.process.table_name or "")
        if table is not None and kind_of(staged.folder) == MISSING:
            placed = place_of(self.facts.layout, table).instance(instance_id)
            if kind_of(placed.folder) == FOLDER:
                return placed.artifacts
        return staged.artifacts

    @property
    def _instance_id(self) -> str | None:
        version = self.process.arguments.get("version")
        if not isinstance(version, str):
            return None
        return instance_id_of(self.process.process_id, self.process.created_at, version)

    def _find_in_epoch(self) -> Iterator[Finding]:
        try:
            with reading(self._place.rows) as connection:
                found = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        except Unreadable as error:
            if error.is_damaged:
                yield self._lost(self._place.rows, f"The row store can't be read: {error}.")
            else:
                what = f"The row store wasn't read: {error}."
                yield _finding(self.facts, self.process, Kind.UNCHECKED, what, CHECK_AGAIN, path=self._place.rows)
            return
        if found is None or not isinstance(found[0], int) or found[0] > self.process.epoch:
            what = "no epoch" if found is None else f"the epoch {found[0]!r}"
            yield self._lost(
                self._place.rows,
                f"The row store has {what}, and the catalog {self.process.epoch}: one of both is from another time.",
            )

    def _find_in_frame(self) -> Iterator[Finding]:
        from tablevault_like.storage import tables

        path = self._place.pinned_frame
        try:
            tables.read_columns(path)
        except (OSError, ValueError, TypeError, KeyError, MemoryError) as error:
            yield self._lost(path, f"The frame that was to be written can't be read ({told(error)}).")

    def _find_in_bundle(self) -> Iterator[Finding]:
        operation = rebuild(self.process.operation, self.process.arguments)
        assert isinstance(operation, ImportInstance)
        table = self.facts.by_name.get(operation.table_name)
        place = None if table is None else place_of(self.facts.layout, table)
        for found in operation.damage(self.facts.layout, self._place, place):
            yield self._lost(found.path, damage.sentence(found.what), anew="import the bundle anew")

    def _lost(self, path: Path, what: str, *, anew: str = "start anew") -> Finding:
        process_id = self.process.process_id
        ways = f"Stop it with stop_process({process_id!r}), and {anew}."
        if REGISTRY[self.process.operation].can_materialize:
            ways = (
                f"Call {self.process.operation} again with process_id={process_id!r} and on_damage='recompute' to "
                f"compute what is damaged anew; or keep what is sound with stop_process({process_id!r}, "
                f"materialize=True); or revert it with stop_process({process_id!r})."
            )
        return _finding(self.facts, self.process, Kind.CORRUPTION, what, ways, path=path)


def _finding(
    facts: Facts,
    process: KnownProcess,
    kind: Kind,
    what: str,
    to_do: str,
    *,
    path: Path | None = None,
    mended: str | None = None,
) -> Finding:
    about = About(facts.layout.root, process.table_name, process_id=process.process_id)
    path = facts.layout.process(process.process_id).folder if path is None else path
    return about.finding(kind, path, what, to_do, mended=mended)
