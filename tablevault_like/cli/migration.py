"""The command that brings a vault of TableVault 0.1 over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.options import Author
from tablevault_like.cli.output import Cell, Listing
from tablevault_like.cli.session import Session

if TYPE_CHECKING:
    from tablevault_like.migration import Report

_STYLES = {"changed": "yellow", "left out": "red"}


@dataclass(frozen=True)
class _Migrating(Session):
    """A command that makes a vault of another one."""

    author: Author = None


@command("migrate", panel=Panel.VAULT, example="tvl migrate old_vault my_vault")
def migrate(
    session: _Migrating,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The folder of a vault of TableVault 0.1.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Where the new vault is to be: nothing may be there yet.")],
    *,
    ignore_workers: Annotated[
        bool, typer.Option("--ignore-workers", help="Go on although a worker of the old vault seems to live.")
    ] = False,
) -> None:
    """Bring a vault of TableVault 0.1 over, into a new one.

    The old vault is only read, and none of its code is run. What was brought over is listed, what is different now, and
    what was left out. If anything goes wrong, there is no new vault.
    """
    from tablevault_like import migration

    report = migration.migrate(old, new, author=session.author or "", ignore_workers=ignore_workers)
    document = {
        "old": old,
        "new": new,
        "items": [
            {"kind": item.kind, "name": item.name, "outcome": item.outcome, "notes": item.notes} for item in report
        ],
    }
    session.output.give(document, lambda: [_listing(report), report.summary()])


def _listing(report: Report) -> Listing:
    """Return what became of everything, but for the processes of which there is nothing to tell."""
    from tablevault_like.migration import Kind, Outcome

    rows: list[list[Cell]] = []
    for item in report:
        if item.kind is not Kind.PROCESS or item.outcome is not Outcome.BROUGHT:
            first, *others = item.notes or ("",)
            rows.append([(item.outcome, _STYLES.get(item.outcome, "")), item.kind, item.name, first])
            rows += [["", "", "", note] for note in others]
    return Listing(("OUTCOME", "WHAT", "NAME", "NOTE"), rows)
