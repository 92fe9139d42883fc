"""Ask the person at the terminal."""

from __future__ import annotations

import sys

from tablevault_like.cli.output import visible, write


def is_confirmed(question: str) -> bool:
    """Ask a question on stderr, and tell whether the next line of stdin says yes."""
    write(visible(f"{question} [y/N] "), sys.stderr)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
