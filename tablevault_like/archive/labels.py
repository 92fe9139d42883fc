"""The label of an archive: its first member, which says what is to be expected of the others.

So whoever restores it knows before anything is written how much it will be, and that nothing is missing in the end.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tablevault_like.tapes.members import Unfit

NAME = "tablevault-archive.json"
LONGEST = 64 << 10

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Label:
    """What an archive holds: a folder of that name, with so many files and folders, and bytes in the files."""

    vault: str
    files: int
    folders: int
    total: int

    def to_json(self) -> bytes:
        """Return it as it is written."""
        return (json.dumps({"tablevault_like_archive": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Label:
        """Read what ``to_json`` wrote. Raises Unfit for anything else."""
        try:
            found = json.loads(raw)
            version = found["tablevault_like_archive"]
            label = cls(str(found["vault"]), *(_count(found[name]) for name in ("files", "folders", "total")))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Unfit("its label is damaged") from None
        if version != _FORMAT:
            raise Unfit(f"it has the format {version!r}, and this release of tablevault_like knows {_FORMAT}")
        return label


def _count(found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(found)
    return found
