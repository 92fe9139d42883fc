"""What a process is, kept in its own folder: so that it can go on even if the catalog is lost.

It is written when the inputs of the process are kept, and again by whoever goes on with it, in place of what was there.
It is synced if the process can be gone on with; one that is reverted by the next who comes may lose it with the power.
Nothing but the rebuild of a catalog ever reads it. A checksum of its own tells whether it is what was written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tablevault_like.catalog import Database, locks, processes
from tablevault_like.errors import TVFileError
from tablevault_like.layout import ProcessLayout
from tablevault_like.model import LockMode, LockRequest, Resource
from tablevault_like.process.operation import Operation
from tablevault_like.process.run import Run
from tablevault_like.storage import files

FORMAT = 1
_LONGEST = 1 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What a process is. ``locks`` are those that it holds until it ends."""

    process_id: str
    operation: str
    arguments: Mapping[str, Any]
    author: str
    named: bool
    parent_id: str | None
    created_at: float
    epoch: int
    locks: tuple[LockRequest, ...]

    @classmethod
    def of(cls, db: Database, run: Run, operation: Operation) -> Memory:
        """Return what the process of a run is."""
        row = processes.get(db, run.process_id)
        return cls(
            run.process_id,
            row.operation,
            operation.arguments(),
            row.author,
            row.named,
            row.parent_id,
            row.created_at,
            run.epoch,
            tuple(locks.held_by(db, run.process_id, until_its_end=True)),
        )

    @classmethod
    def read(cls, folder: ProcessLayout) -> Memory:
        """Read what a process has kept. Raises TVFileError if it is missing or damaged."""
        try:
            with files.opened(folder.record) as descriptor, open(descriptor, "rb", closefd=False) as file:
                found = json.loads(file.read(min(os.fstat(descriptor).st_size, _LONGEST)))
            if found.pop("sha256") != _checksum(found) or found["format"] != FORMAT:
                raise ValueError("its checksum is wrong")
            return cls(
                found["process_id"],
                found["operation"],
                found["arguments"],
                found["author"],
                found["named"],
                found["parent_id"],
                found["created_at"],
                found["epoch"],
                tuple(LockRequest(Resource(*path), LockMode(mode)) for path, mode in found["locks"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TVFileError(f"{folder.record} can't be read ({error}).", path=folder.record) from error

    def draft(self, folder: ProcessLayout, *, is_durable: bool = True) -> Path:
        """Write it, synced if it is to be durable, and return where: to be put in its place."""
        found = {
            "format": FORMAT,
            **{each.name: getattr(self, each.name) for each in dataclasses.fields(self)},
            "locks": [[list(request.resource.path), request.mode] for request in self.locks],
        }
        path = folder.record.with_suffix(f".{self.epoch}.new")
        files.remove(path)
        files.write_file(path, json.dumps({**found, "sha256": _checksum(found)}), sync=is_durable)
        return path


def _checksum(found: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
