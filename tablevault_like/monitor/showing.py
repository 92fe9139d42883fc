"""What the monitor tells, for people: tables that rich prints, of the records of ``monitor.records``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tablevault_like.monitor.words import duration, is_missing, moment, printable, shown

_STYLES = {
    "exact": "green",
    "expected": "cyan",
    "at most": "yellow",
    "unknown": "red",
}
_LINES = 40


_ACTIONS = {
    "start": "A new run of {what}",
    "resume": "Going on with process {process} on {what}",
    "rerun": "Process {process} is run again on {what}, and reuses nothing",
    "reuse": "Process {process} has completed {what}: what it made is reused, there is nothing to do",
}


def planned_run(plan: Any) -> RenderableType:
    """Return a plan as a table of its builders, then why rows are made, and what is read."""
    columns = {"REUSED": 1, "TO RUN": 2, "LEFT": 3, "RECORDED": 4, "FAILED": 5, "CALLS": 6, "FROM": 7, "TIME": 8}
    shown = {"LEFT": any(each.left != 0 for each in plan.builders), "FROM": any(each.offset for each in plan.builders)}
    names = [name for name in columns if shown.get(name, True)]
    table = _table("BUILDER", *names, "", right=range(1, len(names) + 1))
    for each in plan.builders:
        cells: dict[str, RenderableType] = {
            "REUSED": _count(each.reused),
            "TO RUN": ("≤ " if each.certainty == "at most" and each.to_run else "") + _count(each.to_run),
            "LEFT": _count(each.left),
            "RECORDED": _count(each.recorded or None, ""),
            "FAILED": _text(_count(each.failed_before or None, ""), style="red"),
            "CALLS": _count(each.calls),
            "FROM": _count(each.offset, ""),
            "TIME": duration(each.seconds),
        }
        certainty = _text(str(each.certainty), style=_STYLES[str(each.certainty)])
        table.add_row(each.builder, *(cells[name] for name in names), certainty)
    parts: list[RenderableType] = [*_heading(plan), table]
    for each in plan.builders:
        parts += _of_builder(each)
    parts += _inputs(plan)
    if plan.sample is not None:
        parts += [_text(f"\n{_first(len(plan.sample))}", style="bold"), frame(plan.sample)]
    return Group(*parts)


def _first(rows: int) -> str:
    return "The first row:" if rows == 1 else f"The first {rows:,} rows:"


def _heading(plan: Any) -> Iterable[RenderableType]:
    what = f"{plan.table}/{plan.version}"
    yield _text(_ACTIONS[str(plan.action)].format(what=what, process=plan.process_id))
    if plan.made is not None:
        yield _text(f"made {plan.made}")
    if plan.origin is not None:
        yield _text(f"made from {plan.origin}")
    if plan.refusal is not None:
        yield _text(f"It would be refused: {plan.refusal}", style="red")
    if plan.pause is not None:
        yield _text(f"It will be paused: {plan.pause}.", style="yellow")
    yield _text("")


def _of_builder(each: Any) -> list[RenderableType]:
    if not each.reasons and each.doubt is None:
        return []
    parts: list[RenderableType] = [_text(f"\n{each.builder}", style="bold")]
    for reason in each.reasons:
        parts.append(_text(f"  {reason.text}"))
        parts += changed_lines(reason.lines, indent="    ")
    if each.doubt is not None:
        parts.append(_text(f"  {each.certainty}: {each.doubt}", style=_STYLES[str(each.certainty)]))
    return parts


def _inputs(plan: Any) -> list[RenderableType]:
    if not plan.inputs:
        return []
    table = _table("INPUT", "INSTANCE", "READ BY", "")
    for each in plan.inputs:
        name = each.table if each.version is None else f"{each.table}({each.version})"
        told = each.change if each.is_another else ""
        table.add_row(name, each.instance_id, ", ".join(each.read_by), told)
    return [_text(""), table]


def cell_history(cell: Any) -> RenderableType:
    """Return what is known of a cell, a line for each thing."""
    key = ", ".join(f"{name}={value}" for name, value in cell.key.items())
    facts: list[tuple[str, Any]] = [
        ("cell", f"{cell.table}/{cell.instance_id}, row {cell.row}{f' ({key})' if key else ''}, column {cell.column}"),
        ("value", _cell(cell.value)),
        ("builder", cell.builder),
        ("function", cell.function),
        ("made by", _made_by(cell)),
        ("made in", cell.made_in if cell.reused_through else None),
        ("reused by", " <- ".join(cell.reused_through) or None),
        ("attempts", cell.attempts),
        ("took", duration(cell.seconds)),
        ("cost", cell.cost),
        ("tokens", cell.tokens),
        ("error", f"{cell.error.type}: {cell.error.message}" if cell.error else None),
    ]
    facts += [(f"artifact {each.name}", f"{each.sha256} ({each.size:,} bytes)") for each in cell.artifacts]
    parts: list[RenderableType] = [_facts(facts)]
    if cell.inputs is not None:
        given = [(name, _given(value)) for name, value in cell.inputs.items()]
        parts += [_text("\nIts function was called with", style="bold"), _facts(given)]
    elif cell.inputs_missing is not None:
        parts.append(_text(f"\nIts inputs can't be had: {cell.inputs_missing}", style="yellow"))
    if cell.sources:
        table = _table("REFERENCE", "READS", "ROWS")
        for each in cell.sources:
            instance = each.instance_id or "this instance"
            gone = " (deleted)" if each.is_deleted else ""
            rows = "all" if each.rows is None else ", ".join(map(str, each.rows[:10])) or "none"
            more = ", ..." if each.rows is not None and len(each.rows) > 10 else ""
            table.add_row(each.reference, f"{each.table}/{instance}{gone}", rows + more)
        parts += [_text(""), table]
    for what, lines in (("builder file", cell.builder_changes), ("code", cell.code_changes)):
        if lines:
            parts += [_text(f"\nIts {what} differs from that of the origin:", style="bold"), *changed_lines(lines)]
    if cell.builder_text is not None:
        parts += [_text(""), _text(cell.builder_text.rstrip())]
    for name, text in cell.code.items():
        parts += [_text(f"\n{name}", style="bold"), _text(text.rstrip())]
    return Group(*parts)


def _made_by(cell: Any) -> str | None:
    if cell.process_id is None and cell.vault is None:
        return None
    by = f"process {cell.process_id} of {cell.author}" if cell.process_id else cell.author or "somebody"
    parts = [
        by,
        f" in the vault {cell.vault}" if cell.vault else "",
        f", {moment(cell.made_at)}" if cell.made_at else "",
    ]
    return "".join(parts)


def inspection(found: Any) -> RenderableType:
    """Return what is known of a process or an instance."""
    told = [(name, moment(value) if name.endswith("_at") else value) for name, value in found.facts.items()]
    parts: list[RenderableType] = [_facts([("name", found.name), *told])]
    if found.steps:
        table = _table(
            "STEP", "STATE", "ROWS", "OF", "REUSED", "FAILED", "SKIPPED", "COST", "TOKENS", right=range(2, 9)
        )
        for step in found.steps:
            table.add_row(
                step.name,
                "done" if step.is_done else "begun" if step.started_at else "to come",
                _count(step.rows_done or None, ""),
                _count(step.rows_total, ""),
                _count(step.rows_reused or None, ""),
                _text(_count(step.rows_failed or None, ""), style="red"),
                _count(step.rows_skipped or None, ""),
                f"{step.cost:g}" if step.cost else "",
                _count(step.tokens or None, ""),
            )
        parts += [_text(""), table]
    if found.sources:
        parts += [_text(""), _facts([("made from", "\n".join("/".join(each) for each in found.sources))])]
    for row in found.rows:
        parts += [_text(""), _row(row)]
    return Group(*parts)


def _row(row: Any) -> RenderableType:
    facts: list[tuple[str, Any]] = [
        ("builder", row.builder),
        ("row", row.row),
        ("status", row.status),
        ("attempts", row.attempts),
        ("took", duration(row.seconds)),
        ("cost", row.cost),
        ("tokens", row.tokens),
        ("input hash", row.input_hash),
        ("recipe", row.code),
        ("error", f"{row.error.type}: {row.error.message}" if row.error else None),
    ]
    facts += [(f"input {name}", _cell(value)) for name, value in (row.inputs or {}).items()]
    facts += [("inputs", f"not known: {row.inputs_missing}" if row.inputs_missing else None)]
    facts += [(f"output {name}", _cell(value)) for name, value in (row.output or {}).items()]
    return _facts(facts)


def changed_lines(lines: Sequence[str], *, indent: str = "  ") -> list[RenderableType]:
    """Return the lines of a difference, in the colours that people expect."""
    styles = {"+": "green", "-": "red"}
    told: list[RenderableType] = [_text(indent + line, style=styles.get(line[:1], "")) for line in lines[:_LINES]]
    return [*told, _text(f"{indent}... {len(lines) - _LINES} more lines")] if len(lines) > _LINES else told


def frame(found: Any) -> Table:
    """Return a DataFrame as a table, with long cells cut off."""
    table = _table(*map(str, found.columns))
    for row in found.itertuples(index=False):
        table.add_row(*[_text(shown(value)) for value in row])
    return table


def _facts(facts: Iterable[tuple[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in facts:
        if value is not None and value != "":
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            table.add_row(_text(str(name)), _text(text))
    return table


def _cell(value: object) -> str:
    """Return a value on one line, cut off where it is long. An empty text is seen, too."""
    return shown(value) or "''"


def _given(value: object) -> str:
    """Return what a function was called with, in full. It may be anything: a frame, say."""
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, dict | list | tuple | bool | int):
        return json.dumps(_plain(value), default=str, ensure_ascii=False)
    return shown(value) if getattr(value, "ndim", 0) == 0 else str(value)


def _plain(value: object) -> object:
    """Return lists and dicts with missing values as JSON has them."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if is_missing(value) else value


def _table(*columns: str, right: Iterable[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    aligned = set(right)
    for number, name in enumerate(columns):
        table.add_column(_text(name), justify="right" if number in aligned else "left", overflow="fold")
    return table


def _count(number: int | None, unknown: str = "?") -> str:
    return unknown if number is None else f"{number:,}"


def _text(value: str, style: str = "") -> Text:
    return Text(printable(value), style=style)
