"""Read a materialized instance for an archive. It never changes, but it may be moved: renamed with its table, deleted.

Every file is held to the manifest, and the manifest to the catalog, so what is damaged is never archived.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tablevault_like.archive.contents import Placed
from tablevault_like.archive.spool import DEEPEST, LeftOut
from tablevault_like.catalog import Catalog, instances, tables
from tablevault_like.errors import TVFileError
from tablevault_like.layout import InstanceLayout, Layout
from tablevault_like.storage import manifests, places
from tablevault_like.tapes.members import Member


class Vanished(Exception):  # noqa: N818 - no error for whoever begins anew
    """Tell that an instance was deleted for good since the catalog was read."""


@dataclass(frozen=True, slots=True)
class Size:
    """What an instance has: files, folders, and bytes in the files."""

    files: int
    folders: int
    total: int


class FinishedInstance:
    """The files of one materialized instance, wherever they are by now."""

    def __init__(self, layout: Layout, catalog: Catalog, placed: Placed) -> None:
        self._layout = layout
        self._catalog = catalog
        self._placed = placed
        self._place = InstanceLayout(layout.root / placed.name)

    @property
    def name(self) -> str:
        return self._placed.name

    def size(self) -> Size:
        """Return what is to be expected of ``members``. Raises as that does."""
        found = [member for member in self.members() if isinstance(member, Member)]
        files = [member for member in found if not member.is_folder]
        return Size(len(files), len(found) - len(files), sum(member.size for member in files))

    def members(self) -> Iterator[Member | LeftOut]:
        """Yield every folder and file, each folder before what is in it; and what else lies there.

        Raises TVFileError if the manifest or a file of it is missing or isn't what the catalog knows, and Vanished if
        the instance is gone for good.
        """
        listed, found = self._manifest(), self._folder().lstat()
        yield _member(self.name, found, is_folder=True)
        missing = {*listed} - {self._place.manifest.name}
        for inner, at in list(self._walk(self._place.folder, "")):  # at once, before it is moved
            if stat.S_ISDIR(at.st_mode):
                yield _member(f"{self.name}/{inner}", at, is_folder=True)
            elif not stat.S_ISREG(at.st_mode) or inner not in listed:
                yield LeftOut(f"{self.name}/{inner}", "the manifest of its instance doesn't have it")
            elif at.st_size != listed[inner]["size"]:
                raise self._damage(inner, f"has {at.st_size:,} bytes instead of {listed[inner]['size']:,}")
            else:
                missing.discard(inner)
                yield _member(f"{self.name}/{inner}", at, is_folder=False, sha256=listed[inner]["sha256"])
        for inner in sorted(missing):
            raise self._damage(inner, "is missing")

    def open(self, member: Member) -> int:
        """Open a file of the instance, wherever that is by now, and return the descriptor."""
        inner = member.name.removeprefix(f"{self.name}/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._place.folder / inner, flags)
        except FileNotFoundError:
            return os.open(self._folder() / inner, flags)

    def damaged(self, member: Member) -> TVFileError:
        """Return the error for a file whose content isn't what the manifest says."""
        return self._damage(member.name.removeprefix(f"{self.name}/"), "isn't what it was when the instance was made")

    def _manifest(self) -> dict[str, Any]:
        """Return what the manifest lists: size and SHA-256 by name, the manifest itself among it."""
        path = self._folder() / self._place.manifest.name
        raw = path.read_bytes()
        digest = hashlib.sha256(raw).hexdigest()
        if digest != self._placed.record.manifest_sha256:
            raise self._damage(path.name, "isn't what it was when the instance was made")
        listed = dict(manifests.read(path)["files"])
        listed[path.name] = {"size": len(raw), "sha256": digest}
        return listed

    def _folder(self) -> Path:
        """Return the folder, after looking where it is by now."""
        for folder in self._candidates():
            if (folder / self._place.manifest.name).is_file():
                self._place = InstanceLayout(folder)
                return folder
        record = self._placed.record
        with self._catalog.snapshot() as db:
            table = tables.find_by_id(db, record.table_id)
            if table is None or instances.find(db, table.name, record.instance_id) is None:
                raise Vanished(self.name)
        raise self._damage(self._place.manifest.name, "is missing")

    def _candidates(self) -> Iterator[Path]:
        """Yield where the folder may be: in its table, whatever that is called by now, or in the trash."""
        record = self._placed.record
        yield self._place.folder
        with self._catalog.snapshot() as db:
            table = tables.find_by_id(db, record.table_id)
        if table is not None:
            yield places.table_layout(self._layout, table).instance(record.instance_id).folder
        try:
            thrown = sorted(self._layout.trash.iterdir())
        except FileNotFoundError:
            return
        for path in thrown:
            if record.instance_id in path.name:
                yield path
            yield path / record.instance_id

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield what is below a folder, in order, by its path in the instance."""
        if prefix.count("/") > DEEPEST:
            raise self._damage(prefix, f"lies {DEEPEST} folders deep, which no archive can hold")
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            at = entry.stat(follow_symlinks=False)
            yield f"{prefix}{entry.name}", at
            if stat.S_ISDIR(at.st_mode):
                yield from self._walk(Path(entry.path), f"{prefix}{entry.name}/")

    def _damage(self, inner: str, what: str) -> TVFileError:
        path, record = self._place.folder / inner, self._placed.record
        return TVFileError(
            f"{path} {what}, so nothing was archived. Restore the file from a backup, or delete the instance with "
            f"delete_instance({record.instance_id!r}, {record.table_name!r}).",
            path=path,
        )


def _member(name: str, found: os.stat_result, *, is_folder: bool, sha256: str | None = None) -> Member:
    return Member(
        name,
        is_folder,
        0 if is_folder else found.st_size,
        stat.S_IMODE(found.st_mode) & 0o777,
        max(0, int(found.st_mtime)),
        sha256,
    )
