"""Hold what came of a run that was killed to what comes of undisturbed ones.

What two undisturbed runs don't agree about can't be judged: functions that draw lots, ask the time, or are told another
folder. It is left out, column by column and file by file, and the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tablevault_like.builders.plan import Plan
from tablevault_like.catalog import Catalog, instances
from tablevault_like.chaos.notes import Call, Written
from tablevault_like.chaos.report import BuilderCalls, Harm, Violation
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.model import ReturnType
from tablevault_like.storage import files, manifests, places, tables
from tablevault_like.storage.values import encode_cells

_SHOWN = 60
_MOST_ROWS = 3
_AS_A_WHOLE = (
    "A function that appends to a file, or writes to that of another row, does so once more when it is called again. "
    "Write each row's file as a whole, under a name made of ~ROW_KEY~ or of its arguments."
)


@dataclass(frozen=True)
class SideEffect:
    """A file outside of the vault that a function wrote to.

    ``growth`` is by how many bytes it grew, if all of it was appended; else ``digest`` is what it holds.
    """

    builder: str
    growth: int | None
    digest: str | None


@dataclass(frozen=True)
class Made:
    """What came of a run.

    ``cells`` has the cells of each column, as text. ``artifacts`` has the SHA-256 of the files that belong to cells.
    """

    rows: int
    cells: Mapping[str, Sequence[str]]
    artifacts: Mapping[str, str]
    side_effects: Mapping[str, SideEffect]

    @classmethod
    def read(cls, layout: Layout, table: str, process_id: str, written: Iterable[Written]) -> Made | None:
        """Read what a process has made, ``None`` if it has made nothing."""
        catalog = Catalog(layout.catalog)
        try:
            with catalog.snapshot() as db:
                record = instances.made_by(db, table, process_id)
                if record is None:
                    return None
                place = places.instance_layout(layout, record)
        finally:
            catalog.close()
        frame = tables.read_table(place.table)
        arrow = tables.table_from_frame(frame, {})
        cells: dict[str, list[str]] = {name: [] for name in frame.columns}
        for row in tables.cells_of(arrow):
            for name, cell in zip(frame.columns, row, strict=True):
                cells[name].append(encode_cells((cell,)))
        digests = {name: sha256 for name, (sha256, _) in manifests.contents(place.manifest, "artifacts").items()}
        return cls(len(frame), cells, digests, _side_effects(written))


def _side_effects(written: Iterable[Written]) -> dict[str, SideEffect]:
    by_path: dict[str, list[Written]] = {}
    for each in written:
        by_path.setdefault(each.path, []).append(each)
    found = {}
    for name, opened in by_path.items():
        path = Path(name)
        try:
            if all(each.appends for each in opened):
                found[name] = SideEffect(opened[0].builder, path.stat().st_size - opened[0].size, None)
            else:
                found[name] = SideEffect(opened[0].builder, None, files.sha256(path))
        except OSError:
            continue  # it was removed again: nothing is left of it
    return found


@dataclass(frozen=True)
class Recorded:
    """What was recorded when a worker had died: rows by builder, and which builders were done as a whole."""

    rows: Mapping[str, frozenset[int]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    is_published: bool = False

    def has(self, call: Call) -> bool:
        """Tell whether all that a call makes is there."""
        if call.builder in self.whole:
            return True
        rows = self.rows.get(call.builder, frozenset())
        return call.rows is not None and bool(call.rows) and rows.issuperset(call.rows)


class Judge:
    """Knows two undisturbed runs of a plan, and compares others with them."""

    def __init__(self, plan: Plan, first: Made, second: Made) -> None:
        self._wanted = first
        self._maker = {column: builder.name for builder in plan.builders for column in builder.changed_columns}
        self._streams = {each.name for each in plan.builders if each.return_type is ReturnType.GENERATOR}
        self._has_rows = first.rows == second.rows
        columns = first.cells.keys() | second.cells.keys()
        self.unsure_columns = sorted(name for name in columns if first.cells.get(name) != second.cells.get(name))
        names = first.artifacts.keys() | second.artifacts.keys()
        self.unsure_files = sorted(name for name in names if first.artifacts.get(name) != second.artifacts.get(name))
        paths = first.side_effects.keys() | second.side_effects.keys()
        self.unsure_paths = sorted(
            path for path in paths if first.side_effects.get(path) != second.side_effects.get(path)
        )

    def notes(self) -> Iterator[str]:
        """Say what isn't judged, and why."""
        if not self._has_rows:
            yield "The cells aren't judged: two undisturbed runs have made different numbers of rows."
        elif self.unsure_columns:
            yield (
                f"Not judged, as two undisturbed runs differ in it: {_listed(self.unsure_columns, 'column')}. "
                "Functions that draw lots or ask the time do so; a seed made of ~ROW_KEY~ gives a row the same lots "
                "each time."
            )
        if self.unsure_files:
            yield f"Not judged, as two undisturbed runs differ in it: {_listed(self.unsure_files, 'artifact')}."
        if self.unsure_paths:
            yield (
                f"Not judged, as each run leaves it otherwise: {_listed(self.unsure_paths, 'file')} outside of the "
                "vault. If it counts or collects something, what a killed row adds is added again."
            )

    def violations(self, made: Made, again: Mapping[str, set[int]]) -> Iterator[Violation]:
        """Yield what is different. ``again`` has the rows by builder whose function was called more than once."""
        yield from self._of_cells(made, again)
        yield from self._of_artifacts(made)
        yield from self._of_side_effects(made)

    def _of_cells(self, made: Made, again: Mapping[str, set[int]]) -> Iterator[Violation]:
        wanted = self._wanted
        if not self._has_rows:
            return
        if made.rows != wanted.rows:
            yield Violation(
                Harm.RESULT,
                next(iter(self._maker.values()), None),
                f"{made.rows} rows instead of {wanted.rows}",
                "Let the IndexBuilder's function make the same rows, in the same order, whenever it is called.",
            )
            return
        for column, cells in wanted.cells.items():
            if column in self.unsure_columns:
                continue
            found = made.cells.get(column, ())
            differing = [row for row, (one, other) in enumerate(zip(found, cells, strict=False)) if one != other]
            if not differing and len(found) == len(cells):
                continue
            maker = self._maker.get(column)
            yield Violation(
                Harm.RESULT,
                maker,
                f"column {column!r} differs in {len(differing)} of {len(cells)} rows: "
                + "; ".join(f"row {row}: {_cell(found[row])} instead of {_cell(cells[row])}" for row in differing[:3]),
                self._way_on(maker, differing, again.get(maker or "", set())),
                about=column,
            )

    def _way_on(self, builder: str | None, differing: Sequence[int], again: set[int]) -> str:
        if builder in self._streams:
            return (
                "Let the generator give the same rows in the same order when it is called again; with ~RESUME_FROM~, "
                "from that place on."
            )
        if again and set(differing) <= again:
            return (
                "These rows were inside their function at a kill, and it was called again with the same arguments: "
                "what the first call has left (a file, a counter, an entry) has changed the second. Take ~ROW_KEY~ as "
                "idempotency key, and write to a place of the row's own."
            )
        return (
            "The function depends on more than its arguments: on the order of calls, or on what earlier calls in the "
            "same worker left in memory. Let it depend on its arguments alone."
        )

    def _of_artifacts(self, made: Made) -> Iterator[Violation]:
        wanted = self._wanted.artifacts
        names = [name for name in sorted(wanted.keys() | made.artifacts.keys()) if name not in self.unsure_files]
        differing = [name for name in names if made.artifacts.get(name) != wanted.get(name)]
        if self.unsure_files:
            # Their names may be other ones each time.
            differing = [name for name in differing if name in made.artifacts and name in wanted]
        if differing:
            yield Violation(
                Harm.ARTIFACTS,
                None,
                f"{_listed(differing, 'artifact')} {'differs' if len(differing) == 1 else 'differ'}",
                _AS_A_WHOLE,
            )

    def _of_side_effects(self, made: Made) -> Iterator[Violation]:
        for path, wanted in self._wanted.side_effects.items():
            found = made.side_effects.get(path)
            if path in self.unsure_paths or found is None or found == wanted or path.endswith(".log"):
                continue
            how = (
                f"grew by {found.growth} bytes instead of {wanted.growth}"
                if found.growth is not None and wanted.growth is not None
                else "was left with another content"
            )
            yield Violation(
                Harm.SIDE_EFFECTS,
                wanted.builder,
                f"{path}, outside of the vault, {how}",
                "A row that was inside its function at a kill is called again, and so is what it does outside. Take "
                "~ROW_KEY~ as idempotency key: skip what is there under that key already, or write it in its place.",
                about=path,
            )


def damaged(path: Path, staging: Path, written: Iterable[Written], error: str) -> Violation:
    """Return the violation of a run that can't go on, as something that it had kept isn't what was recorded.

    ``path`` is what is damaged, ``staging`` where artifacts are staged: those are changed by functions.
    """
    parts = path.relative_to(staging).parts if path.is_relative_to(staging) else ()
    if len(parts) < 2 or path == (artifacts := InstanceLayout(staging / parts[0]).artifacts):
        return Violation(
            Harm.FAILED,
            None,
            f"can't be resumed: {error}",
            "Unless a function has changed what the vault keeps there, this is a defect of tablevault_like. Please "
            "report it, with the seed.",
        )
    name = path.relative_to(artifacts).as_posix()
    by = [each for each in written if each.path == str(path)]
    how = "a function appends to it" if any(each.appends for each in by) else "a function writes to it again"
    return Violation(
        Harm.ARTIFACTS,
        by[0].builder if by else None,
        f"artifact {name} was changed after rows that name it were recorded ({how if by else 'nobody was seen'}), so "
        "the run can't go on by itself",
        _AS_A_WHOLE,
        about=name,
    )


class Counting:
    """Counts the calls of all trials, and tells which of them must not have been."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._inside = Counter[str]()
        self._uncommitted = Counter[str]()
        self._recorded = Counter[str]()
        self._undisturbed = Counter[str]()

    def undisturbed(self, calls: Iterable[Call]) -> None:
        """Count the calls of an undisturbed run."""
        self._undisturbed.update(call.builder for call in calls)

    def trial(
        self, calls: Sequence[Call], recorded: Mapping[int, Recorded]
    ) -> tuple[list[Violation], dict[str, set[int]]]:
        """Count the calls of a trial. ``recorded`` tells what was recorded after each attempt that died.

        Return what must not have been, and which rows were called more than once, by builder.
        """
        called: dict[tuple[str, int | None], Call] = {}
        again: dict[str, set[int]] = {}
        wrong: dict[str, list[Call]] = {}
        for call in calls:
            before = [called[key] for key in _keys(call) if key in called and called[key].attempt < call.attempt]
            called.update(dict.fromkeys(_keys(call), call))
            if any(call.attempt > attempt and found.has(call) for attempt, found in recorded.items()):
                self._recorded[call.builder] += 1
                wrong.setdefault(call.builder, []).append(call)
            elif before:
                counts = self._uncommitted if all(each.returned for each in before) else self._inside
                counts[call.builder] += 1
            if before:
                again.setdefault(call.builder, set()).update(call.rows or ())
        violations = [
            Violation(
                Harm.CALLS,
                builder,
                f"called again for {_listed([_told(call) for call in found], 'recorded call')}",
                "This is a defect of tablevault_like: a recorded row is never called again. Please report it, with the "
                "seed.",
            )
            for builder, found in wrong.items()
        ]
        return violations, again

    def table(self) -> tuple[BuilderCalls, ...]:
        """Return the counts of every builder."""
        return tuple(
            BuilderCalls(
                builder=each.name,
                calls=self._undisturbed[each.name],
                again=self._inside[each.name] + self._uncommitted[each.name] + self._recorded[each.name],
                inside=self._inside[each.name],
                uncommitted=self._uncommitted[each.name],
                recorded=self._recorded[each.name],
            )
            for each in self._plan.builders
        )


def _keys(call: Call) -> list[tuple[str, int | None]]:
    return [(call.builder, None)] if call.rows is None else [(call.builder, row) for row in call.rows]


def _told(call: Call) -> str:
    if call.rows is None:
        return "all rows"
    return f"row {call.rows[0]}" if len(call.rows) == 1 else f"rows {call.rows[0]} to {call.rows[-1]}"


def _cell(text: str) -> str:
    """Return the one cell of a JSON array."""
    shown = text[1:-1]
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."


def _listed(names: Sequence[str], noun: str) -> str:
    """Return some names after their noun.

    >>> _listed(["a", "b"], "column")
    'columns a, b'
    """
    shown = ", ".join(names[:_MOST_ROWS]) + (f" and {len(names) - _MOST_ROWS} more" if len(names) > _MOST_ROWS else "")
    return f"{noun}{'' if len(names) == 1 else 's'} {shown}"
