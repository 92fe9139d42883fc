"""The command that creates a vault."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.options import Author, Description
from tablevault_like.cli.output import note
from tablevault_like.cli.places import named_vault
from tablevault_like.cli.session import Session
from tablevault_like.vault import TableVault


@dataclass(frozen=True)
class _Founding(Session):
    """A command that makes a vault."""

    author: Author = None


@command("init", panel=Panel.VAULT, example="tvl init my_vault --description 'Stories and what models say of them'")
def init(
    session: _Founding,
    folder: Annotated[
        str | None,
        typer.Argument(metavar="DIR", help="Where; by default what --db-dir names, or the current directory."),
    ] = None,
    *,
    description: Description = "",
    replace: Annotated[bool, typer.Option("--replace", help="Delete the vault that is there first.")] = False,
) -> None:
    """Create a vault in a folder that is empty, or isn't there yet."""
    given = folder or session.db_dir
    place = (Path(given) if given else named_vault(os.environ) or Path()).absolute()
    TableVault(place, session.author, description, create=True, replace=replace)
    session.output.give({"db_dir": str(place)}, lambda: f"Created a vault in {place}.")
    if _is_gone(Path()):
        note("Your shell is still in the folder that was here before. Change to the new one with: cd .")


def _is_gone(folder: Path) -> bool:
    """Tell whether a folder is open here but has no name any more: a vault takes the place of an empty folder."""
    try:
        return folder.stat().st_nlink == 0
    except FileNotFoundError:
        return True
