"""The command that kills a table's builders on a sample, and tells whether they survive it."""

from __future__ import annotations

from typing import Annotated

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.documents import document, parts
from tablevault_like.cli.errors import ExitCode
from tablevault_like.cli.options import Table, TemporaryVersion
from tablevault_like.cli.questions import is_confirmed
from tablevault_like.cli.session import Session
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import BASE_VERSION


@command("chaos", panel=Panel.INSTANCES, example="tvl chaos stories --sample 20 --kills 10", runs_user_code=True)
def chaos(
    session: Session,
    table: Table,
    *,
    version: TemporaryVersion = BASE_VERSION,
    sample: Annotated[int, typer.Option("--sample", min=1, metavar="ROWS", help="So many rows.")] = 20,
    kills: Annotated[int, typer.Option("--kills", min=1, metavar="COUNT", help="So many kills.")] = 10,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="NUMBER", help="Kill at the points of that seed again.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long one run may take.")
    ] = 600.0,
    scratch: Annotated[
        str, typer.Option("--scratch", metavar="DIR", help="Put the copy there; by default beside the vault.")
    ] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the copies, to look into.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Kill the builders of a temporary instance on a sample, resume them, and tell whether it comes out the same.

    All of it happens in a copy; the vault isn't changed. But the builders' functions are really called, with what they
    cost and what they do elsewhere: for each row up to --kills + 2 times, and more if it was inside its function at a
    kill.

    The exit code is 1 if anything is violated.
    """
    question = (
        f"The builders' functions are really called, up to {kills + 2} times for each of {sample} rows and more, with "
        "all that they cost and do outside of the vault. Go on?"
    )
    if not yes and not is_confirmed(question):
        raise TVArgumentError("Nothing was run: that wasn't confirmed. With --yes nobody is asked.")
    with session.output.reserved():
        report = session.vault.chaos(
            table,
            version=version,
            sample=sample,
            kills=kills,
            seed=seed,
            timeout=timeout,
            scratch=scratch,
            keep=keep,
        )
    given = {"verdict": report.verdict, "is_sound": report.is_sound, **document(report)}
    session.output.give(given, lambda: parts(report))
    if not report.is_sound:
        raise typer.Exit(ExitCode.DEFECT)
