"""Report a run or an instance as Markdown: what was built, from what, how long it took, what failed, and its cost."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tablevault_like.builders.checkpoint import Checkpoint
from tablevault_like.builders.plan import Plan, PlannedBuilder
from tablevault_like.catalog import instances
from tablevault_like.errors import TableVaultError
from tablevault_like.functions.sources import function_name
from tablevault_like.model import ProcessRecord, RowStatus, StepRecord
from tablevault_like.monitor.cells import error_of
from tablevault_like.monitor.checks import target
from tablevault_like.monitor.elsewhere import Elsewhere
from tablevault_like.monitor.inspection import Named, inspect
from tablevault_like.monitor.made import Made, Vault
from tablevault_like.monitor.records import Inspection
from tablevault_like.monitor.words import counted, duration, moment, printable
from tablevault_like.storage import tables
from tablevault_like.storage.row_reader import RowReader

_FAILURES = 20


def report(vault: Vault, named: Named) -> str:
    """Return a report. See ``TableVault.report``."""
    found = inspect(vault, named)
    made = None
    if found.table is not None and found.instance_id is not None:
        with vault.catalog.snapshot() as db:
            made = Made.find(vault, db, found.table, found.instance_id)
    plan = made.plan if made else _plan(vault, found)
    parts = [f"# {_text(_title(found, made))}", _summary(vault, found, made)]
    parts += _section("From", _sources(vault, found, made))
    parts += _section("Builders", _builders(plan))
    parts += _section("Steps", _steps(found.steps))
    parts += _section("Failures", _failures(vault, found, made))
    parts += _section("Columns", _columns(found, made))
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(found: Inspection, made: Made | None) -> str:
    return made.name if made else found.name


def _plan(vault: Vault, found: Inspection) -> Plan | None:
    folder = vault.layout.process(found.process.process_id) if found.process else None
    return Checkpoint.read(folder).plan if folder is not None and folder.plan.exists() else None


def _summary(vault: Vault, found: Inspection, made: Made | None) -> str:
    process, elsewhere = found.process, None
    facts: list[tuple[str, object]] = []
    if made is not None:
        record = made.record
        kind = "whole" if record.success else "partial: its process was stopped"
        facts = [
            ("Description", record.description),
            ("Rows", f"{record.rows or 0:,}"),
            ("State", f"{'active' if record.active else 'inactive'}, {kind}"),
            ("Author", record.author),
            ("Made", moment(record.materialized_at)),
        ]
        with vault.catalog.snapshot() as db:
            elsewhere = Elsewhere.of_instance(db, record)
    elif process is not None:
        with vault.catalog.snapshot() as db:
            gone = instances.deleted(db, process_id=process.process_id)
        facts = [
            ("Works on", target(process.arguments)),
            ("Made", f"{gone.table_name}/{gone.instance_id}, which was deleted since" if gone else ""),
        ]
    if elsewhere is not None:
        facts += _made_elsewhere(elsewhere, process)
    elif process is not None:
        facts += [
            ("Process", f"{process.process_id} ({process.operation}, {process.status})"),
            ("Began", moment(process.started_at)),
            ("Took", _took(process.started_at, process.ended_at or process.updated_at, process.epoch)),
        ]
    if process is not None:
        facts += _totals(found.steps)
    if process is not None and elsewhere is None:
        facts += [
            ("Error", f"{process.error.type}: {process.error.message}" if process.error else ""),
            ("Next", process.next_steps if not process.state.has_ended else ""),
        ]
    return "\n".join(f"- **{name}:** {_text(value)}" for name, value in facts if value not in ("", None))


def _made_elsewhere(elsewhere: Elsewhere, process: ProcessRecord | None) -> list[tuple[str, object]]:
    """Return by which process an instance was made in another vault, and by which it was imported."""
    ended = ", ".join(each for each in (elsewhere.operation, (elsewhere.state or "").lower()) if each)
    named = f"{elsewhere.process_id}{f' ({ended})' if ended else ''}" if elsewhere.process_id else "not known"
    by = f" by process {process.process_id} of {process.author}" if process else ""
    return [
        ("Process", f"{named}, in the vault {elsewhere.vault}"),
        ("Began", moment(elsewhere.started_at)),
        ("Took", _took(elsewhere.started_at, elsewhere.ended_at, None)),
        ("Imported", f"{moment(process.ended_at if process else None)}{by}".strip()),
    ]


def _took(began: float | None, ended: float | None, claims: int | None) -> str:
    if began is None or ended is None:
        return ""
    return duration(ended - began) + (f", in {counted(claims, 'claim')}" if claims is not None else "")


def _totals(steps: Sequence[StepRecord]) -> list[tuple[str, object]]:
    """Return what all steps have made, and what it cost."""
    return [
        ("Rows made", _sum(steps, lambda step: step.rows_done - step.rows_reused)),
        ("Rows reused", _sum(steps, lambda step: step.rows_reused)),
        ("Rows failed", _sum(steps, lambda step: step.rows_failed + step.rows_skipped)),
        ("Cost", f"{sum(step.cost for step in steps):g}" if any(step.cost for step in steps) else ""),
        ("Tokens", _sum(steps, lambda step: step.tokens) if any(step.tokens for step in steps) else ""),
    ]


def _sum(steps: Sequence[StepRecord], of: object) -> str:
    return f"{sum(of(step) for step in steps):,}"  # type: ignore[operator]


def _sources(vault: Vault, found: Inspection, made: Made | None) -> str:
    named = dict.fromkeys("/".join(source) for source in found.sources)
    with vault.catalog.snapshot() as db:
        for table, instance_id in found.sources:
            named[f"{table}/{instance_id}"] = "" if instances.table_of(db, instance_id) else " (deleted since)"
    if found.origin is not None:
        named[found.origin] = f"{named.get(found.origin) or ''}: its origin"
    lines = [f"- {_place(name)}{told}" for name, told in named.items()]
    for each in Elsewhere.of_results(made.place) if made else ():
        by = f", made by {each.maker}" if each.maker else ""
        what = f"{counted(each.rows, 'row')} of {each.builder}"
        lines.append(f"- {_text(f'{what}: imported from the vault {each.vault}{by}')}")
    return "\n".join(lines)


def _place(name: str) -> str:
    """Return the name of an instance, whose id Markdown shows as it is."""
    table, slash, instance_id = name.partition("/")
    return f"{_text(table)}{slash}{instance_id}"


def _builders(plan: Plan | None) -> str:
    if plan is None:
        return ""
    rows = [
        (each.name, _function(each), ", ".join(each.changed_columns), str(each.return_type), each.recipe[:12])
        for each in plan.builders
    ]
    return _table(("builder", "function", "columns", "calls", "recipe"), rows)


def _function(builder: PlannedBuilder) -> str:
    module = str(builder.fields["code_module"])
    return f"{module}.{function_name(module, builder.fields['python_function'])}"


def _steps(steps: Sequence[StepRecord]) -> str:
    rows = []
    for step in steps:
        took = None
        if step.started_at is not None and step.finished_at is not None:
            took = step.finished_at - step.started_at
        state = "done" if step.is_done else "begun" if step.started_at else "to come"
        counts = (step.rows_done, step.rows_reused, step.rows_failed, step.rows_skipped)
        cells = [f"{count:,}" if count else "" for count in counts]
        rows.append((step.name, state, *cells, duration(took), f"{step.cost:g}" if step.cost else ""))
    header = ("step", "state", "rows", "reused", "failed", "skipped", "time", "cost")
    return _table(header, rows) if rows else ""


def _failures(vault: Vault, found: Inspection, made: Made | None) -> str:
    rows = _kept_failures(made) if made else _recorded_failures(vault, found)
    if not rows:
        return ""
    more = f"\n\nand {len(rows) - _FAILURES:,} more." if len(rows) > _FAILURES else ""
    return _table(("builder", "row", "status", "error"), rows[:_FAILURES]) + more


def _kept_failures(made: Made) -> list[tuple[str, ...]]:
    path = made.place.provenance / "failures.parquet"
    if not path.is_file():
        return []
    try:
        frame = tables.read_table(path, columns=["builder", "row", "status", "error_type", "message"])
    except TableVaultError:
        return []
    rows = frame.itertuples(index=False)
    return [tuple("" if value is pd.NA else str(value) for value in (*row[:3], f"{row[3]}: {row[4]}")) for row in rows]


def _recorded_failures(vault: Vault, found: Inspection) -> list[tuple[str, ...]]:
    if found.process is None or not vault.layout.process(found.process.process_id).rows.exists():
        return []
    rows: list[tuple[str, ...]] = []
    with RowReader.open(vault.layout.process(found.process.process_id).rows) as store:
        for step in found.steps:
            for status in (RowStatus.FAILED, RowStatus.SKIPPED):
                for each in store.failures(step.name, status):
                    error = error_of(each.error)
                    told = f"{error.type}: {error.message}" if error else ""
                    rows.append((step.name, str(each.index), status.name.lower(), told))
    return rows


def _columns(found: Inspection, made: Made | None) -> str:
    if made is None:
        return ""
    builders = [made.builder_of(name) for name in found.columns]
    rows = [
        (name, dtype, each.name if each else "")
        for (name, dtype), each in zip(found.columns.items(), builders, strict=True)
    ]
    return _table(("column", "dtype", "builder"), rows)


def _section(name: str, text: str) -> list[str]:
    return [f"## {name}", text] if text else []


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)


def _text(value: object) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    text = printable(" ".join(str(value).split()))
    for mark in ("\\", "|", "*", "_", "`", "~", "&", "<", "["):
        text = text.replace(mark, f"\\{mark}")
    return text
