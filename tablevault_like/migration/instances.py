"""Bring one instance over: its table, artifacts, builders and code, into a folder of the new vault.

A materialized instance gets a manifest, as one that was made here; what 0.1 recorded of it is kept in its provenance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tablevault_like.catalog.instances import NewInstance
from tablevault_like.errors import TVFileError, TVTableError
from tablevault_like.layout import InstanceLayout
from tablevault_like.migration import artifacts, builder_texts, cells
from tablevault_like.migration import names as naming
from tablevault_like.migration.cells import OldFrame
from tablevault_like.migration.old import OldInstance, OldTable, entries, is_file, is_folder, pairs, source_files
from tablevault_like.migration.report import Kind
from tablevault_like.migration.scope import Made, Scope, is_name
from tablevault_like.model import INDEX_SUFFIX, Column, InstanceStatus, is_instance_id
from tablevault_like.storage import artifacts as stored
from tablevault_like.storage import descriptions, files, manifests, tables

_OLD_FILES = "tablevault-0.1"
_OF_AN_INSTANCE = {"table.csv", "dtypes.json", "description.yaml", "builders", "artifacts", "EXECUTION_ARCHIVE"}
_PICKLE = ".df.pkl"
_SHARED = 3
"""How many earlier instances are looked at for artifacts of the same content, to share their disk space."""


@dataclass(frozen=True)
class Bringer:
    """Brings instances over."""

    _scope: Scope

    def bring(self, table: OldTable, instance: OldInstance) -> Made | None:
        """Bring an instance over, and tell of it. None says that it had to be left out."""
        instance_id = self._scope.names.instance_id(instance.instance_id)
        why = ""
        if not is_name(instance.instance_id) or not is_instance_id(instance_id):
            why = "its id isn't of the form <version>_<seconds>_<uuid>"
        elif not is_folder(instance.folder):
            why = f"{instance.folder} is missing, or no folder"
        found = None if why else _read_frame(instance)
        if isinstance(found, str) and not instance.is_temporary:
            why = f"its table can't be brought over: {found}"
        if why or found is None:
            self._scope.notes.left_out(Kind.INSTANCE, instance.name, why)
            return None
        place = self._scope.layout.table(self._scope.names.table(table.name)).instance(instance_id)
        place.folder.mkdir()
        notes = [f"its id is {instance_id!r} now"] if instance_id != instance.instance_id else []
        try:
            if isinstance(found, str) or instance.is_temporary:
                made = self._bring_temporary(instance, found, place, instance_id, notes)
            else:
                made = self._bring_materialized(table, instance, found, place, instance_id, notes)
        except TVTableError as error:
            files.remove(place.folder)
            self._scope.notes.left_out(Kind.INSTANCE, instance.name, f"its table can't be brought over: {error}")
            return None
        others = [entry.name for entry in entries(instance.folder) if _is_foreign(entry.name)]
        if others:
            notes.append(f"left out what isn't of 0.1: {', '.join(map(repr, others))}")
        self._scope.notes.brought(Kind.INSTANCE, instance.name, notes)
        return made

    def _bring_temporary(
        self, instance: OldInstance, found: OldFrame | str, place: InstanceLayout, instance_id: str, notes: list[str]
    ) -> Made:
        self._bring_builders(instance, place)
        notes += artifacts.bring_loose(instance.artifacts, place.artifacts)
        pickles = sum(entry.name.endswith(_PICKLE) for entry in entries(instance.folder))
        if pickles:
            notes.append(
                f"left out {pickles} results of an interrupted run, for they are pickled, and reading those can run "
                "anything: finish or stop that run in 0.1 first if they are wanted"
            )
        if isinstance(found, str):
            notes.append(f"left out its unfinished table: {found}")
        elif len(found.frame.columns):
            tables.write_table(place.table, found.frame, found.dtypes)
            notes += found.notes
        created = self._scope.history.temporary.get((instance.table, instance.instance_id))
        return Made(
            instance,
            NewInstance(
                instance_id=instance_id,
                version=self._scope.names.version(instance.version),
                status=InstanceStatus.TEMPORARY,
                author=created.author if created else self._scope.author,
                process_id=naming.process_id(created.process_id) if created else self._scope.process_id,
                created_at=created.started_at if created else self._scope.now,
                external_edit=instance.external_edit,
                description=instance.summary,
            ),
            origin=instance.origin,
        )

    def _bring_materialized(
        self,
        table: OldTable,
        instance: OldInstance,
        found: OldFrame,
        place: InstanceLayout,
        instance_id: str,
        notes: list[str],
    ) -> Made:
        notes += found.notes
        kept = place.provenance / _OLD_FILES
        kept.mkdir(parents=True)
        brought = artifacts.bring(
            table, instance, found.frame, found.artifact_columns, target=place.artifacts, aside=kept / "artifacts"
        )
        notes += brought.notes
        columns = tables.write_table(place.table, brought.frame, found.dtypes)
        texts = self._bring_builders(instance, place)
        self._bring_instance_code(instance, place)
        _keep_old_files(instance, kept, texts, with_table=bool(found.notes) or brought.lost)
        made = self._described(instance, instance_id, columns, rows=len(brought.frame))
        return self._sealed(made, place, notes)

    def _described(self, instance: OldInstance, instance_id: str, columns: Sequence[Column], *, rows: int) -> Made:
        history = self._scope.history.instances.get(instance.instance_id)
        maker = history.made if history else None
        created = history.created if history else None
        made_at = instance.made_at or self._scope.now
        return Made(
            instance,
            NewInstance(
                instance_id=instance_id,
                version=self._scope.names.version(instance.version),
                status=InstanceStatus.MATERIALIZED,
                author=maker.author if maker else self._scope.author,
                process_id=naming.process_id(maker.process_id) if maker else self._scope.process_id,
                created_at=created.started_at if created else made_at,
                active=instance.stopped_at is None,
                success=instance.success,
                external_edit=instance.external_edit,
                description=instance.summary,
                materialized_at=made_at,
                rows=rows,
            ),
            columns,
            origin=instance.origin,
        )

    def _sealed(self, made: Made, place: InstanceLayout, notes: list[str]) -> Made:
        """Write the instance's description and, last, its manifest."""
        new, old = made.new, made.old
        sources = list(self._sources(old, notes))
        origin = self._scope.renamed(made.origin) if made.origin else None
        described: dict[str, object] = {
            "table": self._scope.names.table(old.table),
            "instance": new.instance_id,
            "version": new.version,
            "success": new.success,
            "description": new.description,
            "author": new.author,
            "external_edit": new.external_edit,
            "origin_table": origin[0] if origin else None,
            "origin": origin[1] if origin else None,
            "process_id": new.process_id,
            "rows": new.rows,
        }
        times = {"created_at": new.created_at, "materialized_at": new.materialized_at or self._scope.now}
        descriptions.write_instance(place, described, **times)
        known = {
            **described,
            **times,
            "columns": [[column.name, column.dtype] for column in made.columns],
            "sources": [list(self._scope.renamed(source)) for source in sources],
            "migrated_from": old.name,
        }
        earlier = self._scope.layout.table(self._scope.names.table(old.table))
        shared = stored.keep_by_content(place.artifacts, map(earlier.instance, self._earlier(old)))
        digests = {f"{place.artifacts.name}/{name}": digest for name, digest in shared.items()}
        digest = manifests.write(place.folder, place.manifest, known=known, digests=digests)
        return Made(old, replace(new, manifest_sha256=digest), made.columns, sources, made.origin)

    def _earlier(self, instance: OldInstance) -> Iterator[str]:
        """Yield the last instances of the same table that lie in the new vault already, the newest first."""
        every = next(table.instances for table in self._scope.tables if table.name == instance.table)
        made = [each.instance_id for each in every if not each.is_temporary]
        earlier = made[: made.index(instance.instance_id)]
        yield from map(self._scope.names.instance_id, earlier[: -_SHARED - 1 : -1])

    def _sources(self, instance: OldInstance, notes: list[str]) -> Iterator[tuple[str, str]]:
        """Yield the instances that an instance was made from: 0.1 writes table and id in either order."""
        there = {(table.name, each.instance_id) for table in self._scope.tables for each in table.instances}
        there |= {(each.table.name, each.instance_id) for each in self._scope.history.instances.values()}
        for one, other in dict.fromkeys(pairs(instance.description.get("dependencies"))):
            found = next((pair for pair in ((one, other), (other, one)) if pair in there), None)
            if found is None:
                found = next(((table, each) for table, each in there if each in (one, other)), None)
            if found is None:
                notes.append(f"its dependency ({one!r}, {other!r}) is nothing that was ever there")
            else:
                yield found

    def _bring_builders(self, instance: OldInstance, place: InstanceLayout) -> dict[str, bytes]:
        """Write the builder files of an instance, and return those that were changed, as they were."""
        place.builders.mkdir(exist_ok=True)
        found = source_files(instance.builders, ".yaml")
        table = self._scope.names.table(instance.table)
        index = _index_of(found, instance.table)
        names = naming.builder_names(found, index=index, index_now=table + INDEX_SUFFIX)
        changed = {}
        for stem, path in found.items():
            content = path.read_bytes()
            notes = [f"it is named {names[stem]!r} now"] if names[stem] != stem else []
            try:
                brought = builder_texts.bring(
                    content.decode("utf-8"), names[stem], names=self._scope.names, unpinned=self._scope.unpinned
                )
            except UnicodeDecodeError:
                self._scope.notes.left_out(Kind.BUILDER, f"{instance.name}/{stem}", "it isn't UTF-8 text")
                continue
            files.write_file(place.builder(names[stem]), brought.text)
            if brought.text.encode() != content:
                changed[f"{stem}.yaml"] = content
            self._scope.notes.brought(Kind.BUILDER, f"{instance.name}/{stem}", [*notes, *brought.notes])
        return changed

    def _bring_instance_code(self, instance: OldInstance, place: InstanceLayout) -> None:
        place.code.mkdir(exist_ok=True)
        for name, path in source_files(instance.code, ".py").items():
            files.copy_file(path, place.code / f"{self._scope.names.module(name)}.py")


def _read_frame(instance: OldInstance) -> OldFrame | str:
    """Return the frame of an instance, or why it can't be read."""
    try:
        return cells.read_frame(instance)
    except TVFileError as error:
        return str(error)


def _is_foreign(name: str) -> bool:
    return name not in _OF_AN_INSTANCE and not name.endswith((_PICKLE, ".tmp"))


def _index_of(stems: Mapping[str, Path], table: str) -> str | None:
    """Return the name of the IndexBuilder's file; after a rename in 0.1 it still bears the table's old name."""
    if table + INDEX_SUFFIX in stems:
        return table + INDEX_SUFFIX
    named_like_one = [stem for stem in stems if stem.endswith(INDEX_SUFFIX)]
    return named_like_one[0] if len(named_like_one) == 1 else None


def _keep_old_files(instance: OldInstance, folder: Path, builders: Mapping[str, bytes], *, with_table: bool) -> None:
    """Keep what 0.1 recorded of an instance, as it was: all that can't be told from the new files."""
    for path in (instance.folder / "description.yaml", instance.dtypes_file):
        if is_file(path):
            files.copy_file(path, folder / path.name)
    if with_table:
        files.copy_file(instance.csv, folder / "table.csv")
    for name, content in builders.items():
        (folder / "builders").mkdir(exist_ok=True)
        files.write_file(folder / "builders" / name, content)
