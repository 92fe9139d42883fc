"""Bring a vault of TableVault 0.1 over, into a vault that is made for it.

1. The old vault is only read, and nothing in it is run: no module is imported, no pickle loaded.
2. The new vault is there as a whole, or not at all; nothing is put where something is.
3. Whatever is in the old vault is told of: what was brought over, what is different now, and what was left out.
4. An instance that was brought over is like one that was made here: immutable, with a checksum for every file. What 0.1
   recorded of it lies in its ``provenance/tablevault-0.1``.
"""

from __future__ import annotations

import ast
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from tablevault_like import founding
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.migration import draft
from tablevault_like.migration.instances import Bringer
from tablevault_like.migration.old import OldTable, OldVault, entries, is_file, source_files
from tablevault_like.migration.recording import Recorder
from tablevault_like.migration.report import Kind, Report
from tablevault_like.migration.scope import Made, Scope
from tablevault_like.operations import artifact_views
from tablevault_like.process.journal import Journal
from tablevault_like.storage import descriptions, files

_OF_A_VAULT = {".tablevault", "description.yaml", "code_functions", "metadata", "locks", "_temp"}
_OF_A_TABLE = {"description.yaml", "artifacts"}


def migrate(
    old: str | os.PathLike[str], new: str | os.PathLike[str], *, author: str = "", ignore_workers: bool = False
) -> Report:
    """Bring the vault of TableVault 0.1 at ``old`` over to ``new``, a folder that isn't there yet or is empty.

    Returns what was brought over and what could not be, item by item. ``author`` is who does this; by default the user
    of the operating system. ``ignore_workers`` goes on although 0.1 has processes under way whose workers seem to live.

    Raises TVArgumentError if there is no such vault at ``old`` or something is at ``new``, TVProcessError if a process
    of 0.1 is under way, and TVFileError if the old vault can't be read, was changed meanwhile, or the disk refuses.
    Nothing is at ``new`` then.
    """
    place = Path(new).absolute()
    place = place.parent.resolve() / place.name
    vault = OldVault(Path(old).resolve())
    if not ignore_workers:
        _refuse_workers(vault)
    draft.check_place(place)
    with draft.drafted(place) as folder:
        report = _Migration(Scope(vault, Layout(folder), author or founding.user(), time.time())).run()
        vault.check_unchanged()
    return report


def _refuse_workers(vault: OldVault) -> None:
    import psutil

    for process in vault.active:
        try:
            # One that is younger than the entry has only got the same number.
            is_alive = process.pid is not None and psutil.Process(process.pid).create_time() <= process.ended_at + 1
        except psutil.NoSuchProcess:
            is_alive = False
        except psutil.AccessDenied:
            is_alive = True
        if is_alive:
            raise TVProcessError(
                f"{vault.root} has a process under way: {process.process_id!r} ({process.operation} by "
                f"{process.author}), whose worker {process.pid} lives. Let it end, stop it, or end that worker; if the "
                "worker is something else (the vault was copied from another machine, say), give ignore_workers=True.",
                process_id=process.process_id,
            )


class _Migration:
    """One migration into an empty folder."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def run(self) -> Report:
        """Fill the folder, and return the report."""
        catalog = founding.fill(
            self._scope.layout, author=self._scope.author, description=self._scope.vault.description
        )
        try:
            self._bring_code()
            made = [self._bring_table(table) for table in self._scope.tables]
            self._tell_of_others()
            Recorder(self._scope).record(catalog, made)
            self._show_artifacts(catalog)
        finally:
            catalog.close()
        return self._scope.notes.report()

    def _bring_code(self) -> None:
        for name, path in source_files(self._scope.vault.code_functions, ".py").items():
            module = self._scope.names.module(name)
            files.copy_file(path, self._scope.layout.module(module))
            notes = [f"it is named {module!r} now, for a module must be importable"] if module != name else []
            self._scope.notes.brought(Kind.CODE_MODULE, name, [*notes, *_about_code(path)])
        for entry in entries(self._scope.vault.code_functions):
            if (
                not (entry.name.endswith(".py") and entry.is_file(follow_symlinks=False))
                and entry.name != "__pycache__"
            ):
                name = f"code_functions/{entry.name}"
                self._scope.notes.left_out(Kind.FILE, name, "it isn't a code module of 0.1, or is a link")

    def _bring_table(self, table: OldTable) -> tuple[OldTable, list[Made]]:
        name = self._scope.names.table(table.name)
        place = self._scope.layout.table(name)
        place.folder.mkdir()
        notes = [f"it is named {name!r} now, for its name can't be had"] if name != table.name else []
        if not is_file(table.folder / "description.yaml"):
            notes.append("its description.yaml is missing")
        self._scope.notes.brought(Kind.TABLE, table.name, notes)
        bringer = Bringer(self._scope)
        made = [found for each in table.instances if (found := bringer.bring(table, each)) is not None]
        descriptions.write_table(place, self._scope.table_record(table))
        return table, made

    def _tell_of_others(self) -> None:
        """Tell of all that lies in the old vault and isn't in its metadata."""
        known = {table.name for table in self._scope.tables}
        for entry in entries(self._scope.vault.root):
            if entry.name not in known | _OF_A_VAULT:
                why = "0.1's metadata names no such table" if entry.is_dir(follow_symlinks=False) else "it isn't 0.1's"
                self._scope.notes.left_out(Kind.FILE, entry.name, why)
        if any(True for _ in entries(self._scope.vault.trash)):
            name = self._scope.vault.trash.relative_to(self._scope.vault.root).as_posix()
            self._scope.notes.left_out(
                Kind.FILE, name, "what 0.1 keeps of deleted tables: their tables aren't among it"
            )
        for table in self._scope.tables:
            ids = {each.instance_id for each in table.instances}
            for entry in entries(table.folder):
                if entry.name not in ids | _OF_A_TABLE:
                    name = f"{table.name}/{entry.name}"
                    self._scope.notes.left_out(Kind.FILE, name, "0.1's metadata names no such instance")
            gone = table.artifact_instance
            if gone is not None and gone not in ids and any(True for _ in entries(table.artifacts)):
                name = f"{table.name}/artifacts"
                self._scope.notes.left_out(Kind.FILE, name, f"the instance that they belong to, {gone}, was deleted")

    def _show_artifacts(self, catalog: Catalog) -> None:
        """Let the folder of each table that has one set of artifacts show those of its newest instance."""
        for table in self._scope.tables:
            name = self._scope.names.table(table.name)
            artifact_views.follow(Journal(catalog, self._scope.layout, time.time), name, name=f"{name}-artifacts")


def _about_code(path: Path) -> Iterator[str]:
    """Tell what keeps a module from running here. It is parsed, never run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes(), path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        yield f"it isn't Python{line}: {error.msg if isinstance(error, SyntaxError) else error}"
        return
    for node in ast.walk(tree):
        imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported = [node.module]
        if any(name.partition(".")[0] == "tablevault" for name in imported):
            yield f"line {getattr(node, 'lineno', '?')} imports tablevault: let it import tablevault_like"
