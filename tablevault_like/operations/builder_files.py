"""Create and delete builder files. They lie in a temporary instance, and may be edited while it is executed."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tablevault_like.catalog import Database, instances
from tablevault_like.errors import TVArgumentError, TVBuilderError, TVFileError, nearest
from tablevault_like.model import (
    BASE_VERSION,
    INDEX_SUFFIX,
    BuilderType,
    LockRequest,
    Resource,
    check_builder_name,
    temporary_id,
)
from tablevault_like.operations import publication
from tablevault_like.operations.sources import read_sources
from tablevault_like.process.operation import Declaration, Operation, View
from tablevault_like.process.run import Run
from tablevault_like.storage import files, places
from tablevault_like.storage.replacements import Replacements


class _BuilderFiles(Operation):
    """Puts builder files in the place of those that a temporary instance has."""

    table_name: str
    version: str

    @property
    @abstractmethod
    def changes(self) -> Mapping[str, str | None]:
        """The texts of the files by name; None for one that is to go."""

    def execute(self, run: Run) -> None:
        with self._telling_if_gone(run):
            self._replacements(run).place()

    def publish(self, run: Run, db: Database) -> None:
        # The instance may have been executed meanwhile: then the files went to a folder that nobody reads.
        publication.get_temporary(db, self.table_name, self.version)

    def undo(self, run: Run) -> None:
        self._replacements(run).undo()

    def _declaration(self) -> Declaration:
        resources = [Resource.builders(self.table_name, self.version, name) for name in self.changes]
        return Declaration(tuple(LockRequest.exclusive(resource) for resource in resources))

    def _replacements(self, run: Run) -> Replacements:
        """Return the changes of files; none if the instance is gone."""
        with run.journal.catalog.snapshot() as db:
            record = instances.find(db, self.table_name, temporary_id(self.version))
        if record is None:
            return Replacements(run.files.replaced, {}, run.fenced)
        place = places.instance_layout(run.layout, record)
        known = places.builder_files(place, self.table_name)
        changes = {known.get(name, place.builder(name)): text for name, text in self.changes.items()}
        return Replacements(run.files.replaced, changes, run.fenced)

    @contextmanager
    def _telling_if_gone(self, run: Run) -> Iterator[None]:
        """Say that the instance was executed or deleted meanwhile, where that is why its folder is gone."""
        try:
            yield
        except TVFileError:
            with run.journal.catalog.snapshot() as db:
                publication.get_temporary(db, self.table_name, self.version)
            raise


@dataclass(frozen=True)
class CreateBuilderFile(_BuilderFiles):
    """Create builder files in a temporary instance, or replace those that have their names."""

    name = "create_builder_file"

    table_name: str
    version: str = BASE_VERSION
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        table_name: str,
        builder_name: str | None,
        version: str,
        *,
        copy_dir: str | os.PathLike[str] | None,
        text: str | None,
    ) -> CreateBuilderFile:
        """Make the operation from a text, a file, a folder of files, or nothing (a template)."""
        from tablevault_like.builders.template import template

        def text_for(name: str) -> str:
            is_index = name == table_name + INDEX_SUFFIX
            return template(table_name, BuilderType.INDEX if is_index else BuilderType.COLUMN)

        texts = read_sources("builder", ".yaml", builder_name, copy_dir=copy_dir, text=text, template=text_for)
        return cls(table_name, version, texts)

    def check(self) -> None:
        from tablevault_like.builders import spec

        for name, text in self.texts.items():
            check_builder_name(name)
            if name.endswith(INDEX_SUFFIX) and name != self.table_name + INDEX_SUFFIX:
                raise TVBuilderError(
                    f"Only the table's IndexBuilder may have a name that ends in {INDEX_SUFFIX!r}: "
                    f"{self.table_name + INDEX_SUFFIX}, not {name}."
                )
            spec.read_builder(text, name)

    def declare(self, view: View) -> Declaration:
        temporary = publication.get_temporary(view.db, self.table_name, self.version)
        if temporary.external_edit:
            raise TVArgumentError(
                f"{self.table_name}/{temporary.instance_id} is edited externally, so it has no builders. Write it with "
                "write_instance()."
            )
        place = places.instance_layout(view.layout, temporary)
        files.check_no_link(*(place.builder(name) for name in self.texts))
        return self._declaration()

    @property
    def changes(self) -> Mapping[str, str]:
        return self.texts


@dataclass(frozen=True)
class DeleteBuilderFile(_BuilderFiles):
    """Delete a builder file from a temporary instance."""

    name = "delete_builder_file"

    builder_name: str
    table_name: str
    version: str = BASE_VERSION

    def declare(self, view: View) -> Declaration:
        temporary = publication.get_temporary(view.db, self.table_name, self.version)
        place = places.instance_layout(view.layout, temporary)
        check_builder_name(self.builder_name)
        known = places.builder_files(place, self.table_name)
        if self.builder_name not in known:
            raise TVArgumentError(
                f"{self.table_name}/{temporary.instance_id} has no builder {self.builder_name!r}."
                f"{nearest(self.builder_name, list(known))}"
            )
        files.check_no_link(known[self.builder_name])
        return self._declaration()

    @property
    def changes(self) -> Mapping[str, None]:
        return {self.builder_name: None}
