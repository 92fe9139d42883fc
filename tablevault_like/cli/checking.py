"""The command that proves a vault sound, mends it, and makes a lost catalog anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from tablevault_like import founding
from tablevault_like.check import CheckReport, Finding, Kind, Rebuilt, Severity, check_vault
from tablevault_like.check import rebuild_catalog as rebuild
from tablevault_like.check.checking import Observer
from tablevault_like.check.findings import as_document
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.errors import ExitCode
from tablevault_like.cli.formats import counted
from tablevault_like.cli.options import OptionalTable
from tablevault_like.cli.output import Cell
from tablevault_like.cli.session import Session
from tablevault_like.cli.words import as_commands
from tablevault_like.layout import Layout

_HEADINGS = {
    Kind.CORRUPTION: "Corrupt: something is lost, or isn't what was recorded",
    Kind.UNCHECKED: "Not checked: nothing is known of it",
    Kind.STUCK: "Stuck: somebody has to see to it",
    Kind.STALE: "Left behind: processes that nobody named, whose workers died",
    Kind.UNFINISHED: "Unfinished: housekeeping that was cut short",
    Kind.LITTER: "Litter: what processes have left that were killed",
    Kind.UNKNOWN: "Not the vault's own",
}
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold"}


@command("check", panel=Panel.VAULT, example="tvl check --repair")
def check(
    session: Session,
    table: OptionalTable = "",
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended without losing anything, and say what it was.")
    ] = False,
    rebuild_catalog: Annotated[
        bool,
        typer.Option(
            "--rebuild-catalog", help="Make a catalog that is lost or damaged anew, from the vault's files; then check."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --rebuild-catalog: also if the catalog is sound.")
    ] = False,
    no_contents: Annotated[
        bool, typer.Option("--no-contents", help="Compare the sizes of files only: much faster.")
    ] = False,
) -> None:
    """Prove that a vault, or one table, is sound: its catalog, every file and checksum, and all processes.

    Nothing is written without --repair, and others may go on working. What is found is listed with what to do about it.
    The exit code is 0 if nothing is wrong, and 1 if something is; litter, what is left behind or unfinished, and what
    isn't the vault's own, is shown and counts as nothing wrong.
    """
    if force and not rebuild_catalog:
        raise typer.BadParameter("--force is about --rebuild-catalog: give both.")
    if rebuild_catalog and (repair or no_contents or table):
        raise typer.BadParameter("--rebuild-catalog is about the whole vault, and checks all of it. Give it alone.")
    layout = founding.locate(str(session.folder))
    if rebuild_catalog:
        _rebuild(session, layout, force=force)
        return
    with _shown_progress() as observer:
        report = check_vault(layout, table or None, contents=not no_contents, repair=repair, observer=observer)
    session.output.give(_document(report), lambda: _people(report, layout))
    if not report.ok:
        raise typer.Exit(ExitCode.DEFECT)


def _rebuild(session: Session, layout: Layout, *, force: bool) -> None:
    with _shown_progress() as observer:
        rebuilt = rebuild(layout.root, force=force, observer=observer)
    session.output.give(
        {
            "tables": rebuilt.tables,
            "instances": rebuilt.instances,
            "processes": list(rebuilt.processes),
            "notes": list(rebuilt.notes),
            "kept": rebuilt.kept,
            "report": _document(rebuilt.report),
        },
        lambda: [*_told(rebuilt), "", *_people(rebuilt.report, layout)],
    )
    if not rebuilt.report.ok:
        raise typer.Exit(ExitCode.DEFECT)


def _told(rebuilt: Rebuilt) -> list[Cell]:
    parts: list[Cell] = [
        (
            f"Made the catalog anew: {counted(rebuilt.tables, 'table')}, {counted(rebuilt.instances, 'instance')}.",
            "bold",
        )
    ]
    parts += [f"  Process {each} is paused again, with all that it had recorded." for each in rebuilt.processes]
    parts += [f"  {as_commands(note)}" for note in rebuilt.notes]
    if rebuilt.kept is not None:
        parts.append(f"  What there was before is kept in {rebuilt.kept}.")
    return parts


@contextmanager
def _shown_progress() -> Iterator[Observer | None]:
    """Show on a terminal what is looked at."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("Looking at the catalog") as status:

        def tell(name: str, number: int, total: int, size: int) -> None:
            status.update(f"{number:,} of {total:,}: {name} ({size / 1e6:,.1f} MB read)")

        yield tell


def _document(report: CheckReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "findings": [as_document(each) for each in report],
        "repaired": [as_document(each) for each in report.repaired],
        "tables": report.tables,
        "instances": report.instances,
        "processes": report.processes,
        "size": report.size,
    }


def _people(report: CheckReport, layout: Layout) -> list[object]:
    parts: list[object] = []
    if report.repaired:
        parts.append(("Repaired", "bold green"))
        parts += [line for each in report.repaired for line in _lines(each, with_way=False)]
        parts.append("")
    for kind, heading in _HEADINGS.items():
        found = [each for each in report if each.kind is kind]
        if found:
            worst = Severity.ERROR if kind is Kind.CORRUPTION else max(found, key=_weight).severity
            parts.append((heading, _STYLES[worst]))
            parts += [line for each in found for line in _lines(each)]
            parts.append("")
    parts.append(_verdict(report, layout))
    return parts


def _weight(finding: Finding) -> int:
    return finding.severity is not Severity.NOTE


def _lines(finding: Finding, *, with_way: bool = True) -> Sequence[Cell]:
    lines: list[Cell] = [f"  {finding.where}", f"    {as_commands(finding.what)}"]
    if with_way:
        lines.append(f"    {as_commands(finding.to_do)}")
    elif finding.mended is not None:
        lines.append(f"    {finding.mended}")
    return lines


def _verdict(report: CheckReport, layout: Layout) -> Cell:
    looked = (
        f"{counted(report.tables, 'table')}, {counted(report.instances, 'instance')}, "
        f"{report.processes:,} process{'' if report.processes == 1 else 'es'}"
    )
    looked_at = f"Looked at {looked}; read {report.size / 1e6:,.1f} MB."
    if not report.findings:
        return f"Nothing is wrong with {layout.root}. {looked_at}"
    if report.ok:
        return f"Nothing is wrong with any table. {looked_at}"
    bad = sum(each.severity is not Severity.NOTE for each in report)
    return f"{counted(bad, 'thing')} wrong. {looked_at}", "bold red"
