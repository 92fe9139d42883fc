"""Find the vault that a command is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import Layout

VARIABLE = "TABLEVAULT_DB_DIR"


def find_vault(given: str | None, environment: Mapping[str, str]) -> Path:
    """Return the vault that was named by option or by environment; else the one that holds the current directory.

    Raises TVArgumentError if there is none.
    """
    named = Path(given) if given else named_vault(environment)
    if named is not None:
        if not Layout(named).marker.is_file():
            what = "is not a vault" if named.exists() else "does not exist"
            source = "" if given else f" (from {VARIABLE})"
            raise TVArgumentError(f"{named}{source} {what}. Create a vault there with `tvl init {named}`.")
        return named
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise TVArgumentError("The current directory is gone. Change to one that is there, or give --db-dir.") from None
    found = next((folder for folder in (here, *here.parents) if Layout(folder).marker.is_file()), None)
    if found is None:
        raise TVArgumentError(
            f"No vault holds {here}. Name one with --db-dir or {VARIABLE}, or create one with `tvl init`."
        )
    return found


def named_vault(environment: Mapping[str, str]) -> Path | None:
    """Return the vault that the environment names, ``None`` if it names none."""
    return Path(environment[VARIABLE]) if environment.get(VARIABLE) else None
