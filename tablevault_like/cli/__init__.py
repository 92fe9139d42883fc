"""The command line: ``tvl``, and by its long name ``tablevault-like``.

``app`` is the Typer application. Each module named after a subject holds its commands; ``main`` runs them.
"""

import sys
from pathlib import Path

from tablevault_like.cli import (  # noqa: F401 - imported for the commands that they register
    archive,
    bundles,
    chaos,
    checking,
    comparing,
    contents,
    execution,
    failures,
    housekeeping,
    instances,
    migration,
    monitoring,
    processes,
    show,
    sources,
    tables,
    vaults,
)
from tablevault_like.cli.app import Panel, app

# Panels come in the order of their first commands.
app.registered_commands.sort(key=lambda command: list(Panel).index(Panel(str(command.rich_help_panel))))

__all__ = ["app", "main"]

_NAMES = ("tvl", "tablevault-like")


def main() -> None:
    """Run the command line, and exit with the code that tells how it went."""
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding lacks is shown as an escape, not an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    name = Path(sys.argv[0]).name
    app(prog_name=name if name in _NAMES else _NAMES[0])
