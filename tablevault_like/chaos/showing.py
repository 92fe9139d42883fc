"""What a rehearsal tells, for people: tables that rich prints, of the records of ``chaos.report``."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_STYLES = {"sound": "green", "violated": "bold red", "undecided": "yellow"}


def shown(report: Any) -> RenderableType:
    """Return a report as its verdict, the calls of each builder, the trials, violations and notes."""
    style = _STYLES[str(report.verdict)]
    parts: list[RenderableType] = [Text(f"{_verdict(report)} (seed {report.seed})", style=style)]
    if report.trials:
        parts += [_calls(report), _trials(report)]
    for each in report.violations:
        where = f" · {each.builder}" if each.builder else ""
        trials = f" · trial {', '.join(map(str, each.trials))}" if each.trials else ""
        parts.append(Text(f"! {each.kind}{where}{trials}: {_sentence(each.what)}", style="red"))
        parts.append(Text(f"  {each.to_do}"))
    parts += [Text(f"- {note}", style="dim") for note in report.notes]
    if report.kept is not None:
        parts.append(Text(f"What was run is kept in {report.kept}."))
    return Group(*parts)


def _verdict(report: Any) -> str:
    what = f"{report.table}/{report.version}"
    if not report.trials:
        return f"{what} can't be rehearsed"
    trials = f"{len(report.trials)} {'run' if len(report.trials) == 1 else 'runs'}"
    killed = f"killed {report.kills} {'time' if report.kills == 1 else 'times'} in {trials} over {report.rows} rows"
    if report.is_sound:
        return f"{what} comes out the same: {killed}"
    count = len(report.violations)
    return f"{what} has {count} {'violation' if count == 1 else 'violations'}: {killed}"


def _calls(report: Any) -> Table:
    table = _table("BUILDER", "CALLS", "AGAIN", "INSIDE", "UNCOMMITTED", "RECORDED", right=range(1, 6))
    for each in report.builders:
        counts = (each.calls, each.again, each.inside, each.uncommitted)
        recorded = Text(str(each.recorded), style="red" if each.recorded else "")
        table.add_row(each.builder, *(str(count) for count in counts), recorded)
    return table


def _trials(report: Any) -> Table:
    table = _table("TRIAL", "KILLED", "ROWS THEN", "OUTCOME", right=(0, 2))
    for trial in report.trials:
        for number, death in enumerate(trial.deaths):
            name, outcome = ("", "") if number else (str(trial.number), trial.outcome)
            recorded = "all" if death.rows_recorded is None else str(death.rows_recorded)
            table.add_row(name, death.point, recorded, outcome)
        if not trial.deaths:
            table.add_row(str(trial.number), "not", "", trial.outcome)
    return table


def _table(*columns: str, right: range | tuple[int, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number in right else "left")
    return table


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
