"""Look at what lies around the tables: the marker, the code, what processes have left, and the trash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tablevault_like.check.facts import Facts
from tablevault_like.check.findings import About, Finding, Kind, told
from tablevault_like.check.looking import (
    FILE,
    FOLDER,
    IS_LINK,
    LINK,
    MISSING,
    PUT_IT_THERE,
    entries,
    identity,
    kind_of,
    links,
)
from tablevault_like.layout import FORMAT_VERSION, InstanceLayout, Layout, is_instance_folder
from tablevault_like.locks import is_held
from tablevault_like.model import RESERVED_NAMES
from tablevault_like.operations.importing import ImportInstance, noted_folder
from tablevault_like.storage import drafts, files

KEPT_CATALOG = re.compile(r"catalog-[0-9]{8}T[0-9]{6}Z(~[0-9]+)?")
"""The folder in the trash that keeps a catalog in whose place another was put."""
_SIDECAR = "-journal"
_VIEW = re.compile(r"(.+)-artifacts(~[0-9]+)?")


@dataclass(frozen=True)
class SurroundingsCheck:
    """Looks at everything in a vault that isn't in a table or in a live process's folder."""

    facts: Facts

    def find(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        yield from self._find_links()
        yield from self._find_in_marker()
        yield from self._find_in_root()
        yield from self._find_in_code()
        yield from self._find_in_metadata()
        yield from self._find_in_processes()
        yield from self._find_in_trash()

    @property
    def _about(self) -> About:
        return About(self._layout.root)

    @property
    def _layout(self) -> Layout:
        return self.facts.layout

    def _find_links(self) -> Iterator[Finding]:
        """Yield the links in the place of what nobody else looks at, and the code modules that lie elsewhere."""
        layout = self._layout
        for path in (layout.metadata, layout.catalog.with_name(layout.catalog.name + _SIDECAR), layout.description):
            if kind_of(path) == LINK:
                yield self._about.finding(Kind.CORRUPTION, path, IS_LINK, PUT_IT_THERE)
        if kind_of(layout.reserve) not in (FILE, MISSING):
            yield self._about.finding(
                Kind.CORRUPTION,
                layout.reserve,
                f"There is {kind_of(layout.reserve)} where the file should be that keeps room for a full disk.",
                "Remove it: it is made again when the next process begins.",
            )
        if kind_of(layout.code_functions) == FOLDER:
            inside = layout.code_functions.resolve()
            for path in links(layout.code_functions):
                if not _leads_into(path, inside):
                    yield self._about.finding(
                        Kind.CORRUPTION,
                        path,
                        "It is a link that leads out of the folder of code modules, so no builder can use it.",
                        "Copy the file itself there.",
                        has_weight=True,
                    )

    def _find_in_marker(self) -> Iterator[Finding]:
        marker = self._layout.marker
        wanted = f"tablevault_like {FORMAT_VERSION}\n".encode()
        try:
            with files.opened(marker) as descriptor, open(descriptor, "rb", closefd=False) as file:
                found = file.read(1000)
        except OSError as error:
            found = b""
            what = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({told(error)})"
        else:
            what = "isn't what it should be"
        if found.strip() != wanted.strip():
            yield self._about.finding(
                Kind.CORRUPTION,
                marker,
                f"The file that marks the vault {what}.",
                f"Write {wanted.decode().strip()!r} into it.",
            )

    def _find_in_root(self) -> Iterator[Finding]:
        layout = self._layout
        known = {each.name for each in (layout.marker, layout.description, layout.code_functions, layout.metadata)}
        known |= self.facts.table_folders | self._coming_folders()
        for path in self._entries(layout.root):
            if path.name in known:
                continue
            if path.name in self.facts.deleted_folders and kind_of(path) == FOLDER:
                yield self._about.finding(
                    Kind.UNFINISHED,
                    path,
                    "The folder of a deleted table isn't in the trash yet.",
                    "It is moved there when the vault is next restarted, or by check(repair=True).",
                    mended="It was moved to the trash.",
                    trace=identity(path),
                )
            elif kind_of(path) == FOLDER and (held := _instances_in(path)):
                yield self._about.finding(
                    Kind.UNKNOWN,
                    path,
                    f"The catalog knows of no such table, and {held} lies in it.",
                    "If it is a table of this vault, its catalog is an old one, or damaged: restore the newest, or "
                    "make it anew with tvl check --rebuild-catalog --force. Else move it away.",
                    has_weight=True,
                    trace=identity(path),
                )
            else:
                yield self._stranger(path)

    def _coming_folders(self) -> set[str]:
        """Return the folders of tables that imports under way are about to publish."""
        live = self.facts.live.values()
        imports = [each.process_id for each in live if each.operation == ImportInstance.name]
        noted = (noted_folder(self._layout.process(process_id)) for process_id in imports)
        return {name for name in noted if name is not None}

    def _find_in_code(self) -> Iterator[Finding]:
        folder = self._layout.code_functions
        if (kind := kind_of(folder)) == MISSING:
            yield self._about.finding(
                Kind.UNFINISHED,
                folder,
                "The folder for code modules is missing.",
                "Make it, or have check(repair=True) make it.",
                mended="It was made.",
            )
        elif kind != FOLDER:
            yield self._about.finding(
                Kind.CORRUPTION, folder, f"There is {kind} where the code modules should be.", "Put a folder there."
            )

    def _find_in_metadata(self) -> Iterator[Finding]:
        layout = self._layout
        catalog = layout.catalog.name
        known = {catalog, catalog + _SIDECAR, layout.reserve.name, layout.processes.name, layout.trash.name}
        for path in self._entries(layout.metadata):
            if drafts.is_draft(path, layout.catalog):
                if drafts.is_held(path):
                    continue
                yield self._about.finding(
                    Kind.LITTER,
                    path,
                    "A rebuild of the catalog was cut short.",
                    "Begin it again with tvl check --rebuild-catalog, or have check(repair=True) remove this.",
                    mended="It was removed.",
                    trace=identity(path),
                )
            elif path.name not in known:
                yield self._stranger(path)

    def _find_in_processes(self) -> Iterator[Finding]:
        folder = self._layout.processes
        if kind_of(folder) not in (FOLDER, MISSING):
            yield self._about.finding(
                Kind.CORRUPTION,
                folder,
                f"There is {kind_of(folder)} where the folders of processes should be.",
                "Put a folder there.",
            )
            return
        waiting = {each.process_id for each in self.facts.waiters}
        for path in self._entries(folder):
            if path.name in self.facts.live or path.name in waiting:
                continue
            yield from self._find_left(path)

    def _find_left(self, path: Path) -> Iterator[Finding]:
        """Yield what is to be told of the folder of a process that has ended, or that isn't known."""
        place = self._layout.process(path.name)
        if kind_of(path) != FOLDER:
            yield self._stranger(path)
            return
        try:
            if is_held(place.worker_lock):
                return
            found = {each.name for each in entries(path)}
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                yield self._about.unchecked(path, error)
            return
        is_named = self.facts.ended.get(path.name)
        kept = {place.output_log.name} | ({place.worker_lock.name} if is_named else set())
        if found <= kept and (is_named or found):
            return
        if found and place.worker_lock.name not in found:
            yield self._stranger(path)
            return
        yield replace(self._about, process_id=path.name).finding(
            Kind.LITTER,
            path,
            "A process that has ended has left this."
            if path.name in self.facts.ended
            else "A process that was killed before it was recorded has left this.",
            "It is removed when the vault is next restarted, or by check(repair=True).",
            mended="It was removed.",
            trace=identity(path),
        )

    def _find_in_trash(self) -> Iterator[Finding]:
        folder = self._layout.trash
        if kind_of(folder) not in (FOLDER, MISSING):
            yield self._about.finding(
                Kind.CORRUPTION, folder, f"There is {kind_of(folder)} where the trash should be.", "Put a folder there."
            )
            return
        for path in self._entries(folder):
            if kind_of(path) != FOLDER or not self._is_ours(path.name):
                yield self._stranger(path)

    def _is_ours(self, name: str) -> bool:
        """Tell whether something in the trash has a name that the vault has given it."""
        plain, tilde, number = name.rpartition("~")
        if tilde and number.isdecimal():
            name = plain
        if KEPT_CATALOG.fullmatch(name) or name in self.facts.ended or name in self.facts.live:
            return True
        view = _VIEW.fullmatch(name)
        names = self.facts.ended.keys() | self.facts.live.keys()
        if view is not None and (view[1] in self.facts.by_name or view[1] in names):
            return True
        return any(name[at] == "-" and is_instance_folder(name[at + 1 :]) for at in range(1, len(name) - 1))

    def _entries(self, folder: Path) -> list[Path]:
        try:
            return entries(folder)
        except OSError:
            return []  # it is told elsewhere, or there is nothing in it

    def _stranger(self, path: Path) -> Finding:
        return self._about.finding(
            Kind.UNKNOWN,
            path,
            "It isn't the vault's own.",
            "Move it away, unless it is meant to be there: it is never touched.",
            trace=identity(path),
        )


def _leads_into(link: Path, folder: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(folder)
    except (OSError, RuntimeError):
        return False


def _instances_in(folder: Path) -> str:
    """Return in words how many instances lie in a folder; an empty text for none."""
    if folder.name in RESERVED_NAMES:
        return ""
    try:
        count = sum(
            is_instance_folder(path.name) and InstanceLayout(path).manifest.exists() for path in entries(folder)
        )
    except OSError:
        return ""
    return "" if count == 0 else "an instance" if count == 1 else f"{count} instances"
