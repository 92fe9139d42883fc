"""Hold the files of an instance to its manifest, the manifest to the catalog, and its table to what both say.

Nothing in it is run, unpickled or imported, and no link in it is followed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tablevault_like.check.damage import sentence
from tablevault_like.check.facts import KnownInstance
from tablevault_like.check.findings import About, Finding, Kind, shown, told
from tablevault_like.check.looking import FILE, FOLDER, IS_LINK, LINK, MISSING, PUT_IT_THERE, entries, kind_of, links
from tablevault_like.errors import TableVaultError, TVFileError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import Column
from tablevault_like.storage import files
from tablevault_like.storage.documents import parsed

_CHUNK = 1 << 20
_TOLD_FILES = 20
"""How many files of an instance are told one by one."""
_UNCHANGING = ("instance", "version", "success", "external_edit", "created_at", "rows", "columns")
"""What a manifest and the catalog both say of an instance, and what never changes."""


@dataclass(frozen=True)
class InstanceCheck:
    """Looks at one instance of the vault at ``root``. ``tell`` is told how many bytes were read."""

    root: Path
    table_name: str
    place: InstanceLayout
    known: KnownInstance
    contents: bool
    tell: Callable[[int], None]

    def find(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        kind = kind_of(self.place.folder)
        if kind != FOLDER:
            yield self._corrupt(self.place.folder, f"The folder of the instance is {kind}.", self._restore)
        elif self.known.is_temporary:
            yield from self._find_in_temporary()
        else:
            yield from self._find_in_materialized()

    # --- a temporary instance: people edit it, so there is little to hold it to

    def _find_in_temporary(self) -> Iterator[Finding]:
        place = self.place
        for folder in (place.builders, place.artifacts, place.results):
            if (kind := kind_of(folder)) not in (FOLDER, MISSING, LINK):
                yield self._corrupt(folder, f"There is {kind} where a folder should be.", "Put the folder back.")
        linked = set(links(place.folder, besides=(place.results,)))
        for path in sorted(linked):
            yield self._corrupt(path, IS_LINK, PUT_IT_THERE)
        yield from self._find_in_results()
        if kind_of(place.builders) != FOLDER:
            return
        try:
            found = sorted(os.scandir(place.builders), key=lambda entry: entry.name)
        except OSError as error:
            yield self._about.unchecked(place.builders, error)
            return
        for entry in found:
            path = Path(entry.path)
            if path.suffix != ".yaml" or path in linked:
                continue
            try:
                with files.opened(path) as descriptor:
                    _read(descriptor).decode("utf-8")
            except UnicodeDecodeError:
                yield self._corrupt(
                    path, "The builder file isn't text.", "Write it anew, or restore it from a backup.", weight=True
                )
            except (TVFileError, OSError) as error:
                if isinstance(error, FileNotFoundError):
                    continue  # it was deleted in this moment
                yield self._of_error(path, error, "Put a builder file there.")

    def _find_in_results(self) -> Iterator[Finding]:
        """Yield what is wrong with results that were imported: rows are taken over from them."""
        if kind_of(self.place.results) != FOLDER:
            return
        from tablevault_like.bundles import opening  # these take long to import
        from tablevault_like.operations.imported import result_folders

        try:
            folders = result_folders(self.place)
        except OSError as error:
            yield self._about.unchecked(self.place.results, error)
            return
        for folder in folders:
            where = shown(folder, self.root)
            for found in opening.damage(folder, folder.name, contents=self.contents):
                yield self._corrupt(
                    found.path,
                    sentence(found.what),
                    f"Remove the folder {where}, and import the bundle anew: nothing else is lost.",
                )

    # --- a materialized instance

    def _find_in_materialized(self) -> Iterator[Finding]:
        manifest = self.place.manifest
        try:
            with files.opened(manifest) as descriptor:
                raw = _read(descriptor)
        except OSError as error:
            yield self._of_error(manifest, error, self._restore)
            return
        self.tell(len(raw))
        if hashlib.sha256(raw).hexdigest() != self.known.manifest_sha256:
            yield self._corrupt(
                manifest,
                "The manifest isn't the one that the catalog knows, so the files of the instance can't be verified.",
                self._restore,
            )
            return
        try:
            said = parsed(raw)
            listed = _listed(said)
        except ValueError as error:
            yield self._corrupt(manifest, f"The manifest can't be read ({told(error)}).", self._restore)
            return
        yield from self._find_differences(said)
        damaged = set[str]()
        wrong = list[Finding]()
        folders = self._folders(listed)
        for name in sorted(each for each in folders if kind_of(self.place.folder / each) == LINK):
            yield self._corrupt(self.place.folder / name, IS_LINK, PUT_IT_THERE)
            damaged |= {each for each in listed if each.startswith(f"{name}/")}
        for finding, name in self._find_in_files({name: each for name, each in listed.items() if name not in damaged}):
            damaged.add(name)
            wrong.append(finding)
        yield from wrong[:_TOLD_FILES]
        if len(wrong) > _TOLD_FILES:
            more = f"{len(wrong) - _TOLD_FILES} more files of the instance are missing or damaged."
            yield self._corrupt(self.place.folder, more, self._restore)
        yield from self._find_extra(listed, folders)
        if self.place.table.name not in damaged:
            yield from self._find_in_table()

    def _find_differences(self, manifest: Mapping[str, Any]) -> Iterator[Finding]:
        known = self.known
        said = {
            "instance": known.instance_id,
            "version": known.version,
            "success": known.success,
            "external_edit": known.external_edit,
            "created_at": known.created_at,
            "rows": known.rows,
            "columns": [[column.name, column.dtype] for column in known.columns],
        }
        for name in _UNCHANGING:
            if name in manifest and manifest[name] != said[name]:
                yield self._corrupt(
                    self.place.manifest,
                    f"The catalog and the manifest differ in {name!r}: {said[name]!r:.80} and {manifest[name]!r:.80}.",
                    "The manifest has the right checksum. Restore the catalog from a backup, or make it anew with "
                    "tvl check --rebuild-catalog --force.",
                )

    def _find_in_files(self, listed: Mapping[str, tuple[str, int]]) -> Iterator[tuple[Finding, str]]:
        for name, (digest, size) in sorted(listed.items()):
            path = self.place.folder.joinpath(*name.split("/"))
            if (finding := self._find_in_file(path, digest, size)) is not None:
                yield finding, name

    def _find_in_file(self, path: Path, digest: str, size: int) -> Finding | None:
        try:
            for parent in path.relative_to(self.place.folder).parents:
                if (kind := kind_of(self.place.folder / parent)) not in (FOLDER, MISSING):
                    return self._corrupt(path, f"It can't be reached: {parent} is {kind}.", self._restore)
            with files.opened(path) as descriptor:
                found = os.fstat(descriptor).st_size
                if found != size:
                    return self._corrupt(path, f"It has {found:,} bytes instead of {size:,}.", self._restore)
                if self.contents and files.sha256(descriptor) != digest:
                    return self._corrupt(path, "Its content isn't what its checksum says.", self._restore)
        except OSError as error:
            return self._of_error(path, error, self._restore)
        if self.contents:
            self.tell(size)
        return None

    def _folders(self, listed: Collection[str]) -> set[str]:
        """Return the folders that an instance of these files has, relative to its own."""
        folders = {"/".join(name.split("/")[:end]) for name in listed for end in range(1, name.count("/") + 1)}
        # An instance without artifacts has a folder for them all the same.
        folders |= {each.name for each in (self.place.artifacts, self.place.builders, self.place.code)}
        return folders | {self.place.provenance.name}

    def _find_extra(self, listed: Collection[str], folders: Collection[str]) -> Iterator[Finding]:
        own = self.place.manifest.name
        for name, kind in _walk(self.place.folder, ""):
            if name != own and name not in listed and not (kind in (FOLDER, LINK) and name in folders):
                yield self._about.finding(
                    Kind.UNKNOWN,
                    self.place.folder / name,
                    "It lies in a materialized instance, and its manifest doesn't have it.",
                    "Move it away: an instance never changes.",
                    has_weight=True,
                )

    def _find_in_table(self) -> Iterator[Finding]:
        """Yield what differs between the Parquet file and the catalog."""
        path = self.place.table
        try:
            columns, rows = _columns_of(path)
        except (TableVaultError, OSError, ValueError, MemoryError, TypeError, KeyError, RecursionError) as error:
            yield self._corrupt(path, f"The table can't be read ({told(error)}).", self._restore)
            return
        if (columns, rows) != (self.known.columns, self.known.rows):
            yield self._corrupt(
                path,
                f"The table has {rows:,} rows of {len(columns)} columns, which isn't what the catalog says of it.",
                "Restore the catalog from a backup, or make it anew with tvl check --rebuild-catalog --force.",
            )

    # --- findings

    @property
    def _restore(self) -> str:
        """Return the ways on where something is lost."""
        table, instance = self.table_name, self.known.instance_id
        delete = f"delete the instance: delete_instance({instance!r}, {table!r})"
        if self.known.is_temporary:
            return f"Restore it from a backup, or {delete}."
        return f"Restore it from a backup or from a bundle of the instance, or {delete}."

    @property
    def _about(self) -> About:
        return About(self.root, self.table_name, self.known.instance_id)

    def _corrupt(self, path: Path, what: str, to_do: str, *, weight: bool | None = None) -> Finding:
        return self._about.finding(Kind.CORRUPTION, path, what, to_do, has_weight=weight)

    def _of_error(self, path: Path, error: OSError, to_do: str) -> Finding:
        kind = kind_of(path)
        if kind in (FILE, FOLDER) and not isinstance(error, TVFileError):
            return self._about.unchecked(path, error)
        what = "It is missing." if kind == MISSING else f"It is {kind}, and should be a file."
        return self._corrupt(path, what, to_do)


def _columns_of(path: Path) -> tuple[tuple[Column, ...], int]:
    from tablevault_like.storage import tables  # it takes long to import

    return tables.read_columns(path)


def _listed(manifest: object) -> dict[str, tuple[str, int]]:
    """Return the files of a manifest. Raises ValueError if it isn't one."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError("it isn't a manifest")
    found = {}
    for name, each in manifest["files"].items():
        parts = name.split("/")
        if not isinstance(each, dict) or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ValueError(f"the file {name!r} in it is none")
        if not isinstance(each.get("sha256"), str) or not isinstance(each.get("size"), int):
            raise ValueError(f"the file {name!r} in it has no checksum or no size")
        found[name] = (each["sha256"], each["size"])
    return found


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield all names below a folder, relative to it, and what stands there. No link is followed."""
    try:
        found = entries(folder)
    except OSError:
        return  # what is listed in it was told already
    for path in found:
        kind = kind_of(path)
        yield prefix + path.name, kind
        if kind == FOLDER:
            yield from _walk(path, f"{prefix}{path.name}/")


def _read(descriptor: int) -> bytes:
    parts = []
    while chunk := os.read(descriptor, _CHUNK):
        parts.append(chunk)
    return b"".join(parts)
